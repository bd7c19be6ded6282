"""The book of jobs: what was asked for, and what became of each picture. Its rows are the truth; all else follows them.

Every change is one transaction, and may come twice: an outcome is noted only of a picture that still waits for one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, Row
from sqlalchemy.exc import IntegrityError

from packshot.core.errors import UsageError
from packshot.jobs.database import insert_new, items, jobs, logs, now, pictures, reading, writing
from packshot.jobs.prepared import COUNT, HOLD, OUTCOME, UNQUEUED
from packshot.jobs.records import ENDED, ITEM_STATES, Decision, Item, ItemState, Job, JobRequest, JobState
from packshot.jobs.rows import (
    Outcome,
    fingerprint,
    item_rows,
    job_row,
    new_id,
    outcome_row,
    plain,
    to_item,
    to_job,
)
from packshot.jobs.shelf import names_of, not_found, row_of

INSERTED = 1000
PAGE = 500
LARGEST = 2**31 - 1
ID = re.compile(r"[0-9a-z]{1,32}")
AGAIN: tuple[ItemState, ...] = ("failed", "refused")
"""Pictures that a retry tries again."""

Hook = Callable[[Connection, Job], None]


class Book:
    """Jobs and their pictures.

    Args:
        engine: of the database.
        on_ended: is told of a job that ends, within the transaction that ends it; None: nobody is.
    """

    def __init__(self, engine: Engine, on_ended: Hook | None = None) -> None:
        self.engine, self.on_ended = engine, on_ended

    def submit(self, request: JobRequest, also: Sequence[str] = ()) -> Job:
        """Notes a job, all of it or nothing.

        Args:
            request: what is wanted.
            also: pictures of the tenant that its steps use.

        Raises:
            NotFound: a picture is not the tenant's.
            UsageError: the idempotency key is that of another request.
        """
        id = new_id()
        try:
            with writing(self.engine) as connection:
                if (before := self._same(connection, request)) is not None:
                    return before
                names = names_of(connection, request.tenant, [*request.pictures, *also])
                connection.execute(sa.insert(jobs), job_row(id, request))
                rows = item_rows(id, request.pictures, names)
                while part := list(islice(rows, INSERTED)):
                    connection.execute(sa.insert(items), part)
                return self._job(connection, request.tenant, id)
        except IntegrityError:  # Another request with the same key was quicker.
            with reading(self.engine) as connection:
                if (before := self._same(connection, request)) is None:
                    raise
                return before

    def job(self, tenant: str, id: str) -> Job:
        """Returns a job.

        Raises:
            NotFound: the tenant has none such.
        """
        with reading(self.engine) as connection:
            return self._job(connection, tenant, id)

    def jobs(self, tenant: str, *, limit: int, before: datetime | None) -> list[Job]:
        """Returns a tenant's jobs, the newest first."""
        found = sa.select(jobs).where(jobs.c.tenant == tenant)
        if before is not None:
            found = found.where(jobs.c.created < before)
        with reading(self.engine) as connection:
            rows = connection.execute(found.order_by(jobs.c.created.desc(), jobs.c.id.desc()).limit(limit)).all()
            return [to_job(connection, row) for row in rows]

    def items(self, tenant: str, id: str, *, state: ItemState | None, offset: int, limit: int) -> list[Item]:
        """Returns a part of a job's pictures, in order.

        Raises:
            NotFound: the tenant has no such job.
        """
        found = sa.select(items).where(items.c.job == id)
        if state is not None:
            found = found.where(items.c.state == state)
        with reading(self.engine) as connection:
            self._row(connection, tenant, id)
            rows = connection.execute(found.order_by(items.c.number).offset(min(offset, LARGEST)).limit(limit))
            return [to_item(row) for row in rows]

    def item(self, tenant: str, id: str, number: int) -> Item:
        """Returns one picture of a job.

        Raises:
            NotFound: there is none such.
        """
        with reading(self.engine) as connection:
            self._row(connection, tenant, id)
            return _item(connection, id, number)

    def cancel(self, tenant: str, id: str) -> Job:
        """Ends a job that has not ended; what was done stays done.

        Raises:
            NotFound: the tenant has none such.
        """
        with writing(self.engine) as connection:
            if self._row(connection, tenant, id, lock=True).state not in ENDED:
                self._end(connection, id, "cancelled", None)
            return self._job(connection, tenant, id)

    def retry(self, tenant: str, id: str) -> Job:
        """Queues a job again that has ended: what waits, and what failed or was refused.

        Raises:
            NotFound: the tenant has none such.
            UsageError: it has not ended, or there is nothing to do again.
        """
        with writing(self.engine) as connection:
            row = self._row(connection, tenant, id, lock=True)
            again = [state for state in AGAIN if getattr(row, state)]
            if row.state not in ENDED:
                raise UsageError(f"The job {id} has not ended; cancel it first, or wait.")
            if row.state == "done" and not again:
                raise UsageError(f"The job {id} is done, and no picture of it failed or was refused.")
            connection.execute(
                sa.update(items)
                .where(items.c.job == id, items.c.state.in_(AGAIN))
                .values(state="waiting", tries=0, reason=None, ended=None, decision=None)
            )
            waiting = row.waiting + sum(getattr(row, state) for state in AGAIN)
            connection.execute(
                sa.update(jobs)
                .where(jobs.c.id == id)
                .values(
                    state="queued",
                    run=row.run + 1,
                    waiting=waiting,
                    **dict.fromkeys(AGAIN, 0),
                    ended=None,
                    error=None,
                )
            )
            return self._job(connection, tenant, id)

    def decide(self, tenant: str, id: str, number: int, decision: Decision) -> Item:
        """Notes what a person said of a picture in review.

        Raises:
            NotFound: there is none such.
            UsageError: it is not in review.
        """
        with writing(self.engine) as connection:
            self._row(connection, tenant, id)
            here = (items.c.job == id) & (items.c.number == number)
            if _item(connection, id, number).state != "review":
                raise UsageError(f"Picture {number} of the job {id} is not in review; there is nothing to decide.")
            connection.execute(sa.update(items).where(here).values(decision=decision))
            return _item(connection, id, number)

    def log(self, tenant: str, id: str, *, lines: int) -> str:
        """Returns the last lines that a job's command printed.

        Raises:
            NotFound: the tenant has no such job.
        """
        with reading(self.engine) as connection:
            self._row(connection, tenant, id)
            text = connection.execute(sa.select(logs.c.text).where(logs.c.job == id)).scalar() or ""
        return "\n".join(text.splitlines()[-lines:])

    def results(self, tenant: str, id: str) -> Iterator[tuple[str, str]]:
        """Yields (file name, SHA-256) of each result that may leave: what is done, and what was approved in review.

        Raises:
            NotFound: the tenant has no such job.
        """
        self.job(tenant, id)
        return self._results(id)

    def _results(self, id: str) -> Iterator[tuple[str, str]]:
        leaves = (items.c.state == "done") | ((items.c.state == "review") & (items.c.decision == "approved"))
        last = -1
        while True:
            page = (
                sa.select(items.c.number, items.c.result_name, items.c.result)
                .where(items.c.job == id, items.c.number > last, items.c.result.is_not(None), leaves)
                .order_by(items.c.number)
                .limit(PAGE)
            )
            with reading(self.engine) as connection:
                rows = connection.execute(page).all()
            if not rows:
                return
            yield from ((str(row.result_name), str(row.result)) for row in rows)
            last = rows[-1].number

    # What workers do; they work for all tenants.

    def finish(self, id: str, outcomes: Iterable[Outcome]) -> int:
        """Notes outcomes; one of a picture that does not wait any more changes nothing. Returns how many were noted."""
        noted = 0
        with writing(self.engine) as connection:
            if connection.execute(HOLD, {"of": id}).first() is None:
                return 0
            moved: Counter[str] = Counter()
            for outcome in outcomes:
                if not _note(connection, id, outcome):
                    continue
                noted += 1
                moved[outcome.state] += 1
                moved["waiting"] -= 1
            if noted:
                connection.execute(COUNT, {"of": id, **{f"more_{s}": moved[s] for s in ITEM_STATES}})
        return noted

    def begin(self, id: str, run: int) -> Row[Any] | None:
        """Notes that a process begins a job, and returns its row; None: it has ended, is gone, or was queued anew."""
        with writing(self.engine) as connection:
            row = self._any(connection, id)
            if row is None or row.run != run or row.state in ENDED:
                return None
            values = {"state": "running", "attempts": row.attempts + 1, "started": row.started or now()}
            connection.execute(sa.update(jobs).where(jobs.c.id == id).values(**values))
            return self._row(connection, None, id)

    def end(self, id: str, run: int, state: JobState, error: str | None = None) -> bool:
        """Ends a job, unless it has ended, is gone, or was queued anew since. Returns whether it did."""
        with writing(self.engine) as connection:
            row = self._any(connection, id)
            if row is None or row.run != run or row.state in ENDED:
                return False
            self._end(connection, id, state, error)
            return True

    def hold(self, id: str, run: int, why: str | None) -> None:
        """Notes why a job that runs cannot go on for now; None: it does."""
        with writing(self.engine) as connection:
            here = (jobs.c.id == id) & (jobs.c.run == run) & (jobs.c.state == "running")
            connection.execute(sa.update(jobs).where(here).values(error=plain(why)))

    def wanted(self, runs: Sequence[tuple[str, int]]) -> set[tuple[str, int]]:
        """Returns which of some runs of jobs, by id and number, are still to be done."""
        found = sa.select(jobs.c.id, jobs.c.run).where(
            jobs.c.id.in_([id for id, _ in runs]), jobs.c.state.in_(("queued", "running"))
        )
        with reading(self.engine) as connection:
            return {(row.id, row.run) for row in connection.execute(found)} & set(runs)

    def waiting(self, id: str, first: int, end: int) -> list[Row[Any]]:
        """Returns those of the pictures `first` to `end` - 1 that wait, as rows with number, picture, stem, tries."""
        columns = (items.c.number, items.c.picture, items.c.name, items.c.stem, items.c.tries)
        found = sa.select(*columns).where(
            items.c.job == id, items.c.state == "waiting", items.c.number >= first, items.c.number < end
        )
        with reading(self.engine) as connection:
            return list(connection.execute(found.order_by(items.c.number)))

    def first_waiting(self, id: str, after: int) -> int | None:
        """Returns the number of the first picture from `after` on that waits; None: none does."""
        found = sa.select(sa.func.min(items.c.number)).where(
            items.c.job == id, items.c.state == "waiting", items.c.number >= after
        )
        with reading(self.engine) as connection:
            number: int | None = connection.execute(found).scalar()
        return number

    def unqueued(self) -> list[Row[Any]]:
        """Returns some jobs that the queue has not been told of, as rows with id, run, kind, priority."""
        with reading(self.engine) as connection:
            return list(connection.execute(UNQUEUED))

    def queued(self, id: str, run: int) -> None:
        """Notes that the queue knows this run of a job."""
        with writing(self.engine) as connection:
            here = (jobs.c.id == id) & (jobs.c.queued_run < run)
            connection.execute(sa.update(jobs).where(here).values(queued_run=run))

    def unfinished(self) -> list[Row[Any]]:
        """Returns jobs that the queue was told of and that have not ended, as rows with id, run."""
        found = sa.select(jobs.c.id, jobs.c.run).where(
            jobs.c.state.in_(("queued", "running")), jobs.c.queued_run == jobs.c.run
        )
        with reading(self.engine) as connection:
            return list(connection.execute(found))

    def queue_again(self, id: str, run: int) -> None:
        """Has the queue told of a job anew, which it does not know any more."""
        with writing(self.engine) as connection:
            here = (jobs.c.id == id) & (jobs.c.run == run) & jobs.c.state.in_(("queued", "running"))
            connection.execute(sa.update(jobs).where(here).values(run=run + 1, state="queued"))

    def progress(self, id: str, *, finished: int, total: int, rate: float | None, log: str) -> None:
        """Notes how far a command is, and the last of what it printed."""
        with writing(self.engine) as connection:
            values = {"progress": finished, "total": total, "rate": rate}
            if not connection.execute(sa.update(jobs).where(jobs.c.id == id).values(**values)).rowcount:
                return  # It was erased.
            insert_new(connection, logs, [{"job": id, "text": log}])
            connection.execute(sa.update(logs).where(logs.c.job == id).values(text=log))

    def _row(self, connection: Connection, tenant: str | None, id: str, *, lock: bool = False) -> Row[Any]:
        if not ID.fullmatch(id):
            raise not_found("job", id)
        found = sa.select(jobs).where(jobs.c.id == id)
        if tenant is not None:
            found = found.where(jobs.c.tenant == tenant)
        row = connection.execute(found.with_for_update() if lock else found).first()
        if row is None:
            raise not_found("job", id)
        return row

    def _any(self, connection: Connection, id: str) -> Row[Any] | None:
        """Returns any tenant's job, which nobody else changes meanwhile; None: it was erased."""
        return connection.execute(sa.select(jobs).where(jobs.c.id == id).with_for_update()).first()

    def _job(self, connection: Connection, tenant: str, id: str) -> Job:
        return to_job(connection, self._row(connection, tenant, id))

    def _same(self, connection: Connection, request: JobRequest) -> Job | None:
        if request.idempotency_key is None:
            return None
        found = sa.select(jobs).where(
            jobs.c.tenant == request.tenant, jobs.c.idempotency_key == request.idempotency_key
        )
        row = connection.execute(found).first()
        if row is None:
            return None
        if row.fingerprint != fingerprint(request):
            raise UsageError(
                f"The idempotency key '{request.idempotency_key[:80]}' was used for another job ({row.id}); "
                "send a new key with a new request."
            )
        return to_job(connection, row)

    def _end(self, connection: Connection, id: str, state: JobState, error: str | None) -> None:
        values = {"state": state, "error": plain(error), "ended": now()}
        connection.execute(sa.update(jobs).where(jobs.c.id == id).values(**values))
        if self.on_ended is not None:
            self.on_ended(connection, to_job(connection, self._row(connection, None, id)))


def _item(connection: Connection, id: str, number: int) -> Item:
    here = (items.c.job == id) & (items.c.number == number)
    row = connection.execute(sa.select(items).where(here)).first() if 0 <= number <= LARGEST else None
    if row is None:
        raise not_found("picture", f"{number} of the job {id}")
    return to_item(row)


def _note(connection: Connection, job: str, outcome: Outcome) -> bool:
    values = {f"new_{name}": value for name, value in outcome_row(outcome).items()}
    if not connection.execute(OUTCOME, {"of": job, "at": outcome.number, **values}).rowcount:
        return False
    made = [*([outcome.result] if outcome.result else []), *outcome.beside.values()]
    insert_new(connection, pictures, [row_of(picture) for picture in made])
    return True
