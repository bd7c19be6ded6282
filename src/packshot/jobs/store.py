"""Where pictures lie: under their checksum, in any folder that fsspec can reach; a local one, or S3.

A picture is there whole or not at all, and what is read is what its checksum says. What is derived from a picture
(thumbnails) lies apart, and can be made again.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from packshot.core.errors import PackshotError, UsageError
from packshot.core.files import atomic_path, disk_errors, sha256_file, write_bytes
from packshot.jobs.settings import StudioSettings

DIGEST = re.compile(r"[0-9a-f]{64}")
KIND = re.compile(r"[a-z0-9-]{1,40}")
PART = 2**20
DIGITS = 64
"""Of a checksum; a derived file of so many bytes may be one: the result that was made under this name."""


class StoreLost(PackshotError):
    """The store of pictures does not answer, or not as it should; what it holds is not lost."""


class PictureGone(PackshotError):
    """The store has no such picture, or a damaged one."""


class PictureStore:
    """Pictures by checksum; any number of processes may use it at once.

    Args:
        settings: `store` and `store_options` are used.

    Raises:
        UsageError: the URL names a file system that is unknown or not installed.
    """

    def __init__(self, settings: StudioSettings) -> None:
        self.url = settings.store_url
        self._fs, self._root = _open(self.url, dict(settings.store_options))
        self._local = "file" in _protocols(self._fs)

    def put(self, data: bytes) -> str:
        """Keeps a picture and returns its SHA-256, 64 hex digits; one that is there already stays.

        Raises:
            DiskFull: there is no room.
            StoreLost: the store does not answer.
        """
        digest = hashlib.sha256(data).hexdigest()
        if self.size(digest) != len(data):
            self._write(self._path(digest), data)
        return digest

    def put_file(self, path: Path) -> str:
        """Keeps a file that is whole and on the disk, and will not change any more; memory stays flat. See `put`."""
        with disk_errors(path), path.open("rb") as f:
            digest, size = hashlib.file_digest(f, "sha256").hexdigest(), path.stat().st_size
        if self.size(digest) == size:
            return digest
        to = self._path(digest)
        if self._local:
            _link_or_copy(path, Path(to))
        else:
            with self._answers():
                self._fs.put_file(str(path), to)
        return digest

    def read(self, sha256: str) -> bytes:
        """Returns a picture's bytes.

        Raises:
            PictureGone: it is not there, or damaged.
            StoreLost: the store does not answer.
        """
        with self._answers(sha256):
            data: bytes = self._fs.cat_file(self._path(sha256))
        if hashlib.sha256(data).hexdigest() != sha256:
            raise _damaged(sha256)
        return data

    def fetch(self, sha256: str, path: Path) -> None:
        """Writes a picture to a file, unless it lies there already; memory stays flat.

        The file is not flushed to the disk, which would take longer than many an edit: a file that a crash of the
        machine has left torn is told by its checksum here, and written anew.

        Raises:
            PictureGone: it is not there, or damaged.
            StoreLost: the store does not answer.
            DiskFull: there is no room for the file.
        """
        with disk_errors(path):
            if path.is_file() and sha256_file(path) == sha256:
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
            try:
                with temporary.open("wb") as target:
                    self._copy(sha256, target)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)

    def _copy(self, sha256: str, target: BinaryIO) -> None:
        digest = hashlib.sha256()
        with self._answers(sha256):
            source = self._fs.open(self._path(sha256), "rb")
        with source:
            while part := self._part(sha256, source):
                digest.update(part)
                target.write(part)
        if digest.hexdigest() != sha256:
            raise _damaged(sha256)

    def size(self, sha256: str) -> int | None:
        """Returns a picture's size in bytes; None: it is not there."""
        path = self._path(sha256)
        try:
            with self._answers(sha256):
                return int(self._fs.info(path)["size"])
        except PictureGone:
            return None

    def remove(self, sha256: str) -> None:
        """Removes a picture and what was derived from it, if it is there."""
        self._drop(self._path(sha256), recursive=False)
        self._drop(self._derived(sha256), recursive=True)

    def drop_torn(self, sha256: str) -> None:
        """Removes what processes that were killed while they wrote a picture have left of it."""
        if self._local:
            path = Path(self._path(sha256))
            with disk_errors(path):
                for torn in path.parent.glob(f".{sha256}.*.tmp"):
                    torn.unlink(missing_ok=True)

    def drop_mentions(self, sha256s: Collection[str]) -> None:
        """Removes what was derived from other pictures and shows one of these (a style's preview), or names one.

        Raises:
            StoreLost: the store does not answer.
        """
        starts = {f"style-{sha256[:24]}-" for sha256 in sha256s}
        try:
            with self._answers(""):
                found: dict[str, dict[str, Any]] = self._fs.find(f"{self._root}/derived", detail=True)
        except PictureGone:
            return
        for path, about in found.items():
            kind = path.rpartition("/")[2]
            names = about.get("size") == DIGITS and self._fs.cat_file(path).decode("ascii", "replace") in sha256s
            if names or any(kind.startswith(start) for start in starts):
                self._drop(path, recursive=False)

    def keep_derived(self, sha256: str, kind: str, data: bytes) -> None:
        """Keeps what was made from a picture, for example kind "thumb-320"."""
        self._write(f"{self._derived(sha256)}/{_kind(kind)}", data)

    def read_derived(self, sha256: str, kind: str) -> bytes | None:
        """Returns what `keep_derived` has kept, or None."""
        try:
            with self._answers(sha256):
                data: bytes = self._fs.cat_file(f"{self._derived(sha256)}/{_kind(kind)}")
        except PictureGone:
            return None
        return data

    def check(self) -> None:
        """Makes sure that the store can be written to and read from.

        Raises:
            PackshotError: it cannot.
        """
        path = f"{self._root}/check"
        self._write(path, b"ok")
        with self._answers():
            data = self._fs.cat_file(path)
        if data != b"ok":
            raise StoreLost(f"The store {self.url} does not give back what was put into it.")

    def _path(self, sha256: str) -> str:
        _check(sha256)
        return f"{self._root}/{sha256[:2]}/{sha256}"

    def _derived(self, sha256: str) -> str:
        _check(sha256)
        return f"{self._root}/derived/{sha256[:2]}/{sha256}"

    def _write(self, path: str, data: bytes) -> None:
        if self._local:
            write_bytes(Path(path), data)
            return
        with self._answers():
            self._fs.pipe_file(path, data)

    def _drop(self, path: str, *, recursive: bool) -> None:
        try:
            with self._answers(path):
                if not recursive or self._fs.exists(path):
                    self._fs.rm(path, recursive=recursive)
        except PictureGone:
            pass

    def _part(self, sha256: str, source: Any) -> bytes:
        with self._answers(sha256):
            part: bytes = source.read(PART)
        return part

    @contextmanager
    def _answers(self, sha256: str | None = None) -> Iterator[None]:
        """Turns what any file system's driver raises into one sentence."""
        try:
            yield
        except FileNotFoundError as e:
            if sha256 is None:
                raise StoreLost(f"The store {self.url} is not there; make it, or name another.") from e
            raise PictureGone(f"The picture {sha256[:12]} is not in the store any more.") from e
        except PackshotError:
            raise
        except Exception as e:  # Drivers raise what they like: of the network, of their own, of the system.
            with disk_errors(Path(self._root)):
                if isinstance(e, OSError) and self._local:
                    raise
            said = (str(e).strip().splitlines() or [""])[0].rstrip(".")
            raise StoreLost(
                f"The store {self.url} does not answer ({type(e).__name__}: {said}); make sure that it can be reached."
            ) from e


def _open(url: str, options: dict[str, Any]) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    protocol = url.partition("://")[0] if "://" in url else "file"
    if protocol == "file":
        options.setdefault("auto_mkdir", True)
    elif protocol == "s3":
        # Pictures come and go by other processes, too: a remembered listing would hide them.
        options.setdefault("use_listings_cache", False)
    try:
        fs, root = url_to_fs(url, **options)
    except ImportError as e:
        extra = "pip install 'packshot[s3]'" if protocol == "s3" else f"install fsspec's driver for {protocol}"
        raise UsageError(f"store is {url}, which needs a driver: {extra}.") from e
    except (ValueError, TypeError) as e:
        raise UsageError(f"store is '{url}', which cannot be used: {e}.") from e
    return fs, str(root).rstrip("/")


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def _link_or_copy(path: Path, to: Path) -> None:
    """Gives a file a second name in the store, or, on another disk, makes a copy."""
    with disk_errors(to):
        to.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, to)
            return
        except OSError:  # Another disk, no links, or one that is there is damaged.
            pass
    with atomic_path(to) as temporary, path.open("rb") as source, temporary.open("wb") as target:
        shutil.copyfileobj(source, target, PART)


def _check(sha256: str) -> None:
    if not DIGEST.fullmatch(sha256):
        raise UsageError(f"'{sha256[:80]}' is no checksum; it has to be 64 hex digits.")


def _kind(kind: str) -> str:
    if not KIND.fullmatch(kind):
        raise ValueError(f"{kind!r} is no kind of derived picture.")
    return kind


def _damaged(sha256: str) -> PictureGone:
    return PictureGone(f"The picture {sha256[:12]} in the store is damaged: its bytes are not those of its checksum.")
