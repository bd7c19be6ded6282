"""The network of Radford et al. 2015, "Unsupervised representation learning with deep convolutional GANs",
arXiv:1511.06434, written from the paper, with the paper's widths; unconditional, as published.

The paper's generator goes from 4x4 with 1,024 channels over 512, 256 and 128 to a 64x64 picture. Here the same four
transposed convolutions of 5x5 with stride 2 end at the asked-for size, so 32 px pictures begin at 2x2. Batch
normalisation everywhere but at the generator's output and the discriminator's input; ReLU in the generator, leaky
ReLU (0.2) in the discriminator; weights from N(0, 0.02^2); Adam with rate 2e-4 and beta1 0.5; batches of 128; z from
the uniform distribution on [-1, 1]^100; the non-saturating loss.

Letters: N pictures, z prior sample.
"""

from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.peers.learner import Task
from benchmarks.peers.sampling import in_batches

WIDTHS = (1024, 512, 256, 128)
Z_DIM = 100


def build_generator(size: int, channels: int) -> nn.Module:
    """z [N, 100] to pictures [N, C, S, S] in [-1, 1]."""
    start = size // 16
    layers: list[nn.Module] = [
        nn.Linear(Z_DIM, WIDTHS[0] * start * start, bias=False),
        nn.Unflatten(1, (WIDTHS[0], start, start)),
        nn.BatchNorm2d(WIDTHS[0]),
        nn.ReLU(),
    ]
    for wide, narrow in pairwise(WIDTHS):
        up = nn.ConvTranspose2d(wide, narrow, 5, stride=2, padding=2, output_padding=1, bias=False)
        layers += [up, nn.BatchNorm2d(narrow), nn.ReLU()]
    layers += [nn.ConvTranspose2d(WIDTHS[-1], channels, 5, stride=2, padding=2, output_padding=1), nn.Tanh()]
    return nn.Sequential(*layers)


def build_discriminator(size: int, channels: int) -> nn.Module:
    """Pictures [N, C, S, S] to logits [N, 1]."""
    widths = (channels, *reversed(WIDTHS))
    layers: list[nn.Module] = []
    for i, (narrow, wide) in enumerate(pairwise(widths)):
        layers.append(nn.Conv2d(narrow, wide, 5, stride=2, padding=2, bias=i == 0))
        layers += [nn.BatchNorm2d(wide)] if i else []
        layers.append(nn.LeakyReLU(0.2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(WIDTHS[0] * (size // 16) ** 2, 1))


def init_weights(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(layer.weight, 0.0, 0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0, 0.02)


class DCGANPaper:
    batch_size = 128

    def __init__(self, task: Task) -> None:
        self.seed = task.seed
        self.g = build_generator(task.size, task.channels).apply(init_weights)
        self.d = build_discriminator(task.size, task.channels).apply(init_weights)
        self.g_optimizer, self.d_optimizer = (
            torch.optim.Adam(net.parameters(), 2e-4, betas=(0.5, 0.999)) for net in (self.g, self.d)
        )

    def step(self, images: Tensor, labels: Tensor, share: float) -> None:
        fake = self.g(torch.rand(len(images), Z_DIM) * 2 - 1)
        real_loss = F.softplus(-self.d(images)).mean()
        fake_loss = F.softplus(self.d(fake.detach())).mean()
        self.d_optimizer.zero_grad()
        (real_loss + fake_loss).backward()
        self.d_optimizer.step()
        self.d.requires_grad_(False)
        self.g_optimizer.zero_grad()
        F.softplus(-self.d(fake)).mean().backward()
        self.g_optimizer.step()
        self.d.requires_grad_(True)

    def sample(self, labels: np.ndarray) -> np.ndarray:
        return in_batches(self.g, lambda y: self.g(torch.rand(len(y), Z_DIM) * 2 - 1), labels, self.seed)


def build(task: Task) -> DCGANPaper:
    return DCGANPaper(task)
