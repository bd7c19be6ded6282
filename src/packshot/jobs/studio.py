"""The studio: what the server and the command line may ask of jobs and pictures. No network is loaded here.

Every method takes the tenant; what is another's is not found, in the same words as what is not there. The work itself
is done by `packshot work`, which reads the same database and store.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from packshot.core.errors import PackshotError, UsageError
from packshot.jobs import database
from packshot.jobs.book import Book
from packshot.jobs.delivery import announce
from packshot.jobs.records import Decision, Item, ItemState, Job, JobRequest, Picture
from packshot.jobs.rows import free_stem, plain
from packshot.jobs.settings import StudioSettings
from packshot.jobs.shelf import Shelf, new_picture
from packshot.jobs.steps import wanted_pictures
from packshot.jobs.store import PictureStore

MOST = 1000
"""Rows of one answer."""
QUIET = 30.0
"""Seconds after which a worker that was not heard of is taken for gone."""


class Studio:
    """Jobs and pictures of all tenants; any number of threads and processes may use it at once.

    Args:
        settings: where things are kept.

    Raises:
        PackshotError: the database or the store cannot be used.
    """

    def __init__(self, settings: StudioSettings) -> None:
        self.settings = settings
        self.engine = database.engine(settings)
        database.migrate(self.engine)
        self.store = PictureStore(settings)
        self.book, self.shelf = Book(self.engine, announce), Shelf(self.engine)
        self._beats: dict[str, tuple[int, float]] = {}

    def close(self) -> None:
        """Closes the connections to the database."""
        database.dispose(self.settings)

    def ready(self) -> dict[str, str]:
        """Returns "ok", or one sentence, for each of database, store and worker."""
        return {
            "database": _said(lambda: database.check(self.engine)),
            "store": _said(self.store.check),
            "worker": _said(self._check_worker),
        }

    def add_picture(
        self,
        tenant: str,
        data: bytes,
        *,
        name: str,
        mime: str,
        width: int,
        height: int,
        made_from: Collection[str] = (),
    ) -> Picture:
        """Keeps a picture of a tenant; one that it has already stays as it was.

        Args:
            tenant: whose.
            data: the file's bytes; they are not looked into here.
            name: as it was sent.
            mime, width, height: as the decoder told them.
            made_from: checksums of the pictures that it was made from, so that an erasure of one finds it.

        Raises:
            PackshotError: the store or the database cannot be used, or the disk is full.
        """
        sha256 = self.store.put(data)
        # A name of this tenant's must not be changed by folders or control characters in it.
        stem, dot, ending = name.rpartition(".")
        shown = f"{free_stem(stem, set())}.{free_stem(ending, set())}" if dot and stem else free_stem(name, set())
        picture = self.shelf.add(new_picture(tenant, sha256, shown, mime, width, height, len(data)), made_from)
        if self.store.size(sha256) != len(data):  # Somebody has just forgotten the same picture.
            self.store.put(data)
        return picture

    def picture(self, tenant: str, sha256: str) -> Picture:
        """Returns a picture. Raises NotFound."""
        return self.shelf.picture(tenant, sha256)

    def read_picture(self, tenant: str, sha256: str) -> bytes:
        """Returns a picture's bytes.

        Raises:
            NotFound: the tenant has none such.
            PackshotError: the store lost it, or does not answer.
        """
        return self.store.read(self.shelf.picture(tenant, sha256).sha256)

    def pictures(self, tenant: str, *, limit: int = 100, before: datetime | None = None) -> list[Picture]:
        """Returns a tenant's pictures, the newest first, `MOST` of them at most."""
        return self.shelf.pictures(tenant, limit=_limit(limit), before=_moment(before))

    def forget_picture(self, tenant: str, sha256: str) -> None:
        """Takes a picture from a tenant; its bytes go when no tenant has it and no job waits for it.

        Raises:
            NotFound: the tenant has none such.
        """
        if self.shelf.forget(tenant, sha256):
            remove_bytes(self.shelf, self.store, sha256)

    def submit(self, request: JobRequest) -> Job:
        """Takes a job on: all of it or nothing. The same idempotency key is the same job.

        Raises:
            NotFound: a picture is not the tenant's.
            UsageError: too many pictures, or the key is that of another request.
        """
        most = self.settings.limits.pictures
        if len(request.pictures) > most:
            raise UsageError(f"The job has {len(request.pictures):,} pictures; {most:,} are allowed in one.")
        for name, longest in (("title", 500), ("idempotency_key", 255), ("webhook", 4096)):
            text = getattr(request, name) or ""
            if len(text) > longest or plain(text) != text:
                raise UsageError(f"{name} is too long ({longest} letters are the most), or holds what is no text.")
        try:
            json.dumps([[dict(step) for step in request.steps], asdict(request.output)], allow_nan=False)
        except (TypeError, ValueError) as e:
            raise UsageError(f"The job's steps are no plain values ({e}).") from e
        return self.book.submit(request, wanted_pictures(request.steps))

    def job(self, tenant: str, id: str) -> Job:
        """Returns a job. Raises NotFound."""
        return self.book.job(tenant, id)

    def jobs(self, tenant: str, *, limit: int = 50, before: datetime | None = None) -> list[Job]:
        """Returns a tenant's jobs, the newest first, `MOST` of them at most."""
        return self.book.jobs(tenant, limit=_limit(limit), before=_moment(before))

    def items(
        self, tenant: str, id: str, *, state: ItemState | None = None, offset: int = 0, limit: int = 100
    ) -> list[Item]:
        """Returns a part of a job's pictures, `MOST` of them at most. Raises NotFound."""
        return self.book.items(tenant, id, state=state, offset=max(0, offset), limit=_limit(limit))

    def item(self, tenant: str, id: str, number: int) -> Item:
        """Returns one picture of a job. Raises NotFound."""
        return self.book.item(tenant, id, number)

    def cancel(self, tenant: str, id: str) -> Job:
        """Ends a job; what runs of it is stopped within a second or two, what was done stays. Raises NotFound."""
        job = self.book.cancel(tenant, id)
        for sha256 in self.shelf.unneeded_of(id):
            remove_bytes(self.shelf, self.store, sha256)
        return job

    def retry(self, tenant: str, id: str) -> Job:
        """Has failed and refused pictures done again; a failed or cancelled job goes on.

        Raises:
            NotFound: there is none such.
            UsageError: it has not ended, or there is nothing to do again.
        """
        return self.book.retry(tenant, id)

    def decide(self, tenant: str, id: str, number: int, decision: Decision) -> Item:
        """Notes what a person said of a picture in review.

        Raises:
            NotFound: there is none such.
            UsageError: it is not in review.
        """
        return self.book.decide(tenant, id, number, decision)

    def log(self, tenant: str, id: str, *, lines: int = 100) -> str:
        """Returns the last lines that a job's command printed. Raises NotFound."""
        return self.book.log(tenant, id, lines=max(1, lines))

    def results(self, tenant: str, id: str) -> Iterator[tuple[str, str]]:
        """Yields (file name, SHA-256) of what may leave: done, and review if approved; names are unique."""
        return self.book.results(tenant, id)

    def _check_worker(self) -> None:
        """Makes sure that a worker was heard of: its beat moved since we looked, or it was seen not long ago.

        Raises:
            PackshotError: none was.
        """
        table, at = database.workers, time.monotonic()
        with database.reading(self.engine) as connection:
            rows = connection.execute(sa.select(table.c.id, table.c.beat, table.c.seen)).all()
        alive = False
        for row in rows:
            beat, when = self._beats.get(row.id, (None, 0.0))
            if beat != row.beat:
                self._beats[row.id] = (row.beat, at)
                alive |= beat is not None or abs(database.now() - row.seen) < timedelta(seconds=QUIET)
            else:
                alive |= at - when < QUIET
        if not alive:
            raise PackshotError("No worker is running, so jobs wait; start one: packshot work.")


def remove_bytes(shelf: Shelf, store: PictureStore, sha256: str) -> None:
    """Removes a picture's bytes that nobody needs. If somebody brings it back at that very moment, so are they."""
    if shelf.is_needed(sha256):
        return
    data = store.read(sha256) if store.size(sha256) is not None else None
    store.remove(sha256)
    if data is not None and shelf.is_needed(sha256):
        store.put(data)


def _limit(limit: int) -> int:
    return max(1, min(limit, MOST))


def _moment(before: datetime | None) -> datetime | None:
    """Returns a moment as UTC; one before the first year or after the last is the first or the last."""
    try:
        return None if before is None else before.astimezone(UTC)
    except (OverflowError, ValueError):
        edge = datetime.min if before is not None and before.year == 1 else datetime.max
        return edge.replace(tzinfo=UTC)


def _said(check: Any) -> str:
    try:
        check()
    except PackshotError as e:
        return str(e)
    return "ok"
