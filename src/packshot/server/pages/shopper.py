"""What a shop gives to its shoppers: a signed link to one product, where they choose its style, and nothing else."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import Response

from packshot.core.errors import UsageError
from packshot.jobs.desk_styles import Look
from packshot.jobs.records import NotFound, Picture
from packshot.jobs.studio import Studio
from packshot.models.style.presets import PRESETS
from packshot.server.api.pictures import small
from packshot.server.callers import Editor
from packshot.server.fetch import desk_of, in_thread, studio_of
from packshot.server.pages.frame import Words, language_of, render, words
from packshot.server.pages.incoming import settings_of
from packshot.server.pages.repair import megapixels
from packshot.server.pages.restyle import LONGEST_DAYS, Wish, make_restyled, sample, thumb_of, working_part
from packshot.server.pages.styles import style_names
from packshot.server.pages.working import works_of
from packshot.server.signing import Signer

router = APIRouter(include_in_schema=False)

PURPOSE = "restyle"
"""Of the tokens that shoppers have."""
SHOPPER = "shopper"
AT_ONCE = 2
"""Pictures that are made for shoppers at the same time."""
STRENGTHS = (0.35, 0.7, 1.0)
"""What a shopper chooses among: so few that each result is made once and kept."""


@router.post("/restyle/link/{sha256}")
async def make_link(request: Request, caller: Editor, sha256: str) -> Response:
    """Makes the link by which a shopper sees this one product in styles, and nothing else."""
    _ = words(request)
    photo = await in_thread(studio_of(request).picture, caller.tenant, sha256)
    async with request.form(max_fields=60) as form:
        chosen = [str(name) for name in form.getlist("styles") if str(name) in PRESETS]
        said = str(form.get("days") or "30")
    if not re.fullmatch(r"[0-9]{1,3}", said) or not 1 <= int(said) <= LONGEST_DAYS:
        raise UsageError(_("A link can last 1 to {most} days.", most=LONGEST_DAYS))
    if not chosen:
        raise UsageError(_("Choose at least one style that shoppers may see."))
    every = len(chosen) == len(PRESETS)
    value = {"t": caller.tenant, "p": photo.sha256, **({} if every else {"s": chosen})}
    token = _signer(request).sign(PURPOSE, value, int(said) * 24 * 3600)
    base = settings_of(request).public_url.rstrip("/") or str(request.base_url).rstrip("/")
    return render(request, "restyle_link.html", link=f"{base}/s/{token}", days=int(said), photo=photo)


def _signer(request: Request) -> Signer:
    signer: Signer = request.app.state.signer
    return signer


@dataclass(frozen=True, kw_only=True)
class Link:
    """What a shopper's link opens.

    Attributes:
        token: the link's end.
        photo: the product.
        styles: that may be chosen.
    """

    token: str
    photo: Picture
    styles: tuple[str, ...]


async def _opened(request: Request, token: str) -> Link:
    """Returns what a link opens.

    Raises:
        NotFound: it is none of ours, no longer good, or its picture is gone.
    """
    value = _signer(request).read(PURPOSE, token)
    if not isinstance(value, dict):
        raise NotFound(words(request)("This link is not good, or no longer. Ask the shop for a new one."))
    try:
        photo = await in_thread(studio_of(request).picture, str(value["t"]), str(value["p"]))
    except NotFound as e:
        raise NotFound(words(request)("This link is not good, or no longer. Ask the shop for a new one.")) from e
    return Link(token=token, photo=photo, styles=tuple(value.get("s") or PRESETS))


@router.get("/s/{token}")
async def shopper(request: Request, token: str) -> Response:
    """The page for shoppers."""
    link = await _opened(request, token)
    names = style_names(language_of(request), link.styles)
    at = f"/s/{quote(token)}"
    return render(request, "shopper.html", photo=link.photo, styles=names, at=at, strengths=STRENGTHS)


@router.get("/s/{token}/photo")
async def shopper_photo(request: Request, token: str) -> Response:
    """The product's photo, at a size to look at."""
    link = await _opened(request, token)
    data = await small(request, link.photo, 1024)
    return Response(data, media_type="image/webp", headers={"Cache-Control": "private, max-age=3600"})


@router.get("/s/{token}/style/{name}.webp")
async def shopper_sample(request: Request, token: str, name: str) -> Response:
    """The sample of a style."""
    await _opened(request, token)
    return sample(name)


@router.get("/s/{token}/thumb/{style}")
async def shopper_thumb(request: Request, token: str, style: str) -> Response:
    """The product in a style, small."""
    link = await _opened(request, token)
    if style not in link.styles:
        raise NotFound(words(request)("The shop does not offer this style."))
    return await thumb_of(request, link.photo, style)


def _shopper_wish(form: Mapping[str, Any], link: Link, _: Words) -> tuple[Wish, str]:
    """Returns what a shopper wants, and the name that the result is kept under."""
    style = str(form.get("style") or "")
    if style not in link.styles:
        raise UsageError(_("The shop does not offer this style."))
    strength = str(form.get("strength") or "1.0")
    near = (
        min(STRENGTHS, key=lambda s: abs(s - float(strength))) if re.fullmatch(r"[01](\.\d{1,4})?", strength) else 1.0
    )
    keep = form.get("keep_colours") in ("on", "true", "1")
    name = f"styled-{style}-{round(near * 100)}{'-own' if keep else ''}"
    return Wish(look=Look(style=style, strength=near, keep_colours=keep)), name


@router.post("/s/{token}/run")
async def shopper_run(request: Request, token: str) -> Response:
    """Begins the product at full size in a style; what was made before is there at once."""
    link = await _opened(request, token)
    studio, desk, _ = studio_of(request), desk_of(request), words(request)
    async with request.form(max_fields=20) as form:
        wish, name = _shopper_wish(form, link, _)
    kept = await in_thread(_kept, studio, link.photo, name)

    def act() -> Picture:
        if kept is not None:
            return kept
        done, picture = make_restyled(studio, desk, link.photo, wish)
        if picture is None:
            raise UsageError(done.result.reason or "")
        studio.store.keep_derived(link.photo.sha256, name, picture.sha256.encode())
        return picture

    tenant = _shopper_tenant(token)
    works, kind = works_of(request.app.state), "shopper" if kept is None else "kept"
    if kept is None:
        works.check_room(kind, AT_ONCE)
    work = works.start(tenant, kind, megapixels(link.photo), act, {"photo": link.photo})
    return working_part(request, work, f"/s/{quote(token)}/work/")


def _kept(studio: Studio, photo: Picture, name: str) -> Picture | None:
    """Returns the result that was made under a name before, if it is still there."""
    data = studio.store.read_derived(photo.sha256, name)
    if data is None:
        return None
    try:
        return studio.picture(photo.tenant, data.decode("ascii", "replace"))
    except NotFound:
        return None


def _shopper_tenant(token: str) -> str:
    """Returns under whose name works of a link are kept: nobody else's, and no tenant's."""
    return f"{SHOPPER} {hashlib.sha256(token.encode()).hexdigest()[:32]}"


@router.get("/s/{token}/work/{id}")
async def shopper_work(request: Request, token: str, id: str) -> Response:
    """How far it is, or the result."""
    link = await _opened(request, token)
    work = works_of(request.app.state).get(_shopper_tenant(token), id)
    if work.ended is None:
        return working_part(request, work, f"/s/{quote(token)}/work/")
    if work.error is not None:
        return render(request, "problem_part.html", detail=work.error, status=422)
    at = f"/s/{quote(token)}"
    file = f"{at}/result/{work.id}"
    return render(
        request,
        "restyle_result.html",
        photo=link.photo,
        picture=work.result,
        before=f"{at}/photo",
        after=file,
        file=file,
        result=None,
        work=work,
        public=True,
    )


@router.get("/s/{token}/result/{id}")
async def shopper_result(request: Request, token: str, id: str) -> Response:
    """The file of a result."""
    await _opened(request, token)
    work = works_of(request.app.state).get(_shopper_tenant(token), id)
    if not isinstance(work.result, Picture):
        raise NotFound(words(request)("This look is no longer here; choose the style again."))
    picture = work.result
    data = await in_thread(studio_of(request).read_picture, picture.tenant, picture.sha256)
    headers = {
        "Cache-Control": "private, max-age=3600",
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(picture.name)}",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    return Response(data, media_type=picture.mime, headers=headers)
