"""The light evaluation of a trial: the figures of `packshot evaluate`, of fewer samples against fewer test photos.

Letters: n samples, m test photos, N training photos, K categories.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from packshot.catalog import Catalog, Packed
from packshot.core.random import draw_subset, stream_seed
from packshot.evaluation.copies import PhotoSet, Thresholds, calibrate, compute_copies, compute_thumbnails
from packshot.evaluation.distribution import compute_kid
from packshot.evaluation.evaluate import fit_samples
from packshot.evaluation.features import cached_features, compute_features, features_file
from packshot.evaluation.figures import Figure, bootstrap_interval
from packshot.evaluation.neighbours import compute_prdc
from packshot.models.features.efflite import load_efflite0
from packshot.models.features.net import FeatureNet
from packshot.models.ranges import to_model, to_uint8
from packshot.models.spec import usual_size
from packshot.sampling.generator import TrainedGenerator, cut_margin, equal_shares
from packshot.tasks.advise_needs import KID, RECON
from packshot.tasks.advise_plan import RECON_PHOTOS, SAMPLES, CatalogFacts, held_back, measure_variety

RECONSTRUCTED = 500
LOOKED_AT = 1_000
BATCH = 100


@dataclass(frozen=True)
class Shelf:
    """The photos of a catalogue as trials see them.

    Attributes:
        train: N training photos: those that trials learn from.
        test_images: uint8 [m, S, S, C], photos that no trial sees: at most 1,000 test photos, always the same ones, or
            all of them and training photos that are held back.
        test_labels: int64 [m].
        facts: of the catalogue.
    """

    train: Packed
    test_images: npt.NDArray[np.uint8]
    test_labels: npt.NDArray[np.int64]
    facts: CatalogFacts


def open_shelf(photos: Catalog, least: int, seed: int) -> Shelf:
    """Packs the photos at the size that `packshot train` would choose, and finds out what the catalogue is.

    Args:
        photos: the catalogue.
        least: unseen photos that are needed; where the test photos are fewer, training photos are held back, if they
            are enough. Not where there are generated pictures to train on, whose places are between those of photos.
        seed: of the trials: they learn from what `draw_subset` leaves them.
    """
    size = usual_size(photos.native.side)
    channels: Literal[1, 3] = 1 if photos.native.channels == 1 else 3
    train = photos.packed("train", size, channels)
    images, labels, tests = train.images[:0], train.labels[:0], 0
    if photos.summary["splits"].get("test"):
        test = photos.packed("test", size, channels)
        tests = len(test.images)
        chosen = np.sort(_order("test photos", tests)[: SAMPLES[0]])
        images, labels = np.ascontiguousarray(test.images[chosen]), test.labels[chosen]
    held = 0 if photos.synthetic else held_back(len(train.images), tests, least)
    some = np.sort(_order("variety", len(train.images))[:LOOKED_AT])
    counts = np.bincount(train.labels, minlength=len(photos.categories))
    facts = CatalogFacts(
        train=len(train.images),
        test=tests,
        categories={name: int(count) for name, count in zip(photos.categories, counts, strict=True)},
        native=photos.native.side,
        size=size,
        channels=channels,
        variety=measure_variety(compute_thumbnails(train.images[some]), train.labels[some]),
        held=held,
    )
    if held:
        seen = draw_subset(facts.train, facts.seen, seed)
        unseen = np.setdiff1d(np.arange(facts.train), seen)
        images = np.concatenate([images, train.images[unseen]])
        labels = np.concatenate([labels, train.labels[unseen]])
        ids = [train.photo_ids[i] for i in seen]
        train = replace(train, images=train.images[seen], labels=train.labels[seen], photo_ids=ids)
    return Shelf(train, images, labels, facts)


def _order(name: str, n: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(stream_seed(0, f"advise {name}")).permutation(n)


def waiting_features(shelf: Shelf, photos: Catalog) -> tuple[int, int]:
    """Returns how many test and training photos have no features in the catalogue's cache yet."""
    net = load_efflite0()
    test, train = (
        0 if features_file(net, images, photos.cache).exists() else len(images)
        for images in (shelf.test_images, shelf.train.images)
    )
    return test, train


class Yardstick:
    """Measures trained generators against the photos of a catalogue."""

    def __init__(self, shelf: Shelf, photos: Catalog, *, samples: int, copies: bool, seed: int) -> None:
        self.shelf, self.samples, self.seed = shelf, samples, seed
        self.net: FeatureNet = load_efflite0()
        self.test = PhotoSet.of(shelf.test_images, cached_features(self.net, shelf.test_images, photos.cache))
        self.train: PhotoSet | None = None
        self.thresholds: Thresholds | None = None
        if copies:
            images = shelf.train.images
            self.train = PhotoSet.of(images, cached_features(self.net, images, photos.cache))
            self.thresholds = calibrate(self.train, self.test, self.net, photos.cache)

    def measure(self, generator: TrainedGenerator) -> tuple[dict[str, Figure], float]:
        """Returns the figures by short name, and the CPU-seconds of sampling for each picture."""
        labels = equal_shares(self.samples, len(generator.categories))
        start = time.process_time()
        pixels = generator.sample(labels.tolist(), self.seed)
        cost = (time.process_time() - start) / len(labels)
        images = fit_samples(pixels, self.shelf.train)
        fake = PhotoSet.of(images, compute_features(self.net, images))
        shares, _ = compute_prdc(fake.features, self.test.features, self.net, seed=self.seed)
        figures = {KID: compute_kid(fake.features, self.test.features, self.net, seed=self.seed)}
        figures |= dict(zip(("precision", "recall"), shares[:2], strict=True))
        if self.train is not None:
            figures["copies"] = compute_copies(fake, self.train, self.thresholds, self.net, seed=self.seed).figure
        recon = recon_figure(generator, self.shelf.test_images, self.shelf.test_labels, self.seed)
        return figures | ({RECON: recon} if recon is not None else {}), cost


def recon_figure(
    generator: TrainedGenerator, images: npt.NDArray[np.uint8], labels: Sequence[int] | npt.NDArray[np.int64], seed: int
) -> Figure | None:
    """Returns the figure `recon_rms`: root mean square error of a photo's reconstruction, 0 to 255, mean over photos.

    None: the model has no encoder.

    Args:
        generator: trained.
        images: uint8 [m, S, S, C], with their margin; the first 500 are used.
        labels: m categories.
        seed: of the interval.
    """
    if getattr(generator.network, "encode", None) is None:
        return None
    images, wanted = images[:RECONSTRUCTED], torch.as_tensor(np.asarray(labels[:RECONSTRUCTED]), dtype=torch.int64)
    name, m = RECON, len(images)
    figure = Figure(
        name=name,
        n=m,
        n_real=m,
        seed=seed,
        meaning="How far a reconstruction is from its test photo, in grey levels; lower is better.",
        protocol=f"encoder's mean, decoded; root mean square over a photo's pixels, mean of {m:,} test photos",
        warning=f"{name} needs at least {RECON_PHOTOS} test photos; there are {m:,}. Add photos to the catalogue.",
    )
    if m < RECON_PHOTOS:
        return figure
    errors = []
    with torch.inference_mode():
        for start in range(0, m, BATCH):
            photos = images[start : start + BATCH]
            made = to_uint8(reconstruct(generator.network, to_model(torch.from_numpy(photos)), wanted[start:][:BATCH]))
            a, b = (cut_margin(p.astype(np.float64), generator.margin) for p in (made.cpu().numpy(), photos))
            errors.append(np.sqrt(np.square(a - b).mean((1, 2, 3))))
    values = np.concatenate(errors)
    mean = float(values.mean())
    return figure.measured(mean, bootstrap_interval(mean, [values], seed, name))


def reconstruct(network: nn.Module, x: Tensor, label: Tensor) -> Tensor:
    """Returns what an encoder and decoder make of pictures [N, C, H, W] in [-1, 1]; the same shape.

    Of the latent flow only its VAE; of a VQ-VAE the nearest codes.
    """
    made: Tensor
    if hasattr(network, "codebook"):
        made = network(x, label)[0]
    else:
        vae: Any = getattr(network, "vae", network)
        mean, _ = vae.encode(x, label)
        made = vae.decode(mean, label)
    return made
