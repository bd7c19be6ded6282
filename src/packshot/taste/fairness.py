"""Lists that are not all the same, nor all of what is known: a re-ranker with stated trade-offs, and who gets what.

Letters: I items, D features, n places of a list, L lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from packshot.core.errors import UsageError
from packshot.taste.interactions import Interactions
from packshot.taste.measure import Asked
from packshot.taste.preference import Preference

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

SHARES = 3
"""Bands of price and of popularity: lowest, middle and highest third."""
EXACT = 1e-9
POPULARITY = ("few events", "some events", "many events")
PRICES = ("low", "middle", "high")
NO_GROUP = "none"


def unit_rows(features: Floats, centre: Floats | None = None) -> Floats:
    """Returns features [I, D] less `centre` [D] at length 1; their dot products are cosine similarities.

    Args:
        features: of pictures.
        centre: what all have in common; None: their own mean. Without it all product pictures are alike.
    """
    rows = features - (features.mean(0) if centre is None else centre)
    out: Floats = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return out


def attention(n: int) -> npt.NDArray[np.float64]:
    """Returns how much the places 1 .. n of a list are looked at: 1 / log2(place + 1)."""
    out: npt.NDArray[np.float64] = 1 / np.log2(np.arange(n) + 2)
    return out


def rerank(
    scores: Floats,
    looks: Floats,
    n: int,
    tradeoff: float,
    *,
    little_known: npt.NDArray[np.bool_] | None = None,
    lift: float = 0.0,
) -> Ints:
    """Returns the places of n items, by maximal marginal relevance (Carbonell & Goldstein 1998).

    Each next item has the largest (1 - tradeoff) * score - tradeoff * (its largest similarity to those chosen). Scores
    are in standard deviations over all items, so the trade-off means the same for every model: at 0 the list is the
    model's own order; at 0.5 one standard deviation of score is worth as much as not showing the very same thing twice.

    With `lift`, little-known items get at least that much of the attention that their share of all items would be.
    The best of them comes next wherever what they are owed so far is as much as the place gives, and where otherwise
    too few places would be left. So they stand all over the list, and never first unless the model says so.

    Args:
        scores: float32 [I].
        looks: float32 [I, D] of length 1, see `unit_rows`.
        n: places; fewer come back where there are not so many items.
        tradeoff: from 0 to 1.
        little_known: bool [I]; None: none is.
        lift: from 0 to 1.

    Raises:
        UsageError: a trade-off is out of its range.
    """
    if not 0 <= tradeoff <= 1:
        raise UsageError(f"The trade-off between liked and varied is {tradeoff}; it can be from 0 to 1.")
    if not 0 <= lift <= 1:
        raise UsageError(f"The share that little-known products get is {lift}; it can be from 0 to 1.")
    if not len(scores):
        return np.zeros(0, np.int64)
    unknown = np.zeros(len(scores), bool) if little_known is None else little_known
    weight = attention(min(n, len(scores)))
    owed = lift * float(unknown.mean()) * np.cumsum(weight)
    relevance = (scores - scores.mean()) / max(float(scores.std()), 1e-9)
    nearest = np.zeros(len(scores), np.float32)
    left = np.ones(len(scores), bool)
    chosen: list[int] = []
    given = 0.0
    for place in range(len(weight)):
        late = given + weight[place + 1 :].sum() < owed[-1] - EXACT
        behind = (late or owed[place] - given >= weight[place]) and (left & unknown).any()
        among = left & unknown if behind else left
        value = np.where(among, (1 - tradeoff) * relevance - tradeoff * nearest, -np.inf)
        best = int(value.argmax())
        chosen.append(best)
        left[best] = False
        given += weight[place] * unknown[best]
        nearest = np.maximum(nearest, looks @ looks[best])
    return np.array(chosen, np.int64)


def diversity(looks: Floats) -> float | None:
    """Returns the mean of 1 - cosine similarity over the pairs of a list [n, D] of length-1 rows; None: no pair."""
    n = len(looks)
    if n < 2:
        return None
    return float(1 - (np.square(looks.sum(0)).sum() - n) / (n * (n - 1)))


@dataclass(frozen=True)
class Exposure:
    """How much of the lists a group of products gets.

    Attributes:
        by: "category", "price" or "popularity".
        group: which.
        products: share of the catalogue's products that are of it.
        exposure: share of the attention, where place k has weight 1 / log2(k + 1).
        lift: exposure over products; 1 is its share.
    """

    by: str
    group: str
    products: float
    exposure: float
    lift: float


def measure_exposure(
    lists: Sequence[Ints],
    categories: Sequence[str | None],
    prices: Sequence[float | None],
    events: npt.NDArray[np.integer[Any]],
) -> list[Exposure]:
    """Returns who gets how much of some lists, by category, price band and popularity.

    Args:
        lists: L lists of item numbers, best first.
        categories: of the I items; None counts as "none".
        prices: of the I items; items without a price are a band of their own.
        events: int [I], of each item; none is a band of its own: what nobody touched has its looks alone.
    """
    weight = np.zeros(len(categories))
    for one in lists:
        np.add.at(weight, one, attention(len(one)))
    out = []
    for by, names in group_products(categories, prices, events).items():
        for name in _in_order(names):
            mine = names == name
            products, seen = float(mine.mean()), float(weight[mine].sum() / max(weight.sum(), 1e-12))
            out.append(Exposure(by, name, round(products, 4), round(seen, 4), round(seen / products, 3)))
    return out


def group_products(
    categories: Sequence[str | None], prices: Sequence[float | None], events: npt.NDArray[np.integer[Any]]
) -> dict[str, npt.NDArray[Any]]:
    """Returns the group's name of each of the I products, by category, price and popularity."""
    known = np.array([np.nan if p is None else p for p in prices], np.float64)
    touched = np.where(np.asarray(events) > 0, np.asarray(events, np.float64), np.nan)
    return {
        "category": np.array([c or NO_GROUP for c in categories], dtype=object),
        "price": _bands(known, PRICES),
        "popularity": _bands(touched, POPULARITY),
    }


@dataclass(frozen=True)
class Quality:
    """How well lists find what shoppers of a group of products went on to like.

    Attributes:
        by: "category", "price" or "popularity".
        group: which.
        asked: shoppers whose last liked product, taken away before the model was fitted, is of the group.
        hits: share of them whose list holds it.
        ndcg: how far up it stands: mean of 1 / log2(place + 1), 0 where it is not in the list.
    """

    by: str
    group: str
    asked: int
    hits: float
    ndcg: float


@dataclass(frozen=True)
class Tradeoff:
    """What lists are like at one trade-off between liked and varied, and between liked and little known.

    Attributes:
        tradeoff: see `rerank`.
        liked: mean predicted preference of what is listed, in standard deviations over the catalogue, place by place
            with the weights of `Exposure`.
        diversity: mean over the lists of `diversity`; None: lists of one product.
        shown: share of the catalogue that stands in any list.
        exposure: who gets how much.
        shoppers: whose lists these are.
        lift: that little-known products get at least, see `rerank`.
        hits: share of the lists that hold the product that was taken away; None: none was.
        ndcg: how far up it stands.
        quality: the same by groups of products.
    """

    tradeoff: float
    liked: float
    diversity: float | None
    shown: float
    exposure: list[Exposure]
    shoppers: int
    lift: float = 0.0
    hits: float | None = None
    ndcg: float | None = None
    quality: list[Quality] = field(default_factory=list)


def compare_tradeoffs(
    preference: Preference,
    interactions: Interactions,
    looks: Floats,
    categories: Sequence[str | None],
    prices: Sequence[float | None],
    *,
    places: int = 20,
    tradeoffs: Sequence[float | tuple[float, float]] = (0.0, 0.15, 0.3, 0.5),
    most: int = 300,
    seed: int = 0,
    asked: Asked | None = None,
    seen: csr_matrix | None = None,
) -> list[Tradeoff]:
    """Returns what the lists of some shoppers are like at several trade-offs; the shop chooses.

    Args:
        preference: the model, fitted with these shoppers.
        interactions: histories that it was fitted with; what is in one is not listed.
        looks: float32 [I, D] of length 1, see `unit_rows`.
        categories: of the I items.
        prices: of the I items.
        places: of a list.
        tradeoffs: to compare: between liked and varied, or this and the lift of little-known products. Those are the
            third with the fewest events, and all without any.
        most: shoppers, drawn at random.
        seed: of the draw.
        asked: products that were taken away from the histories, to measure quality by; None: only exposure is.
        seen: the whole histories, where products were taken away.
    """
    users = np.flatnonzero(np.diff(interactions.positive.indptr) > 0) if asked is None else asked.users
    users = np.sort(np.random.default_rng(seed).permutation(users)[:most])
    target = np.full(interactions.matrix.shape[0], -1)
    if asked is not None:
        target[asked.users] = asked.targets
    events = np.bincount(interactions.positive.indices, minlength=len(interactions.items))
    groups = group_products(categories, prices, events)
    unknown = np.isin(groups["popularity"], (POPULARITY[0], NO_GROUP))
    touched = interactions.matrix if seen is None else seen
    out = []
    for one in tradeoffs:
        tradeoff, lift = one if isinstance(one, tuple) else (one, 0.0)
        lists, liked, varied = [], [], []
        for user in users.tolist():
            gone = np.setdiff1d(touched[user].indices, target[user])
            left = np.setdiff1d(np.arange(len(looks)), gone)
            scores = preference.score(preference.profiles[user])
            own = rerank(scores[left], looks[left], places, tradeoff, little_known=unknown[left], lift=lift)
            listed = left[own]
            standard = (scores[listed] - scores.mean()) / max(float(scores.std()), 1e-9)
            liked.append(float(np.average(standard, weights=attention(len(listed)))))
            varied.append(diversity(looks[listed]))
            lists.append(listed)
        known = [v for v in varied if v is not None]
        found = None if asked is None else _found(lists, target[users])
        out.append(
            Tradeoff(
                tradeoff,
                round(float(np.mean(liked)), 4),
                round(float(np.mean(known)), 4) if known else None,
                round(len(np.unique(np.concatenate(lists))) / len(looks), 4),
                measure_exposure(lists, categories, prices, events),
                len(users),
                lift,
                None if found is None else round(float((found > 0).mean()), 4),
                None if found is None else round(float(found.mean()), 4),
                [] if found is None else _quality(found, target[users], groups),
            )
        )
    return out


def _found(lists: Sequence[Ints], targets: Ints) -> npt.NDArray[np.float64]:
    """Returns the attention that the place of each list's target gets, float64 [L]; 0: it is not in the list."""
    places = [np.flatnonzero(one == target) for one, target in zip(lists, targets.tolist(), strict=True)]
    return np.array([attention(int(p[0]) + 1)[-1] if len(p) else 0.0 for p in places])


def _quality(found: npt.NDArray[np.float64], targets: Ints, groups: dict[str, npt.NDArray[Any]]) -> list[Quality]:
    out = []
    for by, names in groups.items():
        own = names[targets]
        for name in _in_order(names):
            mine = found[own == name]
            if len(mine):
                hits, ndcg = float((mine > 0).mean()), float(mine.mean())
                out.append(Quality(by, name, len(mine), round(hits, 4), round(ndcg, 4)))
    return out


def _in_order(names: npt.NDArray[Any]) -> list[str]:
    """Returns the groups that are there: bands from low to high, categories by name, those without a group last."""
    place = {name: i for i, name in enumerate((*PRICES, *POPULARITY))}
    return sorted(set(names.tolist()), key=lambda name: (name == NO_GROUP, place.get(name, 0), name))


def _bands(values: npt.NDArray[np.float64], names: Sequence[str]) -> npt.NDArray[Any]:
    """Returns a band's name for each value: thirds by rank; equal values share a band; nan is "none"."""
    out = np.full(len(values), NO_GROUP, dtype=object)
    known = np.isfinite(values)
    if known.any():
        edges = np.quantile(values[known], np.arange(1, SHARES) / SHARES)
        out[known] = np.array(names, dtype=object)[np.searchsorted(edges, values[known], side="left")]
    return out
