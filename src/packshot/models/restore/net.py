"""The network behind `enhance`: plain residual blocks at low resolution, one pixel-shuffle head for each scale.

Letters: N pictures, H, W their height and width; s the scale of a head; r the factor by which the body's resolution is
below the picture's (`unshuffle`); k controls.

Source: the body is EDSR's (Lim et al. 2017, arXiv:1707.02921: residual blocks without normalisation), heads share it as
in that paper's multi-scale model, with sub-pixel convolution (Shi et al. 2016, arXiv:1609.05158). What it adds to is a
Lanczos enlargement made outside, so that a network of zeros is Lanczos.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True)
class RestoreConfig:
    """Sizes of a restoration network.

    Attributes:
        scales: scale factors, one head each; (1,) cleans without enlarging.
        width: channels of the body.
        blocks: residual blocks of two 3x3 convolutions.
        unshuffle: the body works on blocks of this many pixels a side, folded into channels.
        controls: values in [0, 1] that say how much of each damage is to go; 0: the network takes the picture alone.
    """

    scales: tuple[int, ...] = (2, 3, 4)
    width: int = 32
    blocks: int = 8
    unshuffle: int = 1
    controls: int = 0

    @property
    def reach(self) -> int:
        """How far a pixel of the picture has a say in the result, in pixels: the margin that a tile needs."""
        return self.unshuffle * (2 * self.blocks + 3) - 1


class RestoreNet(nn.Module):
    """Returns what has to be added to the Lanczos enlargement of pictures.

    Attributes:
        config: its sizes.
    """

    def __init__(self, config: RestoreConfig) -> None:
        super().__init__()
        self.config = config
        fold = config.unshuffle**2
        self.first = nn.Conv2d(3 * fold + config.controls, config.width, 3, padding=1)
        self.blocks = nn.ModuleList(_Block(config.width) for _ in range(config.blocks))
        self.heads = nn.ModuleDict(
            {str(s): nn.Conv2d(config.width, 3 * fold * s * s, 3, padding=1) for s in config.scales}
        )
        for head in self.heads.values():
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def forward(self, x: Tensor, scale: int, controls: Tensor | None = None) -> Tensor:
        """Returns float32 [N, 3, s H, s W]: the correction, in units of the full range.

        Args:
            x: float32 [N, 3, H, W] in [0, 1]; H and W are multiples of `unshuffle`.
            scale: s, one of the configured ones.
            controls: float32 [N, k] in [0, 1]; None for a network without.
        """
        x = F.pixel_unshuffle(x - 0.5, self.config.unshuffle)
        if controls is not None:
            x = torch.cat([x, controls[:, :, None, None].expand(-1, -1, *x.shape[2:])], dim=1)
        x = x.contiguous(memory_format=torch.channels_last)
        x = shallow = self.first(x)
        for block in self.blocks:
            x = block(x)
        return F.pixel_shuffle(self.heads[str(scale)](x + shallow), scale * self.config.unshuffle)


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        with torch.no_grad():
            self.second.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.leaky_relu(self.first(x), 0.1, inplace=True))
