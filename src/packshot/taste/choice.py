"""A model of choice: what shoppers like of what can be seen and named, how much tastes differ, and how sure that is.

What shopper u picks is drawn with odds exp(w_u . x_i + b_i): x_i shows the product, b_i is its fame, which has nothing
to do with taste (`taste.picks`). Tastes are normal, w_u ~ N(mu, Sigma): the mixed logit of McFadden & Train 2000,
"Mixed MNL models for discrete response". mu and Sigma are learned from all shoppers by expectation and maximisation
with Laplace's approximation, so a taste learned from few events stays near what is usual, and says how unsure it is.

Letters: U shoppers, I items, J rivals (items that stand for all that were not picked), K numbers of x and of a taste.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_matrix

from packshot.core.errors import UsageError
from packshot.core.random import stream_seed
from packshot.taste.history import Chooser, counts_of
from packshot.taste.interactions import Interactions
from packshot.taste.picks import Shop, climb
from packshot.taste.pictures import PictureMap
from packshot.taste.preference import Floats, Preference


@dataclass(frozen=True, kw_only=True)
class ChoiceSettings:
    """Settings.

    Attributes:
        kept: strongest directions of the features that count beside what has a name.
        alone: the same where nothing has a name.
        rounds: of expectation and maximisation.
        users: most shoppers whose histories mu and Sigma are learned from.
        rivals: J, at most; drawn at random where there are more products with events. So few that a shopper's picks
            are unlike all of them would let tastes grow without bound.
        power: that an event's weight is raised to: at 0 all count the same.
        prior: shoppers' worth of the first Sigma that is kept.
        fame: events that every product is thought to have beside its own.
        seed: of what is drawn where there are more shoppers or items.
    """

    kept: int = 8
    alone: int = 16
    rounds: int = 40
    users: int = 1500
    rivals: int = 2000
    power: float = 0.1
    prior: float = 5.0
    fame: float = 5.0
    seed: int = 0


FIRST = 2.0
"""Variance of w . x that a first Sigma gives, spread over the directions."""
DAMPED = 0.7
"""Of each step of the fame."""
LARGEST = 50.0
"""Log of expected picks that is counted, where a product is no rival."""
CHUNK = 1024


def fit_choice(
    interactions: Interactions, features: Floats, named: int = 0, settings: ChoiceSettings | None = None
) -> Preference:
    """Fits the model.

    Args:
        interactions: histories.
        features: float32 [I, D] of the items' pictures; what is named stands last.
        named: how many of the D numbers have names; they all count.
        settings: None: the defaults.

    Raises:
        UsageError: nobody was positive about anything.
    """
    settings = settings or ChoiceSettings()
    counts = counts_of(interactions.matrix, settings.power)
    warm = interactions.warm
    if not warm.any():
        raise UsageError("No shopper viewed, put in the cart or bought anything, so there is nothing to learn from.")
    rng = np.random.default_rng(stream_seed(settings.seed, "choice"))
    pictures = _directions(features, warm, named, settings)
    factors, _ = pictures.embed(features)
    some = np.flatnonzero(np.diff(counts.indptr) > 0)
    some = np.sort(rng.permutation(some)[: settings.users])
    known = np.flatnonzero(warm)
    rivals = np.sort(rng.permutation(known)[: settings.rivals])
    chooser = _learn(factors, counts[some], rivals, known, settings)
    return Preference(
        "choice",
        interactions.users,
        interactions.items,
        chooser.profiles(interactions.matrix),
        factors,
        chooser.fame.numpy().copy(),
        warm,
        {**asdict(settings), "named": named},
        pictures,
        chooser,
    )


def _directions(features: Floats, warm: npt.NDArray[np.bool_], named: int, settings: ChoiceSettings) -> PictureMap:
    """Returns the map to x: the strongest directions of what has no name, each of variance 1, and all that has one."""
    seen = features.shape[1] - named
    kept = min(settings.kept if named else settings.alone, seen, max(1, int(warm.sum()) - 1))
    size = kept + named
    pictures = PictureMap(features=features.shape[1], kept=size, profile=size, visual=size, hidden=0)
    own = PictureMap(features=seen, kept=kept, profile=kept, visual=kept, hidden=0)
    own.whiten(features[warm, :seen], 1.0)
    with torch.no_grad():
        looks = own.look(torch.from_numpy(np.ascontiguousarray(features[warm, :seen])))
        pictures.mean[:seen] = own.mean
        pictures.mean[seen:] = torch.from_numpy(features[warm, seen:].mean(0))
        pictures.directions[:seen, :kept] = own.directions / looks.std(0).clamp_min(1e-6)
        pictures.directions[seen:, kept:] = torch.eye(named)
        pictures.linear.weight.zero_()
        pictures.linear.weight[:size] = torch.eye(size)
    return pictures.eval().requires_grad_(False)


def _learn(
    factors: Floats,
    picks: csr_matrix,
    rivals: npt.NDArray[np.int64],
    known: npt.NDArray[np.int64],
    settings: ChoiceSettings,
) -> Chooser:
    """Returns what makes profiles; the fame of products that nobody has touched is 0."""
    k, users, items = factors.shape[1], picks.shape[0], len(factors)
    number = np.asarray(picks.sum(1)).ravel().astype(np.float32)
    observed = np.asarray(picks.sum(0)).ravel().astype(np.float32)
    mean, first = np.zeros(k, np.float32), FIRST / k * np.eye(k, dtype=np.float32)
    covariance: Floats = first
    tastes: Floats = np.zeros((users, k), np.float32)
    shop = Shop(factors, np.zeros(items, np.float32), rivals, len(rivals) / len(known))
    rng = np.random.default_rng(stream_seed(settings.seed, "rivals"))
    for r in range(settings.rounds):
        # Others in each round: products that are never among the rivals, but picked, would seem to be what all like.
        shop = replace(shop, rivals=np.sort(rng.permutation(known)[: len(rivals)]))
        likely = climb(shop, picks, mean, covariance, tastes, steps=1)
        tastes = likely.tastes
        mean = tastes.mean(0)
        away = tastes - mean
        covariance = (away.T @ away + likely.covariances.sum(0) + settings.prior * first) / (users + settings.prior)
        if r:
            level = np.log(number) - likely.logs
            shop = replace(shop, fame=_nearer(shop, tastes, level, observed, known, settings.fame))
    chooser = Chooser(items=items, rivals=len(rivals), profile=k, power=settings.power)
    parts = {"factors": factors, "fame": shop.fame, "rivals": rivals, "part": np.array(shop.part), "mean": mean}
    parts["covariance"] = covariance
    for name, value in parts.items():
        getattr(chooser, name).copy_(torch.as_tensor(value))
    return chooser.eval().requires_grad_(False)


def _nearer(
    shop: Shop, tastes: Floats, level: Floats, observed: Floats, known: npt.NDArray[np.int64], doubt: float
) -> Floats:
    """Returns the fame [I] after a step in which the expected number of picks of each product goes nearer to its own.

    Of all that are known: a famous product whose fame nobody counts would look like everybody's taste.
    """
    out = shop.fame.copy()
    for start in range(0, len(known), CHUNK):
        some = known[start : start + CHUNK]
        logs = tastes @ shop.x[some].T + out[some] + level[:, None]
        expected = np.exp(np.minimum(logs, LARGEST)).sum(0)
        out[some] += DAMPED * np.log((observed[some] + doubt) / (expected + doubt))
    out[known] -= out[known].mean()
    return out
