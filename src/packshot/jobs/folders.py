"""Which runs, catalogues and stores of events a tenant of the studio has, and where each of them lies.

A name that comes with a request is looked up among what is listed here, and never made a part of a path. The shop
itself has what lies in the folders of the settings; another tenant has what lies in its own folder below them, in
`tenants/`. The generators that come with the package are everybody's. No network and no picture is loaded here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packshot.core.errors import PackshotError
from packshot.core.files import disk_errors, read_json
from packshot.core.runs import RunFolder, shipped_names
from packshot.jobs.records import SHOP, NotFound
from packshot.jobs.settings import StudioSettings

TENANTS = "tenants"
PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}")
NAME = re.compile(r"[\w][\w .+-]{0,79}")
"""What a new run or catalogue may be called."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A trained run, one that is being trained, or a generator that comes with the package.

    Attributes:
        name: of its folder.
        path: its folder.
        shipped: whether it came with the package.
        model: of the table of models; "" where run.json is damaged.
        state: "running", "finished" or "stopped", as run.json says it.
        ready: whether it makes pictures already.
        categories: their names.
        attributes: the values of each attribute that can be asked for, by its name.
        text: whether it understands words.
        size: side of its pictures, in pixels; 0 where it is not known.
        problem: why it cannot be read, one sentence; None: it can.
    """

    name: str
    path: Path
    shipped: bool = False
    model: str = ""
    state: str = ""
    ready: bool = False
    categories: tuple[str, ...] = ()
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    text: bool = False
    size: int = 0
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class CatalogFolder:
    """A finished catalogue, without its photos.

    Attributes:
        name: of its folder.
        path: its folder.
        checksum: of its content; "" where it cannot be read.
        categories: their names.
        summary: see `packshot.catalog.Catalog`; empty where it cannot be read.
        problem: why it cannot be used, one sentence; None: it can.
    """

    name: str
    path: Path
    checksum: str = ""
    categories: tuple[str, ...] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)
    problem: str | None = None


def tenant_folder(folder: Path, tenant: str) -> Path:
    """Returns where a tenant's things of a kind lie; the folder need not be there yet."""
    if tenant == SHOP:
        return folder
    own = tenant if PLAIN.fullmatch(tenant) else hashlib.sha256(tenant.encode()).hexdigest()[:32]
    return folder / TENANTS / own


def list_runs(settings: StudioSettings, tenant: str) -> list[Run]:
    """Returns a tenant's runs, the newest first, then the generators that come with the package."""
    own = [_run(path) for path in _newest(tenant_folder(settings.runs_folder, tenant), "run.json")]
    return own + [_run(RunFolder.open(Path(name)).path, shipped=True) for name in shipped_names()]


def find_run(settings: StudioSettings, tenant: str, name: str) -> Run:
    """Returns a run by its name; one of the tenant's goes before one that came with the package.

    Raises:
        NotFound: the tenant has none of that name.
    """
    for run in list_runs(settings, tenant):
        if run.name == name:
            return run
    raise NotFound(f"There is no model '{name[:80]}' here.")


def list_catalogs(settings: StudioSettings, tenant: str) -> list[CatalogFolder]:
    """Returns a tenant's catalogues, the newest first, those that cannot be used with the reason."""
    folder = tenant_folder(settings.catalogs_folder, tenant)
    return [_catalog(path) for path in _newest(folder, "catalog.json", ".ingest")]


def find_catalog(settings: StudioSettings, tenant: str, name: str) -> CatalogFolder:
    """Returns a catalogue by its name.

    Raises:
        NotFound: the tenant has none of that name.
    """
    for one in list_catalogs(settings, tenant):
        if one.name == name:
            return one
    raise NotFound(f"There is no catalogue '{name[:80]}' here.")


def list_stores(settings: StudioSettings, tenant: str) -> dict[str, Path]:
    """Returns the folders of a tenant's stores of events by their names, the newest first."""
    return {p.name: p for p in _newest(tenant_folder(settings.events_folder, tenant), "store.json")}


def find_store(settings: StudioSettings, tenant: str, name: str) -> Path:
    """Returns the folder of a store of events.

    Raises:
        NotFound: the tenant has none of that name.
    """
    stores = list_stores(settings, tenant)
    if name not in stores:
        raise NotFound(f"There is no store of events '{name[:80]}' here.")
    return stores[name]


def catalog_of_store(store: Path, catalogs: Sequence[CatalogFolder]) -> CatalogFolder | None:
    """Returns the catalogue whose products a store's events are about: that of its last ingest, else the first one.

    A catalogue that photos were erased from since has another checksum, so it is not known by it any more.
    """
    try:
        about = read_json(store / "store.json")
        checksum = about.get("catalog") if isinstance(about, dict) else None
    except PackshotError:  # Whoever opens the store says so.
        checksum = None
    return next((c for c in catalogs if c.checksum == checksum), next(iter(catalogs), None))


def new_folder(folder: Path, tenant: str, name: str) -> Path:
    """Returns the folder of a new run or catalogue, which is not made here.

    Raises:
        PackshotError: the name is none, or taken.
    """
    if not NAME.fullmatch(name) or name == TENANTS:
        raise PackshotError(
            f"'{name[:80]}' cannot be a name; take letters, digits, spaces, dots, hyphens and underscores, 80 at most."
        )
    path = tenant_folder(folder, tenant) / name
    with disk_errors(path):
        if path.exists():
            raise PackshotError(f"The name '{name}' is taken; choose another.")
    return path


def next_name(folder: Path, tenant: str, *words: str) -> str:
    """Returns NNNNN-words with the next free number, as runs are named on the command line."""
    place = tenant_folder(folder, tenant)
    taken = [int(p.name[:5]) for p in place.glob("[0-9][0-9][0-9][0-9][0-9]-*")]
    plain = [re.sub(r"[^\w.+-]+", "-", word).strip("-.") for word in words if word]
    return "-".join([f"{max(taken, default=-1) + 1:05d}", *plain])[:80]


def _newest(folder: Path, *signs: str) -> list[Path]:
    """Returns the folders in a folder that hold one of some files, the newest first; links are not followed."""

    def found() -> Iterator[tuple[float, Path]]:
        for path in folder.iterdir():
            if path.is_symlink() or not path.is_dir():
                continue
            times = [(path / sign).stat().st_mtime for sign in signs if (path / sign).exists()]
            if times:
                yield max(times), path

    if not folder.is_dir():
        return []
    with disk_errors(folder):
        return [path for _, path in sorted(found(), key=lambda pair: (-pair[0], pair[1].name))]


def _run(path: Path, *, shipped: bool = False) -> Run:
    run = RunFolder(path)
    try:
        about = run.read()
    except PackshotError as e:
        return Run(name=path.name, path=path, problem=str(e))
    conditions = about.get("conditions") or {}
    size = about["spec"].get("size", 0) if isinstance(about["spec"].get("size", 0), int) else 0
    return Run(
        name=path.name,
        path=path,
        shipped=shipped,
        model=about["config"]["model"],
        state=str(about.get("state", "")),
        ready=run.model_file.is_file(),
        categories=tuple(map(str, about["categories"])),
        attributes={str(k): tuple(map(str, v)) for k, v in conditions.get("attributes", {}).items()},
        text=bool(conditions.get("text")),
        size=size,
    )


def _catalog(path: Path) -> CatalogFolder:
    """Reads what a catalogue says of itself; its checksums are compared by whoever opens it to use it."""
    description = path / "catalog.json"
    if not description.is_file():
        problem = "It is not finished; give the command that began it again, for example packshot ingest."
        return CatalogFolder(name=path.name, path=path, problem=problem)
    try:
        about = read_json(description)
        return CatalogFolder(
            name=path.name,
            path=path,
            checksum=str(about["checksum"]),
            categories=tuple(map(str, about["categories"])),
            summary=dict(about["summary"]),
        )
    except (PackshotError, KeyError, TypeError, ValueError) as e:
        problem = str(e) if isinstance(e, PackshotError) else "Its description is damaged; ingest the photos again."
        return CatalogFolder(name=path.name, path=path, problem=problem)


def work_folder(settings: StudioSettings, job: str, run: int) -> Path:
    """Returns where a run of a job works; a later run of it has another, and may begin before this one ended."""
    return (settings.place / "work" / f"{job}-{run}").absolute()


def work_folders(settings: StudioSettings) -> dict[tuple[str, int], Path]:
    """Returns the folders of runs that are there, by job and run."""
    return {
        (job, int(run)): path
        for path in (settings.place / "work").glob("*-*")
        for job, _, run in [path.name.rpartition("-")]
        if run.isdigit() and path.is_dir()
    }
