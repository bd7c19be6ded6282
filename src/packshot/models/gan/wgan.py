"""`wgan-gp`: the residual network of WGAN-GP, conditional on category.

Gulrajani et al., "Improved Training of Wasserstein GANs" (2017), app. C and F: residual blocks of two 3x3 convolutions,
nearest-neighbour upsampling in G, mean pooling in the critic, batch norm in G only (the gradient penalty is on each
picture alone, and a batch norm in the critic would tie them together). The critic is called discriminator here, and its
score logit. The paper's width of 128 is for a GPU. Conditioning as in `dcgan`: an embedding beside z, and a projection.

Letters: N pictures, C channels, H height, W width, F features, z prior sample.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from packshot.models.spec import PictureSpec


@dataclass(frozen=True, kw_only=True)
class WGANConfig:
    """Sizes of the network; the paper's own at 32 px are z_dim 128, g_width = d_width = 128.

    Attributes:
        z_dim: length of the prior sample z.
        g_width: channels of every block of the generator.
        d_width: channels of every block of the discriminator.
        label_dim: length of the category's embedding in the generator.
    """

    z_dim: int = 64
    g_width: int = 16
    d_width: int = 16
    label_dim: int = 32

    def __post_init__(self) -> None:
        if min(self.z_dim, self.g_width, self.d_width, self.label_dim) < 1:
            raise ValueError("every size of the network has to be at least 1")


class UpBlock(nn.Module):
    """[N, c, h, w] to [N, c, 2h, 2w]: norm, ReLU, double, convolve, norm, ReLU, convolve, beside a short cut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.short = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Returns [N, c, 2h, 2w]."""
        h = self.conv1(_double(F.relu(self.norm1(x))))
        h = self.conv2(F.relu(self.norm2(h)))
        # A 1x1 convolution commutes with doubling, and is cheaper before.
        return h + _double(self.short(x))


class DownBlock(nn.Module):
    """[N, c_in, h, w] to [N, c, h/2, w/2], or the same size: ReLU, convolve, ReLU, convolve, mean-pool.

    The first block of a discriminator has no ReLU on the picture itself.
    """

    def __init__(self, c_in: int, width: int, *, first: bool = False, halve: bool = True) -> None:
        super().__init__()
        self.first, self.halve = first, halve
        self.conv1 = nn.Conv2d(c_in, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.short = nn.Conv2d(c_in, width, 1) if halve else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Returns [N, c, h/2, w/2] or [N, c, h, w]."""
        h = self.conv1(x if self.first else F.relu(x))
        h = self.conv2(F.relu(h))
        if not self.halve:
            return h + x
        return F.avg_pool2d(h, 2) + self.short(F.avg_pool2d(x, 2))


class WGANGenerator(nn.Module):
    """z [N, z_dim] ~ N(0, I) and label [N] int64 to pictures [N, C, H, W] in [-1, 1]."""

    def __init__(self, config: WGANConfig, spec: PictureSpec) -> None:
        super().__init__()
        self.z_dim, self.width = config.z_dim, config.g_width
        self.embed = nn.Embedding(spec.categories, config.label_dim)
        self.dense = nn.Linear(config.z_dim + config.label_dim, config.g_width * 16, bias=False)
        self.blocks = nn.Sequential(*[UpBlock(config.g_width) for _ in range(spec.halvings)])
        self.norm = nn.BatchNorm2d(config.g_width)
        self.last = nn.Conv2d(config.g_width, spec.channels, 3, padding=1)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        """Returns pictures [N, C, H, W] in [-1, 1]."""
        h = self.dense(torch.cat([z, self.embed(label)], dim=1)).view(-1, self.width, 4, 4)
        h = self.blocks(h.contiguous(memory_format=torch.channels_last))
        return torch.tanh(self.last(F.relu(self.norm(h))))


class WGANDiscriminator(nn.Module):
    """Pictures [N, C, H, W] in [-1, 1] and label [N] to scores [N]; higher is more real, there is no probability."""

    def __init__(self, config: WGANConfig, spec: PictureSpec) -> None:
        super().__init__()
        width = config.d_width
        blocks = [DownBlock(spec.channels, width, first=True)]
        blocks += [DownBlock(width, width) for _ in range(spec.halvings - 2)]
        blocks += [DownBlock(width, width, halve=False) for _ in range(2)]
        self.blocks = nn.Sequential(*blocks)
        self.dense = nn.Linear(width, 1)
        self.embed = nn.Embedding(spec.categories, width)

    def features(self, x: Tensor) -> Tensor:
        """Returns what comes before the last linear layer, [N, F]."""
        return F.relu(self.blocks(x)).mean((2, 3))

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Returns scores [N]."""
        h = self.features(x)
        return self.dense(h)[:, 0] + (self.embed(label) * h).sum(1)


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")
