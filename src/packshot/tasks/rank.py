"""Products of a catalogue in the order in which one shopper will like them, and how far that order can be trusted."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from packshot.catalog import Catalog, Packed, open_catalog
from packshot.core.errors import PackshotError, UsageError, lookup
from packshot.core.files import disk_errors
from packshot.evaluation.features import content_key
from packshot.models.weights import load_tensors, save_tensors
from packshot.taste.choice import ChoiceSettings, fit_choice
from packshot.taste.compare import COMPARED, TasteReport, columns_with_events, compare, with_events
from packshot.taste.fit import BLIND, DEFAULT, MODELS, fit_preference
from packshot.taste.history import Chooser
from packshot.taste.index import ProductIndex, build_index, load_index
from packshot.taste.interactions import HALF_LIFE_DAYS, Interactions
from packshot.taste.keys import read_key
from packshot.taste.measure import hold_out
from packshot.taste.named import Named, describe_looks
from packshot.taste.preference import Floats, Preference, load_preference
from packshot.taste.products import ProductFeatures, Products, product_features, read_products
from packshot.taste.store import Store, Use, open_store, writing

MOST = 1000
FEW = 20
"""Shoppers who liked something, below which a reader is warned."""
VERSION = "2"
LOOKS = "looks.safetensors"


@dataclass(frozen=True, kw_only=True)
class TasteRequest:
    """Whose taste, learned how.

    Attributes:
        events: a store.
        catalog: the catalogue.
        model: of `taste.fit.MODELS`.
        features: a run of `clip` whose features are used; None: the shipped backbone's.
        half_life_days: days after which an event counts half.
        weights: by kind, what a fresh event counts, where that is not the default.
        at: ms since 1970 from which ages count; None: the last event's.
        use: what shoppers' consent is needed for.
        seed: of the fit.
    """

    events: Path
    catalog: Path
    model: str = DEFAULT
    features: Path | None = None
    half_life_days: float = HALF_LIFE_DAYS
    weights: Mapping[str, float] = field(default_factory=dict)
    at: int | None = None
    use: Use = "rank"
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Fitted:
    """A model of taste with all that it was fitted to; what making, explaining and quizzes start from.

    Attributes:
        store: the events.
        catalog: the catalogue.
        products: its products, in the order of `preference.items`.
        features: what they look like; None: there are no pictures, or the model sees none.
        interactions: histories of shoppers who consented.
        preference: the model.
        index: of the products.
        folder: of the store, where the model is kept; goes when a shopper is forgotten or events come.
        named: what has a name of the products with a picture; None: the model sees no names, or no pictures.
    """

    store: Store
    catalog: Catalog
    products: Products
    features: ProductFeatures | None
    interactions: Interactions
    preference: Preference
    index: ProductIndex
    folder: Path
    named: Named | None = None

    @property
    def seen(self) -> Floats:
        """What the model sees of the products with a picture, float32 [n, F].

        Raises:
            PackshotError: there are no pictures.
        """
        if self.features is None:
            raise PackshotError(f"{self.catalog.path} has no pictures that may be learned from.")
        own = self.features.rows[self.features.pictured]
        return own if self.named is None else np.concatenate([own, self.named.rows], axis=1)


@dataclass(frozen=True)
class Ranked:
    """One product of the list.

    Attributes:
        product: its name in the catalogue.
        key: where its first photo came from.
        title: its own; None: it has none.
        category: its category; None: it has none.
        score: of the model; only the order means something.
        events: whether anybody was positive about it; else it stands here by its looks.
    """

    product: str
    key: str
    title: str | None
    category: str | None
    score: float
    events: bool


@dataclass(frozen=True)
class RankResult:
    """What one shopper will like.

    Attributes:
        user: the shopper's pseudonym.
        ranked: best first; without what the shopper has touched.
        history: events of the shopper.
        model: its name.
        products: that were ranked.
        notes: what the reader has to know.
        sees: whether the model sees pictures; else products without events stand last, in no order.
    """

    user: str
    ranked: list[Ranked]
    history: int
    model: str
    products: int
    notes: list[str]
    sees: bool = True


def rank(
    request: TasteRequest, user: str, n: int = 20, key: Path | None = None, step: Callable[[int], None] | None = None
) -> RankResult:
    """Ranks the products of a catalogue for a shopper.

    A shopper without positive events gets what most shoppers like, and a note says so.

    Args:
        request: whose taste.
        user: the shop's own id, or the pseudonym.
        n: how many products.
        key: of the pseudonyms; None: the one in the user's folder.
        step: called with the photos looked at so far, where they were not before.

    Raises:
        UsageError: the shopper is unknown, or did not consent to being ranked for.
    """
    if not 1 <= n <= MOST:
        raise UsageError(f"--n is {n}; it can be 1 to {MOST}.")
    store = open_store(request.events)
    name = find_shopper(store, user, request.use, key)
    fitted = fit_taste(request, store, step)
    row = fitted.interactions.user_rows.get(name)
    notes = []
    if row is None:  # Consent without an event that is left.
        history = np.zeros(0, np.int64)
    else:
        history = fitted.interactions.matrix[row].indices.astype(np.int64)
    liked = row is not None and fitted.interactions.positive[row].nnz > 0
    profile = profile_of(fitted, row)
    if not liked:
        notes.append("This shopper was positive about nothing yet: the order is what shoppers like in general.")
    found, scores = fitted.index.search(profile, n, history)
    ranked = [
        Ranked(p.name, p.key, p.title, p.category, round(float(s), 4), bool(fitted.preference.warm[i]))
        for i, s, p in ((i, s, fitted.products.rows[i]) for i, s in zip(found.tolist(), scores.tolist(), strict=True))
    ]
    notes += notes_on_few(fitted)
    sees = fitted.preference.pictures is not None
    return RankResult(name, ranked, len(history), request.model, len(fitted.products.rows), notes, sees)


def notes_on_few(fitted: Fitted) -> list[str]:
    """Returns a note where so few shoppers liked anything that little can be learned of them."""
    count = int((np.diff(fitted.interactions.positive.indptr) > 0).sum())
    if count >= FEW:
        return []
    who = "Only one shopper" if count == 1 else f"Only {count} shoppers"
    return [f"{who} liked anything in these events, so little could be learned; do not rely on it."]


def find_shopper(store: Store, user: str, use: Use, key: Path | None = None) -> str:
    """Returns the pseudonym of a shopper who consented to a use.

    Raises:
        UsageError: the shopper is unknown, a bot, or did not consent.
    """
    name = store.find_user(user, None if user in store.users else read_key(key))
    if store.users[name] < 0:
        raise UsageError("This shopper's clicks come faster than a person's: they are left out as a bot's.")
    if not store.may(name, use):
        raise UsageError(f"This shopper did not consent to '{use}'; nothing is computed for them.")
    return name


def profile_of(fitted: Fitted, row: int | None) -> Floats:
    """Returns the profile [K] of a row of the histories; None, or nothing liked: what all shoppers have in common.

    That is the mean of those who liked something: a model that learned from likes can say nothing of a history without
    any, and of returns alone `hybrid` would make a list of what is like them.
    """
    model = fitted.preference
    liked = row is not None and fitted.interactions.positive[row].nnz > 0
    if row is not None and (liked or isinstance(model.history, Chooser)):  # A `Chooser` starts from the mean.
        own: Floats = model.profiles[row]
        return own
    some = np.diff(fitted.interactions.positive.indptr) > 0
    mean: Floats = model.profiles[some].mean(0)
    return mean


def fit_taste(request: TasteRequest, store: Store | None = None, step: Callable[[int], None] | None = None) -> Fitted:
    """Fits a model, or reads the one that the store keeps for the same events, catalogue and settings.

    Raises:
        UsageError: an unknown model, or nothing to learn from.
        PackshotError: a file is damaged, or a package is missing.
    """
    lookup("model of taste", request.model, MODELS)
    store, catalog = store or open_store(request.events), open_catalog(request.catalog)
    products = read_products(catalog)
    # Nobody waits for a look at all photos for a model that sees none.
    blind = request.model in BLIND and request.features is None
    features = None if blind else features_of(catalog, products, request.features, step)
    interactions = store.interactions(
        request.at, request.half_life_days, request.weights, items=products.names, use=request.use
    )
    if not interactions.users or interactions.positive.nnz == 0:
        raise UsageError(
            f"No shopper in {request.events} both consented to '{request.use}' and was positive about a product of "
            f"{request.catalog}; see: packshot events show {request.events}"
        )
    folder = store.derived / _model_key(request, store, catalog, features)
    named = None
    if not (folder / "index.json").is_file():
        preference, looks = fit_model(request, catalog, products, features, interactions)
        index = build_index(preference.factors, preference.bias, preference.profiles, seed=request.seed)
        _keep(store, folder, preference, index, looks)
    preference, index = load_preference(folder), load_index(folder)
    if features is not None and (folder / LOOKS).is_file():
        named = name_products(products, features, load_tensors(folder / LOOKS)[0]["looks"].numpy())
    return Fitted(store, catalog, products, features, interactions, preference, index, folder, named)


def fit_model(
    request: TasteRequest,
    catalog: Catalog,
    products: Products,
    features: ProductFeatures | None,
    interactions: Interactions,
) -> tuple[Preference, Floats | None]:
    """Fits the model that was asked for, and returns the products' looks [I, 4 + C] where it sees them.

    Raises:
        UsageError: there is nothing to learn from.
    """
    if request.model == "choice" and features is not None:
        looks = looks_of(catalog, products)
        named = name_products(products, features, looks)
        rows = seen_rows(products, features, named)
        settings = ChoiceSettings(seed=request.seed)
        return fit_choice(interactions, rows, named.rows.shape[1], settings), looks
    seen = None if features is None else features.rows
    return fit_preference(request.model, interactions, seen, seed=request.seed), None


def looks_of(catalog: Catalog, products: Products) -> Floats:
    """Returns the measures [I, 4 + C] of the products' photos, see `taste.named.describe_looks`."""
    found = product_features(catalog, products, lambda packed: describe_looks(packed.images), "looks")
    assert found is not None  # As the features are not.
    return found.rows


def name_products(products: Products, features: ProductFeatures, looks: Floats) -> Named:
    """Returns what has a name of the products with a picture, by the looks [I, 4 + C] of all."""
    place = np.flatnonzero(features.pictured)
    return Named(features.rows[place], looks[place], [products.rows[i].category for i in place.tolist()])


def seen_rows(products: Products, features: ProductFeatures, named: Named) -> Floats:
    """Returns features and named numbers [I, F] of all products; those without a picture have the mean of the rest."""
    own = np.tile(named.rows.mean(0), (len(products.rows), 1))
    own[features.pictured] = named.rows
    return np.concatenate([features.rows, own], axis=1)


def features_of(
    catalog: Catalog, products: Products, run: Path | None, step: Callable[[int], None] | None = None
) -> ProductFeatures | None:
    """Returns what the products look like to the shipped backbone, or to a run of `clip`; None: no pictures."""
    if run is None:
        return product_features(catalog, products, step=step)
    from packshot.models.text import load_text_model
    from packshot.tasks.search import embed_photos

    model = load_text_model(run)

    def describe(packed: Packed) -> Floats:
        return embed_photos(catalog, packed, model)

    protocol = f"clip {model.about['sha256']}"
    channels: Literal[1, 3] = 1 if model.channels == 1 else 3
    return product_features(catalog, products, describe, protocol, size=model.size, channels=channels, fit=model.fit)


def evaluate_taste(
    request: TasteRequest,
    *,
    models: tuple[str, ...] = (*COMPARED, "choice"),
    note: Callable[[str], None] | None = None,
) -> TasteReport:
    """Measures models on any real events: each shopper's last liked product is taken away and looked for.

    Raises:
        PackshotError: there are too few shoppers.
    """
    store, catalog = open_store(request.events), open_catalog(request.catalog)
    products = read_products(catalog)
    features = features_of(catalog, products, request.features)
    interactions = store.interactions(
        request.at, request.half_life_days, request.weights, items=products.names, use=request.use
    )
    held, columns = hold_out(with_events(interactions), seed=request.seed), columns_with_events(interactions)
    rows = None if features is None else features.rows[columns]

    def choice() -> Preference:
        assert features is not None
        named = name_products(products, features, looks_of(catalog, products))
        seen = seen_rows(products, features, named)[columns]
        return fit_choice(held.train, seen, named.rows.shape[1], ChoiceSettings(seed=request.seed))

    fits = {} if features is None else {"choice": choice}
    return compare(held, rows, models=models, seed=request.seed, note=note, fits=fits)


def _model_key(request: TasteRequest, store: Store, catalog: Catalog, features: ProductFeatures | None) -> str:
    about = json.dumps(
        [
            VERSION,
            store.checksum,
            catalog.checksum,
            catalog.rights.key,
            None if features is None else features.protocol,
            request.model,
            request.half_life_days,
            sorted(request.weights.items()),
            request.at,
            request.use,
            request.seed,
        ]
    )
    return f"{request.model}-{content_key(about)[:16]}"


def _keep(store: Store, folder: Path, preference: Preference, index: ProductIndex, looks: Floats | None) -> None:
    """Writes model and index beside their place, then names the whole folder, if the events are still the same.

    Else a shopper who was forgotten while the model was fitted would come back with it.
    """
    temporary = folder.parent / f".{folder.name}.{secrets.token_hex(4)}.tmp"
    with disk_errors(folder), writing(store.path, wait=True):
        if open_store(store.path).checksum != store.checksum:
            raise PackshotError(f"The events in {store.path} changed while the model was fitted; rank again.")
        try:
            temporary.mkdir(parents=True)
            preference.save(temporary)
            index.save(temporary)
            if looks is not None:
                save_tensors(temporary / LOOKS, {"looks": torch.from_numpy(looks)}, {})
            if folder.exists():
                shutil.rmtree(folder)
            temporary.replace(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
