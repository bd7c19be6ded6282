"""Networks that compute in bfloat16 and are compiled, while everything around them stays as it is.

Only what a network does inside one call from a step is in bfloat16: its weights, what it returns, and so losses,
penalties, averages and optimisers are float32. The gradient of a penalty runs through the same bfloat16 operations.
"""

import functools
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from packshot.core.errors import UsageError

# What steps call on a network. What is not named here stays in float32, which is slower but never wrong.
CALLS = ("forward", "mixed", "encode", "decode", "features")


def prepare(networks: Iterable[nn.Module], fabric: Fabric, *, precision: str, compiled: bool) -> None:
    """Makes networks compute in another precision, or compiled, from now on. Their weights stay what they are.

    Args:
        networks: changed in place; each gets a subclass of its class, so that copies made before are left alone.
        fabric: knows device and precision.
        precision: "fp32" or "bf16".
        compiled: whether to compile.

    Raises:
        UsageError: there is no compiler.
    """
    if compiled and fabric.device.type == "cpu":
        compiler = os.environ.get("CXX", "g++")
        if shutil.which(compiler) is None and shutil.which("clang++") is None:
            raise UsageError(
                f"--compile needs a C++ compiler, and there is no {compiler}; install one, or leave it out."
            )
    if precision == "fp32" and not compiled:
        return
    for network in (called for n in networks for called in _called(n)):
        base, methods = type(network), {}
        for name in CALLS:
            if hasattr(base, name):
                methods[name] = _wrapped(getattr(base, name), fabric, compiled)
        network.__class__ = type(base.__name__, (base,), methods)


@contextmanager
def uncompiled(when: bool = True) -> Iterator[None]:
    """Runs networks eagerly within: what is compiled cannot be differentiated twice, nor be watched."""
    if not when:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def _called(network: nn.Module) -> list[nn.Module]:
    """Returns the network, or its parts if it has no `forward` and steps call these."""
    if type(network).forward is not nn.Module.forward:
        return [network]
    return [called for child in network.children() for called in _called(child)]


def _wrapped(method: Callable[..., Any], fabric: Fabric, compiled: bool) -> Callable[..., Any]:
    call = torch.compile(method) if compiled else method

    @functools.wraps(method)
    def wrapped(*inputs: Any) -> Any:
        if torch.compiler.is_compiling():  # A part of another call, which has taken care of all this.
            return method(*inputs)
        with fabric.autocast():
            return _float32(call(*inputs))

    return wrapped


def _float32(out: Any) -> Any:
    if isinstance(out, Tensor):
        return out.float() if out.dtype == torch.bfloat16 else out
    return tuple(_float32(part) for part in out) if isinstance(out, tuple) else out
