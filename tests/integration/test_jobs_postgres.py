"""The same story on a real PostgreSQL, started for the test: migrations, kills, and a database that goes away."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from threading import Thread

import pytest
import sqlalchemy as sa

from packshot.jobs import database
from packshot.jobs.holdings import StudioHolder
from packshot.jobs.holdings_rows import texts_of
from packshot.jobs.settings import StudioSettings
from packshot.jobs.studio import Studio
from packshot.tasks.erase import carry_out
from packshot.tasks.erase_finder import make_plan
from packshot.tasks.erase_plan import EraseRequest
from tests.integration.test_jobs_kill import check_whole
from tests.jobs_help import add, ended, png, request_of, wait_for
from tests.jobs_workplace import ROOT
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
    more = [f"database={settings.database}", f"queue_days={settings.queue_days}"]
    return subprocess.Popen([*command, *more], cwd=ROOT, stdout=subprocess.DEVNULL)


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


def test_the_queue_forgets_runs_that_ended_long_ago(settings: StudioSettings, tmp_path: Path) -> None:
    studio = Studio(settings)
    job = studio.submit(request_of(add(studio, 6)))
    worker = start_worker(settings, tmp_path / "log", 0.0)
    wait_for(studio, job.id, ended, 60)
    assert rows_of(settings) == {"workflow_status": 1, "operation_outputs": 2}
    worker.terminate()
    worker.wait(20)
    worker = start_worker(replace(settings, queue_days=0.0), tmp_path / "log", 0.0)
    try:
        until = time.monotonic() + 30
        while any(rows_of(settings).values()):
            assert time.monotonic() < until, rows_of(settings)
            time.sleep(0.1)
        check_whole(studio, studio.job("shop", job.id), 6)
    finally:
        worker.kill()
        worker.wait()


def test_an_erasure(settings: StudioSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKSHOT_HOME", str(tmp_path / "home"))
    studio = Studio(settings)
    pictures = add(studio, 4)
    holder = StudioHolder(settings)
    request = EraseRequest(what=pictures[1].sha256, holders=(holder,), here=False)
    job = studio.submit(request_of(pictures, title="Of p1.png", webhook="https://example.com/x"))
    early = studio.submit(request_of(pictures[1:2]))  # No worker has ever been here: the queue has no tables.
    first = replace(request, what=add(studio, 1, first=9)[0].sha256)
    assert carry_out(make_plan(first), first).state == "erased"
    worker = start_worker(settings, tmp_path / "log", 0.0)
    try:
        wait_for(studio, job.id, ended, 60)
        wait_for(studio, early.id, ended, 60)
        result = carry_out(make_plan(request), request)
    finally:
        worker.kill()
        worker.wait()
    assert (result.state, result.problems, result.remains) == ("erased", {}, [])
    assert result.held[holder.name]["items"] == 2
    with database.reading(studio.engine) as connection:
        text = "\n".join(texts_of(connection))
    assert "p0.png" in text
    assert not any(word in text for word in ("p1.png", pictures[1].sha256[:12], sha256(png(1)[::-1]).hexdigest()))
    assert [j.id for j in studio.jobs("shop")] == [job.id]
    assert rows_of(settings)["workflow_status"] == 0  # Of these jobs the queue keeps nothing, either.


def rows_of(settings: StudioSettings) -> dict[str, int]:
    """Returns how many rows the queue's own tables have."""
    engine = database.engine(settings)
    with database.reading(engine) as connection:
        return {
            name: connection.execute(sa.text(f"SELECT count(*) FROM dbos.{name}")).scalar_one()
            for name in ("workflow_status", "operation_outputs")
        }
