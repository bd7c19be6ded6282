"""`dcgan`: the DCGAN paper's network at 32 and 64 px, conditional on category.

Radford et al., "Unsupervised Representation Learning with Deep Convolutional GANs" (2015): strided convolutions only,
batch norm in G, leaky ReLU in D, tanh at the end. Conditioning: an embedding of the category joins z in G; D adds the
projection <embed(label), features> of Miyato & Koyama (2018) to its logit. The paper's widths (1024 at 4x4) are for a
GPU: `g_width` and `d_width` scale them.

Letters: N pictures, C channels, H height, W width, K categories, z prior sample.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from packshot.models.spec import PictureSpec


@dataclass(frozen=True, kw_only=True)
class DCGANConfig:
    """Sizes of the network; the paper's own are z_dim 100, g_width = d_width = 128 at 64 px.

    Attributes:
        z_dim: length of the prior sample z.
        g_width: generator's channels at half the picture's size; they double at every halving down to 4x4.
        d_width: discriminator's channels at half the picture's size; they double likewise.
        label_dim: length of the category's embedding in the generator.
        d_norm: batch norm in the discriminator's middle layers, as in the paper.
    """

    z_dim: int = 64
    g_width: int = 32
    d_width: int = 32
    label_dim: int = 32
    d_norm: bool = True

    def __post_init__(self) -> None:
        if min(self.z_dim, self.g_width, self.d_width, self.label_dim) < 1:
            raise ValueError("every size of the network has to be at least 1")


class DCGANGenerator(nn.Module):
    """z [N, z_dim] ~ N(0, I) and label [N] int64 to pictures [N, C, H, W] in [-1, 1]."""

    def __init__(self, config: DCGANConfig, spec: PictureSpec) -> None:
        super().__init__()
        self.z_dim = config.z_dim
        widths = spec.doubled_widths(config.g_width)[::-1]
        self.top = widths[0]
        self.embed = nn.Embedding(spec.categories, config.label_dim)
        self.dense = nn.Linear(config.z_dim + config.label_dim, self.top * 16, bias=False)
        layers: list[nn.Module] = [nn.BatchNorm2d(self.top), nn.ReLU(inplace=True)]
        for c_in, c_out in pairwise(widths):
            layers += [nn.ConvTranspose2d(c_in, c_out, 4, stride=2, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(c_out), nn.ReLU(inplace=True)]
        layers += [nn.ConvTranspose2d(widths[-1], spec.channels, 4, stride=2, padding=1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        """Returns pictures [N, C, H, W] in [-1, 1]."""
        h = self.dense(torch.cat([z, self.embed(label)], dim=1)).view(-1, self.top, 4, 4)
        return torch.tanh(self.layers(h.contiguous(memory_format=torch.channels_last)))


class DCGANDiscriminator(nn.Module):
    """Pictures [N, C, H, W] in [-1, 1] and label [N] to logits [N]; sigmoid(logit) = probability of being real."""

    def __init__(self, config: DCGANConfig, spec: PictureSpec) -> None:
        super().__init__()
        widths = spec.doubled_widths(config.d_width)
        layers: list[nn.Module] = []
        for i, (c_in, c_out) in enumerate(zip([spec.channels, *widths], widths, strict=False)):
            norm = config.d_norm and i > 0
            layers += [nn.Conv2d(c_in, c_out, 4, stride=2, padding=1, bias=not norm)]
            layers += [nn.BatchNorm2d(c_out)] * norm + [nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.dense = nn.Linear(widths[-1] * 16, 1)
        self.embed = nn.Embedding(spec.categories, widths[-1] * 16)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Returns logits [N]."""
        h = self.features(x)
        return self.dense(h)[:, 0] + (self.embed(label) * h).sum(1)

    def features(self, x: Tensor) -> Tensor:
        """Returns what comes before the last linear layer, [N, F]."""
        return self.layers(x).flatten(1)
