"""The audit log as a file: lines of JSON that verify alone, without the register that they came from.

A line is {"number", "time", "event", "hash"}; its hash is SHA-256 over the hash before it, number, time and the event
as JSON with sorted keys and no spaces, a line each (`packshot.release.register.chain_hash`). The first follows 64
zeros.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from packshot.core.errors import PackshotError
from packshot.core.files import atomic_path, check_file, disk_errors
from packshot.release.register import AuditLine, read_audit, verify_audit

MAX_LINE = 2**20


def export_audit(path: Path, *, overwrite: bool = False) -> tuple[int, str]:
    """Writes the whole log; one that does not hold together is not written.

    Returns:
        How many entries there are, and the hash of the last.

    Raises:
        PackshotError: the log does not hold together, the file is there, or the disk refuses.
    """
    with atomic_path(path, overwrite=overwrite) as temporary, temporary.open("w", encoding="utf-8") as f:

        def written() -> Iterator[AuditLine]:
            for line in read_audit():
                row = {"number": line.number, "time": line.time, "event": line.event, "hash": line.hash}
                f.write(json.dumps(row, ensure_ascii=True, sort_keys=True) + "\n")
                yield line

        result = verify_audit(written())
        f.flush()
    return result


def read_export(path: Path) -> Iterator[AuditLine]:
    """Yields the entries of an exported log.

    Raises:
        UsageError: there is no such file.
        PackshotError: a line is no entry.
    """
    check_file(path)
    with disk_errors(path), path.open("rb") as f:
        number = 0
        while raw := f.readline(MAX_LINE):
            number += 1
            try:
                row = json.loads(raw)
                values = {"number": row["number"], "time": row["time"], "event": row["event"], "hash": row["hash"]}
                if list(map(type, values.values())) != [int, str, dict, str]:
                    raise TypeError
            except (ValueError, TypeError, KeyError, RecursionError) as e:
                raise PackshotError(f"Line {number} of {path} is no entry of an audit log.") from e
            yield AuditLine(**values)
