"""Alpha mattes as arrays: refined along the photo's edges, cleared of specks, and the product's own edge colours.

Windows are looked at in a small copy of the picture (`WORKING_SIDE`), and what comes of it is applied to each pixel of
the photo near an edge; so the cost hardly grows with the photo.

Source: He et al. 2013, "Guided Image Filtering", eq. 14, 16, 19 and 20 (colour guide); He and Sun 2015,
arXiv:1505.00996 (coefficients from a small copy); Forte 2021, "Approximate Fast Foreground Colour Estimation" (blur
fusion), eq. 4-6.

Letters: I photo, p rough alpha, q refined alpha, a and b of q = a . I + b in each window, eps how flat a window has to
be to be smoothed; F and B colours of product and background: I = alpha F + (1 - alpha) B; H W the photo's size, h w
the small copy's.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter
from scipy import ndimage

from packshot.images.filters import Bools, dilate
from packshot.images.resize import Pixels

Floats = npt.NDArray[np.float32]
Places = tuple[npt.NDArray[np.intp], ...]
"""Rows and columns of pixels, as `np.nonzero` gives them."""

WORKING_SIDE = 384
"""Longest side, in pixels, at which windows are looked at."""
SURE = 0.02
"""An alpha this near to 0 or 1 counts as 0 or 1 where no edge is near."""
STEEPER = 1.5
"""Means of windows make an edge softer than it is; its slope times this is nearest to the true one (measured on
packshots with true alpha: half the error of 1)."""


def box_mean(x: Floats, radius: int) -> Floats:
    """Returns the mean of x [H, W, C] over windows of 2 radius + 1 pixels, cut off at the border."""
    size = (2 * radius + 1, 2 * radius + 1, 1)
    inside = ndimage.uniform_filter(np.ones((*x.shape[:2], 1), np.float32), size, mode="constant")
    return np.asarray(ndimage.uniform_filter(x, size, mode="constant") / inside)


def scale_plane(x: Floats, height: int, width: int) -> Floats:
    """Returns x [h, w] as [height, width], bilinear, antialiased where it becomes smaller."""
    if x.shape == (height, width):
        return x
    plane = Image.fromarray(np.ascontiguousarray(x, dtype=np.float32))
    return np.asarray(plane.resize((width, height), Image.Resampling.BILINEAR))


def working_copy(photo: Pixels) -> Floats:
    """Returns the photo [H, W, 3] as float32 [h, w, 3] in [0, 1], its longer side `WORKING_SIDE` at most."""
    height, width = photo.shape[:2]
    factor = min(1.0, WORKING_SIDE / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = photo if factor == 1 else np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BOX))
    return np.asarray(small, np.float32) / np.float32(255)


def sampled(x: Floats, places: Places, height: int, width: int) -> Floats:
    """Returns x [h, w, C] at pixels of a picture [height, width] that it is a small copy of: [N, C], bilinear."""
    low, share = [], []
    for at, n, large in zip(places, x.shape[:2], (height, width), strict=True):
        exact = np.clip((at + 0.5) * n / large - 0.5, 0, n - 1)
        below = np.minimum(exact.astype(np.intp), max(0, n - 2))
        low.append(below)
        share.append((exact - below).astype(np.float32)[:, None])
    (r, c), (v, u) = low, share
    below, right = np.minimum(r + 1, x.shape[0] - 1), np.minimum(c + 1, x.shape[1] - 1)
    upper, lower = x[r, c] * (1 - u) + x[r, right] * u, x[below, c] * (1 - u) + x[below, right] * u
    return np.asarray(upper * (1 - v) + lower * v, np.float32)


def guided_filter(photo: Pixels, alpha: Floats, *, radius: int = 6, eps: float = 3e-5) -> Floats:
    """Moves the edges of a rough alpha to the edges of the photo; elsewhere it stays, or is 0 or 1 if it nearly is.

    Where alpha does not cross a half, as in a lens or a veil, is no edge.

    Args:
        photo: uint8 [H, W, 3], the guide.
        alpha: float32 [any, any] in [0, 1], about the same picture.
        radius: of the windows, in pixels of the small copy.
        eps: variance (of values 0 .. 1) below which a window counts as flat.

    Returns:
        float32 [H, W] in [0, 1].
    """
    height, width = photo.shape[:2]
    guide = working_copy(photo)
    h, w = guide.shape[:2]
    p = scale_plane(alpha, h, w)[..., None]
    mean_i, mean_p = box_mean(guide, radius), box_mean(p, radius)
    covariance = box_mean(guide * p, radius) - mean_i * mean_p
    pairs = (guide[..., :, None] * guide[..., None, :]).reshape(h, w, 9)
    sigma = box_mean(pairs, radius).reshape(h, w, 3, 3) - mean_i[..., :, None] * mean_i[..., None, :]
    sigma += eps * np.eye(3, dtype=np.float32)
    a = np.linalg.solve(sigma, covariance[..., None])[..., 0].astype(np.float32)
    b = mean_p - (a * mean_i).sum(2, keepdims=True)
    coefficients = box_mean(np.concatenate([a, b], axis=2), radius)
    q = scale_plane(alpha, height, width).copy()
    product = p[..., 0] > 0.5
    near = dilate(product, radius + 1) & dilate(~product, radius + 1)
    places = np.nonzero(_enlarged(near, height, width))
    at = sampled(coefficients, places, height, width)
    refined = (at[:, :3] * (photo[places].astype(np.float32) / 255)).sum(1) + at[:, 3]
    q[q < SURE], q[q > 1 - SURE] = 0, 1
    q[places] = (refined - 0.5) * STEEPER + 0.5
    return np.clip(q, 0, 1, out=q)


def estimate_foreground(photo: Pixels, alpha: Floats, *, radius: int = 30) -> Pixels:
    """Returns the product's own colours, uint8 [H, W, 3]; where alpha is 0 or 1 they are the photo's, bit by bit.

    Blur fusion, twice: F and B are means of their neighbourhoods, weighted by alpha, and F takes up what is left of I.

    Args:
        photo: uint8 [H, W, 3].
        alpha: float32 [H, W] in [0, 1].
        radius: of the first windows, in pixels of the small copy; the second ones are a quarter of it.
    """
    height, width = alpha.shape
    small = working_copy(photo)
    weight = scale_plane(alpha, *small.shape[:2])[..., None]
    front = back = small
    for r in (radius, max(1, radius // 4)):
        front, back = _weighted_mean(front, weight, r), _weighted_mean(back, 1 - weight, r)
        near = np.concatenate([front, back], axis=2)
        front = np.clip(front + weight * (small - weight * front - (1 - weight) * back), 0, 1)
    places = np.nonzero((alpha > 0) & (alpha < 1))
    f, b = np.split(sampled(near, places, height, width), 2, axis=1)
    share = alpha[places][:, None]
    own = f + share * (photo[places].astype(np.float32) / 255 - share * f - (1 - share) * b)
    out = photo.copy()
    out[places] = np.clip(own * 255 + 0.5, 0, 255).astype(np.uint8)
    return out


def without_specks(alpha: Floats, *, least: float = 0.02) -> tuple[Floats, list[int]]:
    """Removes what is small beside the largest thing, and faint haze far from any thing.

    Args:
        alpha: float32 [h, w] in [0, 1]; a small copy, since the things are found pixel by pixel.
        least: the least area of a thing that stays, as a share of the largest one.

    Returns:
        Alpha without them, and the areas in pixels of the things that stay, largest first.
    """
    labels, n = ndimage.label(alpha > 0.5)
    areas = np.bincount(labels.ravel(), minlength=1)[1:]
    if not n:
        return np.zeros_like(alpha), []
    stays = areas >= least * areas.max()
    kept = np.concatenate([[False], stays])[labels]
    reach = max(2, round(max(alpha.shape) * 0.03))
    near = dilate(kept, reach) & ~((labels > 0) & ~kept)
    return np.where(near, alpha, np.float32(0)), sorted(areas[stays].tolist(), reverse=True)


def without_fluff(alpha: Pixels) -> Pixels:
    """Returns a matte, uint8 [H, W], in which each pixel is the median of the nine about it.

    On a carpet the filter above draws single threads of it, dark ones beside a dark product, say: they go.
    """
    return np.asarray(Image.fromarray(alpha).filter(ImageFilter.MedianFilter(3)))


def _weighted_mean(x: Floats, weight: Floats, radius: int) -> Floats:
    """Returns the mean of x [h, w, 3] over windows, weighted by weight [h, w, 1]; x's own mean where nothing weighs."""
    sums = box_mean(np.concatenate([x * weight, weight, x], axis=2), radius)
    return np.asarray((sums[..., :3] + 1e-5 * sums[..., 4:]) / (sums[..., 3:4] + 1e-5), np.float32)


def _enlarged(mask: Bools, height: int, width: int) -> Bools:
    large = Image.fromarray(mask.view(np.uint8)).resize((width, height), Image.Resampling.NEAREST)
    return np.asarray(large).view(np.bool_)
