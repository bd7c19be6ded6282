"""`vae`: a convolutional variational autoencoder, conditional on category.

Kingma & Welling, "Auto-Encoding Variational Bayes" (2013); conditioning as in Sohn et al. (2015): an embedding of the
category joins the encoder's last features and the decoder's z.

Letters: N pictures, C channels, H height, W width, z latent sample, K categories.
"""

from dataclasses import dataclass
from itertools import chain, pairwise

import torch
from torch import Tensor, nn

from packshot.models.spec import PictureSpec


@dataclass(frozen=True, kw_only=True)
class VAEConfig:
    """Sizes of the convolutional VAE.

    Attributes:
        z_dim: length of the latent z.
        width: channels of the layer at half the picture's size; they double at every halving down to 4x4.
        label_dim: length of the category's embedding.
    """

    z_dim: int = 64
    width: int = 32
    label_dim: int = 16

    def __post_init__(self) -> None:
        if min(self.z_dim, self.width, self.label_dim) < 1:
            raise ValueError("every size of the network has to be at least 1")


def halve(c_in: int, c_out: int) -> list[nn.Module]:
    """Returns layers from [N, c_in, H, W] to [N, c_out, H/2, W/2]."""
    return [nn.Conv2d(c_in, c_out, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(c_out), nn.SiLU()]


def double(c_in: int, c_out: int) -> list[nn.Module]:
    """Returns layers from [N, c_in, H, W] to [N, c_out, 2 H, 2 W]."""
    return [nn.ConvTranspose2d(c_in, c_out, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(c_out), nn.SiLU()]


def double_to_picture(c_in: int, channels: int) -> list[nn.Module]:
    """Returns layers from [N, c_in, H, W] to pictures [N, channels, 2 H, 2 W] in [-1, 1]."""
    return [nn.ConvTranspose2d(c_in, channels, 4, stride=2, padding=1), nn.Tanh()]


class ConvVAE(nn.Module):
    """Encoder q(z | x, label) = N(mean, exp(logvar)) and decoder x_hat(z, label)."""

    def __init__(self, config: VAEConfig, spec: PictureSpec) -> None:
        super().__init__()
        self.z_dim = config.z_dim
        self.groups: dict[str, slice] = {}
        widths = spec.doubled_widths(config.width)
        self.top = widths[-1]
        self.embed = nn.Embedding(spec.categories, config.label_dim)
        down = [halve(c_in, c_out) for c_in, c_out in pairwise([spec.channels, *widths])]
        self.down = nn.Sequential(*chain(*down))
        self.posterior = nn.Linear(self.top * 16 + config.label_dim, 2 * config.z_dim)
        self.project = nn.Sequential(
            nn.Linear(config.z_dim + config.label_dim, self.top * 16, bias=False),
            nn.BatchNorm1d(self.top * 16),
            nn.SiLU(),
        )
        up = [double(c_in, c_out) for c_in, c_out in pairwise(widths[::-1])]
        self.up = nn.Sequential(*chain(*up), *double_to_picture(widths[0], spec.channels))

    def encode(self, x: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures [N, C, H, W] in [-1, 1] to the posterior's mean and logvar, each [N, z_dim]."""
        h = torch.cat([self.down(x).flatten(1), self.embed(label)], dim=1)
        mean, logvar = self.posterior(h).chunk(2, dim=1)
        return mean, logvar

    def decode(self, z: Tensor, label: Tensor) -> Tensor:
        """z [N, z_dim] to pictures [N, C, H, W] in [-1, 1]."""
        h = self.project(torch.cat([z, self.embed(label)], dim=1)).view(-1, self.top, 4, 4)
        return self.up(h.contiguous(memory_format=torch.channels_last))

    def forward(self, x: Tensor, label: Tensor, eps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns x_hat, mean and logvar for z = mean + std * eps; eps [N, z_dim] ~ N(0, I)."""
        mean, logvar = self.encode(x, label)
        return self.decode(mean + torch.exp(0.5 * logvar) * eps, label), mean, logvar
