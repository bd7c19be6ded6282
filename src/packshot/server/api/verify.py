"""POST /v1/verify: what any picture claims. Open to strangers, who learn nothing of whose picture it is."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from packshot.jobs.desk import clean_name, verify_one
from packshot.server.api.bodies import content_kind, described, files_of, form_of
from packshot.server.api.found import VerifyAnswer
from packshot.server.callers import caller_if_any
from packshot.server.fetch import Incoming, desk_of, in_thread, read_body, read_upload, studio_of
from packshot.server.problems import Problem

router = APIRouter(prefix="/v1", tags=["verify"])
VERIFY_SECONDS = 30.0
A_PICTURE = "a picture"


@router.post(
    "/verify",
    summary="What a picture claims",
    response_model_exclude_unset=True,
    openapi_extra=described(None, None, raw=True),
)
async def verify(request: Request) -> VerifyAnswer:
    """Takes a file (a form's `file`, or the body itself) and says what it claims, and which layers survive."""
    kind = content_kind(request, "multipart/form-data", "image/*")
    most = studio_of(request).settings.limits.bytes
    if kind == "image/*":
        return VerifyAnswer(**await found_out(request, await read_body(request, most)))
    async with form_of(request, 1) as form:
        files = files_of(form, "file")
        if len(files) != 1:
            raise Problem(422, "The form has to have exactly one file named 'file'.", "no-picture")
        return VerifyAnswer(**await found_out(request, await read_upload(files[0], most)))


async def found_out(request: Request, incoming: Incoming) -> dict[str, Any]:
    """Returns what is found out about a file; for strangers, without the names that the shop gave its pictures."""
    studio = studio_of(request)
    name = clean_name(incoming.name, "")
    found = await in_thread(
        desk_of(request).ask, verify_one, incoming.data, name, studio.settings.limits, seconds=VERIFY_SECONDS
    )
    return found if caller_if_any(request) is not None else _for_strangers(found)


def _for_strangers(found: dict[str, Any]) -> dict[str, Any]:
    registered = found.get("registered")
    if not registered:
        return found
    name = str(registered["name"])

    def without(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace(name, A_PICTURE)
        if isinstance(value, dict):
            return {k: without(v) for k, v in value.items()}
        return [without(v) for v in value] if isinstance(value, list) else value

    hidden = {k: v for k, v in registered.items() if k not in ("name", "sha256")}
    told: dict[str, Any] = without({**found, "registered": hidden})
    return told
