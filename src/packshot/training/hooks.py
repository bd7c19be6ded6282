"""What is due between steps: log rows, health checks, sample grids, quick evaluations, checkpoints."""

import math
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from packshot.core.progress import Progress as ProgressBar
from packshot.core.runs import RunFolder, append_jsonl
from packshot.training.checkpoint import save_checkpoint
from packshot.training.config import LoopConfig
from packshot.training.loop import LoopState, Unhealthy

# A generator whose pictures vary this little around their category's mean, against the photos', has collapsed.
COLLAPSE_SPREAD = 0.05
COLLAPSE_ROWS = 4
COLLAPSE_AFTER_IMAGES = 3000


class Every:
    """Due once in each `kimg` thousand pictures, counted from the run's beginning; 0 is never."""

    def __init__(self, kimg: float, images: int = 0) -> None:
        self.images = kimg * 1000
        self.last = int(images / self.images) if kimg > 0 else 0

    def due(self, images: int) -> bool:
        """Says whether a new period has begun since the last call."""
        if self.images <= 0:
            return False
        before, self.last = self.last, int(images / self.images)
        return self.last > before


class LogHook:
    """Writes a row of mean loss terms, and raises Unhealthy for not-a-number or collapse, on every rank alike."""

    def __init__(
        self, run: RunFolder | None, config: LoopConfig, bar: ProgressBar, state: LoopState, fabric: Fabric
    ) -> None:
        self.run, self.config, self.bar, self.fabric = run, config, bar, fabric
        self.terms: dict[str, list[Tensor]] = defaultdict(list)
        self.low_rows = 0
        self.mark = (state.progress.seconds, state.progress.images)

    def __call__(self, state: LoopState) -> None:
        """Collects terms; writes a row when one is due."""
        if not state.finished:
            for name, term in state.terms.items():
                self.terms[name].append(term)
        due = state.progress.step % self.config.log_every_steps == 0 or state.finished
        if not due or not self.terms:
            return
        p = state.progress
        means = self._means()
        seconds, images = self.mark
        rate = (p.images - images) / max(p.seconds - seconds, 1e-9)
        self.mark = (p.seconds, p.images)
        self._check(means, state)
        row = {
            "step": p.step,
            "kimg": round(p.images / 1000, 3),
            "seconds": round(p.seconds, 2),
            "cpu_seconds": round(p.cpu_seconds, 2),
            "img_per_s": round(rate, 1),
            **{name: round(value, 5) for name, value in means.items()},
        }
        if self.run is not None:
            append_jsonl(self.run.log_file, row)
        losses = " ".join(f"{k} {v:.3g}" for k, v in means.items())
        left = p.seconds * (1 - state.share) / max(state.share, 1e-6)
        self.bar.update(state.share, f"{p.images / 1000:.1f} kimg  {rate:.0f} img/s  {losses}  {left:.0f} s left")

    def _means(self) -> dict[str, float]:
        """Mean terms of the rows so far over all ranks; the two variances become one `spread`, where there is any."""
        means = torch.stack([torch.stack(values).mean() for values in self.terms.values()])
        if self.fabric.world_size > 1:
            means = self.fabric.all_reduce(means, reduce_op="mean")
        table = dict(zip(self.terms, means.tolist(), strict=True))
        self.terms.clear()
        # A step that makes no pictures has neither.
        fake, real = table.pop("within_fake", 0.0), table.pop("within_real", 0.0)
        if real > 0:
            table["spread"] = math.sqrt(fake / real) if fake >= 0 else math.nan
        return table

    def _check(self, means: dict[str, float], state: LoopState) -> None:
        bad = [name for name, value in means.items() if not math.isfinite(value)]
        if bad:
            raise Unhealthy(f"loss term '{bad[0]}' became {means[bad[0]]} at step {state.progress.step}")
        # Batches without two pictures of one category say nothing of the spread.
        if state.progress.images < COLLAPSE_AFTER_IMAGES or "spread" not in means:
            return
        self.low_rows = self.low_rows + 1 if means["spread"] < COLLAPSE_SPREAD else 0
        state.suspect = self.low_rows > 0
        if self.low_rows >= COLLAPSE_ROWS:
            raise Unhealthy(
                f"the pictures collapsed to one a category at step {state.progress.step} "
                f"(they vary {100 * means['spread']:.1f} % as much as the photos)"
            )


class CheckpointHook:
    """Saves the state on a schedule of wall time and at the end, after the log's health check has passed."""

    def __init__(
        self, run: RunFolder, config: LoopConfig, networks: dict[str, nn.Module], optimizers: dict[str, Optimizer]
    ) -> None:
        self.run, self.config, self.networks, self.optimizers = run, config, networks, optimizers
        self.last = time.monotonic()

    def __call__(self, state: LoopState) -> None:
        """Saves when due. A state with a non-finite weight is never saved, nor one that may be collapsing."""
        due = time.monotonic() - self.last >= self.config.checkpoint_every_seconds and not state.suspect
        if due or state.finished:
            self.save(state)

    def save(self, state: LoopState) -> None:
        """Saves now.

        Raises:
            Unhealthy: a weight is not a number.
        """
        for name, network in self.networks.items():
            if not all(bool(t.isfinite().all()) for t in network.state_dict().values() if t.is_floating_point()):
                raise Unhealthy(f"a weight of the {name} became not-a-number by step {state.progress.step}")
        keep = self.config.keep_checkpoints
        save_checkpoint(self.run.checkpoints, state.progress, self.networks, self.optimizers, keep=keep)
        self.last = time.monotonic()


class ScheduledHook:
    """Calls `action(state)` every so many thousand pictures, and when the budget is used up."""

    def __init__(self, kimg: float, state: LoopState, action: Callable[[LoopState], Any]) -> None:
        self.every, self.action = Every(kimg, state.progress.images), action

    def __call__(self, state: LoopState) -> None:
        """Acts when due; not when a stop was asked for, which should be quick."""
        at_end = state.finished and state.share >= 1 and self.every.images > 0
        if self.every.due(state.progress.images) or at_end:
            self.action(state)
