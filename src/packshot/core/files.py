"""Files that are whole or not there: atomic writes, checksums, and disk errors as sentences."""

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from packshot.core.errors import DiskFull, PackshotError, UsageError


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns the operating system's refusals about `path` into one clear sentence.

    Raises:
        PackshotError: disk full, no permission, not a directory, file missing.
    """
    try:
        yield
    except OSError as e:
        reasons = {
            errno.ENOSPC: "the disk is full; free some space and run the same command again",
            errno.EFBIG: "the file would be larger than this disk or account allows; free some space, or ask for more",
            errno.EDQUOT: "your disk quota is used up; free some space and run the same command again",
            errno.EACCES: "permission denied; choose a folder that you may write to",
            errno.EPERM: "permission denied; choose a folder that you may write to",
            errno.EROFS: "the file system is read-only; choose another folder",
            errno.ENOTDIR: "a part of this path is a file, not a folder",
            errno.EEXIST: "a part of this path is a file, not a folder",  # Only `mkdir` says it in this project.
            errno.EISDIR: "it is a folder, not a file",
            errno.ENOENT: "no such file or folder",
            errno.ENAMETOOLONG: "the name is too long",
        }
        if e.errno not in reasons:
            raise
        own = str(e.filename).endswith(".tmp")  # A name of ours (`atomic_path`), which nobody knows.
        kind = DiskFull if e.errno in (errno.ENOSPC, errno.EDQUOT) else PackshotError
        raise kind(f"Cannot use {path if own else e.filename or path}: {reasons[e.errno]}.") from e


@contextmanager
def atomic_path(path: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it is flushed to disk and renamed over `path`, else removed.

    A reader, or a run that follows a kill -9, sees the old file or the new one, never a part.

    Args:
        path: where the file shall be; missing folders are made.
        overwrite: whether a file that is there already, or appears meanwhile, may be replaced.

    Raises:
        PackshotError: the disk refuses (full, read-only, no permission), or `path` exists and may not be replaced.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with disk_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            with temporary.open("rb") as f:
                os.fsync(f.fileno())
            if overwrite:
                temporary.replace(path)
            else:
                _publish_new(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def _publish_new(temporary: Path, path: Path) -> None:
    """Gives the file its name only if nothing has that name: a hard link cannot replace anything, a rename can."""
    try:
        os.link(temporary, path)
    except FileExistsError as e:
        raise PackshotError(f"{path} exists already; choose another name, or add --overwrite to replace it.") from e
    except OSError as e:
        if e.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        # A file system without hard links: look and rename are two steps here, with a moment between them.
        if os.path.lexists(path):
            raise PackshotError(f"{path} exists already; choose another name, or add --overwrite to replace it.") from e
        temporary.replace(path)


def check_file(path: Path) -> None:
    """Makes sure that a file that the user named is there, and neither a folder nor a pipe.

    Raises:
        UsageError: it is not.
        PackshotError: the system does not say.
    """
    with disk_errors(path):
        if not path.is_file():
            raise UsageError(f"There is no file {path}.")


def check_disk(path: Path, needed: float) -> None:
    """Makes sure that a file of `needed` bytes fits on the disk where `path` will lie, before work is spent on it.

    Raises:
        PackshotError: it does not.
    """
    folder = next(p for p in path.absolute().parents if p.exists())
    with disk_errors(folder):
        free = shutil.disk_usage(folder).free
    if needed > free:
        raise PackshotError(
            f"{path} needs about {needed / 2**30:,.1f} GiB of disk space, and {free / 2**30:,.1f} GiB are free there; "
            "free some space, or ask for less."
        )


def write_bytes(path: Path, data: bytes) -> None:
    """Writes `data` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8 to `path` atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented UTF-8 JSON to `path` atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        PackshotError: the file is missing or is not JSON.
    """
    with disk_errors(path):
        text = path.read_text(encoding="utf-8", errors="replace")
    try:
        return json.loads(text)
    except ValueError as e:
        raise PackshotError(f"{path} is not valid JSON ({e}); restore it from a backup or make it anew.") from e


def sha256_file(path: Path) -> str:
    """Returns the SHA-256 of the file's bytes, as 64 hex digits; memory stays flat."""
    with disk_errors(path), path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
