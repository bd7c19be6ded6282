"""What a check of a picture looks at: where its background is, how white, how much of the frame the product takes.

Letters: W, H width and height of the picture; d difference of two colours, the largest of their three channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from packshot.images.filters import dilate
from packshot.images.resize import Pixels, flatten

Mask = npt.NDArray[np.bool_]

NEAR = 12
"""d up to which a pixel can be background: JPEG noise and soft shadows of a plain backdrop stay below it."""
PLAIN = 0.6
"""Share of the picture's outermost pixels that have to be near one colour, for the background to count as plain."""
HALO = 16
"""Pixels around the product that say nothing about the backdrop: a JPEG's blocks of colour carry its edge that far."""
FRAME = 40
"""d within a frame of one colour: more than `NEAR`, since a JPEG smears a saturated frame into its picture."""
SPECK = 3
"""Rows or columns with fewer product pixels than this do not widen the product's box."""


@dataclass(frozen=True, eq=False)
class Background:
    """The plain background of a picture.

    Attributes:
        colour: [3] uint8, the median of the outermost pixels.
        product: [H, W] bool, what is not background.
        box: left, top, right, bottom of the product (right and bottom excluded); None: there is no product.
    """

    colour: Pixels
    product: Mask
    box: tuple[int, int, int, int] | None


def find_background(pixels: Pixels) -> Background | None:
    """Returns the background of uint8 [H, W, 3 or 4] (alpha counts as white), or None where it is not plain.

    The product is all that differs from the border's colour by more than `NEAR`; where the picture has transparency,
    all that is at least half opaque, so that a soft shadow does not count.
    """
    rgb = flatten(pixels)
    edge = np.concatenate([rgb[0], rgb[-1], rgb[:, 0], rgb[:, -1]])
    colour = np.median(edge, axis=0).round().astype(np.uint8)
    if (_distance(edge, colour) <= NEAR).mean() < PLAIN:
        return None
    product = _distance(rgb, colour) > NEAR
    if pixels.shape[2] == 4 and pixels[..., 3].min() < 255:
        product = pixels[..., 3] >= 128
    rows, columns = (np.flatnonzero(product.sum(axis=a) >= min(SPECK, product.shape[a])) for a in (1, 0))
    box = None
    if len(rows) and len(columns):
        box = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    return Background(colour, product, box)


def white_share(pixels: Pixels, background: Background) -> float:
    """Returns the share of the background that is exactly 255, 255, 255.

    Pixels within `HALO` of the product's are left out, unless the picture has no others.
    """
    rgb = flatten(pixels)
    far = ~dilate(background.product, HALO)
    counted = far if far.any() else ~background.product
    white = (rgb == 255).all(axis=2)
    return float(white[counted].mean()) if counted.any() else 0.0


def fill_share(background: Background) -> float | None:
    """Returns the product's share of the frame: the larger of box width / W and box height / H; None: no product."""
    if background.box is None:
        return None
    left, top, right, bottom = background.box
    height, width = background.product.shape
    return float(max((right - left) / width, (bottom - top) / height))


def off_centre(background: Background) -> tuple[float, float] | None:
    """Returns how far the middle of the product's box lies right of and below the picture's, as shares of W and H.

    None: there is no product.
    """
    if background.box is None:
        return None
    left, top, right, bottom = background.box
    height, width = background.product.shape
    return (left + right) / (2 * width) - 0.5, (top + bottom) / (2 * height) - 0.5


def border_width(pixels: Pixels) -> int:
    """Returns the width in pixels of a frame of one colour around the picture; 0: there is none.

    A frame has the same width, at most 8 % of the shorter side, on all four sides, and ends where nearly all pixels
    change at once. A plain backdrop is no frame: no product begins along all four sides at the same depth.
    """
    rgb = flatten(pixels).astype(np.int16)
    height, width = rgb.shape[:2]
    deepest = int(0.08 * min(height, width))
    colour = rgb[0, 0]
    for k in range(deepest + 1):
        if _other(rgb, k, colour) > 0.02:
            # The first ring that is not the frame's; at a smeared edge one of the next two decides.
            return k if k and max(_other(rgb, j, colour) for j in (k, k + 1, k + 2)) >= 0.8 else 0
    return 0


def _other(rgb: npt.NDArray[np.int16], k: int, colour: npt.NDArray[np.int16]) -> float:
    """Returns the share of ring k (0: the outermost pixels) that is not of a frame's colour."""
    ring = _ring(rgb, k)
    return float((np.abs(ring - colour).max(axis=1) > FRAME).mean()) if len(ring) else 0.0


def _ring(rgb: npt.NDArray[np.int16], k: int) -> npt.NDArray[np.int16]:
    height, width = rgb.shape[:2]
    if 2 * k >= min(height, width):
        return rgb[:0, 0]
    part = rgb[k : height - k, k : width - k]
    return np.concatenate([part[0], part[-1], part[:, 0], part[:, -1]])


def _distance(rgb: Pixels, colour: Pixels) -> npt.NDArray[np.int16]:
    """Returns d of each pixel, int16."""
    out: npt.NDArray[np.int16] = np.abs(rgb.astype(np.int16) - colour.astype(np.int16)).max(axis=-1)
    return out
