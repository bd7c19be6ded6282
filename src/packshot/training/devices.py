"""What a run trains on: devices, ranks, and what only the first rank does."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lightning_fabric import Fabric

from packshot.core.errors import PackshotError, UsageError
from packshot.core.process import keep_freed_memory


@dataclass(frozen=True, kw_only=True)
class Devices:
    """What to train on.

    Attributes:
        accelerator: "cpu", "cuda", or "auto" for the best that is there.
        per_node: devices on each node, one rank each.
        nodes: machines, started by torchrun.
    """

    accelerator: str = "auto"
    per_node: int = 1
    nodes: int = 1


ONE = Devices()


def launch(devices: Devices) -> Fabric:
    """Starts the ranks.

    Raises:
        UsageError: there are no such devices.
    """
    keep_freed_memory()
    strategy = "ddp" if devices.per_node * devices.nodes > 1 else "auto"
    try:
        fabric = Fabric(
            accelerator=devices.accelerator, devices=devices.per_node, num_nodes=devices.nodes, strategy=strategy
        )
    except (ValueError, RuntimeError) as e:
        reason = str(e).splitlines()[0].rstrip(".")
        raise UsageError(
            f"These devices cannot be used ({reason}); choose others by --accelerator and --devices."
        ) from e
    fabric.launch()
    return fabric


def on_leader(fabric: Fabric, action: Callable[[], Any]) -> None:
    """Does something on the first rank; where it fails, every rank raises the same sentence."""
    problem: PackshotError | None = None
    if fabric.global_rank == 0:
        try:
            action()
        except PackshotError as e:
            problem = e
    if fabric.world_size > 1:
        problem = fabric.broadcast(problem)
    if problem is not None:
        raise problem
