"""Where text and logos are: regions of even, thin strokes in rows, found without a network.

Strokes are what a closing or an opening of the lightness by a small square removes: thin dark or thin bright marks.
They are put together to marks (connected components); what is as large as letters are, neither a dot nor a line, and
stands beside others of its height on one line, is text. In the spirit of Epshtein et al. 2010, "Detecting Text in
Natural Scenes with Stroke Width Transform", with morphology for the widths. It finds printed text of some contrast,
and patterns that are made like it (a row of small equal motifs) too: to protect those as well does no harm.

Letters: H, W height and width; r half the side of the square, in pixels of the working size.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from packshot.images.filters import blur, dilate, max_filter
from packshot.images.resize import Pixels, resize, to_grey

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

WORKING_SIDE = 640
"""Longest side at which is looked for text."""
RADII = (2, 5)
"""r of strokes of up to 4 and up to 10 pixels."""
CONTRAST = 28
"""Least difference of a stroke from what is around it, of 255."""
ABOVE_TEXTURE = 2.5
"""Strokes stand out by this factor from what three quarters of the picture stay below: where all is thin marks (knit,
fur, tulle, wallpaper), thin marks are not letters."""
LETTER = (6, 120)
"""Least and largest height of a mark, in pixels of the working size."""
IN_A_ROW = 3
"""Marks that make a text."""


class Mark(NamedTuple):
    """A connected component: its box, `bottom` and `right` one past the end, and its number of pixels."""

    top: int
    left: int
    bottom: int
    right: int
    area: int

    @property
    def height(self) -> int:
        """Of the box."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Of the box."""
        return self.right - self.left


def text_mask(pixels: Pixels) -> Floats:
    """Returns where text is: float32 [H, W], 1 on it, 0 off it, with a soft edge.

    Args:
        pixels: uint8 [H, W, 3 or 4].
    """
    height, width = pixels.shape[:2]
    scale = min(1.0, WORKING_SIDE / max(height, width))
    h, w = max(1, round(height * scale)), max(1, round(width * scale))
    boxes = find_text(resize(pixels, h, w))
    mask = np.zeros((h, w), np.bool_)
    for box in boxes:
        margin = max(2, round(0.25 * box.height))
        mask[max(0, box.top - margin) : box.bottom + margin, max(0, box.left - margin) : box.right + margin] = True
    if not boxes:
        return np.zeros((height, width), np.float32)
    soft = blur(dilate(mask, 2).astype(np.float32), 2.0)
    return np.asarray(Image.fromarray(np.asarray(soft, np.float32)).resize((width, height), Image.Resampling.BILINEAR))


def find_text(pixels: Pixels) -> list[Mark]:
    """Returns the marks of text in a picture, uint8 [H, W, C] of some 640 pixels: letters, or parts of them."""
    grey = to_grey(pixels)[..., 0]
    found: dict[Mark, None] = {}
    for r in RADII:
        for plane in (grey, 255 - grey):
            # What an opening (erosion, then dilation) takes away: bright strokes thinner than the square.
            opened = max_filter(255 - max_filter(255 - plane, r), r)
            removed = plane - opened
            least = max(CONTRAST, ABOVE_TEXTURE * float(np.quantile(removed, 0.75)))
            marks = [m for m in components(removed > least) if _like_a_letter(m, r)]
            found.update(dict.fromkeys(_in_rows(marks)))
    return list(found)


def _like_a_letter(mark: Mark, r: int) -> bool:
    low, high = LETTER
    fill = mark.area / (mark.height * mark.width)
    return (
        max(low, 2 * r) <= mark.height <= min(high, 24 * r)
        and mark.width <= 4 * mark.height
        and mark.height <= 9 * mark.width
        and 0.15 <= fill <= 0.95
    )


def _in_rows(marks: list[Mark]) -> list[Mark]:
    """Returns the marks that stand in rows: with at least two others of about their height close by on one line."""
    if len(marks) < IN_A_ROW:
        return []
    boxes = np.array([m[:4] for m in marks], np.float32)
    middle, height = (boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 2] - boxes[:, 0]
    taller = np.maximum(height[:, None], height[None])
    same = np.minimum(height[:, None], height[None]) > 0.55 * taller
    level = np.abs(middle[:, None] - middle[None]) < 0.35 * taller
    gap = np.maximum(boxes[:, None, 1], boxes[None, :, 1]) - np.minimum(boxes[:, None, 3], boxes[None, :, 3])
    near = same & level & (gap < 1.0 * taller) & (gap > -0.3 * taller)
    np.fill_diagonal(near, True)
    group = np.arange(len(marks))
    while True:  # The least number among the neighbours, until nothing changes: connected groups.
        least = np.where(near, group[None], len(marks)).min(axis=1)
        if (least == group).all():
            break
        group = least[least]
    sizes = np.bincount(group, minlength=len(marks))
    return [m for m, g in zip(marks, group, strict=True) if sizes[g] >= IN_A_ROW and _even(height[group == g])]


def _even(heights: npt.NDArray[np.float32]) -> bool:
    return bool(heights.std() < 0.35 * heights.mean())


def components(mask: Bools) -> list[Mark]:
    """Returns the connected components (8 neighbours) of a mask [H, W]."""
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    areas = np.bincount(labels.ravel())[1:].tolist()
    places = ndimage.find_objects(labels)
    return [Mark(y.start, x.start, y.stop, x.stop, a) for (y, x), a in zip(places, areas, strict=True)]
