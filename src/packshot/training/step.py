"""What the loop and the families agree on: a batch goes in, named loss terms come out."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from packshot.training.objectives import AdamSettings


@dataclass(frozen=True)
class Batch:
    """One step's input on one rank.

    Attributes:
        images: float32 [n, C, H, W] in [-1, 1].
        labels: int64 [n].
        step: number of the step, from 0.
        noise: `noise(name, dim)` returns float32 [n, dim] ~ N(0, I), the same for the same seed and step.
        cond: what else is known of each picture, as the family has it (`training.conditions`); None: nothing.
    """

    images: Tensor
    labels: Tensor
    step: int
    noise: Callable[[str, int], Tensor]
    cond: Tensor | None = None


class Step(Protocol):
    """A family's networks and optimisers, and how one batch changes them.

    Attributes:
        networks: all that a checkpoint has to keep, by role: those of the model's table entry, and modules of the
            step's own whose state changes while it trains (as buffers).
        optimizers: by role.
    """

    networks: dict[str, nn.Module]
    optimizers: dict[str, Optimizer]

    def __call__(self, batch: Batch, fabric: Fabric) -> dict[str, Tensor]:
        """Trains on one batch and returns detached scalar loss terms by name."""
        ...


def adam(weights: Iterable[nn.Parameter], lr: float, settings: AdamSettings) -> Optimizer:
    """Returns the optimiser that every family uses."""
    return torch.optim.Adam(weights, lr, settings.betas, fused=True)


def update(optimizer: Optimizer, loss: Tensor, fabric: Fabric) -> None:
    """One optimiser step down `loss`; several ranks use the mean of their gradients."""
    optimizer.zero_grad()
    fabric.backward(loss)
    if fabric.world_size > 1:
        gradients = [p.grad for g in optimizer.param_groups for p in g["params"] if p.grad is not None]
        flat = fabric.all_reduce(torch.cat([g.flatten() for g in gradients]), reduce_op="mean")
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))
    optimizer.step()


def report(terms: dict[str, Tensor], batch: Batch, fake: Tensor) -> dict[str, Tensor]:
    """Returns what a step returns: its terms and how much its pictures vary within categories, detached.

    Args:
        terms: scalars by name.
        batch: the step's input.
        fake: the pictures [n, C, H, W] that it made of the batch's categories.
    """
    spread = {
        "within_fake": within_category_variance(fake, batch.labels),
        "within_real": within_category_variance(batch.images, batch.labels),
    }
    return {name: term.detach() for name, term in (terms | spread).items()}


def within_category_variance(x: Tensor, label: Tensor) -> Tensor:
    """Returns the mean square of pictures [N, C, H, W] around their category's mean in the batch, a scalar."""
    flat = x.detach().flatten(1)
    same = (label[:, None] == label[None, :]).to(flat.dtype)
    return (flat - same @ flat / same.sum(1, keepdim=True)).square().mean()
