"""Repair: what is painted over is made anew from what is around it, in one photo or with one mask in many."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from functools import partial
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.datastructures import FormData

from packshot.core.errors import UsageError
from packshot.jobs.desk import Desk, OneResult, edit_one
from packshot.jobs.desk_masks import Suggestions, find_suggestions, fit_mask
from packshot.jobs.records import JobRequest, Output, Picture
from packshot.jobs.studio import Studio
from packshot.server.callers import Editor
from packshot.server.fetch import desk_of, in_thread, studio_of
from packshot.server.pages.frame import N_, render, told, words
from packshot.server.pages.incoming import REFUSED, files_in, reason, settings_of, shown, take
from packshot.server.pages.mend import find_place
from packshot.server.pages.saying import say_receipt
from packshot.server.pages.working import Work, works_of

router = APIRouter(include_in_schema=False, prefix="/repair")

KINDS = {
    "dust": N_("Dust"),
    "scratch": N_("Scratch"),
    "stain": N_("Stain"),
    "hole": N_("Hole"),
    "block": N_("Missing block"),
    "text": N_("Text or mark"),
}
WORD = "I hold the rights to these photos and may remove the marks on them."
"""What is recorded where a person ticks that he may."""
ABOUT_TEXT = "The mask covers what looks like text"
MASK_NAME = "packshot-mask.png"
PAINTED = 1600
"""Pixels of the longer side at which a page paints."""
MOST_EDGE = 200
"""Pixels by which `repair` grows or feathers a mask at most."""
RECENT = 18
MOST_SIZES = 8
"""Sizes of photos that one mask is fitted to at once."""


def megapixels(picture: Picture) -> float:
    """Returns the size by which the time of work is told."""
    return picture.width * picture.height / 1e6


def recent(studio: Studio, tenant: str) -> list[Picture]:
    """Returns the pictures that a person may want to go on with; masks are not among them."""
    return [p for p in studio.pictures(tenant, limit=4 * RECENT) if p.name != MASK_NAME][:RECENT]


@router.get("")
async def show(request: Request, caller: Editor, picture: str = "") -> Response:
    """The page: choose a photo, or paint on the one that was chosen."""
    studio = studio_of(request)
    if not picture:
        found = await in_thread(recent, studio, caller.tenant)
        return render(
            request, "choose.html", page="repair", recent=found, error=None, limits=settings_of(request).limits
        )
    photo = await in_thread(studio.picture, caller.tenant, picture)
    scale = min(1.0, PAINTED / max(photo.width, photo.height))
    size = max(1, round(photo.width * scale)), max(1, round(photo.height * scale))
    place = await in_thread(find_place, studio, caller.tenant, photo, request.query_params)
    return render(request, "repair.html", photo=photo, size=size, at=shown(photo), place=place)


@router.post("")
async def send(request: Request, caller: Editor) -> Response:
    """Takes a photo from a form, where scripts are off."""
    return await take_one(request, caller.tenant, "repair")


async def take_one(request: Request, tenant: str, page: str) -> Response:
    """Takes a photo from a form and goes on with it, or shows the page again with the reason."""
    async with request.form(max_files=4) as form:
        sent = files_in(form, "file")
        try:
            if not sent:
                raise UsageError(words(request)("Choose a picture first."))
            picture = await take(request, tenant, sent[0])
        except REFUSED as e:
            found = await in_thread(recent, studio_of(request), tenant)
            limits = settings_of(request).limits
            return render(request, "choose.html", 400, page=page, recent=found, error=reason(e), limits=limits)
    return RedirectResponse(f"/{page}?picture={picture.sha256}", 303)


@router.post("/suggest/{sha256}")
async def suggest(request: Request, caller: Editor, sha256: str) -> Response:
    """Begins to look for damage and marks in a photo."""
    studio, desk = studio_of(request), desk_of(request)
    photo = await in_thread(studio.picture, caller.tenant, sha256)

    def act() -> Suggestions:
        data = studio.read_picture(caller.tenant, sha256)
        return desk.ask(find_suggestions, data, PAINTED, studio.settings.limits)

    work = works_of(request.app.state).start(caller.tenant, "marks", min(megapixels(photo), 2.0), act)
    return JSONResponse({"id": work.id}, 202)


@router.get("/found/{id}.png")
async def found_map(request: Request, caller: Editor, id: str) -> Response:
    """The map of what was found."""
    work = works_of(request.app.state).get(caller.tenant, id)
    if not isinstance(work.result, Suggestions):
        raise UsageError(words(request)("The search has not ended yet."))
    return Response(work.result.map, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})


@router.get("/found/{id}")
async def found(request: Request, caller: Editor, id: str) -> Response:
    """How far the search is, or what it found."""
    work, _, tell = works_of(request.app.state).get(caller.tenant, id), words(request), told(request)
    if work.ended is None:
        said = _("Looking for damage and marks: {n} s of about {m} s", n=int(work.seconds), m=round(work.expected))
        return JSONResponse({"share": work.share, "text": said})
    if work.error is not None:
        return JSONResponse({"error": tell(work.error)})
    suggestions: Suggestions = work.result
    pieces = [{"kind": p.kind, "name": _(KINDS[p.kind]), "box": p.box, "sure": p.sure} for p in suggestions.pieces]
    return JSONResponse({"pieces": pieces, "map": f"/repair/found/{quote(id)}.png"})


@router.post("/run/{sha256}")
async def run(request: Request, caller: Editor, sha256: str) -> Response:
    """Begins to repair one photo under the mask that was painted."""
    studio, desk = studio_of(request), desk_of(request)
    photo = await in_thread(studio.picture, caller.tenant, sha256)
    async with request.form(max_files=2, max_fields=20) as form:
        mask, settings = await _painted(request, form)
        place = await in_thread(find_place, studio, caller.tenant, photo, form)
    act = partial(_repair, studio, desk, photo, mask, settings)
    about = {"photo": photo, "place": place}
    work = works_of(request.app.state).start(caller.tenant, "repair", megapixels(photo), act, about)
    return _working(request, work)


@router.get("/work/{id}")
async def follow(request: Request, caller: Editor, id: str) -> Response:
    """How far it is, or the result."""
    work, _ = works_of(request.app.state).get(caller.tenant, id), words(request)
    if work.ended is None:
        return _working(request, work)
    if work.error is not None:
        asks = ABOUT_TEXT in work.error
        return render(request, "repair_failed.html", error=work.error, needs_word=asks)
    done, picture = work.result
    result = done.result
    asks = bool(result.reason) and ABOUT_TEXT in str(result.reason)
    if picture is None:
        return render(request, "repair_failed.html", error=result.reason or "", needs_word=asks)
    proofs = say_receipt(result.receipt, _, told(request))
    photo = work.about["photo"]
    return render(
        request,
        "repair_result.html",
        photo=photo,
        place=work.about["place"],
        picture=picture,
        before_at=shown(photo),
        after_at=shown(picture),
        result=result,
        proofs=proofs,
        work=work,
    )


def _working(request: Request, work: Work) -> Response:
    text = words(request)("Repairing …")
    return render(request, "work.html", 202, work=work, url=f"/repair/work/{work.id}", text=text)


async def _painted(request: Request, form: FormData) -> tuple[bytes, dict[str, Any]]:
    """Returns the mask of a form that was painted, and the settings of the step without it.

    Raises:
        UsageError: there is none, or a number is out of its range.
    """
    _ = words(request)
    sent = files_in(form, "mask")
    if not sent:
        raise UsageError(_("Nothing is painted yet; paint over what is to go."))
    mask = await sent[0].read(settings_of(request).limits.bytes)
    try:
        settings: dict[str, Any] = {
            "feather": float(str(form.get("feather") or 0)),
            "grow": float(str(form.get("grow") or 0)),
            "seed": int(str(form.get("seed") or 0)),
        }
    except ValueError as e:
        raise UsageError(_("The settings of the brush are no numbers; load the page again.")) from e
    if not all(0 <= settings[name] <= MOST_EDGE for name in ("feather", "grow")) or not 0 <= settings["seed"] < 2**31:
        raise UsageError(_("The settings of the brush are no numbers; load the page again."))
    if form.get("attest") in ("on", "true", "1"):
        settings["attest"] = WORD
    return mask, settings


def _repair(
    studio: Studio, desk: Desk, photo: Picture, mask: bytes, settings: dict[str, Any]
) -> tuple[OneResult, Picture | None]:
    """Repairs a photo in the desk and keeps the result."""
    limits = studio.settings.limits
    fitted = desk.ask(fit_mask, mask, photo.width, photo.height, limits, quick=True)
    reference = hashlib.sha256(fitted).hexdigest()
    steps = [{"task": "repair", "mask": f"picture:{reference}", **settings}]
    data = studio.read_picture(photo.tenant, photo.sha256)
    done = desk.ask(edit_one, steps, data, photo.name, Output(), {reference: fitted})
    return done, keep_result(studio, photo, done)


def keep_result(studio: Studio, photo: Picture, done: OneResult, size: tuple[int, int] | None = None) -> Picture | None:
    """Keeps a result in the store; None: there is none.

    Args:
        studio: whose store.
        photo: that it was made from, and whose size it has unless `size` says another.
        done: what the desk made.
        size: width and height.
    """
    if done.data is None:
        return None
    width, height = size or (photo.width, photo.height)
    return studio.add_picture(
        photo.tenant,
        done.data,
        name=done.name,
        mime=done.mime,
        width=width,
        height=height,
        made_from=(photo.sha256, *done.made_from),
    )


@router.post("/many")
async def many(request: Request, caller: Editor) -> Response:
    """Starts a job for each size of photo: the mask that was painted, in many photos."""
    studio, desk, _ = studio_of(request), desk_of(request), words(request)
    async with request.form(max_files=2, max_fields=20) as form:
        sums = str(form.get("pictures") or "").split()
        if not sums:
            raise UsageError(_("Choose the photos that the mask is for."))
        mask, settings = await _painted(request, form)
    photos = await in_thread(lambda: [studio.picture(caller.tenant, one) for one in dict.fromkeys(sums)])
    sizes: dict[tuple[int, int], list[str]] = defaultdict(list)
    for photo in photos:
        sizes[photo.width, photo.height].append(photo.sha256)
    if len(sizes) > MOST_SIZES:
        raise UsageError(
            _(
                "These photos have {n} different sizes; one mask serves up to {most} at once.",
                n=len(sizes),
                most=MOST_SIZES,
            )
        )

    def submit() -> list[str]:
        jobs = []
        for (width, height), group in sizes.items():
            fitted = desk.ask(fit_mask, mask, width, height, studio.settings.limits, quick=True)
            kept = studio.add_picture(
                caller.tenant, fitted, name=MASK_NAME, mime="image/png", width=width, height=height
            )
            step = {"task": "repair", "mask": f"picture:{kept.sha256}", **settings}
            wanted = JobRequest(tenant=caller.tenant, steps=(step,), pictures=tuple(group))
            jobs.append(studio.submit(wanted).id)
        return jobs

    jobs = await in_thread(submit)
    return JSONResponse({"location": f"/jobs/{jobs[0]}" if len(jobs) == 1 else "/jobs"}, 201)
