"""Ledger: rights of catalogues, models and where they came from, the audit log, and erasure of photos and people."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from packshot.core.errors import PackshotError, UsageError
from packshot.core.files import read_json
from packshot.core.runs import RunFolder
from packshot.jobs.desk_ledger import (
    AuditView,
    EraseAsked,
    Signer,
    carry_out_erasure,
    export_audit_text,
    find_shopper,
    forget_shopper,
    plan_erasure,
    show_audit,
    show_rights,
    show_signer,
)
from packshot.jobs.folders import Run, find_store, list_catalogs, list_runs, list_stores
from packshot.jobs.settings import StudioSettings
from packshot.server.callers import Caller, caller_with
from packshot.server.fetch import in_thread, read_upload, studio_of
from packshot.server.pages.asking import LONG_SECONDS, in_desk
from packshot.server.pages.frame import N_, render
from packshot.server.pages.incoming import files_in
from packshot.server.pages.working import works_of

router = APIRouter(include_in_schema=False, prefix="/ledger")
Keeper = Annotated[Caller, Depends(caller_with("admin"))]

AUDIT_LINES = 25
SOON_DAYS = 60
"""A signer's certificate that ends within so many days is warned of."""
EVENTS = {
    "release": N_("a picture left"),
    "erasure": N_("photos were erased"),
}


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A model and where it came from.

    Attributes:
        run: the run.
        summary: of its card; "": it has none yet.
        licence: of the model, as its card says it.
        sources, licences: of the photos that it learned from, with their numbers.
        photos: how many.
        retraining: photos that it learned from and that were erased since.
    """

    run: Run
    summary: str
    licence: str
    sources: dict[str, int]
    licences: dict[str, int]
    photos: int | None
    retraining: int


@router.get("")
async def show(request: Request, caller: Keeper) -> Response:
    """The page."""
    return await _page(request, caller)


async def _page(request: Request, caller: Caller, status: int = 200, **more: Any) -> Response:
    studio = studio_of(request)
    catalogs = await in_thread(list_catalogs, studio.settings, caller.tenant)
    rights: dict[str, Any] = {}
    for one in catalogs:
        if one.problem is None:
            try:
                rights[one.name] = await in_desk(request, show_rights, one.path)
            except PackshotError as e:
                rights[one.name] = {"problem": str(e)}
        else:
            rights[one.name] = {"problem": one.problem}
    try:
        audit: AuditView | None = await in_desk(request, show_audit, AUDIT_LINES)
        audit_error = None
    except PackshotError as e:
        audit, audit_error = None, str(e)
    signer: Signer = await in_desk(request, show_signer)
    context = {
        "rights": rights,
        "origins": await in_thread(_origins, studio.settings, caller.tenant),
        "audit": audit,
        "audit_error": audit_error,
        "events": EVENTS,
        "signer": signer,
        "signer_soon": _ends_soon(signer),
        "stores": list(await in_thread(list_stores, studio.settings, caller.tenant)),
        "error": None,
        "asked": {"what": "", "kind": "photo"},
        **more,
    }
    return render(request, "ledger.html", status, **context)


def _ends_soon(signer: Signer) -> bool:
    if not signer.until:
        return False
    return (datetime.fromisoformat(signer.until) - datetime.now(UTC)).days < SOON_DAYS


def _origins(settings: StudioSettings, tenant: str) -> list[Origin]:
    out = []
    for run in list_runs(settings, tenant):
        folder, card = RunFolder(run.path), {}
        if folder.card_file.is_file():
            try:
                card = dict(read_json(folder.card_file))
            except (PackshotError, TypeError, ValueError):
                card = {}
        data = card.get("data") or {}
        learned = data.get("trained_on") or data
        photos = (data.get("training_set") or {}).get("photos")
        out.append(
            Origin(
                run=run,
                summary=str(card.get("summary", "")),
                licence=str(card.get("licence", "")),
                sources=dict(learned.get("sources") or {}),
                licences=dict(learned.get("licences") or {}),
                photos=photos if isinstance(photos, int) else None,
                retraining=sum(int(row.get("photos", 0)) for row in card.get("retraining") or ()),
            )
        )
    return out


@router.get("/audit.jsonl")
async def audit_file(request: Request, caller: Keeper) -> Response:
    """The whole audit log, as lines that verify alone: packshot audit verify FILE."""
    text = await in_desk(request, export_audit_text, seconds=LONG_SECONDS)
    headers = {"Content-Disposition": 'attachment; filename="audit.jsonl"', "Cache-Control": "no-store"}
    return Response(text, media_type="application/jsonl", headers=headers)


@router.post("/erase")
async def erase(request: Request, caller: Keeper) -> Response:
    """Shows what an erasure would remove; with `confirm` typed as asked, it removes it."""
    async with request.form(max_files=1) as form:
        said = {key: str(form.get(key) or "").strip() for key in ("what", "kind", "store", "reason", "confirm")}
        said |= {key: "on" if form.get(key) else "" for key in ("near", "generated")}
        sent = files_in(form, "file")
        try:
            if sent:
                came = await read_upload(sent[0], studio_of(request).settings.limits.bytes)
                said["what"] = hashlib.sha256(came.data).hexdigest()
            if not said["what"]:
                raise UsageError("Name the photo, the person or the shopper to erase.")
            if said["kind"] == "shopper":
                return await _erase_shopper(request, caller, said)
            return await _erase_photos(request, caller, said)
        except PackshotError as e:
            return await _page(request, caller, 422, error=str(e), asked=said)


async def _erase_shopper(request: Request, caller: Caller, said: dict[str, str]) -> Response:
    store = await in_thread(find_store, studio_of(request).settings, caller.tenant, said["store"])
    if said["confirm"]:
        _check_confirmed(said)
        done = await in_desk(request, forget_shopper, store, said["what"], seconds=LONG_SECONDS)
        works_of(request.app.state).forget(caller.tenant)
        return render(request, "ledger_erased.html", said=said, forgotten=done, result=None)
    found = await in_desk(request, find_shopper, store, said["what"])
    return render(request, "ledger_plan.html", said=said, shopper=found, result=None, error=None)


async def _erase_photos(request: Request, caller: Caller, said: dict[str, str]) -> Response:
    asked = EraseAsked(
        what=said["what"],
        person=said["kind"] == "person",
        near=bool(said["near"]),
        generated=bool(said["generated"]),
        reason=said["reason"] or None,
        settings=studio_of(request).settings,
        tenant=caller.tenant,
    )
    if not said["confirm"]:
        result = await in_desk(request, plan_erasure, asked, seconds=LONG_SECONDS)
        return render(request, "ledger_plan.html", said=said, shopper=None, result=result, error=None)
    _check_confirmed(said)
    result = await in_desk(request, carry_out_erasure, asked, seconds=LONG_SECONDS)
    works_of(request.app.state).forget(caller.tenant)
    return render(request, "ledger_erased.html", said=said, result=result, forgotten=None)


def _check_confirmed(said: dict[str, str]) -> None:
    """Makes sure that who erases typed what is erased.

    Raises:
        UsageError: it is something else.
    """
    if said["confirm"] != said["what"]:
        raise UsageError(
            "What you typed is not what would be erased, so nothing was. Look at the list and type it again."
        )
