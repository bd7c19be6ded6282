"""Pictures that a person gives to a page: looked at in the desk, kept in the store."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.datastructures import UploadFile

from packshot.core.errors import PackshotError, UsageError
from packshot.jobs.records import Picture
from packshot.jobs.settings import StudioSettings
from packshot.server.api.pictures import SHOWN_INLINE
from packshot.server.callers import Editor
from packshot.server.fetch import Incoming, keep, read_upload, studio_of
from packshot.server.pages.frame import words
from packshot.server.problems import Problem, problem_of

router = APIRouter(include_in_schema=False)

REFUSED = (PackshotError, Problem)
"""What a form's page shows again, with the reason."""
LARGEST_SHOWN = 8_000_000
MOST_SHOWN = 24_000_000
"""Bytes and pixels of a file that a page shows as it is."""


def settings_of(request: Request) -> StudioSettings:
    """Returns the settings of the server that got a request."""
    return studio_of(request).settings


def shown(picture: Picture) -> str:
    """Returns where a browser finds a picture to look at closely: its file, or a copy where that would be too much."""
    whole = picture.mime in SHOWN_INLINE and picture.size <= LARGEST_SHOWN
    whole = whole and picture.width * picture.height <= MOST_SHOWN
    return f"/v1/pictures/{picture.sha256}" if whole else f"/v1/pictures/{picture.sha256}?thumb=1024"


def reason(error: Exception) -> str:
    """Returns the sentence of an error of `REFUSED`."""
    return problem_of(error).detail


def files_in(form: Any, name: str) -> list[UploadFile]:
    """Returns the files of a form's field; a field that was left empty has none."""
    return [one for one in form.getlist(name) if isinstance(one, UploadFile) and one.filename]


async def take(request: Request, tenant: str, sent: UploadFile) -> Picture:
    """Puts a picture that was sent into the store.

    Raises:
        PackshotError: it is no picture, damaged, or too large.
    """
    return await keep(request, tenant, await read_upload(sent, settings_of(request).limits.bytes))


async def one_file(request: Request, name: str = "file") -> Incoming:
    """Returns the file of a form that has to have one.

    Raises:
        UsageError: there is none.
        PackshotError: it is empty or too large.
    """
    async with request.form(max_files=4, max_fields=50) as form:
        sent = files_in(form, name)
        if not sent:
            raise UsageError(words(request)("Choose a picture first."))
        return await read_upload(sent[0], settings_of(request).limits.bytes)


@router.post("/upload")
async def upload(request: Request, caller: Editor) -> dict[str, Any]:
    """Takes one picture; what a page's script sends, one request for each file."""
    picture = await keep(request, caller.tenant, await one_file(request))
    return {
        "sha256": picture.sha256,
        "name": picture.name,
        "width": picture.width,
        "height": picture.height,
        "size": picture.size,
    }
