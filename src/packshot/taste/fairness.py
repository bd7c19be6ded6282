"""Lists that are not all the same: a re-ranker with a stated trade-off, and who gets how much of the shop window.

Letters: I items, D features, n places of a list, L lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from packshot.core.errors import UsageError
from packshot.taste.interactions import Interactions
from packshot.taste.preference import Preference

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

SHARES = 3
"""Bands of price and of popularity: lowest, middle and highest third."""


def unit_rows(features: Floats, centre: Floats | None = None) -> Floats:
    """Returns features [I, D] less `centre` [D] at length 1; their dot products are cosine similarities.

    Args:
        features: of pictures.
        centre: what all have in common; None: their own mean. Without it all product pictures are alike.
    """
    rows = features - (features.mean(0) if centre is None else centre)
    out: Floats = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return out


def rerank(scores: Floats, looks: Floats, n: int, tradeoff: float) -> Ints:
    """Returns the places of n items, by maximal marginal relevance (Carbonell & Goldstein 1998).

    Each next item has the largest (1 - tradeoff) * score - tradeoff * (its largest similarity to those chosen). Scores
    are in standard deviations over all items, so the trade-off means the same for every model: at 0 the list is the
    model's own order; at 0.5 one standard deviation of score is worth as much as not showing the very same thing twice.

    Args:
        scores: float32 [I].
        looks: float32 [I, D] of length 1, see `unit_rows`.
        n: places; fewer come back where there are not so many items.
        tradeoff: from 0 to 1.

    Raises:
        UsageError: the trade-off is out of its range.
    """
    if not 0 <= tradeoff <= 1:
        raise UsageError(f"The trade-off between liked and varied is {tradeoff}; it can be from 0 to 1.")
    relevance = (scores - scores.mean()) / max(float(scores.std()), 1e-9)
    nearest = np.zeros(len(scores), np.float32)
    left = np.ones(len(scores), bool)
    chosen: list[int] = []
    for _ in range(min(n, len(scores))):
        value = np.where(left, (1 - tradeoff) * relevance - tradeoff * nearest, -np.inf)
        best = int(value.argmax())
        chosen.append(best)
        left[best] = False
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
        np.add.at(weight, one, 1 / np.log2(np.arange(len(one)) + 2))
    known = np.array([np.nan if p is None else p for p in prices], np.float64)
    touched = np.where(np.asarray(events) > 0, np.asarray(events, np.float64), np.nan)
    groups = {
        "category": np.array([c or "none" for c in categories], dtype=object),
        "price": _bands(known, ("low", "middle", "high")),
        "popularity": _bands(touched, ("few events", "some events", "many events")),
    }
    out = []
    for by, names in groups.items():
        for name in sorted(set(names.tolist())):
            mine = names == name
            products, seen = float(mine.mean()), float(weight[mine].sum() / max(weight.sum(), 1e-12))
            out.append(Exposure(by, name, round(products, 4), round(seen, 4), round(seen / products, 3)))
    return out


@dataclass(frozen=True)
class Tradeoff:
    """What lists are like at one trade-off between liked and varied.

    Attributes:
        tradeoff: see `rerank`.
        liked: mean predicted preference of what is listed, in standard deviations over the catalogue, place by place
            with the weights of `Exposure`.
        diversity: mean over the lists of `diversity`; None: lists of one product.
        shown: share of the catalogue that stands in any list.
        exposure: who gets how much.
        shoppers: whose lists these are.
    """

    tradeoff: float
    liked: float
    diversity: float | None
    shown: float
    exposure: list[Exposure]
    shoppers: int


def compare_tradeoffs(
    preference: Preference,
    interactions: Interactions,
    looks: Floats,
    categories: Sequence[str | None],
    prices: Sequence[float | None],
    *,
    places: int = 20,
    tradeoffs: Sequence[float] = (0.0, 0.15, 0.3, 0.5),
    most: int = 300,
    seed: int = 0,
) -> list[Tradeoff]:
    """Returns what the lists of some shoppers are like at several trade-offs; the shop chooses.

    Args:
        preference: the model, fitted with these shoppers.
        interactions: histories; what is in one is not listed.
        looks: float32 [I, D] of length 1, see `unit_rows`.
        categories: of the I items.
        prices: of the I items.
        places: of a list.
        tradeoffs: to compare.
        most: shoppers, drawn at random.
        seed: of the draw.
    """
    users = np.flatnonzero(np.diff(interactions.positive.indptr) > 0)
    users = np.sort(np.random.default_rng(seed).permutation(users)[:most])
    events = np.bincount(interactions.positive.indices, minlength=len(interactions.items))
    weight = 1 / np.log2(np.arange(places) + 2)
    out = []
    for tradeoff in tradeoffs:
        lists, liked, varied = [], [], []
        for user in users.tolist():
            left = np.setdiff1d(np.arange(len(looks)), interactions.matrix[user].indices)
            scores = preference.score(preference.profiles[user])
            listed = left[rerank(scores[left], looks[left], places, tradeoff)]
            standard = (scores[listed] - scores.mean()) / max(float(scores.std()), 1e-9)
            liked.append(float(np.average(standard, weights=weight[: len(listed)])))
            varied.append(diversity(looks[listed]))
            lists.append(listed)
        known = [v for v in varied if v is not None]
        out.append(
            Tradeoff(
                tradeoff,
                round(float(np.mean(liked)), 4),
                round(float(np.mean(known)), 4) if known else None,
                round(len(np.unique(np.concatenate(lists))) / len(looks), 4),
                measure_exposure(lists, categories, prices, events),
                len(users),
            )
        )
    return out


def _bands(values: npt.NDArray[np.float64], names: Sequence[str]) -> npt.NDArray[Any]:
    """Returns a band's name for each value: thirds by rank; equal values share a band; nan is "none"."""
    out = np.full(len(values), "none", dtype=object)
    known = np.isfinite(values)
    if known.any():
        edges = np.quantile(values[known], np.arange(1, SHARES) / SHARES)
        out[known] = np.array(names, dtype=object)[np.searchsorted(edges, values[known], side="left")]
    return out
