"""Webhooks: who asked for it hears of a job's end, at least once, signed.

A row of `deliveries` is written in the transaction that ends a job (`announce`), so none is lost. A thread sends what
is due, each with its own deadline, several at once, so that a receiver that hangs holds nobody up. What fails is tried
again later and later, and given up after two days. A server that is killed in between sends again what it had begun:
the id in the header tells a receiver that it knows that one.

The signature is `Packshot-Signature: t=SECONDS,v1=HEX`: HMAC-SHA256 under the tenant's secret over "SECONDS.BODY". A
receiver that checks it, and that t is not old, cannot be fooled by strangers nor by repetition.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import random
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from packshot.core.errors import PackshotError
from packshot.core.files import disk_errors
from packshot.jobs.database import deliveries, engine, insert_new, jobs, migrate, now, reading, writing
from packshot.jobs.outside import Bounds, exchange
from packshot.jobs.records import Job
from packshot.jobs.settings import StudioSettings

SIGNATURE = "Packshot-Signature"
DELIVERY = "Packshot-Delivery"
SECRET_FILE = "webhooks.key"
TOLERANCE = 300.0
"""Seconds that a signature may be old for `check_signature`."""
BACK_OFF = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0)
"""Seconds before each further try; the last one goes on."""
FARTHEST = timedelta(seconds=1.5 * BACK_OFF[-1])
"""More than any wait: a try that is farther away was set by a clock that ran ahead."""
GIVE_UP = timedelta(days=2)
SECONDS = 15.0
"""That a receiver may take."""
ANSWER_BYTES = 64 * 1024
AT_ONCE = 8
PAUSE = 1.0
LEASE = 60.0
"""Seconds for which what is being sent is not sent by another server; more than `SECONDS`."""


def announce(connection: Connection, job: Job) -> None:
    """Notes that a webhook is to hear of a job's end; doing it twice changes nothing.

    Args:
        connection: the transaction that ends the job.
        job: it has ended.
    """
    if job.request.webhook is None:
        return
    moment = now()
    run = connection.execute(sa.select(jobs.c.run).where(jobs.c.id == job.id)).scalar_one()
    body = {
        "type": f"job.{job.state}",
        "created": moment.isoformat(),
        "job": {
            "id": job.id,
            "state": job.state,
            "title": job.request.title,
            "total": job.total,
            "counts": dict(job.counts),
            "error": job.error,
            "href": f"/v1/jobs/{job.id}",
        },
    }
    row = {
        "id": f"{job.id}-{run}",  # An end is announced once, whoever does it.
        "job": job.id,
        "url": job.request.webhook,
        "body": json.dumps(body, ensure_ascii=False, separators=(",", ":")),
        "state": "waiting",
        "tries": 0,
        "next_at": moment,
        "last_error": None,
        "created": moment,
    }
    insert_new(connection, deliveries, [row])


def webhook_secret(folder: Path, tenant: str) -> str:
    """Returns the secret that a tenant's webhooks are signed with; the studio's own secret is made where there is none.

    Raises:
        PackshotError: it can neither be read nor made.
    """
    path = folder / SECRET_FILE
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
            try:
                temporary.touch(0o600)
                temporary.write_bytes(secrets.token_bytes(32))
                with contextlib.suppress(FileExistsError):  # Another server was first.
                    path.hardlink_to(temporary)
            finally:
                temporary.unlink(missing_ok=True)
        own = path.read_bytes()
    return "whsec_" + hmac.new(own, f"webhooks\0{tenant}".encode(), hashlib.sha256).hexdigest()


def sign(secret: str, body: bytes, at: int) -> str:
    """Returns the header that vouches for a body."""
    mac = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={mac}"


def check_signature(secret: str, body: bytes, header: str, *, tolerance: float = TOLERANCE) -> bool:
    """Returns whether a body came from the studio, and lately: what a receiver written in Python calls.

    Args:
        secret: as `packshot keys webhook-secret` shows it.
        body: as it came, byte for byte.
        header: `Packshot-Signature`.
        tolerance: seconds that it may be old, or ahead.
    """
    parts = dict(p.partition("=")[::2] for p in header.split(","))
    at, mac = parts.get("t", ""), parts.get("v1", "")
    if not at.isdigit() or abs(time.time() - int(at)) > tolerance:
        return False
    return hmac.compare_digest(sign(secret, body, int(at)).partition("v1=")[2], mac)


@dataclass(frozen=True)
class _Due:
    """A delivery that is to be tried now."""

    id: str
    url: str
    body: str
    tries: int
    tenant: str


class Deliverer:
    """Sends what is due, in a thread of its own, for as long as the block lasts. Several servers may do so at once."""

    def __init__(self, settings: StudioSettings) -> None:
        self._settings, self._engine = settings, engine(settings)
        migrate(self._engine)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="webhooks")

    def __enter__(self) -> Deliverer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(SECONDS + PAUSE)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                sent = self.send_due()
            except PackshotError:  # The database is away, or the disk full: what is due stays due.
                sent = 0
            if not sent:
                self._stop.wait(PAUSE)

    def send_due(self) -> int:
        """Tries what is due, several at once; returns how many were tried.

        Raises:
            PackshotError: the database cannot be used.
        """
        due = self._claim()
        if due:
            anyio.run(self._send_all, due)
        return len(due)

    def _claim(self) -> list[_Due]:
        """Takes rows that are due, so that no other server does; who dies with them leaves them due again."""
        due_at = deliveries.c.next_at
        columns = (deliveries.c.id, deliveries.c.url, deliveries.c.body, deliveries.c.tries, jobs.c.tenant)
        query = (
            sa.select(*columns)
            .join(jobs, jobs.c.id == deliveries.c.job)
            .where(deliveries.c.state == "waiting", sa.or_(due_at <= now(), due_at > now() + FARTHEST))
            .order_by(deliveries.c.next_at)
            .limit(AT_ONCE)
        )
        with reading(self._engine) as connection:
            found = [_Due(*row) for row in connection.execute(query)]
        if not found:
            return []
        mine = []
        with writing(self._engine) as connection:
            for due in found:
                taken = connection.execute(
                    sa.update(deliveries)
                    .where(deliveries.c.id == due.id, deliveries.c.state == "waiting", deliveries.c.tries == due.tries)
                    .values(tries=due.tries + 1, next_at=now() + timedelta(seconds=LEASE))
                )
                if taken.rowcount:
                    mine.append(due)
        return mine

    async def _send_all(self, due: Sequence[_Due]) -> None:
        async with anyio.create_task_group() as group:
            for one in due:
                group.start_soon(self._send, one)

    async def _send(self, due: _Due) -> None:
        body, at = due.body.encode(), int(time.time())
        secret = await anyio.to_thread.run_sync(webhook_secret, self._settings.place, due.tenant)
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            SIGNATURE: sign(secret, body, at),
            DELIVERY: due.id,
        }
        bounds = Bounds(seconds=SECONDS, bytes=ANSWER_BYTES, private=self._settings.fetch_private, redirects=0)
        error: str | None = None
        try:
            answer = await exchange("POST", due.url, bounds, headers=headers, body=body)
            if not 200 <= answer.status < 300:
                error = f"The receiver answered {answer.status}."
        except PackshotError as e:
            error = str(e)
        await anyio.to_thread.run_sync(self._note, due, error)

    def _note(self, due: _Due, error: str | None) -> None:
        row = sa.update(deliveries).where(deliveries.c.id == due.id)
        with writing(self._engine) as connection:
            if error is None:
                connection.execute(row.values(state="done", last_error=None))
                return
            created = connection.execute(sa.select(deliveries.c.created).where(deliveries.c.id == due.id)).scalar_one()
            wait = BACK_OFF[min(due.tries, len(BACK_OFF) - 1)] * random.uniform(0.8, 1.2)
            over = now() - created > GIVE_UP
            connection.execute(
                row.values(
                    state="failed" if over else "waiting",
                    next_at=now() + timedelta(seconds=wait),
                    last_error=error[:500],
                )
            )


def deliveries_of(settings: StudioSettings, tenant: str, job: str) -> list[Mapping[str, Any]]:
    """Returns what became of a job's webhooks: `state`, `tries`, `last_error` and when the next try is due."""
    query = (
        sa.select(deliveries.c.state, deliveries.c.tries, deliveries.c.last_error, deliveries.c.next_at)
        .join(jobs, jobs.c.id == deliveries.c.job)
        .where(deliveries.c.job == job, jobs.c.tenant == tenant)
        .order_by(deliveries.c.created)
    )
    with reading(engine(settings)) as connection:
        return [dict(row) for row in connection.execute(query).mappings()]
