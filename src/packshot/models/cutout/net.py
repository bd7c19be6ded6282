"""A small matting network: which part of a photo is the product, as alpha.

The encoder is EfficientNet-Lite0 without its head, its batch normalisation folded into the convolutions; the decoder
goes up again in the manner of U-Net with depthwise-separable convolutions, and its last step sees the photo's own
pixels, so that an edge lies where the photo has it. A coarse map at an eighth of the size is trained along, as
MODNet's semantic branch is.

Source: Ronneberger et al. 2015, arXiv:1505.04597 (U-Net); Tan and Le 2019, arXiv:1905.11946 (encoder); Sandler et al.
2018, arXiv:1801.04381 (inverted residuals); Ke et al. 2020, arXiv:2011.11961 (MODNet: semantics, detail, fusion).

Letters: x photo [N, 3, H, W] in [0, 1], RGB, H and W multiples of 32; f_s features at 1/s of its size.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from packshot.models.features.efflite import load_original

# EfficientNet-Lite0: kernel, stride, expansion, channels, blocks of each stage.
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
STEM = 32
TAPS = (0, 1, 2, 4, 6)
"""Stages after which the decoder looks in: at 1/2, 1/4, 1/8, 1/16 and 1/32 of the photo's size."""
MULTIPLE = 32


@dataclass(frozen=True, kw_only=True)
class MattingConfig:
    """Sizes of the decoder.

    Attributes:
        widths: channels at 1/2, 1/4, 1/8, 1/16 and 1/32 of the photo's size.
        detail: channels at the photo's own size.
    """

    widths: tuple[int, ...] = (24, 32, 48, 80, 128)
    detail: int = 12


class MattingNet(nn.Module):
    """Photo [N, 3, H, W] in [0, 1] to alpha's logits [N, 1, H, W]."""

    def __init__(self, config: MattingConfig | None = None) -> None:
        super().__init__()
        self.config = config or MattingConfig()
        widths = self.config.widths
        taken = [STAGES[i][3] for i in TAPS]
        self.encoder = Encoder()
        self.context = Context(taken[-1], widths[-1])
        self.ups = nn.ModuleList(Up(widths[i + 1], taken[i], widths[i]) for i in reversed(range(len(widths) - 1)))
        self.coarse = nn.Conv2d(widths[2], 1, 1)
        self.narrow = nn.Conv2d(widths[0], self.config.detail, 1)
        self.detail = nn.Sequential(
            nn.Conv2d(self.config.detail + 3, self.config.detail, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(self.config.detail, 1, 3, padding=1),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the logits of alpha [N, 1, H, W], and those at an eighth of the size, which training uses."""
        x = (x * 255 - 127) / 128
        *shallow, deep = self.encoder(x)
        y, coarse = self.context(deep), x
        for up, feature in zip(self.ups, reversed(shallow), strict=True):
            y = up(y, feature)
            if feature is shallow[2]:
                coarse = self.coarse(y)
        y = F.interpolate(self.narrow(y), size=x.shape[-2:], mode="bilinear")
        return self.detail(torch.cat([y, x], 1)), coarse


class Encoder(nn.Module):
    """EfficientNet-Lite0 up to its last stage, without batch normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, STEM, 3, 2)
        stages, channels = [], STEM
        for kernel, stride, expansion, width, blocks in STAGES:
            stage = []
            for i in range(blocks):
                stage.append(InvertedResidual(channels, width, kernel, stride if i == 0 else 1, expansion))
                channels = width
            stages.append(nn.Sequential(*stage))
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Returns [f_2, f_4, f_8, f_16, f_32]."""
        x = F.relu6(self.stem(x), inplace=True)
        taken = []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in TAPS:
                taken.append(x)
        return taken

    def convolutions(self) -> list[nn.Conv2d]:
        """Returns all of its convolutions in the order of the data's way."""
        return [m for m in self.modules() if isinstance(m, nn.Conv2d)]


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow does ("SAME"): at stride 2 and even sizes, one more at the right and below."""

    def __init__(self, channels: int, width: int, kernel: int, stride: int, groups: int = 1) -> None:
        even = (kernel - 1) // 2
        super().__init__(channels, width, kernel, stride, padding=even if stride == 1 else 0, groups=groups)
        self.uneven = (even - 1, even, even - 1, even) if stride == 2 else None

    def forward(self, x: Tensor) -> Tensor:
        """Returns [N, width, H / stride, W / stride]."""
        return super().forward(x if self.uneven is None else F.pad(x, self.uneven))


class InvertedResidual(nn.Module):
    """Expand (1x1), filter each channel (k x k), project (1x1); added to the input where the shapes agree."""

    def __init__(self, channels: int, width: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [nn.Conv2d(channels, inner, 1), nn.ReLU6(inplace=True)]
        layers += [SameConv(inner, inner, kernel, stride, inner), nn.ReLU6(inplace=True), nn.Conv2d(inner, width, 1)]
        self.body = nn.Sequential(*layers)
        self.residual = stride == 1 and channels == width

    def forward(self, x: Tensor) -> Tensor:
        """Returns [N, width, H / stride, W / stride]."""
        return x + self.body(x) if self.residual else self.body(x)


class Separable(nn.Module):
    """x + relu(norm(1x1(norm(k x k of each channel))))."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Returns the shape of `x`."""
        return x + self.body(x)


class Context(nn.Module):
    """The deepest features, each told of the whole picture's mean."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.local = nn.Conv2d(channels, width, 1)
        self.whole = nn.Conv2d(channels, width, 1)
        self.mix = nn.Sequential(Separable(width, 5), Separable(width, 5))

    def forward(self, x: Tensor) -> Tensor:
        """Returns [N, width, h, w]."""
        return self.mix(F.relu(self.local(x) + self.whole(x.mean((2, 3), keepdim=True))))


class Up(nn.Module):
    """From 1/2s to 1/s of the photo's size, with the encoder's features of that size."""

    def __init__(self, channels: int, feature: int, width: int) -> None:
        super().__init__()
        self.deep = nn.Conv2d(channels, width, 1)
        self.side = nn.Conv2d(feature, width, 1)
        self.mix = Separable(width, 5 if width > 24 else 3)

    def forward(self, x: Tensor, feature: Tensor) -> Tensor:
        """Returns [N, width, H / s, W / s] of x [N, channels, H / 2s, W / 2s] and f_s [N, feature, H / s, W / s]."""
        up = F.interpolate(self.deep(x), size=feature.shape[-2:], mode="bilinear")
        return self.mix(F.relu(up + self.side(feature)))


@torch.no_grad()
def take_imagenet_weights(encoder: Encoder) -> None:
    """Copies EfficientNet-Lite0's ImageNet weights into the encoder, batch normalisation folded in.

    Raises:
        PackshotError: the packages that carry them are missing, or the file is another one.
    """
    original = load_original()
    pairs = [(original._conv_stem, original._bn0)]
    for block in original._blocks:
        if block._block_args.expand_ratio != 1:
            pairs.append((block._expand_conv, block._bn0))
        pairs += [(block._depthwise_conv, block._bn1), (block._project_conv, block._bn2)]
    for own, (convolution, norm) in zip(encoder.convolutions(), pairs, strict=True):
        fused = fuse_conv_bn_eval(convolution, norm)
        own.weight.copy_(fused.weight)
        own.bias.copy_(fused.bias)
