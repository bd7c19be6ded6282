"""`packshot data fetch`: brings the two reference catalogues, from wherever they can be had, checked."""

from __future__ import annotations

import csv
import gzip
import hashlib
import os
import secrets
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from packshot.catalog.dataset import user_cache
from packshot.catalog.readers import FETCHED
from packshot.catalog.references import CLOTHING, FASHION_MNIST, Reference
from packshot.core.errors import PackshotError, lookup
from packshot.core.files import disk_errors, read_json, sha256_file, write_json

DEBIAN_PACKAGE = "dataset-fashion-mnist"
IN_PACKAGE = "usr/share/datasets/fashion-mnist"
DEBIAN_FOLDER = Path("/") / IN_PACKAGE
SHARED = "data/clothing"
"""Where the folder that PACKSHOT_SHARED names holds the clothing photos."""

TIMEOUT = 30
"""Seconds to wait for a server's answer."""

APT_TIMEOUT = 180
MAX_FILE_BYTES = 64 * 2**20
MAX_ZIP_BYTES = 8 * 2**30
NO_CATEGORY = {"not sure", "other", "skip", ""}
"""Labels of the public clothing list that say that a photo has none."""


class _NotHere(Exception):
    """One way did not lead to the data; the message says why."""


@dataclass(frozen=True, kw_only=True)
class FetchReport:
    """What was brought.

    Attributes:
        name: of the catalogue.
        path: the folder; `packshot ingest PATH --out CATALOG` knows its licence and source.
        origin: where it was found.
        licence: SPDX expression.
        source: the photos' origin, in words.
        citation: what a publication should cite; None: nothing asked for.
        photos: how many there are.
        checked: whether the contents were compared with published checksums.
        tried: ways that did not lead to it, with their reasons.
    """

    name: str
    path: Path
    origin: str
    licence: str
    source: str
    citation: str | None
    photos: int
    checked: bool
    tried: list[str]


Way = tuple[str, Callable[[Path], str]]
"""What a way is called, and what it does: fills a folder and returns where the data came from, or raises _NotHere."""


def fetch(name: str, *, source: Path | None = None, out: Path | None = None) -> FetchReport:
    """Brings a reference catalogue into a folder that `packshot ingest` reads.

    fashion-mnist is looked for in Debian's folder, in Debian's package (downloaded and unpacked without root), and at
    its public address; clothing in the folder that PACKSHOT_SHARED names, in ../shared, and at its public address.

    Args:
        name: "fashion-mnist" or "clothing".
        source: a folder that holds it; no other way is tried then.
        out: the folder to write, new or empty, or holding this catalogue already; None: one in the user's cache.

    Raises:
        UsageError: an unknown name; the nearest one is suggested.
        PackshotError: it cannot be had in any way; one sentence per way.
    """
    table = {
        FASHION_MNIST.name: (FASHION_MNIST, _fashion_ways, _check_fashion),
        CLOTHING.name: (CLOTHING, _clothing_ways, _check_clothing),
    }
    reference, ways, check = lookup("reference catalogue", name, table)
    out = out or user_cache() / "data" / name
    if (done := _already(reference, out, check)) is not None:
        return done
    with disk_errors(out):
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise PackshotError(f"{out} exists and does not hold {name}; choose another --out.")
        out.parent.mkdir(parents=True, exist_ok=True)
    tried = []
    for what, way in ways(source):
        with _new_folder(out) as folder:
            try:
                origin = way(folder)
                photos = check(folder)
            except _NotHere as e:
                tried.append(f"{what}: {e}")
                continue
            about = _about(reference, origin, photos)
            write_json(folder / FETCHED, about)
            with disk_errors(out):
                if out.exists():
                    out.rmdir()  # It is empty.
                folder.replace(out)
        return _report(reference, out, about, tried)
    raise PackshotError(_cannot(reference, tried, source))


def _about(reference: Reference, origin: str, photos: int) -> dict[str, object]:
    layout: dict[str, object] = {"format": "idx"}
    if reference is CLOTHING:
        layout = {"format": "csv", "list": "metadata.csv", "images": "128"}
    return layout | {
        "name": reference.name,
        "licence": reference.licence,
        "source": reference.source,
        "citation": reference.citation,
        "origin": origin,
        "photos": photos,
        "checked": bool(reference.content_sha256),
    }


def _report(reference: Reference, out: Path, about: dict[str, object], tried: list[str]) -> FetchReport:
    return FetchReport(
        name=reference.name,
        path=out,
        origin=str(about["origin"]),
        licence=reference.licence,
        source=reference.source,
        citation=reference.citation,
        photos=int(str(about["photos"])),
        checked=bool(about["checked"]),
        tried=tried,
    )


def _already(reference: Reference, out: Path, check: Callable[[Path], int]) -> FetchReport | None:
    """Returns the report of an earlier fetch into `out` whose contents are still right."""
    if not (out / FETCHED).is_file():
        return None
    about = read_json(out / FETCHED)
    if not isinstance(about, dict) or about.get("name") != reference.name:
        return None
    try:
        photos = check(out)
    except _NotHere as e:
        raise PackshotError(f"{out} was changed since it was fetched ({e}); remove it and fetch again.") from e
    return _report(reference, out, about | {"photos": photos}, [])


def _cannot(reference: Reference, tried: list[str], source: Path | None) -> str:
    if source is not None:
        return f"{source} does not hold {reference.name}: {tried[0].partition(': ')[2]}."
    package = f"on Debian or Ubuntu, apt-get install {DEBIAN_PACKAGE}; " if reference is FASHION_MNIST else ""
    holds = ", ".join(reference.content_sha256) if reference.content_sha256 else "metadata.csv and 128/"
    reasons = "; ".join(tried)
    number = "Three" if package else "Two"
    return (
        f"{reference.name} cannot be had here. {number} ways: a folder that holds it ({holds}), by --from FOLDER; "
        f"{package}a network that reaches {reference.address}. What was tried: {reasons}."
    )


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """Yields a new folder beside `out`, removed at the end unless it was renamed."""
    folder = out.with_name(f".{out.name}.{secrets.token_hex(4)}.tmp")
    with disk_errors(folder):
        folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fashion_ways(source: Path | None) -> list[Way]:
    if source is not None:
        return [("the folder that was named", lambda folder: _copy_idx(source, folder))]
    return [
        ("Debian's folder", lambda folder: _copy_idx(DEBIAN_FOLDER, folder)),
        (f"Debian's package {DEBIAN_PACKAGE}", _from_debian),
        (FASHION_MNIST.address, _download_idx),
    ]


def _copy_idx(source: Path, folder: Path) -> str:
    if not source.is_dir():
        raise _NotHere(f"{source} is no folder here")
    for name in FASHION_MNIST.content_sha256:
        found = next((p for p in (source / f"{name}.gz", source / name) if p.is_file()), None)
        if found is None:
            raise _NotHere(f"{source} has no {name}.gz")
        with disk_errors(found):
            shutil.copyfile(found, folder / found.name)
    return str(source)


def _check_fashion(folder: Path) -> int:
    for name, expected in FASHION_MNIST.content_sha256.items():
        path = next((p for p in (folder / f"{name}.gz", folder / name) if p.is_file()), None)
        if path is None:
            raise _NotHere(f"{name} is missing")
        digest = hashlib.sha256()
        try:
            with disk_errors(path), gzip.open(path) if path.suffix == ".gz" else path.open("rb") as f:
                while block := f.read(2**20):
                    digest.update(block)
        except (EOFError, zlib.error, gzip.BadGzipFile) as e:
            raise _NotHere(f"{path.name} is cut short or damaged") from e
        if digest.hexdigest() != expected:
            raise _NotHere(f"the SHA-256 of {path.name} differs from the published content's")
    return 70_000


def _from_debian(folder: Path) -> str:
    """Downloads the package with apt and unpacks it, without root and without touching the system's package lists."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise _NotHere("apt-get and dpkg-deb are not on this machine")
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        state, cache = work / "state", work / "cache"
        for path in (state / "lists" / "partial", cache / "archives" / "partial", work / "deb"):
            path.mkdir(parents=True)
        wait = ["-o", "Acquire::http::Timeout=20", "-o", "Acquire::https::Timeout=20", "-o", "Acquire::Retries=1"]
        cached = ["-o", f"Dir::Cache={cache}", *wait]
        own = [*cached, "-o", f"Dir::State={state}", "-o", "Dir::State::status=/var/lib/dpkg/status"]
        if not _apt([*cached, "download", DEBIAN_PACKAGE], work / "deb")[0]:
            # The machine's lists are missing or old: fetch lists of our own.
            good, said = _apt([*own, "update"], work)
            if good:
                good, said = _apt([*own, "download", DEBIAN_PACKAGE], work / "deb")
            if not good:
                raise _NotHere(said)
        package = next(iter((work / "deb").glob("*.deb")), None)
        if package is None:
            raise _NotHere("apt-get brought no package")
        done = _run_tool(["dpkg-deb", "-x", str(package), str(work / "unpacked")], work)
        if done.returncode:
            raise _NotHere(f"dpkg-deb cannot unpack it: {_last_line(done.stderr)}")
        _copy_idx(work / "unpacked" / IN_PACKAGE, folder)
        return f"Debian's package {package.name}"


def _apt(words: list[str], folder: Path) -> tuple[bool, str]:
    """Returns whether apt-get succeeded, and the last line that it said."""
    # Without the sandbox user, who could not write into our folder.
    done = _run_tool(["apt-get", "-q", "-o", "APT::Sandbox::User=", *words], folder)
    return done.returncode == 0, _last_line(done.stderr) or f"apt-get failed with {done.returncode}"


def _run_tool(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            words,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=APT_TIMEOUT,
            env=os.environ | {"LC_ALL": "C"},
            check=False,
        )
    except subprocess.TimeoutExpired as e:
        raise _NotHere(f"{words[0]} did not finish in {APT_TIMEOUT} seconds") from e
    except OSError as e:
        raise _NotHere(f"{words[0]} cannot be started: {e.strerror}") from e


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("E:")]
    return (errors or lines or [""])[-1].removeprefix("E: ").rstrip(".")


def _download_idx(folder: Path) -> str:
    for name in FASHION_MNIST.content_sha256:
        _download(f"{FASHION_MNIST.address}{name}.gz", folder / f"{name}.gz", MAX_FILE_BYTES)
    return FASHION_MNIST.address


def _download(address: str, path: Path, limit: int) -> None:
    """Downloads a file of at most `limit` bytes."""
    request = urllib.request.Request(address, headers={"User-Agent": "packshot"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer, disk_errors(path), path.open("wb") as f:
            size = 0
            while block := answer.read(2**20):
                size += len(block)
                if size > limit:
                    raise _NotHere(f"the answer has more than {limit:,} bytes")
                f.write(block)
    except urllib.error.HTTPError as e:
        raise _NotHere(f"the server answered {e.code} {e.reason}") from e
    except urllib.error.URLError as e:
        raise _NotHere(f"no connection ({e.reason})") from e
    except (TimeoutError, ConnectionError) as e:
        raise _NotHere(f"the connection broke ({e})") from e


def _clothing_ways(source: Path | None) -> list[Way]:
    if source is not None:
        return [("the folder that was named", lambda folder: _copy_clothing(source, folder))]
    ways: list[Way] = []
    shared = os.environ.get("PACKSHOT_SHARED")
    for place in ([Path(shared) / SHARED] if shared else []) + [Path("..") / "shared" / SHARED]:
        ways.append(("a folder beside the project", lambda folder, place=place: _copy_clothing(place, folder)))  # type: ignore[misc]
    return [*ways, (CLOTHING.address, _download_clothing)]


def _copy_clothing(source: Path, folder: Path) -> str:
    if not source.is_dir():
        raise _NotHere(f"{source} is no folder here")
    if not (source / "metadata.csv").is_file() or not (source / "128").is_dir():
        raise _NotHere(f"{source} does not hold metadata.csv and 128/")
    with disk_errors(source):
        shutil.copyfile(source / "metadata.csv", folder / "metadata.csv")
        (folder / "128").mkdir()
        for stem in _stems(source / "metadata.csv"):
            name = f"{stem}.jpg"
            if PurePosixPath(name).name != name or not (source / "128" / name).is_file():
                raise _NotHere(f"{source} has no photo 128/{name}, which its list names")
            shutil.copyfile(source / "128" / name, folder / "128" / name)
    return str(source)


def _check_clothing(folder: Path) -> int:
    """Returns the number of photos; the public archive changes, so that there is no checksum to compare with."""
    stems = _stems(folder / "metadata.csv")
    missing = next((s for s in stems if not (folder / "128" / f"{s}.jpg").is_file()), None)
    if missing is not None or not stems:
        raise _NotHere(f"128/{missing}.jpg is missing" if stems else "the list is empty")
    return len(stems)


def _stems(path: Path) -> list[str]:
    if not path.is_file():
        raise _NotHere(f"{path.name} is missing")
    with disk_errors(path), path.open(encoding="utf-8", errors="replace", newline="") as f:
        return [row.get("image") or "" for row in csv.DictReader(f)]


def _download_clothing(folder: Path) -> str:
    """Downloads the public archive and keeps the photos that its list gives a category."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        packed = Path(temporary) / "clothing.zip"
        _download(CLOTHING.address, packed, MAX_ZIP_BYTES)
        _unpack_clothing(packed, folder)
        return f"{CLOTHING.address} (SHA-256 {sha256_file(packed)}, not published anywhere)"


def _unpack_clothing(packed: Path, folder: Path) -> None:
    (folder / "128").mkdir()
    try:
        with zipfile.ZipFile(packed) as archive:
            members = {PurePosixPath(n).parts[1:]: n for n in archive.namelist() if not n.endswith("/")}
            if ("images.csv",) not in members:
                raise _NotHere("the archive holds no images.csv")
            with archive.open(members["images.csv",]) as f:
                rows = list(csv.DictReader(f.read().decode("utf-8", "replace").splitlines()))
            with disk_errors(folder), (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as listing:
                writer = csv.writer(listing)
                writer.writerow(["image", "category", "kids", "contributor"])
                for row in rows:
                    stem, label = row.get("image") or "", (row.get("label") or "").strip()
                    member = members.get(("images", f"{stem}.jpg"))
                    if member is None or label.lower() in NO_CATEGORY:
                        continue
                    if archive.getinfo(member).file_size > MAX_FILE_BYTES:
                        raise _NotHere(f"{member} in the archive is too large for a photo")
                    (folder / "128" / f"{stem}.jpg").write_bytes(archive.read(member))
                    writer.writerow([stem, label, row.get("kids") or "", row.get("sender_id") or ""])
    except (zipfile.BadZipFile, zlib.error, EOFError) as e:
        raise _NotHere("the archive is cut short or damaged") from e
