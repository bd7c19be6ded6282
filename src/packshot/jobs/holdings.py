"""What the studio holds of some photos, for `packshot erase` and the Ledger: found, removed, and looked for again.

Pictures in the store with what was derived from them, rows of pictures, jobs and results, what is in flight in `work/`
and `desk/`, photos put aside for a catalogue, decisions made on Create. One road for command line and page:
`packshot.tasks.erase` asks a `StudioHolder` as it asks any holder.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from packshot.core.errors import PackshotError
from packshot.core.files import disk_errors, sha256_file
from packshot.core.needles import Needle, find_needles
from packshot.jobs import database
from packshot.jobs.choices import Choices
from packshot.jobs.folders import TENANTS, tenant_folder, work_folder, work_folders
from packshot.jobs.hands import MIMES
from packshot.jobs.holdings_rows import (
    drop_rows,
    drop_waiting,
    find_rows,
    scrub,
    shared_names,
    texts_of,
    words_of,
)
from packshot.jobs.lives import some_live_here
from packshot.jobs.queue import drop_runs
from packshot.jobs.settings import StudioSettings
from packshot.jobs.shelf import Shelf
from packshot.jobs.store import PictureStore
from packshot.jobs.studio import remove_bytes
from packshot.tasks.erase_holders import Held
from packshot.taste.store import remove_derived

PLACES = ("advice", "explained")
"""Folders of the studio with runs and results, beside those of its settings."""
OWN = ("store", "work", "desk", "workers", "intake", "choices", "found", "studio.sqlite", "queue.sqlite")
HELD_UP = 15.0
"""Seconds that workers have to let go of what they have in hand."""
CHECKPOINTS = 100
"""Times that a database is asked to give up its old pages, a tenth of a second apart."""


class StudioHolder:
    """What a studio holds, of all tenants or of one.

    Args:
        settings: of the studio.
        tenant: whose; None: everybody's, for who runs the machine.

    Raises:
        PackshotError: the database or the store cannot be used.
    """

    def __init__(self, settings: StudioSettings, tenant: str | None = None) -> None:
        self.settings, self.tenant = settings, tenant
        self.engine = database.engine(settings)
        database.migrate(self.engine)
        self.store, self.shelf = PictureStore(settings), Shelf(self.engine)

    @property
    def name(self) -> str:
        """See `packshot.tasks.erase_holders.Holder`."""
        place = str(self.settings.place.absolute())
        return place if self.tenant is None else f"{place}, tenant {self.tenant}"

    @property
    def places(self) -> tuple[Path, ...]:
        """See `Holder`."""
        settings = self.settings
        folders = [settings.catalogs_folder, settings.runs_folder, *(settings.place / name for name in PLACES)]
        return tuple(path for path in map(self._mine, folders) if path.is_dir())

    @property
    def own(self) -> tuple[Path, ...]:
        """See `Holder`."""
        mine = tuple((self.settings.place / name).resolve() for name in OWN)
        # What other tenants have lies below what the shop itself has.
        return mine if self.tenant is None else (*mine, *((path / TENANTS).resolve() for path in self.places))

    def of_person(self, person: str) -> set[str]:
        """See `Holder`; every picture of the store is decoded, as small as its format lets."""
        from packshot.catalog.erase_find import says_person
        from packshot.images.decode import decode

        table = database.pictures
        rows = sa.select(table.c.sha256).distinct()
        with database.reading(self.engine) as connection:
            known = list(
                connection.execute(rows if self.tenant is None else rows.where(table.c.tenant == self.tenant)).scalars()
            )
        found = set()
        for sha256 in known:
            with suppress(PackshotError):  # One that is gone or damaged says nothing of anybody.
                data = self.store.read(sha256)
                if says_person(data, decode(data, at_least=1).metadata, person):
                    found.add(sha256)
        return found

    def find(self, gone: Collection[str]) -> Held:
        """See `Holder`."""
        with database.reading(self.engine) as connection:
            rows = find_rows(connection, self.tenant, gone)
        wanted = rows.wanted
        scratch = list(self._scratch(wanted, set(rows.items)))
        wanted |= {sha256_file(path) for folder in scratch for path in _files(folder / "out") if _is_picture(path)}
        counts = {
            "pictures": len(rows.pictures),
            "items": len(rows.items),
            "jobs": len({job for job, _ in rows.items}),
            "files": sum(self._holds(s) for s in wanted) + len(scratch) + len(list(self._aside(wanted))),
            "choices": sum(len(wanted & set(choices.now())) for choices in self._choices()),
        }
        return Held(made=frozenset(wanted - set(gone)), names=frozenset(rows.names), counts=counts)

    def stop(self, gone: Collection[str]) -> None:
        """See `Holder`."""
        with database.writing(self.engine) as connection:
            begun = drop_waiting(connection, self.tenant, gone)
        until, workers = time.monotonic() + HELD_UP, self.settings.place / "workers"
        folders = [work_folder(self.settings, id, run) for id, run in begun]
        # A worker that lives removes the folder of a run that is not wanted any more; one that was killed cannot.
        while any(folder.is_dir() for folder in folders) and some_live_here(workers) and time.monotonic() < until:
            time.sleep(0.05)

    def remove(self, gone: Collection[str], names: Collection[str]) -> None:
        """See `Holder`."""
        with database.reading(self.engine) as connection:
            rows = find_rows(connection, self.tenant, gone)
            kept = shared_names(connection, self.tenant, names, rows.wanted)
        drop_runs(self.settings, rows.runs)
        for folder in self._scratch(rows.wanted, set(rows.items)):
            shutil.rmtree(folder, ignore_errors=True)
        for path in self._aside(rows.wanted):
            with disk_errors(path):
                path.unlink(missing_ok=True)
        for choices in self._choices():
            choices.forget(rows.wanted)
        with database.writing(self.engine) as connection:
            drop_rows(connection, rows)
            scrub(connection, self.tenant, words_of(set(names) - kept, rows.wanted))
        for sha256 in rows.wanted:
            self._drop_bytes(sha256)
        self.store.drop_mentions(rows.wanted)
        self._drop_taste()
        compact(self.settings)

    def shared(self, names: Collection[str], gone: Collection[str]) -> set[str]:
        """See `Holder`."""
        with database.reading(self.engine) as connection:
            return shared_names(connection, self.tenant, names, gone)

    def left(self, gone: Collection[str], needles: Collection[Needle], salt: bytes) -> list[str]:
        """See `Holder`. Of one tenant it looks where that tenant's things are; of all, into every file."""
        with database.reading(self.engine) as connection:
            rows = find_rows(connection, self.tenant, gone)
        found = ["a row of a picture that was to be removed"] * bool(rows.pictures)
        found += ["a row of a job that names what was to be removed"] * bool(rows.items or rows.made)
        if any(self._holds(sha256) for sha256 in gone):
            found.append("a picture in the store that was to be removed")
        if any(True for _ in self._scratch(set(gone), set())) or any(True for _ in self._aside(set(gone))):
            found.append("a file in work that was to be removed")
        if self.tenant is None:
            found += sorted({f"{what} of what was to be removed" for what in self._mentions(needles, salt)})
        return found

    def _mentions(self, needles: Collection[Needle], salt: bytes) -> Iterator[str]:
        """Yields "a name" or "a checksum or id" for each file, or table, that holds one."""
        place = self.settings.place
        looked = [place / name for name in (*OWN, "studio.sqlite-wal", "queue.sqlite-wal")]
        with tempfile.TemporaryDirectory(prefix="packshot-erase-") as folder:
            if make_url(self.settings.database_url).get_backend_name() != "sqlite":
                dump = Path(folder) / "rows"
                with database.reading(self.engine) as connection, dump.open("w", encoding="utf-8") as f:
                    f.writelines(f"{text}\n" for text in texts_of(connection))
                looked.append(dump)
            for path in (file for one in looked for file in _files(one)):
                with suppress(FileNotFoundError, PackshotError):  # Gone meanwhile: others are at work here.
                    yield from ("a name" if n.name else "a checksum or id" for n in find_needles(path, needles, salt))

    def _mine(self, folder: Path) -> Path:
        return folder if self.tenant is None else tenant_folder(folder, self.tenant)

    def _drop_taste(self) -> None:
        """Removes what was computed of shoppers' taste: it holds features of photos, and is computed again."""
        for folder in self._each_tenant(self.settings.events_folder):
            for store in folder.iterdir() if folder.is_dir() else ():
                if (store / "store.json").is_file() and not store.is_symlink():
                    with disk_errors(store):
                        remove_derived(store)

    def _each_tenant(self, folder: Path) -> Iterator[Path]:
        """Yields the folders of a kind: the tenant's, or everybody's."""
        yield self._mine(folder)
        if self.tenant is None and (folder / TENANTS).is_dir():
            yield from sorted(path for path in (folder / TENANTS).iterdir() if path.is_dir())

    def _choices(self) -> Iterator[Choices]:
        return (Choices(folder) for folder in self._each_tenant(self.settings.place / "choices"))

    def _scratch(self, wanted: Collection[str], which: Collection[tuple[str, int]]) -> Iterator[Path]:
        """Yields the folders in `work/` in which one of the pictures is, or one of some jobs' pictures."""
        foreign = self._foreign_jobs()
        for (job, _), folder in work_folders(self.settings).items():
            for part in folder.iterdir() if job not in foreign else ():
                known = part.name.isdigit() and (job, int(part.name)) in which
                if part.is_dir() and (known or any(_is(path, wanted) for path in _files(part))):
                    yield part

    def _foreign_jobs(self) -> set[str]:
        if self.tenant is None:
            return set()
        table = database.jobs
        with database.reading(self.engine) as connection:
            return set(connection.execute(sa.select(table.c.id).where(table.c.tenant != self.tenant)).scalars())

    def _aside(self, wanted: Collection[str]) -> Iterator[Path]:
        """Yields files that are one of the pictures, or about one, outside of store and `work/`."""
        for name in ("intake", "desk") if self.tenant is None else ():
            yield from (path for path in _files(self.settings.place / name) if _is(path, wanted))
        if self.tenant is not None:
            yield from (path for path in _files(self._mine(self.settings.place / "intake")) if _is(path, wanted))
        for folder in self._each_tenant(self.settings.place / "found"):
            # Where a photo lies in a model: as good as its likeness.
            yield from (path for path in folder.glob("*.json") if path.name.partition("-")[0] in wanted)

    def _holds(self, sha256: str) -> bool:
        return self.store.size(sha256) is not None and not self._others_have(sha256)

    def _others_have(self, sha256: str) -> bool:
        table = database.pictures
        if self.tenant is None:
            return False
        theirs = sa.select(table.c.sha256).where(table.c.sha256 == sha256, table.c.tenant != self.tenant).limit(1)
        with database.reading(self.engine) as connection:
            return connection.execute(theirs).first() is not None

    def _drop_bytes(self, sha256: str) -> None:
        """Removes a picture from the store, unless another tenant has it; what a killed process left of it as well."""
        remove_bytes(self.shelf, self.store, sha256)
        if not self.shelf.is_needed(sha256):
            self.store.drop_torn(sha256)


def compact(settings: StudioSettings) -> None:
    """Has the studio's SQLite files give up the bytes of rows that are gone; a server's own database has its ways.

    Raises:
        PackshotError: somebody reads all the time, or the disk refuses.
    """
    urls = [settings.database_url] if make_url(settings.database_url).get_backend_name() == "sqlite" else []
    paths = [Path(make_url(url).database or "") for url in urls]
    for path in (*paths, settings.place / "queue.sqlite"):
        if not path.is_file():
            continue
        connection = sqlite3.connect(path, timeout=database.BUSY_MS / 1000, isolation_level=None)
        try:
            connection.execute("VACUUM")
            for _ in range(CHECKPOINTS):
                busy, *_more = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                if not busy:
                    break
                time.sleep(0.1)
            else:
                raise PackshotError(f"{path} is being read all the time, so its old pages stay; erase again later.")
        except sqlite3.Error as e:
            raise PackshotError(
                f"{path} cannot be made compact ({e}): it still holds bytes of what was erased; erase again."
            ) from e
        finally:
            connection.close()


def _files(path: Path) -> Iterator[Path]:
    """Yields a file, or the files in a folder; no links."""
    if path.is_file() and not path.is_symlink():
        yield path
    for folder, _, names in os.walk(path, followlinks=False):
        yield from (p for name in names if (p := Path(folder) / name).is_file() and not p.is_symlink())


def _is(path: Path, wanted: Collection[str]) -> bool:
    """Returns whether a file is one of some pictures, or is called like one."""
    if path.name in wanted:
        return True
    with suppress(PackshotError, OSError):
        return sha256_file(path) in wanted
    return False


def _is_picture(path: Path) -> bool:
    return path.suffix in MIMES and not path.name.startswith(".")
