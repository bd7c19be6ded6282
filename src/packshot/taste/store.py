"""The store of events: a folder that is whole at any moment, and forgets a shopper so that no byte is left.

STORE/store.json names the files that count: parts/*.parquet, one for each first hex digit of a pseudonym, sorted by
user and time, and users-*.parquet, what is known of users beside their events. A writer writes new files, then
store.json, then removes the old ones. STORE/derived/ holds what was computed from events: models, indexes. Pseudonyms
are never compressed in any file, so that a search over the bytes finds them.

Letters: U users, I items, E events.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from packshot.catalog.packing import open_parquet
from packshot.core.errors import PackshotError, UsageError, lookup
from packshot.core.files import atomic_path, disk_errors, read_json, sha256_file
from packshot.taste.interactions import HALF_LIFE_DAYS, KINDS, MOST_HALVED, WEIGHTS, Interactions, from_events
from packshot.taste.keys import key_check, pseudonym
from packshot.taste.times import DAY_MS

if TYPE_CHECKING:
    import pyarrow as pa

Use = Literal["rank", "personalise"]
FORMAT, FORMAT_VERSION = "packshot-events", 1
SCOPES: dict[str, int] = {"rank": 1, "personalise": 2}
"""What a shopper can consent to, as bits."""
PART_ROWS = 65_536


class Event(NamedTuple):
    """One event of one shopper."""

    product: str
    kind: str
    time: int


class Store:
    """A store of events; made by `open_store`.

    Attributes:
        path: its folder.
        about: what store.json says.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path, self.about = path, about

    @property
    def derived(self) -> Path:
        """Folder for what is computed from the events; it goes whenever a shopper does, or events come."""
        return self.path / "derived"

    @property
    def checksum(self) -> str:
        """SHA-256, in hex digits, over the checksums of the files that count."""
        return hashlib.sha256(
            "\n".join(f"{n} {s}" for n, s in sorted(self.about["files"].items())).encode()
        ).hexdigest()

    @property
    def parts(self) -> list[Path]:
        """The files with events, in the order of pseudonyms."""
        return [self.path / name for name in sorted(self.about["files"]) if name.startswith("parts/")]

    @cached_property
    def users(self) -> dict[str, int]:
        """What each known shopper consented to, as bits of SCOPES; bots have -1."""
        out: dict[str, int] = {}
        for table in self._tables():
            marks = np.where(table["bot"].to_numpy(), -1, table["consent"].to_numpy())
            out |= dict(zip(table["user"].to_pylist(), marks.tolist(), strict=True))
        return out

    def said(self) -> dict[str, int]:
        """Returns when each known shopper said what they consent to, ms since 1970; who never said it is not in it."""
        out: dict[str, int] = {}
        for table in self._tables():
            if "said" in table.column_names:  # Stores of older versions do not know.
                pairs = zip(table["user"].to_pylist(), table["said"].to_pylist(), strict=True)
                out |= {user: said for user, said in pairs if said is not None}
        return out

    def _tables(self) -> Iterator[pa.Table]:
        for name in self.about["files"]:
            if name.startswith("users-"):
                with open_parquet(self.path / name) as file:
                    yield file.read()

    def may(self, user: str, use: Use) -> bool:
        """Whether a shopper's events may be used so."""
        return self.users.get(user, 0) > 0 and bool(self.users[user] & SCOPES[use])

    def find_user(self, user: str, key: bytes | None) -> str:
        """Returns the pseudonym in the store of a shopper's id, or of a pseudonym.

        Raises:
            UsageError: there is no such shopper.
            PackshotError: the key is another than the store was made with.
        """
        if user in self.users:
            return user
        if key is None:
            raise UsageError("That is no pseudonym in the store, and there is no key to make one of an id; --key FILE.")
        self.check_key(key)
        name = pseudonym(key, user)
        if name not in self.users:
            raise UsageError(f"The store {self.path} knows no such shopper; no event of theirs was ingested.")
        return name

    def check_key(self, key: bytes) -> None:
        """Makes sure that the key is the one of this store.

        Raises:
            PackshotError: it is not.
        """
        if self.about["key"] != key_check(key):
            raise PackshotError(f"The store {self.path} was made with another key; name it with --key FILE.")

    def history(self, user: str) -> list[Event]:
        """Returns the events of one shopper, by pseudonym, oldest first."""
        path = self.path / self.about["parts"].get(user[:1], "")
        if not path.is_file():
            return []
        import pyarrow.parquet as pq

        with disk_errors(path):
            table = pq.read_table(path, filters=[("user", "=", user)], columns=["product", "kind", "time"])
        rows = zip(
            table["product"].to_pylist(), table["kind"].to_pylist(), milliseconds_of(table).tolist(), strict=True
        )
        return [Event(product, KINDS[kind], time) for product, kind, time in rows]

    def interactions(
        self,
        at: int | None = None,
        half_life_days: float = HALF_LIFE_DAYS,
        weights: Mapping[str, float] | None = None,
        *,
        items: Sequence[str] | None = None,
        use: Use = "rank",
    ) -> Interactions:
        """Returns what all shoppers who consented did, as one matrix.

        An event counts weights[kind] * 0.5 ^ (age / half life), and a thousand-millionth at least.

        Args:
            at: moment in ms since 1970 from which ages count; later events are left out. None: the last event's.
            half_life_days: days; infinity: age does not count.
            weights: by kind, of WEIGHTS; kinds that are not named keep theirs.
            items: names of the products, in the order of columns; events of others (erased since) are left out.
                None: all products with events.
            use: what consent is needed for.

        Raises:
            UsageError: an unknown kind, a weight that is no number, or a half-life that is not above zero.
        """
        if not half_life_days > 0:
            raise UsageError(f"The half-life is {half_life_days} days; it has to be above 0.")
        for kind, weight in (weights or {}).items():
            lookup("kind of event", kind, WEIGHTS)
            if not np.isfinite(weight):
                raise UsageError(f"The weight of '{kind}' is {weight}; it has to be a number.")
        value = np.array([{**WEIGHTS, **(weights or {})}[kind] for kind in KINDS])
        users, products, row, column, kind, time = self._all(use)
        names = sorted(products) if items is None else list(items)
        place = {name: i for i, name in enumerate(names)}
        column = np.array([place.get(name, -1) for name in products] or [-1], np.int64)[column]
        at = at if at is not None else int(time.max(initial=0))
        good = (column >= 0) & (time <= at)
        row, column, kind, time = row[good], column[good], kind[good], time[good]
        halved = np.minimum((at - time) / DAY_MS / half_life_days, MOST_HALVED)
        counted = (value[kind] * 0.5**halved).astype(np.float32)
        return from_events(users, names, row, column, counted, time)

    def _all(self, use: Use) -> tuple[list[str], list[str], Any, Any, Any, Any]:
        users: list[str] = []
        products: dict[str, int] = {}
        found: list[list[npt.NDArray[np.int64]]] = [[], [], [], []]
        for path in self.parts:
            with open_parquet(path) as file:
                table = file.read()
            who, user = codes_of(table["user"])
            what, product = codes_of(table["product"])
            number = np.array([products.setdefault(name, len(products)) for name in what] or [0], np.int64)
            may = np.array([self.may(name, use) for name in who] or [False])
            new = np.cumsum(may) - 1 + len(users)
            users += [name for name, yes in zip(who, may, strict=True) if yes]
            keep = may[user]
            parts = (new[user], number[product], table["kind"].to_numpy().astype(np.int64), milliseconds_of(table))
            for out, part in zip(found, parts, strict=True):
                out.append(part[keep])
        row, column, kind, time = (np.concatenate([*f, np.zeros(0, np.int64)]) for f in found)
        return users, list(products), row, column, kind, time

    def summary(self) -> dict[str, Any]:
        """Returns counts: events by kind, shoppers by consent, products, first and last time, the heaviest product."""
        kinds: Counter[str] = Counter()
        products: Counter[str] = Counter()
        first, last, shoppers = [], [], 0
        for path in self.parts:
            with open_parquet(path) as file:
                table = file.read()
            who, _ = codes_of(table["user"])
            shoppers += len(who)
            what, product = codes_of(table["product"])
            products.update(dict(zip(what, np.bincount(product, minlength=len(what)).tolist(), strict=True)))
            counted = np.bincount(table["kind"].to_numpy(), minlength=len(KINDS)).tolist()
            kinds.update(dict(zip(KINDS, counted, strict=True)))
            times = milliseconds_of(table)
            first.append(int(times.min()))
            last.append(int(times.max()))
        events = sum(kinds.values())
        name, most = products.most_common(1)[0] if products else (None, 0)
        marks = self.users.values()
        return {
            "events": events,
            "kinds": {kind: kinds.get(kind, 0) for kind in KINDS},
            "shoppers": shoppers,
            "consent": {scope: sum(m > 0 and bool(m & bit) for m in marks) for scope, bit in SCOPES.items()},
            "bots": sum(m < 0 for m in marks),
            "products": len(products),
            "first": min(first, default=None),
            "last": max(last, default=None),
            "heaviest": {"product": name, "share": most / events if events else 0.0},
        }


def open_store(path: Path) -> Store:
    """Opens a store of events.

    Raises:
        PackshotError: there is none, it is of a newer format, or one of its files is missing or was changed.
    """
    description = path / "store.json"
    if not description.is_file():
        raise PackshotError(
            f"{path} is no store of events; make one: packshot events ingest FILE --catalog C --out {path}"
        )
    about = read_json(description)
    if not isinstance(about, dict) or about.get("format") != FORMAT or about.get("format_version") != FORMAT_VERSION:
        raise PackshotError(
            f"{description} describes no store of events that this version reads; ingest the events anew."
        )
    for name, expected in about["files"].items():
        file = path / name
        if not file.is_file() or sha256_file(file) != expected:
            raise PackshotError(
                f"{file} is missing or was changed; restore it from a backup, or ingest the events anew."
            )
    return Store(path, about)


@contextmanager
def writing(store: Path, *, wait: bool = False) -> Iterator[None]:
    """Keeps other writers out of a store, and removes what a killed one left.

    Args:
        store: its folder.
        wait: for another writer to end.

    Raises:
        PackshotError: another process is writing, and `wait` is not set.
    """
    with disk_errors(store):
        lock = os.open(store, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as e:
            raise PackshotError(f"Another process is writing to {store}; wait for it to end.") from e
        except OSError:
            pass  # A file system without locks.
        tidy(store)
        yield
    finally:
        os.close(lock)


def tidy(store: Path) -> None:
    """Removes files of the store that store.json does not name: old ones, and those of a writer that was killed."""
    description = store / "store.json"
    files = read_json(description)["files"] if description.is_file() else {}
    with disk_errors(store):
        for path in [*(store / "parts").glob("*"), *(store / "parts").glob(".*"), *store.glob("users-*")]:
            if str(path.relative_to(store)) not in files:
                path.unlink(missing_ok=True)
        for path in [*store.glob(".*.tmp"), *store.glob(".ingest-*")]:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def remove_derived(store: Path) -> int:
    """Removes what was computed from the events; returns how many files it was."""
    folder = store / "derived"
    with disk_errors(folder):
        count = sum(p.is_file() for p in folder.rglob("*"))
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder)
    return count


def write_part(store: Path, bucket: str, table: pa.Table) -> str:
    """Writes events, sorted by user and time, to a new file; returns its name in the store."""
    return _write(store, f"parts/part-{bucket}", table)


def write_users(store: Path, table: pa.Table) -> str:
    """Writes what is known of users to a new file; returns its name in the store."""
    return _write(store, "users", table)


def _write(store: Path, stem: str, table: pa.Table) -> str:
    import pyarrow.parquet as pq

    digest = hashlib.sha256(os.urandom(16)).hexdigest()[
        :8
    ]  # A new name each time: old files stay until they are not named.
    name = f"{stem}-{digest}.parquet"
    # Compressed, a pseudonym could not be found by its bytes.
    compression = {column: "none" if column == "user" else "zstd" for column in table.column_names}
    with atomic_path(store / name) as temporary:
        pq.write_table(table, temporary, compression=compression, row_group_size=PART_ROWS, store_schema=False)
    return name


def codes_of(column: Any) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Returns (words, number of each row's word), the words in the order in which they come."""
    encoded = column.combine_chunks().cast("string").dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)


def milliseconds_of(table: Any) -> npt.NDArray[np.int64]:
    """Returns the times of a part's rows, ms since 1970."""
    out: npt.NDArray[np.int64] = table["time"].combine_chunks().cast("int64").to_numpy(zero_copy_only=False)
    return out.astype(np.int64)
