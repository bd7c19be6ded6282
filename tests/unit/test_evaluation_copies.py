"""Copies: planted ones are found, near ones too, unseen photos are not blamed."""

from pathlib import Path

import numpy as np
import pytest

from packshot.core.errors import PackshotError
from packshot.evaluation import copies
from packshot.evaluation.copies import (
    PhotoSet,
    Thresholds,
    calibrate,
    compute_copies,
    compute_thumbnails,
    find_nearest,
    pixel_distances,
)
from packshot.evaluation.features import compute_features
from tests.evaluation_stubs import stub_net

NET = stub_net()


def photos(n: int, seed: int) -> np.ndarray:
    """Pictures uint8 [n, 16, 16, 1] that differ much from each other: blurred noise."""
    noise = np.random.default_rng(seed).normal(0, 1, (n, 16, 16, 1))
    smooth = sum(np.roll(noise, (i, j), (1, 2)) for i in range(3) for j in range(3))
    return np.clip(128 + 22 * np.asarray(smooth), 0, 255).astype(np.uint8)


def photo_set(images: np.ndarray) -> PhotoSet:
    return PhotoSet.of(images, compute_features(NET, images))


TRAIN, TEST = photo_set(photos(1500, 1)), photo_set(photos(400, 2))


def test_nearest_is_brute_force_nearest_in_any_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    rows, train = rng.normal(5, 1, (70, 9)).astype(np.float32), rng.normal(5, 1, (333, 9)).astype(np.float32)
    exact = np.linalg.norm(rows[:, None].astype(np.float64) - train[None], axis=2)
    for chunk in (3, 100, 8192):
        monkeypatch.setattr(copies, "PHOTO_CHUNK", chunk)
        index, distance = find_nearest(rows, train)
        np.testing.assert_array_equal(index, exact.argmin(1))
        np.testing.assert_allclose(distance, exact.min(1), rtol=1e-12)
    with pytest.raises(ValueError, match="no training photos"):
        find_nearest(rows, train[:0])


def test_an_exact_copy_far_from_the_origin_has_distance_zero() -> None:
    rows = np.random.default_rng(0).normal(3000, 1, (400, 20)).astype(np.float32)
    index, distance = find_nearest(rows[[7, 399]], rows)
    assert index.tolist() == [7, 399]
    assert distance.tolist() == [0, 0]


def test_near_ties_are_decided_in_float64() -> None:
    """Far from the mean, float32 squares are wrong by more than the rows differ."""
    rows = np.random.default_rng(0).normal(0, 1, (200, 20)).astype(np.float32)
    rows[50:53] = 10_000
    rows[50, 0] += np.float32(0.02)
    rows[51, 0] += np.float32(0.01)
    for index in (50, 51, 52):
        found, distance = find_nearest(rows[[index]], rows)
        assert (found[0], distance[0]) == (index, 0)


def test_either_kind_of_nearness_is_enough() -> None:
    rng = np.random.default_rng(1)
    features, thumbnails = (rng.normal(0, 1, (50, 8)).astype(np.float32) for _ in range(2))
    images = photos(50, 1)
    train = PhotoSet(images, features, thumbnails)
    thresholds = Thresholds(features=0.5, thumbnails=0.25, false_alarms=0.01, photos=400)
    far = np.full((1, 8), 30, np.float32)
    by_features = PhotoSet(images[:1], features[[7]] + np.float32(0.1), far)
    by_thumbnails = PhotoSet(images[:1], far, thumbnails[[9]] + np.float32(0.05))
    neither = PhotoSet(images[:1], far, far)
    for sample, nearest, ratio in (
        (by_features, 7, 0.1 * np.sqrt(8) / 0.5),
        (by_thumbnails, 9, 0.05 * np.sqrt(8) / 0.25),
    ):
        found = compute_copies(sample, train, thresholds, NET, seed=0)
        assert found.nearest[0] == nearest
        assert found.closeness[0] == pytest.approx(ratio, rel=1e-5)
        assert found.suspicious.all()
    assert not compute_copies(neither, train, thresholds, NET, seed=0).suspicious.any()


def test_planted_copies_and_near_copies_are_found(tmp_path: Path) -> None:
    thresholds = calibrate(TRAIN, TEST, NET, tmp_path)
    assert thresholds is not None
    rng = np.random.default_rng(5)
    originals = np.arange(100, 120)
    base = TRAIN.images[originals].astype(np.float64)
    planted = {
        "exact": base,
        "brighter": base + 10,
        "noisy": base + rng.normal(0, 4, base.shape),
        "less contrast": 128 + 0.8 * (base - 128),
    }
    fresh = photos(80, 9)
    for name, near in planted.items():
        samples = np.concatenate([fresh, np.rint(near).clip(0, 255).astype(np.uint8)])
        found = compute_copies(photo_set(samples), TRAIN, thresholds, NET, seed=0)
        assert found.suspicious[80:].all(), name
        np.testing.assert_array_equal(found.nearest[80:], originals, err_msg=name)
        assert found.suspicious[:80].sum() <= 4, name
        assert found.figure.value == found.suspicious.mean()
        assert {pair["sample"] for pair in found.closest(20)} == set(range(80, 100)), name
    assert found.figure.n_real == 1500


def test_unseen_photos_are_blamed_at_the_stated_rate(tmp_path: Path) -> None:
    thresholds = calibrate(TRAIN, TEST, NET, tmp_path)
    assert thresholds is not None
    assert thresholds.false_alarms <= copies.FALSE_ALARMS + 1 / 400
    fresh = compute_copies(photo_set(photos(1000, 3)), TRAIN, thresholds, NET, seed=0)
    assert fresh.figure.value is not None
    assert fresh.figure.value <= 0.03
    assert "held-out photos" in fresh.figure.protocol


def test_calibration_is_kept_and_damage_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = calibrate(TRAIN, TEST, NET, tmp_path)
    (file,) = tmp_path.iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(copies, "find_nearest", None)
        assert calibrate(TRAIN, TEST, NET, tmp_path) == first
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(PackshotError, match="damaged; delete this file"):
        calibrate(TRAIN, TEST, NET, tmp_path)


def test_few_test_photos_give_pairs_but_no_figure(tmp_path: Path) -> None:
    few = photo_set(photos(199, 2))
    thresholds = calibrate(TRAIN, few, NET, tmp_path)
    assert thresholds is None
    found = compute_copies(photo_set(TRAIN.images[5:9]), TRAIN, thresholds, NET, seed=0)
    assert found.figure.value is None
    assert "200 test photos" in str(found.figure.warning)
    assert found.nearest.tolist() == [5, 6, 7, 8]
    assert not found.suspicious.any()
    assert found.closest(1)[0]["distance"] == 0


def test_thumbnails_measure_correlation() -> None:
    images = photos(2, 4)
    a, b = compute_thumbnails(images)
    r = np.corrcoef(images[0].ravel(), images[1].ravel())[0, 1]
    assert np.linalg.norm(a - b) == pytest.approx(np.sqrt(2 * (1 - r)), rel=1e-4)
    assert not compute_thumbnails(np.full((1, 16, 16, 1), 77, np.uint8)).any()
    assert compute_thumbnails(np.zeros((3, 50, 50, 3), np.uint8)).shape == (3, 16 * 16 * 3)
    assert compute_thumbnails(np.zeros((0, 50, 50, 3), np.uint8)).shape == (0, 16 * 16 * 3)


def test_pixel_distances_are_root_mean_squares() -> None:
    black, grey = np.zeros((2, 4, 4, 3), np.uint8), np.full((3, 4, 4, 3), 7, np.uint8)
    assert pixel_distances(black, grey, np.array([2, 0])).tolist() == [7, 7]
    with pytest.raises(ValueError, match="photos has shape"):
        pixel_distances(black, grey[..., :1], np.array([2, 0]))
