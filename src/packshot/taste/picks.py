"""What a shopper picked, as a likelihood of tastes: the likeliest taste, and all that are possible.

A pick is product i with odds exp(w . x_i + b_i), w the taste, b_i the product's fame. Tastes are normal in a shop,
w ~ N(mean, covariance). Around the likeliest taste the posterior is taken for its second-order expansion, a normal too
(Laplace's approximation): these are the tastes that a history leaves possible.

The denominator is summed over rivals that stand for all products. What a shopper picked stands in it for itself,
whether it is a rival or not: else a pick that is no rival has no limit to how much it may be liked (McFadden 1978,
"Modelling the choice of residential location", on sampled alternatives).

Letters: B shoppers, I items, J rivals, K numbers of a taste, P picks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

Floats = npt.NDArray[np.float32]

LONGEST, CLOSE = 4.0, 1e-4
HIGHEST = 60.0
"""Log of a pick's odds over those of the likeliest rival that is counted."""
STEPS = 25


@dataclass(frozen=True, eq=False)
class Shop:
    """The products that shoppers pick from.

    Attributes:
        x: float32 [I, K].
        fame: float32 [I].
        rivals: int64 [J], those that stand for all.
        part: J over the number of products that could be picked.
    """

    x: Floats
    fame: Floats
    rivals: npt.NDArray[np.int64]
    part: float


@dataclass(frozen=True, eq=False)
class Likely:
    """The likeliest tastes of some shoppers, and how sure they are.

    Attributes:
        tastes: float32 [B, K].
        covariances: float32 [B, K, K].
        logs: float32 [B], the logarithm of the denominator.
    """

    tastes: Floats
    covariances: Floats
    logs: Floats

    def draw(self, row: int, n: int, rng: np.random.Generator) -> Floats:
        """Returns n tastes float32 [n, K] that are possible for a shopper."""
        root = np.linalg.cholesky(self.covariances[row].astype(np.float64))
        own = self.tastes[row]
        out: Floats = (own + rng.normal(size=(n, len(own))) @ root.T).astype(np.float32)
        return out


def climb(
    shop: Shop, picks: csr_matrix, mean: Floats, covariance: Floats, tastes: Floats, *, steps: int = STEPS
) -> Likely:
    """Climbs to the likeliest tastes given picks, by Newton's method.

    Args:
        shop: the products.
        picks: float32 [B, I], how many picks each product counts as; 0: not picked.
        mean: float32 [K] of tastes.
        covariance: float32 [K, K] of tastes.
        tastes: float32 [B, K] to start from.
        steps: at most; a step is no longer than LONGEST.
    """
    seen = _Seen(shop, picks)
    precision = np.linalg.inv(covariance.astype(np.float64)).astype(np.float32)
    for _ in range(steps):
        slope, bent, _ = seen.derivatives(tastes)
        slope -= (tastes - mean) @ precision
        step = np.linalg.solve(bent + precision, slope[:, :, None])[:, :, 0]
        length = np.linalg.norm(step, axis=1, keepdims=True)
        tastes = (tastes + step * np.minimum(1, LONGEST / np.maximum(length, 1e-9))).astype(np.float32)
        if float(length.max(initial=0.0)) < CLOSE:
            break
    _, bent, logs = seen.derivatives(tastes)
    return Likely(tastes, np.linalg.inv(bent + precision).astype(np.float32), logs)


class _Seen:
    """Picks among rivals, and what of it is the same for all tastes."""

    def __init__(self, shop: Shop, picks: csr_matrix) -> None:
        self.picks = picks
        self.x, self.fame = shop.x[shop.rivals], shop.fame[shop.rivals]
        self.products = (self.x[:, :, None] * self.x[:, None]).reshape(len(self.x), -1)
        self.part = np.float32(shop.part)
        self.number = np.asarray(picks.sum(1)).ravel().astype(np.float32)
        self.total: Floats = (picks @ shop.x).astype(np.float32)
        self.who = np.repeat(np.arange(picks.shape[0]), np.diff(picks.indptr))
        self.own, self.own_fame = shop.x[picks.indices], shop.fame[picks.indices]
        counted = np.zeros(len(shop.x), np.float32)
        counted[shop.rivals] = 1 / shop.part
        self.missing = 1 - counted[picks.indices]  # Of a pick, in the sum over rivals.
        some = np.flatnonzero(self.missing)
        self.own_products = np.zeros((len(self.own), 0), np.float32)
        if len(some):
            self.own_products = (self.own[:, :, None] * self.own[:, None]).reshape(len(self.own), -1)

    def derivatives(self, tastes: Floats) -> tuple[Floats, Floats, Floats]:
        """Returns the slope [B, K] of the log-likelihood, minus its second derivative [B, K, K], and the logs [B]."""
        k = tastes.shape[1]
        scores = tastes @ self.x.T + self.fame
        top = scores.max(1)
        odds = np.exp(scores - top[:, None]) / self.part
        sums, first, second = odds.sum(1), odds @ self.x, odds @ self.products
        if self.own_products.shape[1]:
            own = (self.own * tastes[self.who]).sum(1) + self.own_fame - top[self.who]
            more = self.missing * np.exp(np.minimum(own, HIGHEST))
            rows = csr_matrix((more, np.arange(len(more)), self.picks.indptr), shape=(len(tastes), len(more)))
            sums += np.asarray(rows.sum(1)).ravel()
            first, second = first + rows @ self.own, second + rows @ self.own_products
        first, second = first / sums[:, None], second / sums[:, None]
        bent = second.reshape(-1, k, k) - first[:, :, None] * first[:, None]
        return self.total - self.number[:, None] * first, self.number[:, None, None] * bent, top + np.log(sums)
