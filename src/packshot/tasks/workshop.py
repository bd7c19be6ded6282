"""What pictures for any shopper of a store are made with: the model of taste, a generator's samples, the products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from packshot.catalog import Catalog, Packed
from packshot.core.errors import PackshotError, UsageError
from packshot.core.files import sha256_file
from packshot.core.runs import RunFolder
from packshot.images.seen import name_colours
from packshot.sampling.generator import TrainedGenerator
from packshot.tasks.asked import open_text_model
from packshot.tasks.rank import Fitted, TasteRequest, fit_taste
from packshot.tasks.trained import load_run_generator
from packshot.taste.asking import TEXT, Texts
from packshot.taste.fit import DEFAULT
from packshot.taste.history import Chooser
from packshot.taste.making import Maker, MakeSettings
from packshot.taste.pool import PoolCache
from packshot.taste.products import picture_side
from packshot.taste.quiz import Quiz, QuizSettings, open_quiz
from packshot.taste.store import Store
from packshot.taste.view import load_view
from packshot.taste.why import Shelf

TASTE = "choice"
"""The model that pictures are made and newcomers are asked by: it sees what has a name, and knows how unsure it is."""


@dataclass(frozen=True, eq=False)
class Workshop:
    """Everything that pictures for any shopper of a store are made with.

    Attributes:
        fitted: the model that products are ranked by, its products and histories.
        taste: the model that pictures are made and newcomers are asked by, of the same.
        maker: makes pictures for profiles of `taste`.
        shelf: what the products look like.
    """

    fitted: Fitted
    taste: Fitted
    maker: Maker
    shelf: Shelf


def open_workshop(
    store: Store,
    run: RunFolder,
    catalog: Path | None,
    settings: MakeSettings,
    categories: Sequence[str] = (),
    *,
    by: str = TASTE,
) -> Workshop:
    """Fits the models of taste (or reads those that the store keeps) and draws the samples of the generator.

    Args:
        store: the events.
        run: of the generator.
        catalog: whose products are ranked; None: the one that the run was trained on.
        settings: how pictures are made.
        categories: to make; none: all that the generator has.
        by: the model that pictures are made by.

    Raises:
        UsageError: an unknown category, nothing to learn from, or no catalogue is known.
        PackshotError: no trained model there, or the catalogue has no pictures that may be learned from.
    """
    generator = load_run_generator(run.path)
    catalog = catalog or _catalog_of(run)
    fitted = fit_taste(TasteRequest(events=store.path, catalog=catalog, use="personalise"), store)
    if fitted.features is None or fitted.preference.pictures is None:
        raise PackshotError(
            f"The catalogue {catalog} has no pictures that may be learned from, so nothing can be made by taste; "
            "ingest photos, or rank alone: packshot rank."
        )
    taste = fitted if by == DEFAULT else fit_newcomers(store, catalog, by)
    shelf = open_shelf(fitted)
    cache = PoolCache(fitted.catalog.cache, sha256_file(run.trained_model()))
    maker = Maker(
        generator,
        taste.preference,
        load_view(),
        taste.seen,
        side=shelf.pixels.shape[1],
        channels=shelf.pixels.shape[3],
        margin=shelf.margin,
        categories=categories,
        settings=settings,
        named=taste.named,
        texts=_texts(run, generator, fitted, shelf),
        cache=cache,
    )
    return Workshop(fitted, taste, maker, shelf)


def _texts(run: RunFolder, generator: TrainedGenerator, fitted: Fitted, shelf: Shelf) -> Texts | None:
    """Returns what the products are called, as a generator that takes a text was told of its photos.

    That is the title; without one the colour seen in the photo and the category. None: the generator takes no text.

    Raises:
        PackshotError: the text model is gone, or is another one.
    """
    known = generator.conditions
    if known is None or not known.text:
        return None
    assert fitted.features is not None
    rows = np.flatnonzero(fitted.features.pictured)
    products = [fitted.products.rows[i] for i in rows.tolist()]
    colours = name_colours(shelf.pixels[rows])
    said = [
        p.title or f"{colour} {(p.category or '').lower()}".strip() for p, colour in zip(products, colours, strict=True)
    ]
    texts, of = np.unique(said, return_inverse=True)
    embedded = open_text_model(run, known, None).encode_texts(texts.tolist())
    return Texts(texts.tolist(), embedded, of.astype(np.int64), [p.category for p in products])


def fit_newcomers(store: Store, catalog: Path, by: str = TASTE) -> Fitted:
    """Returns the model that newcomers are asked by and pictures are made by."""
    return fit_taste(TasteRequest(events=store.path, catalog=catalog, model=by, use="personalise"), store)


@dataclass(frozen=True, eq=False)
class Asked:
    """A newcomer's quiz, and what it says so far.

    Attributes:
        quiz: after the answers; its profile is one of the model of `fit_newcomers`.
        pair: the numbers of the two products to ask about next.
        ranked: numbers of the products, best first, without those that were chosen.
        scores: of these, in standard deviations of a typical shopper's utility.
    """

    quiz: Quiz
    pair: tuple[int, int]
    ranked: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]


def ask_newcomer(taste: Fitted, choices: str, *, seed: int = 0) -> Asked:
    """Goes through a newcomer's answers; only products with a picture are asked about and ranked.

    The list is by what the newcomer likes alone: how much others touch a product is not theirs to answer for.

    Args:
        taste: see `fit_newcomers`.
        choices: "a" for the first product of each pair, "b" for the second.
        seed: of the questions.

    Raises:
        UsageError: other letters.
    """
    if set(choices) - {*"ab"}:
        raise UsageError(f"--newcomer is '{choices}'; it takes letters a and b, one for each answer so far.")
    assert taste.features is not None
    model, shown = taste.preference, np.flatnonzero(taste.features.pictured)
    liked = np.diff(taste.interactions.positive.indptr) > 0
    bias = np.zeros(len(shown), np.float32) if isinstance(model.history, Chooser) else model.bias[shown]
    quiz = open_quiz(model.factors[shown], bias, model.profiles[liked], settings=QuizSettings(seed=seed))
    for letter in choices:
        first, second = quiz.next_pair()
        quiz.answer(*((first, second) if letter == "a" else (second, first)))
    scores = quiz.scores()
    order = np.argsort(-scores, kind="stable")
    order = order[~np.isin(order, [one for one, _ in quiz.asked])]
    first, second = quiz.next_pair()
    return Asked(quiz, (int(shown[first]), int(shown[second])), shown[order], scores[order])


def open_shelf(fitted: Fitted) -> Shelf:
    """Returns what a catalogue's products look like: the first photo of each that may be learned from."""
    catalog, products, features = fitted.catalog, fitted.products, fitted.features
    assert features is not None
    side = picture_side(catalog)
    channels: Literal[1, 3] = 1 if catalog.native.channels == 1 else 3
    pixels = np.full((len(products.rows), side, side, channels), 255, np.uint8)
    pictured = np.zeros(len(products.rows), bool)
    first = {photo: i for i, row in enumerate(products.rows) for photo in row.photos[::-1]}
    rank = {photo: k for row in products.rows for k, photo in enumerate(row.photos)}
    best, margin = np.full(len(products.rows), 1 << 30), 0
    for packed in _packed(catalog, side, channels):
        margin = packed.margin
        for place, photo in enumerate(packed.photo_ids):
            i = first.get(photo)
            if i is not None and photo not in catalog.rights.out and rank[photo] < best[i]:
                pixels[i], pictured[i], best[i] = packed.images[place], True, rank[photo]
    return Shelf(pixels, pictured & features.pictured, [row.category for row in products.rows], features.rows, margin)


def _packed(catalog: Catalog, side: int, channels: Literal[1, 3]) -> list[Packed]:
    splits: tuple[Literal["train", "test"], ...] = ("train", "test")
    there = [s for s in splits if catalog.summary["splits"].get(s)]
    return [catalog.packed(s, side, channels, "auto", also_out=True) for s in there]


def _catalog_of(run: RunFolder) -> Path:
    path = run.read().get("catalog")
    if path is None:
        raise UsageError(f"{run.path} came with Packshot; say whose products are ranked by --catalog.")
    return Path(path)


def attributes_of(maker: Maker, cond: npt.NDArray[np.float32]) -> dict[str, str]:
    """Returns what a picture's condition [A] asked for beside the category: attributes by name, and `text`."""
    known = maker.generator.conditions
    if known is None:
        return {}
    attributes = len(cond) - known.text
    out = {known.places[j][0]: known.places[j][1] for j in np.flatnonzero(cond[:attributes]).tolist()}
    said = maker.texts.said(cond) if maker.texts else None
    return out if said is None else {**out, TEXT: said}
