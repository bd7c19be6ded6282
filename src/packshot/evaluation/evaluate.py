"""All figures of a set of samples: how far they are from the photos, whether they are copies, and what they show.

Letters: n samples, m test photos, N training photos, S side in pixels, C channels, K categories.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from packshot.core.errors import UsageError
from packshot.core.progress import Progress
from packshot.core.shapes import check_shape
from packshot.evaluation.agreement import Agreement, Classifier, cached_classifier, compute_agreement
from packshot.evaluation.copies import Copies, PhotoSet, calibrate, compute_copies
from packshot.evaluation.distribution import compute_fd, compute_kid
from packshot.evaluation.features import Pixels, Step, cached_features, compute_features
from packshot.evaluation.figures import Figure
from packshot.evaluation.neighbours import Covers, compute_prdc
from packshot.models.features.net import FeatureNet

Labels = npt.NDArray[np.int64]
CLOSEST_PAIRS = 24


class Photos(Protocol):
    """The photos of one split: a catalogue's `Packed`, or anything alike."""

    @property
    def images(self) -> Pixels:
        """uint8 [N, S, S, C]."""

    @property
    def labels(self) -> Labels:
        """int64 [N], in 0 .. K - 1."""

    @property
    def photo_ids(self) -> list[str]:
        """N names."""

    @property
    def categories(self) -> tuple[str, ...]:
        """K names."""

    @property
    def margin(self) -> int:
        """Black pixels that were added to each side."""


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate_pictures` found; plain values, so that `dataclasses.asdict` of it is JSON.

    Attributes:
        figures: over all samples.
        per_category: the agreement figure of each category as a table, with the category's own `precision` and
            `coverage` (None: too few pictures) and `copies`, all shares.
        nearest: the samples nearest to a training photo: `sample` and `photo` index, `photo_id`, `label`, `category`,
            `distance` (below 1 is suspicious), `pixel_rms` (0 to 255), `suspicious`.
        copies_note: how to read `nearest`.
        protocol: one paragraph on how all of this was measured.
        warnings: what is wrong with the samples or photos as a whole; each figure has its own warning besides.
        seconds: wall time of each stage; the first evaluation of a catalogue also fills the cache.
        cpu_seconds: of all stages.
    """

    figures: tuple[Figure, ...]
    per_category: tuple[dict[str, Any], ...]
    nearest: tuple[dict[str, Any], ...]
    copies_note: str
    protocol: str
    warnings: tuple[str, ...]
    seconds: dict[str, float]
    cpu_seconds: float


@dataclass
class _Stages:
    """Times the stages and shows progress: a share of all work, by pictures weighted with what they cost."""

    progress: Progress | None
    work: float
    done: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str, pictures: int, cost: float = 1.0) -> Iterator[Step]:
        """Yields a function to call with the pictures done so far."""
        start, before = time.perf_counter(), self.done

        def step(done: int) -> None:
            if self.progress is not None:
                self.progress.update(min(1.0, (before + cost * done) / self.work), name)

        step(0)
        yield step
        self.done = before + cost * pictures
        self.seconds[name] = round(time.perf_counter() - start, 3)


def fit_samples(samples: Pixels, photos: Photos) -> Pixels:
    """Returns samples uint8 [n, S, S, C] as large as the photos: with the photos' black margin where they lack it.

    Raises:
        UsageError: another size or number of channels.
    """
    size, channels = photos.images.shape[1], photos.images.shape[3]
    native = size - 2 * photos.margin
    if samples.ndim != 4 or samples.shape[1] != samples.shape[2] or samples.shape[1] not in (size, native):
        raise UsageError(
            f"Samples of shape {list(samples.shape)} cannot be measured against photos of {size} px; "
            f"make them {native} px, or pack the photos to the samples' size."
        )
    if samples.shape[3] != channels:
        raise UsageError(
            f"Samples with {samples.shape[3]} channels cannot be measured against photos with {channels}; "
            "pack the photos with the samples' channels."
        )
    if samples.shape[1] == size:
        return samples
    margin = (photos.margin, photos.margin)
    return np.pad(samples, ((0, 0), margin, margin, (0, 0)))


def evaluate_pictures(
    *,
    samples: Pixels,
    sample_labels: Labels,
    real_train: Photos,
    real_test: Photos,
    cache: Path,
    seed: int,
    nets: Sequence[FeatureNet],
    classifier_photos: Photos | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Measures samples against the photos of a catalogue.

    Args:
        samples: uint8 [n, S, S, C], the photos' size or that without their margin.
        sample_labels: int64 [n], the categories that were asked for; equal shares are expected.
        real_train: the photos the generator was trained on.
        real_test: photos it has not seen, all of the test split.
        cache: folder for features of the photos, the classifier and the copy thresholds; made when missing.
        seed: that the samples were drawn with; also draws the intervals.
        nets: feature nets; the first one also measures the copies.
        classifier_photos: what the classifier learns from; None: `real_train`. All photos of the catalogue for a
            generator that saw only some of them, so that its agreement can be compared with others'.
        progress: updated with the share of the work done, so its total has to be 1.

    Raises:
        UsageError: samples of another size than the photos, labels that do not fit, no photos to compare with, no net.
        PackshotError: the disk refuses, or a cached file is damaged.
    """
    samples = fit_samples(samples, real_test)
    _check(samples, sample_labels, real_train, real_test)
    if not nets:
        raise UsageError("An evaluation needs a feature net; give nets=[load_efflite0()].")
    cpu = time.process_time()
    n, m, photos = len(samples), len(real_test.images), len(real_train.images)
    teachers = classifier_photos or real_train
    stages = _Stages(progress, len(nets) * (2 * n + 2 * m + 2000) + 2 * photos + len(teachers.images) + m)
    figures: list[Figure] = []
    found: list[tuple[Copies, Covers | None]] = []
    for net in nets:
        with stages.stage(f"{net.name}: features of the samples", n) as step:
            fake = compute_features(net, samples, step=step)
        with stages.stage(f"{net.name}: features of the test photos", m) as step:
            real = cached_features(net, real_test.images, cache, step=step)
        with stages.stage(f"{net.name}: distances", n + m + 2000):
            shares, covers = compute_prdc(fake, real, net, seed=seed)
            figures += [compute_fd(fake, real, net, seed=seed), compute_kid(fake, real, net, seed=seed), *shares]
        if not found:
            copies = _copies(PhotoSet.of(samples, fake), (real_train, real_test), real, net, cache, seed, stages)
            figures.append(copies.figure)
            found.append((copies, covers))
    with stages.stage("classifier", len(teachers.images)) as step:
        train, test = ((p.images, p.labels) for p in (teachers, real_test))
        classifier = cached_classifier(train, test, len(real_train.categories), cache, step=step)
        agreement = compute_agreement(classifier, samples, sample_labels, real_train.categories, seed=seed)
    figures.append(agreement.figure)
    copies, covers = found[0]
    return Evaluation(
        figures=tuple(figures),
        per_category=_category_rows(agreement, classifier, copies, covers, sample_labels, real_test),
        nearest=_pairs(copies, sample_labels, real_train),
        copies_note=copies.note,
        protocol=_protocol(n, m, photos, nets, classifier),
        warnings=_warnings(sample_labels, real_test),
        seconds=stages.seconds,
        cpu_seconds=round(time.process_time() - cpu, 2),
    )


def _check(samples: Pixels, labels: Labels, train: Photos, test: Photos) -> None:
    fit_samples(samples, train)
    check_shape("sample_labels", labels, "n", n=len(samples))
    if train.categories != test.categories:
        raise UsageError("Training and test photos have different categories; take both from one catalogue.")
    if len(samples) == 0 or len(test.images) == 0 or len(train.images) < 2:
        raise UsageError(
            f"There are {len(samples)} samples, {len(test.images)} test and {len(train.images)} training photos; "
            "an evaluation needs some of each."
        )
    if labels.min() < 0 or labels.max() >= len(train.categories):
        raise UsageError(f"Samples have labels outside of 0 .. {len(train.categories) - 1}; give those asked for.")


def _copies(
    samples: PhotoSet,
    photos: tuple[Photos, Photos],
    test_features: npt.NDArray[np.float32],
    net: FeatureNet,
    cache: Path,
    seed: int,
    stages: _Stages,
) -> Copies:
    train, test = photos
    count = len(train.images)
    with stages.stage(f"{net.name}: features of the training photos", count) as step:
        train_set = PhotoSet.of(train.images, cached_features(net, train.images, cache, step=step))
    with stages.stage("copies: what unseen photos give", len(test.images)):
        thresholds = calibrate(train_set, PhotoSet.of(test.images, test_features), net, cache)
    with stages.stage("copies: nearest training photos", count) as step:
        return compute_copies(samples, train_set, thresholds, net, seed=seed, step=step)


def _category_rows(
    agreement: Agreement,
    classifier: Classifier,
    copies: Copies,
    covers: Covers | None,
    labels: Labels,
    test: Photos,
) -> tuple[dict[str, Any], ...]:
    def share(marks: npt.NDArray[np.bool_], chosen: npt.NDArray[np.bool_]) -> float | None:
        return float(marks[chosen].mean()) if chosen.any() else None

    rows = []
    for k, (category, figure) in enumerate(zip(test.categories, agreement.by_category, strict=True)):
        asked, real = labels == k, test.labels == k
        hits, count = int(classifier.hits[k]), int(classifier.counts[k])
        rows.append(
            {
                **figure.to_dict(),
                "category": category,
                "classifier_accuracy": hits / count if count else None,
                "precision": None if covers is None else share(covers.fake_in_real.counts > 0, asked),
                "coverage": None if covers is None else share(covers.real_hit.counts > 0, real),
                "copies": share(copies.suspicious, asked),
            }
        )
    return tuple(rows)


def _pairs(copies: Copies, labels: Labels, train: Photos) -> tuple[dict[str, Any], ...]:
    return tuple(
        {
            **pair,
            "photo_id": train.photo_ids[pair["photo"]],
            "label": int(labels[pair["sample"]]),
            "category": train.categories[labels[pair["sample"]]],
        }
        for pair in copies.closest(CLOSEST_PAIRS)
    )


def _protocol(n: int, m: int, photos: int, nets: Sequence[FeatureNet], classifier: Classifier) -> str:
    accuracy = f"{classifier.accuracy:.1%}" if classifier.accuracy is not None else "an unknown share"
    names = " and ".join(net.protocol for net in nets)
    return (
        f"{n:,} samples against all {m:,} test photos, in the features of {names}. "
        f"Copies are looked for among {photos:,} training photos. The classifier is right for {accuracy} of the test "
        "photos. Intervals are 95 %: of the figure over other samples and test photos of the same numbers."
    )


def _warnings(labels: Labels, test: Photos) -> tuple[str, ...]:
    counts = np.bincount(labels, minlength=len(test.categories))
    out = []
    if counts.max() - counts.min() > 1:
        out.append(
            f"The samples are not in equal shares of the categories (from {counts.min():,} to {counts.max():,} each), "
            "so the figures cannot be compared with others."
        )
    missing = [test.categories[k] for k in np.flatnonzero(np.bincount(test.labels, minlength=len(counts)) == 0)]
    if missing:
        out.append(f"There are no test photos of: {', '.join(missing)}; the distances cannot judge these samples.")
    return tuple(out)
