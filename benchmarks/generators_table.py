"""Tables and plots of benchmarks.generators, from its raw log alone."""

from collections import defaultdict
from pathlib import Path
from typing import Any

from packshot.core.runs import read_jsonl

ROOT = Path(__file__).parents[1]
PLOT = ROOT / "docs" / "benchmarks"
MARGIN = 1.5
"""Of the axis of time, as a factor on both sides."""
Row = dict[str, Any]


def latest_rows(rows: list[Row]) -> list[Row]:
    """Returns the last row of each competitor at each budget, failures only where nothing was measured since."""
    kept: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        key = (row["data"], row["photos"], row["name"], row["budget"])
        if row.get("fd") is not None or kept.get(key, {}).get("fd") is None:
            kept[key] = row
    return list(kept.values())


def groups(rows: list[Row]) -> dict[tuple[str, int], list[Row]]:
    """Returns the rows of each data set and number of photos, most photos first."""
    out: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in latest_rows(rows):
        out[row["data"], row["photos"]].append(row)
    return dict(sorted(out.items(), key=lambda item: (item[0][0], -item[0][1])))


def best_peer(rows: list[Row]) -> Row | None:
    """Returns the last row of the peer whose distance after its largest budget is the smallest."""
    last: dict[str, Row] = {}
    for row in rows:
        if row["peer"] and row.get("fd") is not None and row["budget"] >= last.get(row["name"], row)["budget"]:
            last[row["name"]] = row
    return min(last.values(), key=lambda row: row["fd"], default=None)


def reach(rows: list[Row], name: str, distance: float) -> float | None:
    """Returns the CPU-seconds of a competitor's first measurement at or below a distance, None where there is none."""
    good = (r["cpu_seconds"] for r in rows if r["name"] == name and r.get("fd") is not None and r["fd"] <= distance)
    return min(good, default=None)


def number(distance: float) -> str:
    """Returns a distance as text: a Frechet distance without decimals, a KID with one."""
    return f"{distance:,.0f}" if distance >= 100 else f"{distance:.1f}"


def make_table(rows: list[Row]) -> str:
    """Returns a Markdown table of one group: best distance after the largest budget first, failures last."""
    lines = [
        "| competitor | CPU-seconds | pictures seen | distance | agreement | peak MiB | what was run |",
        "|---|---|---|---|---|---|---|",
    ]
    order = {}
    for row in rows:
        ends = [(-r["budget"], r["fd"]) for r in rows if r["name"] == row["name"] and r.get("fd") is not None]
        order[row["name"]] = min(ends, default=(0.0, float("inf")))
    for row in sorted(rows, key=lambda r: (order[r["name"]], r["name"], r["budget"])):
        name = row["name"] + (" (peer)" if row["peer"] else "")
        if row.get("fd") is None:
            lines.append(f"| {name} | {row['budget']:.0f} | - | failed | - | - | {row['error']} |")
            continue
        low, high = row.get("fd_interval") or (None, None)
        spread = "" if low is None else f" [{number(low)}, {number(high)}]"
        agreement = "-" if row["agreement"] is None else f"{row['agreement']:.3f}"
        lines.append(
            f"| {name} | {row['cpu_seconds']:.0f} | {row['images']:,} | {number(row['fd'])}{spread} | {agreement} "
            f"| {row['peak_mib']:.0f} | {row['what']} |"
        )
    return "\n".join(lines)


def make_ratios(rows: list[Row]) -> list[str]:
    """Returns, for each of Packshot's competitors, when it is as good as the best peer is at its end."""
    peer = best_peer(rows)
    if peer is None:
        return ["No peer was measured, so there is nothing to compare with."]
    end, goal = peer["cpu_seconds"], peer["fd"]
    lines = [f"The best peer's last score: {peer['name']}, {number(goal)} after {end:.0f} CPU-seconds."]
    own = {row["name"] for row in rows if not row["peer"] and row.get("fd") is not None}
    for name in sorted(own, key=lambda n: (reach(rows, n, goal) or float("inf"), n)):
        seconds = reach(rows, name, goal)
        if seconds is None:
            best = min(r["fd"] for r in rows if r["name"] == name and r.get("fd") is not None)
            lines.append(f"Packshot's {name} does not reach it ({number(best)} at its best).")
        else:
            lines.append(
                f"Packshot's {name} reaches the best peer's last score after {seconds:.0f} CPU-seconds "
                f"({seconds / end:.2f} of the peer's)."
            )
    return lines


def make_plot(rows: list[Row], title: str, path: Path) -> None:
    """Writes distance against CPU-seconds, both on logarithmic axes, as a PNG; peers are dashed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    measured = [row for row in rows if row.get("fd") is not None]
    figure, axes = pyplot.subplots(figsize=(9, 5.5), layout="constrained")
    markers = "osD^vP*X"
    for i, name in enumerate(dict.fromkeys(row["name"] for row in measured)):
        own = sorted((r["cpu_seconds"], r["fd"], r["peer"]) for r in measured if r["name"] == name)
        style = {"linestyle": "--" if own[0][2] else "-", "marker": markers[i % len(markers)], "color": f"C{i % 10}"}
        axes.plot([c for c, _, _ in own], [d for _, d, _ in own], label=name, **style)
    axes.set(xscale="log", yscale="log", xlabel="CPU-seconds of training", ylabel=measured[0]["yardstick"], title=title)
    # Where all had the same time, the axis would be their last seconds.
    spent = [r["cpu_seconds"] for r in measured]
    axes.set_xlim(min(spent) / MARGIN, max(spent) * MARGIN)
    axes.grid(which="both", alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def print_tables(raw: Path, plots: Path) -> None:
    """Prints table and ratios of every data set and number of photos in a raw log, and draws a plot of each."""
    rows = read_jsonl(raw)
    if not rows:
        print(f"{raw} holds no measurements yet.")
    for (data, photos), group in groups(rows).items():
        yardstick = next((row["yardstick"] for row in group if row.get("fd") is not None), "distance")
        title = f"{data}, {photos:,} photos"
        print(f"\n{title}, {yardstick}\n\n{make_table(group)}\n")
        print("\n".join(make_ratios(group)))
        if any(row.get("fd") is not None for row in group):
            path = plots / f"generators-{data}-{photos}.png"
            make_plot(group, f"{title}: {yardstick}", path)
            print(f"Plot: {path}")
