"""Readers: each turns one kind of source into a stream of photo records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from packshot.catalog.options import IngestOptions
from packshot.catalog.readers.folder import open_folder
from packshot.catalog.readers.idx import find_pairs, is_idx, open_idx
from packshot.catalog.readers.lists import delimiter_of, encoding_of, header_of, plain
from packshot.catalog.readers.merchant import open_merchant
from packshot.catalog.readers.shopify import open_shopify
from packshot.catalog.readers.table import open_json_lines, open_table
from packshot.catalog.records import Source
from packshot.core.errors import PackshotError, lookup
from packshot.core.files import disk_errors, read_json

Reader = Callable[[Path, IngestOptions], Source]

READERS: dict[str, Reader] = {
    "folder": open_folder,
    "csv": open_table,
    "tsv": open_table,
    "jsonl": open_json_lines,
    "merchant": open_merchant,
    "shopify": open_shopify,
    "idx": open_idx,
}
"""The kinds of sources, by the name that `--format` takes."""

WHAT = "a folder of photos, a list (CSV, JSON Lines, product feed) or IDX files"

FETCHED = "fetched.json"
"""Written by `packshot data fetch` into the folder it fills: how to read it, its licence and its source."""


def open_source(path: Path, options: IngestOptions, leave_out: Path | None = None) -> Source:
    """Opens a source; its kind is told from its content unless `options.format` names it.

    Args:
        path: a folder or a file.
        options: how to read it.
        leave_out: a folder below `path` that is not looked into.

    Raises:
        PackshotError: missing, or not a source that can be read.
        UsageError: `options.format` is unknown; the nearest one is suggested.
    """
    if options.format is not None:
        lookup("format", options.format, READERS)
    if not path.exists():
        raise PackshotError(
            f"{path} does not exist; name a folder of photos, a list (CSV, JSON Lines, feed) or IDX files."
        )
    if path.is_dir() and (path / FETCHED).is_file() and options.format is None:
        return _open_fetched(path, options)
    kind = options.format or _detect(path)
    if (kind == "folder") != path.is_dir() and kind != "idx":
        raise PackshotError(f"{path} is a {'folder' if path.is_dir() else 'file'}, which format '{kind}' cannot be.")
    if kind == "folder":
        return open_folder(path, options, leave_out)
    return READERS[kind](path, options)


def _open_fetched(path: Path, options: IngestOptions) -> Source:
    about = read_json(path / FETCHED)
    try:
        kind, name, images = about["format"], about.get("list"), about.get("images")
        licence, source = str(about["licence"]), str(about["source"])
    except (KeyError, TypeError, AttributeError) as e:
        raise PackshotError(f"{path / FETCHED} is damaged; fetch the data again.") from e
    if images and not options.images:
        options = replace(options, images=str(path / images))
    opened = lookup("format", kind, READERS)(path / name if name else path, options)
    return replace(opened, licence=licence, source=source)


def _detect(path: Path) -> str:
    if path.is_dir():
        return "idx" if find_pairs(path) else "folder"
    with disk_errors(path), path.open("rb") as f:
        start = f.read(4096)
    if not start:
        raise PackshotError(f"{path} is empty (0 bytes).")
    if is_idx(path):
        return "idx"
    # Any byte is a letter in latin-1, so that a list in another encoding is still recognised as a list.
    encoding = encoding_of(path, "latin-1")
    text = start.decode(encoding, errors="ignore").lstrip("\ufeff \t\r\n")
    if text.startswith("<"):
        return "merchant"
    if text.startswith("{"):
        return "jsonl"
    if "\0" in text:
        raise PackshotError(f"{path} is not a source that can be read; name {WHAT}.")
    return _detect_table(path, encoding)


def _detect_table(path: Path, encoding: str) -> str:
    delimiter = delimiter_of(path, encoding)
    names = {plain(n) for n in header_of(path, encoding, delimiter)}
    if {"handle", "image_src"} <= names:
        return "shopify"
    if {"id", "image_link"} <= {n.removeprefix("g_") for n in names}:
        return "merchant"
    return "tsv" if delimiter == "\t" else "csv"
