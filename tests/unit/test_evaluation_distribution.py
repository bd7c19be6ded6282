"""Frechet and kernel distance: against other implementations and closed forms; do the intervals cover?"""

import numpy as np
import pytest
import scipy.linalg
import torch

from packshot.evaluation import distribution, figures
from packshot.evaluation.distribution import (
    KID_LEAST,
    compute_fd,
    compute_kid,
    fd_influences,
    features_to_statistics,
    kid_influences,
    statistics_to_fd,
    torchmetrics_fd,
    torchmetrics_kid,
)
from packshot.evaluation.figures import bootstrap_interval
from tests.evaluation_stubs import random_state, stub_net


def normal(n: int, d: int, seed: int, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    mixing = np.random.default_rng(99).normal(size=(d, d)) / np.sqrt(d) + np.eye(d)
    return np.random.default_rng(seed).normal(shift, scale, (n, d)) @ mixing


def brute_mmd(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased squared MMD, term by term over pairs."""
    d = x.shape[1]
    k = lambda a, b: (a @ b.T / d + 1) ** 3  # noqa: E731
    n, m = len(x), len(y)
    own = [(k(z, z).sum() - np.trace(k(z, z))) / (len(z) * (len(z) - 1)) for z in (x, y)]
    return sum(own) - 2 * k(x, y).sum() / (n * m)


def test_statistics_are_numpys_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = normal(257, 7, 1).astype(np.float32) + np.float32(1000)
    for chunk in (1, 64, 1000):
        monkeypatch.setattr(distribution, "CHUNK", chunk)
        got = features_to_statistics(rows)
        assert got.mean.dtype == got.covariance.dtype == np.float64
        np.testing.assert_allclose(got.mean, rows.astype(np.float64).mean(0), rtol=1e-12)
        np.testing.assert_allclose(got.covariance, np.cov(rows.astype(np.float64), rowvar=False), rtol=1e-9)
    with pytest.raises(ValueError, match="at least 2"):
        features_to_statistics(rows[:1])


def test_fd_equals_torchmetrics_and_scipy() -> None:
    x, y = normal(300, 24, 1, 1.2, 0.3), normal(500, 24, 2)
    a, b = features_to_statistics(x), features_to_statistics(y)
    root = scipy.linalg.sqrtm(a.covariance @ b.covariance).real
    expected = ((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance + b.covariance - 2 * root)
    assert statistics_to_fd(a, b) == pytest.approx(expected, rel=1e-9)
    assert torchmetrics_fd(x, y) == pytest.approx(expected, rel=1e-9)


def test_torchmetrics_works_in_float64_and_in_any_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(300, 24, 1, 1.2) + 3000, normal(500, 24, 2) + 3000
    exact = statistics_to_fd(features_to_statistics(x), features_to_statistics(y))
    values = []
    for chunk in (7, 100, 1000):
        monkeypatch.setattr(distribution, "CHUNK", chunk)
        values.append(torchmetrics_fd(x, y))
    # In float32 the offset alone would cost all digits.
    assert values == pytest.approx([exact] * 3, rel=1e-6)


def test_fd_has_no_value_with_too_few_pictures() -> None:
    net = stub_net(16)
    few = compute_fd(normal(1000, 16, 1), normal(3000, 16, 2), net, seed=3)
    assert (few.name, few.value, few.low, few.n, few.n_real) == ("fd_stub_1k", None, None, 1000, 3000)
    assert few.warning is not None
    assert "2,048" in few.warning
    assert "1,000" in few.warning
    assert compute_fd(normal(3000, 16, 1), normal(2047, 16, 2), net, seed=3).value is None
    wide = compute_fd(normal(2500, 16, 1), normal(2500, 16, 2), stub_net(2500), seed=3)
    assert wide.value is None
    assert "2,501" in str(wide.warning)
    enough = compute_fd(normal(5000, 16, 1, 1.1), normal(2500, 16, 2), net, seed=3)
    assert enough.name == "fd_stub_5k"
    assert enough.warning is None
    assert enough.value is not None
    assert enough.low is not None
    assert enough.high is not None
    assert enough.low < enough.value < enough.high


def test_fd_influences_are_the_derivative() -> None:
    x, y = normal(2000, 3, 1, 1.3, 0.4), normal(3000, 3, 2)
    both = fd_influences(x, y)

    def weighted(rows: np.ndarray, index: int, step: float) -> distribution.Statistics:
        weights = np.full(len(rows), (1 - step) / len(rows))
        weights[index] += step
        mean = weights @ rows
        return distribution.Statistics(mean, (rows - mean).T @ ((rows - mean) * weights[:, None]), len(rows))

    step = 1e-5
    for which in (0, 1):
        for index in (0, 17, 1500):
            ends = []
            for signed in (step, -step):
                sets = [weighted(r, index, signed if i == which else 0.0) for i, r in enumerate((x, y))]
                ends.append(statistics_to_fd(*sets))
            slope = (ends[0] - ends[1]) / (2 * step)
            assert both[which][index] == pytest.approx(slope, rel=2e-3, abs=2e-3 * both[which].std()), (which, index)


@pytest.mark.parametrize(("d", "scale", "shift"), [(2, 1.3, 0.5), (40, 1.2, 0.1)])
def test_fd_intervals_cover_the_mean_figure(d: int, scale: float, shift: float) -> None:
    """95 % in theory (or more: the jackknife errs upwards); with 60 trials, 88 % is three standard errors below."""
    n, m, trials = 300, 500, 60
    values, intervals = [], []
    for trial in range(trials):
        rng = np.random.default_rng((d, trial))
        x, y = rng.normal(shift, scale, (n, d)), rng.normal(0, 1, (m, d))
        values.append(statistics_to_fd(features_to_statistics(x), features_to_statistics(y)))
        intervals.append(bootstrap_interval(values[-1], fd_influences(x, y), trial, "fd"))
    target = np.mean(values)
    covered = np.mean([low <= target <= high for low, high in intervals])
    assert covered >= 0.88
    # Nor so wide that they say nothing.
    assert np.mean([high - low for low, high in intervals]) < 3 * 1.96 * 2 * np.std(values)


def test_fd_interval_covers_the_known_distance_where_n_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where n is far above d the bias is small, and the mean figure is the distance of the two distributions."""
    monkeypatch.setattr(figures, "REPLICATES", 400)
    known = 2 * (0.5**2 + (1.3 - 1) ** 2)
    hits = 0
    for trial in range(40):
        rng = np.random.default_rng(trial)
        x, y = rng.normal(0.5, 1.3, (1500, 2)), rng.normal(0, 1, (3000, 2))
        value = statistics_to_fd(features_to_statistics(x), features_to_statistics(y))
        low, high = bootstrap_interval(value, fd_influences(x, y), trial, "fd")
        hits += low <= known <= high
    assert hits >= 34


def test_a_collapsed_generator_gets_a_figure_and_a_finite_interval() -> None:
    net = stub_net(16)
    photos = normal(2500, 16, 2).astype(np.float32)
    collapsed = np.repeat(photos[:1], 2500, 0)
    figure = compute_fd(collapsed, photos, net, seed=0)
    spread = features_to_statistics(photos)
    gap = spread.mean - photos[0]
    assert figure.value == pytest.approx(gap @ gap + np.trace(spread.covariance), rel=1e-6)
    dead = photos.copy()
    dead[:, 3] = 0  # A feature that is never active.
    assert np.isfinite([compute_fd(dead, dead, net, seed=0).high]).all()


def test_kid_equals_the_sum_over_pairs() -> None:
    x, y = normal(120, 10, 1, 1.2), normal(120, 10, 2)
    value, deviation = torchmetrics_kid(x, y, subsets=2, subset_size=120, seed=0)
    assert value == pytest.approx(brute_mmd(x, y), rel=1e-9)
    assert deviation == pytest.approx(0, abs=1e-9)


def test_kid_is_zero_on_average_for_equal_distributions_and_not_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "KID_SUBSETS", 10)
    net = stub_net(8)
    same = [compute_kid(normal(250, 8, 2 * i), normal(250, 8, 2 * i + 1), net, seed=i) for i in range(40)]
    values = np.array([f.value for f in same])
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(len(values))
    assert np.mean([f.low <= 0 <= f.high for f in same]) >= 0.85  # type: ignore[operator]
    other = compute_kid(normal(250, 8, 1, 1.3), normal(250, 8, 2), net, seed=0)
    assert other.low is not None
    assert other.low > 0


def test_kid_draws_from_its_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, net = normal(1100, 8, 1, 1.1), normal(1050, 8, 2), stub_net(8)
    monkeypatch.setattr(distribution, "KID_SUBSETS", 4)
    before = random_state()
    first = compute_kid(x, y, net, seed=1)
    assert random_state() == before
    torch.manual_seed(123)
    assert compute_kid(x, y, net, seed=1) == first
    assert compute_kid(x, y, net, seed=2).value != first.value
    assert compute_kid(x[: KID_LEAST - 1], y, net, seed=1).value is None


def test_kid_influences_are_the_jackknifes() -> None:
    x, y = normal(200, 6, 1, 1.2).astype(np.float32), normal(250, 6, 2).astype(np.float32)
    of_x, of_y = kid_influences(x, y)
    whole = brute_mmd(x.astype(np.float64), y.astype(np.float64))
    for rows, influence, is_x in ((x, of_x, True), (y, of_y, False)):
        centred = influence - influence.mean()
        for index in (0, 50, 199):
            fewer = np.delete(rows, index, 0).astype(np.float64)
            left = brute_mmd(fewer, y.astype(np.float64)) if is_x else brute_mmd(x.astype(np.float64), fewer)
            pseudo = (len(rows) - 1) * (whole - left)
            assert centred[index] == pytest.approx(pseudo, rel=0.03, abs=0.02 * centred.std())
