"""Event files into a store: read in batches, joined, pseudonymised, sorted into buckets on disk, then each bucket once.

Letters: n events of a bucket.
"""

from __future__ import annotations

import secrets
import time as clock
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from packshot.catalog.dataset import Catalog
from packshot.core.errors import UsageError, lookup
from packshot.core.files import disk_errors, read_json, sha256_file, write_json
from packshot.taste.bucket import BUCKETS, UNSAID, Bucket
from packshot.taste.events import event_files, read_events
from packshot.taste.interactions import KINDS
from packshot.taste.joining import COUNTED, Known, LeftOut, Seen, parse_consent
from packshot.taste.keys import key_check, pseudonym
from packshot.taste.products import Products, read_products
from packshot.taste.rules import Rules
from packshot.taste.store import (
    FORMAT,
    FORMAT_VERSION,
    Store,
    open_store,
    remove_derived,
    tidy,
    write_part,
    write_users,
    writing,
)


@dataclass(frozen=True, kw_only=True)
class IngestSettings:
    """How events are read.

    Attributes:
        columns: by field, a file's own column name.
        kind: of all events, for files without such a column.
        consent: scopes of shoppers of whom nothing else is said; None: nothing is known of them, so they are left out.
        consent_file: a table of users and consents, which counts before what the event files say.
        rules: what is left out.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    kind: str | None = None
    consent: str | None = None
    consent_file: Path | None = None
    rules: Rules = field(default_factory=Rules)


@dataclass(frozen=True)
class Ingested:
    """What came of it.

    Attributes:
        store: folder of the store.
        counts: by the names of COUNTED.
        bots: shoppers that are known to be none.
        events: in the store now.
        shoppers: with events in the store now.
        seconds: that it took.
        columns: by field, the names of the columns that were read.
        examples: of rows that were left out, the first of each reason; the store does not keep them.
    """

    store: Path
    counts: dict[str, int]
    bots: int
    events: int
    shoppers: int
    seconds: float
    columns: dict[str, list[str]] = field(default_factory=dict)
    examples: list[LeftOut] = field(default_factory=list)


def ingest_events(
    paths: Sequence[Path],
    catalog: Catalog,
    out: Path,
    key: bytes,
    settings: IngestSettings | None = None,
    *,
    now: int | None = None,
    step: Callable[[int], None] | None = None,
) -> Ingested:
    """Reads events into a new store, or adds them to one that is there; the same file twice changes nothing.

    Args:
        paths: files, or folders of files.
        catalog: whose products they are about.
        out: folder of the store.
        key: of the pseudonyms.
        settings: None: the defaults.
        now: ms since 1970; None: the clock's.
        step: called with the rows read so far.

    Raises:
        UsageError: a file or column is not there, or a word is unknown.
        PackshotError: a file cannot be read, the store was made with another key, or the disk refuses.
    """
    settings, began = settings or IngestSettings(), clock.monotonic()
    if settings.kind is not None:
        lookup("kind of event", settings.kind, dict.fromkeys(KINDS))
    files = event_files(paths)
    default = UNSAID if settings.consent is None else parse_consent(settings.consent, strict=True)
    said = _consents(settings, key)
    with disk_errors(out):
        fresh = not out.exists()
        if not fresh and not (out / "store.json").is_file() and any(p for p in out.iterdir() if p.name[0] != "."):
            raise UsageError(f"{out} holds other files and no store of events; choose another folder.")
        out.mkdir(parents=True, exist_ok=True)
    old: Store | None = None
    with writing(out):
        if (out / "store.json").is_file():
            old = open_store(out)
            old.check_key(key)
        aside = out / f".ingest-{secrets.token_hex(4)}"
        moment = now if now is not None else int(clock.time() * 1000)
        counts: Counter[str] = Counter()
        seen = Seen(counts)
        try:
            _spread(files, read_products(catalog), aside, key, settings, seen, moment, step)
            about = _merge(out, old, aside, said, default, settings.rules, counts, moment)
            about |= {"key": key_check(key), "catalog": catalog.checksum, "rules": asdict(settings.rules)}
            # Names of files are left out: some shops name a file after the shopper that it is about.
            about["ingests"] = [
                *(old.about["ingests"] if old else []),
                {"time": moment, "files": len(files), "counts": {name: counts[name] for name in COUNTED}},
            ]
            remove_derived(out)
            write_json(out / "store.json", about)
        finally:
            tidy(out)
    stored = Store(out, about)
    marks = stored.users.values()
    return Ingested(
        out,
        {name: counts[name] for name in COUNTED},
        sum(m < 0 for m in marks),
        sum(about["part_rows"].values()),
        about["shoppers"],
        round(clock.monotonic() - began, 2),
        seen.columns,
        seen.examples,
    )


def _consents(settings: IngestSettings, key: bytes) -> dict[str, int]:
    if settings.consent_file is None:
        return {}
    said: dict[str, int] = {}
    for path, kind in event_files([settings.consent_file]):
        for batch in read_events(path, kind, settings.columns, ("user", "consent")):
            users, words = batch.columns["user"].to_pylist(), batch.columns["consent"].to_pylist()
            for user, word in zip(users, words, strict=True):
                if user and user.strip() and word and word.strip():
                    said[pseudonym(key, user.strip())] = parse_consent(word)
    return said


def _spread(
    files: Iterable[tuple[Path, str]],
    products: Products,
    aside: Path,
    key: bytes,
    settings: IngestSettings,
    seen: Seen,
    now: int,
    step: Callable[[int], None] | None,
) -> None:
    """Writes the good rows to one file for each bucket."""
    import pyarrow as pa

    schema = pa.schema(
        [
            ("user", pa.string()),
            ("product", pa.int32()),
            ("kind", pa.int8()),
            ("time", pa.int64()),
            ("consent", pa.int8()),
        ]
    )
    known = Known(products, key)
    needed = ("user", "product", "time") if settings.kind else ("user", "product", "kind", "time")
    with disk_errors(aside), ExitStack() as stack:
        aside.mkdir()
        writers = {
            b: stack.enter_context(pa.ipc.new_stream(stack.enter_context((aside / b).open("wb")), schema))
            for b in BUCKETS
        }
        for path, kind in files:
            for batch in read_events(path, kind, settings.columns, needed):
                seen.read(path.name, batch)
                table = known.table(batch, settings.kind, seen, now)
                bucket = table.pop("bucket")
                order = np.argsort(bucket, kind="stable")
                edges = np.searchsorted(bucket[order], np.arange(len(BUCKETS) + 1))
                names = table.pop("names")
                for number, b in enumerate(BUCKETS):
                    rows = order[edges[number] : edges[number + 1]]
                    if len(rows):
                        user = names.take(pa.array(table["user"][rows]))
                        rest = [pa.array(table[c][rows]) for c in ("product", "kind", "time", "consent")]
                        writers[b].write_batch(pa.record_batch([user, *rest], schema=schema))
                if step:
                    step(seen.counts["rows"])
    write_json(aside / "products.json", products.names)


def _merge(
    out: Path,
    old: Store | None,
    aside: Path,
    said: Mapping[str, int],
    default: int,
    rules: Rules,
    counts: Counter[str],
    now: int,
) -> dict[str, Any]:
    """Puts each bucket's old and new events together; returns what store.json says of the files."""
    import pyarrow as pa

    names: list[str] = read_json(aside / "products.json")
    number = {name: i for i, name in enumerate(names)}
    marks, when = (dict(old.users), old.said()) if old else ({}, {})
    # What a shopper said counts even where no event of theirs came with it.
    for user, scopes in said.items():
        if marks.get(user, 0) >= 0:
            marks[user], when[user] = scopes, now
    files, parts, rows, shoppers = {}, {}, {}, 0
    for bucket in BUCKETS:
        part = old.path / old.about["parts"][bucket] if old and bucket in old.about["parts"] else None
        events = Bucket.read(aside / bucket, part, names, number)
        events = events.filtered(marks, when, said, default, rules, counts)
        if len(events.user):
            parts[bucket] = write_part(out, bucket, events.table(names))
            files[parts[bucket]] = sha256_file(out / parts[bucket])
            rows[parts[bucket]] = len(events.user)
            shoppers += len(np.unique(events.user))
    ordered = sorted(marks.items())
    users = pa.table(
        {
            "user": pa.array([u for u, _ in ordered], pa.string()),
            "consent": pa.array([max(m, 0) for _, m in ordered], pa.int8()),
            "bot": pa.array([m < 0 for _, m in ordered], pa.bool_()),
            "said": pa.array([when.get(u) for u, _ in ordered], pa.int64()),
        }
    )
    file = write_users(out, users)
    files[file] = sha256_file(out / file)
    about = {"format": FORMAT, "format_version": FORMAT_VERSION, "files": files, "parts": parts, "part_rows": rows}
    return {**about, "shoppers": shoppers}
