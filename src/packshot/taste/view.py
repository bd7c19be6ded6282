"""What models of taste see of a picture: features of a frozen network, and a thumbnail that keeps its light and colour.

Letters: N pictures.
"""

from __future__ import annotations

import functools
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from packshot.models.features.efflite import FEATURES, load_efflite0
from packshot.models.features.net import FeatureNet

THUMBNAIL = 8
WEIGHT = 3.0
"""Of the thumbnail. Without one, whoever likes dark boots gets boots, bright ones nearly as soon as dark ones."""
DIM = FEATURES + 3 * THUMBNAIL**2


@functools.cache
def load_view() -> FeatureNet:
    """Returns EfficientNet-lite0 with a thumbnail of its input beside its features; once in a process.

    It is shown pictures as EfficientNet-lite0 is, so what prepares them for the one, with gradients too, does for both.

    Raises:
        PackshotError: see `load_efflite0`.
    """
    net = load_efflite0()
    return replace(
        net,
        name=f"{net.name}-thumbnail",
        dim=DIM,
        protocol=f"{net.protocol}+thumbnail{THUMBNAIL}x{WEIGHT:g}",
        module=View(net.module).eval().requires_grad_(False),
    )


class View(nn.Module):
    """Features [N, 1280] of the body, then the mean colours of an 8x8 grid, in [-3, 3].

    Args:
        body: input [N, 3, 64, 64] in [-1, 1] to features.
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """Returns [N, 1472] of [N, 3, 64, 64]."""
        # First the thumbnail: a layer of the body may write over its input.
        thumbnail = F.adaptive_avg_pool2d(x, THUMBNAIL).flatten(1)
        return torch.cat([self.body(x), WEIGHT * thumbnail], dim=1)
