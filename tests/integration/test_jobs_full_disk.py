"""A studio on a disk that fills up: a clear answer, the server stays up, the job waits, and nothing is lost."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.jobs_workplace import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
MIB = 2**20
SIZE = 32
"""MiB of the disk."""
STEPS = [{"task": "enhance", "white_balance": 0.5}]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own that is really small."""
    folder, image = tmp_path / "disk", tmp_path / "image"
    folder.mkdir()
    said = ""
    loop = f"truncate -s {SIZE}M {image} && mkfs.ext4 -q -F -m 0 {image} && mount -o loop {image} {folder}"
    for command in (f"mount -t tmpfs -o size={SIZE}m packshot-test {folder}", loop):
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
        if done.returncode == 0:
            break
        said = done.stderr.strip()
    else:
        pytest.skip(f"no small file system can be made here: {said}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


class Server:
    """`packshot serve` and its worker, at home on the small disk."""

    def __init__(self, disk: Path, log: Path) -> None:
        command = [
            sys.executable,
            "-m",
            "packshot",
            "serve",
            "--port",
            "0",
            "--json",
            "--set",
            f"home={disk / 'studio'}",
        ]
        environment = os.environ | {"PACKSHOT_HOME": str(disk / "home"), "PYTHONPATH": str(ROOT / "src")}
        self.log = log
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [*command, "--set", "workers=2", "--set", "shard=4"],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
                cwd=log.parent,
                start_new_session=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        address = next(word for word in json.loads(line)["said"].split() if word.startswith("http"))
        self.http = httpx.Client(base_url=address.rstrip(";"), timeout=60)

    def send(self, seed: int) -> httpx.Response:
        """Sends a picture of about 0.3 MiB."""
        files = {"file": (f"p{seed}.png", noise(seed), "image/png")}
        return self.http.post("/v1/pictures", files=files)

    def job(self, id: str) -> dict[str, object]:
        found: dict[str, object] = self.http.get(f"/v1/jobs/{id}").raise_for_status().json()
        return found

    def kill(self) -> None:
        """Ends it as a crash does; its worker sees that and ends as well."""
        self.process.kill()
        self.process.wait()
        self.end()

    def end(self) -> None:
        self.http.close()
        assert self.process.stdout is not None
        self.process.stdout.close()
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(40)
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)


def noise(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(40, 210, (320, 320, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def fill(disk: Path, leave: int = 0) -> Path:
    """Fills the disk but for some bytes."""
    path = disk / "filler"
    with path.open("wb", buffering=0) as f, pytest.raises(OSError, match="No space left"):
        while True:
            f.write(bytes(64 * 1024))
    if leave:
        os.truncate(path, max(0, path.stat().st_size - leave))
    return path


def wait_for(until: Callable[[], object], seconds: float, about: Callable[[], object]) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline, about()
        time.sleep(0.1)


def check_whole(disk: Path) -> None:
    """Makes sure that every file of the store is what it is called, and that no half file lies anywhere."""
    store = disk / "studio" / "store"
    files = [p for p in store.glob("??/*") if p.is_file() and p.parent.name != "derived"]
    assert files
    for path in files:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    assert [str(p) for p in disk.rglob("*.tmp")] == []
    assert [p for p in (disk / "studio" / "work").rglob("*") if p.is_file()] == []


def test_a_full_disk(disk: Path, tmp_path: Path) -> None:
    servers = [Server(disk, tmp_path / "serve.log")]
    try:
        story(servers, disk)
    finally:
        servers[-1].end()
        lines = (tmp_path / "serve.log").read_text().splitlines()
        print("\n".join(line for line in lines if '"event": "request"' not in line)[-6000:])
    assert servers[-1].process.returncode == 0


def story(servers: list[Server], disk: Path) -> None:
    server, count = servers[0], 14
    sums = [server.send(i).raise_for_status().json()["pictures"][0]["sha256"] for i in range(count)]
    # One job first, so that the processes that edit and what signs are there.
    first = (
        server.http.post("/v1/jobs", json={"pictures": sums[:1], "operations": STEPS}).raise_for_status().json()["id"]
    )
    wait_for(lambda: server.job(first)["state"] == "done", 90, lambda: server.job(first))

    fill(disk)
    for answer in (server.send(100), server.http.post("/v1/jobs", json={"pictures": sums, "operations": STEPS})):
        assert answer.status_code == 507, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["code"] == "disk-full"
        assert problem["detail"].count(".") == 1
    for path in (
        "/health",
        "/",
        f"/jobs/{first}",
        "/v1/jobs",
        f"/v1/pictures/{sums[0]}",
        f"/v1/pictures/{sums[3]}/info",
    ):
        assert server.http.get(path).status_code == 200, path
    ready = server.http.get("/ready")
    assert ready.status_code == 503
    assert "disk is full" in ready.text

    # Room for the job and a few of its results.
    fill(disk, leave=int(1.6 * MIB))
    id = server.http.post("/v1/jobs", json={"pictures": sums, "operations": STEPS}).raise_for_status().json()["id"]
    wait_for(lambda: "disk is full" in str(server.job(id)["error"]), 90, lambda: server.job(id))
    held = server.job(id)
    assert held["state"] == "running", held
    assert "goes on by itself" in str(held["error"])
    assert server.send(101).status_code == 507
    page = server.http.get(f"/jobs/{id}", headers={"accept": "text/html"})
    assert page.status_code == 200
    assert "disk is full" in page.text
    time.sleep(6)
    assert server.process.poll() is None
    done = int(str(server.job(id)["finished"]))
    assert done < count

    # Killed, and started again while there is still no room.
    fill(disk)
    server.kill()
    fill(disk)
    server = Server(disk, server.log)
    servers.append(server)
    assert server.job(id)["state"] in ("queued", "running")
    assert server.send(102).status_code == 507

    (disk / "filler").unlink()
    wait_for(lambda: server.job(id)["state"] in ("done", "failed"), 150, lambda: server.job(id))
    job = server.job(id)
    assert (job["state"], job["error"]) == ("done", None), job
    assert job["counts"] == {"waiting": 0, "done": count, "review": 0, "refused": 0, "failed": 0}, job
    items = server.http.get(f"/v1/jobs/{id}/items").json()["items"]
    assert [i["number"] for i in items] == list(range(count))
    for item in items:
        data = server.http.get(f"/v1/pictures/{item['result']}").raise_for_status().content
        assert hashlib.sha256(data).hexdigest() == item["result"]
        Image.open(io.BytesIO(data)).load()
    assert server.send(100).status_code == 201
    wait_for(lambda: not list((disk / "studio" / "work").rglob("*.png")), 20, lambda: list(disk.rglob("*.png")))
    check_whole(disk)
