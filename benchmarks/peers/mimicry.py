"""SNGAN (Miyato et al. 2018, arXiv:1802.05957) and cGAN with a projection discriminator (Miyato and Koyama 2018,
arXiv:1802.05637) of the package torch-mimicry: its networks, losses and training steps.

What is ours: the package's front door imports torchvision, tensorflow and more for its metrics, so an empty module
of its name stands in for that, and the rooms behind it, which need torch alone, are imported as they are. The
networks make RGB: grey photos are given three times over, and the three channels of a sample are averaged. Settings
as the package's own benchmark: batches of 64, Adam with rate 2e-4 and betas (0, 0.9), five steps of D for one of G,
rates that fall linearly to 0; only that the fall goes by the share of CPU time. `-narrow` sets the package's
arguments ngf and ndf (256 and 128 at 32 px; 1,024 at 64 px) to a quarter and a half, which suit a CPU better.
"""

import importlib
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.peers.learner import Task
from benchmarks.peers.sampling import in_batches

RATE, BETAS, D_STEPS = 2e-4, (0.0, 0.9), 5


class NoLog:
    """Takes the place of the package's MetricLog."""

    def add_metric(self, *args: Any, **more: Any) -> None:
        pass


def room(name: str) -> types.ModuleType:
    """Imports torch_mimicry.NAME without the package's own `__init__`."""
    if "torch_mimicry" not in sys.modules:
        found = importlib.util.find_spec("torch_mimicry")
        if found is None or found.origin is None:
            raise ModuleNotFoundError("torch_mimicry is not installed; see benchmarks/peers/README.md.")
        door = types.ModuleType("torch_mimicry")
        door.__path__ = [str(Path(found.origin).parent)]
        sys.modules["torch_mimicry"] = door
    return importlib.import_module(f"torch_mimicry.{name}")


class MimicryGAN:
    batch_size = 64

    def __init__(self, g: nn.Module, d: nn.Module, task: Task, conditional: bool) -> None:
        self.g, self.d, self.seed, self.grey, self.conditional = g, d, task.seed, task.channels == 1, conditional
        self.steps, self.log = 0, NoLog()
        self.g.to(memory_format=torch.channels_last)
        self.d.to(memory_format=torch.channels_last)
        self.g_optimizer = torch.optim.Adam(g.parameters(), RATE, betas=BETAS)
        self.d_optimizer = torch.optim.Adam(d.parameters(), RATE, betas=BETAS)

    def step(self, images: Tensor, labels: Tensor, share: float) -> None:
        """One step of D, and before every fifth one of G, each on its own batch, as the package's trainer does."""
        real = (images.expand(-1, 3, -1, -1) if self.grey else images, labels)
        for optimizer in (self.g_optimizer, self.d_optimizer):
            optimizer.param_groups[0]["lr"] = RATE * (1 - share)
        cpu = torch.device("cpu")
        if self.steps % D_STEPS == 0:
            self.g.train_step(real_batch=real, netD=self.d, optG=self.g_optimizer, log_data=self.log, device=cpu)
        self.d.train_step(real_batch=real, netG=self.g, optD=self.d_optimizer, log_data=self.log, device=cpu)
        self.steps += 1

    def sample(self, labels: np.ndarray) -> np.ndarray:
        def make(y: Tensor) -> Tensor:
            z = torch.randn(len(y), self.g.nz)
            x = self.g(z, y) if self.conditional else self.g(z)
            return x.mean(1, keepdim=True) if self.grey else x

        return in_batches(self.g, make, labels, self.seed)


def build_sngan(task: Task, *, narrow: bool = False) -> MimicryGAN:
    nets = room("nets.sngan")
    g, d = getattr(nets, f"SNGANGenerator{task.size}"), getattr(nets, f"SNGANDiscriminator{task.size}")
    if not narrow:
        return MimicryGAN(g(), d(), task, conditional=False)
    ngf, ndf = (64, 64) if task.size == 32 else (256, 512)
    return MimicryGAN(g(ngf=ngf), d(ndf=ndf), task, conditional=False)


def build_cgan_pd(task: Task, *, narrow: bool = False) -> MimicryGAN:
    nets = room("nets.cgan_pd")
    widths = ({"ngf": 64}, {"ndf": 64}) if narrow else ({}, {})
    g = nets.CGANPDGenerator32(num_classes=task.categories, **widths[0])
    d = nets.CGANPDDiscriminator32(num_classes=task.categories, **widths[1])
    return MimicryGAN(g, d, task, conditional=True)
