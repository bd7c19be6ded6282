"""The queue behind the jobs: who does which one, and which of its steps are done already; durable, by DBOS.

The book (`packshot.jobs.book`) says what there is to do. The queue hands each run of a job to one worker at a time,
begins it again where a worker was lost, and does not repeat a step that was recorded.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError, ProgrammingError, SQLAlchemyError

from packshot.core.errors import PackshotError
from packshot.core.files import disk_errors
from packshot.jobs.records import JobKind
from packshot.jobs.settings import StudioSettings

NAME = "packshot-studio"
VERSION = "1"
"""Of the steps' form, not of Packshot: a job that an older version began is gone on with by a newer one."""
WORKFLOW = "job"
POLL_SECONDS: dict[JobKind, float] = {"pictures": 0.4, "command": 1.0}
"""Between two looks for a new run; each takes a few milliseconds of CPU. Who starts a training can wait a second."""
AT_ONCE: dict[JobKind, int] = {"pictures": 32, "command": 2}
"""Jobs that a worker has begun at once, by kind. Those of pictures share the same processes, by priority."""
ENDED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
"""States of a run that the library will not go on with."""
FORGOTTEN_AT_ONCE = 200
LIVES = 1_000_000
"""How often a job may be begun again; what is wrong with it is found out elsewhere."""

Work = Callable[[str, int], None]
"""Does a run of a job: id, number of the run. It may be called again, from the start, after a loss."""


class QueueTrouble(Exception):
    """The queue could not record a step, or gave the job to another worker meanwhile; the job itself is all right."""


class Queue(Protocol):
    """What the worker needs of a queue."""

    def start(self, work: Work) -> None:
        """Begins to hand out jobs, each to a thread of its own."""
        ...

    def put(self, id: str, run: int, kind: JobKind, priority: int) -> None:
        """Takes a run of a job on; one that it has already changes nothing."""
        ...

    def step(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Returns what a step of the job of this thread returned; it is not done again once that is recorded.

        Raises:
            QueueTrouble: it could not be recorded.
        """
        ...

    def lost(self, jobs: Iterable[tuple[str, int]], mine: Collection[tuple[str, int]]) -> list[tuple[str, int]]:
        """Returns those runs of jobs that it does not know, or gave up, or gave to this worker, which is at `mine`."""
        ...

    def take_over(self, alive: Callable[[], Iterable[str]]) -> int:
        """Has the jobs of workers begun again that are not alive. Returns how many.

        Args:
            alive: tells the workers that live; asked after the jobs, so that one that has just come is not overlooked.
        """
        ...

    def forget_ended(self, before: datetime) -> int:
        """Removes what it keeps of some runs that ended before a moment; the book has the jobs still.

        Returns:
            How many; 0: none is left. It does a part at a time, so that nobody who asks is kept for long.
        """
        ...

    def close(self) -> None:
        """Hands out no more jobs."""
        ...


class DurableQueue:
    """A queue in a database: SQLite in the studio's folder, or the studio's PostgreSQL.

    Args:
        settings: of the studio.
        worker: name of this process, unlike that of any other, ever.
    """

    def __init__(self, settings: StudioSettings, worker: str) -> None:
        self.worker = worker
        self._url = _url(settings)

    def start(self, work: Work) -> None:
        """See `Queue`."""
        from dbos import DBOS, DBOSPortableJSONSerializer

        logging.getLogger("dbos").setLevel(logging.CRITICAL)  # What it has to say, the worker says in a sentence.
        DBOS(
            config={
                "name": NAME,
                "system_database_url": self._url,
                "application_version": VERSION,
                "executor_id": self.worker,
                "serializer": DBOSPortableJSONSerializer(),
                "log_level": "CRITICAL",
                "max_executor_threads": 2 * sum(AT_ONCE.values()),
                "notification_listener_polling_interval_sec": 1.0,
            }
        )

        def job(id: str, run: int) -> None:
            work(id, run)

        DBOS.workflow(name=WORKFLOW, max_recovery_attempts=LIVES)(job)
        DBOS.listen_queues([*map(_queue, AT_ONCE)])
        with _queue_errors(self._url):
            DBOS.launch()
            for kind, count in AT_ONCE.items():
                DBOS.register_queue(_queue(kind), worker_concurrency=count, polling_interval_sec=POLL_SECONDS[kind])

    def put(self, id: str, run: int, kind: JobKind, priority: int) -> None:
        """See `Queue`."""
        from dbos import DBOS, EnqueueOptions

        options: EnqueueOptions = {
            "queue_name": _queue(kind),
            "workflow_name": WORKFLOW,
            "workflow_id": _name(id, run),
            "app_version": VERSION,
            "priority": priority + 1,  # 0 would be none.
        }
        DBOS.enqueue_workflow_with_options(options, id, run)

    def step(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """See `Queue`."""
        from dbos import DBOS, error

        try:
            return DBOS.run_step({"name": name}, function, *arguments)
        except error.DBOSException as e:
            raise QueueTrouble(str(e)) from e

    def lost(self, jobs: Iterable[tuple[str, int]], mine: Collection[tuple[str, int]]) -> list[tuple[str, int]]:
        """See `Queue`."""
        from dbos import DBOS

        wanted = {_name(*job): job for job in jobs}
        names = list(wanted)
        known: set[str] = set()
        for start in range(0, len(names), 200):
            found = DBOS.list_workflows(
                workflow_ids=names[start : start + 200],
                status=["PENDING", "ENQUEUED", "DELAYED"],
                load_input=False,
                load_output=False,
            )
            known |= {
                workflow.workflow_id
                for workflow in found
                if workflow.status != "PENDING"
                or workflow.executor_id != self.worker
                or wanted[workflow.workflow_id] in mine
            }
        return [job for name, job in wanted.items() if name not in known]

    def take_over(self, alive: Callable[[], Iterable[str]]) -> int:
        """See `Queue`."""
        from dbos import DBOS

        begun = DBOS.list_workflows(status=["PENDING"], load_input=False, load_output=False)
        here = {*alive(), self.worker}
        lost = [workflow for workflow in begun if workflow.executor_id and workflow.executor_id not in here]
        for workflow in lost:
            DBOS.resume_workflow(workflow.workflow_id, queue_name=workflow.queue_name)
        return len(lost)

    def forget_ended(self, before: datetime) -> int:
        """See `Queue`."""
        from dbos import DBOS

        found = DBOS.list_workflows(
            status=ENDED,
            name=WORKFLOW,
            queue_name=[*map(_queue, AT_ONCE)],
            completed_before=before.isoformat(),
            limit=FORGOTTEN_AT_ONCE,
            load_input=False,
            load_output=False,
        )
        if found:
            DBOS.delete_workflows([workflow.workflow_id for workflow in found])
        return len(found)

    def close(self) -> None:
        """See `Queue`."""
        from dbos import DBOS

        DBOS.destroy(destroy_registry=True)


def drop_runs(settings: StudioSettings, runs: Mapping[str, int]) -> None:
    """Removes what the queue keeps of jobs' runs that have ended: what their steps returned may name a picture.

    Args:
        settings: of the studio.
        runs: by job, the number of its last run.

    Raises:
        PackshotError: the queue cannot be used.
    """
    from dbos import DBOSClient, DBOSPortableJSONSerializer

    own = settings.place / "queue.sqlite"
    elsewhere = settings.database and make_url(settings.database).get_backend_name() == "postgresql"
    names = [_name(id, run) for id, last in runs.items() for run in range(1, last + 1)]
    if not names or not (elsewhere or own.is_file()):
        return
    url = _url(settings)
    logging.getLogger("dbos").setLevel(logging.CRITICAL)
    with _queue_errors(url):
        client = DBOSClient(
            system_database_url=url, serializer=DBOSPortableJSONSerializer(), retry_connection_errors=False
        )
        try:
            for start in range(0, len(names), FORGOTTEN_AT_ONCE):
                part = names[start : start + FORGOTTEN_AT_ONCE]
                found = client.list_workflows(workflow_ids=part, status=ENDED, load_input=False, load_output=False)
                client.delete_workflows([workflow.workflow_id for workflow in found])
        except (OperationalError, ProgrammingError) as e:
            if "no such table" not in str(e) and "does not exist" not in str(e):
                raise  # Else no worker has ever been here.
        finally:
            client.destroy()


def _queue(kind: JobKind) -> str:
    return f"packshot-{kind}"


def _name(id: str, run: int) -> str:
    return f"{id}-{run}"


def _url(settings: StudioSettings) -> str:
    """Returns the URL of the queue's own tables; a new SQLite file is set to the journal that is twice as fast."""
    if settings.database and make_url(settings.database).get_backend_name() == "postgresql":
        return make_url(settings.database).set(drivername="postgresql").render_as_string(hide_password=False)
    path = settings.place / "queue.sqlite"
    url = f"sqlite:///{path.absolute()}"
    with disk_errors(path), _queue_errors(url):
        path.parent.mkdir(parents=True, exist_ok=True)
        with sqlite3.connect(path, timeout=30) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("CREATE TABLE IF NOT EXISTS packshot (form TEXT)")
        connection.close()
    return url


@contextmanager
def _queue_errors(url: str) -> Iterator[None]:
    """Turns what the queue's own tables raise into one sentence."""
    try:
        yield
    except (sqlite3.Error, SQLAlchemyError) as e:
        said = (str(e).strip().splitlines() or ["?"])[0].rstrip(".")
        where = make_url(url).render_as_string(hide_password=True)
        raise PackshotError(
            f"The queue {where} cannot be used ({said}); mend it, or remove its tables: they are made anew, and no job "
            "is lost."
        ) from e
