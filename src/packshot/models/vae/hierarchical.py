"""`hvae`: a small hierarchical VAE, conditional on category: latents at 1x1, 4x4 and 8x8, drawn top-down.

Sonderby et al., "Ladder Variational Autoencoders" (2016), arXiv:1602.02282: prior and posterior share the way down.
Child, "Very Deep VAEs" (2021), arXiv:2011.10650: residual blocks without normalisation, branches begun small. The
posterior is given relative to the prior (Vahdat & Kautz 2020, arXiv:2007.03898, sec. 3.2).

Letters: N pictures, C channels, i a group of latents at one resolution, h the way down's features, u what a group
draws, in units of its prior: the latent itself is mean_i + std_i * u with the prior's mean and std, which depend on
the groups before and the label. So u ~ N(0, I) under the prior, and z = all u of a picture [N, z_dim].
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from packshot.models.spec import PictureSpec

SIDES = (1, 4, 8)


@dataclass(frozen=True, kw_only=True)
class HVAEConfig:
    """Sizes of the hierarchical VAE.

    Attributes:
        group_dim: latents of each group, a multiple of 64: all in one place, 1/16 a place of 4x4, 1/64 a place of 8x8.
        width: channels at 16x16 and above; twice as many at 8x8, four times at 4x4 and 1x1.
    """

    group_dim: int = 64
    width: int = 32

    def __post_init__(self) -> None:
        if self.width < 1 or self.group_dim < 1 or self.group_dim % SIDES[-1] ** 2:
            raise ValueError("width has to be at least 1, group_dim a multiple of 64")


class _Block(nn.Module):
    """x + conv(act(conv(act(x)))), the last convolution begun small so that depth does not blow up the features."""

    def __init__(self, width: int, kernel: int = 3) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, kernel, padding=kernel // 2)
        self.second = nn.Conv2d(width, width, kernel, padding=kernel // 2)
        with torch.no_grad():
            self.second.weight.mul_(0.3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.silu(self.first(F.silu(x))))


class _Group(nn.Module):
    """One resolution of the way down: the prior and posterior of its latents, and how they enter the features."""

    def __init__(self, width: int, channels: int, kernel: int) -> None:
        super().__init__()
        pad = kernel // 2
        self.prior = nn.Conv2d(width, 2 * channels, kernel, padding=pad)
        self.posterior = nn.Sequential(
            nn.Conv2d(2 * width, width, kernel, padding=pad),
            nn.SiLU(),
            nn.Conv2d(width, 2 * channels, kernel, padding=pad),
        )
        self.enter = nn.Conv2d(channels, width, 1)
        self.block = _Block(width, kernel)

    def infer(self, h: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Features h and what the encoder saw, to the posterior's mean and logvar in units of the prior."""
        mean, logvar = self.posterior(torch.cat([h, seen], dim=1)).chunk(2, dim=1)
        return mean, logvar.clamp(-12, 4)

    def forward(self, h: Tensor, u: Tensor) -> Tensor:
        """Features [N, width, side, side] with u [N, channels, side, side] put in."""
        mean, logstd = self.prior(F.silu(h)).chunk(2, dim=1)
        latent = mean + torch.exp(logstd.clamp(-6, 2)) * u
        return self.block(h + self.enter(latent))


class HierarchicalVAE(nn.Module):
    """Encoder on the way up, then groups of latents on the way down.

    Attributes:
        z_dim: latents of all groups.
        groups: the slice of z of each group, by the side of its grid.
    """

    def __init__(self, config: HVAEConfig, spec: PictureSpec) -> None:
        super().__init__()
        dim, w = config.group_dim, config.width
        self.group_dim, self.z_dim = dim, dim * len(SIDES)
        self.groups = {str(side): slice(i * dim, (i + 1) * dim) for i, side in enumerate(SIDES)}
        wide = (4 * w, 4 * w, 2 * w)
        self.embed = nn.Embedding(spec.categories, wide[0])
        # Between the picture and 8x8: two halvings at 32 px, three at 64 px.
        steps = [spec.channels] + [w] * ((spec.size // SIDES[-1]).bit_length() - 2)
        stem: list[nn.Module] = []
        for c_in, c_out in zip(steps, [*steps[1:], wide[2]], strict=True):
            stem += [nn.Conv2d(c_in, c_out, 4, stride=2, padding=1), nn.SiLU()]
        self.stem = nn.Sequential(*stem[:-1])
        self.rise = nn.ModuleList([_Block(wide[2]), _Block(wide[1]), _Block(wide[0], 1)])
        self.shrink = nn.ModuleList(
            [nn.Conv2d(wide[2], wide[1], 4, stride=2, padding=1), nn.Conv2d(wide[1], wide[0], 4)]
        )
        self.levels = nn.ModuleList(
            [_Group(c, dim // side**2, min(side, 3)) for c, side in zip(wide, SIDES, strict=True)]
        )
        self.grow = nn.ModuleList(
            [nn.ConvTranspose2d(wide[0], wide[1], 4), nn.ConvTranspose2d(wide[1], wide[2], 4, stride=2, padding=1)]
        )
        paint: list[nn.Module] = []
        for c_in, c_out in zip([wide[2], *steps[:0:-1]], steps[::-1], strict=True):
            paint += [nn.SiLU(), nn.ConvTranspose2d(c_in, c_out, 4, stride=2, padding=1)]
        self.paint = nn.Sequential(*paint, nn.Tanh())

    def _up(self, x: Tensor) -> list[Tensor]:
        """What the encoder sees of a picture, at 1x1, 4x4 and 8x8."""
        h, seen = self.stem(x), []
        for i, block in enumerate(self.rise):
            h = block(self.shrink[i - 1](h) if i else h)
            seen.append(h)
        return seen[::-1]

    def _root(self, label: Tensor) -> Tensor:
        return self.embed(label)[:, :, None, None]

    def _grown(self, h: Tensor, i: int) -> Tensor:
        """Features of group i - 1 enlarged for group i, channels-last: a 1x1 picture cannot say how it lies."""
        return self.grow[i - 1](h).contiguous(memory_format=torch.channels_last) if i else h

    def decode(self, z: Tensor, label: Tensor) -> Tensor:
        """z [N, z_dim] ~ N(0, I) to pictures [N, C, H, W] in [-1, 1]: each group with its own prior's mean and std."""
        h = self._root(label)
        for i, (level, side) in enumerate(zip(self.levels, SIDES, strict=True)):
            h = self._grown(h, i)
            h = level(h, z[:, self.groups[str(side)]].reshape(-1, self.group_dim // side**2, side, side))
        return self.paint(h)

    def forward(self, x: Tensor, label: Tensor, eps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns x_hat, and mean and logvar [N, z_dim] of the posterior in units of the prior.

        eps [N, z_dim] ~ N(0, I) gives u = mean + std * eps, group by group: each group's posterior has seen the groups
        before. KL(posterior | prior) of two Gaussians does not change when both are shifted and scaled alike, so it
        is the KL of N(mean, exp(logvar)) and N(0, I).
        """
        seen, h = self._up(x), self._root(label)
        means, logvars = [], []
        for i, (level, side) in enumerate(zip(self.levels, SIDES, strict=True)):
            h = self._grown(h, i)
            mean, logvar = level.infer(h, seen[i])
            own = eps[:, self.groups[str(side)]].view_as(mean)
            h = level(h, mean + torch.exp(0.5 * logvar) * own)
            means.append(mean.flatten(1))
            logvars.append(logvar.flatten(1))
        return self.paint(h), torch.cat(means, 1), torch.cat(logvars, 1)

    def encode(self, x: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures [N, C, H, W] in [-1, 1] to mean and logvar [N, z_dim], each group at the mean of those before."""
        _, mean, logvar = self(x, label, x.new_zeros(len(x), self.z_dim))
        return mean, logvar
