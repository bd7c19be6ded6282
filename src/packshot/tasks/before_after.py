"""A sheet of photos as they came and as they left."""

from __future__ import annotations

import itertools
import os
from contextlib import suppress
from pathlib import Path

from packshot.core.errors import PackshotError
from packshot.core.files import disk_errors, sha256_file
from packshot.core.leftovers import remove_leftovers
from packshot.core.runs import append_jsonl
from packshot.images.decode import decode
from packshot.images.picture import Operation, ProductImage
from packshot.images.resize import fit_square
from packshot.images.sheet import contact_sheet
from packshot.release.door import release
from packshot.tasks.batch import BatchResult
from packshot.tasks.journal import JOURNAL, read_journal
from packshot.tasks.photos import find_photos

PAIRS = 24
COLUMNS = 4
SIDE = 240


def write_before_after(given: list[Path], result: BatchResult, images: Path | None = None) -> None:
    """Writes the sheet of `before_after` to OUT-before-after.png, or under the next name that nothing else has.

    It lies beside OUT, which holds what may be shown, and nothing else. Only a sheet that an earlier command wrote, as
    OUT's journal says, is replaced.

    Args:
        given: what the user named.
        result: what was made of it.
        images: see `BatchOptions`.

    Raises:
        PackshotError: the disk refuses.
    """
    sheet, out = before_after(given, result, images), result.out.resolve()
    if sheet is not None:
        remove_leftovers(out.parent, lambda name: name.startswith(f"{out.name}-before-after"))
        released = release(sheet, _free(out), overwrite=True)
        append_jsonl(result.out / JOURNAL, {"sheet": released.path.name, "sha256": released.sha256})


def _free(out: Path) -> Path:
    own = [(row["sheet"], row.get("sha256")) for row in read_journal(out / JOURNAL) if "sheet" in row]
    for number in itertools.count(1):
        path = out.parent / f"{out.name}-before-after{'' if number == 1 else f'-{number}'}.png"
        with disk_errors(path):
            if not os.path.lexists(path) or (path.is_file() and (path.name, sha256_file(path)) in own):
                break
    return path


def before_after(given: list[Path], result: BatchResult, images: Path | None = None) -> ProductImage | None:
    """Returns the first pictures that were written, each beside its photo; None where none was written.

    Args:
        given: what the user named.
        result: what was made of it.
        images: see `BatchOptions`.
    """
    made = {p.photo: p.picture for p in result.photos if p.picture}
    pictures: list[ProductImage] = []
    captions: list[str] = []
    for photo in find_photos(given, result.out, images):
        if len(pictures) == 2 * PAIRS:
            break
        if photo.name in made:
            with suppress(PackshotError):  # One that was removed meanwhile is missing here, too.
                pictures += [_small(image) for image in (photo.read(), decode(result.out / made[photo.name]))]
                captions += [Path(photo.name).name, made[photo.name]]
    return contact_sheet(pictures, 2 * COLUMNS, captions) if pictures else None


def _small(image: ProductImage) -> ProductImage:
    pixels = fit_square(image.pixels, SIDE, "pad", colour=(255,) * image.pixels.shape[2])
    return image.done(Operation("resize", "classical", {"side": SIDE}), pixels)
