"""Who does the pictures of a shard: processes of this machine, or a cluster of Ray. The pixels do not depend on it."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from threading import Condition, Event, Thread
from typing import Protocol

from packshot.core.errors import PackshotError
from packshot.core.workers import WorkerProcess, useful_workers
from packshot.jobs.hands import Asked, Hands, JobStopped, Made, Order, Question
from packshot.jobs.records import ItemState
from packshot.jobs.rows import Outcome
from packshot.jobs.settings import StudioSettings

HAND_BYTES = 1.5 * 2**30
"""What a process that edits may take, where their number is left open."""
BACK_OFF = (0.5, 4.0, 60.0)
"""Seconds before a second try, what each further wait is multiplied by, and the longest wait."""
LONGEST = 1800.0
"""Seconds that one picture may take; its process is killed then, as it would hang for ever."""
IDLE = 60.0
"""Seconds after which a process without work ends, and gives its memory back."""
DEATHS = 5
"""Processes in a row that may be lost before one is ready for a picture; it is the machine's fault then."""
LOST = "its process was lost each time, perhaps because memory ran out or the file does harm."
POLL = 0.1


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Some pictures of a job, to be done.

    Attributes:
        order: what is done to each.
        asked: the pictures.
        rank: jobs with the lowest go first.
        tries: how often a picture is begun that fails or kills its process.
        stopped: set when the job is not wanted any more.
    """

    order: Order
    asked: Sequence[Asked]
    rank: tuple[int, str]
    tries: int
    stopped: Event = field(default_factory=Event)


class Engine(Protocol):
    """Does the pictures of shards; several threads may each have one done."""

    @property
    def width(self) -> int:
        """Pictures that it does at once."""
        ...

    def run(self, shard: Shard) -> Iterator[Outcome]:
        """Yields what became of each picture, as soon as that is known; of one that failed, after each try.

        It ends early, without an error, once the shard is stopped.

        Raises:
            JobStopped: nothing of the job can be done, and why.
        """
        ...

    def close(self) -> None:
        """Ends its processes at once."""
        ...


def outcome_of(asked: Asked, made: Made | str, tries: int) -> Outcome:
    """Returns what a try comes to: a picture that failed waits again until it was begun `tries` times.

    Args:
        asked: the picture; its tries are those before this one.
        made: what became of it, or why its process was lost.
        tries: that it has.
    """
    if isinstance(made, str):
        made = Made(status="failed", reason=f"{asked.name}: {made}")
    begun = asked.tries + 1
    state: ItemState = "waiting" if made.status == "failed" and begun < tries else made.status
    return Outcome(
        number=asked.number,
        state=state,
        tries=begun,
        result=made.result,
        beside=made.beside,
        reason=made.reason,
        confidence=made.confidence,
        receipt=made.receipt,
        figures=made.figures,
        notes=made.notes,
        source_type=made.source_type,
    )


def back_off(tries: int) -> float:
    """Returns how many seconds lie between a try and the next, after so many."""
    first, factor, most = BACK_OFF
    return min(most, first * factor ** max(0, tries - 1))


class _Work:
    """A shard that processes work at: what is ready, what waits for its next try, and what was answered."""

    def __init__(self, shard: Shard) -> None:
        self.shard = shard
        self.ready = deque(shard.asked)
        self.later: list[tuple[float, Asked]] = []
        self.answers: SimpleQueue[tuple[Asked, Made | str | JobStopped]] = SimpleQueue()
        self.unready = 0
        self.over = False

    def take(self) -> Asked | None:
        """Returns the next picture that may be begun now."""
        if self.over or self.shard.stopped.is_set():
            return None
        now = time.monotonic()
        for entry in self.later:
            if entry[0] <= now:
                self.later.remove(entry)
                return entry[1]
        return self.ready.popleft() if self.ready else None


def _answered(work: _Work) -> Iterator[Outcome]:
    """Yields what was done, while something else keeps the job from going on."""
    with suppress(Empty):
        while True:
            asked, made = work.answers.get_nowait()
            if isinstance(made, Made) and made.status != "failed":
                yield outcome_of(asked, made, work.shard.tries)


class _Hand:
    """A process and what it is at, for the thread that asks it.

    Attributes:
        process: None: not started, or lost.
        key: of the order that it is ready for.
        work: that it is at; None: at none.
        since: when it began its picture, by the monotonic clock.
        overdue: whether it was ended because it took too long.
    """

    def __init__(self) -> None:
        self.process: WorkerProcess | None = None
        self.key = ""
        self.work: _Work | None = None
        self.since = 0.0
        self.overdue = False

    def kill(self) -> None:
        """Kills the process, if there is one; its thread sees the pipe end."""
        if self.process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def end(self) -> None:
        """Ends the process, if there is one."""
        if self.process is not None:
            self.process.close()
        self.process, self.key = None, ""


class LocalEngine:
    """Processes of this machine. Each does one picture at a time, of the job that goes first.

    Args:
        settings: `workers` and the store's are used.
        hands: what a process does; it is sent to it at its start.
    """

    def __init__(self, settings: StudioSettings, hands: Callable[[Question], Made | None] | None = None) -> None:
        self._work = hands or Hands(settings)
        self._count = settings.workers or useful_workers(HAND_BYTES)
        self._changed = Condition()
        self._works: list[_Work] = []
        self._hands: list[_Hand] = []
        self._threads: list[Thread] = []
        self._closed = False

    @property
    def width(self) -> int:
        """Processes."""
        return self._count

    def run(self, shard: Shard) -> Iterator[Outcome]:
        """See `Engine`."""
        work, left = _Work(shard), len(shard.asked)
        self._add(work)
        try:
            while left and not shard.stopped.is_set():
                try:
                    asked, made = work.answers.get(timeout=POLL)
                except Empty:
                    self._end_overdue(work)
                    continue
                if isinstance(made, JobStopped):
                    yield from _answered(work)
                    raise made
                outcome = outcome_of(asked, made, shard.tries)
                if outcome.state == "waiting":
                    with self._changed:
                        again = replace(asked, tries=outcome.tries)
                        work.later.append((time.monotonic() + back_off(outcome.tries), again))
                        self._changed.notify()
                else:
                    left -= 1
                yield outcome
        finally:
            with self._changed:
                work.over = True
                self._works.remove(work)
                for hand in self._hands:
                    if hand.work is work:
                        hand.kill()

    def close(self) -> None:
        """Ends the processes at once."""
        with self._changed:
            self._closed = True
            for hand in self._hands:
                hand.kill()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout=5)

    def _add(self, work: _Work) -> None:
        with self._changed:
            self._works.append(work)
            wanted = min(self._count, sum(len(w.shard.asked) for w in self._works))
            while len(self._threads) < wanted:
                hand = _Hand()
                thread = Thread(target=self._serve, args=(hand,), daemon=True, name="hand")
                self._hands.append(hand)
                self._threads.append(thread)
                thread.start()
            self._changed.notify_all()

    def _end_overdue(self, work: _Work) -> None:
        with self._changed:
            for hand in self._hands:
                if hand.work is work and time.monotonic() - hand.since > LONGEST:
                    hand.overdue = True
                    hand.kill()

    def _next(self) -> tuple[_Work, Asked] | None:
        """Waits for a picture; None: there was none for long."""
        until = time.monotonic() + IDLE
        with self._changed:
            while not self._closed and time.monotonic() < until:
                for work in sorted(self._works, key=lambda w: w.shard.rank):
                    if (asked := work.take()) is not None:
                        return work, asked
                self._changed.wait(POLL if any(work.later for work in self._works) else 1.0)
        return None

    def _serve(self, hand: _Hand) -> None:
        """One process and its work, one picture after the other; another process where it is lost."""
        while not self._closed:
            found = self._next()
            if found is None:
                hand.end()
                continue
            work, asked = found
            with self._changed:
                hand.work, hand.since, hand.overdue = work, time.monotonic(), False
            try:
                answer = self._ask(hand, work, asked)
            finally:
                with self._changed:
                    hand.work = None
            if isinstance(answer, JobStopped):
                work.over = True
            if answer is not None:
                work.answers.put((asked, answer))
        hand.end()

    def _ask(self, hand: _Hand, work: _Work, asked: Asked) -> Made | str | JobStopped | None:
        """Has one picture done; None: it could not be begun, and is ready again."""
        order = work.shard.order
        begun = False
        try:
            if hand.process is None:
                hand.process = WorkerProcess()
                hand.process.pipe.send(self._work)
            if work.over or self._closed:
                return None
            if hand.key != order.key:
                hand.process.ask((order, None))
                hand.key, work.unready = order.key, 0
            begun = True
            made: Made = hand.process.ask((order, asked))
            return made
        except JobStopped as e:
            hand.key = hand.key if begun else ""
            return e
        except PackshotError as e:  # A fault of ours: at this picture, or at all.
            return str(e) if begun else JobStopped(str(e))
        except (EOFError, OSError):
            hand.end()
            if begun:
                return f"it took more than {LONGEST / 60:.0f} minutes." if hand.overdue else LOST
            return self._unready(work, asked)

    def _unready(self, work: _Work, asked: Asked) -> JobStopped | None:
        """What becomes of a picture whose process was lost before it was begun."""
        with self._changed:
            work.unready += 1
            if work.unready >= DEATHS:
                return JobStopped(
                    f"{DEATHS} processes were lost one after the other before they were ready; see whether memory or "
                    "disk ran out, then retry the job."
                )
            work.ready.appendleft(asked)
            self._changed.notify()
        return None
