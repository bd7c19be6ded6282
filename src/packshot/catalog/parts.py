"""An ingest's work, part by part: each part is one shard, kept once it is whole, so that a killed ingest goes on.

While an ingest runs, its folder holds `.ingest/`:

    begun.json       the source and the options, to tell whether a later command is the same one
    lock             held by the process that writes
    00000.parquet    what was found out about the photos of part 0, with their fingerprints
    00000.jsonl      its photos that were left out, with their reasons
    00000.json       written last: how many records of the source part 0 took, and their digest

and `shards/00000.parquet`, the photos themselves. A part without its .json does not count and is done again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packshot.catalog.examine import GREY8, Examined, Stored
from packshot.catalog.records import PhotoRecord
from packshot.catalog.schema import EXAMINED, SHARD, arrow_schema
from packshot.core.errors import PackshotError
from packshot.core.files import atomic_path, disk_errors, read_json, sha256_file, write_json, write_text

if TYPE_CHECKING:
    import pyarrow.parquet as pq

JOURNAL = ".ingest"
CHUNK_PHOTOS, CHUNK_PIXEL_PHOTOS, CHUNK_BYTES = 32, 1024, 8 * 2**20
SHARD_BYTES = 64 * 2**20
GROUP_PHOTOS, GROUP_BYTES = 128, 8 * 2**20
"""Photos and bytes of a shard's row group: what has to be read to get at one photo."""

RECORDS_PER_PHOTO = 8
"""A part also ends after this many times its photos in records, if most of them were left out."""


@dataclass
class Chunk:
    """Records that are examined together, and the digest of all records up to its end."""

    records: list[PhotoRecord]
    digest: str


@dataclass(kw_only=True)
class Part:
    """What is known of one part that is whole.

    Attributes:
        number: counts from 0.
        records: records of the source up to the end of this part.
        digest: of all of those.
        photos: photos in its shard; 0: it has no shard.
        shard_sha256: of the shard's file; None: it has none.
        left_out: number of photos that were left out.
        notes: sentences, counted.
    """

    number: int
    records: int
    digest: str
    photos: int
    shard_sha256: str | None
    left_out: int = 0
    notes: dict[str, int] = field(default_factory=dict)


def shard_name(number: int) -> str:
    """Returns a shard's path in its catalogue."""
    return f"shards/{number:05d}.parquet"


class Journal:
    """The parts that are whole, in an ingest's folder.

    Args:
        out: the catalogue's folder.
    """

    def __init__(self, out: Path) -> None:
        self.out, self.folder = out, out / JOURNAL

    @contextmanager
    def held(self) -> Iterator[None]:
        """Makes the folder and holds it for this process.

        Raises:
            PackshotError: another process holds it, or it cannot be made.
        """
        with disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.out / "shards").mkdir(exist_ok=True)
            lock = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as e:
                raise PackshotError(
                    f"Another ingest is writing {self.out}; wait for it, or choose another --out."
                ) from e
            yield
        finally:
            os.close(lock)

    def begin(self, command: dict[str, Any]) -> None:
        """Remembers the command, or checks that it is the one that was begun.

        Raises:
            PackshotError: another command was begun here.
        """
        path = self.folder / "begun.json"
        if not path.exists():
            write_json(path, command)
            return
        begun = read_json(path)
        changed = [k for k in command if not isinstance(begun, dict) or begun.get(k) != command[k]]
        if changed:
            raise PackshotError(
                f"{self.out} holds an unfinished ingest with another {changed[0]}; repeat that command to finish it, "
                "remove the folder, or choose another --out."
            )

    def parts(self) -> list[Part]:
        """Returns the parts that are whole, from 0 on.

        Raises:
            PackshotError: one of their files is damaged.
        """
        found: list[Part] = []
        while (path := self.folder / f"{len(found):05d}.json").exists():
            try:
                found.append(Part(**read_json(path)))
            except TypeError as e:
                raise PackshotError(f"{path} is damaged; remove {self.out} and ingest again.") from e
        return found

    def examined(self, number: int) -> Path:
        """Returns the path of what was found out about a part's photos."""
        return self.folder / f"{number:05d}.parquet"

    def left_out(self, parts: list[Part]) -> Iterator[tuple[str, str]]:
        """Yields (key, reason) of the photos that were left out of some parts, in order."""
        for part in parts:
            path = self.folder / f"{part.number:05d}.jsonl"
            if part.left_out:
                with disk_errors(path), path.open(encoding="utf-8") as f:
                    for line in f:
                        row = json.loads(line)
                        yield row["photo"], row["reason"]

    def finish(self, part: Part) -> None:
        """Records that a part is whole."""
        write_json(self.folder / f"{part.number:05d}.json", vars(part))

    def clean(self) -> None:
        """Removes the temporary files of a process that was killed."""
        with disk_errors(self.folder):
            for folder in (self.out, self.out / "shards", self.folder):
                for path in folder.glob("*.tmp"):
                    path.unlink()

    def remove(self) -> None:
        """Removes the journal; the catalogue is complete."""
        import shutil

        with disk_errors(self.folder):
            shutil.rmtree(self.folder)


def chunks(records: Iterator[PhotoRecord], done: Part | None, where: Path) -> Iterator[tuple[Chunk, list[PhotoRecord]]]:
    """Groups records; those of parts that are whole are skipped.

    Args:
        records: all of the source's.
        done: the last part that is whole; None: none is.
        where: the catalogue's folder, for the message.

    Raises:
        PackshotError: the source is no longer what those parts were made from.
    """
    digest = hashlib.blake2b(digest_size=16)
    for number in range(done.records if done else 0):
        record = next(records, None)
        if record is not None:
            _add(digest, record)
        if record is None or (number + 1 == done.records and digest.hexdigest() != done.digest):  # type: ignore[union-attr]
            raise PackshotError(
                f"The source has changed since the ingest into {where} was begun; remove that folder and ingest again."
            )
    chunk: list[PhotoRecord] = []
    size = 0
    for record in records:
        size += _add(digest, record)
        chunk.append(record)
        most = CHUNK_PHOTOS if record.pixels is None else CHUNK_PIXEL_PHOTOS
        if len(chunk) >= most or size >= CHUNK_BYTES:
            yield Chunk(chunk, digest.hexdigest()), chunk
            chunk, size = [], 0
    if chunk:
        yield Chunk(chunk, digest.hexdigest()), chunk


def _add(digest: Any, record: PhotoRecord) -> int:
    """Adds what tells a record from another to the digest; returns the size of its file in bytes."""
    size = 0
    if record.pixels is not None:
        digest.update(record.pixels.data)
    elif record.data is not None:
        size = len(record.data)
        digest.update(record.data)
    elif record.path is not None:
        try:
            status = os.stat(record.path)  # noqa: PTH116 - a million times over, strings are faster.
            size = status.st_size
            digest.update(f"{size} {status.st_mtime_ns}".encode())
        except OSError:
            digest.update(b"?")
    about = (record.key, record.problem, record.product_id, record.title, record.category, record.price)
    rights = (record.licence, record.source, record.owner, record.consent, record.date)
    more = (record.currency, record.split, sorted(record.extra.items()))
    digest.update(repr((about, rights, more)).encode("utf-8", "backslashreplace"))
    return size


class PartWriter:
    """Writes one part: its shard while the photos come, the rest at its end.

    Args:
        journal: where.
        number: the part's number.
    """

    def __init__(self, journal: Journal, number: int) -> None:
        self.journal, self.number = journal, number
        self.photos = self.records = self.bytes = 0
        self._left_out: list[tuple[str, str]] = []
        self._notes: Counter[str] = Counter()
        self._columns: dict[str, list[Any]] = {name: [] for name in EXAMINED}
        self._group: list[Stored] = []
        self._path = journal.folder / f"shard.{secrets.token_hex(4)}.tmp"
        self._writer: pq.ParquetWriter | None = None

    def add(self, records: int, examined: Examined) -> None:
        """Adds the result of one chunk of `records` records."""
        self.records += records
        self._left_out += examined.left_out
        self._notes.update(examined.notes)
        for name, values in examined.columns.items():
            self._columns[name] += values
        self._group += examined.stored
        self.photos += len(examined.stored)
        self.bytes += sum(len(s.data) for s in examined.stored)
        if len(self._group) >= GROUP_PHOTOS or sum(len(s.data) for s in self._group) >= GROUP_BYTES:
            self._write_group()

    def _write_group(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        stored, self._group = self._group, []
        if not stored:
            return
        with disk_errors(self.journal.out):
            if self._writer is None:
                # Photo files are packed already; grey pixels are not.
                packing = "zstd" if stored[0].format == GREY8 else "none"
                self._writer = pq.ParquetWriter(
                    self._path, arrow_schema(SHARD), compression=packing, use_dictionary=False, write_statistics=False
                )
            shard = {
                "photo_id": self._columns["photo_id"][-len(stored) :],
                "format": [s.format for s in stored],
                "width": [s.width for s in stored],
                "height": [s.height for s in stored],
                "bytes": [s.data for s in stored],
            }
            self._writer.write_table(pa.table(shard, schema=arrow_schema(SHARD)), row_group_size=len(stored))

    def close(self, records: int, digest: str) -> Part:
        """Makes the part whole.

        Args:
            records: of the source, up to the end of this part.
            digest: of those.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._write_group()
        sha256 = None
        if self._writer is not None:
            shard = self.journal.out / shard_name(self.number)
            with disk_errors(shard):
                self._writer.close()
                with self._path.open("rb") as f:
                    os.fsync(f.fileno())
                sha256 = sha256_file(self._path)
                self._path.replace(shard)
            with atomic_path(self.journal.examined(self.number)) as temporary:
                table = pa.table(self._columns, schema=arrow_schema(EXAMINED))
                pq.write_table(table, temporary, compression="none", use_dictionary=False, write_statistics=False)
        if self._left_out:
            lines = [json.dumps({"photo": key, "reason": reason}, ensure_ascii=False) for key, reason in self._left_out]
            write_text(self.journal.folder / f"{self.number:05d}.jsonl", "\n".join(lines) + "\n")
        part = Part(
            number=self.number,
            records=records,
            digest=digest,
            photos=self.photos,
            shard_sha256=sha256,
            left_out=len(self._left_out),
            notes=dict(self._notes),
        )
        self.journal.finish(part)
        return part

    def abandon(self) -> None:
        """Removes what was written of a part that will not become whole."""
        if self._writer is not None:
            with suppress(OSError):  # The disk may be full: that was told already.
                self._writer.close()
        self._path.unlink(missing_ok=True)
