"""The darkroom against what people reach for today: the same photos, quality, CPU-seconds and peak memory in one run.

Each competitor does each task in a process of its own on one thread; this process measures what came out. A row for
each photo goes to OUT/raw.jsonl at once, so a benchmark that was stopped goes on where it was, and the tables can be
made again at any time. Tables: OUT/table.md; before/after sheets: OUT/sheets. The photos are those of the validation
contributors of DATA, which no training reads.

    python -m benchmarks.darkroom --data DATA --out OUT --packages peers
    python -m benchmarks.darkroom --data DATA --out OUT --only cutout repair --photos 3
    python -m benchmarks.darkroom --out OUT --table

DATA holds clothing/metadata.csv, clothing/original and clothing/mattes. How to install the peers into a folder, and
what exactly is measured: benchmarks/darkroom_parts/README.md. Measure a changed network into another OUT.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.darkroom_parts.table import TASKS, Competitor, Task
from benchmarks.darkroom_table import print_tables
from packshot.core.errors import PackshotError, lookup
from packshot.core.runs import append_jsonl, read_jsonl

ROOT = Path(__file__).parents[1]
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class Benchmark:
    """What of some tasks is missing in the raw log is run and measured."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.raw, self.work = args, args.out / "raw.jsonl", args.out / "work"
        self.work.mkdir(parents=True, exist_ok=True)
        self.done = {(r["task"], r["name"], r["case"]) for r in read_jsonl(self.raw) if "case" in r}

    def run(self, task: Task) -> None:
        """Runs one task and writes its sheet.

        Raises:
            PackshotError: the data are not there.
        """
        from benchmarks.darkroom_parts.sheets import Tiles

        photos = min(task.photos, self.args.photos or task.photos)
        cases = [(case.name, case.group) for case in task.cases(self.args.data, photos)]
        tiles = Tiles(self.work / "tiles", task, cases)
        print(f"{task.name}: {len(cases)} cases")
        for competitor in task.competitors:
            if self.args.competitors and competitor.name not in self.args.competitors:
                continue
            if reason := self.absent(competitor):
                print(f"  {competitor.name} is left out: {reason}")
                continue
            missing = [n for n, _ in cases if (task.name, competitor.name, n) not in self.done]
            for part in [[n] for n in missing] if task.alone else [missing] if missing else []:
                self.compete(task, competitor, photos, part, tiles)
        sheet = self.args.out / "sheets" / f"{task.name}.png"
        if tiles.write(sheet):
            print(f"  {sheet}")

    def absent(self, competitor: Competitor) -> str | None:
        """Returns why a competitor cannot run here, or None."""
        if competitor.model and self.args.model is None:
            return "no --model is given"
        lacks = [name for name in competitor.needs if importlib.util.find_spec(name) is None]
        where = "benchmarks/darkroom_parts/README.md"
        return f"{', '.join(lacks)} is not installed ({where})" if lacks else None

    def compete(self, task: Task, competitor: Competitor, photos: int, missing: list[str], tiles: Any) -> None:
        """Runs a competitor in another process on the cases that are missing, and measures all that it left."""
        stem = self.work / f"{task.name}-{competitor.name}".replace(" ", "_")
        problem = self.start(task, competitor, photos, missing, stem)
        about = {"task": task.name, "name": competitor.name, "peer": competitor.peer}
        if problem:
            print(f"  {competitor.name} failed: {problem}")
            append_jsonl(self.raw, {**about, "error": problem})
        log = Path(f"{stem}.jsonl")
        facts = {row["case"]: row for row in read_jsonl(log)}
        cpu = 0.0
        for case in task.cases(self.args.data, photos):
            key = (task.name, competitor.name, case.name)
            if (row := facts.get(case.name)) is None or key in self.done:
                continue
            known = {k: v for k, v in row.items() if k not in ("rows", "output")}
            known |= {**about, "photo": case.photo, "group": case.group}
            rows = [{**known, **part} for part in row.get("rows", [])]
            if "output" in row:
                rows = [{**known, **self.measure(task, case, competitor, row, tiles)}]
            for part in rows:
                append_jsonl(self.raw, part)
            cpu += row["cpu_seconds"]
            self.done.add(key)
        log.unlink(missing_ok=True)
        print(f"  {competitor.name}: {len(facts)} cases, {cpu:.1f} CPU-s")

    def measure(self, task: Task, case: Any, competitor: Competitor, row: dict[str, Any], tiles: Any) -> dict[str, Any]:
        import numpy as np

        path = Path(row["output"])
        output = np.load(path)
        tiles.add(case, competitor.name, output)
        figures = task.measure(case, output)
        path.unlink()
        return {**figures, "us_per_pixel": 1e6 * row["cpu_seconds"] / max(1, output.shape[0] * output.shape[1])}

    def start(self, task: Task, competitor: Competitor, photos: int, missing: list[str], stem: Path) -> str | None:
        """Returns what went wrong, in one line, or None."""
        wanted = Path(f"{stem}-cases.json")
        wanted.write_text(json.dumps(missing))
        command = [sys.executable, "-m", "benchmarks.darkroom_parts.work", "--task", task.name]
        command += ["--name", competitor.name, "--data", str(self.args.data), "--photos", str(photos)]
        command += ["--cases", str(wanted), "--stem", str(stem)]
        for name in ("packages", "model"):
            if getattr(self.args, name):
                command += [f"--{name}", str(getattr(self.args, name))]
        environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
        with Path(f"{stem}.err").open("w") as err:
            code = subprocess.run(command, cwd=ROOT, env=environment, stderr=err).returncode
        wanted.unlink()
        if code == 0:
            return None
        lines = Path(f"{stem}.err").read_text().splitlines() or [f"exit {code}"]
        try:
            return str(json.loads(lines[-1])["error"])
        except (ValueError, KeyError, TypeError):
            return lines[-1]


def main(argv: list[str] | None = None) -> None:
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the photos")
    parser.add_argument("--out", type=Path, required=True, help="raw log, tables, sheets, work in progress")
    parser.add_argument("--only", nargs="+", metavar="TASK", default=list(TASKS), help=f"of {', '.join(TASKS)} [all]")
    parser.add_argument("--competitors", nargs="+", metavar="NAME", help="these alone [all]")
    parser.add_argument("--photos", type=int, help="at most so many for each task, for trials [each task's own number]")
    parser.add_argument("--packages", type=Path, help="folder with the peers' packages [the environment]")
    parser.add_argument(
        "--model", type=Path, help="an ONNX matting network for the cut-out, with its .json if it needs one"
    )
    parser.add_argument("--table", action="store_true", help="only make the tables from the raw log")
    args = parser.parse_args(argv)
    try:
        tasks = [lookup("task", name, TASKS) for name in args.only]
        if not args.table:
            if args.data is None:
                parser.error("--data is needed to run; --table alone needs none")
            for name in ("data", "out", "packages", "model"):
                if (path := getattr(args, name)) is not None:
                    setattr(args, name, path.resolve())
            if args.packages:
                sys.path.append(str(args.packages))
            args.out.mkdir(parents=True, exist_ok=True)
            benchmark = Benchmark(args)
            for task in tasks:
                benchmark.run(task)
    except PackshotError as e:
        parser.error(str(e))
    print_tables(args.out)


if __name__ == "__main__":
    main()
