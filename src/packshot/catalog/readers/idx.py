"""IDX files, the format of MNIST and Fashion-MNIST: grey pictures of one size, and a label for each.

Format: two zero bytes, the element type (8: unsigned byte), the number of dimensions, each dimension as a big-endian
32-bit integer, then the elements. Source: http://yann.lecun.com/exdb/mnist, "the IDX file format".
"""

from __future__ import annotations

import gzip
import hashlib
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from packshot.catalog.options import IngestOptions
from packshot.catalog.records import SPLITS, PhotoRecord, Source
from packshot.catalog.references import FASHION_MNIST
from packshot.core.errors import PackshotError
from packshot.core.files import disk_errors

IMAGES, LABELS = 3, 1
NAMES = "categories.txt"
"""A file beside the IDX files with the names of the labels 0, 1, ..., one per line."""

BLOCK = 1024
"""Pictures read at a time."""


@dataclass(frozen=True)
class Pair:
    """A file of pictures, the file of its labels (None: none), and the split that the file's name states."""

    images: Path
    labels: Path | None
    split: str | None


def is_idx(path: Path) -> bool:
    """Returns whether the file's content, unpacked where it is gzip, starts as IDX does."""
    try:
        with _open(path) as f:
            start = f.read(4)
    except PackshotError:
        return False
    return len(start) == 4 and start[:3] == b"\0\0\x08" and start[3] in (IMAGES, LABELS)


def find_pairs(folder: Path) -> list[Pair]:
    """Returns the pairs in a folder: train first, then test, then others by name."""
    with disk_errors(folder):
        names = sorted(p for p in folder.iterdir() if "idx3" in p.name and p.is_file())
    chosen = {p.name.removesuffix(".gz"): p for p in names}  # Where both are there, the plain one sorts first: gz wins.
    pairs = [pair_of(p) for p in chosen.values() if is_idx(p)]
    return sorted(pairs, key=lambda p: ({"train": 0, "test": 1}.get(p.split or "", 2), p.images.name))


def pair_of(images: Path) -> Pair:
    """Returns the pair that a file of pictures belongs to."""
    stem = images.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    labels = next((p for p in (images.with_name(stem), images.with_name(stem + ".gz")) if p.is_file()), None)
    word = images.name.split("-")[0].split(".")[0].lower()
    return Pair(images, labels, SPLITS.get(word))


def open_idx(path: Path, options: IngestOptions) -> Source:
    """Opens IDX files: a folder of them, or one file of pictures.

    Raises:
        PackshotError: not IDX, cut short, or pictures and labels that do not fit together.
    """
    pairs = find_pairs(path) if path.is_dir() else [pair_of(path)]
    if not pairs:
        raise PackshotError(
            f"{path} holds no IDX file of pictures (a name with 'idx3', for example ...-images-idx3-ubyte)."
        )
    total = 0
    label_sums = set()
    highest = 0
    for pair in pairs:
        count, height, width = _dimensions(pair.images, IMAGES)
        if height * width > options.max_pixels or not height * width:
            raise PackshotError(f"{pair.images} says its pictures are {width} x {height}; that cannot be used.")
        _check_length(pair.images, IMAGES)
        if pair.labels is not None:
            (labels,) = _dimensions(pair.labels, LABELS)
            if labels != count:
                raise PackshotError(
                    f"{pair.images.name} has {count:,} pictures but {pair.labels.name} {labels:,} labels."
                )
            _check_length(pair.labels, LABELS)
            with _open(pair.labels) as f:
                content = f.read()
            label_sums.add(hashlib.sha256(content).hexdigest())
            highest = max(highest, max(content[8:], default=0))
        total += count
    source = Source(kind="idx", records=(), total=total)
    # Known by its labels' checksums, so that a copy under any name gets its published category names and licence.
    known = {sum for name, sum in FASHION_MNIST.content_sha256.items() if "labels" in name}
    listed = (path if path.is_dir() else path.parent) / NAMES
    if options.categories:
        source.categories = options.categories
    elif listed.is_file():
        source.categories = _names(listed)
    elif label_sums and label_sums <= known:
        source.categories = FASHION_MNIST.categories
        source.licence, source.source = FASHION_MNIST.licence, FASHION_MNIST.source
    else:
        source.categories = tuple(str(i) for i in range(highest + 1)) if label_sums else None
    source.records = _records(pairs, source.categories or ())
    return source


def _records(pairs: list[Pair], categories: tuple[str, ...]) -> Iterator[PhotoRecord]:
    # The published split is one only where both sides of it are there.
    keep_split = {"train", "test"} <= {p.split for p in pairs}
    for pair in pairs:
        word = pair.split or pair.images.name.split(".")[0]
        for index, pixels, label in _pictures(pair):
            known = label is not None and label < len(categories)
            yield PhotoRecord(
                key=f"{word}/{index:05d}",
                pixels=pixels,
                category=categories[label] if known and label is not None else None,
                problem=f"has the label {label}, and there are {len(categories)} categories"
                if label is not None and not known
                else None,
                split=pair.split if keep_split else None,
            )


def _pictures(pair: Pair) -> Iterator[tuple[int, np.ndarray, int | None]]:
    count, height, width = _dimensions(pair.images, IMAGES)
    labels = None
    if pair.labels is not None:
        with _open(pair.labels) as f:
            labels = f.read()[8:]
    with _open(pair.images) as f:
        f.read(16)
        for start in range(0, count, BLOCK):
            n = min(BLOCK, count - start)
            block = np.frombuffer(f.read(n * height * width), np.uint8)
            if len(block) != n * height * width:
                raise PackshotError(f"{pair.images} was cut short while it was read.")
            for i, pixels in enumerate(block.reshape(n, height, width), start):
                yield i, pixels, None if labels is None else labels[i]


def _names(path: Path) -> tuple[str, ...]:
    with disk_errors(path):
        names = tuple(line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    if not names or "" in names or len(set(names)) < len(names):
        raise PackshotError(f"{path} has to hold one name per line for the labels 0, 1, ..., none empty or twice.")
    return names


def _dimensions(path: Path, wanted: int) -> tuple[int, ...]:
    with _open(path) as f:
        start = f.read(4 + 4 * wanted)
    if len(start) < 4 or start[:4] != bytes((0, 0, 8, wanted)):
        raise PackshotError(f"{path} is not an IDX file of {'pictures' if wanted == IMAGES else 'labels'}.")
    if len(start) < 4 + 4 * wanted:
        raise PackshotError(f"{path} is cut short: not even its header is whole.")
    return struct.unpack(f">{wanted}I", start[4:])


def _check_length(path: Path, wanted: int) -> None:
    """Reads the whole file once, with flat memory, so that a cut file is told before any work."""
    header = 4 + 4 * wanted
    expected = header + int(np.prod(_dimensions(path, wanted), dtype=np.uint64))
    length = 0
    with _open(path) as f:
        while block := f.read(2**20):
            length += len(block)
            if length > expected:
                raise PackshotError(f"{path} is longer than its header says; it is not a whole IDX file.")
    if length != expected:
        raise PackshotError(f"{path} is cut short: {length:,} bytes instead of {expected:,}; get it again.")


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    """Opens a plain or gzip file by its content.

    Raises:
        PackshotError: missing, or damaged gzip.
    """
    with disk_errors(path), path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        try:
            yield cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if packed else raw
        except (EOFError, zlib.error, gzip.BadGzipFile) as e:
            raise PackshotError(f"{path} is cut short or damaged: {e}; get it again.") from e
