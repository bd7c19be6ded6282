"""Weights on disk: safetensors with the model's name and configuration in the header, and a card beside them.

Nothing is ever unpickled. A file that does not fit its network is refused by name and shape.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from packshot.core.errors import PackshotError
from packshot.core.files import disk_errors, write_bytes

N = TypeVar("N", bound=nn.Module)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Writes tensors and a JSON header atomically."""
    plain = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    write_bytes(path, save(plain, metadata={"packshot": json.dumps(header)}))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Returns the tensors (on the CPU) and the JSON header.

    Raises:
        PackshotError: the file is missing, damaged, or not one of ours.
    """
    return _load(path, tensors=True)


def load_header(path: Path) -> dict[str, Any]:
    """Returns the JSON header alone; no tensor is read.

    Raises:
        PackshotError: the file is missing, cut short, or not one of ours.
    """
    return _load(path, tensors=False)[1]


def _load(path: Path, *, tensors: bool) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with disk_errors(path):
        path.stat()
    if path.suffix != ".safetensors":
        raise PackshotError(f"{path} is no .safetensors file, and weights are read from no other: those can run code.")
    try:
        with safe_open(path, framework="pt") as f:
            header = json.loads((f.metadata() or {})["packshot"])
            return {name: f.get_tensor(name) for name in (f.keys() if tensors else ())}, header
    except (SafetensorError, KeyError, ValueError) as e:
        raise PackshotError(f"{path} is damaged or not a Packshot file ({e}); restore it, or train again.") from e


def load_network(path: Path, what: str, build: Callable[[dict[str, Any]], N]) -> N:
    """Returns a network with the weights of a file, ready to answer: no gradients, float32, channels last.

    Args:
        path: the file; float16 weights become float32.
        what: the network in words, for errors.
        build: makes it, its weights anyhow, from the configuration in the file's header.

    Raises:
        PackshotError: the file is missing, damaged, or holds another network.
    """
    tensors, header = load_tensors(path)
    try:
        network = build(header["config"])
    except (KeyError, TypeError, ValueError, PackshotError) as e:
        raise PackshotError(f"{path} holds no {what} of this version ({e}); train it again.") from e
    load_into(network, tensors, str(path))
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def take_part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Returns the tensors whose names begin with `prefix`, under the rest of their names."""
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def load_into(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Copies tensors into a module, keeping the module's memory format.

    Raises:
        PackshotError: names or shapes differ.
    """
    own = module.state_dict()
    wrong = sorted(set(own) ^ set(tensors)) or [n for n in own if own[n].shape != tensors[n].shape]
    if wrong:
        raise PackshotError(
            f"The weights in {where} do not fit the network (first difference: {wrong[0]}); was the model changed?"
        )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])
