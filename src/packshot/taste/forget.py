"""A shopper out of a store, so that no byte is left; and the proof of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packshot.catalog.packing import open_parquet
from packshot.core.files import disk_errors, sha256_file, write_json
from packshot.taste.keys import DIGITS
from packshot.taste.store import open_store, remove_derived, tidy, write_part, write_users, writing


@dataclass(frozen=True)
class Forgotten:
    """What became of a shopper.

    Attributes:
        pseudonym: that is not in the store any more.
        events: that were removed.
        derived: files computed from events that were removed, since the shopper was a part of them.
        files: that were read afterwards, byte for byte.
        bytes: of them.
        found: files in which the pseudonym still is; empty: proven.
    """

    pseudonym: str
    events: int
    derived: int
    files: int
    bytes: int
    found: list[str]


def forget_user(store: Path, user: str, key: bytes | None = None) -> Forgotten:
    """Removes a shopper from the events, from what is known of users and from all that was computed, and proves it.

    The proof: afterwards every file in the store is read, and the pseudonym is searched for, as hex digits and as
    bytes. All of `derived` goes, since models and indexes learned from the shopper too; they are made again when they
    are needed. Killed at any moment, the same call finishes.

    Args:
        store: folder of the store.
        user: the shop's own id of the shopper, or the pseudonym.
        key: of the pseudonyms; may be None if `user` is one.

    Raises:
        UsageError: the store does not know this shopper (nothing was changed).
        PackshotError: the key is another, or the disk refuses.
    """
    with writing(store):
        opened = open_store(store)
        name = opened.find_user(user, key)
        about = dict(opened.about)
        files, gone, events = dict(about["files"]), [], 0
        bucket = about["parts"].get(name[:1])
        if bucket:
            table = _without(store / bucket, name)
            events = about["part_rows"][bucket] - table.num_rows
            new = write_part(store, name[:1], table) if table.num_rows else None
            gone.append(files.pop(bucket) and bucket)
            about["parts"] = {**about["parts"], name[:1]: new} if new else _less(about["parts"], name[:1])
            about["part_rows"] = _less(about["part_rows"], bucket) | ({new: table.num_rows} if new else {})
            if new:
                files[new] = sha256_file(store / new)
        for old in [n for n in files if n.startswith("users-")]:
            table = _without(store / old, name)
            new = write_users(store, table)
            files.pop(old)
            gone.append(old)
            files[new] = sha256_file(store / new)
        about["files"] = files
        derived = remove_derived(store)
        write_json(store / "store.json", about)
        tidy(store)
        return _proof(store, name, events, derived)


def _without(path: Path, user: str) -> Any:
    import pyarrow.compute as pc

    with open_parquet(path) as file:
        table = file.read()
    # Decoded: a dictionary keeps words that no row has any more.
    plain = table.set_column(0, "user", table["user"].cast("string"))
    return plain.filter(pc.not_equal(plain["user"], user))


def _less(table: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in table.items() if name != key}


def _proof(store: Path, name: str, events: int, derived: int) -> Forgotten:
    needles = (name.encode(), name.upper().encode(), bytes.fromhex(name))
    found, files, read = [], 0, 0
    for file in sorted(p for p in store.rglob("*") if p.is_file()):
        files += 1
        tail = b""
        with disk_errors(file), file.open("rb") as f:
            while block := f.read(2**22):
                read += len(block)
                if any(needle in tail + block for needle in needles):
                    found.append(str(file.relative_to(store)))
                    break
                tail = block[-DIGITS:]
        if name in str(file.relative_to(store)):
            found.append(str(file.relative_to(store)))
    return Forgotten(name, events, derived, files, read, found)
