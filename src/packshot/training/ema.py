"""Exponential moving average of the weights: the network that makes pictures."""

import copy

import torch
from torch import nn


def ema_decay(batch_size: int, images: int, halflife_kimg: float, rampup: float) -> float:
    """Returns the weight of the old average for one step.

    The half-life is `halflife_kimg`, but never longer than the share `rampup` of the pictures seen so far (Karras et
    al. 2020, the StyleGAN2-ADA trainer), so that a short run is not averaged with its own beginning.
    """
    halflife = min(halflife_kimg * 1000, images * rampup)
    return 0.5 ** (batch_size / max(halflife, 1e-8))


def make_ema(network: nn.Module) -> nn.Module:
    """Returns a frozen copy in evaluation mode."""
    return copy.deepcopy(network).requires_grad_(False).eval()


@torch.no_grad()
def update_ema(ema: nn.Module, network: nn.Module, decay: float) -> None:
    """ema = decay * ema + (1 - decay) * network; buffers (batch norm's running figures) are averaged likewise."""
    own, new = dict(ema.state_dict()), network.state_dict()
    floats = [name for name in own if own[name].is_floating_point()]
    torch._foreach_lerp_([own[n] for n in floats], [new[n] for n in floats], 1 - decay)
    for name in own.keys() - set(floats):
        own[name].copy_(new[name])
