"""What people of the shop kept and rejected on Create, until it is taught to a store of events.

One folder for each tenant: choices.jsonl, to which lines are only added, and the rejected pictures; kept ones are
pictures of the tenant in the store. A line says what was decided of a picture (later ones win; `kept` is null where a
decision was taken back), or which decisions a store was taught.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from packshot.core.files import disk_errors, write_bytes
from packshot.core.runs import read_jsonl

NAME = "choices.jsonl"
MOST_KEPT = 60
"""Kept pictures that a page shows, the newest."""
_lock = Lock()


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What was decided of a picture.

    Attributes:
        sha256: of its file.
        kept: True, False, or None where the decision was taken back.
        name: of the file.
        label: its category.
        run: whose picture it is.
        seed: of it.
        time: ms since 1970.
    """

    sha256: str
    kept: bool | None
    name: str
    label: str
    run: str
    seed: int
    time: int = 0


class Choices:
    """The decisions of one tenant.

    Args:
        folder: where they are kept; made when the first one comes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, decided: Decided, data: bytes | None = None) -> None:
        """Notes a decision, with the picture's file where it was rejected.

        Raises:
            PackshotError: the disk refuses.
        """
        if data is not None:
            write_bytes(self._picture(decided.sha256), data)
        row = asdict(decided) | {"time": decided.time or round(time.time() * 1000)}
        self._append(row)

    def now(self) -> dict[str, Decided]:
        """Returns what stands of each picture that was kept or rejected, by checksum, the newest last."""
        out: dict[str, Decided] = {}
        for row in self._rows():
            if "taught" in row:
                continue
            decided = Decided(**row)
            out.pop(decided.sha256, None)
            if decided.kept is not None:
                out[decided.sha256] = decided
        return out

    def kept(self) -> list[Decided]:
        """Returns what was kept, the newest first."""
        return [d for d in reversed(self.now().values()) if d.kept][:MOST_KEPT]

    def untaught(self) -> list[Decided]:
        """Returns the decisions that no store was taught, the oldest first."""
        taught = {sha256 for row in self._rows() for sha256 in row.get("taught", ())}
        return [d for d in self.now().values() if d.sha256 not in taught]

    def rejected_picture(self, sha256: str) -> bytes | None:
        """Returns the file of a picture that was rejected; None: it is not here."""
        path = self._picture(sha256)
        return path.read_bytes() if path.is_file() else None

    def mark_taught(self, sha256s: Iterable[str]) -> None:
        """Notes that a store was taught some decisions; rejected pictures go."""
        done = list(sha256s)
        self._append({"taught": done, "time": round(time.time() * 1000)})
        for sha256 in done:
            self._picture(sha256).unlink(missing_ok=True)

    def forget(self, sha256s: Iterable[str]) -> int:
        """Removes all that is known of some pictures; returns how many were known."""
        gone = set(sha256s)
        with _lock:
            rows = self._rows()
            stay = [row for row in rows if row.get("sha256") not in gone]
            for row in stay:
                if "taught" in row:
                    row["taught"] = [s for s in row["taught"] if s not in gone]
            known = {row["sha256"] for row in rows if row.get("sha256") in gone}
            if known:
                text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in stay)
                write_bytes(self.folder / NAME, text.encode())
        for sha256 in known:
            self._picture(sha256).unlink(missing_ok=True)
        return len(known)

    def _rows(self) -> list[dict[str, Any]]:
        return read_jsonl(self.folder / NAME)

    def _picture(self, sha256: str) -> Path:
        if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
            raise ValueError("no checksum")
        return self.folder / f"{sha256}.png"

    def _append(self, row: dict[str, Any]) -> None:
        path = self.folder / NAME
        with _lock, disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as f:
                f.write(json.dumps(row, ensure_ascii=False) + "\n")
