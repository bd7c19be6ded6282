"""From a taste to what is asked of a generator beside the category: which value of an attribute is liked more.

Letters: N samples, A length of a condition.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from packshot.models.conditions import Conditions

Floats = npt.NDArray[np.float32]

CLEAR = 0.25
"""Standard deviations over the catalogue from which a value is asked for."""
LEAST = 4
"""Samples that a value is judged by, at least."""


@dataclass(frozen=True)
class Wish:
    """One thing that a taste asks of a generator.

    Attributes:
        attribute: its name.
        value: that is liked most.
        gain: by how much samples that were asked for it are liked more than those that were asked for any value of the
            attribute, in standard deviations over the catalogue.
    """

    attribute: str
    value: str
    gain: float


def spread_attributes(known: Conditions | None, n: int, categories: int) -> Floats:
    """Returns what is asked of n samples [n, A]: in every second round of the categories one value of each attribute.

    So the samples say which values are liked. A generator without attributes gets [n, 0].
    """
    if known is None or not known.attributes:
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


def with_wishes(known: Conditions | None, cond: Floats, wishes: list[Wish]) -> Floats:
    """Returns conditions [N, A] of which every second one asks for what is wished too."""
    if known is None or not wishes:
        return cond
    out, start = cond.copy(), 0
    wished = {w.attribute: w.value for w in wishes}
    for name, values in known.attributes.items():
        if name in wished:
            out[1::2, start : start + len(values)] = 0
            out[1::2, start + values.index(wished[name])] = 1
        start += len(values)
    return out
