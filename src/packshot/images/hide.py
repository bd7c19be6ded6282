"""Regions of a picture made unrecognisable: by a few mean colours (blurred or a mosaic), or by a colour from beside it.

A blur alone can be undone: it is linear, and keeps nearly all that it seems to hide. So each region is first reduced to
a few cells, each the mean of its pixels, rounded to LEVELS levels; what is drawn, blurred or not, is computed from
these alone. From a face at strength 0.5 some 4 x 5 colours of 12 bits remain, however large it is. `fill` uses no pixel
of the region at all.

Letters: H, W height and width of the picture; h, w of a region; c cells along a side of n pixels.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from packshot.images.regions import Region
from packshot.images.resize import Pixels

Floats = npt.NDArray[np.float64]
How = Literal["blur", "fill", "pixelate"]

FINEST_CELLS = 8
"""Cells along the shorter side of a face at strength 0; at strength 1 a quarter."""
LEVELS = 16
"""Of each channel of a cell's colour."""
SOFTNESS = 0.6
"""Standard deviation of the blur, in cells."""
ROUNDNESS = 4
"""Exponent p of the superellipse |x|^p + |y|^p <= 1 that is hidden of a face's rectangle."""
RIM = 2
"""Pixels around a region that `fill` takes its colour from."""


def hide(pixels: Pixels, region: Region, how: How, strength: float) -> None:
    """Makes a region unrecognisable, in place; outside of it (`inside`), and in alpha, nothing changes.

    Args:
        pixels: uint8 [H, W, 3 or 4], writable.
        region: inside the picture. Lines of letters ("text", "plate") become cells as high as the line, and wider than
            high; anything else becomes squares.
        how: "blur" (cells, blurred), "pixelate" (cells) or "fill" (one colour).
        strength: 0 .. 1, how few cells are left; no meaning for "fill".
    """
    part = pixels[region.slices]
    if how == "fill":
        new = np.broadcast_to(_beside(pixels, region), (region.height, region.width, 3))
    else:
        new = _cells(part, *_division(region, strength), blurred=how == "blur")
    where = inside(region)
    part[..., :3][where] = new[where]


def inside(region: Region) -> npt.NDArray[np.bool_]:
    """Returns which pixels of a region's rectangle are hidden, bool [h, w]: of a face a superellipse, else all."""
    if region.kind != "face":
        return np.ones((region.height, region.width), np.bool_)
    y, x = (np.abs((np.arange(n) + 0.5) / n * 2 - 1) ** ROUNDNESS for n in (region.height, region.width))
    return np.asarray(y[:, None] + x <= 1)


def _division(region: Region, strength: float) -> tuple[int, int]:
    """Returns the numbers of cells down and across."""
    short = min(region.height, region.width)
    if region.kind not in ("text", "plate"):
        cell = short / max(2.0, FINEST_CELLS * 4**-strength)
        return max(1, round(region.height / cell)), max(1, round(region.width / cell))
    long_side = max(1, round(max(region.height, region.width) / (short * (1 + 2 * strength))))
    return (1, long_side) if region.width >= region.height else (long_side, 1)


def _cells(part: Pixels, down: int, across: int, *, blurred: bool) -> Pixels:
    """Returns RGB [h, w, 3] drawn from the mean colours of `down` x `across` cells."""
    h, w = part.shape[:2]
    rows, columns = (np.arange(c) * n // c for c, n in ((min(down, h), h), (min(across, w), w)))
    weight = part[..., 3:].astype(np.float64) if part.shape[2] == 4 else np.ones((h, w, 1))
    total, seen = (_sums(values, rows, columns) for values in (part[..., :3] * weight, weight))
    mean = np.where(seen > 0, total / np.maximum(seen, 1), 255)
    step = 255 / (LEVELS - 1)
    mean = np.floor(mean / step + 0.5) * step
    drawn = np.repeat(np.repeat(mean, np.diff(rows, append=h), axis=0), np.diff(columns, append=w), axis=1)
    if blurred:
        sigma = (SOFTNESS * h / len(rows), SOFTNESS * w / len(columns), 0)
        drawn = ndimage.gaussian_filter(drawn, sigma, mode="nearest", truncate=3.0)
    return np.asarray(np.floor(drawn + 0.5), np.uint8)


def _sums(values: Floats, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]) -> Floats:
    return np.asarray(np.add.reduceat(np.add.reduceat(values, rows, axis=0), columns, axis=1))


def _beside(pixels: Pixels, region: Region) -> Pixels:
    """Returns the median colour of the pixels around a region; mid grey where there are none."""
    y, x = region.slices
    wide = (slice(max(0, y.start - RIM), y.stop + RIM), slice(max(0, x.start - RIM), x.stop + RIM))
    around = np.ones(pixels[wide].shape[:2], np.bool_)
    around[y.start - wide[0].start : y.stop - wide[0].start, x.start - wide[1].start : x.stop - wide[1].start] = False
    rim = pixels[wide][around]
    if rim.shape[1] == 4:
        rim = rim[rim[:, 3] > 0]
    colour = np.median(rim[:, :3], axis=0) if len(rim) else np.full(3, 128)
    return np.asarray(colour, np.uint8)
