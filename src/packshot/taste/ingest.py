"""Event files into a store: read in batches, joined, pseudonymised, sorted into buckets on disk, then each bucket once.

Letters: n events of a bucket.
"""

from __future__ import annotations

import re
import secrets
import time as clock
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from packshot.catalog.dataset import Catalog
from packshot.core.errors import UsageError, lookup
from packshot.core.files import disk_errors, read_json, sha256_file, write_json
from packshot.taste.bucket import BUCKETS, UNSAID, Bucket
from packshot.taste.events import event_files, read_events, to_kinds
from packshot.taste.interactions import KINDS
from packshot.taste.keys import key_check, pseudonym
from packshot.taste.products import Products, read_products
from packshot.taste.rules import Rules
from packshot.taste.store import (
    FORMAT,
    FORMAT_VERSION,
    SCOPES,
    Store,
    open_store,
    remove_derived,
    tidy,
    write_part,
    write_users,
    writing,
)
from packshot.taste.times import DAY_MS, OLDEST_MS, to_milliseconds

KNOWN_AT_A_TIME = 500_000
COUNTED = (
    "rows",
    "added",
    "damaged",
    "unknown_product",
    "unknown_kind",
    "before_2000",
    "future",
    "clamped",
    "no_consent",
    "double_clicks",
    "already_there",
    "of_bots",
    "withdrawn",
)
"""What an ingest counts: `rows` is the sum of all others but `clamped` (these were added with today's time) and
`withdrawn` (older events of shoppers whose consent ended, or who turned out to be bots)."""


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
    """

    store: Path
    counts: dict[str, int]
    bots: int
    events: int
    shoppers: int
    seconds: float


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
        try:
            _spread(files, read_products(catalog), aside, key, settings, counts, moment, step)
            about = _merge(out, old, aside, said, default, settings.rules, counts)
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
    )


def parse_consent(text: str, *, strict: bool = False) -> int:
    """Returns scopes as bits: "rank,personalise", "all", "none"; words that are unknown consent to nothing.

    Raises:
        UsageError: an unknown word, if `strict`.
    """
    words = [w for w in re.split(r"[^a-z0-9]+", text.strip().lower().replace("personalize", "personalise")) if w]
    if strict:
        for word in words:
            lookup("consent", word, dict.fromkeys((*SCOPES, "all", "none")))
    if "none" in words:
        return 0
    if any(w in ("all", "true", "yes", "1") for w in words):
        return sum(SCOPES.values())
    return sum({SCOPES[w] for w in words if w in SCOPES})


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
    counts: Counter[str],
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
    known = _Known(products, key)
    needed = ("user", "product", "time") if settings.kind else ("user", "product", "kind", "time")
    with disk_errors(aside), ExitStack() as stack:
        aside.mkdir()
        writers = {
            b: stack.enter_context(pa.ipc.new_stream(stack.enter_context((aside / b).open("wb")), schema))
            for b in BUCKETS
        }
        for path, kind in files:
            for batch in read_events(path, kind, settings.columns, needed):
                counts["rows"] += batch.damaged
                counts["damaged"] += batch.damaged
                table = known.table(batch.columns, settings.kind, counts, now)
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
                    step(counts["rows"])
    write_json(aside / "products.json", products.names)


class _Known:
    """What words of event files mean: products by any of their names, users by pseudonym."""

    def __init__(self, products: Products, key: bytes) -> None:
        import pyarrow as pa

        self.key = key
        self.words = pa.array(list(products.number), pa.string())
        self.places = np.array([*products.number.values(), -1], np.int32)
        self.pseudonyms: dict[str, str] = {}

    def table(self, columns: dict[str, Any], kind: str | None, counts: Counter[str], now: int) -> dict[str, Any]:
        """Returns the good rows of a batch, and counts the others by the first thing that is wrong with them."""
        import pyarrow as pa
        import pyarrow.compute as pc

        users, user = self._words(columns["user"])
        n = len(user)
        counts["rows"] += n
        product_words = pc.utf8_trim_whitespace(columns["product"])
        found = pc.index_in(product_words, value_set=self.words)
        product = self.places[pc.fill_null(found, -1).to_numpy(zero_copy_only=False)]
        if kind is None:
            words, number = self._words(columns["kind"])
            meaning = [UNSAID if m is None else KINDS.index(m) for m in to_kinds(words)]
            kinds = np.array([*meaning, UNSAID], np.int8)[number]
            no_kind = number < 0
        else:
            kinds, no_kind = np.full(n, KINDS.index(kind), np.int8), np.zeros(n, bool)
        time, readable = to_milliseconds(columns["time"])
        empty = pc.fill_null(pc.equal(pc.utf8_length(product_words), 0), True).to_numpy(zero_copy_only=False)
        consent = np.full(n, UNSAID, np.int8)
        if "consent" in columns:
            words, number = self._words(columns["consent"])
            consent = np.array([*(parse_consent(w) for w in words), UNSAID], np.int8)[number]
        left = np.ones(n, bool)
        for name, wrong in (
            ("damaged", (user < 0) | no_kind | ~readable | empty),
            ("unknown_kind", kinds < 0),
            ("unknown_product", product < 0),
            ("before_2000", time < OLDEST_MS),
            ("future", time > now + DAY_MS),
        ):
            counts[name] += int((wrong & left).sum())
            left &= ~wrong
        counts["clamped"] += int(((time > now) & left).sum())
        names = [self._pseudonym(word) for word in users]
        bucket = np.array([BUCKETS.index(name[0]) for name in names] or [0], np.int8)[user]
        rows = np.flatnonzero(left)
        return {
            "names": pa.array(names, pa.string()),
            "bucket": bucket[rows],
            "user": user[rows],
            "product": product[rows],
            "kind": kinds[rows],
            "time": np.minimum(time, now)[rows],
            "consent": consent[rows],
        }

    @staticmethod
    def _words(column: Any) -> tuple[list[str], npt.NDArray[np.int64]]:
        """Returns (words, number of each row's word); -1: the row has none."""
        import pyarrow as pa
        import pyarrow.compute as pc

        encoded = pc.utf8_trim_whitespace(column.cast(pa.string())).dictionary_encode()
        number = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        words = encoded.dictionary.to_pylist()
        empty = np.array([not w for w in words] + [False])
        return words, np.where(empty[number], -1, number)

    def _pseudonym(self, user: str) -> str:
        found = self.pseudonyms.get(user)
        if found is None:
            if len(self.pseudonyms) >= KNOWN_AT_A_TIME:
                self.pseudonyms.clear()
            found = self.pseudonyms[user] = pseudonym(self.key, user)
        return found


def _merge(
    out: Path,
    old: Store | None,
    aside: Path,
    said: Mapping[str, int],
    default: int,
    rules: Rules,
    counts: Counter[str],
) -> dict[str, Any]:
    """Puts each bucket's old and new events together; returns what store.json says of the files."""
    import pyarrow as pa

    names: list[str] = read_json(aside / "products.json")
    number = {name: i for i, name in enumerate(names)}
    marks = dict(old.users) if old else {}
    # What a shopper said counts even where no event of theirs came with it.
    for user, scopes in said.items():
        if marks.get(user, 0) >= 0:
            marks[user] = scopes
    files, parts, rows, shoppers = {}, {}, {}, 0
    for bucket in BUCKETS:
        part = old.path / old.about["parts"][bucket] if old and bucket in old.about["parts"] else None
        events = Bucket.read(aside / bucket, part, names, number)
        events = events.filtered(marks, said, default, rules, counts)
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
        }
    )
    file = write_users(out, users)
    files[file] = sha256_file(out / file)
    about = {"format": FORMAT, "format_version": FORMAT_VERSION, "files": files, "parts": parts, "part_rows": rows}
    return {**about, "shoppers": shoppers}
