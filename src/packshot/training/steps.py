"""A loop for networks that learn from pairs of pictures, seeded and resumable: those behind `enhance` and `repair`.

Every batch is a function of the step, so a run that was stopped goes on as if it had not been.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import nn

from packshot.core.runs import append_jsonl
from packshot.training.checkpoint import Progress, list_checkpoints, load_checkpoint, save_checkpoint
from packshot.training.ema import ema_decay, update_ema

WARM_UP = 200
"""Steps over which the learning rate rises."""


class Run(Protocol):
    """What the loop needs to know of a run; `RestoreTraining` and `InpaintTraining` say what each is."""

    @property
    def steps(self) -> int: ...  # noqa: D102
    @property
    def batch_size(self) -> int: ...  # noqa: D102
    @property
    def lr(self) -> float: ...  # noqa: D102
    @property
    def ema_halflife_kimg(self) -> float: ...  # noqa: D102


def run_steps(
    learn: Callable[[int], dict[str, float]],
    networks: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    run: Run,
    out: Path,
    *,
    save: Callable[[Progress], None],
    until: int | None,
    log_every: int,
    save_every: int,
) -> None:
    """Trains to the end of a run, or goes on with the one that lies in `out`.

    The learning rate rises over `WARM_UP` steps and falls along half a cosine to a hundredth.

    Args:
        learn: trains on the batch of a step, and returns its terms by name.
        networks: all that a checkpoint holds; "ema" becomes the average of "net".
        optimizers: of the networks, all with the same learning rate.
        run: its settings.
        out: its folder; gets checkpoints and log.jsonl.
        save: writes what the package would ship; at every checkpoint.
        until: the step to stop at for now; None: the end of the run.
        log_every: steps between lines of the log.
        save_every: steps between checkpoints.
    """
    last = run.steps if until is None else min(until, run.steps)
    checkpoints = out / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    found = list_checkpoints(checkpoints)
    progress = load_checkpoint(found[-1], networks, optimizers) if found else Progress()
    used = time.process_time() - progress.cpu_seconds
    rows: list[dict[str, float]] = []
    while progress.step < last:
        rate = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress.step / run.steps))
        for optimizer in optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = run.lr * rate * min(1.0, (progress.step + 1) / WARM_UP)
        rows.append(learn(progress.step))
        progress.step += 1
        progress.images += run.batch_size
        decay = ema_decay(run.batch_size, progress.images, run.ema_halflife_kimg, 0.05)
        update_ema(networks["ema"], networks["net"], decay)
        if progress.step % log_every == 0 or progress.step == last:
            progress.cpu_seconds = time.process_time() - used
            means = {name: float(np.mean([row[name] for row in rows if name in row])) for name in rows[-1]}
            append_jsonl(out / "log.jsonl", {"step": progress.step, **means, "cpu_seconds": progress.cpu_seconds})
            rows = []
        if progress.step % save_every == 0 or progress.step == last:
            save_checkpoint(checkpoints, progress, networks, optimizers, keep=2)
            save(progress)
