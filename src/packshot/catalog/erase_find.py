"""Which rows of a catalogue are of a photo or of a person, and whether anything of them is left."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packshot.catalog.dataset import Catalog, open_catalog
from packshot.catalog.erase import COMMIT, REJECTED, STAGING
from packshot.catalog.ledger import NAME as LEDGER
from packshot.catalog.packing import open_parquet
from packshot.catalog.statements import read_statements
from packshot.core.errors import PackshotError, UsageError, suggest
from packshot.core.files import disk_errors
from packshot.images.picture import Metadata

PERSON_COLUMNS = (
    "owner",
    *("says.creator", "says.owner"),
    *(f"extra.{name}" for name in ("contributor", "creator", "photographer", "person", "persons", "people")),
    *(f"extra.{name}" for name in ("model", "models", "consent_by", "consent_giver")),
)
"""Columns of the catalogue that may name a person: of the manifest, of what the file says, of the source's table."""

BETWEEN_NAMES = re.compile(r"[;|\n]")
"""What parts several names in one cell; no comma, which stands within a name: "Maier, Anna"."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What has to be known of one photo of a catalogue.

    Attributes:
        photo_id: its id.
        key: its name in the source.
        sha256: of its file.
        pixel_hash: equal for equal pixels.
        near_group: the group of duplicates that it is in, or None.
        shard: number of its file.
        made_by: SHA-256 of the model that made it; None: it is a photo, or nobody noted it.
        persons: names by column, those columns of `PERSON_COLUMNS` and of the source's table that say something.
    """

    photo_id: str
    key: str
    sha256: str
    pixel_hash: str | None
    near_group: str | None
    shard: int
    made_by: str | None
    persons: dict[str, list[str]]

    def names(self, person: str, columns: Collection[str]) -> bool:
        """Returns whether one of the columns names a person: the whole cell, or one of several names in it."""
        wanted = plain(person)
        for column in columns:
            for text in self.persons.get(column, ()):
                if any(plain(part) == wanted for part in (text, *BETWEEN_NAMES.split(text))):
                    return True
        return False


def plain(name: str) -> str:
    """Returns a name without its case and without spaces around it."""
    return " ".join(name.casefold().split())


def says_person(data: bytes, metadata: Metadata, person: str) -> bool:
    """Returns whether a picture's file says that a person made or owns it.

    Args:
        data: the file.
        metadata: as decoding found it.
        person: the whole name; case does not count.
    """
    says = _table(read_statements(data, metadata).says)
    texts = [text for name in ("creator", "owner") for text in _texts(says.get(name))]
    return any(plain(part) == plain(person) for text in texts for part in (text, *BETWEEN_NAMES.split(text)))


def open_for_erasing(folder: Path) -> Catalog:
    """Opens a catalogue.

    Raises:
        PackshotError: see `open_catalog`; or an erasure was cut off in it.
    """
    if (folder / STAGING / COMMIT).is_file():
        raise PackshotError(f"An erasure of {folder} was cut off; give that `packshot erase` command again.")
    return open_catalog(folder)


def read_rows(catalog: Catalog) -> list[Row]:
    """Returns the rows of a catalogue, with what its ledger says of their owners.

    Raises:
        PackshotError: manifest or ledger is damaged.
    """
    owners: dict[str, list[str]] = {}
    for line in _ledger(catalog.path):
        if isinstance(line.get("photo"), str) and isinstance(line.get("owner"), str):
            owners.setdefault(line["photo"], []).append(line["owner"])
    columns = ["photo_id", "key", "sha256", "pixel_hash", "near_group", "shard", "owner", "says", "extra"]
    rows = []
    for row in catalog.manifest(columns).to_pylist():
        persons = {"owner": [*_texts(row["owner"]), *owners.get(row["photo_id"], [])]}
        extra = _table(row["extra"])
        for prefix, table in (("says", _table(row["says"])), ("extra", extra)):
            for name, value in table.items():
                persons.setdefault(f"{prefix}.{name.lower()}", []).extend(_texts(value))
        made_by = extra.get("model_sha256")
        rows.append(
            Row(
                photo_id=row["photo_id"],
                key=row["key"],
                sha256=row["sha256"],
                pixel_hash=row["pixel_hash"],
                near_group=row["near_group"],
                shard=row["shard"],
                made_by=made_by if isinstance(made_by, str) else None,
                persons=persons,
            )
        )
    return rows


def person_columns(asked: Sequence[str], rows: Iterable[Row]) -> tuple[str, ...]:
    """Returns the columns to look for a person in.

    Args:
        asked: as the user named them, with or without `says.` or `extra.`; none: `PERSON_COLUMNS`.
        rows: of all catalogues.

    Raises:
        UsageError: no photo has such a column.
    """
    if not asked:
        return PERSON_COLUMNS
    known = {column for row in rows for column in row.persons}
    found: list[str] = []
    for name in asked:
        lower = name.lower()
        these = [c for c in (lower, f"says.{lower}", f"extra.{lower}") if c in known]
        if not these:
            raise UsageError(
                f"No photo has a column '{name}'.{suggest(lower, known)} Known: {', '.join(sorted(known))}."
            )
        found += these
    return tuple(found)


def count_ledger_rows(folder: Path, photo_ids: Collection[str]) -> int:
    """Returns how many lines of the ledger are about these photos."""
    return sum(row.get("photo") in photo_ids for row in _ledger(folder))


def rejected_keys(folder: Path) -> list[str]:
    """Returns the names in rejected.jsonl."""
    return [str(row["photo"]) for row in _lines(folder / REJECTED) if "photo" in row]


def what_is_left(folder: Path, sha256s: Collection[str], photo_ids: Collection[str]) -> list[str]:
    """Returns sentences about what a catalogue still holds of photos; none where it holds nothing and is whole.

    Raises:
        PackshotError: it cannot be read.
    """
    catalog = open_for_erasing(folder)
    catalog.verify()
    table = catalog.manifest(["photo_id", "sha256", "duplicate_group", "near_group"]).to_pydict()
    found = []
    if set(sha256s) & set(table["sha256"]):
        found.append("a row of the manifest has the photo's checksum")
    if set(photo_ids) & {*table["photo_id"], *table["duplicate_group"], *table["near_group"]}:
        found.append("a row of the manifest has the photo's id")
    if count_ledger_rows(folder, photo_ids):
        found.append("the ledger names the photo's id")
    for path in sorted((folder / "shards").glob("*.parquet")):
        with open_parquet(path) as shard:
            for batch in shard.iter_batches(batch_size=64, columns=["photo_id", "bytes"]):
                if set(photo_ids) & set(batch["photo_id"].to_pylist()):
                    found.append(f"{path.name} has the photo's id")
                if any(hashlib.sha256(data).hexdigest() in sha256s for data in batch["bytes"].to_pylist()):
                    found.append(f"{path.name} has the photo")
    return sorted(set(found))


def _ledger(folder: Path) -> Iterator[dict[str, Any]]:
    return _lines(folder / LEDGER)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with disk_errors(path):
        if not path.is_file():
            return
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row


def _table(text: str | None) -> dict[str, Any]:
    try:
        value = json.loads(text) if text else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _texts(value: Any) -> list[str]:
    if isinstance(value, list):
        return [text for one in value for text in _texts(one)]
    return [] if value in (None, "") else [str(value)]
