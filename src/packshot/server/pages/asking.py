"""How the pages of models ask: the desk from a thread, long work with its seconds, sentences for scripts."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import JSONResponse

from packshot.core.errors import PackshotError, UsageError
from packshot.jobs.desk import DeskBusy
from packshot.jobs.desk_models import Sample
from packshot.jobs.records import ENDED, Job, JobRequest, NotFound
from packshot.jobs.studio import Studio
from packshot.server.fetch import desk_of, in_thread
from packshot.server.pages.frame import told
from packshot.server.pages.working import PAUSE, UNKNOWN, Work, works_of

A = TypeVar("A")

LONG_SECONDS = 600.0
"""What a question may take that a person knows to be long: a model of taste is fitted, pictures are made by taste."""
SHEET_BYTES = 64 * 2**20
"""Of made pictures that are remembered until somebody keeps or rejects them; then the oldest go."""
JOBS_LOOKED = 400
SHARE = re.compile(r": +(\d{1,3})%(?:  ([^\n]*))?")
"""A line of a command's progress: "Explaining: 48%  directions"."""


async def in_desk(
    request: Request, work: Callable[..., A], *args: Any, seconds: float | None = None, quick: bool = False
) -> A:
    """Asks the desk; what is `quick` does not wait behind what takes long."""
    return await in_thread(desk_of(request).ask, work, *args, seconds=seconds, quick=quick)


def start_long(
    request: Request, tenant: str, kind: str, guess: float, work: Callable[..., Any], *args: Any, **about: Any
) -> Work:
    """Begins a question to the desk that a person waits for; its page follows it (work.html).

    Args:
        request: whose desk.
        tenant: who may see it.
        kind: by which its time is learnt.
        guess: seconds that it takes before anything was measured.
        work: of the desk.
        args: of it.
        about: what the page needs to show the result.
    """
    ask = partial(desk_of(request).ask, work, *args, seconds=LONG_SECONDS)
    return works_of(request.app.state).start(tenant, kind, guessed(guess), ask, about)


def guessed(seconds: float) -> float:
    """Returns as large a work as takes so long at the pace of a kind that nothing is known of yet."""
    return seconds / UNKNOWN - PAUSE


def sentence(request: Request, error: PackshotError) -> JSONResponse:
    """Returns an error as a page's script shows it: `detail`, in the reader's language."""
    status = 404 if isinstance(error, NotFound) else 503 if isinstance(error, DeskBusy) else 422
    return JSONResponse({"detail": told(request)(str(error))}, status)


def whole(text: object, name: str, low: int, high: int, otherwise: int) -> int:
    """Returns a whole number of a form.

    Raises:
        UsageError: it is none, or out of range.
    """
    said = str(text if text is not None else "").strip()
    if not said:
        return otherwise
    try:
        value = int(said)
    except ValueError as e:
        raise UsageError(f"{name} is '{said[:40]}', which is no whole number.") from e
    if not low <= value <= high:
        raise UsageError(f"{name} is {value:,}; it can be {low:,} to {high:,}.")
    return value


def number(text: object, name: str, otherwise: float | None = None) -> float | None:
    """Returns a number of a form.

    Raises:
        UsageError: it is none.
    """
    said = str(text if text is not None else "").strip()
    if not said:
        return otherwise
    try:
        value = float(said)
    except ValueError as e:
        raise UsageError(f"{name} is '{said[:40]}', which is no number.") from e
    if not abs(value) < 1e9:
        raise UsageError(f"{name} is '{said[:40]}', which is no number.")
    return value


def commands_of(studio: Studio, tenant: str) -> list[Job]:
    """Returns a tenant's newest jobs that are a command, the newest first."""
    return [job for job in studio.jobs(tenant, limit=JOBS_LOOKED) if job.request.kind == "command"]


def find_job(jobs: Sequence[Job], argv: Sequence[str]) -> Job | None:
    """Returns the first job whose command line holds these words one after the other; None: there is none."""
    words = tuple(argv)
    for job in jobs:
        own = job.request.argv
        if any(own[i : i + len(words)] == words for i in range(len(own) - len(words) + 1)):
            return job
    return None


def once(studio: Studio, request: JobRequest) -> Job:
    """Returns the job with this very command line that has not ended, else a new one."""
    same = find_job(commands_of(studio, request.tenant), request.argv)
    return same if same is not None and same.state not in ENDED else studio.submit(request)


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How far a job of a command is, as its progress lines say it.

    Attributes:
        share: 0 to 1; None: it has not said yet.
        note: its own words for what it does; "": none.
    """

    share: float | None = None
    note: str = ""


def pace_of(studio: Studio, job: Job) -> Pace:
    """Returns how far a command is: by its units where it has some, else by the last line of its progress."""
    if job.total > 1:
        return Pace(share=min(1.0, job.finished / job.total))
    found = SHARE.findall(studio.log(job.request.tenant, job.id, lines=40))
    if not found:
        return Pace()
    percent, note = found[-1]
    return Pace(share=min(1.0, int(percent) / 100), note=note.strip())


@dataclass(frozen=True, kw_only=True)
class Made:
    """A picture that was made for a page and waits for a decision.

    Attributes:
        tenant: whose.
        sample: the picture.
        run: name of its run.
        seed: of it.
        like: checksum of the photo that it was asked to be like; "": none.
    """

    tenant: str
    sample: Sample
    run: str
    seed: int
    like: str = ""


class Sheet:
    """Pictures that were made and neither kept nor rejected yet, of all tenants; the oldest go. Thread-safe.

    Args:
        most: bytes that are remembered.
    """

    def __init__(self, most: int = SHEET_BYTES) -> None:
        self.most, self.bytes = most, 0
        self._made: OrderedDict[tuple[str, str], Made] = OrderedDict()
        self._lock = Lock()

    def add(self, made: Made) -> None:
        """Remembers a picture."""
        key = made.tenant, made.sample.sha256
        with self._lock:
            self._drop(key)
            self._made[key] = made
            self.bytes += len(made.sample.data)
            while self.bytes > self.most and len(self._made) > 1:
                self._drop(next(iter(self._made)))

    def get(self, tenant: str, sha256: str) -> Made:
        """Returns a picture.

        Raises:
            NotFound: it is another tenant's, or no longer remembered.
        """
        made = self._made.get((tenant, sha256))
        if made is None:
            raise NotFound("This picture is no longer remembered; make it again, with the same start number.")
        return made

    def _drop(self, key: tuple[str, str]) -> None:
        old = self._made.pop(key, None)
        if old is not None:
            self.bytes -= len(old.sample.data)


def sheet_of(state: Any) -> Sheet:
    """Returns the sheet of an application (`app.state`); it is made when it is first asked for."""
    if not hasattr(state, "sheet"):
        state.sheet = Sheet()
    sheet: Sheet = state.sheet
    return sheet


def one_work(
    request: Request, tenant: str, name: str, kind: str, guess: float, work: Callable[..., Any], *args: Any
) -> Work:
    """Returns the work of this name that is under way or has just ended, else begins it (`start_long`).

    One that ended is given once: whoever asks again after that begins anew.
    """
    state = request.app.state
    if not hasattr(state, "named_works"):
        state.named_works = {}
    names: dict[tuple[str, str], str] = state.named_works
    known = names.get((tenant, name))
    if known is not None:
        try:
            found = works_of(state).get(tenant, known)
        except NotFound:
            del names[tenant, name]
        else:
            if found.ended is not None:
                del names[tenant, name]
            return found
    begun = start_long(request, tenant, kind, guess, work, *args)
    names[tenant, name] = begun.id
    return begun
