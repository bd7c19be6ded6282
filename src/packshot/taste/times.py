"""Times of events, however a shop writes them, as milliseconds since 1970 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

DAY_MS = 86_400_000
OLDEST_MS = 946_684_800_000
"""1 January 2000: a shop's events are not older; a clock that was never set says 1970."""
MS_FROM, US_FROM, NS_FROM = 1e11, 1e14, 1e17
"""From these sizes on a number counts milliseconds, microseconds, nanoseconds; below, seconds."""

NUMBER = r"^[+-]?\d+(\.\d+)?$"
DAY = r"^\d{4}-\d\d-\d\d"
CLOCK = r"[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?"
NAIVE = f"{DAY}({CLOCK})?$"
ZONED = f"{DAY}{CLOCK}(Z|[+-]\\d\\d:\\d\\d)$"


def to_milliseconds(values: Any) -> tuple[Times, Bools]:
    """Returns (ms int64 [n], readable bool [n]) of an Arrow array of text, numbers, dates or timestamps.

    Text is ISO 8601 or a number; what names no zone is UTC.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        ms = values.cast(pa.timestamp("ms", tz=getattr(kind, "tz", None)), safe=False).cast(pa.int64())
        good = pc.is_valid(values).to_numpy(zero_copy_only=False)
        return pc.fill_null(ms, 0).to_numpy(zero_copy_only=False).astype(np.int64), good
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _of_numbers(values.cast(pa.float64(), safe=False))
    ms, good = np.zeros(len(values), np.int64), np.zeros(len(values), bool)
    text = pc.utf8_trim_whitespace(values)
    rest = pc.is_valid(text).to_numpy(zero_copy_only=False)
    for pattern, read in ((NUMBER, _numbers), (ZONED, _zoned), (NAIVE, _naive)):
        if not rest.any():
            break
        fits = pc.fill_null(pc.match_substring_regex(text, pattern), False).to_numpy(zero_copy_only=False) & rest
        if fits.any():
            ms[fits], good[fits] = read(text.filter(pa.array(fits)))
            rest &= ~fits
    if rest.any():
        ms[rest], good[rest] = _one_by_one(text.filter(pa.array(rest)))
    return ms, good


def _numbers(text: Any) -> tuple[Times, Bools]:
    import pyarrow as pa

    return _of_numbers(text.cast(pa.float64()))


def _of_numbers(values: Any) -> tuple[Times, Bools]:
    x = values.to_numpy(zero_copy_only=False).astype(np.float64)
    size = np.abs(x)
    factor = np.select([size < MS_FROM, size < US_FROM, size < NS_FROM], [1e3, 1.0, 1e-3], 1e-6)
    good = np.isfinite(x) & (size < 1e20)
    return np.rint(np.where(good, x * factor, 0)).astype(np.int64), good


def _zoned(text: Any) -> tuple[Times, Bools]:
    import pyarrow as pa

    return _cast(text, pa.timestamp("us", tz="UTC"))


def _naive(text: Any) -> tuple[Times, Bools]:
    import pyarrow as pa

    return _cast(text, pa.timestamp("us"))


def _cast(text: Any, kind: Any) -> tuple[Times, Bools]:
    """Reads all of them at once, or, where one is no day of the calendar, one by one."""
    import pyarrow as pa

    try:
        us = text.cast(kind).cast(pa.int64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        return _one_by_one(text)
    return us // 1000, np.ones(len(us), bool)


def _one_by_one(text: Any) -> tuple[Times, Bools]:
    ms, good = np.zeros(len(text), np.int64), np.zeros(len(text), bool)
    for row, value in enumerate(text.to_pylist()):
        try:
            time = datetime.fromisoformat(value.removesuffix(" UTC"))
            time = time.replace(tzinfo=UTC) if time.tzinfo is None else time
            ms[row], good[row] = int(np.floor(time.timestamp() * 1000)), True
        except (ValueError, OverflowError):
            pass
    return ms, good
