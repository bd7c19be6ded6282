"""The end of an ingest: duplicates and splits over all photos, the manifest, and the catalogue's own description.

All of it follows from the parts alone, so that it can be done again if it is cut off. Memory: about 150 bytes per
photo; thumbs lie in a file, table columns are read part by part.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from packshot import __version__
from packshot.catalog import duplicates, split
from packshot.catalog.checksum import compute_checksum
from packshot.catalog.dataset import FORMAT, FORMAT_VERSION
from packshot.catalog.fingerprint import words_of
from packshot.catalog.options import IngestOptions
from packshot.catalog.parts import Journal, Part, shard_name
from packshot.catalog.records import Source
from packshot.catalog.schema import MANIFEST, UNCATEGORISED, arrow_schema
from packshot.catalog.tallies import Tallies
from packshot.core.files import atomic_path, disk_errors, sha256_file, write_json
from packshot.images.xmp import is_synthetic

if TYPE_CHECKING:
    pass

GREY, COLOUR = 256, 192
EXAMPLES = 3


@dataclass
class Index:
    """What is held in memory of every photo, in the order of the source.

    Attributes:
        names: [N] uint64, photo ids.
        pixels: [N, 2] uint64, pixel hashes.
        dhash: [N] uint64.
        category: [N] int64, numbers into `categories`.
        product: [N] uint64, hashes of product ids, 0 for none.
        given: [N] int8, the source's split.
        generated: [N] bool, pictures that are no photos.
        categories: names.
    """

    names: npt.NDArray[np.uint64]
    pixels: npt.NDArray[np.uint64]
    dhash: npt.NDArray[np.uint64]
    category: npt.NDArray[np.int64]
    product: npt.NDArray[np.uint64]
    given: npt.NDArray[np.int8]
    generated: npt.NDArray[np.bool_]
    categories: list[str]


@dataclass
class Verdict:
    """What was decided about every photo of the source; arrays of [N].

    Attributes:
        taken: False: listed twice, and left out.
        exact: the first photo with the same pixels.
        near: the first photo of the same group of duplicates.
        split: numbers into `split.NAMES`.
        excluded: numbers into `split.REASONS`.
    """

    taken: npt.NDArray[np.bool_]
    exact: npt.NDArray[np.int64]
    near: npt.NDArray[np.int64]
    split: npt.NDArray[np.int8]
    excluded: npt.NDArray[np.int8]


def finish(journal: Journal, parts: list[Part], source: Source, options: IngestOptions) -> dict[str, Any]:
    """Writes manifest.parquet, rejected.jsonl and, last of all, catalog.json; returns the latter's content.

    Args:
        journal: the ingest's folder.
        parts: all of its parts.
        source: what was read.
        options: how.

    Raises:
        PackshotError: the disk refuses.
    """
    out = journal.out
    thumbs = journal.folder / "thumbs"
    index = _read_index(journal, parts, thumbs)
    verdict = _judge(index, thumbs, options)
    twice, tallies = _write_manifest(journal, parts, index, verdict)
    left_out = _write_left_out(journal, parts, twice)
    categories = list(source.categories or sorted(set(index.categories) - {UNCATEGORISED}))
    if UNCATEGORISED in index.categories and UNCATEGORISED not in categories:
        categories.append(UNCATEGORISED)

    files = {"manifest.parquet": sha256_file(out / "manifest.parquet")}
    files |= {shard_name(p.number): p.shard_sha256 for p in parts if p.shard_sha256 is not None}
    notes: Counter[str] = Counter(dict.fromkeys(source.notes, 1))
    for part in parts:
        for note, count in part.notes.items():
            notes[kind_of_reason(note)] += count
    summary = {
        **tallies.summary(categories),
        "native": tallies.native(),
        "duplicates": _count_duplicates(verdict),
        "left_out": {kind: count for kind, count, _ in left_out},
        "examples": {kind: names for kind, _, names in left_out},
        "notes": dict(sorted(notes.items())),
    }
    catalog = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "packshot": __version__,
        "checksum": compute_checksum(files, categories),
        "source_kind": source.kind,
        "options": {k: v for k, v in options.settled().items() if k != "images"},
        "categories": categories,
        "summary": summary,
        "files": files | {"rejected.jsonl": sha256_file(out / "rejected.jsonl")},
    }
    write_json(out / "catalog.json", catalog)
    return catalog


def kind_of_reason(reason: str) -> str:
    """Returns a reason without what differs from photo to photo: numbers become N, quoted words an ellipsis."""
    return re.sub(r"\d[\d,.]*", "N", re.sub(r"'[^']*'", "'…'", reason))


def _read_index(journal: Journal, parts: list[Part], thumbs: Path) -> Index:
    import pyarrow.parquet as pq

    count = sum(p.photos for p in parts)
    index = Index(
        names=np.empty(count, np.uint64),
        pixels=np.empty((count, 2), np.uint64),
        dhash=np.empty(count, np.uint64),
        category=np.empty(count, np.int64),
        product=np.zeros(count, np.uint64),
        given=np.empty(count, np.int8),
        generated=np.empty(count, bool),
        categories=[],
    )
    numbers: dict[str, int] = {}
    at = 0
    columns = ["photo_id", "pixel_hash", "dhash", "category", "product_id", "split", "source_type", "grey", "colour"]
    with disk_errors(thumbs), thumbs.open("wb") as f:
        for part in parts:
            if not part.photos:
                continue
            path = journal.examined(part.number)
            with disk_errors(path):
                table = pq.ParquetFile(path).read(columns).to_pydict()
            here = slice(at, at + part.photos)
            at += part.photos
            index.names[here] = words_of(table["photo_id"])
            index.pixels[here] = words_of(table["pixel_hash"]).reshape(-1, 2)
            index.dhash[here] = words_of(table["dhash"])
            index.category[here] = [numbers.setdefault(c or UNCATEGORISED, len(numbers)) for c in table["category"]]
            index.product[here] = [_hash(p) if p else 0 for p in table["product_id"]]
            index.given[here] = [split.NAMES.index(s) for s in table["split"]]
            index.generated[here] = [is_synthetic(term) for term in table["source_type"]]
            for grey, colour in zip(table["grey"], table["colour"], strict=True):
                f.write(grey + colour)
    index.categories = list(numbers)
    return index


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") or 1


def _judge(index: Index, thumbs: Path, options: IngestOptions) -> Verdict:
    count = len(index.names)
    _, first = np.unique(index.names, return_index=True)
    taken = np.zeros(count, bool)
    taken[first] = True
    rows = np.flatnonzero(taken)

    exact = duplicates.exact_groups(index.pixels[rows])
    single = np.flatnonzero(exact == np.arange(len(rows)))  # One of each group of equal photos stands for it.
    stored = np.memmap(thumbs, np.uint8, "r", shape=(count, GREY + COLOUR))
    chosen = rows[single]
    grey, colour = _Rows(stored, chosen, slice(0, GREY)), _Rows(stored, chosen, slice(GREY, None))
    near_single = duplicates.group(len(single), duplicates.near_pairs(index.dhash[chosen], grey, colour))
    place = np.empty(len(rows), np.int64)
    place[single] = np.arange(len(single))
    near = single[near_single[place[exact]]]

    sides, excluded = _sides(index, rows, exact, near, options)

    def spread(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        whole = np.zeros(count, values.dtype)
        whole[rows] = values
        return whole

    return Verdict(taken, spread(rows[exact]), spread(rows[near]), spread(sides), spread(excluded))


def _sides(
    index: Index,
    rows: npt.NDArray[np.int64],
    exact: npt.NDArray[np.int64],
    near: npt.NDArray[np.int64],
    options: IngestOptions,
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int8]]:
    """Returns split and exclusion of the rows; generated pictures change nothing about the photos'."""
    generated, given = index.generated[rows], index.given[rows]
    sides, excluded = np.full(len(rows), split.TRAIN, np.int8), np.zeros(len(rows), np.int8)
    photos = np.flatnonzero(~generated)
    _, first, inverse = np.unique(near[photos], return_index=True, return_inverse=True)
    near_photos = first[inverse]
    published = bool(given[photos].any())
    if published:
        sides[photos], excluded[photos] = split.keep_published(given[photos], near_photos)
    else:
        own = rows[photos]
        sides[photos] = split.make_split(
            near_photos, index.product[own], index.category[own], index.names[own], options.test_share, options.seed
        )
    excluded = split.leave_out_generated(excluded, given, near, generated)
    return sides, split.leave_out_repeated(excluded, sides, exact, also_test=not published)


class _Rows:
    """Some rows of an array in a file; only those that are asked for are read."""

    def __init__(self, stored: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64], columns: slice) -> None:
        self.stored, self.rows, self.columns = stored[:, columns], rows, columns

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> npt.NDArray[np.uint8]:
        return np.asarray(self.stored[self.rows[key]])


def _write_manifest(
    journal: Journal, parts: list[Part], index: Index, verdict: Verdict
) -> tuple[list[tuple[str, str]], Tallies]:
    """Writes manifest.parquet part by part; returns (key, reason) of photos that were listed twice, and the counts."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = arrow_schema(MANIFEST)
    twice: list[tuple[str, str]] = []
    tallies = Tallies()
    exact_size, near_size = _sizes(verdict.exact, verdict.taken), _sizes(verdict.near, verdict.taken)
    path = journal.out / "manifest.parquet"
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        at = 0
        for part in parts:
            if not part.photos:
                continue
            rows = np.arange(at, at + part.photos)
            at += part.photos
            table = pq.ParquetFile(journal.examined(part.number)).read()
            more = {
                "split": [split.NAMES[s] for s in verdict.split[rows]],
                "duplicate_group": _group_names(index, verdict.exact[rows], exact_size),
                "near_group": _group_names(index, verdict.near[rows], near_size),
                "excluded": [split.REASONS[e] for e in verdict.excluded[rows]],
                "shard": np.full(len(rows), part.number, np.int32),
                "row": np.arange(len(rows), dtype=np.int32),
            }
            whole = pa.table({name: more[name] if name in more else table[name] for name in MANIFEST}, schema=schema)
            taken, colour = verdict.taken[rows], table["colour"]
            if not taken.all():
                why = "is listed twice: the same photo of the same product came before"
                twice += [(key, why) for key, good in zip(table["key"].to_pylist(), taken, strict=True) if not good]
                whole, colour = whole.filter(pa.array(taken)), colour.filter(pa.array(taken))
            tallies.add(whole, colour)
            writer.write_table(whole)
    return twice, tallies


def _sizes(groups: npt.NDArray[np.int64], taken: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    return np.bincount(groups[taken], minlength=len(groups))


def _group_names(index: Index, groups: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> list[str | None]:
    """Returns for each photo the id of the first one of its group; None where it is alone."""
    return [f"{int(index.names[g]):016x}" if sizes[g] > 1 else None for g in groups]


def _write_left_out(
    journal: Journal, parts: list[Part], twice: list[tuple[str, str]]
) -> list[tuple[str, int, list[str]]]:
    """Writes rejected.jsonl; returns (kind of reason, count, first names), the most frequent first."""
    counts: Counter[str] = Counter()
    examples: dict[str, list[str]] = {}
    with atomic_path(journal.out / "rejected.jsonl") as temporary, temporary.open("w", encoding="utf-8") as f:
        for key, reason in itertools.chain(journal.left_out(parts), twice):
            f.write(json.dumps({"photo": key, "reason": reason}, ensure_ascii=False) + "\n")
            kind = kind_of_reason(reason)
            counts[kind] += 1
            if counts[kind] <= EXAMPLES:
                examples.setdefault(kind, []).append(key)
    return [(kind, count, examples[kind]) for kind, count in sorted(counts.items(), key=lambda c: (-c[1], c[0]))]


def _count_duplicates(verdict: Verdict) -> dict[str, int]:
    exact, near = _sizes(verdict.exact, verdict.taken), _sizes(verdict.near, verdict.taken)
    # A near group is one of more than equal photos: it holds several groups of equal ones.
    firsts = verdict.taken & (verdict.exact == np.arange(len(verdict.exact)))
    several = np.bincount(verdict.near[firsts], minlength=len(near)) > 1
    return {
        "exact_groups": int((exact > 1).sum()),
        "exact_photos": int(exact[exact > 1].sum()),
        "near_groups": int(several.sum()),
        "near_photos": int(near[several].sum()),
        "largest_group": int(near.max()),
    }
