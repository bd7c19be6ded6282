"""The only door that pixels leave by: label, encode, write, read back."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from packshot.core.errors import PackshotError, UsageError, suggest
from packshot.core.files import atomic_path, disk_errors
from packshot.images import xmp
from packshot.images.decode import BadPicture, Limits, decode
from packshot.images.encode import MAX_JPEG_XMP, encode
from packshot.images.picture import ProductImage
from packshot.release.source_type import derive_source_type

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
QUALITY = 95
"""Of JPEG and WebP where none is asked for."""


@dataclass(frozen=True, kw_only=True)
class Released:
    """A picture that left.

    Attributes:
        path: the file.
        sha256: of its bytes, 64 hex digits.
        source_type: the IPTC digital source type in its XMP (last part of the URI), or None where none is claimed.
        notes: sentences on what was changed or left behind.
    """

    path: Path
    sha256: str
    source_type: str | None
    notes: tuple[str, ...] = ()


def release(image: ProductImage, path: Path, *, overwrite: bool = False, quality: int = QUALITY) -> Released:
    """Writes a picture as a file that says what it is, and checks the file before it gets its name.

    The digital source type derives from the history (`derive_source_type`) and is written into the XMP that the picture
    carries, as `Iptc4xmpExt:DigitalSourceType`. The file appears whole or not at all.

    Args:
        image: the picture; its history has to say where it came from.
        path: the file to write; its ending chooses the format (.png, .jpg, .jpeg, .webp).
        overwrite: whether a file that is there already may be replaced.
        quality: of JPEG and WebP, 1 to 100.

    Raises:
        UsageError: an ending that is not known, or a quality out of range.
        PackshotError: the file exists, the history tells no origin, the format cannot hold the picture, the disk
            refuses, or the written file does not read back as the picture.
    """
    with disk_errors(path):
        if path.is_dir():
            raise PackshotError(f"{path} is a folder; give the name of a file.")
        if not overwrite:
            check_free([path])  # Before the work; `atomic_path` makes sure after it.
    prepared = _prepare(image, path, quality)
    with atomic_path(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(prepared.data)
        _check(temporary.read_bytes(), prepared)
    return prepared.as_released(path)


def release_set(
    images: Sequence[ProductImage], paths: Sequence[Path], *, overwrite: bool = False, quality: int = QUALITY
) -> list[Released]:
    """Releases pictures that belong together; a set that broke off (a full disk, say) is finished by the same call.

    A file that is there already and is, byte for byte, what would be written counts as released. Any other is refused
    before the first is written.

    Args:
        images: the pictures.
        paths: a file for each.
        overwrite: whether other files of these names may be replaced.
        quality: see `release`.

    Raises:
        UsageError: see `release`.
        PackshotError: see `release`.
    """
    done: dict[Path, Released] = {}
    for image, path in zip(images, paths, strict=True):
        with disk_errors(path):
            if overwrite or not path.is_file():
                continue
            prepared = _prepare(image, path, quality)
            if path.read_bytes() == prepared.data:
                done[path] = prepared.as_released(path)
    if not overwrite:
        check_free(path for path in paths if path not in done)
    return [
        done[path] if path in done else release(image, path, overwrite=overwrite, quality=quality)
        for image, path in zip(images, paths, strict=True)
    ]


def check_free(paths: Iterable[Path]) -> None:
    """Makes sure that none of the files exists, before work is spent on them.

    Raises:
        PackshotError: one does.
    """
    for path in paths:
        with disk_errors(path):
            there = os.path.lexists(path)
        if there:
            raise PackshotError(f"{path} exists already; choose another name, or add --overwrite to replace it.")


def encode_labelled(image: ProductImage, format: str = "PNG") -> bytes:
    """Returns a picture as the bytes of a labelled file, for pages that hold their pictures inside.

    Raises:
        PackshotError: the history tells no origin, or the format cannot hold the picture.
    """
    return encode(_labelled(image, format)[0], format)


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A labelled picture, its format, and the file that it becomes."""

    image: ProductImage
    kind: str
    data: bytes
    source_type: str | None
    notes: list[str]

    def as_released(self, path: Path) -> Released:
        checksum = sha256(self.data).hexdigest()
        return Released(path=path, sha256=checksum, source_type=self.source_type, notes=tuple(self.notes))


def _prepare(image: ProductImage, path: Path, quality: int) -> _Prepared:
    """Labels and encodes a picture for a file of this name.

    Raises:
        UsageError: an ending that is not known.
        PackshotError: the history tells no origin, or the format cannot hold the picture.
    """
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        near = suggest(path.suffix, FORMATS)
        raise UsageError(
            f"Cannot tell a picture format from the name {path}.{near} Known endings: {', '.join(FORMATS)}."
        )
    labelled, source_type, notes = _labelled(image, kind)
    if kind == "JPEG" and image.has_alpha:
        notes.append("JPEG has no transparency; the picture was laid over white.")
    return _Prepared(labelled, kind, encode(labelled, kind, quality), source_type, notes)


def _labelled(image: ProductImage, kind: str) -> tuple[ProductImage, str | None, list[str]]:
    """Returns the picture with its source type in its XMP, the term, and notes."""
    notes: list[str] = []
    carried = image.metadata.xmp
    packet = xmp.Packet.empty()
    if carried is not None:
        try:
            packet = xmp.Packet.parse(carried)
        except xmp.BadXmp:
            notes.append("The XMP that the picture carried is damaged; a new one took its place.")
            carried = None
    declared = xmp.term_of(packet.get(xmp.SOURCE_TYPE))
    source_type = derive_source_type(image.history, declared)
    if source_type is not None and source_type != declared:
        packet.set(xmp.SOURCE_TYPE, xmp.SOURCE_TYPE_TERMS + source_type)
    data = packet.tobytes() if source_type is not None or carried is not None else None
    if kind == "JPEG" and data is not None and len(data) > MAX_JPEG_XMP:
        notes.append("The XMP that the picture carried is too long for a JPEG; only its source type was kept.")
        packet = xmp.Packet.empty()
        if source_type is not None:
            packet.set(xmp.SOURCE_TYPE, xmp.SOURCE_TYPE_TERMS + source_type)
        data = packet.tobytes()
    return replace(image, metadata=replace(image.metadata, xmp=data)), source_type, notes


def _check(written: bytes, prepared: _Prepared) -> None:
    """Compares the file as it lies on the disk with the picture it should be.

    Raises:
        PackshotError: they differ.
    """
    meant, image = prepared.data, prepared.image
    problem = PackshotError("The file does not read back as the picture that was written; nothing was released.")
    try:
        limits = Limits(max_bytes=max(1, len(meant)), max_pixels=image.height * image.width)
        back = decode(written, limits=limits)
    except BadPicture as e:
        raise problem from e
    same = written == meant and (back.height, back.width) == (image.height, image.width)
    if prepared.kind == "PNG":
        same = same and np.array_equal(back.pixels, image.pixels)
    if not same or back.history[0].params["source_type"] != prepared.source_type:
        raise problem
