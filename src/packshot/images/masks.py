"""Masks: which pixels of a picture are to be repainted; from files, boxes and polygons, for pictures of any size.

Letters: H, W height and width of the picture. A mask is bool [H, W]: True is repainted, False stays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from packshot.core.errors import PackshotError, UsageError
from packshot.images.placing import Length, parse_length
from packshot.images.resize import Pixels, to_grey

Mask = npt.NDArray[np.bool_]

WHITE_FROM = 128
"""The grey level from which a pixel of a mask's file counts as white."""


@dataclass(frozen=True)
class Polygon:
    """A closed polygon; x grows to the right and y downwards, from the upper left corner of the picture.

    Attributes:
        text: as it was written.
        points: its corners, x and y of each.
    """

    text: str
    points: tuple[tuple[Length, Length], ...]

    @classmethod
    def parse(cls, text: str) -> Polygon:
        """Reads "x,y x,y x,y ...", each in pixels or as a share: 40 or 12.5%.

        Raises:
            UsageError: it is no polygon.
        """
        corners = [corner.split(",") for corner in text.split()]
        if len(corners) < 3 or any(len(corner) != 2 for corner in corners):
            raise UsageError(
                f"'{text}' is no polygon; write three corners or more, for example \"10,10 200,15 120,90\" or "
                '"5%,5% 50%,5% 30%,40%".'
            )
        return cls(text, tuple((parse_length(x), parse_length(y)) for x, y in corners))

    def mask(self, height: int, width: int) -> Mask:
        """Returns bool [H, W]: the pixels inside of it; none where it lies beside the picture."""
        inside = np.zeros((height, width), np.bool_)
        points = [(x.pixels(width), y.pixels(height)) for x, y in self.points]
        rows, columns = np.arange(height) + 0.5, np.arange(width) + 0.5
        # Even-odd rule: a pixel's middle is inside if a ray to its left crosses an odd number of sides.
        for (x0, y0), (x1, y1) in zip(points, [*points[1:], points[0]], strict=True):
            crossed = np.flatnonzero((rows >= min(y0, y1)) & (rows < max(y0, y1)))
            if len(crossed):
                at = x0 + (rows[crossed] - y0) * (x1 - x0) / (y1 - y0)
                inside[crossed] ^= columns > at[:, None]
        return inside


@dataclass(frozen=True)
class Rectangle:
    """An upright rectangle.

    Attributes:
        text: as it was written.
        x: of its left side.
        y: of its upper side.
        width: more than 0.
        height: more than 0.
    """

    text: str
    x: Length
    y: Length
    width: Length
    height: Length

    @classmethod
    def parse(cls, text: str) -> Rectangle:
        """Reads "X,Y,WIDTH,HEIGHT", each in pixels or as a share: 40 or 12.5%.

        Raises:
            UsageError: it is no box.
        """
        parts = text.split(",")
        lengths = [parse_length(part) for part in parts] if len(parts) == 4 else []
        if not lengths or lengths[2].amount <= 0 or lengths[3].amount <= 0:
            raise UsageError(
                f"'{text}' is no box; write X,Y,WIDTH,HEIGHT, for example 40,30,200,80 or 10%,5%,50%,8%, with a width "
                "and a height above 0."
            )
        return cls(text, *lengths)

    def mask(self, height: int, width: int) -> Mask:
        """Returns bool [H, W]: the pixels that it touches; none where it lies beside the picture."""
        left, top = self.x.pixels(width), self.y.pixels(height)
        right, bottom = left + self.width.pixels(width), top + self.height.pixels(height)
        inside = np.zeros((height, width), np.bool_)
        rows = slice(max(0, math.floor(top + 1e-9)), max(0, math.ceil(bottom - 1e-9)))
        inside[rows, max(0, math.floor(left + 1e-9)) : max(0, math.ceil(right - 1e-9))] = True
        return inside


Shape = Rectangle | Polygon


def draw_shapes(shapes: Sequence[Shape], height: int, width: int) -> Mask:
    """Returns bool [H, W]: the pixels of all shapes.

    Raises:
        PackshotError: one of them lies beside the picture.
    """
    out = np.zeros((height, width), np.bool_)
    for shape in shapes:
        inside = shape.mask(height, width)
        if not inside.any():
            raise PackshotError(f"'{shape.text}' lies beside the photo, which has {width} x {height} pixels.")
        out |= inside
    return out


def mask_of_picture(pixels: Pixels, height: int, width: int) -> Mask:
    """Returns the mask that a picture shows: white is repainted, black and transparent pixels stay.

    Args:
        pixels: uint8 [h, w, 3] or [h, w, 4].
        height: H of the photo.
        width: W of the photo.

    Raises:
        PackshotError: the picture has another size than the photo.
    """
    if pixels.shape[:2] != (height, width):
        raise PackshotError(
            f"The mask has {pixels.shape[1]} x {pixels.shape[0]} pixels and the photo {width} x {height}; "
            "draw the mask on this photo, or name a --box in percent, which fits photos of any size."
        )
    white: Mask = to_grey(pixels[..., :3])[..., 0] >= WHITE_FROM
    return white & (pixels[..., 3] >= WHITE_FROM) if pixels.shape[2] == 4 else white


def grow(mask: Mask, pixels: float) -> Mask:
    """Returns the mask and what lies within `pixels` of it."""
    if pixels <= 0 or not mask.any():
        return mask.copy()
    near: Mask = ndimage.distance_transform_edt(~mask) <= pixels
    return near


def ramp(mask: Mask, feather: float) -> npt.NDArray[np.float32]:
    """Returns float32 [H, W]: 1 in the mask, falling to 0 at more than `feather` pixels from it."""
    if feather <= 0 or not mask.any():
        return mask.astype(np.float32)
    away = ndimage.distance_transform_edt(~mask)
    weight: npt.NDArray[np.float32] = np.clip(1 - away / (feather + 1), 0, 1).astype(np.float32)
    return weight


def show_mask(mask: Mask) -> Pixels:
    """Returns RGB [H, W, 3], white where the mask is set and black elsewhere: what `mask_of_picture` reads."""
    return np.repeat(np.where(mask, np.uint8(255), np.uint8(0))[..., None], 3, axis=2)
