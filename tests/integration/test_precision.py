"""bfloat16 and compiled networks through the command line: they train, resume, and keep float32 weights."""

import json
import math
from pathlib import Path

import pytest
import torch

from packshot.core.runs import read_jsonl
from packshot.models.weights import load_tensors
from packshot.training.checkpoint import list_checkpoints

from .conftest import TINY, run_cli, run_json

SHORT = ["--budget", "0.32kimg", "--set", "loop.samples_every_kimg=0", "--set", "loop.metrics_every_kimg=0"]
GAN = ["--model", "dcgan", "--set", "net.g_width=8", "--set", "net.d_width=8", "--set", "loop.batch_size=16"]

# torch's compiler imports a part of torch that warns of itself, and looks at what it need not.
WARNINGS = ("ignore:.torch.jit:DeprecationWarning", "ignore:The .grad attribute:UserWarning")


def check_run(out: Path, steps: int) -> None:
    """All logged terms are finite, and all that a checkpoint keeps is float32."""
    rows = read_jsonl(out / "log.jsonl")
    assert rows and rows[-1]["step"] == steps
    assert all(math.isfinite(value) for row in rows for value in row.values() if isinstance(value, float))
    tensors, _ = load_tensors(list_checkpoints(out / "checkpoints")[-1])
    assert {t.dtype for t in tensors.values() if t.is_floating_point()} == {torch.float32}


def test_a_bf16_run_trains_and_resumes_in_bf16(catalog: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    gan = [*GAN, "--set", "objective.r1_gamma=0.1"]
    run_json("train", catalog, "--out", out, "--precision", "bf16", "--accelerator", "cpu", *SHORT, *gan)
    check_run(out, 20)
    run_json("train", "--resume", out, "--budget", "0.64kimg", "--accelerator", "cpu")
    check_run(out, 40)
    assert json.loads((out / "run.json").read_text())["config"]["loop"]["precision"] == "bf16"

    whole = tmp_path / "whole"
    run_json("train", catalog, "--out", whole, "--accelerator", "cpu", "--budget", "0.64kimg", *SHORT[2:], *gan)
    a, b = (load_tensors(list_checkpoints(run / "checkpoints")[-1])[0] for run in (out, whole))
    assert any(not torch.equal(a[name], b[name]) for name in a), "bf16 changed nothing"


def test_a_resumed_run_keeps_its_precision(catalog: Path, tmp_path: Path) -> None:
    _, error = run_cli("train", "--resume", tmp_path, "--precision", "bf16", code=2)
    assert "keeps its own settings" in error


def test_compile_without_a_compiler_is_one_sentence(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("packshot.training.precision.shutil.which", lambda name: None)
    _, error = run_cli("train", catalog, "--out", tmp_path / "run", "--compile", *SHORT, *TINY, code=2)
    assert "needs a C++ compiler" in error
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_asked_for_and_absent_is_one_sentence(catalog: Path, tmp_path: Path) -> None:
    _, error = run_cli("train", catalog, "--out", tmp_path / "run", "--accelerator", "cuda", *SHORT, *TINY, code=2)
    assert error.startswith("packshot: 1 CUDA device was asked for, and there is none here") and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings(*WARNINGS)
def test_a_compiled_run_trains_and_resumes(catalog: Path, tmp_path: Path) -> None:
    """Needs a C++ compiler. R1 is due every second step, so that compiled and eager passes take turns."""
    out = tmp_path / "run"
    gan = [*GAN, "--set", "objective.r1_gamma=0.1", "--set", "objective.r1_every=2"]
    run_json("train", catalog, "--out", out, "--compile", "--accelerator", "cpu", *SHORT, *gan)
    check_run(out, 20)
    run_json("train", "--resume", out, "--budget", "0.64kimg", "--accelerator", "cpu")
    check_run(out, 40)


@pytest.mark.gpu
@pytest.mark.filterwarnings(*WARNINGS)
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("model", ["vae", "dcgan", "r3gan", "stylegan2", "latent"])
@pytest.mark.parametrize("extra", [["--precision", "bf16"], ["--compile"], ["--precision", "bf16", "--compile"]])
def test_bf16_and_compile_on_a_gpu(model: str, extra: list[str], catalog: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    batch = ["--set", "loop.batch_size=16"]
    run_json("train", catalog, "--out", out, "--model", model, "--accelerator", "cuda", *SHORT, *batch, *extra)
    check_run(out, 20)
    run_json("train", "--resume", out, "--budget", "0.64kimg", "--accelerator", "cuda")
    check_run(out, 40)
