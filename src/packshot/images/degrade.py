"""Damage made to measure: what a cheap camera, a shop's resizer and a messenger do to a photo.

For training and for tests of what restores: the same picture, damage and seed give the same pixels.

Letters: H, W height and width; sigma a standard deviation.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from packshot.images.resize import Pixels

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Damage:
    """What happens to a photo, in this order.

    Attributes:
        blur: sigma of a Gaussian blur, in pixels; 0: none.
        noise: sigma of Gaussian noise, in levels of 255; 0: none.
        grain: share of the noise that is the same in all three channels, 0 .. 1.
        jpeg: quality, 1 .. 100; None: not compressed.
        subsampled: whether the JPEG keeps colour at half the resolution (4:2:0).
        kept: share of the JPEG's own damage that is mixed in, 0 .. 1.
        seed: of the noise.
    """

    blur: float = 0.0
    noise: float = 0.0
    grain: float = 0.0
    jpeg: int | None = None
    subsampled: bool = True
    kept: float = 1.0
    seed: int = 0

    def lessened(self, *, deblur: float, denoise: float, unjpeg: float) -> Damage:
        """Returns the damage without the given share, 0 .. 1, of each kind: what a restoration should leave."""
        return replace(
            self,
            blur=self.blur * (1 - deblur),
            noise=self.noise * (1 - denoise),
            kept=self.kept * (1 - unjpeg),
        )


def damage(pixels: Pixels, kinds: Damage) -> Pixels:
    """Returns RGB pixels [H, W, 3], uint8, damaged."""
    x = blurred(pixels.astype(np.float32), kinds.blur)
    if kinds.noise > 0:
        rng = np.random.Generator(np.random.PCG64(kinds.seed))
        same = rng.standard_normal((*x.shape[:2], 1), np.float32)
        own = rng.standard_normal(x.shape, np.float32)
        x += kinds.noise * (np.sqrt(kinds.grain) * same + np.sqrt(1 - kinds.grain) * own)
    if kinds.jpeg is None or kinds.kept == 0:
        return to_levels(x)
    packed = as_jpeg(to_levels(x), kinds.jpeg, subsampled=kinds.subsampled)
    if kinds.kept == 1:
        return packed
    return to_levels(x + kinds.kept * (packed - x))


def as_jpeg(pixels: Pixels, quality: int, *, subsampled: bool = True) -> Pixels:
    """Returns RGB pixels [H, W, 3] as they come back from a JPEG file of this quality."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=2 if subsampled else 0)
    return np.asarray(Image.open(file))


def blurred(x: Floats, sigma: float) -> Floats:
    """Returns [H, W, C] after a Gaussian blur; beyond the border the border's own colour goes on."""
    if sigma <= 0:
        return x
    radius = max(1, int(3 * sigma + 0.5))
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2).astype(np.float32)
    taps /= taps.sum()
    for axis in (0, 1):
        margin = [(radius, radius) if a == axis else (0, 0) for a in range(x.ndim)]
        wide = np.pad(x, margin, mode="edge")
        length = x.shape[axis]
        x = sum(t * np.take(wide, range(i, i + length), axis) for i, t in enumerate(taps))
    return x


def shrunk(pixels: Pixels, scale: int) -> Pixels:
    """Returns [H, W, C] at 1/scale of its size by antialiased bicubic resampling (Pillow's), the usual test of SR.

    What does not fill a whole pixel at the right and at the bottom is cut off first.
    """
    height, width = pixels.shape[0] // scale, pixels.shape[1] // scale
    cut = Image.fromarray(pixels[: height * scale, : width * scale])
    return np.asarray(cut.resize((width, height), Image.Resampling.BICUBIC))


def to_levels(x: npt.NDArray[np.floating]) -> Pixels:
    """Returns values rounded and clipped to uint8."""
    levels: Pixels = np.clip(np.rint(x), 0, 255).astype(np.uint8)
    return levels
