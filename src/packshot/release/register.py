"""The register of what was released, and the audit log: one SQLite file in the user's folder.

Every release and its entry in the log are one transaction. The log is a chain: each entry holds
SHA-256(previous hash, number, time, event), so that a changed, removed or moved entry breaks every later one; the
database refuses to update or delete one. Whoever can rewrite the whole file can make a new chain: export the head and
keep it elsewhere.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from packshot.core.errors import DiskFull, PackshotError
from packshot.core.files import disk_errors
from packshot.core.home import home

NAME = "register.sqlite"
START = "0" * 64
"""The hash before the first entry."""
BUSY_SECONDS = 60.0

SCHEMA = """
CREATE TABLE IF NOT EXISTS released (
    number INTEGER PRIMARY KEY, time TEXT NOT NULL, mark TEXT NOT NULL, sha256 TEXT NOT NULL, content TEXT NOT NULL,
    dhash TEXT NOT NULL, thumb BLOB NOT NULL, mime TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
    source_type TEXT, name TEXT NOT NULL, history TEXT NOT NULL, manifest BLOB);
CREATE INDEX IF NOT EXISTS released_mark ON released (mark);
CREATE INDEX IF NOT EXISTS released_sha256 ON released (sha256);
CREATE TABLE IF NOT EXISTS audit (
    number INTEGER PRIMARY KEY, time TEXT NOT NULL, event TEXT NOT NULL, hash TEXT NOT NULL);
CREATE TRIGGER IF NOT EXISTS audit_stays BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'append only'); END;
CREATE TRIGGER IF NOT EXISTS audit_keeps BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'append only'); END;
"""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A released picture.

    Attributes:
        mark: its 40-bit id, ten hex digits.
        sha256: of the file's bytes.
        content: checksum of what was released before it was signed.
        dhash: 64 bits that survive re-encoding and resizing, hex (`packshot.catalog.fingerprint`).
        thumb: 16 x 16 grey pixels, uint8, to check a candidate of dHash with.
        mime: format.
        width: in pixels.
        height: in pixels.
        source_type: IPTC term, or None.
        name: the file's name, without its folder.
        history: names and origins of what was done.
        manifest: the C2PA manifest store, or None.
        time: of release, ISO 8601 in UTC.
    """

    mark: str
    sha256: str
    content: str
    dhash: str
    thumb: bytes
    mime: str
    width: int
    height: int
    source_type: str | None
    name: str
    history: tuple[tuple[str, str], ...]
    manifest: bytes | None
    time: str = ""


@dataclass(frozen=True, kw_only=True)
class AuditLine:
    """One entry of the audit log.

    Attributes:
        number: from 1.
        time: ISO 8601 in UTC.
        event: what happened.
        hash: of the chain up to here, 64 hex digits.
    """

    number: int
    time: str
    event: Mapping[str, Any]
    hash: str


def register_path() -> Path:
    """Returns where the register lies."""
    return home() / NAME


@contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.executescript(SCHEMA)
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as e:
        kind = DiskFull if getattr(e, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL else PackshotError
        raise kind(
            f"The register {path} cannot be used ({e}); without it nothing is released. Free the disk, mend its "
            "permissions, or name another folder in PACKSHOT_HOME."
        ) from e


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")  # Two releases at once: the second waits here, so the chain has no fork.
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # On a full disk SQLite has done so by itself.
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def add_release(entry: Entry) -> None:
    """Adds a picture and its entry in the log, both or none.

    Raises:
        PackshotError: the register cannot be written.
    """
    event: dict[str, Any] = {
        "event": "release",
        "mark": entry.mark,
        "sha256": entry.sha256,
        "source_type": entry.source_type,
    }
    event["operations"] = [name for name, _ in entry.history]
    now = _now()
    values = (
        *(now, entry.mark, entry.sha256, entry.content, entry.dhash, entry.thumb, entry.mime, entry.width),
        *(entry.height, entry.source_type, entry.name, json.dumps(entry.history), entry.manifest),
    )
    with _connected(register_path()) as connection, _transaction(connection):
        connection.execute(
            "INSERT INTO released (time, mark, sha256, content, dhash, thumb, mime, width, height, source_type, name, "
            "history, manifest) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
            values,
        )
        _append(connection, now, event)


def add_event(event: Mapping[str, Any]) -> None:
    """Adds an entry to the log, for example of an erasure.

    Raises:
        PackshotError: the register cannot be written.
    """
    with _connected(register_path()) as connection, _transaction(connection):
        _append(connection, _now(), event)


def find_by_mark(mark: str) -> list[Entry]:
    """Returns the pictures with this id, the newest first."""
    return _find("mark = ?", (mark,))


def find_by_checksum(checksum: str) -> list[Entry]:
    """Returns the pictures whose file has this SHA-256, the newest first."""
    return _find("sha256 = ?", (checksum,))


def fingerprints() -> list[tuple[int, str]]:
    """Returns (number, dHash) of every picture."""
    if not register_path().is_file():
        return []
    with _connected(register_path()) as connection:
        return [(int(n), str(d)) for n, d in connection.execute("SELECT number, dhash FROM released")]


def thumbs(numbers: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """Yields (number, thumb) of these pictures."""
    if not numbers or not register_path().is_file():
        return
    with _connected(register_path()) as connection:
        for start in range(0, len(numbers), 500):
            some = numbers[start : start + 500]
            marks = ",".join("?" * len(some))
            query = f"SELECT number, thumb FROM released WHERE number IN ({marks})"
            yield from ((int(n), bytes(thumb)) for n, thumb in connection.execute(query, some))


def find_by_number(number: int) -> Entry | None:
    """Returns one picture."""
    return next(iter(_find("number = ?", (number,))), None)


def forget(sha256s: list[str]) -> int:
    """Removes pictures from the register, not from the log, whose entries hold checksums alone; returns how many."""
    if not register_path().is_file():
        return 0
    with _connected(register_path()) as connection:
        connection.execute("PRAGMA secure_delete=ON")
        with _transaction(connection):
            gone = sum(connection.execute("DELETE FROM released WHERE sha256 = ?", (s,)).rowcount for s in sha256s)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return gone


def _find(where: str, values: tuple[Any, ...]) -> list[Entry]:
    if not register_path().is_file():
        return []
    columns = "mark,sha256,content,dhash,thumb,mime,width,height,source_type,name,history,manifest,time"
    with _connected(register_path()) as connection:
        rows = connection.execute(f"SELECT {columns} FROM released WHERE {where} ORDER BY number DESC", values)
        found = [dict(zip(columns.split(","), row, strict=True)) for row in rows]
    return [Entry(**{**row, "history": tuple(map(tuple, json.loads(row["history"])))}) for row in found]


def _append(connection: sqlite3.Connection, now: str, event: Mapping[str, Any]) -> None:
    row = connection.execute("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1").fetchone()
    number, before = (int(row[0]) + 1, str(row[1])) if row else (1, START)
    text = _canonical(event)
    values = (number, now, text, chain_hash(before, number, now, text))
    connection.execute("INSERT INTO audit (number, time, event, hash) VALUES (?,?,?,?)", values)


def chain_hash(before: str, number: int, time: str, event: str) -> str:
    """Returns the hash of an entry: SHA-256 over the previous hash, number, time and event, a line each."""
    return sha256(f"{before}\n{number}\n{time}\n{event}".encode()).hexdigest()


def read_audit() -> Iterator[AuditLine]:
    """Yields the log, oldest entry first.

    Raises:
        PackshotError: the register cannot be read, or an entry of it.
    """
    if not register_path().is_file():
        return
    with _connected(register_path()) as connection:
        for number, time, event, value in connection.execute(
            "SELECT number, time, event, hash FROM audit ORDER BY number"
        ):
            try:
                line = AuditLine(number=int(number), time=str(time), event=dict(json.loads(event)), hash=str(value))
            except (ValueError, TypeError, RecursionError) as e:
                raise PackshotError(f"Entry {number} of the audit log was changed: it cannot be read.") from e
            yield line


def verify_audit(lines: Iterable[AuditLine], head: str | None = None) -> tuple[int, str]:
    """Recomputes the chain.

    Args:
        lines: the log, oldest entry first.
        head: a hash noted earlier, which an entry has to have still: it shows that none up to there was removed at the
            end, nor the whole chain made anew. None: nothing was noted.

    Returns:
        How many entries there are, and the hash of the last.

    Raises:
        PackshotError: an entry was changed, removed or moved; the sentence names the first that does not fit.
    """
    before, count, seen = START, 0, head in (None, START)
    for line in lines:
        count += 1
        wanted = chain_hash(before, line.number, line.time, _canonical(line.event))
        if line.number != count or line.hash != wanted:
            raise PackshotError(
                f"The audit log does not hold together at entry {count}: it, or one before it, was changed or removed."
            )
        before = line.hash
        seen = seen or before == head
    if not seen:
        raise PackshotError(
            f"The audit log holds together, but none of its {count:,} entries has the hash {head}: it was cut short or "
            "made anew."
        )
    return count, before


def _canonical(event: Mapping[str, Any]) -> str:
    return json.dumps(event, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
