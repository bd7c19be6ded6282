"""Jobs that are a command line: progress, log, end, and a training that goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import pytest

from packshot.jobs import commands
from packshot.jobs.commands import Ended, Progress, read_progress, resumed, run_command, run_folder, tail


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that is called packshot, and does what its arguments say; found first by commands that start now."""
    folder = tmp_path / "fake"
    (folder / "packshot").mkdir(parents=True)
    (folder / "packshot" / "__init__.py").write_text("")
    (folder / "packshot" / "__main__.py").write_text(
        "import os, pathlib, signal, sys, time\n"
        "what = sys.argv[1]\n"
        "print('hello from', sys.argv, flush=True)\n"
        "pathlib.Path('pid').write_text(str(os.getpid()))\n"
        "if what == 'sleep': time.sleep(60)\n"
        "if what == 'deaf': signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)\n"
        "if what == 'wrong': print('packshot: There is no such thing.', file=sys.stderr); sys.exit(2)\n"
        "if what == 'crash': os.kill(os.getpid(), signal.SIGSEGV)\n"
    )
    monkeypatch.setattr(commands, "__file__", str(folder / "packshot" / "jobs" / "commands.py"))
    return folder


def test_it_runs_and_its_log_is_told(package: Path, tmp_path: Path) -> None:
    told: list[tuple[Progress, str]] = []
    ended = run_command(["ingest", "a b"], tmp_path / "j", lambda: True, lambda p, log: told.append((p, log)))
    assert (ended.code, ended.stopped) == (0, False)
    assert ended.said.endswith("'ingest', 'a b']")
    assert told[-1] == (Progress(0, 0, None), ended.said + "\n")


def test_how_it_failed_is_told(package: Path, tmp_path: Path) -> None:
    ended = run_command(["wrong"], tmp_path / "j", lambda: True, lambda *_: None)
    assert ended == Ended(code=2, said="There is no such thing.")
    assert run_command(["crash"], tmp_path / "k", lambda: True, lambda *_: None).code == -signal.SIGSEGV


@pytest.mark.parametrize("what", ["sleep", "deaf"])
def test_cancelling_takes_a_moment(package: Path, tmp_path: Path, what: str) -> None:
    wanted = [True]
    ends: list[Ended] = []
    thread = Thread(target=lambda: ends.append(run_command([what], tmp_path, lambda: wanted[0], lambda *_: None)))
    thread.start()
    deadline = time.monotonic() + 20
    while not (tmp_path / "pid").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    wanted[0], start = False, time.monotonic()
    thread.join(10)
    assert time.monotonic() - start < commands.GRACE + 1
    assert ends[0].stopped
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.skipif(sys.platform != "linux", reason="the signal that follows a parent's death is Linux's")
def test_it_ends_with_its_worker(package: Path, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from packshot.jobs import commands; "
        f"commands.__file__ = {str(package / 'packshot' / 'jobs' / 'commands.py')!r}; "
        f"commands.run_command(['sleep'], Path({str(tmp_path)!r}), lambda: True, lambda *_: None)"
    )
    worker = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 20
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    pid = int((tmp_path / "pid").read_text())
    worker.kill()
    worker.wait()
    while Path(f"/proc/{pid}/stat").exists() and ") Z" not in Path(f"/proc/{pid}/stat").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_training_that_was_begun_is_resumed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    argv = ["train", "shoes", "--out", str(run), "--model", "vae", "--set", "a=1", "--devices", "2", "--quiet"]
    assert run_folder(argv) == run
    assert resumed(argv) == argv
    run.mkdir()
    (run / "run.json").write_text("{}")
    assert resumed(argv) == ["train", "--resume", str(run), "--devices", "2", "--quiet"]
    assert resumed(["ingest", "x", "--out", str(run)]) == ["ingest", "x", "--out", str(run)]


def test_progress_of_a_training(tmp_path: Path) -> None:
    assert read_progress(None) == read_progress(tmp_path) == Progress(0, 0, None)
    rows = [{"step": 10, "kimg": 1.0, "seconds": 5.0, "cpu_seconds": 5.0}]
    rows += [{"step": 30, "kimg": 3.0, "seconds": 15.0, "cpu_seconds": 15.0}]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 4')
    assert read_progress(tmp_path) == Progress(30, 30, 120.0)
    for budget, total in (("12kimg", 120), ("30s", 60), ("150cpu-s", 300), ("x", 30)):
        (tmp_path / "run.json").write_text(json.dumps({"config": {"budget": budget}}))
        assert read_progress(tmp_path).total == total


def test_the_tail_of_a_log_is_whole_lines(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    assert tail(log) == ""
    log.write_bytes(b"one\r  10 %\r  20 %\nlast \xff\0")
    assert tail(log) == "  20 %\nlast \ufffd"
    log.write_text("".join(f"line {i}\n" for i in range(10_000)))
    told = tail(log)
    assert len(told) <= commands.TAIL
    assert told.startswith("line ")
    assert told.endswith("line 9999\n")
