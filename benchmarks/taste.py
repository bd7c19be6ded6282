"""Taste: models of preference on simulated shoppers whose tastes are known, and speed. docs/taste.md has the table.

    python -m benchmarks.taste --catalog demo/catalog [--log docs/benchmarks/taste.jsonl]

Everything in one run: the same shoppers, the same pictures' features, the same questions. VBPR gets the best of a small
grid, chosen on events that are taken out of its training part.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from packshot.catalog import open_catalog
from packshot.core.process import keep_freed_memory
from packshot.evaluation.features import cached_features
from packshot.taste.choice import ChoiceSettings, fit_choice
from packshot.taste.compare import COMPARED, TasteReport, compare
from packshot.taste.factors import FactorSettings, fit_bpr
from packshot.taste.fit import fit_preference
from packshot.taste.index import build_index
from packshot.taste.interactions import HALF_LIFE_DAYS, WEIGHTS, from_events
from packshot.taste.measure import Held, hold_out, measure, rank_targets, scorer
from packshot.taste.named import Named, describe_looks
from packshot.taste.preference import Floats, Preference
from packshot.taste.simulate import CHOICE, Simulated, Simulation, simulate_catalog
from packshot.taste.view import load_view
from packshot.taste.visual import VisualSettings, fit_visual

GRID = (
    VisualSettings(),
    *(VisualSettings(own=own, visual=visual) for own, visual in ((4, 4), (4, 8), (8, 16), (16, 8), (16, 16), (32, 32))),
    VisualSettings(decay=3e-3),
    VisualSettings(decay=3e-2),
    VisualSettings(epochs=10),
    VisualSettings(epochs=40),
    VisualSettings(epochs=40, rate=3e-3),
    VisualSettings(power=0.3),
)
"""Settings of VBPR that are tried."""
DIM, CLUSTERS = 64, 2000


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", type=Path, default=Path("demo/catalog"))
    parser.add_argument("--users", type=int, default=5000)
    parser.add_argument("--products", type=int, default=2000)
    parser.add_argument("--events", type=int, default=20, help="of each user")
    parser.add_argument("--size", type=int, default=28, help="pixels of the pictures that tastes are about")
    parser.add_argument("--popularity", type=float, default=0.5)
    parser.add_argument("--noise", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, help="JSON Lines to add the figures to")
    parser.add_argument("--only", help="models with commas between them, with their defaults; none is tuned")
    parser.add_argument("--no-models", action="store_true", help="speed alone")
    parser.add_argument("--no-speed", action="store_true", help="models alone")
    given = parser.parse_args(arguments)
    keep_freed_memory()
    if not given.no_models:
        settings = Simulation(
            users=given.users,
            products=given.products,
            events=given.events,
            popularity=given.popularity,
            noise=given.noise,
            seed=given.seed,
        )
        only = tuple(given.only.split(",")) if given.only else None
        models(given.catalog, settings, given.size, given.log, only)
    if not given.no_speed:
        speed(given.log)


def models(catalog: Path, settings: Simulation, size: int, log: Path | None, only: tuple[str, ...] | None) -> None:
    photos = open_catalog(catalog)
    made = simulate_catalog(photos, settings, size=size)
    features = np.asarray(cached_features(load_view(), made.images, photos.cache))
    held = hold_out(made.interactions(WEIGHTS, HALF_LIFE_DAYS), seed=settings.seed)
    took: dict[str, float] = {}
    chosen, tried = (VisualSettings(seed=settings.seed), []) if only else tune_vbpr(held, features, settings.seed)
    names = only or (*COMPARED, "choice")
    fits = {name: timed(name, took, fit(name, held, features, settings.seed, chosen, made)) for name in names}
    report = compare(held, features, models=names, seed=settings.seed, fits=fits)
    report.models["truth"] = truth(made, held, settings)
    about = {
        "catalog": photos.checksum,
        "categories": len(photos.categories),
        "simulation": asdict(settings),
        "size": size,
        "features": load_view().protocol,
        "vbpr": asdict(chosen),
    }
    table(report, took, about)
    for row in tried:
        write(log, {"what": "taste-grid", **about, **row})
    for name, figures in report.models.items():
        write(log, {"what": "taste", "model": name, **about, "figures": figures, "seconds": took.get(name)})
    write(log, {"what": "taste-gain", **about, "figures": report.gain})


def fit(
    name: str, held: Held, features: Floats, seed: int, vbpr: VisualSettings, made: Simulated
) -> Callable[[], Preference]:
    if name == "choice":
        kinds = [made.truth.categories[i] for i in made.truth.labels.tolist()]
        named = Named(features, describe_looks(made.images), kinds).rows
        rows = np.concatenate([features, named], axis=1)
        return lambda: fit_choice(held.train, rows, named.shape[1], ChoiceSettings(seed=seed))
    if name == "vbpr":
        return lambda: fit_visual(held.train, features, vbpr)
    return lambda: fit_preference(name, held.train, features, seed=seed)


def timed(name: str, took: dict[str, float], make: Callable[[], Preference]) -> Callable[[], Preference]:
    def run() -> Preference:
        start = time.perf_counter()
        model = make()
        took[name] = round(time.perf_counter() - start, 1)
        return model

    return run


def tune_vbpr(held: Held, features: Floats, seed: int) -> tuple[VisualSettings, list[dict[str, Any]]]:
    """Returns the settings with the largest sum of AUC and NDCG@20 on events of the training part, and all of them."""
    inner = hold_out(held.train, seed=seed + 1)
    tried = []
    for settings in GRID:
        ranks = rank_targets(scorer(fit_visual(inner.train, features, settings)), inner.warm, inner.seen)
        tried.append({"settings": asdict(settings), "auc": ranks.auc.mean(), "ndcg20": ranks.ndcg().mean()})
    best = max(range(len(GRID)), key=lambda i: tried[i]["auc"] + tried[i]["ndcg20"])
    return replace(GRID[best], seed=seed), tried


def truth(made: Simulated, held: Held, settings: Simulation) -> list[dict[str, Any]]:
    """What one who knows every taste and every fame would reach: the noise of the choices is what is missing."""

    def score(users: Any) -> Floats:
        return CHOICE / settings.noise * made.truth.utilities(users) + made.truth.fame

    return [figure.to_dict() for figure in measure(score, held, "truth", seed=settings.seed)]


def table(report: TasteReport, took: dict[str, float], about: dict[str, Any]) -> None:
    print(
        f"\n{report.shoppers:,} shoppers asked, {report.products:,} products, {report.cold:,} cold; "
        f"{about['simulation']}"
    )
    print("| model | AUC | NDCG@20 | HR@20 | cold AUC | fit, s |\n|---|---|---|---|---|---|")
    for name, figures in report.models.items():
        cells = [f"{f['value']:.3f} ({f['low']:.3f}-{f['high']:.3f})" for f in figures]
        print(f"| {name} | " + " | ".join(cells) + f" | {took.get(name, '')} |")
    for figure in report.gain or ():
        print(f"{figure['name']}: {figure['value']:.4f} ({figure['low']:.4f} to {figure['high']:.4f})")


def speed(log: Path | None) -> None:
    rng = np.random.default_rng(0)
    users, items, events = 50_000, 20_000, 1_000_000
    share = 1 / np.arange(1, items + 1) ** 0.7
    rows, columns = rng.integers(0, users, events), rng.choice(items, events, p=share / share.sum())
    names = ([f"u{i}" for i in range(users)], [f"p{i}" for i in range(items)])
    interactions = from_events(*names, rows, columns, np.ones(events, np.float32), np.arange(events))
    start, cpu = time.perf_counter(), time.process_time()
    fit_bpr(interactions, FactorSettings())
    took, cpu = time.perf_counter() - start, time.process_time() - cpu
    print(
        f"\nBPR, {events:,} events, {users:,} shoppers, {items:,} products, one thread: {cpu:.1f} CPU-s, {took:.1f} s"
    )
    cells = interactions.positive.nnz
    write(log, {"what": "bpr-speed", "events": events, "cells": cells, "cpu_seconds": cpu, "seconds": took})
    del interactions
    rank_speed(rng, log)


def rank_speed(rng: np.random.Generator, log: Path | None, n: int = 1_000_000) -> None:
    """Products in 2,000 clusters of Zipf's sizes; a shopper is the mean of 12 products out of one to three of them."""
    centres = rng.normal(size=(CLUSTERS, DIM)).astype(np.float32)
    share = 1 / np.arange(1, CLUSTERS + 1) ** 0.7
    own = rng.choice(CLUSTERS, n, p=share / share.sum())
    factors = centres[own] + 0.6 * rng.normal(size=(n, DIM)).astype(np.float32)
    bias = rng.normal(size=n).astype(np.float32)
    order = np.argsort(own, kind="stable")
    edges = np.searchsorted(own[order], np.arange(CLUSTERS + 1))

    def shopper() -> Floats:
        liked = own[rng.integers(0, n, rng.integers(1, 4))]
        places = [order[rng.integers(edges[c], edges[c + 1])] for c in rng.choice(liked, 12)]
        return factors[places].mean(0)

    profiles = np.stack([shopper() for _ in range(300)])
    start = time.perf_counter()
    index = build_index(factors, bias, profiles[:100])
    built = time.perf_counter() - start
    took, recall = [], []
    for profile in profiles[100:]:
        exact = np.argpartition(-(index.vectors @ np.append(profile, 1).astype(np.float32)), 100)[:100]
        start = time.perf_counter()
        found, _ = index.search(profile, 100)
        took.append(1000 * (time.perf_counter() - start))
        recall.append(len(np.intersect1d(found, exact)) / 100)
    median, slow = np.median(took), np.quantile(took, 0.95)
    print(
        f"rank {n:,} products of {DIM} numbers: {median:.1f} ms (95 %: {slow:.1f}), recall@100 {np.mean(recall):.3f}, "
        f"{index.probes} cells looked into, built in {built:.0f} s"
    )
    row = {"what": "rank-speed", "products": n, "dim": DIM, "ms": median, "ms95": slow, "recall100": np.mean(recall)}
    write(log, {**row, "probes": index.probes, "build_s": built})


def write(log: Path | None, row: dict[str, Any]) -> None:
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as f:
            f.write(json.dumps(row, default=float) + "\n")


if __name__ == "__main__":
    main()
