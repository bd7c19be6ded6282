"""The published yardstick on Fashion-MNIST, with the real net and the real photos."""

from pathlib import Path

import numpy as np
import pytest

from packshot.evaluation.agreement import cached_classifier, compute_agreement
from packshot.evaluation.copies import PhotoSet, calibrate, compute_copies
from packshot.evaluation.distribution import compute_fd, compute_kid, features_to_statistics, statistics_to_fd
from packshot.evaluation.features import cached_features, compute_features
from packshot.evaluation.neighbours import compute_prdc
from packshot.models.features.efflite import load_efflite0
from tests.evaluation_stubs import fashion, fashion_photos


def blurred(images: np.ndarray) -> np.ndarray:
    """The mean of 3 x 3 pixels, black around."""
    padded = np.pad(images.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = images.shape[1:3]
    parts = (padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3))
    return np.rint(sum(parts) / 9).astype(np.uint8)


@pytest.mark.slow
def test_a_small_part_of_the_yardstick() -> None:
    """The first 1,400 photos of each split, few enough for every run, enough to hold the protocol.

    The number is of a plain implementation: the package's own network, numpy's covariance and symmetric eigenvalues.
    """
    net = load_efflite0()
    train, test = (features_to_statistics(compute_features(net, fashion(s)[0][:1400])) for s in ("train", "t10k"))
    assert statistics_to_fd(train, test) == pytest.approx(130.7806, rel=1e-4)


@pytest.mark.slow
def test_the_yardstick() -> None:
    """5,000 random training photos against the 10,000 test photos: 28.9; the test photos blurred: 310."""
    net = load_efflite0()
    chosen = np.random.RandomState(0).permutation(60000)[:5000]
    test = fashion_photos("t10k").images
    real = compute_features(net, test)
    photos = compute_features(net, fashion("train")[0][chosen])
    good = compute_fd(photos, real, net, seed=0)
    assert good.name == "fd_efflite0_5k"
    assert good.value == pytest.approx(28.92, abs=0.05)
    assert compute_fd(compute_features(net, blurred(test)), real, net, seed=0).value == pytest.approx(310.3, abs=0.5)
    kid = compute_kid(photos, real, net, seed=0)
    assert kid.low <= 0 <= kid.high  # type: ignore[operator]
    for figure in compute_prdc(photos, real, net, seed=0)[0]:
        expected = 1.0 if figure.name == "density_efflite0" else 0.9
        assert figure.value == pytest.approx(expected, abs=0.04), figure.name


@pytest.mark.slow
def test_the_classifier_and_the_copies(tmp_path: Path) -> None:
    net, train, test = load_efflite0(), fashion_photos("train"), fashion_photos("t10k")
    classifier = cached_classifier((train.images, train.labels), (test.images, test.labels), 10, tmp_path)
    assert classifier.accuracy is not None
    assert classifier.accuracy >= 0.9
    agreement = compute_agreement(classifier, test.images[:2000], test.labels[:2000], test.categories, seed=0)
    assert agreement.figure.value == pytest.approx(classifier.accuracy, abs=0.02)
    # A sixth of the training photos keeps this test short.
    own = train.images[:10000]
    train_set = PhotoSet.of(own, cached_features(net, own, tmp_path))
    real = compute_features(net, test.images[:4000])
    thresholds = calibrate(train_set, PhotoSet.of(test.images[:2000], real[:2000]), net, tmp_path)
    assert thresholds is not None
    unseen = compute_copies(PhotoSet.of(test.images[2000:4000], real[2000:]), train_set, thresholds, net, seed=0)
    assert unseen.figure.value == pytest.approx(0.01, abs=0.008)
    base = own[500:800].astype(np.float64)
    noise = np.random.default_rng(0).normal(0, 3, base.shape)
    for near in (base, base * 0.8, base + noise, 0.75 * base + 0.25 * blurred(own[500:800])):
        pictures = np.rint(near).clip(0, 255).astype(np.uint8)
        found = compute_copies(
            PhotoSet.of(pictures, compute_features(net, pictures)), train_set, thresholds, net, seed=0
        )
        assert found.figure.value > 0.95  # type: ignore[operator]
        assert (found.nearest == np.arange(500, 800)).mean() > 0.98
