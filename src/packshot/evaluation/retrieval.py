"""How well texts find their photos, and photos their texts.

Letters: N photos, Q different texts, k places that are looked at, m photos that a text is right for.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from packshot.evaluation.figures import Figure, wilson_interval

Floats = npt.NDArray[np.floating[Any]]
PLACES = (1, 5, 10)
QUERIES_AT_A_TIME = 1000


@dataclass(frozen=True)
class Retrieval:
    """What was measured.

    Attributes:
        figures: recall at k from texts to photos, then from photos to texts.
        chance: what a random order would reach, by the figures' names.
        photos: N.
        texts: Q.
    """

    figures: tuple[Figure, ...]
    chance: dict[str, float]
    photos: int
    texts: int


def compute_retrieval(photos: Floats, texts: Floats, own: npt.NDArray[np.int64], name: str) -> Retrieval:
    """Returns recall at 1, 5 and 10 both ways, as far as there are so many.

    Photos of one text are all right for it, so a hit is any of them (recall at k of Radford et al. 2021, sec. 3.1, with
    equal texts as one).

    Args:
        photos: unit vectors [N, D].
        texts: unit vectors [Q, D], of different texts, each of which at least one photo has.
        own: [N], which text each photo has.
        name: of the model, for the figures' names.
    """
    n, q = len(photos), len(texts)
    right = np.bincount(own, minlength=q)
    by_text, by_photo = np.empty(q, np.int64), np.empty(n, np.int64)
    for start in range(0, q, QUERIES_AT_A_TIME):
        part = np.arange(start, min(start + QUERIES_AT_A_TIME, q))
        similarity = texts[part] @ photos.T
        best = np.where(own[None] == part[:, None], similarity, -np.inf).max(1)
        # A tie counts as a miss: vectors that are all alike find nothing.
        by_text[part] = ((similarity >= best[:, None]) & (own[None] != part[:, None])).sum(1)
    for start in range(0, n, QUERIES_AT_A_TIME):
        part = np.arange(start, min(start + QUERIES_AT_A_TIME, n))
        similarity = photos[part] @ texts.T
        ahead = similarity >= similarity[np.arange(len(part)), own[part]][:, None]
        by_photo[part] = ahead.sum(1) - 1
    figures, chance = [], {}
    for way, ranks, total in (("text_to_photo", by_text, n), ("photo_to_text", by_photo, q)):
        for k in PLACES:
            if k >= total:
                continue
            figure = _figure(way, k, ranks, total, name)
            figures.append(figure)
            chance[figure.name] = float(np.mean(chance_of_hit(total, right if way == "text_to_photo" else 1, k)))
    return Retrieval(tuple(figures), chance, n, q)


def chance_of_hit(n: int, right: npt.ArrayLike, k: int) -> npt.NDArray[np.float64]:
    """Returns the chance that k of n photos, drawn without putting back, hold one of the m right ones.

    1 - C(n - m, k) / C(n, k) = 1 - prod_{i < k} (n - m - i) / (n - i).
    """
    m = np.asarray(right, np.float64)
    i = np.arange(k)
    missed: npt.NDArray[np.float64] = np.prod(np.clip((n - m[..., None] - i) / (n - i), 0, None), axis=-1)
    return 1 - missed


def _figure(way: str, k: int, ranks: npt.NDArray[np.int64], total: int, name: str) -> Figure:
    asked, found = ("text", "photo") if way == "text_to_photo" else ("photo", "text")
    hits, n = int((ranks < k).sum()), len(ranks)
    low, high = wilson_interval(hits, n)
    return Figure(
        name=f"{way}_recall_{k}_{name}",
        n=n,
        n_real=total,
        seed=0,
        meaning=f"Share of the {asked}s whose right {found} is among the {k} nearest of {total:,}.",
        protocol="Test photos; equal texts are one, and all photos of a text are right for it; a tie is a miss.",
        value=hits / n,
        low=low,
        high=high,
    )
