"""Which workers live. A worker holds a locked file, and counts a beat up in the database.

Others of its machine see by the lock when it ends, others elsewhere by the beat, which they hold against their own
monotonic clock: no two machines' clocks are compared.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from packshot.core.errors import PackshotError
from packshot.core.files import disk_errors
from packshot.jobs import database

LEASE = 20.0
"""Seconds without a beat, by our own monotonic clock, after which a worker of another machine is taken for lost."""


class Lives:
    """Signs of life of one worker, and what it sees of the others.

    Args:
        folder: of the locked files of this machine's workers.
        engine: of the database.
        id: of this worker.
    """

    def __init__(self, folder: Path, engine: Engine, id: str) -> None:
        self.folder, self.engine, self.id = folder, engine, id
        self._beats: dict[str, tuple[int, float]] = {}
        self._beat = 0

    def hold_lock(self) -> int:
        """Locks a file that is ours as long as this process lives, so that others of this machine see when it ends."""
        path = self.folder / self.id
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        return lock

    def beat(self) -> None:
        """Counts our beat up."""
        table = database.workers
        self._beat += 1
        with database.writing(self.engine) as connection:
            row = {"id": self.id, "host": socket.gethostname(), "beat": self._beat, "seen": database.now()}
            if not connection.execute(sa.update(table).where(table.c.id == self.id).values(**row)).rowcount:
                connection.execute(sa.insert(table), row)

    def look(self) -> list[str]:
        """Returns the workers that live, and forgets those that do not."""
        table, now = database.workers, time.monotonic()
        with database.reading(self.engine) as connection:
            rows = connection.execute(sa.select(table.c.id, table.c.beat)).all()
        alive: list[str] = []
        dead: list[str] = []
        for row in rows:
            beat, when = self._beats.get(row.id, (None, now))
            if beat != row.beat:
                self._beats[row.id], when = (row.beat, now), now
            lost = row.id != self.id and (has_ended(self.folder / row.id) or now - when > LEASE)
            (dead if lost else alive).append(row.id)
        for id in dead:
            with database.writing(self.engine) as connection:
                connection.execute(sa.delete(table).where(table.c.id == id))
            if has_ended(self.folder / id):
                (self.folder / id).unlink(missing_ok=True)
            self._beats.pop(id, None)
        return alive

    def end(self) -> None:
        """Takes our signs of life away."""
        table = database.workers
        with suppress(PackshotError), database.writing(self.engine) as connection:
            connection.execute(sa.delete(table).where(table.c.id == self.id))
        (self.folder / self.id).unlink(missing_ok=True)


def has_ended(path: Path) -> bool:
    """Returns whether a worker of this machine is known to have ended: nobody holds its lock."""
    try:
        lock = os.open(path, os.O_RDWR)
    except OSError:
        return False  # Of another machine: only its beat tells.
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True


def some_live_here(folder: Path) -> bool:
    """Returns whether a worker of this machine lives."""
    return any(not has_ended(path) for path in folder.glob("*"))
