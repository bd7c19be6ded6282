"""Classifiers trained on photos, on samples, and on both."""

import numpy as np
import pytest

from packshot.evaluation.synthetic import LEAST, compute_synthetic_use


def bars(n: int, seed: int, swapped: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Upright (0) and lying (1) bars in noise; `swapped` gives them each other's label."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 90, (n, 32, 32, 1), dtype=np.uint8)
    labels = np.arange(n, dtype=np.int64) % 2
    for image, label in zip(images, labels, strict=True):
        at = rng.integers(4, 24)
        image[(slice(None), slice(at, at + 5)) if label == 0 else (slice(at, at + 5), slice(None))] += 130
    return images, 1 - labels if swapped else labels


@pytest.mark.slow
def test_good_pictures_teach_and_wrong_ones_mislead() -> None:
    train, test = bars(200, 1), bars(200, 2)
    right, wrong, both = compute_synthetic_use(bars(200, 3, swapped=True), train, test, ("up", "flat"), seed=0)
    assert right.value > 0.95
    assert wrong.value < 0.05
    assert (right.n, wrong.n, both.n, right.n_real) == (200, 200, 400, 200)


@pytest.mark.slow
def test_too_few_pictures_give_a_warning_and_no_number() -> None:
    few = bars(LEAST - 1, 1)
    photos, figure, _ = compute_synthetic_use(few, bars(10, 2), bars(200, 4), ("up", "flat"), seed=0)
    assert photos.value is None
    assert figure.value is None
    assert "199" in figure.warning
