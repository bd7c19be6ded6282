"""What the studio's rooms tell each other: pictures, jobs, and what became of each picture of a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from packshot.core.errors import PackshotError, UsageError

JobKind = Literal["pictures", "command"]
JobState = Literal["queued", "running", "done", "failed", "cancelled"]
ItemState = Literal["waiting", "done", "review", "refused", "failed"]
Decision = Literal["approved", "rejected"]

ENDED: tuple[JobState, ...] = ("done", "failed", "cancelled")
ITEM_STATES: tuple[ItemState, ...] = ("waiting", "done", "review", "refused", "failed")
SHOP = "shop"
"""The tenant of a studio that needs no keys."""


class NotFound(PackshotError):
    """There is no such thing, or it is another tenant's: who asks cannot tell which."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture of a tenant, in the store under its checksum.

    Attributes:
        tenant: whose it is.
        sha256: of the file, 64 hex digits; its name in the store and in the API.
        name: as it was sent: a file's name without folders.
        mime: media type, told from its content.
        width, height: pixels, upright.
        size: bytes.
        created: when it came.
    """

    tenant: str
    sha256: str
    name: str
    mime: str
    width: int
    height: int
    size: int
    created: datetime


@dataclass(frozen=True, kw_only=True)
class Output:
    """How results are written.

    Attributes:
        format: "png", "jpeg" or "webp"; None: the photo's own, else PNG. See `packshot.tasks.batch.BatchOptions`.
        quality: of JPEG and WebP, 1 to 100.
        channel: whose rules the results keep, or None.
        notice: where it is said visibly that AI made a picture: "auto", "none", "corner", "padding" or "beside";
            None: as on the command line: "auto" with a channel, else "beside".
        language: of the notice, "en" or "zh".
    """

    format: str | None = None
    quality: int = 95
    channel: str | None = None
    notice: str | None = None
    language: str = "en"


@dataclass(frozen=True, kw_only=True)
class JobRequest:
    """A job that somebody wants done.

    Attributes:
        tenant: who.
        kind: "pictures": `steps` over each of `pictures`. "command": the command line `argv` of packshot, of a list
            that the studio itself makes; it goes on where it was when it is run again.
        title: for people.
        steps: of a recipe, each a table with "task" and that task's settings (`packshot.tasks.recipe`). A setting that
            is a file on the command line is "picture:SHA256" here, a picture of the same tenant.
        pictures: checksums of the tenant's pictures, in order; one may be there twice.
        output: how results are written.
        argv: after `packshot`, for example ("train", "--catalog", ...).
        priority: 0 (first) to 9.
        idempotency_key: a second request of the tenant with the same key is the same job; None: it is a new one.
        webhook: address that hears of the job's end; None: nobody.
    """

    tenant: str
    kind: JobKind = "pictures"
    title: str = ""
    steps: tuple[Mapping[str, Any], ...] = ()
    pictures: tuple[str, ...] = ()
    output: Output = field(default_factory=Output)
    argv: tuple[str, ...] = ()
    priority: int = 5
    idempotency_key: str | None = None
    webhook: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.priority <= 9:
            raise UsageError(f"priority is {self.priority}; it can be 0 (first) to 9.")
        if self.kind == "pictures" and not (self.steps and self.pictures):
            raise UsageError("A job of pictures needs at least one step and one picture.")
        if self.kind == "command" and not self.argv:
            raise UsageError("A job of a command needs its command line.")


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job and how far it is.

    Attributes:
        id: of the job; letters and digits.
        request: what is wanted; of its pictures the first eight only, since there may be very many: `Studio.items` has
            them all.
        state: where it stands.
        counts: its pictures by state; of a command, none.
        total: pictures in all; of a command, the units of its progress (steps of a training), 0 while unknown.
        finished: how many of those have ended.
        created, started, ended: when; None: not yet.
        rate: units a minute, over the last minutes that it ran; None: unknown.
        seconds_left: None: unknown.
        error: why it failed, or, while it runs, why it waits (the disk is full), one sentence; None: neither.
        attempts: how often a process began it.
    """

    id: str
    request: JobRequest
    state: JobState
    counts: Mapping[ItemState, int]
    total: int
    finished: int
    created: datetime
    started: datetime | None = None
    ended: datetime | None = None
    rate: float | None = None
    seconds_left: float | None = None
    error: str | None = None
    attempts: int = 0


@dataclass(frozen=True, kw_only=True)
class Item:
    """One picture of a job, and what became of it.

    Attributes:
        job: id.
        number: from 0, in the job's order.
        picture: checksum of the picture that came.
        name: its name.
        state: where it stands; "review": done, but a person should look.
        tries: how often it was begun.
        result: checksum of the result in the store (it is a picture of the tenant as well), or None.
        result_name: file name of the result.
        beside: further pictures by name ("matte", "heat"): their checksums.
        reason: why, of "review", "refused" and "failed".
        confidence, receipt, figures, notes, source_type: see `packshot.tasks.journal.PhotoResult`; figure "labels" is
            the result's side-car (notice, JSON-LD, the channels' flags), where it has one.
        decision: what a person said of a picture in review.
    """

    job: str
    number: int
    picture: str
    name: str
    state: ItemState
    tries: int = 0
    result: str | None = None
    result_name: str | None = None
    beside: Mapping[str, str] = field(default_factory=dict)
    reason: str | None = None
    confidence: float | None = None
    receipt: Mapping[str, Any] | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    source_type: str | None = None
    decision: Decision | None = None
