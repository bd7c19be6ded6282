"""Why these products and pictures: what happens without a past item, how a picture differs, what is near to buy.

Nothing here is told by the model about itself: an item is taken out of the history, the profile is computed anew, and
what changes is counted. So anybody can check it by doing the same.

Letters: I products, H items of a history, N pictures, S side, C channels, F features, K numbers of a profile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from packshot.images.seen import name_colours
from packshot.sampling.attributes import attribute_names, measure_attributes
from packshot.taste.fairness import unit_rows
from packshot.taste.looks import SHAPES, WORDS, measure_looks
from packshot.taste.making import Made, Maker
from packshot.taste.preference import Preference

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

COLOUR_WORDS = {"redness": ("less red", "redder"), "saturation": ("greyer", "more colourful")}
CLEAR = 0.5
"""Standard deviations from the average from which a difference is said."""
LEAST_ALIKE = 8
"""Products of a category from which its own average is taken; else that of all."""
MOST_ITEMS = 20
"""Items of a history that are taken away one by one, the weightiest."""


@dataclass(frozen=True)
class Driver:
    """One past item, or all of a category, and what is different without it.

    Attributes:
        name: of the product, or of the category.
        items: how many items were taken away.
        weight: what they count in the history, signed.
        effect: by how much the made pictures' predicted preference falls without them, in standard deviations over
            the catalogue; below zero it rises.
        lost: how many of the ranked products leave the list.
        ranked: numbers of the products of the list without them, best first.
        made: what would have been made without them, of the same samples; None for single items.
    """

    name: str
    items: int
    weight: float
    effect: float
    lost: int
    ranked: Ints = field(repr=False)
    made: Made | None = field(default=None, repr=False)


class Counterfactual:
    """A history, and the same with something taken away.

    Args:
        preference: of a model that judges any history; the list is by it, the pictures by that of the maker.
        history: signed weights [1, I].
        maker: that the pictures were made with.
        places: of the list.
    """

    def __init__(self, preference: Preference, history: csr_matrix, maker: Maker, places: int) -> None:
        self.preference, self.history, self.maker, self.places = preference, history.tocsr(), maker, places
        self.profile: Floats = preference.fold_in(self.history)[0]
        self.taste: Floats = maker.preference.fold_in(self.history)[0]
        self.listed = self._list(self.profile, self.history.indices)

    def without(self, name: str, items: Ints, made: Made, n: int, *, again: bool = False) -> Driver:
        """Returns what changes without some items.

        Args:
            name: what they are called.
            items: numbers of products in the history.
            made: the pictures that were made with them.
            n: how many of those count.
            again: whether pictures are made anew too.
        """
        left = self.history.copy()
        gone = np.isin(left.indices, items)
        weight = float(left.data[gone].sum())
        left.data = np.where(gone, 0, left.data).astype(np.float32)
        left.eliminate_zeros()
        profile, taste = self.preference.fold_in(left)[0], self.maker.preference.fold_in(left)[0]
        features = made.features[:n]
        effect = self.maker.score(self.taste, features).mean() - self.maker.score(taste, features).mean()
        # What was taken away stays out of the list: else it would only come back as new.
        listed = self._list(profile, self.history.indices)
        lost = len(np.setdiff1d(self.listed, listed))
        anew = self.maker.make(taste[None], self.maker.possible(left))[0] if again else None
        return Driver(name, len(items), round(weight, 3), round(float(effect), 4), lost, listed, anew)

    def items(self, names: Sequence[str], made: Made, n: int) -> list[Driver]:
        """Returns the drivers among single items, the largest effect first; `names` are those of the I products."""
        order = np.argsort(-np.abs(self.history.data), kind="stable")[:MOST_ITEMS]
        found = [
            self.without(names[i], np.array([i]), made, n) for i in self.history.indices[order].astype(int).tolist()
        ]
        return sorted(found, key=lambda d: -d.effect)

    def categories(self, categories: Sequence[str | None], made: Made, n: int, most: int = 3) -> list[Driver]:
        """Returns the drivers among categories of liked items, the weightiest first, with pictures made anew."""
        weights: dict[str, float] = {}
        mine: dict[str, list[int]] = {}
        for i, w in zip(self.history.indices.tolist(), self.history.data.tolist(), strict=True):
            name = categories[i]
            if name is not None and w > 0:
                weights[name] = weights.get(name, 0.0) + w
                mine.setdefault(name, []).append(i)
        order = sorted(weights, key=lambda name: -weights[name])[:most]
        return [self.without(name, np.array(mine[name]), made, n, again=True) for name in order]

    def _list(self, profile: Floats, seen: npt.NDArray[np.integer[Any]]) -> Ints:
        scores = self.preference.score(profile).copy()
        scores[seen] = -np.inf
        count = min(self.places, len(scores) - len(np.unique(seen)))
        return np.argsort(-scores, kind="stable")[:count].astype(np.int64)


@dataclass(frozen=True, eq=False)
class Shelf:
    """What the catalogue's products look like, to compare pictures with.

    Attributes:
        pixels: uint8 [I, S, S, C], of each product's first picture; white where there is none.
        pictured: bool [I].
        categories: of the I products.
        features: float32 [I, F].
        margin: width of the pictures' black rim.
    """

    pixels: Pixels
    pictured: npt.NDArray[np.bool_]
    categories: Sequence[str | None]
    features: Floats
    margin: int = 0

    def differences(self, pixels: Pixels, categories: Sequence[str]) -> list[list[str]]:
        """Returns, for each of pictures uint8 [N, S, S, C], how it differs from the average product, in words.

        The average is that of its category, where the catalogue has eight products of that; else of all. Only what
        differs by half a standard deviation or more is said, the clearest first; the colour's name comes first of all.
        """
        colours = name_colours(pixels) if len(pixels) else []
        said = self._said(_measures(pixels), None, categories, pixels.shape[3])
        return [[colour, *words] for colour, words in zip(colours, said, strict=True)]

    def changes(self, before: Pixels, after: Pixels, categories: Sequence[str]) -> list[list[str]]:
        """Returns how each of pictures uint8 [N, S, S, C] differs from an earlier one, in words; none: not clearly."""
        colours = zip(name_colours(before), name_colours(after), strict=True)
        said = self._said(_measures(after), _measures(before), categories, after.shape[3])
        return [
            [*([f"{a} instead of {b}"] if a != b else []), *words] for (b, a), words in zip(colours, said, strict=True)
        ]

    def _said(
        self, values: Doubles, beside: Doubles | None, categories: Sequence[str], channels: int
    ) -> list[list[str]]:
        """Returns words for measures [N, A], beside others, or beside the average product."""
        rows = np.flatnonzero(self.pictured)
        own = _measures(self.pixels[rows])
        words = [WORDS[name] for name in SHAPES]
        if channels == 3:
            words += [COLOUR_WORDS[name] for name in COLOUR_WORDS]
        named = np.array([(self.categories[i] or "").lower() for i in rows.tolist()])
        out = []
        for k, category in enumerate(categories):
            same = np.flatnonzero(named == category.lower())
            among = own[same] if len(same) >= LEAST_ALIKE else own
            middle = among.mean(0) if beside is None else beside[k]
            away = (values[k] - middle) / np.maximum(among.std(0), 1e-6)
            clear = [i for i in np.argsort(-np.abs(away)).tolist() if abs(away[i]) >= CLEAR]
            out.append([words[i][int(away[i] > 0)] for i in clear])
        return out

    def nearest(self, features: Floats, n: int = 3) -> list[list[tuple[int, float]]]:
        """Returns the n products nearest to each of features [N, F or more], with their similarity (cosine)."""
        rows = np.flatnonzero(self.pictured)
        centre = self.features[rows].mean(0)
        near = unit_rows(features[:, : self.features.shape[1]], centre) @ unit_rows(self.features[rows], centre).T
        order = np.argsort(-near, axis=1, kind="stable")[:, :n]
        return [
            [(int(rows[i]), round(float(similar[i]), 3)) for i in best]
            for similar, best in zip(near, order, strict=True)
        ]


def _measures(pixels: Pixels) -> Doubles:
    """Returns what words are said of, float64 [N, A]."""
    shapes = measure_looks(pixels).shapes.astype(np.float64)
    if pixels.shape[3] == 1:
        return shapes
    columns = [attribute_names(3).index(name) for name in COLOUR_WORDS]
    return np.concatenate([shapes, measure_attributes(pixels)[:, columns]], axis=1)
