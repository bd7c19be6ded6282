"""An edit over many photos: one bad photo does not stop it, and the same command goes on where it was.

What was done lies in OUT/packshot.jsonl, one line for each photo, written after its pictures are on the disk. A line's
key is the SHA-256 of all that decides the pixels, so another setting or another photo of that name is never taken for
done.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args

import packshot
from packshot.core.errors import DiskFull, PackshotError, UsageError, lookup
from packshot.core.files import disk_errors, sha256_file
from packshot.core.process import peak_memory
from packshot.core.progress import Progress
from packshot.core.runs import append_jsonl
from packshot.images.decode import BadPicture
from packshot.images.picture import ProductImage
from packshot.release.door import release_set
from packshot.tasks.edit import Edit, Edited
from packshot.tasks.photos import Photo, find_photos

JOURNAL = "packshot.jsonl"
ENDINGS = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}
OWN_FORMAT = {"JPEG": "jpeg", "WEBP": "webp"}

SAMPLED = 3
"""Photos that a plan is measured on."""

Status = Literal["done", "review", "refused", "failed"]


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """How the results of an edit are written.

    Attributes:
        format: "png", "jpeg" or "webp"; None: the photo's own if that is JPEG or WebP, else PNG. A result with
            transparency, or one that has to be exact, is a PNG in any case.
        quality: of JPEG and WebP, 1 to 100.
        overwrite: replace files of the same names.
        quiet: show no progress.

    Raises:
        UsageError: an unknown format, or a quality out of range.
    """

    format: str | None = None
    quality: int = 95
    overwrite: bool = False
    quiet: bool = False

    def __post_init__(self) -> None:
        if self.format is not None:
            lookup("format", self.format, ENDINGS)
        if not 1 <= self.quality <= 100:
            raise UsageError(f"--quality is {self.quality}; it can be 1 to 100.")


@dataclass(frozen=True, kw_only=True)
class PhotoResult:
    """What became of one photo.

    Attributes:
        photo: its name.
        status: "done"; "review": done, but a person should look, and it lies in OUT/review; "refused": the result
            broke a limit and was not written, what shows why lies in OUT/refused; "failed": it could not be edited.
        picture: the result's file below OUT; None where there is none.
        sha256: of that file.
        source_type: what the picture says of its origin (IPTC DigitalSourceType); None: nothing.
        beside: further files below OUT, by name.
        reason: why, of "review", "refused" and "failed".
        confidence: see `Edited`; so are `receipt`, `figures` and `notes`.
        again: it was done by an earlier command with the same settings; nothing was done now.
    """

    photo: str
    status: Status
    picture: str | None = None
    sha256: str | None = None
    source_type: str | None = None
    beside: Mapping[str, str] = field(default_factory=dict)
    reason: str | None = None
    confidence: float | None = None
    receipt: Mapping[str, Any] | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    again: bool = False


NOTED: dict[str, type | UnionType] = {
    "photo": str,
    "status": str,
    "picture": str | None,
    "sha256": str | None,
    "source_type": str | None,
    "beside": dict,
    "reason": str | None,
    "confidence": float | int | None,
    "receipt": dict | None,
    "figures": dict,
    "notes": list,
}
"""What a line of the journal holds of a result."""


@dataclass(frozen=True)
class BatchResult:
    """What became of all photos.

    Attributes:
        task: the edit's name.
        out: folder of the results.
        counts: photos by status, and how many of them had been done before ("again").
        photos: one entry for each, in order.
    """

    task: str
    out: Path
    counts: dict[str, int]
    photos: list[PhotoResult]


def edit_photos(photos: list[Path], edit: Edit, out: Path, options: BatchOptions | None = None) -> BatchResult:
    """Edits photos and writes the results into `out`, under each photo's own stem; folders keep their form.

    Args:
        photos: files, folders and catalogues.
        edit: what is done to each.
        out: folder for the results; made if it is not there.
        options: how they are written.

    Raises:
        UsageError: nothing named, or not there.
        PackshotError: no photo there, the disk is full (what was done stays done), or OUT cannot be written.
    """
    options = options or BatchOptions()
    found = _found(photos, out)
    batch = _Batch(edit, out, options, _Journal(out / JOURNAL))
    results = []
    with Progress(edit.task.capitalize(), len(found), quiet=options.quiet) as bar:
        for i, photo in enumerate(found):
            results.append(batch.one(photo))
            if results[-1].status == "failed":
                bar.say(f"packshot: {results[-1].reason}")
            bar.update(i + 1)
    counts = Counter(r.status for r in results)
    tally = {status: counts[status] for status in ("done", "review", "refused", "failed")}
    return BatchResult(edit.task, out, {**tally, "again": sum(r.again for r in results)}, results)


@dataclass(frozen=True)
class Plan:
    """What a command would do, and what that would cost here and now.

    Attributes:
        task: the edit's name.
        steps: its tasks, in order.
        photos: how many there are.
        sampled: how many of them were edited to measure it; none of their results was kept.
        seconds_each: wall time a photo; None: none could be edited.
        seconds: for all photos.
        memory_mib: the largest resident memory of this process by then.
    """

    task: str
    steps: list[str]
    photos: int
    sampled: int
    seconds_each: float | None
    seconds: float | None
    memory_mib: float


def plan_photos(photos: list[Path], edit: Edit, out: Path) -> Plan:
    """Measures an edit on a few photos, spread over all that were named; nothing is written.

    Raises:
        UsageError: nothing named, or not there.
        PackshotError: there is no photo.
    """
    found = _found(photos, out)
    sampled, spent = 0, 0.0
    for photo in found[:: max(1, len(found) // SAMPLED)][:SAMPLED]:
        start = time.monotonic()
        with suppress(PackshotError):  # The command itself will say what is wrong with it.
            edit(photo.read())
            sampled, spent = sampled + 1, spent + time.monotonic() - start
    each = spent / sampled if sampled else None
    steps = [step["task"] for step in edit.settings().get("steps", [{"task": edit.task}])]
    return Plan(
        edit.task, steps, len(found), sampled, each, each and each * len(found), round(peak_memory() / 2**20, 1)
    )


def _found(photos: list[Path], out: Path) -> list[Photo]:
    found = list(find_photos(photos, out))
    if not found:
        raise PackshotError(f"There is no photo in {', '.join(map(str, photos))}.")
    return found


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Returns the JSON objects of a journal, oldest first; lines that are none (torn, damaged) are passed over.

    Raises:
        PackshotError: it is there and cannot be read.
    """
    with disk_errors(path):
        if not path.exists():
            return []
        if not path.is_file():
            raise PackshotError(f"{path} is not a file, so nothing can be noted there; choose another --out.")
        lines = path.read_bytes().splitlines()
    rows = []
    for line in lines:
        with suppress(ValueError, RecursionError):
            rows.append(json.loads(line))
    return [row for row in rows if isinstance(row, dict)]


class _Journal:
    """The results in OUT/packshot.jsonl by key."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        rows = read_journal(path)
        self.results = {row.get("key"): result for row in rows if (result := _noted(row)) is not None}
        with disk_errors(path):
            if path.exists():
                self.cut_off_torn(path.read_bytes())

    def cut_off_torn(self, data: bytes) -> None:
        """Removes the line that a killed command left torn at the end; the rest stays: another one may write, too."""
        if data and not data.endswith(b"\n"):
            with self.path.open("r+b") as f:
                if f.seek(0, 2) == len(data):
                    f.truncate(data.rfind(b"\n") + 1)

    def add(self, key: str, result: PhotoResult) -> None:
        append_jsonl(self.path, {"key": key, **asdict(result)})


def _noted(row: Mapping[str, Any]) -> PhotoResult | None:
    """Returns the result that a line of the journal holds; None: it holds none, or a damaged one."""
    if not all(isinstance(row.get(name), kinds) for name, kinds in NOTED.items()):
        return None
    if row["status"] not in get_args(Status) or (row["picture"] is None) != (row["sha256"] is None):
        return None
    return PhotoResult(**{**{name: row[name] for name in NOTED}, "notes": tuple(map(str, row["notes"])), "again": True})


class _Batch:
    def __init__(self, edit: Edit, out: Path, options: BatchOptions, journal: _Journal) -> None:
        self.edit, self.out, self.options, self.journal = edit, out, options, journal
        how = {"format": options.format, "quality": options.quality}
        about = {"version": packshot.__version__, "task": edit.task, "settings": edit.settings(), **how}
        self.about = json.dumps(about, sort_keys=True)
        self.taken: dict[str, str] = {}
        self.written: dict[Path, str] = {}

    def one(self, photo: Photo) -> PhotoResult:
        """Edits one photo; whatever is wrong with it is its result.

        Raises:
            DiskFull: no result can be written any more.
        """
        try:
            first = self.taken.setdefault(str(photo.stem), photo.name)
            if first != photo.name:
                raise PackshotError(
                    f"{photo.name} would be written to the same file as {first}; edit it with another --out."
                )
            about = f"{self.about}\n{photo.stem}\n{photo.checksum()}"
            key = sha256(about.encode(errors="surrogatepass")).hexdigest()  # A name may be no text.
            if (before := self.before(key)) is not None:
                return before
            return self.edited(photo, key)
        except DiskFull:
            raise
        except BadPicture as e:
            return PhotoResult(photo=photo.name, status="failed", reason=str(e))
        except PackshotError as e:
            return PhotoResult(photo=photo.name, status="failed", reason=_named(photo.name, str(e)))
        except MemoryError:
            return PhotoResult(
                photo=photo.name, status="failed", reason=f"{photo.name} is too large for the memory of this machine."
            )

    def before(self, key: str) -> PhotoResult | None:
        """Returns what an earlier command did with the same photo and settings, if its picture is still there."""
        result = self.journal.results.get(key)
        if result is not None and result.picture is not None:
            path = self.out / result.picture
            with disk_errors(path):
                if not path.is_file() or sha256_file(path) != result.sha256:
                    return None
        return result

    def edited(self, photo: Photo, key: str) -> PhotoResult:
        image = photo.read()
        done = self.edit(image)
        status: Status = "refused" if done.refused else "review" if done.review else "done"
        folder = {"done": self.out, "review": self.out / "review", "refused": self.out / "refused"}[status]
        base = folder / Path(photo.stem)
        ending = self.ending(done, image)
        pictures = [] if status == "refused" else [(done.image, base.with_name(base.name + ending))]
        beside = {n: (p, base.with_name(f"{base.name}-{n}.png")) for n, p in done.beside.items()}
        everything = [*pictures, *beside.values()]
        for _, path in everything:
            self.check(path, photo)
        released = release_set(
            [p for p, _ in everything],
            [path for _, path in everything],
            overwrite=self.options.overwrite,
            quality=self.options.quality,
        )
        first = released[0] if pictures else None
        result = PhotoResult(
            photo=photo.name,
            status=status,
            picture=first.path.relative_to(self.out).as_posix() if first else None,
            sha256=first.sha256 if first else None,
            source_type=first.source_type if first else None,
            beside={n: path.relative_to(self.out).as_posix() for n, (_, path) in beside.items()},
            reason=done.refused or done.review,
            confidence=done.confidence,
            receipt=done.receipt,
            figures=done.figures,
            notes=(*done.notes, *(first.notes if first else ())),
        )
        self.journal.add(key, result)
        return result

    def check(self, path: Path, photo: Photo) -> None:
        """Makes sure that a result may be written there.

        Raises:
            PackshotError: it is a result of this command, or, without --overwrite, the photo itself.
        """
        if (first := self.written.setdefault(path, photo.name)) != photo.name:
            raise PackshotError(f"{path} is a result of {first} already; edit {photo.name} with another --out.")
        with disk_errors(path):
            itself = photo.path is not None and path.exists() and path.samefile(photo.path)
        if itself and not self.options.overwrite:
            raise PackshotError(f"{path} is the photo itself; choose another --out, or add --overwrite.")

    def ending(self, done: Edited, photo: ProductImage) -> str:
        if done.lossless or done.image.has_alpha:
            return ".png"
        return ENDINGS[self.options.format or _own_format(photo)]


def _own_format(photo: ProductImage) -> str:
    decoded = next((o.params.get("format") for o in photo.history if o.name == "decode"), None)
    return OWN_FORMAT.get(str(decoded), "png")


def _named(name: str, sentence: str) -> str:
    return sentence if name in sentence else f"{name}: {sentence}"
