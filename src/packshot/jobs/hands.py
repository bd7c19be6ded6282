"""Hands: what does one picture of a job after another, in a process that may die at any of them.

A picture is fetched into a folder of its own, edited by the very code of the command line, and its results are put into
the store. The folder keeps the journal of `packshot.tasks.batch` until the book has noted the outcome: hands that are
killed in between find the result there, and nothing is done twice.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packshot.core.errors import DiskFull, PackshotError
from packshot.core.files import read_json
from packshot.jobs.ready import Ready, ReadyEdits
from packshot.jobs.records import Output, Picture
from packshot.jobs.settings import StudioSettings
from packshot.jobs.store import PictureGone, PictureStore, StoreLost

if TYPE_CHECKING:
    from packshot.tasks.edit import Edit
    from packshot.tasks.journal import Status

ENDING = re.compile(r"\.[A-Za-z0-9]{1,5}")
MIMES = {".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}
WAITS = (1.0, 5.0, 25.0)
"""Seconds after which a store that did not answer is asked again."""
KEPT_EDITS = 2
"""Edits that hands keep ready, with their networks: two jobs of the same priority may take turns."""


class JobStopped(PackshotError):
    """What keeps a whole job from going on, and is no picture's fault; it can go on when that is put right."""


class JobWaits(JobStopped):
    """What keeps a job from going on, and passes: the disk is full. The job waits, and is tried again."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is done to each picture of a job.

    Attributes:
        job: id.
        tenant: whose results they are.
        steps, output: see `packshot.jobs.records.JobRequest`.
        on: day of the rules: the one on which the job came, however long it takes.
        pictures: checksums of those that the steps name.
        folder: where pictures and results lie while they are worked on.
    """

    job: str
    tenant: str
    steps: tuple[Mapping[str, Any], ...]
    output: Output
    on: date
    pictures: tuple[str, ...]
    folder: Path

    @property
    def key(self) -> str:
        """What tells one edit from another."""
        about = [self.job, [dict(s) for s in self.steps], vars(self.output), self.on.isoformat()]
        return json.dumps(about, sort_keys=True)

    def folder_of(self, number: int) -> Path:
        """Where one picture of the job and its results lie."""
        return self.folder / str(number)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One picture that is to be edited: an item's `number`, `picture`, `name`, `tries`; `stem` of the result's name."""

    number: int
    picture: str
    name: str
    stem: str
    tries: int = 0


@dataclass(frozen=True, kw_only=True)
class Made:
    """What became of one picture; see `packshot.jobs.records.Item`. The results are in the store."""

    status: Status
    reason: str | None = None
    result: Picture | None = None
    beside: Mapping[str, Picture] = field(default_factory=dict)
    confidence: float | None = None
    receipt: Mapping[str, Any] | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    source_type: str | None = None


Question = tuple[Order, Asked | None]


@dataclass(frozen=True)
class Hands:
    """Does pictures of any order; the edits of the last few orders are kept ready.

    Args:
        settings: of the studio, for its store.
    """

    settings: StudioSettings

    def __call__(self, question: Question) -> Made | None:
        """Does one picture; whatever is wrong with it is its outcome. Without one, gets ready for the order.

        Raises:
            JobWaits: the disk is full.
            JobStopped: the steps cannot be done, or the store does not answer.
        """
        order, asked = question
        store = _store(self.settings)
        try:
            edit = _ready(order, store)
        except DiskFull as e:
            raise JobWaits(str(e)) from e
        except PackshotError as e:
            raise JobStopped(str(e)) from e
        if asked is None:
            return None
        for wait in (*WAITS, None):
            try:
                return do_picture(order, asked, edit, store)
            except StoreLost as e:
                if wait is None:
                    raise JobStopped(str(e)) from e
                time.sleep(wait)  # A network that stumbles must not end what runs over night.
            except DiskFull as e:
                raise JobWaits(str(e)) from e
            except PackshotError as e:
                return Made(status="failed", reason=f"{asked.name}: {e}" if asked.name not in str(e) else str(e))
        raise AssertionError("the last wait is none")


def do_picture(order: Order, asked: Asked, edit: Edit, store: PictureStore) -> Made:
    """Does one picture.

    Raises:
        DiskFull: there is no room for the results.
        StoreLost: the store does not answer.
        PackshotError: the picture is gone, or the folder cannot be used.
    """
    from packshot.tasks.batch import BatchOptions, edit_photos

    folder = order.folder_of(asked.number)
    ending = Path(asked.name).suffix
    photo, out = folder / "in" / f"{asked.stem}{ending if ENDING.fullmatch(ending) else ''}", folder / "out"
    store.fetch(asked.picture, photo)
    options = BatchOptions(
        format=order.output.format, quality=order.output.quality, overwrite=True, quiet=True, workers=1
    )
    result = edit_photos([photo], edit, out, options).photos[0].without(photo.parent, out, folder)
    made = None if result.picture is None else _keep(order.tenant, out / result.picture, store)
    return Made(
        status=result.status,
        reason=result.reason,
        result=made,
        beside={name: _keep(order.tenant, out / path, store) for name, path in result.beside.items()},
        confidence=result.confidence,
        receipt=result.receipt,
        figures={**result.figures, **_labels(out, result.picture)},
        notes=result.notes,
        source_type=result.source_type,
    )


def _keep(tenant: str, path: Path, store: PictureStore) -> Picture:
    from packshot.images.decode import read_header

    header = read_header(path)
    return Picture(
        tenant=tenant,
        sha256=store.put_file(path),
        name=path.name,
        mime=MIMES[path.suffix],
        width=header.width,
        height=header.height,
        size=path.stat().st_size,
        created=datetime.now(UTC),
    )


def _labels(out: Path, picture: str | None) -> dict[str, Any]:
    """Returns the side-car of a result as a figure "labels": the notice for the page, JSON-LD, the channels' flags."""
    path = None if picture is None else out / f"{picture}.labels.json"
    return {} if path is None or not path.is_file() else {"labels": read_json(path)}


_edits = ReadyEdits(KEPT_EDITS)
_stores: dict[str, PictureStore] = {}


def _store(settings: StudioSettings) -> PictureStore:
    key = json.dumps([settings.store_url, dict(settings.store_options)], sort_keys=True, default=str)
    if key not in _stores:
        _stores[key] = PictureStore(settings)
    return _stores[key]


def _ready(order: Order, store: PictureStore) -> Edit:
    """Returns the edit of an order, its networks loaded; the pictures that it names are fetched."""
    from packshot.jobs.steps import build_steps

    def make() -> Ready:
        files = {sha256: order.folder / "steps" / sha256 for sha256 in order.pictures}
        for sha256, path in files.items():
            try:
                store.fetch(sha256, path)
            except PictureGone as e:
                raise JobStopped(f"A step names a picture that is gone: {e}") from e
        return Ready(build_steps(order.steps, order.output, files, order.on), files)

    return _edits.get(order.key, make)
