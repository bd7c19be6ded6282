"""The restoration networks that come with the package, on pictures of any size: tile by tile, without a seam.

Letters: H, W height and width; s scale.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from packshot.core.config import build_config
from packshot.core.files import sha256_file
from packshot.images.tiles import map_tiles
from packshot.models.restore.net import RestoreConfig, RestoreNet
from packshot.models.threads import one_thread
from packshot.models.weights import load_network

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

WEIGHTS = Path(__file__).parent / "weights"
TILE = 320
"""Side of a tile, in pixels of the network's body."""


class Restorer:
    """A network with its weights.

    Attributes:
        net: the network, float32.
        checksum: SHA-256 of the file of weights.
    """

    def __init__(self, path: Path) -> None:
        self.net = load_network(path, "restoration network", lambda c: RestoreNet(build_config(RestoreConfig, c)))
        self.checksum = sha256_file(path)

    def __call__(self, pixels: Pixels, scale: int, controls: tuple[float, ...] = (), *, tile: int = TILE) -> Pixels:
        """Returns RGB pixels [H, W, 3], uint8, restored to [s H, s W, 3].

        Args:
            pixels: the picture.
            scale: s, one that the network has a head for.
            controls: its k controls, each in [0, 1].
            tile: side of a tile, in pixels of the network's body; decides memory, and at most rounding of the result.
        """
        config = self.net.config
        given = torch.tensor([controls], dtype=torch.float32) if config.controls else None

        def run(part: npt.NDArray[Any]) -> npt.NDArray[Any]:
            x = torch.from_numpy(part.astype(np.float32)).permute(2, 0, 1)[None] / 255
            with one_thread(), torch.inference_mode():
                added = self.net(x, scale, given)[0].permute(1, 2, 0).numpy()
            made = lanczos(part, scale)
            made += added * np.float32(255)
            return np.clip(np.rint(made, out=made), 0, 255).astype(np.uint8)

        fold = config.unshuffle
        return map_tiles(run, pixels, tile=tile * fold, halo=config.reach, multiple=fold, scale=scale)


def lanczos(pixels: Pixels, scale: int) -> Floats:
    """Returns uint8 [H, W, 3] enlarged by Lanczos to float32 [s H, s W, 3], in levels of 255, not rounded."""
    if scale == 1:
        return pixels.astype(np.float32)
    size = (pixels.shape[1] * scale, pixels.shape[0] * scale)
    planes = [Image.fromarray(pixels[..., c].astype(np.float32)) for c in range(pixels.shape[2])]
    return np.stack([np.asarray(p.resize(size, Image.Resampling.LANCZOS)) for p in planes], axis=2)


@functools.cache
def load_restorer(name: str) -> Restorer:
    """Returns a network that comes with the package, "scale" or "clean"; once in a process.

    Raises:
        PackshotError: its weights are missing or damaged.
    """
    return Restorer(WEIGHTS / f"{name}.safetensors")
