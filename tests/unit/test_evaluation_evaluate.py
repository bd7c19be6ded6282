"""The whole evaluation on drawn photos: what it returns, what it refuses, what it keeps."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from packshot.catalog import Packed
from packshot.core.errors import UsageError
from packshot.core.progress import Progress
from packshot.evaluation import agreement, distribution
from packshot.evaluation.evaluate import Evaluation, evaluate_pictures, fit_samples
from packshot.evaluation.quick import quick_kid
from packshot.evaluation.report import trained_photos
from packshot.training.data import Batches
from tests.evaluation_stubs import StubPhotos, drawn, random_state, stub_net, stub_photos


class Shares(Progress):
    """Remembers what it was told."""

    def __init__(self) -> None:
        super().__init__("test", 1.0, quiet=True)
        self.seen: list[float] = []

    def update(self, done: float, note: str = "") -> None:
        self.seen.append(done)


TRAIN, TEST = stub_photos(600, 1), stub_photos(240, 2)


@pytest.fixture(scope="module", autouse=True)
def quick_parts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agreement, "MOST_EPOCHS", 8)
        patch.setattr(distribution, "KID_SUBSETS", 5)
        yield


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def evaluate(cache: Path, images: np.ndarray, labels: np.ndarray, progress: Progress | None = None) -> Evaluation:
    return evaluate_pictures(
        samples=images,
        sample_labels=labels,
        real_train=TRAIN,
        real_test=TEST,
        cache=cache,
        seed=3,
        nets=[stub_net()],
        progress=progress,
    )


def test_good_samples(cache: Path) -> None:
    shares = Shares()
    before = random_state()
    found = evaluate(cache, *drawn(300, 3), shares)
    assert random_state() == before
    figures = {f.name: f for f in found.figures}
    assert list(figures) == [
        "fd_stub_300",
        "kid_stub",
        "precision_stub",
        "recall_stub",
        "density_stub",
        "coverage_stub",
        "copies_stub",
        "agreement",
    ]
    assert figures["fd_stub_300"].value is None
    assert figures["kid_stub"].low <= 0.01  # type: ignore[operator]
    for name in ("precision_stub", "recall_stub", "coverage_stub", "agreement"):
        assert figures[name].value > 0.8, name  # type: ignore[operator]
    assert figures["copies_stub"].value < 0.06  # type: ignore[operator]
    assert {f.seed for f in found.figures} == {3}
    assert found.warnings == ()
    assert shares.seen == sorted(shares.seen)
    assert shares.seen[-1] == pytest.approx(1, abs=0.02)
    assert [row["category"] for row in found.per_category] == ["across", "down", "block"]
    assert all(row["n"] == 100 and row["precision"] > 0.7 for row in found.per_category)


def test_it_is_json_and_a_second_time_equal_but_for_the_clock(cache: Path) -> None:
    first, again = (evaluate(cache, *drawn(300, 3)) for _ in range(2))
    plain = [dataclasses.asdict(dataclasses.replace(e, seconds={}, cpu_seconds=0.0)) for e in (first, again)]
    assert plain[0] == plain[1]
    assert json.loads(json.dumps(plain[0]))["figures"][1]["name"] == "kid_stub"
    assert len({path.name.split("-")[0] for path in cache.iterdir()}) == 3
    assert len(list(cache.iterdir())) == 4


def test_copied_and_mislabelled_samples_are_seen(cache: Path) -> None:
    images, labels = drawn(300, 4)
    images[:30] = TRAIN.images[60:90]
    labels[:30] = (TRAIN.labels[60:90] + 1) % 3
    labels[30:60] = np.sort(labels[30:60])
    found = evaluate(cache, images, labels)
    figures = {f.name: f.value for f in found.figures}
    assert figures["copies_stub"] >= 0.1  # type: ignore[operator]
    pair = found.nearest[0]
    assert pair["photo_id"] == TRAIN.photo_ids[pair["sample"] + 60]
    assert pair["distance"] == 0
    assert pair["pixel_rms"] == 0
    assert pair["category"] == TRAIN.categories[pair["label"]]
    assert figures["agreement"] < 0.92  # type: ignore[operator]


def test_shares_and_missing_categories_are_warned_of(cache: Path) -> None:
    images, labels = drawn(300, 5)
    unequal = labels != 0
    unequal[:100] = True
    found = evaluate(cache, images[unequal], labels[unequal])
    assert "not in equal shares" in found.warnings[0]
    keep = TEST.labels != 2
    holey = StubPhotos(TEST.images[keep], TEST.labels[keep], ["x"] * int(keep.sum()), TEST.categories)
    found = evaluate_pictures(
        samples=images,
        sample_labels=labels,
        real_train=TRAIN,
        real_test=holey,
        cache=cache,
        seed=3,
        nets=[stub_net()],
    )
    assert found.warnings == ("There are no test photos of: block; the distances cannot judge these samples.",)
    assert found.per_category[2]["coverage"] is None


def test_a_handful_of_pictures_gives_sentences_and_no_numbers(tmp_path: Path) -> None:
    found = evaluate_pictures(
        samples=drawn(9, 3)[0],
        sample_labels=drawn(9, 3)[1],
        real_train=stub_photos(30, 1),
        real_test=stub_photos(9, 2),
        cache=tmp_path,
        seed=0,
        nets=[stub_net()],
    )
    assert [f.value for f in found.figures] == [None] * 8
    assert all(f.warning for f in found.figures)
    assert len(found.nearest) == 9


def test_samples_get_the_photos_margin_and_nothing_else() -> None:
    photos = stub_photos(10, 1, size=32, margin=2)
    samples = drawn(4, 2, 28)[0]
    padded = fit_samples(samples, photos)
    assert padded.shape == (4, 32, 32, 1)
    np.testing.assert_array_equal(padded[:, 2:-2, 2:-2], samples)
    assert padded.sum() == samples.sum(dtype=np.int64)
    assert fit_samples(padded, photos) is padded
    with pytest.raises(UsageError, match=r"make them 28 px"):
        fit_samples(drawn(4, 2, 30)[0], photos)
    with pytest.raises(UsageError, match="3 channels"):
        fit_samples(drawn(4, 2, 32, 3)[0], photos)
    with pytest.raises(UsageError, match="cannot be measured"):
        fit_samples(samples[..., 0], photos)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"sample_labels": np.full(30, 3)}, r"outside of 0 \.\. 2"),
        ({"samples": drawn(0, 1)[0], "sample_labels": np.zeros(0, np.int64)}, "There are 0 samples"),
        ({"real_test": stub_photos(0, 1)}, "0 test"),
        ({"real_train": stub_photos(30, 1, 20)}, "cannot be measured"),
        ({"real_test": dataclasses.replace(TEST, categories=("a", "b", "c"))}, "different categories"),
        ({"nets": []}, "needs a feature net"),
    ],
)
def test_what_cannot_be_measured_is_refused(change: dict, sentence: str, tmp_path: Path) -> None:
    images, labels = drawn(30, 3)
    arguments = {"samples": images, "sample_labels": labels, "real_train": TRAIN, "real_test": TEST, **change}
    with pytest.raises(UsageError, match=sentence):
        evaluate_pictures(cache=tmp_path, seed=0, **{"nets": [stub_net()], **arguments})
    assert not list(tmp_path.iterdir())


def test_quick_figure_is_kid_of_the_default_net() -> None:
    row = quick_kid(drawn(200, 8)[0], TEST, n=200, seed=1)
    assert row["name"] == "kid_efflite0"
    assert (row["n"], row["n_real"], row["seed"]) == (200, 200, 1)
    assert row["low"] <= row["value"] <= row["high"]
    inverted = quick_kid(255 - drawn(200, 8)[0], TEST, n=200, seed=1)
    assert inverted["value"] > row["value"] + 0.5
    assert quick_kid(drawn(50, 8)[0], TEST, n=50, seed=1)["value"] is None


def test_copies_are_looked_for_among_the_photos_that_the_run_saw(cache: Path) -> None:
    """A generator of 60 photos that shows ten others of the catalogue has copied nothing, and the judge stays."""
    about = {"seed": 5, "data": {"limit": 60}}
    everything = Packed(TRAIN.images, TRAIN.labels, TRAIN.photo_ids, TRAIN.categories, 0)
    seen = trained_photos(everything, {"config": about})
    batches = Batches(TRAIN.images, TRAIN.labels, batch_size=60, seed=5, limit=60)
    ids = [TRAIN.photo_ids[i] for i in batches.chosen]
    assert seen.photo_ids == ids
    np.testing.assert_array_equal(seen.images, TRAIN.images[batches.chosen])
    np.testing.assert_array_equal(seen.labels, TRAIN.labels[batches.chosen])
    assert trained_photos(everything, {"config": {"seed": 5, "data": {"limit": None}}}) is everything

    unseen = np.setdiff1d(np.arange(600), batches.chosen)[:300]
    found = {}
    for name, photos in (("all", everything), ("seen", seen)):
        found[name] = evaluate_pictures(
            samples=TRAIN.images[unseen],
            sample_labels=TRAIN.labels[unseen],
            real_train=photos,
            real_test=TEST,
            cache=cache,
            seed=3,
            nets=[stub_net()],
            classifier_photos=everything,
        )
    copies, agreement = (
        {k: next(f.value for f in e.figures if f.name == name) for k, e in found.items()}
        for name in ("copies_stub", "agreement")
    )
    assert copies["all"] == 1
    assert copies["seen"] < 0.06
    assert agreement["all"] == agreement["seen"]
    assert {pair["photo_id"] for pair in found["seen"].nearest} <= set(ids)
