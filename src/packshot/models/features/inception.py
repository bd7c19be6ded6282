"""Inception-v3 as the Frechet inception distance uses it, for a weights file that the user brings.

Sources: Szegedy et al. 2015, "Rethinking the Inception Architecture for Computer Vision", sections 3 to 6; Heusel et
al. 2017 for its use as a measure. The weights are those of TensorFlow's inception-2015-12-05 graph as published for
torch (`pt_inception-2015-12-05-6726825d.pth`). That graph differs from the paper in three places, kept here: mean
pooling does not count the padding, the last block pools by maximum, and there are 1,008 classes.

A block is a table row: its branches, each a chain of steps, are computed from the same input and joined by channels.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from packshot.core.errors import PackshotError
from packshot.core.files import disk_errors
from packshot.models.features.net import FeatureNet
from packshot.models.ranges import to_model

INPUT_SIZE = 299
FEATURES = 2048
CLASSES = 1008
NORM_EPS = 1e-3
PUBLISHED_SHA256 = "6726825d"
NOT_PUBLISHED = ", not the published .pth file"


class Conv(NamedTuple):
    """A convolution with normalisation and ReLU: name, output channels, kernel, stride; padded to keep the size."""

    name: str
    out: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padded: bool = True


class Pool(NamedTuple):
    """A 3 x 3 pooling step: "mean" or "max" keep the size, "halve" takes the maximum with stride 2."""

    kind: str


class Fork(NamedTuple):
    """Convolutions that all read the same input; their outputs are joined."""

    ways: tuple[Conv, ...]


Step = Conv | Pool | Fork
Branch = tuple[Step, ...]
ROW, COLUMN, SQUARE = (1, 7), (7, 1), (3, 3)


def _block_a(pooled: int) -> tuple[Branch, ...]:
    """35 x 35 pixels, figure 5 of the paper, with one 5 x 5 kept."""
    return (
        (Conv("branch1x1", 64),),
        (Conv("branch5x5_1", 48), Conv("branch5x5_2", 64, (5, 5))),
        (Conv("branch3x3dbl_1", 64), Conv("branch3x3dbl_2", 96, SQUARE), Conv("branch3x3dbl_3", 96, SQUARE)),
        (Pool("mean"), Conv("branch_pool", pooled)),
    )


def _block_c(narrow: int) -> tuple[Branch, ...]:
    """17 x 17 pixels, figure 6: 7 x 7 as rows and columns."""
    return (
        (Conv("branch1x1", 192),),
        (Conv("branch7x7_1", narrow), Conv("branch7x7_2", narrow, ROW), Conv("branch7x7_3", 192, COLUMN)),
        (
            Conv("branch7x7dbl_1", narrow),
            Conv("branch7x7dbl_2", narrow, COLUMN),
            Conv("branch7x7dbl_3", narrow, ROW),
            Conv("branch7x7dbl_4", narrow, COLUMN),
            Conv("branch7x7dbl_5", 192, ROW),
        ),
        (Pool("mean"), Conv("branch_pool", 192)),
    )


def _block_e(pooling: str) -> tuple[Branch, ...]:
    """8 x 8 pixels, figure 7: 3 x 3 forked into a row and a column."""
    first = Fork((Conv("branch3x3_2a", 384, (1, 3)), Conv("branch3x3_2b", 384, (3, 1))))
    second = Fork((Conv("branch3x3dbl_3a", 384, (1, 3)), Conv("branch3x3dbl_3b", 384, (3, 1))))
    return (
        (Conv("branch1x1", 320),),
        (Conv("branch3x3_1", 384), first),
        (Conv("branch3x3dbl_1", 448), Conv("branch3x3dbl_2", 384, SQUARE), second),
        (Pool(pooling), Conv("branch_pool", 192)),
    )


STEM: tuple[Conv | Pool, ...] = (
    Conv("Conv2d_1a_3x3", 32, SQUARE, 2, padded=False),
    Conv("Conv2d_2a_3x3", 32, SQUARE, padded=False),
    Conv("Conv2d_2b_3x3", 64, SQUARE),
    Pool("halve"),
    Conv("Conv2d_3b_1x1", 80),
    Conv("Conv2d_4a_3x3", 192, SQUARE, padded=False),
    Pool("halve"),
)
BLOCKS: dict[str, tuple[Branch, ...]] = {
    "Mixed_5b": _block_a(32),
    "Mixed_5c": _block_a(64),
    "Mixed_5d": _block_a(64),
    "Mixed_6a": (
        (Conv("branch3x3", 384, SQUARE, 2, padded=False),),
        (
            Conv("branch3x3dbl_1", 64),
            Conv("branch3x3dbl_2", 96, SQUARE),
            Conv("branch3x3dbl_3", 96, SQUARE, 2, padded=False),
        ),
        (Pool("halve"),),
    ),
    "Mixed_6b": _block_c(128),
    "Mixed_6c": _block_c(160),
    "Mixed_6d": _block_c(160),
    "Mixed_6e": _block_c(192),
    "Mixed_7a": (
        (Conv("branch3x3_1", 192), Conv("branch3x3_2", 320, SQUARE, 2, padded=False)),
        (
            Conv("branch7x7x3_1", 192),
            Conv("branch7x7x3_2", 192, ROW),
            Conv("branch7x7x3_3", 192, COLUMN),
            Conv("branch7x7x3_4", 192, SQUARE, 2, padded=False),
        ),
        (Pool("halve"),),
    ),
    "Mixed_7b": _block_e("mean"),
    "Mixed_7c": _block_e("max"),
}


class ConvUnit(nn.Module):
    """Convolution without bias, batch normalisation, ReLU."""

    def __init__(self, channels: int, spec: Conv) -> None:
        super().__init__()
        padding = (spec.kernel[0] // 2, spec.kernel[1] // 2) if spec.padded else (0, 0)
        self.conv = nn.Conv2d(channels, spec.out, spec.kernel, spec.stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(spec.out, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Returns [N, out, H', W'] of [N, channels, H, W]."""
        return F.relu(self.bn(self.conv(x)), inplace=True)


def _pool(kind: str, x: Tensor) -> Tensor:
    if kind == "mean":
        return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
    if kind == "max":
        return F.max_pool2d(x, 3, stride=1, padding=1)
    return F.max_pool2d(x, 3, stride=2)


class Block(nn.Module):
    """Branches on one input, joined by channels; a convolution is an attribute by the name in its table row."""

    def __init__(self, channels: int, branches: tuple[Branch, ...]) -> None:
        super().__init__()
        self.branches, self.out = branches, 0
        for branch in branches:
            width = channels
            for step in branch:
                ways = step.ways if isinstance(step, Fork) else (step,) if isinstance(step, Conv) else ()
                for conv in ways:
                    self.add_module(conv.name, ConvUnit(width, conv))
                width = sum(conv.out for conv in ways) or width
            self.out += width

    def forward(self, x: Tensor) -> Tensor:
        """Returns [N, out, H', W'] of [N, channels, H, W]."""
        return torch.cat([self._follow(branch, x) for branch in self.branches], 1)

    def _follow(self, branch: Branch, x: Tensor) -> Tensor:
        for step in branch:
            if isinstance(step, Pool):
                x = _pool(step.kind, x)
            elif isinstance(step, Fork):
                x = torch.cat([self.get_submodule(way.name)(x) for way in step.ways], 1)
            else:
                x = self.get_submodule(step.name)(x)
        return x


class InceptionV3(nn.Module):
    """Pictures float32 [N, 3, 299, 299] in [-1, 1] to the 2,048 features before the classifier, averaged over space."""

    def __init__(self) -> None:
        super().__init__()
        width = 3
        for step in STEM:
            if isinstance(step, Conv):
                self.add_module(step.name, ConvUnit(width, step))
                width = step.out
        for name, branches in BLOCKS.items():
            block = Block(width, branches)
            self.add_module(name, block)
            width = block.out
        self.fc = nn.Linear(width, CLASSES)  # Not used; it is in the weights file, which has to match.

    def forward(self, x: Tensor) -> Tensor:
        """Returns float32 [N, 2048]."""
        for step in STEM:
            x = _pool(step.kind, x) if isinstance(step, Pool) else self.get_submodule(step.name)(x)
        for name in BLOCKS:
            x = self.get_submodule(name)(x)
        return x.mean((2, 3))


def prepare(images: Tensor) -> Tensor:
    """Returns uint8 pictures [N, S, S, C] as the net's input: float32 [N, 3, 299, 299] in [-1, 1].

    Bilinear without antialiasing, as the published torch port resizes; grey is repeated.
    """
    x = F.interpolate(to_model(images), size=INPUT_SIZE, mode="bilinear", align_corners=False)
    return x.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class _Weights:
    tensors: dict[str, Tensor]
    sha256: str

    @property
    def published(self) -> bool:
        return self.sha256.startswith(PUBLISHED_SHA256)


def load_inception(path: Path) -> FeatureNet:
    """Loads the net with the user's weights: the published `.pth`, known by its checksum, or tensors as safetensors.

    A `.pth` is a pickle: no other one is opened. The figures name the file by its checksum.

    Raises:
        PackshotError: the file is missing, or is not a file of these weights.
    """
    weights = _read(path)
    with torch.device("meta"):
        network = InceptionV3()
    # Counters of training steps; files of before torch 0.4.1 have none, and nothing here reads them.
    counters = {name for name in network.state_dict() if name.endswith("num_batches_tracked")}
    expected = {name: tensor.shape for name, tensor in network.state_dict().items() if name not in counters}
    given = {name: tensor for name, tensor in weights.tensors.items() if name not in counters}
    wrong = sorted(name for name in expected.keys() | given.keys() if _shape(given, name) != expected.get(name))
    if wrong:
        raise PackshotError(
            f"{path} does not hold the Inception-v3 weights of the Frechet inception distance: '{wrong[0]}' and "
            f"{len(wrong) - 1} more names or shapes differ. Give pt_inception-2015-12-05-6726825d.pth."
        )
    floats = {name: tensor.to(torch.float32) for name, tensor in given.items()}
    network.load_state_dict({**floats, **dict.fromkeys(counters, torch.zeros((), dtype=torch.int64))}, assign=True)
    network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    return FeatureNet(
        name="inception",
        distance="fid",
        dim=FEATURES,
        input_size=INPUT_SIZE,
        input_range=(-1.0, 1.0),
        protocol=f"inception-bilinear299-{weights.sha256[:8]}-v1",
        licence="Apache-2.0",
        source=f"{path.name}, SHA-256 {weights.sha256[:8]}" + ("" if weights.published else NOT_PUBLISHED),
        prepare=prepare,
        module=network,
    )


def _shape(tensors: dict[str, Tensor], name: str) -> torch.Size | None:
    return tensors[name].shape if name in tensors else None


def _read(path: Path) -> _Weights:
    with disk_errors(path):
        data = path.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    pth = path.suffix != ".safetensors"
    if pth and not sha256.startswith(PUBLISHED_SHA256):
        raise PackshotError(
            f"{path} is not the published pt_inception-2015-12-05-{PUBLISHED_SHA256}.pth; other weights are read from "
            "safetensors alone, which cannot hold code."
        )
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True) if pth else safetensors.torch.load(data)
    except Exception as e:  # The two readers raise a dozen kinds for what is one mistake here.
        raise PackshotError(f"{path} cannot be read as weights ({type(e).__name__}); bring the file anew.") from e
    if not isinstance(tensors, dict) or not all(isinstance(t, Tensor) for t in tensors.values()):
        raise PackshotError(f"{path} is not a state dict of tensors; give pt_inception-2015-12-05-6726825d.pth.")
    return _Weights(tensors, sha256)
