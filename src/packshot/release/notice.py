"""The visible notice that AI made or changed a picture: where the channel and the law both allow it, or a refusal.

A channel with a rule against text over the picture gets none in its pixels: the notice is a caption, a text for `alt`
and a piece of HTML. Where a law wants it inside the file nonetheless, or the caller does, the two rules are named.

Letters: H, W height and width of the picture; L relative luminance (WCAG 2).
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from packshot.core.errors import PackshotError, UsageError, lookup
from packshot.images.picture import Operation, ProductImage
from packshot.images.regions import Region
from packshot.images.resize import Colour, Pixels, to_grey
from packshot.release.channels import Rule, load_channel, load_law
from packshot.release.measure import Background, find_background

Kind = Literal["generated", "modified"]
Place = Literal["auto", "none", "corner", "padding"]
Placed = Literal["none", "corner", "padding", "beside"]
Language = Literal["en", "zh"]
Floats = npt.NDArray[np.float64]

FONT = Path(__file__).parent / "fonts" / "notice.otf"
TEXTS: dict[Language, dict[Kind, str]] = {
    "en": {"generated": "Generated with AI", "modified": "Modified with AI"},
    "zh": {"generated": "AI 生成", "modified": "AI 修改"},
}
TAGS: dict[Language, str] = {"en": "en", "zh": "zh-Hans"}
"""BCP 47, for HTML."""
LAWS = ("eu-ai-act",)
"""The laws that are kept where none is named."""
LEAST = {"en": 0.03, "zh": 0.05}
"""Height of the letters as a share of the shorter side, where no law that is to be kept states one."""
READABLE = 9
"""Least height of the letters in pixels."""
MARGIN = 0.7
"""Room around the text, in heights of its letters."""
CONTRAST = 7.0
"""WCAG 2.2, 1.4.6: the least enhanced contrast. Where neither black nor white has it on the backdrop, the text gets a
white plate: thin strokes lose some of it."""
NO_LETTER = "\U0010ffff"
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


class NoticeRefused(PackshotError):
    """No place satisfies both a channel's rule and what is wanted.

    Attributes:
        rules: (pack, id) of each rule that is named.
    """

    def __init__(self, sentence: str, rules: tuple[tuple[str, str], ...]) -> None:
        super().__init__(sentence)
        self.rules = rules


@dataclass(frozen=True, kw_only=True)
class PlacedNotice:
    """A notice, and where it is.

    Attributes:
        image: the picture, with the notice in its pixels where `place` is "corner" or "padding".
        place: "corner": over a corner that the product leaves free; "padding": on a strip below the picture, which
            grows by it; "beside": not in the pixels, but in the texts that follow; "none": nowhere, as was asked.
        text: the notice.
        caption: to be shown with the picture; None: the notice is in the pixels, or nowhere.
        alt: for the picture's `alt`; None: there is no notice.
        html: a `figcaption`; None as of `caption`.
        because: sentences that name the rules behind the place.
    """

    image: ProductImage
    place: Placed
    text: str
    caption: str | None = None
    alt: str | None = None
    html: str | None = None
    because: list[str] = field(default_factory=list)


def place_notice(
    image: ProductImage,
    kind: Kind,
    channel: str,
    language: Language = "en",
    *,
    on: date,
    place: Place = "auto",
    laws: Sequence[str] = LAWS,
    text: str | None = None,
    height: float | None = None,
) -> PlacedNotice:
    """Puts the visible notice where the channel's rules and the laws of a day both allow it.

    Args:
        image: the picture, finished.
        kind: "generated": AI made it; "modified": AI changed a photo.
        channel: where it is to be shown.
        language: of the notice.
        on: the day of the rules.
        place: "auto": in the pixels where the channel has no rule against text (a free corner, else a strip below),
            else beside; "corner", "padding": in the pixels, or a refusal; "none": nowhere.
        laws: names of the laws to be kept.
        text: another text than the language's own.
        height: of the letters, as a share of the picture's shorter side; None: what the laws state, else `LEAST`.

    Raises:
        UsageError: an unknown channel, law, language or place, or a height out of range.
        NoticeRefused: pixels are wanted, by the caller or a law, and the channel forbids text.
        PackshotError: the text does not fit, has a letter that the font lacks, or no corner is free.
    """
    lookup("kind of notice", kind, dict.fromkeys(get_args(Kind)))
    lookup("language", language, dict.fromkeys(get_args(Language)))
    lookup("place of the notice", place, dict.fromkeys(get_args(Place)))
    if height is not None and not 0 < height <= 0.5:
        raise UsageError(f"The notice's letters are {height:g} of the shorter side high; that can be above 0 to 0.5.")
    forbidding = [r for r in load_channel(channel).rules if r.check == "overlay" and not r.advice and r.binds(on, None)]
    binding = {name: [r for r in load_law(name).rules if r.binds(on, None)] for name in laws}
    wanting = [(name, r) for name, rules in binding.items() for r in rules if r.check == "visible"]
    words = text if text is not None else _words(kind, language, binding)
    check_letters(words)
    because = [_said(name, r) for name, r in wanting]
    if place == "none":
        return PlacedNotice(image=image, place="none", text=words, because=because)
    inside = [(name, r) for name, r in wanting if r.params["places"] == ["pixels"]]
    if forbidding:
        forbidden = (channel, forbidding[0])
        if inside or place != "auto":
            raise _refusal(forbidden, (inside or wanting)[:1], place)
        return _beside(image, words, language, [_said(*forbidden), *because])
    share = height or max(
        (r.params["at_least"] for rs in binding.values() for r in rs if r.check == "least_height"),
        default=LEAST[language],
    )
    try:
        drawn = _drawn(image, words, share, place)
    except _NoRoom as e:
        if inside or place != "auto":
            raise PackshotError(str(e)) from e
        return _beside(image, words, language, [str(e), *because])
    return PlacedNotice(image=drawn[0], place=drawn[1], text=words, alt=words, because=because)


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


def _words(kind: Kind, language: Language, binding: dict[str, list[Rule]]) -> str:
    """Returns the language's text, or a law's own where that text has not the words that the law wants."""
    words = TEXTS[language][kind]
    for rule in (r for rules in binding.values() for r in rules if r.check == "wording" and language == "zh"):
        if not all(any(word in words for word in group) for group in rule.params.get("groups", [])):
            words = rule.params["texts"][kind]
    return words


def _said(pack: str, rule: Rule) -> str:
    doubt = "" if rule.confidence == "confirmed" else f" [{rule.confidence}: {rule.source}]"
    return f"{pack} '{rule.id}': {rule.text}{doubt}"


def _refusal(forbidden: tuple[str, Rule], wanted: Sequence[tuple[str, Rule]], place: Place) -> NoticeRefused:
    by_law = any(rule.params["places"] == ["pixels"] for _, rule in wanted)
    way = "show this picture on another channel" if by_law else "leave the notice to the caption (place 'auto')"
    wish = " and ".join(_said(*w) for w in wanted) or f"the place '{place}'."
    return NoticeRefused(
        f"The notice cannot be put into this picture. Forbidden by {_said(*forbidden)} Wanted by {wish} "
        f"What to do: {way}.",
        tuple((pack, rule.id) for pack, rule in (forbidden, *wanted)),
    )


def _beside(image: ProductImage, words: str, language: Language, because: list[str]) -> PlacedNotice:
    caption = f'<figcaption lang="{TAGS[language]}">{html.escape(words)}</figcaption>'
    return PlacedNotice(
        image=image, place="beside", text=words, caption=words, alt=words, html=caption, because=because
    )


class _NoRoom(Exception):
    """Why the notice cannot be drawn: a sentence."""


class _Text(NamedTuple):
    """A text ready to be drawn: its mask, float64 [h, w] in 0 .. 1, and the room that it wants on each side."""

    mask: Floats
    margin: int


def _drawn(image: ProductImage, words: str, share: float, place: Place) -> tuple[ProductImage, Placed]:
    letters = max(READABLE, math.ceil(share * min(image.width, image.height)))
    text = _set(words, letters, image.width)
    box = None if place == "padding" else _corner(image, text, place)
    chosen: Placed = "padding" if box is None else "corner"
    if box is None:
        pixels, box = _with_strip(image.pixels, text)
    else:
        pixels = _over(image, text, box)
    at = [box.x, box.y, box.width, box.height]
    done = Operation("notice", "classical", {"text": words, "place": chosen, "letters": letters, "box": at})
    return image.done(done, pixels), chosen


def _set(words: str, letters: int, width: int) -> _Text:
    """Returns the text with letters of at least this height, in as many lines as the width asks for.

    Raises:
        _NoRoom: not even one word fits.
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
        raise _NoRoom(
            f"The picture is {width} pixels wide, too narrow for the notice '{words}' in letters that can be read."
        )
    canvas = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(canvas).multiline_text((-left, -top), joined, font=font, fill=255)
    return _Text(np.asarray(canvas, np.float64) / 255, margin)


def _corner(image: ProductImage, text: _Text, place: Place) -> Region | None:
    """Returns the text's box, room included, in the corner to take; None: a strip it is.

    Raises:
        PackshotError: a corner was asked for, and the product is in all of them.
    """
    height, width = (n + 2 * text.margin for n in text.mask.shape)
    background = find_background(image.pixels)
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


def _over(image: ProductImage, text: _Text, box: Region) -> Pixels:
    """Returns the pixels with the text in a box: on the plain backdrop where it stands out from it, else on a plate."""
    pixels = image.pixels.copy()
    background = find_background(image.pixels)
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


def _with_strip(pixels: Pixels, text: _Text) -> tuple[Pixels, Region]:
    """Returns the pixels with a strip below that holds the text, and the strip's box."""
    height, width = pixels.shape[:2]
    high = text.mask.shape[0] + 2 * text.margin
    background = find_background(pixels)
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
