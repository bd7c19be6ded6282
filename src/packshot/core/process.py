"""Habits of the process: how its threads wait, and what becomes of freed memory."""

import ctypes
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

from packshot.core.errors import PackshotError


def wait_without_spinning() -> None:
    """Lets OpenMP's threads sleep while they wait for each other; has to be called before torch is imported.

    By default they spin. On a machine that does something else too, a thread that waits for one that is not running
    burns the very core that the other needs: measured here, a training step cost 4 to 8 times the CPU time.
    A choice that the user has made in the environment stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def keep_freed_memory() -> None:
    """Asks glibc to keep freed blocks instead of giving each back to the system.

    By default glibc maps and unmaps every large block, so a training step pays page faults for all its activations;
    measured here as up to a quarter of the CPU time. Does nothing where the C library is another one.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        libc = ctypes.CDLL("libc.so.6")
        mallopt = libc.mallopt
    except (OSError, AttributeError):
        return
    m_trim_threshold, m_mmap_threshold = -1, -3
    mallopt(m_mmap_threshold, 1 << 30)
    mallopt(m_trim_threshold, (1 << 31) - 1)


def give_back_memory() -> None:
    """Gives freed memory back to the system (glibc), where a process kept it; for once in a while.

    Kept blocks fit the pictures that were, not those that come: a worker of `shoot` held 607 MiB after 110 photos of
    many sizes, growing with each one that was larger than all before; with this at every eighth 350 to 530 over the
    first 80.
    """
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def check_memory(needed: float, what: str, advice: str) -> None:
    """Refuses work that cannot fit into the memory that is free now, before it takes the machine's memory away.

    Args:
        needed: bytes, at the least.
        what: needs them; the sentence's first words, in the plural.
        advice: what to do instead.

    Raises:
        PackshotError: there is less. Nothing is refused where the system does not tell.
    """
    free = free_memory()
    if free is not None and needed > free:
        raise PackshotError(
            f"{what} need about {needed / 2**30:,.1f} GiB of memory, and {free / 2**30:,.1f} GiB are free; {advice}."
        )


def peak_memory() -> float:
    """Returns the most memory in bytes that this process has held so far.

    Linux's own VmHWM where it is there: `ru_maxrss` begins with what the parent held when it started this process.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def free_memory() -> float | None:
    """Returns how many bytes this process may still take (Linux); None where that is not known."""
    known = []
    meminfo, limit = Path("/proc/meminfo"), Path("/sys/fs/cgroup/memory.max")
    try:
        known += [int(row.split()[1]) * 1024 for row in meminfo.read_text().splitlines() if "MemAvailable" in row]
        known.append(int(limit.read_text()))
    except (OSError, ValueError):  # Another system, or no limit ("max").
        pass
    return min(known, default=None)
