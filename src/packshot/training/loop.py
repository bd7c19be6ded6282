"""THE training loop, for every family: batch, step, average, then whatever is due."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from lightning_fabric import Fabric
from torch import Tensor, nn

from packshot.models.ranges import to_model
from packshot.training.budget import Budget
from packshot.training.checkpoint import Progress
from packshot.training.config import LoopConfig
from packshot.training.data import Batches, Noise
from packshot.training.ema import ema_decay, update_ema
from packshot.training.step import Batch, Step


class Unhealthy(Exception):
    """The run went wrong: not-a-number, or collapse. The message says what was seen."""


@dataclass
class LoopState:
    """What the loop shows to its hooks.

    Attributes:
        progress: where the run is.
        share: used share of the budget, in [0, 1].
        terms: loss terms of the step just done, detached scalars by name.
        finished: the budget is used up or a stop was asked for; hooks write what they still hold.
        suspect: the last log row looked like the beginning of a collapse; no checkpoint is due.
    """

    progress: Progress
    share: float = 0.0
    terms: dict[str, Tensor] = field(default_factory=dict)
    finished: bool = False
    suspect: bool = False


Hook = Callable[[LoopState], None]


class Clock:
    """Wall and CPU-seconds of the run: those of earlier starts plus those since this one."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.rewind()

    def rewind(self) -> None:
        """Goes on from what `progress` says now (after a checkpoint was loaded)."""
        self._wall = time.monotonic() - self.progress.seconds
        self._cpu = time.process_time() - self.progress.cpu_seconds

    def read(self) -> None:
        """Brings `progress` up to now."""
        self.progress.seconds = time.monotonic() - self._wall
        self.progress.cpu_seconds = time.process_time() - self._cpu


def learning_rate_factor(share: float, config: LoopConfig) -> float:
    """1 until `lr_decay_from` of the budget is used, then linearly down to `lr_floor` at its end."""
    if share <= config.lr_decay_from or config.lr_decay_from == 1:
        return 1.0
    left = (1 - share) / (1 - config.lr_decay_from)
    return config.lr_floor + (1 - config.lr_floor) * left


def run_loop(
    *,
    step: Step,
    ema: nn.Module,
    sampler: nn.Module,
    batches: Batches,
    noise: Noise,
    budget: Budget,
    config: LoopConfig,
    state: LoopState,
    clock: Clock,
    fabric: Fabric,
    hooks: Sequence[Hook],
    stop_asked: Callable[[], bool],
) -> None:
    """Trains until the budget is used up or a stop is asked for.

    Raises:
        Unhealthy: a hook found not-a-number or collapse; `state` says where.
    """
    progress, first = state.progress, state.progress.step
    state.finished = False

    def share_used() -> float:
        clock.read()
        return budget.progress(seconds=progress.seconds, cpu_seconds=progress.cpu_seconds, images=progress.images)

    scale = 0.5**progress.attempt
    state.share = _agree(share_used(), fabric)
    while state.share < 1 and not _agree(float(stop_asked()), fabric):
        factor = scale * learning_rate_factor(state.share, config)
        for optimizer in step.optimizers.values():
            for group in optimizer.param_groups:
                # Kept in the group, and so in the checkpoint: "lr" alone would be the lowered one after a resume.
                group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor

        images, labels, cond = batches.at(progress.step, progress.attempt)
        batch = Batch(
            images=to_model(images.to(fabric.device)),
            labels=labels.to(fabric.device),
            step=progress.step,
            noise=lambda name, dim: noise.at(name, progress.step, dim, progress.attempt).to(fabric.device),
            cond=None if cond is None else cond.to(fabric.device),
        )
        state.terms = step(batch, fabric)
        progress.step += 1
        progress.images += config.batch_size
        decay = ema_decay(config.batch_size, progress.images, config.ema_halflife_kimg, config.ema_rampup)
        update_ema(ema, sampler, decay)

        state.share = _agree(share_used(), fabric)
        for hook in hooks:
            hook(state)
    if progress.step > first:
        state.finished = True
        for hook in hooks:
            hook(state)


def _agree(value: float, fabric: Fabric) -> float:
    """Every rank goes by the first one's clock and signals."""
    return value if fabric.world_size == 1 else float(fabric.broadcast(value))


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM set the event, so that the loop ends after its step and leaves a good checkpoint."""
    event = threading.Event()

    def asked(number: int, _: object) -> None:
        event.set()
        signal.signal(number, old[number])  # A second signal ends the process at once.

    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    old = {s: signal.signal(s, asked) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for s, handler in old.items():
            signal.signal(s, handler)
