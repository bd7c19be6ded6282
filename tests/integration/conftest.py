"""A small catalogue and a small trained run, made once through the command line."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from packshot.cli.main import main

if TYPE_CHECKING:
    from packshot.jobs.studio import Studio
    from tests.jobs_workplace import Workplace

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
NAMES = ["Bag", "Ankle boot", "Trouser"]
LICENCE = ["--licence", "CC0-1.0", "--source", "drawn by the tests"]
INGEST = [*LICENCE, *(word for name in NAMES for word in ("--category", name))]
TINY = ["--set", "net.width=8", "--set", "net.z_dim=8", "--set", "loop.batch_size=16"]


def run_process(*words: str | Path) -> dict:
    """Runs `packshot ... --json` in a process of its own, which has to succeed, and returns its result."""
    command = [sys.executable, "-m", "packshot", *map(str, words), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=ENVIRONMENT)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout)


def run_cli(*words: str | Path, code: int = 0) -> tuple[str, str]:
    """Runs `packshot` in this process, checks its exit code, and returns stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    got = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(w) for w in words])
        except SystemExit as e:
            got = int(e.code or 0)
    assert got == code, f"{words} gave {got}, expected {code}\n{out.getvalue()}\n{err.getvalue()}"
    return out.getvalue(), err.getvalue()


def run_json(*words: str | Path, code: int = 0) -> dict:
    """Runs `packshot ... --json` in this process and returns the one object on stdout."""
    return json.loads(run_cli(*words, "--json", code=code)[0])


def product(rng: np.random.Generator, label: int) -> np.ndarray:
    """A 28x28 grey drawing of a bag, a boot or trousers, of random place, size and brightness."""
    image = np.zeros((28, 28), np.uint8)
    value, dx, dy, w = rng.integers(90, 250), *rng.integers(-2, 3, 2), rng.integers(6, 9)
    cx, cy = 14 + dx, 14 + dy
    if label == 0:
        image[cy - 3 : cy + 9, cx - w : cx + w] = value
        image[cy - 8 : cy - 3, cx - 4 : cx - 2] = image[cy - 8 : cy - 3, cx + 2 : cx + 4] = value
    elif label == 1:
        image[cy - 9 : cy + 7, cx - 2 : cx + 5] = value
        image[cy + 2 : cy + 7, cx - w : cx + 5] = value
    else:
        image[cy - 11 : cy + 11, cx - w // 2 - 2 : cx - 1] = image[cy - 11 : cy + 11, cx + 1 : cx + w // 2 + 2] = value
        image[cy - 11 : cy - 8, cx - w // 2 - 2 : cx + w // 2 + 2] = value
    return np.clip(image + rng.integers(0, 12, image.shape), 0, 255).astype(np.uint8)


def write_idx(folder: Path, prefix: str, n: int, seed: int) -> None:
    """Writes n drawings and their labels as a pair of gzipped IDX files."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % len(NAMES)).astype(np.uint8)
    images = np.stack([product(rng, int(label)) for label in labels])
    for name, array in ((f"{prefix}-images-idx3-ubyte.gz", images), (f"{prefix}-labels-idx1-ubyte.gz", labels)):
        header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        (folder / name).write_bytes(gzip.compress(header + array.tobytes(), mtime=0))


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of IDX files: 600 training and 240 test pictures of three categories."""
    folder = tmp_path_factory.mktemp("idx")
    write_idx(folder, "train", 600, 1)
    write_idx(folder, "t10k", 240, 2)
    return folder


@pytest.fixture(scope="session")
def catalog(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The catalogue ingested from `source`."""
    out = tmp_path_factory.mktemp("catalog") / "small"
    run_json("ingest", source, "--out", out, *INGEST)
    return out


@pytest.fixture(scope="session")
def run(catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a tiny VAE."""
    out = tmp_path_factory.mktemp("run") / "vae"
    run_json("train", catalog, "--out", out, "--model", "vae", "--budget", "16kimg", "--seed", "5", *TINY)
    return out


@pytest.fixture
def workplace(tmp_path: Path) -> Iterator[Workplace]:
    """A studio whose workers the test starts; all of them are killed in the end."""
    from tests.jobs_workplace import Workplace

    made = Workplace(tmp_path / "studio")
    yield made
    made.end()


@pytest.fixture
def studio(workplace: Workplace) -> Iterator[Studio]:
    """The studio of `workplace`, from outside."""
    from packshot.jobs.studio import Studio

    made = Studio(workplace.settings)
    yield made
    made.close()
