"""Taste: a shopper's history, what is ranked and made for them and why; and the quiz for somebody who is new.

What shoppers see and do lies in stores of events, under pseudonyms; consent is asked for by the tasks themselves.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from packshot.core.errors import PackshotError, UsageError
from packshot.jobs.desk_making import make_for
from packshot.jobs.desk_taste import LEAST_CHOICES, MOST_CHOICES, find_name, show_quiz, show_shopper, show_shoppers
from packshot.jobs.folders import CatalogFolder, Run, catalog_of_store, list_catalogs, list_runs, list_stores
from packshot.jobs.records import NotFound
from packshot.jobs.taste_records import MadeView, Product, QuizView, Shoppers, ShopperView
from packshot.server.callers import Caller, caller_with
from packshot.server.fetch import desk_of, in_thread, studio_of
from packshot.server.pages.asking import Made, guessed, in_desk, sheet_of, start_long, whole
from packshot.server.pages.create import choices_of
from packshot.server.pages.frame import N_, render, words
from packshot.server.pages.taste_ready import FIRST, READY, start_after, start_ready
from packshot.server.pages.working import Work, works_of

router = APIRouter(include_in_schema=False, prefix="/taste")
Taster = Annotated[Caller, Depends(caller_with("taste"))]

LOOKING = N_("Looking at the products and the histories")
ASKING = N_("Looking for the pair that tells most")
READING = N_("Reading the events")
FIRST_LOOK = N_("Getting to know the products; this is done once")
MAKING = N_("Making pictures by this taste")
LISTING = "shoppers"
LIST_SECONDS, AT_ONCE = 3.0, 1.0
"""What the list of shoppers takes at first, and what its page waits for it."""
PAGE = 24
"""Shoppers of one page."""
SHOPPER_SECONDS, QUIZ_SECONDS, MAKE_SECONDS = 4.0, 8.0, 45.0
KINDS = {
    "view": N_("looked at"),
    "cart": N_("put in the cart"),
    "purchase": N_("bought"),
    "return": N_("sent back"),
    "hide": N_("hidden"),
}


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What the page is about.

    Attributes:
        stores: names and folders of the stores of events.
        catalogs: that can be ranked.
        runs: that make pictures.
        store, catalog, run: those that are chosen; None: there is none.
    """

    stores: dict[str, Path]
    catalogs: list[CatalogFolder]
    runs: list[Run]
    store: str | None
    catalog: CatalogFolder | None
    run: Run | None

    @property
    def query(self) -> str:
        """The choice as the query of an address."""
        named = {"store": self.store, "catalog": self.catalog and self.catalog.name, "run": self.run and self.run.name}
        return urlencode({k: v for k, v in named.items() if v})

    @property
    def folders(self) -> tuple[Path, Path]:
        """Store and catalogue.

        Raises:
            NotFound: one is missing.
        """
        if self.store is None or self.catalog is None:
            raise NotFound("There is no store of events with a catalogue here.")
        return self.stores[self.store], self.catalog.path


def _chosen(request: Request, caller: Caller) -> Chosen:
    """Finds what is chosen by the address among what the tenant has; the newest where nothing is said."""
    settings, asked = studio_of(request).settings, request.query_params
    stores = list_stores(settings, caller.tenant)
    catalogs = [c for c in list_catalogs(settings, caller.tenant) if not c.problem]
    runs = [r for r in list_runs(settings, caller.tenant) if r.ready and r.categories]
    for name, known in (
        ("store", stores),
        ("catalog", {c.name: c for c in catalogs}),
        ("run", {r.name: r for r in runs}),
    ):
        if asked.get(name) and asked[name] not in known:
            raise NotFound(f"There is no {name} '{asked[name][:80]}' here.")
    store = asked.get("store") or next(iter(stores), None)
    own = next(iter(catalogs), None) if store is None else catalog_of_store(stores[store], catalogs)
    catalog = next((c for c in catalogs if c.name == asked.get("catalog")), own)
    known_here = {name.lower() for name in catalog.categories} if catalog else set()
    # The one that makes most of what the catalogue sells; the newest of those.
    fitting = max(runs, key=lambda r: len(known_here & {name.lower() for name in r.categories}), default=None)
    return Chosen(
        stores=stores,
        catalogs=catalogs,
        runs=runs,
        store=store,
        catalog=catalog,
        run=next((r for r in runs if r.name == asked.get("run")), fitting),
    )


@router.get("")
async def show(request: Request, caller: Taster) -> Response:
    """The page: which store, which shopper, or the quiz."""
    chosen = await in_thread(_chosen, request, caller)
    return await _overview(request, caller, chosen)


async def _overview(
    request: Request, caller: Caller, chosen: Chosen, error: str | None = None, status: int = 200
) -> Response:
    context: dict[str, Any] = {
        "chosen": chosen,
        "ready": _ready(request, caller, chosen),
        "waiting": words(request)(FIRST_LOOK),
        "error": error,
        "shown": None,
        "listing": None,
        "kinds": KINDS,
        "page": 0,
        "page_count": 0,
    }
    if chosen.store is not None:
        page = whole(request.query_params.get("page"), "page", 0, 10**7, 0)
        ask = partial(desk_of(request).ask, show_shoppers, chosen.stores[chosen.store], page * PAGE, PAGE, quick=True)
        about = {"page": page}
        listing = works_of(request.app.state).start(caller.tenant, LISTING, guessed(LIST_SECONDS), ask, about)
        await in_thread(listing.over.wait, AT_ONCE)
        if listing.ended is None:  # Its process has only just begun: the page comes first, and the list into it.
            context["listing"] = listing
        elif listing.error is not None:
            context["error"] = error or listing.error
        else:
            context |= _listed(listing)
    context["untaught"] = len(choices_of(studio_of(request).settings, caller.tenant).untaught())
    context["day"] = _day
    return render(request, "taste.html", status, **context)


def _listed(listing: Work) -> dict[str, Any]:
    """Returns what the list of shoppers shows."""
    shown: Shoppers = listing.result
    return {"shown": shown, "page": listing.about["page"], "page_count": -(-shown.total // PAGE)}


def _ready(request: Request, caller: Caller, chosen: Chosen) -> Work | None:
    """Has what is chosen made ready; None: it is, or nothing is chosen."""
    if chosen.store is None or chosen.catalog is None:
        return None
    store, catalog = chosen.folders
    return start_ready(request, caller.tenant, store, catalog, int(chosen.catalog.summary.get("photos", 0)))


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).date().isoformat()


@router.get("/find")
async def find(request: Request, caller: Taster, user: str = "") -> Response:
    """Leads to a shopper by the shop's own id, or the pseudonym."""
    chosen = await in_thread(_chosen, request, caller)
    try:
        if not user.strip():
            raise UsageError("Give the shop's own id of the shopper, or the pseudonym.")
        name = await in_desk(request, find_name, chosen.folders[0], user.strip()[:200], quick=True)
    except PackshotError as e:
        return await _overview(request, caller, chosen, str(e), 422)
    return RedirectResponse(f"/taste/shoppers/{name}?{chosen.query}", 303)


@router.get("/shoppers/{name}")
async def shopper(request: Request, caller: Taster, name: str) -> Response:
    """A shopper's page; what takes time comes into it as it is done."""
    chosen = await in_thread(_chosen, request, caller)
    store, catalog = chosen.folders
    ready = _ready(request, caller, chosen)
    asked = (show_shopper, store, catalog, name)
    work = start_after(request, caller.tenant, ready, "shopper", SHOPPER_SECONDS, *asked)
    context: dict[str, Any] = {"chosen": chosen, "name": name, "work": work, "url": f"/taste/work/{work.id}"}
    return render(request, "taste_shopper.html", **context, waiting=words(request)(_waiting(work)))


@router.get("/quiz")
async def quiz(request: Request, caller: Taster, choices: str = "") -> Response:
    """The quiz, after some choices; they stand in the address and nowhere else."""
    chosen = await in_thread(_chosen, request, caller)
    store, catalog = chosen.folders
    ready = _ready(request, caller, chosen)
    work = start_after(request, caller.tenant, ready, "quiz", QUIZ_SECONDS, show_quiz, store, catalog, choices)
    context: dict[str, Any] = {"chosen": chosen, "choices": choices, "work": work, "url": f"/taste/work/{work.id}"}
    context["waiting"] = words(request)(_waiting(work) if work.kind.endswith(FIRST) else ASKING)
    return render(request, "taste_quiz.html", **context)


@router.post("/make")
async def make(request: Request, caller: Taster) -> Response:
    """Begins to make pictures for a shopper or a newcomer."""
    form = await request.form()
    chosen = await in_thread(_chosen, request, caller)
    try:
        store, catalog = chosen.folders
        if chosen.run is None:
            raise UsageError("No model makes pictures yet; train one first.")
        user, choices = str(form.get("user") or "") or None, str(form.get("choices") or "")
        n, seed = whole(form.get("n"), "n", 1, 12, 4), whole(form.get("seed"), "seed", 0, 2**31 - 1, 0)
    except PackshotError as e:
        return render(request, "problem_part.html", 422, detail=str(e))
    asked = (store, chosen.run.path, catalog, user, choices, n, seed)
    about = {"run": chosen.run.name, "seed": seed}
    work = start_long(request, caller.tenant, "made", MAKE_SECONDS, make_for, *asked, **about)
    return await _shown(request, caller, work)


@router.get("/work/{id}")
async def follow(request: Request, caller: Taster, id: str) -> Response:
    """How far a question is, or what came of it."""
    return await _shown(request, caller, works_of(request.app.state).get(caller.tenant, id))


def _waiting(work: Work) -> str:
    """Returns what is done, in English words."""
    if work.kind == LISTING:
        return READING
    if work.about:
        return MAKING
    return FIRST_LOOK if work.kind.startswith(READY) or work.kind.endswith(FIRST) else LOOKING


async def _shown(request: Request, caller: Caller, work: Work) -> Response:
    _ = words(request)
    if work.ended is None:
        return render(request, "work.html", work=work, url=f"/taste/work/{work.id}", text=_(_waiting(work)))
    if work.error is not None:
        return render(request, "problem_part.html", detail=work.error)
    match work.result:
        case Shoppers():
            chosen = await in_thread(_chosen, request, caller)
            return render(request, "taste_list.html", chosen=chosen, kinds=KINDS, day=_day, **_listed(work))
        case int():  # The products of a store that was made ready: nothing is left to show.
            return render(request, "taste_ready.html")
        case ShopperView() as view:
            return render(request, "taste_view.html", view=view, kinds=KINDS, data=data_address)
        case QuizView() as view:
            counts = {"least": LEAST_CHOICES, "most": MOST_CHOICES}
            return render(request, "taste_quiz_part.html", view=view, data=data_address, counts=counts)
        case MadeView() as view:
            memory = sheet_of(request.app.state)
            for sample in view.pictures:
                memory.add(Made(tenant=caller.tenant, sample=sample, run=work.about["run"], seed=work.about["seed"]))
            return render(request, "taste_made.html", view=view, data=data_address, kinds=KINDS)
    return JSONResponse({"detail": _("This is no longer known here; do it once more.")}, 404)


def data_address(product: Product) -> str:
    """Returns a product's picture as an address that needs no request; "" where it has none."""
    if product.picture is None:
        return ""
    return "data:image/webp;base64," + base64.b64encode(product.picture).decode()


@router.get("/picture/{sha256}")
async def picture(request: Request, caller: Taster, sha256: str) -> Response:
    """A picture that was made for a shopper."""
    made = sheet_of(request.app.state).get(caller.tenant, sha256)
    return Response(made.sample.data, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})
