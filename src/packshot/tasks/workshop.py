"""What pictures for any shopper of a store are made with: the model of taste, a generator's samples, the products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from packshot.catalog import Catalog, Packed
from packshot.core.errors import PackshotError, UsageError
from packshot.core.runs import RunFolder
from packshot.tasks.rank import Fitted, TasteRequest, fit_taste
from packshot.tasks.trained import load_run_generator
from packshot.taste.making import Maker, MakeSettings
from packshot.taste.products import picture_side
from packshot.taste.store import Store
from packshot.taste.view import load_view
from packshot.taste.why import Shelf


@dataclass(frozen=True, eq=False)
class Workshop:
    """Everything that pictures for any shopper of a store are made with.

    Attributes:
        fitted: the model of taste, its products and histories.
        maker: makes pictures for profiles.
        shelf: what the products look like.
    """

    fitted: Fitted
    maker: Maker
    shelf: Shelf


def open_workshop(
    store: Store, run: RunFolder, catalog: Path | None, settings: MakeSettings, categories: Sequence[str] = ()
) -> Workshop:
    """Fits the model of taste (or reads the one that the store keeps) and draws the samples of the generator.

    Args:
        store: the events.
        run: of the generator.
        catalog: whose products are ranked; None: the one that the run was trained on.
        settings: how pictures are made.
        categories: to make; none: all that the generator has.

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
    shelf = open_shelf(fitted)
    maker = Maker(
        generator,
        fitted.preference,
        load_view(),
        fitted.features.rows[fitted.features.pictured],
        side=shelf.pixels.shape[1],
        channels=shelf.pixels.shape[3],
        margin=shelf.margin,
        categories=categories,
        settings=settings,
    )
    return Workshop(fitted, maker, shelf)


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


def attributes_of(maker: Maker, sample: int) -> dict[str, str]:
    """Returns the attributes that a sample of the pool was asked for, by name."""
    known = maker.generator.conditions
    if maker.pool.cond is None or known is None:
        return {}
    return {known.places[j][0]: known.places[j][1] for j in np.flatnonzero(maker.pool.cond[sample]).tolist()}
