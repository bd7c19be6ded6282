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
        small = _scaled(canvas, *size)
        filled, how = _filled(small, _scaled_mask(known, *size), _scaled_mask(background, *size))
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
    smooth = np.stack([blur_known(image[..., c], weight, SMOOTH) for c in range(3)], axis=-1).astype(np.float32)
    rest = image - smooth
    band = _band(known)
    near = background & band
    border = known & dilate(~known, 1)
    off = np.abs(rest).max(axis=2)[border & background] > 3 * OFF
    plain = float(rest[near].std(axis=0).mean()) <= PLAIN and (not off.size or off.mean() <= BROKEN)
    if not plain and np.count_nonzero(background) > 1000:
        return Continued(fill_patches(canvas, ~known, allowed=background), "patches")
    out = canvas.copy()
    out[~known] = _clipped(fill_unknown(smooth, background)[~known] + _mirrored_rest(rest, known, background))
    return Continued(out, "smooth")


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
