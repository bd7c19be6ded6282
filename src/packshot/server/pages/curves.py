"""Curves of a training as SVG made here: paths and labels for a template, and the same numbers as a table.

No script draws them and no style is written into them, so they are there before anything else runs, and print.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 320, 150
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 8, 22
MOST_POINTS = 160
MOST_ROWS = 12
SMOOTH = 0.06
"""Share of the rows over which the strong line is averaged."""


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A line of the grid, or a number below it.

    Attributes:
        at: x or y, in the drawing's units.
        text: the number.
    """

    at: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One curve.

    Attributes:
        name: of what it shows, as the log names it.
        path: points of the smoothed line, for `polyline`.
        raw: points of every row that is drawn.
        end: the last point (x, y).
        last: the last value, as text.
        low, high: least and largest value, as text.
        x_ticks, y_ticks: of the grid.
        rows: (thousands of pictures, value) at some places, for the table.
        count: values that there are.
    """

    name: str
    path: str
    raw: str
    end: tuple[float, float]
    last: str
    low: str
    high: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    rows: tuple[tuple[str, str], ...]
    count: int


def make_chart(name: str, points: Sequence[tuple[float, float]], smooth: float = SMOOTH) -> Chart | None:
    """Returns the chart of (x, y) points in order of x; None where fewer than two are finite.

    Args:
        name: of what it shows.
        points: values that are not finite are left out.
        smooth: share of the points that the strong line is averaged over; 0: none.
    """
    good = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    if len(good) < 2:
        return None
    even = _averaged(good, max(1, round(smooth * len(good))))
    xs, ys = [x for x, _ in good], [y for _, y in good]
    x_low, x_high = min(xs), max(xs)
    y_low, y_high = _span(ys)
    y_ticks = _ticks(y_low, y_high, 4)
    y_low, y_high = min(y_low, y_ticks[0]), max(y_high, y_ticks[-1])

    def place(x: float, y: float) -> tuple[float, float]:
        across = 0.5 if x_high == x_low else (x - x_low) / (x_high - x_low)
        up = (min(max(y, y_low), y_high) - y_low) / (y_high - y_low)
        return (
            round(LEFT + across * (WIDTH - LEFT - RIGHT), 1),
            round(HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM), 1),
        )

    def line(some: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{x},{y}" for x, y in (place(*p) for p in _thinned(some, MOST_POINTS)))

    x_ticks = [t for t in _ticks(x_low, x_high, 4) if x_low <= t <= x_high]
    return Chart(
        name=name,
        path=line(even),
        raw=line(good),
        end=place(*even[-1]),
        last=short(even[-1][1]),
        low=short(min(ys)),
        high=short(max(ys)),
        x_ticks=tuple(Tick(at=place(t, y_low)[0], text=short(t)) for t in x_ticks),
        y_ticks=tuple(Tick(at=place(x_low, t)[1], text=short(t)) for t in y_ticks),
        rows=tuple((short(x), short(y)) for x, y in _thinned(even, MOST_ROWS)),
        count=len(good),
    )


def charts_of(log: Sequence[Mapping[str, Any]], metrics: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Returns the charts of a run's log.jsonl and metrics.jsonl over thousands of pictures: figures, losses, speed."""
    out = []
    for rows, left_out, smooth in ((metrics, FIGURES_LEFT_OUT, 0.0), (log, LOG_LEFT_OUT, SMOOTH)):
        names = dict.fromkeys(k for row in rows for k, v in row.items() if k not in left_out and _is_number(v))
        for name in sorted(names, key=lambda n: n == "img_per_s"):  # The speed comes last.
            if name == "value":
                continue
            points = [
                (float(r["kimg"]), float(r[name]))
                for r in rows
                if _is_number(r.get("kimg")) and _is_number(r.get(name))
            ]
            out.append(make_chart(name, points, smooth))
        values = [
            (float(r["kimg"]), float(r["value"]))
            for r in rows
            if _is_number(r.get("kimg")) and _is_number(r.get("value"))
        ]
        if values:
            out.insert(0, make_chart(str(rows[-1].get("name", "value")), values, smooth))
    return [chart for chart in out if chart is not None]


LOG_LEFT_OUT = ("step", "kimg", "seconds", "cpu_seconds", "value")
FIGURES_LEFT_OUT = ("step", "kimg", "n", "n_real", "seed", "low", "high", "blocks")


def short(value: float) -> str:
    """Returns a number with three digits that count."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) < 0.001:
        return f"{value:.1e}"
    return f"{value:.3g}"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _averaged(points: Sequence[tuple[float, float]], width: int) -> list[tuple[float, float]]:
    """Returns each point with the mean of the last `width` values."""
    out, total = [], 0.0
    for i, (x, y) in enumerate(points):
        total += y
        if i >= width:
            total -= points[i - width][1]
        out.append((x, total / min(i + 1, width)))
    return out


def _thinned(points: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """Returns at most `most` of the points, evenly chosen, with the first and the last."""
    if len(points) <= most:
        return list(points)
    return [points[round(i * (len(points) - 1) / (most - 1))] for i in range(most)]


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Returns the range that is drawn: what a few outliers at the start would flatten is cut at the top."""
    ordered = sorted(values)
    low, high = ordered[0], ordered[-1]
    if len(ordered) >= 50:
        body = ordered[int(0.98 * (len(ordered) - 1))]
        if high - low > 3 * (body - low) > 0:
            high = body
    if high == low:
        pad = abs(high) * 0.1 or 1.0
        return low - pad, high + pad
    return low, high


def _ticks(low: float, high: float, count: int) -> list[float]:
    """Returns round numbers about `count` of which span low .. high."""
    raw = (high - low) / max(1, count - 1) or 1.0
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]
