"""Restyle: one's own photo in every style, small; then one of them at full size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast

from fastapi import APIRouter, Request
from fastapi.responses import Response

from packshot.core.errors import UsageError
from packshot.jobs.desk import Desk, OneResult, edit_one
from packshot.jobs.desk_styles import Look, style_preview
from packshot.jobs.records import NotFound, Output, Picture
from packshot.jobs.studio import Studio
from packshot.server.callers import Editor
from packshot.server.fetch import SHA256, desk_of, in_thread, studio_of
from packshot.server.pages.frame import language_of, render, words
from packshot.server.pages.incoming import settings_of, shown
from packshot.server.pages.repair import keep_result, megapixels, recent, take_one
from packshot.server.pages.styles import check_style, sample_of, style_names
from packshot.server.pages.working import Work, works_of

router = APIRouter(include_in_schema=False)

THUMB = 256
PREVIEW = 768
LONGEST_DAYS = 365
KEPT_FOREVER = "private, max-age=31536000, immutable"


@router.get("/restyle")
async def show(request: Request, caller: Editor, picture: str = "", style: str = "") -> Response:
    """The page: choose a photo, or a style for the one that was chosen."""
    studio = studio_of(request)
    if not picture:
        found = await in_thread(recent, studio, caller.tenant)
        limits = settings_of(request).limits
        return render(request, "choose.html", page="restyle", recent=found, error=None, limits=limits)
    photo = await in_thread(studio.picture, caller.tenant, picture)
    own = await in_thread(studio.picture, caller.tenant, style) if SHA256.fullmatch(style) else None
    names = style_names(language_of(request))
    return render(request, "restyle.html", photo=photo, at=shown(photo), styles=names, own=own, days=LONGEST_DAYS)


@router.post("/restyle")
async def send(request: Request, caller: Editor) -> Response:
    """Takes a photo from a form, where scripts are off."""
    return await take_one(request, caller.tenant, "restyle")


@router.get("/restyle/style/{name}.webp")
async def style_sample(name: str) -> Response:
    """The sample of a style that comes with Packshot: what stands in until one's own is made."""
    return sample(name)


def sample(name: str) -> Response:
    """Returns the sample of a style as an answer."""
    return Response(sample_of(name), media_type="image/webp", headers={"Cache-Control": "public, max-age=86400"})


@router.get("/restyle/thumb/{sha256}/{style}")
async def thumb(request: Request, caller: Editor, sha256: str, style: str) -> Response:
    """One's own photo in a style, small; made in the desk when it is first asked for, and kept in the store.

    `style` is a preset's name, or the checksum of a picture whose style is taken.
    """
    studio = studio_of(request)
    photo = await in_thread(studio.picture, caller.tenant, sha256)
    if SHA256.fullmatch(style):
        await in_thread(studio.picture, caller.tenant, style)
    return await thumb_of(request, photo, style)


async def thumb_of(request: Request, photo: Picture, style: str) -> Response:
    """Returns a photo in a style, small; `style` is a preset or the checksum of a picture of the photo's tenant."""
    studio, desk = studio_of(request), desk_of(request)
    own = SHA256.fullmatch(style) is not None
    if not own:
        check_style(style)
    kind = f"style-{style[:24]}-{THUMB}"
    data: bytes | None = await in_thread(studio.store.read_derived, photo.sha256, kind)
    if data is None:
        whole = await in_thread(studio.read_picture, photo.tenant, photo.sha256)
        source = await in_thread(studio.read_picture, photo.tenant, style) if own else None
        look = Look(style="" if own else style)
        data = await in_thread(desk.ask, style_preview, whole, look, THUMB, studio.settings.limits, source)
        await in_thread(studio.store.keep_derived, photo.sha256, kind, data)
    return Response(data, media_type="image/webp", headers={"Cache-Control": KEPT_FOREVER})


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What somebody wants to see.

    Attributes:
        look: how.
        picture: checksum of the picture whose style is taken; None: `look.style` is a preset.
        protect_text: leave text and logos as they are.
    """

    look: Look
    picture: str | None = None
    protect_text: bool = False

    def step(self) -> dict[str, Any]:
        """Returns the step of a recipe."""
        return {
            "task": "restyle",
            "styles": [self.look.style if self.picture is None else f"picture:{self.picture}"],
            "strength": self.look.strength,
            "keep_colours": self.look.keep_colours,
            "only": self.look.only,
            "protect_text": self.protect_text,
        }


def read_wish(form: Mapping[str, Any]) -> Wish:
    """Returns what a form wants.

    Raises:
        UsageError: an unknown style, or a strength that is none.
    """
    style = str(form.get("style") or "")
    own = SHA256.fullmatch(style) is not None
    if not own:
        check_style(style)
    try:
        strength = float(str(form.get("strength") or 1))
    except ValueError as e:
        raise UsageError("The strength is no number; it can be 0 to 1.") from e
    only = str(form.get("only") or "")
    look = Look(
        style="" if own else style,
        strength=min(1.0, max(0.0, strength)),
        keep_colours=form.get("keep_colours") in ("on", "true", "1"),
        only=cast(Literal["product", "background"], only) if only in ("product", "background") else None,
    )
    return Wish(look=look, picture=style if own else None, protect_text=form.get("protect_text") in ("on", "true", "1"))


@router.post("/restyle/preview/{sha256}")
async def preview(request: Request, caller: Editor, sha256: str) -> Response:
    """Begins a look at a style at middle size."""
    studio, desk = studio_of(request), desk_of(request)
    photo = await in_thread(studio.picture, caller.tenant, sha256)
    async with request.form(max_fields=20) as form:
        wish = read_wish(form)

    def act() -> bytes:
        style = studio.read_picture(caller.tenant, wish.picture) if wish.picture else None
        data = studio.read_picture(caller.tenant, sha256)
        return desk.ask(style_preview, data, wish.look, PREVIEW, studio.settings.limits, style)

    kind = "preview" if wish.look.only is None else "preview-part"
    work = works_of(request.app.state).start(caller.tenant, kind, 0.6, act, {"photo": photo, "preview": True})
    return working_part(request, work, "/restyle/work/")


@router.post("/restyle/run/{sha256}")
async def run(request: Request, caller: Editor, sha256: str) -> Response:
    """Begins the picture at full size."""
    studio, desk = studio_of(request), desk_of(request)
    photo = await in_thread(studio.picture, caller.tenant, sha256)
    async with request.form(max_fields=20) as form:
        wish = read_wish(form)
    act = partial(make_restyled, studio, desk, photo, wish)
    work = works_of(request.app.state).start(caller.tenant, "restyle", megapixels(photo), act, {"photo": photo})
    return working_part(request, work, "/restyle/work/")


def make_restyled(studio: Studio, desk: Desk, photo: Picture, wish: Wish) -> tuple[OneResult, Picture | None]:
    """Makes a photo in a style at full size, and keeps it; None: nothing came of it, the result says why."""
    data = studio.read_picture(photo.tenant, photo.sha256)
    pictures = {wish.picture: studio.read_picture(photo.tenant, wish.picture)} if wish.picture else {}
    done = desk.ask(edit_one, [wish.step()], data, photo.name, Output(), pictures)
    return done, keep_result(studio, photo, done)


@router.get("/restyle/work/{id}")
async def follow(request: Request, caller: Editor, id: str) -> Response:
    """How far it is, or the result."""
    work = works_of(request.app.state).get(caller.tenant, id)
    if work.ended is None:
        return working_part(request, work, "/restyle/work/")
    if work.error is not None:
        return render(request, "problem_part.html", detail=work.error, status=422)
    photo: Picture = work.about["photo"]
    if work.about.get("preview"):
        return render(
            request,
            "restyle_preview.html",
            photo=photo,
            before=shown(photo),
            after=f"/restyle/seen/{work.id}",
            work=work,
        )
    done, picture = work.result
    if picture is None:
        return render(request, "problem_part.html", detail=done.result.reason or "", status=422)
    return render(
        request,
        "restyle_result.html",
        photo=photo,
        picture=picture,
        before=shown(photo),
        after=shown(picture),
        file=f"/v1/pictures/{picture.sha256}",
        result=done.result,
        work=work,
        public=False,
    )


@router.get("/restyle/seen/{id}")
async def seen(request: Request, caller: Editor, id: str) -> Response:
    """The pixels of a look at middle size."""
    work = works_of(request.app.state).get(caller.tenant, id)
    if not isinstance(work.result, bytes):
        raise NotFound("This look is no longer here; choose the style again.")
    return Response(work.result, media_type="image/webp", headers={"Cache-Control": "private, max-age=3600"})


def working_part(request: Request, work: Work, place: str) -> Response:
    """Returns what shows how far work is; its address is `place` and its id."""
    _ = words(request)
    text = _("Looking …") if work.about.get("preview") else _("Painting at full size …")
    return render(request, "work.html", 202, work=work, url=f"{place}{work.id}", text=text)
