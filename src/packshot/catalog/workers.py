"""Worker processes that examine photos, in the order in which they were asked, with a bounded number in flight.

Plain sub-processes with a pipe each, not a process pool of the standard library: that one would import the caller's
main script again, and a script that calls `ingest` without `if __name__ == "__main__"` would start itself for ever.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

from packshot.catalog.examine import Examined, Settings, examine
from packshot.catalog.records import PhotoRecord
from packshot.core.errors import PackshotError
from packshot.core.process import keep_freed_memory

T = TypeVar("T")

AHEAD = 4
"""Chunks that wait for each worker, so that none is idle while a shard is flushed to disk; more would take memory."""

START = "import sys; from packshot.catalog.workers import serve; serve(int(sys.argv[1]))"


class Workers:
    """Processes that examine photos; a context manager. They start at once, and end with the block.

    Args:
        count: processes; 1: none, the work is done in this one.
        settings: see `examine`.
    """

    def __init__(self, count: int, settings: Settings) -> None:
        self.count, self.settings = count, settings
        self._processes: list[subprocess.Popen[bytes]] = []
        self._pipes: list[Connection] = []
        self._free: SimpleQueue[Connection] = SimpleQueue()
        self._threads = ThreadPoolExecutor(count)

    def __enter__(self) -> Workers:
        for _ in range(self.count if self.count > 1 else 0):
            process, pipe = _start()
            self._processes.append(process)
            self._pipes.append(pipe)
            self._free.put(pipe)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self._threads.shutdown(cancel_futures=True)
        for pipe in self._pipes:
            pipe.close()

    def in_order(self, chunks: Iterable[tuple[T, list[PhotoRecord]]]) -> Iterator[tuple[T, Examined]]:
        """Yields each chunk's tag and result, in order.

        Args:
            chunks: (tag, records); read no further ahead than the workers need.

        Raises:
            PackshotError: a worker died.
        """
        if not self._processes:
            for tag, records in chunks:
                yield tag, examine(records, self.settings)
            return
        waiting: deque[tuple[T, Future[Examined]]] = deque()
        for tag, records in chunks:
            # The threads only wait at the pipes; the work is done in the processes.
            waiting.append((tag, self._threads.submit(self._ask, records)))
            while len(waiting) > self.count * AHEAD:
                yield _next(waiting)
        while waiting:
            yield _next(waiting)

    def _ask(self, records: list[PhotoRecord]) -> Examined:
        pipe = self._free.get()
        try:
            pipe.send((records, self.settings))
            answer = pipe.recv()
        finally:
            self._free.put(pipe)
        if isinstance(answer, Examined):
            return answer
        raise PackshotError(f"A worker failed: {answer}. This is a fault in Packshot; please report it.")


def serve(number: int) -> None:
    """Examines what comes through the pipe `number` until it is closed; the main function of a worker."""
    keep_freed_memory()  # Else a tenth of the time goes into giving the memory of every picture back.
    gc.freeze()  # What was imported stays: no need to look through it again and again.
    pipe = Connection(number)
    with suppress(EOFError, OSError):  # The ingest has ended, in whatever way: so does its worker.
        while True:
            records, settings = pipe.recv()
            answer: Examined | str
            try:
                answer = examine(records, settings)
            except Exception as e:  # Whatever it is, the ingest has to hear of it instead of waiting for ever.
                answer = f"{type(e).__name__}: {e}"
            pipe.send(answer)


def _start() -> tuple[subprocess.Popen[bytes], Connection]:
    ours, theirs = Pipe()
    package = str(Path(__file__).parents[2])
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(p for p in (package, os.environ.get("PYTHONPATH")) if p),
        "OMP_NUM_THREADS": "1",  # The processes are the parallelism.
    }
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", START, str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,  # So that Ctrl-C reaches only the ingest, which then ends its workers.
    )
    theirs.close()
    return process, ours


def _next(waiting: deque[tuple[T, Future[Examined]]]) -> tuple[T, Examined]:
    tag, future = waiting.popleft()
    try:
        return tag, future.result()
    except (EOFError, OSError) as e:
        raise PackshotError(
            "A worker process was killed, perhaps because memory ran out; what is done is kept: run the same command "
            "again to go on, with --workers 1 if it happens again."
        ) from e
