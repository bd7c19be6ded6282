"""Backgrounds that go on beyond a photo's border: smoothly with the photo's own noise, or as texture from patches.

Letters: I the photo on its larger canvas, S = I smoothed, R = I - S what is left of it (noise, fine texture); a plain
background becomes S continued + R mirrored at the border.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from packshot.images.filters import Bools, blur_known, dilate, fill_unknown
from packshot.images.patches import fill_patches
from packshot.images.resize import Pixels

WORKING_SIDE = 720
"""Longest side, in pixels, at which backgrounds are continued; finer texture is mirrored into larger canvases."""
GUESSING_SIDE = 400
"""Longest side, in pixels, at which a product is guessed."""
SMOOTH = 4.0
"""Pixels over which a plain background is smoothed."""
TWICE = 3
"""Times that what is left of a smoothed background is smoothed and added: at the photo's border, where smoothing sees
one side alone, a slope would be missed (Tukey's twicing)."""
ALONG = 0.35
"""How wide its colours are blurred along the photo's border, for each pixel of distance from it."""
BEHIND = 24
"""Pixels at the border in which a textured background goes on behind the product."""
BAND = 0.06
"""The border's band that a background is judged by, as a share of the photo's shorter side."""
PLAIN = 4.0
"""Up to this standard deviation of R, in levels, a background is plain."""
OFF = 14.0
"""Levels by which a pixel differs from the background, at least, that is taken for the product's."""
BROKEN = 0.02
"""The share of the photo's border that may differ so in a plain background."""

Planes = npt.NDArray[np.float32]


class Continued(NamedTuple):
    """A canvas without a hole, and how it was filled: "smooth" or "patches"."""

    pixels: Pixels
    how: str


def continue_background(canvas: Pixels, known: Bools, product: Bools) -> Continued:
    """Fills what is not known of a canvas with the background of what is.

    Args:
        canvas: uint8 [H, W, 3]; what stands in the unknown part has no influence.
        known: bool [H, W], a rectangle: the photo.
        product: bool [H, W], what of the photo is no background.

    Returns:
        The canvas; known pixels are bit-identical. A photo that is nothing but product goes on as it is at its border.
    """
    background = known & ~product
    if np.count_nonzero(background & _band(known)) < 10:
        background = known
    height, width = known.shape
    factor = WORKING_SIDE / max(height, width)
    if factor >= 1:
        filled, how = _filled(canvas, known, background)
    else:
        size = max(1, round(height * factor)), max(1, round(width * factor))
        small_known = _scaled_mask(known, *size)
        if not small_known.any():  # A line of pixels on a large canvas: its ends go on.
            rows, columns = _nearest(known)
            return Continued(np.ascontiguousarray(canvas[rows][:, columns]), "smooth")
        small = _scaled(canvas, *size)
        filled, how = _filled(small, small_known, _scaled_mask(background, *size))
        filled = _scaled(filled, height, width).copy()
        rest = canvas.astype(np.float32) - filled
        filled[~known] = _clipped(filled[~known] + _mirrored_rest(rest, known, background))
    out = canvas.copy()
    out[~known] = filled[~known]
    return Continued(out, how)


def _filled(canvas: Pixels, known: Bools, background: Bools) -> Continued:
    """Returns a canvas whose unknown part is filled, at the canvas's own size."""
    image = canvas.astype(np.float32)
    weight = background.astype(np.float32)
    smooth = _blurred(image, weight)
    rest = image - smooth
    band = _band(known)
    near = background & band
    border = known & dilate(~known, 1)
    off = np.abs(rest).max(axis=2)[border & background] > 3 * OFF
    plain = float(rest[near].std(axis=0).mean()) <= PLAIN and (not off.size or off.mean() <= BROKEN)
    if not plain and np.count_nonzero(background) > 1000:
        # A product that the border cuts off is not to be seen by what goes on beside it, or it leaves smears there.
        cut_off = known & ~background & dilate(~known, BEHIND)
        return Continued(fill_patches(canvas, ~known | cut_off, allowed=background), "patches")
    for _ in range(TWICE):
        smooth += _blurred(rest, weight)
        rest = image - smooth
    out = canvas.copy()
    beyond = _beyond(fill_unknown(smooth, background), known)
    out[~known] = _clipped(beyond + _mirrored_rest(rest, known, background))
    return Continued(out, "smooth")


def _blurred(image: Planes, weight: Planes) -> Planes:
    return np.stack([blur_known(image[..., c], weight, SMOOTH) for c in range(3)], axis=-1).astype(np.float32)


def guess_product(photo: Pixels) -> Bools:
    """Returns what of a photo [H, W, 3] differs from its border by more than the border does from itself.

    The border's colours are continued over the photo as planes of degree 2, fitted so that a product that touches the
    border counts little.
    """
    size = photo.shape[:2]
    factor = min(1.0, GUESSING_SIDE / max(size))
    height, width = (max(1, round(n * factor)) for n in size)
    image = (photo if factor == 1 else _scaled(photo, height, width)).astype(np.float32)
    everywhere = np.ones((height, width), np.float32)
    smooth = np.stack([blur_known(image[..., c], everywhere, 2.0) for c in range(3)], axis=-1)
    band = _band(np.ones((height, width), np.bool_))
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=-1)
    a, b = terms[band], smooth[band]
    off = np.abs(b - np.median(b, axis=0)).max(axis=1)
    solution = np.zeros((terms.shape[-1], 3))
    for _ in range(6):
        root = 1 / np.sqrt(1 + (off / max(2.0, float(np.median(off)))) ** 2)[:, None]
        solution = np.linalg.lstsq(a * root, b * root, rcond=1e-6)[0]
        off = np.abs(b - a @ solution).max(axis=1)
    limit = OFF + 3 * float(np.median(off))
    found = np.abs(smooth - terms @ solution).max(axis=2) > limit
    # What is only at the border belongs to the room, not to the product: a skirting, a shelf, the edge of a sheet.
    parts, _ = ndimage.label(found)
    middle = parts[height // 4 : height - height // 4, width // 4 : width - width // 4]
    product = dilate(found & np.isin(parts, np.unique(middle[middle > 0])), 2)
    return product if factor == 1 else np.asarray(_scaled(product.view(np.uint8) * np.uint8(255), *size) >= 128)


def _band(known: Bools) -> Bools:
    """Returns the outermost pixels of a rectangle of known ones."""
    rows, columns = np.flatnonzero(known.any(axis=1)), np.flatnonzero(known.any(axis=0))
    depth = max(3, round(BAND * min(len(rows), len(columns))))
    out = known.copy()
    out[rows[0] + depth : rows[-1] + 1 - depth, columns[0] + depth : columns[-1] + 1 - depth] = False
    return out


def _beyond(smooth: Planes, known: Bools) -> Planes:
    """Returns S for the N unknown pixels, [N, 3]: the colour of the border's nearest pixel.

    It is blurred along the border, the more the further away, so that no streaks run outwards; and only along it: a
    photo that is darker at its border goes on darker, and no frame stays around it.
    """
    rows, columns = np.flatnonzero(known.any(axis=1)), np.flatnonzero(known.any(axis=0))
    top, bottom, left, right = (int(i) for i in (rows[0], rows[-1], columns[0], columns[-1]))
    h, w = bottom - top, right - left
    sides = (
        smooth[top, left:right],
        smooth[top:bottom, right],
        smooth[bottom, left + 1 : right + 1][::-1],
        smooth[top + 1 : bottom + 1, left][::-1],
    )
    ring = np.concatenate(sides) if h + w else smooth[top, left : left + 1]
    y, x = np.nonzero(~known)
    near = _nearest(known)
    near_y, near_x = near[0][y], near[1][x]
    at = np.select(
        [y < top, x > right, y > bottom],
        [near_x - left, w + near_y - top, w + h + right - near_x],
        2 * w + h + bottom - near_y,
    ) % len(ring)
    away = ALONG * np.hypot(y - near_y, x - near_x)
    level = np.log2(np.clip(away, 1, max(1.0, len(ring) / 8))).astype(np.float32)
    widths = [2.0**k for k in range(int(level.max(initial=0)) + 2)]
    blurred = np.stack([ndimage.gaussian_filter1d(ring, width, axis=0, mode="wrap") for width in widths])
    low = level.astype(np.intp)
    share = (level - low)[:, None]
    return np.asarray(blurred[low, at] * (1 - share) + blurred[low + 1, at] * share, np.float32)


def _mirrored_rest(rest: Planes, known: Bools, background: Bools) -> Planes:
    """Returns R for the N unknown pixels, [N, 3]: mirrored at the border or, where that is a product, noise like R."""
    near = background & _band(known)
    rows = _mirrored(np.flatnonzero(known.any(axis=1)), known.shape[0])
    columns = _mirrored(np.flatnonzero(known.any(axis=0)), known.shape[1])
    y, x = np.nonzero(~known)
    size = rest[near].std(axis=0)
    out = np.clip(rest[rows[y], columns[x]], -3 * size, 3 * size)
    made = ~background[rows[y], columns[x]]
    out[made] = np.random.default_rng(0).standard_normal((int(made.sum()), 1), np.float32) * size
    return out.astype(np.float32)


def _nearest(known: Bools) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Returns for each row, and for each column, of a canvas the nearest one of the known rectangle."""
    rows, columns = np.flatnonzero(known.any(axis=1)), np.flatnonzero(known.any(axis=0))
    return (
        np.clip(np.arange(known.shape[0]), rows[0], rows[-1]),
        np.clip(np.arange(known.shape[1]), columns[0], columns[-1]),
    )


def _mirrored(inside: npt.NDArray[np.int64], length: int) -> npt.NDArray[np.int64]:
    """Returns for each place along an axis the one that it mirrors, at the ends of `inside` and back again."""
    first, n = int(inside[0]), len(inside)
    at = (np.arange(length) - first) % (2 * n)
    return np.asarray(first + np.where(at < n, at, 2 * n - 1 - at))


def _clipped(image: Planes) -> Pixels:
    return np.asarray(np.clip(image + 0.5, 0, 255), np.uint8)


def _scaled(pixels: Pixels, height: int, width: int) -> Pixels:
    filter_ = Image.Resampling.BOX if height < pixels.shape[0] else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(pixels).resize((width, height), filter_))


def _scaled_mask(mask: Bools, height: int, width: int) -> Bools:
    """Returns where all of a pixel lies in the mask."""
    return np.asarray(_scaled(mask.view(np.uint8) * np.uint8(255), height, width) == 255)
