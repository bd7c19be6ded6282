"""Figures, names, and whether the intervals cover what they say."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from packshot.evaluation.distribution import compute_fd
from packshot.evaluation.figures import (
    Figure,
    bootstrap_interval,
    count_tag,
    share_interval,
    where_from,
    wilson_interval,
)
from tests.evaluation_stubs import stub_net

TOO_FEW = Figure(name="x", n=3, n_real=4, seed=5, meaning="m", protocol="p", warning="needs 10")


def test_a_figure_is_json_and_without_value_says_why() -> None:
    figure = TOO_FEW.measured(1.5, (1.0, 2.0))
    assert json.loads(json.dumps(figure.to_dict())) == {
        "name": "x",
        "n": 3,
        "n_real": 4,
        "seed": 5,
        "meaning": "m",
        "protocol": "p",
        "value": 1.5,
        "low": 1.0,
        "high": 2.0,
        "warning": None,
    }
    assert TOO_FEW.to_dict()["value"] is None


@pytest.mark.parametrize(
    ("value", "interval"), [(math.nan, (0, 1)), (math.inf, (0, math.inf)), (2.0, (0.0, 1.0)), (0.5, (math.nan, 1.0))]
)
def test_a_figure_refuses_nonsense(value: float, interval: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="x is"):
        TOO_FEW.measured(value, interval)


def test_no_value_and_no_warning_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a warning"):
        Figure(name="x", n=3, n_real=4, seed=5, meaning="m", protocol="p")


def test_names_tell_the_number_of_samples() -> None:
    assert [count_tag(n) for n in (5000, 1000, 50_000, 2048, 500, 2500)] == ["5k", "1k", "50k", "2048", "500", "2500"]


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(max_examples=60, deadline=None)
def test_wilson_equals_scipy(case: tuple[int, int]) -> None:
    hits, n = case
    expected = binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson_interval(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-12)
    low, high = wilson_interval(hits, n)
    assert low <= hits / n <= high


def test_bootstrap_of_a_mean_is_its_standard_error() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(3, 2, 400), rng.normal(0, 1, 900)
    low, high = bootstrap_interval(7.0, [a, b], 1, "mean")
    half = 1.96 * math.sqrt(a.var() / 400 + b.var() / 900)
    assert (low, high) == pytest.approx((7 - half, 7 + half), abs=0.05 * half)
    assert bootstrap_interval(7.0, [a, b], 1, "mean") == (low, high)
    assert bootstrap_interval(7.0, [a, b], 2, "mean") != (low, high)
    assert bootstrap_interval(7.0, [a, b], 1, "other") != (low, high)


def test_a_share_of_all_is_not_certain() -> None:
    low, high = share_interval(1.0, [np.ones(50), np.zeros(80)], 50, 0, "all")
    assert high == 1.0
    assert low == pytest.approx(wilson_interval(50, 50)[0])


@pytest.mark.parametrize(
    ("n", "photos", "samples_said", "photos_said"),
    [(300, 36, False, True), (3, 500, True, False), (3, 36, True, True), (200, 200, False, False)],
)
def test_what_to_do_names_only_what_is_lacking(n: int, photos: int, samples_said: bool, photos_said: bool) -> None:
    said = where_from(n, photos, 200)
    assert ("--n" in said) == samples_said
    assert ("--test-share" in said) == photos_said


def test_no_distance_sends_to_another_that_has_no_value_either() -> None:
    x = np.random.default_rng(0).normal(size=(300, 8))
    few, some = (compute_fd(x, x[:m], stub_net(8), seed=0) for m in (36, 250))
    assert "kid" not in few.warning and "--test-share" in few.warning
    assert "Read kid_stub instead" in some.warning
