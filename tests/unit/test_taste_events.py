"""Event files: formats, columns, times, kinds."""

import gzip
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packshot.core.errors import PackshotError, UsageError
from packshot.taste import lines
from packshot.taste.events import ALIASES, KIND_WORDS, event_files, find_columns, read_events, to_kinds
from packshot.taste.interactions import KINDS
from packshot.taste.times import to_milliseconds

NEEDED = ("user", "product", "kind", "time")
ROWS = [("ann", "a1", "view", "2024-05-01T10:00:00Z"), ("bob", "b2", "purchase", "2024-05-02T11:30:00Z")]
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2199, 1, 1))


def read(path: Path, **own: str) -> tuple[list[tuple], int]:
    """Returns the rows of a file, and how many were damaged."""
    rows, damaged = [], 0
    for found, kind in event_files([path]):
        for batch in read_events(found, kind, own, NEEDED):
            rows += list(zip(*(batch.columns[f].to_pylist() for f in NEEDED), strict=True))
            damaged += len(batch.bad)
    return rows, damaged


@pytest.mark.parametrize(
    "ending", ["csv", "tsv", "csv.gz", "jsonl", "jsonl.gz", "parquet", "semicolon.csv", "utf16.csv"]
)
def test_all_formats_say_the_same(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"events.{ending}"
    if "json" in ending:
        data = "\n".join(json.dumps(dict(zip(NEEDED, row, strict=True))) for row in ROWS).encode()
    elif ending == "parquet":
        pq.write_table(pa.table(dict(zip(NEEDED, zip(*ROWS, strict=True), strict=True))), path)
        data = path.read_bytes()
    else:
        mark = "\t" if ending == "tsv" else ";" if "semicolon" in ending else ","
        text = "\r\n".join(mark.join(row) for row in [NEEDED, *ROWS])
        data = text.encode("utf-16" if "utf16" in ending else "utf-8-sig")
    path.write_bytes(gzip.compress(data) if ending.endswith("gz") else data)
    assert read(path) == (ROWS, 0)


def test_columns_by_their_usual_names_and_by_ones_that_are_said(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("Customer-ID,SKU,Event Type,Timestamp,kunde\nx,a1,view,1714557600,y\n")
    assert read(path)[0] == [("x", "a1", "view", "1714557600")]
    assert read(path, user="kunde")[0] == [("y", "a1", "view", "1714557600")]
    with pytest.raises(UsageError, match=r"has no column 'kund'\. Did you mean 'kunde'"):
        read(path, user="kund")
    with pytest.raises(UsageError, match="Unknown field 'usr'"):
        read(path, usr="kunde")
    with pytest.raises(UsageError, match=r"no column for the kind.*--column kind=NAME.*--kind view"):
        find_columns(["user", "item", "ts"], {}, NEEDED, path)


def test_every_alias_finds_its_field() -> None:
    for field, aliases in ALIASES.items():
        for alias in aliases:
            assert find_columns([alias.upper().replace("_", " ")], {}, [], Path("x"))[field]


def test_damaged_rows_are_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    rows_of_it = [
        b"user,product,kind,time",
        b"ann,a1,view,2024-05-01",
        b"too,few",
        b"a,b,c,d,e",
        b"\xff\xfe,a1,view,2024-05-01",
    ]
    path.write_bytes(b"\n".join(rows_of_it) + b"\n")
    rows, damaged = read(path)
    assert damaged == 2
    assert rows == [("ann", "a1", "view", "2024-05-01"), (None, "a1", "view", "2024-05-01")]
    path = tmp_path / "events.jsonl"
    path.write_text('{"user": 7, "product": 1.0, "kind": "view", "time": 1e9}\nnonsense\n[1]\n\n{"user": {"a": 1}}\n')
    rows, damaged = read(path)
    assert damaged == 2
    assert rows == [("7", "1", "view", "1000000000"), (None, None, None, None)]


def told(path: Path, **own: str) -> tuple[list[tuple], list[tuple[int, str]]]:
    """Returns (line, user) of each row of a file, and the lines that are no rows with what is wrong."""
    rows, bad = [], []
    for found, kind in event_files([path]):
        for batch in read_events(found, kind, own, NEEDED):
            rows += list(zip(batch.lines.tolist(), batch.columns["user"].to_pylist(), strict=True))
            bad += batch.bad
    return rows, bad


def test_a_quotation_mark_that_is_never_closed_costs_its_own_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "BLOCK", 4000)  # Many blocks.
    good = [f"u{i},a1,view,2024-05-01,plain" for i in range(1000)]
    path = tmp_path / "events.csv"
    for place, slip in ((5, 'x,"a1,view,2024-05-01,plain'), (700, '"x,a1,view,2024-05-01,plain'), (999, 'x,a1,"view')):
        rows = [*good[:place], slip, *good[place:]]
        path.write_text("\n".join(["user,product,kind,time,note", *rows]) + "\n")
        found, bad = told(path)
        assert bad == [(place + 2, "a quotation mark is opened and not closed")]
        assert found == [(i + 2 + (i >= place), f"u{i}") for i in range(1000)]


def test_lines_are_those_of_the_file_however_its_cells_are_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    text, starts, bad, line = ["user,product,kind,time,note"], [], [], 2
    for i in range(800):
        kind = rng.integers(6)
        note = ['"one\n\n""two"" and\nthree"', "plain", '5" heel', '"a, b"', "", "bad"][kind]
        if kind == 4:
            text.append("")  # An empty line is no row.
            line += 1
        row = f"u{i},bad" if kind == 5 else f"u{i},a1,view,2024-05-01,{note}"
        (bad if kind == 5 else starts).append((line, f"u{i}"))
        text.append(row)
        line += row.count("\n") + 1
    path = tmp_path / "events.csv"
    for block in (50, 900, 10**6):
        monkeypatch.setattr(lines, "BLOCK", block)
        for end in ("\n", "\r\n"):
            path.write_bytes((end.join(text)).encode())
            found, wrong = told(path)
            assert found == starts
            assert wrong == [(number, "it has 2 columns, the first line 5") for number, _ in bad]
    path.write_text("\n".join(text), "utf-16")
    assert told(path) == (starts, [(number, "it has 2 columns, the first line 5") for number, _ in bad])


def test_a_consent_that_comes_late_or_cannot_be_read_counts(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    row = {"product": "a1", "event": "view", "time": 1}
    rows = [{"user": "a"}, {"user": "b", "consent": "none"}, {"consent": ["rank"], "user": "c"}]
    rows += [{"user": "d", "consent": {"rank": True}}, {"user": "e", "consent": None}]
    path.write_text("\n".join(json.dumps(row | one) for one in rows))
    (batch,) = read_events(path, "json", {}, NEEDED)
    assert batch.columns["consent"].to_pylist() == [None, "none", "rank", "unreadable", None]
    assert batch.names["consent"] == "consent" and batch.lines.tolist() == [1, 2, 3, 4, 5]
    path.write_text(path.read_text().replace("user", "kunde", 3))
    named = {"user": "kunde"}
    (batch,) = read_events(path, "json", named, NEEDED)  # Another column does not stand in for one that was named.
    assert batch.columns["user"].to_pylist() == ["a", "b", "c", None, None]
    with pytest.raises(UsageError, match="no column 'kunde'"):
        path.write_text(path.read_text().replace("kunde", "user"))
        list(read_events(path, "json", named, NEEDED))
    for text in ('[{"user": "a"}]', "\n [\n{}]"):
        path.write_text(text)
        with pytest.raises(PackshotError, match=r"is one JSON array; .*jq -c '\.\[\]' events\.jsonl"):
            list(read_events(path, "json", {}, NEEDED))


def test_parquet_of_numbers(tmp_path: Path) -> None:
    path = tmp_path / "e.parquet"
    table = {"user": pa.array([1.0, None, 3.5]), "item": pa.array([10, 11, 12]), "event": pa.array(["view"] * 3)}
    time = pa.array([datetime(2024, 5, 1)] * 3, pa.timestamp("us"))
    pq.write_table(pa.table({**table, "event": table["event"].dictionary_encode(), "ts": time}), path)
    rows, _ = read(path)
    assert [row[:3] for row in rows] == [("1", "10", "view"), (None, "11", "view"), (None, "12", "view")]
    (batch,) = read_events(path, "parquet", {}, NEEDED)
    assert batch.lines.tolist() == [1, 2, 3] and batch.names["time"] == "ts"
    pq.write_table(pa.table({**table, "ts": pa.array([timedelta(days=1)] * 3)}), path)
    with pytest.raises(UsageError, match="which is no date"):
        read(path)


def test_what_is_no_event_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no file"):
        event_files([tmp_path / "nothing.csv"])
    (tmp_path / "a.pdf").write_bytes(b"")
    with pytest.raises(UsageError, match=r"a\.pdf is no event file that is known"):
        event_files([tmp_path / "a.pdf"])
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/.hidden.csv").write_bytes(b"\0")
    with pytest.raises(UsageError, match="holds no event files"):
        event_files([tmp_path / "empty"])
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(PackshotError, match=r"cut\.parquet cannot be read"):
        read(tmp_path / "cut.parquet")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"user,product,kind,time\na,b,view,1\n" * 999)[:40])
    with pytest.raises(PackshotError, match="cannot be read"):
        read(tmp_path / "cut.csv.gz")
    rows = "".join(f"u{i},b,view,{i * 7919}\n" for i in range(99_999))
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(f"user,product,kind,time\n{rows}".encode())[:-9999])
    with pytest.raises(PackshotError, match="cannot be read"):
        read(tmp_path / "cut.csv.gz")
    (tmp_path / "head.csv").write_text("user,product,kind,time\n")
    assert read(tmp_path / "head.csv") == ([], 0)
    (tmp_path / "twice.csv").write_text("user,user,product,kind,time\n")
    with pytest.raises(PackshotError, match="two columns named 'user'"):
        read(tmp_path / "twice.csv")


def test_words_for_kinds() -> None:
    assert to_kinds(["Add to cart", "PURCHASE", "page-view", "refund", "not_interested", "share", None]) == [
        *("cart", "purchase", "view", "return", "hide"),
        None,
        None,
    ]
    assert to_kinds(["Order Completed", "ViewContent", "AddToWishlist", "remove_from_cart"]) == [
        *("purchase", "view", "cart"),
        None,
    ]
    words = [word for words in KIND_WORDS.values() for word in words]
    assert set(KIND_WORDS) == set(KINDS) and len(set(words)) == len(words)


@given(st.lists(MOMENTS, min_size=1, max_size=20), st.integers(-14, 14))
def test_times_are_what_datetime_says(moments: list[datetime], hours: int) -> None:
    zone = timezone(timedelta(hours=hours))
    expected = [int(m.replace(tzinfo=UTC).timestamp() * 1000 // 1) for m in moments]
    exact = [round((m - datetime(1970, 1, 1)) / timedelta(microseconds=1)) // 1000 for m in moments]
    assert all(abs(a - b) <= 1 for a, b in zip(expected, exact, strict=True))
    written = [m.replace(tzinfo=UTC).astimezone(zone).isoformat() for m in moments]
    naive = [m.isoformat(" ") for m in moments]
    for values in (pa.array(written), pa.array(naive), pa.array(moments, pa.timestamp("us"))):
        ms, good = to_milliseconds(values)
        assert good.all() and ms.tolist() == exact


def test_times_in_other_spellings_and_what_is_none() -> None:
    words = ["1714557600", "1714557600000", "1714557600000000", "1714557600.5", "2024-05-01", "20240501T100000Z"]
    words += ["2024-05-01 10:00:00 UTC", "2024-02-31", "soon", "", None, "99999999999999999999999"]
    ms, good = to_milliseconds(pa.array(words))
    may = 1714557600000
    assert ms[:7].tolist() == [may, may, may, may + 500, may - 10 * 3_600_000, may, may]
    assert good.tolist() == [True] * 7 + [False] * 5
    ms, good = to_milliseconds(pa.array([1714557600, None, 1714557600123]))
    assert ms[good].tolist() == [may, may + 123] and good.tolist() == [True, False, True]
