"""The checks that a channel's rules are made of: each looks at one picture file and says what it saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import PurePath
from typing import Any, Literal

from packshot.images.decode import SUFFIXES, Header
from packshot.images.picture import ProductImage
from packshot.images.resize import Pixels
from packshot.images.xmp import is_synthetic
from packshot.release.channels import Channel, Rule
from packshot.release.measure import Background, border_width, fill_share, find_background, off_centre, white_share
from packshot.release.overlay import Overlay, find_overlay

Status = Literal["pass", "fail", "advice", "unknown"]

LIGHT = 240
"""A frame whose darkest channel is at least this may be a product's white backdrop."""
WHITE_SHARE = 0.999
"""Share of the backdrop that has to be exactly white: dust of single pixels does not fail a picture."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one rule says of one picture.

    Attributes:
        rule: its id.
        status: "pass"; "fail"; "advice": missed, but only a recommendation; "unknown": it cannot be told here.
        seen: what was measured, in words.
        text: the rule.
        confidence: of the rule: "confirmed", "secondary" or "unconfirmed".
        source: where the rule was read, and
        read_on: when (ISO date).
    """

    rule: str
    status: Status
    seen: str
    text: str
    confidence: str
    source: str
    read_on: str


class Seen:
    """A picture and what is measured of it, at most once.

    Args:
        image: as decoded from the file; None: it has too many pixels for that, and `header` is all that is known.
        name: of the file; None where there is none.
        size: of the file in bytes; None where there is none.
        header: what the file says of itself; None: the picture says it.
        known: the IPTC term that is known of the picture from elsewhere, such as the register of what was released;
            None: nothing is.
    """

    def __init__(
        self,
        image: ProductImage | None,
        name: str | None,
        size: int | None,
        *,
        header: Header | None = None,
        known: str | None = None,
    ) -> None:
        self.image, self.name, self.size, self.known = image, name, size, known
        history = image.history if image is not None else ()
        self.decoded: Mapping[str, Any] = next((o.params for o in history if o.name == "decode"), {})
        self.width, self.height = _size_of(image, header)
        self.format = header.format if header is not None else str(self.decoded.get("format"))
        self._answers: dict[str, Answer] = {}

    @property
    def pixels(self) -> Pixels:
        """The decoded pixels."""
        assert self.image is not None
        return self.image.pixels

    @cached_property
    def background(self) -> Background | None:
        """The plain background, or None."""
        return find_background(self.pixels)

    @cached_property
    def overlay(self) -> Overlay:
        """The lines of text."""
        return find_overlay(self.pixels)

    def answer(self, rule: Rule) -> Answer:
        """Returns what the rule's check says, asked at most once."""
        key = f"{rule.check} {dict(rule.params)}"
        if key not in self._answers:
            if self.image is None and rule.check not in BY_HEADER:
                self._answers[key] = None, "it is too large to be decoded here"
            else:
                self._answers[key] = CHECKS[rule.check](self, rule.params)
        return self._answers[key]


def _size_of(image: ProductImage | None, header: Header | None) -> tuple[int, int]:
    if image is not None:
        return image.width, image.height
    if header is None:
        raise ValueError("neither a picture nor a header.")
    return header.width, header.height


Answer = tuple[bool | None, str]
Check = Callable[[Seen, Mapping[str, Any]], Answer]


def check_picture(seen: Seen, channel: Channel, on: date, kind: str | None = None) -> list[Finding]:
    """Returns what each rule that is in force on a day says of a picture.

    Args:
        seen: the picture.
        channel: whose rules.
        on: the day.
        kind: of product, for rules that bind one kind alone ("apparel").
    """
    rules = [rule for rule in channel.rules if rule.subject == "picture" and rule.binds(on, kind)]
    return [finding(rule, seen.answer(rule)) for rule in rules]


def finding(rule: Rule, answer: Answer) -> Finding:
    """Returns the answer of a rule's check as what the rule says."""
    good, words = answer
    status: Status = "unknown" if good is None else "pass" if good else "advice" if rule.advice else "fail"
    return Finding(
        rule=rule.id,
        status=status,
        seen=words,
        text=rule.text,
        confidence=rule.confidence,
        source=rule.source,
        read_on=rule.read_on.isoformat(),
    )


def _format(seen: Seen, params: Mapping[str, Any]) -> Answer:
    kind = seen.format
    if kind not in params["formats"]:
        return False, f"it is {kind}"
    if seen.name is None:
        return True, kind
    ending = PurePath(seen.name).suffix.lower()
    return ending in SUFFIXES[kind], f"{kind} named {ending or 'without an ending'}"


def _sides(seen: Seen, params: Mapping[str, Any]) -> Answer:
    return min(seen.width, seen.height) >= params["at_least"], f"{seen.width} x {seen.height}"


def _longest(seen: Seen, params: Mapping[str, Any]) -> Answer:
    longest = max(seen.width, seen.height)
    return params["at_least"] <= longest <= params.get("at_most", longest), f"{longest} pixels"


def _megapixels(seen: Seen, params: Mapping[str, Any]) -> Answer:
    value = seen.width * seen.height / 1e6
    return value <= params["at_most"], f"{value:.1f} megapixels"


def _megabytes(seen: Seen, params: Mapping[str, Any]) -> Answer:
    if seen.size is None:
        return None, "it is no file of its own yet"
    return seen.size <= params["at_most"] * 1e6, f"{seen.size / 1e6:.1f} MB"


def _srgb(seen: Seen, params: Mapping[str, Any]) -> Answer:
    mode, icc = str(seen.decoded.get("mode")), seen.decoded.get("icc")
    if mode in ("CMYK", "LAB", "YCbCr"):
        return False, f"its pixels are {mode}"
    return icc != "other", "its ICC profile is not sRGB" if icc == "other" else f"{mode}, sRGB"


def _white(seen: Seen, params: Mapping[str, Any]) -> Answer:
    if seen.pixels.shape[2] == 4 and seen.pixels[..., 3].min() < 255:
        return False, "it has transparency, and no backdrop of its own"
    if seen.background is None:
        return False, "the background is not plain"
    share = white_share(seen.pixels, seen.background)
    colour = ", ".join(str(int(v)) for v in seen.background.colour)
    return share >= WHITE_SHARE, f"{100 * share:.2f} % of the backdrop is 255, 255, 255; its colour is {colour}"


def _fill(seen: Seen, params: Mapping[str, Any]) -> Answer:
    if seen.background is None:
        return None, "the background is not plain, so the product's box cannot be told"
    share = fill_share(seen.background)
    if share is None:
        return False, "no product is seen"
    # Half a pixel of slack: a box has whole pixels.
    slack = 0.5 / max(seen.width, seen.height)
    return params["at_least"] - slack <= share <= params["at_most"] + slack, f"{100 * share:.1f} %"


def _border(seen: Seen, params: Mapping[str, Any]) -> Answer:
    width = border_width(seen.pixels)
    if width and seen.background is not None and seen.background.colour.min() >= LIGHT:
        return None, f"a light frame of {width} pixels, or the backdrop of a product with straight sides"
    return width == 0, f"a border of {width} pixels" if width else "none"


def _centre(seen: Seen, params: Mapping[str, Any]) -> Answer:
    if seen.background is None:
        return None, "the background is not plain, so the product's box cannot be told"
    off = off_centre(seen.background)
    if off is None:
        return None, "no product is seen"
    across, down = off
    # As for the fill, half a pixel of slack.
    good = max(abs(across) - 0.5 / seen.width, abs(down) - 0.5 / seen.height) <= params["at_most"]
    aside = f"{100 * abs(across):.1f} % to the {'right' if across > 0 else 'left'}"
    return good, f"{aside}, {100 * abs(down):.1f} % {'below' if down > 0 else 'above'} the middle"


def _overlay(seen: Seen, params: Mapping[str, Any]) -> Answer:
    found = seen.overlay
    if found.laid_over:
        return False, f"{_lines(len(found.laid_over))} beside the product"
    if found.unclear:
        return None, f"{_lines(len(found.unclear))}, and it cannot be told whether it is printed on the product"
    return True, f"{_lines(len(found.printed))}, printed on the product" if found.printed else "none"


def _lines(count: int) -> str:
    return f"{count} {'line' if count == 1 else 'lines'} of text"


def _label(seen: Seen, params: Mapping[str, Any]) -> Answer:
    term = seen.decoded.get("source_type")
    if term in params["terms"]:
        return True, f"it says {term}"
    if is_synthetic(seen.known):
        return False, f"it says {term or 'nothing of its origin'}, and it is known to be {seen.known}"
    return None, f"it says {term or 'nothing of its origin'}; if AI made it, the label is missing"


CHECKS: dict[str, Check] = {
    "format": _format,
    "sides": _sides,
    "longest": _longest,
    "megapixels": _megapixels,
    "megabytes": _megabytes,
    "srgb": _srgb,
    "white": _white,
    "fill": _fill,
    "centre": _centre,
    "border": _border,
    "overlay": _overlay,
    "label": _label,
}
BY_HEADER = {"format", "sides", "longest", "megapixels", "megabytes"}
"""Checks that need no decoded pixel."""
