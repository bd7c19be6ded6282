"""The best products for a profile, exact where there are few, nearly so where there are many."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packshot.core.errors import PackshotError
from packshot.taste import index as under_test
from packshot.taste.index import build_index, load_index


def vectors(n: int, k: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns factors in clusters, biases, and profiles near clusters."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(40, k))
    factors = centres[rng.integers(0, 40, n)] + 0.5 * rng.normal(size=(n, k))
    profiles = centres[rng.integers(0, 40, 30)] + 0.5 * rng.normal(size=(30, k))
    return factors.astype(np.float32), rng.normal(size=n).astype(np.float32), profiles.astype(np.float32)


@given(st.integers(1, 30), st.integers(1, 40), st.sets(st.integers(0, 29), max_size=29))
def test_few_are_ranked_exactly(n: int, k: int, out: set[int]) -> None:
    factors, bias, profiles = vectors(n)
    out = {i for i in out if i < n}
    found, scores = build_index(factors, bias, profiles).search(profiles[0], k, np.array(sorted(out), np.int64))
    exact = profiles[0] @ factors.T + bias
    expected = sorted((i for i in range(n) if i not in out), key=lambda i: -exact[i])[:k]
    assert found.tolist() == expected
    assert scores == pytest.approx(exact[expected], abs=1e-4)


def test_many_are_ranked_nearly_exactly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(under_test, "EXACT_BELOW", 1000)
    factors, bias, profiles = vectors(6000)
    index = build_index(factors, bias, profiles)
    assert index.cells is not None and index.recall >= 0.97
    index.save(tmp_path)
    again = load_index(tmp_path)
    recalls = []
    for profile in vectors(1, seed=0)[2]:
        exact = profile @ factors.T + bias
        best = np.argsort(-exact)[:100]
        found, scores = again.search(profile, 100)
        recalls.append(len(np.intersect1d(found, best)) / 100)
        assert scores == pytest.approx(exact[found], abs=1e-3) and (np.diff(scores) <= 0).all()
        without, _ = again.search(profile, 20, best[:10].astype(np.int64))
        assert not np.intersect1d(without, best[:10]).size and len(without) == 20
    assert np.mean(recalls) >= 0.95
    (tmp_path / "cells.faiss").unlink()
    with pytest.raises(PackshotError, match="is damaged"):
        load_index(tmp_path)


def test_a_round_trip_without_cells(tmp_path: Path) -> None:
    factors, bias, profiles = vectors(50)
    index = build_index(factors, bias, profiles)
    index.save(tmp_path)
    assert (load_index(tmp_path).search(profiles[1], 9)[0] == index.search(profiles[1], 9)[0]).all()
    (tmp_path / "vectors.npy").write_bytes(b"nothing")
    with pytest.raises(PackshotError, match="is damaged"):
        load_index(tmp_path)
