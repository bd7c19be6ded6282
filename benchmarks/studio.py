"""The studio under load: what jobs and API cost over a loop, start and first page, many clients, kills.

    python -m benchmarks.studio --out OUT [--only overhead start clients killed] [--task tone] [--minutes 10]

Every part starts a real `packshot serve` in a folder of its own and talks to it over HTTP. Each measurement is added to
OUT/raw.jsonl at once; docs/benchmarks.md has the table.
"""

import argparse
import asyncio
import io
import os
import random
import shutil
import signal
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx

from benchmarks.studio_parts.servers import cpu_seconds, descendants, resident, studio, write_photos
from packshot.core.runs import append_jsonl

STEPS: list[dict[str, Any]] = [{"task": "enhance", "white_balance": 1.0}]
"""A light task, so that what jobs and API cost is seen at its worst."""
TASKS: dict[str, list[dict[str, Any]]] = {
    "tone": STEPS,
    "cutout": [{"task": "cutout"}],
    "shoot": [{"task": "shoot", "channel": "google-merchant", "size": 1000}],
}
LIGHT = ("/", "/jobs", "/health", "/v1/jobs", "/v1/tasks", "/v1/pictures", "/verify", "/v1/pictures/{}?thumb=160")
"""What the clients ask for: light routes, and small pictures that are in the cache after the first time."""


def overhead(out: Path, args: argparse.Namespace) -> dict[str, Any]:
    """The time of a job over HTTP, upload to last result, over that of the task in a loop on as many processes.

    By the clock, and in CPU-seconds of all processes, the client's too, which other work on the cores disturbs less.
    """
    from packshot.tasks.batch import BatchOptions, edit_photos
    from packshot.tasks.cutout import Cutout, CutoutRequest
    from packshot.tasks.edit import Edit
    from packshot.tasks.enhance import Enhance, EnhanceRequest
    from packshot.tasks.shoot import ShootRequest, build_shoot

    steps = TASKS[args.task]
    edits: dict[str, Callable[[], Edit]] = {
        "tone": lambda: Enhance(EnhanceRequest(white_balance=1.0)),
        "cutout": lambda: Cutout(CutoutRequest()),
        "shoot": lambda: build_shoot(ShootRequest(channel="google-merchant", on=date.today(), size=1000)),
    }
    photos = write_photos(out / "photos", args.pictures, args.side)
    times: dict[str, list[float]] = {"loop": [], "job": [], "loop_cpu": [], "job_cpu": []}
    here = os.getpid()
    for turn in range(args.turns):
        place = out / f"overhead-{turn}"
        os.environ["PACKSHOT_HOME"] = str(place / "home-loop")
        began, cpu = time.perf_counter(), cpu_seconds(here)
        made = edit_photos(
            photos,
            edits[args.task](),
            place / "loop",
            BatchOptions(quiet=True, workers=args.workers),
        )
        times["loop"].append(time.perf_counter() - began)
        times["loop_cpu"].append(cpu_seconds(here) - cpu)
        ended = {state: made.counts.get(state, 0) for state in ("done", "review")}
        assert sum(ended.values()) == len(photos), made.counts
        with studio(place, "--set", f"workers={args.workers}") as server:
            from packshot.server.client import Client

            with Client(server.url, seconds=600) as client:
                client.edit(photos[0], steps)  # The desk is warm; the hands of the jobs are not.
                began, cpu = time.perf_counter(), cpu_seconds(here)
                ids = [client.submit(photos[i : i + 500], steps).id for i in range(0, len(photos), 500)]
                sent = time.perf_counter() - began
                jobs = [client.wait(id, pause=0.2) for id in ids]
                times["job"].append(time.perf_counter() - began)
                times["job_cpu"].append(cpu_seconds(here) - cpu)
                for state, count in ended.items():
                    assert sum(job.counts.get(state, 0) for job in jobs) == count, (state, count, jobs)
        shutil.rmtree(place)
    middle = {name: statistics.median(values) for name, values in times.items()}
    return {
        "task": args.task,
        "pictures": len(photos),
        "side": args.side,
        "workers": args.workers,
        "ratio": middle["job"] / middle["loop"],
        "cpu_ratio": middle["job_cpu"] / middle["loop_cpu"],
        "upload_seconds": sent,
        **times,
    }


def start(out: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Seconds to the first page, and what the server process holds."""
    found = []
    for turn in range(args.turns + 2):
        with studio(out / f"start-{turn}", "--no-worker") as server:
            maps = Path(f"/proc/{server.process.pid}/maps").read_text()
            found.append((server.first_page, server.after_ready, server.page_bytes, resident(server.process.pid)))
            assert "libtorch" not in maps  # No network, and no torch, in the server.
    first, after, size, memory = (statistics.median(column) for column in zip(*found, strict=True))
    return {"first_page_seconds": first, "after_health_seconds": after, "page_bytes": size, "server_mib": memory}


def clients(out: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Many clients at once on light routes, while a job runs: answers by status, times, memory of the server."""
    place = out / "clients"
    photos = write_photos(out / "photos", 40, args.side)
    with studio(place, "--set", "workers=1") as server:
        from packshot.server.client import Client

        with Client(server.url, seconds=600) as client:
            client.submit(photos, STEPS)
        told = asyncio.run(_crowd(server.url, server.process.pid, args.clients, 60 * args.minutes))
    shutil.rmtree(place)
    return {"clients": args.clients, "minutes": args.minutes, **told}


async def _crowd(url: str, pid: int, count: int, seconds: float) -> dict[str, Any]:
    status: dict[str, int] = {}
    times: list[float] = []
    memory: list[tuple[float, float]] = []
    began = time.perf_counter()
    limits = httpx.Limits(max_connections=count + 5)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as http:
        pictures = [p["sha256"] for p in (await http.get("/v1/pictures")).json()["pictures"]]

        async def visit(number: int) -> None:
            rng = random.Random(number)
            while time.perf_counter() - began < seconds:
                at = time.perf_counter()
                try:
                    answer = await http.get(rng.choice(LIGHT).format(rng.choice(pictures)))
                    code = str(answer.status_code)
                except httpx.HTTPError as e:
                    code = type(e).__name__
                status[code] = status.get(code, 0) + 1
                times.append(time.perf_counter() - at)
                await asyncio.sleep(rng.uniform(0.5, 1.5))  # A person reads, too.

        async def watch() -> None:
            while time.perf_counter() - began < seconds:
                memory.append((time.perf_counter() - began, resident(pid)))
                await asyncio.sleep(2)

        await asyncio.gather(watch(), *(visit(i) for i in range(count)))
    times.sort()

    def minute(low: float, high: float) -> float:
        return statistics.median([m for t, m in memory if low <= t < high])

    part = seconds / 10
    return {
        "requests": len(times),
        "by_status": status,
        "p50_ms": 1000 * times[len(times) // 2],
        "p95_ms": 1000 * times[int(0.95 * len(times))],
        "mib_third_tenth": minute(2 * part, 3 * part),
        "mib_last_tenth": minute(9 * part, 10 * part),
    }


def killed(out: Path, args: argparse.Namespace) -> dict[str, Any]:
    """A job that is killed again and again, against the same job left alone: all of its pictures, the same pixels."""
    from PIL import Image

    photos = write_photos(out / "thumbs", args.thumbs, 96)
    digests: dict[str, dict[str, str]] = {}
    kills = 0
    for name in ("alone", "killed"):
        place, rng, id = out / f"killed-{name}", random.Random(1), None
        while True:
            with studio(place, "--set", f"workers={args.workers}") as server:
                with httpx.Client(base_url=server.url, timeout=600) as http:
                    if id is None:
                        id = _submit(http, photos)
                    left = _until(http, id, args.every if name == "killed" else None)
                    if left == 0:
                        digests[name] = {
                            item["name"]: sha256(
                                Image.open(io.BytesIO(http.get(f"/v1/pictures/{item['result']}").content)).tobytes()
                            ).hexdigest()
                            for item in _items(http, id)
                        }
                        break
                # Each time something else dies: the server, the worker, a process that edits, or all at once.
                below = descendants(server.process.pid)
                chosen = [server.process.pid, *below] if rng.random() < 0.5 else [rng.choice(below)]
                for pid in chosen:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                kills += 1
        shutil.rmtree(place)
    same = sum(digests["alone"].get(n) == d for n, d in digests["killed"].items())
    return {
        "pictures": len(photos),
        "kills": kills,
        "every_seconds": args.every,
        "done": len(digests["killed"]),
        "same": same,
    }


def _submit(http: httpx.Client, photos: list[Path]) -> str:
    import json

    shas = []
    for path in photos:
        answer = http.post("/v1/pictures", files={"file": (path.name, path.read_bytes(), "image/jpeg")})
        answer.raise_for_status()
        shas.append(answer.json()["pictures"][0]["sha256"])
    answer = http.post("/v1/jobs", json={"pictures": shas, "operations": STEPS})
    answer.raise_for_status()
    return str(json.loads(answer.text)["id"])


def _until(http: httpx.Client, id: str, seconds: float | None) -> int:
    """Waits for the end of a job, or so long; returns how many pictures are left."""
    until = time.monotonic() + (seconds or 10**9)
    while True:
        job = http.get(f"/v1/jobs/{id}").json()
        if job["state"] == "done":
            return 0
        if time.monotonic() > until:
            return int(job["total"] - job["finished"]) or 1
        time.sleep(0.5)


def _items(http: httpx.Client, id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    path: str | None = f"/v1/jobs/{id}/items?limit=500"
    while path:
        page = http.get(path).json()
        found += page["items"]
        path = page["next"]
    return found


PARTS: dict[str, Callable[[Path, argparse.Namespace], dict[str, Any]]] = {
    "start": start,
    "overhead": overhead,
    "clients": clients,
    "killed": killed,
}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="raw log and work in progress")
    parser.add_argument("--only", nargs="+", choices=sorted(PARTS), default=list(PARTS))
    parser.add_argument("--task", choices=sorted(TASKS), default="tone", help="of the overhead")
    parser.add_argument("--pictures", type=int, default=500, help="of the overhead")
    parser.add_argument("--side", type=int, default=600, help="of those, pixels")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="processes that edit")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=10.0, help="that the clients come")
    parser.add_argument("--thumbs", type=int, default=20_000, help="pictures of the job that is killed")
    parser.add_argument("--every", type=float, default=60.0, help="seconds between kills")
    args = parser.parse_args(argv)
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    for name in args.only:
        row = {"part": name, "load": os.getloadavg()[0], **PARTS[name](out, args)}
        append_jsonl(out / "raw.jsonl", row)
        print(row, flush=True)


if __name__ == "__main__":
    main()
