"""Pictures made by taste, the quiz, and trade-offs, measured on simulated shoppers whose tastes are known.

    python benchmarks/taste_making.py --catalog demo/catalog --model src/packshot/shipped/fashion-32

The model of taste never sees the true tastes; they judge what it chose.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from packshot.catalog import open_catalog
from packshot.core.process import keep_freed_memory
from packshot.evaluation.distribution import compute_kid
from packshot.evaluation.features import cached_features
from packshot.models.features.efflite import load_efflite0
from packshot.sampling.generator import TrainedGenerator
from packshot.tasks.trained import load_run_generator
from packshot.taste.fairness import compare_tradeoffs, unit_rows
from packshot.taste.fit import fit_preference
from packshot.taste.interactions import HALF_LIFE_DAYS, WEIGHTS, Interactions
from packshot.taste.making import Maker, MakeSettings
from packshot.taste.preference import Floats, Preference
from packshot.taste.quiz import open_quiz
from packshot.taste.simulate import CHOICE, Simulated, Simulation, simulate_catalog
from packshot.taste.view import load_view

NEWCOMERS, PLACES, MADE = 100, 20, 4


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", type=Path, default=Path("demo/catalog"))
    parser.add_argument("--model", type=Path, default=Path("src/packshot/shipped/fashion-32"))
    parser.add_argument("--users", type=int, default=1500)
    parser.add_argument("--products", type=int, default=1500)
    parser.add_argument("--asked", type=int, default=64, help="shoppers that pictures are made for")
    parser.add_argument("--size", type=int, default=28)
    given = parser.parse_args(arguments)
    keep_freed_memory()
    photos = open_catalog(given.catalog)
    simulated = simulate_catalog(
        photos, Simulation(users=given.users + NEWCOMERS, products=given.products), size=given.size
    )
    features = np.asarray(cached_features(load_view(), simulated.images, photos.cache))
    whole = simulated.interactions(WEIGHTS, HALF_LIFE_DAYS)
    n = given.users
    known = Interactions(whole.users[:n], whole.items, whole.matrix[:n], whole.last[:n])
    preference = fit_preference("hybrid", known, features)
    generator = load_run_generator(given.model)
    for steps in (0, 12):
        making(simulated, known, preference, features, generator, MakeSettings(n=MADE, steps=steps), given.asked)
    quiz(simulated, whole, preference, n)
    kinds = [simulated.truth.categories[i] for i in simulated.truth.labels.tolist()]
    for row in compare_tradeoffs(preference, known, unit_rows(features), kinds, [None] * len(kinds)):
        lifts = ", ".join(f"{e.group} {e.lift}" for e in row.exposure if e.by == "popularity")
        print(
            f"trade-off {row.tradeoff}: liked {row.liked}, diversity {row.diversity}, shown {row.shown}; lift {lifts}"
        )


def making(
    simulated: Simulated,
    known: Interactions,
    preference: Preference,
    features: Floats,
    generator: TrainedGenerator,
    settings: MakeSettings,
    users: int,
) -> None:
    start = time.perf_counter()
    side, channels = simulated.images.shape[1], simulated.images.shape[3]
    maker = Maker(generator, preference, load_view(), features, side=side, channels=channels, settings=settings)
    made = maker.make(preference.profiles[:users])
    seconds = time.perf_counter() - start
    net = load_efflite0()
    pixels = np.concatenate([maker.fit(one.pixels[:MADE]) for one in made])
    labels = np.concatenate([one.labels[:MADE] for one in made])
    plain = maker.fit(generator.sample(labels.tolist(), 7))
    real = np.asarray(net.features(simulated.images), np.float32)
    kid, plain_kid = (compute_kid(net.features(p).astype(np.float32), real, net, seed=0).value for p in (pixels, plain))
    true = np.array([simulated.truth.utility(u, maker.fit(made[u].pixels[:MADE])) for u in range(users)])
    products = simulated.truth.utilities(np.arange(users))
    scores = preference.score(preference.profiles[:users])
    for u in range(users):
        scores[u, known.matrix[u].indices] = -np.inf
    first = products[np.arange(users), scores.argmax(1)]
    print(
        f"steps {settings.steps}: {users} shoppers in {seconds:.1f} s; true utility {true.mean():.3f}, best of {MADE} "
        f"above the best product for {(true.max(1) > products.max(1)).mean():.1%}, above the first of the list for "
        f"{(true.max(1) > first).mean():.1%}; KID {kid:.3f}, of plain samples of these categories {plain_kid:.3f}"
    )


def quiz(simulated: Simulated, whole: Interactions, preference: Preference, first: int) -> None:
    rng = np.random.default_rng(1)
    profiles = preference.fold_in(whole.matrix[first:])
    full: list[float] = []
    reached: dict[str, list[float]] = {}
    for u in range(NEWCOMERS):
        true, seen = simulated.truth.utilities([first + u])[0], whole.matrix[first + u].indices
        full.append(_utility(preference.score(profiles[u]), true, seen))
        for way in ("chosen", "random"):
            asked = open_quiz(preference.factors, preference.bias, preference.profiles)
            for choice in range(1, 11):
                a, b = asked.next_pair() if way == "chosen" else rng.choice(len(true), 2, replace=False).tolist()
                if rng.random() > 1 / (1 + np.exp(-CHOICE * (true[a] - true[b]))):
                    a, b = b, a
                asked.answer(a, b)
                if choice in (5, 10):
                    reached.setdefault(f"{way} {choice}", []).append(_utility(asked.scores(), true, seen))
    said = ", ".join(f"{name}: {np.mean(v) / np.mean(full):.1%}" for name, v in reached.items())
    print(f"quiz, true utility of the first {PLACES} as a share of the full history's ({np.mean(full):.3f}): {said}")


def _utility(scores: np.ndarray, true: np.ndarray, seen: np.ndarray) -> float:
    left = scores.astype(np.float64).copy()
    left[seen] = -np.inf
    return float(true[np.argsort(-left, kind="stable")[:PLACES]].mean())


if __name__ == "__main__":
    main()
