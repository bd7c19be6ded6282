"""Do the samples show what was asked for? Agreement with a small classifier that was trained on the real photos.

Letters: N pictures, S side in pixels, C channels, K categories.
"""

import itertools
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from packshot.core.errors import PackshotError
from packshot.core.files import atomic_path, disk_errors
from packshot.core.random import stream_seed
from packshot.core.shapes import check_shape
from packshot.evaluation.features import Pixels, Step, cache_file, content_key, nothing
from packshot.evaluation.figures import Figure, wilson_interval
from packshot.models.ranges import to_model
from packshot.models.threads import one_thread

Labels = npt.NDArray[np.int64]
INPUT_SIZE = 32
WIDTH = 16
BATCH = 256
LEARNING_RATE = 0.01
WEIGHT_DECAY = 0.02
LEAST_EPOCHS, MOST_EPOCHS = 3, 40
LEAST_PICTURES = 60_000
SEED = 0
VERSION = "agreement-v1"
AGREEMENT_LEAST = 30
POOR_ACCURACY = 0.6


class SmallNet(nn.Module):
    """Three convolutions, each with batch normalisation, ReLU and 2 x 2 max pooling, and one linear layer.

    On Fashion-MNIST 91 % right after 3 epochs, in less than a CPU-minute; a linear layer or 5 nearest neighbours on
    the feature net's features reach 88 % and 86 %.
    """

    def __init__(self, channels: int, categories: int) -> None:
        super().__init__()
        widths = [channels, WIDTH, 2 * WIDTH, 4 * WIDTH]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [
                nn.Conv2d(before, after, 3, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(2),
            ]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1] * (INPUT_SIZE // 8) ** 2, categories)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits float32 [N, K] of uint8 pictures [N, S, S, C] of any size."""
        x = to_model(images)
        if x.shape[-1] != INPUT_SIZE:
            x = F.interpolate(x, size=INPUT_SIZE, mode="bilinear", antialias=True)
        return self.head(self.body(x).flatten(1))  # type: ignore[no-any-return]


@dataclass(frozen=True, eq=False)
class Classifier:
    """A trained `SmallNet` and how often it is right about test photos.

    Attributes:
        network: in evaluation mode.
        hits: int64 [K], test photos of each category put in the right one.
        counts: int64 [K], test photos of each category.
    """

    network: SmallNet
    hits: Labels
    counts: Labels

    @property
    def accuracy(self) -> float | None:
        """Share of test photos put in the right category; None: there are no test photos."""
        return float(self.hits.sum() / self.counts.sum()) if self.counts.sum() else None

    def predict(self, images: Pixels) -> Labels:
        """Returns the category int64 [N] of uint8 pictures [N, S, S, C]."""
        out = np.empty(len(images), np.int64)
        with torch.inference_mode(), one_thread():
            for start in range(0, len(images), BATCH):
                part = torch.from_numpy(np.array(images[start : start + BATCH]))
                out[start : start + BATCH] = self.network(part).argmax(1).numpy()
        return out


def train_classifier(images: Pixels, labels: Labels, categories: int, *, step: Step = nothing) -> SmallNet:
    """Trains a `SmallNet` on uint8 photos [N, S, S, C] and int64 labels [N] in 0 .. K - 1.

    The same photos give the same weights on the same kind of processor; torch's global random stream is left as it
    was. `step` is called with the number of photos seen, over all epochs scaled to N.

    Raises:
        ValueError: fewer photos than 2, or a label outside of 0 .. K - 1.
    """
    check_shape("labels", labels, "N", N=check_shape("images", images, "N", "S", "S", "C")["N"])
    n = len(images)
    if n < 2 or labels.min() < 0 or labels.max() >= categories:
        raise ValueError(f"a classifier needs 2 photos and labels in 0 .. {categories - 1}; there are {n} photos.")
    rng = np.random.default_rng(stream_seed(SEED, "agreement order"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(SEED, "agreement weights"))
        network = SmallNet(images.shape[3], categories)
    with one_thread():
        _fit(network, images, labels, rng, step)
    return network.eval().requires_grad_(False)


def _fit(network: SmallNet, images: Pixels, labels: Labels, rng: np.random.Generator, step: Step) -> None:
    n = len(images)
    epochs = min(MOST_EPOCHS, max(LEAST_EPOCHS, math.ceil(LEAST_PICTURES / n)))
    size = min(BATCH, max(2, n // 8))
    batches = n // size
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=epochs * batches)
    for epoch in range(epochs):
        order = rng.permutation(n)
        for batch in range(batches):
            chosen = np.sort(order[batch * size : (batch + 1) * size])
            logits = network(torch.from_numpy(np.array(images[chosen])))
            loss = F.cross_entropy(logits, torch.from_numpy(labels[chosen]))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            step((epoch * batches + batch + 1) * n // (epochs * batches))


def cached_classifier(
    train: tuple[Pixels, Labels], test: tuple[Pixels, Labels], categories: int, cache: Path, *, step: Step = nothing
) -> Classifier:
    """Returns the classifier of the photos, trained once and then kept in `cache` with its accuracy on test photos.

    Args:
        train: uint8 [N, S, S, C] and int64 [N].
        test: the same of the test split.
        categories: K.
        cache: folder; made when missing.
        step: called with the number of training photos seen, over all epochs scaled to N.

    Raises:
        PackshotError: the disk refuses, or the cached file is damaged.
        ValueError: see `train_classifier`.
    """
    path = cache_file(cache, "classifier", content_key(VERSION, str(categories), *train, *test))
    if not path.exists():
        fresh = train_classifier(*train, categories, step=step)
        right = Classifier(fresh, *(np.zeros(categories, np.int64),) * 2).predict(test[0]) == test[1]
        hits, counts = (np.bincount(rows, minlength=categories) for rows in (test[1][right], test[1]))
        about = {"hits": json.dumps(hits.tolist()), "counts": json.dumps(counts.tolist()), "version": VERSION}
        weights = {name: tensor.contiguous() for name, tensor in fresh.state_dict().items()}
        with atomic_path(path) as temporary:
            safetensors.torch.save_file(weights, temporary, about)
    with torch.device("meta"):  # Draws no random weights.
        network = SmallNet(train[0].shape[3], categories)
    try:
        with disk_errors(path), safetensors.safe_open(path, "pt") as f:
            about = f.metadata()
            network.load_state_dict({name: f.get_tensor(name) for name in f.keys()}, assign=True)  # noqa: SIM118
        tallies = [np.array(json.loads(about[name]), np.int64) for name in ("hits", "counts")]
    except (safetensors.SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as e:
        raise PackshotError(f"{path} is damaged; delete this file and run the same command again.") from e
    return Classifier(network.eval().requires_grad_(False), *tallies)


@dataclass(frozen=True, eq=False)
class Agreement:
    """Agreement over all samples, and of each category asked for.

    Attributes:
        figure: over all samples.
        by_category: of the samples asked for as category 0 .. K - 1.
    """

    figure: Figure
    by_category: tuple[Figure, ...]


def compute_agreement(
    classifier: Classifier, images: Pixels, labels: Labels, categories: tuple[str, ...], *, seed: int
) -> Agreement:
    """Returns the figure `agreement`: the share of pictures that the classifier puts in the category asked for.

    Args:
        classifier: from `cached_classifier`.
        images: uint8 [N, S, S, C], the samples.
        labels: int64 [N], the categories asked for.
        categories: the K names.
        seed: of the samples.
    """
    check_shape("labels", labels, "N", N=check_shape("images", images, "N", "S", "S", "C")["N"])
    right = classifier.predict(images) == labels
    overall = _figure("agreement", right, int(classifier.hits.sum()), int(classifier.counts.sum()), seed)
    by_category = tuple(
        _figure("agreement", right[labels == k], int(classifier.hits[k]), int(classifier.counts[k]), seed)
        for k in range(len(categories))
    )
    return Agreement(overall, by_category)


def _figure(name: str, right: npt.NDArray[np.bool_], hits: int, count: int, seed: int) -> Figure:
    n = len(right)
    known = f"it is right for {hits / count:.1%} of {count:,} test photos" if count else "there are no test photos"
    figure = Figure(
        name=name,
        n=n,
        n_real=count,
        seed=seed,
        meaning=f"Share of samples that a classifier sees as the category asked for; {known}.",
        protocol=f"small convolutional net trained on the training photos ({VERSION}); {known}; Wilson interval",
        warning=f"{name} needs at least {AGREEMENT_LEAST} samples; there are {n}. Make more samples.",
    )
    if n < AGREEMENT_LEAST:
        return figure
    warning = None
    if count == 0 or hits / count < POOR_ACCURACY:
        warning = f"The classifier behind {name} is not to be relied on: {known}."
    total = int(right.sum())
    return figure.measured(total / n, wilson_interval(total, n), warning)
