"""The worker: takes jobs from the queue, has their pictures done, and notes what became of each.

Any number of them may run, on any machines that see the same database and store. One that is killed leaves nothing
undone: another takes its jobs over, or it does so itself when it is started again.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from itertools import chain, repeat
from threading import Event, Lock, current_thread, main_thread
from typing import Any, NoReturn, TypeVar
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.engine import Row

from packshot.core.errors import DiskFull, PackshotError
from packshot.jobs import database
from packshot.jobs.book import Book
from packshot.jobs.commands import Progress, run_command
from packshot.jobs.database import DatabaseLost
from packshot.jobs.delivery import announce
from packshot.jobs.folders import work_folder, work_folders
from packshot.jobs.hands import Asked, JobStopped, JobWaits, Order
from packshot.jobs.lives import Lives
from packshot.jobs.queue import DurableQueue, Queue, QueueTrouble
from packshot.jobs.rows import Outcome, read_output
from packshot.jobs.settings import StudioSettings
from packshot.jobs.shard_engines import Engine, LocalEngine, Shard, back_off
from packshot.jobs.shelf import Shelf
from packshot.jobs.steps import wanted_pictures
from packshot.jobs.store import PictureStore
from packshot.jobs.studio import remove_bytes

T = TypeVar("T")

TICK = 0.3
"""Seconds between two looks at the book: for new jobs, and for cancelled ones."""
BEAT = 1.0
LOOK = 2.0
"""Seconds between two looks for workers that were lost."""
SEARCH = 30.0
"""Seconds between two searches for jobs that the queue has lost."""
TIDY = 3600.0
"""Seconds between two removals of what the queue keeps of runs that ended long ago."""
HOLDS = (2.0, 5.0, 15.0)
"""Seconds that a job waits for room on the disk before it is tried again, longer each time; the last one for ever."""
LEAVING = 3.0
"""Seconds that commands have to end by themselves when the worker does."""


class Worker:
    """One worker process.

    Args:
        settings: of the studio.
        engine: does the pictures; None: as the settings say.
        queue: None: the durable one.

    Raises:
        PackshotError: the database or the store cannot be used.
    """

    def __init__(self, settings: StudioSettings, engine: Engine | None = None, queue: Queue | None = None) -> None:
        self.settings = settings
        self.id = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:12]}"
        self.database = database.engine(settings)
        database.migrate(self.database)
        self.store = PictureStore(settings)
        self.shelf = Shelf(self.database)
        self.book = Book(self.database, announce)
        self.engine = engine or make_engine(settings)
        self.queue = queue or DurableQueue(settings, self.id)
        self.lives = Lives(settings.place / "workers", self.database, self.id)
        self._mine: dict[tuple[str, int], Event] = {}
        self._handed_back = 0
        self._suspects: set[tuple[str, int]] = set()
        self._lock = Lock()
        self._stop = Event()
        self._troubled = False

    def run(self) -> None:
        """Works until SIGTERM or Ctrl-C; then hands back what is not done, and returns.

        Raises:
            PackshotError: the database cannot be used at the start.
        """
        if current_thread() is main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: self._stop.set())
        lock = self.lives.hold_lock()
        self.lives.beat()
        self._tidy_work()
        self.queue.start(self.do_job)
        try:
            self._tick()
        finally:
            self._leave()
            os.close(lock)

    def stop(self) -> None:
        """Has `run` return; may be called from any thread."""
        self._stop.set()

    # What happens beside the jobs.

    def _tick(self) -> None:
        beaten = looked = searched = tidied = float("-inf")
        while not self._stop.is_set():
            try:
                self._queue_new()
                self._stop_unwanted()
                if time.monotonic() - beaten >= BEAT:
                    self.lives.beat()
                    beaten = time.monotonic()
                if time.monotonic() - looked >= LOOK:
                    self.queue.take_over(self.lives.look)
                    looked = time.monotonic()
                if time.monotonic() - searched >= SEARCH:
                    self._search()
                    searched = time.monotonic()
                if time.monotonic() - tidied >= TIDY and not self._forget_ended():
                    tidied = time.monotonic()
                self._troubled = False
            except (PackshotError, sa.exc.SQLAlchemyError) as e:
                self._trouble(e)
            self._stop.wait(TICK)

    def _queue_new(self) -> None:
        for row in self.book.unqueued():
            self.queue.put(row.id, row.run, row.kind, row.priority)
            self.book.queued(row.id, row.run)

    def _stop_unwanted(self) -> None:
        with self._lock:
            mine = dict(self._mine)
        if mine:
            wanted = self.book.wanted(list(mine))
            for run, stopped in mine.items():
                if run not in wanted:
                    stopped.set()

    def _search(self) -> None:
        """Has the queue told anew of jobs that it lost, or that we were given and are not at, twice in a row."""
        jobs = [(row.id, row.run) for row in self.book.unfinished()]
        with self._lock:
            mine = set(self._mine)
        lost = set(self.queue.lost(jobs, mine))
        for id, run in lost & self._suspects:
            self.book.queue_again(id, run)
        self._suspects = lost - self._suspects

    def _tidy_work(self) -> None:
        """Removes what workers that were killed have left of runs that nobody wants any more: cancelled, erased."""
        folders = work_folders(self.settings)
        for run in set(folders) - self.book.wanted(list(folders)):
            shutil.rmtree(folders[run], ignore_errors=True)

    def _forget_ended(self) -> int:
        """Has the queue remove some of what it keeps of runs that ended long ago. Returns how many."""
        return self.queue.forget_ended(database.now() - timedelta(days=self.settings.queue_days))

    def _leave(self) -> None:
        """Ends what runs, and gives the jobs to whoever comes next."""
        self._stop.set()
        with self._lock:
            for stopped in self._mine.values():
                stopped.set()
        self.engine.close()
        until = time.monotonic() + LEAVING
        while time.monotonic() < until and len(self._mine) > self._handed_back:
            time.sleep(0.02)
        self.lives.end()

    def _hand_back(self) -> NoReturn:
        """Blocks a thread whose job is handed back: nothing is recorded any more, and the process ends around it."""
        with self._lock:
            self._handed_back += 1
        while True:
            Event().wait(3600)

    def _trouble(self, e: Exception) -> None:
        if not self._troubled:
            said = str(e) if isinstance(e, PackshotError) else (str(e).splitlines() or ["?"])[0]
            print(f"packshot: {said} Trying again until it does.", file=sys.stderr, flush=True)
        self._troubled = True

    # What a job is.

    def do_job(self, id: str, run: int) -> None:
        """Does a run of a job, from where it was. What goes wrong with it is noted."""
        row = self._surely(lambda: self.book.begin(id, run))
        if row is None:
            return
        stopped = Event()
        with self._lock:
            self._mine[id, run] = stopped
        try:
            error = self._ending(row, stopped)
            if self._stop.is_set():
                self._hand_back()
            self._surely(lambda: self.book.end(id, run, "failed" if error else "done", error))
            self._clear(id, run)
        finally:
            with self._lock:
                self._mine.pop((id, run), None)

    def _ending(self, row: Row[Any], stopped: Event) -> str | None:
        """Does a job. Returns why it failed; None: it did not.

        Raises:
            QueueTrouble, SQLAlchemyError: of the queue; `_search` finds the job again, if nobody else has it.
        """
        try:
            return (self._do_pictures if row.kind == "pictures" else self._do_command)(row, stopped)
        except PackshotError as e:
            return str(e)
        except (QueueTrouble, sa.exc.SQLAlchemyError) as e:
            self._trouble(e)
            raise
        except Exception as e:  # Whatever it is, the job must not run for ever without anybody at it.
            traceback.print_exc()
            return f"{type(e).__name__}: {e}. This is a fault in Packshot; please report it."

    def _do_pictures(self, row: Row[Any], stopped: Event) -> str | None:
        order = Order(
            job=row.id,
            tenant=row.tenant,
            steps=tuple(row.steps),
            output=read_output(row.output),
            on=row.created.date(),
            pictures=tuple(wanted_pictures(row.steps)),
            folder=work_folder(self.settings, row.id, row.run),
        )
        after: int | None = 0
        while after is not None:
            answer = self.queue.step("shard", self._do_shard, order, (row.priority, row.id, row.run), after, stopped)
            if isinstance(answer, str):
                return answer
            after = answer
        return None

    def _do_shard(self, order: Order, rank: tuple[int, str, int], after: int, stopped: Event) -> int | str | None:
        """Does the next pictures of a job that wait.

        Returns:
            From which number on to go on; None: none is left; a sentence: why the job cannot go on.
        """
        size = max(self.settings.shard, 8 * self.engine.width)
        first = self._surely(lambda: self.book.first_waiting(order.job, after))
        if first is None or stopped.is_set():
            return self._stopped_or(None)
        for wait in chain(HOLDS, repeat(HOLDS[-1])):
            rows = self._surely(partial(self.book.waiting, order.job, first, first + size))
            asked = [Asked(number=r.number, picture=r.picture, name=r.name, stem=r.stem, tries=r.tries) for r in rows]
            try:
                self._do_asked(
                    Shard(order=order, asked=asked, rank=rank[:2], tries=self.settings.tries, stopped=stopped)
                )
            except JobWaits as e:
                self._hold(order.job, rank[2], f"{e} The job waits, and goes on by itself.", stopped, wait)
            except JobStopped as e:
                return str(e)
            else:
                break
            if stopped.is_set():
                break
        return self._stopped_or(first + size)

    def _do_asked(self, shard: Shard) -> None:
        """Has pictures done, and notes what became of each.

        Raises:
            JobStopped: the job cannot go on.
        """
        order = shard.order
        for outcome in self.engine.run(shard):
            noted = self._surely(partial(self.book.finish, order.job, [outcome]))
            if outcome.state != "waiting":
                shutil.rmtree(order.folder_of(outcome.number), ignore_errors=True)
            if not noted:
                self._drop(outcome)

    def _hold(self, id: str, run: int, why: str, stopped: Event, seconds: float) -> None:
        """Lets a job wait for a while; whoever looks at it sees why."""
        with suppress(PackshotError):  # There may be no room for that, either.
            self.book.hold(id, run, why)
        stopped.wait(seconds)
        with suppress(PackshotError):
            self.book.hold(id, run, None)

    def _drop(self, outcome: Outcome) -> None:
        """Removes results that nobody waits for any more, for their picture was erased, or another was quicker."""
        with suppress(PackshotError):
            for picture in (*([outcome.result] if outcome.result else []), *outcome.beside.values()):
                remove_bytes(self.shelf, self.store, picture.sha256)

    def _stopped_or(self, answer: int | None) -> int | None:
        """Returns the answer of a step, unless this process is to end: then nothing may be recorded any more."""
        if self._stop.is_set():
            self._hand_back()
        return answer

    def _do_command(self, row: Row[Any], stopped: Event) -> str | None:
        answer: str | None = self.queue.step("command", self._run_command, row.id, row.run, list(row.argv), stopped)
        return answer

    def _run_command(self, id: str, run: int, argv: list[str], stopped: Event) -> str | None:
        """Runs a job's command, again where it ends badly. Returns why it failed."""

        def tell(progress: Progress, log: str) -> None:
            values = progress._asdict()
            self._surely(lambda: self.book.progress(id, **values, log=log))

        for tries in range(1, self.settings.tries + 1):
            ended = run_command(argv, work_folder(self.settings, id, run), lambda: not stopped.is_set(), tell)
            if ended.stopped or stopped.is_set() or ended.code == 0:
                break
            if ended.code == 2 or tries == self.settings.tries:  # 2: the command itself is wrong.
                return ended.said
            stopped.wait(back_off(tries))
        if self._stop.is_set():
            self._hand_back()
        return None

    def _clear(self, id: str, run: int) -> None:
        """Removes what an ended job leaves behind: its folder, and pictures that only it still needed."""
        shutil.rmtree(work_folder(self.settings, id, run), ignore_errors=True)
        with suppress(PackshotError):
            for sha256 in self.shelf.unneeded_of(id):
                remove_bytes(self.shelf, self.store, sha256)

    def _surely(self, do: Callable[[], T]) -> T:
        """Returns what a question to the database gives, asked again until it answers."""
        wait = 0.2
        while True:
            try:
                return do()
            except (DatabaseLost, DiskFull) as e:
                if self._stop.is_set():
                    self._hand_back()
                self._trouble(e)
                time.sleep(wait)
                wait = min(10.0, 2 * wait)


def make_engine(settings: StudioSettings) -> Engine:
    """Returns the engine that the settings name.

    Raises:
        UsageError: it is Ray, and Ray is not installed or does not answer.
    """
    if settings.engine == "ray":
        from packshot.jobs.ray_shards import RayEngine

        return RayEngine(settings)
    return LocalEngine(settings)
