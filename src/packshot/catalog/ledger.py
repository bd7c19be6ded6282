"""The ledger: what the shop says of its photos' rights after the ingest, in `ledger.jsonl` beside the manifest.

Rows are only added, and later ones win. The file is no part of the catalogue's checksum: the photos stay the same, and
what a withdrawn consent changes is what may be trained on from then on. A row is about one photo (`photo`: its id), or
about a licence (`licence_ok`: photos under it may be trained on).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from packshot.catalog.options import NOT_SPDX, is_spdx
from packshot.core.errors import PackshotError, suggest
from packshot.core.files import disk_errors, write_text

NAME = "ledger.jsonl"
FIELDS = ("licence", "owner", "source", "consent", "date")
"""What a row may say of a photo: columns of the manifest."""
COLUMNS: dict[str, tuple[str, ...]] = {
    "photo": ("photo", "photo_id", "key", "image", "file", "filename", "path"),
    "licence": ("licence", "license", "spdx"),
    "owner": ("owner", "rights_holder", "copyright_holder"),
    "source": ("source", "origin"),
    "consent": ("consent", "model_release"),
    "date": ("date",),
}


@dataclass
class Ledger:
    """What the ledger says now.

    Attributes:
        photos: fields by photo id.
        licences_ok: licence expressions whose photos may be trained on all the same.
        rows: how many there are.
    """

    photos: dict[str, dict[str, str]] = field(default_factory=dict)
    licences_ok: set[str] = field(default_factory=set)
    rows: int = 0


def read_ledger(folder: Path) -> Ledger:
    """Reads a catalogue's ledger; it is empty where there is none.

    Raises:
        PackshotError: the file is damaged.
    """
    path, ledger = folder / NAME, Ledger()
    if not path.exists():
        return ledger
    with disk_errors(path):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            if "licence_ok" in row:
                ledger.licences_ok.add(str(row["licence_ok"]))
            else:
                said = {name: str(row[name]) for name in FIELDS if name in row}
                ledger.photos.setdefault(str(row["photo"]), {}).update(said)
        except (ValueError, KeyError, TypeError) as e:
            raise PackshotError(f"{path} is damaged in line {number}; restore it from a backup.") from e
        ledger.rows += 1
    return ledger


def add_rows(folder: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Adds rows to a catalogue's ledger, each with the time, all of them or none; returns how many.

    Raises:
        PackshotError: the disk refuses.
    """
    path, now = folder / NAME, datetime.now(UTC).isoformat(timespec="seconds")
    lines = [json.dumps({"recorded": now, **row}, ensure_ascii=False) for row in rows]
    with disk_errors(path):
        old = path.read_text(encoding="utf-8") if path.exists() else ""
    write_text(path, old + "".join(f"{line}\n" for line in lines))
    return len(lines)


def read_corrections(path: Path, places: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """Reads a table (CSV, TSV) of corrections: a column `photo`, and any of `FIELDS`; empty cells change nothing.

    Args:
        path: the table.
        places: photo ids by photo id and by key.

    Raises:
        PackshotError: the table cannot be read, has no such columns, names an unknown photo, or a licence that is no
            SPDX expression.
    """
    from packshot.catalog.readers.lists import check_text, delimiter_of, encoding_of, header_of, plain, read_rows

    encoding = encoding_of(path, "utf-8")
    check_text(path, encoding)
    delimiter = delimiter_of(path, encoding)
    names = [plain(name) for name in header_of(path, encoding, delimiter)]
    columns = {name: next((a for a in aliases if a in names), None) for name, aliases in COLUMNS.items()}
    if columns["photo"] is None or not any(columns[name] for name in FIELDS):
        raise PackshotError(f"{path} needs a column 'photo' and at least one of {', '.join(FIELDS)}; it has: {names}.")
    rows = []
    for number, (line, cells) in enumerate(read_rows(path, encoding, delimiter)):
        if number == 0:
            continue
        row = dict(zip(names, (c.strip() for c in cells), strict=False))
        said = {name: row[column] for name in FIELDS if (column := columns[name]) and row.get(column)}
        photo = row.get(columns["photo"], "")
        if photo not in places:
            hint = suggest(photo, islice(places, 2000))
            raise PackshotError(
                f"{path}, line {line}: the catalogue has no photo '{photo}'.{hint} Nothing was changed."
            )
        if "licence" in said and not is_spdx(said["licence"]):
            raise PackshotError(
                f"{path}, line {line}: the licence '{said['licence']}' {NOT_SPDX}. Nothing was changed."
            )
        rows += [{"photo": photo_id, **said} for photo_id in places[photo] if said]
    return rows
