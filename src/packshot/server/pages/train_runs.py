"""A run's page: its state, curves that grow as it learns, sample sheets, its card; stop, go on, measure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response

from packshot.core.errors import PackshotError, UsageError
from packshot.core.files import read_json
from packshot.core.runs import RunFolder, read_jsonl
from packshot.jobs.folders import Run, find_run, tenant_folder
from packshot.jobs.records import ENDED, Job, JobRequest, NotFound
from packshot.jobs.studio import Studio
from packshot.server.callers import Caller, caller_with
from packshot.server.fetch import in_thread, studio_of
from packshot.server.pages.asking import commands_of, find_job, once
from packshot.server.pages.curves import charts_of
from packshot.server.pages.frame import N_, render, words

router = APIRouter(include_in_schema=False, prefix="/train/runs")
Trainer = Annotated[Caller, Depends(caller_with("train"))]

SAMPLE = re.compile(r"(\d{6,})kimg\.png")
MOST_SHEETS = 12
EVALUATED = 2000
"""Samples that the page has a run measured with: some minutes on two cores."""
BUDGET = re.compile(r"\d{1,6}(?:\.\d{1,3})?(?:s|m|h|cpu-s|kimg)")
RUN_STATES = {
    "running": (N_("Training"), "running"),
    "finished": (N_("Finished"), "done"),
    "stopped": (N_("Stopped"), "waiting"),
    "waiting": (N_("Waiting"), "waiting"),
    "failed": (N_("Failed"), "failed"),
    "": (N_("Unknown"), "waiting"),
}
MEANINGS = {
    "data": N_("Distance of photos given back"),
    "kl": N_("Information in the code"),
    "flow": N_("Loss of the flow"),
    "prior": N_("Loss of the prior"),
    "commitment": N_("Distance to the codebook"),
    "g": N_("Loss of the generator"),
    "d_real": N_("Discriminator on photos"),
    "d_fake": N_("Discriminator on made pictures"),
    "d_pair": N_("Discriminator on pairs"),
    "r1": N_("Steepness on photos (R1)"),
    "r2": N_("Steepness on made pictures (R2)"),
    "gp": N_("Gradient penalty"),
    "features": N_("Distance of features"),
    "path": N_("Path length"),
    "augment_p": N_("How often photos are altered"),
    "spread": N_("Variety, against the photos"),
    "img_per_s": N_("Pictures a second"),
    "kid_efflite0": N_("Distance to test photos (KID)"),
}
"""What is logged, in words; another model's terms stand under their own names."""


def state_of(jobs: Sequence[Job], run: Run) -> tuple[str, Job | None]:
    """Returns a run's state and the job that trains it: a run that says "running" and has no job was lost."""
    if run.shipped:
        return "finished", None
    job = job_of(jobs, run.path)
    if job is not None and job.state not in ENDED:
        return ("running" if job.state == "running" else "waiting"), job
    if run.state == "running" and job is not None:
        return ("failed" if job.state == "failed" else "stopped"), job
    return run.state, job


def job_of(jobs: Sequence[Job], path: Path) -> Job | None:
    """Returns the newest job that trains the run in a folder, or goes on with it; None: there is none."""
    trainings = [job for job in jobs if job.request.argv[:1] == ("train",)]
    found = [find_job(trainings, (option, str(path))) for option in ("--out", "--resume")]
    return max((job for job in found if job is not None), key=lambda job: job.created, default=None)


def read_budget(text: object, otherwise: str) -> str:
    """Returns a budget of a form, for example "10m".

    Raises:
        UsageError: it is none.
    """
    said = str(text or "").strip() or otherwise
    if not BUDGET.fullmatch(said):
        raise UsageError(
            f"'{said[:40]}' is no budget; write for example 120s, 5m, 2h or 200kimg (thousands of pictures)."
        )
    return said


@router.get("/{name}")
async def run_page(request: Request, caller: Trainer, name: str) -> Response:
    """A run: its state, curves, sample sheets and card."""
    return render(request, "train_run.html", **await in_thread(_run, request, caller, name), error=None)


@router.get("/{name}/live")
async def live(request: Request, caller: Trainer, name: str) -> Response:
    """What of a run's page changes while it trains."""
    return render(request, "train_live.html", **await in_thread(_run, request, caller, name))


def _run(request: Request, caller: Caller, name: str) -> dict[str, Any]:
    studio = studio_of(request)
    run, job = _find(studio, caller.tenant, name)
    folder = RunFolder(run.path)
    if run.model:
        state = state_of(commands_of(studio, caller.tenant), run)[0]
    else:  # Its folder is not there yet: its job waits, or gets ready.
        state = {"queued": "waiting", "running": "running"}.get("" if job is None else job.state, "failed")
    log = read_jsonl(folder.log_file)
    charts = charts_of(log, read_jsonl(folder.metrics_file))
    about = read_json(folder.run_file) if run.model else {}
    return {
        "run": run,
        "name": name,
        "job": job,
        "state": state,
        "states": RUN_STATES,
        "going": state in ("running", "waiting"),
        "charts": charts,
        "meanings": MEANINGS,
        "last": log[-1] if log else None,
        "budget": str(about.get("config", {}).get("budget", "")),
        "share": _share(about, log),
        "catalog": Path(str(about.get("catalog", ""))).name,
        "sheets": _sheets(run),
        "card": _card(run),
        "log_text": studio.log(caller.tenant, job.id, lines=8) if job is not None and state == "failed" else "",
    }


def _find(studio: Studio, tenant: str, name: str) -> tuple[Run, Job | None]:
    """Returns a run and its job; one that waits to begin has no folder yet, and is known by its job alone."""
    try:
        run = find_run(studio.settings, tenant, name)
    except NotFound:
        path = tenant_folder(studio.settings.runs_folder, tenant) / name
        job = None if "/" in name or name in ("", ".", "..") else job_of(commands_of(studio, tenant), path)
        if job is None:
            raise
        return Run(name=name, path=path), job
    return run, state_of(commands_of(studio, tenant), run)[1]


def _share(about: Mapping[str, Any], log: list[dict[str, Any]]) -> float | None:
    """Returns how much of its budget a run has used, 0 .. 1; None: unknown."""
    match = re.fullmatch(r"([\d.]+)(s|m|h|cpu-s|kimg)", str(about.get("config", {}).get("budget", "")))
    if match is None or not log:
        return None
    last = log[-1]
    used = {"cpu-s": last.get("cpu_seconds"), "kimg": last.get("kimg")}.get(match[2], last.get("seconds"))
    whole = float(match[1]) * {"m": 60, "h": 3600}.get(match[2], 1)
    return min(1.0, float(used) / whole) if isinstance(used, (int, float)) and whole > 0 else None


def _sheets(run: Run) -> list[tuple[str, int]]:
    """Returns the sample sheets of a run, the newest first: file and thousands of pictures seen."""
    folder = RunFolder(run.path).samples
    if not folder.is_dir():
        return []
    found = [(p.name, int(match[1])) for p in folder.iterdir() if (match := SAMPLE.fullmatch(p.name)) and p.is_file()]
    found.sort(key=lambda one: -one[1])
    if len(found) <= MOST_SHEETS:
        return found
    keep = {round(i * (len(found) - 1) / (MOST_SHEETS - 1)) for i in range(MOST_SHEETS)}
    return [one for i, one in enumerate(found) if i in keep]


def _card(run: Run) -> list[dict[str, Any]]:
    """Returns the card of a run as blocks for a template; empty where it has none yet."""
    from packshot.evaluation.card import card_page

    if not RunFolder(run.path).card_file.is_file():
        return []
    try:
        return read_blocks(card_page(run.path))
    except PackshotError as e:
        return [{"kind": "p", "text": str(e)}]


def read_blocks(page: str) -> list[dict[str, Any]]:
    """Returns the Markdown of a card as blocks: "h" and "p" with `text`, "ul" with `items`, "table" with `rows`."""
    out: list[dict[str, Any]] = []
    for line in page.splitlines():
        if line.startswith("# "):
            continue  # The page has its own title.
        if line.startswith("#"):
            out.append({"kind": "h", "text": line.lstrip("# ")})
        elif line.startswith("- "):
            if not out or out[-1]["kind"] != "ul":
                out.append({"kind": "ul", "items": []})
            out[-1]["items"].append(line[2:])
        elif line.startswith("|---"):
            continue
        elif line.startswith("|"):
            if not out or out[-1]["kind"] != "table":
                out.append({"kind": "table", "rows": []})
            out[-1]["rows"].append([cell.strip() for cell in line.strip().strip("|").split("|")])
        elif line.strip():
            out.append({"kind": "p", "text": line.strip()})
    return out


@router.get("/{name}/samples/{file}")
async def sample_sheet(request: Request, caller: Trainer, name: str, file: str) -> Response:
    """A sample sheet; its name is looked up among those of the run."""

    def read() -> bytes:
        studio = studio_of(request)
        run = find_run(studio.settings, caller.tenant, name)
        for path in RunFolder(run.path).samples.glob("*.png") if SAMPLE.fullmatch(file) else ():
            if path.name == file:
                return path.read_bytes()
        raise NotFound("There is no such sheet.")

    data = await in_thread(read)
    return Response(data, media_type="image/png", headers={"Cache-Control": "private, max-age=86400"})


@router.get("/{name}/card.json")
async def card(request: Request, caller: Trainer, name: str) -> Response:
    """The card of a run, as it is."""

    def read() -> Any:
        run = find_run(studio_of(request).settings, caller.tenant, name)
        file = RunFolder(run.path).card_file
        if not file.is_file():
            raise NotFound("This run has no card yet; it is written when the training ends.")
        return read_json(file)

    text = json.dumps(await in_thread(read), indent=2, ensure_ascii=False)
    return Response(text, media_type="application/json")


@router.post("/{name}/evaluate")
async def evaluate(request: Request, caller: Trainer, name: str) -> Response:
    """Has a run measured against its photos, as a job; the figures go into its card."""

    def begin() -> str:
        studio = studio_of(request)
        run = find_run(studio.settings, caller.tenant, name)
        if run.shipped or not run.ready:
            raise UsageError("Only a finished run of your own can be measured.")
        title = words(request)("Figures of {name}", name=run.name)
        argv = ("evaluate", str(run.path), "--n", str(EVALUATED), "--json")
        wanted = JobRequest(tenant=caller.tenant, kind="command", title=title, argv=argv)
        return once(studio, wanted).id

    try:
        id = await in_thread(begin)
    except NotFound:
        raise
    except PackshotError as e:
        context = await in_thread(_run, request, caller, name)
        return render(request, "train_run.html", 422, **context, error=str(e))
    return RedirectResponse(f"/jobs/{id}", 303)


@router.post("/{name}/stop")
async def stop(request: Request, caller: Trainer, name: str) -> Response:
    """Stops a training; it leaves a checkpoint and can go on."""

    def act() -> None:
        studio = studio_of(request)
        _run_found, job = _find(studio, caller.tenant, name)
        if job is not None and job.state not in ENDED:
            studio.cancel(caller.tenant, job.id)

    await in_thread(act)
    return RedirectResponse(f"/train/runs/{name}", 303)


@router.post("/{name}/resume")
async def resume(request: Request, caller: Trainer, name: str) -> Response:
    """Goes on with a training that was stopped or lost; or, with another budget, with one that was finished."""
    form = await request.form()

    def act() -> None:
        studio = studio_of(request)
        run, job = _find(studio, caller.tenant, name)
        budget = str(form.get("budget") or "").strip()
        if job is not None and job.state in ("failed", "cancelled") and not budget:
            studio.retry(caller.tenant, job.id)
            return
        if run.shipped or not run.model:
            raise UsageError("This model cannot be trained further here.")
        argv = ["train", "--resume", str(run.path)]
        argv += ["--budget", read_budget(budget, "10m")] if budget else []
        title = words(request)("Training of {name}", name=run.name)
        wanted = JobRequest(
            tenant=caller.tenant, kind="command", title=title, argv=(*argv, "--quiet", "--json"), priority=6
        )
        if job is None or job.state in ENDED:
            once(studio, wanted)

    try:
        await in_thread(act)
    except NotFound:
        raise
    except PackshotError as e:
        context = await in_thread(_run, request, caller, name)
        return render(request, "train_run.html", 422, **context, error=str(e))
    return RedirectResponse(f"/train/runs/{name}", 303)
