"""Fills a hole of a picture smoothly: colours and shading run on from all sides and meet.

Letters: H, W height and width; C channels; L the graph Laplacian of the pixels, (L u)_i = sum over neighbours j of
u_i - u_j; u the filling, which makes |L u|^2 + TENSION * sum of (u_i - u_j)^2 least: a thin plate that keeps slopes
(biharmonic inpainting) near known pixels, a membrane (harmonic) far from them, where a plate would swing too far.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse
from scipy.sparse.linalg import splu

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

TENSION = 0.01
"""A plate up to some 1 / sqrt(TENSION) pixels, at the size at which it is solved."""
MOST = 3000
"""Up to so many unknown pixels the equations are solved directly; a larger hole is solved at half the size."""
SWEEPS = 10
"""Of relaxation, at each size of the membrane."""


def fill_smooth(image: Floats, hole: Mask) -> Floats:
    """Returns an image [H, W, C] with the hole filled smoothly; known pixels stay as they are.

    Args:
        image: float32 [H, W, C]; what stands in the hole has no influence.
        hole: bool [H, W].

    Raises:
        ValueError: nothing is known.
    """
    if hole.all():
        raise ValueError("The hole covers the whole picture; there is nothing to fill it from.")
    if not hole.any():
        return image.copy()
    if hole.sum() <= MOST:
        return _plate(image, hole)
    small, empty = _halved(image, hole)
    if empty.all() or not empty.any():
        return fill_membrane(image, hole)
    coarse = fill_smooth(small, empty)
    height, width = hole.shape
    return fit_guess(image, hole, _doubled(coarse, height, width))


def fit_guess(image: Floats, hole: Mask, guess: Floats) -> Floats:
    """Returns an image [H, W, C] with a guess in its hole, moved to fit what is known around it.

    What the guess lacks on the known pixels it lacks in the hole too, less and less with the distance.

    Args:
        image: float32 [H, W, C].
        hole: bool [H, W].
        guess: float32 [H, W, C], in the hole and on the known pixels.
    """
    return np.where(hole[..., None], guess + fill_membrane(image - guess, hole), image).astype(np.float32)


def _plate(image: Floats, hole: Mask) -> Floats:
    near = ndimage.binary_dilation(hole, iterations=2)
    number = np.full(hole.shape, -1)
    number[near] = np.arange(int(near.sum()))
    pairs = []
    for a, b in ((number[:, :-1], number[:, 1:]), (number[:-1], number[1:])):
        both = (a >= 0) & (b >= 0)
        pairs.append(np.stack([a[both], b[both]]))
    first, second = np.concatenate(pairs, axis=1)
    count = int(near.sum())
    link = sparse.coo_matrix((np.ones(len(first)), (first, second)), (count, count))
    link = link + link.T
    laplacian = (sparse.diags(np.asarray(link.sum(1)).ravel()) - link).tocsr()
    unknown = hole[near]
    rows = laplacian[ndimage.binary_dilation(hole)[near]]
    into, known = rows[:, unknown], rows[:, ~unknown]
    given = image[near][~unknown].astype(np.float64)
    left = into.T @ into + TENSION * laplacian[unknown][:, unknown]
    right = -(into.T @ (known @ given)) - TENSION * (laplacian[unknown][:, ~unknown] @ given)
    out = image.copy()
    out[hole] = splu(left.tocsc()).solve(right)
    low, high = given.min(0), given.max(0)
    out[hole] = np.clip(out[hole], low, high)
    return out


def fill_membrane(image: Floats, hole: Mask) -> Floats:
    """Returns an image [H, W, C] in which each pixel of the hole is about the mean of its four neighbours.

    Solved from coarse to fine with a few sweeps at each size.

    Args:
        image: float32 [H, W, C]; what stands in the hole has no influence.
        hole: bool [H, W], not all of it set.
    """
    out = image.copy()
    if hole.any():
        _relax(out, hole)
    return out


def _relax(image: Floats, hole: Mask) -> None:
    """Fills `image` in place."""
    height, width = hole.shape
    small, empty = _halved(image, hole)
    if empty.any():
        _relax(small, empty)
    y, x = np.nonzero(hole)
    image[y, x] = small[y // 2, x // 2]
    up, down = np.maximum(y - 1, 0), np.minimum(y + 1, height - 1)
    left, right = np.maximum(x - 1, 0), np.minimum(x + 1, width - 1)
    flat = image.reshape(height * width, -1)
    at = y * width + x
    around = np.stack([up * width + x, down * width + x, y * width + left, y * width + right])
    even = (y + x) % 2 == 0
    halves = [(at[part], around[:, part]) for part in (even, ~even)]
    for _ in range(SWEEPS):
        for here, (a, b, c, d) in halves:
            flat[here] = (flat[a] + flat[b] + flat[c] + flat[d]) * np.float32(0.25)


def _halved(image: Floats, hole: Mask) -> tuple[Floats, Mask]:
    """Returns the image at half its size, means of known pixels, and where there is none."""
    height, width = hole.shape
    pad = ((0, height % 2), (0, width % 2))
    known = np.pad((~hole).astype(np.float32), pad)[..., None]
    weighted = np.pad(np.where(hole[..., None], np.float32(0), image), (*pad, (0, 0)))
    count = known[::2, ::2] + known[1::2, ::2] + known[::2, 1::2] + known[1::2, 1::2]
    total = weighted[::2, ::2] + weighted[1::2, ::2] + weighted[::2, 1::2] + weighted[1::2, 1::2]
    return total / np.maximum(count, 1), count[..., 0] == 0


def _doubled(image: Floats, height: int, width: int) -> Floats:
    """Returns the image at twice its size, bilinear, cut to [height, width, C]."""
    out = image
    for axis in (0, 1):
        moved = np.moveaxis(out, axis, 0)
        before, after = np.concatenate([moved[:1], moved[:-1]]), np.concatenate([moved[1:], moved[-1:]])
        twice = np.stack([0.75 * moved + 0.25 * before, 0.75 * moved + 0.25 * after], axis=1)
        out = np.moveaxis(twice.reshape(2 * moved.shape[0], *moved.shape[1:]), 0, axis)
    return np.ascontiguousarray(out[:height, :width], np.float32)
