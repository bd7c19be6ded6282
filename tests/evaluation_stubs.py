"""What the tests of evaluation share: a feature net that costs nothing, drawn photos, and Fashion-MNIST where it is."""

import gzip
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from packshot.models.features.net import FeatureNet
from packshot.models.ranges import to_model

FASHION = Path(os.environ.get("PACKSHOT_FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))


class Blocks(nn.Module):
    """Mean grey of a 4 x 4 grid: 16 features."""

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x.mean(1, keepdim=True), 4).flatten(1)


def stub_net(dim: int = 16, module: nn.Module | None = None) -> FeatureNet:
    return FeatureNet(
        name="stub",
        distance="fd",
        dim=dim,
        input_size=16,
        input_range=(-1.0, 1.0),
        protocol="stub-v1",
        licence="CC0-1.0",
        source="the tests",
        prepare=to_model,
        module=module or Blocks(),
    )


@dataclass
class StubPhotos:
    images: np.ndarray
    labels: np.ndarray
    photo_ids: list[str]
    categories: tuple[str, ...]
    margin: int = 0


def drawn(n: int, seed: int, size: int = 16, channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of three kinds (a bar across, a bar down, a block) with random place, brightness and noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    images = rng.normal(20, 8, (n, size, size, channels))
    for image, label in zip(images, labels, strict=True):
        at, value = rng.integers(3, size - 5), rng.uniform(100, 230)
        if label == 0:
            image[at : at + 3] += value
        elif label == 1:
            image[:, at : at + 3] += value
        else:
            image[at - 3 : at + 4, at - 3 : at + 4] += value
    return images.clip(0, 255).astype(np.uint8), labels.astype(np.int64)


def stub_photos(n: int, seed: int, size: int = 16, margin: int = 0) -> StubPhotos:
    images, labels = drawn(n, seed, size)
    ids = [f"photo-{seed}-{i}" for i in range(n)]
    return StubPhotos(images, labels, ids, ("across", "down", "block"), margin)


def fashion(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Fashion-MNIST as uint8 [N, 28, 28, 1] and int64 [N], or a skip with the reason."""
    files = [FASHION / f"{split}-images-idx3-ubyte.gz", FASHION / f"{split}-labels-idx1-ubyte.gz"]
    if not all(f.exists() for f in files):
        pytest.skip(f"no Fashion-MNIST in {FASHION}; install dataset-fashion-mnist or set PACKSHOT_FASHION_MNIST")
    with gzip.open(files[0]) as images, gzip.open(files[1]) as labels:
        pixels = np.frombuffer(images.read(), np.uint8, offset=16).reshape(-1, 28, 28, 1)
        return pixels, np.frombuffer(labels.read(), np.uint8, offset=8).astype(np.int64)


def fashion_photos(split: str) -> StubPhotos:
    """The same as the catalogue packs it: with a black margin of 2, 32 px."""
    images, labels = fashion(split)
    names = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    return StubPhotos(padded, labels, [f"{split}/{i}" for i in range(len(labels))], names, 2)


def random_state() -> bytes:
    """Torch's global random stream, to see that nothing draws from it."""
    return torch.get_rng_state().numpy().tobytes()
