"""Verify: drop any picture and read what it claims, whether that holds, and which layers survive. Open to everybody."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from packshot.jobs.desk import clean_name
from packshot.jobs.desk_survive import survive_one
from packshot.server.api.verify import found_out
from packshot.server.callers import caller_if_any
from packshot.server.fetch import desk_of, look_at, studio_of
from packshot.server.pages.frame import N_, Words, render, told, words
from packshot.server.pages.incoming import REFUSED, one_file, reason
from packshot.server.pages.saying import SOURCES
from packshot.server.pages.working import Work, works_of

router = APIRouter(include_in_schema=False, prefix="/verify")

VERDICTS = {
    "released": ("ok", "verify", N_("It left here exactly as it is")),
    "re-encoded": ("info", "verify", N_("It comes from here; the file was changed on its way")),
    "stripped": ("warn", "warn", N_("It comes from here; its labels were taken off")),
    "stranger": ("info", "info", N_("Somebody else says something of it")),
    "unmarked": ("info", "search", N_("It says nothing of itself")),
    "tampered": ("bad", "warn", N_("It was changed after it was signed")),
    "unreadable": ("bad", "warn", N_("This cannot be read as a picture")),
}
LAYERS = {
    "c2pa": (N_("Signed manifest"), N_("Content Credentials (C2PA): who signed it, what was done")),
    "iptc": (N_("Source type"), N_("IPTC, in the metadata: photo or AI")),
    "china": (N_("China label"), N_("GB 45438-2025, in the metadata")),
    "watermark": (N_("Invisible watermark"), N_("An id in the pixels themselves")),
    "register": (N_("Register"), N_("The studio's own list of what left")),
}
SURVIVING = {
    "c2pa": N_("Signed manifest"),
    "xmp": N_("Metadata labels"),
    "watermark": N_("Invisible watermark"),
    "fingerprint": N_("Fingerprint"),
}
TRUST = {
    "trusted": N_("It holds, and its signer is trusted here"),
    "valid": N_("It holds; its signer is not trusted here"),
    "invalid": N_("It does not hold"),
}
ACTIONS = {
    "c2pa.created": N_("created"),
    "c2pa.opened": N_("opened"),
    "c2pa.edited": N_("edited"),
    "c2pa.enhanced": N_("enhanced"),
    "c2pa.filtered": N_("filtered"),
    "c2pa.resized": N_("resized"),
    "c2pa.cropped": N_("cropped"),
    "c2pa.converted": N_("converted"),
    "c2pa.color_adjustments": N_("colours adjusted"),
    "c2pa.adjustedColor": N_("colours adjusted"),
    "c2pa.watermarked": N_("watermarked"),
    "c2pa.placed": N_("placed"),
}
TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(?::\d\d(?:\.\d+)?)?(?:\+00:00|Z)")
STRANGER = "verify"


@router.get("")
async def show(request: Request) -> Response:
    """The page."""
    return _page(request)


def _page(request: Request, found: Any = None, error: str | None = None, status: int = 200) -> Response:
    known = caller_if_any(request) is not None
    return render(request, "verify.html", status, known=known, found=found, error=error)


@router.post("")
async def look(request: Request) -> Response:
    """Says what is found out about a picture: a part of the page to its script, else the whole page."""
    try:
        incoming = await one_file(request)
        found = await found_out(request, incoming)
    except REFUSED as e:
        if "x-fragment" in request.headers:
            raise
        return _page(request, error=reason(e), status=400)
    shown = _shown(request, found, incoming.name)
    if "x-fragment" in request.headers:
        return render(request, "verify_found.html", found=shown)
    return _page(request, found=shown)


def _shown(request: Request, found: dict[str, Any], name: str) -> dict[str, Any]:
    """Returns what was found out as the page shows it."""
    _, tell = words(request), told(request)
    kind, sign, title = VERDICTS[found["verdict"]]
    claims, signature = found.get("claims") or {}, found.get("signature") or {}
    layers = found.get("layers") or {}
    rows = []
    for layer, (label, about) in LAYERS.items():
        value = layers.get(layer)
        there = value not in (None, False, "none")
        broken = value == "broken"
        rows.append(
            {
                "kind": "fail" if broken else "pass" if there else "unknown",
                "label": _(label),
                "about": _(about),
                "state": _("broken") if broken else _("there") if there else _("not there"),
            }
        )
    facts = [
        (_("It says it is"), _source(claims.get("c2pa") or claims.get("iptc"), _)),
        (_("Signed by"), signature.get("signer")),
        (_("Signature"), _(TRUST[signature["trust"]]) if signature.get("trust") in TRUST else None),
        (_("Signed at"), _plain_times(str(signature.get("time") or ""))),
        (_("Made with"), claims.get("generator")),
        (_("Made from"), ", ".join(map(str, claims.get("ingredients") or [])) or None),
        (_("What was done"), ", ".join(_action(str(one), _) for one in claims.get("actions") or []) or None),
        (_("Watermark's id"), layers.get("watermark")),
    ]
    return {
        "name": name,
        "kind": kind,
        "sign": sign,
        "title": _(title),
        "sentence": tell(_plain_times(found["sentence"])),
        "layers": rows if found["verdict"] != "unreadable" else [],
        "facts": [(label, value) for label, value in facts if value],
        "warnings": [tell(str(one)) for one in [*found.get("contradictions", ()), *signature.get("problems", ())]],
        "notes": [tell(str(one)) for one in found.get("notes", ())],
        "readable": found["verdict"] != "unreadable",
    }


def _source(term: str | None, _: Words) -> str | None:
    return None if term is None else _(SOURCES[term]) if term in SOURCES else term


def _action(name: str, _: Words) -> str:
    return _(ACTIONS.get(name, name))


def _plain_times(text: str) -> str:
    """Returns text in which times are written for people, to the minute."""
    return TIME.sub(r"\1 \2 UTC", text)


@router.post("/survive")
async def survive(request: Request) -> Response:
    """Begins the trials: what of the labels is left after what happens to pictures on their way."""
    works = works_of(request.app.state)
    if caller_if_any(request) is None:
        works.check_room("survive", 1)
    incoming = await one_file(request)
    name, found = await look_at(request, incoming)
    limits = studio_of(request).settings.limits
    act = partial(desk_of(request).ask, survive_one, incoming.data, clean_name(name, found.mime), limits)
    size = min(found.width * found.height / 1e6, 8.0)
    work = works.start(STRANGER, "survive", size, act)
    return _working(request, work)


@router.get("/survive/{id}")
async def follow(request: Request, id: str) -> Response:
    """How far the trials are, or the table."""
    work = works_of(request.app.state).get(STRANGER, id)
    if work.ended is None:
        return _working(request, work)
    if work.error is not None:
        return render(request, "problem_part.html", detail=work.error, status=422)
    _, tell = words(request), told(request)
    found = work.result
    kept = {layer: _(label) for layer, label in SURVIVING.items() if found["layers"].get(layer) is not None}
    return render(
        request,
        "verify_survive.html",
        layers=kept,
        counts=found["layers"],
        trials=[(_trial(t["name"], _), t["layers"]) for t in found["trials"]],
        notes=[tell(note) for note in found["notes"]],
    )


def _trial(name: str, _: Words) -> str:
    """Returns a trial's name in words."""
    known = {"as it is": N_("As it is"), "metadata stripped": N_("Metadata taken off"), "screenshot": N_("Screenshot")}
    if name in known:
        return str(_(known[name]))
    if name.startswith("resize "):
        return str(_("Resized to {n} %", n=round(100 * float(name.split()[1]))))
    if name.startswith("crop "):
        return str(_("{n} % cut off", n=name.split()[1]))
    return name


def _working(request: Request, work: Work) -> Response:
    text = words(request)("Trying what happens to pictures on their way …")
    return render(request, "work.html", 202, work=work, url=f"/verify/survive/{work.id}", text=text)
