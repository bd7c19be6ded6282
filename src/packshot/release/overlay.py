"""Text laid over a picture, such as a slogan or a shop's address, told from text that is printed on the product.

Lines of text are found by their strokes (`images.lettering`). On a plain backdrop the product's box is measured without
them: a line beside the box is laid over the picture, one with the product on all sides is printed on it. Anything else
cannot be told, and that is the answer: a line inside the box with the backdrop's colour around it may stand on a light
product, and where the backdrop is not plain nobody knows where the product ends.

Letters: H, W height and width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from packshot.images.filters import dilate
from packshot.images.lettering import find_lines
from packshot.images.regions import Region
from packshot.images.resize import Pixels, flatten, resize
from packshot.release.measure import find_background

Mask = npt.NDArray[np.bool_]

LOOKED_AT = 640
"""Longest side at which text is looked for."""
MARKS = 3
"""Separate marks on a plain backdrop that a line of text has at least; with fewer there is none to look for."""
LOWEST = 0.008
"""Least height of a mark, as a share of the longer side."""
SURE = 0.5
"""Least confidence of a line that counts."""
TOUCHING = 0.25
"""Share of a line up to which it may reach into the product's box and still stands beside it."""
PART = 0.1
"""Share of the largest part's area from which a separate part of what is seen belongs to the product."""
SURROUNDED = 0.5
"""Share of a line's surroundings that is product where the line is printed on it."""


@dataclass(frozen=True)
class Overlay:
    """What was found.

    Attributes:
        laid_over: lines beside the product.
        unclear: lines of which it cannot be told.
        printed: lines on the product, as far as was looked for them: on a plain backdrop without separate marks nothing
            is.
    """

    laid_over: list[Region]
    unclear: list[Region]
    printed: list[Region]


def find_overlay(pixels: Pixels) -> Overlay:
    """Returns the lines of text in uint8 [H, W, 3 or 4] by where they stand; regions are in pixels of the picture."""
    height, width = pixels.shape[:2]
    factor = min(1.0, LOOKED_AT / max(height, width))
    rgb = flatten(pixels)
    if factor < 1:
        rgb = resize(rgb, max(1, round(height * factor)), max(1, round(width * factor)))
    background = find_background(rgb)
    product = None if background is None else background.product
    found: dict[str, list[Region]] = {"laid_over": [], "unclear": [], "printed": []}
    if product is not None and not _has_marks(product):
        return Overlay(**found)
    lines = [line for line in find_lines(rgb) if line.region.confidence >= SURE]
    if lines:
        box = None if product is None else _box_without(product, [line.region for line in lines])
        for line in lines:
            name = "unclear" if product is None else _place(line.region, round(line.letter_height), product, box)
            found[name].append(_scaled(line.region, factor, height, width))
    return Overlay(**found)


def _has_marks(product: Mask) -> bool:
    """Returns whether there are marks beside the product, or on one of the backdrop's colour, that could be letters."""
    labels, _ = ndimage.label(product, np.ones((3, 3)))
    least = LOWEST * max(product.shape)
    high = [rows for rows, _ in ndimage.find_objects(labels) if rows.stop - rows.start >= least]
    return len(high) >= MARKS


def _box_without(product: Mask, lines: Sequence[Region]) -> Region | None:
    """Returns the box of the product without the lines, or None where nothing of substance is left."""
    left = product.copy()
    for line in lines:
        left[line.slices] = False
    near = dilate(left, max(1, round(0.01 * max(left.shape))))  # Parts that nearly touch are one.
    labels, count = ndimage.label(near)
    if not count:
        return None
    areas = np.bincount(labels[left], minlength=count + 1)[1:]
    parts = [ndimage.find_objects(labels)[i] for i in np.flatnonzero(areas >= max(1.0, PART * areas.max()))]
    if areas.max() < sum(int(product[line.slices].sum()) for line in lines):
        return None  # More of it is letters than is not: they may be the product.
    top, bottom = min(p[0].start for p in parts), max(p[0].stop for p in parts)
    first, last = min(p[1].start for p in parts), max(p[1].stop for p in parts)
    return Region("product", first, top, last - first, bottom - top)


def _place(line: Region, letter: int, product: Mask, box: Region | None) -> str:
    if box is None:
        return "unclear"
    if line.shared(box) < TOUCHING * line.area:
        return "laid_over"
    around = Region.clipped(
        "around",
        (line.x - letter, line.y - letter, line.x + line.width + letter, line.y + line.height + letter),
        1.0,
        *product.shape,
    )
    assert around is not None
    ring = np.ones((around.height, around.width), np.bool_)
    ring[line.y - around.y : line.y - around.y + line.height, line.x - around.x : line.x - around.x + line.width] = (
        False
    )
    surroundings = product[around.slices][ring]
    return "printed" if surroundings.size and surroundings.mean() >= SURROUNDED else "unclear"


def _scaled(region: Region, factor: float, height: int, width: int) -> Region:
    r = region
    box = (r.x / factor, r.y / factor, (r.x + r.width) / factor, (r.y + r.height) / factor)
    scaled = Region.clipped("text", box, r.confidence, height, width)
    assert scaled is not None
    return scaled
