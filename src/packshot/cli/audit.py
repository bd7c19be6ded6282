"""`packshot audit verify`, `export` and `show`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from packshot.cli.output import emit, json_option
from packshot.core.text import printable


@click.group()
def audit() -> None:
    """The log of what left: append-only, each entry bound to all before it by a hash."""


@audit.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--head", metavar="HASH", help="A hash noted earlier: the log has to hold an entry with it still.")
@json_option
def verify(file: Path | None, head: str | None, as_json: bool) -> None:
    """Recompute the chain of this machine's log, or of an exported FILE; exit 1 if it does not hold together."""
    from packshot.release.audit import read_export
    from packshot.release.register import read_audit, verify_audit

    lines = read_audit() if file is None else read_export(file)
    count, last = verify_audit(lines, head)
    emit(
        {"entries": count, "head": last, "holds": True},
        as_json,
        lambda: [f"{count:,} entries hold together.", f"Head: {last}"],
    )


@audit.command()
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE.jsonl", help="File to write.")
@click.option("--overwrite", is_flag=True, help="Replace the file if it is there.")
@json_option
def export(out: Path, overwrite: bool, as_json: bool) -> None:
    """Write the log as lines of JSON that verify alone, elsewhere."""
    from packshot.release.audit import export_audit

    count, last = export_audit(out, overwrite=overwrite)
    result = {"file": out, "entries": count, "head": last}
    emit(result, as_json, lambda: [f"{count:,} entries are in {out}.", f"Head: {last}"])


@audit.command()
@click.option("--last", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="How many entries.")
@json_option
def show(last: int, as_json: bool) -> None:
    """List the newest entries, oldest first."""
    from collections import deque

    from packshot.release.register import read_audit

    lines = list(deque(read_audit(), maxlen=last))
    rows = [{"number": e.number, "time": e.time, "event": dict(e.event), "hash": e.hash} for e in lines]

    def text() -> list[str]:
        out = [f"{e.number} {e.time} {json.dumps(e.event, ensure_ascii=False)}" for e in lines]
        return [printable(line) for line in out] or ["The log is empty."]

    emit({"entries": rows}, as_json, text)
