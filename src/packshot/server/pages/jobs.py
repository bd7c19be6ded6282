"""Jobs: how far they are, what became of each picture, what a person decides, and what may leave."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, cast
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Form, Path, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import AwareDatetime

from packshot.core.errors import UsageError
from packshot.jobs.mended import MENDED
from packshot.jobs.records import ENDED, ITEM_STATES, Decision, Item, ItemState, Job, NotFound, Picture
from packshot.jobs.review import may_leave, undecided
from packshot.jobs.studio import Studio
from packshot.server.callers import Editor, Reader
from packshot.server.fetch import in_thread, studio_of
from packshot.server.pages.frame import Words, render, told, words
from packshot.server.pages.incoming import shown
from packshot.server.pages.saying import (
    CHANNELS,
    SOURCES,
    STATES,
    channel_of,
    say_checks,
    say_receipt,
    state_of,
)
from packshot.server.pages.sentences import step_name

router = APIRouter(include_in_schema=False, prefix="/jobs")

LISTED = 30
FURTHEST = 1_000_000
Number = Annotated[int, Path(ge=0, le=10**9)]
SHOWN = 48
"""Pictures of a page of results."""
NUMBER = r"([-+\d.e]+)"
MOVED = re.compile(rf"the photo(?: scaled by Lanczos x {NUMBER})?(?: and)?(?: moved by {NUMBER}, {NUMBER})?")
"""How a receipt tells where the photo lies (`packshot.release.receipt`)."""
SAME_SHAPE = 0.01
"""Within which two shapes are taken for the same."""
TABS: tuple[ItemState, ...] = ("review", "done", "refused", "failed", "waiting")


@router.get("")
async def show_all(request: Request, caller: Reader, before: AwareDatetime | None = None) -> Response:
    """The list of jobs, the newest first."""
    studio, _ = studio_of(request), words(request)
    found = await in_thread(studio.jobs, caller.tenant, limit=LISTED + 1, before=before)
    open_ = await in_thread(undecided, studio, caller.tenant, [job.id for job in found if job.counts.get("review")])
    rows = [(job, title_of(job, _)) for job in found[:LISTED]]
    more = urlencode({"before": rows[-1][0].created.isoformat()}) if len(found) > LISTED else None
    busy = any(job.state not in ENDED for job, _title in rows)
    name = "jobs_rows.html" if request.headers.get("hx-request") else "jobs.html"
    return render(request, name, rows=rows, more=more, busy=busy, states=STATES, ended=ENDED, undecided=open_)


@router.get("/{id}")
async def show(request: Request, caller: Reader, id: str, state: str = "", page: int = 0) -> Response:
    """One job."""
    return render(request, "job.html", **await _live(request, caller.tenant, id, state, page))


@router.get("/{id}/live")
async def live(request: Request, caller: Reader, id: str, state: str = "", page: int = 0) -> Response:
    """What of a job's page changes while it runs."""
    return render(request, "job_live.html", **await _live(request, caller.tenant, id, state, page))


async def _live(request: Request, tenant: str, id: str, state: str, page: int) -> dict[str, Any]:
    studio, _ = studio_of(request), words(request)
    wanted = _state(state)
    page = min(max(0, page), FURTHEST)

    def read() -> tuple[Job, list[Item], str, str | None, int, bool]:
        job = studio.job(tenant, id)
        if job.request.kind == "command":
            return job, [], studio.log(tenant, id, lines=60), _why_waiting(studio, job), 0, False
        items = studio.items(tenant, id, state=wanted, offset=page * SHOWN, limit=SHOWN)
        open_ = undecided(studio, tenant, [id]).get(id, 0) if job.counts.get("review") else 0
        return job, items, "", _why_waiting(studio, job), open_, may_leave(studio, tenant, id)

    job, items, log, waits, open_, leaving = await in_thread(read)
    total = job.counts.get(wanted, 0) if wanted else job.total
    return {
        "job": job,
        "title": title_of(job, _),
        "items": items,
        "log": log,
        "waits": waits,
        "state": wanted or "",
        "page": page,
        "page_count": max(1, -(-total // SHOWN)),
        "tabs": TABS,
        "states": STATES,
        "state_of": state_of,
        "ended": job.state in ENDED,
        "leaving": leaving,
        "undecided": open_,
        "again": job.counts.get("failed", 0) + job.counts.get("refused", 0),
        "url": f"/jobs/{quote(id, safe='')}",
    }


def _state(text: str) -> ItemState | None:
    """Returns the state that an address names, or None."""
    return next((state for state in ITEM_STATES if state == text), None)


def _why_waiting(studio: Studio, job: Job) -> str | None:
    """Returns why a job that waits may wait for long, one sentence."""
    if job.state != "queued":
        return None
    worker = studio.ready().get("worker", "ok")
    return None if worker == "ok" else worker


def title_of(job: Job, _: Words) -> str:
    """Returns a job's title, or what it does, in words."""
    if job.request.title:
        return job.request.title
    if job.request.kind == "command":
        return " ".join(job.request.argv[:2])
    steps = " + ".join(dict.fromkeys(step_name(str(step.get("task", "")), _) for step in job.request.steps))
    channel = channel_of(job)
    return steps if channel is None else f"{steps}, {_(CHANNELS.get(channel, channel))}"


@router.post("/{id}/cancel")
async def cancel(request: Request, caller: Editor, id: str) -> Response:
    """Cancels a job; what is done is kept."""
    await in_thread(studio_of(request).cancel, caller.tenant, id)
    return RedirectResponse(f"/jobs/{id}", 303)


@router.post("/{id}/retry")
async def retry(request: Request, caller: Editor, id: str) -> Response:
    """Tries again what failed or was held back; a job that was cancelled goes on."""
    await in_thread(studio_of(request).retry, caller.tenant, id)
    return RedirectResponse(f"/jobs/{id}", 303)


@router.get("/{id}/items/{number}")
async def show_item(request: Request, caller: Reader, id: str, number: Number, state: str = "") -> Response:
    """One picture: before and after, what was proved and checked, and what a person decides."""
    studio, _, tell = studio_of(request), words(request), told(request)
    wanted = _state(state)

    def read() -> tuple[Job, Item, list[int | None], Any, Any]:
        job, item = studio.job(caller.tenant, id), studio.item(caller.tenant, id, number)
        if wanted is None:
            near = [number - 1 if number > 0 else None, number + 1 if number + 1 < job.total else None]
        else:
            near = _near(studio, caller.tenant, job, wanted, number)
        before = _picture(studio, caller.tenant, item.picture)
        after = _picture(studio, caller.tenant, item.result) if item.result else None
        return job, item, near, before, after

    job, item, near, before, after = await in_thread(read)
    return render(
        request,
        "item.html",
        job=job,
        item=item,
        title=title_of(job, _),
        before=before,
        after=after,
        place=_place(item, before, after) if before and after else None,
        before_at=before and shown(before),
        after_at=after and shown(after),
        previous=near[0],
        next=near[1],
        state=wanted or "",
        state_of=state_of,
        proofs=say_receipt(item.receipt, _, tell),
        checks=say_checks(job, item, after.size if after else None, _, tell),
        mended=MENDED in item.figures,
        channel=channel_of(job),
        source=SOURCES.get(item.source_type or ""),
        beside=[(_beside_name(name, _), name, sha) for name, sha in item.beside.items()],
        url=f"/jobs/{quote(id, safe='')}",
    )


def _place(item: Item, before: Picture, after: Picture) -> tuple[float, float, float, float] | None:
    """Returns where the photo lies in its result, so that the product stays in place when the two are compared.

    Returns:
        left, top, width and height, as shares of the result; None: it is not told, the two lie over one another.
    """
    receipt = (item.receipt or {}).get("backdrop")
    found = MOVED.fullmatch(str(receipt.get("compared"))) if isinstance(receipt, Mapping) else None
    if found is None:
        return None
    scale, left, top = float(found[1] or 1), float(found[2] or 0), float(found[3] or 0)
    enlarged = item.figures.get("enlarge") or {}
    if "width" in enlarged:  # Of a part of the photo, maybe: "from" says which.
        part = enlarged.get("from") or [0, 0, before.width, before.height]
        more = enlarged["width"] / part[2]
        if abs(enlarged["height"] / part[3] / more - 1) > SAME_SHAPE:
            return None
        scale *= more
        left, top = left - part[0] * scale, top - part[1] * scale
    width, height = before.width * scale, before.height * scale
    shares = left / after.width, top / after.height, width / after.width, height / after.height
    return shares if all(abs(share) < 20 for share in shares) else None


def _picture(studio: Studio, tenant: str, sha256: str) -> Any:
    try:
        return studio.picture(tenant, sha256)
    except NotFound:  # It was erased since.
        return None


def _near(studio: Studio, tenant: str, job: Job, state: ItemState, number: int) -> list[int | None]:
    """Returns the numbers of the pictures of a state before and after one, in order."""
    near: list[int | None] = [None, None]
    for offset in range(0, job.counts.get(state, 0), 500):
        for one in studio.items(tenant, job.id, state=state, offset=offset, limit=500):
            if one.number < number:
                near[0] = one.number
            elif one.number > number:
                near[1] = one.number
                return near
    return near


def _beside_name(name: str, _: Words) -> str:
    step, _dash, of = name.rpartition("-")
    names = {"matte": _("Matte"), "heat": _("Where it differs"), "mask": _("Mask"), "before": _("Before")}
    known = names.get(of or step, of or step)
    return f"{step_name(step, _)}: {known}" if step else known


@router.post("/{id}/items/{number}/decide")
async def decide(
    request: Request,
    caller: Editor,
    id: str,
    number: Number,
    decision: str = Form(),
    state: str = Form(""),
    page: int = Form(0),
) -> Response:
    """Notes what a person says of a picture; a page goes on to the next one, a fragment shows the job anew."""
    studio = studio_of(request)
    if decision not in ("approved", "rejected"):
        raise UsageError(words(request)("Say whether it is approved or rejected."))
    await in_thread(studio.decide, caller.tenant, id, number, cast(Decision, decision))
    if request.headers.get("hx-request"):  # What waits, and what can be downloaded, changes with it.
        return render(request, "job_live.html", **await _live(request, caller.tenant, id, state, page))
    following = await in_thread(_next_undecided, studio, caller.tenant, id, number)
    if following is None:
        return RedirectResponse(f"/jobs/{id}?state=review", 303)
    return RedirectResponse(f"/jobs/{id}/items/{following}?state=review", 303)


@router.post("/{id}/approve")
async def approve_all(request: Request, caller: Editor, id: str) -> Response:
    """Approves every picture in review that nobody has decided on."""
    studio = studio_of(request)

    def approve() -> None:
        for offset in range(0, studio.job(caller.tenant, id).counts.get("review", 0), 500):
            for item in studio.items(caller.tenant, id, state="review", offset=offset, limit=500):
                if item.decision is None:
                    studio.decide(caller.tenant, id, item.number, "approved")

    await in_thread(approve)
    return RedirectResponse(f"/jobs/{quote(id, safe='')}?state=review", 303)


def _next_undecided(studio: Studio, tenant: str, id: str, number: int) -> int | None:
    """Returns the number of the next picture in review that nobody has decided on; after the last, the first one."""
    first = None
    offset = 0
    while some := studio.items(tenant, id, state="review", offset=offset, limit=500):
        for item in some:
            if item.decision is None and item.number > number:
                return item.number
            if item.decision is None and first is None and item.number != number:
                first = item.number
        offset += len(some)
    return first
