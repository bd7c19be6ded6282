"""What the desk is asked in tests; in a module of its own, as a process loads it by name."""

import os
import signal
import tempfile
import time
from pathlib import Path

from packshot.core.errors import PackshotError, UsageError


def double(value: int) -> int:
    return 2 * value


def pid() -> int:
    return os.getpid()


def refuse(sentence: str) -> None:
    raise UsageError(sentence)


def fault() -> None:
    raise KeyError("inside")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(folder: Path) -> str:
    """Ends the first process that tries."""
    mark = folder / "tried"
    if not mark.exists():
        mark.touch()
        die()
    return "done"


def wait_for(path: Path) -> str:
    """Ends when a file is there."""
    path.with_suffix(".begun").touch()
    while not path.exists():
        time.sleep(0.01)
    return path.name


def put_down(data: bytes, never: Path) -> None:
    """Writes a temporary file, and then takes for ever."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "picture").write_bytes(data)
        wait_for(never)


def unsendable() -> object:
    return lambda: None


class Odd(PackshotError):
    """An error of a kind of its own."""
