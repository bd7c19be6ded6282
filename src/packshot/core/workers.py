"""Worker processes that answer questions, a bounded number at a time; one that is killed costs no answer.

Plain sub-processes with a pipe each, not a process pool of the standard library: that one would import the caller's
main script again, and a script that starts its work without `if __name__ == "__main__"` would start itself for ever.
"""

from __future__ import annotations

import gc
import itertools
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, Generic, TypeVar

from packshot.core.errors import PackshotError, UsageError
from packshot.core.process import free_memory, give_back_memory, keep_freed_memory

T = TypeVar("T")
Q = TypeVar("Q")
A = TypeVar("A")

AHEAD = 4
"""Questions that wait for each worker, so that none is idle while an answer is written; more would take memory."""
TRIES = 2
"""Processes that a question may cost; one that kills them all is at fault itself."""
TIDY = 8
"""Answers after which a worker gives freed memory back, so that a catalogue takes no more than its largest photos."""
DEATHS = 20
"""Processes in a row, without an answer between, after which no more are started."""
START = "import sys; from packshot.core.workers import serve; serve(int(sys.argv[1]))"


class WorkerLost(PackshotError):
    """A question to which no worker lived to answer."""


class WorkerFault(PackshotError):
    """The work ended with an error that is none of a user's making."""


class Workers(Generic[Q, A]):
    """Processes that answer questions; a context manager. They start when they are needed, and end with the block.

    Whatever the number, the answers are the same, if the work's are. When this process ends, in whatever way, its
    workers end at once: they write nothing more.

    Args:
        count: processes; 1: none, the work is done in this one.
        work: answers a question. It and the questions, and the answers, go through pipes, so have to be picklable; a
            worker gets it once, at its start.
    """

    def __init__(self, count: int, work: Callable[[Q], A]) -> None:
        self.count, self.work = count, work
        self._ahead = count * AHEAD if count > 1 else 0
        self._free: SimpleQueue[WorkerProcess | None] = SimpleQueue()
        self._processes: list[WorkerProcess] = []
        self._lock = Lock()
        self._closed, self._deaths = False, 0
        self._threads = ThreadPoolExecutor(count)  # They only wait at the pipes.
        for _ in range(count):
            self._free.put(None)

    def __enter__(self) -> Workers[Q, A]:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._closed = True
            for process in self._processes:
                process.kill()
        self._threads.shutdown(cancel_futures=True)
        for process in self._processes:
            process.pipe.close()

    def in_order(self, questions: Iterable[tuple[T, Q]]) -> Iterator[tuple[T, A]]:
        """Yields each question's tag and answer, in order.

        Args:
            questions: (tag, question); read no further ahead than the workers need.

        Raises:
            WorkerLost: the workers were killed at a question.
            PackshotError: the work failed, or cannot be sent to another process.
        """
        waiting: deque[tuple[T, Future[A]]] = deque()
        for tag, question in questions:
            waiting.append((tag, self._submit(question)))
            while len(waiting) > self._ahead:
                tag, future = waiting.popleft()
                yield tag, future.result()
        for tag, future in waiting:
            yield tag, future.result()

    def as_done(self, questions: Iterable[tuple[T, Q]]) -> Iterator[tuple[T, Future[A]]]:
        """Yields each question's tag and answer, whose `result` raises what `in_order` does, as soon as it is there."""
        waiting: dict[Future[A], T] = {}
        for tag, question in questions:
            waiting[self._submit(question)] = tag
            while len(waiting) > self._ahead:
                yield from _done(waiting)
        while waiting:
            yield from _done(waiting)

    def _submit(self, question: Q) -> Future[A]:
        if self.count > 1:
            return self._threads.submit(self._ask, question)
        future: Future[A] = Future()
        try:
            future.set_result(self.work(question))
        except Exception as e:
            future.set_exception(e)
        return future

    def _ask(self, question: Q) -> A:
        for _ in range(TRIES):
            process = self._free.get()
            try:
                process = process or self._start()
                answer = process.ask(question)
            except PackshotError:
                if process is not None:  # It lives, and this is its answer.
                    self._deaths = 0
                raise
            except (EOFError, OSError):  # It was killed.
                if process is not None:
                    process.kill()
                process = None
                self._deaths += 1
                continue
            finally:
                self._free.put(process)
            self._deaths = 0
            return answer  # type: ignore[no-any-return]  # What comes through a pipe has no type.
        raise _lost()

    def _start(self) -> WorkerProcess:
        with self._lock:
            if self._closed or self._deaths >= DEATHS:
                raise _lost()
            process = WorkerProcess()
            self._processes.append(process)
        try:
            process.pipe.send(self.work)
        except OSError:
            raise
        except Exception as e:  # What cannot be pickled raises anything.
            process.kill()
            raise _unsent(e) from e
        return process


def useful_workers(each: float) -> int:
    """Returns how many workers this machine has cores and memory for, at least 1.

    Args:
        each: bytes that one takes.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = Path("/sys/fs/cgroup/cpu.max")
    if limit.exists():
        quota, period = limit.read_text().split()
        cores = cores if quota == "max" else min(cores, round(int(quota) / int(period)))
    free = free_memory()
    return max(1, cores if free is None else min(cores, int(free / each)))


def serve(number: int) -> None:
    """Answers what comes through the pipe `number` until it is closed; the main function of a worker."""
    keep_freed_memory()  # Else a tenth of the time goes into giving the memory of every picture back.
    pipe = Connection(number)
    work = _receive(pipe)
    gc.freeze()  # What was imported stays: no need to look through it again and again.
    questions: SimpleQueue[Any] = SimpleQueue()
    Thread(target=_listen, args=(pipe, questions), daemon=True).start()
    for answered in itertools.count(1):
        question = questions.get()
        answer: Any
        try:
            answer = work if isinstance(work, _Failure) else work(question)
        except PackshotError as e:
            answer = _Failure(e)
        except Exception as e:  # Whatever it is, the asker has to hear of it instead of waiting for ever.
            answer = _fault(e)
        try:
            pipe.send(answer)
        except OSError:
            return
        except Exception as e:  # What cannot be pickled raises anything; then nothing was sent.
            pipe.send(_fault(e))
        if answered % TIDY == 0:
            give_back_memory()


def _receive(pipe: Connection) -> Any:
    """Returns the work, or, where it cannot be loaded here, why."""
    try:
        return pipe.recv()
    except PackshotError as e:
        return _Failure(e)
    except (EOFError, OSError):
        sys.exit()
    except Exception as e:  # What a module raises when it is imported, or lacks.
        return _Failure(_unsent(e))


def _listen(pipe: Connection, questions: SimpleQueue[Any]) -> None:
    """Takes questions in, and ends this process, whatever it is at, when the one that asks has ended."""
    try:
        while True:
            questions.put(pipe.recv())
    finally:
        os._exit(1)


class _Failure:
    """An answer: there is none."""

    def __init__(self, error: PackshotError) -> None:
        self.error = error


class WorkerProcess:
    """A worker and the pipe to it, for who wants one by itself; `Workers` keeps several.

    Attributes:
        pipe: to the worker; the first thing that it is sent is the work, then come questions.
    """

    def __init__(self) -> None:
        self.pipe, theirs = Pipe()
        package = str(Path(__file__).parents[2])
        environment = os.environ | {
            # It finds what this process finds.
            "PYTHONPATH": os.pathsep.join([package, *(path or str(Path.cwd()) for path in sys.path)]),
            "OMP_NUM_THREADS": "1",  # The processes are the parallelism.
        }
        self._popen = subprocess.Popen(
            [sys.executable, "-P", "-c", START, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # So that Ctrl-C reaches only this process, which then ends its workers.
        )
        theirs.close()

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._popen.pid

    def ask(self, question: Any) -> Any:
        """Sends a question, and returns its answer, however long that takes.

        Raises:
            PackshotError: what the work ended with.
            EOFError, OSError: the process was killed.
        """
        self.pipe.send(question)
        answer = self.pipe.recv()
        if isinstance(answer, _Failure):
            raise answer.error
        return answer

    def kill(self) -> None:
        """Ends the process at once."""
        self._popen.kill()
        self._popen.wait()

    def close(self) -> None:
        """Ends the process, and closes the pipe; nobody may be waiting at it."""
        self.kill()
        self.pipe.close()


def _done(waiting: dict[Future[A], T]) -> Iterator[tuple[T, Future[A]]]:
    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
    for future in done:
        yield waiting.pop(future), future


def _lost() -> WorkerLost:
    return WorkerLost(
        "A worker process was killed, and so was the one after it, perhaps because memory ran out; what is done is "
        "kept: run the same command again to go on, with --workers 1 if it happens again."
    )


def _fault(e: Exception) -> _Failure:
    return _Failure(
        WorkerFault(f"A worker failed: {type(e).__name__}: {e}. This is a fault in Packshot; please report it.")
    )


def _unsent(e: Exception) -> UsageError:
    return UsageError(
        f"The work cannot be sent to a worker process ({type(e).__name__}: {e}); define it in a module that can be "
        "imported, or use --workers 1."
    )
