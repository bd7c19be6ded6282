"""Channels as dated data: what a marketplace or ad platform asks of a picture, since when, and who says so.

Each pack is a TOML file in `channels/`. A rule that only secondary sources state, or that nobody confirmed, says so
wherever it is shown.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Literal

from packshot.core.errors import lookup

FOLDER = Path(__file__).parent / "channels"

Confidence = Literal["confirmed", "secondary", "unconfirmed"]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule of a channel.

    Attributes:
        id: its name within the channel.
        text: the rule, for a person.
        check: which check of `checks.CHECKS` decides it.
        params: the check's own settings.
        source: where it was read.
        read_on: when.
        start: in force from; None: since before `read_on`.
        until: in force until, that day included; None: no end is known.
        confidence: "confirmed": read at its source; "secondary": others say so; "unconfirmed".
        only: the kind of product that it binds, for example "apparel"; None: all.
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
    advice: bool = False

    def binds(self, on: date, kind: str | None) -> bool:
        """Whether it is in force on a day for a kind of product."""
        early, late = self.start is not None and on < self.start, self.until is not None and on > self.until
        return not early and not late and self.only in (None, kind)


@dataclass(frozen=True, kw_only=True)
class Channel:
    """A channel.

    Attributes:
        name: as the command line knows it.
        about: what it is for.
        rules: all of its rules, also those not yet or no longer in force.
    """

    name: str
    about: str
    rules: tuple[Rule, ...]


def channel_names() -> list[str]:
    """Returns the names of the channels that come with Packshot."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


@cache
def load_channel(name: str) -> Channel:
    """Returns a channel that comes with Packshot.

    Raises:
        UsageError: no such channel; the nearest name is suggested.
    """
    lookup("channel", name, dict.fromkeys(channel_names()))
    table = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    return Channel(name=table["name"], about=table["about"], rules=tuple(_rule(r) for r in table["rule"]))


def _rule(table: dict[str, Any]) -> Rule:
    own = {f.name for f in fields(Rule)} - {"params", "start"}
    known = {key: table[key] for key in table if key in own}
    params = {key: table[key] for key in table if key not in own and key != "from"}
    return Rule(**known, start=table.get("from"), params=params)
