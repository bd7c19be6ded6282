"""How well a model ranks: the last thing that each shopper liked, against all that they did not touch.

Letters: U users, I items, n users that are asked about, k places of a list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from packshot.core.errors import PackshotError
from packshot.core.random import stream_seed
from packshot.evaluation.figures import Figure, bootstrap_interval
from packshot.taste.interactions import Interactions
from packshot.taste.preference import Floats, Preference

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Scorer = Callable[[Ints], Floats]
"""Scores float32 [n, I] of users int64 [n]."""

PLACES = 20
BLOCK = 256
COLD_SHARE = 0.1
MOST_ASKED = 20_000
LEAST = 2


@dataclass(frozen=True, eq=False)
class Asked:
    """Users, and for each of them the product that is looked for.

    Attributes:
        users: int64 [n].
        targets: int64 [n].
        among: bool [I], the products that it is ranked among.
    """

    users: Ints
    targets: Ints
    among: Bools


@dataclass(frozen=True, eq=False)
class Held:
    """What a model may learn from, and what it is asked.

    Attributes:
        train: histories without what is asked.
        warm: the last product that each user liked, among products with events.
        cold: a product that a user liked, among products all of whose events were taken away.
        seen: the whole histories [U, I]: what somebody touched is no wrong answer.
    """

    train: Interactions
    warm: Asked
    cold: Asked
    seen: csr_matrix


def hold_out(interactions: Interactions, *, seed: int = 0, cold_share: float = COLD_SHARE) -> Held:
    """Takes away each user's last liked item, and all events of a random share of the items.

    So what is cold is cold for everything: events, features' directions, biases. Users whose last liked item is a cold
    one are asked about that one alone. Of more than 20,000 users a random part is asked.

    Raises:
        PackshotError: nobody has a liked item to take away and one to keep.
    """
    rng = np.random.default_rng(stream_seed(seed, "cold"))
    items = len(interactions.items)
    cold = np.zeros(items, bool)
    cold[rng.permutation(items)[: int(cold_share * items)]] = True
    matrix = interactions.matrix.tocsr()
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    away = cold[matrix.indices]
    left = np.bincount(rows[~away & (matrix.data > 0)], minlength=matrix.shape[0])
    last = interactions.last.astype(np.int64)
    able = np.flatnonzero((last >= 0) & (left > 1) & ~cold[np.maximum(last, 0)])
    if len(able) < LEAST:
        raise PackshotError(
            "Fewer than two shoppers liked two products, so nothing can be measured; ingest more events."
        )
    asked = np.full(len(last), -1, np.int64)
    asked[able] = last[able]
    train = matrix.copy()
    train.data[away | (matrix.indices == asked[rows])] = 0
    train.eliminate_zeros()
    chosen = _some(able, rng)
    # Who was last positive about what is not known of the rest; models only judge themselves by it.
    kept = Interactions(interactions.users, interactions.items, train, _any_liked(train, rng))
    warm = np.bincount(kept.positive.indices, minlength=items) > 0
    return Held(
        kept,
        Asked(chosen, asked[chosen], warm),
        _cold(interactions.positive, cold, left > 0, rng),
        matrix,
    )


def _some(users: Ints, rng: np.random.Generator) -> Ints:
    return np.sort(rng.permutation(users)[:MOST_ASKED])


def _cold(positive: csr_matrix, cold: Bools, left: Bools, rng: np.random.Generator) -> Asked:
    """Asks each user with a rest of a history about one of the cold products that they liked."""
    rows = np.repeat(np.arange(positive.shape[0]), np.diff(positive.indptr))
    good = np.flatnonzero(cold[positive.indices] & left[rows])
    good = rng.permutation(good)
    users, first = np.unique(rows[good], return_index=True)
    chosen = _some(np.arange(len(users)), rng)
    return Asked(users[chosen].astype(np.int64), positive.indices[good[first]][chosen].astype(np.int64), cold)


def _any_liked(train: csr_matrix, rng: np.random.Generator) -> npt.NDArray[np.int32]:
    rows = np.repeat(np.arange(train.shape[0]), np.diff(train.indptr))
    liked = rng.permutation(np.flatnonzero(train.data > 0))
    users, first = np.unique(rows[liked], return_index=True)
    out = np.full(train.shape[0], -1, np.int32)
    out[users] = train.indices[liked[first]]
    return out


@dataclass(frozen=True, eq=False)
class Ranks:
    """Where the products that were looked for stand.

    Attributes:
        above: float64 [n], products of the list with a higher score.
        tied: float64 [n], others with the same score.
        rivals: int64 [n], all others of the list.
    """

    above: npt.NDArray[np.float64]
    tied: npt.NDArray[np.float64]
    rivals: Ints

    @property
    def auc(self) -> npt.NDArray[np.float64]:
        """AUC [n]: the share of the others that stand below, a tie as half."""
        return 1 - (self.above + self.tied / 2) / np.maximum(self.rivals, 1)

    def ndcg(self, places: int = PLACES) -> npt.NDArray[np.float64]:
        """NDCG [n] at `places` with one right product: 1 / log2(rank + 1); of a tie the mean over its ranks."""
        gain = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(places) + 2))])
        return self._mean(gain)

    def hits(self, places: int = PLACES) -> npt.NDArray[np.float64]:
        """Hit rate [n] at `places`; of a tie the share of its ranks that are hits."""
        return self._mean(np.arange(places + 1, dtype=np.float64))

    def _mean(self, total: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The mean over the tie's ranks of what `total` sums up."""
        most = len(total) - 1
        start = np.minimum(self.above, most).astype(int)
        end = np.minimum(self.above + self.tied + 1, most).astype(int)
        out: npt.NDArray[np.float64] = (total[end] - total[start]) / (self.tied + 1)
        return out


def rank_targets(score: Scorer, asked: Asked, seen: csr_matrix) -> Ranks:
    """Returns where each target stands among the products of the list that its user did not touch.

    Args:
        score: gives the scores.
        asked: users, targets and the list.
        seen: [U, I], what each user touched.
    """
    n = len(asked.users)
    above, tied, rivals = np.zeros(n), np.zeros(n), np.zeros(n, np.int64)
    for start in range(0, n, BLOCK):
        part = slice(start, min(start + BLOCK, n))
        scores = score(asked.users[part])
        others = asked.among[None] & ~(seen[asked.users[part]].toarray() != 0)
        own = scores[np.arange(len(scores)), asked.targets[part]][:, None]
        above[part] = ((scores > own) & others).sum(1)
        tied[part] = ((scores == own) & others).sum(1)
        rivals[part] = others.sum(1)
    return Ranks(above, tied, rivals)


def scorer(model: Preference) -> Scorer:
    """Returns the scores of a model for the users that it was fitted with."""
    return lambda users: model.score(model.profiles[users])


def measure(score: Scorer, held: Held, name: str, *, seed: int = 0) -> list[Figure]:
    """Returns AUC, NDCG and hit rate on warm products and AUC on cold ones, with bootstrap intervals over users."""
    warm = rank_targets(score, held.warm, held.seen)
    cold = rank_targets(score, held.cold, held.seen)
    said = f"The last product that each shopper liked, among {int(held.warm.among.sum()):,} with events"
    dark = f"One that the shopper liked, among {int(held.cold.among.sum()):,} whose events were all taken away"
    return [
        _figure(f"auc_{name}", warm.auc, seed, "Share of the other products that stand below the right one.", said),
        _figure(
            f"ndcg{PLACES}_{name}", warm.ndcg(), seed, f"How far up in the first {PLACES} the right one stands.", said
        ),
        _figure(f"hit{PLACES}_{name}", warm.hits(), seed, f"Share of lists of {PLACES} that hold the right one.", said),
        _figure(f"cold_auc_{name}", cold.auc, seed, "The same share, among products that nobody has touched.", dark),
    ]


def difference(score: Scorer, other: Scorer, held: Held, name: str, *, seed: int = 0) -> list[Figure]:
    """Returns by how much one model's AUC and NDCG on warm products exceed another's, user by user."""
    one, two = (rank_targets(s, held.warm, held.seen) for s in (score, other))
    said = "The same users and products for both; the interval is of the difference"
    return [
        _figure(f"auc_gain_{name}", one.auc - two.auc, seed, "AUC more than the other model's.", said),
        _figure(f"ndcg{PLACES}_gain_{name}", one.ndcg() - two.ndcg(), seed, "NDCG more than the other model's.", said),
    ]


def _figure(name: str, values: npt.NDArray[np.float64], seed: int, meaning: str, said: str) -> Figure:
    protocol = f"{said}; products that the shopper touched are left out; a tie counts half; bootstrap over shoppers."
    figure = Figure(
        name=name,
        n=len(values),
        n_real=0,
        seed=seed,
        meaning=meaning,
        protocol=protocol,
        warning=f"{len(values)} shoppers can be asked; at least {LEAST} are needed.",
    )
    if len(values) < LEAST:
        return figure
    value = float(values.mean())
    low, high = bootstrap_interval(value, [values], seed, name)
    return figure.measured(value, (min(low, value), max(high, value)))
