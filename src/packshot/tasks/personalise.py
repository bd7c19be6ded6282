"""Pictures made for one shopper, beside what the catalogue has for them, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from packshot.core.errors import PackshotError, UsageError
from packshot.core.progress import Progress
from packshot.core.runs import RunFolder
from packshot.evaluation.copies import FALSE_ALARMS
from packshot.evaluation.gate import CopyGate
from packshot.images.picture import ProductImage
from packshot.images.sheet import contact_sheet
from packshot.release.door import check_free, release_set
from packshot.sampling.generator import sheet_scale
from packshot.tasks.copy_gate import Passed, gate_sentence, pass_gate, refused_names, request_gate
from packshot.tasks.personalise_page import write_page
from packshot.tasks.personalise_words import notes_of, say_wish
from packshot.tasks.rank import MOST, Fitted, Ranked, find_shopper, profile_of
from packshot.tasks.trained import generated_picture, slug
from packshot.tasks.workshop import Asked, Workshop, ask_newcomer, attributes_of, open_workshop
from packshot.taste.making import POSSIBLE, Made, Maker, MakeSettings
from packshot.taste.products import Products
from packshot.taste.store import Event, Store, open_store
from packshot.taste.why import Counterfactual, Driver

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

PAGE = "personalise.html"
MADE_FOR = "one shopper who consented; by the taste in their history"
PLACES = 12
DRIVERS = 5


@dataclass(frozen=True, kw_only=True)
class PersonaliseRequest:
    """Pictures for one shopper, please.

    Attributes:
        events: a store of events.
        user: the shop's own id of the shopper, or the pseudonym; None: a newcomer, of whom nothing is stored.
        choices: of a newcomer, the answers to the quiz so far: "a" for the first product of a pair, "b" for the second.
        run: run folder of the generator.
        catalog: whose products are ranked; None: the one that the run was trained on.
        out: folder for the pictures; made if it is not there.
        categories: to make, by name; none: what the shopper's taste asks for.
        places: of the list of products.
        make: how pictures are made, how many, and by which seed.
        report: write a page of it too.
        key: of the pseudonyms; None: the one in the user's folder.
        overwrite: replace files of the same names.
        allow_copies: let pictures leave without comparing them with the training photos.
        false_alarms: between 0 and 1, the share of unseen photos that would be refused as copies too.
    """

    events: Path
    run: Path
    user: str | None = None
    choices: str = ""
    catalog: Path | None = None
    out: Path = Path("personalised")
    categories: tuple[str, ...] = ()
    places: int = PLACES
    make: MakeSettings = field(default_factory=MakeSettings)
    report: bool = False
    key: Path | None = None
    overwrite: bool = False
    allow_copies: bool = False
    false_alarms: float = FALSE_ALARMS


@dataclass(frozen=True)
class MadePicture:
    """One picture that was made.

    Attributes:
        path: the file.
        category: that was asked of the generator.
        attributes: what else was asked of it.
        score: predicted preference, in standard deviations over the catalogue's products, above their mean.
        realism: distance to the nearest real photo in features, over the largest that is allowed.
        words: its colour, and how it differs from the average product of its category.
        nearest: products that can be bought, with their similarity (cosine), the nearest first, and whether they are
            `in_history`.
        moved: whether it came of the search near the best samples.
    """

    path: Path
    category: str
    attributes: dict[str, str]
    score: float
    realism: float
    words: list[str]
    nearest: list[dict[str, Any]]
    moved: bool


@dataclass(frozen=True)
class PersonaliseResult:
    """What was made, and why.

    Attributes:
        user: the shopper's pseudonym; None: a newcomer.
        history: products with an event that are in the catalogue, and what they count.
        ranked: products, best first, without what the shopper has touched.
        pictures: that were made, best first.
        drivers: single past items: `name`, `items`, `weight`, `effect` on the made pictures' score without it, `lost`
            (how many products leave the list).
        without: the same for all items of a category, with `ranked` (the list's products then) and `made` (categories
            of the pictures that would have been made then, and their words).
        sheet: the pictures on one PNG.
        page: the report; None: none was asked for.
        model: name of the generator's model.
        seed: as asked.
        copy_gate: how pictures were compared with the training photos.
        refused_copies: pictures that were too near to one, each draw counted.
        refused_near: the training photos that those refused were near to.
        notes: what the reader has to know.
        next_pair: of a newcomer, the two products to ask about next; one more answer makes the taste surer.
    """

    user: str | None
    history: list[dict[str, Any]]
    ranked: list[Ranked]
    pictures: list[MadePicture]
    drivers: list[dict[str, Any]]
    without: list[dict[str, Any]]
    sheet: Path
    page: Path | None
    model: str
    seed: int
    copy_gate: str
    refused_copies: int
    refused_near: list[str]
    notes: list[str]
    next_pair: list[str] = field(default_factory=list)


def personalise(request: PersonaliseRequest, *, quiet: bool = True) -> PersonaliseResult:
    """Ranks products and makes pictures for a shopper, and writes the pictures, a sheet, and a page if asked.

    Raises:
        UsageError: the shopper is unknown or did not consent to 'personalise', or an unknown category.
        PackshotError: no trained model there, the catalogue has no pictures to learn from, a file of that name exists,
            or the generator makes nothing but copies.
    """
    if not 1 <= request.places <= MOST:
        raise UsageError(f"--places is {request.places}; it can be 1 to {MOST}.")
    with Progress("Personalising", 1.0, quiet=quiet) as bar:
        store = open_store(request.events)
        name = _shopper(request, store)
        run = RunFolder.open(request.run)
        sheet_path, page = request.out / "sheet.png", request.out / PAGE if request.report else None
        if not request.overwrite:
            check_free([sheet_path, *([page] if page else [])])
        gate = request_gate(run, request)
        bar.update(0.05, "taste")
        workshop = open_workshop(store, run, request.catalog, request.make, request.categories)
        row = None if name is None else workshop.fitted.interactions.user_rows.get(name)
        asked = None if name else ask_newcomer(workshop.taste, request.choices, seed=request.make.seed)
        bar.update(0.6, "pictures")
        kept, passed = _gated(_made(workshop, row, asked), request.make.n, gate)
        bar.update(0.75, "why")
        why = _Why.ask(workshop, row, kept, request.places, gate)
        pictures = _pictures(request, workshop, kept, passed.said)
        described = _described(request, workshop, kept, row)
        sheet = contact_sheet(
            pictures, max(1, round(np.sqrt(len(pictures)))), None, sheet_scale(workshop.maker.generator.spec.size)
        )
        bar.update(0.9, "files")
        release_set([*pictures, sheet], [*(p.path for p in described), sheet_path], overwrite=request.overwrite)
        result = PersonaliseResult(
            user=name,
            history=_history(workshop.fitted.products, store.history(name) if name else [], row, workshop.fitted),
            ranked=_listed(workshop, asked, request.places) if asked else _ranked(workshop.fitted, row, request.places),
            pictures=described,
            drivers=[_said(d) for d in why.items[:DRIVERS]],
            without=[_said_without(d, workshop) for d in why.categories],
            sheet=sheet_path,
            page=page,
            model=workshop.maker.generator.model,
            seed=request.make.seed,
            copy_gate=gate_sentence(gate),
            refused_copies=passed.refused,
            refused_near=refused_names(gate, run, passed),
            notes=[*notes_of(request, workshop.fitted, name, row, len(described)), *map(say_wish, kept.wishes)],
            next_pair=[workshop.fitted.products.names[i] for i in asked.pair] if asked else [],
        )
        if page is not None:
            write_page(page, result, workshop, why.categories, pictures)
    return result


def _shopper(request: PersonaliseRequest, store: Store) -> str | None:
    """Returns the pseudonym of the shopper; None: a newcomer."""
    if request.user is not None:
        return find_shopper(store, request.user, "personalise", request.key)
    if set(request.choices) - {*"ab"}:
        raise UsageError(f"--newcomer is '{request.choices}'; it takes letters a and b, one for each answer so far.")
    return None


def _made(workshop: Workshop, row: int | None, asked: Asked | None) -> Made:
    if asked:
        return workshop.maker.make(asked.quiz.profile[None], [asked.quiz.draw(POSSIBLE)])[0]
    histories = workshop.taste.interactions.matrix
    own = csr_matrix((1, histories.shape[1]), dtype=np.float32) if row is None else histories[row]
    return workshop.maker.make(profile_of(workshop.taste, row)[None], workshop.maker.possible(own))[0]


def _gated(made: Made, n: int, gate: CopyGate | None) -> tuple[Made, Passed]:
    """Returns the n pictures that leave: what is too near to a training photo is replaced by the next best."""
    order = np.arange(min(n, len(made.pixels)))
    spare = iter(range(len(order), len(made.pixels)))

    def draw(places: npt.NDArray[np.int64], _: int) -> Pixels:
        for place in places.tolist():
            order[place] = _next(spare)
        return made.pixels[order[places]]

    passed = pass_gate(gate, made.pixels[order], draw)
    return made.at(order), passed


def _next(spare: Iterator[int]) -> int:
    for place in spare:
        return place
    raise PackshotError(
        "Too many of the pictures came too near to a training photo; take another --seed or --category, or add "
        "--allow-copies if the photos are yours to copy."
    )


@dataclass(frozen=True, eq=False)
class _Why:
    items: list[Driver]
    categories: list[Driver]

    @staticmethod
    def ask(workshop: Workshop, row: int | None, made: Made, places: int, gate: CopyGate | None) -> _Why:
        fitted = workshop.fitted
        if row is None or fitted.interactions.positive[row].nnz == 0:
            return _Why([], [])
        asked = Counterfactual(fitted.preference, fitted.interactions.matrix[row], workshop.maker, places)
        names, categories = fitted.products.names, [p.category for p in fitted.products.rows]
        n = len(made.pixels)
        found = asked.categories(categories, made, n)
        return _Why(asked.items(names, made, n), [replace(d, made=_shown(d.made, n, gate)) for d in found])


def _shown(made: Made | None, n: int, gate: CopyGate | None) -> Made:
    """Returns the first n pictures that are no copies: they stand on the page."""
    assert made is not None
    good = np.arange(len(made.pixels)) if gate is None else np.flatnonzero(gate.look(made.pixels)[1] >= 1)
    return made.at(good[:n])


def _pictures(
    request: PersonaliseRequest, workshop: Workshop, made: Made, said: Sequence[dict[str, Any]]
) -> list[ProductImage]:
    generator, seed = workshop.maker.generator, request.make.seed
    return [
        generated_picture(
            made.pixels[i],
            generator,
            "personalise",
            {
                "seed": seed,
                "sample": int(made.sample[i]),
                "moved": bool(made.moved[i]),
                "made_for": MADE_FOR,
                "category": generator.categories[int(made.labels[i])],
                "index": i,
                **_attributes(workshop.maker, made.cond[i]),
                **said[i],
            },
        )
        for i in range(len(made.pixels))
    ]


def _attributes(maker: Maker, cond: Floats) -> dict[str, Any]:
    attributes = attributes_of(maker, cond)
    return {"attributes": attributes} if attributes else {}


def _described(request: PersonaliseRequest, workshop: Workshop, made: Made, row: int | None) -> list[MadePicture]:
    generator = workshop.maker.generator
    names = [generator.categories[int(y)] for y in made.labels]
    words = workshop.shelf.differences(workshop.maker.fit(made.pixels), names)
    near = workshop.shelf.nearest(made.features)
    touched = set() if row is None else set(workshop.fitted.interactions.matrix[row].indices.tolist())
    rows = workshop.fitted.products.rows
    return [
        MadePicture(
            request.out / f"{slug(names[i])}-{request.make.seed}-{i:04d}.png",
            names[i],
            attributes_of(workshop.maker, made.cond[i]),
            round(float(made.scores[i]), 3),
            round(float(made.distance[i]), 3),
            words[i],
            [
                {
                    "product": rows[k].name,
                    "title": rows[k].title,
                    "key": rows[k].key,
                    "similarity": similarity,
                    "in_history": k in touched,
                }
                for k, similarity in near[i]
            ],
            bool(made.moved[i]),
        )
        for i in range(len(names))
    ]


def _ranked(fitted: Fitted, row: int | None, places: int) -> list[Ranked]:
    seen = np.zeros(0, np.int64) if row is None else fitted.interactions.matrix[row].indices.astype(np.int64)
    return _rows(fitted, *fitted.index.search(profile_of(fitted, row), places, seen))


def _listed(workshop: Workshop, asked: Asked, places: int) -> list[Ranked]:
    return _rows(workshop.fitted, asked.ranked[:places], asked.scores[:places])


def _rows(fitted: Fitted, found: npt.NDArray[np.int64], scores: npt.NDArray[Any]) -> list[Ranked]:
    return [
        Ranked(p.name, p.key, p.title, p.category, round(float(s), 4), bool(fitted.preference.warm[i]))
        for i, s, p in ((i, s, fitted.products.rows[i]) for i, s in zip(found.tolist(), scores.tolist(), strict=True))
    ]


def _history(products: Products, events: Sequence[Event], row: int | None, fitted: Fitted) -> list[dict[str, Any]]:
    if row is None:
        return []
    own = fitted.interactions.matrix[row]
    kinds: dict[str, list[str]] = {}
    for event in events:
        kinds.setdefault(event.product, []).append(event.kind)
    weights = sorted(zip(own.indices.tolist(), own.data.tolist(), strict=True), key=lambda pair: -abs(pair[1]))
    return [
        {
            "product": products.rows[i].name,
            "title": products.rows[i].title,
            "key": products.rows[i].key,
            "category": products.rows[i].category,
            "kinds": sorted(set(kinds.get(products.rows[i].name, []))),
            "weight": round(w, 3),
        }
        for i, w in weights
    ]


def _said(driver: Driver) -> dict[str, Any]:
    return {
        "name": driver.name,
        "items": driver.items,
        "weight": driver.weight,
        "effect": driver.effect,
        "lost": driver.lost,
    }


def _said_without(driver: Driver, workshop: Workshop) -> dict[str, Any]:
    assert driver.made is not None
    made, generator = driver.made, workshop.maker.generator
    names = [generator.categories[int(y)] for y in made.labels]
    words = workshop.shelf.differences(workshop.maker.fit(made.pixels), names)
    rows = workshop.fitted.products.rows
    return {
        **_said(driver),
        "ranked": [rows[i].name for i in driver.ranked.tolist()],
        "made": [{"category": c, "words": w} for c, w in zip(names, words, strict=True)],
    }
