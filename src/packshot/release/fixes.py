"""Repairs of a picture that leave its product as it is: a white backdrop, another frame about it, fewer pixels.

Each returns the repaired picture, or raises `NotSafe` with the reason why this picture needs something else: nothing
here may touch the product, and where it cannot be told from its backdrop nothing is done.

Letters: W, H width and height of the frame; w, h of the product's box; f = max(w / W, h / H) the fill; s the frame's
new size as a share of the old one, so that the new fill is f / s; d difference of two colours, the largest of their
three channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from packshot.images.picture import Operation, ProductImage
from packshot.images.resize import flatten, resize
from packshot.release.measure import NEAR, Background, fill_share, find_background

NEARLY_WHITE = 243
"""A backdrop whose darkest channel is at least this can be made white; a darker one is another backdrop."""
SOFT = 3 * NEAR
"""d of a soft shadow or a light product, which would end in a visible edge if the backdrop beside it became white."""
SOFT_SHARE = 0.0005
"""Share of the frame that may be soft in that sense, thin edges of the product left out."""
EVEN = 3
"""d that a backdrop's edge may have from its colour where a frame of that colour is put beside it."""
ENLARGE = "packshot enhance --scale 2 enlarges it, which its label then says; else it needs a new photo"
INSIDE = 0.02
"""How far inside a channel's range of fill a new frame puts the product."""


class NotSafe(Exception):
    """Why a repair is not made: a clause that follows the rule, without a full stop."""


@dataclass(frozen=True, kw_only=True)
class FrameRules:
    """What a channel asks of the frame.

    Attributes:
        fill: least and largest f; None: it asks for none.
        side: least W and H in pixels.
        longest: least of the larger of W and H.
    """

    fill: tuple[float, float] | None = None
    side: int = 1
    longest: int = 1


def whiten(image: ProductImage) -> ProductImage:
    """Makes a backdrop that is nearly white exactly 255, 255, 255; the product's pixels stay as they are.

    Pixels become white that are within `NEAR` of the backdrop's colour and joined to the picture's edge. Transparency
    is laid over white.

    Raises:
        NotSafe: the backdrop is not plain or not nearly white, or a soft shadow or a light product lies on it.
    """
    if image.has_alpha:
        return image.done(Operation("flatten", "classical", {"colour": [255, 255, 255]}), flatten(image.pixels))
    background = find_background(image.pixels)
    if background is None:
        raise NotSafe("the backdrop is not plain: packshot shoot cuts the product out and puts it on white")
    if background.colour.min() < NEARLY_WHITE:
        colour = ", ".join(str(v) for v in background.colour)
        raise NotSafe(
            f"the backdrop ({colour}) is not nearly white: packshot shoot cuts the product out and puts it on white"
        )
    off = np.abs(image.pixels.astype(np.int16) - background.colour.astype(np.int16)).max(axis=2)
    soft = ndimage.binary_erosion((off > NEAR) & (off <= SOFT), np.ones((5, 5)), border_value=1)
    if soft.mean() > SOFT_SHARE:
        raise NotSafe("a soft shadow or a light product lies on the backdrop: packshot shoot cuts the product out")
    labels, _ = ndimage.label(np.pad(~background.product, 1, constant_values=True))
    outside = (labels == labels[0, 0])[1:-1, 1:-1]
    pixels = image.pixels.copy()
    pixels[outside] = 255
    return image.done(Operation("tone", "classical", {"method": "white backdrop"}), pixels)


def reframe(image: ProductImage, rules: FrameRules) -> ProductImage:
    """Puts the product in the middle of a frame of the same aspect that keeps the rules: plain backdrop comes or goes.

    The product's pixels are neither scaled nor changed. Of all frames the one nearest to the present size is taken.

    Raises:
        NotSafe: the backdrop is not plain or not even, the product reaches the edge, or no frame keeps the rules.
    """
    background = find_background(image.pixels)
    share = None if background is None else fill_share(background)
    if background is None or background.box is None or share is None:
        raise NotSafe("the backdrop is not plain, so that no more of it can be put around the product")
    scale = _scale(share, image.width, image.height, rules)
    left, top, right, bottom = background.box
    if min(left, top, image.width - right, image.height - bottom) < 1:
        raise NotSafe("the product reaches the picture's edge and may be cut off there: it needs a new photo")
    _check_even(image, background)
    width, height = math.ceil(scale * image.width - 1e-9), math.ceil(scale * image.height - 1e-9)
    x, y = round((width - left - right) / 2), round((height - top - bottom) / 2)
    pixels = np.empty((height, width, image.pixels.shape[2]), np.uint8)
    clear = image.has_alpha and image.pixels[..., 3].min() < 255
    pixels[:] = [*background.colour, 0 if clear else 255][: pixels.shape[2]]
    rows, columns = _part(y, image.height, height), _part(x, image.width, width)
    pixels[rows.start + y : rows.stop + y, columns.start + x : columns.stop + x] = image.pixels[rows, columns]
    params = {"left": x, "top": y, "width": width, "height": height}
    return image.done(Operation("pad" if scale > 1 else "crop", "classical", params), pixels)


def shrink(image: ProductImage, longest: int) -> ProductImage:
    """Resizes a picture so that its longer side has at most this many pixels."""
    factor = longest / max(image.width, image.height)
    if factor >= 1:
        return image
    height, width = max(1, round(factor * image.height)), max(1, round(factor * image.width))
    done = Operation("resize", "classical", {"width": width, "height": height, "filter": "lanczos"})
    return image.done(done, resize(image.pixels, height, width))


def _scale(share: float, width: int, height: int, rules: FrameRules) -> float:
    """Returns s.

    Raises:
        NotSafe: there is none.
    """
    needed = max(rules.side / min(width, height), rules.longest / max(width, height))
    if rules.fill is None:
        raise NotSafe(f"more backdrop would only make the product smaller in its frame: {ENLARGE}")
    low, high = rules.fill
    inside = min(INSIDE, (high - low) / 2)
    least = max(needed, share / (high - inside) if share > high else 0.0, share / high)
    most = share / (low + inside) if share < low else share / low
    if least <= most:
        return min(max(1.0, least), most)
    raise NotSafe(f"the product itself has only {round(share * max(width, height))} pixels: {ENLARGE}")


def _check_even(image: ProductImage, background: Background) -> None:
    rgb = flatten(image.pixels)
    edge = np.concatenate([rgb[0], rgb[-1], rgb[:, 0], rgb[:, -1]]).astype(np.int16)
    off = np.abs(edge - background.colour.astype(np.int16)).max(axis=1)
    if np.quantile(off, 0.99) > EVEN:
        raise NotSafe("the backdrop is not even, so that more of it would show an edge: packshot shoot replaces it")


def _part(shift: int, length: int, side: int) -> slice:
    """Returns what of an axis of this length lies in a frame after a shift."""
    return slice(max(0, -shift), min(length, side - shift))
