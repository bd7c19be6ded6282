"""The photos that a command names: files, folders, catalogues and product feeds, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import NoReturn

from packshot.catalog.dataset import Catalog, open_catalog
from packshot.catalog.options import IngestOptions
from packshot.catalog.readers import open_source
from packshot.catalog.readers.folder import open_folder
from packshot.catalog.readers.lists import REMOTE
from packshot.core.errors import PackshotError, UsageError
from packshot.core.files import disk_errors, sha256_file
from packshot.images.decode import decode
from packshot.images.picture import ProductImage

LISTS = (".csv", ".tsv", ".tab", ".txt", ".xml", ".rss", ".atom", ".jsonl")
"""The endings of a file that names photos: a product feed, a shop's export, or any list with a column of photos."""


@dataclass(frozen=True)
class Photo:
    """One photo, not yet read; it can be pickled.

    Attributes:
        name: what to call it: the path as the user would write it, or "catalogue: photo", "feed: photo".
        stem: where its result goes below the folder of results, without an ending.
        path: its file; None where it lies in a catalogue.
        checksum: reads it and returns its SHA-256.
        read: decodes it.
        sha256: of the file that it came as, hex digits; None: that of `path`.
    """

    name: str
    stem: PurePosixPath
    path: Path | None
    checksum: Callable[[], str]
    read: Callable[[], ProductImage]
    sha256: str | None = None


def find_photos(given: Iterable[Path], leave_out: Path | None = None, images: Path | None = None) -> Iterator[Photo]:
    """Yields the photos of files, folders (with the folders in them), catalogues and feeds, in a fixed order.

    A catalogue gives all of its photos, as it stores them (by default at most 1,024 px): what it excludes, it excludes
    from training. A feed or list (`LISTS`) gives every photo that it names, once; nothing is fetched from the network.

    Args:
        given: what the user named.
        leave_out: a folder that is not looked into: results lie there.
        images: the folder that a feed's photos lie in, where the last part of an address is looked for as well; None:
            the feed's own.

    Raises:
        UsageError: nothing was named, or there is no such file or folder.
        PackshotError: a folder may not be read, a catalogue is damaged, or a feed is none.
    """
    given = list(given)
    if not given:
        raise UsageError("Name at least one photo, folder of photos or catalogue.")
    for path in given:
        with disk_errors(path):
            if not path.exists():
                raise UsageError(f"There is no file or folder {path}.")
    for path in given:
        if (path / "catalog.json").is_file():
            yield from _of_catalog(open_catalog(path))
        elif path.is_dir():
            yield from _of_folder(path, leave_out)
        elif is_list(path):
            yield from _of_list(path, images)
        else:
            yield _of_file(str(path), path, PurePosixPath(path.stem))


def is_list(path: Path) -> bool:
    """Returns whether a file names photos, by its ending."""
    with disk_errors(path):
        return path.suffix.lower() in LISTS and path.is_file()


def _of_file(name: str, path: Path, stem: PurePosixPath) -> Photo:
    return Photo(name, stem, path, partial(_checksum, path), partial(decode, path))


def _checksum(path: Path) -> str:
    with disk_errors(path):
        regular = path.is_file()
    if not regular:
        decode(path)  # Says what it is. Reading a pipe would wait for ever.
    return sha256_file(path)


def _of_folder(folder: Path, leave_out: Path | None) -> Iterator[Photo]:
    for record in open_folder(folder, IngestOptions(), leave_out).records:
        stem, name = PurePosixPath(record.key).with_suffix(""), f"{folder / record.key}"
        if record.path is None:
            refuse = partial(_refuse, f"{name} {record.problem}.")
            yield Photo(name, stem, None, refuse, refuse)
        else:
            yield _of_file(name, Path(record.path), stem)


def _of_list(path: Path, images: Path | None) -> Iterator[Photo]:
    folder = (images or path.parent).resolve()
    seen: set[PurePosixPath] = set()  # Products share pictures, and one picture may be named in two ways.
    for record in open_source(path, IngestOptions(images=None if images is None else str(images))).records:
        name, problem, below = f"{path}: {record.key}", record.problem, _below(record.key)
        if problem is not None and REMOTE.match(record.key):
            problem += "; download the photos and name their folder with --images"
        elif problem is not None and problem.startswith("does not exist"):
            problem = f"does not exist in {folder}"
        if record.path is not None and not Path(record.path).resolve().is_relative_to(folder):
            problem = f"lies outside of {images or path.parent}; name its folder with --images"
        elif record.path is not None:
            below = PurePosixPath(Path(record.path).resolve().relative_to(folder))
        if below in seen:
            continue
        seen.add(below)
        stem = below.with_suffix("") if below.name else PurePosixPath("photo")
        if problem is not None or record.path is None:
            refuse = partial(_refuse, f"{name} {problem or 'is no file'}.")
            yield Photo(name, stem, None, refuse, refuse)
        else:
            yield _of_file(name, Path(record.path), stem)


def _of_catalog(catalog: Catalog) -> Iterator[Photo]:
    table = catalog.manifest(["photo_id", "key", "sha256"])
    for row in zip(*(table[name].to_pylist() for name in table.column_names), strict=True):
        yield _of_row(catalog, *row)


def _of_row(catalog: Catalog, photo_id: str, key: str, digest: str) -> Photo:
    below = _below(key)
    stem = below.with_suffix("") if below.name else PurePosixPath(photo_id)
    name = f"{catalog.path}: {key}"
    checksum, read = partial(_row_checksum, catalog, photo_id), partial(catalog.read, photo_id)
    return Photo(name, stem, None, checksum, read, digest)


def _below(key: str) -> PurePosixPath:
    """Returns a path for a key, which may be anything that a list's row held: results lie below their folder."""
    return PurePosixPath(*(part for part in PurePosixPath(key).parts if part not in ("/", "..", ".")))


def _row_checksum(catalog: Catalog, photo_id: str) -> str:
    pixels = catalog.read(photo_id).pixels
    return sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def _refuse(sentence: str) -> NoReturn:
    raise PackshotError(sentence)
