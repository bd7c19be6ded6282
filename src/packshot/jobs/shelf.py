"""The SQL of pictures: which tenant has which, and which bytes nobody needs any more."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from packshot.jobs.database import insert_new, items, jobs, made, now, pictures, reading, writing
from packshot.jobs.records import NotFound, Picture
from packshot.jobs.store import DIGEST

AT_ONCE = 400
"""Checksums in one question to the database; SQLite takes no more than some."""


_ONE = sa.select(pictures).where(pictures.c.tenant == sa.bindparam("of"), pictures.c.sha256 == sa.bindparam("sha"))


class Shelf:
    """Pictures of tenants, in the table `pictures`.

    Args:
        engine: of the database.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def add(self, picture: Picture, made_from: Collection[str] = ()) -> Picture:
        """Notes a picture, and what it was made from; one that is there stays as it was. Returns what is noted."""
        with writing(self.engine) as connection:
            insert_new(connection, pictures, [row_of(picture)])
            rows = [{"tenant": picture.tenant, "sha256": picture.sha256, "source": source} for source in made_from]
            insert_new(connection, made, rows)
            return self._one(connection, picture.tenant, picture.sha256)

    def picture(self, tenant: str, sha256: str) -> Picture:
        """Returns a picture.

        Raises:
            NotFound: the tenant has none such.
        """
        with reading(self.engine) as connection:
            return self._one(connection, tenant, sha256)

    def pictures(self, tenant: str, *, limit: int, before: datetime | None) -> list[Picture]:
        """Returns a tenant's pictures, the newest first."""
        found = sa.select(pictures).where(pictures.c.tenant == tenant)
        if before is not None:
            found = found.where(pictures.c.created < before)
        found = found.order_by(pictures.c.created.desc(), pictures.c.sha256).limit(limit)
        with reading(self.engine) as connection:
            return [Picture(**row._mapping) for row in connection.execute(found)]

    def forget(self, tenant: str, sha256: str) -> bool:
        """Takes a picture from a tenant. Returns whether nobody needs its bytes any more.

        Raises:
            NotFound: the tenant has none such.
        """
        if not DIGEST.fullmatch(sha256):
            raise not_found("picture", sha256)
        with writing(self.engine) as connection:
            gone = connection.execute(
                sa.delete(pictures).where(pictures.c.tenant == tenant, pictures.c.sha256 == sha256)
            )
            if not gone.rowcount:
                raise not_found("picture", sha256)
            return not _needed(connection, sha256)

    def is_needed(self, sha256: str) -> bool:
        """Returns whether a tenant has the picture, or a job that has not ended waits for it."""
        with reading(self.engine) as connection:
            return _needed(connection, sha256)

    def unneeded_of(self, job: str) -> Iterator[str]:
        """Yields the pictures of a job that has ended which no tenant has any more, and no other job waits for."""
        last = ""
        while True:
            page = (
                sa.select(items.c.picture)
                .distinct()
                .where(items.c.job == job, items.c.picture > last)
                .where(~sa.exists().where(pictures.c.sha256 == items.c.picture))
                .order_by(items.c.picture)
                .limit(AT_ONCE)
            )
            with reading(self.engine) as connection:
                found = list(connection.execute(page).scalars())
                free = [sha256 for sha256 in found if not _needed(connection, sha256)]
            yield from free
            if not found:
                return
            last = found[-1]

    def _one(self, connection: Connection, tenant: str, sha256: str) -> Picture:
        asked = {"of": tenant, "sha": sha256}
        row = connection.execute(_ONE, asked).first() if DIGEST.fullmatch(sha256) else None
        if row is None:
            raise not_found("picture", sha256)
        return Picture(**row._mapping)


def names_of(connection: Connection, tenant: str, wanted: Sequence[str]) -> dict[str, str]:
    """Returns the names of a tenant's pictures by checksum.

    Raises:
        NotFound: the tenant lacks one.
    """
    unique = list(dict.fromkeys(wanted))
    names: dict[str, str] = {}
    for sha256 in unique:
        if not DIGEST.fullmatch(sha256):
            raise not_found("picture", sha256)
    for start in range(0, len(unique), AT_ONCE):
        part = unique[start : start + AT_ONCE]
        found = sa.select(pictures.c.sha256, pictures.c.name).where(
            pictures.c.tenant == tenant, pictures.c.sha256.in_(part)
        )
        names |= {row.sha256: row.name for row in connection.execute(found)}
    for sha256 in unique:
        if sha256 not in names:
            raise not_found("picture", sha256)
    return names


def not_found(kind: str, name: str) -> NotFound:
    """Returns the error of a thing that is not there, or is another tenant's."""
    return NotFound(f"There is no {kind} {name[:80]}.")


def row_of(picture: Picture) -> dict[str, Any]:
    """Returns a picture as a row."""
    return {column.name: getattr(picture, column.name) for column in pictures.columns}


def new_picture(tenant: str, sha256: str, name: str, mime: str, width: int, height: int, size: int) -> Picture:
    """Returns a picture that came now."""
    return Picture(
        tenant=tenant, sha256=sha256, name=name, mime=mime, width=width, height=height, size=size, created=now()
    )


def _needed(connection: Connection, sha256: str) -> bool:
    waits = (
        sa.select(items.c.number)
        .join(jobs, jobs.c.id == items.c.job)
        .where(items.c.picture == sha256, items.c.state == "waiting", jobs.c.state.in_(("queued", "running")))
    )
    has = sa.select(pictures.c.sha256).where(pictures.c.sha256 == sha256)
    return any(connection.execute(found.limit(1)).first() is not None for found in (has, waits))
