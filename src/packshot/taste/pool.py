"""Samples of a generator, and all that making by taste has to know of them: drawn once, and kept in a cache.

Which pictures a shopper would like is a matter of their taste; what the pictures look like is not. So samples, their
features, and how near they are to real photos are kept by what they depend on: the generator's file, the products'
features, the size, and which samples.

Letters: N samples, I products with a picture, D = z_dim, F features, A attributes, K numbers of a profile.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from packshot.core.errors import PackshotError
from packshot.evaluation.features import cache_file, chunk_rows, compute_features, content_key
from packshot.images.resize import to_grey, to_rgb
from packshot.models.features.net import FeatureNet
from packshot.models.weights import load_tensors, save_tensors
from packshot.sampling.generator import TrainedGenerator
from packshot.taste.asking import spread_attributes
from packshot.taste.named import NEIGHBOURS, Named
from packshot.taste.preference import Preference

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

VERSION = "2"
MOST_KEPT = 8
"""Pools in one cache; the one that was not used for longest makes room."""


@dataclass(frozen=True, eq=False)
class Pool:
    """Samples of a generator.

    Attributes:
        eps: float32 [N, D].
        labels: int64 [N].
        cond: float32 [N, A], what was asked for beside the category; A = 0: the generator takes nothing else.
        pixels: uint8 [N, H, W, C].
        features: float32 [N, F].
        factors: float32 [N, K + 1], what the model of taste sees of them, and their bias.
        distance: float32 [N], to the nearest real photo in features.
        alike: bool [N], whether the products that look most like it are mostly of the category that was asked for;
            true where the catalogue does not tell.
        number: int64 [N], which sample each is, or began as.
        moved: bool [N], whether it came of the search.
    """

    eps: Floats
    labels: Ints
    cond: Floats
    pixels: Pixels
    features: Floats
    factors: Floats
    distance: Floats
    alike: npt.NDArray[np.bool_]
    number: Ints
    moved: npt.NDArray[np.bool_]

    def at(self, places: Ints) -> Pool:
        """Returns some of the samples."""
        return Pool(*(getattr(self, f.name)[places] for f in fields(self)))

    def joined(self, other: Pool) -> Pool:
        """Returns these samples, then those of another."""
        return Pool(*(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))


@dataclass(frozen=True)
class PoolCache:
    """Where pools are kept.

    Attributes:
        folder: of the cache; what lies in it may be deleted at any time.
        generator: a hash of the generator's file, its settings and all.
    """

    folder: Path
    generator: str


@dataclass(frozen=True, eq=False)
class _Seen:
    """What is to be seen of N pictures: `features` float32 [N, F] and `distance` float32 [N] to the nearest product."""

    features: Floats
    distance: Floats


class Sampler:
    """A generator, and the eyes of a model of taste.

    Args:
        generator: makes pictures.
        preference: of a model that sees pictures.
        net: that sees pictures as `efflite.prepare` shows them.
        real: float32 [I, F], what the model sees of products with a picture: features of `net`, then the named numbers.
        named: of the same products; None: the model sees the features alone.
        side: pixels of the pictures that those come from, rim and all.
        channels: of them.
        margin: width of their black rim.
    """

    def __init__(
        self,
        generator: TrainedGenerator,
        preference: Preference,
        net: FeatureNet,
        real: Floats,
        named: Named | None,
        *,
        side: int,
        channels: int,
        margin: int,
    ) -> None:
        self.generator, self.preference, self.net, self.named = generator, preference, net, named
        self.side, self.channels, self.margin, self.real = side, channels, margin, real
        self._own = torch.from_numpy(np.array(real[:, : net.dim], np.float32))
        self._norms = self._own.square().sum(1)

    def fit(self, pixels: Pixels) -> Pixels:
        """Returns pictures [N, H, W, C] as large as the catalogue's, and grey where those are."""
        return fit_pictures(pixels, self.side, self.channels, self.margin)

    def see(self, pixels: Pixels) -> Floats:
        """Returns what the model sees, float32 [N, F], of uint8 pictures [N, H, W, C] of the generator."""
        return self._look(pixels).features

    def factors(self, features: Floats) -> Floats:
        """Returns what the model makes of features [N, F]: factors and bias, float32 [N, K + 1]."""
        factors, bias = self.preference.sees().embed(features)
        return np.concatenate([factors, bias[:, None]], axis=1)

    def sampled(self, eps: Floats, labels: Ints, cond: Floats, number: Ints, *, moved: bool) -> Pool:
        """Returns the pictures of noise [N, D], labels [N] and conditions [N, A], and what is to be known of them."""
        pixels = self._rendered(eps, labels, cond)
        return self._pool(eps, labels, cond, number, pixels, self._look(pixels), moved=moved)

    def draw(self, allowed: Sequence[int], n: int, seed: int, cache: PoolCache | None = None) -> Pool:
        """Returns n samples in equal shares of the labels in `allowed`; those of a cache where it has them.

        Raises:
            PackshotError: the disk refuses, or the cached file is damaged.
        """
        labels = np.array(allowed, np.int64)[np.arange(n) % len(allowed)]
        eps = self.generator.noise(seed, 0, n).numpy()
        cond = spread_attributes(self.generator.conditions, n, len(allowed))
        if cache is None:
            pixels = self._rendered(eps, labels, cond)
            seen = self._look(pixels)
        else:
            pixels, seen = self._kept(cache, eps, labels, cond)
        return self._pool(eps, labels, cond, np.arange(n), pixels, seen, moved=False)

    def _kept(self, cache: PoolCache, eps: Floats, labels: Ints, cond: Floats) -> tuple[Pixels, _Seen]:
        about = f"{VERSION} {cache.generator} {self.net.protocol} {self.side} {self.channels} {self.margin}"
        path = cache_file(cache.folder, "pool", content_key(about, self.real, eps, labels, cond))
        if path.exists():
            with suppress(OSError):  # It may be another's; then the time of use is not kept.
                os.utime(path)
            found, _ = load_tensors(path)
            pixels, features, distance = (found[name].numpy() for name in ("pixels", "features", "distance"))
            if not len(labels) == len(pixels) == len(features) == len(distance):
                raise PackshotError(f"The cached samples {path} are damaged; delete this file and run it again.")
            return pixels, _Seen(features, distance)
        pixels = self._rendered(eps, labels, cond)
        seen = self._look(pixels)
        tensors = {"pixels": pixels, "features": seen.features, "distance": seen.distance}
        save_tensors(path, {name: torch.from_numpy(np.ascontiguousarray(t)) for name, t in tensors.items()}, {})
        _make_room(cache.folder)
        return pixels, seen

    def _rendered(self, eps: Floats, labels: Ints, cond: Floats) -> Pixels:
        asked = cond if cond.shape[1] else None
        return self.generator.pictures(torch.from_numpy(eps), labels.tolist(), cond=asked)

    def _look(self, pixels: Pixels) -> _Seen:
        fitted = self.fit(pixels)
        features = compute_features(self.net, fitted)
        distance, near = self._nearest(features)
        if self.named is not None:
            features = np.concatenate([features, self.named.of(features, fitted, near)], axis=1)
        return _Seen(features, distance)

    def _nearest(self, features: Floats) -> tuple[Floats, Ints]:
        """Returns the distance [N] to the nearest product, and the numbers of the products that are nearest [N, 7]."""
        count = min(NEIGHBOURS, len(self._own))
        distance, near = np.empty(len(features), np.float32), np.empty((len(features), count), np.int64)
        rows = chunk_rows(len(self._own))
        for start in range(0, len(features), rows):
            some = torch.from_numpy(features[start : start + rows])
            # |a - b|^2 without |a|^2, which is the same for all products.
            value, place = torch.addmm(self._norms, some, self._own.T, alpha=-2).topk(count, largest=False)
            own = (some.square().sum(1) + value[:, 0]).clamp_min(0).sqrt()
            distance[start : start + rows], near[start : start + rows] = own.numpy(), place.numpy()
        return distance, near

    def _pool(
        self, eps: Floats, labels: Ints, cond: Floats, number: Ints, pixels: Pixels, seen: _Seen, *, moved: bool
    ) -> Pool:
        return Pool(
            eps, labels, cond, pixels, seen.features, self.factors(seen.features), seen.distance,
            self._alike(seen.features, labels), number, np.full(len(labels), moved),
        )  # fmt: skip

    def _alike(self, features: Floats, labels: Ints) -> npt.NDArray[np.bool_]:
        if self.named is None:
            return np.ones(len(labels), bool)
        asked = [self.generator.categories[y].lower() for y in labels.tolist()]
        seen = self.named.category(features[:, self.net.dim :])
        known = set(self.named.kinds)
        return np.array([a not in known or a == s for a, s in zip(asked, seen, strict=True)], bool)


def fit_pictures(pixels: Pixels, side: int, channels: int, margin: int = 0) -> Pixels:
    """Returns uint8 pictures [N, H, W, C] at another side, in 1 or 3 channels, with a black rim within that side."""
    inner = side - 2 * margin
    if pixels.shape[1] != inner:
        images = [Image.fromarray(p[..., 0] if p.shape[2] == 1 else p) for p in pixels]
        resized = [np.asarray(im.resize((inner, inner), Image.Resampling.BILINEAR)) for im in images]
        pixels = np.stack(resized).reshape(len(resized), inner, inner, -1)
    if pixels.shape[3] != channels:
        pixels = np.stack([(to_grey if channels == 1 else to_rgb)(p) for p in pixels])
    rim = (margin, margin)
    return np.pad(pixels, ((0, 0), rim, rim, (0, 0)))


def _make_room(folder: Path) -> None:
    """Removes the pools beyond MOST_KEPT that were not used for longest."""
    with suppress(OSError):  # Another process may be at the same; what stays too long does no harm.
        kept = sorted(folder.glob("pool-*.safetensors"), key=lambda p: p.stat().st_mtime, reverse=True)
        for path in kept[MOST_KEPT:]:
            path.unlink(missing_ok=True)
