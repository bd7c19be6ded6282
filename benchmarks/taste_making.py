"""Pictures made by taste, the quiz, and trade-offs, measured on simulated shoppers whose tastes are known.

    python benchmarks/taste_making.py --catalog demo/catalog --model src/packshot/shipped/fashion-32

The model of taste never sees the true tastes; they judge what it chose.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from packshot.catalog import open_catalog
from packshot.core.process import keep_freed_memory
from packshot.evaluation.distribution import compute_kid
from packshot.evaluation.features import cached_features
from packshot.models.features.efflite import load_efflite0
from packshot.models.features.net import FeatureNet
from packshot.sampling.generator import TrainedGenerator
from packshot.tasks.trained import load_run_generator
from packshot.taste.choice import fit_choice
from packshot.taste.fairness import compare_tradeoffs, unit_rows
from packshot.taste.fit import fit_preference
from packshot.taste.interactions import HALF_LIFE_DAYS, WEIGHTS, Interactions
from packshot.taste.making import PARENTS, Made, Maker, MakeSettings
from packshot.taste.measure import hold_out
from packshot.taste.named import Named, describe_looks
from packshot.taste.pool import PoolCache
from packshot.taste.preference import Floats, Preference
from packshot.taste.quiz import QuizSettings, open_quiz
from packshot.taste.simulate import CHOICE, Simulated, Simulation, draw_tastes, simulate_catalog
from packshot.taste.view import load_view

NEWCOMERS, PLACES, MADE, BY = 100, 20, 4, (5, 10)
PARTS = ("making", "others", "ceilings", "oracle", "quiz", "fairness")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalog", type=Path, default=Path("demo/catalog"))
    parser.add_argument("--model", type=Path, default=Path("src/packshot/shipped/fashion-32"))
    parser.add_argument("--users", type=int, default=1500)
    parser.add_argument("--products", type=int, default=1500)
    parser.add_argument("--asked", type=int, default=64, help="shoppers that pictures are made for")
    parser.add_argument("--size", type=int, default=28)
    parser.add_argument("--seed", type=int, default=0, help="of the shoppers and of what each model begins with")
    parser.add_argument("--parts", default=",".join(PARTS), help="what is measured")
    parser.add_argument("--log", type=Path, help="JSON Lines to add the figures to")
    given = parser.parse_args(arguments)
    keep_freed_memory()
    photos = open_catalog(given.catalog)
    settings = Simulation(users=given.users + NEWCOMERS, products=given.products, seed=given.seed)
    shop = Shop(simulate_catalog(photos, settings, size=given.size), given.users)
    shop.see(np.asarray(cached_features(load_view(), shop.simulated.images, photos.cache)))
    write = Log(given.log, {"catalog": photos.checksum, "simulation": asdict(settings), "generator": given.model.name})
    generator, parts = load_run_generator(given.model), given.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"--parts has no {', '.join(sorted(unknown))}; it can have {', '.join(PARTS)}")
    if "making" in parts:
        with tempfile.TemporaryDirectory() as folder:
            # The first that draws the samples pays for them; the next takes them from the cache, as in a shop.
            cache, plain = PoolCache(Path(folder), "benchmark"), MakeSettings(n=MADE, steps=0)
            making(shop, "choice, best of 2048", shop.choice, generator, plain, given.asked, write, cache)
            together = MakeSettings(n=MADE, children=16, together=True)
            name = f"choice, and {together.steps} rounds of {together.children} together, samples kept"
            making(shop, name, shop.choice, generator, together, given.asked, write, cache)
    if "others" in parts:
        few = MakeSettings(n=MADE, samples=256, steps=0)
        making(shop, "hybrid, best of 256", shop.hybrid, generator, few, given.asked, write)
        blind, plain = fit_choice(shop.known, shop.features), MakeSettings(n=MADE, steps=0)
        making(shop, "choice without names, best of 2048", blind, generator, plain, given.asked, write)
    if "ceilings" in parts:
        ceilings(shop, generator, given.asked, write)
    if "oracle" in parts:
        oracle(shop, generator, given.asked, write)
    if "quiz" in parts:
        quiz(shop, write)
    if "fairness" in parts:
        fairness(shop, write)


class Log:
    """Prints figures, and keeps them."""

    def __init__(self, path: Path | None, about: dict[str, Any]) -> None:
        self.path, self.about = path, about

    def __call__(self, what: str, row: dict[str, Any]) -> None:
        said = ", ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())
        print(f"{what}: {said}", flush=True)
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as f:
                f.write(json.dumps({"what": what, **self.about, **row}, default=float) + "\n")


class Shop:
    """Simulated shoppers, what is known of them, and the models that were fitted to it.

    Args:
        simulated: the shoppers; the last NEWCOMERS are not learned from.
        users: that are.
    """

    simulated: Simulated
    hybrid: Preference
    choice: Preference

    def __init__(self, simulated: Simulated, users: int) -> None:
        self.simulated, self.users = simulated, users
        self.whole = simulated.interactions(WEIGHTS, HALF_LIFE_DAYS)
        self.known = Interactions(
            self.whole.users[:users], self.whole.items, self.whole.matrix[:users], self.whole.last[:users]
        )

    def see(self, features: Floats) -> None:
        """Looks at the products and fits the models."""
        truth = self.simulated.truth
        self.kinds = [truth.categories[i] for i in truth.labels.tolist()]
        self.features, self.named = features, Named(features, describe_looks(self.simulated.images), self.kinds)
        self.rows = np.concatenate([features, self.named.rows], axis=1)
        self.hybrid = fit_preference("hybrid", self.known, features)
        self.choice = fit_choice(self.known, self.rows, self.named.rows.shape[1])

    def maker(
        self,
        preference: Preference,
        generator: TrainedGenerator,
        settings: MakeSettings,
        cache: PoolCache | None = None,
    ) -> Maker:
        named = preference is self.choice
        return Maker(
            generator,
            preference,
            load_view(),
            self.rows if named else self.features,
            side=self.simulated.images.shape[1],
            channels=self.simulated.images.shape[3],
            settings=settings,
            named=self.named if named else None,
            cache=cache,
        )


def making(
    shop: Shop,
    name: str,
    preference: Preference,
    generator: TrainedGenerator,
    how: MakeSettings,
    n: int,
    write: Log,
    cache: PoolCache | None = None,
) -> None:
    start, cpu = time.perf_counter(), time.process_time()
    maker = shop.maker(preference, generator, how, cache)
    made = maker.make(preference.profiles[:n], maker.possible(shop.known.matrix[:n]))
    took = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
    truth = shop.simulated.truth
    true = np.array([truth.utility(u, maker.fit(made[u].pixels[:MADE])) for u in range(n)])
    products = truth.utilities(np.arange(n))
    scores = shop.hybrid.score(shop.hybrid.profiles[:n])
    for u in range(n):
        scores[u, shop.known.matrix[u].indices] = -np.inf
    listed = products[np.arange(n), scores.argmax(1)]
    write(
        f"making, {name}",
        {
            "shoppers": n,
            **took,
            "load": os.getloadavg()[0],
            "true": float(true.mean()),
            "best_true": float(true.max(1).mean()),
            "best_above_listed": float((true.max(1) > listed).mean()),
            "best_above_all": float((true.max(1) > products.max(1)).mean()),
            "first_above_all": float((true[:, 0] > products.max(1)).mean()),
            **realism(shop, maker, made, products),
        },
    )


def realism(shop: Shop, maker: Maker, made: Sequence[Made], products: np.ndarray) -> dict[str, Any]:
    """KID of made pictures, and of plain samples of the same categories, in three readings.

    To all photos; to photos of these categories in these numbers; and to the photos of the 20 products that each of the
    same shoppers truly likes best: what a set of pictures that are all to their taste would look like.
    """
    net = load_efflite0()
    pixels = np.concatenate([maker.fit(one.pixels[:MADE]) for one in made])
    labels = np.concatenate([one.labels[:MADE] for one in made])
    plain = maker.fit(maker.generator.sample(labels.tolist(), 7))
    real = np.asarray(net.features(shop.simulated.images), np.float32)
    own, other = (net.features(p).astype(np.float32) for p in (pixels, plain))
    like = real[_alike(shop, [maker.generator.categories[y] for y in labels.tolist()])]
    liked = real[np.argsort(-products, axis=1)[:, :PLACES].ravel()]
    once = np.unique(pixels.reshape(len(pixels), -1), axis=0, return_index=True)[1]
    return {
        "kid": _kid(own, real, net),
        "kid_plain": _kid(other, real, net),
        "kid_alike": _kid(own, like, net),
        "kid_alike_plain": _kid(other, like, net),
        "kid_liked": _kid(own, liked, net),
        "kid_liked_plain": _kid(other, liked, net),
        "different": len(once),
    }


def _alike(shop: Shop, wanted: Sequence[str]) -> np.ndarray:
    """Returns four products for each wanted category."""
    rng, kinds = np.random.default_rng(0), np.array(shop.kinds)
    names, counts = np.unique(wanted, return_counts=True)
    parts = [rng.choice(np.flatnonzero(kinds == k), 4 * c) for k, c in zip(names, counts, strict=True)]
    return np.concatenate(parts)


def _kid(a: Floats, b: Floats, net: FeatureNet) -> float:
    return float(compute_kid(a, b, net, seed=0).value or 0.0)


def ceilings(shop: Shop, generator: TrainedGenerator, n: int, write: Log) -> None:
    """What the same samples would give to one who knows every taste, and to one who learns it from the same events
    in the very attributes that tastes are made of."""
    maker = shop.maker(shop.choice, generator, MakeSettings(n=MADE, samples=4096, steps=0))
    truth, pixels = shop.simulated.truth, maker.fit(maker.pool.pixels)
    best = truth.utilities(np.arange(n)).max(1)
    seen = truth.describe(pixels)
    true = truth.tastes[:n] @ seen.T + truth.offset[:n, None]
    learned = fit_choice(shop.known, np.concatenate([shop.features, truth.items], axis=1), truth.items.shape[1])
    rows = np.concatenate([maker.pool.features[:, : shop.features.shape[1]], seen], axis=1)
    guessed = learned.score_features(learned.profiles[:n], rows)
    for samples in (256, 1024, 4096):
        top = np.argsort(-guessed[:, :samples], axis=1, kind="stable")[:, :MADE]
        write(
            f"ceiling, best of {samples} samples",
            {
                "known_taste_above_all": float((true[:, :samples].max(1) > best).mean()),
                "learned_in_true_attributes_above_all": float((np.take_along_axis(true, top, 1).max(1) > best).mean()),
            },
        )
    chosen = np.argsort(-truth.utilities(np.arange(n)), axis=1)[:, :MADE].ravel()
    net = load_efflite0()
    real = np.asarray(net.features(shop.simulated.images), np.float32)
    write("ceiling, photos of the products that are truly liked most", {"kid": _kid(real[chosen], real, net)})


def oracle(shop: Shop, generator: TrainedGenerator, n: int, write: Log, rounds: int = 6) -> None:
    """The same search by one who knows every taste; and what a learned taste chooses of all that came of it."""
    maker = shop.maker(shop.choice, generator, MakeSettings(n=MADE, samples=1024, steps=0))
    truth, pool, rng = shop.simulated.truth, maker.pool, np.random.default_rng(7)
    best, step = truth.utilities(np.arange(n)).max(1), maker.settings.step
    pool = pool.at(np.flatnonzero((pool.distance <= maker.limit) & pool.alike))
    seen = truth.describe(maker.fit(pool.pixels))
    for turn in range(rounds + 1):
        true = truth.tastes[:n] @ seen.T + truth.offset[:n, None]
        write(
            f"oracle, after {turn} rounds",
            {"pictures": len(seen), "known_above_all": float((true.max(1) > best).mean())},
        )
        if turn == rounds:
            break
        chosen = np.argsort(-true, axis=1)[:, np.arange(maker.settings.children) % PARENTS].ravel()
        start = pool.at(chosen)
        eps = np.sqrt(1 - step**2) * start.eps + step * rng.normal(size=start.eps.shape)
        made = maker.sampler.sampled(eps.astype(np.float32), start.labels, start.cond, start.number, moved=True)
        made = made.at(np.flatnonzero((made.distance <= maker.limit) & made.alike))
        pool, seen = pool.joined(made), np.concatenate([seen, truth.describe(maker.fit(made.pixels))])
    possible = maker.possible(shop.known.matrix[:n])
    guessed = np.array([maker._chosen(pool, tastes, MADE) for tastes in possible])
    got = np.take_along_axis(true, guessed, 1).max(1)
    write("oracle, and a learned taste chooses", {"learned_above_all": float((got > best).mean())})
    # Beside the features the pool has what the shop sees: the same attributes in another order.
    names = [name.lower() for name in shop.named.names]
    places = [shop.features.shape[1] + names.index(name.lower()) for name in truth.attributes]
    tastes = draw_posterior(shop, n)
    for who, eyes in (("as the shop does", pool.features[:, places]), ("as the simulator does", seen)):
        chosen = np.array([likeliest_above(own, top, eyes) for own, top in tastes])
        got = np.take_along_axis(true, chosen, 1).max(1)
        write(f"oracle, and who knows how tastes are drawn and sees pictures {who} chooses",
              {"ideal_above_all": float((got > best).mean())})  # fmt: skip


def draw_posterior(
    shop: Shop, n: int, draws: int = 1_000_000, chunk: int = 4000
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns what the best statistician thinks of n shoppers' tastes from their events alone.

    Who knows how the simulator draws tastes, each product's fame and all attributes, but no taste: of `draws` tastes,
    `chunk` at a time, 1,000 are drawn for each shopper with the likelihood of the events as odds. For each shopper: the
    tastes [1000, A], and by each of them the utility of the best product [1000].
    """
    simulated, rng = shop.simulated, np.random.default_rng(99)
    truth, mine = simulated.truth, simulated.user < n
    picks = csr_matrix(
        (np.ones(mine.sum(), np.float32), (simulated.user[mine], simulated.product[mine])),
        shape=(n, len(truth.items)),
    )
    number = np.asarray(picks.sum(1)).ravel()[:, None]
    tastes, tops, likely = [], [], []
    for _ in range(0, draws, chunk):
        some = draw_tastes(truth.items, len(truth.categories), chunk, rng).astype(np.float32)
        utility = some @ truth.items.T
        odds = CHOICE * utility + truth.fame
        top = odds.max(1)
        likely.append((picks @ odds.T - number * (top + np.log(np.exp(odds - top[:, None]).sum(1)))).astype(np.float32))
        tastes.append(some)
        tops.append(utility.max(1))
    every, best = np.concatenate(tastes), np.concatenate(tops)
    out = []
    for row in np.concatenate(likely, axis=1):
        odds = np.exp(row.astype(np.float64) - row.max())
        drawn = rng.choice(len(every), 1000, p=odds / odds.sum())
        out.append((every[drawn], best[drawn]))
    return out


def likeliest_above(tastes: np.ndarray, best: np.ndarray, pictures: np.ndarray) -> list[int]:
    """Returns MADE of pictures [N, A], of which each next makes it likeliest that one of them is above `best` [M]."""
    above = tastes @ pictures.T > best[:, None]
    missed, chosen = np.ones(len(tastes), bool), []
    for _ in range(MADE):
        chosen.append(int((missed[:, None] & above).sum(0).argmax()))
        missed &= ~above[:, chosen[-1]]
    return chosen


def quiz(shop: Shop, write: Log) -> None:
    """True utility of the first 20 products: after some answers, and with the full history."""
    truth, first = shop.simulated.truth, shop.users
    models = {"hybrid": shop.hybrid, "choice": shop.choice}
    folded = {name: model.fold_in(shop.whole.matrix[first:]) for name, model in models.items()}
    reached: dict[str, list[float]] = {}
    rng = np.random.default_rng(1)
    for u in range(NEWCOMERS):
        true, seen = truth.utilities([first + u])[0], shop.whole.matrix[first + u].indices
        for name, model in models.items():
            own = folded[name][u] @ model.factors.T + (model.bias if name == "hybrid" else 0)
            reached.setdefault(f"history_{name}", []).append(_utility(own, true, seen))
        for way in ("chosen", "random"):
            model = shop.choice
            asked = open_quiz(model.factors, 0 * model.bias, model.profiles, settings=QuizSettings(seed=u))
            for choice in range(1, max(BY) + 1):
                a, b = asked.next_pair() if way == "chosen" else rng.choice(len(true), 2, replace=False).tolist()
                if rng.random() > 1 / (1 + np.exp(-CHOICE * (true[a] - true[b]))):
                    a, b = b, a
                asked.answer(a, b)
                if choice in BY:
                    reached.setdefault(f"{way}_{choice}", []).append(_utility(asked.scores(), true, seen))
    means = {name: float(np.mean(values)) for name, values in reached.items()}
    for base in models:
        whole = means[f"history_{base}"]
        shares = {name: value / whole for name, value in means.items() if not name.startswith("history")}
        write(f"quiz, share of what the full history gives by {base}", {"history": whole, **shares})


def _utility(scores: np.ndarray, true: np.ndarray, seen: np.ndarray) -> float:
    left = scores.astype(np.float64).copy()
    left[seen] = -np.inf
    return float(true[np.argsort(-left, kind="stable")[:PLACES]].mean())


def fairness(shop: Shop, write: Log) -> None:
    """Lists at several trade-offs: what is taken away and found again, and who is shown."""
    held = hold_out(shop.whole, cold_share=0)
    preference = fit_preference("hybrid", held.train, shop.features)
    rows = compare_tradeoffs(
        preference,
        held.train,
        unit_rows(shop.features),
        shop.kinds,
        [None] * len(shop.kinds),
        tradeoffs=((0, 0), (0.3, 0), (0, 0.1), (0, 0.3), (0, 1.0), (0.3, 0.3)),
        asked=held.warm,
        seen=held.seen,
    )
    for row in rows:
        groups = {f"{e.group}: lift": e.lift for e in row.exposure if e.by == "popularity"}
        hits = {f"{q.group}: hits": q.hits for q in row.quality if q.by == "popularity"}
        about = {"liked": row.liked, "diversity": row.diversity, "shown": row.shown}
        about |= {"hits": row.hits, "ndcg": row.ndcg}
        write("fairness", {"tradeoff": row.tradeoff, "lifted": row.lift, **about, **groups, **hits})


if __name__ == "__main__":
    main()
