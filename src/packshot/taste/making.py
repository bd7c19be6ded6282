"""Pictures made for one taste: the best of many samples, then a search near the best for what is liked more.

Every generator can be sampled, so that comes first: one pool of samples serves all shoppers. Of those that look real
enough, and like the category that they were asked for, each shopper gets the ones that are liked most; where the model
of taste says how unsure it is, those of which the best one is expected to be liked most, since it is not known which
that will be. Then the search: the noise of the best is mixed with new noise,

    eps' = sqrt(1 - step^2) eps + step * new noise, asked for what the shopper likes,

and what comes of it stands beside the rest, for some rounds (what Kang et al. 2017, "Visually-Aware Fashion
Recommendation and Design with Generative Image Models", sec. 4.2, do with gradients: without them any generator will
do, and what is measured on a picture counts too).

Letters: U shoppers, N samples, n pictures for each shopper, M tastes that are thought possible, D = z_dim, F features,
A attributes and K numbers of a profile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as nnf
from PIL import Image
from torch import Tensor

from packshot.core.errors import UsageError
from packshot.core.random import stream_seed
from packshot.evaluation.features import compute_features
from packshot.images.resize import to_grey, to_rgb
from packshot.models.features.efflite import BLACK, INPUT_SIZE
from packshot.models.features.net import FeatureNet
from packshot.sampling.generator import TrainedGenerator
from packshot.taste.asking import Wish, spread_attributes, wishes_of, with_wishes
from packshot.taste.fairness import rerank, unit_rows
from packshot.taste.history import Chooser
from packshot.taste.named import Named
from packshot.taste.preference import Preference

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

MOST_PICTURES, MOST_SAMPLES = 64, 16384
SPARE = 24
"""More that are chosen, in the place of what the copy gate refuses."""
FINALISTS = 150
"""Samples that a shopper's pictures are chosen from, the best liked of the pool."""
PARENTS = 6
"""That a round of search begins from."""
MOST_STEPS = 100
POSSIBLE = 64
"""M, where the model says how unsure it is."""
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, kw_only=True)
class MakeSettings:
    """How pictures are made.

    Attributes:
        n: pictures for each shopper.
        samples: N, in equal shares of the categories.
        steps: rounds of search; 0: the best of the samples alone.
        children: pictures that are tried in a round, for each shopper.
        step: between 0 and 1, how far they lie from what they begin as.
        together: whether what came of the search for one shopper is offered to the others of the same call; better for
            many at once, and then what one gets depends on who else is there.
        allowed: share of plain samples that look real enough: those nearest to a real photo, in their features.
        diversity: trade-off between liked and varied, see `fairness.rerank`.
        seed: of the samples.
    """

    n: int = 4
    samples: int = 1024
    steps: int = 3
    children: int = 16
    step: float = 0.7
    together: bool = False
    allowed: float = 0.8
    diversity: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.n <= MOST_PICTURES:
            raise UsageError(f"--n is {self.n}; it can be 1 to {MOST_PICTURES}.")
        if not self.n <= self.samples <= MOST_SAMPLES or not 0 <= self.steps <= MOST_STEPS:
            raise UsageError(
                f"Pictures are chosen from {self.n} to {MOST_SAMPLES} samples in 0 to {MOST_STEPS} rounds, not from "
                f"{self.samples} in {self.steps}."
            )


@dataclass(frozen=True, eq=False)
class Pool:
    """Samples of a generator.

    Attributes:
        eps: float32 [N, D].
        labels: int64 [N].
        cond: float32 [N, A], attributes that were asked for; A = 0: the generator has none.
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
        moved: bool [m], whether it came of the search.
        cond: float32 [m, A], attributes that were asked for.
        wishes: what the shopper's taste asks of the generator beside the category.
    """

    pixels: Pixels
    labels: Ints
    scores: Floats
    features: Floats
    distance: Floats
    sample: Ints
    moved: npt.NDArray[np.bool_]
    cond: Floats
    wishes: list[Wish] = field(default_factory=list)

    def at(self, places: Ints) -> Made:
        """Returns the pictures at some places."""
        kept = {f.name: getattr(self, f.name)[places] for f in fields(self) if f.name != "wishes"}
        return replace(self, **kept)


class Maker:
    """A generator, a model of taste and the products, ready to make pictures for any shopper.

    Args:
        generator: makes pictures.
        preference: of a model that sees pictures.
        net: that sees pictures as `efflite.prepare` shows them.
        real: float32 [I, F], what the model sees of products with a picture: features of `net`, then the named numbers.
        side: pixels of the pictures that those come from, rim and all.
        channels: of them.
        margin: width of their black rim.
        categories: to make; none: all that the generator has.
        settings: how.
        named: of the same products; None: the model sees the features alone.

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
        named: Named | None = None,
    ) -> None:
        preference.sees()
        self.generator, self.preference, self.net, self.real, self.named = generator, preference, net, real, named
        self.side, self.channels, self.margin = side, channels, margin
        self.settings = settings or MakeSettings()
        self.allowed = [generator.label_of(c) for c in categories] or list(range(len(generator.categories)))
        self.centre = real[:, : net.dim].mean(0)
        self._real = torch.from_numpy(np.array(real[:, : net.dim], np.float32))
        self._products = self._seen(real)
        self.pool = self._draw()
        self.limit = float(np.quantile(self.pool.distance, self.settings.allowed))
        """Distance to the nearest real photo up to which a picture looks real enough."""

    def fit(self, pixels: Pixels) -> Pixels:
        """Returns pictures [N, H, W, C] as large as the catalogue's, and grey where those are."""
        return fit_pictures(pixels, self.side, self.channels, self.margin)

    def see(self, pixels: Pixels) -> Floats:
        """Returns what the model sees, float32 [N, F], of uint8 pictures [N, H, W, C] of the generator."""
        fitted = self.fit(pixels)
        features = compute_features(self.net, fitted)
        return features if self.named is None else np.concatenate([features, self.named.of(features, fitted)], axis=1)

    def see_tensor(self, x: Tensor) -> Tensor:
        """Returns the features of pictures [N, C, S, S] in [-1, 1] as `render` makes them, with gradients.

        Raises:
            UsageError: the model also sees what is measured on a picture, through which no gradient flows.
        """
        if self.named is not None:
            raise UsageError(f"No gradient flows to pictures from the model '{self.preference.name}'; take hybrid.")
        out: Tensor = self.net.module(self._fit(x))
        return out

    def score(self, profile: Floats, features: Floats) -> Floats:
        """Returns scores [N] of features [N, F], in standard deviations over the catalogue's pictures."""
        return self._standard(profile, self._seen(features))

    def make(self, profiles: Floats) -> list[Made]:
        """Makes pictures for each of some profiles [U, K].

        What a shopper gets does not depend on who else is there, but where the settings say `together`.
        """
        pool = self.pool.at(np.flatnonzero(self._good(self.pool)))
        owner = np.full(len(pool.labels), -1)
        possible, wishes = self._possible(profiles), [self._wishes(profile) for profile in profiles]
        for turn in range(self.settings.steps):
            made = self._searched(pool, self._finalists(profiles, pool, owner), possible, wishes, turn)
            good = np.flatnonzero((made.distance <= self.limit) & made.alike)
            pool = pool.joined(made.at(good))
            owner = np.concatenate([owner, good // self.settings.children])
        own = self._finalists(profiles, pool, owner)
        return [self._made(*one) for one in zip(profiles, (pool.at(f) for f in own), possible, wishes, strict=True)]

    def _finalists(self, profiles: Floats, pool: Pool, owner: Ints) -> list[Ints]:
        """Returns which of the pool each shopper's pictures are chosen from, the best liked first."""
        out = []
        for u, scores in enumerate(profiles @ pool.factors[:, :-1].T + pool.factors[:, -1]):
            mine = np.flatnonzero((owner < 0) | (owner == u) | self.settings.together)
            out.append(mine[np.argsort(-scores[mine], kind="stable")[:FINALISTS]])
        return out

    def _draw(self) -> Pool:
        settings, generator = self.settings, self.generator
        labels = np.array(self.allowed, np.int64)[np.arange(settings.samples) % len(self.allowed)]
        eps = generator.noise(settings.seed, 0, settings.samples).numpy()
        cond = spread_attributes(generator.conditions, settings.samples, len(self.allowed))
        return self._sampled(eps, labels, cond, np.arange(settings.samples), moved=False)

    def _sampled(self, eps: Floats, labels: Ints, cond: Floats, number: Ints, *, moved: bool) -> Pool:
        asked = cond if cond.shape[1] else None
        pixels = self.generator.pictures(torch.from_numpy(eps), labels.tolist(), cond=asked)
        features = self.see(pixels)
        distance = torch.cdist(torch.from_numpy(features[:, : self.net.dim].copy()), self._real).min(1).values.numpy()
        return Pool(
            eps, labels, cond, pixels, features, self._seen(features), np.asarray(distance, np.float32),
            self._alike(features, labels), number, np.full(len(labels), moved),
        )  # fmt: skip

    def _searched(
        self, pool: Pool, finalists: list[Ints], possible: list[Floats], wishes: list[list[Wish]], turn: int
    ) -> Pool:
        """Returns what comes of one round of search, so many pictures for each shopper after the other."""
        settings, number = self.settings, self.settings.children
        fresh = self.generator.noise(settings.seed, settings.samples + turn * number, number).numpy()
        starts = [
            pool.at(own[chosen[np.arange(number) % len(chosen)]])
            for own, tastes in zip(finalists, possible, strict=True)
            for chosen in [self._chosen(pool.at(own), tastes, PARENTS)]
        ]
        mixed = [np.sqrt(1 - settings.step**2) * s.eps + settings.step * fresh for s in starts]
        cond = [with_wishes(self.generator.conditions, s.cond, w) for s, w in zip(starts, wishes, strict=True)]
        return self._sampled(
            np.concatenate(mixed).astype(np.float32),
            np.concatenate([s.labels for s in starts]),
            np.concatenate(cond),
            np.concatenate([s.number for s in starts]),
            moved=True,
        )

    def _made(self, profile: Floats, own: Pool, possible: Floats, wishes: list[Wish]) -> Made:
        scores = self._standard(profile, own.factors)
        first = self._chosen(own, possible, self.settings.n)
        first = first[np.argsort(-scores[first], kind="stable")]
        rest = np.setdiff1d(np.arange(len(scores)), first)
        looks = unit_rows(own.features[rest, : self.net.dim], self.centre)
        spare = rest[rerank(scores[rest], looks, SPARE, self.settings.diversity)]
        chosen = np.concatenate([first, spare])
        got = own.at(chosen)
        return Made(
            got.pixels, got.labels, scores[chosen], got.features, got.distance / self.limit, got.number, got.moved,
            got.cond, wishes,
        )  # fmt: skip

    def _chosen(self, own: Pool, possible: Floats, n: int) -> Ints:
        """Returns n of a shopper's pictures: each next one adds the most to how much the best of them is liked.

        The mean is over the tastes that are thought possible. What looks like one that is chosen already stands back:
        of what it adds, its similarity times the trade-off does not count.
        """
        scores = np.stack([self._standard(taste, own.factors) for taste in possible])
        looks = unit_rows(own.features[:, : self.net.dim], self.centre)
        if len(possible) == 1:
            return rerank(scores[0], looks, n, self.settings.diversity)
        chosen = [int(scores.mean(0).argmax())]
        best, nearest = scores[:, chosen], np.zeros(scores.shape[1], np.float32)
        while len(chosen) < min(n, scores.shape[1]):
            nearest = np.maximum(nearest, looks @ looks[chosen[-1]])
            value = np.maximum(scores - best, 0).mean(0) * (1 - self.settings.diversity * nearest)
            value[chosen] = -1
            chosen.append(int(value.argmax()))
            best = np.maximum(best, scores[:, chosen[-1:]])
        return np.array(chosen, np.int64)

    def _possible(self, profiles: Floats) -> list[Floats]:
        """Returns tastes [M, K] that are thought possible for each profile; itself alone where the model is sure."""
        history = self.preference.history
        if not isinstance(history, Chooser):
            return [profile[None] for profile in profiles]
        rng = np.random.default_rng(stream_seed(self.settings.seed, "possible"))
        drawn = rng.normal(size=(POSSIBLE, profiles.shape[1])).astype(np.float32)
        roots = np.linalg.cholesky(history.spread(profiles).astype(np.float64)).astype(np.float32)
        return [profile + drawn @ root.T for profile, root in zip(profiles, roots, strict=True)]

    def _wishes(self, profile: Floats) -> list[Wish]:
        if not self.pool.cond.shape[1]:
            return []
        return wishes_of(self.generator.conditions, self._standard(profile, self.pool.factors), self.pool.cond)

    def _good(self, pool: Pool) -> npt.NDArray[np.bool_]:
        """Returns which samples look real enough; those of the wrong category only where hardly any other is left."""
        near = pool.distance <= self.limit
        alike = near & pool.alike
        return alike if alike.sum() >= min(self.settings.n + SPARE, near.sum()) else near

    def _alike(self, features: Floats, labels: Ints) -> npt.NDArray[np.bool_]:
        if self.named is None:
            return np.ones(len(labels), bool)
        asked = [self.generator.categories[y].lower() for y in labels.tolist()]
        seen = self.named.category(features[:, self.net.dim :])
        known = set(self.named.kinds)
        return np.array([a not in known or a == s for a, s in zip(asked, seen, strict=True)], bool)

    def _seen(self, features: Floats) -> Floats:
        factors, bias = self.preference.sees().embed(features)
        return np.concatenate([factors, bias[:, None]], axis=1)

    def _standard(self, profile: Floats, factors: Floats) -> Floats:
        own = self._products[:, :-1] @ profile + self._products[:, -1]
        seen = factors[:, :-1] @ profile + factors[:, -1]
        out: Floats = (seen - own.mean()) / max(float(own.std()), 1e-9)
        return out

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
