"""Create: new pictures of a trained generator, sheet after sheet; what is kept goes on to Shoot and teaches taste."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.datastructures import UploadFile as Sent

from packshot.core.errors import PackshotError, UsageError
from packshot.jobs.choices import Choices, Decided
from packshot.jobs.desk import check_steps
from packshot.jobs.desk_models import MOST_SAMPLES, SamplesRequest, find_like, found_file, make_samples
from packshot.jobs.desk_sliders import explain_folder
from packshot.jobs.folders import (
    Run,
    catalog_of_store,
    find_run,
    list_catalogs,
    list_runs,
    list_stores,
    tenant_folder,
)
from packshot.jobs.records import JobRequest, NotFound, Output
from packshot.jobs.settings import StudioSettings
from packshot.jobs.studio import Studio
from packshot.server.callers import Caller, Creator
from packshot.server.fetch import in_thread, keep_sample, studio_of
from packshot.server.pages.asking import (
    Made,
    in_desk,
    number,
    one_work,
    sentence,
    sheet_of,
    whole,
)
from packshot.server.pages.create_directions import directions_of
from packshot.server.pages.frame import render, several, told, words
from packshot.server.pages.incoming import take
from packshot.server.pages.working import works_of

router = APIRouter(include_in_schema=False, prefix="/create")

AT_ONCE = 12
"""Pictures of one step of the sheet."""
SEEDS = 2**31 - 1
FOUND_SECONDS = 60.0
ENLARGE = {"2": 2, "4": 4}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A made picture as a tile shows it.

    Attributes:
        sha256: of its file.
        name: of its file.
        label: category.
        seed: of it.
        number: place in its seed's pictures, from 1.
        width, height: in pixels.
    """

    sha256: str
    name: str
    label: str
    seed: int
    number: int
    width: int
    height: int


@router.get("")
async def show(request: Request, caller: Creator, run: str = "") -> Response:
    """The page, with a run chosen."""
    return render(request, "create.html", **await in_thread(_page, request, caller, run))


def _page(request: Request, caller: Caller, name: str, error: str | None = None) -> dict[str, Any]:
    studio = studio_of(request)
    settings = studio.settings
    runs = list_runs(settings, caller.tenant)
    ready = [run for run in runs if run.ready and run.categories]
    chosen = next((run for run in ready if run.name == name), None) or next(iter(ready), None)
    choices = choices_of(settings, caller.tenant)
    return {
        "runs": ready,
        "run": chosen,
        "unready": [run for run in runs if run not in ready],
        "at_once": AT_ONCE,
        "error": error,
        "kept": _kept(studio, caller.tenant, choices),
        "untaught": len(choices.untaught()),
        **_lessons(settings, caller),
        "may_train": caller.may("train"),
        **(directions_of(studio, caller.tenant, chosen) if chosen else {"sliders": None, "job": None, "pace": None}),
    }


def found_folder(settings: StudioSettings, tenant: str) -> Path:
    """Returns where the places of a tenant's photos in models are kept; each name begins with the photo's checksum."""
    return tenant_folder(settings.place / "found", tenant)


def choices_of(settings: StudioSettings, tenant: str) -> Choices:
    """Returns what a tenant's people kept and rejected."""
    return Choices(tenant_folder(settings.place / "choices", tenant))


def _kept(studio: Studio, tenant: str, choices: Choices) -> list[Decided]:
    """Returns the kept pictures that the store still has for the tenant."""
    out = []
    for one in choices.kept():
        try:
            studio.picture(tenant, one.sha256)
        except NotFound:
            continue
        out.append(one)
    return out


def _lessons(settings: StudioSettings, caller: Caller) -> dict[str, list[str]]:
    """Returns the stores that can be taught, and catalogues, that of the first store before the others."""
    if not caller.may("taste"):
        return {"stores": [], "catalogs": []}
    stores = list_stores(settings, caller.tenant)
    catalogs = [c for c in list_catalogs(settings, caller.tenant) if not c.problem]
    own = catalog_of_store(next(iter(stores.values())), catalogs) if stores else None
    return {"stores": list(stores), "catalogs": [c.name for c in sorted(catalogs, key=lambda c: c is not own)]}


@router.post("/photo")
async def photo(request: Request, caller: Creator) -> Response:
    """Takes the photo that pictures shall be like."""
    try:
        async with request.form(max_files=1) as form:
            sent = form.get("file")
            if not isinstance(sent, Sent):
                raise UsageError("Choose a photo first.")
            picture = await take(request, caller.tenant, sent)
    except PackshotError as e:
        return sentence(request, e)
    return JSONResponse({"sha256": picture.sha256, "name": picture.name})


@router.post("/sheet")
async def sheet(request: Request, caller: Creator) -> Response:
    """Makes the next pictures of a sheet; answers with their tiles, the next seed and what there is to say."""
    form = await request.form()
    try:
        asked, run = await in_thread(partial(read_request, studio_of(request), caller.tenant, form))
        kept = await in_thread(found_file, asked)
        if kept is not None and not kept.is_file():
            work = one_work(request, caller.tenant, f"found {kept}", "found", FOUND_SECONDS, find_like, asked)
            return JSONResponse({"work": f"/create/work/{work.id}"}, 202)
        made = await in_desk(request, make_samples, asked)
    except PackshotError as e:
        return sentence(request, e)
    memory, like = sheet_of(request.app.state), str(form.get("like") or "")
    tiles = []
    for place, sample in enumerate(made.pictures, asked.offset + 1):
        memory.add(Made(tenant=caller.tenant, sample=sample, run=run.name, seed=made.seed, like=like))
        tiles.append(
            Shown(
                sha256=sample.sha256,
                name=sample.name,
                label=sample.label,
                seed=made.seed,
                number=place,
                width=sample.width,
                height=sample.height,
            )
        )
    _, n_, tell = words(request), several(request), told(request)
    said = [n_("1 picture came.", "{n} pictures came.", len(tiles))]
    if made.found_as is not None:
        said.append(
            _(
                "Your photo was found as {label}; the nearest picture of this model is {rms:.0f} grey levels from it.",
                label=made.found_as,
                rms=made.rms or 0.0,
            )
        )
    if made.refused_copies:
        said.append(
            n_(
                "1 that came too near to a training photo was held back.",
                "{n} that came too near to a training photo were held back.",
                made.refused_copies,
            )
        )
    said += map(tell, made.notes)
    html = bytes(render(request, "create_tiles.html", tiles=tiles).body).decode()
    if asked.like is None:
        following: dict[str, int] | None = {"seed": made.seed + 1, "offset": 0}
    else:  # Of the same noise further pictures; without variation there is but one.
        following = {"seed": made.seed, "offset": asked.offset + asked.n} if asked.variation else None
    return JSONResponse({"html": html, "next": following, "said": said, "gate": tell(made.copy_gate)})


@router.get("/work/{id}")
async def work(request: Request, caller: Creator, id: str) -> Response:
    """How far the photo's place in the model is; empty when it is found."""
    found = works_of(request.app.state).get(caller.tenant, id)
    if found.ended is None:
        text = words(request)("Looking for your photo in the model, once")
        return render(request, "work.html", work=found, url=f"/create/work/{id}", text=text)
    if found.error is not None:
        return render(request, "problem_part.html", detail=found.error)
    return Response("", media_type="text/html")


def read_request(studio: Studio, tenant: str, form: Mapping[str, Any]) -> tuple[SamplesRequest, Run]:
    """Returns what a form asks for.

    Raises:
        NotFound: the run or the photo is not the tenant's.
        UsageError: a number is none, or out of range.
    """
    getlist = getattr(form, "getlist", lambda name: [form[name]] if name in form else [])
    run = find_run(studio.settings, tenant, str(form.get("run") or ""))
    like = str(form.get("like") or "")
    picture = studio.picture(tenant, like) if like else None
    sliders = {
        key.removeprefix("slide-"): number(value, key, 0.0) or 0.0
        for key, value in form.items()
        if key.startswith("slide-") and isinstance(value, str)
    }
    moved = any(sliders.values())
    asked = SamplesRequest(
        run=run.path,
        n=whole(form.get("n"), "n", 1, MOST_SAMPLES, AT_ONCE),
        seed=whole(form.get("seed"), "The start number", 0, SEEDS, 0),
        labels=tuple(str(one) for one in getlist("label") if one),
        attributes={name: str(form[f"attribute-{name}"]) for name in run.attributes if form.get(f"attribute-{name}")},
        text=str(form.get("text") or "").strip()[:500] or None,
        truncation_psi=1.0 if picture else (number(form.get("truncation"), "truncation", 1.0) or 0.0),
        like=studio.read_picture(tenant, like) if picture else None,
        like_name=picture.name if picture else "photo.png",
        variation=number(form.get("variation"), "variation", 0.3) if picture else None,
        offset=whole(form.get("offset"), "offset", 0, 10**6, 0) if picture else 0,
        found=found_folder(studio.settings, tenant) if picture else None,
        sliders=sliders if moved else {},
        explained=explain_folder(studio.settings.place, run.path) if moved else None,
    )
    return asked, run


@router.get("/picture/{sha256}")
async def picture(request: Request, caller: Creator, sha256: str) -> Response:
    """A made picture that waits for a decision."""
    made = sheet_of(request.app.state).get(caller.tenant, sha256)
    headers = {"Cache-Control": "private, max-age=3600"}
    return Response(made.sample.data, media_type="image/png", headers=headers)


@router.post("/choose")
async def choose(request: Request, caller: Creator) -> Response:
    """Keeps or rejects a made picture, or takes that back; answers with what is kept now."""
    form = await request.form()
    sha256, decision = str(form.get("sha256") or ""), str(form.get("decision") or "")
    try:
        if decision not in ("keep", "reject", "undo"):
            raise UsageError("Say keep, reject or undo.")
        await in_thread(_choose, request, caller, sha256, decision)
        return await _kept_part(request, caller)
    except PackshotError as e:
        return sentence(request, e)


def _choose(request: Request, caller: Caller, sha256: str, decision: str) -> None:
    studio = studio_of(request)
    choices = choices_of(studio.settings, caller.tenant)
    was = choices.now().get(sha256)
    if decision == "undo":
        if was is None:
            return
        if was.kept:
            _forget(studio, caller.tenant, sha256)
        choices.add(Decided(sha256=sha256, kept=None, name=was.name, label=was.label, run=was.run, seed=was.seed))
        return
    made = sheet_of(request.app.state).get(caller.tenant, sha256)
    sample, kept = made.sample, decision == "keep"
    if kept:
        keep_sample(studio, caller.tenant, sample, (made.like,) if made.like else ())
    elif was is not None and was.kept:
        _forget(studio, caller.tenant, sha256)
    decided = Decided(sha256=sha256, kept=kept, name=sample.name, label=sample.label, run=made.run, seed=made.seed)
    choices.add(decided, None if kept else sample.data)


def _forget(studio: Studio, tenant: str, sha256: str) -> None:
    with contextlib.suppress(NotFound):  # It is gone already, which is what was wanted.
        studio.forget_picture(tenant, sha256)


async def _kept_part(request: Request, caller: Caller) -> Response:
    def read() -> dict[str, Any]:
        studio = studio_of(request)
        choices = choices_of(studio.settings, caller.tenant)
        return {
            "kept": _kept(studio, caller.tenant, choices),
            "untaught": len(choices.untaught()),
            **_lessons(studio.settings, caller),
        }

    return render(request, "create_kept.html", **await in_thread(read))


@router.post("/shoot")
async def to_shoot(request: Request, caller: Creator) -> Response:
    """Sends kept pictures to Shoot: enlarged, set on a clean ground, checked, labelled."""
    form = await request.form()
    pictures = tuple(str(one) for one in form.getlist("picture"))
    try:
        if not pictures:
            raise UsageError("Choose at least one kept picture first.")
        steps = shoot_steps(str(form.get("scale") or "4"), str(form.get("ground") or "white"))
        output = Output(format="png", notice="beside")
        await in_desk(request, check_steps, steps, output)
        _ = words(request)
        title = _("Made pictures to listing pictures")
        job = await in_thread(
            studio_of(request).submit,
            JobRequest(tenant=caller.tenant, title=title, steps=steps, pictures=pictures, output=output),
        )
    except PackshotError as e:
        return render(request, "create.html", 422, **await in_thread(_page, request, caller, "", str(e)))
    return RedirectResponse(f"/jobs/{job.id}", 303)


def shoot_steps(scale: str, ground: str) -> tuple[dict[str, Any], ...]:
    """Returns the steps for made pictures: enlarged `scale` times, and set on `ground` ("" : only enlarged).

    Raises:
        UsageError: another scale.
    """
    if scale not in ENLARGE:
        raise UsageError(f"Made pictures are enlarged {' or '.join(ENLARGE)} times, not {scale[:20]}.")
    larger: dict[str, Any] = {"task": "enhance", "scale": ENLARGE[scale]}
    if ground == "none":
        return (larger,)
    return larger, {"task": "backdrop", "background": ground, "layout": {"size": 1000}}
