"""Which photos a picture was made from, where it is no edit of one: noted beside it, so that an erasure finds it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from packshot.core.runs import append_jsonl
from packshot.release.door import Released
from packshot.tasks.journal import JOURNAL, read_journal


def note_made_from(out: Path, released: Iterable[Released], ingredients: Sequence[Mapping[str, Any]]) -> None:
    """Adds a line for each picture to OUT/packshot.jsonl: its file, its SHA-256, and name and SHA-256 of its photos.

    Args:
        out: the folder that the pictures lie in.
        released: the pictures.
        ingredients: the photos that all of them were made from, with `name` and `sha256`; none: nothing is noted.

    Raises:
        PackshotError: the disk refuses.
    """
    if not ingredients:
        return
    made_from = [{"name": one["name"], "sha256": one["sha256"]} for one in ingredients]
    there = read_journal(out / JOURNAL)
    for one in released:
        row = {"made_from": made_from, "picture": one.path.relative_to(out).as_posix(), "sha256": one.sha256}
        if row not in there:
            append_jsonl(out / JOURNAL, row)
