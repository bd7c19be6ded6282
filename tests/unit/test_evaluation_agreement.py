"""Agreement: wrong labels are found, training is repeatable, a poor classifier is called poor."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from packshot.core.errors import PackshotError
from packshot.evaluation import agreement
from packshot.evaluation.agreement import Classifier, cached_classifier, compute_agreement, train_classifier
from packshot.evaluation.figures import wilson_interval
from tests.evaluation_stubs import drawn, random_state

NAMES = ("across", "down", "block")


@pytest.fixture(scope="module", autouse=True)
def few_epochs() -> Iterator[None]:
    """The drawn pictures are easy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agreement, "MOST_EPOCHS", 8)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("classifier")


@pytest.fixture(scope="module")
def classifier(folder: Path) -> Classifier:
    return cached_classifier(drawn(300, 1), drawn(120, 2), 3, folder)


def test_it_learns_and_knows_how_well(classifier: Classifier) -> None:
    assert classifier.counts.tolist() == [40, 40, 40]
    assert classifier.accuracy is not None
    assert classifier.accuracy > 0.97
    images, labels = drawn(120, 2)
    assert (classifier.predict(images) == labels).mean() == classifier.accuracy


def test_planted_wrong_labels_are_found(classifier: Classifier) -> None:
    images, labels = drawn(300, 3)
    asked = labels.copy()
    asked[:60] = (asked[:60] + 1) % 3
    found = compute_agreement(classifier, images, asked, NAMES, seed=4)
    assert found.figure.value == pytest.approx(0.8, abs=0.03)
    assert (found.figure.low, found.figure.high) == wilson_interval(round(found.figure.value * 300), 300)  # type: ignore[operator]
    assert "test photos" in found.figure.meaning
    only_blocks = np.full_like(labels, 2)
    by_category = compute_agreement(classifier, images, only_blocks, NAMES, seed=4).by_category
    assert [f.n for f in by_category] == [0, 0, 300]
    assert by_category[0].value is None
    assert by_category[2].value == pytest.approx(1 / 3, abs=0.03)


def test_the_cache_is_used_and_damage_is_named(
    classifier: Classifier, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("packshot.evaluation.agreement.train_classifier", None)
    again = cached_classifier(drawn(300, 1), drawn(120, 2), 3, folder)
    images = drawn(50, 7)[0]
    assert again.predict(images).tolist() == classifier.predict(images).tolist()
    assert again.accuracy == classifier.accuracy
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    try:
        for damaged in (whole[:200], b"", whole.replace(b"[40, 40, 40]", b"[40, 40, 4x]")):
            file.write_bytes(damaged)
            with pytest.raises(PackshotError, match="damaged; delete this file"):
                cached_classifier(drawn(300, 1), drawn(120, 2), 3, folder)
    finally:
        file.write_bytes(whole)


def test_training_is_repeatable_and_leaves_the_random_stream() -> None:
    before, threads = random_state(), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        a = train_classifier(*drawn(60, 1, 28), 3)
    finally:
        torch.set_num_threads(threads)
    torch.manual_seed(5)
    b = train_classifier(*drawn(60, 1, 28), 3)
    torch.set_rng_state(torch.frombuffer(bytearray(before), dtype=torch.uint8))
    for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True):
        assert torch.equal(x, y)


def test_a_poor_classifier_is_called_poor(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise, labels = rng.integers(0, 256, (90, 16, 16, 3), np.uint8), np.arange(90) % 3
    poor = cached_classifier((noise, labels), (noise[::-1], labels), 3, tmp_path)
    figure = compute_agreement(poor, noise, labels, NAMES, seed=0).figure
    assert figure.value is not None
    assert "not to be relied on" in str(figure.warning)
    few = compute_agreement(poor, noise[:29], labels[:29], NAMES, seed=0).figure
    assert few.value is None
    assert "30 samples" in str(few.warning)


def test_labels_out_of_range_are_refused() -> None:
    images, labels = drawn(30, 1)
    with pytest.raises(ValueError, match=r"0 \.\. 1"):
        train_classifier(images, labels, 2)
    with pytest.raises(ValueError, match="labels has shape"):
        train_classifier(images, labels[:-1], 3)
