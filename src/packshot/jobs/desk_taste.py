"""What the desk's processes are asked about shoppers: who there is, what they liked, what is ranked for them, the quiz.

Everything is asked of the same functions as on the command line (`packshot rank`, `packshot personalise`, `packshot
events`), so consent is asked for in the same place. A model of taste is fitted once for the same events and kept in the
store, as there.

Letters: I products, K numbers of a profile.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packshot.core.errors import PackshotError, UsageError
from packshot.jobs.taste_records import Liked, Place, Product, QuizView, Shopper, Shoppers, ShopperView

if TYPE_CHECKING:
    from packshot.catalog.dataset import Catalog
    from packshot.tasks.rank import Fitted, Ranked

THUMB = 160
"""Longer side of a product's picture on a page, in pixels."""
MOST_SHOPPERS = 60
MOST_EVENTS = 48
LEAST_CHOICES, MOST_CHOICES = 5, 10
"""After so many choices a newcomer's list is shown; after so many nothing more is asked."""
ALIKE = 0.3
"""Cosine similarity from which a past item is said to look like a ranked product."""


def show_shoppers(store: Path, offset: int = 0, limit: int = 24) -> Shoppers:
    """Returns some shoppers who consented to anything.

    Raises:
        PackshotError: the store is damaged.
    """
    from packshot.tasks.events import show
    from packshot.taste.store import open_store

    opened, shown = open_store(store), show(store)
    names = sorted(name for name, bits in opened.users.items() if bits > 0)
    found = []
    for name in names[offset : offset + min(limit, MOST_SHOPPERS)]:
        events = opened.history(name)
        kinds: dict[str, int] = {}
        for event in events:
            kinds[event.kind] = kinds.get(event.kind, 0) + 1
        found.append(
            Shopper(
                name=name,
                events=len(events),
                kinds=kinds,
                last=max((e.time for e in events), default=None),
                rank=opened.may(name, "rank"),
                personalise=opened.may(name, "personalise"),
            )
        )
    return Shoppers(shoppers=tuple(found), total=len(names), summary=shown.summary, notes=tuple(shown.notes))


def find_name(store: Path, user: str) -> str:
    """Returns the pseudonym of a shopper's own id, or of a pseudonym.

    Raises:
        UsageError: there is no such shopper.
        PackshotError: the key in the user's folder is another than the store was made with.
    """
    from packshot.taste.keys import read_key
    from packshot.taste.store import open_store

    opened = open_store(store)
    return opened.find_user(user, None if user in opened.users else read_key())


def show_shopper(store: Path, catalog: Path, user: str, places: int = 12) -> ShopperView:
    """Returns a shopper's history and what is ranked for them.

    Raises:
        UsageError: the shopper is unknown or did not consent to being ranked for, or there is nothing to learn from.
        PackshotError: store or catalogue is damaged.
    """
    import numpy as np

    from packshot.tasks.rank import TasteRequest, fit_taste, rank

    request = TasteRequest(events=store, catalog=catalog)
    listed = rank(request, user, places)
    fitted = fit_taste(request)
    row = fitted.interactions.user_rows.get(listed.user)
    own = None if row is None else fitted.interactions.matrix[row]
    pictures = _Pictures(fitted)
    history = [] if own is None else sorted(zip(own.indices, own.data, strict=True), key=lambda one: -abs(one[1]))
    kinds: dict[str, set[str]] = {}
    for event in fitted.store.history(listed.user):
        kinds.setdefault(event.product, set()).add(event.kind)
    rows = fitted.products.rows
    positive = np.array([i for i, w in history if w > 0], np.int64)
    return ShopperView(
        name=listed.user,
        history=tuple(
            Liked(
                product=pictures.product(int(i)),
                kinds=tuple(sorted(kinds.get(rows[int(i)].name, ()))),
                weight=round(float(w), 3),
            )
            for i, w in history[:MOST_EVENTS]
        ),
        ranked=_places(fitted, listed.ranked, positive, pictures),
        drivers=() if row is None else _drivers(fitted, row, listed.ranked),
        model=listed.model,
        products=listed.products,
        notes=tuple(listed.notes),
        may_make=fitted.store.may(listed.user, "personalise"),
    )


def _drivers(fitted: Fitted, row: int, listed: Sequence[Ranked], most: int = 5) -> tuple[tuple[str, int], ...]:
    """Returns the past items without which the list would change most: each is taken away, and the list made anew."""
    import numpy as np

    own = fitted.interactions.matrix[row].tocsr()
    names = {one.product for one in listed}
    found = []
    for i in own.indices[np.argsort(-np.abs(own.data), kind="stable")][:MOST_EVENTS].astype(int).tolist():
        left = own.copy()
        left.data = np.where(left.indices == i, 0, left.data).astype(np.float32)
        left.eliminate_zeros()
        profile = fitted.preference.fold_in(left)[0]
        # What was taken away stays out of the list: else it would only come back as new.
        ranked, _ = fitted.index.search(profile, len(names), own.indices.astype(np.int64))
        lost = len(names - {fitted.products.names[k] for k in ranked.tolist()})
        product = fitted.products.rows[i]
        found.append((product.title or product.key, lost))
    return tuple(sorted((one for one in found if one[1]), key=lambda one: -one[1])[:most])


def _places(fitted: Fitted, ranked: Sequence[Ranked], liked: Any, pictures: _Pictures) -> tuple[Place, ...]:
    """Returns the list with, for each product, the liked one (numbers int64 [n]) that it looks most like."""
    import numpy as np

    from packshot.taste.fairness import unit_rows

    number = fitted.products.number
    rows = [number[one.product] for one in ranked]
    alike: Any = np.zeros((len(rows), 0))
    if fitted.features is not None and len(liked):
        pictured = fitted.features.pictured
        liked = liked[pictured[liked]]
        features, centre = fitted.features.rows, fitted.features.rows[pictured].mean(0)
        alike = unit_rows(features[rows], centre) @ unit_rows(features[liked], centre).T
        alike[~pictured[rows]] = 0
        alike[np.equal.outer(rows, liked)] = 0  # It is no reason for itself.
    out = []
    for k, one in enumerate(ranked):
        best = int(alike[k].argmax()) if alike.shape[1] else -1
        near = float(alike[k, best]) if best >= 0 else 0.0
        product = None if near < ALIKE else fitted.products.rows[int(liked[best])]
        out.append(
            Place(
                product=pictures.product(rows[k]),
                events=one.events,
                like=None if product is None else product.title or product.key,
                similarity=round(near, 2),
                score=one.score,
            )
        )
    return tuple(out)


class _Pictures:
    """Small pictures of products, as pages show them."""

    def __init__(self, fitted: Fitted) -> None:
        self.fitted = fitted

    def product(self, i: int) -> Product:
        """Returns a product by its number, with the first of its photos that may be learned from."""
        row = self.fitted.products.rows[i]
        catalog = self.fitted.catalog
        photo = next((p for p in row.photos if p not in catalog.rights.out), None)
        picture = None if photo is None else product_picture(catalog, photo)
        return Product(name=row.name, title=row.title or row.key, category=row.category, picture=picture)


def product_picture(catalog: Catalog, photo_id: str) -> bytes:
    """Returns a photo of a catalogue as a small WebP.

    Raises:
        PackshotError: its shard is missing or damaged.
    """
    from PIL import Image

    from packshot.images.resize import flatten

    pixels = flatten(catalog.read(photo_id).pixels)
    out = io.BytesIO()
    small = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    small.thumbnail((THUMB, THUMB), Image.Resampling.LANCZOS, reducing_gap=2.0)
    small.convert("RGB").save(out, "WEBP", quality=80)
    return out.getvalue()


def show_quiz(store: Path, catalog: Path, choices: str, places: int = 12, seed: int = 0) -> QuizView:
    """Returns the next pair of a newcomer's quiz, and after some choices the list; nothing of it is stored.

    The pairs and the taste are those of `packshot personalise --newcomer CHOICES`.

    Raises:
        UsageError: choices that are none, or nothing to learn from.
        PackshotError: the catalogue has no pictures that may be learned from.
    """
    if set(choices) - {*"ab"} or len(choices) > MOST_CHOICES:
        raise UsageError(f"A quiz has at most {MOST_CHOICES} answers, each a or b.")
    import numpy as np

    from packshot.tasks.rank import Ranked
    from packshot.tasks.workshop import ask_newcomer, fit_newcomers
    from packshot.taste.store import open_store

    taste = fit_newcomers(open_store(store), catalog)
    if taste.features is None:
        raise PackshotError("The catalogue has no pictures that may be learned from, so nobody can choose between any.")
    asked = ask_newcomer(taste, choices, seed=seed)
    pictures = _Pictures(taste)
    pair = None
    if len(choices) < MOST_CHOICES:
        pair = pictures.product(asked.pair[0]), pictures.product(asked.pair[1])
    ranked: tuple[Place, ...] = ()
    if len(choices) >= LEAST_CHOICES:
        rows, warm = taste.products.rows, taste.preference.warm
        best = zip(asked.ranked[:places].tolist(), asked.scores[:places].tolist(), strict=True)
        listed = [
            Ranked(rows[i].name, rows[i].key, rows[i].title, rows[i].category, round(score, 4), bool(warm[i]))
            for i, score in best
        ]
        shown = np.flatnonzero(taste.features.pictured)
        liked = np.array([shown[one] for one, _ in asked.quiz.asked], np.int64)
        ranked = _places(taste, listed, liked, pictures)
    return QuizView(choices=choices, pair=pair, ranked=ranked)
