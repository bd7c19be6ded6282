"""A store of events is made ready once, in the background; every page about its shoppers waits for the same.

On a catalogue's first day its photos have to be looked at and a model of taste be fitted, which takes a minute or so
for a thousand products. It begins when somebody opens Taste, and what is made is kept on the disk by its content.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import Request

from packshot.jobs.desk_ready import make_ready
from packshot.server.fetch import desk_of
from packshot.server.pages.asking import LONG_SECONDS, guessed, start_long
from packshot.server.pages.working import Work, works_of

READY = "taste"
FIRST = " first"
"""Ends the kind of a work that waits for a store to be ready before it begins."""
ANY, EACH = 8.0, 0.025
"""Seconds for any catalogue, and for each photo of it, before anything was measured."""
KNOWN = 5.0
"""Seconds where the store keeps a model already."""
REMEMBERED = 50


def start_ready(request: Request, tenant: str, store: Path, catalog: Path, photos: int) -> Work | None:
    """Begins to make a store ready, unless that is under way or done.

    Args:
        request: whose desk.
        tenant: whose they are.
        store: the events.
        catalog: the catalogue.
        photos: how many it has, by which the time is guessed.

    Returns:
        The work under way; None: it has been done, or could not be: who asks for a shopper hears why.
    """
    state = request.app.state
    if not hasattr(state, "taste_ready"):
        state.taste_ready = {}
    known: dict[Any, Work] = state.taste_ready
    key = (tenant, store, catalog, *(_stamp(path) for path in (store / "store.json", catalog / "catalog.json")))
    if key not in known:
        kept = any((store / "derived").glob("*/index.json"))
        # Of two kinds, so that the time of the one says nothing of the other's.
        kind, guess = (f"{READY} kept", KNOWN) if kept else (READY, ANY + EACH * photos)
        known[key] = start_long(request, tenant, kind, guess, make_ready, store, catalog)
        while len(known) > REMEMBERED:
            del known[next(iter(known))]
    work = known[key]
    return work if work.ended is None else None


def start_after(
    request: Request,
    tenant: str,
    ready: Work | None,
    kind: str,
    guess: float,
    work: Callable[..., Any],
    *args: Any,
) -> Work:
    """Begins a question to the desk once a store is ready; its page follows both as one (`start_long`)."""
    if ready is None:
        return start_long(request, tenant, kind, guess, work, *args)
    ask = partial(desk_of(request).ask, work, *args, seconds=LONG_SECONDS)

    def act() -> Any:
        ready.over.wait()
        return ask()

    begun = works_of(request.app.state).start(tenant, kind + FIRST, guessed(guess), act, {})
    begun.expected = guess + max(1.0, ready.expected - ready.seconds)
    return begun


def _stamp(path: Path) -> int:
    """Returns what changes when a file does; 0: it is not there."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
