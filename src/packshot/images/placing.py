"""Where a product goes in a frame: a shift and one scale for both axes, so that nothing is ever stretched.

Letters: s scale (pixels of the frame for one of the photo), f share of the frame that may be taken, h w the product's
box, H W the frame. The largest s with s h <= f_y H and s w <= f_x W is wanted, where f holds both fill and margin.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from packshot.core.errors import PackshotError, UsageError
from packshot.images.filters import Bools
from packshot.images.resize import Pixels

MAX_SIDE = 20_000
MAX_PIXELS = 64_000_000
"""Of a frame: no more than what is read back."""
FILL = 0.85
"""The share of the frame's limiting side that the product takes where nothing else is asked."""

Centre = Literal["box", "mass"]


class Length(NamedTuple):
    """A length in pixels, or as a share of the side that it lies along."""

    amount: float
    share: bool

    def pixels(self, side: float) -> float:
        """Returns the length in pixels, along a side of so many pixels."""
        return self.amount * side if self.share else self.amount


class Box(NamedTuple):
    """Rows `top` to `bottom` and columns `left` to `right`, the last ones not included."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        """Rows in it."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Columns in it."""
        return self.right - self.left


@dataclass(frozen=True, kw_only=True)
class Placement:
    """A photo in a frame: its pixel (y, x) comes to (top + scale y, left + scale x).

    Attributes:
        height: of the frame, in pixels.
        width: of the frame.
        top: the row of the frame at which the photo begins; below 0 the photo's upper part is cut off. At scale 1 a
            whole number.
        left: the column, likewise.
        scale: of the photo, the same along both axes; 1: its pixels are copied as they are.

    Raises:
        ValueError: a part of a pixel at scale 1.
    """

    height: int
    width: int
    top: float = 0
    left: float = 0
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.scale == 1 and (self.top != int(self.top) or self.left != int(self.left)):
            raise ValueError(f"A photo at its own scale is shifted by whole pixels, not by {self.top}, {self.left}.")

    def covered(self, height: int, width: int) -> Box:
        """Returns the part of the frame that a photo of this size lies on; it may be empty."""
        (top, bottom), (left, right) = (
            _covered(start, self.scale * length, side)
            for start, length, side in ((self.top, height, self.height), (self.left, width, self.width))
        )
        return Box(top, left, bottom, right)

    def apply(self, pixels: Pixels) -> Pixels:
        """Returns pixels [H, W, C] laid into the frame, 0 where none are.

        Another scale than 1 is made with an antialiased Lanczos filter; with four channels, colours are weighted by
        alpha.
        """
        out = np.zeros((self.height, self.width, pixels.shape[2]), np.uint8)
        at = self.covered(*pixels.shape[:2])
        if at.height and at.width:
            out[at.top : at.bottom, at.left : at.right] = self._part(pixels, at)
        return out

    def _part(self, pixels: Pixels, at: Box) -> Pixels:
        if self.scale == 1:
            top, left = at.top - int(self.top), at.left - int(self.left)
            return pixels[top : top + at.height, left : left + at.width]
        rows = _window(at.top, at.bottom, self.top, self.scale, pixels.shape[0])
        columns = _window(at.left, at.right, self.left, self.scale, pixels.shape[1])
        # The frame's outermost pixels may reach a fraction beyond the photo: its border goes on there.
        if any((*rows.beyond, *columns.beyond)):
            pixels = np.pad(pixels, (rows.beyond, columns.beyond, (0, 0)), mode="edge")
        im = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        box = (columns.first, rows.first, columns.last, rows.last)
        out = np.asarray(im.resize((at.width, at.height), Image.Resampling.LANCZOS, box=box))
        return out[..., None] if out.ndim == 2 else out


class _Window(NamedTuple):
    """What of the photo, along one axis, becomes a part of the frame, and the pixels that it needs beyond the photo."""

    first: float
    last: float
    beyond: tuple[int, int]


def _window(first: int, last: int, start: float, scale: float, length: int) -> _Window:
    low, high = (first - start) / scale, (last - start) / scale
    before, after = max(0, math.ceil(-low - 1e-9)), max(0, math.ceil(high - length - 1e-9))
    return _Window(max(0.0, low + before), min(high + before, float(length + before + after)), (before, after))


def _covered(start: float, length: float, side: int) -> tuple[int, int]:
    low, high = math.floor(start + 1e-6), math.ceil(start + length - 1e-6)
    first = min(max(0, low), side)
    return first, max(first, min(side, max(high, low + 1)))


NO_MARGIN = Length(0, False)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What the frame is, and how the product lies in it.

    Attributes:
        aspect: width and height of the frame as a ratio; None: those of the photo.
        size: the frame's longer side in pixels; None: as large as the product needs at the photo's own scale.
        fill: the share of the frame's limiting side that the product's box takes, above 0 to 1; None: the photo's frame
            stays as it is, and the product in it where it is.
        margin: what at least stays free at each side; a share is one of the side that it lies along.
        centre: "box": the middle of the product's box comes to the frame's middle; "mass": the product's centre of
            mass, as far as fill and margin let it.

    Raises:
        UsageError: a value out of range, or values that exclude each other.
    """

    aspect: tuple[float, float] | None = (1.0, 1.0)
    size: int | None = None
    fill: float | None = FILL
    margin: Length = NO_MARGIN
    centre: Centre = "box"

    def __post_init__(self) -> None:
        if self.fill is not None and not 0 < self.fill <= 1:
            raise UsageError(f"--fill is {self.fill:g}; it can be above 0 to 1.")
        if self.aspect is not None:
            check_aspect(self.aspect)
        if self.size is not None and not 1 <= self.size <= MAX_SIDE:
            raise UsageError(f"--size is {self.size}; it can be 1 to {MAX_SIDE:,}.")
        if self.margin.amount < 0 or (self.margin.share and self.margin.amount >= 0.5):
            raise UsageError("--margin can be 0 or more pixels, or below 50%.")
        if self.centre not in ("box", "mass"):
            raise UsageError(f"Unknown centre '{self.centre}'. Known: box, mass.")
        if self.fill is None and (self.margin.amount or self.aspect is not None):
            raise UsageError("A product that stays where it is has no margin and no aspect to be chosen.")


def place(alpha: Pixels, layout: Layout) -> Placement:
    """Returns where the photo of a product goes.

    At the photo's own scale (no size asked) it is shifted by whole pixels, so that its pixels stay the same. The box
    lies inside the frame and its margins, and the limiting side is filled to within a pixel.

    Args:
        alpha: [H, W], the product's matte; what is half there or more (128) counts as product.
        layout: the frame.

    Raises:
        PackshotError: there is no product, the margins leave no room, or the frame is too large.
    """
    height, width = alpha.shape
    box = box_of(alpha >= 128)
    if layout.fill is None:
        scale = 1.0 if layout.size is None else layout.size / max(height, width)
        rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
        _check_size(rows, columns)
        return Placement(height=rows, width=columns, scale=scale)
    frame_height, frame_width = _frame(box, layout, height, width)
    _check_size(frame_height, frame_width)
    rooms = [_room(side, layout) for side in (frame_height, frame_width)]
    if min(rooms) <= 0:
        raise PackshotError(
            f"The margins leave no room for the product in a frame of {frame_width} x {frame_height} pixels."
        )
    scale = 1.0 if layout.size is None else min(rooms[0] / box.height, rooms[1] / box.width)
    middle = ((box.top + box.bottom) / 2, (box.left + box.right) / 2)
    if layout.centre == "mass":
        middle = _mass(alpha)
    first = [
        _start(middle[axis], scale, box[axis], box[axis + 2], side, layout.margin.pixels(side))
        for axis, side in enumerate((frame_height, frame_width))
    ]
    return Placement(height=frame_height, width=frame_width, top=first[0], left=first[1], scale=scale)


def box_of(where: Bools) -> Box:
    """Returns the smallest box about the true pixels of [H, W].

    Raises:
        PackshotError: there is none.
    """
    rows, columns = np.flatnonzero(where.any(axis=1)), np.flatnonzero(where.any(axis=0))
    if not len(rows):
        raise PackshotError("There is no product in it: no pixel of the matte is half opaque or more.")
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


def parse_aspect(text: str) -> tuple[float, float]:
    """Returns "4:5" as (4.0, 5.0): width and height.

    Raises:
        UsageError: it is no aspect, or one beyond 100 to 1.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)[:/x](\d+(?:\.\d+)?)", text.strip())
    aspect = (float(found[1]), float(found[2])) if found else (0.0, 0.0)
    if not _is_aspect(aspect):
        raise UsageError(f"'{text}' is no aspect; write width:height, for example 4:5.")
    return aspect


def check_aspect(aspect: tuple[float, ...]) -> None:
    """Makes sure that an aspect is two numbers above 0, one at most 100 times the other.

    Raises:
        UsageError: it is not.
    """
    if not _is_aspect(aspect):
        raise UsageError(f"{list(aspect)} is no aspect; give a width and a height above 0, for example [4, 5].")


def _is_aspect(aspect: tuple[float, ...]) -> bool:
    return len(aspect) == 2 and min(aspect) > 0 and 0.01 <= aspect[0] / aspect[1] <= 100


def parse_length(text: str) -> Length:
    """Returns "40", "40px" or "5%" as a length; it may be negative.

    Raises:
        UsageError: it is no length.
    """
    found = re.fullmatch(r"([+-]?\d{1,7}(?:\.\d+)?)(px|%)?", text.strip())  # More digits are no picture's.
    if not found:
        raise UsageError(f"'{text}' is no length; write pixels or a share of the side, for example 40 or 5%.")
    return Length(float(found[1]) / (100 if found[2] == "%" else 1), found[2] == "%")


def frame_of(aspect: tuple[float, float], height: float, width: float) -> tuple[int, int]:
    """Returns the height and width of the smallest frame of this aspect that holds so many rows and columns."""
    ratio = aspect[0] / aspect[1]
    rows, columns = math.ceil(height - 1e-9), math.ceil(width - 1e-9)
    if columns / rows < ratio:
        return rows, max(columns, round(rows * ratio))
    return max(rows, round(columns / ratio)), columns


def _check_size(height: int, width: int) -> None:
    if max(height, width) > MAX_SIDE or height * width > MAX_PIXELS:
        raise PackshotError(
            f"The frame would have {width:,} x {height:,} pixels; {MAX_SIDE:,} a side and {MAX_PIXELS:,} in all are "
            "the most."
        )


def _frame(box: Box, layout: Layout, height: int, width: int) -> tuple[int, int]:
    aspect = layout.aspect or (width, height)
    if layout.size is not None:
        ratio = aspect[0] / aspect[1]
        short = max(1, round(layout.size * min(ratio, 1 / ratio)))
        return (short, layout.size) if ratio >= 1 else (layout.size, short)
    return frame_of(aspect, _needed(box.height, layout), _needed(box.width, layout))


def _room(side: int, layout: Layout) -> float:
    """Returns how much of a side the product may take: f times the side."""
    assert layout.fill is not None
    return min(layout.fill * side, side - 2 * layout.margin.pixels(side))


def _needed(length: int, layout: Layout) -> float:
    """Returns the side that a product of this length needs: the inverse of `_room`."""
    assert layout.fill is not None
    amount, share = layout.margin
    return max(length / layout.fill, length / (1 - 2 * amount) if share else length + 2 * amount)


def _start(middle: float, scale: float, first: int, last: int, side: int, margin: float) -> float:
    """Returns where the photo begins along one axis, so that `middle` comes to the frame's middle if it can.

    It can where the box, from `first` to `last`, stays inside the margins. At the photo's own scale: whole pixels.
    """
    low, high = margin - scale * first, side - margin - scale * last
    wanted = min(max(side / 2 - scale * middle, low), high) if low <= high else (low + high) / 2
    if scale != 1:
        return wanted
    return min(max(math.floor(wanted + 0.5), -first), side - last)


def _mass(alpha: Pixels) -> tuple[float, float]:
    weight: npt.NDArray[np.float64] = alpha.astype(np.float64)
    total = weight.sum()
    rows, columns = (weight.sum(axis=1 - axis) @ (np.arange(alpha.shape[axis]) + 0.5) / total for axis in (0, 1))
    return float(rows), float(columns)
