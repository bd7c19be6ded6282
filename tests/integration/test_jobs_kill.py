"""Jobs end to end, with real processes that are killed at any moment: nothing is lost, nothing is done twice."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from packshot.core.workers import START
from packshot.jobs.records import Job, JobRequest
from packshot.jobs.store import PictureStore
from packshot.jobs.studio import Studio
from tests.jobs_help import add, ended, png, request_of, wait_for
from tests.jobs_workplace import Workplace


def hands_of(worker: subprocess.Popen[bytes]) -> list[int]:
    """Returns the processes that a worker has started to edit pictures."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            command = (entry / "cmdline").read_text()
        except OSError:
            continue
        if int(parent) == worker.pid and START.partition(";")[2].strip()[:20] in command:
            found.append(int(entry.name))
    return found


def check_whole(studio: Studio, job: Job, count: int) -> None:
    """Makes sure that each picture of a job was done, and has its own result."""
    assert job.state == "done", job
    assert dict(job.counts) == {"waiting": 0, "done": count, "review": 0, "refused": 0, "failed": 0}
    items = studio.items("shop", job.id, limit=1000)
    assert [i.number for i in items] == list(range(count))
    assert [studio.read_picture("shop", i.result or "") for i in items] == [png(i)[::-1] for i in range(count)]


def test_killed_workers_and_hands_lose_nothing(workplace: Workplace, studio: Studio) -> None:
    job = studio.submit(request_of(add(studio, 40)))
    worker = workplace.start(0.04)
    wait_for(studio, job.id, lambda j: j.finished >= 5, 60)
    worker.kill()
    worker.wait()
    before = {i.number: i.result for i in studio.items("shop", job.id, state="done")}
    assert 5 <= len(before) < 40
    worker = workplace.start(0.04)
    wait_for(studio, job.id, lambda j: j.finished >= len(before) + 3, 60)
    for hand in hands_of(worker):
        os.kill(hand, signal.SIGKILL)
    job = wait_for(studio, job.id, ended, 60)
    check_whole(studio, job, 40)
    assert {i.number: i.result for i in studio.items("shop", job.id) if i.number in before} == before
    # What was noted is not done again; of what was in flight, one picture a process and kill.
    done = workplace.done()
    assert all(done[number] == 1 for number in before)
    assert sum(done.values()) <= 40 + 2 * 2
    assert job.attempts == 2
    worker.terminate()
    assert worker.wait(20) == 0
    assert not list((workplace.home / "work").rglob("*"))


@pytest.mark.slow
def test_kills_at_random_moments(workplace: Workplace, studio: Studio) -> None:
    chance = random.Random(7)
    job = studio.submit(request_of(add(studio, 150)))
    worker, kills, finished = workplace.start(0.05), 0, 0
    while True:
        wait_for(studio, job.id, lambda j: ended(j) or j.finished > finished, 60)  # noqa: B023
        time.sleep(chance.uniform(0.0, 1.0))
        if ended(studio.job("shop", job.id)):
            break
        if chance.random() < 0.4 and (hands := hands_of(worker)):
            os.kill(chance.choice(hands), signal.SIGKILL)
        else:
            worker.kill()
            worker.wait()
            worker = workplace.start(0.05)
        kills, finished = kills + 1, studio.job("shop", job.id).finished
    check_whole(studio, studio.job("shop", job.id), 150)
    assert kills >= 3
    assert sum(workplace.done().values()) <= 150 + 2 * kills


@pytest.mark.slow
def test_a_worker_takes_over_from_another(workplace: Workplace, studio: Studio) -> None:
    job = studio.submit(request_of(add(studio, 60)))
    first = workplace.start(0.1)
    wait_for(studio, job.id, lambda j: j.finished >= 3, 60)
    workplace.start(0.1)
    time.sleep(3)
    first.kill()
    first.wait()
    check_whole(studio, wait_for(studio, job.id, ended, 60), 60)
    assert sum(workplace.done().values()) <= 60 + 2


@pytest.mark.slow
def test_a_worker_that_was_taken_for_lost_does_no_harm(workplace: Workplace, studio: Studio) -> None:
    job = studio.submit(request_of(add(studio, 300)))
    first = workplace.start(0.2)
    wait_for(studio, job.id, lambda j: j.finished >= 3, 60)
    first.send_signal(signal.SIGSTOP)  # As a machine that swaps, or a laptop that is shut.
    workplace.start(0.2)
    before = studio.job("shop", job.id).finished
    wait_for(studio, job.id, lambda j: j.finished >= before + 5, 90)
    first.send_signal(signal.SIGCONT)
    check_whole(studio, wait_for(studio, job.id, ended, 200), 300)
    assert first.poll() is None


@pytest.mark.slow
def test_cancel_is_quick_and_a_retry_goes_on(workplace: Workplace, studio: Studio) -> None:
    pictures = add(studio, 6)
    slow = studio.add_picture("shop", png(90), name="slow.png", mime="image/png", width=24, height=24)
    job = studio.submit(request_of([*pictures, slow]))
    worker = workplace.start()
    wait_for(studio, job.id, lambda j: j.finished == 6, 60)
    hands = hands_of(worker)
    assert len(hands) == 2
    studio.cancel("shop", job.id)
    start = time.monotonic()
    while len(set(hands_of(worker)) & set(hands)) == 2:
        assert time.monotonic() - start < 2
        time.sleep(0.02)
    assert studio.job("shop", job.id).state == "cancelled"
    assert studio.retry("shop", job.id).state == "queued"
    wait_for(studio, job.id, lambda j: j.state == "running", 20)
    assert sum(workplace.done().values()) == 6
    other = studio.submit(request_of(pictures[:1]))  # One slow picture keeps nobody else from being done.
    assert wait_for(studio, other.id, ended, 20).state == "done"
    studio.cancel("shop", job.id)


@pytest.mark.slow
def test_sigterm_hands_back_and_the_next_worker_goes_on(workplace: Workplace, studio: Studio) -> None:
    job = studio.submit(request_of(add(studio, 40)))
    worker = workplace.start(0.1)
    wait_for(studio, job.id, lambda j: j.finished >= 3, 60)
    worker.terminate()
    assert worker.wait(10) == 0
    assert studio.job("shop", job.id).state == "running"
    assert "packshot work" in Studio(workplace.settings).ready()["worker"]
    workplace.start(0.02)
    check_whole(studio, wait_for(studio, job.id, ended, 60), 40)


@pytest.mark.slow
def test_a_worker_whose_server_was_killed_ends_with_its_jobs_handed_back(workplace: Workplace, studio: Studio) -> None:
    job = studio.submit(request_of(add(studio, 400)))
    reading, writing = os.pipe()
    worker = workplace.start_real(writing)
    os.close(writing)
    wait_for(studio, job.id, lambda j: j.finished >= 1, 60)
    os.close(reading)  # As the server's end of it is when the server is gone.
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0
    assert studio.job("shop", job.id).state == "running"


@pytest.mark.slow
def test_a_queue_that_is_lost_is_made_anew(workplace: Workplace, studio: Studio) -> None:
    job = studio.submit(request_of(add(studio, 30)))
    worker = workplace.start(0.1)
    wait_for(studio, job.id, lambda j: j.finished >= 3, 60)
    worker.kill()
    worker.wait()
    for path in workplace.home.glob("queue.sqlite*"):
        path.unlink()
    workplace.start(0.02)
    check_whole(studio, wait_for(studio, job.id, ended, 120), 30)


def test_the_queue_forgets_runs_that_ended_long_ago(workplace: Workplace, studio: Studio) -> None:
    pictures = [
        *add(studio, 3),
        studio.add_picture("shop", png(9), name="bad.png", mime="image/png", width=24, height=24),
    ]
    job = studio.submit(request_of(pictures))
    worker = workplace.start()
    assert wait_for(studio, job.id, ended, 60).counts["failed"] == 1
    assert wait_for_rows(workplace, lambda rows: rows["workflow_status"] == {"SUCCESS": 1})["operation_outputs"]
    worker.terminate()
    worker.wait(20)
    workplace.more = ("queue_days=0",)
    worker = workplace.start()
    assert not any(wait_for_rows(workplace, lambda rows: not rows["workflow_status"]).values())
    told = studio.job("shop", job.id)
    assert (told.state, told.finished, told.counts["failed"]) == ("done", 4, 1)
    assert studio.retry("shop", job.id).state == "queued"  # What the queue forgot, it may be asked again.
    assert wait_for(studio, job.id, ended, 60).counts["done"] == 3
    assert workplace.done() == {0: 1, 1: 1, 2: 1}


def wait_for_rows(
    workplace: Workplace, until: Callable[[dict[str, dict[str, int]]], bool]
) -> dict[str, dict[str, int]]:
    """Returns what the queue's own tables hold, as soon as it is as wanted: rows by state, where there is one."""
    tables = {"workflow_status": "status", "operation_outputs": "1", "workflow_input": "1", "workflow_output": "1"}
    deadline = time.monotonic() + 30
    while True:
        with sqlite3.connect(workplace.home / "queue.sqlite") as connection:
            rows = {
                name: dict(connection.execute(f"SELECT {by}, count(*) FROM {name} GROUP BY {by}").fetchall())
                for name, by in tables.items()
            }
        connection.close()
        if until(rows):
            return rows
        assert time.monotonic() < deadline, rows
        time.sleep(0.05)


@pytest.mark.slow
def test_a_thousand_jobs_at_once(workplace: Workplace, studio: Studio) -> None:
    pictures = add(studio, 1)
    ids = [studio.submit(request_of(pictures)).id for _ in range(1000)]
    workplace.start()
    for id in ids:
        assert wait_for(studio, id, ended, 240).state == "done"
    assert sum(workplace.done().values()) == 1000


@pytest.mark.slow
def test_the_pixels_are_those_of_the_command_line_whoever_is_killed(workplace: Workplace, studio: Studio) -> None:
    """The true recipe, `packshot work` itself, one picture cut short, one kill of the worker and one of its hands."""
    from packshot.images.decode import decode

    count = 24
    pictures = add(studio, count)
    cut = studio.add_picture("shop", png(99)[:70], name="cut.png", mime="image/png", width=24, height=24)
    steps = ({"task": "enhance", "white_balance": 0.8}, {"task": "extend", "margins": "6"})
    job = studio.submit(
        JobRequest(tenant="shop", steps=steps, pictures=tuple(p.sha256 for p in [*pictures, cut]), title="x")
    )
    worker = workplace.start_real()
    wait_for(studio, job.id, lambda j: j.finished >= 3, 120)
    worker.kill()
    worker.wait()
    before = {i.number: i.result for i in studio.items("shop", job.id, state="done")}
    worker = workplace.start_real()
    wait_for(studio, job.id, lambda j: j.finished >= len(before) + 3, 120)
    for hand in hands_of(worker):
        os.kill(hand, signal.SIGKILL)
    job = wait_for(studio, job.id, ended, 180)
    assert job.state == "done"
    assert job.counts["failed"] == 1
    items = studio.items("shop", job.id)
    assert {i.number: i.result for i in items if i.number in before} == before
    assert items[-1].tries == 3
    assert "cut.png" in (items[-1].reason or "")
    assert str(workplace.home) not in (items[-1].reason or "")

    photos = workplace.home.parent / "photos"
    photos.mkdir()
    for i in range(count):
        (photos / f"p{i}.png").write_bytes(png(i))
    recipe = workplace.home.parent / "recipe.toml"
    recipe.write_text('[[step]]\ntask = "enhance"\nwhite_balance = 0.8\n[[step]]\ntask = "extend"\nmargins = "6"\n')
    out = workplace.home.parent / "out"
    command = [sys.executable, "-m", "packshot", "shoot", str(photos), "--recipe", str(recipe), "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    store = PictureStore(workplace.settings)
    for item in items[:count]:
        made = decode(store.read(item.result or ""))
        shown = next(out.rglob(f"p{item.number}.png"))
        assert (made.pixels == decode(shown).pixels).all()
        assert item.figures.keys() == {"enhance", "extend", "notice", "labels"} & item.figures.keys()
