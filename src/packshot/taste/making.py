"""Pictures made for one taste: the best of many samples, then a search near the best for what is liked more.

Every generator can be sampled, so that comes first: one pool of samples serves all shoppers. Of those that look real
enough, and like the category that they were asked for, each shopper gets the ones that are liked most; where the model
of taste says how unsure it is, those of which one is likeliest to be as good as the best that there is, since it is not
known which that will be. Then the search: the noise of the best is mixed with that of others of the best, or with new
noise,

    eps' = sqrt(1 - step^2) eps + step * other noise, asked for what the shopper likes,

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
from scipy.sparse import csr_matrix
from torch import Tensor

from packshot.core.errors import UsageError
from packshot.core.random import stream_seed
from packshot.models.features.efflite import BLACK, INPUT_SIZE
from packshot.models.features.net import FeatureNet
from packshot.sampling.generator import TrainedGenerator
from packshot.taste.asking import Texts, Wish, wishes_of, with_wishes
from packshot.taste.fairness import rerank, unit_rows
from packshot.taste.history import Chooser
from packshot.taste.named import Named
from packshot.taste.pool import Pool, PoolCache, Sampler
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
SOFT, LARGEST = 0.1, 30.0
"""Standard deviations over the catalogue by which a picture may miss its aim, about; and a limit of exponents."""
LIKED = 1e-4
"""Weight of how much a picture is liked, where no picture is likelier than another to be as good as can be."""
TWIN = 0.9
"""Similarity (cosine in features) from which two pictures are all but the same."""
FRESH = 3
"""Every which child of a search has new noise in it; the others have two parents, where there are two of a category."""
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
    samples: int = 2048
    steps: int = 6
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
        texts: that the products have; None: the generator takes none.
        cache: where the samples are kept; None: they are drawn anew.

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
        texts: Texts | None = None,
        cache: PoolCache | None = None,
    ) -> None:
        preference.sees()
        self.generator, self.preference, self.net, self.real, self.named = generator, preference, net, real, named
        self.settings, self.texts = settings or MakeSettings(), texts
        self.allowed = [generator.label_of(c) for c in categories] or list(range(len(generator.categories)))
        self.centre = real[:, : net.dim].mean(0)
        self.sampler = Sampler(
            generator, preference, net, real, named, side=side, channels=channels, margin=margin
        )  # fmt: skip
        self._products = self.sampler.factors(real)
        self.pool = self.sampler.draw(self.allowed, self.settings.samples, self.settings.seed, cache)
        self.limit = float(np.quantile(self.pool.distance, self.settings.allowed))
        """Distance to the nearest real photo up to which a picture looks real enough."""

    def fit(self, pixels: Pixels) -> Pixels:
        """Returns pictures [N, H, W, C] as large as the catalogue's, and grey where those are."""
        return self.sampler.fit(pixels)

    def see(self, pixels: Pixels) -> Floats:
        """Returns what the model sees, float32 [N, F], of uint8 pictures [N, H, W, C] of the generator."""
        return self.sampler.see(pixels)

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
        return self._standard(profile, self.sampler.factors(features))

    def make(self, profiles: Floats, possible: Sequence[Floats] | None = None) -> list[Made]:
        """Makes pictures for each of some profiles [U, K].

        What a shopper gets does not depend on who else is there, but where the settings say `together`.

        Args:
            profiles: the expected tastes.
            possible: for each of them the tastes [M, K] that are thought possible, see `possible`; None: they are sure.
        """
        possible = [profile[None] for profile in profiles] if possible is None else possible
        pool = self.pool.at(np.flatnonzero(self._good(self.pool)))
        owner = np.full(len(pool.labels), -1)
        wishes = [self._wishes(profile) for profile in profiles]
        for turn in range(self.settings.steps):
            made = self._searched(pool, self._finalists(profiles, pool, owner), possible, wishes, turn)
            good = np.flatnonzero((made.distance <= self.limit) & made.alike)
            pool = pool.joined(made.at(good))
            owner = np.concatenate([owner, good // self.settings.children])
        own = self._finalists(profiles, pool, owner)
        return [self._made(*one) for one in zip(profiles, (pool.at(f) for f in own), possible, wishes, strict=True)]

    def possible(self, histories: csr_matrix) -> list[Floats]:
        """Returns for each of histories, signed weights [U, I], tastes [M, K] that it leaves possible.

        M is 1, the expected one, where the model does not say how unsure it is.
        """
        history = self.preference.history
        if not isinstance(history, Chooser):
            return [profile[None] for profile in self.preference.fold_in(histories)]
        found = history.possible(histories)
        seed = stream_seed(self.settings.seed, "possible")
        return [found.draw(u, POSSIBLE, np.random.default_rng(seed)) for u in range(histories.shape[0])]

    def _finalists(self, profiles: Floats, pool: Pool, owner: Ints) -> list[Ints]:
        """Returns which of the pool each shopper's pictures are chosen from, the best liked first."""
        out = []
        for u, scores in enumerate(profiles @ pool.factors[:, :-1].T + pool.factors[:, -1]):
            mine = np.flatnonzero((owner < 0) | (owner == u) | self.settings.together)
            out.append(mine[np.argsort(-scores[mine], kind="stable")[:FINALISTS]])
        return out

    def _searched(
        self, pool: Pool, finalists: list[Ints], possible: Sequence[Floats], wishes: list[list[Wish]], turn: int
    ) -> Pool:
        """Returns what comes of one round of search, so many pictures for each shopper after the other."""
        settings, number = self.settings, self.settings.children
        fresh = self.generator.noise(settings.seed, settings.samples + turn * number, number).numpy()
        starts, mixed = [], []
        for own, tastes in zip(finalists, possible, strict=True):
            best = pool.at(own[self._chosen(pool.at(own), tastes, PARENTS)])
            starts.append(best.at(np.arange(number) % len(best.labels)))
            mixed.append(_mixed(best, starts[-1], fresh, settings.step))
        cond = [
            with_wishes(self.generator.conditions, s.cond, w, self._kinds(s.labels), self.texts)
            for s, w in zip(starts, wishes, strict=True)
        ]
        return self.sampler.sampled(
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
        kinds = set(self._kinds(got.labels[: len(first)]))
        heard = [w for w in wishes if w.category is None or w.category in kinds]
        return Made(
            got.pixels, got.labels, scores[chosen], got.features, got.distance / self.limit, got.number, got.moved,
            got.cond, heard,
        )  # fmt: skip

    def _chosen(self, own: Pool, possible: Floats, n: int) -> Ints:
        """Returns n of a shopper's pictures: each next one makes it likelier that one of them is as good as can be.

        As can be: as the best product, or as the best of these pictures where that is less. The mean is over the tastes
        that are thought possible. What looks like one that is chosen already stands back: of what it adds, its
        similarity times the trade-off does not count, and of what is all but the same picture hardly anything does.
        """
        scores = np.stack([self._standard(taste, own.factors) for taste in possible])
        looks = unit_rows(own.features[:, : self.net.dim], self.centre)
        if len(possible) == 1:
            return rerank(scores[0], looks, n, self.settings.diversity)
        products = np.stack([self._standard(taste, self._products).max() for taste in possible])
        aim = np.minimum(products, scores.max(1))[:, None]
        reached = 1 / (1 + np.exp(-np.clip((scores - aim) / SOFT, -LARGEST, LARGEST)))
        missed, nearest = np.ones((len(possible), 1), np.float32), np.zeros(scores.shape[1], np.float32)
        chosen: list[int] = []
        while len(chosen) < min(n, scores.shape[1]):
            kept = np.where(nearest < TWIN, 1 - self.settings.diversity * nearest, LIKED)
            value = (missed * reached).mean(0) * kept + LIKED * np.maximum(scores.mean(0), 0) * kept
            value[chosen] = -np.inf
            chosen.append(int(value.argmax()))
            missed = missed * (1 - reached[:, chosen[-1:]])
            nearest = np.maximum(nearest, looks @ looks[chosen[-1]])
        return np.array(chosen, np.int64)

    def _wishes(self, profile: Floats) -> list[Wish]:
        if not self.pool.cond.shape[1]:
            return []
        found = wishes_of(self.generator.conditions, self._standard(profile, self.pool.factors), self.pool.cond)
        return found + (self.texts.liked(self._standard(profile, self._products)) if self.texts else [])

    def _good(self, pool: Pool) -> npt.NDArray[np.bool_]:
        """Returns which samples look real enough; those of the wrong category only where hardly any other is left."""
        near = pool.distance <= self.limit
        alike = near & pool.alike
        return alike if alike.sum() >= min(self.settings.n + SPARE, near.sum()) else near

    def _kinds(self, labels: Ints) -> list[str]:
        return [self.generator.categories[y].lower() for y in labels.tolist()]

    def _standard(self, profile: Floats, factors: Floats) -> Floats:
        own = self._products[:, :-1] @ profile + self._products[:, -1]
        seen = factors[:, :-1] @ profile + factors[:, -1]
        out: Floats = (seen - own.mean()) / max(float(own.std()), 1e-9)
        return out

    def _fit(self, x: Tensor) -> Tensor:
        """Returns pictures [N, C, S, S] in [-1, 1] as `fit` and then `efflite.prepare` do, with gradients."""
        margin, side = self.generator.margin, self.sampler.side - 2 * self.sampler.margin
        x = x[:, :, margin : x.shape[2] - margin, margin : x.shape[3] - margin]
        if x.shape[-1] != side:
            x = nnf.interpolate(x, size=side, mode="bilinear", antialias=True)
        if self.sampler.channels == 1 and x.shape[1] == 3:
            x = (x * x.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
        rim = self.sampler.margin + 2 * (self.sampler.side == 28)  # As `efflite.prepare` surrounds those.
        x = nnf.pad(x, [rim] * 4, value=BLACK)
        x = nnf.interpolate(x, size=INPUT_SIZE, mode="bilinear", antialias=True)
        return x.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def _mixed(best: Pool, starts: Pool, fresh: Floats, step: float) -> Floats:
    """Returns noise [n, D] for children of starts [n]: mixed with that of another parent of the category, or with new.

    Its length is that of a mixture of independent noise, also where two parents are alike.
    """
    others = fresh.copy()
    for i, label in enumerate(starts.labels.tolist()):
        own = i % len(best.labels)
        partners = np.flatnonzero((best.labels == label) & (np.arange(len(best.labels)) != own))
        if len(partners) and i % FRESH:
            others[i] = best.eps[partners[i // len(best.labels) % len(partners)]]
    out = np.sqrt(1 - step**2) * starts.eps + step * others
    length = np.sqrt((1 - step**2) * np.square(starts.eps).sum(1) + step**2 * np.square(others).sum(1))
    scaled: Floats = (out * (length / np.maximum(np.linalg.norm(out, axis=1), 1e-9))[:, None]).astype(np.float32)
    return scaled
