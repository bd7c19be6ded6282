"""A folder of photos: the sub-folder is the category."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from packshot.catalog.options import IngestOptions
from packshot.catalog.records import SPLITS, PhotoRecord, Source
from packshot.core.files import disk_errors
from packshot.images.decode import SUFFIXES

PICTURES = {ending for endings in SUFFIXES.values() for ending in endings}
IGNORED = {"thumbs.db", "desktop.ini"}


def open_folder(path: Path, options: IngestOptions, leave_out: Path | None = None) -> Source:
    """Opens a folder.

    `a/b/1.jpg` gets the category "a/b", a photo at the top none. Where the top holds nothing but folders named train,
    test or validation (and train is among them), they are the splits, and what is below them the categories.

    Args:
        path: the folder.
        options: `follow_symlinks` is used.
        leave_out: a folder below `path` that is not looked into (where the catalogue itself is written).

    Raises:
        PackshotError: no such folder, or it may not be read.
    """
    with disk_errors(path):
        top = [e for e in os.scandir(path) if not e.name.startswith(".") and e.name.lower() not in IGNORED]
    folders = {e.name.lower() for e in top if _is_folder(e)}
    by_split = len(folders) == len(top) > 1 and "train" in folders and folders <= SPLITS.keys()
    source = Source(kind="folder", records=())
    if by_split:
        source.notes.append(f"The folders {', '.join(sorted(folders))} were taken as splits.")
    lists = sorted(e.name for e in top if e.name.lower().endswith((".csv", ".tsv", ".jsonl", ".xml")))
    if lists:
        source.notes.append(
            f"The folder also holds {', '.join(lists[:3])}; to ingest from a list, give its path instead of the folder."
        )
    source.records = _records(path, options, str(leave_out.resolve()) if leave_out else None, by_split)
    return source


def _records(path: Path, options: IngestOptions, leave_out: str | None, by_split: bool) -> Iterator[PhotoRecord]:
    real = str(path.resolve())
    root = None if options.follow_symlinks else real
    for entry, parts in _walk(str(path), (), options.follow_symlinks, leave_out, frozenset({real})):
        key = "/".join((*parts, entry.name))
        if isinstance(entry, _Unreadable):
            yield PhotoRecord(key=key, problem=entry.problem)
            continue
        split = SPLITS[parts[0].lower()] if by_split else None
        category = "/".join(parts[by_split:]) or None
        yield PhotoRecord(key=key, path=entry.path, root=root, category=category, split=split)


class _Unreadable(NamedTuple):
    """A folder that is not looked into, and why."""

    name: str
    problem: str


Entry = os.DirEntry[str] | _Unreadable


def _walk(
    folder: str, parts: tuple[str, ...], follow: bool, leave_out: str | None, above: frozenset[str]
) -> Iterator[tuple[Entry, tuple[str, ...]]]:
    """Yields (photo, names of the folders above it), sorted by name in each folder; memory is one folder's names."""
    try:
        entries = sorted(os.scandir(folder), key=lambda e: e.name)
    except OSError as e:
        yield _Unreadable(parts[-1] if parts else ".", f"is a folder that cannot be read: {e.strerror}"), parts[:-1]
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name.lower() in IGNORED:
            continue
        if _is_folder(entry) and (follow or not entry.is_symlink()):
            real = os.path.realpath(entry.path)
            if real != leave_out and real not in above:  # A link back to a folder above would go on for ever.
                yield from _walk(entry.path, (*parts, entry.name), follow, leave_out, above | {real})
        elif _is_folder(entry):
            yield _Unreadable(entry.name, "is a link to a folder; --follow-symlinks allows that"), parts
        elif os.path.splitext(entry.name)[1].lower() in PICTURES:  # noqa: PTH122
            yield entry, parts


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # A link that leads back to itself.
        return False
