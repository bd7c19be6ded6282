"""`projected`: Projected GAN: small discriminators on the features of a frozen ImageNet network.

Sauer et al. 2021, "Projected GANs Converge Faster" (arXiv:2111.01007): pictures go through EfficientNet-Lite0 (the best
feature network of their table 2), its maps at four scales are mixed by fixed random 1x1 convolutions (across channels,
sec. 3.2) and a fixed random path from coarse to fine (across scales), and each scale has a discriminator of its own,
with spectral norm. The generator is a light one in the manner of FastGAN (Liu et al. 2021, arXiv:2101.04775): gated
linear units and skip-layer excitation. Conditioning: an embedding of the category joins z; every discriminator adds
the projection of Miyato & Koyama (2018). Ours: one logit per scale and picture, not one per patch; widths for a CPU.

The frozen network stands outside the module: it is loaded from its package, and no checkpoint keeps it. The random
mixing weights are buffers, which a checkpoint does keep.

Letters: N pictures, C channels, H height, W width, S scales, F features, z prior sample.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from packshot.models.features.efflite import load_efflite0
from packshot.models.spec import PictureSpec

# Layers of the folded network after which its maps are taken, at 1/4, 1/8, 1/16 and 1/32 of the picture's side, and
# their channels: the four that the paper takes.
TAPS, TAP_CHANNELS = (5, 7, 13, 18), (24, 40, 112, 320)


@dataclass(frozen=True, kw_only=True)
class ProjectedConfig:
    """Sizes of the network; the paper's own are z_dim 256, view 256 px, mixed 64 to 512.

    Attributes:
        z_dim: length of the prior sample z.
        g_width: generator's channels at full size; they double at every halving, up to 16 times.
        label_dim: length of the category's embedding in the generator.
        view: pixels on a side at which the frozen network sees the pictures, a multiple of 32; None: their size.
        scales: how many of its scales are used, the finest first; 1 to 4.
        mixed: channels of every scale after the random mixing.
        d_width: channels in each discriminator.
    """

    z_dim: int = 64
    g_width: int = 16
    label_dim: int = 32
    view: int | None = None
    scales: int = 4
    mixed: int = 64
    d_width: int = 64

    def __post_init__(self) -> None:
        if min(self.z_dim, self.g_width, self.label_dim, self.mixed, self.d_width) < 1:
            raise ValueError("every size of the network has to be at least 1")
        if self.view is not None and (self.view < 32 or self.view % 32):
            raise ValueError("net.view has to be a multiple of 32")
        if not 1 <= self.scales <= len(TAPS):
            raise ValueError(f"net.scales has to be 1 to {len(TAPS)}")


class ProjectedGenerator(nn.Module):
    """z [N, z_dim] ~ N(0, I) and label [N] int64 to pictures [N, C, H, W] in [-1, 1]."""

    def __init__(self, config: ProjectedConfig, spec: PictureSpec) -> None:
        super().__init__()
        self.z_dim = config.z_dim
        levels = spec.halvings + 1  # 4, 8, ... size pixels.
        self.widths = [min(config.g_width * 2**i, 16 * config.g_width) for i in range(levels)][::-1]
        self.embed = nn.Embedding(spec.categories, config.label_dim)
        self.dense = nn.Linear(config.z_dim + config.label_dim, 2 * 16 * self.widths[0], bias=False)
        self.norm = nn.BatchNorm2d(2 * self.widths[0])
        self.ups = nn.ModuleList(
            nn.Sequential(
                nn.ConvTranspose2d(c_in, 2 * c_out, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(2 * c_out),
                nn.GLU(1),
            )
            for c_in, c_out in zip(self.widths, self.widths[1:], strict=False)
        )
        # The two smallest maps gate the channels of the two largest.
        self.excite = nn.ModuleList(Excitation(self.widths[i], self.widths[i + levels - 2]) for i in range(2))
        self.last = nn.Conv2d(self.widths[-1], spec.channels, 3, padding=1)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        """Returns pictures [N, C, H, W] in [-1, 1]."""
        z = F.normalize(z, dim=1) * math.sqrt(self.z_dim)
        h = self.dense(torch.cat([z, self.embed(label)], 1)).view(-1, 2 * self.widths[0], 4, 4)
        h = F.glu(self.norm(h.contiguous(memory_format=torch.channels_last)), 1)
        maps = [h]
        for i, up in enumerate(self.ups, start=1):
            h = up(h)
            source = i - (len(self.widths) - 2)
            if source >= 0:
                h = h * self.excite[source](maps[source])
            maps.append(h)
        return torch.tanh(self.last(h))


class Excitation(nn.Module):
    """Skip-layer excitation (FastGAN, sec. 3.1): gates in (0, 1) for the channels of a larger map."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(c_in, c_out, 4)
        self.second = nn.Conv2d(c_out, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Returns [N, c_out, 1, 1] of [N, c_in, H, W]."""
        h = F.leaky_relu(self.first(F.avg_pool2d(x, int(x.shape[-1]) // 4)), 0.1)
        return torch.sigmoid(self.second(h))


class ProjectedDiscriminator(nn.Module):
    """Pictures [N, C, H, W] in [-1, 1] and label [N] to logits [N, S], a column for each scale's discriminator.

    A loss that is a mean over all logits is the paper's sum over discriminators, divided by S.
    """

    def __init__(self, config: ProjectedConfig, spec: PictureSpec) -> None:
        super().__init__()
        self.view, self.scales = config.view or spec.size, config.scales
        self.frozen = (load_efflite0().module,)  # In a tuple: no child, so neither saved nor trained.
        m = config.mixed
        for i, c in enumerate(TAP_CHANNELS[: self.scales]):
            self.register_buffer(f"channel_mix{i}", _random_weight(m, c, 1))
            if i < self.scales - 1:
                self.register_buffer(f"scale_mix{i}", _random_weight(m, m, 3))
        self.judges = nn.ModuleList(Judge(m, config.d_width, self.view // (4 * 2**i)) for i in range(self.scales))
        self.heads = nn.ModuleList(spectral_norm(nn.Linear(config.d_width, 1)) for _ in range(self.scales))
        self.embed = nn.Embedding(spec.categories, config.d_width * self.scales)
        nn.init.zeros_(self.embed.weight)  # It begins as a judge that knows of no category.

    def features(self, x: Tensor) -> Tensor:
        """Returns [N, F], what the logits are linear in: the scales' own side by side, finest first."""
        maps = self._project(x)
        return torch.cat([judge(m) for judge, m in zip(self.judges, maps, strict=True)], 1)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Returns logits [N, S]."""
        h = self.features(x)
        projection = (self.embed(label) * h).unflatten(1, (self.scales, -1)).sum(2)
        parts = h.chunk(self.scales, 1)
        return projection + torch.cat([head(part) for head, part in zip(self.heads, parts, strict=True)], 1)

    def _project(self, x: Tensor) -> list[Tensor]:
        """Returns the mixed maps [N, mixed, h, w] of each scale, finest first."""
        (frozen,) = self.frozen
        frozen.to(x.device)
        if x.shape[2:] != (self.view, self.view):
            x = F.interpolate(x, size=(self.view, self.view), mode="bilinear", align_corners=False)
        x = x.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        maps: list[Tensor] = []
        for i, layer in enumerate(frozen[: TAPS[self.scales - 1] + 1]):
            x = layer(x)
            if i in TAPS:
                maps.append(F.conv2d(x, getattr(self, f"channel_mix{len(maps)}")))
        for i in range(self.scales - 2, -1, -1):
            above = F.interpolate(maps[i + 1], scale_factor=2, mode="bilinear", align_corners=False)
            maps[i] = F.conv2d(maps[i] + above, getattr(self, f"scale_mix{i}"), padding=1)
        return maps


def _random_weight(c_out: int, c_in: int, kernel: int) -> Tensor:
    """Returns fixed convolution weights [c_out, c_in, kernel, kernel], as He et al. draw them."""
    return torch.randn(c_out, c_in, kernel, kernel) / math.sqrt(c_in * kernel**2)


class Judge(nn.Module):
    """A scale's discriminator up to its last linear layer: halves the maps down to 4x4 and ends in a vector."""

    def __init__(self, c_in: int, width: int, side: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        while side > 4:
            layers += [spectral_norm(nn.Conv2d(c_in, width, 4, stride=2, padding=1)), nn.LeakyReLU(0.2, inplace=True)]
            c_in, side = width, side // 2
        layers += [spectral_norm(nn.Conv2d(c_in, width, side)), nn.LeakyReLU(0.2, inplace=True), nn.Flatten()]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Returns [N, width] of [N, c_in, side, side]."""
        return self.layers(x)
