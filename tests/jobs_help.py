"""What the tests of jobs share: small pictures, and hands that need no network."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from packshot.jobs.records import ENDED, Job, JobRequest, Picture
from packshot.jobs.studio import Studio
from tests.jobs_fake import FakeHands

INSIDE = "PACKSHOT_TEST_OWN_NETWORK"
BALANCE = {"task": "enhance", "white_balance": 0.5}


def png(seed: int, side: int = 24) -> bytes:
    """Returns a small picture, another for each seed."""
    y, x = np.mgrid[:side, :side] * 2
    pixels = np.stack([90 + x, 100 + y, np.full_like(x, seed % 200)], axis=-1).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def add(studio: Studio, count: int, tenant: str = "shop", first: int = 0) -> list[Picture]:
    """Gives a tenant some pictures."""
    return [
        studio.add_picture(tenant, png(i), name=f"p{i}.png", mime="image/png", width=24, height=24)
        for i in range(first, first + count)
    ]


def request_of(pictures: list[Picture], tenant: str = "shop", **more: object) -> JobRequest:
    """Returns the request of a cheap job."""
    values: dict[str, object] = {"steps": (BALANCE,), "pictures": tuple(p.sha256 for p in pictures), **more}
    return JobRequest(tenant=tenant, **values)  # type: ignore[arg-type]


def wait_for(studio: Studio, id: str, until: Callable[[Job], bool], seconds: float, tenant: str = "shop") -> Job:
    """Returns a job as soon as it is as wanted."""
    deadline = time.monotonic() + seconds
    while True:
        job = studio.job(tenant, id)
        if until(job):
            return job
        assert time.monotonic() < deadline, f"not within {seconds} s: {job}"
        time.sleep(0.05)


def ended(job: Job) -> bool:
    """Returns whether a job has ended."""
    return job.state in ENDED


def in_own_network(file: str, count: int) -> None:
    """Runs a file's tests again in a network that has nothing but the loopback, and skips those that asked for it.

    Args:
        file: of the tests.
        count: how many have to pass there.
    """
    if INSIDE in os.environ:
        return
    command = f"ip link set lo up; exec {sys.executable} -m pytest -q -x -p no:cacheprovider --durations=5 {file}"
    done = subprocess.run(
        ["unshare", "-n", "bash", "-c", command],
        env=os.environ | {INSIDE: "1"},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    if "unshare" in done.stderr and done.returncode:
        pytest.skip(f"no network of our own: {done.stderr.strip()}")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert f"{count} passed" in done.stdout, done.stdout
    pytest.skip(f"passed, in a network of their own: {done.stdout}")


def main() -> None:
    """A worker with such hands, as a process: HOME LOG SECONDS [SETTING=VALUE ...]."""
    from packshot.jobs.settings import read_settings
    from packshot.jobs.shard_engines import LocalEngine
    from packshot.jobs.worker import Worker

    home, log, seconds, *more = sys.argv[1:]
    settings = read_settings(None, (f"home={home}", "workers=2", "shard=8", *more))
    Worker(settings, LocalEngine(settings, FakeHands(settings, Path(log), float(seconds)))).run()
    os._exit(0)


if __name__ == "__main__":
    main()
