"""Models that know products by events alone: popularity, and matrix factorisation by `implicit` (ALS, BPR).

Letters: U users, I items, K numbers of a profile.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix

from packshot.core.errors import PackshotError
from packshot.core.random import stream_seed
from packshot.taste.history import HistoryMap, Solver, solve
from packshot.taste.interactions import Interactions
from packshot.taste.preference import Floats, Preference


@dataclass(frozen=True, kw_only=True)
class FactorSettings:
    """Settings of ALS and BPR.

    Attributes:
        profile: K.
        epochs: passes.
        rate: learning rate of BPR.
        decay: weight of the squared norms.
        confidence: what a weight of 1 adds to ALS's confidence in a like.
        seed: of the first factors.
    """

    profile: int = 32
    epochs: int = 60
    rate: float = 0.05
    decay: float = 0.03
    confidence: float = 4.0
    seed: int = 0


ALS = FactorSettings(profile=16, epochs=15, decay=20.0)
"""What did best on the simulator; the defaults are BPR's."""


def fit_popularity(interactions: Interactions) -> Preference:
    """Returns the model that likes for everybody what most shoppers were positive about."""
    count = np.bincount(interactions.positive.indices, minlength=len(interactions.items))
    users, items = len(interactions.users), len(interactions.items)
    history = HistoryMap(items=items, key=1, profile=1, hidden=1)
    with torch.no_grad():
        for parameter in history.parameters():
            parameter.zero_()
    return Preference(
        "popularity",
        interactions.users,
        interactions.items,
        np.zeros((users, 1), np.float32),
        np.zeros((items, 1), np.float32),
        np.log1p(count).astype(np.float32),
        interactions.warm,
        {},
        None,
        history.eval().requires_grad_(False),
    )


def fit_bpr(interactions: Interactions, settings: FactorSettings | None = None) -> Preference:
    """Fits Bayesian personalised ranking (Rendle et al. 2009).

    Raises:
        PackshotError: the package `implicit` is not installed.
    """
    settings = settings or FactorSettings()
    limit = _implicit()
    from implicit.cpu.bpr import BayesianPersonalizedRanking

    model = BayesianPersonalizedRanking(
        factors=settings.profile,
        learning_rate=settings.rate,
        regularization=settings.decay,
        iterations=settings.epochs,
        num_threads=1,  # With more, the same seed gives other factors.
        random_state=stream_seed(settings.seed, "bpr") % 2**31,
    )
    with limit:
        model.fit(_ones(interactions.positive), show_progress=False)
    # The last of implicit's columns is 1 for users and the bias for items.
    users, items = model.user_factors[:, :-1], model.item_factors[:, :-1]
    return _plain("bpr", interactions, users, items, model.item_factors[:, -1], settings)


def fit_als(interactions: Interactions, settings: FactorSettings | None = None) -> Preference:
    """Fits implicit matrix factorisation by alternating least squares (Hu, Koren & Volinsky 2008).

    Raises:
        PackshotError: the package `implicit` is not installed.
    """
    settings = settings or ALS
    limit = _implicit()
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(
        factors=settings.profile,
        regularization=settings.decay,
        alpha=1.0,
        iterations=settings.epochs,
        num_threads=1,
        random_state=stream_seed(settings.seed, "als") % 2**31,
    )
    confidence = _ones(interactions.positive) * np.float32(settings.confidence)
    with limit:
        model.fit(confidence, show_progress=False)
    items = np.array(model.item_factors * interactions.warm[:, None], np.float32)
    solver = Solver(items=len(items), profile=settings.profile, decay=settings.decay, confidence=settings.confidence)
    solver.factors.copy_(torch.from_numpy(items))
    return Preference(
        "als",
        interactions.users,
        interactions.items,
        solver.profiles(interactions.matrix),
        items,
        np.zeros(len(items), np.float32),
        interactions.warm,
        asdict(settings),
        None,
        solver.eval().requires_grad_(False),
    )


def fit_items(positive: csr_matrix, settings: FactorSettings) -> Floats:
    """Returns items' factors float32 [I, K] by alternating least squares, without the package `implicit`.

    Zero for items with no events.
    """
    rng = np.random.default_rng(stream_seed(settings.seed, "als"))
    items = (0.1 * rng.normal(size=(positive.shape[1], settings.profile))).astype(np.float32)
    by_item = positive.T.tocsr()
    for _ in range(settings.epochs):
        users = solve(positive, items, settings.decay, settings.confidence)
        items = solve(by_item, users, settings.decay, settings.confidence)
    return items


def _plain(
    name: str, interactions: Interactions, users: Floats, items: Floats, bias: Floats, settings: FactorSettings
) -> Preference:
    return Preference(
        name,
        interactions.users,
        interactions.items,
        np.array(users, np.float32),
        # A product with no events keeps the numbers it was begun with, which mean nothing.
        np.array(items * interactions.warm[:, None], np.float32),
        np.array(bias * interactions.warm, np.float32),
        interactions.warm,
        asdict(settings),
    )


def _ones(positive: csr_matrix) -> csr_matrix:
    out = positive.copy()
    out.data = np.ones_like(out.data)
    return out


def _implicit() -> AbstractContextManager[Any]:
    """Returns a context in which BLAS keeps to one thread, as implicit wants it."""
    try:
        import implicit  # noqa: F401
        from threadpoolctl import threadpool_limits
    except ImportError as e:
        raise PackshotError(
            "The models als and bpr need the package implicit; run: pip install 'packshot[taste]'"
        ) from e
    limits: AbstractContextManager[Any] = threadpool_limits(1, user_api="blas")
    return limits
