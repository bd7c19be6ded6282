"""Event files of any shop: CSV, TSV, JSON Lines, Parquet, also gzipped; read in batches, so that memory stays flat."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from packshot.catalog.readers.lists import plain
from packshot.core.errors import PackshotError, UsageError, lookup, suggest
from packshot.core.files import disk_errors
from packshot.taste.lines import Batch, opened, read_lines, to_text

if TYPE_CHECKING:
    import pyarrow as pa

ALIASES: dict[str, tuple[str, ...]] = {
    "user": (
        "user", "user_id", "userid", "customer", "customer_id", "customerid", "shopper", "shopper_id", "visitor",
        "visitor_id", "visitorid", "client_id", "session", "session_id", "member_id", "reviewerid", "uid",
    ),
    "product": (
        "product", "product_id", "productid", "item", "item_id", "itemid", "sku", "article", "article_id", "asin",
        "ean", "gtin", "handle", "photo_id", "pid",
    ),
    "kind": ("kind", "event", "event_type", "event_name", "eventtype", "action", "type", "interaction", "behavior"),
    "time": (
        "time", "timestamp", "ts", "date", "datetime", "event_time", "created_at", "t_dat", "occurred_at",
        "unixreviewtime", "event_timestamp",
    ),
    "consent": ("consent", "consents", "consent_scope", "scopes", "permission", "opt_in"),
}  # fmt: skip
"""Names of columns, as `plain` writes them; the first that is there is taken."""

KIND_WORDS: dict[str, tuple[str, ...]] = {
    "view": (
        "view", "viewed", "click", "clicked", "page_view", "pageview", "product_view", "view_item", "pv", "select_item",
        "product_viewed", "product_clicked", "view_content", "viewcontent", "detail", "detail_view",
    ),
    "cart": (
        "cart", "add_to_cart", "addtocart", "added_to_cart", "product_added", "basket", "add_to_basket", "wishlist",
        "add_to_wishlist", "addtowishlist", "product_added_to_wishlist", "favourite", "favorite", "fav",
    ),
    "purchase": (
        "purchase", "purchased", "buy", "bought", "order", "ordered", "transaction", "sale", "checkout",
        "order_completed", "order_placed", "checkout_completed", "product_purchased",
    ),
    "return": ("return", "returned", "refund", "refunded", "sent_back", "order_refunded", "product_returned"),
    "hide": ("hide", "hidden", "dislike", "disliked", "not_interested", "block"),
}  # fmt: skip
"""Words for a kind, as `plain` writes them; those of usual shops and of what counts their visits."""

SUFFIXES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".txt": "csv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
}
ROWS = 65_536
UNREADABLE = "unreadable"
"""In place of a consent that is there and cannot be read: a word that consents to nothing."""


def event_files(paths: Sequence[Path]) -> list[tuple[Path, str]]:
    """Returns the files, each with its format; of a folder all files of known formats, by name.

    Raises:
        UsageError: there is no such file, or a file of another format.
    """
    out: list[tuple[Path, str]] = []
    for path in paths:
        with disk_errors(path):
            if path.is_dir():
                # Hidden files are no exports: some systems keep one beside each file, of the same ending.
                inside = [p for p in sorted(path.rglob("*")) if p.name[0] != "." and p.is_file() and _format(p)]
                if not inside:
                    raise UsageError(f"{path} holds no event files; these are {', '.join(SUFFIXES)}, also with .gz.")
                out += [(p, _format(p)) for p in inside]
                continue
            if not path.is_file():
                raise UsageError(f"There is no file {path}.")
        if not _format(path):
            raise UsageError(f"{path.name} is no event file that is known; these are {', '.join(SUFFIXES)}.")
        out.append((path, _format(path)))
    return out


def read_events(path: Path, kind: str, own: Mapping[str, str], needed: Sequence[str]) -> Iterator[Batch]:
    """Yields the rows of a file in batches.

    Args:
        path: the file.
        kind: its format, as `event_files` says it.
        own: by field, the name of its column where it is no usual one.
        needed: fields without which there is nothing to read.

    Raises:
        UsageError: a column that was named, or one that is needed, is not there.
        PackshotError: the file as a whole cannot be read.
    """
    import pyarrow as pa

    for field in own:
        lookup("field", field, ALIASES)
    reader = {"csv": _read_csv, "json": _read_json, "parquet": _read_parquet}[kind]
    with disk_errors(path):
        try:
            yield from reader(path, own, needed)
        except (pa.ArrowException, gzip.BadGzipFile, zlib.error, EOFError, UnicodeError, csv.Error) as e:
            raise PackshotError(f"{path} cannot be read: {str(e).splitlines()[0]}; export it again.") from e


def find_columns(names: Sequence[str], own: Mapping[str, str], needed: Sequence[str], path: Path) -> dict[str, str]:
    """Returns the column of each field that is there.

    Raises:
        UsageError: one that was named or is needed is not.
    """
    plainly: dict[str, str] = {}
    for name in names:
        plainly.setdefault(plain(name), name)
    out = {}
    for field, aliases in ALIASES.items():
        if field in own:
            if own[field] not in names:
                raise UsageError(f"{path.name} has no column '{own[field]}'.{suggest(own[field], names)}")
            out[field] = own[field]
        elif found := next((plainly[a] for a in aliases if a in plainly), None):
            out[field] = found
    for field in needed:
        if field not in out:
            hint = " Or say --kind view, if all its events are of one kind." if field == "kind" else ""
            raise UsageError(
                f"{path.name} has no column for the {field}; its columns are {', '.join(names) or 'none'}. "
                f"Say which one it is, for example --column {field}=NAME.{hint}"
            )
    return out


def to_kinds(values: Any) -> list[str | None]:
    """Returns what each of some words means, a name of `interactions.KINDS`, or None."""
    meaning = {word: kind for kind, words in KIND_WORDS.items() for word in words}
    return [None if value is None else meaning.get(plain(value)) for value in values]


def _format(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    return SUFFIXES.get(Path(name).suffix, "")


def _read_csv(path: Path, own: Mapping[str, str], needed: Sequence[str]) -> Iterator[Batch]:
    def find(names: Sequence[str]) -> dict[str, str]:
        if len(set(names)) < len(names):
            twice = next(n for n in names if names.count(n) > 1)
            raise PackshotError(f"{path} has two columns named '{twice}'; rename one.")
        return find_columns(names, own, needed, path)

    return read_lines(path, find)


def _read_json(path: Path, own: Mapping[str, str], needed: Sequence[str]) -> Iterator[Batch]:
    rows = _Rows(path, own, needed)
    with opened(path) as f:
        for number, line in enumerate(f, 1):
            if not line.strip():
                continue
            if not rows.begun and line.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
                raise PackshotError(
                    f"{path} is one JSON array; write each object on a line of its own, for example: "
                    f"jq -c '.[]' {path.name} > {path.stem}.jsonl"
                )
            rows.add(number, line)
            if len(rows.lines) + len(rows.bad) == ROWS:
                yield rows.batch()
    if rows.lines or rows.bad:
        yield rows.batch()


class _Rows:
    """Rows of JSON Lines, each of which may have other columns than the one before: a consent may come late."""

    def __init__(self, path: Path, own: Mapping[str, str], needed: Sequence[str]) -> None:
        self.path, self.own, self.needed, self.begun = path, own, needed, False
        self.columns: dict[tuple[str, ...], dict[str, str]] = {}
        self.names: dict[str, str] = {}
        self._clear()

    def _clear(self) -> None:
        self.cells: dict[str, list[str | None]] = {field: [] for field in ALIASES}
        self.lines: list[int] = []
        self.bad: list[tuple[int, str]] = []

    def add(self, number: int, line: bytes) -> None:
        """Reads one line."""
        self.begun = True
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            self.bad.append((number, "it is no JSON object"))
            return
        there = tuple(row)
        if there not in self.columns:
            if len(self.columns) >= ROWS:
                self.columns.clear()
            own = {field: name for field, name in self.own.items() if name in row}
            found = find_columns(there, own, (), self.path)
            # A row without the column that was named has nothing there: another one must not stand in for it.
            self.columns[there] = {f: name for f, name in found.items() if f in own or f not in self.own}
            self.names = {**self.columns[there], **self.names}
        columns = self.columns[there]
        for field, cells in self.cells.items():
            cells.append(_said(row.get(columns[field]), field) if field in columns else None)
        self.lines.append(number)

    def batch(self) -> Batch:
        """Returns what was read since the last time.

        Raises:
            UsageError: a column that was named, or one that is needed, was in none of the rows.
        """
        import pyarrow as pa

        if self.lines:
            find_columns(list(dict.fromkeys(name for row in self.columns for name in row)), self.own, self.needed,
                         self.path)  # fmt: skip
        columns = {field: pa.array(cells, pa.string()) for field, cells in self.cells.items()}
        out = Batch(columns, np.array(self.lines, np.int64), self.bad, dict(self.names))
        self._clear()
        return out


def _said(value: Any, field: str) -> str | None:
    """Returns a value as text; a consent that cannot be read is none: the shop's default must not stand in for it."""
    text = _plain_value(value)
    return UNREADABLE if text is None and value is not None and field == "consent" else text


def _plain_value(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | list):
        return None if not isinstance(value, bool) else str(value).lower()
    if isinstance(value, list):  # Several scopes of a consent.
        return ",".join(map(str, value)) if all(isinstance(v, str) for v in value) else None
    return repr(int(value)) if float(value).is_integer() else repr(value)


def _read_parquet(path: Path, own: Mapping[str, str], needed: Sequence[str]) -> Iterator[Batch]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        columns = find_columns(file.schema_arrow.names, own, needed, path)
        first = 1
        for batch in file.iter_batches(batch_size=ROWS, columns=list(dict.fromkeys(columns.values()))):
            found = {field: _of_parquet(batch.column(name), field) for field, name in columns.items()}
            yield Batch(found, np.arange(first, first + batch.num_rows), (), columns)
            first += batch.num_rows


def _of_parquet(values: pa.Array, field: str) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type
    if pa.types.is_dictionary(kind):
        values = values.dictionary_decode()
        kind = values.type
    moment = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
    if field == "time" and (moment or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return values
    if field == "time" and pa.types.is_temporal(kind):
        raise UsageError(f"The column of the time holds '{kind}', which is no date; name another, --column time=NAME.")
    if pa.types.is_floating(kind):  # Ids of a table that had gaps: 12.0 is 12.
        whole = pc.and_(pc.equal(pc.floor(values), values), pc.less(pc.abs(values), 2.0**53))
        values = pc.if_else(pc.fill_null(whole, False), values, None).cast(pa.int64())
        return values.cast(pa.string())
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return to_text(values.cast(pa.binary()))
    if pa.types.is_nested(kind):
        return pa.array([_said(v, field) for v in values.to_pylist()], pa.string())
    return values.cast(pa.string())
