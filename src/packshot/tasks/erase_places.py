"""Where things made from photos lie: catalogues, runs, folders of results; links are never followed."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from packshot.core.errors import PackshotError, UsageError
from packshot.core.files import disk_errors, sha256_file
from packshot.release.door import SIDE_CAR
from packshot.tasks.journal import JOURNAL

DEPTH = 4
"""How many folders below the current one are looked into where no place is named."""

LIKE_SHEET = re.compile(r"(?P<kind>like|mix|styles)-(?P<names>.+)-\d+-(?:\d{4}|sheet)\.png", re.DOTALL)
"""Names that `packshot create` gives to pictures made with a photo."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """What lies in some folders.

    Attributes:
        roots: the folders, without links.
        catalogues: folders with catalog.json.
        unfinished: folders of ingests that were not finished.
        runs: folders with run.json.
        outputs: folders with a journal of results.
        explained: files explain.json.
        files: all files but those in catalogues.
    """

    roots: list[Path]
    catalogues: list[Path]
    unfinished: list[Path]
    runs: list[Path]
    outputs: list[Path]
    explained: list[Path]
    files: list[Path]


def find_places(
    given: Sequence[Path], beside: Sequence[Path] = (), without: Collection[Path] = (), *, here: bool = True
) -> Places:
    """Looks through folders.

    Args:
        given: folders that the user named; none: what is found in the current folder, `DEPTH` folders deep.
        beside: folders that are looked through as well.
        without: files and folders, without links, that are not looked into.
        here: whether the current folder is looked through where no folder is named.

    Raises:
        UsageError: one of them is no folder.
        PackshotError: a folder may not be read; or none was named, and there is nothing here.
    """
    for path in given:
        if not path.is_dir():
            raise UsageError(f"--in {path} is no folder; name catalogues, runs, or folders that hold results.")
    more = [path.resolve() for path in beside]
    if given or not here:
        return _look([*(path.resolve() for path in given), *more], None, without)
    found = _look([Path.cwd()], DEPTH, without)
    roots = [*found.catalogues, *found.runs, *found.outputs, *found.unfinished, *more]
    if not roots and not without:
        raise PackshotError("There is no catalogue, run or folder of results here; name one with --in.")
    return _look(roots, None, without)


def _look(roots: list[Path], depth: int | None, without: Collection[Path]) -> Places:
    tops = [r for r in dict.fromkeys(roots) if not any(r != other and r.is_relative_to(other) for other in roots)]
    places = Places(roots=tops, catalogues=[], unfinished=[], runs=[], outputs=[], explained=[], files=[])
    for top in tops:
        for folder, names, files in walk(top):
            if depth is not None and len(folder.relative_to(top).parts) >= depth:
                names.clear()
            names[:] = [name for name in names if folder / name not in without]
            if "catalog.json" in files:
                places.catalogues.append(folder)
                names.clear()
                continue
            if ".ingest" in names:
                places.unfinished.append(folder)
            for name, kind in (("run.json", places.runs), (JOURNAL, places.outputs)):
                if name in files:
                    kind.append(folder)
            if "explain.json" in files:
                places.explained.append(folder / "explain.json")
            places.files.extend(folder / name for name in files if folder / name not in without)
    return places


def walk(top: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yields each folder with the names of its folders, which may be cleared, and of its regular files; no links.

    Raises:
        PackshotError: one may not be read.
    """

    def refuse(e: OSError) -> None:
        raise e

    with disk_errors(top):
        for folder, names, files in os.walk(top, onerror=refuse, followlinks=False):
            names.sort()
            here = Path(folder)
            regular = [f for f in sorted(files) if (here / f).is_file() and not (here / f).is_symlink()]
            yield here, names, regular


@dataclass(frozen=True)
class Line:
    """One line of a journal of results.

    Attributes:
        folder: of the journal.
        raw: the line.
        row: what it holds.
    """

    folder: Path
    raw: bytes
    row: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """SHA-256 of the line."""
        return hashlib.sha256(self.raw).hexdigest()

    @property
    def photo(self) -> str:
        """The name of the photo that it is about; empty: it names none."""
        name = self.row.get("photo")
        return name if isinstance(name, str) else ""

    def checksums(self) -> set[str] | None:
        """Returns the SHA-256 of the photos that its picture was made from; None: it does not say."""
        own, made_from = self.row.get("photo_sha256"), self.row.get("made_from")
        if not isinstance(own, str) and not isinstance(made_from, list):
            return None
        listed = made_from if isinstance(made_from, list) else []
        several = {str(one.get("sha256")) for one in listed if isinstance(one, dict)}
        return several | ({own} if isinstance(own, str) else set())

    def results(self) -> Iterator[tuple[Path, str | None]]:
        """Yields its files, each with the SHA-256 that was noted; names that lead out of the folder are passed over."""
        beside = self.row.get("beside")
        named = [(self.row.get("picture"), self.row.get("sha256"))]
        named += [(name, None) for name in (beside.values() if isinstance(beside, dict) else ())]
        for name, sha256 in named:
            if isinstance(name, str) and name:
                path = self.folder / name
                if path.parent.resolve().is_relative_to(self.folder):
                    yield path.parent.resolve() / path.name, sha256 if isinstance(sha256, str) else None


def read_lines(folder: Path) -> list[Line]:
    """Returns the lines of a folder's journal; damaged ones hold an empty row."""
    path = folder / JOURNAL
    with disk_errors(path):
        raws = path.read_bytes().split(b"\n")
    lines = []
    for raw in raws:
        try:
            row = json.loads(raw)
        except (ValueError, RecursionError):
            row = {}
        if raw:
            lines.append(Line(folder, raw, row if isinstance(row, dict) else {}))
    return lines


def with_side_car(path: Path) -> Iterator[Path]:
    """Yields a picture's file and its side-car, those that are there and are no links."""
    for one in (path, path.with_name(path.name + SIDE_CAR)):
        if one.is_file() and not one.is_symlink():
            yield one


class Names:
    """Names of photos, to ask whether another name may mean one of the same files."""

    def __init__(self, names: Iterable[str]) -> None:
        self._by_last: dict[str, list[tuple[str, ...]]] = {}
        for name in names:
            parts = PurePath(name).parts[::-1]
            if parts:
                self._by_last.setdefault(parts[0], []).append(parts)

    def has(self, name: str) -> bool:
        """Returns whether a name ends with one of these, or one of these with it, whole folders counted."""
        parts = PurePath(name).parts[::-1]
        known = self._by_last.get(parts[0], ()) if parts else ()
        return any(all(x == y for x, y in zip(parts, other, strict=False)) for other in known)


class Checksums:
    """SHA-256 of files, each computed once; None of what is not there or cannot be read."""

    def __init__(self) -> None:
        self._known: dict[Path, str | None] = {}

    def __call__(self, path: Path) -> str | None:
        """Returns a file's checksum."""
        if path not in self._known:
            try:
                self._known[path] = sha256_file(path) if path.is_file() else None
            except PackshotError:
                self._known[path] = None
        return self._known[path]

    def copies(self, files: Iterable[Path], sha256s: set[str]) -> Iterator[tuple[Path, str]]:
        """Yields those of the files that are one of these photos, byte for byte."""
        for path in files:
            digest = self(path)
            if digest in sha256s and digest is not None:
                yield path, digest
