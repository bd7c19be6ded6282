"""From a taste to what is asked of a generator beside the category: which value of an attribute is liked more, and
which words say best what is liked.

Letters: N samples, A length of a condition, I products, T texts, E length of a text's embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from packshot.models.conditions import Conditions

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

CLEAR = 0.25
"""Standard deviations over the catalogue from which a value, or a text, is asked for."""
LEAST = 4
"""Samples that a value is judged by, at least."""
DOUBT = 2.0
"""Average products that each text is thought to have beside its own: one product that is liked makes no word for it."""
TEXT = "text"
"""What a text is called where attributes have names."""


@dataclass(frozen=True)
class Wish:
    """One thing that a taste asks of a generator.

    Attributes:
        attribute: its name.
        value: that is liked most.
        gain: by how much samples that were asked for it are liked more than those that were asked for any value of the
            attribute, in standard deviations over the catalogue; of a text, the products that it is said of more than
            all of their category.
        category: for which it is asked, lower case; None: for all.
    """

    attribute: str
    value: str
    gain: float
    category: str | None = None


@dataclass(frozen=True, eq=False)
class Texts:
    """What the shop says of its products, in the space of the text model that a generator was trained with.

    Attributes:
        texts: T different ones.
        rows: float32 [T, E], their embeddings, of unit length.
        of: int64 [I], which text each product with a picture has.
        categories: of these products.
    """

    texts: Sequence[str]
    rows: Floats
    of: Ints
    categories: Sequence[str | None]

    def liked(self, scores: Floats) -> list[Wish]:
        """Returns for each category the text whose products a taste likes most, where that is clear.

        Args:
            scores: float32 [I] of the products by the taste, in standard deviations over the catalogue.
        """
        kinds = np.array([(c or "").lower() for c in self.categories])
        out = []
        for kind in sorted(set(kinds.tolist()) - {""}):
            rows = np.flatnonzero(kinds == kind)
            middle = float(scores[rows].mean())
            said, place = np.unique(self.of[rows], return_inverse=True)
            gains = np.bincount(place, scores[rows] - middle) / (np.bincount(place) + DOUBT)
            best = int(gains.argmax())
            if len(said) > 1 and gains[best] >= CLEAR:
                out.append(Wish(TEXT, self.texts[said[best]], round(float(gains[best]), 3), kind))
        return out

    def said(self, cond: Floats) -> str | None:
        """Returns the text that the last E numbers of a condition [A] ask for; None: none."""
        asked = cond[len(cond) - self.rows.shape[1] :]
        return self.texts[int((self.rows @ asked).argmax())] if asked.any() else None


def spread_attributes(known: Conditions | None, n: int, categories: int) -> Floats:
    """Returns what is asked of n samples [n, A]: in every second round of the categories one value of each attribute.

    So the samples say which values are liked. A generator that takes nothing else than a category gets [n, 0]. Texts
    are not asked for here: of them there are too many.
    """
    if known is None:
        return np.zeros((n, 0), np.float32)
    rounds, places = np.divmod(np.arange(n), categories)
    asked: dict[str, list[str | None]] = {
        name: [
            values[(r // 2 + k) % len(values)] if r % 2 else None
            for r, k in zip(rounds.tolist(), places.tolist(), strict=True)
        ]
        for name, values in known.attributes.items()
    }
    return known.encode(asked, None, n)


def wishes_of(known: Conditions | None, scores: Floats, cond: Floats) -> list[Wish]:
    """Returns the value of each attribute that a taste clearly likes most; none: no attribute matters to it.

    Args:
        known: what the generator can be asked for.
        scores: float32 [N] of samples by the taste, in standard deviations over the catalogue.
        cond: float32 [N, A], what was asked of them, see `spread_attributes`.
    """
    if known is None:
        return []
    out, start = [], 0
    for name, values in known.attributes.items():
        asked = [scores[cond[:, start + i] > 0] for i in range(len(values))]
        middle = float(np.concatenate(asked).mean()) if any(map(len, asked)) else 0.0
        gains = [float(a.mean()) - middle if len(a) >= LEAST else -np.inf for a in asked]
        best = int(np.argmax(gains))
        if gains[best] >= CLEAR:
            out.append(Wish(name, values[best], round(gains[best], 3)))
        start += len(values)
    return out


def with_wishes(
    known: Conditions | None,
    cond: Floats,
    wishes: Sequence[Wish],
    kinds: Sequence[str] = (),
    texts: Texts | None = None,
) -> Floats:
    """Returns conditions [N, A] of which every second one asks for what is wished too.

    Args:
        known: what the generator can be asked for.
        cond: float32 [N, A], what was asked for before.
        wishes: of one taste.
        kinds: names of the categories of the N, lower case.
        texts: that a wished text is one of; None: no text can be asked for.
    """
    if known is None or not wishes:
        return cond
    out, start = cond.copy(), 0
    wished = {w.attribute: w.value for w in wishes if w.category is None}
    for name, values in known.attributes.items():
        if name in wished:
            out[1::2, start : start + len(values)] = 0
            out[1::2, start + values.index(wished[name])] = 1
        start += len(values)
    words = {w.category: w.value for w in wishes if w.attribute == TEXT and w.category is not None}
    if texts is None or not words:
        return out
    place = {text: row for row, text in enumerate(texts.texts)}
    for i in range(1, len(out), 2):
        if kinds[i] in words:
            out[i, start:] = known.encode({}, texts.rows[[place[words[kinds[i]]]]])[0, start:]
    return out
