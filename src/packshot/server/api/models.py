"""What requests and answers of the API look like. Unknown names are errors, and nothing is turned into another type."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from packshot.jobs.records import Decision, Item, ItemState, Job, JobKind, JobState, Output, Picture
from packshot.tasks.options import as_settings

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Url = Annotated[str, StringConstraints(min_length=8, max_length=4096, pattern=r"^https?://[\x21-\x7e]+$")]
Title = Annotated[str, StringConstraints(max_length=200)]


class Strict(BaseModel):
    """The base of what is sent to the API."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Operation(BaseModel):
    """One step: a task and its settings, as GET /v1/tasks describes them.

    A setting that is a file on the command line is "picture:SHA256" here, or "part:NAME" of the same form.
    """

    model_config = ConfigDict(extra="allow", strict=True)
    task: Annotated[str, StringConstraints(min_length=1, max_length=40)]


class OutputSettings(Strict):
    """How results are written."""

    format: Literal["png", "jpeg", "webp"] | None = Field(default=None, description="None: the photo's own, else PNG.")
    quality: int = Field(default=95, ge=1, le=100, description="Of JPEG and WebP.")
    channel: str | None = Field(default=None, max_length=40, description="Whose rules the results keep.")
    notice: Literal["auto", "none", "corner", "padding", "beside"] | None = Field(
        default=None, description="Where it is said visibly that AI made a picture."
    )
    language: Literal["en", "zh"] = Field(default="en", description="Of the notice.")

    def record(self) -> Output:
        """Returns it as the studio has it."""
        return Output(**self.model_dump())


class PictureInput(Strict):
    """A picture, in one of three ways."""

    url: Url | None = Field(default=None, description="An address of the public internet.")
    picture: Sha256 | None = Field(default=None, description="Checksum of a picture that was sent before.")
    base64: str | None = Field(default=None, description="The file, as base64 or as a data URL.")
    name: Annotated[str, StringConstraints(max_length=200)] | None = Field(
        default=None, description="A name for its results."
    )

    @model_validator(mode="after")
    def _one(self) -> PictureInput:
        if sum(v is not None for v in (self.url, self.picture, self.base64)) != 1:
            raise ValueError("give exactly one of url, picture and base64")
        return self


class EditBody(Strict):
    """One picture, edited while its sender waits."""

    input: PictureInput
    operations: list[Operation] = Field(min_length=1, max_length=20)
    output: OutputSettings = Field(default_factory=lambda: OutputSettings())
    keep: bool = Field(default=False, description="Put the result into the store; its checksum comes back.")


class EditFormBody(Strict):
    """The `request` part of a form whose `file` part is the picture."""

    operations: list[Operation] = Field(min_length=1, max_length=20)
    output: OutputSettings = Field(default_factory=lambda: OutputSettings())
    keep: bool = False


class TaskBody(Strict):
    """One picture for one task."""

    input: PictureInput
    settings: dict[str, Any] = Field(default_factory=dict)
    output: OutputSettings = Field(default_factory=lambda: OutputSettings())
    keep: bool = False


class TaskFormBody(Strict):
    """The `request` part of a form for one task; it may be left out."""

    settings: dict[str, Any] = Field(default_factory=dict)
    output: OutputSettings = Field(default_factory=lambda: OutputSettings())
    keep: bool = False


class Feed(Strict):
    """A list of products: CSV, TSV or a merchant feed (RSS), at an address or as text."""

    url: Url | None = None
    text: Annotated[str, StringConstraints(max_length=4_000_000)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Feed:
        if (self.url is None) == (self.text is None):
            raise ValueError("give exactly one of url and text")
        return self


class JobFormBody(Strict):
    """The `request` part of a form whose `file` parts are the pictures, or whose `feed` part lists them."""

    operations: list[Operation] = Field(min_length=1, max_length=20)
    output: OutputSettings = Field(default_factory=lambda: OutputSettings())
    title: Title = ""
    priority: int = Field(default=5, ge=0, le=9, description="0 is first.")
    webhook: Url | None = Field(default=None, description="Hears of the job's end.")
    skip_bad: bool = Field(
        default=False, description="Leave out what cannot be had, and say so, instead of refusing the job."
    )


class JobBody(JobFormBody):
    """Many pictures, edited in the background."""

    inputs: list[PictureInput] = Field(default_factory=list, max_length=5_000)
    pictures: list[Sha256] = Field(default_factory=list, max_length=50_000, description="Sent before; may repeat.")
    feed: Feed | None = None

    @model_validator(mode="after")
    def _some(self) -> JobBody:
        if not self.inputs and not self.pictures and self.feed is None:
            raise ValueError("name pictures: inputs, pictures or feed")
        return self


class DecisionBody(Strict):
    """What a person says of a picture in review."""

    decision: Decision


class CreateBody(Strict):
    """New pictures of a trained generator."""

    run: Annotated[str, StringConstraints(min_length=1, max_length=80)] = Field(description="As GET /v1/runs lists it.")
    n: int = Field(default=4, ge=1, le=48)
    seed: int = Field(default=0, ge=0, lt=2**31)
    labels: list[Annotated[str, StringConstraints(max_length=80)]] = Field(default_factory=list, max_length=64)
    truncation: float = Field(default=1.0, ge=0, le=1)
    attributes: dict[str, str] = Field(default_factory=dict, max_length=20)
    text: Annotated[str, StringConstraints(max_length=500)] | None = None


class PictureAnswer(BaseModel):
    """A picture of the tenant."""

    sha256: str
    name: str
    mime: str
    width: int
    height: int
    size: int
    created: datetime
    href: str


class PicturesAnswer(BaseModel):
    """Several pictures; `next` is the address of older ones."""

    pictures: list[PictureAnswer]
    next: str | None = None


class ResultAnswer(BaseModel):
    """The file of a result."""

    name: str
    mime: str
    size: int
    sha256: str
    base64: str | None = Field(default=None, description="The file, unless it was kept.")
    href: str | None = Field(default=None, description="Where it is, if it was kept.")


class EditAnswer(BaseModel):
    """What became of one picture."""

    status: Literal["done", "review"] = Field(description="review: done, but a person should look.")
    reason: str | None
    confidence: float | None
    receipt: dict[str, Any] | None = Field(description="What was proved about the product's pixels.")
    figures: dict[str, Any]
    notes: list[str]
    source_type: str | None
    picture: ResultAnswer
    beside: dict[str, ResultAnswer]


class CreatedPicture(BaseModel):
    """A picture that a generator made."""

    sha256: str
    name: str
    label: str = Field(description="Its category.")
    href: str


class CreateAnswer(BaseModel):
    """Pictures that a generator made."""

    pictures: list[CreatedPicture]
    seed: int
    source_type: str | None
    notes: list[str]
    refused_copies: int = Field(description="Pictures that were too near to a training photo.")
    copy_gate: str = Field(description="How pictures were compared with the training photos.")


class JobAnswer(BaseModel):
    """A job and how far it is."""

    id: str
    kind: JobKind
    title: str
    state: JobState
    counts: dict[ItemState, int]
    total: int
    finished: int
    created: datetime
    started: datetime | None
    ended: datetime | None
    rate: float | None = Field(description="Units a minute.")
    seconds_left: float | None
    error: str | None
    attempts: int
    operations: list[dict[str, Any]]
    output: dict[str, Any]
    priority: int
    webhook: str | None
    links: dict[str, str]


class LeftOut(BaseModel):
    """A picture that could not be had."""

    row: int
    name: str
    reason: str


class SubmittedAnswer(JobAnswer):
    """A job that was taken, and what was left out of it."""

    left_out: list[LeftOut] = Field(default_factory=list)


class JobsAnswer(BaseModel):
    """Jobs, the newest first; `next` is the address of older ones."""

    jobs: list[JobAnswer]
    next: str | None = None


class ItemAnswer(BaseModel):
    """One picture of a job."""

    number: int
    name: str
    picture: str
    state: ItemState
    tries: int
    result: str | None
    result_name: str | None
    beside: dict[str, str]
    reason: str | None
    confidence: float | None
    receipt: dict[str, Any] | None
    figures: dict[str, Any]
    notes: list[str]
    source_type: str | None
    decision: Decision | None


class ItemsAnswer(BaseModel):
    """Some of a job's pictures; `next` is the address of more."""

    items: list[ItemAnswer]
    next: str | None = None


def picture_answer(picture: Picture) -> PictureAnswer:
    """Returns a picture as the API tells it."""
    return PictureAnswer(
        sha256=picture.sha256,
        name=picture.name,
        mime=picture.mime,
        width=picture.width,
        height=picture.height,
        size=picture.size,
        created=picture.created,
        href=f"/v1/pictures/{picture.sha256}",
    )


def job_values(job: Job) -> dict[str, Any]:
    """Returns a job as the API tells it."""
    here = f"/v1/jobs/{job.id}"
    request = job.request
    links = {"self": here, "events": f"{here}/events"}
    if request.kind == "pictures":
        links |= {"items": f"{here}/items", "zip": f"{here}/results.zip", "csv": f"{here}/results.csv"}
    return {
        "id": job.id,
        "kind": request.kind,
        "title": request.title,
        "state": job.state,
        "counts": dict(job.counts),
        "total": job.total,
        "finished": job.finished,
        "created": job.created,
        "started": job.started,
        "ended": job.ended,
        "rate": job.rate,
        "seconds_left": job.seconds_left,
        "error": job.error,
        "attempts": job.attempts,
        "operations": [dict(step) for step in request.steps],
        "output": {
            "format": request.output.format,
            "quality": request.output.quality,
            "channel": request.output.channel,
            "notice": request.output.notice,
            "language": request.output.language,
        },
        "priority": request.priority,
        "webhook": request.webhook,
        "links": links,
    }


def job_answer(job: Job) -> JobAnswer:
    """Returns a job as the API tells it."""
    return JobAnswer(**job_values(job))


def item_answer(item: Item) -> ItemAnswer:
    """Returns a picture of a job as the API tells it."""
    return ItemAnswer(
        number=item.number,
        name=item.name,
        picture=item.picture,
        state=item.state,
        tries=item.tries,
        result=item.result,
        result_name=item.result_name,
        beside=dict(item.beside),
        reason=None if item.reason is None else as_settings(item.reason),
        confidence=item.confidence,
        receipt=None if item.receipt is None else dict(item.receipt),
        figures=dict(item.figures),
        notes=[as_settings(note) for note in item.notes],
        source_type=item.source_type,
        decision=item.decision,
    )
