"""Drawn products and simulated shoppers for tests of taste."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np

from packshot.catalog import open_catalog
from packshot.catalog.dataset import Catalog
from packshot.taste.hybrid import HybridSettings, fit_hybrid
from packshot.taste.simulate import Simulated, Simulation, simulate
from tests.catalog_photos import encoded, run

CATEGORIES = ("tall", "wide", "round")


def draw(n: int, seed: int = 0, size: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Returns pictures uint8 [n, size, size, 3] of coloured things on white, and their categories [n]."""
    rng = np.random.default_rng(seed)
    pictures = np.full((n, size, size, 3), 255, np.uint8)
    labels = rng.integers(0, len(CATEGORIES), n)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    for i, label in enumerate(labels):
        grow = rng.uniform(0.7, 1.2)
        if label == 2:
            mask = x**2 + y**2 <= (6 * grow) ** 2
        else:
            high, wide = ((9, 3) if label == 0 else (3, 9)) * np.array(grow)
            mask = (np.abs(y) <= high) & (np.abs(x) <= wide)
        colour = rng.integers(0, 180, 3)
        pictures[i][mask] = np.clip(colour + rng.normal(0, rng.uniform(0, 20), (int(mask.sum()), 3)), 0, 220)
    return pictures, labels


def shoppers(users: int = 120, products: int = 60, events: int = 12, seed: int = 0, **settings: float) -> Simulated:
    """Returns a small simulation over drawn products."""
    pictures, labels = draw(products, seed)
    return simulate(
        pictures, labels, CATEGORIES, Simulation(users=users, products=products, events=events, seed=seed, **settings)
    )


def features_of(simulated: Simulated, dim: int = 24) -> np.ndarray:
    """Returns features float32 [I, dim] as a network would see the products: the pixels, mixed at random."""
    pixels = simulated.images[:, ::2, ::2].reshape(len(simulated.images), -1).astype(np.float32) / 255
    mix = np.random.default_rng(5).normal(size=(pixels.shape[1], dim)) / np.sqrt(pixels.shape[1])
    return np.tanh(pixels @ mix).astype(np.float32)


def write_shop(folder: Path, products: int = 12, seed: int = 0) -> Catalog:
    """Returns a catalogue of drawn products sku-00, sku-01, ...; sku-00 has two photos, the last has no product id."""
    pictures, labels = draw(products + 1, seed, 48)
    (folder / "in").mkdir(parents=True)
    rows = []
    for i, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        (folder / f"in/{i:02d}.png").write_bytes(encoded(picture, "PNG"))
        sku = "sku-00" if i == products else f"sku-{i:02d}"
        row = {"image": f"{i:02d}.png", "category": CATEGORIES[label], "title": f"Thing {i}", "price": "9.90 EUR"}
        rows.append(json.dumps(row | ({"product_id": sku} if i != products - 1 else {})))
    (folder / "in/list.jsonl").write_text("\n".join(rows))
    run(folder / "in/list.jsonl", folder / "catalog", test_share=0.2)
    return open_catalog(folder / "catalog")


FAST = HybridSettings(steps=150, epochs=1)
"""The default model in a second."""


@contextmanager
def fast_default() -> Iterator[None]:
    """Lets the model `hybrid` be fitted in a second."""
    from packshot.taste.fit import MODELS

    table = cast(dict[str, object], MODELS)
    slow = table["hybrid"]
    table["hybrid"] = lambda x, f, seed: fit_hybrid(x, f, replace(FAST, seed=seed))
    try:
        yield
    finally:
        table["hybrid"] = slow
