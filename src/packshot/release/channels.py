"""Channels and laws as dated data: what a marketplace or a law asks of a picture, since when, and who says so.

Each pack is a TOML file in `channels/` or `laws/`. A rule that only secondary sources state, or that nobody confirmed,
says so wherever it is shown.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Literal

from packshot.core.errors import lookup

FOLDER = Path(__file__).parent / "channels"
LAWS = Path(__file__).parent / "laws"

Confidence = Literal["confirmed", "secondary", "unconfirmed"]
Subject = Literal["picture", "product", "edit"]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule of a channel or a law.

    Attributes:
        id: its name within the pack.
        text: the rule, for a person.
        check: which check decides it: of `checks.CHECKS` a channel's on a picture, of `texts.TEXT_CHECKS` a channel's
            on a product of a feed, "product" on an edit; a law's is read by `notice`.
        params: the check's own settings.
        source: where it was read.
        read_on: when.
        start: in force from; None: since before `read_on`.
        until: in force until, that day included; None: no end is known.
        confidence: "confirmed": read at its source; "secondary": others say so; "unconfirmed".
        only: the kind of product that it binds, for example "apparel"; None: all.
        subject: what it is about: each picture; a product's row in a feed; or what an edit may change of the product,
            with `receipt.Limits` as its params.
        advice: a picture that misses it still passes.
    """

    id: str
    text: str
    check: str
    source: str
    read_on: date
    confidence: Confidence
    params: Mapping[str, Any] = field(default_factory=dict)
    start: date | None = None
    until: date | None = None
    only: str | None = None
    subject: Subject = "picture"
    advice: bool = False

    def binds(self, on: date, kind: str | None) -> bool:
        """Whether it is in force on a day for a kind of product."""
        early, late = self.start is not None and on < self.start, self.until is not None and on > self.until
        return not early and not late and self.only in (None, kind)


@dataclass(frozen=True, kw_only=True)
class Channel:
    """A channel, or a law: a pack of rules.

    Attributes:
        name: as the command line knows it.
        about: what it is for.
        rules: all of its rules, also those not yet or no longer in force.
    """

    name: str
    about: str
    rules: tuple[Rule, ...]

    def changes_after(self, on: date) -> list[date]:
        """Returns the days after `on` from which another set of rules is in force, earliest first."""
        starts = {rule.start for rule in self.rules if rule.start is not None}
        ends = {rule.until + timedelta(days=1) for rule in self.rules if rule.until is not None}
        return sorted(day for day in starts | ends if day > on)


def channel_names() -> list[str]:
    """Returns the names of the channels that come with Packshot."""
    return _names(FOLDER)


def law_names() -> list[str]:
    """Returns the names of the laws that come with Packshot."""
    return _names(LAWS)


@cache
def load_channel(name: str) -> Channel:
    """Returns a channel that comes with Packshot.

    Raises:
        UsageError: no such channel; the nearest name is suggested.
    """
    lookup("channel", name, dict.fromkeys(channel_names()))
    return _load(FOLDER / f"{name}.toml")


@cache
def load_law(name: str) -> Channel:
    """Returns a law that comes with Packshot.

    Raises:
        UsageError: no such law; the nearest name is suggested.
    """
    lookup("law", name, dict.fromkeys(law_names()))
    return _load(LAWS / f"{name}.toml")


def _names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.toml"))


def _load(path: Path) -> Channel:
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return Channel(name=table["name"], about=table["about"], rules=tuple(_rule(r) for r in table["rule"]))


def _rule(table: dict[str, Any]) -> Rule:
    own = {f.name for f in fields(Rule)} - {"params", "start"}
    known = {key: table[key] for key in table if key in own}
    params = {key: table[key] for key in table if key not in own and key != "from"}
    return Rule(**known, start=table.get("from"), params=params)
