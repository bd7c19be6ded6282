"""Threads inside torch's operations."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Runs torch's operations on one thread within.

    For small networks: their operations are too short to share out, and on a busy machine threads wait for each other
    (measured: four times the CPU time). The results then do not depend on the number of cores either.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
