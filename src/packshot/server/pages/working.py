"""Work that one person waits for: done in the desk, followed by the page with the seconds gone and the seconds to come.

How long a kind of work takes is learnt from the last ones on this machine; before the first, a guess stands in.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import Any

from packshot.core.errors import PackshotError
from packshot.core.workers import WorkerFault
from packshot.jobs.desk import DeskBusy
from packshot.jobs.records import NotFound
from packshot.server.logs import log

KEPT = 256
"""Ended works that are still answered for."""
PAUSE = 0.3
"""What every work takes, whatever its size, as megapixels."""
GUESS = {"repair": 3.0, "restyle": 2.5, "shopper": 2.5, "marks": 2.0, "survive": 12.0}
"""Seconds a megapixel, before anything was measured."""
UNKNOWN = 3.0
"""Of a kind that is not among them."""
CALM = 0.3
"""Weight of the newest measurement."""


@dataclass
class Work:
    """One piece of work.

    Attributes:
        id: its address's end; nobody can guess it.
        tenant: whose it is.
        kind: what is done.
        expected: seconds that it should take.
        begun: when, by the monotonic clock.
        about: what the page needs to show the result.
        result: what came of it.
        error: why nothing came of it, one sentence.
        ended: when; None: it is being done.
        over: set when it has ended, for who waits for it.
    """

    id: str
    tenant: str
    kind: str
    expected: float
    begun: float
    about: dict[str, Any] = field(default_factory=dict)
    result: Any = None
    error: str | None = None
    ended: float | None = None
    over: Event = field(default_factory=Event)

    @property
    def seconds(self) -> float:
        """How long it has been at work."""
        return (self.ended or time.monotonic()) - self.begun

    @property
    def share(self) -> float:
        """How far it probably is, 0 .. 0.97."""
        return min(0.97, self.seconds / max(self.expected, 0.1))


class Works:
    """All of a server. Thread-safe."""

    def __init__(self) -> None:
        self._works: OrderedDict[str, Work] = OrderedDict()
        self._lock = Lock()
        self._rates = dict(GUESS)

    def start(
        self, tenant: str, kind: str, megapixels: float, act: Callable[[], Any], about: dict[str, Any] | None = None
    ) -> Work:
        """Begins work in a thread, which only waits for the desk.

        Args:
            tenant: who may see it.
            kind: by which its time is learnt, for example one of `GUESS`.
            megapixels: that it is done to.
            act: does it.
            about: see `Work`.
        """
        size = megapixels + PAUSE
        expected = self._rates.get(kind, UNKNOWN) * size
        work = Work(secrets.token_urlsafe(12), tenant, kind, expected, time.monotonic(), about or {})
        with self._lock:
            self._works[work.id] = work
            for id in [id for id, w in self._works.items() if w.ended is not None][: max(0, len(self._works) - KEPT)]:
                del self._works[id]
        Thread(target=self._do, args=(work, kind, size, act), daemon=True, name=f"work {kind}").start()
        return work

    def get(self, tenant: str, id: str) -> Work:
        """Returns a work.

        Raises:
            NotFound: there is none, or it is another tenant's.
        """
        work = self._works.get(id)
        if work is None or work.tenant != tenant:
            raise NotFound("This is no longer known here; do it once more.")
        return work

    def forget(self, tenant: str) -> None:
        """Forgets all of a tenant's, also what is under way: after an erasure nobody knows which of it shows whom."""
        with self._lock:
            for id in [id for id, work in self._works.items() if work.tenant == tenant]:
                del self._works[id]

    def check_room(self, kind: str, most: int) -> None:
        """Makes sure that strangers do not take every process of the desk.

        Raises:
            DeskBusy: as much work of a kind as strangers may have done at once is under way.
        """
        with self._lock:
            busy = sum(work.kind == kind and work.ended is None for work in self._works.values())
        if busy >= most:
            raise DeskBusy("Somebody else's picture is being worked on; come again in a minute.")

    def _do(self, work: Work, kind: str, size: float, act: Callable[[], Any]) -> None:
        try:
            work.result = act()
        except WorkerFault as e:
            work.error = "Something in the studio went wrong with this picture; the log of the server tells what."
            log.error("work failed", kind=kind, exc_info=e)
        except PackshotError as e:
            work.error = str(e)
        except Exception:
            work.error = "Something in the studio went wrong with this picture; the log of the server tells what."
            raise  # For the log.
        finally:
            work.ended = time.monotonic()
            if work.error is None:
                rate = (work.ended - work.begun) / size
                self._rates[kind] = (1 - CALM) * self._rates.get(kind, rate) + CALM * rate
            work.over.set()


def works_of(state: Any) -> Works:
    """Returns the works of an application (`app.state`); they are made when they are first asked for."""
    if not hasattr(state, "works"):
        state.works = Works()
    works: Works = state.works
    return works
