"""What all list readers share: text in some encoding, rows by column name, and a photo's name turned into a path."""

from __future__ import annotations

import codecs
import csv
import os
import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from packshot.catalog.options import IngestOptions
from packshot.core.errors import PackshotError, UsageError
from packshot.core.files import disk_errors

MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".JPG", ".JPEG", ".PNG", ".avif", ".tif", ".tiff", ".gif", ".bmp")
"""Endings that a list may leave away, in the order in which they are tried."""

REMOTE = re.compile(r"(https?|ftp|s3|gs)://", re.IGNORECASE)
MAX_CELL = 16 * 2**20


def encoding_of(path: Path, fallback: str) -> str:
    """Returns the encoding that the file's byte order mark states, else `fallback`.

    Raises:
        UsageError: `fallback` is no known encoding.
    """
    try:
        codecs.lookup(fallback)
    except LookupError as e:
        raise UsageError(f"Unknown encoding '{fallback}'; for example utf-8, latin-1, cp1252, utf-16.") from e
    with disk_errors(path), path.open("rb") as f:
        start = f.read(4)
    return next((name for mark, name in MARKS.items() if start.startswith(mark)), fallback)


def check_text(path: Path, encoding: str) -> None:
    """Reads the whole file once, with flat memory, so that a wrong encoding is told before any work.

    Raises:
        PackshotError: a byte that the encoding does not have, with its line.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    lines = 1
    with disk_errors(path), path.open("rb") as f:
        while True:
            block = f.read(2**20)
            try:
                decoder.decode(block, final=not block)
            except UnicodeError as e:
                good = getattr(e, "object", b"")[: getattr(e, "start", 0)].count(b"\n")
                raise PackshotError(
                    f"{path} is not {encoding} text (line {lines + good}); save it as UTF-8, "
                    "or name its encoding, for example --encoding cp1252."
                ) from e
            if not block:
                return
            lines += block.count(b"\n")


def read_rows(path: Path, encoding: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yields (line number, cells) for each row that is not blank; the first one is the header.

    Raises:
        PackshotError: the text is not such a table, with the line.
    """
    # The module's own limit is 128 KiB, less than some product descriptions.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_CELL))
    with disk_errors(path), path.open(encoding=encoding, newline="") as f:
        rows = csv.reader(f, delimiter=delimiter, strict=True)
        while True:
            line = rows.line_num + 1
            try:
                cells = next(rows, None)
            except csv.Error as e:
                raise PackshotError(f"{path} cannot be read as a table (from line {line} on): {e}.") from e
            if cells is None:
                return
            if any(c.strip() for c in cells):
                yield line, cells


def delimiter_of(path: Path, encoding: str) -> str:
    """Returns the separator of a table: the one of tab, comma, semicolon, bar that its first line has most of."""
    with disk_errors(path), path.open(encoding=encoding, errors="replace") as f:
        header = f.readline(MAX_CELL)
    if path.suffix.lower() in (".tsv", ".tab") and "\t" in header:
        return "\t"
    return max("\t,;|", key=header.count) if any(c in header for c in "\t,;|") else ","


def header_of(path: Path, encoding: str, delimiter: str) -> list[str]:
    """Returns the column names of a table, stripped.

    Raises:
        PackshotError: the file has no row at all, or two columns of the same name.
    """
    for _, cells in read_rows(path, encoding, delimiter):
        names = [c.strip() for c in cells]
        for name in names:
            if name and names.count(name) > 1:
                raise PackshotError(f"{path} has two columns named '{name}'; rename one.")
        return names
    raise PackshotError(f"{path} is empty; a list needs a line of column names and one line per photo.")


def plain(name: str) -> str:
    """Returns a column name in lower case with single underscores: "Image Src" and "image-src" become "image_src"."""
    return re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_")


class Locator:
    """Finds the files that a list names.

    Args:
        list_path: the list; photo names are relative to its folder unless `options.images` names another.
        options: `images` and `follow_symlinks` are used.

    Raises:
        PackshotError: `options.images` is no folder.
    """

    def __init__(self, list_path: Path, options: IngestOptions) -> None:
        self.folder = Path(options.images) if options.images else list_path.parent
        if not self.folder.is_dir():
            raise PackshotError(f"The photos' folder {self.folder} does not exist; name it with --images.")
        self.by_name = bool(options.images)
        self.root = None if options.follow_symlinks else str(self.folder.resolve())

    def find(self, name: str) -> tuple[str | None, str | None]:
        """Returns (path, None), or (None, why there is none, in words that follow the photo's name)."""
        name = name.strip()
        if not name:
            return None, "has no photo in its row"
        if "\0" in name or len(name) > 4096:
            return None, "is not a name that a file can have"
        if REMOTE.match(name):
            # An address on the network: its last part may lie in the folder that was named for the photos.
            local = urllib.parse.unquote(urllib.parse.urlsplit(name).path.rpartition("/")[2]) if self.by_name else ""
            found = self._existing(local) if local else None
            return (found, None) if found else (None, "was not downloaded: it is an address on the network")
        found = self._existing(name.removeprefix("file://"))
        return (found, None) if found else (None, f"does not exist in {self.folder.name or self.folder}")

    def _existing(self, name: str) -> str | None:
        for spelling in (name, name.replace("\\", "/")) if "\\" in name else (name,):
            path = os.path.join(self.folder, spelling)  # noqa: PTH118 - a million times over, strings are faster.
            for ending in ("", *ENDINGS):
                if os.path.isfile(path + ending):  # noqa: PTH113
                    return path + ending
        return None
