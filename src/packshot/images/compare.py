"""How near two pictures are: structural similarity, peak signal-to-noise ratio, and agreement of their edges.

Letters: x, y the two pictures' lightness 0 .. 255, mu local mean, var local variance, cov local covariance, all under a
Gaussian window; c1, c2 the constants of Wang, Bovik, Sheikh, Simoncelli: Image quality assessment (2004), eq. 13.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from packshot.images.filters import Bools, correlate, gaussian_window, max_filter
from packshot.images.resize import Pixels

SSIM_RADIUS, SSIM_SIGMA = 5, 1.5
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
STRIP = 64
"""Rows at a time: the planes that SSIM needs are small, and stay in a processor's cache."""
EDGE = 24.0
"""The lightness step, 0 .. 255, from which an edge counts."""
EDGE_SHARE = 0.5
"""What share of its strength an edge has to have in the other picture to be found there."""


def ssim_map(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Returns SSIM at each pixel of two planes [H, W] with values 0 .. 255, as float32 [H, W].

    Window: Gaussian, 11 x 11, sigma 1.5. Beyond the border the planes are mirrored. With s = x + y and d = x - y:
    2 mu_x mu_y = (mu_s^2 - mu_d^2) / 2, mu_x^2 + mu_y^2 = (mu_s^2 + mu_d^2) / 2, and likewise with the (co)variances,
    so that four planes are filtered instead of five, and d, the small one, keeps all its digits.
    """
    out = np.ones(x.shape, np.float32)
    window = gaussian_window(SSIM_SIGMA, SSIM_RADIUS)
    rows = np.pad(np.arange(x.shape[0]), SSIM_RADIUS, mode="reflect")
    columns = np.pad(np.arange(x.shape[1]), SSIM_RADIUS, mode="reflect")
    for top in range(0, x.shape[0], STRIP):
        height = min(STRIP, x.shape[0] - top)
        take = rows[top : top + height + 2 * SSIM_RADIUS]
        a, b = (p[take][:, columns].astype(np.float32) - np.float32(127.5) for p in (x, y))
        d = a - b
        if not d.any():
            continue
        s = a + b
        mu_s, mu_d = correlate(s, window), correlate(d, window)
        var_s, var_d = correlate(s * s, window) - mu_s * mu_s, correlate(d * d, window) - mu_d * mu_d
        mu_s += 255  # Variances do not see a shift, and are exact about the middle.
        mu_s, mu_d = mu_s * mu_s, mu_d * mu_d
        similar = (mu_s - mu_d + 2 * C1) * (var_s - var_d + 2 * C2)
        out[top : top + height] = similar / ((mu_s + mu_d + 2 * C1) * (var_s + var_d + 2 * C2))
    return out


def ssim(x: npt.NDArray[Any], y: npt.NDArray[Any], where: Bools | None = None) -> float:
    """Returns the mean of `ssim_map`.

    Args:
        x: [H, W], values 0 .. 255.
        y: [H, W], likewise.
        where: bool [H, W], the pixels that count; None: all.
    """
    values = ssim_map(x, y)
    if where is not None:
        return float(values[where].mean(dtype=np.float64)) if where.any() else 1.0
    return float(values.mean(dtype=np.float64))


def psnr(x: npt.NDArray[Any], y: npt.NDArray[Any], where: Bools | None = None) -> float:
    """Returns the peak signal-to-noise ratio in dB, 10 log10(255^2 / mean squared error); equal: infinite.

    Args:
        x: [H, W] or [H, W, C], values 0 .. 255.
        y: of the same shape.
        where: bool [H, W], the pixels that count; None: all.
    """
    error = (x.astype(np.float32) - y.astype(np.float32)) ** 2
    if where is not None:
        error = error[where]
    mean = float(error.mean(dtype=np.float64)) if error.size else 0.0
    return math.inf if mean == 0 else 10 * math.log10(255**2 / mean)


def edge_agreement(x: npt.NDArray[Any], y: npt.NDArray[Any], where: Bools | None = None, tolerance: int = 1) -> float:
    """Returns the F1 score of the edges of two planes: 1 where each edge of one is an edge of the other.

    An edge is a pixel whose gradient is `EDGE` or steeper. It is found in the other plane where that has, within
    `tolerance` pixels, a gradient of at least half (`EDGE_SHARE`) its strength: so the score falls when edges are lost,
    blurred, moved or invented, and not when a gradient crosses a threshold by a hair. No edges in either: 1.

    Args:
        x: [H, W], values 0 .. 255.
        y: [H, W], likewise.
        where: bool [H, W], the pixels whose edges count; None: all.
        tolerance: in pixels.
    """
    return agreement(edge_counts(x, y, where, tolerance))


def edge_counts(
    x: npt.NDArray[Any], y: npt.NDArray[Any], where: Bools | None = None, tolerance: int = 1
) -> npt.NDArray[np.int64]:
    """Returns what `agreement` needs, to be summed over parts: edges of x, those found in y, edges of y, those in x.

    Args:
        x: see `edge_agreement`; so are `y`, `where` and `tolerance`.
    """
    gx = _steepness(x)
    gy = gx if y is x else _steepness(y)
    counts = []
    for one, other in ((gx, gy), (gy, gx)):
        edges = one >= EDGE**2 if where is None else (one >= EDGE**2) & where
        counts.append(np.count_nonzero(edges))
        found = edges if one is other else edges & (max_filter(other, tolerance) >= EDGE_SHARE**2 * one)
        counts.append(np.count_nonzero(found))
    return np.array(counts)


def agreement(counts: npt.NDArray[np.int64]) -> float:
    """Returns the F1 score of `edge_counts`."""
    of_x, found_x, of_y, found_y = counts.tolist()
    if not of_x or not of_y:
        return 1.0 if of_x == of_y else 0.0  # Edges in one alone: none of them is in the other.
    one, other = found_x / of_x, found_y / of_y
    return 2 * one * other / (one + other) if one + other else 0.0


class Tail:
    """A high percentile of many values, met part by part: exact, and only the largest of them are kept.

    Args:
        count: how many values there are; those that are not added are 0.
        percent: of the percentile, 0 .. 100; between two values it is interpolated, as in numpy.
    """

    def __init__(self, count: int, percent: float) -> None:
        place = percent / 100 * (count - 1)
        self._size, self._part = count - math.floor(place), place - math.floor(place)
        self._kept = np.zeros(self._size, np.float32)

    def add(self, values: npt.NDArray[np.float32]) -> None:
        """Adds values of 0 or more, [N]."""
        kept = np.concatenate([self._kept, values[values > self._kept[0]]])
        if len(kept) > self._size:
            kept.partition(len(kept) - self._size)
            self._kept = kept[-self._size :].copy()

    @property
    def largest(self) -> float:
        """The largest value."""
        return float(self._kept.max())

    @property
    def percentile(self) -> float:
        """The percentile."""
        low, high = np.sort(self._kept)[[0, min(1, self._size - 1)]].tolist()
        return float(low + (high - low) * self._part)


def lightness(pixels: Pixels) -> npt.NDArray[np.float32]:
    """Returns RGB [H, W, 3] as luma [H, W] (ITU-R BT.601), not rounded, 0 .. 255."""
    return np.asarray(pixels @ np.array([0.299, 0.587, 0.114], np.float32))


def _steepness(plane: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Returns the square of Sobel's gradient, scaled so that a step of n levels gives n^2."""
    p: npt.NDArray[np.float32] = np.pad(plane.astype(np.float32), 1, mode="edge")
    across = p[:-2] + 2 * p[1:-1] + p[2:]
    down = p[:, :-2] + 2 * p[:, 1:-1] + p[:, 2:]
    x, y = across[:, 2:] - across[:, :-2], down[2:] - down[:-2]
    return np.asarray((x * x + y * y) / 16, np.float32)
