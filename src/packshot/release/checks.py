"""The checks that a channel's rules are made of: each looks at one picture file and says what it saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import PurePath
from typing import Any, Literal

from packshot.images.decode import SUFFIXES
from packshot.images.picture import ProductImage
from packshot.release.channels import Channel, Rule
from packshot.release.measure import Background, border_width, fill_share, find_background, white_share

Status = Literal["pass", "fail", "advice", "unknown"]

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
    """A decoded picture and what is measured of it, at most once.

    Args:
        image: as decoded from the file.
        name: of the file; None where there is none.
        size: of the file in bytes; None where there is none.
    """

    def __init__(self, image: ProductImage, name: str | None, size: int | None) -> None:
        self.image, self.name, self.size = image, name, size
        self.decoded: Mapping[str, Any] = next((o.params for o in image.history if o.name == "decode"), {})

    @cached_property
    def background(self) -> Background | None:
        """The plain background, or None."""
        return find_background(self.image.pixels)


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
    return [_finding(rule, seen) for rule in channel.rules if rule.binds(on, kind)]


def _finding(rule: Rule, seen: Seen) -> Finding:
    good, words = CHECKS[rule.check](seen, rule.params)
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
    kind = str(seen.decoded.get("format"))
    if kind not in params["formats"]:
        return False, f"it is {kind}"
    if seen.name is None:
        return True, kind
    ending = PurePath(seen.name).suffix.lower()
    return ending in SUFFIXES[kind], f"{kind} named {ending or 'without an ending'}"


def _sides(seen: Seen, params: Mapping[str, Any]) -> Answer:
    image = seen.image
    return min(image.width, image.height) >= params["at_least"], f"{image.width} x {image.height}"


def _longest(seen: Seen, params: Mapping[str, Any]) -> Answer:
    longest = max(seen.image.width, seen.image.height)
    return params["at_least"] <= longest <= params.get("at_most", longest), f"{longest} pixels"


def _megapixels(seen: Seen, params: Mapping[str, Any]) -> Answer:
    value = seen.image.width * seen.image.height / 1e6
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
    if seen.image.has_alpha and seen.image.pixels[..., 3].min() < 255:
        return False, "it has transparency, and no backdrop of its own"
    if seen.background is None:
        return False, "the background is not plain"
    share = white_share(seen.image.pixels, seen.background)
    colour = ", ".join(str(int(v)) for v in seen.background.colour)
    return share >= WHITE_SHARE, f"{100 * share:.2f} % of the backdrop is 255, 255, 255; its colour is {colour}"


def _fill(seen: Seen, params: Mapping[str, Any]) -> Answer:
    if seen.background is None:
        return None, "the background is not plain, so the product's box cannot be told"
    share = fill_share(seen.background)
    if share is None:
        return False, "no product is seen"
    # Half a pixel of slack: a box has whole pixels.
    slack = 0.5 / max(seen.image.width, seen.image.height)
    return params["at_least"] - slack <= share <= params["at_most"] + slack, f"{100 * share:.1f} %"


def _border(seen: Seen, params: Mapping[str, Any]) -> Answer:
    width = border_width(seen.image.pixels)
    return width == 0, f"a border of {width} pixels" if width else "none"


def _label(seen: Seen, params: Mapping[str, Any]) -> Answer:
    term = seen.decoded.get("source_type")
    if term in params["terms"]:
        return True, f"it says {term}"
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
    "border": _border,
    "label": _label,
}
