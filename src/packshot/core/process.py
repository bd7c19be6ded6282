"""Habits of the process: how its threads wait, and what becomes of freed memory."""

import ctypes
import os
import sys


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
