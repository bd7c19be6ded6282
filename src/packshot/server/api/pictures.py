"""Pictures of the tenant: sent, seen, listed, forgotten."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import AwareDatetime, BeforeValidator

from packshot.jobs.desk import thumb as make_thumb
from packshot.jobs.records import Picture
from packshot.server.api.bodies import as_written, content_kind, described, files_of, form_of, json_body
from packshot.server.api.edit import incoming_of
from packshot.server.api.models import PictureAnswer, PictureInput, PicturesAnswer, picture_answer
from packshot.server.callers import Editor, Reader
from packshot.server.fetch import desk_of, in_thread, keep, read_body, read_upload, studio_of
from packshot.server.problems import Problem

router = APIRouter(prefix="/v1/pictures", tags=["pictures"])
Sha = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="Checksum of the file.")]
Moment = Annotated[AwareDatetime, BeforeValidator(as_written)]
Before = Annotated[Moment | None, Query(description="Only what is older.")]
THUMBS = (160, 320, 640, 1024, 2048)
"""Sizes of small pictures; any other would be one more to keep."""
YEAR = 31_536_000
SHOWN_INLINE = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/avif")
FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The picture's file.",
        "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
    },
    304: {"description": "It has not changed."},
    507: {},
}


@router.post(
    "",
    status_code=201,
    summary="Send pictures",
    responses={404: {}},
    openapi_extra=described(PictureInput, None, many=True, raw=True),
)
async def send(request: Request, caller: Editor) -> PicturesAnswer:
    """Takes one or more files (a form's `file` parts), a file as the body, an address or base64; twice is once."""
    kind = content_kind(request, "multipart/form-data", "application/json", "image/*")
    most = studio_of(request).settings.limits.bytes
    kept = []
    if kind == "application/json":
        given = await json_body(request, PictureInput)
        kept.append(await keep(request, caller.tenant, await incoming_of(request, caller, given)))
    elif kind == "image/*":
        kept.append(await keep(request, caller.tenant, await read_body(request, most)))
    else:
        async with form_of(request) as form:
            files = files_of(form, "file")
            if not files:
                raise Problem(422, "The form has no file named 'file'.", "no-picture")
            for file in files:
                kept.append(await keep(request, caller.tenant, await read_upload(file, most)))
    return PicturesAnswer(pictures=[picture_answer(p) for p in kept])


@router.get("", summary="List pictures, the newest first")
async def list_all(
    request: Request, caller: Reader, limit: Annotated[int, Query(ge=1, le=1000)] = 100, before: Before = None
) -> PicturesAnswer:
    """Returns the tenant's pictures, results included."""
    found = await in_thread(studio_of(request).pictures, caller.tenant, limit=limit, before=before)
    return PicturesAnswer(
        pictures=[picture_answer(p) for p in found],
        next=older("/v1/pictures", limit, found[-1].created) if len(found) == limit else None,
    )


def older(path: str, limit: int, before: datetime) -> str:
    """Returns the address of what is older than the last that was listed."""
    return f"{path}?limit={limit}&before={quote(before.isoformat())}"


@router.get("/{sha256}", summary="Get a picture, or a small one", response_class=Response, responses=FILE)
async def get(
    sha256: Sha,
    request: Request,
    caller: Reader,
    thumb: Annotated[
        Literal["160", "320", "640", "1024", "2048"] | None,
        Query(description="Longer side of a WebP instead of the file."),
    ] = None,
    download: bool = False,
) -> Response:
    """Returns the file. It never changes, so browsers may keep it."""
    picture = await in_thread(studio_of(request).picture, caller.tenant, sha256)
    tag = f'"{sha256}{f"-{thumb}" if thumb else ""}"'
    headers = {
        "ETag": tag,
        "Cache-Control": f"private, max-age={YEAR}, immutable",
        "Vary": "Authorization, Cookie",
        # Whatever it holds, a browser takes it for a picture and runs nothing of it.
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    }
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if thumb is not None:
        data = await small(request, picture, int(thumb))
        return Response(data, headers=headers, media_type="image/webp")
    data = await in_thread(studio_of(request).read_picture, caller.tenant, sha256)
    how = "inline" if picture.mime in SHOWN_INLINE and not download else "attachment"
    headers["Content-Disposition"] = f"{how}; filename*=UTF-8''{quote(picture.name)}"
    return Response(data, headers=headers, media_type=picture.mime)


async def small(request: Request, picture: Picture, side: int) -> bytes:
    """Returns a small copy of a picture, made once in the desk and kept in the store."""
    studio = studio_of(request)
    kept: bytes | None = await in_thread(studio.store.read_derived, picture.sha256, f"thumb-{side}")
    if kept is not None:
        return kept
    data = await in_thread(studio.read_picture, picture.tenant, picture.sha256)
    made: bytes = await in_thread(desk_of(request).ask, make_thumb, data, side, studio.settings.limits, quick=True)
    await in_thread(studio.store.keep_derived, picture.sha256, f"thumb-{side}", made)
    return made


@router.get("/{sha256}/info", summary="What a picture is")
async def info(sha256: Sha, request: Request, caller: Reader) -> PictureAnswer:
    """Returns name, size and type of a picture."""
    return picture_answer(await in_thread(studio_of(request).picture, caller.tenant, sha256))


@router.delete("/{sha256}", status_code=204, summary="Forget a picture")
async def forget(sha256: Sha, request: Request, caller: Editor) -> Response:
    """Takes a picture from the tenant; its bytes go when nobody else has it and no job waits for it."""
    await in_thread(studio_of(request).forget_picture, caller.tenant, sha256)
    return Response(status_code=204)
