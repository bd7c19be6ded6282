"""The checks of what a feed says of a product in words; pictures are checked by `packshot.release.checks`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from packshot.release.channels import Channel
from packshot.release.checks import Answer, Finding, finding

Texts = Mapping[str, list[str]]
"""What a feed says of a product, by attribute; a part of a structured one is called "structured_title.content"."""


def check_texts(texts: Texts, channel: Channel, on: date, kind: str | None = None) -> list[Finding]:
    """Returns what each rule on a product's texts that is in force on a day says of it.

    A rule on an attribute that the product does not have says nothing.

    Args:
        texts: of the product.
        channel: whose rules.
        on: the day.
        kind: of product, for rules that bind one kind alone ("apparel").
    """
    rules = [rule for rule in channel.rules if rule.subject == "product" and rule.binds(on, kind)]
    return [
        finding(rule, TEXT_CHECKS[rule.check](texts, rule.params))
        for rule in rules
        if rule.params["attribute"] in texts
    ]


def _length(texts: Texts, params: Mapping[str, Any]) -> Answer:
    name = params["attribute"]
    longest = max(len(text) for text in texts.get(f"{name}.content", [""]))
    return longest <= params["at_most"], f"{longest:,} characters"


def _source_of_text(texts: Texts, params: Mapping[str, Any]) -> Answer:
    said = texts.get(f"{params['attribute']}.digital_source_type", [""])[0]
    return said.lower() in params["values"], f"it says '{said}'" if said else "it says nothing of its origin"


TEXT_CHECKS: dict[str, Callable[[Texts, Mapping[str, Any]], Answer]] = {
    "length": _length,
    "source_of_text": _source_of_text,
}
