"""Figures with their interval, and the two interval methods.

Letters: n pictures, p a share, z the normal quantile of the confidence, B bootstrap replicates.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from packshot.core.random import stream_seed

Floats = npt.NDArray[np.float64]
CONFIDENCE = 0.95
REPLICATES = 2000
DRAWS_AT_A_TIME = 100_000
EDGE = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured number and what is needed to judge it.

    Attributes:
        name: names the protocol: measure, feature net and, where the value depends on it, the number of samples.
        n: pictures measured.
        n_real: real photos they were measured against; 0 where none are needed.
        seed: seed of the samples, and of the draws of the interval.
        meaning: one sentence for a reader who is no statistician.
        protocol: how it was measured.
        value: None when there were too few pictures for a number; `warning` then says how many are needed.
        low: lower end of the 95 % interval; None without a value.
        high: upper end of the 95 % interval; None without a value.
        warning: what the reader has to know before using the value; None when nothing.

    Raises:
        ValueError: a value that is not finite or lies outside its interval, or neither a value nor a warning.
    """

    name: str
    n: int
    n_real: int
    seed: int
    meaning: str
    protocol: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    warning: str | None = None

    def __post_init__(self) -> None:
        if self.value is None:
            if self.warning is None or self.low is not None or self.high is not None:
                raise ValueError(f"{self.name} has no value; it needs a warning, and no interval.")
            return
        if self.low is None or self.high is None or not all(map(math.isfinite, (self.low, self.value, self.high))):
            raise ValueError(f"{self.name} is {self.value} in [{self.low}, {self.high}]; these have to be numbers.")
        if not self.low <= self.value <= self.high:
            raise ValueError(f"{self.name} is {self.value}, outside of its interval [{self.low}, {self.high}].")

    def measured(self, value: float, interval: tuple[float, float], warning: str | None = None) -> "Figure":
        """Returns the same figure with its value and interval, and without the warning of too few pictures."""
        return dataclasses.replace(self, value=value, low=interval[0], high=interval[1], warning=warning)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return dataclasses.asdict(self)


def count_tag(n: int) -> str:
    """Returns how a number of samples is written in a name: 5000 is "5k", 2048 is "2048"."""
    return f"{n // 1000}k" if n >= 1000 and n % 1000 == 0 else str(n)


def where_from(n: int, photos: int, least: int) -> str:
    """Returns what to do where there are fewer than `least` of n samples or of the test photos: a sentence for each."""
    lacking = {
        "Make more samples (--n).": n < least,
        "For more test photos ingest with a larger --test-share, or add photos to the catalogue.": photos < least,
    }
    return " ".join(sentence for sentence, lacks in lacking.items() if lacks)


def wilson_interval(hits: int, n: int) -> tuple[float, float]:
    """Returns the 95 % interval of a share: [low, high] within [0, 1], and sensible for 0 or n hits.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".

    Raises:
        ValueError: not 0 <= hits <= n, or n is 0.
    """
    if n < 1 or not 0 <= hits <= n:
        raise ValueError(f"a share needs 0 <= hits <= n and n >= 1, not {hits} of {n}.")
    p, zz = hits / n, EDGE**2
    centre = (p + zz / (2 * n)) / (1 + zz / n)
    half = EDGE / (1 + zz / n) * math.sqrt(p * (1 - p) / n + zz / (4 * n * n))
    # Rounding must not put 0 of n or n of n outside of its own interval.
    return min(max(0.0, centre - half), p), max(min(1.0, centre + half), p)


def bootstrap_interval(value: float, influences: Sequence[Floats], seed: int, name: str) -> tuple[float, float]:
    """Returns the 95 % interval of a figure by the linearised bootstrap.

    Each array of `influences` belongs to one independent set of pictures (the samples, the real photos) and holds, for
    each picture, n times the change of the figure when the picture's weight in its set grows by a little. A replicate
    draws each set anew with replacement and moves the figure by the mean influence drawn. The interval is centred on
    the figure itself: it covers the mean figure over other sets of the same sizes, which is what the figure's name
    stands for. A plain bootstrap of a Frechet distance or of neighbourhoods is of no use: the pictures drawn twice
    make it far too large (46 for a distance of 29), or bend the neighbourhoods.

    Source: Efron 1982, "The Jackknife, the Bootstrap and Other Resampling Plans", ch. 6 (infinitesimal jackknife).

    Args:
        value: the figure.
        influences: arrays float64 [n], of any mean; each is centred here.
        seed: of the draws.
        name: of the figure; figures with other names draw other numbers.
    """
    shift = np.zeros(REPLICATES)
    for index, influence in enumerate(influences):
        rng = np.random.default_rng(stream_seed(seed, f"bootstrap:{name}", index))
        centred = influence - influence.mean()
        block = max(1, DRAWS_AT_A_TIME // len(centred))
        for start in range(0, REPLICATES, block):
            drawn = rng.integers(0, len(centred), (min(block, REPLICATES - start), len(centred)), np.int32)
            shift[start : start + block] += centred[drawn].mean(1)
    low, high = np.quantile(shift - shift.mean(), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return value + float(low), value + float(high)


def share_interval(value: float, influences: Sequence[Floats], n: int, seed: int, name: str) -> tuple[float, float]:
    """Returns the 95 % interval of a share over n pictures: `bootstrap_interval`, but never narrower than Wilson's.

    So a share of exactly 0 or 1, which every replicate repeats, is not reported as certain.
    """
    low, high = bootstrap_interval(value, influences, seed, name)
    least, most = wilson_interval(round(value * n), n)
    return max(0.0, min(low, least)), min(1.0, max(high, most))
