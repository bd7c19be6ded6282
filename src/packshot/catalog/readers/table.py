"""A list of photos: CSV, TSV or JSON Lines, its columns matched by name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from packshot.catalog.options import IngestOptions
from packshot.catalog.readers.lists import (
    Locator,
    check_text,
    delimiter_of,
    encoding_of,
    header_of,
    plain,
    read_rows,
)
from packshot.catalog.records import SPLITS, PhotoRecord, Source, parse_price
from packshot.core.errors import PackshotError, UsageError, lookup, suggest
from packshot.core.files import disk_errors

ALIASES: dict[str, tuple[str, ...]] = {
    "image": (
        "image",
        "image_path",
        "image_file",
        "image_name",
        "img",
        "photo",
        "picture",
        "path",
        "file_path",
        "filepath",
        "file",
        "filename",
        "file_name",
        "image_link",
        "image_url",
        "image_src",
        "images",
        "photos",
        "url",
        "src",
    ),
    "product_id": ("product_id", "sku", "id", "item_id", "article_id", "article", "product", "handle", "asin", "ean"),
    "title": ("title", "name", "product_name", "product_title", "productdisplayname", "item_name"),
    "category": (
        "category",
        "product_category",
        "product_type",
        "label",
        "class",
        "type",
        "articletype",
        "google_product_category",
        "subcategory",
    ),
    "price": ("price", "sale_price", "amount"),
    "currency": ("currency", "price_currency"),
    "licence": ("licence", "license", "spdx", "rights"),
    "source": ("source", "origin", "credit", "attribution"),
    "owner": ("owner", "rights_holder", "copyright_holder", "copyright"),
    "consent": ("consent", "model_release"),
    "date": ("date", "photo_date", "date_taken"),
    "split": ("split", "subset", "partition", "fold"),
}
"""The column names by which each field is known, in lower case with underscores; earlier ones win."""


def open_table(path: Path, options: IngestOptions) -> Source:
    """Opens a CSV or TSV list.

    Raises:
        PackshotError: missing, empty, in another encoding, or without a column for the photo.
        UsageError: `options.columns` names an unknown field or column.
    """
    encoding = encoding_of(path, options.encoding)
    check_text(path, encoding)
    delimiter = delimiter_of(path, encoding)
    names = header_of(path, encoding, delimiter)
    columns = match_columns(names, options.columns, str(path))
    total = sum(1 for _ in read_rows(path, encoding, delimiter)) - 1
    rows = (
        (line, _table(names, cells), _row_problem(names, cells))
        for i, (line, cells) in enumerate(read_rows(path, encoding, delimiter))
        if i
    )
    return Source(kind="table", records=_records(rows, lambda _: columns, Locator(path, options)), total=total)


def open_json_lines(path: Path, options: IngestOptions) -> Source:
    """Opens a JSON Lines list: one object per line; its photo may be a list of several.

    Raises:
        PackshotError: missing, empty, or in another encoding.
        UsageError: `options.columns` names an unknown field.
    """
    encoding = encoding_of(path, options.encoding)
    check_text(path, encoding)
    with disk_errors(path), path.open(encoding=encoding) as f:
        total = sum(1 for line in f if line.strip())
    if not total:
        raise PackshotError(f"{path} is empty; a list needs one JSON object per line and photo.")
    for name in options.columns:
        lookup("field", name, ALIASES)

    def columns_of(row: Mapping[str, Any]) -> dict[str, str]:
        wanted = {name: column for name, column in options.columns.items() if column in row}
        return match_columns(list(row), wanted, None)

    return Source(
        kind="jsonl", records=_records(_json_rows(path, encoding), columns_of, Locator(path, options)), total=total
    )


def match_columns(names: list[str], overrides: Mapping[str, str], where: str | None) -> dict[str, str]:
    """Returns the column of each field that has one.

    Args:
        names: the list's columns.
        overrides: columns that the user named, by field.
        where: the list's name for the message; None: a missing photo column is no error.

    Raises:
        PackshotError: there is no column for the photo.
        UsageError: an unknown field or column among `overrides`.
    """
    columns: dict[str, str] = {}
    by_plain = {plain(n): n for n in reversed(names)}
    for field, column in overrides.items():
        lookup("field", field, ALIASES)
        if column not in names:
            raise UsageError(f"{where} has no column '{column}'.{suggest(column, names)} It has: {', '.join(names)}.")
        columns[field] = column
    for field, aliases in ALIASES.items():
        taken = set(columns.values())
        found = next((by_plain[a] for a in aliases if a in by_plain and by_plain[a] not in taken), None)
        if field not in columns and found is not None:
            columns[field] = found
    if "image" not in columns and where is not None:
        raise PackshotError(
            f"{where} has no column for the photo; its columns are {', '.join(names) or 'none'}. "
            "Say which one it is, for example --column image=NAME."
        )
    return columns


def record_of(
    key: str, values: Mapping[str, str | None], extra: Mapping[str, str], locator: Locator, problem: str | None = None
) -> PhotoRecord:
    """Returns the record of one photo of a list.

    Args:
        key: its name in messages.
        values: text by field, those of `ALIASES`; None or empty: not given.
        extra: the row's other columns.
        locator: finds the file.
        problem: a reason found already.
    """
    path = None
    if problem is None:
        path, problem = locator.find(values.get("image") or "")
    split = (values.get("split") or "").strip().lower()
    if problem is None and split and split not in SPLITS:
        problem = f"has the split '{split}', which is none of train, test, validation"
    text = (values.get("price") or "").strip()
    price, currency = parse_price(text)
    more = dict(extra)
    if text and price is None:
        more["price"] = text

    def clean(field: str) -> str | None:
        return (values.get(field) or "").strip() or None

    return PhotoRecord(
        key=key,
        path=path if problem is None else None,
        root=locator.root,
        problem=problem,
        product_id=clean("product_id"),
        title=clean("title"),
        category=clean("category"),
        price=price,
        currency=clean("currency") or currency,
        licence=clean("licence"),
        source=clean("source"),
        owner=clean("owner"),
        consent=clean("consent"),
        date=clean("date"),
        split=SPLITS.get(split),
        extra=more,
    )


def _records(
    rows: Iterable[tuple[int, Mapping[str, Any], str | None]], columns_of: Any, locator: Locator
) -> Iterator[PhotoRecord]:
    for line, row, problem in rows:
        columns = columns_of(row)
        values = {field: _text(row.get(column)) for field, column in columns.items() if field != "image"}
        used = set(columns.values())
        extra = {name: text for name, cell in row.items() if name not in used and (text := _text(cell))}
        image = row.get(columns.get("image", ""))
        for one in image if isinstance(image, list) and image else [image]:
            name = (_text(one) or "").strip()
            yield record_of(name or f"line {line}", {**values, "image": name}, extra, locator, problem)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _table(names: list[str], cells: list[str]) -> dict[str, Any]:
    return dict(zip(names, cells, strict=False))


def _row_problem(names: list[str], cells: list[str]) -> str | None:
    if any(c.strip() for c in cells[len(names) :]):
        return f"is in a row of {len(cells)} cells, and the list has {len(names)} columns"
    return None


def _json_rows(path: Path, encoding: str) -> Iterator[tuple[int, Mapping[str, Any], str | None]]:
    with disk_errors(path), path.open(encoding=encoding) as f:
        for number, line in enumerate(f, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                yield number, {}, "is not valid JSON"
                continue
            if isinstance(row, dict):
                yield number, row, None
            else:
                yield number, {}, "is not a JSON object"
