"""A catalogue's photos with generated pictures beside them, as a new catalogue.

What the old catalogue says of its photos is carried over: their shards byte for byte, their ids, quality and splits, so
that the test photos of both are the same. Generated pictures are for training only, and a copy of a photo not even
for that.

Letters: N rows of the old catalogue, M generated pictures.
"""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from packshot import __version__
from packshot.catalog import duplicates, split
from packshot.catalog.checksum import compute_checksum
from packshot.catalog.dataset import FORMAT_VERSION, Catalog
from packshot.catalog.examine import GREY8, Examined, Settings, examine
from packshot.catalog.fingerprint import words_of
from packshot.catalog.ingest import check_out
from packshot.catalog.ledger import NAME as LEDGER
from packshot.catalog.options import IngestOptions
from packshot.catalog.packing import open_parquet
from packshot.catalog.parts import SHARD_BYTES, Journal, Part, PartWriter, shard_name
from packshot.catalog.records import PhotoRecord
from packshot.catalog.schema import MANIFEST, UNCATEGORISED, arrow_schema, with_columns
from packshot.catalog.tallies import Tallies
from packshot.core.errors import PackshotError
from packshot.core.files import atomic_path, disk_errors, read_json, sha256_file, write_json
from packshot.images.xmp import is_synthetic

if TYPE_CHECKING:
    import pyarrow as pa

Words = npt.NDArray[np.uint64]
Index = npt.NDArray[np.int64]

DEFAULTS = IngestOptions()
AS_IT_IS = Settings(
    licence=None,
    source=None,
    allow_unlicensed=True,
    allow_opted_out=True,
    max_side=2**16,
    limits=DEFAULTS.limits,
)
CHUNK = 256
BLOCK = 2**22


@dataclass(frozen=True, kw_only=True)
class Added:
    """What became of generated pictures.

    Attributes:
        path: the new catalogue.
        checksum: its checksum.
        photos: photos in it, the same as in the old one.
        pictures: generated pictures that were added.
        for_training: how many of them are trained on.
        excluded: how many are not, by reason.
        synthetic: all generated pictures to train on, those that the old catalogue had included.
        per_category: added pictures of each category, the excluded ones among them.
    """

    path: Path
    checksum: str
    photos: int
    pictures: int
    for_training: int
    excluded: dict[str, int]
    synthetic: int
    per_category: dict[str, int]


def add_generated(catalog: Catalog, out: Path, records: Iterable[PhotoRecord], made_by: Mapping[str, Any]) -> Added:
    """Writes a new catalogue: the photos of `catalog`, and generated pictures to train on.

    `catalog` is only read. Killed at any moment, the same call begins anew and ends in the same files.

    Args:
        catalog: the photos.
        out: the folder to write: new, empty, or holding this same work unfinished.
        records: files as bytes (`data`), labelled as generated, with category, licence and source.
        made_by: what made them, as JSON values; kept in catalog.json under `generated`.

    Raises:
        PackshotError: `catalog` is damaged, it has all of these pictures already, `out` is in use, or the disk is full.
        ValueError: a picture's own metadata does not say that it was generated.
    """
    check_out(out)
    new = not out.exists()
    catalog.verify()
    journal = Journal(out)
    with disk_errors(out), journal.held():
        command = {"catalogue": catalog.checksum, "version of Packshot": __version__, "format version": FORMAT_VERSION}
        journal.begin(command | {name.replace("_", " "): value for name, value in made_by.items()})
        if not (out / "catalog.json").exists():  # Else killed between the last two steps.
            journal.clean()
            old = _Old.of(catalog)
            parts = _write_parts(journal, old, records)
            if not parts:
                _give_up(journal, new)
                raise PackshotError(f"{catalog.path} has all of these pictures already; choose another --seed.")
            _finish(catalog, journal, old, parts, made_by)
        about = read_json(out / "catalog.json")
        journal.remove()
    return _added(about, out)


def _added(about: Mapping[str, Any], out: Path) -> Added:
    last = about["generated"][-1]
    return Added(
        path=out,
        checksum=about["checksum"],
        photos=about["summary"]["photos"],
        pictures=last["pictures"],
        for_training=last["pictures"] - sum(last["excluded"].values()),
        excluded=last["excluded"],
        synthetic=about["summary"]["synthetic"]["for_training"],
        per_category=last["categories"],
    )


@dataclass(frozen=True)
class _Old:
    """What has to be known of the old catalogue's N rows.

    Attributes:
        photo_ids: N of them.
        dhash: [N] uint64.
        pixels: [N, 2] uint64, pixel hashes.
        near: [N], the first row of the group of duplicates that each is in.
        generated: [N] bool.
        sides: [N] int8, numbers into `split.NAMES`.
        excluded: [N] int8, numbers into `split.REASONS`.
        shard: [N].
        row: [N].
    """

    photo_ids: list[str]
    dhash: Words
    pixels: Words
    near: Index
    generated: npt.NDArray[np.bool_]
    sides: split.Codes
    excluded: split.Codes
    shard: Index
    row: Index

    @classmethod
    def of(cls, catalog: Catalog) -> _Old:
        columns = ["photo_id", "dhash", "pixel_hash", "near_group", "source_type", "split", "excluded", "shard", "row"]
        table = catalog.manifest(columns)
        names = table["photo_id"].to_pylist()
        place = {name: number for number, name in enumerate(names)}
        groups = enumerate(table["near_group"].to_pylist())
        return cls(
            names,
            words_of(table["dhash"].to_pylist()),
            words_of(table["pixel_hash"].to_pylist()).reshape(-1, 2),
            np.array([number if name is None else place.get(name, number) for number, name in groups], np.int64),
            np.array([is_synthetic(term) for term in table["source_type"].to_pylist()], bool),
            np.array([split.NAMES.index(name) for name in table["split"].to_pylist()], np.int8),
            np.array([split.REASONS.index(reason) for reason in table["excluded"].to_pylist()], np.int8),
            table["shard"].to_numpy().astype(np.int64),
            table["row"].to_numpy().astype(np.int64),
        )


def _write_parts(journal: Journal, old: _Old, records: Iterable[PhotoRecord]) -> list[Part]:
    """Writes the shards of the generated pictures, numbered after the old ones; a picture never comes twice."""
    known = set(old.photo_ids)
    first = int(old.shard.max()) + 1
    parts: list[Part] = []
    writer: PartWriter | None = None
    source = iter(records)
    try:
        while chunk := list(itertools.islice(source, CHUNK)):
            examined = _unknown(examine(chunk, AS_IT_IS), known)
            if not examined.stored:
                continue
            writer = writer or PartWriter(journal, first + len(parts))
            writer.add(len(chunk), examined)
            if writer.photos >= DEFAULTS.shard_photos or writer.bytes >= SHARD_BYTES:
                parts.append(writer.close(writer.records, ""))
                writer = None
        if writer is not None:
            parts.append(writer.close(writer.records, ""))
            writer = None
    finally:
        if writer is not None:
            writer.abandon()
    return parts


def _unknown(examined: Examined, known: set[str]) -> Examined:
    """Returns what was examined without the pictures whose ids are known, and adds the others' to `known`."""
    if examined.left_out:
        raise PackshotError("A generated picture {} {}.".format(*examined.left_out[0]))
    if not all(map(is_synthetic, examined.columns["source_type"])):
        raise ValueError("a picture that is not labelled as generated was to be added as one that is.")
    keep = []
    for number, name in enumerate(examined.columns["photo_id"]):
        if name not in known:
            known.add(name)
            keep.append(number)
    columns = {name: [values[k] for k in keep] for name, values in examined.columns.items()}
    return Examined(columns=columns, stored=[examined.stored[k] for k in keep])


def _give_up(journal: Journal, new: bool) -> None:
    journal.remove()
    (journal.out / "shards").rmdir()
    if new:
        journal.out.rmdir()


@dataclass(frozen=True)
class _Verdict:
    """Groups of all N + M pictures, by the number of their first; and why each of the M is not trained on."""

    exact: Index
    near: Index
    excluded: split.Codes


def _finish(catalog: Catalog, journal: Journal, old: _Old, parts: list[Part], made_by: Mapping[str, Any]) -> None:
    """Copies the old shards, writes the manifest and, last of all, catalog.json."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = journal.out
    examined = pa.concat_tables([pq.ParquetFile(journal.examined(p.number)).read() for p in parts])
    verdict = _judge(catalog, old, examined)
    about = read_json(catalog.path / "catalog.json")
    for name in [*about["files"], *([LEDGER] if (catalog.path / LEDGER).exists() else [])]:
        if name != "manifest.parquet":
            with atomic_path(out / name) as temporary:
                shutil.copyfile(catalog.path / name, temporary)
    tallies = _write_manifest(catalog, out, old, parts, examined, verdict)
    files = about["files"] | {"manifest.parquet": sha256_file(out / "manifest.parquet")}
    files |= {shard_name(p.number): p.shard_sha256 for p in parts}
    reasons = [split.REASONS[code] for code in verdict.excluded]
    fact = {
        "from": catalog.checksum,
        **made_by,
        "pictures": len(reasons),
        "categories": dict(Counter(name or UNCATEGORISED for name in examined["category"].to_pylist())),
        "excluded": {reason: reasons.count(reason) for reason in split.REASONS if reason and reason in reasons},
    }
    about |= {
        "packshot": __version__,
        "checksum": compute_checksum(files, about["categories"]),
        # What the photos are like, and what became of the source's files, is as it was.
        "summary": about["summary"] | tallies.summary(about["categories"]),
        "generated": [*about.get("generated", []), fact],
        "files": files,
    }
    write_json(out / "catalog.json", about)


def _judge(catalog: Catalog, old: _Old, examined: pa.Table) -> _Verdict:
    n, m = len(old.dhash), examined.num_rows
    dhash = words_of(examined["dhash"].to_pylist())
    pixels = np.concatenate([old.pixels, words_of(examined["pixel_hash"].to_pylist()).reshape(-1, 2)])
    exact = duplicates.exact_groups(pixels)
    thumbs = _thumbs(examined)
    everything = np.arange(n + m)
    same = np.stack([np.concatenate([old.near, exact[n:]]), everything], axis=1)
    among = (pairs + n for pairs in duplicates.near_pairs(dhash, *thumbs))
    near = duplicates.group(
        n + m, itertools.chain([same[same[:, 0] != everything]], _pairs_with_old(catalog, old, dhash, thumbs), among)
    )
    generated = np.concatenate([old.generated, np.ones(m, bool)])
    sides = np.concatenate([old.sides, np.full(m, split.TRAIN, np.int8)])
    excluded = np.concatenate([old.excluded, np.zeros(m, np.int8)])
    excluded[n:] = split.leave_out_generated(excluded, np.zeros(n + m, np.int8), near, generated)[n:]
    excluded[n:] = split.leave_out_repeated(excluded, sides, exact, also_test=False)[n:]
    return _Verdict(exact, near, excluded[n:])


def _thumbs(examined: pa.Table) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Returns grey [M, 256] and colour [M, 192] thumbs."""
    grey, colour = (
        np.frombuffer(b"".join(examined[name].to_pylist()), np.uint8).reshape(examined.num_rows, -1)
        for name in ("grey", "colour")
    )
    return grey, colour


def _pairs_with_old(
    catalog: Catalog, old: _Old, dhash: Words, thumbs: tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]
) -> Iterator[Index]:
    """Yields near duplicates as pairs [P, 2] of an old row and a new one (counted from N).

    The manifest has no thumbs, so those old pictures that dHash makes candidates are looked at again.
    """
    n = len(old.dhash)
    step = max(1, BLOCK // n)

    def candidates(start: int) -> Any:
        return np.bitwise_count(dhash[start : start + step, None] ^ old.dhash[None]) <= duplicates.MAX_BITS

    asked = np.zeros(n, bool)
    for start in range(0, len(dhash), step):
        asked |= candidates(start).any(axis=0)
    rows = np.flatnonzero(asked)
    place = np.cumsum(asked) - 1 + len(dhash)
    grey, colour = (np.concatenate(both) for both in zip(thumbs, _old_thumbs(catalog, old, rows), strict=True))
    mean, deviation = grey.mean(axis=1, dtype=np.float32), grey.std(axis=1, dtype=np.float32)
    for start in range(0, len(dhash), step):
        fresh, row = np.nonzero(candidates(start))
        fresh += start
        for low in range(0, len(row), duplicates.BLOCK):
            i, j = fresh[low : low + duplicates.BLOCK], row[low : low + duplicates.BLOCK]
            near = duplicates.is_near(np.stack([i, place[j]], axis=1), grey, colour, mean, deviation)
            yield np.stack([j[near], i[near] + n], axis=1)


def _old_thumbs(catalog: Catalog, old: _Old, rows: Index) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Returns the thumbs of some old rows, from the pictures as they are stored."""
    grey, colour = np.empty((len(rows), 256), np.uint8), np.empty((len(rows), 192), np.uint8)
    for shard in np.unique(old.shard[rows]):
        numbers = np.flatnonzero(old.shard[rows] == shard)
        wanted = dict(zip(old.row[rows[numbers]].tolist(), numbers.tolist(), strict=True))
        at = 0
        with open_parquet(catalog.path / shard_name(int(shard))) as file:
            for batch in file.iter_batches(batch_size=CHUNK):
                stored = {
                    wanted[r]: batch.slice(r - at, 1).to_pylist()[0] for r in range(at, at + len(batch)) if r in wanted
                }
                at += len(batch)
                if stored:
                    looked = examine([_record(row) for row in stored.values()], AS_IT_IS)
                    if looked.left_out:
                        raise PackshotError("A stored photo {} {}.".format(*looked.left_out[0]))
                    for number, g, c in zip(stored, looked.columns["grey"], looked.columns["colour"], strict=True):
                        grey[number], colour[number] = np.frombuffer(g, np.uint8), np.frombuffer(c, np.uint8)
    return grey, colour


def _record(row: dict[str, Any]) -> PhotoRecord:
    if row["format"] == GREY8:
        pixels = np.frombuffer(row["bytes"], np.uint8).reshape(row["height"], row["width"])
        return PhotoRecord(key=row["photo_id"], pixels=pixels)
    return PhotoRecord(key=row["photo_id"], data=row["bytes"])


def _write_manifest(
    catalog: Catalog, out: Path, old: _Old, parts: list[Part], examined: pa.Table, verdict: _Verdict
) -> Tallies:
    """Writes the old rows, with the groups as they are now, and the new ones; returns the counts."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema, tallies = arrow_schema(MANIFEST), Tallies()
    names = old.photo_ids + examined["photo_id"].to_pylist()
    grouped = {"duplicate_group": verdict.exact, "near_group": verdict.near}
    groups = {column: _group_names(names, group) for column, group in grouped.items()}
    n, m = len(old.dhash), examined.num_rows
    fresh = {
        "split": ["train"] * m,
        "excluded": [split.REASONS[code] for code in verdict.excluded],
        "shard": np.repeat(np.array([p.number for p in parts], np.int32), [p.photos for p in parts]),
        "row": np.concatenate([np.arange(p.photos, dtype=np.int32) for p in parts]),
        **{column: values[n:] for column, values in groups.items()},
    }
    with (
        atomic_path(out / "manifest.parquet") as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
        open_parquet(catalog.path / "manifest.parquet") as manifest,
    ):
        at = 0
        for batch in manifest.iter_batches():
            table = with_columns(pa.Table.from_batches([batch]), MANIFEST)
            here = {column: values[at : at + len(batch)] for column, values in groups.items()}
            at += len(batch)
            whole = pa.table({c: here[c] if c in here else table[c] for c in MANIFEST}, schema=schema)
            tallies.add(whole, None)
            writer.write_table(whole)
        whole = pa.table({c: fresh[c] if c in fresh else examined[c] for c in MANIFEST}, schema=schema)
        tallies.add(whole, None)
        writer.write_table(whole)
    return tallies


def _group_names(names: list[str], groups: Index) -> list[str | None]:
    sizes = np.bincount(groups, minlength=len(names))
    return [names[g] if sizes[g] > 1 else None for g in groups.tolist()]
