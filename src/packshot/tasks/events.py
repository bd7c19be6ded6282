"""Events of a shop: into a store, what is in it, and a shopper out of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packshot.catalog import open_catalog
from packshot.core.errors import PackshotError
from packshot.taste.forget import Forgotten, forget_user
from packshot.taste.ingest import Ingested, IngestSettings, ingest_events
from packshot.taste.keys import read_key
from packshot.taste.store import open_store

DOMINANT = 0.5


@dataclass(frozen=True, kw_only=True)
class EventsRequest:
    """Events, into a store please.

    Attributes:
        events: files or folders.
        catalog: whose products they are about.
        out: folder of the store; events are added to one that is there.
        key: file with the key of pseudonyms; None: the one in the user's folder, made when it is not there.
        settings: columns, consent, rules.
    """

    events: tuple[Path, ...]
    catalog: Path
    out: Path
    key: Path | None = None
    settings: IngestSettings = field(default_factory=IngestSettings)


@dataclass(frozen=True)
class Shown:
    """What a store holds.

    Attributes:
        store: its folder.
        summary: see `Store.summary`.
        rules: what is left out.
        ingests: when, and what was counted.
        notes: what an analyst has to know.
    """

    store: Path
    summary: dict[str, Any]
    rules: dict[str, int]
    ingests: list[dict[str, Any]]
    notes: list[str]


def ingest(request: EventsRequest, step: Callable[[int], None] | None = None) -> Ingested:
    """Reads events into a store; see `taste.ingest.ingest_events`."""
    catalog = open_catalog(request.catalog)
    key = read_key(request.key, make=True)
    return ingest_events(request.events, catalog, request.out, key, request.settings, step=step)


def show(path: Path) -> Shown:
    """Says what a store holds.

    Raises:
        PackshotError: there is no store, or it is damaged.
    """
    store = open_store(path)
    summary = store.summary()
    notes = []
    if summary["events"] == 0:
        notes.append("There are no events; look at what the ingest left out and why.")
    if summary["heaviest"]["share"] > DOMINANT:
        share, name = summary["heaviest"]["share"], summary["heaviest"]["product"]
        notes.append(
            f"{share:.0%} of all events are of one product, {name}: popularity is nearly all there is to learn."
        )
    last = store.about["ingests"][-1]["counts"]["no_consent"]
    if last:
        notes.append(
            f"The last ingest left out {last:,} events of shoppers without consent; if they gave it, say --consent or "
            "--consent-file and ingest again."
        )
    return Shown(path, summary, store.about["rules"], store.about["ingests"], notes)


def forget(path: Path, user: str, key: Path | None = None) -> Forgotten:
    """Removes a shopper from a store and proves it; see `taste.store.forget_user`.

    Raises:
        PackshotError: the shopper was found again afterwards.
    """
    known = user in open_store(path).users
    result = forget_user(path, user, None if known else read_key(key))
    if result.found:
        raise PackshotError(f"The shopper is still found in {', '.join(result.found)}; remove these files by hand.")
    return result
