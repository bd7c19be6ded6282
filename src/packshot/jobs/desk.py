"""The desk: one picture at once, while its sender waits, in warm processes that may die without harm to anybody else.

The server itself never decodes what somebody sent. It asks here: a function and its arguments go to a process, the
answer comes back. What each process is asked is in `packshot.jobs.desk_work`, so that this file needs no network.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import tempfile
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Timer
from typing import TYPE_CHECKING, Any, TypeVar

from packshot.core.errors import PackshotError
from packshot.core.files import disk_errors
from packshot.core.workers import WorkerProcess, useful_workers
from packshot.jobs.desk_work import (
    OneResult,
    Probe,
    check_steps,
    clean_name,
    describe_tasks,
    edit_one,
    probe,
    thumb,
    verify_one,
)

if TYPE_CHECKING:
    from packshot.jobs.settings import StudioSettings

__all__ = [
    "Desk",
    "DeskBusy",
    "DeskLost",
    "DeskTimeout",
    "OneResult",
    "Probe",
    "check_steps",
    "clean_name",
    "describe_tasks",
    "edit_one",
    "probe",
    "thumb",
    "verify_one",
]

A = TypeVar("A")

TRIES = 2
"""Processes that a question may cost; one that kills them all is at fault itself."""
SEAT_BYTES = 1.5 * 2**30
"""What a process with its networks may take, where the number of processes is left open."""
MOST_BYTES = 4 * 2**30
"""A process that has grown larger than this is replaced after its answer."""
QUICK = 1
"""Processes that are kept for what takes milliseconds, so that it does not wait behind what takes seconds."""
PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class DeskBusy(PackshotError):
    """So many wait already that one more would wait too long: come again."""


class DeskTimeout(PackshotError):
    """The work was not done in its time, and its process was ended."""


class DeskLost(PackshotError):
    """The work killed every process that tried it."""


class Desk:
    """Warm processes that answer one question at a time each. Thread-safe; they start when they are needed.

    Args:
        settings: its limits say how many may wait, and how long a question may take.
        count: processes for what takes long; None: `settings.workers`, else as many as there are cores and memory for.
    """

    def __init__(self, settings: StudioSettings, count: int | None = None) -> None:
        self.limits = settings.limits
        self._scratch = _Scratch(settings.place / "desk")
        self.count = count or settings.workers or useful_workers(SEAT_BYTES)
        self._lock = Lock()
        kinds = [True] * QUICK + [False] * self.count
        self._idle = [_Seat(self._scratch, quick=quick) for quick in kinds]
        self._seats = list(self._idle)
        self._waiting: deque[_Waiter] = deque()
        self._closed = False

    def ask(self, work: Callable[..., A], *args: Any, seconds: float | None = None, quick: bool = False) -> A:
        """Calls `work(*args)` in a process and returns what it returns.

        Args:
            work: a function of a module of packshot.
            args: what it gets; they and the answer have to be picklable.
            seconds: after which its process is ended, and that it waits for a process at most; None: the settings'.
            quick: whether it takes milliseconds, and may use the processes that are kept for that.

        Raises:
            DeskBusy: too many wait already.
            DeskTimeout: it took too long.
            DeskLost: it killed two processes.
            PackshotError: what the work raised.
        """
        seconds = self.limits.seconds if seconds is None else seconds
        seat = self._take(quick, seconds)
        try:
            for _ in range(TRIES):
                try:
                    with self._lock:  # So that none is started behind the back of who closes.
                        if self._closed:
                            raise _closing()
                        process = seat.ready()
                    return seat.ask(process, (work, args), seconds)  # type: ignore[no-any-return]  # Of a pipe.
                except (EOFError, OSError):  # It was killed, perhaps for its memory.
                    seat.close()
            raise DeskLost("This picture ended two processes in a row that worked on it, so it is not tried again.")
        finally:
            self._give(seat)

    @property
    def waiting(self) -> int:
        """How many questions wait for a process."""
        return len(self._waiting)

    @property
    def busy(self) -> int:
        """How many processes are at work."""
        return len(self._seats) - len(self._idle)

    def pids(self) -> list[int]:
        """Returns the numbers of the processes that were started and are kept."""
        return [seat.process.pid for seat in self._seats if seat.process is not None]

    def close(self) -> None:
        """Ends all processes; who still waits hears that the desk is busy."""
        with self._lock:
            self._closed = True
            waiting, self._waiting = self._waiting, deque()
            idle, self._idle = self._idle, []
        for waiter in waiting:
            waiter.seat.put(None)
        for seat in self._seats:
            if seat in idle:
                seat.close()
            else:
                seat.kill()  # Who asked closes the rest.
        self._scratch.remove()

    def _take(self, quick: bool, seconds: float) -> _Seat:
        with self._lock:
            if self._closed:
                raise _closing()
            # The one that was used last is the warmest.
            seat = next((s for s in reversed(self._idle) if s.quick == quick), None)
            seat = seat or next((s for s in reversed(self._idle) if quick), None)
            if seat is not None:
                self._idle.remove(seat)
                return seat
            # What is quick waits for what is quick; the threads that ask bound how many do.
            if not quick and sum(not w.quick for w in self._waiting) >= self.limits.waiting:
                raise _busy()
            waiter = _Waiter(quick)
            self._waiting.append(waiter)
        try:
            seat = waiter.seat.get(timeout=seconds)
        except Empty:
            with self._lock:
                if waiter in self._waiting:
                    self._waiting.remove(waiter)
                    raise _busy() from None
            seat = waiter.seat.get()  # It came at the very moment.
        if seat is None:
            raise _closing()
        return seat

    def _give(self, seat: _Seat) -> None:
        seat.rest()
        with self._lock:
            if not self._closed:
                waiter = next((w for w in self._waiting if w.quick or not seat.quick), None)
                if waiter is None:
                    self._idle.append(seat)
                else:
                    self._waiting.remove(waiter)
                    waiter.seat.put(seat)
                return
        seat.close()


class _Waiter:
    """Somebody who waits; a seat is put here, or None when the desk closes."""

    def __init__(self, quick: bool) -> None:
        self.quick = quick
        self.seat: SimpleQueue[_Seat | None] = SimpleQueue()


class _Seat:
    """A place for one process, which is started anew when it was lost. One question at a time."""

    def __init__(self, scratch: _Scratch, *, quick: bool) -> None:
        self.quick = quick
        self.process: WorkerProcess | None = None
        self._scratch, self._folder = scratch, ""

    def ready(self) -> WorkerProcess:
        """Returns the process, started where there is none.

        Raises:
            OSError: it died at once.
        """
        if self.process is None:
            self._folder = self._scratch.new()
            self.process = WorkerProcess()
            self.process.pipe.send(partial(answer, self._folder))
        return self.process

    def ask(self, process: WorkerProcess, question: Any, seconds: float) -> Any:
        """Returns the answer.

        Raises:
            DeskTimeout: there was none in time; the process is ended.
            EOFError, OSError: the process was lost.
            PackshotError: what the work raised.
        """
        late: list[bool] = []

        def end() -> None:
            late.append(True)
            process.kill()

        # Not by waiting at the pipe: a process that hangs may not even take the question.
        timer = Timer(seconds, end)
        timer.daemon = True
        timer.start()
        try:
            return process.ask(question)
        except (EOFError, OSError) as e:
            self.close()
            if late:
                raise DeskTimeout(f"This took longer than {seconds:g} seconds and was ended.") from e
            raise
        finally:
            timer.cancel()
            if late:  # Perhaps only just, after the answer.
                timer.join()
                self.close()

    def rest(self) -> None:
        """Lets a process go that has grown too large."""
        if self.process is not None and _resident(self.process.pid) > MOST_BYTES:
            self.close()

    def kill(self) -> None:
        """Ends the process while somebody may wait at its pipe."""
        if self.process is not None:
            self.process.kill()

    def close(self) -> None:
        """Ends the process; nobody waits for it. What it had put down somewhere goes with it."""
        process, self.process = self.process, None
        if process is not None:
            process.close()
            shutil.rmtree(self._folder, ignore_errors=True)


class _Scratch:
    """Where processes put pictures down for a moment. One that is killed leaves them there; they are not left for good.

    Args:
        folder: of all desks of a studio; each has a folder of its own in it.
    """

    def __init__(self, folder: Path) -> None:
        self._all = folder
        self._own = folder / f"{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}"

    def new(self) -> str:
        """Returns a new folder for a process.

        Raises:
            PackshotError: the disk refuses.
        """
        with disk_errors(self._own):
            if not self._own.exists():
                self._own.mkdir(mode=0o700, parents=True)
                self._clean()
            path = self._own / secrets.token_hex(4)
            path.mkdir(mode=0o700)
        return str(path)

    def remove(self) -> None:
        """Removes everything."""
        shutil.rmtree(self._own, ignore_errors=True)

    def _clean(self) -> None:
        """Removes what desks of this machine left that were killed with their server."""
        for path in self._all.glob(f"{socket.gethostname()}.*.*"):
            pid = path.name.split(".")[-2]
            if pid.isdigit() and path != self._own and not _alive(int(pid)):
                shutil.rmtree(path, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # It is somebody else's.
    return True


def answer(scratch: str, question: tuple[Callable[..., A], tuple[Any, ...]]) -> A:
    """Answers one question; what the processes run.

    Args:
        scratch: folder for temporary files.
        question: a function and its arguments.
    """
    tempfile.tempdir = scratch
    work, args = question
    return work(*args)


def _resident(pid: int) -> int:
    """Returns the bytes that a process holds in memory; 0 where the system does not tell."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except (OSError, ValueError, IndexError):
        return 0


def _busy() -> DeskBusy:
    return DeskBusy("All processes are at work and many requests wait already; come again in a few seconds.")


def _closing() -> DeskBusy:
    return DeskBusy("The studio is being stopped; come again when it is back.")
