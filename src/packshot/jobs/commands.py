"""Jobs that are a command line of packshot: a process of its own, its progress, its end; again where it was lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from packshot.core.errors import PackshotError
from packshot.core.files import disk_errors

START = """
import ctypes, os, runpy, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)  # It ends with the thread that waits for it, however that ends.
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
sys.argv = ["packshot", *sys.argv[2:]]
runpy.run_module("packshot", run_name="__main__", alter_sys=True)
"""
TAIL = 32_768
"""Bytes of a log that are told."""
GRACE = 1.5
"""Seconds that a command which is cancelled has to end by itself; a training writes a checkpoint."""
POLL = 0.2
TELL = 1.0
RESUMED = ("--devices", "--nodes", "--accelerator", "--engine", "--ray-address", "--restarts", "--budget")
"""Options of a training that one which goes on takes as well."""

Tell = Callable[["Progress", str], None]


class Progress(NamedTuple):
    """How far a command is: `finished` of `total` units (0: unknown), and units a minute (None: unknown)."""

    finished: int
    total: int
    rate: float | None


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended.

    Attributes:
        code: of its exit; below 0: the signal that ended it.
        said: its last error, one sentence.
        stopped: it was asked to end.
    """

    code: int
    said: str
    stopped: bool = False


def run_command(argv: Sequence[str], folder: Path, wanted: Callable[[], bool], tell: Tell) -> Ended:
    """Runs a command line of packshot, and waits for it.

    Args:
        argv: what stands after `packshot`.
        folder: in which it runs and writes log.txt; made if it is not there.
        wanted: whether it is still to be done; asked every moment.
        tell: is told its progress and the last of its log, every second, and in the end.

    Raises:
        PackshotError: the folder cannot be used.
    """
    log = folder / "log.txt"
    with disk_errors(log):
        folder.mkdir(parents=True, exist_ok=True)
        out = log.open("ab")
    run = run_folder(argv)
    arguments = [sys.executable, "-P", "-c", START, str(os.getpid()), *resumed(argv)]
    package = str(Path(__file__).parents[2])
    paths = os.pathsep.join([package, *(path or str(Path.cwd()) for path in sys.path)])
    with out:
        process = subprocess.Popen(
            arguments,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=os.environ | {"PYTHONPATH": paths},
            start_new_session=True,
        )
    stopped = False
    try:
        told = 0.0
        while process.poll() is None:
            if not wanted():
                stopped = True
                _end(process)
                break
            if time.monotonic() - told >= TELL:
                tell(read_progress(run), tail(log))
                told = time.monotonic()
            time.sleep(POLL)
        code = process.wait()
    finally:
        _kill(process)
    tell(read_progress(run), tail(log))
    return Ended(code=code, said=_said(tail(log)), stopped=stopped)


def resumed(argv: Sequence[str]) -> list[str]:
    """Returns the command line that goes on where an earlier start of the same one was.

    All commands of packshot go on by themselves, but a training: it has to be told.
    """
    run = run_folder(argv)
    if run is None or not (run / "run.json").is_file():
        return list(argv)
    kept = []
    for option in RESUMED[:-1]:
        if option in argv[:-1]:
            kept += [option, argv[list(argv).index(option) + 1]]
    return ["train", "--resume", str(run), *kept, *(flag for flag in ("--quiet", "--json") if flag in argv)]


def run_folder(argv: Sequence[str]) -> Path | None:
    """Returns the folder of the run that a command line trains; None: it trains none."""
    if argv[:1] != ("train",) and list(argv[:1]) != ["train"]:
        return None
    for option in ("--out", "--resume"):
        if option in argv[:-1]:
            return Path(argv[list(argv).index(option) + 1])
    return None


def read_progress(run: Path | None) -> Progress:
    """Returns how far a training is, by the last row of its log; of another command: nothing is known."""
    if run is None:
        return Progress(0, 0, None)
    rows = [row for line in tail(run / "log.jsonl").splitlines() if (row := _row(line)) is not None]
    if not rows:
        return Progress(0, 0, None)
    last, first = rows[-1], rows[0]
    seconds, steps = last.get("seconds", 0) - first.get("seconds", 0), last["step"] - first["step"]
    rate = 60 * steps / seconds if steps > 0 and seconds > 0 else None
    return Progress(last["step"], max(last["step"], _planned(run, last)), rate)


def _planned(run: Path, last: dict[str, Any]) -> int:
    """Returns how many steps a run will have, by what one took so far; 0: unknown."""
    try:
        budget = json.loads((run / "run.json").read_text())["config"]["budget"]
    except (OSError, ValueError, LookupError, TypeError):
        return 0
    from packshot.training.budget import parse_budget

    try:
        share = parse_budget(budget).progress(
            seconds=last["seconds"], cpu_seconds=last["cpu_seconds"], images=round(1000 * last["kimg"])
        )
    except (PackshotError, LookupError, TypeError, AttributeError):
        return 0
    return round(last["step"] / share) if share > 0 else 0


def tail(path: Path) -> str:
    """Returns the last of a text file, whole lines, progress bars at their last state; empty where there is none."""
    try:
        with path.open("rb") as f:
            size = f.seek(0, os.SEEK_END)
            f.seek(max(0, size - TAIL))
            data = f.read()
    except OSError:
        return ""
    lines = data.decode(errors="replace").split("\n")
    whole = lines[1:] if size > TAIL else lines
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in whole).replace("\0", "")


def _row(line: str) -> dict[str, Any] | None:
    with suppress(ValueError):
        row = json.loads(line)
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            return row
    return None


def _said(log: str) -> str:
    lines = [line for line in log.splitlines() if line.strip()]
    ours = [line.removeprefix("packshot: ") for line in lines if line.startswith("packshot: ")]
    return (ours or lines or ["it said nothing"])[-1].strip()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Asks a command to end, and gives it a moment."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Ends what is left of a command and of its children."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
