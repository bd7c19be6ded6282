"""An existing product, changed as little as possible so that a group of shoppers likes it more.

From the noise that comes nearest to the product's photo (`sampling.inversion`), gradient ascent on

    score / spread - hold * |eps - eps_0|^2 / D

goes on until the group likes the picture more by what is asked. The way from the last that was not liked so much to the
first that is gets halved some times: of what is liked enough, the nearest to the product is the answer.

Letters: D = z_dim, K numbers of a profile, eps_0 noise that makes the photo.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from packshot.core.errors import UsageError
from packshot.taste.making import Floats, Maker, Pixels

MOST_STEPS = 60
EVERY = 3
"""Steps after which the picture itself is looked at."""
HALVED = 5
"""Times that the way between too little and enough is halved."""


@dataclass(frozen=True, kw_only=True)
class RedesignSettings:
    """How far to go.

    Attributes:
        gain: standard deviations over the catalogue by which the group shall like it more.
        hold: weight of staying where the product is.
        rate: learning rate of Adam.
    """

    gain: float = 0.5
    hold: float = 0.1
    rate: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.gain <= 5:
            raise UsageError(f"--gain is {self.gain}; it can be above 0, up to 5 standard deviations.")


@dataclass(frozen=True, eq=False)
class Redesign:
    """What became of a product.

    Attributes:
        before: uint8 [H, W, C], the generator's nearest picture to the photo.
        after: uint8 [H, W, C], the changed one; the best found where `reached` is false.
        scores: of before and after, in standard deviations over the catalogue.
        change: root mean square of the difference of the two in grey levels, 0 to 255.
        reached: whether the group likes it more by what was asked.
        steps: that it took.
        features: float32 [2, F] of before and after.
    """

    before: Pixels
    after: Pixels
    scores: tuple[float, float]
    change: float
    reached: bool
    steps: int
    features: Floats


def redesign(
    maker: Maker, eps: Tensor, label: int, profile: Floats, settings: RedesignSettings | None = None
) -> Redesign:
    """Changes a product for a group.

    Args:
        maker: with the generator, the model of taste and the products.
        eps: float32 [D], the noise that makes the product.
        label: its category.
        profile: float32 [K], the mean of the group's: scores are linear in it, so it gives the group's mean score.
        settings: how far.
    """
    settings = settings or RedesignSettings()
    start, labels = eps[None].detach().clone(), torch.tensor([label])
    own = maker.preference.score_features(profile, maker.real)
    spread, who = max(float(own.std()), 1e-9), torch.from_numpy(np.ascontiguousarray(profile))
    before = _Look.at(maker, profile, start, label)
    wanted = before.score + settings.gain
    best, short, step = before, start, 0
    with torch.enable_grad():
        now = start.clone().requires_grad_(True)
        optimizer = torch.optim.Adam([now], settings.rate)
        for step in range(1, MOST_STEPS + 1):
            liked = maker.preference.score_tensor(who, maker.see_tensor(maker.generator.render(now, labels))) / spread
            held = settings.hold * (now - start).square().mean()
            optimizer.zero_grad()
            (held - liked.sum()).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if step % EVERY:
                continue
            look = _Look.at(maker, profile, now.detach(), label)
            if look.score > best.score:
                best = look
            if best.score >= wanted:
                best = _nearest(maker, profile, label, short, now.detach(), best, wanted)
                break
            short = now.detach().clone()
    difference = best.picture.astype(np.float64) - before.picture
    return Redesign(
        before.picture,
        best.picture,
        (before.score, best.score),
        round(float(np.sqrt(np.square(difference).mean())), 2),
        best.score >= wanted,
        step,
        np.stack([before.features, best.features]),
    )


@dataclass(frozen=True, eq=False)
class _Look:
    """A picture uint8 [H, W, C], its features float32 [F], and its score in standard deviations over the catalogue."""

    picture: Pixels
    features: Floats
    score: float

    @staticmethod
    def at(maker: Maker, profile: Floats, eps: Tensor, label: int) -> _Look:
        """Looks at the picture of noise float32 [1, D]."""
        picture = maker.generator.pictures(eps, [label])
        seen = maker.see(picture)
        return _Look(picture[0], seen[0], float(maker.score(profile, seen)[0]))


def _nearest(
    maker: Maker, profile: Floats, label: int, short: Tensor, enough: Tensor, found: _Look, wanted: float
) -> _Look:
    """Returns the picture nearest to `short`, on the way from there to `enough`, that is liked as much as is wanted."""
    for _ in range(HALVED):
        middle = (short + enough) / 2
        look = _Look.at(maker, profile, middle, label)
        if look.score >= wanted:
            enough, found = middle, look
        else:
            short = middle
    return found


def group_profile(profiles: Floats, rows: npt.NDArray[np.int64]) -> Floats:
    """Returns the mean profile [K] of some shoppers."""
    out: Floats = profiles[rows].mean(0)
    return out
