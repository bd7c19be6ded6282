"""What a worker makes of a job, with a queue and an engine that do all in this thread."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from packshot.jobs import database, lives, worker
from packshot.jobs.commands import Ended, Progress
from packshot.jobs.database import DatabaseLost
from packshot.jobs.hands import Asked, JobStopped, JobWaits, Made, Order, Question
from packshot.jobs.holdings import StudioHolder
from packshot.jobs.holdings_rows import drop_rows, find_rows
from packshot.jobs.records import JobKind, JobRequest
from packshot.jobs.rows import Outcome
from packshot.jobs.settings import StudioSettings
from packshot.jobs.shard_engines import Shard, outcome_of
from packshot.jobs.studio import Studio
from packshot.jobs.worker import Worker
from tests.jobs_fake import FakeHands
from tests.jobs_help import add, png, request_of


class DirectQueue:
    """A queue that remembers what it was given, and does steps at once."""

    def __init__(self) -> None:
        self.given: list[tuple[str, int, JobKind, int]] = []
        self.steps: list[str] = []

    def start(self, work: Callable[[str, int], None]) -> None:
        self.work = work

    def put(self, id: str, run: int, kind: JobKind, priority: int) -> None:
        self.given.append((id, run, kind, priority))

    def step(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        self.steps.append(name)
        return function(*arguments)

    def lost(self, jobs: Iterable[tuple[str, int]], mine: Collection[tuple[str, int]]) -> list[tuple[str, int]]:
        return [job for job in jobs if job not in mine]

    def take_over(self, alive: Callable[[], Iterable[str]]) -> int:
        self.alive = list(alive())
        return 0

    def forget_ended(self, before: datetime) -> int:
        self.forgotten = before
        return 0

    def close(self) -> None:
        pass


class DirectEngine:
    """An engine that does the pictures in this thread; `before` is told of each."""

    width = 1

    def __init__(self, hands: Callable[[Question], Made | None]) -> None:
        self.hands = hands
        self.before: Callable[[Asked], None] = lambda _: None
        self.most = 0

    def run(self, shard: Shard) -> Iterator[Outcome]:
        self.most = max(self.most, len(shard.asked))
        for asked in shard.asked:
            for tries in range(shard.tries):
                if shard.stopped.is_set():
                    return
                self.before(asked)
                made = self.hands((shard.order, asked))
                assert made is not None
                outcome = outcome_of(Asked(**{**vars(asked), "tries": tries}), made, shard.tries)
                yield outcome
                if outcome.state != "waiting":
                    break

    def close(self) -> None:
        pass


class Shop:
    """A studio and its worker."""

    def __init__(self, home: Path) -> None:
        self.settings = StudioSettings(home=home, shard=3)
        self.studio = Studio(self.settings)
        self.engine = DirectEngine(FakeHands(self.settings, home / "log"))
        self.queue = DirectQueue()
        self.worker = Worker(self.settings, self.engine, self.queue)

    def log(self) -> list[str]:
        path = self.settings.place / "log"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.studio.close()


def test_a_job_is_done_shard_by_shard(shop: Shop) -> None:
    pictures = add(shop.studio, 20)
    bad = shop.studio.add_picture("shop", png(50), name="bad.png", mime="image/png", width=24, height=24)
    job = shop.studio.submit(request_of([*pictures, bad]))
    shop.worker.do_job(job.id, 1)
    job = shop.studio.job("shop", job.id)
    assert job.state == "done"
    assert job.attempts == 1
    assert job.counts == {"waiting": 0, "done": 20, "review": 0, "refused": 0, "failed": 1}
    assert shop.engine.most == 8  # Memory does not grow with the job.
    assert shop.queue.steps == ["shard"] * 4  # 8, 8, 5, and one that finds nothing left.
    assert shop.studio.item("shop", job.id, 20).tries == 3
    shop.worker.do_job(job.id, 1)  # The queue may ask twice.
    assert len(shop.log()) == 20


def test_what_stops_a_job_is_said_and_a_retry_goes_on(shop: Shop) -> None:
    job = shop.studio.submit(request_of(add(shop.studio, 6)))

    def full(asked: Asked) -> None:
        if asked.number == 3:
            raise JobStopped("Cannot use /x: the disk is full; free some space.")

    shop.engine.before = full
    shop.worker.do_job(job.id, 1)
    failed = shop.studio.job("shop", job.id)
    assert (failed.state, failed.finished) == ("failed", 3)
    assert failed.error == "Cannot use /x: the disk is full; free some space."
    shop.engine.before = lambda _: None
    shop.studio.retry("shop", job.id)
    shop.worker.do_job(job.id, 2)
    assert shop.studio.job("shop", job.id).state == "done"
    assert [int(line.split()[1]) for line in shop.log()] == [0, 1, 2, 3, 4, 5]


def test_a_fault_of_ours_ends_the_job_in_words(shop: Shop, capfd: pytest.CaptureFixture[str]) -> None:
    job = shop.studio.submit(request_of(add(shop.studio, 1)))

    def breaks(asked: Asked) -> None:
        raise ZeroDivisionError("oh")

    shop.engine.before = breaks
    shop.worker.do_job(job.id, 1)
    failed = shop.studio.job("shop", job.id)
    assert failed.state == "failed"
    assert failed.error == "ZeroDivisionError: oh. This is a fault in Packshot; please report it."
    assert "Traceback" in capfd.readouterr().err


def test_cancelling_ends_the_shard(shop: Shop) -> None:
    job = shop.studio.submit(request_of(add(shop.studio, 6)))

    def cancels(asked: Asked) -> None:
        if asked.number == 2:
            shop.studio.cancel("shop", job.id)
            shop.worker._stop_unwanted()

    shop.engine.before = cancels
    shop.worker.do_job(job.id, 1)
    told = shop.studio.job("shop", job.id)
    assert told.state == "cancelled"
    assert told.counts["done"] == 3  # The one that was in hand when it was cancelled is done; that is kept.


def test_a_database_that_goes_away_is_waited_for(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    job = shop.studio.submit(request_of(add(shop.studio, 2)))
    finish, calls = shop.worker.book.finish, []

    def sometimes(id: str, outcomes: Iterable[Outcome]) -> int:
        calls.append(id)
        if len(calls) < 3:
            raise DatabaseLost("The database does not answer.")
        return finish(id, outcomes)

    monkeypatch.setattr(shop.worker.book, "finish", sometimes)
    monkeypatch.setattr("packshot.jobs.worker.time.sleep", lambda _: None)
    shop.worker.do_job(job.id, 1)
    assert shop.studio.job("shop", job.id).state == "done"
    assert len(shop.log()) == 2


def command_job(shop: Shop) -> str:
    return shop.studio.submit(JobRequest(tenant="shop", kind="command", argv=("ingest", "x"))).id


def test_a_command_is_tried_again_and_its_progress_noted(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = [-11, 1, 0]

    def run(argv: list[str], folder: Path, wanted: object, tell: Callable[[Progress, str], None]) -> Ended:
        tell(Progress(30, 120, 60.0), "one\ntwo\n")
        return Ended(code=codes.pop(0), said="It broke.")

    monkeypatch.setattr(worker, "run_command", run)
    monkeypatch.setattr(worker, "back_off", lambda _: 0.0)
    id = command_job(shop)
    shop.worker.do_job(id, 1)
    job = shop.studio.job("shop", id)
    assert (job.state, job.finished, job.total, job.rate, dict(job.counts)) == ("done", 30, 120, 60.0, {})
    assert shop.studio.log("shop", id) == "one\ntwo"
    assert shop.studio.log("shop", id, lines=1) == "two"
    assert codes == []


@pytest.mark.parametrize(("codes", "used"), [([2, 0], 1), ([1, 1, 1, 0], 3)])
def test_a_command_that_is_wrong_fails(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, codes: list[int], used: int
) -> None:
    left = list(codes)
    monkeypatch.setattr(worker, "run_command", lambda *_: Ended(code=left.pop(0), said="There is no folder x."))
    monkeypatch.setattr(worker, "back_off", lambda _: 0.0)
    id = command_job(shop)
    shop.worker.do_job(id, 1)
    job = shop.studio.job("shop", id)
    assert (job.state, job.error) == ("failed", "There is no folder x.")
    assert len(codes) - len(left) == used


def test_new_jobs_reach_the_queue_once(shop: Shop) -> None:
    low = shop.studio.submit(request_of(add(shop.studio, 1), priority=8))
    high = command_job(shop)
    shop.worker._queue_new()
    shop.worker._queue_new()
    assert shop.queue.given == [(high, 1, "command", 5), (low.id, 1, "pictures", 8)]


def test_a_job_that_the_queue_lost_is_queued_again_at_the_second_look(shop: Shop) -> None:
    job = shop.studio.submit(request_of(add(shop.studio, 1)))
    shop.worker._queue_new()
    shop.worker._search()
    shop.worker._queue_new()
    assert len(shop.queue.given) == 1
    shop.worker._search()
    shop.worker._queue_new()
    assert shop.queue.given[1:] == [(job.id, 2, "pictures", 5)]


def test_who_lives_is_seen_by_locks_and_beats_not_by_clocks(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    mine, other = shop.worker, Worker(shop.settings, shop.engine, DirectQueue())
    clock = [1000.0]
    monkeypatch.setattr("packshot.jobs.lives.time.monotonic", lambda: clock[0])
    locks = [w.lives.hold_lock() for w in (mine, other)]
    for w in (mine, other):
        w.lives.beat()
    with database.writing(mine.database) as connection:  # Of another machine, whose clock is years ahead.
        seen = database.now().replace(year=2040)
        row = {"id": "far", "host": "far", "beat": 7, "seen": seen}
        connection.execute(sa.insert(database.workers), row)
    assert set(mine.lives.look()) == {mine.id, other.id, "far"}
    clock[0] += lives.LEASE - 1
    assert set(mine.lives.look()) == {mine.id, other.id, "far"}
    other.lives.beat()
    with database.writing(mine.database) as connection:
        connection.execute(sa.update(database.workers).where(database.workers.c.id == "far").values(beat=8))
    mine.lives.look()
    clock[0] += lives.LEASE - 1
    other.lives.beat()
    assert "far" in mine.lives.look()
    clock[0] += 2
    assert "far" not in mine.lives.look()
    other.lives.beat()
    assert other.id in mine.lives.look()
    os.close(locks[1])  # It was killed: seen at once.
    assert mine.lives.look() == [mine.id]
    os.close(locks[0])


def test_the_worker_runs_and_stops(shop: Shop) -> None:
    thread = threading.Thread(target=shop.worker.run)
    thread.start()
    id = shop.studio.submit(request_of(add(shop.studio, 1))).id
    for _ in range(200):
        if shop.queue.given:
            break
        thread.join(0.05)
    assert shop.queue.given == [(id, 1, "pictures", 5)]
    assert shop.studio.ready()["worker"] == "ok"
    assert timedelta(days=29) < database.now() - shop.queue.forgotten < timedelta(days=31)
    shop.worker.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert "packshot work" in Studio(shop.settings).ready()["worker"]


def test_the_order_is_of_the_day_on_which_the_job_came(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    orders: list[Order] = []
    monkeypatch.setattr(shop.engine, "run", lambda shard: orders.append(shard.order) or iter(()))
    mask = add(shop.studio, 1, first=9)[0].sha256
    steps = ({"task": "repair", "mask": f"picture:{mask}"},)
    job = shop.studio.submit(request_of(add(shop.studio, 1), steps=steps))
    shop.worker.do_job(job.id, 1)
    assert orders[0].on == job.created.date()
    assert orders[0].pictures == (mask,)
    assert orders[0].tenant == "shop"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--set", "nosuch=1"], 2, "Unknown setting 'nosuch'"),
        (["--settings", "/no/such.toml"], 1, "/no/such.toml"),
        (["--set", "database=postgresql://me:secret@127.0.0.1:9/x"], 1, "does not answer"),
        (["--set", "store=nosuch://x"], 2, "store is"),
    ],
)
def test_the_command_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    from packshot.cli.main import main

    with pytest.raises(SystemExit) as e:
        main(["work", "--set", f"home={tmp_path}", *words])
    told = capsys.readouterr().err
    assert e.value.code == code
    assert said in told
    assert "Traceback" not in told
    assert "secret" not in told


def test_results_of_a_picture_that_was_erased_meanwhile_are_not_kept(shop: Shop) -> None:
    pictures = add(shop.studio, 3)
    job = shop.studio.submit(request_of(pictures))
    holder, hands = StudioHolder(shop.settings), shop.engine.hands

    def erased_in_hand(question: Question) -> Made | None:
        made = hands(question)
        if question[1] is not None and question[1].number == 1:
            gone = {pictures[1].sha256}
            assert holder.find(gone).counts["items"] == 1
            with database.writing(shop.worker.database) as connection:
                drop_rows(connection, find_rows(connection, None, gone))
        return made

    shop.engine.hands = erased_in_hand
    shop.worker.do_job(job.id, 1)
    told = shop.studio.job("shop", job.id)
    assert (told.state, told.total, told.counts["done"]) == ("done", 2, 2)
    assert shop.studio.store.size(hashlib.sha256(png(1)[::-1]).hexdigest()) is None
    assert shop.studio.store.size(hashlib.sha256(png(2)[::-1]).hexdigest()) is not None


def test_a_job_that_is_erased_while_it_runs_is_no_error(shop: Shop, capfd: pytest.CaptureFixture[str]) -> None:
    pictures = add(shop.studio, 2)
    job = shop.studio.submit(request_of(pictures))

    def erase(asked: Asked) -> None:
        with database.writing(shop.worker.database) as connection:
            drop_rows(connection, find_rows(connection, None, {p.sha256 for p in pictures}))

    shop.engine.before = erase
    shop.worker.do_job(job.id, 1)
    assert shop.studio.jobs("shop") == []
    assert shop.worker.book.begin(job.id, 1) is None
    shop.worker.book.progress(job.id, finished=1, total=2, rate=None, log="x")
    assert capfd.readouterr().err == ""


def test_a_full_disk_holds_the_job_until_there_is_room(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    job = shop.studio.submit(request_of(add(shop.studio, 6)))
    monkeypatch.setattr(worker, "HOLDS", (0.0, 0.0))
    full, seen = [3, 3, 3, 5], []

    def before(asked: Asked) -> None:
        if full and asked.number == full[0]:
            full.pop(0)
            raise JobWaits("Cannot use /x: the disk is full.")
        seen.append(shop.studio.job("shop", job.id).error)

    hold = shop.worker._hold

    def looks(id: str, run: int, why: str, stopped: threading.Event, seconds: float) -> None:
        monkeypatch.setattr(stopped, "wait", lambda _: said.append(shop.studio.job("shop", id)))
        hold(id, run, why, stopped, seconds)

    said: list[Any] = []
    monkeypatch.setattr(shop.worker, "_hold", looks)
    shop.engine.before = before
    shop.worker.do_job(job.id, 1)
    told = shop.studio.job("shop", job.id)
    assert (told.state, told.counts["done"], told.error) == ("done", 6, None)
    assert [int(line.split()[1]) for line in shop.log()] == [0, 1, 2, 3, 4, 5]
    assert [(j.state, j.error) for j in said] == [
        ("running", "Cannot use /x: the disk is full. The job waits, and goes on by itself.")
    ] * 4
    assert seen == [None] * 6


def test_what_nobody_wants_any_more_is_removed_from_work_at_the_start(shop: Shop) -> None:
    job = shop.studio.submit(request_of(add(shop.studio, 1)))
    ended = shop.studio.submit(request_of(add(shop.studio, 1, first=5)))
    shop.studio.cancel("shop", ended.id)
    work = shop.settings.place / "work"
    for name in (f"{job.id}-1", f"{ended.id}-1", "nobody-7", "notes"):
        (work / name / "0").mkdir(parents=True)
    shop.worker._tidy_work()
    assert sorted(p.name for p in work.iterdir()) == sorted([f"{job.id}-1", "notes"])
