"""Event files of any shop: CSV, TSV, JSON Lines, Parquet, also gzipped; read in batches, so that memory stays flat."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packshot.catalog.readers.lists import MARKS, plain
from packshot.core.errors import PackshotError, UsageError, lookup, suggest
from packshot.core.files import disk_errors

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
    "view": ("view", "viewed", "click", "clicked", "page_view", "pageview", "product_view", "view_item", "pv"),
    "cart": ("cart", "add_to_cart", "addtocart", "added_to_cart", "basket", "wishlist", "favourite", "favorite", "fav"),
    "purchase": ("purchase", "purchased", "buy", "bought", "order", "ordered", "transaction", "sale", "checkout"),
    "return": ("return", "returned", "refund", "refunded", "sent_back"),
    "hide": ("hide", "hidden", "dislike", "disliked", "not_interested", "block"),
}  # fmt: skip
"""Words for a kind, as `plain` writes them."""

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
BLOCK, ROWS = 8 * 2**20, 65_536
LINE = 2**20


@dataclass(frozen=True, eq=False)
class Batch:
    """Some rows of a file.

    Attributes:
        columns: Arrow arrays of equal length by field: strings, or for `time` also numbers or timestamps. Null: what
            could not be read.
        damaged: rows before or among these that are no rows at all and are not in `columns`.
    """

    columns: dict[str, Any]
    damaged: int = 0


def event_files(paths: Sequence[Path]) -> list[tuple[Path, str]]:
    """Returns the files, each with its format; of a folder all files of known formats, by name.

    Raises:
        UsageError: there is no such file, or a file of another format.
    """
    out: list[tuple[Path, str]] = []
    for path in paths:
        with disk_errors(path):
            if path.is_dir():
                inside = [p for p in sorted(path.rglob("*")) if p.is_file() and _format(p)]
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
        except (pa.ArrowException, gzip.BadGzipFile, EOFError, UnicodeError) as e:
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


def _opened(path: Path) -> Any:
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")


def _read_csv(path: Path, own: Mapping[str, str], needed: Sequence[str]) -> Iterator[Batch]:
    import pyarrow as pa
    from pyarrow import csv as table

    with _opened(path) as f:
        start = f.readline(LINE)
    encoding = next((name for mark, name in MARKS.items() if start.startswith(mark)), "utf-8")
    if encoding == "utf-16":
        with io.TextIOWrapper(_opened(path), encoding="utf-16") as text:
            header = text.readline(LINE)
    else:
        header = start.decode("utf-8-sig", errors="replace")
    delimiter = max("\t,;|", key=header.count)
    names = [n.strip() for n in next(csv.reader([header.rstrip("\r\n")], delimiter=delimiter), [])]
    if len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise PackshotError(f"{path} has two columns named '{twice}'; rename one.")
    columns = find_columns(names, own, needed, path)
    bad = 0

    def skip(_: Any) -> str:
        nonlocal bad
        bad += 1
        return "skip"

    # As bytes: one word that is no text must not end the whole file.
    convert = table.ConvertOptions(
        include_columns=list(columns.values()),
        column_types={name: pa.binary() for name in columns.values()},
        check_utf8=False,
        strings_can_be_null=False,
    )
    read = table.ReadOptions(
        block_size=BLOCK, encoding="utf-16" if encoding == "utf-16" else "utf8", column_names=names, skip_rows=1
    )
    parse = table.ParseOptions(delimiter=delimiter, invalid_row_handler=skip)
    with pa.input_stream(str(path), compression="detect") as stream:
        try:
            rows = table.open_csv(stream, read_options=read, parse_options=parse, convert_options=convert)
        except pa.ArrowInvalid as e:
            if "mpty" in str(e):  # A header and no row.
                return
            raise
        for batch in rows:
            found = {field: _text(batch.column(name)) for field, name in columns.items()}
            yield Batch(found, bad)
            bad = 0
    if bad:
        yield Batch({field: pa.array([], pa.string()) for field in columns}, bad)


def _text(values: Any) -> Any:
    """Returns an Arrow array of bytes as text; what is no UTF-8 is null."""
    import pyarrow as pa

    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([_decoded(v) for v in values.to_pylist()], pa.string())


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _read_json(path: Path, own: Mapping[str, str], needed: Sequence[str]) -> Iterator[Batch]:
    import pyarrow as pa

    columns: dict[str, str] = {}
    cells: dict[str, list[str | None]] = {}
    bad, count = 0, 0
    with _opened(path) as f:
        for line in f:
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                bad += 1
                continue
            if not columns:  # The first good row says which columns there are.
                columns = find_columns(list(row), own, needed, path)
                cells = {field: [] for field in columns}
            for field, name in columns.items():
                cells[field].append(_plain_value(row.get(name)))
            count += 1
            if count == ROWS:
                yield Batch({field: pa.array(values, pa.string()) for field, values in cells.items()}, bad)
                cells, bad, count = {field: [] for field in columns}, 0, 0
    if count or bad:
        fields = columns or dict.fromkeys(needed)
        yield Batch({field: pa.array(cells.get(field, []), pa.string()) for field in fields}, bad)


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
        for batch in file.iter_batches(batch_size=ROWS, columns=list(dict.fromkeys(columns.values()))):
            yield Batch({field: _of_parquet(batch.column(name), field) for field, name in columns.items()})


def _of_parquet(values: pa.Array, field: str) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type
    if pa.types.is_dictionary(kind):
        values = values.dictionary_decode()
        kind = values.type
    if field == "time" and (pa.types.is_temporal(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return values
    if pa.types.is_floating(kind):  # Ids of a table that had gaps: 12.0 is 12.
        whole = pc.and_(pc.equal(pc.floor(values), values), pc.less(pc.abs(values), 2.0**53))
        values = pc.if_else(pc.fill_null(whole, False), values, None).cast(pa.int64())
        return values.cast(pa.string())
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return _text(values.cast(pa.binary()))
    if pa.types.is_nested(kind):
        return pa.array([_plain_value(v) for v in values.to_pylist()], pa.string())
    return values.cast(pa.string())
