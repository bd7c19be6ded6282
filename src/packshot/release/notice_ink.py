"""The notice in the pixels: over a free corner, or on a strip below, in letters that can be read.

Letters: L relative luminance (WCAG 2).
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from packshot.core.errors import PackshotError, UsageError
from packshot.images.picture import ProductImage
from packshot.images.regions import Region
from packshot.images.resize import Colour, Pixels, to_grey
from packshot.release.measure import Background, find_background

Floats = npt.NDArray[np.float64]
InPixels = Literal["auto", "corner", "padding"]

FONT = Path(__file__).parent / "fonts" / "notice.otf"
READABLE = 9
"""Least height of the letters in pixels."""
MARGIN = 0.7
"""Room around the text, in heights of its letters."""
CONTRAST = 7.0
"""WCAG 2.2, 1.4.6: the least enhanced contrast. Where neither black nor white has it on the backdrop, the text gets a
white plate: thin strokes lose some of it."""
NO_LETTER = "\U0010ffff"
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


class NoRoom(Exception):
    """Why the notice cannot be drawn: a sentence."""


class Drawn(NamedTuple):
    """Pixels with the notice: where it is, the height of its letters, and its left, top, width and height."""

    pixels: Pixels
    place: Literal["corner", "padding"]
    letters: int
    box: tuple[int, int, int, int]


def draw_notice(image: ProductImage, words: str, share: float, place: InPixels) -> Drawn:
    """Returns the pixels with a text in them.

    Args:
        image: the picture.
        words: the text.
        share: height of the letters, as a share of the shorter side.
        place: "auto": in a corner that the product leaves free, else on a strip below.

    Raises:
        NoRoom: the picture is too narrow for it.
        PackshotError: a corner was asked for, and the product is in all of them, or the picture is too low.
    """
    letters = max(READABLE, math.ceil(share * min(image.width, image.height)))
    text = _set(words, letters, image.width)
    background = find_background(image.pixels)
    box = None if place == "padding" else _corner(image, text, background, place)
    chosen: Literal["corner", "padding"] = "corner"
    if box is None:
        pixels, box = _with_strip(image.pixels, text, background)
        chosen = "padding"
    else:
        pixels = _over(image, text, background, box)
    return Drawn(pixels, chosen, letters, (box.x, box.y, box.width, box.height))


def check_letters(text: str) -> None:
    """Makes sure that the font that comes with Packshot has every letter of a text.

    Raises:
        UsageError: it has not, or there is no letter in it.
    """
    if not text.strip():
        raise UsageError("The notice has no text.")
    missing = sorted({c for c in text if not c.isspace() and _shape(c) == _shape(NO_LETTER)})
    if missing:
        raise UsageError(
            f"The notice's font has no {' '.join(missing)}; it has Latin-1 and the Chinese of the usual notices."
        )


def contrast(a: Colour, b: Colour) -> float:
    """Returns the contrast of two sRGB colours, 1 to 21 (WCAG 2: (L1 + 0.05) / (L2 + 0.05), the lighter one first)."""
    light, dark = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: Colour) -> float:
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in colour[:3])]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


class _Text(NamedTuple):
    """A text ready to be drawn: its mask, float64 [h, w] in 0 .. 1, and the room that it wants on each side."""

    mask: Floats
    margin: int


def _set(words: str, letters: int, width: int) -> _Text:
    """Returns the text with letters of at least this height, in as many lines as the width asks for.

    Raises:
        NoRoom: not even one word fits.
    """
    font = _font(_size_for(words, letters))
    margin = max(2, round(MARGIN * letters))
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if not lines[-1] or font.getlength(longer) + 2 * margin <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    joined = "\n".join(lines)
    draw = ImageDraw.Draw(Image.new("L", (1, 1)))
    left, top, right, bottom = (round(v) for v in draw.multiline_textbbox((0, 0), joined, font=font))
    if right - left + 2 * margin > width:
        raise NoRoom(
            f"The picture is {width} pixels wide, too narrow for the notice '{words}' in letters that can be read."
        )
    canvas = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(canvas).multiline_text((-left, -top), joined, font=font, fill=255)
    return _Text(np.asarray(canvas, np.float64) / 255, margin)


def _corner(image: ProductImage, text: _Text, background: Background | None, place: InPixels) -> Region | None:
    """Returns the text's box, room included, in the corner to take; None: a strip it is.

    Raises:
        PackshotError: a corner was asked for, and the product is in all of them.
    """
    height, width = (n + 2 * text.margin for n in text.mask.shape)
    if height > image.height:
        corners = []
    else:
        x, y = image.width - width, image.height - height
        corners = [Region("notice", left, top, width, height) for top in (y, 0) for left in (x, 0)]
    if background is not None:
        free = [c for c in corners if not background.product[c.slices].any()]
        if place == "corner" and not free:
            raise PackshotError("The product is in every corner of the picture; choose the place 'padding'.")
        return free[0] if free else None
    if place == "auto":  # Nobody knows where the product is.
        return None
    if not corners:
        raise PackshotError("The picture is too low for a notice in a corner; choose the place 'padding'.")
    grey = to_grey(image.pixels)[..., 0].astype(np.float64)
    return min(corners, key=lambda c: float(grey[c.slices].std()))


def _over(image: ProductImage, text: _Text, background: Background | None, box: Region) -> Pixels:
    """Returns the pixels with the text in a box: on the plain backdrop where it stands out from it, else on a plate."""
    pixels = image.pixels.copy()
    clear = image.has_alpha and image.pixels[..., 3].min() < 255
    ground = _ground(background)
    part = pixels[box.slices]
    if ground is None or clear:
        ground = WHITE
        part[..., :3] = ground
    if image.has_alpha:
        part[..., 3] = 255
    _write(part, text, ground)
    return pixels


def _with_strip(pixels: Pixels, text: _Text, background: Background | None) -> tuple[Pixels, Region]:
    """Returns the pixels with a strip below that holds the text, and the strip's box."""
    height, width = pixels.shape[:2]
    high = text.mask.shape[0] + 2 * text.margin
    colour = _ground(background) or WHITE
    strip = np.empty((high, width, pixels.shape[2]), np.uint8)
    strip[:] = (*colour, 255)[: pixels.shape[2]]
    middle = (width - text.mask.shape[1] - 2 * text.margin) // 2
    _write(strip[:, middle:], text, colour)
    return np.concatenate([pixels, strip]), Region("notice", 0, height, width, high)


def _ground(background: Background | None) -> Colour | None:
    """Returns the backdrop's colour, or None where text does not stand out from it."""
    if background is None:
        return None
    colour = tuple(int(v) for v in background.colour)
    return colour if max(contrast(BLACK, colour), contrast(WHITE, colour)) >= CONTRAST else None


def _write(part: Pixels, text: _Text, ground: Colour) -> None:
    """Writes the text into pixels [h, w, C], `margin` from the left and the top, in black or white."""
    ink = np.array(max(BLACK, WHITE, key=lambda c: contrast(c, ground)), np.float64)
    height, width = text.mask.shape
    rows, columns = slice(text.margin, text.margin + height), slice(text.margin, text.margin + width)
    below = part[rows, columns, :3].astype(np.float64)
    part[rows, columns, :3] = np.rint(below + text.mask[..., None] * (ink - below)).astype(np.uint8)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # The basic layout: the other one is not in every build of Pillow, and would place the letters differently.
    return ImageFont.truetype(str(FONT), size, layout_engine=ImageFont.Layout.BASIC)


def _size_for(words: str, letters: int) -> int:
    """Returns the least font size at which the tallest letter of a text has so many pixels."""
    size = max(1, letters)
    while max(_ink_height(c, size) for c in set(words) if not c.isspace()) < letters:
        size += 1
    return size


def _ink_height(letter: str, size: int) -> int:
    _, top, _, bottom = _font(size).getbbox(letter)
    return round(bottom - top)


@cache
def _shape(letter: str) -> bytes:
    """Returns what the font draws for a letter; the same for all that it lacks."""
    return bytes(_font(32).getmask(letter))
