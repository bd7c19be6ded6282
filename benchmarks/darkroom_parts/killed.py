"""`packshot shoot` over many photos by its command line, killed half-way with its process group, and started again.

What is watched from outside: the journal, the times of the files, and each process's memory and CPU time (/proc).

Letters: N photos.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import packshot
from benchmarks.darkroom_parts.cases import Case
from benchmarks.darkroom_parts.runner import Runner
from packshot.tasks.journal import JOURNAL, read_journal

WORKERS = 2
EVERY = 2.0
"""Seconds between two looks at the processes."""
TICKS, PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


@dataclass
class Watch:
    """What was seen of a command and its workers.

    Attributes:
        memory: seconds since the start, and resident MiB of all its processes together, at each look.
        peaks: VmHWM of each process in MiB.
        cpu: CPU-seconds of each process.
        load: the machine's load average of one minute at each look.
        left: processes that lived on after a kill.
    """

    memory: list[tuple[float, float]] = field(default_factory=list)
    peaks: dict[int, float] = field(default_factory=dict)
    cpu: dict[int, float] = field(default_factory=dict)
    load: list[float] = field(default_factory=list)
    left: list[int] = field(default_factory=list)

    def look(self, command: int, since: float) -> None:
        """Looks once at a process and its workers, which are its children."""
        total = 0.0
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                stat = (folder / "stat").read_text().rpartition(")")[2].split()
                if command not in (int(folder.name), int(stat[1])):
                    continue
                status = (folder / "status").read_text()
            except OSError:  # It has ended.
                continue
            pid = int(folder.name)
            self.cpu[pid] = (int(stat[11]) + int(stat[12])) / TICKS
            total += int(stat[21]) * PAGE / 2**20
            for line in status.splitlines():
                if line.startswith("VmHWM:"):
                    self.peaks[pid] = int(line.split()[1]) / 1024
        self.memory.append((time.monotonic() - since, total))
        self.load.append(os.getloadavg()[0])


def shoot(paths: list[Path], out: Path, watch: Watch, *, until: int | None) -> float:
    """Runs the command; kills it with -9, and its group, once the journal has `until` lines. Returns its seconds."""
    command = [sys.executable, "-c", "from packshot.cli.main import main; main()", "shoot", *map(str, paths)]
    command += ["--channel", "google-merchant", "--size", "1000", "--on", "2026-12-01"]
    command += ["--workers", str(WORKERS), "--out", str(out), "--json"]
    start = time.monotonic()
    with Path(f"{out}.log").open("a") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    while process.poll() is None:
        watch.look(process.pid, start)
        if until is not None and len(photos_of(out)) >= until:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            time.sleep(EVERY)  # Its workers have to end by themselves: they are told of no signal.
            watch.left = [pid for pid in watch.peaks if Path(f"/proc/{pid}").exists()]
            break
        time.sleep(EVERY)
    return time.monotonic() - start


def times(out: Path) -> dict[str, int]:
    """Returns when each picture below a folder was written, in ns."""
    return {p.relative_to(out).as_posix(): p.stat().st_mtime_ns for p in out.rglob("*.png")}


def killed_shoot() -> Runner:
    """Runs it over a case's photos, kills it half-way, and runs it again."""

    def run(case: Case) -> Any:
        paths = case.more["paths"]
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "out"
            first, second = Watch(), Watch()
            spent = [shoot(paths, out, first, until=len(paths) // 2)]
            noted = {stem(row): row for row in photos_of(out)}
            before = times(out)
            spent.append(shoot(paths, out, second, until=None))
            rows = list(_photos(case, out, noted, before, sum(spent), first, second))
            rows += list(_memory(case, first, second))
        return rows, {}

    return Runner(run, f"packshot {packshot.__version__}, {WORKERS} workers")


def photos_of(out: Path) -> list[dict[str, Any]]:
    """Returns the lines of a journal that say what became of a photo."""
    return [row for row in read_journal(out / JOURNAL) if "photo" in row]


def stem(row: dict[str, Any]) -> str:
    """Returns which photo a line of the journal is of."""
    return Path(row["photo"]).stem


def _photos(
    case: Case, out: Path, noted: dict[str, Any], before: dict[str, int], seconds: float, first: Watch, second: Watch
) -> Any:
    """Yields a row for each photo: what became of it, and whether it was done twice."""
    paths, journal = case.more["paths"], photos_of(out)
    lines, last = Counter(map(stem, journal)), {stem(row): row for row in journal}
    after = times(out)
    cpu = sum(sum(w.cpu.values()) for w in (first, second))
    load = [*first.load, *second.load]
    for path in paths:
        row = last.get(path.stem)
        picture = None if row is None else row["picture"]
        old = noted.get(path.stem)
        anew = (
            old is not None and old["picture"] is not None and after.get(old["picture"]) != before.get(old["picture"])
        )
        status = "failed" if row is None else row["status"]
        yield {
            "photo": path.stem,
            "group": case.group,
            "seconds": seconds / len(paths),
            "cpu_seconds": cpu / len(paths),
            "load": sum(load) / len(load),
            "before_kill": float(old is not None),
            "twice": float(anew or lines[path.stem] > 1),
            "lost": float(row is None or (picture is not None and picture not in after)),
            **{s: float(status == s) for s in ("done", "review", "refused", "failed")},
        }


def _memory(case: Case, first: Watch, second: Watch) -> Any:
    """Yields a row for each quarter of both runs: the most that all processes held together, and one of them alone."""
    none = {"cpu_seconds": None, "seconds": None, "peak_mib": None}
    for name, watch in (("before the kill", first), ("after it", second)):
        quarter = max(1, len(watch.memory) // 4)
        for i in range(4):
            part = watch.memory[i * quarter : (i + 1) * quarter] or watch.memory[-1:]
            group = f"{name}, quarter {i + 1}"
            facts = {"tree_mib": max(m for _, m in part), "samples": len(part)}
            yield {**none, "photo": group, "group": f"quarter {i + 1}", **facts}
        command, *workers = (watch.peaks[pid] for pid in sorted(watch.peaks))  # The command is there first.
        alone = {"command_mib": command, "worker_mib": max(workers, default=None), "left": len(watch.left)}
        yield {**none, "photo": name, "group": "processes", **alone}
