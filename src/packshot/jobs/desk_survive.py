"""What the desk's processes are asked about labels on their way: which layers of a file survive."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packshot.core.errors import PackshotError

if TYPE_CHECKING:
    from packshot.jobs.settings import Limits

LARGEST = 8_000_000
"""Pixels of a picture that is put through all trials; each of them costs about a second a megapixel."""


def survive_one(data: bytes, name: str, limits: Limits) -> dict[str, Any]:
    """Returns what is left of each layer after each trial (`packshot.tasks.survive`).

    Returns:
        mark, registered, notes, and trials: of each its name and layers (True: left, False: gone, None: was not there).

    Raises:
        PackshotError: it is no picture, or too large.
    """
    from packshot.images.decode import read_header
    from packshot.tasks.survive import LAYERS, survive

    with tempfile.TemporaryDirectory(prefix="packshot-desk-") as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        header = read_header(path)
        most = min(LARGEST, limits.pixels)
        if header.width * header.height > most:
            raise PackshotError(
                f"The picture has {header.width * header.height / 1e6:,.1f} megapixels; the trials take pictures of up "
                f"to {most / 1e6:,.0f}. `packshot survive` takes larger ones."
            )
        found = survive(path)
    return {
        "mark": found.mark,
        "registered": found.registered,
        "notes": list(found.notes),
        "layers": {layer: found.left(layer) for layer in LAYERS},
        "trials": [{"name": t.name, "layers": dict(t.layers)} for t in found.trials],
    }
