"""The same story on a real PostgreSQL, started for the test: migrations, kills, and a database that goes away."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
import sqlalchemy as sa

from packshot.jobs import database
from packshot.jobs.settings import StudioSettings
from packshot.jobs.studio import Studio
from tests.integration.test_jobs_kill import ROOT, check_whole
from tests.jobs_help import add, ended, request_of, wait_for
from tests.unit import test_jobs_book

pytestmark = pytest.mark.slow


class Postgres:
    """A server of its own, as user postgres where we are root: it does not start as root."""

    def __init__(self, folder: Path) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if not found:
            pytest.skip("no PostgreSQL server in /usr/lib/postgresql; install the package postgresql")
        self.binaries, self.folder = found[-1].parent, folder
        self.root = os.geteuid() == 0
        if self.root:
            try:
                owner = pwd.getpwnam("postgres")
            except KeyError:
                pytest.skip("we are root, and there is no user postgres to run the server as")
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        import socket

        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.run("initdb", "-D", str(folder / "data"), "-A", "trust", "-U", "postgres", "--no-sync")

    def run(self, program: str, *arguments: str) -> None:
        """Runs one of the server's programs."""
        command = [str(self.binaries / program), *arguments]
        if self.root:
            command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]
        subprocess.run(command, check=True, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def start(self) -> None:
        """Starts the server."""
        options = f"-p {self.port} -h 127.0.0.1 -k {self.folder} -F"
        self.run(
            "pg_ctl", "-D", str(self.folder / "data"), "-o", options, "-l", str(self.folder / "log"), "-w", "start"
        )

    def stop(self) -> None:
        """Stops it at once, as a crash would."""
        self.run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "-w", "stop")


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="packshot-pg-"))
    server = Postgres(folder)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def settings(postgres: Postgres, tmp_path: Path) -> Iterator[StudioSettings]:
    name = f"t{time.time_ns()}"
    postgres.run("createdb", "-h", "127.0.0.1", "-p", str(postgres.port), "-U", "postgres", name)
    url = f"postgresql://postgres@127.0.0.1:{postgres.port}/{name}"
    made = StudioSettings(home=tmp_path / "studio", database=url)
    yield made
    database.dispose(made)


def start_worker(settings: StudioSettings, log: Path, seconds: float) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.jobs_help", str(settings.home), str(log), str(seconds)]
    return subprocess.Popen([*command, f"database={settings.database}"], cwd=ROOT, stdout=subprocess.DEVNULL)


def test_migrations(settings: StudioSettings) -> None:
    from alembic import command

    engine = database.engine(settings)
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
    with database.writing(engine) as connection:
        config = database.alembic_config(connection)
        command.check(config)
        command.downgrade(config, "base")
        assert set(sa.inspect(connection).get_table_names()) == {"alembic_version"}


def test_the_book(settings: StudioSettings) -> None:
    """What the tests of the book ask of SQLite, asked of PostgreSQL."""
    stories = [getattr(test_jobs_book, name) for name in dir(test_jobs_book) if name.startswith("test_")]
    plain = [s for s in stories if s.__code__.co_varnames[: s.__code__.co_argcount] == ("studio",)]
    assert len(plain) >= 10
    for story in plain:
        studio = Studio(settings)
        with database.writing(studio.engine) as connection:
            for table in reversed(database.metadata.sorted_tables):
                connection.execute(sa.delete(table))
        story(studio)
    studio = Studio(settings)
    for more in ({"title": "x\0"}, {"title": "\ud800"}, {"idempotency_key": "k" * 256}):
        test_jobs_book.test_what_no_database_takes_is_refused(studio, more)


def test_killed_workers_and_a_crashed_database_lose_nothing(
    settings: StudioSettings, postgres: Postgres, tmp_path: Path
) -> None:
    studio, log = Studio(settings), tmp_path / "log"
    job = studio.submit(request_of(add(studio, 60)))
    worker = start_worker(settings, log, 0.1)
    try:
        wait_for(studio, job.id, lambda j: j.finished >= 4, 60)
        worker.kill()
        worker.wait()
        worker = start_worker(settings, log, 0.1)
        before = studio.job("shop", job.id).finished
        wait_for(studio, job.id, lambda j: j.finished >= before + 4, 60)
        postgres.stop()
        with pytest.raises(database.DatabaseLost, match="does not answer"):
            studio.job("shop", job.id)
        assert "does not answer" in studio.ready()["database"]
        time.sleep(3)
        assert worker.poll() is None  # It waits.
        postgres.start()
        check_whole(studio, wait_for(studio, job.id, ended, 150), 60)
    finally:
        worker.kill()
        worker.wait()
    done = [int(line.split()[1]) for line in log.read_text().splitlines()]
    assert len(done) <= 60 + 2 * 2
