"""Photos out of a finished catalogue: out of manifest, shards, ledger, list of what was left out, and caches.

What is new is written aside, in `.erase/`; `commit.json` there is written last, and from then on the change is done:
it is carried out by renaming, and one that was cut off is carried out the next time. Without it nothing was changed.
The catalogue's checksum changes; catalog.json remembers the one before (`erased`), so that a run can be told that its
catalogue is the same one with fewer photos. `erased.jsonl` keeps the SHA-256 of what was erased, and nothing else.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packshot.catalog.checksum import compute_checksum
from packshot.catalog.dataset import Catalog, open_catalog, user_cache
from packshot.catalog.examine import GREY8
from packshot.catalog.finish import kind_of_reason
from packshot.catalog.ledger import NAME as LEDGER
from packshot.catalog.packing import open_parquet
from packshot.catalog.schema import MANIFEST, SHARD, arrow_schema, with_columns
from packshot.catalog.tallies import Tallies
from packshot.core.errors import PackshotError
from packshot.core.files import disk_errors, read_json, sha256_file, write_json, write_text

STAGING, COMMIT = ".erase", "commit.json"
TOMBSTONES = "erased.jsonl"
REJECTED = "rejected.jsonl"


@dataclass(frozen=True, kw_only=True)
class ToErase:
    """What is to go from one catalogue.

    Attributes:
        photo_ids: of the rows.
        keys: names of photos that were left out at the ingest: their lines in rejected.jsonl.
        sha256s: of the photos' files, for `erased.jsonl`.
        owner: a name that the options of the ingest may hold as everybody's owner; None: none.
        time: ISO 8601, for `erased.jsonl` and catalog.json.
    """

    photo_ids: frozenset[str]
    keys: frozenset[str]
    sha256s: frozenset[str]
    owner: str | None
    time: str


@dataclass(frozen=True, kw_only=True)
class Gone:
    """What went from a catalogue.

    Attributes:
        after: the catalogue's checksum now.
        photos: rows of the manifest.
        stored: rows of shards; a photo that was listed twice is stored twice.
        shards: files that were written anew or removed.
        ledger_rows: lines.
        rejected_rows: lines.
    """

    after: str
    photos: int = 0
    stored: int = 0
    shards: int = 0
    ledger_rows: int = 0
    rejected_rows: int = 0


def earlier_checksums(catalog: Catalog) -> set[str]:
    """Returns the checksums that a catalogue had before photos of it were erased."""
    return {row["before"] for row in read_json(catalog.path / "catalog.json").get("erased", [])}


def is_rest_of(catalog: Catalog, checksum: str) -> bool:
    """Returns whether this catalogue once had that checksum, and has lost nothing since but what was erased."""
    return checksum in earlier_checksums(catalog)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Holds a catalogue for this process (flock on its folder).

    Raises:
        PackshotError: another process holds it.
    """
    with disk_errors(folder):
        lock = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            raise PackshotError(f"Another process is erasing photos of {folder}; wait for it.") from e
        yield
    finally:
        os.close(lock)


def finish_cut_off(folder: Path) -> bool:
    """Carries out an erasure that was cut off after its commit, and drops one that was cut off before it.

    Returns:
        Whether anything was carried out.

    Raises:
        PackshotError: the disk refuses.
    """
    staging = folder / STAGING
    with disk_errors(staging):
        if staging.is_symlink() or not staging.is_dir():
            return False
        committed = (staging / COMMIT).is_file()
        if committed:
            _carry_out(folder, read_json(staging / COMMIT))
        shutil.rmtree(staging)
    return committed


def erase_rows(folder: Path, what: ToErase) -> Gone:
    """Removes photos from a catalogue; what is not there any more is no error.

    Raises:
        PackshotError: the catalogue is damaged, held by another process, made of links, or may not be written.
    """
    with held(folder):
        finish_cut_off(folder)
        catalog = open_catalog(folder)
        _check_place(folder)
        with disk_errors(folder):
            _remove_caches(catalog)
            for part in (folder, folder / "shards"):
                for path in part.glob(".*.tmp"):
                    path.unlink()  # Of commands that were killed.
            (folder / STAGING / "shards").mkdir(parents=True)
            gone = _stage(catalog, what)
            done = gone.after == catalog.checksum and not (gone.ledger_rows or gone.rejected_rows)
            if not done:
                _carry_out(folder, read_json(folder / STAGING / COMMIT))
            shutil.rmtree(folder / STAGING)
    return gone


def _check_place(folder: Path) -> None:
    for path in (folder / "shards", *(folder / name for name in ("manifest.parquet", REJECTED, LEDGER, TOMBSTONES))):
        if path.is_symlink():
            raise PackshotError(f"{path} is a link: what it leads to may belong to others. Erase where it leads to.")
    if (folder / ".ingest").exists():  # It holds small pictures of all photos.
        raise PackshotError(f"The ingest into {folder} was killed before its last step; give its command again first.")
    if not os.access(folder, os.W_OK) or not os.access(folder / "shards", os.W_OK):
        raise PackshotError(f"{folder} may not be written; mend its permissions.")


def _remove_caches(catalog: Catalog) -> None:
    """Removes what was computed from the photos: it holds their pixels and features, and is made anew when needed."""
    for cache in (catalog.path / "cache", user_cache() / "catalogues" / catalog.checksum[:16]):
        if cache.is_dir() and not cache.is_symlink():
            shutil.rmtree(cache)


def _carry_out(folder: Path, commit: Mapping[str, Any]) -> None:
    for name in commit["move"]:  # catalog.json is the last one.
        if (folder / STAGING / name).exists():
            (folder / STAGING / name).replace(folder / name)
    for name in commit["remove"]:
        (folder / name).unlink(missing_ok=True)


def _stage(catalog: Catalog, what: ToErase) -> Gone:
    """Writes aside everything that changes, and last of all the commit; returns what goes."""
    folder, staging = catalog.path, catalog.path / STAGING
    about = read_json(folder / "catalog.json")
    files, moved = dict(about["files"]), []
    places, emptied, stored = _stage_shards(folder, files, what.photo_ids)
    removed, tallies, duplicates = _stage_manifest(catalog, what.photo_ids, places)
    files = {name: digest for name, digest in files.items() if name not in emptied}
    changed = [*places, *emptied]
    for name in (*(n for n in places if n not in emptied), *(["manifest.parquet"] if removed or changed else [])):
        files[name] = sha256_file(staging / name)
        moved.append(name)
    summary = dict(about["summary"])
    rejected = _stage_rejected(folder, what.keys, summary)
    if rejected:
        files[REJECTED] = sha256_file(staging / REJECTED)
        moved.append(REJECTED)
    ledger_rows = _stage_lines(folder, LEDGER, lambda row: row.get("photo") in what.photo_ids)
    moved += [LEDGER] if ledger_rows else []
    if not (moved or emptied):
        return Gone(after=catalog.checksum)
    if removed:
        summary |= tallies.summary(about["categories"]) | {"duplicates": duplicates}
        if tallies.photos.pictures or tallies.synthetic.pictures:
            # Whether all are grey only the thumbs of the ingest tell; taking photos away leaves a false "colour".
            summary["native"] = tallies.native() | {"channels": summary["native"]["channels"]}
        _stage_tombstones(folder, what)
        moved.append(TOMBSTONES)
    options = dict(about["options"])
    if what.owner is not None and str(options.get("owner") or "").strip().lower() == what.owner.strip().lower():
        options["owner"] = None
    checksum = compute_checksum(files, about["categories"])
    erased = {"time": what.time, "photos": removed, "before": catalog.checksum}
    history = [*about.get("erased", []), *([erased] if checksum != catalog.checksum else [])]
    new = {"options": options, "summary": summary, "files": files, "checksum": checksum, "erased": history}
    write_json(staging / "catalog.json", about | new)
    write_json(staging / COMMIT, {"move": [*moved, "catalog.json"], "remove": emptied})
    return Gone(
        after=checksum,
        photos=removed,
        stored=stored,
        shards=len(changed),
        ledger_rows=ledger_rows,
        rejected_rows=rejected,
    )


def _stage_shards(
    folder: Path, files: Mapping[str, str], photo_ids: Collection[str]
) -> tuple[dict[str, dict[int, int]], list[str], int]:
    """Writes the shards that hold one of the photos anew.

    Returns:
        For each such shard, the new number of each row that stays; the shards of which nothing stays; rows that go.

    Raises:
        PackshotError: a shard is damaged.
    """
    places: dict[str, dict[int, int]] = {}
    emptied: list[str] = []
    gone = 0
    for name in sorted(n for n in files if n.startswith("shards/")):
        with open_parquet(folder / name) as shard:
            names = shard.read(["photo_id"])["photo_id"].to_pylist()
        going = [photo_id in photo_ids for photo_id in names]
        if not any(going):
            continue
        if sha256_file(folder / name) != files[name]:
            raise PackshotError(f"{folder / name} was changed or damaged after the ingest; restore it from a backup.")
        gone += sum(going)
        stay = [row for row, goes in enumerate(going) if not goes]
        if stay:
            _rewrite_shard(folder / name, folder / STAGING / name, photo_ids)
            places[name] = {old: new for new, old in enumerate(stay)}
        else:
            emptied.append(name)
    return places, emptied, gone


def _rewrite_shard(path: Path, new: Path, photo_ids: Collection[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_parquet(path) as shard:
        writer: pq.ParquetWriter | None = None
        for number in range(shard.num_row_groups):
            group = shard.read_row_group(number)
            stay = pa.array([photo_id not in photo_ids for photo_id in group["photo_id"].to_pylist()])
            group = group.filter(stay)
            if not group.num_rows:
                continue
            if writer is None:  # As the ingest writes it: photo files are packed already, grey pixels are not.
                packing = "zstd" if group["format"][0].as_py() == GREY8 else "none"
                writer = pq.ParquetWriter(
                    new, arrow_schema(SHARD), compression=packing, use_dictionary=False, write_statistics=False
                )
            writer.write_table(pa.table(group, schema=arrow_schema(SHARD)), row_group_size=group.num_rows)
        assert writer is not None
        writer.close()
    _flush(new)


def _stage_manifest(
    catalog: Catalog, photo_ids: Collection[str], places: Mapping[str, Mapping[int, int]]
) -> tuple[int, Tallies, dict[str, int]]:
    """Writes the manifest without the photos, if it has any of them; returns how many, and counts of what stays."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from packshot.catalog.parts import shard_name

    new, tallies = catalog.path / STAGING / "manifest.parquet", Tallies()
    groups = _groups(catalog, photo_ids)
    removed = 0
    with open_parquet(catalog.path / "manifest.parquet") as manifest:
        there = set(manifest.schema_arrow.names)  # An older Packshot wrote fewer; what is not known stays not known.
    schema = arrow_schema({name: kind for name, kind in MANIFEST.items() if name in there})
    with (
        open_parquet(catalog.path / "manifest.parquet") as manifest,
        pq.ParquetWriter(new, schema, compression="zstd") as writer,
    ):
        for number in range(manifest.num_row_groups):
            table = with_columns(manifest.read_row_group(number), MANIFEST)
            names = table["photo_id"].to_pylist()
            table = table.filter(pa.array([name not in photo_ids for name in names]))
            removed += len(names) - table.num_rows
            if not table.num_rows:
                continue
            pairs = zip(table["shard"].to_pylist(), table["row"].to_pylist(), strict=True)
            columns = {
                "row": [places.get(shard_name(shard), {}).get(row, row) for shard, row in pairs],
                **{
                    column: [renamed.get(g) for g in table[column].to_pylist()]
                    for column, renamed in zip(("duplicate_group", "near_group"), groups, strict=True)
                },
            }
            whole = pa.table(
                {c: columns[c] if c in columns else table[c] for c in MANIFEST}, schema=arrow_schema(MANIFEST)
            )
            tallies.add(whole, None)
            writer.write_table(whole.select(schema.names))
    _flush(new)
    return removed, tallies, _count_duplicates(catalog, photo_ids)


def _groups(catalog: Catalog, photo_ids: Collection[str]) -> tuple[dict[str, str | None], dict[str, str | None]]:
    """Returns the names that groups of exact and of near duplicates get: their first photo that stays; None: alone."""
    table = catalog.manifest(["photo_id", "duplicate_group", "near_group"]).to_pydict()
    renamed: list[dict[str, str | None]] = []
    for column in ("duplicate_group", "near_group"):
        members: dict[str, list[str]] = {}
        for photo_id, group in zip(table["photo_id"], table[column], strict=True):
            if group is not None and photo_id not in photo_ids:
                members.setdefault(group, []).append(photo_id)
        renamed.append({group: rows[0] if len(rows) > 1 else None for group, rows in members.items()})
    return renamed[0], renamed[1]


def _count_duplicates(catalog: Catalog, photo_ids: Collection[str]) -> dict[str, int]:
    """Counts the groups of what stays as `finish` counts them."""
    table = catalog.manifest(["photo_id", "duplicate_group", "near_group"]).to_pydict()
    rows = [r for r in zip(*table.values(), strict=True) if r[0] not in photo_ids]
    exact = Counter(group or photo_id for photo_id, group, _ in rows)
    near = Counter(group or photo_id for photo_id, _, group in rows)
    different: dict[str, set[str]] = {}
    for photo_id, one, group in rows:
        different.setdefault(group or photo_id, set()).add(one or photo_id)
    several = [group for group, members in different.items() if len(members) > 1]
    return {
        "exact_groups": sum(n > 1 for n in exact.values()),
        "exact_photos": sum(n for n in exact.values() if n > 1),
        "near_groups": len(several),
        "near_photos": sum(near[group] for group in several),
        "largest_group": max(near.values(), default=0),
    }


def _stage_rejected(folder: Path, keys: Collection[str], summary: dict[str, Any]) -> int:
    """Writes rejected.jsonl without the lines that name a key, and takes them out of the summary; returns how many."""
    gone: list[Mapping[str, Any]] = []

    def named(row: Mapping[str, Any]) -> bool:
        if row.get("photo") not in keys:
            return False
        gone.append(row)
        return True

    count = _stage_lines(folder, REJECTED, named)
    if count:
        left_out = Counter(summary.get("left_out", {}))
        left_out.subtract(kind_of_reason(str(row.get("reason"))) for row in gone)
        summary["left_out"] = {kind: n for kind, n in left_out.items() if n > 0}
        summary["examples"] = {
            kind: [name for name in names if name not in keys]
            for kind, names in summary.get("examples", {}).items()
            if kind in summary["left_out"]
        }
    return count


def _stage_lines(folder: Path, name: str, goes: Any) -> int:
    """Writes a file of JSON lines without those that go; returns how many went, and writes nothing if none does."""
    if not (folder / name).is_file():
        return 0
    lines = (folder / name).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    stay = [line for line in lines if not goes(_row(line))]
    if len(stay) < len(lines):
        path = folder / STAGING / name
        path.write_text("".join(f"{line}\n" for line in stay), encoding="utf-8", errors="surrogateescape")
        _flush(path)
    return len(lines) - len(stay)


def _row(line: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}


def _stage_tombstones(folder: Path, what: ToErase) -> None:
    old = (folder / TOMBSTONES).read_text(encoding="utf-8") if (folder / TOMBSTONES).exists() else ""
    known = {_row(line).get("sha256") for line in old.splitlines()}
    new = [json.dumps({"sha256": s, "erased": what.time}) for s in sorted(what.sha256s) if s not in known]
    write_text(folder / STAGING / TOMBSTONES, old + "".join(f"{line}\n" for line in new))


def _flush(path: Path) -> None:
    with path.open("rb") as f:
        os.fsync(f.fileno())
