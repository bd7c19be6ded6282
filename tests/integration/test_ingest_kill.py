"""kill -9 at any moment: the same command finishes the ingest, and the files are those of an unbroken one."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from tests.catalog_photos import RIGHTS, files, jpeg, photo, run, write_folder

SCRIPT = """
import sys
from pathlib import Path
from packshot.catalog.ingest import ingest
from packshot.catalog.options import IngestOptions
options = IngestOptions(licence="{licence}", source="{source}", workers=int(sys.argv[3]), shard_photos=64)
print(ingest(Path(sys.argv[1]), Path(sys.argv[2]), options).resumed)
""".format(**RIGHTS)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 photos with duplicates, near duplicates and broken files among them."""
    folder = write_folder(tmp_path_factory.mktemp("kill") / "shop", {"hats": 260, "shoes": 260})
    rng = np.random.default_rng(0)
    for i in range(80):
        data = [jpeg(photo(i)), jpeg(photo(i), 60), jpeg(photo(i))[:300], b""][i % 4]
        (folder / f"{'hats' if rng.random() < 0.5 else 'shoes'}/more{i}.jpg").write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def whole(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of an unbroken ingest."""
    out = tmp_path_factory.mktemp("whole") / "out"
    run(shop, out, shard_photos=64)
    return files(out)


def start(shop: Path, out: Path, workers: int = 2) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, str(shop), str(out), str(workers)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def children(pid: int) -> list[int]:
    """Returns its child processes, whichever of its threads started them."""
    found = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += [int(p) for p in thread.read_text().split()]
    return found


def kill_when(process: subprocess.Popen[str], moment: Callable[[], bool]) -> bool:
    """Kills the process as soon as `moment` is true; returns whether it was still running."""
    end = time.monotonic() + 60
    while process.poll() is None and not moment():
        assert time.monotonic() < end
        time.sleep(0.001)
    workers = children(process.pid)
    running = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{w}").exists() for w in workers):
        assert time.monotonic() < deadline, "a worker outlived the ingest"
        time.sleep(0.01)
    return running


def finish(shop: Path, out: Path) -> int:
    done, errors = start(shop, out, workers=1).communicate(timeout=60)
    assert errors == ""
    return int(done)


def appears(path: Path) -> Callable[[], bool]:
    return path.exists


MOMENTS = {
    "before anything is written": lambda out: appears(out),
    "in the first part": lambda out: lambda: any((out / ".ingest").glob("shard.*.tmp")),
    "after the first shard, before its journal": lambda out: appears(out / "shards/00000.parquet"),
    "in the middle": lambda out: appears(out / ".ingest/00003.json"),
    "after the last part": lambda out: appears(out / ".ingest/00007.json"),
    "while duplicates are sought": lambda out: appears(out / ".ingest/thumbs"),
    "while the manifest is written": lambda out: lambda: any(out.glob(".manifest*")),
    "after the manifest": lambda out: appears(out / "manifest.parquet"),
    "after everything": lambda out: appears(out / "catalog.json"),
}


QUICK = ("in the middle", "while the manifest is written", "after the manifest")
MARKS = {True: (), False: (pytest.mark.slow,)}


@pytest.mark.parametrize("moment", [pytest.param(m, marks=MARKS[m in QUICK]) for m in MOMENTS])
def test_killed_and_resumed_equals_unbroken(moment: str, shop: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(shop, out, workers=1 if moment.startswith(("while", "after")) else 2)
    running = kill_when(process, MOMENTS[moment](out))
    if not running or ((out / "catalog.json").exists() and not (out / ".ingest").exists()):
        # It was faster than this test: then there is nothing to resume, and what is there has to be right already.
        assert files(out) == whole
        return
    resumed = finish(shop, out)
    assert files(out) == whole
    if moment == "in the middle":
        assert resumed >= 4 * 64


@pytest.mark.slow
def test_killed_again_and_again_at_random(shop: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    chance = random.Random(1)
    for _ in range(4):
        process = start(shop, out)
        until = time.monotonic() + chance.uniform(0.3, 1.2)
        if not kill_when(process, lambda until=until: time.monotonic() > until):  # type: ignore[misc]
            break
    if (out / ".ingest").exists() or not (out / "catalog.json").exists():
        finish(shop, out)
    assert files(out) == whole


def test_ctrl_c_ends_the_workers_and_keeps_the_work(shop: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(shop, out)
    while process.poll() is None and not (out / ".ingest/00000.json").exists():
        time.sleep(0.001)
    workers = children(process.pid)
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=30)
    if process.returncode == 0:  # It was faster than this test.
        assert files(out) == whole
        return
    assert not any(Path(f"/proc/{w}").exists() for w in workers)
    assert not list((out / ".ingest").glob("*.tmp"))
    assert finish(shop, out) >= 64
    assert files(out) == whole
