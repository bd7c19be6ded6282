"""Backdrops: white, a colour, a gradient, a picture; and a product laid over one."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from packshot.core.errors import UsageError, suggest
from packshot.images.placing import Placement
from packshot.images.resize import Colour, Pixels, flatten

NAMES = {"white": (255, 255, 255), "black": (0, 0, 0)}


def parse_colour(text: str) -> Colour | None:
    """Returns "white" or "#rrggbb" as a colour, or None where it is neither."""
    if text.lower() in NAMES:
        return NAMES[text.lower()]
    found = re.fullmatch(r"#([0-9a-fA-F]{6})", text)
    return tuple(bytes.fromhex(found[1])) if found else None


def parse_gradient(text: str) -> tuple[Colour, Colour] | None:
    """Returns "gradient:A-B" as the upper and the lower colour, or None where it does not begin so.

    Raises:
        UsageError: it begins so, and A or B is no colour.
    """
    kind, colon, rest = text.partition(":")
    if kind != "gradient" or not colon:
        return None
    colours = [parse_colour(part) for part in rest.split("-")]
    if len(colours) != 2 or colours[0] is None or colours[1] is None:
        raise UsageError(f"'{text}' is no gradient; write two colours, for example gradient:white-#d8dde3.")
    return colours[0], colours[1]


def no_background(text: str) -> UsageError:
    """Returns the error of a background that is none."""
    return UsageError(
        f"'{text}' is no background.{suggest(text, [*NAMES, 'gradient:white-#d8dde3'])} "
        "Write white, #rrggbb, gradient:A-B or the name of a picture."
    )


def plain(height: int, width: int, colour: Colour) -> Pixels:
    """Returns [height, width, 3] of one colour."""
    out = np.empty((height, width, 3), np.uint8)
    out[:] = colour
    return out


def gradient(height: int, width: int, upper: Colour, lower: Colour) -> Pixels:
    """Returns [height, width, 3] from one colour at the top to another at the foot.

    Between two values that 8 bits hold, pixels are spread over both (with a fixed noise), so that no bands show.
    """
    t = (np.arange(height) / max(1, height - 1))[:, None, None]
    values = np.array(upper) * (1 - t) + np.array(lower) * t
    noise = np.random.default_rng(0).random((height, width, 1), np.float32)
    return np.asarray(np.clip(np.floor(values + noise), 0, 255), np.uint8)


def covering(pixels: Pixels, height: int, width: int) -> Pixels:
    """Returns a picture as [height, width, 3]: scaled until it covers all of it, its middle kept, never stretched."""
    h, w = pixels.shape[:2]
    scale = max(height / h, width / w)
    top, left = (height - scale * h) / 2, (width - scale * w) / 2
    if scale == 1:
        top, left = int(top), int(left)
    return Placement(height=height, width=width, top=top, left=left, scale=scale).apply(flatten(pixels))


def shade(backdrop: Pixels, shadow: npt.NDArray[np.float32]) -> Pixels:
    """Returns a backdrop [H, W, 3] that loses the share `shadow` [H, W], 0 .. 1, of its light; 0 changes nothing."""
    dark = shadow > 0
    out = backdrop.copy()
    out[dark] = (backdrop[dark] * (1 - shadow[dark])[:, None] + 0.5).astype(np.uint8)
    return out


def lay_over(product: Pixels, backdrop: Pixels) -> Pixels:
    """Returns RGBA [H, W, 4] over a backdrop [H, W, 3]: (colour * alpha + backdrop * (255 - alpha)) / 255, rounded.

    Where alpha is 255 that is the product's own pixel, and where it is 0 the backdrop's.
    """
    alpha = product[..., 3]
    out = np.where((alpha == 255)[..., None], product[..., :3], backdrop)
    mixed = (alpha > 0) & (alpha < 255)
    weight = alpha[mixed][:, None].astype(np.uint32)
    out[mixed] = (product[mixed][:, :3] * weight + backdrop[mixed] * (255 - weight) + 127) // 255
    return out
