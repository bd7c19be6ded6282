"""What a competitor is, once it is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.darkroom_parts.cases import Case


@dataclass
class Runner:
    """A competitor that is ready.

    Attributes:
        run: a case to its output, a uint8 array or rows of the log, and facts for the log.
        version: what exactly ran.
        keep: what has to live as long as the runner.
    """

    run: Callable[[Case], tuple[Any, dict[str, Any]]]
    version: str
    keep: list[Any] = field(default_factory=list)


def one_onnx_thread() -> None:
    """Makes every session of onnxruntime that is opened from now on run on one thread: it reads no variable for it."""
    import onnxruntime

    make = onnxruntime.SessionOptions

    def options() -> Any:
        made = make()
        made.intra_op_num_threads = 1
        return made

    onnxruntime.SessionOptions = options
