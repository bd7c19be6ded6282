"""Keeps Pillow's file readers quiet: what they warn about is either an error of ours or nothing at all."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.RLock()


@contextmanager
def quiet() -> Iterator[None]:
    """Runs a block without Python warnings.

    Python's warning filters belong to the whole process, so blocks of different threads take turns; keep them short.
    """
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
