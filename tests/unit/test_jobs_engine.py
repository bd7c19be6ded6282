"""Hands and the engine of this machine: what dies is begun again, what kills is given up, what is urgent goes first."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from packshot.core.errors import DiskFull, PackshotError
from packshot.core.workers import WorkerProcess
from packshot.jobs import hands as hands_module
from packshot.jobs import shard_engines
from packshot.jobs.hands import Asked, Hands, JobStopped, Made, Order, do_picture
from packshot.jobs.records import Output
from packshot.jobs.rows import Outcome
from packshot.jobs.settings import StudioSettings
from packshot.jobs.shard_engines import LocalEngine, Shard, back_off, outcome_of
from packshot.jobs.store import PictureStore, StoreLost
from packshot.tasks.journal import PhotoResult
from tests.jobs_fake import FakeHands
from tests.jobs_help import BALANCE, png


@pytest.fixture
def settings(tmp_path: Path) -> StudioSettings:
    return StudioSettings(home=tmp_path, workers=2)


@pytest.fixture
def engine(settings: StudioSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalEngine]:
    monkeypatch.setattr(shard_engines, "BACK_OFF", (0.01, 1.0, 0.01))
    made = LocalEngine(settings, FakeHands(settings, tmp_path / "log"))
    yield made
    made.close()


def order_of(settings: StudioSettings, job: str = "j", steps: tuple[Any, ...] = (BALANCE,)) -> Order:
    folder = settings.place / "work" / job
    return Order(job=job, tenant="shop", steps=steps, output=Output(), on=date(2026, 1, 1), pictures=(), folder=folder)


def shard_of(settings: StudioSettings, names: list[str], job: str = "j", priority: int = 5) -> Shard:
    store = PictureStore(settings)
    asked = [
        Asked(number=i, picture=store.put(png(i)), name=name, stem=f"{i}-{Path(name).stem}")
        for i, name in enumerate(names)
    ]
    return Shard(order=order_of(settings, job), asked=asked, rank=(priority, job), tries=3)


def test_a_shard_is_done_and_what_kills_is_given_up(engine: LocalEngine, settings: StudioSettings) -> None:
    names = ["a.png", "poison.png", "b.png", "bad.png", "c.png", "d.png"]
    outcomes = list(engine.run(shard_of(settings, names)))
    last = {o.number: o for o in outcomes}
    assert {n: o.state for n, o in last.items()} == {
        0: "done",
        1: "failed",
        2: "done",
        3: "failed",
        4: "done",
        5: "done",
    }
    assert Counter(o.number for o in outcomes) == {0: 1, 1: 3, 2: 1, 3: 3, 4: 1, 5: 1}
    assert (last[1].tries, last[3].tries) == (3, 3)
    assert last[1].reason is not None
    assert last[1].reason.startswith("poison.png: its process was lost")
    assert last[3].reason == "bad.png is bad."
    store = PictureStore(settings)
    assert all(o.result is not None and store.read(o.result.sha256) for o in last.values() if o.state == "done")
    # Whoever is killed from outside in the next job costs nothing but a try.
    assert [o.state for o in engine.run(shard_of(settings, ["e.png"], "k"))] == ["done"]


def test_a_job_that_is_not_wanted_stops_at_once(engine: LocalEngine, settings: StudioSettings) -> None:
    shard = shard_of(settings, ["slow.png", "slow2.png", "a.png"])
    outcomes: list[Outcome] = []
    thread = Thread(target=lambda: outcomes.extend(engine.run(shard)))
    thread.start()
    deadline = time.monotonic() + 30
    while not all(h.work for h in engine._hands) or len(engine._hands) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.3)
    shard.stopped.set()
    start = time.monotonic()
    thread.join(10)
    assert time.monotonic() - start < 2
    assert outcomes == []


def test_the_urgent_job_goes_first(settings: StudioSettings, tmp_path: Path) -> None:
    engine = LocalEngine(
        StudioSettings(home=settings.home, workers=1), FakeHands(settings, tmp_path / "log", seconds=0.05)
    )
    low, high = shard_of(settings, ["a.png"] * 6, "low", 9), shard_of(settings, ["b.png"] * 3, "high", 0)
    begun = Event()
    threads = []

    def run(shard: Shard, first: bool) -> None:
        for _ in engine.run(shard):
            begun.set()

    threads.append(Thread(target=run, args=(low, True)))
    threads[0].start()
    assert begun.wait(30)
    threads.append(Thread(target=run, args=(high, False)))
    threads[1].start()
    for thread in threads:
        thread.join(30)
    engine.close()
    jobs = [line.split()[0] for line in (tmp_path / "log").read_text().splitlines()]
    assert Counter(jobs) == {"low": 6, "high": 3}
    last_high = max(i for i, job in enumerate(jobs) if job == "high")
    assert jobs[last_high + 1 :].count("low") >= 2, jobs


class Unready:
    """Hands whose process is lost before it is ready."""

    def __call__(self, question: object) -> Made:
        import os

        os._exit(3)


class Stopped:
    """Hands that find the disk full at the third picture."""

    def __call__(self, question: tuple[Order, Asked | None]) -> Made | None:
        if question[1] is None:
            return None
        if question[1].number == 2:
            raise JobStopped("The disk is full.")
        return Made(status="done")


def test_processes_that_are_never_ready_end_the_job(settings: StudioSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_engines, "DEATHS", 2)
    engine = LocalEngine(settings, Unready())
    with pytest.raises(JobStopped, match="before they were ready"):
        list(engine.run(shard_of(settings, ["a.png", "b.png"])))
    engine.close()


def test_what_was_done_before_the_job_stops_is_told(settings: StudioSettings) -> None:
    engine = LocalEngine(StudioSettings(home=settings.home, workers=1), Stopped())
    outcomes = []
    with pytest.raises(JobStopped, match="disk is full"):
        for outcome in engine.run(shard_of(settings, ["a.png", "b.png", "c.png", "d.png"])):
            outcomes.append(outcome)
    assert [o.number for o in outcomes] == [0, 1]
    engine.close()


def test_a_picture_that_hangs_is_ended(
    engine: LocalEngine, settings: StudioSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(engine.run(shard_of(settings, ["a.png"])))  # So that a process is ready.
    monkeypatch.setattr(shard_engines, "LONGEST", 0.5)
    [*_, last] = engine.run(Shard(**{**vars(shard_of(settings, ["slow.png"])), "tries": 1}))
    assert last.state == "failed"
    assert last.reason is not None
    assert "took more than" in last.reason


def test_tries_are_counted_and_waited_for() -> None:
    asked = Asked(number=0, picture="x", name="p.png", stem="p", tries=1)
    assert outcome_of(asked, "lost.", 3).state == "waiting"
    assert outcome_of(asked, "lost.", 3).tries == 2
    assert outcome_of(asked, "lost.", 2).state == "failed"
    assert outcome_of(asked, "lost.", 2).reason == "p.png: lost."
    assert outcome_of(asked, Made(status="review", reason="look"), 3).state == "review"
    assert [back_off(n) for n in range(5)] == [0.5, 0.5, 2.0, 8.0, 32.0]
    assert back_off(50) == 60.0


class Copy:
    """An edit in whose place the tests put what happens."""

    task = "copy"


def test_a_picture_and_its_result(settings: StudioSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the true edit of a task that needs no network; the folder shows nowhere."""
    from packshot.jobs.steps import build_steps

    store = PictureStore(settings)
    order = order_of(settings)
    edit = build_steps(order.steps, order.output, {}, order.on)
    asked = Asked(number=3, picture=store.put(png(3)), name="Shoe.png", stem="Shoe-2")
    made = do_picture(order, asked, edit, store)
    assert made.status == "done"
    assert made.result is not None
    assert (made.result.name, made.result.mime, made.result.width) == ("Shoe-2.png", "image/png", 24)
    assert store.size(made.result.sha256) == made.result.size
    # Again, as after a kill: it is not done anew, but found.
    monkeypatch.setattr("packshot.tasks.batch._Work.edited", lambda *_: pytest.fail("done twice"))
    again = do_picture(order, asked, edit, store)
    assert again.result is not None
    assert again.result.sha256 == made.result.sha256
    broken = Asked(number=4, picture=store.put(png(4)[:60]), name="cut.png", stem="cut")
    monkeypatch.undo()
    failed = do_picture(order, broken, edit, store)
    assert failed.status == "failed"
    assert failed.reason is not None
    assert str(settings.place) not in failed.reason
    assert "cut.png" in failed.reason


def test_a_store_that_stumbles_is_asked_again(settings: StudioSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def stumbles(*_: object) -> Made:
        calls.append(1)
        if len(calls) < 3:
            raise StoreLost("The store is away.")
        return Made(status="done")

    monkeypatch.setattr(hands_module, "WAITS", (0.0, 0.0, 0.0))
    monkeypatch.setattr(hands_module, "_ready", lambda *_: Copy())
    monkeypatch.setattr(hands_module, "do_picture", stumbles)
    question = (order_of(settings), Asked(number=0, picture="a" * 64, name="p.png", stem="p"))
    assert Hands(settings)(question) == Made(status="done")

    def raises(error: PackshotError) -> Any:
        def do(*_: object) -> Made:
            raise error

        return do

    for error in (StoreLost("The store is away."), DiskFull("The disk is full.")):
        monkeypatch.setattr(hands_module, "do_picture", raises(error))
        with pytest.raises(JobStopped, match=str(error)):
            Hands(settings)(question)
    monkeypatch.setattr(hands_module, "do_picture", raises(PackshotError("no")))
    assert Hands(settings)(question) == Made(status="failed", reason="p.png: no")


def test_steps_that_cannot_be_done_stop_the_job(settings: StudioSettings) -> None:
    hands = Hands(settings)
    with pytest.raises(JobStopped, match="Unknown task"):
        hands((order_of(settings, "x", ({"task": "nope"},)), None))
    gone = Order(**{**vars(order_of(settings, "y")), "pictures": ("f" * 64,)})
    with pytest.raises(JobStopped, match="picture that is gone"):
        hands((gone, None))


def test_the_side_car_is_kept_as_a_figure(settings: StudioSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    store = PictureStore(settings)
    order = order_of(settings)
    out = order.folder_of(0) / "out"

    def edits(*_: object) -> Any:
        out.mkdir(parents=True)
        (out / "p.png").write_bytes(png(1))
        (out / "p.png.labels.json").write_text('{"caption": "Modified with AI"}')
        result = PhotoResult(photo="p.png", status="done", picture="p.png", sha256="x")
        return type("Result", (), {"photos": [result]})

    monkeypatch.setattr("packshot.tasks.batch.edit_photos", edits)
    asked = Asked(number=0, picture=store.put(png(0)), name="p.png", stem="p")
    made = do_picture(order, asked, Copy(), store)  # type: ignore[arg-type]
    assert made.figures["labels"] == {"caption": "Modified with AI"}


def test_hands_end_with_who_asks_them(settings: StudioSettings, tmp_path: Path) -> None:
    process = WorkerProcess()
    process.pipe.send(FakeHands(settings, tmp_path / "log"))
    assert process.ask((order_of(settings), None)) is None
    process.pipe.close()  # As when the worker was killed.
    assert process._popen.wait(10) is not None


def test_a_damaged_queue_is_a_sentence(tmp_path: Path) -> None:
    from packshot.jobs.queue import DurableQueue

    (tmp_path / "queue.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(PackshotError, match="no job is lost"):
        DurableQueue(StudioSettings(home=tmp_path), "w")
