"""A photo is erased while a worker has it in hand, and by a command that is killed: nothing of it is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from packshot.jobs.studio import Studio
from tests.jobs_help import add, ended, png, request_of, wait_for
from tests.jobs_workplace import ROOT, Workplace
from tests.unit.test_erase_studio import left_of

KILLED = """
import os, signal, sys
from packshot.jobs import holdings

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

setattr(holdings, sys.argv[1], die)
from packshot.cli.main import main
main(sys.argv[2:])
"""


def test_a_photo_that_is_in_hand_and_one_that_waits_go_and_the_job_goes_on(
    workplace: Workplace, studio: Studio, tmp_path: Path
) -> None:
    slow = studio.add_picture("shop", png(90), name="slow-one.png", mime="image/png", width=24, height=24)
    pictures = add(studio, 12)
    waits = studio.add_picture("shop", png(91), name="late-one.png", mime="image/png", width=24, height=24)
    job = studio.submit(request_of([slow, *pictures, waits], title="With slow-one.png"))
    workplace.start(0.4)
    wait_for(studio, job.id, lambda j: j.finished >= 2, 60)
    folder = studio.settings.place / "work" / f"{job.id}-1"
    for sha256, name in ((slow.sha256, b"slow-one"), (waits.sha256, b"late-one")):
        done = erase(tmp_path, workplace, sha256)
        assert (done["state"], done["held"][str(workplace.home)]["items"]) == ("erased", 1)
        assert left_of(workplace.home, sha256[:12].encode(), name, png(90 if name[:4] == b"slow" else 91)) == []
    job = wait_for(studio, job.id, ended, 60)
    assert (job.state, job.total, job.counts["done"]) == ("done", 12, 12)
    assert [i.name for i in studio.items("shop", job.id)] == [f"p{i}.png" for i in range(12)]
    assert not folder.exists()
    assert max(workplace.done().values()) <= 2  # What was in hand beside it was begun again.
    assert left_of(workplace.home, b"slow-one", b"late-one") == []


def erase(folder: Path, workplace: Workplace, sha256: str) -> dict[str, dict[str, dict[str, int]]]:
    """Runs `packshot erase` in a process of its own."""
    words = ["erase", sha256, "--set", f"home={workplace.home}", "--yes", "--json"]
    command = [sys.executable, "-m", "packshot", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment())
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, dict[str, dict[str, int]]] = json.loads(done.stdout)
    return found


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT / "src")}


@pytest.mark.parametrize("step", ["drop_rows", "compact"])
def test_a_command_that_is_killed_is_finished_by_the_same_command(
    workplace: Workplace, studio: Studio, tmp_path: Path, step: str
) -> None:
    pictures = add(studio, 4)
    job = studio.submit(request_of(pictures, title="Of p1.png"))
    worker = workplace.start()
    wait_for(studio, job.id, ended, 60)
    worker.terminate()
    worker.wait(20)
    (result,) = (i.result or "" for i in studio.items("shop", job.id) if i.number == 1)
    sha256 = pictures[1].sha256
    words = ["erase", sha256, "--set", f"home={workplace.home}", "--yes", "--json"]
    command = [sys.executable, "-c", KILLED, step, *words]
    killed = subprocess.run(command, capture_output=True, cwd=tmp_path, env=environment())
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    words_left = (sha256[:12].encode(), result[:12].encode(), b"p1.png", png(1), png(1)[::-1])
    assert left_of(workplace.home, *words_left)
    assert erase(tmp_path, workplace, sha256)["state"] == "erased"
    assert left_of(workplace.home, *words_left) == []
    assert [i.name for i in studio.items("shop", job.id)] == ["p0.png", "p2.png", "p3.png"]
    assert studio.job("shop", job.id).request.title == "Of (erased)"
