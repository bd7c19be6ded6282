"""A result that a person repaired by hand, put into its job in the place of the one that the job made; and back again.

What was there before is kept, in the picture's figures and beside it: `take_back` puts it there again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from packshot.core.errors import UsageError
from packshot.jobs.database import items, jobs, writing
from packshot.jobs.desk_work import ENDINGS
from packshot.jobs.records import Item, Picture
from packshot.jobs.rows import plain, to_item
from packshot.jobs.shelf import not_found

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from packshot.jobs.studio import Studio
    from packshot.tasks.journal import PhotoResult

MENDED = "mended"
"""Of the figures: what stood there before the repair."""
KEPT = ("result", "result_name", "beside", "reason", "receipt", "figures", "notes", "source_type", "decision")
"""What of a picture a repair changes."""
LOSSY = {"image/jpeg": "JPEG", "image/webp": "WEBP"}


@dataclass(frozen=True, kw_only=True)
class Mended:
    """A repaired result, and what the channel's rules say of it.

    Attributes:
        picture: the repaired result; the tenant's.
        of: checksum of the result that it was made from.
        result: of the repair.
        review: which of the channel's rules it breaks, in sentences; None: none, or there is no channel.
        check: what each rule saw, by its name; empty: there is no channel.
    """

    picture: Picture
    of: str
    result: PhotoResult
    review: str | None = None
    check: Mapping[str, Any] | None = None


def check_again(data: bytes, mime: str, channel: str, on: date, quality: int) -> tuple[str | None, dict[str, Any]]:
    """Holds a repaired result against a channel's rules; asked of the desk.

    Args:
        data: its file.
        mime: of it.
        channel: its name.
        on: the day of the rules.
        quality: that it is written with, if it is a JPEG or a WebP.

    Returns:
        Which rules it breaks, in sentences (None: none), and what each rule saw, as `shoot` notes it.
    """
    from packshot.images.decode import decode
    from packshot.tasks.shoot import Check

    found = Check(channel, on, LOSSY.get(mime), quality)(decode(data))
    return found.review, dict(found.figures)


def put_mended(studio: Studio, tenant: str, id: str, number: int, mended: Mended) -> Item:
    """Puts a repaired result into its job; it is approved, since a person has just made it.

    Raises:
        NotFound: there is no such job or picture of it.
        UsageError: the job has no result there, or another than the repair was made from.
    """
    with writing(studio.engine) as connection:
        item = _locked(connection, tenant, id, number)
        if item.result != mended.of:
            raise UsageError("The job has another picture there by now; repair that one.")
        before = {name: getattr(item, name) for name in KEPT}
        figures = {name: value for name, value in item.figures.items() if name != "labels"}  # Of the file before.
        figures[MENDED] = {**before, "notes": list(item.notes)}
        if mended.check is not None:
            figures["check"] = mended.check
        stem = (item.result_name or item.name).rpartition(".")[0] or "picture"
        values = {
            "result": mended.picture.sha256,
            "result_name": f"{stem}{ENDINGS[mended.picture.mime]}",
            # Beside the result, whatever looks for pictures of a job (an erasure, say) finds it.
            "beside": {**item.beside, _next(item.beside, "-before"): mended.of},
            "reason": mended.review,
            "receipt": _with(item.receipt, mended.result.receipt),
            "figures": figures,
            "notes": [*item.notes, *mended.result.notes, "It was repaired by hand."],
            "source_type": mended.result.source_type or item.source_type,
            "decision": "approved" if item.state == "review" else item.decision,
        }
        return _changed(connection, id, number, values)


def take_back(studio: Studio, tenant: str, id: str, number: int) -> Item:
    """Puts the result there again that the job had made, with what was decided on it.

    Raises:
        NotFound: there is no such job or picture of it.
        UsageError: it was not repaired by hand.
    """
    with writing(studio.engine) as connection:
        before = _locked(connection, tenant, id, number).figures.get(MENDED)
        if not isinstance(before, Mapping):
            raise UsageError("This picture was not repaired by hand; there is nothing to take back.")
        return _changed(connection, id, number, {name: before[name] for name in KEPT})


def _locked(connection: Connection, tenant: str, id: str, number: int) -> Item:
    """Returns a picture of a tenant's job, which nobody else changes meanwhile."""
    mine = sa.select(jobs.c.id).where(jobs.c.id == id, jobs.c.tenant == tenant)
    found = sa.select(items).where(items.c.job == id, items.c.number == number).with_for_update()
    row = None if connection.execute(mine).first() is None else connection.execute(found).first()
    if row is None:
        raise not_found("picture", f"{number} of the job {id}")
    return to_item(row)


def _changed(connection: Connection, id: str, number: int, values: Mapping[str, Any]) -> Item:
    here = (items.c.job == id) & (items.c.number == number)
    connection.execute(sa.update(items).where(here).values(**{name: plain(value) for name, value in values.items()}))
    return to_item(connection.execute(sa.select(items).where(here)).one())


def _with(receipt: Mapping[str, Any] | None, own: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Returns a job's receipt, of one step or of several, with that of the repair as one more step."""
    if own is None:
        return receipt
    steps = {"shoot": receipt} if receipt and "passed" in receipt else dict(receipt or {})
    return {**steps, _next(steps): own}


def _next(names: Iterable[str], end: str = "") -> str:
    """Returns the first of "repair", "repair-2" ... that, with its end, is not among names."""
    known, number = set(names), 1
    while (name := f"repair{'' if number == 1 else f'-{number}'}{end}") in known:
        number += 1
    return name
