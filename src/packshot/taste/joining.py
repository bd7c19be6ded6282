"""Rows of event files as events of a catalogue's products: whose, of what, and what is left out and why.

Letters: n rows of a batch.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from packshot.core.errors import lookup
from packshot.taste.bucket import BUCKETS, UNSAID
from packshot.taste.events import to_kinds
from packshot.taste.interactions import KINDS
from packshot.taste.keys import pseudonym
from packshot.taste.lines import Batch
from packshot.taste.products import Products
from packshot.taste.store import SCOPES
from packshot.taste.times import DAY_MS, OLDEST_MS, to_milliseconds

KNOWN_AT_A_TIME = 500_000
YES = ("all", "true", "yes", "1")
NO = ("none", "no", "not", "false", "0", "off", "never", "denied", "refused", "withdrawn", "revoked")
"""Words of a consent; one of NO takes all of it back: "rank=1, personalise=0" is nothing that can be counted on."""
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
"""What an ingest counts: `rows` is the sum of all others but `clamped` (these are dated up to a day ahead, and count as
new) and `withdrawn` (older events of shoppers whose consent ended, or who turned out to be bots)."""
SHOWN = 3
"""Rows of each reason that are told with their lines."""
LOOKED = 1000
"""Rows that are looked through for a word that was not told yet."""
MOST_LETTERS = 40
"""Of a file's own words that are told."""


@dataclass(frozen=True)
class LeftOut:
    """One row that was left out.

    Attributes:
        reason: by the names of COUNTED.
        file: name of its file.
        line: that it begins in, from 1; of Parquet the row.
        said: what is wrong with it, in the file's own words; never the shopper.
    """

    reason: str
    file: str
    line: int
    said: str


class Seen:
    """What was left out so far, and why; and how the files call what was read."""

    def __init__(self, counts: Counter[str]) -> None:
        self.counts, self.file = counts, ""
        self.columns: dict[str, list[str]] = {}
        self.examples: list[LeftOut] = []
        self._told: Counter[tuple[str, str]] = Counter()

    def read(self, file: str, batch: Batch) -> None:
        """Notes the columns of a batch, and what of it is no row."""
        self.file = file
        for name, column in batch.names.items():
            if column not in (known := self.columns.setdefault(name, [])):
                known.append(column)
        self.counts["rows"] += len(batch.bad)
        self.leave("damaged", len(batch.bad), iter(batch.bad), "rows")

    def leave(self, reason: str, n: int, rows: Iterator[tuple[int, str]], of: str = "cells") -> None:
        """Counts n rows that are left out, and tells the first of them: (line, what is wrong).

        Of unknown words each is told once: three rows of the same word say no more than one.
        """
        self.counts[reason] += n
        for line, said in islice(rows, LOOKED):
            if self._told[reason, of] >= SHOWN:
                break
            if not (reason.startswith("unknown") and any(e.said == said for e in self.examples)):
                self._told[reason, of] += 1
                self.examples.append(LeftOut(reason, self.file, line, said))


class Known:
    """What words of event files mean: products by any of their names, users by pseudonym."""

    def __init__(self, products: Products, key: bytes) -> None:
        import pyarrow as pa

        self.key = key
        self.words = pa.array(list(products.number), pa.string())
        self.places = np.array([*products.number.values(), -1], np.int32)
        self.pseudonyms: dict[str, str] = {}

    def table(self, batch: Batch, kind: str | None, seen: Seen, now: int) -> dict[str, Any]:
        """Returns the good rows of a batch, and counts the others by the first thing that is wrong with them."""
        import pyarrow as pa
        import pyarrow.compute as pc

        columns = batch.columns
        users, user = self._words(columns["user"])
        n = len(user)
        seen.counts["rows"] += n
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
            rows = np.flatnonzero(wrong & left)
            lacks = {"user": user < 0, "product": empty, "kind": no_kind}
            seen.leave(name, len(rows), ((int(batch.lines[i]), _wrong(name, columns, lacks, i)) for i in rows.tolist()))
            left &= ~wrong
        seen.counts["clamped"] += int(((time > now) & left).sum())
        names = [self._pseudonym(word) for word in users]
        bucket = np.array([BUCKETS.index(name[0]) for name in names] or [0], np.int8)[user]
        rows = np.flatnonzero(left)
        return {
            "names": pa.array(names, pa.string()),
            "bucket": bucket[rows],
            "user": user[rows],
            "product": product[rows],
            "kind": kinds[rows],
            # Also what is dated ahead, as it is: with the clock's time the same file would be new each time.
            "time": time[rows],
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


def _wrong(reason: str, columns: dict[str, Any], lacks: Mapping[str, Any], row: int) -> str:
    """Returns what is wrong with a row, in the file's words, but not in those about the shopper."""
    if reason == "damaged":
        lacking = [name for name, rows in lacks.items() if rows[row]]
        unread = [name for name in lacking if columns[name][row].as_py() is None]
        if unread:
            return f"the {' and the '.join(unread)} is missing, or no UTF-8"
        if lacking:
            return f"it has no {' and no '.join(lacking)}"
    told = {"unknown_kind": "kind", "unknown_product": "product"}.get(reason, "time")
    said = columns[told][row].as_py()
    if said is None or not str(said).strip():
        return f"it has no {told}"
    word = str(said)
    word = word if len(word) <= MOST_LETTERS else word[:MOST_LETTERS] + "..."
    return f"the {told} {word!r}{' cannot be read' if reason == 'damaged' else ''}"


def parse_consent(text: str, *, strict: bool = False) -> int:
    """Returns scopes as bits: "rank,personalise", "all", "none"; words that are unknown consent to nothing.

    "All" counts only where nothing else is said beside it, and any no is one to everything.

    Raises:
        UsageError: an unknown word, if `strict`.
    """
    words = [w for w in re.split(r"[^a-z0-9]+", text.strip().lower().replace("personalize", "personalise")) if w]
    if strict:
        for word in words:
            lookup("consent", word, dict.fromkeys((*SCOPES, "all", "none")))
    if any(w in NO for w in words):
        return 0
    if words and all(w in YES for w in words):
        return sum(SCOPES.values())
    return sum({SCOPES[w] for w in words if w in SCOPES})
