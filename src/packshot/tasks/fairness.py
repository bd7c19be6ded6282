"""Whom a ranking shows, and for whom it finds what they went on to like: by category, price and popularity."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from packshot.catalog import open_catalog
from packshot.core.errors import UsageError
from packshot.tasks.rank import TasteRequest, features_of, fit_model
from packshot.taste.fairness import Tradeoff, compare_tradeoffs, unit_rows
from packshot.taste.measure import hold_out
from packshot.taste.products import read_products
from packshot.taste.store import open_store

TRADEOFF = 0.3


@dataclass(frozen=True)
class FairnessReport:
    """Lists of some shoppers as the model ranks, and re-ranked.

    Attributes:
        model: its name.
        shoppers: whose lists these are.
        products: of the catalogue.
        places: of a list.
        rows: as the model ranks; varied by the trade-off; little-known products lifted by it; both.
        notes: what the reader has to know.
    """

    model: str
    shoppers: int
    products: int
    places: int
    rows: list[Tradeoff]
    notes: list[str]


def report_fairness(
    request: TasteRequest, tradeoff: float = TRADEOFF, *, places: int = 20, most: int = 300
) -> FairnessReport:
    """Measures exposure and quality of a model's lists at a trade-off, on a shop's own events.

    Each shopper's last liked product is taken away, the model is fitted to the rest, and the product is looked for.

    Args:
        request: whose taste.
        tradeoff: from 0 to 1, between liked and varied, and how much of their own share little-known products get.
        places: of a list.
        most: shoppers that are asked.

    Raises:
        UsageError: the trade-off is out of its range.
        PackshotError: there are too few shoppers, or the catalogue has no pictures.
    """
    if not 0 <= tradeoff <= 1:
        raise UsageError(f"--tradeoff is {tradeoff}; it can be from 0 to 1.")
    store, catalog = open_store(request.events), open_catalog(request.catalog)
    products = read_products(catalog)
    features = features_of(catalog, products, request.features)
    interactions = store.interactions(
        request.at, request.half_life_days, request.weights, items=products.names, use=request.use
    )
    held = hold_out(interactions, seed=request.seed, cold_share=0)
    preference, _ = fit_model(request, catalog, products, features, held.train)
    # Without pictures none looks like another: no list is more varied than any other.
    looks = unit_rows(features.rows) if features is not None else np.zeros((len(products.rows), 1), np.float32)
    rows = compare_tradeoffs(
        preference,
        held.train,
        looks,
        [p.category for p in products.rows],
        [p.price for p in products.rows],
        places=places,
        tradeoffs=((0.0, 0.0), (tradeoff, 0.0), (0.0, tradeoff), (tradeoff, tradeoff)),
        most=most,
        seed=request.seed,
        asked=held.warm,
        seen=held.seen,
    )
    if features is None:
        rows = [replace(row, diversity=None) for row in rows]
    notes = ["Nobody can say whether a product that was not shown would have been liked: hits are of what was found."]
    if features is None:
        notes.append("The catalogue has no pictures that may be learned from, so how varied lists are is not known.")
    return FairnessReport(request.model, rows[0].shoppers, len(products.rows), places, rows, notes)
