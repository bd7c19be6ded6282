"""From a photo back to the noise that makes it, and from there to pictures like it.

A generator has no inverse, so the noise is found by descent: the picture it makes is compared with the photo pixel by
pixel and, so that the descent also feels what is a few pixels off, at halved sizes; a pull to the prior keeps it where
the generator has learned to draw (Zhu et al. 2016, arXiv:1609.03552, with a pyramid instead of a feature net). The
descent runs in eps, where the prior is N(0, I) for every model.

Letters: N pictures, C channels, H height, W width, D = z_dim, eps noise ~ N(0, I).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from packshot.core.errors import PackshotError
from packshot.sampling.generator import BATCH, TrainedGenerator

CANDIDATES = 256
STARTS = 4
STEPS = 300
STEPS_FROM_CODE = 100
"""Of a network with `misfit`, whose code is near already; 200 more gain half a grey level for four times the cost."""
LEARNING_RATE = 0.05
PULL = 0.002
SMALLEST = 4


@dataclass(frozen=True, eq=False)
class Inversion:
    """The noise that comes nearest to a photo.

    Attributes:
        eps: float32 [D].
        label: the category under which it does.
    """

    eps: Tensor
    label: int


def invert(generator: TrainedGenerator, x: Tensor, labels: Sequence[int], seed: int) -> Inversion:
    """Finds the noise and category whose picture is nearest to a photo.

    The start is the encoder's code where the model has an encoder, else the best of 256 samples of a category. Of all
    categories the four that start best go on; of a single one the four best samples. A network with `misfit` tells by
    itself which category a code is of: it can rebuild a photo under any, so that pixels would not tell.

    Args:
        generator: trained.
        x: the photo, [1, C, H, W] in [-1, 1], as in training (with margin).
        labels: categories to try.
        seed: of the samples to start from.

    Raises:
        PackshotError: the model's pictures do not depend on its noise smoothly, so there is nothing to descend on.
    """
    device = next(generator.network.parameters()).device
    x = x.to(device)
    if not generator.is_smooth:
        raise PackshotError(f"Model '{generator.model}' cannot start from a photo: it draws codes, not numbers.")
    steps = STEPS_FROM_CODE if hasattr(generator.network, "misfit") else STEPS
    with torch.enable_grad():
        eps, label = _starts(generator, x, labels, seed)
        eps = eps.clone().requires_grad_(True)
        optimizer = torch.optim.Adam([eps], LEARNING_RATE)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 + math.cos(math.pi * step / steps)) / 2
            loss = match_loss(generator.render(eps, label), x) + PULL * eps.square().mean(1)
            optimizer.zero_grad()
            # A sum: each start descends by itself.
            loss.sum().backward()
            optimizer.step()
    eps = eps.detach()
    best = int(_losses(generator, x, eps, label).argmin())
    return Inversion(eps[best].cpu(), int(label[best]))


def match_loss(pictures: Tensor, x: Tensor) -> Tensor:
    """Returns the mean square difference of pictures [N, C, H, W] to x [1, C, H, W], averaged over sizes, [N].

    Sizes are the picture's own, half of it, and so on down to 4 pixels.
    """
    terms = []
    difference = pictures - x
    while True:
        terms.append(difference.square().flatten(1).mean(1))
        if min(difference.shape[2:]) < 2 * SMALLEST:
            return torch.stack(terms).mean(0)
        difference = F.avg_pool2d(difference, 2)


@torch.no_grad()
def _losses(generator: TrainedGenerator, x: Tensor, eps: Tensor, label: Tensor) -> Tensor:
    parts = zip(eps.split(BATCH), label.split(BATCH), strict=True)
    pictures = torch.cat([match_loss(generator.render(e, y), x) for e, y in parts])
    return pictures + PULL * eps.square().mean(1)


@torch.no_grad()
def _starts(generator: TrainedGenerator, x: Tensor, labels: Sequence[int], seed: int) -> tuple[Tensor, Tensor]:
    """Returns at most STARTS pairs of eps [n, D] and label [n]; of different categories where there are several."""
    tried = torch.tensor(labels, device=x.device)
    encode = getattr(generator.network, "encode", None)
    if encode is not None:
        code, _ = encode(x.expand(len(tried), -1, -1, -1), tried)
        misfit = getattr(generator.network, "misfit", None)
        if misfit is not None:
            best = misfit(code, tried).argmin()[None]
            code, tried = code[best], tried[best]
        eps = getattr(generator.network, "find_z", generator.whiten)(code, tried)
        loss = _losses(generator, x, eps, tried)
    else:
        noise = generator.noise(seed, 0, CANDIDATES).to(x.device)
        by_label = torch.stack([_losses(generator, x, noise, y.expand(CANDIDATES)) for y in tried])
        if len(tried) == 1:
            best = by_label[0].topk(STARTS, largest=False).indices
            return noise[best], tried.expand(STARTS)
        loss, best = by_label.min(1)
        eps = noise[best]
    first = loss.topk(min(STARTS, len(tried)), largest=False).indices
    return eps[first], tried[first]
