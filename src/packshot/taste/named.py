"""What has a name of a picture, in numbers: its category, its colour, how bright, long, large and detailed it is.

Beside the features of a network these are what a taste can be told in, and few shoppers are enough to learn them.

Letters: I products, N pictures, D features, K categories, C names of colours, A = K + C + 4 named numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from packshot.taste.looks import SHAPES, colour_names, measure_looks

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

MOST_CATEGORIES = 24
"""The most frequent ones have a number of their own; the rest are told by the features alone."""
NEIGHBOURS = 7
LIMIT = 2.5
"""Standard deviations that a measure counts up to: farther out the catalogue says nothing about tastes."""


def describe_looks(pixels: Pixels) -> Floats:
    """Returns measures [N, 4 + C] of pictures uint8 [N, S, S, channels]: SHAPES, then 1 at the colour's name."""
    looks, names = measure_looks(pixels), colour_names(pixels.shape[3])
    colour = np.array([names.index(name) for name in looks.colours], np.int64)
    return np.concatenate([looks.shapes, np.eye(len(names), dtype=np.float32)[colour]], axis=1)


@dataclass(frozen=True, eq=False)
class Named:
    """The named numbers of a catalogue's products, and of any picture beside them.

    Attributes:
        features: float32 [I, D] of products with a picture.
        looks: float32 [I, 4 + C] as `describe_looks` gives them.
        categories: of the I products; None: unknown.
    """

    features: Floats
    looks: Floats
    categories: Sequence[str | None]

    @cached_property
    def kinds(self) -> list[str]:
        """The K names of categories, lower case, the most frequent first."""
        names, counts = np.unique([c.lower() for c in self.categories if c is not None], return_counts=True)
        return [str(names[i]) for i in np.argsort(-counts, kind="stable")[:MOST_CATEGORIES]]

    @cached_property
    def labels(self) -> Ints:
        """The number of each product's category among `kinds`, int64 [I]; -1: none of them."""
        place = {name: k for k, name in enumerate(self.kinds)}
        return np.array([-1 if c is None else place.get(c.lower(), -1) for c in self.categories], np.int64)

    @cached_property
    def names(self) -> list[str]:
        """What the A numbers are."""
        colours = colour_names(3 if self.looks.shape[1] > len(SHAPES) + 3 else 1)
        return [*(f"category={k}" for k in self.kinds), *SHAPES, *(f"colour={c}" for c in colours)]

    @cached_property
    def rows(self) -> Floats:
        """The products' own numbers, float32 [I, A]."""
        return np.concatenate([self._shares(self.labels[:, None]), self._standard(self.looks)], axis=1)

    def of(self, features: Floats, pixels: Pixels, near: Ints | None = None) -> Floats:
        """Returns the numbers float32 [N, A] of pictures uint8 [N, S, S, channels] with features [N, D].

        The category of a picture is that of most of the products that look most like it; their numbers [N, 7] may be
        given, where they are known. It has that one alone: of shares, a taste for a category would make a picture that
        is five parts boot always less than any boot, and never better than the best.
        """
        near = self.nearest(features) if near is None else near
        shares = self._shares(self.labels[near])
        kind = np.zeros_like(shares)
        most = shares.max(1, initial=0)
        # Of a picture that looks most like products of no known category, none.
        told = np.flatnonzero((most > 0) & (most >= 1 - shares.sum(1) - 1e-6))
        if len(told):
            kind[told, shares[told].argmax(1)] = 1
        return np.concatenate([kind, self._standard(describe_looks(pixels))], axis=1)

    def nearest(self, features: Floats) -> Ints:
        """Returns the numbers [N, 7] of the products that look most like pictures with features [N, D]."""
        # |a - b|^2 without |a|^2, which is the same for all products.
        distance = self._norms[None] - 2 * features @ self.features.T
        count = min(NEIGHBOURS, len(self.features))
        return np.argpartition(distance, count - 1, axis=1)[:, :count].astype(np.int64)

    def category(self, numbers: Floats) -> list[str | None]:
        """Returns the likeliest category of each picture by its numbers [N, A]; None: none is likely."""
        shares = numbers[:, : len(self.kinds)]
        if not shares.shape[1]:
            return [None] * len(numbers)
        best = shares.argmax(1)
        return [self.kinds[k] if shares[i, k] > 0 else None for i, k in enumerate(best.tolist())]

    @cached_property
    def _norms(self) -> Floats:
        out: Floats = np.square(self.features).sum(1)
        return out

    @cached_property
    def _moments(self) -> tuple[Floats, Floats]:
        shapes = self.looks[:, : len(SHAPES)]
        return shapes.mean(0), np.maximum(shapes.std(0), 1e-6)

    def _standard(self, looks: Floats) -> Floats:
        centre, spread = self._moments
        shapes = np.clip((looks[:, : len(SHAPES)] - centre) / spread, -LIMIT, LIMIT)
        return np.concatenate([shapes, looks[:, len(SHAPES) :]], axis=1).astype(np.float32)

    def _shares(self, labels: Ints) -> Floats:
        """Returns the shares float32 [N, K] of categories in rows of labels [N, n]."""
        out = np.zeros((len(labels), len(self.kinds)), np.float32)
        for column in labels.T:
            known = np.flatnonzero(column >= 0)
            out[known, column[known]] += 1 / labels.shape[1]
        return out
