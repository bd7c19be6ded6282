"""Is a sample a copy? The nearest training photo of each sample, and how near is too near.

Nearness is looked at twice: in the feature net's space, which sees through small changes of shape, and between
thumbnails, which sees through noise, contrast and blur that the net does not.

Letters: n samples, N training photos, D features, t thumbnail values, S side in pixels, C channels.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy
import torch
import torch.nn.functional as F

from packshot.core.errors import PackshotError
from packshot.core.files import atomic_path, disk_errors
from packshot.core.random import stream_seed
from packshot.core.shapes import check_shape
from packshot.evaluation.features import Features, Pixels, Step, cache_file, content_key, nothing
from packshot.evaluation.figures import Figure, Floats, where_from, wilson_interval
from packshot.evaluation.neighbours import centred, squared_distances
from packshot.models.features.net import FeatureNet

Indices = npt.NDArray[np.int64]
FALSE_ALARMS = 0.01
CALIBRATION_LEAST = 200
CALIBRATION_MOST = 5000
CANDIDATES = 4
CHUNK = 500
PHOTO_CHUNK = 8192
THUMBNAIL = 16
VERSION = "copies-v1"


def find_nearest(
    features: Features, photo_features: Features, *, step: Step = nothing
) -> tuple[Indices, npt.NDArray[np.float64]]:
    """Returns the nearest training photo of each row: index int64 [n] and Euclidean distance float64 [n].

    Memory is flat in n and N. A few candidates are found in float32 and measured again in float64, so that the
    distance of an exact copy is 0 and not the rounding error of the search.

    Raises:
        ValueError: no training photos, or another number of features.
    """
    letters = check_shape("features", features, "n", "D")
    check_shape("photo_features", photo_features, "N", "D", D=letters["D"])
    if len(photo_features) == 0:
        raise ValueError("there are no training photos to look for the nearest one.")
    n = len(features)
    centre = photo_features[:PHOTO_CHUNK].mean(0, dtype=np.float64)
    rows = centred(features, centre)
    best = torch.full((n, CANDIDATES), torch.inf)
    found = torch.zeros((n, CANDIDATES), dtype=torch.int64)
    for offset in range(0, len(photo_features), PHOTO_CHUNK):
        photos = centred(photo_features[offset : offset + PHOTO_CHUNK], centre)
        for start, squares in squared_distances(rows, photos):
            here = slice(start, start + len(squares))
            near = squares.topk(min(CANDIDATES, len(photos)), largest=False)
            values = torch.cat([best[here], near.values], 1)
            indices = torch.cat([found[here], near.indices + offset], 1)
            best[here], order = values.topk(CANDIDATES, largest=False)
            found[here] = indices.gather(1, order)
        step(min(offset + PHOTO_CHUNK, len(photo_features)))
    return _measure_again(features, photo_features, found.numpy())


def _measure_again(features: Features, photo_features: Features, found: Indices) -> tuple[Indices, Floats]:
    nearest, distances = np.empty(len(features), np.int64), np.empty(len(features))
    for start in range(0, len(features), CHUNK):
        candidates = found[start : start + CHUNK]
        rows = features[start : start + CHUNK, None].astype(np.float64)
        exact = np.linalg.norm(rows - photo_features[candidates].astype(np.float64), axis=2)
        first = exact.argmin(1)[:, None]
        nearest[start : start + CHUNK] = np.take_along_axis(candidates, first, 1)[:, 0]
        distances[start : start + CHUNK] = np.take_along_axis(exact, first, 1)[:, 0]
    return nearest, distances


def compute_thumbnails(images: Pixels) -> Features:
    """Returns float32 [N, t]: each picture [N, S, S, C] averaged to at most 16 x 16, less its mean, of length 1.

    The distance of two is the root of 2 (1 - r), where r is the correlation of the two small pictures, so brightness
    and contrast do not count. A picture of one colour is all zeros.
    """
    side = min(THUMBNAIL, images.shape[1])
    parts = []
    for start in range(0, len(images), PHOTO_CHUNK):
        pixels = torch.from_numpy(images[start : start + PHOTO_CHUNK].astype(np.float32)).permute(0, 3, 1, 2)
        small = F.adaptive_avg_pool2d(pixels, side).flatten(1)
        parts.append(F.normalize(small - small.mean(1, keepdim=True), eps=1e-6).numpy())
    return np.concatenate(parts) if parts else np.empty((0, side * side * images.shape[3]), np.float32)


@dataclass(frozen=True)
class Thresholds:
    """How near a real photo that is not in the training set comes to one that is.

    Attributes:
        features: feature distance that FALSE_ALARMS / 2 of such photos fall below.
        thumbnails: the same for the distance of thumbnails.
        false_alarms: share of such photos that fall below either.
        photos: how many were measured.
    """

    features: float
    thumbnails: float
    false_alarms: float
    photos: int


@dataclass(frozen=True, eq=False)
class PhotoSet:
    """Pictures uint8 [N, S, S, C] with their features float32 [N, D] and thumbnails float32 [N, t]."""

    images: Pixels
    features: Features
    thumbnails: Features

    @classmethod
    def of(cls, images: Pixels, features: Features) -> "PhotoSet":
        """Adds the thumbnails.

        Raises:
            ValueError: not one row of features for each picture.
        """
        letters = check_shape("images", images, "N", "S", "S", "C")
        check_shape("features", features, "N", "D", N=letters["N"])
        return cls(images, features, compute_thumbnails(images))


def calibrate(
    train: PhotoSet, test: PhotoSet, net: FeatureNet, cache: Path, *, step: Step = nothing
) -> Thresholds | None:
    """Returns the thresholds by held-out photos (at most 5,000, always the same ones); their distances stay in `cache`.

    None: fewer than 200 test photos, or no training photos.

    Raises:
        PackshotError: the disk refuses, or the cached file is damaged.
    """
    if len(test.images) < CALIBRATION_LEAST or len(train.images) == 0:
        return None
    path = cache_file(cache, f"nearest-{net.name}", content_key(VERSION, net.protocol, train.images, test.images))
    if not path.exists():
        rng = np.random.default_rng(stream_seed(0, "copies calibration"))
        chosen = np.sort(rng.permutation(len(test.images))[:CALIBRATION_MOST])
        _, by_features = find_nearest(test.features[chosen], train.features, step=step)
        _, by_thumbnails = find_nearest(test.thumbnails[chosen], train.thumbnails)
        with atomic_path(path) as temporary:
            safetensors.numpy.save_file({"features": by_features, "thumbnails": by_thumbnails}, temporary)
    try:
        with disk_errors(path):
            distances = safetensors.numpy.load_file(path)
        by_features, by_thumbnails = distances["features"], distances["thumbnails"]
    except (safetensors.SafetensorError, KeyError) as e:
        raise PackshotError(f"{path} is damaged; delete this file and run the same command again.") from e
    least, small = (float(np.quantile(d, FALSE_ALARMS / 2)) for d in (by_features, by_thumbnails))
    alarms = float(((by_features < least) | (by_thumbnails < small)).mean())
    return Thresholds(least, small, alarms, len(by_features))


@dataclass(frozen=True, eq=False)
class Copies:
    """The nearest training photo of each sample.

    Attributes:
        figure: share of samples suspiciously near to a training photo.
        nearest: int64 [n], index of the training photo.
        closeness: float64 [n], distance over threshold in the space where that is smaller; below 1 is suspicious.
            Without thresholds, the feature distance.
        pixels: float64 [n], root mean square difference to that photo in grey levels, 0 to 255.
        suspicious: bool [n]; all False without thresholds.
        note: one sentence on how to read these.
    """

    figure: Figure
    nearest: Indices
    closeness: Floats
    pixels: Floats
    suspicious: npt.NDArray[np.bool_]
    note: str

    def closest(self, count: int) -> list[dict[str, Any]]:
        """Returns the `count` samples nearest to a training photo, nearest first, as plain values."""
        return [
            {
                "sample": int(i),
                "photo": int(self.nearest[i]),
                "distance": float(self.closeness[i]),
                "pixel_rms": float(self.pixels[i]),
                "suspicious": bool(self.suspicious[i]),
            }
            for i in np.argsort(self.closeness, kind="stable")[:count]
        ]


def compute_copies(
    samples: PhotoSet,
    train: PhotoSet,
    thresholds: Thresholds | None,
    net: FeatureNet,
    *,
    seed: int,
    step: Step = nothing,
) -> Copies:
    """Returns the figure `copies_NET` with a Wilson interval, and the nearest training photo of each sample.

    Args:
        samples: n pictures.
        train: N photos the generator was trained on, of the same size and channels.
        thresholds: from `calibrate`; None gives the nearest photos, but no figure.
        net: whose features these are.
        seed: of the samples.
        step: called with the number of training photos looked at.

    Raises:
        ValueError: sizes or channels differ.
    """
    n = len(samples.images)
    nearest, closeness = find_nearest(samples.features, train.features, step=step)
    suspicious = np.zeros(n, np.bool_)
    limits = "not calibrated"
    if thresholds is not None:
        closeness = closeness / thresholds.features
        by_thumbnails, small = find_nearest(samples.thumbnails, train.thumbnails)
        small = small / thresholds.thumbnails
        nearest = np.where(small < closeness, by_thumbnails, nearest)
        closeness = np.minimum(small, closeness)
        suspicious = closeness < 1
        limits = (
            f"suspicious below {thresholds.features:.4g} in features or {thresholds.thumbnails:.4g} between "
            f"thumbnails, which {thresholds.false_alarms:.2%} of {thresholds.photos:,} held-out photos are"
        )
    figure = Figure(
        name=f"copies_{net.name}",
        n=n,
        n_real=len(train.images),
        seed=seed,
        meaning="Share of samples suspiciously near to a training photo; unseen real photos give about 1 %.",
        protocol=f"nearest of {len(train.images):,} training photos by {net.protocol} features ({net.source}) and by "
        f"thumbnails; {limits}; Wilson interval",
        warning=f"copies_{net.name} needs at least {CALIBRATION_LEAST} test photos to tell what is too near, and fewer "
        f"were given. Look at the nearest pairs. {where_from(n, 0, 1)}",
    )
    if thresholds is not None and n:
        hits = int(suspicious.sum())
        figure = figure.measured(hits / n, wilson_interval(hits, n))
    note = f"Distance 1 is where unseen real photos begin to be rare: {limits}." if thresholds else "Feature distance."
    pixels = pixel_distances(samples.images, train.images, nearest)
    return Copies(figure, nearest, closeness, pixels, suspicious, note)


def pixel_distances(images: Pixels, photos: Pixels, nearest: Indices) -> Floats:
    """Returns the root mean square difference of each picture [n, S, S, C] to its photo, float64 [n], 0 to 255.

    Args:
        images: uint8 [n, S, S, C].
        photos: uint8 [N, S, S, C].
        nearest: int64 [n], the photo of each picture.

    Raises:
        ValueError: the shapes differ.
    """
    letters = check_shape("images", images, "n", "S", "S", "C")
    check_shape("photos", photos, "N", "S", "S", "C", S=letters["S"], C=letters["C"])
    out = np.empty(len(images))
    for start in range(0, len(images), CHUNK):
        part = nearest[start : start + CHUNK]
        difference = images[start : start + CHUNK].astype(np.float32) - photos[part].astype(np.float32)
        out[start : start + CHUNK] = np.sqrt(np.square(difference).mean((1, 2, 3), dtype=np.float64))
    return out
