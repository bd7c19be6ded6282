"""What the desk tells of shoppers: plain values that travel between processes, for pages and the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from packshot.jobs.desk_models import Sample


@dataclass(frozen=True, kw_only=True)
class Product:
    """A product with its picture.

    Attributes:
        name: in the catalogue.
        title: its own, or where its photo came from.
        category: None: it has none.
        picture: its first photo that may be learned from, a small WebP; None: there is none.
    """

    name: str
    title: str
    category: str | None
    picture: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Shopper:
    """A shopper of a store.

    Attributes:
        name: pseudonym.
        events: how many are stored.
        kinds: of the events, how many of each.
        last: ms since 1970 of the newest; None: none is left.
        rank, personalise: what the shopper consented to.
    """

    name: str
    events: int
    kinds: Mapping[str, int]
    last: int | None
    rank: bool
    personalise: bool


@dataclass(frozen=True, kw_only=True)
class Shoppers:
    """Some shoppers of a store, and what the store holds in all (`packshot events show`).

    Attributes:
        shoppers: by pseudonym.
        total: how many consented to anything.
        summary: see `packshot.taste.store.Store.summary`.
        notes: what an analyst has to know.
    """

    shoppers: tuple[Shopper, ...]
    total: int
    summary: Mapping[str, Any]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Liked:
    """One product of a history.

    Attributes:
        product: what.
        kinds: of its events.
        weight: what they count now, signed.
    """

    product: Product
    kinds: tuple[str, ...]
    weight: float


@dataclass(frozen=True, kw_only=True)
class Place:
    """One product of a list, and why it stands there.

    Attributes:
        product: what.
        events: whether anybody was positive about it; else it stands here by its looks.
        like: the product of the history that it looks most like; None: none looks like it.
        similarity: to that one, cosine.
        score: of the model; only the order means something.
    """

    product: Product
    events: bool
    like: str | None
    similarity: float
    score: float


@dataclass(frozen=True, kw_only=True)
class ShopperView:
    """What is known of a shopper, and what is ranked for them.

    Attributes:
        name: pseudonym.
        history: the weightiest first.
        ranked: best first.
        drivers: what the list would lose without one past item: its title, and how many products leave the list.
        model: of taste.
        products: that were ranked.
        notes: what the reader has to know.
        may_make: whether the shopper consented to pictures being made.
    """

    name: str
    history: tuple[Liked, ...]
    ranked: tuple[Place, ...]
    drivers: tuple[tuple[str, int], ...]
    model: str
    products: int
    notes: tuple[str, ...]
    may_make: bool


@dataclass(frozen=True, kw_only=True)
class QuizView:
    """A newcomer's quiz after some choices.

    Attributes:
        choices: "a" and "b", one for each answer.
        pair: the two products to choose from now; None: that was the last.
        ranked: the list so far; empty before `LEAST_CHOICES`.
    """

    choices: str
    pair: tuple[Product, Product] | None
    ranked: tuple[Place, ...]


@dataclass(frozen=True, kw_only=True)
class MadeView:
    """Pictures that were made for a shopper, and why.

    Attributes:
        pictures: that leave, best first.
        about: for each its `category`, `attributes`, `score`, `realism`, `words`, `nearest`.
        nearest: the products named there, by name.
        drivers: single past items, see `PersonaliseResult.drivers`.
        without: categories of past items, see `PersonaliseResult.without`.
        titles: of the products named in `drivers`.
        copy_gate: how pictures were compared with the training photos.
        notes: what the reader has to know.
    """

    pictures: tuple[Sample, ...]
    about: tuple[Mapping[str, Any], ...]
    nearest: Mapping[str, Product]
    drivers: tuple[Mapping[str, Any], ...]
    without: tuple[Mapping[str, Any], ...]
    titles: Mapping[str, str]
    copy_gate: str
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One made picture that a person of the shop kept or rejected.

    Attributes:
        data: the picture's file.
        kept: whether it was kept.
        time: ms since 1970.
    """

    data: bytes = field(repr=False)
    kept: bool
    time: int
