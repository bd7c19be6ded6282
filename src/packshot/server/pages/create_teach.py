"""Teaching the shop's taste: what was kept and rejected on Create becomes events of a store."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response

from packshot.core.errors import PackshotError, UsageError
from packshot.jobs.desk_making import teach
from packshot.jobs.folders import find_catalog, find_store
from packshot.jobs.records import NotFound
from packshot.jobs.studio import Studio
from packshot.jobs.taste_records import Choice
from packshot.server.callers import Creator
from packshot.server.fetch import in_thread, studio_of
from packshot.server.pages.asking import start_long
from packshot.server.pages.create import choices_of
from packshot.server.pages.frame import render, words
from packshot.server.pages.working import works_of

router = APIRouter(include_in_schema=False, prefix="/create")

TEACH_SECONDS = 10.0


@router.post("/teach")
async def teach_taste(request: Request, caller: Creator) -> Response:
    """Teaches a store of events what was kept and rejected since the last time."""
    form = await request.form()
    try:
        if not caller.may("taste"):
            raise UsageError("This key may not teach taste: it needs the scope 'taste'.")
        studio = studio_of(request)
        store, catalog, sent = await in_thread(
            _to_teach, studio, caller.tenant, str(form.get("store") or ""), str(form.get("catalog") or "")
        )
    except PackshotError as e:
        return render(request, "problem_part.html", 422, detail=str(e))
    work = start_long(
        request,
        caller.tenant,
        "teach",
        TEACH_SECONDS,
        teach,
        store,
        catalog,
        [choice for _sha, choice in sent],
        sha256s=[sha for sha, _choice in sent],
    )
    return await taught(request, caller, work.id)


def _to_teach(studio: Studio, tenant: str, store: str, catalog: str) -> tuple[Path, Path, list[tuple[str, Choice]]]:
    folder = find_store(studio.settings, tenant, store)
    shelf = find_catalog(studio.settings, tenant, catalog)
    choices, sent = choices_of(studio.settings, tenant), []
    for one in choices.untaught():
        try:
            data = studio.read_picture(tenant, one.sha256) if one.kept else choices.rejected_picture(one.sha256)
        except NotFound:
            continue  # A kept picture was forgotten since: there is nothing to learn from any more.
        if data is not None:
            sent.append((one.sha256, Choice(data=data, kept=bool(one.kept), time=one.time)))
    if not sent:
        raise UsageError("Nothing was kept or rejected since the shop's taste was last taught.")
    return folder, shelf.path, sent


@router.get("/taught/{id}")
async def taught(request: Request, caller: Creator, id: str) -> Response:
    """How far the teaching is, and what came of it."""
    _ = words(request)
    work = works_of(request.app.state).get(caller.tenant, id)
    if work.ended is None:
        text = _("Looking which products your choices are like")
        return render(request, "work.html", work=work, url=f"/create/taught/{id}", text=text)
    if work.error is not None:
        return render(request, "problem_part.html", detail=work.error)
    sha256s = work.about.pop("sha256s", [])
    if sha256s:
        await in_thread(choices_of(studio_of(request).settings, caller.tenant).mark_taught, sha256s)
    return render(request, "create_taught.html", counts=work.result)
