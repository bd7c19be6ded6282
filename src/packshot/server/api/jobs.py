"""Jobs: many pictures in the background. Taken is durable: the answer 202 comes after the job is in the database."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from typing import Annotated, Any, NamedTuple

import anyio
from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from packshot.core.errors import PackshotError, UsageError
from packshot.jobs.desk import check_steps
from packshot.jobs.outside import Bounds, check_url
from packshot.jobs.records import ENDED, ItemState, Job, JobRequest
from packshot.server.api.bodies import content_kind, described, files_of, form_of, json_body, others_of, request_part
from packshot.server.api.edit import incoming_of
from packshot.server.api.models import (
    DecisionBody,
    Feed,
    ItemAnswer,
    ItemsAnswer,
    JobAnswer,
    JobBody,
    JobFormBody,
    JobsAnswer,
    LeftOut,
    PictureInput,
    SubmittedAnswer,
    item_answer,
    job_answer,
    job_values,
)
from packshot.server.api.pictures import Before, older
from packshot.server.callers import Caller, Editor, Reader
from packshot.server.feeds import FEED_BYTES, read_feed
from packshot.server.fetch import desk_of, fetch, in_thread, keep, read_upload, studio_of, with_parts
from packshot.server.limits import MOST_FILES
from packshot.server.problems import Problem, dumps, problem_of

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
JobId = Annotated[str, Path(pattern=r"^[0-9A-Za-z_-]{1,64}$", description="Of the job.")]
Number = Annotated[int, Path(ge=0, lt=2**31, description="Of the picture, from 0.")]
FETCHED_AT_ONCE = 8
FEED_ROWS = 5_000
INTAKE_SECONDS = 600.0
"""That all addresses of one job may take together."""
POLL_SECONDS = 0.5
AT_FULL_RATE = 50
"""Streams up to which each looks that often; more of them look less often each, so that the database has peace."""
SHOWN_BAD = 50
CHECKED = 500
"""Steps that were found good and are not looked at again that day: a thousand jobs of one kind are one question."""
TAKEN: dict[int | str, dict[str, Any]] = {
    202: {
        "headers": {
            "Location": {
                "required": True,
                "description": "The job's address.",
                "schema": {"type": "string", "pattern": "^/v1/jobs/[0-9A-Za-z_-]{1,64}$"},
            }
        }
    },
    404: {},
    409: {},
}


@router.post(
    "",
    status_code=202,
    summary="Start a job",
    responses=TAKEN,
    openapi_extra=described(JobBody, JobFormBody, many=True, feed=True),
)
async def submit(
    request: Request,
    response: Response,
    caller: Editor,
    idempotency_key: Annotated[
        str | None, Header(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$", description="Twice is one job.")
    ] = None,
) -> SubmittedAnswer:
    """Takes pictures (a form's `file` parts, checksums, addresses, or a feed) and operations.

    The answer comes when every picture is in the store and the job in the database; from then on nothing is lost.
    """
    if content_kind(request, "application/json", "multipart/form-data") == "application/json":
        body = await json_body(request, JobBody)
        await _check(request, body, {})
        taken = await _from_json(request, caller, body)
        return await _submit(request, response, caller, body, taken, idempotency_key, {})
    async with form_of(request, MOST_FILES) as form:
        told = await request_part(form, JobFormBody)
        most = studio_of(request).settings.limits.bytes
        parts = {}
        for name, part in others_of(form, "file", "feed", "request").items():
            parts[name] = await read_upload(part, most)
        sums = {name: hashlib.sha256(incoming.data).hexdigest() for name, incoming in parts.items()}
        await _check(request, told, sums)
        for incoming in parts.values():
            await keep(request, caller.tenant, incoming)
        taken = _Taken([], [])
        for row, file in enumerate(files_of(form, "file"), 1):
            try:
                taken.pictures.append((await keep(request, caller.tenant, await read_upload(file, most))).sha256)
            except PackshotError as e:
                taken.bad.append(LeftOut(row=row, name=(file.filename or "")[:200], reason=str(e)))
        for part in files_of(form, "feed"):
            rows = await in_thread(read_feed, (await read_upload(part, FEED_BYTES)).data, FEED_ROWS)
            more = await _from_addresses(request, caller, [(r.row, r.name, r.url) for r in rows])
            taken.pictures.extend(more.pictures)
            taken.bad.extend(more.bad)
        return await _submit(request, response, caller, told, taken, idempotency_key, sums)


class _Taken(NamedTuple):
    """Pictures that came for a job, and those that did not."""

    pictures: list[str]
    bad: list[LeftOut]


async def _check(request: Request, body: JobFormBody, parts: Mapping[str, str]) -> None:
    """Refuses a job whose steps or webhook are wrong, before its pictures are taken."""
    steps = [with_parts(operation.model_dump(), parts) for operation in body.operations]
    if body.webhook is not None:
        settings = studio_of(request).settings
        try:
            await in_thread(check_url, body.webhook, Bounds(private=settings.fetch_private))
        except PackshotError as e:
            raise Problem(422, f"webhook: {e}", "address-refused") from e
    key = json.dumps([steps, body.output.model_dump(), date.today().isoformat()], sort_keys=True)
    checked: OrderedDict[str, None] = request.app.state.checked
    if key not in checked:
        await in_thread(desk_of(request).ask, check_steps, steps, body.output.record())
        checked[key] = None
        while len(checked) > CHECKED:
            checked.popitem(last=False)


async def _from_json(request: Request, caller: Caller, body: JobBody) -> _Taken:
    rows: list[tuple[int, str, str | PictureInput]] = [(i, "", given) for i, given in enumerate(body.inputs, 1)]
    if body.feed is not None:
        data = await _feed_data(request, body.feed)
        rows += [(r.row, r.name, r.url) for r in await in_thread(read_feed, data, FEED_ROWS)]
    taken = await _from_addresses(request, caller, rows)
    return _Taken([*body.pictures, *taken.pictures], taken.bad)


async def _feed_data(request: Request, feed: Feed) -> bytes:
    if feed.text is not None:
        return feed.text.encode()
    assert feed.url is not None
    return (await fetch(studio_of(request).settings, feed.url, FEED_BYTES)).body


async def _from_addresses(request: Request, caller: Caller, rows: list[Any]) -> _Taken:
    """Fetches the pictures of rows (number, name, address or input), several at once, and keeps their order.

    Raises:
        Problem: 422, they take too long.
    """
    found: dict[int, str] = {}
    bad: dict[int, LeftOut] = {}
    gate = anyio.CapacityLimiter(FETCHED_AT_ONCE)

    async def bring(place: int, row: int, name: str, given: str | PictureInput) -> None:
        async with gate:
            try:
                if isinstance(given, str):
                    if not given.startswith(("http://", "https://")):
                        raise Problem(422, "The row has no address of a picture.", "no-picture")
                    given = PictureInput.model_construct(url=given, picture=None, base64=None, name=name[:200] or None)
                incoming = await incoming_of(request, caller, given)
                found[place] = (await keep(request, caller.tenant, incoming)).sha256
            except (PackshotError, Problem) as e:
                problem = problem_of(e)
                if problem.status_code >= 500:
                    raise
                bad[place] = LeftOut(row=row, name=name[:200], reason=str(problem.detail))

    try:
        with anyio.fail_after(INTAKE_SECONDS):
            async with anyio.create_task_group() as group:
                for place, (row, name, given) in enumerate(rows):
                    group.start_soon(bring, place, row, name, given)
    except TimeoutError as e:
        raise Problem(
            422, f"The addresses took longer than {INTAKE_SECONDS:g} s; send fewer of them at a time.", "too-slow"
        ) from e
    except BaseExceptionGroup as e:
        raise e.exceptions[0] from None
    return _Taken([found[i] for i in sorted(found)], [bad[i] for i in sorted(bad)])


async def _submit(
    request: Request,
    response: Response,
    caller: Caller,
    body: JobFormBody,
    taken: _Taken,
    key: str | None,
    parts: Mapping[str, str],
) -> SubmittedAnswer:
    if taken.bad and not body.skip_bad:
        raise Problem(
            422,
            f"{len(taken.bad):,} pictures cannot be had, so the job was not taken; mend them, or send skip_bad.",
            "bad-pictures",
            extra={"left_out": [row.model_dump() for row in taken.bad[:SHOWN_BAD]]},
        )
    if not taken.pictures:
        raise Problem(422, "There is no picture in this job.", "no-picture")
    wanted = JobRequest(
        tenant=caller.tenant,
        title=body.title,
        steps=tuple(with_parts(operation.model_dump(), parts) for operation in body.operations),
        pictures=tuple(taken.pictures),
        output=body.output.record(),
        priority=body.priority,
        idempotency_key=key,
        webhook=body.webhook,
    )
    try:
        job = await in_thread(studio_of(request).submit, wanted)
    except UsageError as e:
        if key is not None and "idempotency key" in str(e):
            raise Problem(409, str(e), "idempotency-key-reused") from e
        raise
    request.app.state.metrics.jobs.inc()
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return SubmittedAnswer(**job_values(job), left_out=taken.bad)


@router.get("", summary="List jobs, the newest first")
async def list_all(
    request: Request,
    caller: Reader,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    before: Before = None,
) -> JobsAnswer:
    """Returns the tenant's jobs."""
    found = await in_thread(studio_of(request).jobs, caller.tenant, limit=limit, before=before)
    more = older("/v1/jobs", limit, found[-1].created) if len(found) == limit else None
    return JobsAnswer(jobs=[job_answer(job) for job in found], next=more)


@router.get("/{id}", summary="How far a job is")
async def get(id: JobId, request: Request, caller: Reader) -> JobAnswer:
    """Returns a job."""
    return job_answer(await in_thread(studio_of(request).job, caller.tenant, id))


@router.get("/{id}/items", summary="What became of each picture")
async def items(
    id: JobId,
    request: Request,
    caller: Reader,
    state: ItemState | None = None,
    offset: Annotated[int, Query(ge=0, lt=2**31)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> ItemsAnswer:
    """Returns some of a job's pictures, in order."""
    found = await in_thread(studio_of(request).items, caller.tenant, id, state=state, offset=offset, limit=limit)
    wanted = f"&state={state}" if state else ""
    more = f"/v1/jobs/{id}/items?offset={offset + limit}&limit={limit}{wanted}" if len(found) == limit else None
    return ItemsAnswer(items=[item_answer(item) for item in found], next=more)


@router.get("/{id}/items/{number}", summary="What became of one picture")
async def item(id: JobId, number: Number, request: Request, caller: Reader) -> ItemAnswer:
    """Returns one picture of a job."""
    return item_answer(await in_thread(studio_of(request).item, caller.tenant, id, number))


@router.post("/{id}/items/{number}/decision", summary="Approve or reject a picture in review", responses={409: {}})
async def decide(id: JobId, number: Number, body: DecisionBody, request: Request, caller: Editor) -> ItemAnswer:
    """Notes what a person said; what is approved is among the results."""
    with as_conflict():
        return item_answer(await in_thread(studio_of(request).decide, caller.tenant, id, number, body.decision))


@router.post("/{id}/cancel", summary="End a job")
async def cancel(id: JobId, request: Request, caller: Editor) -> JobAnswer:
    """Ends a job; what was done stays."""
    return job_answer(await in_thread(studio_of(request).cancel, caller.tenant, id))


@router.post("/{id}/retry", summary="Try again what failed", responses={409: {}})
async def retry(id: JobId, request: Request, caller: Editor) -> JobAnswer:
    """Has failed and refused pictures done again; a failed or cancelled job goes on."""
    with as_conflict():
        return job_answer(await in_thread(studio_of(request).retry, caller.tenant, id))


@contextmanager
def as_conflict() -> Iterator[None]:
    """Says 409 where a request is right, and a job stands so that it cannot be done now."""
    try:
        yield
    except UsageError as e:
        raise Problem(409, str(e)) from e


async def _known(id: JobId, request: Request, caller: Reader) -> Job:
    """Returns a job before a stream begins: once it has begun, there is no saying 404 any more."""
    return await in_thread(studio_of(request).job, caller.tenant, id)


@router.get("/{id}/events", summary="A job's progress, as it comes", response_class=EventSourceResponse)
async def events(
    request: Request,
    job: Annotated[Job, Depends(_known)],
    last_event_id: Annotated[str | None, Header(max_length=200)] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Sends the job as JSON each time that it changes, and `done` at its end; whoever comes back gets what is new."""
    studio, state, seen = studio_of(request), request.app.state, last_event_id
    tenant, id = job.request.tenant, job.id
    state.streams += 1
    try:
        while True:
            mark = _mark(job)
            if mark != seen:
                seen = mark
                yield ServerSentEvent(raw_data=dumps(job_answer(job).model_dump(mode="json")), id=mark)
            if job.state in ENDED:
                yield ServerSentEvent(event="done", raw_data=job.state, id=mark)
                return
            with anyio.move_on_after(POLL_SECONDS * max(1.0, state.streams / AT_FULL_RATE)):
                await state.stopping.wait()
            if state.stopping.is_set():
                return  # The client comes back to the server that comes next, and says what it has seen.
            job = await in_thread(studio.job, tenant, id)
    finally:
        state.streams -= 1


def _mark(job: Job) -> str:
    """Returns what differs between two states of a job."""
    counts = "-".join(f"{k[:2]}{v}" for k, v in sorted(job.counts.items()) if v)
    return f"{job.state}.{job.attempts}.{job.finished}.{counts}"
