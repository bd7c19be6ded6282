"""A picture of a job that is repaired by hand, and comes back into its job: the zip and the feed have it then."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Path, Request
from fastapi.responses import RedirectResponse, Response

from packshot.core.errors import UsageError
from packshot.jobs.mended import Mended, check_again, put_mended, take_back
from packshot.jobs.records import NotFound, Picture
from packshot.jobs.studio import Studio
from packshot.server.callers import Editor
from packshot.server.fetch import desk_of, in_thread, studio_of
from packshot.server.pages.frame import words
from packshot.server.pages.saying import channel_of
from packshot.server.pages.working import works_of

router = APIRouter(include_in_schema=False)
Number = Annotated[int, Path(ge=0, le=10**9)]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where in a job a picture stands that is repaired.

    Attributes:
        job: id.
        number: of the picture.
        name: of its photo.
        state: the list that a person came from, "" for all.
    """

    job: str
    number: int
    name: str
    state: str = ""

    @property
    def address(self) -> str:
        """Its page."""
        keep = f"?{urlencode({'state': self.state})}" if self.state else ""
        return f"/jobs/{quote(self.job, safe='')}/items/{self.number}{keep}"

    @property
    def query(self) -> str:
        """What an address of the page Repair says of it."""
        return urlencode({"job": self.job, "number": self.number, "state": self.state})


def find_place(studio: Studio, tenant: str, photo: Picture, said: Any) -> Place | None:
    """Returns where a picture stands by the job and number that an address or a form names.

    None: none is named, or this picture is not the result there (any more).
    """
    id, number = str(said.get("job") or ""), str(said.get("number") or "")
    if not id or not number.isdigit() or len(number) > 9:
        return None
    try:
        item = studio.item(tenant, id, int(number))
    except NotFound:
        return None
    if item.result != photo.sha256:
        return None
    return Place(job=id, number=item.number, name=item.name, state=str(said.get("state") or "")[:20])


@router.post("/repair/work/{id}/into")
async def put_into(request: Request, caller: Editor, id: str) -> Response:
    """Puts what was repaired into the job that it came from, checked by the channel's rules anew."""
    work = works_of(request.app.state).get(caller.tenant, id)
    place = work.about.get("place")
    if not isinstance(place, Place) or work.result is None or work.result[1] is None:
        raise UsageError(words(request)("There is no result to put into a job; repair the picture first."))
    studio, desk = studio_of(request), desk_of(request)
    done, picture = work.result

    def put() -> None:
        job = studio.job(caller.tenant, place.job)
        channel, review, check = channel_of(job), None, None
        if channel is not None:
            day, quality = date.today(), job.request.output.quality
            review, check = desk.ask(check_again, done.data, picture.mime, channel, day, quality)
        mended = Mended(picture=picture, of=work.about["photo"].sha256, result=done.result, review=review, check=check)
        put_mended(studio, caller.tenant, place.job, place.number, mended)

    await in_thread(put)
    return RedirectResponse(place.address, 303)


@router.post("/jobs/{id}/items/{number}/back")
async def take_it_back(request: Request, caller: Editor, id: str, number: Number) -> Response:
    """Puts the job's own result there again."""
    await in_thread(take_back, studio_of(request), caller.tenant, id, number)
    return RedirectResponse(f"/jobs/{quote(id, safe='')}/items/{number}", 303)
