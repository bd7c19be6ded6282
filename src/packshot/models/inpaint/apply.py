"""The inpainter on pictures of any size: it guesses at up to 256 pixels what stands in the hole.

Letters: H, W height and width.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from packshot.core.config import build_config
from packshot.core.files import sha256_file
from packshot.images.smooth import fill_smooth, fit_guess
from packshot.models.inpaint.net import InpaintConfig, InpaintNet
from packshot.models.threads import one_thread
from packshot.models.weights import load_network

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

WEIGHTS = Path(__file__).parent / "weights" / "inpaint.safetensors"
SIDE = 256
"""The longest side that the network sees."""
AROUND = 0.5
"""How much around the hole it sees, as a share of the hole's own size; at least `LEAST_AROUND` pixels."""
LEAST_AROUND = 64


class Inpainter:
    """The network with its weights.

    Attributes:
        net: the network, float32.
        checksum: SHA-256 of the file of weights.
    """

    def __init__(self, path: Path) -> None:
        self.net = load_network(path, "inpainter", lambda c: InpaintNet(build_config(InpaintConfig, c)))
        self.checksum = sha256_file(path)

    def __call__(self, pixels: Pixels, hole: Mask) -> Floats:
        """Returns float32 [H, W, 3], 0 to 255: the picture with a guess, without fine texture, in its hole.

        Args:
            pixels: uint8 [H, W, 3]; what stands in the hole has no influence.
            hole: bool [H, W]; not all of it set, and not empty.
        """
        smooth = fill_smooth(pixels.astype(np.float32), hole)
        at = _around(hole)
        part, inner = smooth[at], hole[at]
        height, width = inner.shape
        size = _size(height, width, self.net.config.multiple)
        x = torch.from_numpy(np.ascontiguousarray(part)).permute(2, 0, 1)[None] / 255
        mask = torch.from_numpy(inner.astype(np.float32))[None, None]
        x = F.interpolate(x, size=size, mode="bilinear", antialias=True)
        mask = (F.interpolate(mask, size=size, mode="bilinear", antialias=True) > 0.01).float()
        with one_thread(), torch.inference_mode():
            change = self.net(x, mask) - x
        change = F.interpolate(change, size=(height, width), mode="bicubic", align_corners=False)
        guess = part + change[0].permute(1, 2, 0).numpy() * np.float32(255)
        smooth[at] = np.clip(fit_guess(part, inner, guess), 0, 255)
        return smooth


@functools.cache
def load_inpainter(path: Path = WEIGHTS) -> Inpainter | None:
    """Returns the inpainter, once in a process; None: its weights are not there.

    Raises:
        PackshotError: the file is damaged, or holds something else.
    """
    return Inpainter(path) if path.is_file() else None


def _around(hole: Mask) -> tuple[slice, slice]:
    slices = []
    for axis in (0, 1):
        at = np.flatnonzero(hole.any(1 - axis))
        margin = max(LEAST_AROUND, round(AROUND * (int(at[-1] - at[0]) + 1)))
        slices.append(slice(max(0, int(at[0]) - margin), min(hole.shape[axis], int(at[-1]) + 1 + margin)))
    return slices[0], slices[1]


def _size(height: int, width: int, multiple: int) -> tuple[int, int]:
    factor = min(1.0, SIDE / max(height, width))
    return (
        max(1, round(height * factor / multiple)) * multiple,
        max(1, round(width * factor / multiple)) * multiple,
    )
