"""Pictures of a shard on a Ray cluster: tasks of a few pictures each, wherever Ray finds room.

Every node needs the same version of Packshot, has to reach the store, and signs with the keys in its own PACKSHOT_HOME.
A task that is lost with its node is begun again elsewhere; what was noted of its pictures is not done twice.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from packshot.core.errors import PackshotError, UsageError
from packshot.jobs.hands import Asked, Hands, JobStopped, Made, Order, Question
from packshot.jobs.rows import Outcome
from packshot.jobs.settings import StudioSettings
from packshot.jobs.shard_engines import DEATHS, LONGEST, LOST, Shard, back_off, outcome_of

CHUNK = 4
"""Pictures of a task: few, since those that are in flight are lost with their node."""
AHEAD = 2
"""Tasks that wait for each core of the cluster; more would only lie about."""
OBJECT_STORE_BYTES = 100_000_000
"""Pictures do not travel through Ray's shared memory, but through the store."""
POLL = 0.2
START_SECONDS = 300.0
"""Seconds that a cluster may have no room for any task."""


class RayEngine:
    """A cluster of Ray, to which this process is connected as long as it works.

    Args:
        settings: `ray_address`, `workers` (of a small cluster of one's own) and the store's are used.
        hands: what a task does with each picture; None: the usual.

    Raises:
        UsageError: Ray is not installed, or no cluster answers.
    """

    def __init__(self, settings: StudioSettings, hands: Callable[[Question], Made | None] | None = None) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError as e:
            raise UsageError("engine = \"ray\" needs Ray: pip install 'packshot[ray]'") from e
        self._hands = hands or Hands(settings)
        address = settings.ray_address or os.environ.get("RAY_ADDRESS")
        where: dict[str, Any] = {"address": address}
        if address is None:
            where = {"object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
            where |= {"num_cpus": settings.workers} if settings.workers else {}
        try:
            with contextlib.redirect_stdout(sys.stderr):
                ray.init(**where, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as e:
            reason = str(e).strip().splitlines()[0].rstrip(".")
            raise UsageError(f"No Ray cluster answers at {address or 'this machine'} ({reason}).") from e
        self._ray: Any = ray
        # Ray's own repetitions are off: `run` knows which picture was at fault.
        self._task = ray.remote(num_cpus=1, max_retries=0)(_do)

    @property
    def width(self) -> int:
        """Cores of the cluster, as it is now."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def run(self, shard: Shard) -> Iterator[Outcome]:
        """See `packshot.jobs.shard_engines.Engine`."""
        flight = _Flight(shard)
        running: dict[Any, tuple[list[Asked], float]] = {}
        progressed = time.monotonic()
        try:
            while flight.left and not shard.stopped.is_set():
                room = self.width * AHEAD
                while len(running) < room and (part := flight.take()):
                    reference = self._task.remote(self._hands, shard.order, part)
                    running[reference] = (part, time.monotonic())
                done, _ = self._ray.wait(list(running), num_returns=1, timeout=POLL) if running else ([], [])
                if not running:
                    time.sleep(POLL)
                for reference in done:
                    part, _ = running.pop(reference)
                    progressed = time.monotonic()
                    yield from flight.landed(part, self._answer(reference))
                self._end_overdue(running)
                if not done and running and time.monotonic() - progressed > START_SECONDS + LONGEST:
                    raise JobStopped("The Ray cluster has no room for any task; see whether it has nodes left.")
        finally:
            for reference in running:
                self._cancel(reference)

    def close(self) -> None:
        """Leaves the cluster."""
        self._ray.shutdown()

    def _answer(self, reference: Any) -> list[Made] | str | PackshotError:
        """Returns what became of a task's pictures; or that its process or node was lost; or why the job stops."""
        from ray.exceptions import RayError, RayTaskError

        try:
            made: list[Made] = self._ray.get(reference)
            return made
        except RayTaskError as e:
            cause = e.cause
            return cause if isinstance(cause, PackshotError) else PackshotError(_fault(cause or e))
        except PackshotError as e:  # Ray raises a task's error as one of its own kind, too.
            return e
        except RayError:
            return LOST

    def _end_overdue(self, running: dict[Any, tuple[list[Asked], float]]) -> None:
        for reference, (part, since) in running.items():
            if time.monotonic() - since > LONGEST * len(part):
                self._cancel(reference)

    def _cancel(self, reference: Any) -> None:
        with contextlib.suppress(Exception):  # It may have ended, or its node be gone.
            self._ray.cancel(reference, force=True)


class _Flight:
    """The pictures of a shard: ready, waiting for their next try, left to be done."""

    def __init__(self, shard: Shard) -> None:
        self.shard = shard
        self.ready: deque[list[Asked]] = deque()
        for start in range(0, len(shard.asked), CHUNK):
            self.ready.append(list(shard.asked[start : start + CHUNK]))
        self.later: list[tuple[float, Asked]] = []
        self.left = len(shard.asked)
        self.lost = 0

    def take(self) -> list[Asked] | None:
        """Returns the pictures of the next task; None: none is ready."""
        now = time.monotonic()
        for entry in self.later:
            if entry[0] <= now:
                self.later.remove(entry)
                return [entry[1]]  # Alone: what kills its process takes no other picture with it.
        return self.ready.popleft() if self.ready else None

    def landed(self, part: list[Asked], answer: list[Made] | str | PackshotError) -> Iterator[Outcome]:
        """Yields what became of a task's pictures.

        Raises:
            JobStopped: nothing of the job can be done.
        """
        if isinstance(answer, JobStopped):
            raise answer
        if isinstance(answer, list):
            self.lost = 0
            for asked, made in zip(part, answer, strict=True):
                yield from self._told(asked, made)
        elif len(part) > 1:
            # Nobody knows which of them it was: each goes alone now, and none has used up a try.
            self.ready.extend([asked] for asked in part)
        else:
            self.lost += 1
            if self.lost > DEATHS * max(1, self.left):
                raise JobStopped("The Ray cluster loses its tasks one after the other; see whether it has room left.")
            yield from self._told(part[0], str(answer))

    def _told(self, asked: Asked, made: Made | str) -> Iterator[Outcome]:
        outcome = outcome_of(asked, made, self.shard.tries)
        if outcome.state == "waiting":
            again = replace(asked, tries=outcome.tries)
            self.later.append((time.monotonic() + back_off(outcome.tries), again))
        else:
            self.left -= 1
        yield outcome


def _do(hands: Callable[[Question], Made | None], order: Order, part: list[Asked]) -> list[Made]:
    """A task: some pictures, one after the other, in a folder of this node that goes with the task."""
    # The pictures that steps name stay for the next task of this process, whose edit may read them again.
    own = replace(order, folder=_own_folder() / order.job)
    made = []
    for asked in part:
        try:
            answer = hands((own, asked))
        finally:
            shutil.rmtree(own.folder_of(asked.number), ignore_errors=True)
        assert answer is not None
        made.append(answer)
    return made


@cache
def _own_folder() -> Path:
    """Returns a folder of this process; those that killed ones of this node have left are removed."""
    for folder in Path(tempfile.gettempdir()).glob("packshot-ray-*"):
        try:
            os.kill(int(folder.name.split("-")[2]), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (OSError, ValueError, IndexError):
            pass
    return Path(tempfile.mkdtemp(prefix=f"packshot-ray-{os.getpid()}-"))


def _fault(e: BaseException) -> str:
    return f"a task failed: {type(e).__name__}: {e}. This is a fault in Packshot; please report it."
