"""What has to hold for any features: Frechet and kernel distance, neighbourhoods."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packshot.evaluation import distribution
from packshot.evaluation.distribution import features_to_statistics, statistics_to_fd, torchmetrics_fd, torchmetrics_kid
from packshot.evaluation.neighbours import covers_to_shares, features_to_covers

FEW = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**32 - 1)
dims = st.integers(1, 12)


def rows(seed: int, n: int, d: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(rng.normal(0, 2), 1, (n, d)) @ (np.eye(d) + 0.5 * rng.normal(size=(d, d)))


def fd(x: np.ndarray, y: np.ndarray) -> float:
    return statistics_to_fd(features_to_statistics(x), features_to_statistics(y))


@given(seeds, dims)
@FEW
def test_fd_of_a_set_with_itself_is_zero_and_it_is_symmetric(seed: int, d: int) -> None:
    x, y = rows(seed, 60, d), rows(seed + 1, 80, d)
    size = np.trace(np.atleast_2d(np.cov(x, rowvar=False))) + np.trace(np.atleast_2d(np.cov(y, rowvar=False)))
    assert fd(x, x) == pytest.approx(0, abs=1e-7 * size)
    assert fd(x, y) == pytest.approx(fd(y, x), rel=1e-7, abs=1e-7 * size)
    assert fd(x, y) > -1e-7 * size
    assert torchmetrics_fd(x, y) == pytest.approx(fd(x, y), rel=1e-6, abs=1e-6 * size)


@given(seeds, dims)
@FEW
def test_fd_does_not_see_rotation_or_shift_and_scales_by_the_square(seed: int, d: int) -> None:
    x, y = rows(seed, 60, d), rows(seed + 1, 80, d)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]
    expected, size = fd(x, y), float(np.square(x).mean() + np.square(y).mean()) * d
    assert fd(x @ turn + 3, y @ turn + 3) == pytest.approx(expected, rel=1e-6, abs=1e-6 * size)
    assert fd(3 * x, 3 * y) == pytest.approx(9 * expected, rel=1e-6, abs=1e-5 * size)


@given(seeds, dims)
@FEW
def test_fd_of_independent_axes_is_the_closed_form(seed: int, d: int) -> None:
    """For diagonal covariances: the sum over axes of the mean's gap squared and the deviations' gap squared."""
    rng = np.random.default_rng(seed)
    a, b, gap = rng.uniform(0.1, 4, d), rng.uniform(0.1, 4, d), rng.normal(0, 2, d)
    one = distribution.Statistics(gap, np.diag(a), 10)
    other = distribution.Statistics(np.zeros(d), np.diag(b), 10)
    assert statistics_to_fd(one, other) == pytest.approx((gap**2 + (np.sqrt(a) - np.sqrt(b)) ** 2).sum(), rel=1e-9)


@given(seeds, st.integers(1, 97))
@settings(max_examples=10, deadline=None)
def test_fd_does_not_depend_on_batches(seed: int, chunk: int) -> None:
    x, y = rows(seed, 70, 6), rows(seed + 1, 90, 6)
    expected = torchmetrics_fd(x, y), fd(x, y)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distribution, "CHUNK", chunk)
        assert (torchmetrics_fd(x, y), fd(x, y)) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(seeds, dims)
@FEW
def test_kid_does_not_see_rotation_and_is_symmetric_in_equal_numbers(seed: int, d: int) -> None:
    x, y = rows(seed, 50, d), rows(seed + 1, 50, d)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]
    whole = lambda a, b: torchmetrics_kid(a, b, subsets=1, subset_size=50, seed=0)[0]  # noqa: E731
    size = float(np.abs(x @ x.T / d + 1).max() ** 3 + np.abs(y @ y.T / d + 1).max() ** 3)
    assert whole(x @ turn, y @ turn) == pytest.approx(whole(x, y), abs=1e-9 * size)
    assert whole(x, y) == pytest.approx(whole(y, x), abs=1e-9 * size)


@given(seeds, st.integers(1, 5))
@FEW
def test_neighbourhoods_do_not_see_order_shift_or_scale(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    # Whole numbers in float32 are exact, so that near ties fall alike.
    x, y = rng.integers(-200, 200, (40, 5)).astype(np.float32), rng.integers(-200, 200, (60, 5)).astype(np.float32)
    share = lambda a, b: {n: v[0] for n, v in covers_to_shares(features_to_covers(a, b, k), k).items()}  # noqa: E731
    expected = share(x, y)
    assert share(x[::-1].copy(), y[::-1].copy()) == pytest.approx(expected, abs=0.03)
    assert share(x * 2, y * 2) == pytest.approx(expected, abs=0.03)
    assert 0 <= expected["precision"] <= 1
    assert 0 <= expected["recall"] <= 1
    assert 0 <= expected["coverage"] <= expected["density"] * 40 * k / 60 + 1e-9, "a ball counts once for coverage"


@given(seeds)
@FEW
def test_swapping_the_sets_swaps_precision_and_recall(seed: int) -> None:
    x, y = rows(seed, 40, 4).astype(np.float32), rows(seed + 1, 50, 4).astype(np.float32)
    one, other = (covers_to_shares(features_to_covers(*sets, 3), 3) for sets in ((x, y), (y, x)))
    assert one["precision"][0] == pytest.approx(other["recall"][0], abs=0.021)
    assert one["recall"][0] == pytest.approx(other["precision"][0], abs=0.021)
