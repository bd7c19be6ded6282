"""A run that is killed or stopped and resumed ends with the same weights as one that was not."""

import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from packshot.core.runs import read_jsonl
from packshot.models.weights import load_tensors
from packshot.training.checkpoint import list_checkpoints

from .conftest import ENVIRONMENT, TINY, run_cli, run_json, run_process

LOOP = ["--set", "loop.checkpoint_every_seconds=0.1", "--set", "loop.lr_decay_from=0.1", "--budget", "6.4kimg"]
GAN = ["--set", "net.g_width=8", "--set", "net.d_width=8", "--set", "objective.r1_gamma=0.1"]
MODELS = {
    "vae": [*TINY, *LOOP, "--seed", "11"],
    "dcgan": [*GAN, "--set", "loop.batch_size=16", *LOOP, "--seed", "11"],
}
STEPS = 400


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def unbroken(catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Returns the hash of the model of a run that nothing interrupted, which is made when it is asked for."""

    @cache
    def hash_of(model: str) -> str:
        out = tmp_path_factory.mktemp("unbroken") / model
        run_process("train", catalog, "--out", out, "--model", model, *MODELS[model])
        return sha256(out / "model.safetensors")

    return hash_of


def start(catalog: Path, out: Path, model: str) -> subprocess.Popen:
    words = ["train", str(catalog), "--out", str(out), "--model", model, *MODELS[model], "--json"]
    command = [sys.executable, "-m", "packshot", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)


def wait_for_steps(process: subprocess.Popen, out: Path, steps: int) -> None:
    """Waits until the run has logged that many steps, however slow the machine is."""
    while process.poll() is None:
        rows = read_jsonl(out / "log.jsonl")
        if rows and rows[-1]["step"] >= steps and len(list_checkpoints(out / "checkpoints")):
            return
        time.sleep(0.01)


@pytest.mark.parametrize("model", ["vae", pytest.param("dcgan", marks=pytest.mark.slow)])
def test_kill_9_and_resume_end_with_the_same_weights(
    model: str, catalog: Path, unbroken: Callable[[str], str], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    process = start(catalog, out, model)
    wait_for_steps(process, out, random.Random(model).randint(25, 300))
    time.sleep(random.SystemRandom().random() * 0.1)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "the run ended before it was killed"
    assert not (out / "model.safetensors").exists()
    result = run_process("train", "--resume", out)
    assert (result["state"], result["step"]) == ("finished", STEPS)
    assert sha256(out / "model.safetensors") == unbroken(model)
    steps = [row["step"] for row in read_jsonl(out / "log.jsonl")]
    assert steps == sorted(set(steps)), "a step was logged twice"


@pytest.mark.slow
def test_sigterm_leaves_a_good_checkpoint(catalog: Path, unbroken: Callable[[str], str], tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(catalog, out, "vae")
    wait_for_steps(process, out, 50)
    process.send_signal(signal.SIGTERM)
    result, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert json.loads(result)["state"] == "stopped"
    assert "--resume" in errors
    assert (out / "model.safetensors").exists()
    done = run_process("train", catalog, "--out", out, "--resume")
    assert done["step"] == STEPS
    assert sha256(out / "model.safetensors") == unbroken("vae")


@pytest.mark.slow
def test_a_torn_newest_checkpoint_is_passed_over(catalog: Path, unbroken: Callable[[str], str], tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(catalog, out, "vae")
    wait_for_steps(process, out, 100)
    process.kill()
    process.communicate()
    newest = list_checkpoints(out / "checkpoints")[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    run_process("train", "--resume", out)
    assert sha256(out / "model.safetensors") == unbroken("vae")


@pytest.mark.slow
def test_a_finished_run_goes_on_with_a_larger_budget(catalog: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run_json("train", catalog, "--out", out, "--budget", "0.32kimg", *TINY)
    assert run_json("train", "--resume", out)["step"] == 20
    assert run_json("train", "--resume", out, "--budget", "0.64kimg")["step"] == 40
    _, error = run_cli("train", "--resume", out, "--seed", "3", code=2)
    assert "keeps its own settings" in error


def test_a_run_that_blows_up_is_rolled_back_and_then_given_up(catalog: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    wild = ["--set", "objective.lr=1e12", "--set", "loop.log_every_steps=5"]
    _, error = run_cli("train", catalog, "--out", out, "--budget", "1kimg", *TINY, *wild, code=1)
    assert "Training went wrong 3 times" in error
    about = json.loads((out / "run.json").read_text())
    assert about["state"] == "failed"
    rollbacks = [row for row in read_jsonl(out / "log.jsonl") if row.get("event") == "rollback"]
    assert len(rollbacks) >= 1
    assert not (out / "model.safetensors").exists()
    (newest,) = list_checkpoints(out / "checkpoints")[-1:]
    tensors, _ = load_tensors(newest)
    assert all(bool(t.isfinite().all()) for t in tensors.values()), "a broken state was saved"
