"""Latent directions: which ways of changing the noise change the picture most, and what each of them changes.

Everything is found in white coordinates u, in which samples of a category are N(0, I) around its mean: z = mean + L u.
A direction is a unit vector u; one step along it, L u in z, is one standard deviation of the samples. For a prior that
is N(0, I), L is the unit matrix.

Letters: N pictures, D = z_dim, F features, A attributes, K directions, T steps of a walk.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from packshot.core.errors import PackshotError
from packshot.core.random import stream_seed
from packshot.sampling.generator import BATCH, TrainedGenerator

SAME = 0.9
FLIPS = 4000
CHANCE = 0.05
LEAST_EFFECT = 0.1


@dataclass(frozen=True, eq=False)
class Direction:
    """One direction.

    Attributes:
        method: "factor", "pca" or "codes".
        number: from 1, the strongest first.
        step: float32 [D], the change of z for one standard deviation.
    """

    method: str
    number: int
    step: Tensor


@torch.no_grad()
def find_directions(generator: TrainedGenerator, *, count: int, n: int, seed: int) -> list[Direction]:
    """Returns at most `count` directions of each method; one nearly parallel to an earlier one is left out.

    "factor" is the closed form of Shen & Zhou 2021 (SeFa, arXiv:2007.06600): right singular vectors of the first weight
    that acts on z. "pca" is Harkonen et al. 2020 (GANSpace, arXiv:2004.02546): principal components of the features
    behind that layer's nonlinearity, of `n` samples, and for each the direction of z that regression on it gives. With
    a fitted prior "codes" takes the place of "pca": the principal components of the codes.

    Args:
        generator: trained.
        count: of each method.
        n: samples.
        seed: of the samples.
    """
    half = _scale(generator)
    found = {"factor": _factor(generator, half, seed)}
    if generator.prior is None:
        found["pca"] = _feature_components(generator, n, seed)
    else:
        found["codes"] = _code_components(half)
    kept: list[Tensor] = []
    directions = []
    for method, rows in found.items():
        number = 0
        for u in rows:
            if number == count:
                break
            if all(abs(float(u @ other)) < SAME for other in kept):
                kept.append(u)
                number += 1
                directions.append(Direction(method, number, half @ u))
    return directions


def _scale(generator: TrainedGenerator) -> Tensor:
    """Returns L [D, D], lower triangular; L L^T is the covariance of z within categories."""
    if generator.prior is None:
        return torch.eye(generator.network.z_dim)
    scale = generator.prior.scale.double().cpu()
    return torch.linalg.cholesky((scale @ scale.mT).mean(0)).float()


def _factor(generator: TrainedGenerator, half: Tensor, seed: int) -> Tensor:
    """Returns unit vectors u [K, D], those that move the first layer most first.

    The layer's weight on u is read off its output at unit steps along each coordinate. That is exact where the layer
    acts on z itself, and a difference around one sample where something comes before it.
    """
    eps = generator.noise(seed, 0, 1)
    label = torch.zeros(1, dtype=torch.int64)
    z = eps if generator.prior is None else generator.prior(eps, label)
    layer = _layers_of_z(generator, seed)[0]
    points = torch.cat([z, z + half.T])
    rows = _layer_rows(generator, layer, points, label.expand(len(points)))
    change = (rows[1:] - rows[:1]).double()
    # Coordinates that the layer does not see, as the noise maps of StyleGAN2, are in no direction.
    seen = change.abs().amax(1) > 0
    values, vectors = torch.linalg.eigh(change[seen] @ change[seen].T)
    strong = vectors.flip(1).T[values.flip(0) > 1e-9 * values[-1]].float()
    directions = torch.zeros(len(strong), len(half))
    directions[:, seen] = strong
    return directions


def _feature_components(generator: TrainedGenerator, n: int, seed: int) -> Tensor:
    """Returns unit vectors u [K, D]: the regression of the samples' noise on principal components of features.

    The features are the second layer's, less their category's mean: what the first layer gives is linear in z, so that
    its components are those of "factor".
    """
    eps = generator.noise(seed, 0, n)
    label = torch.arange(n) % len(generator.categories)
    layer = _layers_of_z(generator, seed)[-1]
    features = _layer_rows(generator, layer, eps, label).double()
    for y in label.unique():
        features[label == y] -= features[label == y].mean(0)
    # A Gram matrix: there are more features than samples.
    values, vectors = torch.linalg.eigh(features @ features.T)
    components = vectors.flip(1).T[values.flip(0) > 1e-6 * values[-1]]
    return torch.nn.functional.normalize(components[: eps.shape[1]].float() @ eps, dim=1)


def _code_components(half: Tensor) -> Tensor:
    """Returns unit vectors u [D, D]: L u are the principal components of the codes, the longest first."""
    half = half.double()
    values, vectors = torch.linalg.eigh(half @ half.T)
    steps = (vectors * values.sqrt()).flip(1)
    return torch.linalg.solve_triangular(half, steps, upper=False).T.float()


def _layers_of_z(generator: TrainedGenerator, seed: int) -> list[nn.Module]:
    """Returns the first two weighted layers, in the order of their use, whose output depends on z (one if only one).

    Of a network with `layer_of_codes` that one: in a flow's own layers z has only begun to become a code.
    """
    own = getattr(generator.network, "layer_of_codes", None)
    if own is not None:
        return [own]
    eps = generator.noise(seed, 0, 2)
    label = torch.zeros(2, dtype=torch.int64)
    outputs: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, _: object, output: Tensor) -> None:
        outputs.setdefault(module, output)

    weighted = [
        m
        for m in generator.network.modules()
        if isinstance(getattr(m, "weight", None), Tensor) and m.weight.dim() > 1 and not isinstance(m, nn.Embedding)
    ]
    with _hooks(weighted, keep):
        generator.pictures(eps, label)
    depends = [m for m, y in outputs.items() if len(y) == 2 and not torch.equal(y[0], y[1])]
    if not depends:
        raise PackshotError(f"Model '{generator.model}' has no layer that depends on its noise, so no directions.")
    return depends[:2]


def _layer_rows(generator: TrainedGenerator, layer: nn.Module, z: Tensor, label: Tensor) -> Tensor:
    """Returns what a layer gives, at its first use for each picture: float32 [N, F]."""
    rows: list[Tensor] = []
    first: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: Tensor) -> None:
        if not first:
            first.append(output.flatten(1).cpu())

    with _hooks([layer], keep):
        for part, y in zip(z.split(BATCH), label.split(BATCH), strict=True):
            first.clear()
            generator.pictures_at(part, y)
            rows.append(first[0])
    return torch.cat(rows)


@contextmanager
def _hooks(modules: Sequence[nn.Module], keep: Callable[[nn.Module, Any, Tensor], None]) -> Iterator[None]:
    handles = [m.register_forward_hook(keep) for m in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def walk(
    generator: TrainedGenerator, direction: Direction, z: Tensor, labels: Tensor, at: Sequence[float]
) -> np.ndarray:
    """Returns uint8 pictures [N, T, H, W, C] at `at` standard deviations from z [N, D] along a direction."""
    steps = torch.tensor(at, dtype=torch.float32)
    points = z[:, None] + steps[None, :, None] * direction.step
    images = generator.pictures_at(points.flatten(0, 1), labels.repeat_interleave(len(steps)))
    return images.reshape(len(z), len(steps), *images.shape[1:])


@dataclass(frozen=True, eq=False)
class Effect:
    """What a direction does to the attributes.

    Attributes:
        effect: float64 [A], mean change, in the attribute's standard deviations, for one standard deviation of z.
        clear: bool [A], whether it is more than chance and at least LEAST_EFFECT.
        chance: float64 [A], the effect that is just beyond chance.
    """

    effect: np.ndarray
    clear: np.ndarray
    chance: np.ndarray


def measure_effect(
    values: np.ndarray, spread: np.ndarray, at: Sequence[float], *, tests: int, name: str, seed: int
) -> Effect:
    """Measures a direction by the slope of each attribute along the walks.

    Chance: the walks' slopes with random signs (a permutation test: where a direction does nothing consistent, either
    sign is as likely). An attribute is clear where its mean slope, over its standard error, is beyond what any of the
    attributes reaches by random signs in CHANCE / tests of the trials (Westfall & Young 1993).

    Args:
        values: attributes float64 [N, T, A] of walks.
        spread: float64 [A], standard deviation of each attribute over free samples; 0: it never changes.
        at: T places of the steps.
        tests: how many directions are looked at.
        name: of the direction, for the stream of random signs.
        seed: of the signs.
    """
    places = np.asarray(at, np.float64)
    places = places - places.mean()
    slopes = np.einsum("nta,t->na", values, places) / np.square(places).sum()
    slopes = slopes / np.where(spread > 1e-9, spread, np.inf)
    # The root mean square, which the signs do not change, so that each attribute counts alike.
    error = np.sqrt(np.square(slopes).mean(0) / len(slopes)) + 1e-12
    rng = np.random.default_rng(stream_seed(seed, f"effect {name}"))
    signs = rng.choice([-1.0, 1.0], (FLIPS, len(slopes)))
    largest = np.abs(signs @ slopes / len(slopes) / error).max(1)
    limit = np.quantile(largest, 1 - CHANCE / tests)
    effect = slopes.mean(0)
    clear = (np.abs(effect) / error > limit) & (np.abs(effect) >= LEAST_EFFECT)
    return Effect(effect, clear, limit * error)
