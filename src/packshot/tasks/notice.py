"""The visible notice as the last step of an edit: on what AI made or changed, where channel and law allow it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from packshot.core.errors import PackshotError, UsageError
from packshot.images.picture import ProductImage
from packshot.release.channels import Rule, load_channel, load_law
from packshot.release.manifest import read_carried
from packshot.release.notice import (
    LAWS,
    Language,
    NoticeRefused,
    Place,
    place_notice,
    rule_said,
    usual_place,
)
from packshot.release.notice_ink import check_letters
from packshot.release.source_type import strongest
from packshot.release.statement import Notice as Kind
from packshot.release.statement import state
from packshot.tasks.edit import Edit, Edited

DECIDING = ("overlay", "visible", "least_height", "wording")
"""Checks of the rules that decide about the notice."""
GROWN = "The strip with the notice makes the picture higher than was asked for."


@dataclass(frozen=True, kw_only=True)
class NoticeRequest:
    """The notice that is wanted.

    Attributes:
        on: the day of the rules.
        place: see `packshot.release.notice.place_notice`; None: as `usual_place` says.
        language: that it is in.
        channel: where the pictures are to be shown; None: no rule is against text.
        laws: that are to be kept.
        text: another text than the usual one.

    Raises:
        UsageError: an unknown channel or law, or a text that the font has not all letters of.
    """

    on: date
    place: Place | None = None
    language: Language = "en"
    channel: str | None = None
    laws: tuple[str, ...] = LAWS
    text: str | None = None

    def __post_init__(self) -> None:
        if self.channel is not None:
            load_channel(self.channel)
        for law in self.laws:
            load_law(law)
        if self.text is not None:
            check_letters(self.text)
            if self.place == "none":
                raise UsageError("There is a text for the notice, and its place is 'none'; leave one of them out.")

    @property
    def where(self) -> Place:
        """The place that is wanted."""
        return self.place or usual_place(self.channel, self.laws, self.on)


class PlaceNotice:
    """Puts the notice on a finished picture, if one is due; one that may not be placed as it is wanted is refused.

    Args:
        request: how it is wanted.
    """

    task = "notice"

    def __init__(self, request: NoticeRequest) -> None:
        self.request = request

    def settings(self) -> dict[str, Any]:
        """Returns all that decides about the notice: what is wanted, and the rules in force."""
        request = self.request
        packs = [load_law(name) for name in request.laws]
        packs += [] if request.channel is None else [load_channel(request.channel)]
        rules = [_as_json(pack.name, r) for pack in packs for r in pack.rules if r.binds(request.on, None)]
        return {
            "place": request.where,
            "language": request.language,
            "channel": request.channel,
            "laws": list(request.laws),
            "text": request.text,
            "rules": [r for r in rules if r["check"] in DECIDING],
        }

    def __call__(self, image: ProductImage) -> Edited:
        """Places the notice on one picture.

        Raises:
            PackshotError: there is no room for it, where one was asked for.
        """
        request, kind = self.request, notice_due(image)
        if kind is None:
            return Edited(image=image, lossless=True)
        try:
            placed = place_notice(
                image,
                kind,
                request.channel,
                request.language,
                on=request.on,
                place=request.where,
                laws=request.laws,
                text=request.text,
            )
        except NoticeRefused as e:
            return Edited(image=image, lossless=True, refused=str(e))
        rules = {rule_said(rule) for rule in placed.rules}
        size = {"width": placed.image.width, "height": placed.image.height}
        return Edited(
            image=placed.image,
            lossless=True,
            figures={
                "place": placed.place,
                "text": placed.text,
                "rules": [list(rule) for rule in placed.rules],
                **(size if placed.place == "padding" else {}),
            },
            notes=(
                *(sentence for sentence in placed.because if sentence not in rules),
                *([GROWN] if placed.place == "padding" else []),
            ),
        )


class WithNotice:
    """An edit, and the notice after it: the receipts of the edit are of the picture without it.

    Args:
        edit: any.
        notice: the notice.
    """

    def __init__(self, edit: Edit, notice: PlaceNotice) -> None:
        self.edit, self.notice = edit, notice

    @property
    def task(self) -> str:
        """Name of the edit."""
        return self.edit.task

    def settings(self) -> dict[str, Any]:
        """Returns the edit's settings, and under "notice" the notice's."""
        return {**self.edit.settings(), "notice": self.notice.settings()}

    def __call__(self, image: ProductImage) -> Edited:
        """Edits one picture and places the notice.

        Raises:
            PackshotError: it cannot be edited, or there is no room for the notice.
        """
        done = self.edit(image)
        if done.refused:
            return done
        placed = self.notice(done.image)
        return replace(
            done,
            image=placed.image,
            refused=placed.refused,
            figures={**done.figures, "notice": dict(placed.figures)} if placed.figures else done.figures,
            notes=(*done.notes, *placed.notes),
        )


def place_or_refuse(request: NoticeRequest, image: ProductImage) -> Edited:
    """Returns a picture with its notice, and each rule behind the notice's place as a note.

    Raises:
        PackshotError: no place satisfies the channel and what is wanted, or there is no room for it.
    """
    placed = PlaceNotice(request)(image)
    if placed.refused:
        raise PackshotError(placed.refused)
    rules = [rule_said((pack, id)) for pack, id in placed.figures.get("rules", [])]
    return replace(placed, notes=(*placed.notes, *rules))


def notice_due(image: ProductImage) -> Kind | None:
    """Returns which notice a picture needs; None: none, AI neither made nor changed what is to be seen."""
    came = read_carried(image)
    return state(image, strongest(came[1].source_types) if came is not None else None).notice


def notices_told(figures: Iterable[Mapping[str, Any]]) -> tuple[dict[str, int], list[str]]:
    """Returns how many notices are at which place, and each rule behind them once, as a sentence.

    Args:
        figures: of results.
    """
    places: dict[str, int] = {}
    rules: dict[tuple[str, str], None] = {}
    for placed in (f["notice"] for f in figures if isinstance(f.get("notice"), Mapping)):
        if isinstance(placed.get("place"), str):
            places[placed["place"]] = places.get(placed["place"], 0) + 1
            rules |= dict.fromkeys((str(pack), str(id)) for pack, id in placed.get("rules", []))
    return places, [rule_said(rule) for rule in rules]


def _as_json(pack: str, rule: Rule) -> dict[str, Any]:
    return {"pack": pack, "id": rule.id, "check": rule.check, **rule.params}
