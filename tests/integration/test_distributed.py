"""Several ranks train one model, and the loss of one of them costs nothing but time."""

import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from packshot.core.errors import PackshotError, UsageError
from packshot.core.runs import RunFolder, read_jsonl
from packshot.jobs import local_engine
from packshot.jobs.engines import train_on
from packshot.jobs.local_engine import train_locally
from packshot.jobs.training import TrainJob
from packshot.training.checkpoint import list_checkpoints

from .conftest import ENVIRONMENT, TINY, run_cli, run_json

TWO = [*TINY, "--devices", "2", "--accelerator", "cpu", "--seed", "11", "--budget", "3.2kimg"]
LOOP = [f"--set={name}" for name in ("loop.checkpoint_every_seconds=0.1", "loop.samples_every_kimg=0")]
STEPS = 200


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def unbroken(catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Hash of the model of two ranks that nothing interrupted."""
    out = tmp_path_factory.mktemp("unbroken") / "run"
    result = run_json("train", catalog, "--out", out, *TWO, *LOOP)
    assert (result["state"], result["step"]) == ("finished", STEPS)
    return sha256(out / "model.safetensors")


def processes(words: bytes) -> list[int]:
    """Numbers of the processes whose command has these words, the newest last."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command, status = (folder / "cmdline").read_bytes(), (folder / "stat").read_text()
        except OSError:
            continue
        if words in command and status.rpartition(")")[2].split()[0] != "Z":
            found.append(int(folder.name))
    return sorted(found)


def kill_one_in_time(out: Path, find: bytes, rows: int = 2) -> threading.Thread:
    """Starts a thread that kills one process, whose command has the words `find`, once the run has logged rows."""

    def kill() -> None:
        before = time.monotonic()
        while time.monotonic() - before < 240:
            if len(read_jsonl(out / "log.jsonl")) >= rows and list_checkpoints(out / "checkpoints"):
                os.kill(processes(find)[-1], signal.SIGKILL)
                return
            time.sleep(0.01)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the ranks through /proc")


@pytest.fixture(scope="module")
def killed(catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A run of which one rank was killed and that started again by itself; what it printed and said."""
    folder = tmp_path_factory.mktemp("killed")
    out = folder / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_engine.tempfile, "tempdir", str(folder))  # Its name tells our ranks from others.
        killer = kill_one_in_time(out, str(folder).encode())
        text, said = run_cli("train", catalog, "--out", out, *TWO, *LOOP, "--restarts", "1", "--json")
        killer.join()
    return out, text, said


@linux
@pytest.mark.distributed
@pytest.mark.slow
def test_a_run_goes_on_after_a_rank_was_killed(killed: tuple[Path, str, str]) -> None:
    out, text, said = killed
    assert "was lost (killed by SIGKILL)" in said and "starting again (1 of 1)" in said
    result = json.loads(text)
    assert (result["state"], result["step"]) == ("finished", STEPS)
    assert RunFolder(out).read()["machine"]["devices"] == 2
    steps = [row["step"] for row in read_jsonl(out / "log.jsonl")]
    assert steps == sorted(set(steps)), "a step was logged twice"


@linux
@pytest.mark.slow
@pytest.mark.distributed
def test_the_killed_run_ends_with_the_same_weights(killed: tuple[Path, str, str], unbroken: str) -> None:
    assert sha256(killed[0] / "model.safetensors") == unbroken


@linux
@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.timeout(600)
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'packshot[ray]'")
@pytest.mark.skipif(
    not Path("/usr/bin/unshare").exists() or os.getuid() != 0, reason="keeps Ray off the network as root"
)
def test_two_ray_workers_train_and_one_is_killed(catalog: Path, unbroken: str, tmp_path: Path) -> None:
    """In a network of its own that has only the loopback: Ray listens on every address it finds."""
    out = tmp_path / "run"
    words = ["train", str(catalog), "--out", str(out), *TWO, *LOOP, "--engine", "ray", "--restarts", "1", "--json"]
    inside = 'ip link set lo up && exec timeout 500 "$@"'
    command = ["unshare", "-n", "bash", "-c", inside, "bash", sys.executable, "-m", "packshot", *words]
    killer = kill_one_in_time(out, b"RayTrainWorker")
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT, timeout=550)
    killer.join()
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1 and f'"step": {STEPS}' in done.stdout
    assert sha256(out / "model.safetensors") == unbroken


def fake_ranks(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Replaces the ranks by a small script; `rank` is its number."""
    start = f"import os, signal, sys, time; rank = int(os.environ['RANK'])\n{script}"
    monkeypatch.setattr(local_engine, "rank_command", lambda folder, again: [sys.executable, "-c", start, str(folder)])


def test_a_group_that_is_lost_too_often_ends_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Rank 1 dies, rank 0 would wait for it for ever."""
    monkeypatch.setattr(local_engine, "GRACE_SECONDS", 0.1)
    fake_ranks(monkeypatch, "os.kill(os.getpid(), signal.SIGKILL) if rank else time.sleep(600)")
    (tmp_path / "run.json").write_text("{}")
    job = TrainJob(out=str(tmp_path), per_node=2)
    with pytest.raises(PackshotError, match=r"^Rank 1 of 2 was lost \(killed by SIGKILL\); go on .* --resume") as e:
        train_locally(job, restarts=2)
    assert str(e.value).endswith(f"packshot train --resume {tmp_path} --devices 2")
    assert capfd.readouterr().err.count("starting again") == 2


def test_what_a_rank_prints_before_its_own_error_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    fake_ranks(monkeypatch, "sys.exit('out of memory' if rank else 3)")
    with pytest.raises(PackshotError, match=r"Rank 1 of 2 was lost \(its own error is above\); .*start it again"):
        train_locally(TrainJob(out=str(tmp_path / "none"), per_node=2), restarts=0)
    assert "out of memory" in capfd.readouterr().err


def test_a_rank_ends_with_its_supervisor(tmp_path: Path) -> None:
    """Its standard input ends, whatever became of the supervisor."""
    command = [sys.executable, "-c", "from packshot.jobs import rank; rank._end_with_supervisor()"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert process.poll() is None
    process.stdin.close()
    assert process.wait(timeout=60) == 1


def test_an_error_of_all_ranks_is_said_once_and_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    script = """
from pathlib import Path
from packshot.core.files import write_json
from packshot.jobs.rank import error_file
write_json(error_file(Path(sys.argv[1]), rank), {"error": "No such thing.", "exit_code": 2})
sys.exit(1)
"""
    fake_ranks(monkeypatch, script)
    with pytest.raises(UsageError, match=r"^No such thing\.$"):
        train_locally(TrainJob(out=str(tmp_path), per_node=2), restarts=2)
    assert capfd.readouterr().err == ""


def test_options_that_do_not_fit_are_refused(catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = TrainJob(out=str(tmp_path / "run"), catalog=str(catalog))
    for options, words in (
        ({"restarts": -1}, "--restarts has to be at least 0"),
        ({"ray_address": "auto"}, "needs --engine ray"),
    ):
        with pytest.raises(UsageError, match=words):
            train_on(job, **options)
    with pytest.raises(UsageError, match="torchrun --nnodes 2"):
        train_on(TrainJob(out=job.out, catalog=job.catalog, nodes=2))
    config = run_json("train", catalog, "--dry-run")
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "ray.train", None)
    with pytest.raises(UsageError, match="pip install"):
        train_on(replace(job, engine="ray"))
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "0")
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, "3")
    with pytest.raises(UsageError, match="3 ranks were started"):
        train_on(TrainJob(out=job.out, catalog=job.catalog, config=config))
    with pytest.raises(UsageError, match="torchrun starts the ranks"):
        train_on(replace(job, engine="ray"))
