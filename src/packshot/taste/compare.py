"""Several models asked the same, and the report of it: the same for a simulator and for a shop's own events.

Letters: I items, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from packshot.core.errors import PackshotError
from packshot.taste.fit import fit_preference
from packshot.taste.interactions import Interactions
from packshot.taste.measure import Held, Scorer, difference, measure, scorer
from packshot.taste.preference import Floats, Preference

COMPARED = ("popularity", "bpr", "als", "vbpr", "dvbpr", "hybrid")


@dataclass(frozen=True)
class TasteReport:
    """How well models rank for the shoppers of a store.

    Attributes:
        models: by name, figures as `measure` returns them.
        gain: by how much the default exceeds VBPR, shopper by shopper; None: one of the two was not measured.
        shoppers: that were asked about.
        products: that were ranked.
        cold: products whose events were all taken away.
        warnings: models that could not be fitted, and why.
    """

    models: dict[str, list[dict[str, Any]]]
    gain: list[dict[str, Any]] | None
    shoppers: int
    products: int
    cold: int
    warnings: list[str]


def columns_with_events(interactions: Interactions) -> npt.NDArray[np.int64]:
    """Returns which items have an event of any kind."""
    return np.flatnonzero(np.bincount(interactions.matrix.indices, minlength=len(interactions.items)))


def with_events(interactions: Interactions) -> Interactions:
    """Returns the histories over the items with events alone: others can be no right answer, and pad every list."""
    columns = columns_with_events(interactions)
    place = np.full(len(interactions.items) + 1, -1, np.int32)
    place[columns] = np.arange(len(columns))
    names = [interactions.items[i] for i in columns.tolist()]
    return Interactions(interactions.users, names, interactions.matrix[:, columns].tocsr(), place[interactions.last])


def compare(
    held: Held,
    features: npt.NDArray[np.float32] | None,
    *,
    models: tuple[str, ...] = COMPARED,
    seed: int = 0,
    note: Callable[[str], None] | None = None,
    fits: Mapping[str, Callable[[], Preference]] | None = None,
) -> TasteReport:
    """Fits models to the same histories and asks them the same.

    Args:
        held: see `hold_out`.
        features: float32 [I, D]; None: models that need pictures are left out with a warning.
        models: names.
        seed: of fits and intervals.
        note: called with the name of each model before it is fitted.
        fits: other ways to fit some of the models, by name.
    """
    out: dict[str, list[dict[str, Any]]] = {}
    scorers: dict[str, Scorer] = {"random": _random(len(held.train.items), seed)}
    warnings = []
    for name in models:
        if note:
            note(name)
        try:
            if fits and name in fits:
                scorers[name] = scorer(fits[name]())
            else:
                scorers[name] = scorer(fit_preference(name, held.train, features, seed=seed))
        except PackshotError as e:
            warnings.append(f"{name} was not measured: {e}")
    for name, score in scorers.items():
        out[name] = [figure.to_dict() for figure in measure(score, held, name, seed=seed)]
    gain = None
    if {"hybrid", "vbpr"} <= set(scorers):
        both = difference(scorers["hybrid"], scorers["vbpr"], held, "hybrid_over_vbpr", seed=seed)
        gain = [figure.to_dict() for figure in both]
    return TasteReport(out, gain, len(held.warm.users), len(held.train.items), int(held.cold.among.sum()), warnings)


def _random(items: int, seed: int) -> Scorer:
    def score(users: npt.NDArray[np.int64]) -> Floats:
        # Of the users themselves, so that the blocks in which they come do not matter.
        return np.stack([np.random.default_rng([seed, int(u)]).random(items, np.float32) for u in users])

    return score
