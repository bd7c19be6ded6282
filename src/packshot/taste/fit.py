"""The table of models of taste, and one call that fits any of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from packshot.core.errors import UsageError, lookup
from packshot.taste.choice import ChoiceSettings, fit_choice
from packshot.taste.factors import ALS, FactorSettings, fit_als, fit_bpr, fit_popularity
from packshot.taste.hybrid import HybridSettings, fit_hybrid
from packshot.taste.interactions import Interactions
from packshot.taste.preference import Floats, Preference
from packshot.taste.visual import VisualSettings, fit_visual

Fit = Callable[[Interactions, Floats | None, int], Preference]
DEFAULT = "hybrid"


def _vbpr(interactions: Interactions, features: Floats | None, seed: int) -> Preference:
    return fit_visual(interactions, _needed("vbpr", features), VisualSettings(seed=seed))


def _dvbpr(interactions: Interactions, features: Floats | None, seed: int) -> Preference:
    settings = VisualSettings(own=0, visual=32, hidden=128, seed=seed)
    return fit_visual(interactions, _needed("dvbpr", features), settings, "dvbpr")


def _choice(interactions: Interactions, features: Floats | None, seed: int) -> Preference:
    return fit_choice(interactions, _needed("choice", features), settings=ChoiceSettings(seed=seed))


def _needed(name: str, features: Floats | None) -> Floats:
    if features is None:
        raise UsageError(
            f"The model '{name}' ranks by pictures, and the catalogue has none that may be learned from; take hybrid."
        )
    return features


MODELS: Mapping[str, Fit] = {
    "hybrid": lambda x, f, seed: fit_hybrid(x, f, HybridSettings(seed=seed)),
    "choice": _choice,
    "popularity": lambda x, f, seed: fit_popularity(x),
    "als": lambda x, f, seed: fit_als(x, replace(ALS, seed=seed)),
    "bpr": lambda x, f, seed: fit_bpr(x, FactorSettings(seed=seed)),
    "vbpr": _vbpr,
    "dvbpr": _dvbpr,
}
"""All models, the default first."""

BLIND = ("popularity", "als", "bpr")
"""Those that see no pictures."""


def fit_preference(
    name: str, interactions: Interactions, features: Floats | None = None, *, seed: int = 0
) -> Preference:
    """Fits a model by name.

    Args:
        name: of MODELS.
        interactions: what shoppers did.
        features: float32 [I, D] of the items' pictures; None: there are none.
        seed: same seed, same numbers.

    Raises:
        UsageError: the name is unknown, nobody liked anything, or the model needs pictures.
        PackshotError: a package that the model needs is not installed.
    """
    fit = lookup("model of taste", name, MODELS)
    if interactions.positive.nnz == 0:
        raise UsageError("No shopper viewed, put in the cart or bought anything, so there is nothing to learn from.")
    return fit(interactions, features, seed)
