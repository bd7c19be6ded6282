"""An edit over many photos: one bad photo does not stop it, and the same command goes on where it was.

With workers, they edit and write the pictures; this process alone knows what was done (`packshot.tasks.journal`).
"""

from __future__ import annotations

import json
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import islice, takewhile
from pathlib import Path
from typing import NamedTuple

import packshot
from packshot.core.errors import DiskFull, PackshotError, UsageError, lookup
from packshot.core.files import disk_errors
from packshot.core.leftovers import no_leftovers
from packshot.core.process import peak_memory
from packshot.core.progress import Progress
from packshot.core.workers import WorkerLost, Workers, useful_workers
from packshot.images.decode import BadPicture
from packshot.images.picture import ProductImage
from packshot.release.door import NotAsMade, release_set
from packshot.tasks.edit import Edit, Edited
from packshot.tasks.journal import Journal, PhotoResult, Status
from packshot.tasks.notice import notices_told
from packshot.tasks.photos import Photo, find_photos

ENDINGS = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}
OWN_FORMAT = {"JPEG": "jpeg", "WEBP": "webp"}
PNG_INSTEAD = "In the photo's own format it would not have been the picture that was made, so it is a PNG."

SAMPLED = 3
"""Photos that a plan is measured on."""
MANY = 16
"""Photos from which on workers gain more than their start costs."""
WORKER_BYTES = 1.5 * 2**30
"""What a worker may take, where the number of workers is left open."""


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """How the results of an edit are written.

    Attributes:
        format: "png", "jpeg" or "webp"; None: the photo's own if that is JPEG or WebP and holds the result well enough,
            else PNG. A result with transparency, or one that has to be exact, is a PNG in any case.
        quality: of JPEG and WebP, 1 to 100.
        overwrite: replace files of the same names.
        quiet: show no progress.
        workers: processes that edit, one thread each; the results do not depend on it. 1: none but this one. None: as
            many as there are cores, and memory for, where there are many photos. More than 1 need an edit that can be
            pickled: all of Packshot's can, and others of a module that can be imported.
        images: the folder that the photos of a feed lie in; None: the feed's own.

    Raises:
        UsageError: an unknown format, or a number out of range.
    """

    format: str | None = None
    quality: int = 95
    overwrite: bool = False
    quiet: bool = False
    workers: int | None = 1
    images: Path | None = None

    def __post_init__(self) -> None:
        if self.format is not None:
            lookup("format", self.format, ENDINGS)
        if not 1 <= self.quality <= 100:
            raise UsageError(f"--quality is {self.quality}; it can be 1 to 100.")
        if self.workers is not None and not 1 <= self.workers <= 256:
            raise UsageError(f"--workers is {self.workers}; it can be 1 to 256.")

    def workers_for(self, photos: int) -> int:
        """Returns how many processes edit so many photos."""
        if self.workers is not None:
            return min(self.workers, photos)
        return useful_workers(WORKER_BYTES) if photos >= MANY else 1


@dataclass(frozen=True)
class BatchResult:
    """What became of all photos.

    Attributes:
        task: the edit's name.
        out: folder of the results.
        counts: photos by status, and how many of them had been done before ("again").
        photos: one entry for each, in order.
        notices: how many visible notices are at which place (`packshot.tasks.notice`).
        rules: those behind the places, each once, as a sentence.
    """

    task: str
    out: Path
    counts: dict[str, int]
    photos: list[PhotoResult]
    notices: dict[str, int] = field(default_factory=dict)
    rules: list[str] = field(default_factory=list)


def edit_photos(photos: list[Path], edit: Edit, out: Path, options: BatchOptions | None = None) -> BatchResult:
    """Edits photos and writes the results into `out`, under each photo's own stem; folders keep their form.

    Args:
        photos: files, folders, catalogues and product feeds (`packshot.tasks.photos`).
        edit: what is done to each.
        out: folder for the results; made if it is not there.
        options: how they are written.

    Raises:
        UsageError: nothing named, or not there.
        PackshotError: no photo there, the disk is full (what was done stays done), or OUT cannot be written.
    """
    options = options or BatchOptions()
    found = _found(photos, out, options)
    with Progress(edit.task.capitalize(), len(found), quiet=options.quiet) as bar:
        batch = _Batch(edit, out, options, found, bar)
        with (
            no_leftovers(out, _folders(out, found), _is_ours),
            Workers(options.workers_for(len(found)), _Work(edit, out, options)) as workers,
        ):
            batch.run(workers)
    results = [batch.became[i] for i in range(len(found))]
    counts = Counter(r.status for r in results)
    tally = {status: counts[status] for status in ("done", "review", "refused", "failed")}
    notices, rules = notices_told(r.figures for r in results)
    return BatchResult(edit.task, out, {**tally, "again": sum(r.again for r in results)}, results, notices, rules)


@dataclass(frozen=True)
class Plan:
    """What a command would do, and what that would cost here and now.

    Attributes:
        task: the edit's name.
        steps: its tasks, in order.
        photos: how many there are.
        sampled: how many of them were edited to measure it; none of their results was kept.
        workers: processes that would edit them.
        seconds_each: wall time a photo takes a process; None: none could be edited.
        seconds: for all photos.
        memory_mib: the largest resident memory of this process by then; each worker takes about as much.
    """

    task: str
    steps: list[str]
    photos: int
    sampled: int
    workers: int
    seconds_each: float | None
    seconds: float | None
    memory_mib: float


def plan_photos(photos: list[Path], edit: Edit, out: Path, options: BatchOptions | None = None) -> Plan:
    """Measures an edit on a few photos, spread over all that were named; nothing is written. See `edit_photos`.

    Raises:
        UsageError: nothing named, or not there.
        PackshotError: there is no photo.
    """
    options = options or BatchOptions()
    found = _found(photos, out, options)
    sampled, spent = 0, 0.0
    for photo in found[:: max(1, len(found) // SAMPLED)][:SAMPLED]:
        start = time.monotonic()
        with suppress(PackshotError):  # The command itself will say what is wrong with it.
            edit(photo.read())
            sampled, spent = sampled + 1, spent + time.monotonic() - start
    each = spent / sampled if sampled else None
    steps = [step["task"] for step in edit.settings().get("steps", [{"task": edit.task}])]
    workers = options.workers_for(len(found))
    seconds = each and each * len(found) / workers
    return Plan(edit.task, steps, len(found), sampled, workers, each, seconds, round(peak_memory() / 2**20, 1))


def _found(photos: list[Path], out: Path, options: BatchOptions) -> list[Photo]:
    named = find_photos(photos, out, options.images)
    found = list({(p.name, p.stem): p for p in named}.values())  # One named twice is done once.
    if not found:
        raise PackshotError(f"There is no photo in {', '.join(map(str, photos))}.")
    return found


def _folders(out: Path, found: list[Photo]) -> set[Path]:
    """Returns the folders that results may be written to."""
    return {base / Path(photo.stem).parent for base in _bases(out).values() for photo in found}


def _is_ours(name: str) -> bool:
    return Path(name).suffix in {*ENDINGS.values(), ".json"}


def _bases(out: Path) -> dict[Status, Path]:
    return {"done": out, "review": out / "review", "refused": out / "refused"}


class _Question(NamedTuple):
    """A photo to be edited.

    Attributes:
        photo: it.
        beside: names by stem of other photos whose results may be called like what is written beside this one's.
    """

    photo: Photo
    beside: dict[str, str]


class _Batch:
    """The photos of a command, and what became of each, by its number."""

    def __init__(self, edit: Edit, out: Path, options: BatchOptions, found: list[Photo], bar: Progress) -> None:
        self.found, self.bar, self.journal = found, bar, Journal(out)
        self.became: dict[int, PhotoResult] = {}
        how = {"format": options.format, "quality": options.quality}
        about = {"version": packshot.__version__, "task": edit.task, "settings": edit.settings(), **how}
        self.about = json.dumps(about, sort_keys=True)
        self.first: dict[str, str] = {}
        for photo in found:
            self.first.setdefault(str(photo.stem), photo.name)
        self.stems = sorted(self.first)

    def run(self, workers: Workers[_Question, PhotoResult]) -> None:
        """Has the photos edited, and notes each as soon as its pictures are there.

        Raises:
            DiskFull: no result can be written any more.
        """
        for (i, key, digest), answer in workers.as_done(self.questions()):
            try:
                result = answer.result()
            except WorkerLost as e:
                result = _failed(self.found[i].name, e)
            if result.status != "failed":
                self.journal.add(key, result, digest)
            self.note(i, result)

    def questions(self) -> Iterator[tuple[tuple[int, str, str], _Question]]:
        """Yields the photos that are to be edited, each with its number, its key and the SHA-256 of its file."""
        for i, photo in enumerate(self.found):
            try:
                key, digest = self.key(photo)
                before = self.journal.done_before(key)
            except (PackshotError, MemoryError) as e:
                before = _failed(photo.name, e)
            if before is None:
                yield (i, key, digest), _Question(photo, self.beside(str(photo.stem)))
            else:
                self.note(i, before)

    def note(self, i: int, result: PhotoResult) -> None:
        """Keeps and tells what became of a photo."""
        self.became[i] = result
        if result.status == "failed":
            self.bar.say(f"packshot: {result.reason}")
        self.bar.update(len(self.became))

    def key(self, photo: Photo) -> tuple[str, str]:
        """Returns what tells a photo edited so from all others, and the SHA-256 of its file, as 64 hex digits each.

        Raises:
            PackshotError: it cannot be read, or another photo's result has its name.
        """
        first = self.first[str(photo.stem)]
        if first != photo.name:
            raise PackshotError(
                f"{photo.name} would be written to the same file as {first}; edit it with another --out."
            )
        checksum = photo.checksum()
        about = f"{self.about}\n{photo.stem}\n{checksum}"
        key = sha256(about.encode(errors="surrogatepass")).hexdigest()  # A name may be no text.
        return key, photo.sha256 or checksum

    def beside(self, stem: str) -> dict[str, str]:
        """Returns the stems that a picture beside a photo's result may have, and whose they are."""
        start = bisect_left(self.stems, f"{stem}-")
        near = takewhile(lambda other: other.startswith(f"{stem}-"), islice(self.stems, start, None))
        return {other: self.first[other] for other in near}


@dataclass(frozen=True)
class _Work:
    """Edits photos and writes the results, in this process or in a worker."""

    edit: Edit
    out: Path
    options: BatchOptions

    def __call__(self, question: _Question) -> PhotoResult:
        """Returns what became of one photo; whatever is wrong with it is its result.

        Raises:
            DiskFull: no result can be written any more.
        """
        try:
            return self.edited(question)
        except (PackshotError, MemoryError) as e:
            return _failed(question.photo.name, e)

    def edited(self, question: _Question) -> PhotoResult:
        image = question.photo.read()
        done = self.edit(image)
        ending = self.ending(done, image)
        try:
            return self.written(question, done, ending)
        except NotAsMade:
            if self.options.format is not None:
                raise
        # Strokes of a style, say, are harder on a JPEG than any photo. Nobody asked for one.
        return self.written(question, replace(done, notes=(*done.notes, PNG_INSTEAD)), ".png")

    def written(self, question: _Question, done: Edited, ending: str) -> PhotoResult:
        """Writes what an edit made of a photo.

        Raises:
            PackshotError: the door does not let it out, or it cannot be written.
        """
        photo = question.photo
        status: Status = "refused" if done.refused else "review" if done.review else "done"
        base = _bases(self.out)[status] / Path(photo.stem)
        pictures = [] if status == "refused" else [(done.image, base.with_name(base.name + ending))]
        beside = {n: (p, base.with_name(f"{base.name}-{n}.png")) for n, p in done.beside.items()}
        for n, (_, path) in beside.items():
            if status != "refused" and (other := question.beside.get(f"{photo.stem}-{n}")):
                raise PackshotError(f"{path} is for a result of {other} already; edit {photo.name} with another --out.")
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
        return PhotoResult(
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

    def check(self, path: Path, photo: Photo) -> None:
        """Makes sure that a result is not written over the photo itself, unless that was asked for.

        Raises:
            PackshotError: it would be.
        """
        with disk_errors(path):
            itself = photo.path is not None and path.exists() and path.samefile(photo.path)
        if itself and not self.options.overwrite:
            raise PackshotError(f"{path} is the photo itself; choose another --out, or add --overwrite.")

    def ending(self, done: Edited, photo: ProductImage) -> str:
        if done.lossless or done.image.has_alpha:
            return ".png"
        return ENDINGS[self.options.format or _own_format(photo)]


def _failed(name: str, e: Exception) -> PhotoResult:
    """Returns what an error makes of a photo.

    Raises:
        DiskFull: it is one, and no result can be written any more.
    """
    if isinstance(e, DiskFull):
        raise e
    reason = str(e)
    if isinstance(e, MemoryError):
        reason = f"{name} is too large for the memory of this machine."
    elif not isinstance(e, BadPicture) and name not in reason:
        reason = f"{name}: {reason}"
    return PhotoResult(photo=name, status="failed", reason=reason)


def _own_format(photo: ProductImage) -> str:
    decoded = next((o.params.get("format") for o in photo.history if o.name == "decode"), None)
    return OWN_FORMAT.get(str(decoded), "png")
