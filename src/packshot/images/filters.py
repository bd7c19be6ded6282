"""Smoothing and growing of planes, in numpy: a Gaussian, a normalised Gaussian, and grey dilation.

In numpy, since that takes a half (the Gaussian) to a thirtieth (dilation) of the time of scipy.ndimage's filters for
the few pixels of reach that are needed here.

Letters: x a plane, w its weights (how much each value is known), g a Gaussian, * convolution.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]

TRUNCATE = 3.0
"""A Gaussian is cut at this many standard deviations."""
COARSE_SIGMA = 12.0
"""Above this standard deviation the Gaussian is computed on a smaller plane: nothing finer is left of it."""


def gaussian_window(sigma: float, radius: int) -> npt.NDArray[np.float64]:
    """Returns a Gaussian of 2 `radius` + 1 taps that sum to 1."""
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return np.asarray(taps / taps.sum())


def correlate(plane: Floats, window: npt.NDArray[np.float64]) -> Floats:
    """Returns a plane [H, W] filtered by `window` along both axes, where the window fits: [H - n + 1, W - n + 1]."""
    for axis in (0, 1):
        length = plane.shape[axis] - len(window) + 1
        out = np.zeros((length, plane.shape[1]) if axis == 0 else (plane.shape[0], length), plane.dtype)
        part = np.empty_like(out)
        for i, tap in enumerate(window.astype(plane.dtype)):
            out += np.multiply(plane[i : i + length] if axis == 0 else plane[:, i : i + length], tap, out=part)
        plane = out
    return plane


def blur(plane: Floats, sigma: float, outside: float | None = None) -> Floats:
    """Returns g * x for a plane [H, W].

    Args:
        plane: float32 or float64.
        sigma: the Gaussian's standard deviation in pixels; 0 returns the plane itself.
        outside: the value beyond the border; None: the border's own value goes on.
    """
    if sigma <= 0:
        return plane
    if sigma > COARSE_SIGMA and min(plane.shape) >= 2:
        return _coarse(plane, sigma, outside)
    radius = max(1, int(np.ceil(TRUNCATE * sigma)))
    if outside is None:
        padded = np.pad(plane, radius, mode="edge")
    else:
        padded = np.pad(plane, radius, constant_values=outside)
    return correlate(padded, gaussian_window(sigma, radius))


def blur_known(plane: Floats, known: Floats, sigma: float) -> Floats:
    """Returns (g * (w x)) / (g * w): a Gaussian over the known values alone; 0 where none is in reach."""
    weight = blur(known, sigma, 0.0)
    return np.asarray(blur(plane * known, sigma, 0.0) / np.maximum(weight, 1e-6))


def fill_unknown(planes: Floats, known: Bools) -> npt.NDArray[np.float32]:
    """Returns planes [H, W, C] whose unknown pixels continue the known ones smoothly; known ones stay as they are.

    A pyramid of means of the known pixels, each level half as large, is filled from the top (Burt's push-pull): next
    to a known pixel the result follows it, far from all it is the mean of many. No pixel known: 0.

    Args:
        planes: float32 or float64.
        known: bool [H, W].
    """
    values = planes.astype(np.float32)
    weight = known[..., None].astype(np.float32)
    values = values * weight
    levels = [(values, weight)]
    while max(levels[-1][0].shape[:2]) > 1:
        levels.append(_halved(*levels[-1]))
    filled = levels[-1][0]
    for values, weight in reversed(levels[:-1]):
        filled = values * weight + _doubled(filled, values.shape[0], values.shape[1]) * (1 - weight)
    return filled


def dilate(mask: Bools, radius: int) -> Bools:
    """Returns a mask [H, W] grown by `radius` pixels in a square (Chebyshev distance)."""
    return np.asarray(max_filter(mask.view(np.uint8), radius).view(np.bool_)) if radius else mask


def max_filter(plane: npt.NDArray[Any], radius: int) -> npt.NDArray[Any]:
    """Returns the maximum over the square of 2 `radius` + 1 pixels about each pixel of a plane [H, W]."""
    for axis in (0, 1):
        reach = min(radius, plane.shape[axis] - 1)
        step = 1
        done = 0
        while done < reach:  # Maxima of maxima: the number of passes grows with the logarithm of the radius.
            step = min(max(1, done), reach - done) if done else 1
            out = plane.copy()
            ahead, behind = _shifted(axis, step)
            np.maximum(out[behind], plane[ahead], out=out[behind])
            np.maximum(out[ahead], plane[behind], out=out[ahead])
            plane = out
            done += step
    return plane


def _shifted(axis: int, step: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    whole = slice(None)
    ahead, behind = slice(step, None), slice(None, -step)
    return ((ahead, whole), (behind, whole)) if axis == 0 else ((whole, ahead), (whole, behind))


def _coarse(plane: Floats, sigma: float, outside: float | None) -> Floats:
    from PIL import Image

    factor = int(sigma // (COARSE_SIGMA / 3))
    height, width = (max(1, -(-n // factor)) for n in plane.shape)
    pad = ((0, height * factor - plane.shape[0]), (0, width * factor - plane.shape[1]))
    even = np.pad(plane, pad, mode="edge") if outside is None else np.pad(plane, pad, constant_values=outside)
    small = even.reshape(height, factor, width, factor).mean(axis=(1, 3), dtype=np.float32)
    small = blur(small, sigma / factor, outside)
    size = (width * factor, height * factor)
    large = np.asarray(Image.fromarray(small).resize(size, Image.Resampling.BICUBIC))
    return large[: plane.shape[0], : plane.shape[1]].astype(plane.dtype)


def _halved(
    values: npt.NDArray[np.float32], weight: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Returns the mean of each 2 x 2 pixels that are known, and whether any of them is."""
    height, width = (-(-n // 2) for n in values.shape[:2])
    pad = ((0, 2 * height - values.shape[0]), (0, 2 * width - values.shape[1]), (0, 0))
    blocks = np.pad(values * weight, pad).reshape(height, 2, width, 2, -1).sum(axis=(1, 3))
    total = np.pad(weight, pad).reshape(height, 2, width, 2, 1).sum(axis=(1, 3))
    return blocks / np.maximum(total, 1e-6), np.minimum(total, 1.0)


def _doubled(values: npt.NDArray[np.float32], height: int, width: int) -> npt.NDArray[np.float32]:
    """Returns planes twice as large, between pixels interpolated linearly (weights 3/4 and 1/4)."""
    for axis in (0, 1):
        before = np.concatenate([values.take([0], axis), values.take(range(values.shape[axis] - 1), axis)], axis)
        after = np.concatenate([values.take(range(1, values.shape[axis]), axis), values.take([-1], axis)], axis)
        pair = np.stack([0.75 * values + 0.25 * before, 0.75 * values + 0.25 * after], axis + 1)
        shape = list(values.shape)
        shape[axis] *= 2
        values = pair.reshape(shape).astype(np.float32)
    return values[:height, :width]
