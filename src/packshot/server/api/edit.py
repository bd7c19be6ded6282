"""One picture at once: POST /v1/edit, POST /v1/tasks/{task}, and which tasks there are."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from anyio import Lock
from fastapi import APIRouter, Request, Response
from starlette.responses import JSONResponse

from packshot.jobs.desk import OneResult, describe_tasks, edit_one
from packshot.jobs.steps import wanted_pictures
from packshot.server.api.bodies import content_kind, described, files_of, form_of, json_body, others_of, request_part
from packshot.server.api.found import TasksAnswer
from packshot.server.api.models import (
    EditAnswer,
    EditBody,
    EditFormBody,
    Operation,
    OutputSettings,
    PictureInput,
    ResultAnswer,
    TaskBody,
    TaskFormBody,
)
from packshot.server.callers import Caller, Editor, Reader
from packshot.server.fetch import (
    Incoming,
    desk_of,
    fetch_picture,
    in_thread,
    keep,
    look_at,
    read_base64,
    read_upload,
    studio_of,
    with_parts,
)
from packshot.server.problems import Problem
from packshot.tasks.options import as_settings

router = APIRouter(prefix="/v1", tags=["edit"])
MOST_NAMED = 8
"""Pictures that the steps of one edit may name."""
PICTURE_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The picture; with `Accept: application/json`, what was proved about it as well.",
        "headers": {
            "Packshot-Result": {
                "schema": {"enum": ["done", "review"]},
                "description": "Of a picture. review: done, but a person should look.",
            },
            "Packshot-Reason": {"schema": {"type": "string"}, "description": "Why, of review, percent-encoded."},
        },
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/EditAnswer"}},
            "image/*": {"schema": {"type": "string", "format": "binary"}},
        },
    },
    404: {},
}
_lock = Lock()


@router.get("/tasks", summary="Which tasks there are, and their settings")
async def list_tasks(request: Request, caller: Reader) -> TasksAnswer:
    """Returns every task that an operation can name, with its settings as JSON Schema."""
    return TasksAnswer(tasks=await tasks_of(request))


async def tasks_of(request: Request) -> dict[str, Any]:
    """Returns the tasks; the desk tells them once, since it alone loads them."""
    state = request.app.state
    async with _lock:
        if not hasattr(state, "tasks"):
            state.tasks = await in_thread(desk_of(request).ask, describe_tasks)
    tasks: dict[str, Any] = state.tasks
    return tasks


@router.post(
    "/edit",
    summary="Edit one picture",
    response_class=Response,
    responses=PICTURE_ANSWER,
    openapi_extra=described(EditBody, EditFormBody),
)
async def edit(request: Request, caller: Editor) -> Response:
    """Takes a picture (a form's `file`, an address, a checksum or base64) and gives what the operations make of it."""
    if content_kind(request, "application/json", "multipart/form-data") == "application/json":
        body = await json_body(request, EditBody)
        incoming = await incoming_of(request, caller, body.input)
        return await edited(request, caller, incoming, body.operations, body.output, kept=body.keep)
    async with form_of(request) as form:
        told = await request_part(form, EditFormBody)
        incoming, parts = await _from_form(request, form)
        return await edited(request, caller, incoming, told.operations, told.output, kept=told.keep, parts=parts)


@router.post(
    "/tasks/{task}",
    summary="Edit one picture by one task",
    response_class=Response,
    responses=PICTURE_ANSWER,
    openapi_extra=described(TaskBody, TaskFormBody),
)
async def edit_by(task: str, request: Request, caller: Editor) -> Response:
    """As POST /v1/edit with one operation, whose settings stand alone."""
    if task not in await tasks_of(request):
        raise Problem(404, f"There is no task '{task[:40]}'; GET /v1/tasks lists them.", "no-task")
    if content_kind(request, "application/json", "multipart/form-data") == "application/json":
        body = await json_body(request, TaskBody)
        incoming = await incoming_of(request, caller, body.input)
        steps = [Operation(task=task, **_settings(body.settings))]
        return await edited(request, caller, incoming, steps, body.output, kept=body.keep)
    async with form_of(request) as form:
        told = await request_part(form, TaskFormBody)
        incoming, parts = await _from_form(request, form)
        steps = [Operation(task=task, **_settings(told.settings))]
        return await edited(request, caller, incoming, steps, told.output, kept=told.keep, parts=parts)


def _settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    if "task" in settings:
        raise Problem(422, "settings holds the task's settings alone; the task stands in the address.")
    return dict(settings)


async def _from_form(request: Request, form: Any) -> tuple[Incoming, dict[str, bytes]]:
    """Returns the picture of a form, and its other files, by name."""
    most = studio_of(request).settings.limits.bytes
    files = files_of(form, "file")
    if len(files) != 1:
        raise Problem(422, f"The form has to have exactly one file named 'file', not {len(files)}.", "no-picture")
    others = others_of(form, "file", "request")
    if len(others) > MOST_NAMED:
        raise Problem(422, f"The form has {len(others)} further files; it can have {MOST_NAMED}.")
    incoming = await read_upload(files[0], most)
    return incoming, {name: (await read_upload(part, most)).data for name, part in others.items()}


async def incoming_of(request: Request, caller: Caller, given: PictureInput) -> Incoming:
    """Returns the file that an input names.

    Raises:
        Problem: it cannot be had.
        NotFound: the tenant has no such picture.
    """
    studio = studio_of(request)
    if given.url is not None:
        incoming = await fetch_picture(studio.settings, given.url)
    elif given.base64 is not None:
        incoming = await in_thread(read_base64, given.base64, given.name, studio.settings.limits.bytes)
    else:
        assert given.picture is not None
        known = await in_thread(studio.picture, caller.tenant, given.picture)
        incoming = Incoming(await in_thread(studio.read_picture, caller.tenant, given.picture), known.name)
    return incoming if given.name is None else incoming._replace(name=given.name)


async def edited(
    request: Request,
    caller: Caller,
    incoming: Incoming,
    operations: Sequence[Operation],
    output: OutputSettings,
    *,
    kept: bool = False,
    parts: Mapping[str, bytes] | None = None,
) -> Response:
    """Edits a picture in the desk, and returns the answer.

    Raises:
        PackshotError: a step is wrong, or the picture cannot be edited so.
    """
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in (parts or {}).items()}
    steps = [with_parts(operation.model_dump(), sums) for operation in operations]
    pictures = {sums[name]: data for name, data in (parts or {}).items()}
    studio = studio_of(request)
    missing = [s for s in wanted_pictures(steps) if s not in pictures]
    if len(missing) > MOST_NAMED:
        raise Problem(422, f"The operations name {len(missing)} pictures; they can name {MOST_NAMED}.")
    for sha256 in missing:
        pictures[sha256] = await in_thread(studio.read_picture, caller.tenant, sha256)
    name, _ = await look_at(request, incoming)
    done = await in_thread(desk_of(request).ask, edit_one, steps, incoming.data, name, output.record(), pictures)
    request.app.state.metrics.edits.labels(done.result.status).inc()
    return await _answer(request, caller, done, kept, steps[0]["task"] if len(steps) == 1 else None)


async def _answer(request: Request, caller: Caller, done: OneResult, kept: bool, task: str | None) -> Response:
    result = done.result
    reason = None if result.reason is None else as_settings(result.reason, task)
    told: dict[str, Any] = {
        "status": result.status,
        "reason": reason,
        "confidence": result.confidence,
        "receipt": None if result.receipt is None else dict(result.receipt),
        "figures": dict(result.figures),
        "notes": [as_settings(note, task) for note in result.notes],
        "source_type": result.source_type,
    }
    if done.data is None:
        code = "refused" if result.status == "refused" else "cannot-be-done"
        raise Problem(422, reason or "The picture cannot be edited so.", code, extra={"result": told})
    if not kept and "application/json" not in request.headers.get("accept", ""):
        headers = {
            "Packshot-Result": result.status,
            "Content-Disposition": f"inline; filename*=UTF-8''{quote(done.name)}",
            "Cache-Control": "no-store",
        }
        if reason:
            headers["Packshot-Reason"] = quote(reason, safe=" ,;:()'/")
        return Response(done.data, headers=headers, media_type=done.mime)
    stem = done.name.rpartition(".")[0]
    beside = {
        of: await _file(request, caller, Incoming(data, f"{stem}-{of}.png"), "image/png", kept, done.made_from)
        for of, data in done.beside.items()
    }
    picture = await _file(request, caller, Incoming(done.data, done.name), done.mime, kept, done.made_from)
    answer = EditAnswer(**told, picture=picture, beside=beside)
    return JSONResponse(await in_thread(answer.model_dump, mode="json"))


async def _file(
    request: Request, caller: Caller, file: Incoming, mime: str, kept: bool, made_from: Sequence[str]
) -> ResultAnswer:
    if kept:
        picture = await keep(request, caller.tenant, file, made_from)
        href = f"/v1/pictures/{picture.sha256}"
        return ResultAnswer(
            name=picture.name, mime=picture.mime, size=picture.size, sha256=picture.sha256, base64=None, href=href
        )
    return ResultAnswer(
        name=file.name,
        mime=mime,
        size=len(file.data),
        sha256=hashlib.sha256(file.data).hexdigest(),
        base64=base64.b64encode(file.data).decode(),
        href=None,
    )
