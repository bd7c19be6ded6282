"""What the studio's tables say of some pictures, and how those rows go when the pictures are erased.

A picture leads to what was made from it: by a job, by a job whose steps name it (a background, a style), or by a page
(`made`). It goes on until nothing new is found.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from packshot.jobs.database import deliveries, items, jobs, logs, made, pictures
from packshot.jobs.records import ENDED, ITEM_STATES
from packshot.jobs.shelf import AT_ONCE
from packshot.jobs.steps import wanted_pictures

T = TypeVar("T")

ERASED = "(erased)"
"""What stands in a text for the name of a picture that was erased."""
SHOWN_DIGITS = 12
"""Of a checksum, in sentences of the store."""
TEXTS = {jobs: ("title", "error"), logs: ("text",), deliveries: ("body", "last_error")}
"""Columns in which a picture may be named by the way."""


@dataclass
class Found:
    """Rows that are about some pictures.

    Attributes:
        wanted: the pictures, and what was made from them, by SHA-256.
        names: what they are called.
        pictures: (tenant, SHA-256) of the rows of `pictures`.
        items: (job, number), and the item's state.
        runs: of each of those jobs, how often it was queued.
        made: rows of `made`: tenant, SHA-256, source.
    """

    wanted: set[str]
    names: set[str] = field(default_factory=set)
    pictures: list[tuple[str, str]] = field(default_factory=list)
    items: dict[tuple[str, int], str] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)
    made: set[tuple[str, str, str]] = field(default_factory=set)


def find_rows(connection: Connection, tenant: str | None, gone: Collection[str]) -> Found:
    """Returns the rows that are about some pictures, and about what was made from them.

    Args:
        connection: to the database.
        tenant: whose rows; None: everybody's.
        gone: SHA-256 of the pictures.
    """
    found = Found(wanted=set(gone))
    steps = [
        (row.id, set(wanted_pictures(row.steps))) for row in connection.execute(_of(tenant, jobs.c.id, jobs.c.steps))
    ]
    new = set(gone)
    named: set[str] = set()
    while new:
        by_steps = {id for id, of in steps if of & new} - named
        named |= by_steps
        before = set(found.wanted)
        about = [*_items_of(connection, tenant, new), *_items_in(connection, by_steps)]
        for row in about:
            found.items[row.job, row.number] = row.state
            found.names |= {row.name, row.result_name} - {None}
            if row.picture in found.wanted or row.job in named:
                found.wanted |= {s for s in (row.result, *row.beside.values()) if s}
        found.wanted |= {row.sha256 for row in _made_of(connection, tenant, made.c.source, new)}
        new = found.wanted - before
    for column in (made.c.source, made.c.sha256):
        found.made |= {tuple(row) for row in _made_of(connection, tenant, column, found.wanted)}
    for row in _items_beside(connection, tenant, found.wanted):
        found.items[row.job, row.number] = row.state
        found.names |= {row.name, row.result_name} - {None}
    for part in _parts(found.wanted):
        rows = sa.select(pictures.c.tenant, pictures.c.sha256, pictures.c.name).where(pictures.c.sha256.in_(part))
        for row in connection.execute(rows if tenant is None else rows.where(pictures.c.tenant == tenant)):
            found.pictures.append((row.tenant, row.sha256))
            found.names.add(row.name)
    for ids in _parts({job for job, _ in found.items}):
        runs = sa.select(jobs.c.id, jobs.c.run).where(jobs.c.id.in_(ids))
        found.runs |= {row.id: row.run for row in connection.execute(runs)}
    return found


def drop_waiting(connection: Connection, tenant: str | None, gone: Collection[str]) -> set[tuple[str, int]]:
    """Drops what waits to be made of some pictures, and queues the jobs anew that are at work at it.

    Returns:
        The runs of jobs, by id and number, that somebody may be at and that are not wanted any more.
    """
    found = find_rows(connection, tenant, gone)
    waiting = [key for key, state in found.items.items() if state == "waiting"]
    begun = set()
    for id in {job for job, _ in waiting}:
        row = connection.execute(sa.select(jobs.c.run, jobs.c.state).where(jobs.c.id == id).with_for_update()).one()
        if row.state not in ENDED:
            values = {"state": "queued", "run": row.run + 1}
            connection.execute(sa.update(jobs).where(jobs.c.id == id).values(**values))
            begun.add((id, row.run))
    _drop_items(connection, waiting)
    return begun


def drop_rows(connection: Connection, found: Found) -> None:
    """Removes the rows that were found."""
    _drop_items(connection, found.items)
    for tenant, sha256 in found.pictures:
        connection.execute(sa.delete(pictures).where(pictures.c.tenant == tenant, pictures.c.sha256 == sha256))
    for tenant, sha256, source in found.made:
        here = (made.c.tenant == tenant) & (made.c.sha256 == sha256) & (made.c.source == source)
        connection.execute(sa.delete(made).where(here))


def scrub(connection: Connection, tenant: str | None, words: Collection[str]) -> None:
    """Takes words out of titles, command lines, errors, logs and webhooks, where they stand alone, in any case."""
    if not words:
        return
    longest_first = sorted(words, key=len, reverse=True)
    pattern = re.compile(rf"(?<![\w.-])(?:{'|'.join(map(re.escape, longest_first))})(?![\w.-]*\w)", re.IGNORECASE)
    for table, columns in TEXTS.items():
        key = table.c.job if table is logs else table.c.id
        rows = sa.select(key, *(table.c[name] for name in columns))
        if tenant is not None:
            own = sa.select(jobs.c.id).where(jobs.c.tenant == tenant)
            rows = rows.where((jobs.c.id if table is jobs else table.c.job).in_(own))
        for id, *texts in connection.execute(rows).all():
            cleaned = [text and pattern.sub(ERASED, text) for text in texts]
            if cleaned != texts:
                values = dict(zip(columns, cleaned, strict=True))
                connection.execute(sa.update(table).where(key == id).values(**values))
    for id, argv in connection.execute(_of(tenant, jobs.c.id, jobs.c.argv).where(jobs.c.kind == "command")).all():
        cleaned = [pattern.sub(ERASED, word) for word in argv]
        if cleaned != argv:
            connection.execute(sa.update(jobs).where(jobs.c.id == id).values(argv=cleaned))


def words_of(names: Iterable[str], gone: Iterable[str]) -> set[str]:
    """Returns what to take out of texts: names, also as JSON writes them, and checksums in full and short."""
    spelled = {word for name in names for word in (name, json.dumps(name, ensure_ascii=False)[1:-1]) if len(word) > 3}
    return spelled | {word for sha256 in gone for word in (sha256, sha256[:SHOWN_DIGITS])}


def shared_names(connection: Connection, tenant: str | None, names: Collection[str], gone: Collection[str]) -> set[str]:
    """Returns those of some names that pictures have, too, which stay."""
    shared: set[str] = set()
    for part in _parts(names):
        rows = sa.select(pictures.c.name, pictures.c.sha256).where(pictures.c.name.in_(part))
        rows = rows if tenant is None else rows.where(pictures.c.tenant == tenant)
        shared |= {row.name for row in connection.execute(rows) if row.sha256 not in gone}
        for column, of in ((items.c.name, items.c.picture), (items.c.result_name, items.c.result)):
            found = _of(tenant, column, of, table=items).where(column.in_(part))
            shared |= {name for name, sha256 in connection.execute(found) if sha256 not in gone}
    return shared


def texts_of(connection: Connection) -> Iterator[str]:
    """Yields all that the tables say of pictures and jobs, row by row, as text."""
    for table in (pictures, jobs, items, logs, deliveries, made):
        for row in connection.execute(sa.select(table)):
            yield "\n".join(str(value) for value in row)


def _drop_items(connection: Connection, which: Iterable[tuple[str, int]]) -> None:
    """Removes rows of jobs' pictures; the counts of the jobs follow, and a job without any goes."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for job, number in which:
        numbers[job].append(number)
    for job, some in numbers.items():
        moved: Counter[str] = Counter()
        connection.execute(sa.select(jobs.c.id).where(jobs.c.id == job).with_for_update())
        for part in _parts(some):
            here = (items.c.job == job) & items.c.number.in_(part)
            moved.update(connection.execute(sa.select(items.c.state).where(here)).scalars())
            connection.execute(sa.delete(items).where(here))
        changes = {s: jobs.c[s] - moved[s] for s in ITEM_STATES if moved[s]}
        connection.execute(
            sa.update(jobs).where(jobs.c.id == job).values(total=jobs.c.total - moved.total(), **changes)
        )
        if connection.execute(sa.select(jobs.c.total).where(jobs.c.id == job)).scalar() == 0:
            for table in (logs, deliveries):
                connection.execute(sa.delete(table).where(table.c.job == job))
            connection.execute(sa.delete(jobs).where(jobs.c.id == job))


_ITEM = (items.c.job, items.c.number, items.c.state, items.c.picture, items.c.name, items.c.result)
_ITEM_ALL = (*_ITEM, items.c.result_name, items.c.beside)


def _items_of(connection: Connection, tenant: str | None, sha256s: Collection[str]) -> Iterator[Row[*tuple[Any, ...]]]:
    for part in _parts(sha256s):
        here = items.c.picture.in_(part) | items.c.result.in_(part)
        yield from connection.execute(_of(tenant, *_ITEM_ALL, table=items).where(here)).all()


def _items_in(connection: Connection, ids: Collection[str]) -> Iterator[Row[*tuple[Any, ...]]]:
    for part in _parts(ids):
        yield from connection.execute(sa.select(*_ITEM_ALL).where(items.c.job.in_(part))).all()


def _items_beside(connection: Connection, tenant: str | None, sha256s: set[str]) -> Iterator[Row[*tuple[Any, ...]]]:
    some = _of(tenant, *_ITEM_ALL, table=items).where(sa.cast(items.c.beside, sa.Text) != "{}")
    for row in connection.execute(some):
        if sha256s & set(row.beside.values()):
            yield row


def _made_of(
    connection: Connection, tenant: str | None, column: sa.ColumnElement[str], sha256s: Collection[str]
) -> Iterator[Row[*tuple[Any, ...]]]:
    for part in _parts(sha256s):
        rows = sa.select(made.c.tenant, made.c.sha256, made.c.source).where(column.in_(part))
        yield from connection.execute(rows if tenant is None else rows.where(made.c.tenant == tenant)).all()


def _of(tenant: str | None, *columns: Any, table: sa.Table = jobs) -> sa.Select[Any]:
    """Returns a question for columns of jobs or of their pictures, of one tenant or of all."""
    found = sa.select(*columns)
    if tenant is None:
        return found
    if table is not jobs:
        found = found.join(jobs, jobs.c.id == table.c.job)
    return found.where(jobs.c.tenant == tenant)


def _parts(values: Iterable[T]) -> Iterator[list[T]]:
    some = list(values)
    for start in range(0, len(some), AT_ONCE):
        yield some[start : start + AT_ONCE]
