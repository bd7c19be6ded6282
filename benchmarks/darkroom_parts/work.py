"""One competitor at one task in a process of its own, on one thread: it leaves outputs, times and its peak memory.

A line of STEM.jsonl follows each output, STEM-N.npy, N being the number of the case, so a process that was stopped goes
on where it was. CPU time is that of all threads of the process, around one case and nothing else; a competitor's first
case is run once before, untimed, unless that took long.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.darkroom_parts.cases import Case
from benchmarks.darkroom_parts.runner import Runner
from benchmarks.darkroom_parts.table import TASKS
from packshot.core.process import peak_memory
from packshot.core.runs import append_jsonl, read_jsonl

WARM_SECONDS = 20.0
"""A first case that took longer than this is not run again for its time without the warming-up."""


def timed(runner: Runner, case: Case) -> tuple[Any, dict[str, Any], dict[str, float]]:
    """Returns a case's output and facts, and what it took."""
    cpu, wall = time.process_time(), time.monotonic()
    output, facts = runner.run(case)
    return output, facts, {"cpu_seconds": time.process_time() - cpu, "seconds": time.monotonic() - wall}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", choices=list(TASKS), required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--photos", type=int, required=True)
    parser.add_argument("--cases", type=Path, required=True, help="JSON list of the names that are wanted")
    parser.add_argument("--stem", required=True)
    parser.add_argument("--packages", type=Path)
    parser.add_argument("--model", type=Path)
    args = parser.parse_args()
    if args.packages is not None:
        sys.path.append(str(args.packages))
    task = TASKS[args.task]
    competitor = next(c for c in task.competitors if c.name == args.name)
    log = Path(f"{args.stem}.jsonl")
    left = set(json.loads(args.cases.read_text())) - {row["case"] for row in read_jsonl(log)}
    start = time.process_time()
    runner = competitor.build({"model": args.model})
    facts = {"load_cpu_seconds": time.process_time() - start, "version": runner.version}
    warm = task.alone
    for number, case in enumerate(task.cases(args.data, args.photos)):
        if case.name not in left:
            continue
        output, more, spent = timed(runner, case)
        if not warm and spent["cpu_seconds"] <= WARM_SECONDS:
            output, more, spent = timed(runner, case)
        warm = True
        row = {"case": case.name, **facts, **more, **spent, "peak_mib": peak_memory() / 2**20}
        if isinstance(output, list):
            row["rows"] = output
        else:
            np.save(f"{args.stem}-{number}.npy", np.asarray(output, np.uint8))
            row |= {"output": f"{args.stem}-{number}.npy"}
        append_jsonl(log, row)


if __name__ == "__main__":
    try:
        main()
    except Exception as e:
        # The last line of stderr is what the raw log keeps of a competitor that fails.
        import traceback

        traceback.print_exc()
        print(json.dumps({"error": f"{type(e).__name__}: {e}"}), file=sys.stderr)
        sys.exit(1)
