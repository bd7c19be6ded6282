"""The studio's tables: migrations are what the tables say, and errors are sentences."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from threading import Thread

import pytest
import sqlalchemy as sa

from packshot.core.errors import DiskFull, PackshotError, UsageError
from packshot.jobs import database
from packshot.jobs.settings import StudioSettings


@pytest.fixture
def engine(tmp_path: Path) -> sa.Engine:
    settings = StudioSettings(home=tmp_path / "studio")
    made = database.engine(settings)
    yield made
    database.dispose(settings)


def test_migrations_make_the_tables_and_take_them_back(engine: sa.Engine) -> None:
    from alembic import command
    from alembic.script import ScriptDirectory

    with database.writing(engine) as connection:
        config = database.alembic_config(connection)
        assert ScriptDirectory.from_config(config).get_current_head() == database.HEAD
        database.upgrade(connection)
        command.check(config)  # Raises where the tables are others than `metadata`.
        command.downgrade(config, "base")
        assert set(sa.inspect(connection).get_table_names()) == {"alembic_version"}
        database.upgrade(connection)
    database.check(engine)


def test_migrating_at_once_and_twice(engine: sa.Engine) -> None:
    errors: list[BaseException] = []

    def migrate() -> None:
        try:
            database.migrate(engine)
        except BaseException as e:
            errors.append(e)

    threads = [Thread(target=migrate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    database.check(engine)


def test_a_newer_studio_is_not_touched(engine: sa.Engine) -> None:
    database.migrate(engine)
    with database.writing(engine) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(PackshotError, match="newer Packshot"):
        database.migrate(engine)
    with pytest.raises(PackshotError, match="not the tables of this version"):
        database.check(engine)


def test_times_keep_their_moment(engine: sa.Engine) -> None:
    database.migrate(engine)
    moment = datetime(2026, 3, 1, 12, 30, 0, 123456, tzinfo=timezone(timedelta(hours=8)))
    with database.writing(engine) as connection:
        row = {"id": "w", "host": "h", "beat": 1, "seen": moment}
        connection.execute(sa.insert(database.workers), row)
        seen = connection.execute(sa.select(database.workers.c.seen)).scalar_one()
    assert seen == moment
    assert seen.tzinfo is UTC


def test_a_block_that_fails_leaves_nothing(engine: sa.Engine) -> None:
    database.migrate(engine)
    row = {"id": "w", "host": "h", "beat": 1, "seen": database.now()}
    with pytest.raises(KeyError), database.writing(engine) as connection:
        connection.execute(sa.insert(database.workers), row)
        raise KeyError
    with database.reading(engine) as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(database.workers)).scalar() == 0


def test_readers_do_not_wait_for_a_writer(engine: sa.Engine) -> None:
    database.migrate(engine)
    with database.writing(engine) as connection:
        connection.execute(sa.insert(database.workers), {"id": "w", "host": "", "beat": 1, "seen": database.now()})
        database.check(engine)  # Would else wait for half a minute.


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://x/y", "it can be SQLite or PostgreSQL"),
        ("no url", "is no URL"),
        ("sqlite://", "without a file"),
    ],
)
def test_other_databases_are_refused(url: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        database.engine(StudioSettings(database=url))


def test_a_lost_postgresql_is_one_sentence_without_the_password() -> None:
    settings = StudioSettings(database="postgresql://me:secret@127.0.0.1:9/x")
    with pytest.raises(database.DatabaseLost, match="does not answer") as e:
        database.migrate(database.engine(settings))
    database.dispose(settings)
    assert "secret" not in str(e.value)
    assert "\n" not in str(e.value)


def test_damaged_and_full_databases_are_sentences(tmp_path: Path) -> None:
    (tmp_path / "studio.sqlite").write_bytes(b"this is no database at all, it is a text" * 50)
    settings = StudioSettings(home=tmp_path)
    with pytest.raises(database.DatabaseLost, match="file is not a database"):
        database.migrate(database.engine(settings))
    database.dispose(settings)
    settings = StudioSettings(home=tmp_path / "full")
    engine = database.engine(settings)
    database.migrate(engine)
    with pytest.raises(DiskFull, match="no room left"), database.writing(engine) as connection:
        connection.execute(sa.text("PRAGMA max_page_count = 1"))
        rows = [{"id": f"{i}", "host": "x" * 4000, "beat": 1, "seen": database.now()} for i in range(500)]
        connection.execute(sa.insert(database.workers), rows)
    database.dispose(settings)
