"""Sizes and channels of pixel arrays: antialiased resizing, squares, flattening, grey. All are pure functions."""

from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from packshot.core.errors import UsageError

Pixels = npt.NDArray[np.uint8]
Colour = tuple[int, ...]

WHITE: Colour = (255, 255, 255)


def resize(pixels: Pixels, height: int, width: int) -> Pixels:
    """Returns pixels [H, W, C] as [height, width, C], resampled with an antialiased Lanczos filter (Pillow's).

    Args:
        pixels: uint8, C of 1, 3 or 4; with 4, colours are weighted by alpha so that hidden colours do not bleed.
        height: of the result, 1 or more.
        width: of the result, 1 or more.
    """
    return _resized(pixels, height, width, None)


def fit_square(pixels: Pixels, size: int, fit: Literal["crop", "pad"] = "crop", colour: Colour | None = None) -> Pixels:
    """Returns pixels [H, W, C] as a square [size, size, C].

    Args:
        pixels: uint8, C of 1, 3 or 4.
        size: side of the square, 1 or more.
        fit: "crop" keeps the middle square; "pad" keeps the whole picture and fills the rest.
        colour: for "pad": what fills the rest, C values; None: the colour of the picture's own border.

    Raises:
        UsageError: an unknown fit, or a colour with another number of channels.
    """
    height, width, channels = pixels.shape
    if fit == "crop":
        side = min(height, width)
        left, top = (width - side) / 2, (height - side) / 2
        return _resized(pixels, size, size, (left, top, left + side, top + side))
    if fit != "pad":
        raise UsageError(f"Unknown fit '{fit}'. Known: crop, pad.")
    colour = border_colour(pixels) if colour is None else colour
    if len(colour) != channels:
        raise UsageError(f"The colour {colour} has {len(colour)} channels and the picture {channels}.")
    longest = max(height, width)
    inner_height, inner_width = max(1, round(height * size / longest)), max(1, round(width * size / longest))
    top, left = (size - inner_height) // 2, (size - inner_width) // 2
    out = np.empty((size, size, channels), np.uint8)
    out[:] = colour
    out[top : top + inner_height, left : left + inner_width] = resize(pixels, inner_height, inner_width)
    return out


def border_colour(pixels: Pixels) -> Colour:
    """Returns the median, channel by channel, of the outermost pixels of [H, W, C]."""
    edges = [pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]
    return tuple(int(v) for v in np.median(np.concatenate(edges), axis=0))


def flatten(pixels: Pixels, background: Colour = WHITE) -> Pixels:
    """Returns RGBA [H, W, 4] laid over `background` as RGB [H, W, 3]; RGB comes back as it is.

    Each value is (colour * alpha + background * (255 - alpha)) / 255, rounded to nearest.
    """
    if pixels.shape[2] != 4:
        return pixels
    alpha = pixels[..., 3:].astype(np.uint16)
    if (alpha == 255).all():
        return np.ascontiguousarray(pixels[..., :3])
    mixed = pixels[..., :3] * alpha + np.array(background, np.uint16) * (255 - alpha)  # At most 255^2.
    mixed += 127
    mixed //= 255
    return mixed.astype(np.uint8)


def to_grey(pixels: Pixels) -> Pixels:
    """Returns [H, W, C] as luma [H, W, 1] (ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B); alpha is laid over white."""
    if pixels.shape[2] == 1:
        return pixels
    return np.asarray(Image.fromarray(flatten(pixels)).convert("L"))[..., None]


def to_rgb(pixels: Pixels) -> Pixels:
    """Returns [H, W, C] as RGB [H, W, 3]: grey is repeated, alpha is laid over white."""
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else flatten(pixels)


def _resized(pixels: Pixels, height: int, width: int, box: tuple[float, float, float, float] | None) -> Pixels:
    channels = pixels.shape[2]
    im = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    out = np.asarray(im.resize((width, height), Image.Resampling.LANCZOS, box=box))
    return out[..., None] if channels == 1 else out
