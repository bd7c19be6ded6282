"""What a run trains on: devices, ranks, and what only the first rank does."""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import TorchElasticEnvironment

from packshot.core.errors import PackshotError, UsageError
from packshot.core.process import keep_freed_memory

# What torchrun tells each rank, and so do the engines in jobs/.
RANK_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}
# How gloo and NCCL begin or word what they raise when the other end of a connection is gone.
LOST_PEER = ("connection closed by peer", "connection reset by peer", "broken pipe", "gloo", "nccl", "socket")


@dataclass(frozen=True, kw_only=True)
class Devices:
    """What to train on.

    Attributes:
        accelerator: "cpu", "cuda", or "auto" for the best that is there.
        per_node: devices on each node, one rank each.
        nodes: machines.
    """

    accelerator: str = "auto"
    per_node: int = 1
    nodes: int = 1

    @property
    def ranks(self) -> int:
        """How many processes train."""
        return self.per_node * self.nodes


ONE = Devices()


class LostRank(PackshotError):
    """Another rank of this run ended, so that this one cannot go on."""


class _Ranks(TorchElasticEnvironment):
    """Ranks that somebody else started: torchrun, or an engine of `packshot.jobs`, which sets the same variables."""

    def validate_settings(self, num_devices: int, num_nodes: int) -> None:
        """Nothing to compare: `launch` did, and Ray may spread its workers unevenly over the nodes."""


def is_rank() -> bool:
    """Says whether this process was started as one rank of a group."""
    return all(name in os.environ for name in RANK_VARIABLES)


def launch(devices: Devices, precision: str = "fp32") -> Fabric:
    """Joins the other ranks, where there are any.

    Args:
        devices: what to train on.
        precision: "fp32", or "bf16" for Fabric's `autocast` in bfloat16.

    Raises:
        UsageError: there are no such devices, or nobody started the ranks.
    """
    keep_freed_memory()
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # Else it greets each rank on stderr.
    per_node, plugins = devices.per_node, []
    if is_rank():
        started = int(os.environ["WORLD_SIZE"])
        if started != devices.ranks:
            raise UsageError(
                f"{started} ranks were started, but --devices {devices.per_node} on --nodes {devices.nodes} "
                f"are {devices.ranks}; make them equal."
            )
        per_node, plugins = int(os.environ["LOCAL_WORLD_SIZE"]), [_Ranks()]
    elif devices.ranks > 1:
        raise UsageError(f"Nobody started the {devices.ranks} ranks; `packshot train --devices` does, or torchrun.")
    there = torch.cuda.device_count()
    if devices.accelerator == "cuda" and there < per_node:
        raise UsageError(
            f"{per_node} CUDA device{'s were' if per_node > 1 else ' was'} asked for, and there "
            f"{'are' if there > 1 else 'is'} {there or 'none'} here; choose others by --accelerator and --devices."
        )
    try:
        fabric = Fabric(
            accelerator=devices.accelerator,
            devices=per_node,
            num_nodes=devices.nodes,
            strategy="ddp" if devices.ranks > 1 else "auto",
            precision=PRECISIONS[precision],
            plugins=plugins if devices.ranks > 1 else None,
        )
    except (ValueError, RuntimeError) as e:
        reason = str(e).splitlines()[0].rstrip(".")
        raise UsageError(
            f"These devices cannot be used ({reason}); choose others by --accelerator and --devices."
        ) from e
    if precision == "bf16" and fabric.device.type == "cuda" and not torch.cuda.is_bf16_supported(False):
        raise UsageError("This GPU does not compute in bfloat16; train with loop.precision=fp32.")
    fabric.launch()
    return fabric


def lost_rank(error: RuntimeError) -> bool:
    """Says whether an operation failed because another rank is gone."""
    if isinstance(error, torch.distributed.DistError):
        return True
    return is_rank() and any(words in str(error).lower() for words in LOST_PEER)


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
