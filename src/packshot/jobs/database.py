"""The studio's tables, and the one way to its database: SQLite in its own folder, or PostgreSQL by one setting.

Times are UTC. They are for people: nothing is decided by comparing the clocks of two machines.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, InterfaceError, NoSuchModuleError, OperationalError

from packshot.core.errors import DiskFull, PackshotError, UsageError
from packshot.core.files import disk_errors
from packshot.jobs.settings import StudioSettings

HEAD = "0002"
"""The newest migration; a test compares it with those that are there."""
BUSY_MS = 30_000
"""How long a writer of SQLite waits for another."""
MIGRATION_LOCK = 7_225_468
"""Number of PostgreSQL's lock that one process at a time holds while it changes the tables."""


class DatabaseLost(PackshotError):
    """The database does not answer; what it holds is not lost."""


class Time(sa.TypeDecorator[datetime]):
    """A moment: with a time zone in Python, UTC in the database."""

    impl = sa.DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Returns it as UTC without a zone."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Returns it as UTC."""
        return None if value is None else value.replace(tzinfo=UTC)


metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

pictures = sa.Table(
    "pictures",
    metadata,
    sa.Column("tenant", sa.String(64), primary_key=True),
    sa.Column("sha256", sa.String(64), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("mime", sa.String(64), nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("created", Time, nullable=False),
    sa.Index(None, "sha256"),
    sa.Index(None, "tenant", "created"),
)
"""Which tenant has which picture; a result is one as well."""

made = sa.Table(
    "made",
    metadata,
    sa.Column("tenant", sa.String(64), primary_key=True),
    sa.Column("sha256", sa.String(64), primary_key=True),
    sa.Column("source", sa.String(64), primary_key=True),
    sa.Index(None, "source"),
)
"""From which picture another was made that is no job's result; `items` says so of those."""

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("tenant", sa.String(64), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("steps", sa.JSON, nullable=False),
    sa.Column("output", sa.JSON, nullable=False),
    sa.Column("argv", sa.JSON, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("idempotency_key", sa.String(255)),
    sa.Column("webhook", sa.Text),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("run", sa.Integer, nullable=False),
    sa.Column("queued_run", sa.Integer, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("total", sa.Integer, nullable=False),
    *(sa.Column(state, sa.Integer, nullable=False) for state in ("waiting", "done", "review", "refused", "failed")),
    sa.Column("progress", sa.Integer, nullable=False),
    sa.Column("rate", sa.Float),
    sa.Column("error", sa.Text),
    sa.Column("created", Time, nullable=False),
    sa.Column("started", Time),
    sa.Column("ended", Time),
    sa.UniqueConstraint("tenant", "idempotency_key"),
    sa.Index(None, "tenant", "created"),
    sa.Index(None, "state"),
)
"""`run` counts submission and retries; `queued_run` is the last of them that the queue has been told of. The five
states count the job's pictures; `progress` and `rate` are a command's."""

items = sa.Table(
    "items",
    metadata,
    sa.Column("job", sa.String(32), sa.ForeignKey("jobs.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("picture", sa.String(64), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("stem", sa.Text, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("result", sa.String(64)),
    sa.Column("result_name", sa.Text),
    sa.Column("beside", sa.JSON, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("confidence", sa.Float),
    sa.Column("receipt", sa.JSON(none_as_null=True)),
    sa.Column("figures", sa.JSON, nullable=False),
    sa.Column("notes", sa.JSON, nullable=False),
    sa.Column("source_type", sa.Text),
    sa.Column("decision", sa.String(16)),
    sa.Column("ended", Time),
    sa.Index(None, "job", "state", "number"),
    sa.Index(None, "job", "ended"),
    sa.Index(None, "picture"),
    sa.Index(None, "result"),
)
"""`stem`: of the result's file name, unlike all others of the job."""

logs = sa.Table(
    "logs",
    metadata,
    sa.Column("job", sa.String(32), sa.ForeignKey("jobs.id"), primary_key=True),
    sa.Column("text", sa.Text, nullable=False),
)
"""The last lines that a job's command printed."""

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("beat", sa.BigInteger, nullable=False),
    sa.Column("seen", Time, nullable=False),
)
"""Processes that do the work. `beat` counts up while one lives; others see by their own clocks whether it does."""

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("tenant", sa.String(64), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("hash", sa.String(128), nullable=False),
    sa.Column("scopes", sa.JSON, nullable=False),
    sa.Column("rate", sa.Integer),
    sa.Column("created", Time, nullable=False),
    sa.Column("expires", Time),
    sa.Column("revoked", Time),
    sa.Column("last_used", Time),
    sa.UniqueConstraint("hash"),
    sa.Index(None, "tenant"),
)
"""API keys; `rate`: requests a minute, NULL: no limit."""

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("job", sa.String(32), sa.ForeignKey("jobs.id"), nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("next_at", Time, nullable=False),
    sa.Column("last_error", sa.Text),
    sa.Column("created", Time, nullable=False),
    sa.Index(None, "state", "next_at"),
    sa.Index(None, "job"),
)
"""Webhooks that are to be told of a job's end."""

_engines: dict[str, Engine] = {}
_lock = Lock()


def engine(settings: StudioSettings) -> Engine:
    """Returns the engine of the studio's database, one for each URL of this process.

    Raises:
        UsageError: the URL is none, or names a database that is not supported.
        PackshotError: the folder of a SQLite file cannot be made.
    """
    url = settings.database_url
    with _lock:
        if url not in _engines:
            _engines[url] = _make_engine(url)
        return _engines[url]


def dispose(settings: StudioSettings) -> None:
    """Closes the connections of `engine`."""
    with _lock:
        found = _engines.pop(settings.database_url, None)
    if found is not None:
        found.dispose()


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction that may write: committed at the end of the block, or not at all.

    Raises:
        DatabaseLost: the database does not answer.
        DiskFull: it has no room left.
    """
    with database_errors(engine), engine.begin() as connection:
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One transaction that only reads, and waits for no writer. Raises as `writing` does."""
    with database_errors(engine), engine.connect().execution_options(reads=True) as connection:
        yield connection


@contextmanager
def database_errors(engine: Engine) -> Iterator[None]:
    """Turns the database's refusals into one clear sentence each.

    Raises:
        DatabaseLost: it does not answer, or is damaged.
        DiskFull: it has no room left.
    """
    try:
        yield
    except (OperationalError, InterfaceError, DatabaseError) as e:
        if isinstance(e, (sa.exc.IntegrityError, sa.exc.DataError, sa.exc.ProgrammingError)):
            raise
        said = (str(e.orig).strip().splitlines() or ["?"])[0].rstrip(".")
        where = make_url(engine.url).render_as_string(hide_password=True)
        if "is full" in said or "No space left" in said:
            raise DiskFull(f"The database {where} has no room left; free some space and go on: nothing is lost.") from e
        raise DatabaseLost(
            f"The database {where} does not answer ({said}); make sure that it runs and can be used: what was done is "
            "kept."
        ) from e


def check(engine: Engine) -> None:
    """Makes sure that the database answers and has the tables.

    Raises:
        PackshotError: it does not.
    """
    with reading(engine) as connection:
        if _revision(connection) != HEAD:
            raise PackshotError("The studio's database has not the tables of this version; start packshot serve anew.")


def insert_new(connection: Connection, table: sa.Table, rows: Sequence[dict[str, Any]]) -> None:
    """Inserts rows, but none whose key is there already."""
    if rows:
        connection.execute(_insert_new(table, connection.dialect.name), list(rows))


@cache
def _insert_new(table: sa.Table, dialect: str) -> sa.Insert:
    if dialect == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()


def migrate(engine: Engine) -> None:
    """Brings the tables to the newest form; several processes may do it at once.

    Raises:
        DatabaseLost: the database does not answer.
        PackshotError: the tables are of a newer Packshot.
    """
    with reading(engine) as connection:
        if _revision(connection) == HEAD:
            return
    with writing(engine) as connection:  # SQLite: nobody else writes now.
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
        revision = _revision(connection)
        if revision is not None and revision > HEAD:
            raise PackshotError(
                f"The studio's database was made by a newer Packshot (its tables are of form {revision}, this one "
                f"knows {HEAD}); install the newer version, or name another database."
            )
        if revision != HEAD:
            upgrade(connection)


def upgrade(connection: Connection, to: str = "head") -> None:
    """Runs the migrations up to one of them, within the connection's transaction."""
    from alembic import command

    command.upgrade(alembic_config(connection), to)


def alembic_config(connection: Connection) -> Any:
    """Returns Alembic's configuration for this connection; there is no alembic.ini."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def now() -> datetime:
    """Returns this machine's time, as UTC."""
    return datetime.now(UTC)


def _revision(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _make_engine(text: str) -> Engine:
    try:
        url = make_url(text)
    except ArgumentError as e:
        raise UsageError(f"database is '{text}', which is no URL; write postgresql+psycopg://user@host/name.") from e
    if url.get_backend_name() == "sqlite":
        if not url.database or url.database == ":memory:":
            raise UsageError("database is SQLite without a file; write sqlite:////folder/studio.sqlite.")
        folder = Path(url.database).absolute().parent
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        made = sa.create_engine(url, connect_args={"timeout": BUSY_MS / 1000})
        sa.event.listen(made, "connect", _on_connect)
        sa.event.listen(made, "begin", _on_begin)
        return made
    if url.get_backend_name() != "postgresql":
        raise UsageError(
            f"database is {url.get_backend_name()}; it can be SQLite or PostgreSQL (postgresql+psycopg://)."
        )
    try:
        return sa.create_engine(
            url.set(drivername="postgresql+psycopg"), pool_pre_ping=True, connect_args={"connect_timeout": 10}
        )
    except (ImportError, NoSuchModuleError) as e:
        raise UsageError("A PostgreSQL database needs its driver: pip install 'packshot[postgres]'") from e


def _on_connect(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # `_on_begin` says when a transaction begins, and of which kind.
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", f"busy_timeout={BUSY_MS}", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _on_begin(connection: Connection) -> None:
    # Who reads first and then writes would else be refused if another wrote between the two.
    reads = connection.get_execution_options().get("reads")
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
