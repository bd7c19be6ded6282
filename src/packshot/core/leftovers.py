"""What killed processes leave: the temporary files of `atomic_path`, removed where nobody else can be writing them."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from packshot.core.files import disk_errors

TEMPORARY = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}\.tmp", re.DOTALL)
"""The names that `atomic_path` gives."""


def remove_leftovers(folder: Path, wanted: Callable[[str], bool]) -> None:
    """Removes the temporary files in a folder, not in the folders below it, that were to get a name that is wanted."""
    with disk_errors(folder):
        if not folder.is_dir():
            return
        for entry in os.scandir(folder):
            found = TEMPORARY.fullmatch(entry.name)
            if found and wanted(found["name"]) and entry.is_file(follow_symlinks=False):
                Path(entry.path).unlink(missing_ok=True)


@contextmanager
def no_leftovers(out: Path, folders: Iterable[Path], wanted: Callable[[str], bool]) -> Iterator[None]:
    """Removes leftovers before and after the block, unless another process is in such a block for the same `out`.

    Args:
        out: a folder that is there; it is locked (flock), which needs no file and ends with the process.
        folders: where files are written within the block.
        wanted: see `remove_leftovers`.
    """
    folders = list(folders)
    with disk_errors(out):
        lock = os.open(out, os.O_RDONLY)
    try:
        if _locked(lock, fcntl.LOCK_EX):
            for folder in folders:
                remove_leftovers(folder, wanted)
        _locked(lock, fcntl.LOCK_SH)
        try:
            yield
        finally:
            if _locked(lock, fcntl.LOCK_EX):
                for folder in folders:
                    remove_leftovers(folder, wanted)
    finally:
        os.close(lock)


def _locked(lock: int, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except OSError:  # Another one has it, or the file system knows no locks.
        return False
    return True
