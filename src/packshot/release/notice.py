"""The visible notice that AI made or changed a picture: where the channel and the law both allow it, or a refusal.

A channel with a rule against text over the picture gets none in its pixels: the notice is a caption, a text for `alt`
and a piece of HTML. Where a law wants it inside the file nonetheless, or the caller does, the two rules are named.

`packshot.release.notice_ink` draws it.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal, NamedTuple, get_args

from packshot.core.errors import PackshotError, UsageError, lookup
from packshot.images.picture import Operation, ProductImage
from packshot.release.channels import Rule, channel_names, load_channel, load_law
from packshot.release.notice_ink import InPixels, NoRoom, check_letters, draw_notice

Kind = Literal["generated", "modified"]
Place = Literal["auto", "none", "corner", "padding", "beside"]
Placed = Literal["none", "corner", "padding", "beside"]
Language = Literal["en", "zh"]
RuleName = tuple[str, str]
"""Of a rule: the pack's name, a channel's or a law's, and the id."""

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


class NoticeRefused(PackshotError):
    """No place satisfies both a channel's rule and what is wanted.

    Attributes:
        rules: (pack, id) of each rule that is named.
    """

    def __init__(self, sentence: str, rules: tuple[RuleName, ...]) -> None:
        super().__init__(sentence)
        self.rules = rules


@dataclass(frozen=True, kw_only=True)
class PlacedNotice:
    """A notice, and where it is.

    Attributes:
        image: the picture, with the notice in its pixels where `place` is "corner" or "padding"; its history says in
            any case where the notice is and how it reads, and the side-car repeats that.
        place: "corner": over a corner that the product leaves free; "padding": on a strip below the picture, which
            grows by it; "beside": not in the pixels, but in the texts that follow; "none": nowhere, as was asked.
        text: the notice.
        caption: to be shown with the picture; None: the notice is in the pixels, or nowhere.
        alt: for the picture's `alt`; None: there is no notice.
        html: a `figcaption`; None as of `caption`.
        rules: those behind the place.
        because: sentences: why it is not where it would be otherwise, and each of the rules.
    """

    image: ProductImage
    place: Placed
    text: str
    caption: str | None = None
    alt: str | None = None
    html: str | None = None
    rules: tuple[RuleName, ...] = ()
    because: list[str] = field(default_factory=list)


def place_notice(
    image: ProductImage,
    kind: Kind,
    channel: str | None,
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
        channel: where it is to be shown; None: where no rule is against text.
        language: of the notice.
        on: the day of the rules.
        place: "auto": in the pixels where the channel has no rule against text (a free corner, else a strip below),
            else beside; "corner", "padding": in the pixels, or a refusal; "beside": there, or a refusal; "none":
            nowhere.
        laws: names of the laws to be kept.
        text: another text than the language's own.
        height: of the letters, as a share of the picture's shorter side; None: what the laws state, else `LEAST`.

    Raises:
        UsageError: an unknown channel, law, language or place, or a height out of range.
        NoticeRefused: pixels are wanted, by the caller or a law, and the channel forbids text; or a law wants them, and
            the caller does not.
        PackshotError: the text does not fit, has a letter that the font lacks, or no corner is free.
    """
    lookup("kind of notice", kind, dict.fromkeys(get_args(Kind)))
    lookup("language", language, dict.fromkeys(get_args(Language)))
    lookup("place of the notice", place, dict.fromkeys(get_args(Place)))
    if height is not None and not 0 < height <= 0.5:
        raise UsageError(f"The notice's letters are {height:g} of the shorter side high; that can be above 0 to 0.5.")
    forbidding = [(channel, r) for r in _forbidding(channel, on)] if channel is not None else []
    binding = {name: [r for r in load_law(name).rules if r.binds(on, None)] for name in laws}
    wanting = [(name, r) for name, rules in binding.items() for r in rules if r.check == "visible"]
    inside = [(name, r) for name, r in wanting if r.params["places"] == ["pixels"]]
    texts = {of: _words(kind, of, binding) for of in TEXTS}
    if text is not None:
        texts[language] = text
    words = _Words(language, texts)
    check_letters(words.text)
    if forbidding and (inside or place in ("corner", "padding")) and place != "none":
        raise _refusal(forbidding[0], (inside or wanting)[:1], place)
    if inside and place == "beside":
        raise _not_beside(inside[0])
    if place == "none" or place == "beside":
        return _outside(image, words, place, wanting)
    if forbidding:
        return _outside(image, words, "beside", [forbidding[0], *wanting])
    share = height or max(
        (r.params["at_least"] for rs in binding.values() for r in rs if r.check == "least_height"),
        default=LEAST[language],
    )
    try:
        drawn = _drawn(image, words, share, place)
    except NoRoom as e:
        if inside or place != "auto":
            raise PackshotError(str(e)) from e
        return _outside(image, words, "beside", wanting, str(e))
    because = [_said(*rule) for rule in wanting]
    return PlacedNotice(
        image=drawn[0],
        place=drawn[1],
        text=words.text,
        alt=words.text,
        rules=tuple((pack, rule.id) for pack, rule in wanting),
        because=because,
    )


def usual_place(channel: str | None, laws: Sequence[str], on: date) -> Place:
    """Returns where the notice goes if nobody says where.

    "auto" where a channel is named, or a law that wants it in the file; else "beside": a picture that is for no place
    yet keeps its pixels.
    """
    wanted = [r for name in laws for r in load_law(name).rules if r.check == "visible" and r.binds(on, None)]
    return "auto" if channel is not None or any(r.params["places"] == ["pixels"] for r in wanted) else "beside"


def rule_said(name: RuleName) -> str:
    """Returns a rule as one sentence, with its pack, and its source where it is not confirmed."""
    pack, id = name
    rules = (load_channel if pack in channel_names() else load_law)(pack).rules
    return _said(pack, next(r for r in rules if r.id == id))


def told_beside(text: str, language: str) -> dict[str, str]:
    """Returns a notice as it is told beside a picture: caption, alt text, and HTML."""
    tag = TAGS.get(language, language)  # type: ignore[call-overload]
    return {"caption": text, "alt": text, "html": f'<figcaption lang="{tag}">{html.escape(text)}</figcaption>'}


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


def _forbidding(channel: str, on: date) -> list[Rule]:
    return [r for r in load_channel(channel).rules if r.check == "overlay" and not r.advice and r.binds(on, None)]


def _not_beside(wanted: tuple[str, Rule]) -> NoticeRefused:
    return NoticeRefused(
        f"The notice cannot be beside this picture alone. Wanted by {_said(*wanted)} What to do: leave the place to "
        "Packshot (place 'auto').",
        ((wanted[0], wanted[1].id),),
    )


def _refusal(forbidden: tuple[str, Rule], wanted: Sequence[tuple[str, Rule]], place: Place) -> NoticeRefused:
    by_law = any(rule.params["places"] == ["pixels"] for _, rule in wanted)
    way = "show this picture on another channel" if by_law else "leave the notice to the caption (place 'auto')"
    wish = " and ".join(_said(*w) for w in wanted) or f"the place '{place}'."
    return NoticeRefused(
        f"The notice cannot be put into this picture. Forbidden by {_said(*forbidden)} Wanted by {wish} "
        f"What to do: {way}.",
        tuple((pack, rule.id) for pack, rule in (forbidden, *wanted)),
    )


class _Words(NamedTuple):
    """How the notice reads: the language that it is placed in, and its text in each language."""

    language: Language
    texts: dict[Language, str]

    @property
    def text(self) -> str:
        return self.texts[self.language]

    def as_params(self, place: Placed) -> dict[str, Any]:
        """Returns what the history keeps: `packshot.release.statement` reads it."""
        return {"text": self.text, "place": place, "language": self.language, "texts": dict(self.texts)}


def _outside(
    image: ProductImage,
    words: _Words,
    place: Literal["none", "beside"],
    rules: Sequence[tuple[str, Rule]],
    why: str | None = None,
) -> PlacedNotice:
    """Returns the notice where the pixels stay as they are."""
    told = told_beside(words.text, words.language) if place == "beside" else {}
    return PlacedNotice(
        image=image.done(Operation("notice", "classical", words.as_params(place))),
        place=place,
        text=words.text,
        caption=told.get("caption"),
        alt=told.get("alt"),
        html=told.get("html"),
        rules=tuple((pack, rule.id) for pack, rule in rules),
        because=[*([why] if why else []), *(_said(*rule) for rule in rules)],
    )


def _drawn(image: ProductImage, words: _Words, share: float, place: InPixels) -> tuple[ProductImage, Placed]:
    """Returns the picture with the notice in its pixels, and where it is.

    Raises:
        NoRoom: it does not fit.
        PackshotError: see `draw_notice`.
    """
    drawn = draw_notice(image, words.text, share, place)
    params = {**words.as_params(drawn.place), "letters": drawn.letters, "box": list(drawn.box)}
    return image.done(Operation("notice", "classical", params), drawn.pixels), drawn.place
