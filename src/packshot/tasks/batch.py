"""An edit over many photos: one bad photo does not stop it, and the same command goes on where it was.

What was done lies in OUT/packshot.jsonl, one line for each photo, written after its pictures are on the disk. A line's
key is the SHA-256 of all that decides the pixels, so another setting or another photo of that name is never taken for
done.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import packshot
from packshot.core.errors import DiskFull, PackshotError, UsageError, lookup
from packshot.core.files import disk_errors, sha256_file, write_text
from packshot.core.progress import Progress
from packshot.core.runs import append_jsonl, read_jsonl
from packshot.images.decode import BadPicture
from packshot.images.picture import ProductImage
from packshot.release.door import release_set
from packshot.tasks.edit import Edit, Edited
from packshot.tasks.photos import Photo, find_photos

JOURNAL = "packshot.jsonl"
ENDINGS = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}
OWN_FORMAT = {"JPEG": "jpeg", "WEBP": "webp"}

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
    journal = _Journal(out / JOURNAL)
    found = list(find_photos(photos, out))
    if not found:
        raise PackshotError(f"There is no photo in {', '.join(map(str, photos))}.")
    batch = _Batch(edit, out, options, journal)
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


class _Journal:
    """The lines of OUT/packshot.jsonl by key; a line that a killed command left torn is removed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        rows = read_jsonl(path)
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            torn = path.exists() and not path.read_bytes().endswith(b"\n")
        if torn:
            write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
        self.rows = {row["key"]: row for row in rows if "key" in row}

    def add(self, key: str, result: PhotoResult) -> None:
        append_jsonl(self.path, {"key": key, **asdict(result)})


class _Batch:
    def __init__(self, edit: Edit, out: Path, options: BatchOptions, journal: _Journal) -> None:
        self.edit, self.out, self.options, self.journal = edit, out, options, journal
        how = {"format": options.format, "quality": options.quality}
        about = {"version": packshot.__version__, "task": edit.task, "settings": edit.settings(), **how}
        self.about = json.dumps(about, sort_keys=True)
        self.taken: dict[str, str] = {}

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
            key = sha256(f"{self.about}\n{photo.stem}\n{photo.checksum()}".encode()).hexdigest()
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
        row = self.journal.rows.get(key)
        if row is None:
            return None
        picture = row.get("picture")
        if picture is not None:
            path = self.out / picture
            if not path.is_file() or sha256_file(path) != row["sha256"]:
                return None
        known = {name: row[name] for name in PhotoResult.__dataclass_fields__ if name in row}
        return PhotoResult(**{**known, "notes": tuple(row["notes"]), "again": True})

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
            if photo.path is not None and path.exists() and path.samefile(photo.path) and not self.options.overwrite:
                raise PackshotError(f"{path} is the photo itself; choose another --out, or add --overwrite.")
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

    def ending(self, done: Edited, photo: ProductImage) -> str:
        if done.lossless or done.image.has_alpha:
            return ".png"
        return ENDINGS[self.options.format or _own_format(photo)]


def _own_format(photo: ProductImage) -> str:
    decoded = next((o.params.get("format") for o in photo.history if o.name == "decode"), None)
    return OWN_FORMAT.get(str(decoded), "png")


def _named(name: str, sentence: str) -> str:
    return sentence if name in sentence else f"{name}: {sentence}"
