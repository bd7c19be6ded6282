"""`r3gan`: a residual network without any normalisation, conditional on category.

Huang et al., "The GAN is dead; long live the GAN! A Modern GAN Baseline" (2024), arXiv:2501.05441, config E: both
networks are mirror images of inverted bottlenecks (1x1 widens, 3x3 in groups, 1x1 narrows) with leaky ReLU, bilinear
resampling and a learned 4x4 basis at the small end. Weights begin as in Fix-up (Zhang et al. 2019): every block's last
layer at 0, the others smaller the more blocks there are, so that a deep net starts as a shallow one. It is stable with
the relativistic pairing loss with R1 and R2, which its preset sets. Ours: far narrower, one width growing towards 4x4,
and tanh at the end, as pictures lie in [-1, 1].

Letters: N pictures, C channels, H height, W width, F features, z prior sample, L blocks of a network.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from packshot.models.spec import PictureSpec

SLOPE = 0.2
# He et al. 2015: the gain that keeps the variance through a leaky ReLU.
GAIN = math.sqrt(2 / (1 + SLOPE**2))


@dataclass(frozen=True, kw_only=True)
class R3GANConfig:
    """Sizes of the network; the paper's own at 32 px are z_dim 64, 768 channels, 2 blocks, expansion 2, 96 groups.

    Attributes:
        z_dim: length of the prior sample z.
        g_width: generator's channels at the picture's size; they double at every halving, to at most 8 times.
        d_width: discriminator's channels at the picture's size; they grow likewise.
        blocks: residual blocks at each size.
        expansion: how many times wider a block is inside.
        group: channels in each group of the 3x3 convolution.
        label_dim: length of the category's embedding.
    """

    z_dim: int = 64
    g_width: int = 8
    d_width: int = 8
    blocks: int = 1
    expansion: int = 2
    group: int = 16
    label_dim: int = 32

    def __post_init__(self) -> None:
        if min(self.z_dim, self.g_width, self.d_width, self.blocks, self.expansion, self.group, self.label_dim) < 1:
            raise ValueError("every size of the network has to be at least 1")
        if (self.g_width * self.expansion) % self.group or (self.d_width * self.expansion) % self.group:
            raise ValueError("net.group has to divide g_width and d_width times expansion")


class Block(nn.Module):
    """x [N, c, h, w] to x + branch(x); the branch begins at 0."""

    def __init__(self, width: int, config: R3GANConfig, total: int) -> None:
        super().__init__()
        wide = width * config.expansion
        self.widen = nn.Conv2d(width, wide, 1)
        self.spread = nn.Conv2d(wide, wide, 3, padding=1, groups=wide // config.group)
        self.narrow = nn.Conv2d(wide, width, 1, bias=False)
        # Fix-up, for three layers in a branch: L^(-1 / (2 * 3 - 2)).
        _he_init(self.widen, GAIN * total**-0.25)
        _he_init(self.spread, GAIN * total**-0.25)
        nn.init.zeros_(self.narrow.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Returns [N, c, h, w]."""
        h = self.spread(F.leaky_relu(self.widen(x), SLOPE, inplace=True))
        return x + self.narrow(F.leaky_relu(h, SLOPE, inplace=True))


class R3GANGenerator(nn.Module):
    """z [N, z_dim] ~ N(0, I) and label [N] int64 to pictures [N, C, H, W] in [-1, 1]."""

    def __init__(self, config: R3GANConfig, spec: PictureSpec) -> None:
        super().__init__()
        self.z_dim = config.z_dim
        widths = _widths(spec, config.g_width)[::-1]
        self.embed = nn.Embedding(spec.categories, config.label_dim)
        self.dense = nn.Linear(config.z_dim + config.label_dim, widths[0], bias=False)
        self.basis = nn.Parameter(torch.randn(widths[0], 4, 4))
        self.stages, self.steps = nn.ModuleList(), nn.ModuleList()
        for i, width in enumerate(widths):
            self.stages.append(_stage(width, config, len(widths)))
            if i + 1 < len(widths):
                self.steps.append(_resize_channels(width, widths[i + 1]))
        self.last = nn.Conv2d(widths[-1], spec.channels, 1)
        _he_init(self.dense, 1.0)
        _he_init(self.last, 1.0)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        """Returns pictures [N, C, H, W] in [-1, 1]."""
        h = self.dense(torch.cat([z, self.embed(label)], dim=1))[:, :, None, None] * self.basis
        h = self.stages[0](h.contiguous(memory_format=torch.channels_last))
        for step, stage in zip(self.steps, self.stages[1:], strict=True):
            # The 1x1 convolution commutes with resampling, and is cheaper on the smaller side.
            h = stage(F.interpolate(step(h), scale_factor=2, mode="bilinear", align_corners=False))
        return torch.tanh(self.last(h))


class R3GANDiscriminator(nn.Module):
    """Pictures [N, C, H, W] in [-1, 1] and label [N] to logits [N]; only differences of logits mean something."""

    def __init__(self, config: R3GANConfig, spec: PictureSpec) -> None:
        super().__init__()
        widths = _widths(spec, config.d_width)
        self.first = nn.Conv2d(spec.channels, widths[0], 1)
        self.stages, self.steps = nn.ModuleList(), nn.ModuleList()
        for i, width in enumerate(widths):
            self.stages.append(_stage(width, config, len(widths)))
            if i + 1 < len(widths):
                self.steps.append(_resize_channels(width, widths[i + 1]))
        self.basis = nn.Conv2d(widths[-1], widths[-1], 4, groups=widths[-1], bias=False)
        self.dense = nn.Linear(widths[-1], config.label_dim, bias=False)
        self.embed = nn.Embedding(spec.categories, config.label_dim)
        _he_init(self.first, 1.0)
        _he_init(self.basis, 1.0)
        _he_init(self.dense, 1.0)

    def features(self, x: Tensor) -> Tensor:
        """Returns what comes before the last linear layer, [N, F]."""
        h = self.stages[0](self.first(x))
        for step, stage in zip(self.steps, self.stages[1:], strict=True):
            # The mean of 2x2 pixels is bilinear resampling to half the size.
            h = stage(step(F.avg_pool2d(h, 2)))
        return self.basis(h).flatten(1)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Returns logits [N]: the projection of the features on the category, and on nothing else."""
        h = self.dense(self.features(x))
        return (self.embed(label) * h).sum(1) / math.sqrt(h.shape[1])


def _widths(spec: PictureSpec, width: int) -> list[int]:
    """Returns the channels at size, size/2, ... 4."""
    return [width * min(8, 2**i) for i in range(spec.halvings + 1)]


def _stage(width: int, config: R3GANConfig, stages: int) -> nn.Sequential:
    return nn.Sequential(*[Block(width, config, stages * config.blocks) for _ in range(config.blocks)])


def _resize_channels(c_in: int, c_out: int) -> nn.Module:
    if c_in == c_out:
        return nn.Identity()
    conv = nn.Conv2d(c_in, c_out, 1, bias=False)
    _he_init(conv, 1.0)
    return conv


def _he_init(layer: nn.Conv2d | nn.Linear, gain: float) -> None:
    """He et al. 2015: weights ~ N(0, gain^2 / fan_in), bias 0."""
    nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
