"""Precision, recall, density, coverage: against the authors' package and brute force; are the intervals right?"""

import contextlib
import io

import numpy as np
import prdc
import pytest

from packshot.evaluation import features, figures
from packshot.evaluation.neighbours import compute_prdc, covers_to_shares, expected_coverage, features_to_covers
from tests.evaluation_stubs import stub_net


def normal(n: int, d: int, seed: int, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, scale, (n, d)).astype(np.float32)


def values(fake: np.ndarray, real: np.ndarray, k: int = 5) -> dict[str, float]:
    return {name: share[0] for name, share in covers_to_shares(features_to_covers(fake, real, k), k).items()}


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("case", [(200, 300, 1.0, 0.0), (300, 150, 0.6, 0.2), (60, 90, 1.5, 1.0)])
def test_equals_the_authors_package(case: tuple[int, int, float, float], k: int) -> None:
    n, m, scale, shift = case
    fake, real = normal(n, 6, 1, scale, shift) + 50, normal(m, 6, 2) + 50
    with contextlib.redirect_stdout(io.StringIO()):
        expected = prdc.compute_prdc(real.astype(np.float64), fake.astype(np.float64), k)
    assert values(fake, real, k) == pytest.approx(expected, abs=1e-12)


def test_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    fake, real = normal(130, 5, 1, 1.2), normal(170, 5, 2)
    whole = covers_to_shares(features_to_covers(fake, real))
    monkeypatch.setattr(features, "TABLE_NUMBERS", 700)
    pieces = covers_to_shares(features_to_covers(fake, real))
    for name, share in whole.items():
        for a, b in zip(share, pieces[name], strict=True):
            np.testing.assert_array_equal(a, b)


def brute(fake: np.ndarray, real: np.ndarray, k: int) -> dict[str, float]:
    """The definitions, pair by pair, in float64."""
    x, y = fake.astype(np.float64), real.astype(np.float64)
    cross = np.linalg.norm(x[:, None] - y[None], axis=2)
    radius = lambda z: np.sort(np.linalg.norm(z[:, None] - z[None], axis=2), 1)[:, k]  # noqa: E731
    in_real, in_fake = cross < radius(y)[None], cross < radius(x)[:, None]
    return {
        "precision": in_real.any(1).mean(),
        "recall": in_fake.any(0).mean(),
        "density": in_real.sum(1).mean() / k,
        "coverage": in_real.any(0).mean(),
    }


def test_influences_are_what_leaving_a_picture_out_changes() -> None:
    fake, real, k = normal(40, 3, 1, 1.2, 0.3), normal(50, 3, 2), 3
    shares = covers_to_shares(features_to_covers(fake, real, k), k)
    whole = brute(fake, real, k)
    assert {name: share[0] for name, share in shares.items()} == pytest.approx(whole)

    def jackknife(name: str, of_fake: bool) -> np.ndarray:
        count = len(fake) if of_fake else len(real)
        parts = [
            brute(np.delete(fake, i, 0), real, k)[name] if of_fake else brute(fake, np.delete(real, i, 0), k)[name]
            for i in range(count)
        ]
        return (count - 1) * (whole[name] - np.array(parts))

    def centred(rows: np.ndarray) -> np.ndarray:
        return rows - rows.mean()

    # Exact for the photos' side of coverage, where neighbouring balls grow, and for a mean over the samples.
    np.testing.assert_allclose(centred(shares["coverage"][2]), centred(jackknife("coverage", False)), atol=1e-9)
    np.testing.assert_allclose(centred(shares["precision"][1]), centred(jackknife("precision", True)), atol=1e-9)
    np.testing.assert_allclose(centred(shares["density"][1]), centred(jackknife("density", True)), atol=1e-9)
    # n / (n - 1) apart.
    np.testing.assert_allclose(
        centred(shares["density"][2]) * 49 / 50, centred(jackknife("density", False)), atol=0.02 * whole["density"]
    )
    np.testing.assert_allclose(
        centred(shares["coverage"][1]) * 39 / 40, centred(jackknife("coverage", True)), atol=1e-9
    )


def test_equal_sets_and_sets_far_apart() -> None:
    real = normal(220, 4, 1)
    net = stub_net(4)
    same, _ = compute_prdc(real, real, net, seed=0)
    assert [f.value for f in same if f.name != "density_stub"] == [1.0, 1.0, 1.0]
    assert all(f.low < 1 for f in same), "a share of all pictures was reported as certain"  # type: ignore[operator]
    far, _ = compute_prdc(real + 100, real, net, seed=0)
    assert [f.value for f in far] == [0, 0, 0, 0]
    assert all(f.high > 0 for f in far if f.name != "density_stub")  # type: ignore[operator]


def test_a_collapsed_generator_is_precise_but_recalls_nothing() -> None:
    real = normal(300, 4, 1)
    collapsed = np.repeat(real[np.linalg.norm(real, axis=1).argmin()][None], 300, 0)
    figures = {f.name: f.value for f in compute_prdc(collapsed, real, stub_net(4), seed=0)[0]}
    assert figures["precision_stub"] == 1
    assert figures["recall_stub"] < 0.02  # type: ignore[operator]
    assert figures["coverage_stub"] < 0.1  # type: ignore[operator]


def test_expected_coverage_is_what_equal_distributions_give() -> None:
    got = [values(normal(300, 3, 2 * i), normal(450, 3, 2 * i + 1))["coverage"] for i in range(12)]
    assert np.mean(got) == pytest.approx(expected_coverage(300, 450, 5), abs=0.01)


def test_too_few_pictures_give_no_number() -> None:
    figures, covers = compute_prdc(normal(199, 4, 1), normal(500, 4, 2), stub_net(4), seed=0)
    assert covers is None
    assert [f.value for f in figures] == [None] * 4
    assert all("200" in str(f.warning) for f in figures)
    with pytest.raises(ValueError, match="more than 6 rows"):
        features_to_covers(normal(6, 4, 1), normal(500, 4, 2))


def test_intervals_are_about_as_wide_as_the_figures_vary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over fresh samples and photos; the halves differ by less than a factor of 2 with 40 trials."""
    monkeypatch.setattr(figures, "REPLICATES", 400)
    trials = [
        compute_prdc(normal(250, 5, 2 * i, 0.9, 0.1), normal(300, 5, 2 * i + 1), stub_net(5), seed=i)[0]
        for i in range(40)
    ]
    for rows in zip(*trials, strict=True):
        spread = 1.96 * np.std([f.value for f in rows])
        half = np.mean([(f.high - f.low) / 2 for f in rows])  # type: ignore[operator]
        assert 0.75 * spread < half < 2.2 * spread, rows[0].name
