"""Tables of benchmarks.release, from its raw log alone.

Shares have Wilson's interval of 95 %, other figures one by a bootstrap over photos.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.release_parts.attacks import GAUNTLET, MAIN
from packshot.core.runs import read_jsonl
from packshot.release.codes import ID_BITS

Row = dict[str, Any]

OURS = "packshot"
WHITE = 0.2
"""From this share of exactly white pixels on a photo counts as one on flat white."""
RESAMPLES = 2000
Z = 1.959964


def wilson(good: int, count: int) -> tuple[float, float]:
    """Returns Wilson's interval of 95 % for a share; of nothing it is all that can be."""
    if count == 0:
        return 0.0, 1.0
    share, z2 = good / count, Z * Z
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = Z / (1 + z2 / count) * np.sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def bootstrap(values: list[float]) -> tuple[float, float, float]:
    """Returns the median and an interval of 95 % for it."""
    data = np.asarray(values)
    draws = np.random.default_rng(0).integers(len(data), size=(RESAMPLES, len(data)))
    low, high = np.quantile(np.median(data[draws], 1), [0.025, 0.975])
    return float(np.median(data)), float(low), float(high)


def share(good: int, count: int) -> str:
    if count == 0:
        return ""
    low, high = wilson(good, count)
    return f"{good / count:.1%} [{low:.1%}, {high:.1%}]"


def latest(rows: list[Row]) -> list[Row]:
    kept = {(r["part"], r["name"], r.get("photo"), r.get("first")): r for r in rows}
    return list(kept.values())


def read_back(rows: list[Row], attack: str) -> tuple[int, int, int]:
    """Returns how many photos gave all 40 bits, of how many that were marked, and of how many that should have been."""
    marked = [r for r in rows if r["room"] and attack in r["right"]]
    good = sum(r["right"][attack] == ID_BITS for r in marked)
    # A photo without room has no attacks; it stands for as many as share its place in the order of the run.
    tried = len(marked) + sum(not r["room"] for r in rows) if attack in MAIN else len(marked)
    return good, len(marked), tried


def survival(rows: list[Row]) -> list[str]:
    """Returns the table of what survives: by kind of photo, and peers beside it."""
    ours = [r for r in rows if r["name"] == OURS]
    peers = {name: [r for r in rows if r["name"] == name] for name in sorted({r["name"] for r in rows} - {OURS})}
    kinds = sorted({r["kind"] for r in ours})
    head = ["after", "photos", "id read", "no room counted as lost", *kinds, "flat white", *peers]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for attack in (*MAIN, *GAUNTLET):
        good, marked, tried = read_back(ours, attack)
        if not marked:
            continue
        cells = [attack, f"{marked}", share(good, marked), f"{good / tried:.1%}" if attack in MAIN else ""]
        groups = [[r for r in ours if r["kind"] == kind] for kind in kinds]
        groups.append([r for r in ours if r["white"] >= WHITE])
        for group in groups:
            good, marked, _ = read_back(group, attack)
            cells.append(f"{good}/{marked}")
        for group in peers.values():
            good, marked, _ = read_back(group, attack)
            bits = [r["right"][attack] / ID_BITS for r in group if r["right"].get(attack) is not None]
            known = f", {np.mean(bits):.0%} of bits" if bits else ""
            cells.append(f"{good}/{marked}{known}")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def marked_figures(rows: list[Row]) -> list[str]:
    """Returns the table of how much was changed and what it took."""
    lines = ["| watermark | photos | no room | PSNR, dB: median | lowest | white pixels changed | another id read |"]
    lines.append("|---|---|---|---|---|---|---|")
    for name in sorted({r["name"] for r in rows}, key=lambda n: n != OURS):
        own = [r for r in rows if r["name"] == name]
        room = [r for r in own if r["room"]]
        middle, low, high = bootstrap([r["psnr"] for r in room])
        changed = sum(r["white_changed"] for r in room)
        cells = [name, f"{len(own)}", f"{len(own) - len(room)}", f"{middle:.1f} [{low:.1f}, {high:.1f}]"]
        cells += [f"{min(r['psnr'] for r in room):.1f}", f"{changed:,}"]
        cells.append(str(sum(r["other_id"] for r in room)) if name == OURS else "does not tell")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def costs(rows: list[Row]) -> list[str]:
    """Returns the table of times at 1,600 x 1,600."""
    lines = ["| 1,600 x 1,600 | pictures | median, ms | fastest of three, median, ms | load |", "|---|---|---|---|---|"]

    def line(what: str, spent: list[list[float]], own: list[Row]) -> None:
        middle, low, high = (1000 * v for v in bootstrap([float(np.median(s)) for s in spent]))
        best = 1000 * float(np.median([min(s) for s in spent]))
        load = f"{np.mean([r['load'] for r in own]):.1f}"
        lines.append(f"| {what} | {len(own)} | {middle:.0f} [{low:.0f}, {high:.0f}] | {best:.0f} | {load} |")

    for name in sorted({r["name"] for r in rows if r["part"] == "time"}, key=lambda n: n != OURS):
        own = [r for r in rows if r["part"] == "time" and r["name"] == name]
        line(f"mark, {name}, CPU", [r["cpu_seconds"] for r in own], own)
    own = [r for r in rows if r["part"] == "door"]
    if own:
        for key, what in (("seconds", "wall"), ("cpu_seconds", "CPU")):
            added = [[a - min(r[f"plain_{key}"]) for a in r[f"door_{key}"]] for r in own]
            line(f"what the door adds, {what}", added, own)
            line(f"plain encoding and writing, {what}", [r[f"plain_{key}"] for r in own], own)
    return lines


def alarms(rows: list[Row]) -> list[str]:
    """Returns the line on pictures without a mark."""
    kinds: dict[str, int] = defaultdict(int)
    for row in rows:
        for kind, count in row["kinds"].items():
            kinds[kind] += count
    count, found = sum(r["count"] for r in rows), sum(len(r["found"]) for r in rows)
    spent = sum(r["cpu_seconds"] for r in rows) / count
    parts = ", ".join(f"{n:,} {kind}" for kind, n in sorted(kinds.items(), key=lambda k: -k[1]))
    return [
        f"Pictures without a mark: {count:,} ({parts}); an id was read in {found} "
        f"(95 %: at most {wilson(found, count)[1]:.2g}); {1000 * spent:.0f} CPU-ms each."
    ]


def print_tables(out: Path) -> None:
    """Prints what OUT/raw.jsonl says, and writes it to OUT/table.md."""
    rows = latest(read_jsonl(out / "raw.jsonl"))
    by_part = {part: [r for r in rows if r["part"] == part] for part in ("marks", "unmarked", "time", "door")}
    lines: list[str] = []
    if by_part["marks"]:
        lines += [*marked_figures(by_part["marks"]), "", *survival(by_part["marks"]), ""]
    if by_part["time"] or by_part["door"]:
        lines += [*costs(rows), ""]
    if by_part["unmarked"]:
        lines += [*alarms(by_part["unmarked"]), ""]
    text = "\n".join(lines)
    (out / "table.md").write_text(text)
    print(text)
