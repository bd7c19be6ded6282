"""Before/after sheets of a task: rows are photos; columns what was given, every competitor's output, and the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.darkroom_parts.cases import Case, small
from benchmarks.darkroom_parts.table import Task
from packshot.images.compare import lightness
from packshot.images.picture import Operation, ProductImage
from packshot.images.resize import Pixels
from packshot.images.sheet import contact_sheet
from packshot.release.door import release

Array = npt.NDArray[Any]

CASES = 6
SIDE = 300
DETAIL = 100
"""Side of the part that is shown of an enlarged picture, three times as large: where the truth has most edges."""
GIVEN, TRUTH = "given", "truth"
RED, CYAN = (255, 0, 80), (0, 200, 255)
ON = (255, 0, 255)
"""What a cut-out is shown on."""


class Tiles:
    """The parts of a task's sheet, kept as files until all competitors are done.

    Args:
        folder: of the parts of all tasks.
        task: the task.
        cases: the names of its cases and their groups, in order; a few are shown, of each group if there are several.
    """

    def __init__(self, folder: Path, task: Task, cases: list[tuple[str, str]]) -> None:
        self.folder, self.task, self.cases = folder / task.name, task, spread(cases)
        self.folder.mkdir(parents=True, exist_ok=True)

    def add(self, case: Case, name: str, output: Array) -> None:
        """Keeps what a competitor made of a case, and beside it what is given and true."""
        if case.name not in self.cases:
            return
        self._save(case.name, name, show(case, output))
        if not self._file(case.name, GIVEN).exists():
            self._save(case.name, GIVEN, show(case, None))
            if case.truth is not None:
                self._save(case.name, TRUTH, show(case, case.truth, is_truth=True))

    def write(self, path: Path) -> bool:
        """Writes the sheet of all parts that there are; returns whether there are any."""
        names = [GIVEN, *(c.name for c in self.task.competitors), TRUTH]
        names = [n for n in names if any(self._file(c, n).exists() for c in self.cases)]
        rows = [c for c in self.cases if self._file(c, GIVEN).exists()]
        if not rows:
            return False
        empty = np.full((8, 8, 3), 255, np.uint8)
        pictures, captions = [], []
        for case in rows:
            for name in names:
                file = self._file(case, name)
                pixels = np.asarray(Image.open(file).convert("RGB")) if file.exists() else empty
                origin = "capture" if name in (GIVEN, TRUTH) else "generated"
                operation = Operation("decode" if origin == "capture" else "compete", origin, {"by": name})
                pictures.append(ProductImage(pixels, history=(operation,)))
                captions.append(name if file.exists() else f"{name}: not run")
        path.parent.mkdir(parents=True, exist_ok=True)
        release(contact_sheet(pictures, len(names), captions), path, overwrite=True)
        return True

    def _file(self, case: str, name: str) -> Path:
        return self.folder / f"{case} {name}.png".replace(" ", "_")

    def _save(self, case: str, name: str, pixels: Pixels) -> None:
        Image.fromarray(pixels).save(self._file(case, name))


def spread(cases: list[tuple[str, str]]) -> list[str]:
    """Returns the names of up to `CASES` of (name, group), the groups in turn, from begin to end of each."""
    groups: dict[str, list[str]] = {}
    for name, group in cases:
        groups.setdefault(group, []).append(name)
    turns = [list(groups.values())[i % len(groups)] for i in range(CASES)] if groups else []
    return list(dict.fromkeys(names[i * len(names) // CASES] for i, names in enumerate(turns)))


def show(case: Case, x: Array | None, *, is_truth: bool = False) -> Pixels:
    """Returns a picture for a person of an output, of the truth, or (None) of what was given."""
    scale = case.more.get("scale")
    if scale is not None and case.truth is not None:
        return detail(case.given.repeat(scale, axis=0).repeat(scale, axis=1) if x is None else x, case.truth)
    if x is None or x.ndim == 3:
        return small(case.given if x is None else x, SIDE)
    if x.dtype == bool or not (is_truth or x.max(initial=0) > 2):  # Damage: its outline, red where it is sure.
        return marked(case.given, x.astype(np.uint8))
    alpha = small(np.repeat(x[..., None], 3, axis=2), SIDE).astype(np.float32) / 255
    product = small(case.given, SIDE)
    return np.rint(alpha * product + (1 - alpha) * np.array(ON, np.float32)).astype(np.uint8)


def detail(pixels: Pixels, truth: Pixels) -> Pixels:
    plane = lightness(truth)
    side = min(DETAIL, *plane.shape)
    steep = np.abs(np.diff(plane, axis=0))[:, 1:] + np.abs(np.diff(plane, axis=1))[1:]
    places = [(t, x) for t in range(0, plane.shape[0] - side + 1, 20) for x in range(0, plane.shape[1] - side + 1, 20)]
    top, left = max(places, key=lambda at: float(steep[at[0] : at[0] + side, at[1] : at[1] + side].sum()))
    return pixels[top : top + side, left : left + side].repeat(3, axis=0).repeat(3, axis=1)


def marked(photo: Pixels, classes: Array) -> Pixels:
    out = photo.copy()
    for value, colour in ((1, RED), (2, CYAN)):
        out[classes == value] = colour
    return small(out, SIDE)
