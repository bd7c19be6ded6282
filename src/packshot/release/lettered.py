"""Whether the lettering of a product is what it was: its texts before and after an edit, compared one by one.

Texts are found in the photo (`packshot.images.text`, no network), at a reduced size. Each is compared at the full size
by its strokes: what is left of the lightness when the mean about each pixel is taken away. Lighter or darker, a text
stays the same; faded, blurred, moved or redrawn it does not.

Letters: x, y the strokes of a text before and after; s = 2 <x, y> / (<x, x> + <y, y>), which is 1 for x = y alone.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from packshot.images.filters import Bools, dilate
from packshot.images.resize import Pixels, to_grey
from packshot.images.text import WORKING_SIDE, find_text

JOINED = 4
"""Pixels of the working size by which the boxes of letters are widened: those of one text touch then."""
SEEN = 0.9
"""Share of a text's box that has to lie in the region."""

Box = tuple[slice, slice]
Floats = npt.NDArray[np.float32]


def find_texts(pixels: Pixels, region: Bools) -> list[Box]:
    """Returns the boxes of the texts in a picture that lie in a region, rows and columns, from top to bottom.

    Args:
        pixels: uint8 [H, W, 3 or 4].
        region: bool [H, W].
    """
    height, width = region.shape
    scale = min(1.0, WORKING_SIDE / max(height, width))
    h, w = max(1, round(height * scale)), max(1, round(width * scale))
    step = max(1, max(height, width) // (2 * WORKING_SIDE))  # Twice what is looked at, however large the picture is.
    grey = Image.fromarray(to_grey(np.ascontiguousarray(pixels[::step, ::step]))[..., 0])
    small = np.asarray(grey.resize((w, h), Image.Resampling.BILINEAR))
    mask = np.zeros((h, w), np.bool_)
    for mark in find_text(small[..., None]):
        mask[mark.top : mark.bottom, mark.left : mark.right] = True
    if not mask.any():
        return []
    labels, _ = ndimage.label(dilate(mask, JOINED))
    boxes = []
    for rows, columns in ndimage.find_objects(labels):
        box = (
            slice(math.floor(rows.start * height / h), math.ceil(rows.stop * height / h)),
            slice(math.floor(columns.start * width / w), math.ceil(columns.stop * width / w)),
        )
        if region[box].mean() >= SEEN:
            boxes.append(box)
    return boxes


def text_agreement(before: Pixels, after: Pixels, region: Bools) -> float | None:
    """Returns s of the text that changed most, -1 .. 1; None: there is no text in the region.

    Args:
        before: uint8 [H, W, 3 or 4].
        after: of the same height and width.
        region: bool [H, W], the product.
    """
    agree = [_agree(before[box], after[box], region[box]) for box in find_texts(before, region)]
    return round(min(agree), 6) if agree else None


def _agree(before: Pixels, after: Pixels, region: Bools) -> float:
    # Outside the region the photo stands in for the result: what changed there is not the product's.
    one, other = (to_grey(np.ascontiguousarray(p))[..., 0].astype(np.float32) for p in (before, after))
    x, y = _strokes(one), _strokes(np.where(region, other, one))
    both = float(np.vdot(x, x)) + float(np.vdot(y, y))
    return 2 * float(np.vdot(x, y)) / both if both else 1.0


def _strokes(plane: Floats) -> Floats:
    return np.asarray(plane - ndimage.uniform_filter(plane, max(5, plane.shape[0] // 3), mode="nearest"))
