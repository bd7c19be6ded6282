"""Tables of benchmarks.darkroom, from its raw log alone.

Letters: n photos, k numbers that a photo gives to a figure, b resamples of the photos.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.darkroom_parts.cases import CLEAN
from benchmarks.darkroom_parts.table import TASKS, Figure, Task
from packshot.core.runs import read_jsonl

Row = dict[str, Any]
Floats = npt.NDArray[np.float64]

RESAMPLES = 1000
OURS = "packshot"
COST = (
    Figure(key="cpu_seconds", title="CPU-s", digits=2),
    Figure(key="peak_mib", title="peak MiB", how="max", digits=0),
)


def latest_rows(rows: list[Row]) -> list[Row]:
    """Returns the last row of each competitor and case, failures of a process only where it did nothing since."""
    kept: dict[tuple[Any, ...], Row] = {}
    done = {(r["task"], r["name"]) for r in rows if "case" in r}
    for row in rows:
        if "case" in row:
            kept[row["task"], row["name"], row["case"], row["photo"]] = row
        elif (row["task"], row["name"]) not in done:
            kept[row["task"], row["name"]] = row
    return list(kept.values())


def summary(rows: list[Row], figure: Figure) -> tuple[list[str], Floats, Callable[[Floats], Floats]] | None:
    """Returns the photos of a figure, each one's numbers [n, k], and what makes figures [b] of numbers [b, n, k].

    None: no row holds the figure.
    """
    chosen = [r for r in rows if r.get(figure.key) is not None and figure.of in (None, r.get("group"))]
    if figure.how == "f1_mean":
        chosen = [r for r in chosen if r["group"] != CLEAN]
    if not chosen:
        return None
    groups = sorted({r.get("group", "") for r in chosen}) if figure.how == "f1_mean" else [None]
    photos = sorted({r["photo"] for r in chosen})
    at = {photo: i for i, photo in enumerate(photos)}
    if figure.how in ("f1", "f1_mean"):
        counts = np.zeros((len(photos), len(groups), 4))
        for row in chosen:
            counts[at[row["photo"]], groups.index(row["group"]) if figure.how == "f1_mean" else 0] += row[figure.key]
        return photos, counts.reshape(len(photos), -1), f1
    values: dict[str, list[float]] = defaultdict(list)
    for row in chosen:
        values[row["photo"]].append(float(row[figure.key]))
    if figure.how in ("median", "max"):
        largest = np.array([[max(values[p])] if figure.how == "max" else [np.mean(values[p])] for p in photos])
        reduce = np.max if figure.how == "max" else np.median
        return photos, largest, lambda x: np.asarray(reduce(x[..., 0], axis=-1))
    sums = np.array([[sum(values[p]), len(values[p])] for p in photos])
    return photos, sums, per_minute if figure.how == "per_minute" else mean


def mean(x: Floats) -> Floats:
    total = x.sum(axis=1)
    return np.asarray(total[:, 0] / total[:, 1])


def per_minute(x: Floats) -> Floats:
    total = x.sum(axis=1)
    return np.asarray(60 * total[:, 1] / np.maximum(total[:, 0], 1e-9))


def f1(x: Floats) -> Floats:
    """Returns the mean over kinds of F1 of the photos' pixels together; x holds four counts for each kind."""
    right, got, seen, all_ = np.moveaxis(x.sum(axis=1).reshape(len(x), -1, 4), -1, 0)
    precision, recall = right / np.maximum(got, 1), seen / np.maximum(all_, 1)
    return np.asarray((2 * precision * recall / np.maximum(precision + recall, 1e-9)).mean(axis=1))


def interval(values: Floats) -> tuple[float, float]:
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def resamples(n: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(0).integers(0, n, (RESAMPLES, n))


def estimate(rows: list[Row], figure: Figure) -> tuple[float, tuple[float, float] | None] | None:
    """Returns a figure and its interval of 95 % by a bootstrap over photos; a maximum, or one photo, has none."""
    made = summary(rows, figure)
    if made is None:
        return None
    _, numbers, reduce = made
    value = float(reduce(numbers[None])[0])
    if figure.how == "max" or len(numbers) < 2:
        return value, None
    return value, interval(reduce(numbers[resamples(len(numbers))]))


def compare(ours: list[Row], other: list[Row], figure: Figure) -> tuple[float, tuple[float, float], int] | None:
    """Returns difference or ratio of two competitors over the photos that both did, its interval, and their number."""
    cases = {r["case"] for r in ours} & {r["case"] for r in other}
    one, two = (summary([r for r in rows if r["case"] in cases], figure) for rows in (ours, other))
    if one is None or two is None or one[0] != two[0] or len(one[0]) < 2:
        return None
    index = resamples(len(one[0]))
    a, b = (np.concatenate([m[2](m[1][None]), m[2](m[1][index])]) for m in (one, two))
    both = a - b if figure.against == "difference" else a / np.maximum(b, 1e-9)
    return float(both[0]), interval(both[1:]), len(one[0])


def shown(figure: Figure, value: float) -> str:
    return f"{100 * value:.{figure.digits}f} %" if figure.how == "share" else f"{value:,.{figure.digits}f}"


def cell(rows: list[Row], figure: Figure) -> str:
    made = estimate(rows, figure)
    if made is None:
        return "-"
    value, spread = made
    if spread is None or figure in COST or figure.of is not None:
        return shown(figure, value)
    low, high = (shown(figure, v).removesuffix(" %") for v in spread)
    return f"{shown(figure, value)} [{low}, {high}]"


def make_table(task: Task, rows: list[Row]) -> str:
    """Returns a Markdown table of one task's rows, competitors in the task's order."""
    figures = [*task.figures, *(f for f in COST if f.title not in {c.title.split(",")[0] for c in task.figures})]
    heads = ["competitor", "photos", *(f.title for f in figures), "what was run"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for competitor in task.competitors:
        own = [r for r in rows if r["name"] == competitor.name]
        measured = [r for r in own if "case" in r]
        if own and not measured:
            dashes = ["-"] * len(figures)
            lines.append(f"| {competitor.name} | - | {' | '.join(dashes)} | failed: {own[-1]['error']} |")
        if not measured:
            continue
        versions = sorted({str(r["version"]) for r in measured})
        what = f"{competitor.what} ({'; '.join(versions)})"
        cells = [cell(measured, figure) for figure in figures]
        photos = len({r["photo"] for r in measured})
        lines.append(f"| {competitor.name} | {photos} | {' | '.join(cells)} | {what} |")
    return "\n".join(lines)


def make_comparison(task: Task, rows: list[Row]) -> list[str]:
    """Returns a sentence on each peer: Packshot less the peer, or divided by it, over the photos that both did."""
    by_name: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if "case" in row:
            by_name[row["name"]].append(row)
    lines = []
    for competitor in task.competitors:
        if competitor.name == OURS or competitor.name not in by_name:
            continue
        parts, photos = [], 0
        for figure in task.figures:
            made = figure.against and compare(by_name[OURS], by_name[competitor.name], figure)
            if made:
                value, (low, high), photos = made
                sign = "+" if figure.against == "difference" else ""
                numbers = [f"{v:{sign},.{max(2, figure.digits)}f}" for v in (value, low, high)]
                by = "" if figure.against == "difference" else "x "
                parts.append(f"{figure.title} {by}{numbers[0]} [{numbers[1]}, {numbers[2]}]")
        if parts:
            lines.append(f"Packshot against {competitor.name}, the same {photos} photos: {'; '.join(parts)}.")
    return lines


def mixed(task: Task, rows: list[Row]) -> list[str]:
    """Returns a warning for each competitor whose rows are of more than one version or setting."""
    found = defaultdict(set)
    for row in rows:
        if "case" in row:
            found[row["name"]].add(row["version"])
    return [f"Mixed: {n} was run as {', '.join(sorted(v))}; measure it anew." for n, v in found.items() if len(v) > 1]


def make_section(task: Task, rows: list[Row]) -> str:
    """Returns title, goal, table and comparisons of one task."""
    own = [r for r in rows if r["task"] == task.name]
    about = f"### {task.name}\n\n{task.title[0].upper()}{task.title[1:]}. Goal: {task.goal}."
    more = [*make_comparison(task, own), *mixed(task, own)]
    listed = "\n".join(f"- {line}" for line in more)
    return "\n\n".join(part for part in (about, make_table(task, own), listed) if part)


def make_report(rows: list[Row]) -> str:
    """Returns the sections of all tasks that were measured."""
    rows = latest_rows(rows)
    sections = [make_section(task, rows) for task in TASKS.values() if any(r["task"] == task.name for r in rows)]
    spent = sum(r.get("cpu_seconds") or 0.0 for r in rows if "case" in r)
    foot = (
        "In brackets: intervals of 95 % by a bootstrap over photos. CPU-s: mean of a case on one thread, all of the "
        "process's threads counted; peak memory: of the competitor's own process. "
        f"All cases together: {spent:.0f} CPU-s."
    )
    return "\n\n".join([*sections, foot]) + "\n" if sections else "Nothing was measured yet.\n"


def print_tables(out: Path) -> None:
    """Prints the report of a raw log, OUT/raw.jsonl, and writes it to OUT/table.md."""
    text = make_report(read_jsonl(out / "raw.jsonl"))
    (out / "table.md").write_text(text, encoding="utf-8")
    print(f"\n{text}")
