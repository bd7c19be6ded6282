"""The network that finds damage: of each pixel and each kind, how likely it is.

A U-Net over the photo's pixels in blocks of 2 x 2: damage is told from what was photographed by what lies around it, so
the deepest part looks far (dilated convolutions), and the shallow one keeps lines of a pixel's width.

Source: Ronneberger et al. 2015, arXiv:1505.04597 (U-Net); He et al. 2016, arXiv:1603.05027 (residual blocks); Yu and
Koltun 2016, arXiv:1511.07122 (dilated convolutions).

Letters: N pictures, H, W height and width; K kinds of damage.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True)
class DefectConfig:
    """Sizes of the detector.

    Attributes:
        kinds: of damage, in the order of the outputs.
        widths: channels at 1/2, 1/4 and 1/8 of the picture's size; multiples of 16, or torch's bfloat16 gradients on
            a CPU are not finite.
        dilations: of the deepest blocks: how far they look.
    """

    kinds: tuple[str, ...] = ("dust", "scratch", "stain", "hole", "block")
    widths: tuple[int, ...] = (16, 32, 64)
    dilations: tuple[int, ...] = (1, 2, 4, 8, 2)

    @property
    def multiple(self) -> int:
        """Heights and widths have to be multiples of this."""
        return 8

    @property
    def reach(self) -> int:
        """How many pixels around it an output depends on, at most; a multiple of `multiple`."""
        # Two convolutions a block and one a step of size, at 1/8, 1/4 (twice) and 1/2 (twice) of the size.
        return 8 * (2 * sum(self.dilations) + 1) + 2 * 4 * 4 + 2 * 2 * 4 + 8


class DefectNet(nn.Module):
    """Returns logits of damage.

    Attributes:
        config: its sizes.
    """

    def __init__(self, config: DefectConfig) -> None:
        super().__init__()
        self.config = config
        a, b, c = config.widths
        self.one = nn.Sequential(Step(4 * 8, a), Block(a))
        self.two = nn.Sequential(Step(a, b, stride=2), Block(b))
        self.three = nn.Sequential(Step(b, c, stride=2), *(Block(c, d) for d in config.dilations))
        self.up_two = nn.Sequential(Step(c + b, b), Block(b))
        self.up_one = nn.Sequential(Step(b + a, a), Block(a))
        self.last = nn.Conv2d(a, 4 * len(config.kinds), 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.constant_(self.last.bias, -4.0)  # Damage is rare.

    def forward(self, x: Tensor) -> Tensor:
        """Returns logits [N, K, H, W].

        Args:
            x: float32 [N, 3, H, W] in [0, 1], RGB; H and W are multiples of 8.
        """
        x = F.pixel_unshuffle(shown(x), 2).contiguous(memory_format=torch.channels_last)
        one = self.one(x)
        two = self.two(one)
        y = self.three(two)
        y = self.up_two(torch.cat([F.interpolate(y, scale_factor=2.0), two], dim=1))
        y = self.up_one(torch.cat([F.interpolate(y, scale_factor=2.0), one], dim=1))
        return F.pixel_shuffle(self.last(y), 2)


def shown(x: Tensor) -> Tensor:
    """Returns what the first layer gets, [N, 8, H, W]: the cues of classical detectors, which are slow to learn.

    Colours; how they differ from the mean of 9 x 9 pixels; how the lightness differs from the mean of 33 x 33; and the
    range of the lightness in 3 x 3, nothing in a hole of one colour.
    """
    light = x.mean(1, keepdim=True)
    near, far = x - _mean(x, 4), light - _mean(light, 16)
    span = F.max_pool2d(light, 3, 1, 1) + F.max_pool2d(-light, 3, 1, 1)
    return torch.cat([2 * x - 1, 4 * near, 4 * far, torch.tanh(20 * span)], dim=1)


def _mean(x: Tensor, radius: int) -> Tensor:
    """Returns the mean around each pixel; beyond the border there is nothing."""
    side = 2 * radius + 1
    rows = F.avg_pool2d(x, (side, 1), 1, (radius, 0), count_include_pad=False)
    return F.avg_pool2d(rows, (1, side), 1, (0, radius), count_include_pad=False)


class Step(nn.Sequential):
    """relu(norm(3x3)): from one number of channels to another."""

    def __init__(self, inward: int, outward: int, *, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inward, outward, 3, stride, 1, bias=False), nn.BatchNorm2d(outward), nn.ReLU(inplace=True)
        )


class Block(nn.Module):
    """relu(x + norm(3x3(relu(norm(3x3(x))))))."""

    def __init__(self, width: int, dilation: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, 1, dilation, dilation, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Returns the shape of `x`."""
        return F.relu(x + self.body(x), inplace=True)
