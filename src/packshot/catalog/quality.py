"""Quality figures of photos, from their grey values.

Legend: I grey value (luma) in [0, 255]; W, H width and height in pixels; * convolution; | | absolute value.

    blur        variance of L * I, L = [[0 1 0] [1 -4 1] [0 1 0]]: small means blurred.
                J. L. Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000.
    noise       sqrt(pi / 2) / (6 (W - 2) (H - 2)) * sum |N * I|, N = [[1 -2 1] [-2 4 -2] [1 -2 1]]: an estimate of
                the standard deviation of Gaussian noise, in grey values; fine texture counts as noise too.
                J. Immerkaer, "Fast noise variance estimation", CVIU 64(2), 1996.
    blockiness  (B + 1/2) / (A + 1/2), B and A the mean |step| between neighbours across and not across the borders of
                8x8 blocks, over rows and columns: 1 means none. The 1/2 keeps flat pictures at 1.
                After Z. Wang, H. Sheikh, A. Bovik, "No-reference perceptual quality assessment of JPEG compressed
                images", ICIP 2002 (their B and A, as a ratio).
    clipped     share of pixels with I <= 2 (low) and with I >= 253 (high). A white backdrop is clipped, rightly.
    jpeg_quality  the quality setting, 1 to 100, at which libjpeg's luminance table comes nearest to the file's.
                ITU-T T.81 (1992), table K.1; libjpeg's jpeg_quality_scaling.

Blur and clipping are measured on the photo reduced by the whole factor that brings its longest side nearest to 192
pixels, so that resolution hardly matters (the statistics of natural pictures change little with scale: D. Field,
"Relations between the statistics of natural images", JOSA A 4, 1987); noise and blockiness, which reducing would
destroy, on the middle 128 x 128 pixels at full resolution.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.uint8]
Figures = npt.NDArray[np.float32]

SIDE, WINDOW = 192, 128
BLOCK = 8

STANDARD = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
"""Table K.1 of ITU-T T.81."""


def window_box(width: int, height: int) -> tuple[int, int, int, int]:
    """Returns (left, top, right, bottom) of the middle, at most 128 x 128, starting on a border of the 8x8 blocks."""
    left, top = (max(0, side - WINDOW) // 2 // BLOCK * BLOCK for side in (width, height))
    return left, top, min(left + WINDOW, width), min(top + WINDOW, height)


def reducing_factor(width: int, height: int) -> int:
    """Returns the whole factor that brings the longest side nearest to 192 pixels, 1 or more."""
    return max(1, round(max(width, height) / SIDE))


def compute_blur(grey: Grey) -> Figures:
    """Returns the variance of the Laplacian of each picture.

    Args:
        grey: [N, H, W] uint8.

    Returns:
        [N] float32, 0 or more; NaN where a side is below 3.
    """
    if min(grey.shape[1:]) < 3:
        return np.full(len(grey), np.nan, np.float32)
    i = grey.astype(np.int16)
    laplacian = i[:, 1:-1, 1:-1] * np.int16(-4)
    for neighbour in (i[:, :-2, 1:-1], i[:, 2:, 1:-1], i[:, 1:-1, :-2], i[:, 1:-1, 2:]):
        laplacian += neighbour
    # E[x^2] - E[x]^2 of whole numbers loses nothing, and is several times faster than numpy's own variance.
    flat = laplacian.reshape(len(grey), -1).astype(np.float32)
    square = np.array([np.dot(row, row) for row in flat], np.float64) / flat.shape[1]
    mean = flat.sum(axis=1, dtype=np.float64) / flat.shape[1]
    variance: Figures = np.maximum(square - mean**2, 0).astype(np.float32)
    return variance


def compute_noise(grey: Grey) -> Figures:
    """Returns the standard deviation of the noise of each picture, in grey values.

    Args:
        grey: [N, H, W] uint8.

    Returns:
        [N] float32, 0 or more; NaN where a side is below 3.
    """
    height, width = grey.shape[1:]
    if min(height, width) < 3:
        return np.full(len(grey), np.nan, np.float32)
    # N is the difference taken twice down and twice across: four passes of one subtraction.
    down = np.diff(grey.astype(np.int16), n=2, axis=1)
    both = np.diff(down, n=2, axis=2)
    total = np.abs(both, out=both).sum(axis=(1, 2), dtype=np.int64)
    sigma: Figures = (total * (math.sqrt(math.pi / 2) / (6 * (width - 2) * (height - 2)))).astype(np.float32)
    return sigma


def compute_blockiness(grey: Grey) -> Figures:
    """Returns how much steeper steps are across the borders of 8x8 blocks than elsewhere.

    Args:
        grey: [N, H, W] uint8, starting on a border, H and W at most 128.

    Returns:
        [N] float32 above 0, 1 for none; NaN where a side is below 16.
    """
    if min(grey.shape[1:]) < 2 * BLOCK:
        return np.full(len(grey), np.nan, np.float32)
    i = grey.astype(np.int16)
    ratios: list[npt.NDArray[np.float64]] = []
    for step, across in ((i[:, :, 1:] - i[:, :, :-1], 1), (i[:, 1:] - i[:, :-1], 2)):
        # A sum of 128 steps of at most 255 fits into 16 bits, where numpy is fastest.
        profile = np.abs(step, out=step).view(np.uint16).sum(axis=across, dtype=np.uint16)
        borders = profile[:, BLOCK - 1 :: BLOCK]
        on, count = borders.sum(axis=1, dtype=np.float64), borders.shape[1]
        off = profile.sum(axis=1, dtype=np.float64) - on
        length = grey.shape[across]
        ratios.append((on / (count * length) + 0.5) / (off / ((profile.shape[1] - count) * length) + 0.5))
    ratio: Figures = ((ratios[0] + ratios[1]) / 2).astype(np.float32)
    return ratio


def compute_clipping(grey: Grey) -> tuple[Figures, Figures]:
    """Returns the shares of clipped dark and clipped bright pixels of each picture.

    Args:
        grey: [N, H, W] uint8.

    Returns:
        Two [N] float32 in [0, 1].
    """
    size = grey[0].size
    # One by one: counting along an axis is several times slower than counting a whole array.
    low, high = [np.count_nonzero(g <= 2) for g in grey], [np.count_nonzero(g >= 253) for g in grey]
    return np.array(low, np.float32) / np.float32(size), np.array(high, np.float32) / np.float32(size)


def estimate_jpeg_quality(data: bytes) -> float:
    """Returns the quality setting that a JPEG file was written with, 1 to 100; NaN for what is not a JPEG file."""
    table = _luminance_table(data)
    if table is None:
        return math.nan
    return _quality_of(sum(table))


@lru_cache(maxsize=1024)
def _quality_of(table_sum: int) -> float:
    """Returns the libjpeg setting, 1 to 100, whose luminance table's sum is nearest."""
    settings = np.arange(1, 101)
    scale = np.where(settings < 50, 5000 // settings, 200 - 2 * settings)
    sums = np.clip((STANDARD.ravel() * scale[:, None] + 50) // 100, 1, 255).sum(axis=1)
    return float(settings[np.argmin(np.abs(sums - table_sum))])


def _luminance_table(data: bytes) -> bytes | None:
    """Returns the 64 entries of quantisation table 0; None where there is no such 8-bit table before the first scan."""
    if not data.startswith(b"\xff\xd8"):
        return None
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA or length < 2:
            return None
        if marker == 0xDB:
            inside, end = at + 4, at + 2 + length
            while inside + 65 <= min(end, len(data)):
                wide, number = data[inside] >> 4, data[inside] & 15
                if (wide, number) == (0, 0):
                    return data[inside + 1 : inside + 65]
                inside += 1 + (128 if wide else 64)
        at += 2 + length
    return None
