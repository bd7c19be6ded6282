"""What became of photos, noted in OUT/packshot.jsonl: one line for each, written after its pictures are on the disk.

A line's key is the SHA-256 of all that decides the pixels, so another setting or another photo of that name is never
taken for done.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args

from packshot.core.errors import PackshotError
from packshot.core.files import disk_errors, sha256_file
from packshot.core.runs import append_jsonl

JOURNAL = "packshot.jsonl"

Status = Literal["done", "review", "refused", "failed"]


@dataclass(frozen=True, kw_only=True)
class PhotoResult:
    """What became of one photo.

    Attributes:
        photo: its name.
        status: "done"; "review": done, but a person should look, and it lies in OUT/review; "refused": the result
            broke a limit and was not written, what shows why lies in OUT/refused; "failed": it could not be edited.
        picture: the result's file below OUT; None where there is none.
        sha256: of that file.
        source_type: what the picture says of its origin (IPTC DigitalSourceType); None: nothing.
        beside: further files below OUT, by name.
        reason: why, of "review", "refused" and "failed".
        confidence: see `Edited`; so are `receipt`, `figures` and `notes`.
        again: it was done by an earlier command with the same settings; nothing was done now.
    """

    photo: str
    status: Status
    picture: str | None = None
    sha256: str | None = None
    source_type: str | None = None
    beside: Mapping[str, str] = field(default_factory=dict)
    reason: str | None = None
    confidence: float | None = None
    receipt: Mapping[str, Any] | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    again: bool = False

    def without(self, *folders: Path) -> PhotoResult:
        """Returns it with the names of folders left out of its sentences, for who cannot look into them."""

        def plain(text: str) -> str:
            for folder in folders:
                text = text.replace(f"{folder}/", "")
            return text

        reason = None if self.reason is None else plain(self.reason)
        return replace(self, photo=plain(self.photo), reason=reason, notes=tuple(map(plain, self.notes)))


NOTED: dict[str, type | UnionType] = {
    "photo": str,
    "status": str,
    "picture": str | None,
    "sha256": str | None,
    "source_type": str | None,
    "beside": dict,
    "reason": str | None,
    "confidence": float | int | None,
    "receipt": dict | None,
    "figures": dict,
    "notes": list,
}
"""What a line of the journal holds of a result."""


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Returns the JSON objects of a journal, oldest first; lines that are none (torn, damaged) are passed over.

    Raises:
        PackshotError: it is there and cannot be read.
    """
    with disk_errors(path):
        if not path.exists():
            return []
        if not path.is_file():
            raise PackshotError(f"{path} is not a file, so nothing can be noted there; choose another --out.")
        lines = path.read_bytes().splitlines()
    rows = []
    for line in lines:
        with suppress(ValueError, RecursionError):
            rows.append(json.loads(line))
    return [row for row in rows if isinstance(row, dict)]


class Journal:
    """The results in OUT/packshot.jsonl, by key; one process writes it.

    Args:
        out: folder of the results; made if it is not there.

    Raises:
        PackshotError: it cannot be used.
    """

    def __init__(self, out: Path) -> None:
        self.out, self.path = out, out / JOURNAL
        path = self.path
        with disk_errors(path):
            out.mkdir(parents=True, exist_ok=True)
        rows = read_journal(path)
        self.results = {row.get("key"): result for row in rows if (result := _noted(row)) is not None}
        with disk_errors(path):
            if path.exists():
                self._cut_off_torn(path.read_bytes())

    def _cut_off_torn(self, data: bytes) -> None:
        """Removes the line that a killed command left torn at the end; the rest stays: another one may write, too."""
        if data and not data.endswith(b"\n"):
            with self.path.open("r+b") as f:
                if f.seek(0, 2) == len(data):
                    f.truncate(data.rfind(b"\n") + 1)

    def done_before(self, key: str) -> PhotoResult | None:
        """Returns what an earlier command did with the same photo and settings, if its picture is still there."""
        result = self.results.get(key)
        if result is not None and result.picture is not None:
            path = self.out / result.picture
            with disk_errors(path):
                if not path.is_file() or sha256_file(path) != result.sha256:
                    return None
        return result

    def add(self, key: str, result: PhotoResult, photo_sha256: str) -> None:
        """Notes what became of a photo; its pictures are on the disk.

        Args:
            key: see above.
            result: what became of it.
            photo_sha256: of the photo, so that whoever erases it finds what was made from it.
        """
        append_jsonl(self.path, {"key": key, "photo_sha256": photo_sha256, **asdict(result)})


def _noted(row: Mapping[str, Any]) -> PhotoResult | None:
    """Returns the result that a line of the journal holds; None: it holds none, or a damaged one."""
    if not all(isinstance(row.get(name), kinds) for name, kinds in NOTED.items()):
        return None
    if row["status"] not in get_args(Status) or (row["picture"] is None) != (row["sha256"] is None):
        return None
    return PhotoResult(**{**{name: row[name] for name in NOTED}, "notes": tuple(map(str, row["notes"])), "again": True})
