"""Create's sliders: the directions that were found in a model, and the job that finds them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from packshot.jobs.desk_sliders import SLIDERS, Slider, explain_command, explain_folder, is_explained, read_sliders
from packshot.jobs.folders import Run, find_run
from packshot.jobs.records import ENDED, Job, JobRequest
from packshot.jobs.studio import Studio
from packshot.server.callers import Creator
from packshot.server.fetch import in_thread, studio_of
from packshot.server.pages.asking import commands_of, find_job, once, one_work, pace_of
from packshot.server.pages.frame import render, words

router = APIRouter(include_in_schema=False, prefix="/create")

SLIDER_SECONDS = 15.0


@router.post("/explain")
async def explain(request: Request, caller: Creator) -> Response:
    """Has the directions of a run found, as a job."""
    form = await request.form()
    name = str(form.get("run") or "")

    def begin() -> None:
        studio = studio_of(request)
        run = find_run(studio.settings, caller.tenant, name)
        folder = explain_folder(studio.settings.place, run.path)
        if not is_explained(folder):
            title = words(request)("Directions of {name}", name=run.name)
            argv = explain_command(run.path, folder)
            once(studio, JobRequest(tenant=caller.tenant, kind="command", title=title, argv=argv, priority=3))

    await in_thread(begin)
    if request.headers.get("hx-request"):
        return await directions(request, caller, name)
    return RedirectResponse(f"/create?run={name}", 303)


@router.get("/directions")
async def directions(request: Request, caller: Creator, run: str) -> Response:
    """The sliders of a run, or how far they are."""

    def read() -> dict[str, Any]:
        studio = studio_of(request)
        found = find_run(studio.settings, caller.tenant, run)
        return {"run": found, **directions_of(studio, caller.tenant, found)}

    context = await in_thread(read)
    folder = context["folder"]
    if context["sliders"] is None and is_explained(folder):
        # Read in the desk: the first time, the directions are computed again and turned as they were named.
        run_path = context["run"].path
        name = f"sliders {folder}"
        work = one_work(request, caller.tenant, name, "sliders", SLIDER_SECONDS, read_sliders, run_path, folder)
        context["work"] = work
        if work.ended is not None:
            context["sliders"], context["work_error"] = work.result, work.error
    return render(request, "create_directions.html", **context)


def directions_of(studio: Studio, tenant: str, run: Run) -> dict[str, Any]:
    """Returns what is known of a run's directions: the sliders, else the job that finds them, and how far it is."""
    nothing: dict[str, Any] = {"sliders": None, "job": None, "pace": None, "work": None, "work_error": None}
    folder = explain_folder(studio.settings.place, run.path)
    nothing["folder"] = folder
    if (folder / SLIDERS).is_file():
        sliders: tuple[Slider, ...] = read_sliders(run.path, folder)
        return {**nothing, "sliders": sliders}
    job: Job | None = find_job(commands_of(studio, tenant), explain_command(run.path, folder))
    if job is None:
        return nothing
    return {**nothing, "job": job, "pace": pace_of(studio, job) if job.state not in ENDED else None}
