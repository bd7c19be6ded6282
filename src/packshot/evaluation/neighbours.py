"""Distances between feature rows in flat memory, and what is made of them: precision, recall, density, coverage.

Letters: x a sample's features, y a photo's, n samples, m photos, d features, k neighbours; the ball of a row reaches
to the k-th nearest other row of its own set.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from packshot.evaluation.features import Features, chunk_rows
from packshot.evaluation.figures import Figure, Floats, bootstrap_interval, share_interval, where_from
from packshot.models.features.net import FeatureNet

Counts = npt.NDArray[np.int64]
NEIGHBOURS = 5
PRDC_LEAST = 200


def centred(rows: Features, centre: Floats) -> Tensor:
    """Returns float32 rows [n, d] less `centre` [d].

    |x - y|^2 is computed as |x|^2 - 2 x.y + |y|^2, which loses digits when the rows lie far from the origin.
    """
    return torch.from_numpy(rows - centre.astype(np.float32))


def squared_distances(rows: Tensor, others: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yields (start, squared Euclidean distances float32 [chunk, m] of rows start.. to all `others`)."""
    norms, chunk = (others * others).sum(1), chunk_rows(len(others))
    for start in range(0, len(rows), chunk):
        part = rows[start : start + chunk]
        squares = torch.addmm(norms[None], part, others.T, alpha=-2).add_((part * part).sum(1)[:, None])
        yield start, squares.clamp_(min=0)


@dataclass(frozen=True)
class Balls:
    """The ball of each row: squared radii to the k-th and (k+1)-th nearest other row, float32 [n], and the k nearest.

    Attributes:
        radii: to the k-th nearest other row.
        next_radii: to the one after it: what the radius becomes when one of the k is missing.
        nearest: int64 [n, k], which rows the k nearest are.
    """

    radii: Tensor
    next_radii: Tensor
    nearest: Counts


def rows_to_balls(rows: Tensor, k: int) -> Balls:
    """Returns the ball of each row [n, d] in its own set, n > k + 1."""
    radii, next_radii = torch.empty(len(rows)), torch.empty(len(rows))
    nearest = np.empty((len(rows), k), np.int64)
    for start, squares in squared_distances(rows, rows):
        stop = start + len(squares)
        squares[torch.arange(len(squares)), torch.arange(start, stop)] = math.inf
        found = squares.topk(k + 1, largest=False)
        radii[start:stop], next_radii[start:stop] = found.values[:, k - 1], found.values[:, k]
        nearest[start:stop] = found.indices[:, :k].numpy()
    return Balls(radii, next_radii, nearest)


@dataclass(frozen=True)
class Cover:
    """How often each of some rows lies within balls of other rows.

    Attributes:
        counts: int64 [rows], number of balls that each row lies in.
        only: float64 [balls], number of rows that lie in this ball alone.
        members: int64 [balls], number of rows in each ball.
    """

    counts: Counts
    only: Floats
    members: Counts


@dataclass(frozen=True)
class Covers:
    """The relations that the four figures are made of.

    Attributes:
        fake_in_real: samples within photos' balls.
        real_hit: photos whose own ball holds a sample; here the "balls" are the samples.
        real_in_fake: photos within samples' balls.
        grown: int64 [m], samples in each photo's ball, were it to reach one neighbour further.
        nearest: int64 [m, k], the photos nearest to each photo.
    """

    fake_in_real: Cover
    real_hit: Cover
    real_in_fake: Cover
    grown: Counts
    nearest: Counts


class _Tally:
    """Counts a relation between the rows of two sets, chunk by chunk of the first."""

    def __init__(self, first: int, second: int) -> None:
        self.first = torch.zeros(first, dtype=torch.int64)
        self.second = torch.zeros(second, dtype=torch.int64)
        self.last_of_first = torch.zeros(first, dtype=torch.int64)
        self.last_of_second = torch.zeros(second, dtype=torch.int64)

    def add(self, start: int, related: Tensor) -> None:
        """Adds rows start.. of the first set: bool [chunk, second]."""
        stop = start + len(related)
        marks = related.to(torch.uint8)
        self.first[start:stop] = related.sum(1)
        self.last_of_first[start:stop] = marks.argmax(1)
        self.second += related.sum(0)
        here = related.any(0)
        self.last_of_second[here] = start + marks.argmax(0)[here]

    def first_in_second(self) -> Cover:
        """Rows: the first set; balls: the second."""
        return self._cover(self.first, self.last_of_first, self.second)

    def second_in_first(self) -> Cover:
        """Rows: the second set; balls: the first."""
        return self._cover(self.second, self.last_of_second, self.first)

    @staticmethod
    def _cover(counts: Tensor, last: Tensor, members: Tensor) -> Cover:
        # Where a row lies in one ball only, the last ball that was seen is that one.
        only = torch.bincount(last[counts == 1], minlength=len(members))
        return Cover(counts.numpy(), only.double().numpy(), members.numpy())


def features_to_covers(fake: Features, real: Features, k: int = NEIGHBOURS) -> Covers:
    """Returns who lies in whose ball, for features [n, D] and [m, D]; a ball holds what is nearer than its radius.

    Raises:
        ValueError: not more than k + 1 rows in a set.
    """
    if min(len(fake), len(real)) <= k + 1:
        raise ValueError(f"{k} neighbours need more than {k + 1} rows in each set, not {len(fake)} and {len(real)}.")
    centre = real.mean(0, dtype=np.float64)
    x, y = centred(fake, centre), centred(real, centre)
    x_balls, y_balls = rows_to_balls(x, k), rows_to_balls(y, k)
    in_real, in_fake = _Tally(len(x), len(y)), _Tally(len(x), len(y))
    grown = torch.zeros(len(y), dtype=torch.int64)
    for start, squares in squared_distances(x, y):
        in_real.add(start, squares < y_balls.radii)
        in_fake.add(start, squares < x_balls.radii[start : start + len(squares), None])
        grown += (squares < y_balls.next_radii).sum(0)
    return Covers(
        fake_in_real=in_real.first_in_second(),
        real_hit=in_real.second_in_first(),
        real_in_fake=in_fake.second_in_first(),
        grown=grown.numpy(),
        nearest=y_balls.nearest,
    )


def covers_to_shares(covers: Covers, k: int = NEIGHBOURS) -> dict[str, tuple[float, Floats, Floats]]:
    """Returns precision, recall, density and coverage, each with the influences of the samples and of the photos.

    precision: the share of samples in any photo's ball; recall: the share of photos in any sample's ball (Kynkaanniemi
    et al. 2019, "Improved Precision and Recall Metric for Assessing Generative Models"). density: photos' balls a
    sample lies in, over k; coverage: the share of photos with a sample in their ball (Naeem et al. 2020, "Reliable
    Fidelity and Diversity Metrics for Generative Models").

    Influences: of the set whose rows are counted, the row's own part; of the other set, n times what leaving the row
    out would change: the rows that only it covers (for density, all that it covers). For density and coverage also
    that the balls of the photos near to a photo grow when it is left out.
    """
    n, m = len(covers.fake_in_real.counts), len(covers.grown)
    precise, recalled, hit = (
        (cover.counts > 0).astype(np.float64) for cover in (covers.fake_in_real, covers.real_in_fake, covers.real_hit)
    )
    members = covers.fake_in_real.members
    hit_more = _sum_to_nearest(covers, (covers.grown > 0) - hit)
    more_members = _sum_to_nearest(covers, (covers.grown - members).astype(np.float64))
    per_fake: Floats = covers.fake_in_real.counts.astype(np.float64) / k
    return {
        "precision": (float(precise.mean()), precise, covers.fake_in_real.only * (m / n)),
        "recall": (float(recalled.mean()), covers.real_in_fake.only * (n / m), recalled),
        "density": (float(per_fake.mean()), per_fake, (members - more_members) * (m / (k * n))),
        "coverage": (float(hit.mean()), covers.real_hit.only * (n / m), hit - hit_more),
    }


def _sum_to_nearest(covers: Covers, values: Floats) -> Floats:
    """Returns, for each photo, the sum of `values` [m] over the photos that have it among their nearest."""
    m, k = covers.nearest.shape
    return np.bincount(covers.nearest.ravel(), np.repeat(values, k), minlength=m).astype(np.float64)


MEANINGS = {
    "precision": "Share of samples that lie among the test photos: do they look real?",
    "recall": "Share of test photos that lie among the samples: is nothing left out?",
    "density": "How densely samples lie among the test photos; about 1 for real ones, more for too typical ones.",
    "coverage": "Share of test photos that have a sample close by: is nothing left out?",
}


def compute_prdc(
    fake: Features, real: Features, net: FeatureNet, *, seed: int, k: int = NEIGHBOURS
) -> tuple[tuple[Figure, ...], Covers | None]:
    """Returns the figures `precision_NET`, `recall_NET`, `density_NET`, `coverage_NET`, and who covers whom.

    Less than 200 pictures in either set give figures without values, and None.
    """
    n, m = len(fake), len(real)
    enough = min(n, m) >= PRDC_LEAST
    covers = features_to_covers(fake, real, k) if enough else None
    shares = covers_to_shares(covers, k) if covers is not None else {}
    figures = []
    for kind, meaning in MEANINGS.items():
        name = f"{kind}_{net.name}"
        ideal = f" Photos of the same kind give {expected_coverage(n, m, k):.3f}." if kind == "coverage" else ""
        figure = Figure(
            name=name,
            n=n,
            n_real=m,
            seed=seed,
            meaning=meaning + ideal,
            protocol=f"k = {k}, {net.protocol} features ({net.source}), {n:,} samples, {m:,} test photos",
            warning=f"{name} needs at least {PRDC_LEAST} samples and as many test photos; there are {n:,} and {m:,}. "
            + where_from(n, m, PRDC_LEAST),
        )
        if enough:
            value, *influences = shares[kind]
            if kind == "density":
                low, high = bootstrap_interval(value, influences, seed, name)
                figure = figure.measured(value, (max(0.0, low), high))
            else:
                counted = n if kind == "precision" else m
                figure = figure.measured(value, share_interval(value, influences, counted, seed, name))
        figures.append(figure)
    return tuple(figures), covers


def expected_coverage(n: int, m: int, k: int) -> float:
    """Returns the coverage of m photos by n samples of the same distribution, on average.

    1 - (m - 1) ... (m - k) / ((n + m - 1) ... (n + m - k)), by Naeem et al. 2020, section 3.3.
    """
    return 1 - math.prod((m - i) / (n + m - i) for i in range(1, k + 1))
