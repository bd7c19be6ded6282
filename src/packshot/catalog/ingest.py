"""`packshot ingest`: a source of photos becomes a catalogue."""

from __future__ import annotations

import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from packshot import __version__
from packshot.catalog.dataset import FORMAT_VERSION
from packshot.catalog.examine import Settings, examine
from packshot.catalog.finish import finish, kind_of_reason
from packshot.catalog.options import IngestOptions, IngestReport
from packshot.catalog.parts import RECORDS_PER_PHOTO, SHARD_BYTES, Journal, Part, PartWriter, chunks
from packshot.catalog.readers import open_source
from packshot.catalog.records import Source
from packshot.core.errors import PackshotError
from packshot.core.files import disk_errors, read_json
from packshot.core.process import keep_freed_memory
from packshot.core.progress import Progress
from packshot.core.workers import Workers

DEFAULTS = IngestOptions()


def ingest(
    source: Path, out: Path, options: IngestOptions = DEFAULTS, progress: Progress | None = None
) -> IngestReport:
    """Reads a source and writes a catalogue.

    A photo that cannot be read is left out with its reason, and the rest goes on. An ingest that was killed, or that
    ran out of disk, goes on when the same command is given again, and ends in the same files, byte for byte.

    Args:
        source: a folder of photos, a list (CSV, TSV, JSON Lines, Merchant feed, Shopify export), or IDX files.
        out: the folder to write: new, empty, or holding this same ingest unfinished.
        options: how to read it.
        progress: is told how many photos are done.

    Raises:
        PackshotError: the source cannot be read, no photo was taken, `out` is in use, the disk is full, or an
            unfinished ingest in `out` is another one.
        UsageError: an unknown format, field or column, or an option out of its range.
    """
    started = time.monotonic()
    check_out(out)
    new = not out.exists()
    opened = open_source(source, options, leave_out=out)
    journal = Journal(out)
    with disk_errors(out), journal.held():
        if (out / "catalog.json").exists():  # Killed between its last two steps.
            catalog = read_json(out / "catalog.json")
            journal.begin(_command(source, options))
            journal.remove()
            return _report(out, catalog, _pictures(catalog["summary"]), started)
        journal.begin(_command(source, options))
        journal.clean()
        parts = journal.parts()
        resumed = sum(p.photos for p in parts)
        _run(opened, journal, parts, options, progress)
        if not any(p.photos for p in parts):
            raise PackshotError(_nothing_taken(journal, parts, new))
        catalog = finish(journal, parts, opened, options)
        journal.remove()
    return _report(out, catalog, resumed, started)


def check_out(out: Path) -> None:
    """Refuses a folder that no catalogue can be written into: a file, or one that holds something else.

    Raises:
        PackshotError: why.
    """
    with disk_errors(out):
        if out.exists() and not out.is_dir():
            raise PackshotError(f"{out} is a file; choose another --out.")
        if not out.exists() or (out / ".ingest").is_dir():
            return
        if (out / "catalog.json").exists():
            raise PackshotError(f"{out} already holds a catalogue; choose another --out, or remove it first.")
        if any(out.iterdir()):
            raise PackshotError(f"{out} is not empty and holds no unfinished ingest; choose another --out.")


def _command(source: Path, options: IngestOptions) -> dict[str, Any]:
    """Returns what has to be the same for an ingest to go on."""
    command = {"source": str(source.resolve()), "version of Packshot": __version__, "format version": FORMAT_VERSION}
    return command | {f"option {name}": value for name, value in options.settled().items()}


def _run(
    opened: Source, journal: Journal, parts: list[Part], options: IngestOptions, progress: Progress | None
) -> None:
    """Does the parts that are missing, and adds them to `parts`."""
    settings = Settings(
        licence=options.licence or opened.licence,
        source=options.source or opened.source,
        owner=options.owner,
        allow_unlicensed=options.allow_unlicensed,
        allow_opted_out=options.allow_opted_out,
        max_side=options.max_side,
        limits=options.limits,
    )
    records = parts[-1].records if parts else 0
    work = chunks(iter(opened.records), parts[-1] if parts else None, journal.out)
    writer: PartWriter | None = None
    digest = ""
    keep_freed_memory()
    try:
        with Workers(options.workers, partial(examine, settings=settings)) as workers:
            for chunk, examined in workers.in_order(work):
                writer = writer or PartWriter(journal, len(parts))
                writer.add(len(chunk.records), examined)
                records, digest = records + len(chunk.records), chunk.digest
                if progress is not None:
                    of = f" of {opened.total:,}" if opened.total else ""
                    progress.update(records, f"{records:,}{of} photos")
                if (
                    writer.photos >= options.shard_photos
                    or writer.bytes >= SHARD_BYTES
                    or writer.records >= RECORDS_PER_PHOTO * options.shard_photos
                ):
                    parts.append(writer.close(records, digest))
                    writer = None
            if writer is not None:
                parts.append(writer.close(records, digest))
                writer = None
    finally:
        if writer is not None:
            writer.abandon()


def _nothing_taken(journal: Journal, parts: list[Part], new: bool) -> str:
    """Removes what was begun, so that the command can be given again in other words; returns why there is nothing."""
    kinds = Counter(kind_of_reason(reason) for _, reason in journal.left_out(parts))
    why = "The source holds no photo; nothing was written."
    if kinds:
        kind, count = kinds.most_common(1)[0]
        key, reason = next(pair for pair in journal.left_out(parts) if kind_of_reason(pair[1]) == kind)
        why = f"No photo could be taken; {kinds.total():,} were left out, most often ({count:,}) as: {key} {reason}."
    journal.remove()
    with disk_errors(journal.out):
        (journal.out / "shards").rmdir()
        if new:
            journal.out.rmdir()
    return why


def _report(out: Path, catalog: dict[str, Any], resumed: int, started: float) -> IngestReport:
    summary = catalog["summary"]
    seconds = time.monotonic() - started
    return IngestReport(
        path=str(out),
        checksum=catalog["checksum"],
        photos=summary["photos"],
        synthetic=summary["synthetic"],
        resumed=resumed,
        splits=summary["splits"],
        categories=summary["categories"],
        excluded=summary["excluded"],
        duplicates=summary["duplicates"],
        left_out=summary["left_out"],
        examples=summary["examples"],
        notes=summary["notes"],
        seconds=seconds,
        photos_per_second=max(0, _pictures(summary) - resumed) / max(seconds, 1e-9),
    )


def _pictures(summary: dict[str, Any]) -> int:
    """Returns the number of photos and generated pictures."""
    return int(summary["photos"]) + int(summary["synthetic"]["pictures"])
