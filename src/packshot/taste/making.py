"""Pictures made for one taste: the best of many samples, then a few steps of the noise towards what is liked.

Every generator can be sampled, so that comes first: one pool of samples serves all shoppers, and each gets those that
the model of taste scores best, as long as they look no less real than most samples do, and are not all the same. Where
gradients flow from the picture to the noise, the chosen ones are then moved (Kang et al. 2017, "Visually-Aware Fashion
Recommendation and Design with Generative Image Models", sec. 4.2) by gradient ascent on

    score / spread - pull * max(0, |eps|^2 / D - 1) - realism * max(0, d - limit) / limit - diversity * similarity,

and a moved picture counts only where it scores better and looks no less real than is allowed.

Letters: U shoppers, N samples, n pictures for each shopper, D = z_dim, F features, K numbers of a profile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as nnf
from PIL import Image
from torch import Tensor

from packshot.core.errors import UsageError
from packshot.evaluation.features import compute_features
from packshot.images.resize import to_grey, to_rgb
from packshot.models.features.efflite import BLACK, INPUT_SIZE
from packshot.models.features.net import FeatureNet
from packshot.sampling.generator import TrainedGenerator
from packshot.taste.fairness import rerank, unit_rows
from packshot.taste.preference import Preference

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

MOST_PICTURES, MOST_SAMPLES = 64, 4096
SPARE = 24
"""More that are chosen, in the place of what the copy gate refuses."""
BATCH = 32
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, kw_only=True)
class MakeSettings:
    """How pictures are made.

    Attributes:
        n: pictures for each shopper.
        samples: N, in equal shares of the categories.
        steps: of gradient ascent; 0: the best of the samples alone.
        rate: learning rate of Adam.
        pull: weight of noise that is longer than noise is.
        realism: weight of looking less real than `allowed`.
        allowed: share of plain samples that look real enough: those nearest to a real photo, in their features.
        diversity: trade-off between liked and varied, see `fairness.rerank`.
        seed: of the samples.
    """

    n: int = 4
    samples: int = 256
    steps: int = 12
    rate: float = 0.1
    pull: float = 1.0
    realism: float = 2.0
    allowed: float = 0.8
    diversity: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.n <= MOST_PICTURES:
            raise UsageError(f"--n is {self.n}; it can be 1 to {MOST_PICTURES}.")
        if not self.n <= self.samples <= MOST_SAMPLES or self.steps < 0:
            raise UsageError(
                f"Pictures are chosen from {self.n} to {MOST_SAMPLES} samples in 0 or more steps, not from "
                f"{self.samples} in {self.steps}."
            )


@dataclass(frozen=True, eq=False)
class Pool:
    """Samples of a generator, the same for all shoppers.

    Attributes:
        eps: float32 [N, D].
        labels: int64 [N].
        cond: float32 [N, A], attributes that were asked for: in every second round of the categories one value
            of each, in turn; None: the generator has no attributes. So the best also say which attributes are liked.
        pixels: uint8 [N, H, W, C].
        features: float32 [N, F].
        distance: float32 [N], to the nearest real photo in features.
        limit: distance up to which a picture looks real enough.
    """

    eps: Tensor
    labels: Ints
    cond: Floats | None
    pixels: Pixels
    features: Floats
    distance: Floats
    limit: float

    def asked(self, chosen: Ints) -> Floats | None:
        """Returns the attributes that some samples were asked for."""
        return None if self.cond is None else self.cond[chosen]


@dataclass(frozen=True, eq=False)
class Made:
    """Pictures for one shopper, the best liked first.

    Attributes:
        pixels: uint8 [m, H, W, C]; m is more than n: the rest stands in for what is refused.
        labels: int64 [m].
        scores: float32 [m] by the model of taste, in standard deviations over the catalogue's products, above their
            mean.
        features: float32 [m, F].
        distance: float32 [m], to the nearest real photo over the limit.
        sample: int64 [m], which sample each began as.
        moved: bool [m], whether gradient ascent improved it.
    """

    pixels: Pixels
    labels: Ints
    scores: Floats
    features: Floats
    distance: Floats
    sample: Ints
    moved: npt.NDArray[np.bool_]

    def at(self, places: Ints) -> Made:
        """Returns the pictures at some places."""
        return Made(
            self.pixels[places],
            self.labels[places],
            self.scores[places],
            self.features[places],
            self.distance[places],
            self.sample[places],
            self.moved[places],
        )


class Maker:
    """A generator, a model of taste and the products, ready to make pictures for any shopper.

    Args:
        generator: makes pictures.
        preference: of a model that sees pictures.
        net: that sees pictures as `efflite.prepare` shows them.
        real: float32 [I, F], its features of products with a picture.
        side: pixels of the pictures that those come from, rim and all.
        channels: of them.
        margin: width of their black rim.
        categories: to make; none: all that the generator has.
        settings: how.

    Raises:
        UsageError: the model sees no pictures, or an unknown category.
    """

    def __init__(
        self,
        generator: TrainedGenerator,
        preference: Preference,
        net: FeatureNet,
        real: Floats,
        *,
        side: int,
        channels: int,
        margin: int = 0,
        categories: Sequence[str] = (),
        settings: MakeSettings | None = None,
    ) -> None:
        preference.sees()
        self.generator, self.preference, self.net, self.real = generator, preference, net, real
        self.side, self.channels, self.margin = side, channels, margin
        self.settings = settings or MakeSettings()
        self.allowed = [generator.label_of(c) for c in categories] or list(range(len(generator.categories)))
        self.centre = real.mean(0)
        self._real = torch.from_numpy(np.array(real, np.float32))
        self.pool = self._draw()

    def fit(self, pixels: Pixels) -> Pixels:
        """Returns pictures [N, H, W, C] as large as the catalogue's, and grey where those are."""
        return fit_pictures(pixels, self.side, self.channels, self.margin)

    def score(self, profile: Floats, features: Floats) -> Floats:
        """Returns scores [N] of features [N, F], in standard deviations over the catalogue's pictures."""
        own = self.preference.score_features(profile, self.real)
        seen = self.preference.score_features(profile, features)
        out: Floats = (seen - own.mean()) / max(float(own.std()), 1e-9)
        return out

    def choose(self, profile: Floats) -> Ints:
        """Returns which samples of the pool a taste would have, best first: n, and SPARE more."""
        pool = self.pool
        near = np.flatnonzero(pool.distance <= pool.limit)
        scores = self.score(profile, pool.features)[near]
        looks = unit_rows(pool.features[near], self.centre)
        return near[rerank(scores, looks, self.settings.n + SPARE, self.settings.diversity)]

    def make(self, profiles: Floats) -> list[Made]:
        """Makes pictures for each of some profiles [U, K]; all shoppers' pictures move in the same batches."""
        chosen = [self.choose(profile) for profile in profiles]
        first = [c[: self.settings.n] for c in chosen]
        moved: list[tuple[Pixels, Floats, Floats]] | None = None
        if self.settings.steps and self.generator.is_smooth:
            moved = self._move(profiles, first)
        return [
            self._made(profile, own, None if moved is None else moved[u])
            for u, (profile, own) in enumerate(zip(profiles, chosen, strict=True))
        ]

    def _draw(self) -> Pool:
        settings = self.settings
        labels = np.array(self.allowed, np.int64)[np.arange(settings.samples) % len(self.allowed)]
        eps = self.generator.noise(settings.seed, 0, settings.samples)
        cond = _attributes(self.generator, settings.samples, len(self.allowed))
        pixels = self.generator.pictures(eps, labels.tolist(), cond=cond)
        features = self.see(pixels)
        distance = self._nearest(features)
        return Pool(eps, labels, cond, pixels, features, distance, float(np.quantile(distance, settings.allowed)))

    def see(self, pixels: Pixels) -> Floats:
        """Returns the features float32 [N, F] of uint8 pictures [N, H, W, C] of the generator."""
        return compute_features(self.net, self.fit(pixels))

    def see_tensor(self, x: Tensor) -> Tensor:
        """Returns the same of pictures [N, C, S, S] in [-1, 1] as `render` makes them, with gradients."""
        out: Tensor = self.net.module(self._fit(x))
        return out

    def _nearest(self, features: Floats) -> Floats:
        out = torch.cdist(torch.from_numpy(features), self._real).min(1).values.numpy()
        return np.asarray(out, np.float32)

    def _made(self, profile: Floats, chosen: Ints, moved: tuple[Pixels, Floats, Floats] | None) -> Made:
        pool = self.pool
        pixels, features, distance = pool.pixels[chosen], pool.features[chosen].copy(), pool.distance[chosen].copy()
        better = np.zeros(len(chosen), bool)
        if moved is not None:
            pixels, n = pixels.copy(), len(moved[0])
            gained = self.score(profile, moved[1]) > self.score(profile, features[:n])
            at = np.flatnonzero(gained & (moved[2] <= pool.limit))
            pixels[at], features[at], distance[at] = (part[at] for part in moved)
            better[at] = True
        scores = self.score(profile, features)
        n = self.settings.n
        order = np.concatenate([np.argsort(-scores[:n], kind="stable"), np.arange(n, len(chosen))])
        return Made(
            pixels[order],
            pool.labels[chosen][order],
            scores[order],
            features[order],
            distance[order] / pool.limit,
            chosen[order],
            better[order],
        )

    def _move(self, profiles: Floats, chosen: Sequence[Ints]) -> list[tuple[Pixels, Floats, Floats]]:
        """Returns pixels, features and distances of each shopper's pictures after gradient ascent."""
        sizes = [len(c) for c in chosen]
        flat = np.concatenate(chosen)
        owner = np.repeat(np.arange(len(sizes)), sizes)
        per = max(1, BATCH // max(sizes))
        eps = torch.cat(
            [
                self._ascend(profiles[start : start + per], owner[part] - start, flat[part])
                for start in range(0, len(sizes), per)
                for part in [np.flatnonzero((owner >= start) & (owner < start + per))]
            ]
        )
        pixels = self.generator.pictures(eps, self.pool.labels[flat].tolist(), cond=self.pool.asked(flat))
        features = self.see(pixels)
        distance = self._nearest(features)
        return [(pixels[owner == u], features[owner == u], distance[owner == u]) for u in range(len(sizes))]

    def _ascend(self, profiles: Floats, owner: Ints, samples: Ints) -> Tensor:
        """Returns the noise [m, D] of some shoppers' pictures after the steps; `owner` [m] numbers into profiles."""
        settings, preference = self.settings, self.preference
        own = preference.score_features(profiles, self.real)
        who = torch.from_numpy(np.ascontiguousarray(profiles))[torch.from_numpy(owner)]
        mean, spread = (torch.from_numpy(x.astype(np.float32))[torch.from_numpy(owner)] for x in _moments(own))
        labels = torch.from_numpy(self.pool.labels[samples])
        asked = self.pool.asked(samples)
        cond = None if asked is None else torch.from_numpy(asked)
        together = torch.from_numpy(owner[:, None] == owner[None]) & ~torch.eye(len(owner), dtype=torch.bool)
        centre = torch.from_numpy(np.array(self.centre, np.float32))
        with torch.enable_grad():
            eps = self.pool.eps[torch.from_numpy(samples)].clone().requires_grad_(True)
            optimizer = torch.optim.Adam([eps], settings.rate)
            for _ in range(settings.steps):
                seen = self.see_tensor(self.generator.render(eps, labels, cond=cond))
                factors, bias = preference.sees()(seen)
                liked = ((who * factors).sum(1) + bias - mean) / spread
                long = (eps.square().mean(1) - 1).clamp_min(0)
                unreal = (torch.cdist(seen, self._real).min(1).values / self.pool.limit - 1).clamp_min(0)
                looks = nnf.normalize(seen - centre, dim=1)
                alike = ((looks @ looks.T) * together).sum(1) / together.sum(1).clamp_min(1)
                gain = liked - settings.pull * long - settings.realism * unreal - settings.diversity * alike
                optimizer.zero_grad()
                (-gain.sum()).backward()
                optimizer.step()
        return eps.detach()

    def _fit(self, x: Tensor) -> Tensor:
        """Returns pictures [N, C, S, S] in [-1, 1] as `fit` and then `efflite.prepare` do, with gradients."""
        margin, side = self.generator.margin, self.side - 2 * self.margin
        x = x[:, :, margin : x.shape[2] - margin, margin : x.shape[3] - margin]
        if x.shape[-1] != side:
            x = nnf.interpolate(x, size=side, mode="bilinear", antialias=True)
        if self.channels == 1 and x.shape[1] == 3:
            x = (x * x.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
        rim = self.margin + 2 * (self.side == 28)  # As `efflite.prepare` surrounds those.
        x = nnf.pad(x, [rim] * 4, value=BLACK)
        x = nnf.interpolate(x, size=INPUT_SIZE, mode="bilinear", antialias=True)
        return x.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


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


def _attributes(generator: TrainedGenerator, n: int, categories: int) -> Floats | None:
    """Returns what is asked of n samples; in every second round of the categories one value of each attribute."""
    known = generator.conditions
    if known is None or not known.attributes:
        return None
    rounds, places = np.divmod(np.arange(n), categories)
    asked: dict[str, list[str | None]] = {
        name: [
            values[(r // 2 + k) % len(values)] if r % 2 else None
            for r, k in zip(rounds.tolist(), places.tolist(), strict=True)
        ]
        for name, values in known.attributes.items()
    }
    return known.encode(asked, None, n)


def _moments(scores: Floats) -> tuple[Floats, Floats]:
    return scores.mean(1), np.maximum(scores.std(1), 1e-9)
