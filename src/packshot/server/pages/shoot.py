"""Shoot: photos go in, listing pictures come out. The page, and what starts its job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from packshot.core.errors import UsageError
from packshot.jobs.desk import check_steps
from packshot.jobs.records import Job, JobRequest, Output
from packshot.release.channels import channel_names, load_channel
from packshot.server.callers import Caller, Editor
from packshot.server.fetch import desk_of, in_thread, studio_of
from packshot.server.pages.frame import N_, render, words
from packshot.server.pages.incoming import REFUSED, files_in, reason, settings_of, take
from packshot.server.pages.saying import CHANNELS

router = APIRouter(include_in_schema=False)

SIZES = (1000, 1600, 2000, 3000)
BACKGROUNDS = {
    "white": ("white", N_("White")),
    "#f0efec": ("grey", N_("Light grey")),
    "gradient:#fbf7f0-#e9dfcf": ("warm", N_("Warm")),
    "gradient:#f3f7fb-#d5dfea": ("cool", N_("Cool")),
    "gradient:#4a4a4a-#1d1d1d": ("dark", N_("Dark")),
}
SHADOWS = {
    "none": N_("None"),
    "contact": N_("Contact"),
    "soft": N_("Soft"),
    "keep": N_("The photo's"),
}
FORMATS = {"": N_("As it is best"), "jpeg": "JPEG", "png": "PNG", "webp": "WebP"}
NOTICES = {
    "auto": N_("As channel and law want it"),
    "beside": N_("In the text beside the picture"),
    "corner": N_("In a corner of the picture"),
    "padding": N_("In a strip below the picture"),
    "none": N_("Nowhere"),
}
ABOUT = {
    "google-merchant": N_("For feeds and Shopping ads. Checked by Google's published rules."),
    "amazon-main": N_("Pure white, product alone. Rules from secondary sources."),
    "amazon-secondary": N_("Any background. Rules from secondary sources."),
    "generic": N_("Packshot's own advice for a clean listing."),
}
MOST_FORM = 500
"""Photos that a form without scripts may send at once."""


@router.get("/")
async def show(request: Request, caller: Editor) -> Response:
    """The page."""
    return _page(request)


def _page(request: Request, error: str | None = None, status: int = 200) -> Response:
    names = sorted(channel_names(), key=lambda name: list(CHANNELS).index(name) if name in CHANNELS else 99)
    channels = [(name, CHANNELS.get(name, name), ABOUT.get(name) or load_channel(name).about) for name in names]
    return render(
        request,
        "shoot.html",
        status,
        channels=channels,
        sizes=SIZES,
        backgrounds=BACKGROUNDS,
        shadows=SHADOWS,
        formats=FORMATS,
        notices=NOTICES,
        limits=settings_of(request).limits,
        error=error,
    )


@router.post("/")
async def start(request: Request, caller: Editor) -> Response:
    """Starts a job: of `pictures` (checksums; the page's script, answered by JSON), or of the files themselves."""
    _ = words(request)
    if request.headers.get("content-type", "").startswith("application/json"):
        try:
            body = await request.json()
        except ValueError:
            body = None
        if not isinstance(body, Mapping):
            raise UsageError(_("Choose photos first."))
        pictures = body.get("pictures")
        if not isinstance(pictures, list) or not pictures or not all(isinstance(one, str) for one in pictures):
            raise UsageError(_("Choose photos first."))
        job = await _submit(request, caller, tuple(pictures), body)
        return JSONResponse({"location": f"/jobs/{job.id}"}, 201)
    async with request.form(max_files=MOST_FORM) as form:
        sent = files_in(form, "photos")
        if not sent:
            return _page(request, _("Choose photos first."), 400)
        try:
            taken = [(await take(request, caller.tenant, one)).sha256 for one in sent]
            job = await _submit(request, caller, tuple(taken), form)
        except REFUSED as e:
            return _page(request, reason(e), 400)
    return RedirectResponse(f"/jobs/{job.id}", 303)


async def _submit(request: Request, caller: Caller, pictures: tuple[str, ...], form: Mapping[str, Any]) -> Job:
    _ = words(request)
    most = settings_of(request).limits.pictures
    if len(pictures) > most:
        raise UsageError(_("A job takes {most} photos at most; make two of it.", most=most))
    steps, output = read_form(form)
    await in_thread(desk_of(request).ask, check_steps, steps, output)
    named = str(form.get("title") or "").strip()[:120]
    wanted = JobRequest(tenant=caller.tenant, title=named, steps=steps, pictures=pictures, output=output)
    return await in_thread(studio_of(request).submit, wanted)


def read_form(form: Mapping[str, Any]) -> tuple[tuple[Mapping[str, Any], ...], Output]:
    """Returns the step and the output that a form asks for.

    Raises:
        UsageError: a number is none.
    """
    background = str(form.get("background") or "white")
    step: dict[str, Any] = {
        "task": "shoot",
        "size": _number(form, "size", 1600, whole=True),
        "fill": _number(form, "fill", 0.86),
        "background": str(form.get("own_background") or "white") if background == "own" else background,
        "shadow": str(form.get("shadow") or "none"),
        "privacy": _on(form, "privacy"),
        "white_balance": _number(form, "white_balance", 0.5),
        "repair": _on(form, "repair"),
    }
    output = Output(
        format=str(form.get("format") or "") or None,
        quality=cast(int, _number(form, "quality", 95, whole=True)),
        channel=str(form.get("channel") or "generic"),
        notice=str(form.get("notice") or "auto"),
        language=str(form.get("notice_language") or "en"),
    )
    return (step,), output


def _on(form: Mapping[str, Any], name: str) -> bool:
    return form.get(name) in (True, "on", "true", "1")


def _number(form: Mapping[str, Any], name: str, otherwise: float, *, whole: bool = False) -> float:
    said = form.get(name)
    if said is None or said == "":
        return otherwise
    try:
        return int(str(said)) if whole else float(str(said))
    except ValueError as e:
        raise UsageError(f"{name} is '{str(said)[:40]}', which is no number.") from e
