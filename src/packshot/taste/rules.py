"""What is left out of a shopper's events, and why: doubles, clicks that were meant once, and rates no person has.

Letters: n events, sorted by user and time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.integer[Any]]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Settings.

    Attributes:
        double_click_ms: the same user, product and kind within so many ms of the event before is one event.
        burst: more than so many events within `burst_ms` is no person: 300 in 5 minutes, 60 a minute sustained.
        burst_ms: see `burst`.
        daily: more than so many events within any 24 hours is no person.
    """

    double_click_ms: int = 2_000
    burst: int = 300
    burst_ms: int = 300_000
    daily: int = 2_000


def find_doubles(user: Ints, product: Ints, kind: Ints, time: Ints, within_ms: int) -> Bools:
    """Returns which events [n] follow one of the same user, product and kind by at most `within_ms`.

    Of equal times the first in the arrays stays. A row of such events counts once, however long it is.
    """
    order = np.lexsort((np.arange(len(user)), time, kind, product, user))
    u, p, k, t = user[order], product[order], kind[order], time[order]
    same = (u[1:] == u[:-1]) & (p[1:] == p[:-1]) & (k[1:] == k[:-1]) & (t[1:] - t[:-1] <= within_ms)
    out = np.zeros(len(user), bool)
    out[order[1:][same]] = True
    return out


def find_bots(user: Ints, time: Ints, rules: Rules) -> Ints:
    """Returns the users, each once, whose events come faster than a person's; `user` and `time` [n] are sorted."""
    found = [
        _faster(user, time, rules.burst, rules.burst_ms),
        _faster(user, time, rules.daily, 86_400_000),
    ]
    return np.unique(np.concatenate(found))


def _faster(user: Ints, time: Ints, most: int, within_ms: int) -> Ints:
    """Returns users with more than `most` events within a window of `within_ms`: event i + most is as near as that."""
    if len(user) <= most:
        return user[:0]
    near = (user[most:] == user[:-most]) & (time[most:] - time[:-most] < within_ms)
    found: Ints = user[most:][near]
    return found
