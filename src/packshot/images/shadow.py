"""Shadows of products: made under one, kept from a photo, or found in the transparency of a cut-out.

A shadow is a plane [H, W] of values 0 .. 1: the share of the light that the backdrop loses there.

Letters: u the longer side of the product's box, which all lengths are shares of; y0 the ground, the box's lowest row;
I the photo's lightness, B that of the clean backdrop, fitted as log B = p(x, y), a polynomial of degree 2.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from packshot.images.compare import lightness
from packshot.images.filters import Bools, blur, blur_known, dilate
from packshot.images.placing import box_of
from packshot.images.resize import Pixels

Plane = npt.NDArray[np.float32]
Shadow = Literal["none", "keep", "contact", "soft"]

WORKING_SIDE = 512
"""Longest side, in pixels, at which shadows are made: they are smooth."""
FLOOR = 0.012
"""What is taken off a shadow, so that it ends and the white beyond stays 255."""
FADE = 0.05
MAX_KEPT = 0.75
FAR = 0.02
"""The share of the photo that has to lie away from the product, to judge the backdrop by."""
THIN = 3
OWN = 0.1
"""The least size of a shadow in a cut-out, as a share of the opaque product's: less is soft edge."""
PATTERNED = 0.042
"""How much a backdrop's smoothed lightness may vary (standard deviation of its logarithm) to show a shadow."""


def contact_shadow(alpha: Pixels) -> Plane:
    """Returns the shadow of a product that stands on the ground, for its matte uint8 [H, W].

    The silhouette, squashed onto the ground and blurred, and a dark narrow line where the product comes near to it.
    """
    small, u = _small(alpha)
    if not u:
        return np.zeros(alpha.shape, np.float32)
    rows = np.arange(small.shape[0], dtype=np.float32)
    y0 = box_of(small >= 0.5).bottom - 1
    height = np.maximum(y0 - rows, 0)[:, None] / u
    flat = _rows(small * np.exp(-height / 0.3), y0 - (y0 + 0.006 * u - rows) / 0.09)
    wide = blur(flat, 0.026 * u, 0.0)
    line = blur(_rows(small * np.exp(-height / 0.035), rows - 0.006 * u), 0.008 * u, 0.0)
    return _large(_over(0.55 * wide, 0.5 * line), alpha.shape)


def soft_shadow(alpha: Pixels) -> Plane:
    """Returns the shadow of a product that lies flat under soft light from above, for its matte uint8 [H, W]."""
    small, u = _small(alpha)
    if not u:
        return np.zeros(alpha.shape, np.float32)
    rows = np.arange(small.shape[0], dtype=np.float32)
    wide = blur(_rows(small, rows - 0.022 * u), 0.03 * u, 0.0)
    near = blur(_rows(small, rows - 0.006 * u), 0.009 * u, 0.0)
    return _large(_over(0.26 * wide, 0.22 * near), alpha.shape)


def kept_shadow(photo: Pixels, alpha: Pixels) -> Plane | None:
    """Returns the shadow that a photo shows around its product, or None where its backdrop does not let one be seen.

    The lightness of the backdrop around the product is divided by what it would be without a shadow: a smooth plane,
    fitted to the backdrop so that pixels darker than it count little.

    Args:
        photo: uint8 [H, W, 3].
        alpha: the product's matte, uint8 [H, W].
    """
    small, u = _small(alpha)
    if not u:
        return None
    size = (small.shape[1], small.shape[0])
    light = lightness(np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BOX)))
    known = ~dilate(small > 0.02, max(1, round(0.006 * u)))
    if np.count_nonzero(known) < 0.05 * known.size:
        return None
    log = np.log(np.maximum(light, 1.0)).astype(np.float32)
    clean = _fitted(log, known)
    seen = blur_known(log - clean, known.astype(np.float32), 0.016 * u).astype(np.float32)
    reach = np.clip(2.2 * blur((small > 0.5).astype(np.float32), 0.09 * u, 0.0), 0, 1)
    far = known & (reach < 0.3)
    if np.count_nonzero(far) < FAR * known.size or float(seen[far].std()) > PATTERNED:
        return None
    lost = np.clip((1 - np.exp(seen) - 0.03) / 0.97, 0, MAX_KEPT).astype(np.float32) * reach
    under = blur_known(lost, known.astype(np.float32), 0.02 * u)
    return _large(blur(np.where(known, lost, under), 0.006 * u, 0.0), alpha.shape)


def faded(shadow: Plane) -> Plane:
    """Returns a shadow [H, W] that ends before the frame does: it fades over the outermost pixels (`FADE`)."""
    ramps = []
    for length in shadow.shape:
        at = np.arange(length, dtype=np.float32)
        ramps.append(np.clip(np.minimum(at, length - 1 - at) / max(1.0, FADE * length), 0, 1))
    return np.asarray(shadow * ramps[0][:, None] * ramps[1][None, :], np.float32)


def own_shadow(cutout: Pixels) -> Bools:
    """Returns where a cut-out, RGBA [H, W, 4], holds a shadow and no product: half transparent, dark grey, at the foot.

    At the foot means that nothing opaque lies below in the same column.
    """
    colours, alpha = cutout[..., :3], cutout[..., 3]
    opaque = alpha >= 250
    above = np.flip(np.logical_or.accumulate(np.flip(opaque, axis=0), axis=0), axis=0)
    dark = (colours.max(axis=2) <= 96) & (np.ptp(colours, axis=2) <= 48)
    found = np.asarray((alpha > 0) & (alpha < 235) & dark & ~above & ~dilate(opaque, 1))
    # A dark product's soft edge is thin, and a shadow is not.
    shadow = found & dilate(~dilate(~found, THIN), 4 * THIN)
    large = opaque.any() and np.count_nonzero(shadow) >= OWN * np.count_nonzero(opaque)
    return shadow if large else np.zeros_like(shadow)


def _small(alpha: Pixels) -> tuple[Plane, float]:
    """Returns the matte 0 .. 1 at the working size, and u; 0 where there is no product."""
    factor = min(1.0, WORKING_SIDE / max(alpha.shape))
    size = max(1, round(alpha.shape[1] * factor)), max(1, round(alpha.shape[0] * factor))
    small = np.asarray(Image.fromarray(alpha).resize(size, Image.Resampling.BOX), np.float32) / np.float32(255)
    if not (small >= 0.5).any():
        return small, 0.0
    box = box_of(small >= 0.5)
    return small, float(max(box.height, box.width))


def _rows(plane: Plane, at: npt.NDArray[np.float32]) -> Plane:
    """Returns the rows of a plane at these places, interpolated; 0 beyond it."""
    padded = np.pad(plane, ((1, 1), (0, 0)))
    at = np.clip(at + 1, 0, padded.shape[0] - 1)
    low = np.minimum(at.astype(np.int64), padded.shape[0] - 2)
    part = (at - low).astype(np.float32)[:, None]
    return np.asarray(padded[low] * (1 - part) + padded[low + 1] * part, np.float32)


def _over(one: npt.NDArray[np.floating], other: npt.NDArray[np.floating]) -> Plane:
    return np.asarray(1 - (1 - one) * (1 - other), np.float32)


def _large(plane: npt.NDArray[np.floating], shape: tuple[int, ...]) -> Plane:
    plane = np.clip((plane - FLOOR) / (1 - FLOOR), 0, 1).astype(np.float32)
    large = Image.fromarray(plane).resize((shape[1], shape[0]), Image.Resampling.BICUBIC)
    return np.asarray(np.clip(np.asarray(large), 0, 1), np.float32)


def _fitted(log: Plane, known: Bools) -> Plane:
    """Returns p(x, y), fitted to the known values; those far below it count less with each of the rounds."""
    height, width = log.shape
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=-1)
    every = max(1, int(np.sqrt(np.count_nonzero(known) / 20_000)))
    chosen = np.zeros_like(known)
    chosen[::every, ::every] = True
    chosen &= known
    if np.count_nonzero(chosen) < 50:
        chosen = known
    a, b = terms[chosen], log[chosen].astype(np.float64)
    weight = np.ones(len(b))
    solution = np.zeros(terms.shape[-1])
    for _ in range(8):
        root = np.sqrt(weight)[:, None]
        solution = np.linalg.lstsq(a * root, b * root[:, 0], rcond=1e-6)[0]
        off = b - a @ solution
        scale = max(0.01, float(np.median(np.abs(off))))
        weight = np.where(off < 0, 1 / (1 + (off / scale) ** 2), 1 / (1 + (off / (3 * scale)) ** 2))
    return (terms @ solution).astype(np.float32)
