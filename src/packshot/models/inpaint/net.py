"""The inpainter: a U-Net of gated convolutions that corrects a smooth filling; and the discriminator it trains against.

Letters: N pictures, H, W height and width; x the picture with a smooth filling in its hole; m the mask, 1 in the hole.

Source: gated convolutions, the soft masks that tell a layer what is known, and the patch discriminator with spectral
normalisation are of Yu et al. 2019, "Free-form image inpainting with gated convolution" (arXiv:1806.03589). Here one
network predicts the difference to the smooth filling, so that a network of zeros is that filling.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm


@dataclass(frozen=True, kw_only=True)
class InpaintConfig:
    """Sizes of the inpainter.

    Attributes:
        width: channels at half the picture's size; twice as many at a quarter of it.
        middle: channels at an eighth of it.
        dilations: of the middle's convolutions: how far they look.
    """

    width: int = 48
    middle: int = 128
    dilations: tuple[int, ...] = (1, 2, 4, 8, 1)

    @property
    def multiple(self) -> int:
        """Heights and widths have to be multiples of this."""
        return 8


class InpaintNet(nn.Module):
    """Returns pictures with their holes filled.

    Attributes:
        config: its sizes.
    """

    def __init__(self, config: InpaintConfig) -> None:
        super().__init__()
        self.config = config
        a, b, c = config.width, 2 * config.width, config.middle
        self.first = nn.Sequential(Gated(16, a), Gated(a, a))
        self.second = nn.Sequential(Gated(a, b, stride=2), Gated(b, b))
        self.third = Gated(b, c, stride=2)
        self.middle = nn.ModuleList(Gated(c, c, dilation=d) for d in config.dilations)
        self.up_second = Gated(c + b, b)
        self.up_first = Gated(b + a, a)
        self.last = nn.Conv2d(a, 12, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Returns float32 [N, 3, H, W]; outside of the hole it is x.

        Args:
            x: float32 [N, 3, H, W] in [0, 1], filled smoothly; H and W are multiples of 8.
            mask: float32 [N, 1, H, W], 1 in the hole.
        """
        inner = F.pixel_unshuffle(torch.cat([x - 0.5, mask], dim=1), 2).contiguous(memory_format=torch.channels_last)
        one = self.first(inner)
        two = self.second(one)
        y = self.third(two)
        for layer in self.middle:
            y = y + layer(y)
        y = self.up_second(torch.cat([F.interpolate(y, scale_factor=2.0), two], dim=1))
        y = self.up_first(torch.cat([F.interpolate(y, scale_factor=2.0), one], dim=1))
        return x + mask * F.pixel_shuffle(self.last(y), 2)


class Gated(nn.Module):
    """A convolution whose outcome a second one lets through, place by place: silu(W x) * sigmoid(V x)."""

    def __init__(self, inward: int, outward: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.both = nn.Conv2d(inward, 2 * outward, 3, stride, dilation, dilation)

    def forward(self, x: Tensor) -> Tensor:
        """Returns [N, outward, H / stride, W / stride]."""
        value, gate = self.both(x).chunk(2, dim=1)
        return F.silu(value) * torch.sigmoid(gate)


class PatchDiscriminator(nn.Module):
    """Says of each part of a picture whether it is real; spectral normalisation holds its slope."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        sizes = (4, width, 2 * width, 4 * width, 4 * width)
        self.layers = nn.ModuleList(spectral_norm(nn.Conv2d(a, b, 5, 2, 2)) for a, b in pairwise(sizes))
        self.last = spectral_norm(nn.Conv2d(sizes[-1], 1, 3, padding=1))

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Returns logits [N, 1, H / 16, W / 16] and the features of each layer, for feature matching."""
        y = torch.cat([x - 0.5, mask], dim=1)
        features = []
        for layer in self.layers:
            y = F.leaky_relu(layer(y), 0.2)
            features.append(y)
        return self.last(y), features
