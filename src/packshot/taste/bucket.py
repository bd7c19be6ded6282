"""The events of some users, old and new together: who may be kept, what is left out, and in which order.

Letters: n events.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from packshot.catalog.packing import open_parquet
from packshot.core.files import disk_errors
from packshot.taste.rules import Rules, find_bots, find_doubles
from packshot.taste.store import codes_of, milliseconds_of

BUCKETS = "0123456789abcdef"
"""First hex digits of pseudonyms: one part of a store for each."""
UNSAID = -1
"""In place of scopes: the row says nothing of consent."""


@dataclass(frozen=True, eq=False)
class Bucket:
    """Events of some users, old and new; `users` is sorted, and `user` numbers into it."""

    users: list[str]
    user: npt.NDArray[np.int64]
    product: npt.NDArray[np.int64]
    kind: npt.NDArray[np.int64]
    time: npt.NDArray[np.int64]
    consent: npt.NDArray[np.int64]
    new: npt.NDArray[np.bool_]

    @staticmethod
    def read(fresh: Path, part: Path | None, names: list[str], number: dict[str, int]) -> Bucket:
        """Reads the new events and those of the old part; old products that are no longer known get new numbers."""
        import pyarrow as pa

        with disk_errors(fresh), pa.ipc.open_stream(pa.memory_map(str(fresh))) as stream:
            table = stream.read_all()
        columns = [[table["user"]], *([table[c].to_numpy()] for c in ("product", "kind", "time", "consent"))]
        count = table.num_rows
        if part is not None:
            with open_parquet(part) as file:
                before = file.read()
            words, codes = codes_of(before["product"])
            for word in words:
                if word not in number:
                    number[word] = len(names)
                    names.append(word)
            places = np.array([number[word] for word in words] or [0], np.int64)
            columns[0].insert(0, before["user"].cast(pa.string()))
            for column, values in zip(
                columns[1:],
                (places[codes], before["kind"].to_numpy(), milliseconds_of(before), np.full(before.num_rows, UNSAID)),
                strict=True,
            ):
                column.insert(0, values)
        old = (0 if part is None else before.num_rows) * [False]
        joined = pa.chunked_array([chunk for column in columns[0] for chunk in column.chunks] or [], pa.string())
        encoded = joined.combine_chunks().dictionary_encode()
        words = encoded.dictionary.to_pylist()
        order = np.argsort(np.array(words, dtype=object), kind="stable") if words else np.zeros(0, np.int64)
        place = np.empty(len(words), np.int64)
        place[order] = np.arange(len(words))
        user = place[encoded.indices.to_numpy(zero_copy_only=False)]
        rest = [np.concatenate(column).astype(np.int64) for column in columns[1:]]
        product, kind, time, consent = rest
        new = np.array([*old, *([True] * count)], bool)
        return Bucket([words[i] for i in order], user, product, kind, time, consent, new)

    def filtered(
        self,
        marks: dict[str, int],
        when: dict[str, int],
        said: Mapping[str, int],
        default: int,
        rules: Rules,
        counts: Counter[str],
    ) -> Bucket:
        """Returns the events that stay, sorted by user and time; `marks` and `when` get what was learned of users."""
        self._learn_consent(marks, when, said, default)
        allowed = np.array([marks.get(u, 0) for u in self.users] or [0])
        mark = allowed[self.user]
        counts["no_consent"] += int((self.new & (mark == 0)).sum())
        counts["of_bots"] += int((self.new & (mark < 0)).sum())
        counts["withdrawn"] += int((~self.new & (mark <= 0)).sum())
        left = self._at(np.flatnonzero(mark > 0))
        # Old events stand first, so of two equal ones the new one goes.
        equal = find_doubles(left.user, left.product, left.kind, left.time, 0)
        counts["already_there"] += (there := left._repeated(equal))
        counts["double_clicks"] += int((equal & left.new).sum()) - there
        left = left._at(np.flatnonzero(~equal))
        left = left._at(np.lexsort((left.kind, left.product, left.time, left.user)))
        bots = find_bots(left.user, left.time, rules)
        for bot in bots.tolist():
            marks[left.users[bot]] = -1
        fake = np.isin(left.user, bots)
        counts["of_bots"] += int((fake & left.new).sum())
        counts["withdrawn"] += int((fake & ~left.new).sum())
        left = left._at(np.flatnonzero(~fake))
        double = find_doubles(left.user, left.product, left.kind, left.time, rules.double_click_ms)
        counts["double_clicks"] += int((double & left.new).sum())
        left = left._at(np.flatnonzero(~double | ~left.new))
        counts["added"] += int(left.new.sum())
        return left

    def _repeated(self, equal: npt.NDArray[np.bool_]) -> int:
        """Returns how many of the new events that equal one before them equal an old one."""
        if self.new.all():
            return 0
        fresh = np.flatnonzero(self.new)
        among = find_doubles(self.user[fresh], self.product[fresh], self.kind[fresh], self.time[fresh], 0)
        return int((equal & self.new).sum() - among.sum())

    def _learn_consent(
        self, marks: dict[str, int], when: dict[str, int], said: Mapping[str, int], default: int
    ) -> None:
        """What a shopper said last counts, by the time of its row, whenever that is ingested; else a file that is read
        again would bring back a consent that has ended since. A file of consents says it now; the default counts only
        where nothing was said.
        """
        rows = np.flatnonzero(self.consent >= 0)
        rows = rows[np.argsort(self.time[rows], kind="stable")]
        last = dict(zip(self.user[rows].tolist(), rows.tolist(), strict=True))
        for user, row in last.items():
            name, time = self.users[user], int(self.time[row])
            if name not in said and marks.get(name, 0) >= 0 and time >= when.get(name, time):
                marks[name], when[name] = int(self.consent[row]), time
        if default >= 0:
            for name in self.users:
                marks.setdefault(name, default)

    def _at(self, rows: npt.NDArray[np.int64]) -> Bucket:
        return Bucket(
            self.users,
            self.user[rows],
            self.product[rows],
            self.kind[rows],
            self.time[rows],
            self.consent[rows],
            self.new[rows],
        )

    def table(self, names: list[str]) -> Any:
        """Returns the events as the store keeps them."""
        import pyarrow as pa

        present, place = np.unique(self.user, return_inverse=True)
        users = pa.array([self.users[i] for i in present.tolist()], pa.string())
        known, product = np.unique(self.product, return_inverse=True)
        products = pa.array([names[i] for i in known.tolist()], pa.string())
        return pa.table(
            {
                "user": pa.DictionaryArray.from_arrays(pa.array(place.astype(np.int32)), users),
                "product": pa.DictionaryArray.from_arrays(pa.array(product.astype(np.int32)), products),
                "kind": pa.array(self.kind.astype(np.int8)),
                "time": pa.array(self.time, pa.timestamp("ms", tz="UTC")),
            }
        )
