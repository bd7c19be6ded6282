"""`gan-mlp`: the first GAN, fully connected, conditional on category.

Goodfellow et al., "Generative Adversarial Nets" (2014): rectified layers in G, maxout layers (Goodfellow et al. 2013)
in D. Ours: no dropout in D, as every random number is a function of seed and step; tanh for the sigmoid at the end, as
pictures lie in [-1, 1]. Conditioning: an embedding of the category joins z in G (Mirza & Osindero 2014); D adds the
projection <embed(label), features> of Miyato & Koyama (2018) to its logit.

Letters: N pictures, C channels, H height, W width, F features, z prior sample.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from packshot.models.spec import PictureSpec


@dataclass(frozen=True, kw_only=True)
class MLPConfig:
    """Sizes of the network; the paper's own for MNIST are z_dim 100, g_width 1200, d_width 240, pieces 5.

    Attributes:
        z_dim: length of the prior sample z.
        g_width: units of each of the generator's two hidden layers.
        d_width: units of each of the discriminator's two hidden layers.
        pieces: linear pieces of which a maxout unit takes the largest.
        label_dim: length of the category's embedding in the generator.
    """

    z_dim: int = 64
    g_width: int = 512
    d_width: int = 128
    pieces: int = 4
    label_dim: int = 32

    def __post_init__(self) -> None:
        if min(self.z_dim, self.g_width, self.d_width, self.label_dim) < 1 or self.pieces < 2:
            raise ValueError("every size of the network has to be at least 1, and net.pieces at least 2")


class MLPGenerator(nn.Module):
    """z [N, z_dim] ~ N(0, I) and label [N] int64 to pictures [N, C, H, W] in [-1, 1]."""

    def __init__(self, config: MLPConfig, spec: PictureSpec) -> None:
        super().__init__()
        self.z_dim, self.shape = config.z_dim, (spec.channels, spec.size, spec.size)
        self.embed = nn.Embedding(spec.categories, config.label_dim)
        widths = [config.z_dim + config.label_dim, config.g_width, config.g_width]
        layers: list[nn.Module] = []
        for c_in, c_out in pairwise(widths):
            layers += [nn.Linear(c_in, c_out), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Linear(config.g_width, spec.channels * spec.size**2))

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        """Returns pictures [N, C, H, W] in [-1, 1]."""
        x = torch.tanh(self.layers(torch.cat([z, self.embed(label)], dim=1)))
        return x.view(-1, *self.shape).contiguous(memory_format=torch.channels_last)


class Maxout(nn.Module):
    """[N, c_in] to [N, c_out]: each unit is the largest of several linear pieces. Goodfellow et al. 2013, eq. 1."""

    def __init__(self, c_in: int, c_out: int, pieces: int) -> None:
        super().__init__()
        self.shape, self.dense = (c_out, pieces), nn.Linear(c_in, c_out * pieces)

    def forward(self, x: Tensor) -> Tensor:
        """Returns [N, c_out]."""
        return self.dense(x).view(-1, *self.shape).amax(2)


class MLPDiscriminator(nn.Module):
    """Pictures [N, C, H, W] in [-1, 1] and label [N] to logits [N]; sigmoid(logit) = probability of being real."""

    def __init__(self, config: MLPConfig, spec: PictureSpec) -> None:
        super().__init__()
        width = config.d_width
        self.layers = nn.Sequential(
            Maxout(spec.channels * spec.size**2, width, config.pieces), Maxout(width, width, config.pieces)
        )
        self.dense = nn.Linear(width, 1)
        self.embed = nn.Embedding(spec.categories, width)

    def features(self, x: Tensor) -> Tensor:
        """Returns what comes before the last linear layer, [N, F]."""
        return self.layers(x.flatten(1))

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Returns logits [N]."""
        h = self.features(x)
        return self.dense(h)[:, 0] + (self.embed(label) * h).sum(1)
