"""Checkpoints: everything that the next step depends on, in one safetensors file, written whole or not at all."""

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from packshot.core.errors import PackshotError
from packshot.models.weights import load_into, load_tensors, save_tensors, take_part


@dataclass
class Progress:
    """Where a run is.

    Attributes:
        step: steps done.
        images: real pictures seen, over all ranks.
        seconds: wall seconds used, over all starts of the run.
        cpu_seconds: CPU-seconds used by this process, over all starts.
        attempt: how often the run was rolled back; a part of the streams of noise and flips from then on, and each
            halves the learning rates.
    """

    step: int = 0
    images: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    attempt: int = 0


def checkpoint_path(folder: Path, step: int) -> Path:
    """Returns `folder`/step-0001234.safetensors."""
    return folder / f"step-{step:08d}.safetensors"


def list_checkpoints(folder: Path) -> list[Path]:
    """Returns the whole checkpoints, oldest first."""
    return sorted(p for p in folder.glob("step-*.safetensors") if re.fullmatch(r"step-\d{8}", p.stem))


def remove_leftovers(folder: Path, *, after: Path) -> None:
    """Removes what a kill left behind: damaged checkpoints newer than `after`, and unfinished files."""
    for path in [*(p for p in list_checkpoints(folder) if p > after), *folder.glob(".*.tmp")]:
        path.unlink(missing_ok=True)


def save_checkpoint(
    folder: Path, progress: Progress, networks: dict[str, nn.Module], optimizers: dict[str, Optimizer], *, keep: int
) -> Path:
    """Writes a checkpoint and removes all but the `keep` newest."""
    tensors: dict[str, Tensor] = {}
    groups: dict[str, Any] = {}
    for name, network in networks.items():
        tensors |= {f"net/{name}/{k}": v for k, v in network.state_dict().items()}
    for name, optimizer in optimizers.items():
        state = optimizer.state_dict()
        groups[name] = state["param_groups"]
        for i, values in state["state"].items():
            tensors |= {f"opt/{name}/{i}/{k}": v for k, v in values.items()}
    path = checkpoint_path(folder, progress.step)
    save_tensors(path, tensors, {"progress": asdict(progress), "optimizers": groups})
    for old in list_checkpoints(folder)[:-keep]:
        old.unlink()
    return path


def load_checkpoint(path: Path, networks: dict[str, nn.Module], optimizers: dict[str, Optimizer]) -> Progress:
    """Puts a checkpoint into networks and optimisers, and returns where the run was.

    Raises:
        PackshotError: the file is damaged or belongs to another configuration.
    """
    tensors, header = load_tensors(path)
    for name, network in networks.items():
        load_into(network, take_part(tensors, f"net/{name}/"), str(path))
    try:
        for name, optimizer in optimizers.items():
            _load_optimizer(optimizer, name, tensors, header)
        return Progress(**header["progress"])
    except (KeyError, TypeError, IndexError, ValueError, RuntimeError) as e:
        raise PackshotError(f"{path} was written by another version of Packshot ({e}); train again.") from e


def _load_optimizer(optimizer: Optimizer, name: str, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(f"opt/{name}/"):
            *_, i, field = key.split("/")
            state.setdefault(int(i), {})[field] = value
    for i, values in state.items():
        # Fused Adam walks parameter and moments side by side in memory: the moments need the parameter's own strides.
        state[i] = {k: torch.empty_like(parameters[i]).copy_(v) if v.dim() else v for k, v in values.items()}
    optimizer.load_state_dict({"state": state, "param_groups": header["optimizers"][name]})
