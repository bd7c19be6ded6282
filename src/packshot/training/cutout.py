"""Trains the matting network: a loop of its own, since its batches are composed, not sampled from a catalogue.

The same settings give the same weights, resumed or not: every batch is a function of (seed, step).
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from packshot.core.runs import append_jsonl, keep_rows_up_to
from packshot.losses.matting import alpha_loss, bce_loss, gradient_loss, iou_loss
from packshot.models.cutout.net import MattingConfig, MattingNet, take_imagenet_weights
from packshot.training.checkpoint import Progress, list_checkpoints, load_checkpoint, save_checkpoint
from packshot.training.cutout_data import Composer
from packshot.training.ema import ema_decay, make_ema, update_ema


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Some steps at one size.

    Attributes:
        steps: how many.
        size: side of the examples in pixels, a multiple of 32.
        batch_size: examples of a step.
    """

    steps: int
    size: int
    batch_size: int


@dataclass(frozen=True, kw_only=True)
class CutoutTraining:
    """All settings of a run.

    Attributes:
        about: the command that this belongs to.
        seed: of weights and examples.
        phases: one after the other; small pictures first, which teach most for their time.
        lr: Adam's step for the decoder.
        encoder_lr: for the encoder, which has learned before; its first two stages stay as they are.
        warmup: steps over which both rise from zero; then they fall along a cosine to a fiftieth.
        ema_halflife_kimg: half-life of the averaged weights, in thousands of examples.
        checkpoint_every: steps.
        net: sizes of the network.
    """

    about: str = ""
    seed: int = 0
    phases: tuple[Phase, ...] = (Phase(steps=1000, size=256, batch_size=8),)
    lr: float = 2e-3
    encoder_lr: float = 2e-4
    warmup: int = 50
    ema_halflife_kimg: float = 0.8
    checkpoint_every: int = 50
    net: MattingConfig = field(default_factory=MattingConfig)

    @property
    def steps(self) -> int:
        """Steps of all phases together."""
        return sum(p.steps for p in self.phases)

    def phase(self, step: int) -> Phase:
        """Returns the phase that `step` belongs to."""
        for phase in self.phases:
            if step < phase.steps:
                return phase
            step -= phase.steps
        return self.phases[-1]


def matting_terms(logits: Tensor, coarse: Tensor, alpha: Tensor) -> dict[str, Tensor]:
    """Returns the loss terms by name, each with its weight in it."""
    small = F.interpolate(alpha, size=coarse.shape[-2:], mode="area")
    return {
        "bce": bce_loss(logits, alpha),
        "iou": iou_loss(logits, alpha),
        "alpha": 2 * alpha_loss(logits, alpha),
        "gradient": 2 * gradient_loss(logits, alpha),
        "coarse": 0.5 * (bce_loss(coarse, small) + iou_loss(coarse, small)),
    }


def rate(step: int, settings: CutoutTraining) -> float:
    """Returns the share of the learning rates that `step` uses."""
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    done = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def start(settings: CutoutTraining) -> tuple[MattingNet, torch.optim.Optimizer]:
    """Returns the network as it begins, its first two stages frozen, and its optimiser: encoder, then decoder."""
    torch.manual_seed(settings.seed)
    net = MattingNet(settings.net)
    take_imagenet_weights(net.encoder)
    for part in (net.encoder.stem, *net.encoder.stages[:2]):
        part.requires_grad_(False)
    net = net.to(memory_format=torch.channels_last)
    encoder = [p for p in net.encoder.parameters() if p.requires_grad]
    known = {id(p) for p in net.encoder.parameters()}
    decoder = [p for p in net.parameters() if id(p) not in known]
    groups: list[dict[str, Any]] = [{"params": encoder}, {"params": decoder}]
    return net, torch.optim.AdamW(groups, lr=settings.lr, weight_decay=1e-2, betas=(0.9, 0.99))


def train_cutout(
    settings: CutoutTraining, composer: Composer, out: Path, *, say: Callable[[str], None] = print
) -> MattingNet:
    """Trains, or goes on with what OUT/checkpoints holds, and returns the averaged network.

    Args:
        settings: of the run.
        composer: makes the examples.
        out: gets checkpoints and log.jsonl.
        say: takes a line now and then.

    Raises:
        PackshotError: the disk refuses, or a checkpoint is of another network.
    """
    net, optimizer = start(settings)
    ema, progress = make_ema(net), Progress()
    networks, optimizers = {"net": net, "ema": ema}, {"adam": optimizer}
    if saved := list_checkpoints(out / "checkpoints"):
        progress = load_checkpoint(saved[-1], networks, optimizers)
        keep_rows_up_to(out / "log.jsonl", progress.step)
    before = time.process_time() - progress.cpu_seconds
    (out / "checkpoints").mkdir(parents=True, exist_ok=True)
    sums: dict[str, float] = {}
    while progress.step < settings.steps:
        phase = settings.phase(progress.step)
        for group, lr in zip(optimizer.param_groups, (settings.encoder_lr, settings.lr), strict=True):
            group["lr"] = lr * rate(progress.step, settings)
        photos, alpha = composer.batch(progress.step, phase.batch_size, phase.size)
        net.train()
        terms = matting_terms(*net(photos), alpha)
        optimizer.zero_grad()
        loss = torch.stack(list(terms.values())).sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        progress.step += 1
        progress.images += phase.batch_size
        update_ema(ema, net, ema_decay(phase.batch_size, progress.images, settings.ema_halflife_kimg, 0.2))
        progress.cpu_seconds = time.process_time() - before
        for name, term in terms.items():
            sums[name] = sums.get(name, 0.0) + float(term.detach())
        if progress.step % 10 == 0:
            row = {"step": progress.step, "images": progress.images, "cpu_seconds": round(progress.cpu_seconds, 1)}
            row |= {name: round(total / 10, 5) for name, total in sums.items()}
            append_jsonl(out / "log.jsonl", row)
            say(str(row))
            sums = {}
        if progress.step % settings.checkpoint_every == 0 or progress.step == settings.steps:
            save_checkpoint(out / "checkpoints", progress, networks, optimizers, keep=2)
    return ema
