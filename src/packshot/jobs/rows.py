"""Rows of the studio's tables as the records that others see, and requests as rows."""

from __future__ import annotations

import base64
import json
import math
import re
import secrets
import time
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import PurePath
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from packshot.jobs.database import items, now
from packshot.jobs.records import ITEM_STATES, Item, ItemState, Job, JobRequest, Output, Picture

TOLD = 8
"""Pictures that the request of a job that is told names; `items` has them all."""
WINDOW = timedelta(minutes=10)
LATEST = 200
"""The rate is that of so many last pictures, of so long at most."""
LONGEST_STEM = 80


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one try of a picture.

    Attributes:
        number: of the item.
        state: "waiting": it failed, and is to be tried again.
        tries: how often it was begun by now.
        result: its picture, and `beside` those beside it, by name; in the store already.
        others: as in `packshot.jobs.records.Item`.
    """

    number: int
    state: ItemState
    tries: int
    result: Picture | None = None
    beside: Mapping[str, Picture] = field(default_factory=dict)
    reason: str | None = None
    confidence: float | None = None
    receipt: Mapping[str, Any] | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    source_type: str | None = None


def new_id() -> str:
    """Returns the id of a job: 26 letters and digits; those of later jobs sort after, to the millisecond."""
    raw = (time.time_ns() // 1_000_000).to_bytes(6, "big") + secrets.token_bytes(10)
    return base64.b32hexencode(raw).decode().rstrip("=").lower()


def fingerprint(request: JobRequest) -> str:
    """Returns the SHA-256 of all that decides what a job does, in hex digits."""
    about = [request.kind, [dict(s) for s in request.steps], request.pictures, output_row(request.output), request.argv]
    return sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def job_row(id: str, request: JobRequest) -> dict[str, Any]:
    """Returns a new job as a row of `jobs`."""
    pictures = len(request.pictures) if request.kind == "pictures" else 0
    return {
        "id": id,
        "tenant": request.tenant,
        "kind": request.kind,
        "title": request.title,
        "steps": [dict(step) for step in request.steps],
        "output": output_row(request.output),
        "argv": list(request.argv),
        "priority": request.priority,
        "idempotency_key": request.idempotency_key,
        "webhook": request.webhook,
        "fingerprint": fingerprint(request),
        "state": "queued",
        "run": 1,
        "queued_run": 0,
        "attempts": 0,
        "total": pictures,
        **dict.fromkeys(ITEM_STATES, 0),
        "waiting": pictures,
        "progress": 0,
        "created": now(),
    }


def output_row(output: Output) -> dict[str, Any]:
    """Returns how results are written, as JSON values."""
    return {
        "format": output.format,
        "quality": output.quality,
        "channel": output.channel,
        "notice": output.notice,
        "language": output.language,
    }


def item_rows(job: str, pictures: Sequence[str], names: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Yields the rows of a job's pictures; no two have the same stem, whatever the case of their letters."""
    taken: set[str] = set()
    for number, picture in enumerate(pictures):
        stem = free_stem(names[picture], taken)
        taken.add(stem.casefold())
        yield {
            "job": job,
            "number": number,
            "picture": picture,
            "name": names[picture],
            "stem": stem,
            "state": "waiting",
            "tries": 0,
            "beside": {},
            "figures": {},
            "notes": [],
        }


def free_stem(name: str, taken: set[str]) -> str:
    """Returns a file's name without its ending, safe on every system, and unlike those that are taken."""
    stem = PurePath(name.replace("\\", "/").rpartition("/")[2]).stem
    kept = "".join(c for c in unicodedata.normalize("NFC", stem) if c.isprintable() and c not in '<>:"|?*')
    plain = re.sub(r"\s+", " ", kept).strip(" .")[:LONGEST_STEM].strip(" .") or "picture"
    stem, number = plain, 1
    while stem.casefold() in taken:
        number += 1
        stem = f"{plain}-{number}"
    return stem


OUTCOME_COLUMNS = (
    *("state", "tries", "result", "result_name", "beside", "reason", "confidence", "receipt", "figures", "notes"),
    *("source_type", "ended"),
)
"""Columns of an item that an outcome changes."""


def outcome_row(outcome: Outcome) -> dict[str, Any]:
    """Returns the columns of an item that an outcome changes."""
    return {
        "state": outcome.state,
        "tries": outcome.tries,
        "result": outcome.result and outcome.result.sha256,
        "result_name": outcome.result and outcome.result.name,
        "beside": {name: picture.sha256 for name, picture in outcome.beside.items()},
        "reason": plain(outcome.reason),
        "confidence": plain(outcome.confidence),
        "receipt": plain(outcome.receipt),
        "figures": plain(outcome.figures),
        "notes": plain(outcome.notes),
        "source_type": outcome.source_type,
        "ended": None if outcome.state == "waiting" else now(),
    }


def plain(value: Any) -> Any:
    """Returns JSON values that every database takes: no NaN, no infinity, no letters that are none."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {plain(str(key)): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return value


def read_output(table: dict[str, Any]) -> Output:
    """Returns what `output_row` has written."""
    return Output(**table)


def to_job(connection: Connection, row: Row[Any]) -> Job:
    """Returns a row of `jobs` as it is told; its rate is looked up in the times of its last pictures."""
    counts = {state: getattr(row, state) for state in ITEM_STATES} if row.kind == "pictures" else {}
    finished = row.total - row.waiting if row.kind == "pictures" else row.progress
    rate = row.rate if row.kind == "command" else _rate(connection, row.id) if row.state == "running" else None
    left = (row.total - finished) * 60 / rate if rate and row.state == "running" and row.total else None
    told: tuple[str, ...] = ()
    if row.kind == "pictures":
        first = sa.select(items.c.picture).where(items.c.job == row.id, items.c.number < TOLD).order_by(items.c.number)
        told = tuple(connection.execute(first).scalars())
    return Job(
        id=row.id,
        request=JobRequest(
            tenant=row.tenant,
            kind=row.kind,
            title=row.title,
            steps=tuple(row.steps),
            pictures=told,
            output=read_output(row.output),
            argv=tuple(row.argv),
            priority=row.priority,
            idempotency_key=row.idempotency_key,
            webhook=row.webhook,
        ),
        state=row.state,
        counts=counts,
        total=row.total,
        finished=finished,
        created=row.created,
        started=row.started,
        ended=row.ended,
        rate=rate,
        seconds_left=left,
        error=row.error,
        attempts=row.attempts,
    )


def to_item(row: Row[Any]) -> Item:
    """Returns a row of `items` as it is told."""
    return Item(
        job=row.job,
        number=row.number,
        picture=row.picture,
        name=row.name,
        state=row.state,
        tries=row.tries,
        result=row.result,
        result_name=row.result_name,
        beside=row.beside,
        reason=row.reason,
        confidence=row.confidence,
        receipt=row.receipt,
        figures=row.figures,
        notes=tuple(row.notes),
        source_type=row.source_type,
        decision=row.decision,
    )


def rate_of(ended: Sequence[datetime]) -> float | None:
    """Returns pictures a minute from the times at which the last ones ended, newest first; None: they do not tell.

    A clock that was set back or forward in between makes an odd span; what is no span gives no rate.
    """
    recent = [t for t in ended if ended[0] - t <= WINDOW]
    span = (recent[0] - recent[-1]).total_seconds() if recent else 0.0
    return 60 * (len(recent) - 1) / span if span > 0 else None


def _rate(connection: Connection, job: str) -> float | None:
    latest = (
        sa.select(items.c.ended)
        .where(items.c.job == job, items.c.ended.is_not(None))
        .order_by(items.c.ended.desc())
        .limit(LATEST)
    )
    return rate_of(list(connection.execute(latest).scalars()))
