"""A real `packshot serve` for as long as a block, its processes, and photos for it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Server:
    """A studio that runs.

    Attributes:
        url: its address.
        process: of `packshot serve`.
        first_page: seconds from its start to the first page's answer.
        after_ready: seconds from the first answer of /health to the first page's.
        page_bytes: of that page and all that it loads from the studio, as sent.
    """

    url: str
    process: subprocess.Popen[bytes]
    first_page: float
    after_ready: float
    page_bytes: int


def environment(place: Path) -> dict[str, str]:
    """Returns what the studio's processes get: a home of their own, one thread each."""
    return {**os.environ, "PACKSHOT_HOME": str(place / "home"), "OMP_NUM_THREADS": "1"}


@contextmanager
def studio(place: Path, *more: str) -> Iterator[Server]:
    """Starts `packshot serve`, and ends it, and all that it started, after the block."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "packshot",
        "serve",
        "--port",
        str(port),
        "--set",
        f"home={place / 'studio'}",
        *more,
    ]
    place.mkdir(parents=True, exist_ok=True)
    with (place / "serve.log").open("ab") as log:
        began = time.perf_counter()
        process = subprocess.Popen(command, env=environment(place), stdout=log, stderr=log, start_new_session=True)
        try:
            url = f"http://127.0.0.1:{port}"
            up = _wait(url + "/health", process)
            size = _page(url)
            yield Server(url, process, time.perf_counter() - began, time.perf_counter() - up, size)
        finally:
            end(process)


def _wait(url: str, process: subprocess.Popen[bytes]) -> float:
    until = time.perf_counter() + 120
    while time.perf_counter() < until:
        if process.poll() is not None:
            raise RuntimeError("packshot serve ended by itself; see serve.log.")
        with suppress(httpx.HTTPError):
            if httpx.get(url, timeout=5).status_code == 200:
                return time.perf_counter()
        time.sleep(0.02)
    raise RuntimeError("packshot serve did not answer within two minutes.")


def _page(url: str) -> int:
    """Gets the first page and what it names, and returns their bytes."""
    import re

    with httpx.Client(base_url=url, timeout=60) as client:
        page = client.get("/")
        page.raise_for_status()
        names = set(re.findall(r'(?:src|href)="(/static/[^"#?]+)', page.text))
        return len(page.content) + sum(len(client.get(name).content) for name in sorted(names))


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends the server kindly, and whatever of its processes is left without mercy."""
    below = descendants(process.pid)
    process.terminate()
    try:
        process.wait(timeout=40)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in below:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """Returns the processes that a process has started, theirs too (Linux)."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents.setdefault(int(stat.read_text().rpartition(")")[2].split()[1]), []).append(int(stat.parent.name))
    found, look = [], [pid]
    while look:
        look = [child for parent in look for child in parents.get(parent, [])]
        found += look
    return found


def cpu_seconds(pid: int) -> float:
    """Returns the CPU time of a process, of all that it has started, and of those of them that have ended (Linux)."""
    ticks = 0
    for one in (pid, *descendants(pid)):
        with suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> float:
    """Returns the resident MiB of one process."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
    return 0.0


def write_photos(folder: Path, count: int, side: int) -> list[Path]:
    """Writes photos of a drawn product before a wall, JPEG, all different; returns them."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i in range(count):
        path = folder / f"photo-{i:05d}.jpg"
        if not path.exists():
            rng = np.random.default_rng(i)
            y, x = np.mgrid[0:side, 0:side] / side - 0.5
            wall = np.clip(rng.uniform(150, 220) + 20 * x[..., None] + rng.normal(0, 3, (side, side, 3)), 0, 255)
            inside = (np.abs(x) / rng.uniform(0.2, 0.35)) ** 4 + (np.abs(y) / rng.uniform(0.25, 0.4)) ** 4 < 1
            wall[inside] = rng.uniform(20, 110, 3) + 15 * np.sin(40 * y[inside])[:, None]
            Image.fromarray(wall.astype(np.uint8)).save(path, quality=90)
        paths.append(path)
    return paths
