"""Train: which catalogues and models there are, whether a catalogue is good enough, advice, the start of a training."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from packshot.core.errors import PackshotError, UsageError, lookup
from packshot.core.files import disk_errors, read_json, write_bytes
from packshot.core.runs import RunFolder, read_jsonl
from packshot.jobs.desk import clean_name
from packshot.jobs.desk_ledger import allow_licence, show_rights
from packshot.jobs.desk_models import check_training
from packshot.jobs.folders import (
    CatalogFolder,
    Run,
    find_catalog,
    list_catalogs,
    list_runs,
    new_folder,
    next_name,
    tenant_folder,
)
from packshot.jobs.records import ENDED, Job, JobRequest, NotFound
from packshot.jobs.settings import StudioSettings
from packshot.jobs.studio import Studio
from packshot.server.callers import Caller
from packshot.server.fetch import in_thread, read_upload, studio_of
from packshot.server.pages.asking import commands_of, find_job, in_desk, pace_of
from packshot.server.pages.frame import N_, render, words
from packshot.server.pages.incoming import files_in
from packshot.server.pages.saying import STATES
from packshot.server.pages.train_runs import RUN_STATES, Trainer, job_of, read_budget, state_of
from packshot.tasks.advise_needs import NEEDS

router = APIRouter(include_in_schema=False, prefix="/train")
MOST_PHOTOS = 1000
FEW = 200
"""Photos to train on below which a page says that they are few."""
BUDGETS = ("2m", "10m", "30m", "2h", "8h")
NEED_WORDS = {
    "sharp": N_("New pictures as sharp as photos"),
    "similar": N_("Pictures like a given photo"),
    "repair": N_("A model that can give a damaged photo back"),
}


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """A run of a list.

    Attributes:
        run: what it is.
        state: key of `RUN_STATES`, by its job where that knows better.
        detail: pictures seen, as text; "": unknown.
    """

    run: Run
    state: str
    detail: str


@router.get("")
async def show(request: Request, caller: Trainer) -> Response:
    """The page: catalogues and runs."""
    return render(request, "train.html", **await in_thread(_page, request, caller))


def _page(request: Request, caller: Caller, error: str | None = None) -> dict[str, Any]:
    studio = studio_of(request)
    settings = studio.settings
    _tidy_intake(settings, caller.tenant)
    jobs = commands_of(studio, caller.tenant)
    unfinished = [job for job in jobs if job.request.argv[0] == "ingest" and job.state not in ("done", "cancelled")]
    return {
        "catalogs": list_catalogs(settings, caller.tenant),
        "rows": [_row(jobs, run) for run in list_runs(settings, caller.tenant)],
        "states": RUN_STATES,
        "job_states": STATES,
        "ingests": unfinished,
        "folder": str(tenant_folder(settings.catalogs_folder, caller.tenant)),
        "error": error,
    }


def _tidy_intake(settings: StudioSettings, tenant: str) -> None:
    """Removes photos that were put aside for a catalogue which is there now."""
    place, catalogs = tenant_folder(settings.place / "intake", tenant), tenant_folder(settings.catalogs_folder, tenant)
    for folder in place.iterdir() if place.is_dir() else ():
        if (catalogs / folder.name / "catalog.json").is_file():
            shutil.rmtree(folder, ignore_errors=True)


def _row(jobs: Sequence[Job], run: Run) -> RunRow:
    if run.problem:
        return RunRow(run=run, state="failed", detail="")
    rows = [] if run.shipped else _last_row(run)
    seen = f"{rows[-1]['kimg']:,.0f}" if rows and isinstance(rows[-1].get("kimg"), (int, float)) else ""
    return RunRow(run=run, state=state_of(jobs, run)[0], detail=seen)


def _last_row(run: Run) -> list[dict[str, Any]]:
    return read_jsonl(RunFolder(run.path).log_file)[-1:]


@router.get("/catalogs/{name}")
async def catalogue(request: Request, caller: Trainer, name: str) -> Response:
    """What a catalogue holds, whether it is good enough, what is advised, and the start of a training."""
    return await _catalogue(request, caller, name)


async def _catalogue(
    request: Request, caller: Caller, name: str, error: str | None = None, status: int = 200
) -> Response:
    studio = studio_of(request)
    shelf = await in_thread(find_catalog, studio.settings, caller.tenant, name)
    context: dict[str, Any] = {
        "shelf": shelf,
        "error": error,
        "rights": None,
        "rights_error": None,
        "checks": [],
        "counts": {},
    }
    if shelf.problem is None:
        try:
            context["rights"] = await in_desk(request, show_rights, shelf.path)
        except PackshotError as e:
            context["rights_error"] = str(e)
        context["checks"], context["counts"] = say_checks(shelf, context["rights"]), counts_of(shelf)
    context |= await in_thread(_advice, studio, caller.tenant, shelf)
    context["models"] = known_models()
    context["needs"] = {key: NEED_WORDS.get(key, need.wish) for key, need in NEEDS.items()}
    context["budgets"] = BUDGETS
    context["suggested"] = await in_thread(next_name, studio.settings.runs_folder, caller.tenant, "", name)
    return render(request, "train_catalog.html", status, **context)


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of a catalogue's check.

    Attributes:
        kind: "pass", "advice" or "fail".
        title: of what.
        text: English, with {names}.
        values: of the names.
    """

    kind: str
    title: str
    text: str
    values: Mapping[str, Any]


def known_models() -> dict[str, str]:
    """Returns the models that make pictures, those first that the adviser tries first, each with why or why not."""
    need = next(iter(NEEDS.values()))
    return {**need.candidates, **need.not_tried}


def say_checks(shelf: CatalogFolder, rights: Mapping[str, Any] | None) -> list[Check]:
    """Returns whether a catalogue is good enough to train on, line by line, from what its ingest counted."""
    summary = shelf.summary
    train = int(summary.get("splits", {}).get("train", 0))
    test = int(summary.get("splits", {}).get("test", 0))
    out = []
    if train == 0:
        out.append(Check(kind="fail", title=N_("Photos"), text=N_("There is no photo to train on."), values={}))
    elif train < FEW:
        text = N_("{n} photos to train on are few: pictures will be much alike, and many will come near to a photo.")
        out.append(Check(kind="advice", title=N_("Photos"), text=text, values={"n": train}))
    else:
        text = N_("{n} photos to train on, {m} to measure with.")
        out.append(Check(kind="pass", title=N_("Photos"), text=text, values={"n": train, "m": test}))
    if not test:
        text = N_("No photo is kept for measuring, so nothing can be told of the model's quality.")
        out.append(Check(kind="advice", title=N_("Test photos"), text=text, values={}))
    counts = counts_of(shelf)
    if counts and min(counts.values()) < 20:
        names = ", ".join(sorted((k for k, v in counts.items() if v < 20), key=lambda k: counts[k])[:6])
        text = N_("Fewer than 20 photos each: {names}. A model hardly learns these categories.")
        out.append(Check(kind="advice", title=N_("Categories"), text=text, values={"names": names}))
    side = summary.get("native", {}).get("side")
    if isinstance(side, int) and side < 32:
        text = N_("The photos are {n} pixels wide; models here learn at 32 or 64.")
        out.append(Check(kind="advice", title=N_("Size"), text=text, values={"n": side}))
    twins = summary.get("duplicates", {})
    if near := int(twins.get("near_photos", 0)) + int(twins.get("exact_photos", 0)):
        text = N_("{n} photos are copies of others, or nearly; what would count twice is left out.")
        out.append(Check(kind="pass", title=N_("Duplicates"), text=text, values={"n": near}))
    if rights is not None:
        kept_out = rights["photos"] - rights["may_train"]
        if not rights["may_train"] and not rights["synthetic"]["may_train"]:
            text = N_("No photo may be trained on; the reasons stand under Rights.")
            out.append(Check(kind="fail", title=N_("Rights"), text=text, values={}))
        elif kept_out:
            text = N_("{n} of {total} photos may not be trained on, and are not.")
            values = {"n": kept_out, "total": rights["photos"]}
            out.append(Check(kind="advice", title=N_("Rights"), text=text, values=values))
        else:
            text = N_("All photos may be trained on.")
            out.append(Check(kind="pass", title=N_("Rights"), text=text, values={}))
    return sorted(out, key=lambda one: ("fail", "advice", "pass").index(one.kind))


def counts_of(shelf: CatalogFolder) -> dict[str, int]:
    """Returns how many photos each category has to train on, the most first."""
    table = shelf.summary.get("categories", {})
    found = {str(name): int(row.get("train", 0)) for name, row in table.items() if isinstance(row, Mapping)}
    return dict(sorted(found.items(), key=lambda one: (-one[1], one[0])))


def _advice(studio: Studio, tenant: str, shelf: CatalogFolder) -> dict[str, Any]:
    """Returns the newest advice on a catalogue: the job, how far it is, and what came of it."""
    job = find_job(commands_of(studio, tenant), ("advise", str(shelf.path)))
    if job is None:
        return {"advice_job": None, "advice": None, "advice_pace": None, "advice_log": ""}
    file = Path(job.request.argv[job.request.argv.index("--out") + 1]) / "advise.json"
    advice = None
    if job.state == "done" and file.is_file():
        advice = read_json(file)
    return {
        "advice_job": job,
        "advice": advice,
        "advice_pace": None if job.state in ENDED else pace_of(studio, job),
        "advice_log": "" if advice else studio.log(tenant, job.id, lines=12),
    }


@router.get("/catalogs/{name}/advice")
async def advice(request: Request, caller: Trainer, name: str) -> Response:
    """The part of a catalogue's page that changes while advice is looked for."""
    studio = studio_of(request)
    shelf = await in_thread(find_catalog, studio.settings, caller.tenant, name)
    context = await in_thread(_advice, studio, caller.tenant, shelf)
    return render(request, "train_advice.html", shelf=shelf, **context)


@router.post("/catalogs/{name}/advise")
async def advise(request: Request, caller: Trainer, name: str) -> Response:
    """Starts the adviser."""
    form = await request.form()

    def begin() -> None:
        studio = studio_of(request)
        shelf = find_catalog(studio.settings, caller.tenant, name)
        need, budget = str(form.get("need") or "sharp"), read_budget(form.get("budget"), "10m")
        lookup("need", need, NEEDS)
        # Not among the runs: its trials are none that anybody goes on with.
        out = tenant_folder(studio.settings.place / "advice", caller.tenant)
        argv = ("advise", str(shelf.path), "--need", need, "--budget", budget)
        running = find_job(commands_of(studio, caller.tenant), argv)
        if running is not None and running.state not in ENDED:
            return
        title = words(request)("Advice on {name}", name=shelf.name)
        out = out / next_name(studio.settings.place / "advice", caller.tenant, "advise", shelf.name)
        studio.submit(
            JobRequest(
                tenant=caller.tenant, kind="command", title=title, argv=(*argv, "--out", str(out), "--json"), priority=4
            )
        )

    try:
        await in_thread(begin)
    except NotFound:
        raise
    except PackshotError as e:
        return await _catalogue(request, caller, name, str(e), 422)
    return RedirectResponse(f"/train/catalogs/{name}#advice", 303)


@router.post("/catalogs/{name}/licence")
async def licence(request: Request, caller: Trainer, name: str) -> Response:
    """Notes in the catalogue's ledger that a licence allows training, as its owner states; opt-outs stay."""
    form = await request.form()
    shelf = await in_thread(find_catalog, studio_of(request).settings, caller.tenant, name)
    try:
        if form.get("sure") != "on":
            raise UsageError("Say that you have read the licence and that it allows training.")
        await in_desk(request, allow_licence, shelf.path, str(form.get("licence") or ""))
    except PackshotError as e:
        return await _catalogue(request, caller, name, str(e), 422)
    return RedirectResponse(f"/train/catalogs/{name}", 303)


@router.post("/catalogs/{name}/train")
async def train(request: Request, caller: Trainer, name: str) -> Response:
    """Starts a training."""
    form = await request.form()
    studio = studio_of(request)
    shelf = await in_thread(find_catalog, studio.settings, caller.tenant, name)
    try:
        budget = read_budget(form.get("budget"), "10m")
        asked = str(form.get("model") or "") or None
        size = {"": None, "32": 32, "64": 64}.get(str(form.get("size") or ""), 0)
        if size == 0:
            raise UsageError("A model learns at 32 or 64 pixels.")
        model = await in_desk(request, check_training, asked, budget, size)
        run = await in_thread(_begin, request, caller, shelf, str(form.get("name") or "").strip(), model, budget, size)
    except PackshotError as e:
        return await _catalogue(request, caller, name, str(e), 422)
    return RedirectResponse(f"/train/runs/{run}", 303)


def _begin(
    request: Request, caller: Caller, shelf: CatalogFolder, name: str, model: str, budget: str, size: int | None
) -> str:
    studio = studio_of(request)
    runs = studio.settings.runs_folder
    path = new_folder(runs, caller.tenant, name or next_name(runs, caller.tenant, model, shelf.name))
    if job_of(commands_of(studio, caller.tenant), path) is not None:
        raise PackshotError(f"The name '{path.name}' is taken; choose another.")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    argv = ["train", str(shelf.path), "--out", str(path), "--model", model, "--budget", budget]
    argv += ["--size", str(size)] if size else []
    title = words(request)("Training of {name}", name=path.name)
    studio.submit(
        JobRequest(tenant=caller.tenant, kind="command", title=title, argv=(*argv, "--quiet", "--json"), priority=6)
    )
    return path.name


@router.post("/catalogs")
async def ingest(request: Request, caller: Trainer) -> Response:
    """Makes a catalogue of photos that are sent: they are kept aside, and a job reads them."""
    studio = studio_of(request)
    try:
        async with request.form(max_files=MOST_PHOTOS, max_fields=MOST_PHOTOS + 20) as form:
            sent = files_in(form, "photos")
            folders = [str(one) for one in form.getlist("folder")]
            if not sent:
                raise UsageError("Choose photos first.")
            said = {
                key: str(form.get(key) or "").strip()[:200]
                for key in ("name", "licence", "source", "owner", "category")
            }
            if not said["licence"] or not said["source"]:
                raise UsageError(
                    "Say under which licence the photos are, and where they come from; it goes into the model's card."
                )
            out = await in_thread(new_folder, studio.settings.catalogs_folder, caller.tenant, said["name"])
            intake = tenant_folder(studio.settings.place / "intake", caller.tenant) / out.name
            if intake.exists():
                raise PackshotError(f"The name '{out.name}' is taken; choose another.")
            most = studio.settings.limits.bytes
            for i, one in enumerate(sent):
                category = (folders[i] if i < len(folders) else "") or said["category"] or "product"
                came = await read_upload(one, most)
                await in_thread(_put_aside, intake, category, i, came.name, came.data)
        argv = ["ingest", str(intake), "--out", str(out), "--licence", said["licence"], "--source", said["source"]]
        argv += ["--owner", said["owner"]] if said["owner"] else []
        title = words(request)("Catalogue {name}", name=out.name)
        job = await in_thread(
            studio.submit,
            JobRequest(tenant=caller.tenant, kind="command", title=title, argv=(*argv, "--workers", "1", "--json")),
        )
    except PackshotError as e:
        return render(request, "train.html", 422, **await in_thread(_page, request, caller, str(e)))
    return RedirectResponse(f"/jobs/{job.id}", 303)


def _put_aside(intake: Path, category: str, number: int, name: str, data: bytes) -> None:
    """Writes a photo that was sent to where the ingest looks; its folder is its category. Nothing is decoded here."""
    folder = re.sub(r"[^\w .+&-]+", "-", category).strip(" .-")[:60] or "product"
    stem, dot, ending = name.rpartition(".")
    mime = {"jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp"}.get(ending.lower())
    plain = clean_name(name, mime) if mime and dot and stem else f"{number}.jpg"
    write_bytes(intake / folder / f"{number:05d}-{plain}", data)
