"""CSV in blocks of whole lines: each row knows its line, and what is no row costs no other row.

Blocks without a quotation mark go to Arrow as they are. In others a record may have several lines. Where a mark is
opened and never closed, which would swallow the rest of the file, its line is damaged; reading goes on with the next.

Letters: n rows.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from packshot.catalog.readers.lists import MARKS

BLOCK = 4 * 2**20
MOST_LINES = 100
"""Of one record; a quotation mark that is not closed by then is a slip."""
UNCLOSED = "a quotation mark is opened and not closed"


@dataclass(frozen=True, eq=False)
class Batch:
    """Some rows of a file.

    Attributes:
        columns: Arrow arrays [n] by field: strings, or for `time` also numbers or timestamps. Null: what could not be
            read.
        lines: int64 [n], the line of the file that each begins in, from 1; of Parquet the row.
        bad: lines before or among these that are no rows at all and are not in `columns`, each with what is wrong.
        names: by field, the name of its column in the file.
    """

    columns: dict[str, Any]
    lines: npt.NDArray[np.int64]
    bad: Sequence[tuple[int, str]] = ()
    names: dict[str, str] = field(default_factory=dict)


def opened(path: Path) -> Any:
    """Opens a file for its bytes, unpacked where its name ends in .gz."""
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")


def read_lines(path: Path, find: Callable[[Sequence[str]], dict[str, str]]) -> Iterator[Batch]:
    """Yields the rows of a CSV file; its first line has the names of the columns.

    Args:
        path: the file; comma, semicolon, tab or bar; UTF-8 or UTF-16.
        find: returns the names of the columns that are wanted, by field.
    """
    blocks = _blocks(path)
    head, _, rest = next(blocks, b"").partition(b"\n")
    header = head.decode("utf-8-sig", errors="replace").rstrip("\r")
    delimiter = max("\t,;|", key=header.count)
    names = [n.strip() for n in next(csv.reader([header], delimiter=delimiter), [])]
    columns = find(names)
    table = _Table(len(names), {f: names.index(c) for f, c in columns.items()}, delimiter, columns)
    first, left = 2, rest
    for block in blocks:
        if left:
            batch, first, left = table.read(left, first, last=False)
            yield batch
        left += block
    while left:
        batch, first, left = table.read(left, first, last=True)
        yield batch


def _blocks(path: Path) -> Iterator[bytes]:
    """Yields the file in UTF-8, in blocks of whole lines."""
    with opened(path) as f:
        start = f.read(4)
    if any(start.startswith(mark) and name == "utf-16" for mark, name in MARKS.items()):
        with io.TextIOWrapper(opened(path), encoding="utf-16", errors="replace", newline="\n") as text:
            while said := text.read(BLOCK // 2):
                yield (said + text.readline()).encode(errors="replace")
        return
    with opened(path) as f:
        while block := f.read(BLOCK):
            yield block + f.readline()


@dataclass(frozen=True, eq=False)
class _Table:
    """What is known of a file.

    Attributes:
        width: how many columns it has.
        places: of the wanted ones, by field.
        delimiter: between cells.
        names: of the wanted columns, by field.
    """

    width: int
    places: dict[str, int]
    delimiter: str
    names: dict[str, str]

    def read(self, block: bytes, first: int, *, last: bool) -> tuple[Batch, int, bytes]:
        """Returns the rows of a block, the line after it, and what is left of it for the next one.

        Args:
            block: whole lines.
            first: number of its first line.
            last: no block comes after it.
        """
        blank = b"\n\n" in block or b"\n\r\n" in block or block[:1] in (b"\n", b"\r")
        if b'"' in block or blank or block.count(b"\r") != block.count(b"\r\n"):
            return self._by_line(block, first, last=last)
        count = block.count(b"\n") + (not block.endswith(b"\n"))
        return self._at_once(block, first, count), first + count, b""

    def _at_once(self, block: bytes, first: int, count: int) -> Batch:
        import pyarrow as pa
        from pyarrow import csv as table

        bad: list[tuple[int, str]] = []

        def skip(row: Any) -> str:
            bad.append((first + row.number - 1, self._width(row.actual_columns)))
            return "skip"

        found = table.read_csv(
            pa.BufferReader(block),
            # One thread: else nobody says which row it is that is skipped.
            read_options=table.ReadOptions(
                column_names=[str(i) for i in range(self.width)], block_size=len(block) + 1, use_threads=False
            ),
            parse_options=table.ParseOptions(delimiter=self.delimiter, invalid_row_handler=skip),
            # As bytes: one word that is no text must not end the whole file.
            convert_options=table.ConvertOptions(
                include_columns=list(dict.fromkeys(str(i) for i in self.places.values())),
                column_types={str(i): pa.binary() for i in self.places.values()},
                check_utf8=False,
                strings_can_be_null=False,
            ),
        )
        lines = np.delete(np.arange(first, first + count), [line - first for line, _ in bad])
        columns = {f: to_text(found[str(i)].combine_chunks()) for f, i in self.places.items()}
        return Batch(columns, lines, bad, self.names)

    def _by_line(self, block: bytes, first: int, *, last: bool) -> tuple[Batch, int, bytes]:
        import pyarrow as pa

        records = _Records(block, self.delimiter, last=last)
        rows, lines, bad = [], [], []
        for at, cells in records:
            several = records.end > at + 1
            if cells is None:
                bad.append((first + at, UNCLOSED))
            elif len(cells) != self.width or (several and any("\n" in cells[i] for i in self.places.values())):
                # No id has a line break in it: a mark was opened that the next one of another row has closed.
                records.end = at + 1
                bad.append((first + at, UNCLOSED if several else self._width(len(cells))))
            else:
                rows.append(cells)
                lines.append(first + at)
        columns = {f: pa.array([_clean(row[i]) for row in rows], pa.string()) for f, i in self.places.items()}
        left = "".join(records.lines[records.end :]).encode(errors="surrogateescape")
        return Batch(columns, np.array(lines, np.int64), bad, self.names), first + records.end, left

    def _width(self, found: int) -> str:
        return f"it has {found} columns, the first line {self.width}"


class _Records:
    """Records of some lines, as (place of its first line, cells); cells are None where a mark is never closed.

    `end` is the place after the record that came last; it may be set back, and reading goes on from there. What is
    left after `end` when nothing comes any more begins a record that the next block has to end.
    """

    def __init__(self, block: bytes, delimiter: str, *, last: bool) -> None:
        text = io.StringIO(block.decode(errors="surrogateescape"), newline="\n")
        self.lines, self.delimiter, self.last = list(text), delimiter, last
        self.end = self.given = 0
        self.open = False

    def __iter__(self) -> Iterator[tuple[int, list[str] | None]]:
        while self.end < len(self.lines):
            self.given, self.open = self.end, False
            reader = csv.reader(self._feed(), delimiter=self.delimiter)
            while True:
                at = self.end
                try:
                    cells = next(reader, None)
                except csv.Error:
                    self.end = at + 1
                    yield at, None
                    break
                if self.open:  # Nothing closed it, as far as the lines go.
                    if self.given == len(self.lines) and not self.last and self.given - at < MOST_LINES:
                        return
                    self.end = at + 1
                    yield at, None
                    break
                if cells is None:
                    break
                self.end = self.given
                if cells:  # An empty line is no row.
                    yield at, cells
                if self.end != self.given:
                    break

    def _feed(self) -> Iterator[str]:
        while self.given < len(self.lines):
            if self.given - self.end >= MOST_LINES:
                break
            self.given += 1
            yield self.lines[self.given - 1]
        self.open = self.given > self.end


def _clean(value: str) -> str | None:
    """Returns a cell; None: it is no UTF-8."""
    if value.isascii():
        return value
    return None if any("\ud800" <= letter <= "\udfff" for letter in value) else value


def to_text(values: Any) -> Any:
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
