"""Shoppers with known tastes over real pictures: what a model of taste can be measured against.

Each shopper has a taste over four groups of things that can be seen: the category, the colour's name, brightness, and
shape (length, size, detail). How much each group matters is drawn from a Dirichlet distribution, so that for most
shoppers one or two groups decide. The true utility of a picture is the sum of its groups' parts, each of unit
variance over the catalogue. What a shopper clicks is drawn, without putting back, with odds
exp(2 utility / noise + popularity * fame), where fame is a product's own and has nothing to do with its looks; whether
that ends as a view, a cart, a purchase or a return depends on the true utility.

Letters: U users, I products, E events of each user, G = 4 groups, A attributes, N pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from packshot.catalog.dataset import Catalog
from packshot.core.errors import UsageError
from packshot.core.files import atomic_path
from packshot.core.random import stream_seed
from packshot.taste.interactions import KINDS, Interactions, from_events
from packshot.taste.looks import SHAPES, colour_names, measure_looks

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

CHOICE = 2.0
"""What one standard deviation of utility adds to the log odds of a click, at noise 1."""
FEW = 0.7
"""Parameter of the Dirichlet distribution of what matters: below 1 a few groups dominate."""
LIMIT = 2.5
"""Measures count up to so many standard deviations: beyond what the catalogue shows nothing is liked more."""
PERIOD_DAYS = 90
START_MS = 1_735_689_600_000
"""The first day of the simulation: 1 January 2025, in ms since 1970."""
DAY_MS = 86_400_000
EYE_SIDE, EYE_NEIGHBOURS = 14, 7


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """Settings.

    Attributes:
        users: U.
        products: I, drawn from the catalogue.
        events: E of each user, on so many different products.
        popularity: how far fame decides; 0: not at all, 1: half as much as one's own taste.
        noise: of a choice; 0.5 is a decided shopper, 2 an erratic one.
        seed: of everything.
    """

    users: int = 5000
    products: int = 2000
    events: int = 20
    popularity: float = 0.5
    noise: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.users < 1 or self.events < 1 or self.products <= self.events or self.noise <= 0 or self.popularity < 0:
            raise UsageError(
                f"A simulation needs users, events, more products than events of a user, noise above 0 and popularity "
                f"of 0 or more; this one has {self.users}, {self.events}, {self.products}, {self.noise} and "
                f"{self.popularity}."
            )


@dataclass(frozen=True, eq=False)
class Truth:
    """What the shoppers really like; known to the simulator alone.

    Attributes:
        attributes: names of the A attributes: `category=...`, `colour=...`, then SHAPES.
        tastes: float32 [U, A], what one unit of each attribute adds to a user's utility.
        offset: float32 [U], so that utility has mean 0 over the catalogue.
        items: float32 [I, A], the products' attributes; measures are standardised.
        fame: float32 [I], what popularity adds to every user's log odds.
        categories: names of the labels.
        centre: float32 [4], means of SHAPES over the catalogue.
        spread: float32 [4], their standard deviations.
        eye: float32 [I, EYE_SIDE**2], the products' small grey copies: how a picture without a label gets its category.
        labels: int64 [I].
        channels: of the pictures.
    """

    attributes: list[str]
    tastes: Floats
    offset: Floats
    items: Floats
    fame: Floats
    categories: tuple[str, ...]
    centre: Floats
    spread: Floats
    eye: Floats
    labels: npt.NDArray[np.int64]
    channels: int

    def utilities(self, users: Sequence[int] | npt.NDArray[np.int64] | slice = slice(None)) -> Floats:
        """Returns the true utility float32 [n, I] of every product for some users."""
        return self.tastes[users] @ self.items.T + self.offset[users][:, None]

    def utility(self, user: int, pictures: Pixels, labels: npt.NDArray[np.int64] | None = None) -> Floats:
        """Returns a user's true utility float32 [N] of any pictures uint8 [N, S, S, C], in the catalogue or not.

        Args:
            user: number of the user.
            pictures: of the catalogue's size and channels.
            labels: their categories [N]; None: each is what most of the seven products are that look most like it.
        """
        out: Floats = self.describe(pictures, labels) @ self.tastes[user] + self.offset[user]
        return out

    def describe(self, pictures: Pixels, labels: npt.NDArray[np.int64] | None = None) -> Floats:
        """Returns the attributes float32 [N, A] of pictures; see `utility`."""
        if labels is None:
            labels = self.categorise(pictures)
        return _attributes(pictures, labels, len(self.categories), self.centre, self.spread)

    def categorise(self, pictures: Pixels) -> npt.NDArray[np.int64]:
        """Returns the categories int64 [N] that pictures look like."""
        seen = _eye(pictures)
        # |a - b|^2 without |a|^2, which is the same for all products.
        distance = np.square(self.eye).sum(1)[None] - 2 * seen @ self.eye.T
        near = np.argsort(distance, axis=1, kind="stable")[:, : min(EYE_NEIGHBOURS, len(self.eye))]
        return np.array([np.bincount(self.labels[row]).argmax() for row in near], np.int64)


@dataclass(frozen=True, eq=False)
class Simulated:
    """What happened, and why.

    Attributes:
        users: U names.
        products: I names, those of the photos where they come from a catalogue.
        images: uint8 [I, S, S, C].
        user: int32 [U * E], who; sorted by user, then time.
        product: int32 [U * E], which.
        kind: int8 [U * E], numbers into KINDS.
        time: int64 [U * E], ms since 1970.
        truth: what they like.
    """

    users: list[str]
    products: list[str]
    images: Pixels
    user: npt.NDArray[np.int32]
    product: npt.NDArray[np.int32]
    kind: npt.NDArray[np.int8]
    time: npt.NDArray[np.int64]
    truth: Truth

    def interactions(self, weights: dict[str, float], half_life_days: float) -> Interactions:
        """Returns what a store would; see `Store.interactions`."""
        value = np.array([weights[kind] for kind in KINDS], np.float32)[self.kind]
        age = (self.time.max() - self.time) / DAY_MS
        value = (value * 0.5 ** (age / half_life_days)).astype(np.float32)
        return from_events(
            self.users, self.products, self.user.astype(np.int64), self.product.astype(np.int64), value, self.time
        )

    def write(self, path: Path) -> None:
        """Writes the events as CSV: user, product, kind, time (ISO 8601), as a shop would export them."""
        times = np.datetime_as_string(self.time.astype("datetime64[ms]"), timezone="UTC")
        order = np.argsort(self.time, kind="stable")
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as f:
            f.write("user,product,kind,time\n")
            for row in order.tolist():
                who, what = self.users[self.user[row]], self.products[self.product[row]]
                f.write(f"{who},{what},{KINDS[self.kind[row]]},{times[row]}\n")


def simulate(
    images: Pixels,
    labels: npt.NDArray[np.int64],
    categories: Sequence[str],
    settings: Simulation,
    names: Sequence[str] | None = None,
) -> Simulated:
    """Draws shoppers and what they did.

    Args:
        images: uint8 [N, S, S, C], of which `settings.products` are drawn.
        labels: [N], numbers into `categories`.
        categories: names.
        settings: how many, how noisy.
        names: of the N pictures; None: p0, p1, ...

    Raises:
        UsageError: fewer pictures than products.
    """
    if len(images) < settings.products:
        raise UsageError(
            f"There are {len(images):,} pictures, fewer than the {settings.products:,} products asked for."
        )
    rng = np.random.default_rng(stream_seed(settings.seed, "taste"))
    chosen = np.sort(rng.permutation(len(images))[: settings.products])
    pictures, own = np.ascontiguousarray(images[chosen]), labels[chosen]
    truth = _truth(pictures, own, tuple(categories), settings, rng)
    user, product, kind, time = _events(truth, settings, rng)
    named = [names[i] if names is not None else f"p{i}" for i in chosen.tolist()]
    shoppers = [f"shopper-{u:05d}" for u in range(settings.users)]
    return Simulated(shoppers, named, pictures, user, product, kind, time, truth)


def simulate_catalog(photos: Catalog, settings: Simulation, *, size: int = 28) -> Simulated:
    """Returns `simulate` over the training photos of a catalogue, packed at `size` pixels with its own channels."""
    packed = photos.packed("train", size, 1 if photos.native.channels == 1 else 3)
    return simulate(packed.images, packed.labels, packed.categories, settings, packed.photo_ids)


def _truth(
    images: Pixels,
    labels: npt.NDArray[np.int64],
    categories: tuple[str, ...],
    settings: Simulation,
    rng: np.random.Generator,
) -> Truth:
    shapes = measure_looks(images).shapes
    centre, spread = shapes.mean(0), np.maximum(shapes.std(0), 1e-6)
    items = _attributes(images, labels, len(categories), centre, spread)
    colours = colour_names(images.shape[3])
    names = [*(f"category={c}" for c in categories), *(f"colour={c}" for c in colours), *SHAPES]
    tastes = draw_tastes(items, len(categories), settings.users, rng)
    offset = -(tastes @ items.T).mean(1)
    fame = settings.popularity * CHOICE * rng.normal(size=len(images))
    return Truth(
        names,
        tastes.astype(np.float32),
        offset.astype(np.float32),
        items,
        fame.astype(np.float32),
        categories,
        centre,
        spread,
        _eye(images),
        labels,
        images.shape[3],
    )


def draw_tastes(items: Floats, categories: int, n: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Draws n tastes [n, A] for products with attributes [I, A], of which the first are categories.

    Each is of unit variance over the products.
    """
    c, k = categories, items.shape[1] - categories - len(SHAPES)
    # A favourite category or colour or two stand out; the rest is nearly all the same.
    raw = np.concatenate(
        [rng.gamma(0.5, 1.0, (n, c)), rng.gamma(0.5, 1.0, (n, k)), rng.normal(size=(n, len(SHAPES)))], axis=1
    )
    groups = [slice(0, c), slice(c, c + k), slice(c + k, c + k + 1), slice(c + k + 1, c + k + len(SHAPES))]
    matters = rng.dirichlet([FEW] * len(groups), n)
    tastes: npt.NDArray[np.float64] = np.zeros_like(raw)
    for g, part in enumerate(groups):
        deviation = (raw[:, part] @ items[:, part].T).std(1, keepdims=True)
        tastes[:, part] = raw[:, part] / np.maximum(deviation, 1e-6) * np.sqrt(matters[:, g : g + 1])
    tastes /= np.maximum((tastes @ items.T).std(1, keepdims=True), 1e-6)
    return tastes


def _events(
    truth: Truth, settings: Simulation, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int8], npt.NDArray[np.int64]]:
    n, e = settings.users, settings.events
    product = np.empty((n, e), np.int32)
    kind = np.empty((n, e), np.int8)
    for start in range(0, n, 500):
        utility = truth.utilities(slice(start, start + 500))
        # The largest of log odds plus Gumbel noise are a draw without putting back.
        odds = CHOICE / settings.noise * utility + truth.fame + rng.gumbel(size=utility.shape)
        part = np.argpartition(-odds, e - 1, axis=1)[:, :e]
        part = rng.permuted(part, axis=1)
        product[start : start + 500] = part
        liked = np.take_along_axis(utility, part, axis=1)
        kind[start : start + 500] = _kinds(liked, rng)
    time = START_MS + np.sort(rng.integers(0, PERIOD_DAYS * DAY_MS, (n, e)), axis=1)
    user = np.repeat(np.arange(n, dtype=np.int32), e)
    return user, product.ravel(), kind.ravel(), time.ravel()


def _kinds(liked: Floats, rng: np.random.Generator) -> npt.NDArray[np.int8]:
    """Returns how each click ended, int8: the better liked, the further; what is not liked is hidden or comes back."""
    further = 1 / (1 + np.exp(-(liked - 1.5)))
    draw, again = rng.random(liked.shape), rng.random(liked.shape)
    kind = np.zeros(liked.shape, np.int8)
    kind[draw < 0.5 * further] = KINDS.index("cart")
    kind[draw < 0.25 * further] = KINDS.index("purchase")
    bad = liked < -0.5
    kind[bad & (kind == KINDS.index("purchase")) & (again < 0.5)] = KINDS.index("return")
    kind[bad & (kind == 0) & (again < 0.2)] = KINDS.index("hide")
    return kind


def _attributes(
    images: Pixels, labels: npt.NDArray[np.int64], categories: int, centre: Floats, spread: Floats
) -> Floats:
    looks = measure_looks(images)
    names = colour_names(images.shape[3])
    colour = np.array([names.index(name) for name in looks.colours], np.int64)
    standard = np.clip((looks.shapes - centre) / spread, -LIMIT, LIMIT)
    return np.concatenate([np.eye(categories)[labels], np.eye(len(names))[colour], standard], axis=1).astype(np.float32)


def _eye(images: Pixels) -> Floats:
    """Returns small grey copies float32 [N, EYE_SIDE**2]: means of cells."""
    grey = images.astype(np.float32).mean(3) / 255
    edges = np.linspace(0, images.shape[1], EYE_SIDE + 1).astype(int)[:-1]
    cells = np.add.reduceat(np.add.reduceat(grey, edges, axis=1), edges, axis=2)
    counts = np.diff([*edges, images.shape[1]])
    out: Floats = (cells / (counts[:, None] * counts[None])).reshape(len(images), -1).astype(np.float32)
    return out
