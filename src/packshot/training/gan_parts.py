"""Parts of a GAN's step that have a state of their own, so that a checkpoint keeps them.

Letters: N pictures, F features, R pictures of the reference batch, P weights of a player, B kernels of C numbers.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from packshot.losses.gan import historical_averaging_loss, path_length_loss
from packshot.training.precision import uncompiled

REFERENCE_SIZE = 32
# Numbers in each kernel of minibatch discrimination.
KERNEL_DIM = 8
# Weight of the newest path lengths in their running mean. Karras et al. 2020, app. B.
PATH_DECAY = 0.01


class MinibatchDiscrimination(nn.Module):
    """Shows D how close each picture is to the others of its batch. Salimans et al. 2016, sec. 3.2.

    Features [N, F] to an addition to the logits [N]. The paper joins its output to the features before the last
    linear layer; as that layer is linear, a second linear layer whose result is added says the same.
    """

    def __init__(self, features: int, kernels: int) -> None:
        super().__init__()
        self.kernels = kernels
        self.project = nn.Linear(features, kernels * KERNEL_DIM, bias=False)
        nn.init.normal_(self.project.weight, 0.0, features**-0.5)
        self.dense = nn.Linear(kernels, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Returns what to add to the logits, [N]."""
        return self.dense(self.closeness(features))[:, 0]

    def closeness(self, features: Tensor) -> Tensor:
        """Returns o_b(x_i) = sum over j != i of exp(-|M_ib - M_jb|_1), [N, B], with M = T f."""
        m = self.project(features).view(-1, self.kernels, KERNEL_DIM)
        distance = (m[:, None] - m[None]).abs().sum(3)
        return torch.exp(-distance).sum(1) - 1


class HistoricalAverage(nn.Module):
    """The running mean of a player's weights, and the squared distance from it. Salimans et al. 2016, sec. 3.3.

    Attributes:
        mean: buffer float32 [P].
        count: buffer, how many states the mean is of; the first is that of the first step.
    """

    def __init__(self, weights: Sequence[Tensor]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros_like(_flat(weights).detach()))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, weights: Sequence[Tensor]) -> Tensor:
        """Returns the loss, a scalar."""
        if self.count == 0:
            self.add(weights)
        return historical_averaging_loss(_flat(weights), self.mean)

    @torch.no_grad()
    def add(self, weights: Sequence[Tensor]) -> None:
        """Takes the weights of now into the mean."""
        self.count += 1
        self.mean += (_flat(weights) - self.mean) / self.count


class PathLength(nn.Module):
    """Keeps the running mean of the path lengths, which the penalty pulls each towards. Karras et al. 2020, eq. 4.

    Attributes:
        mean: buffer, a scalar.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, lengths: Tensor, fabric: Fabric) -> Tensor:
        """Takes lengths [N] into the mean and returns the loss, a scalar."""
        now = lengths.detach().mean()
        if fabric.world_size > 1:
            now = fabric.all_reduce(now, reduce_op="mean")
        self.mean.lerp_(now, PATH_DECAY)
        return path_length_loss(lengths, self.mean.clone())


class ReferenceBatch(nn.Module):
    """The z and label of virtual batch norm's reference batch, chosen once. Salimans et al. 2016, sec. 3.5.

    Attributes:
        z: buffer float32 [R, z_dim] ~ N(0, I), drawn when this is built, as first weights are.
        label: buffer int64 [R], those of the first batch; -1 until then.
    """

    def __init__(self, z_dim: int) -> None:
        super().__init__()
        self.register_buffer("z", torch.randn(REFERENCE_SIZE, z_dim))
        self.register_buffer("label", torch.full((REFERENCE_SIZE,), -1))

    def generate(self, generator: nn.Module, z: Tensor, label: Tensor, fabric: Fabric) -> Tensor:
        """Returns the generator's pictures of z [N, z_dim] and label [N], made beside the reference batch."""
        if self.label[0] < 0:
            first = label[torch.arange(REFERENCE_SIZE, device=label.device) % len(label)]
            self.label.copy_(fabric.broadcast(first) if fabric.world_size > 1 else first)
        return generator(torch.cat([self.z, z]), torch.cat([self.label, label]))[REFERENCE_SIZE:]


class VirtualBatchNorm(nn.BatchNorm2d):
    """Batch norm whose mean and variance are those of the reference batch, the first R pictures of its input.

    While it trains, each other picture is normalised by the figures of the reference batch and itself, R + 1 pictures
    (Salimans et al. 2016, sec. 3.5), so that no picture depends on another of its batch. The running figures are
    those of the reference batch now: in evaluation it is a plain batch norm, and loads into one.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Returns the normalised input [R + N, C, H, W]; in evaluation [N, C, H, W]."""
        if not self.training:
            return super().forward(x)
        mean, square = x.mean((2, 3)), x.square().mean((2, 3))
        mean_r, square_r = mean[:REFERENCE_SIZE].mean(0), square[:REFERENCE_SIZE].mean(0)
        with torch.no_grad():
            self.running_mean.copy_(mean_r)
            self.running_var.copy_(square_r - mean_r.square())
            self.num_batches_tracked += 1
        share = 1 / (REFERENCE_SIZE + 1)
        mean = torch.cat([mean_r.expand(REFERENCE_SIZE, -1), torch.lerp(mean_r, mean[REFERENCE_SIZE:], share)])
        square = torch.cat([square_r.expand(REFERENCE_SIZE, -1), torch.lerp(square_r, square[REFERENCE_SIZE:], share)])
        scale = torch.rsqrt((square - mean.square()).clamp_min(0) + self.eps)
        out = (x - mean[..., None, None]) * scale[..., None, None]
        if self.affine:
            out = out * self.weight[:, None, None] + self.bias[:, None, None]
        return out


def use_virtual_batch_norm(network: nn.Module) -> int:
    """Replaces each BatchNorm2d inside `network`, its weights kept, and returns how many there were."""
    found = [(p, name, m) for p in network.modules() for name, m in p.named_children() if isinstance(m, nn.BatchNorm2d)]
    for parent, name, norm in found:
        virtual = VirtualBatchNorm(norm.num_features, norm.eps, affine=norm.affine)
        virtual.load_state_dict(norm.state_dict())
        setattr(parent, name, virtual)
    return len(found)


@contextmanager
def keep_features(discriminator: nn.Module) -> Iterator[list[Tensor]]:
    """Yields a list that fills with what `discriminator.features` returns while it is called.

    So the features [N, F] and the logits come from one pass, whatever else the discriminator's head takes.
    """
    kept: list[Tensor] = []
    features = discriminator.features

    def keep(*inputs: Tensor) -> Tensor:
        kept.append(features(*inputs))
        return kept[-1]

    discriminator.features = keep
    try:
        with uncompiled():
            yield kept
    finally:
        del discriminator.features


@torch.no_grad()
def picture_and_feature_sizes(generator: nn.Module, discriminator: nn.Module) -> tuple[int, int]:
    """Returns C of the generator's pictures and F of the discriminator's features; changes neither network."""
    device = next(generator.parameters()).device
    modes = generator.training, discriminator.training
    generator.eval()
    discriminator.eval()
    label = torch.zeros(2, dtype=torch.int64, device=device)
    x = generator(torch.zeros(2, generator.z_dim, device=device), label)
    with keep_features(discriminator) as kept:
        discriminator(x, label)
    generator.train(modes[0])
    discriminator.train(modes[1])
    return x.shape[1], kept[0].shape[1]


def _flat(weights: Sequence[Tensor]) -> Tensor:
    return torch.cat([w.reshape(-1) for w in weights])
