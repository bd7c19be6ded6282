"""The only door that pixels leave by: state, label, watermark, encode, sign, write, read back, register.

What is said of a picture is derived once, from its history (`packshot.release.statement`), and every label repeats it:
the C2PA manifest, XMP for IPTC and for China, the side-car. A picture of which nothing has to be said, and that brought
no manifest along, is written as it is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from packshot.core.errors import PackshotError
from packshot.core.files import atomic_path, disk_errors, write_bytes
from packshot.core.text import as_utf8
from packshot.images import xmp
from packshot.images.decode import BadPicture, Limits, decode
from packshot.images.picture import ProductImage
from packshot.images.resize import flatten
from packshot.release.dialects import side_car
from packshot.release.manifest import MIME, read_manifest
from packshot.release.prepared import Prepared, prepare, prepare_as
from packshot.release.receipt import ENCODED, compare_product
from packshot.release.register import add_release
from packshot.release.source_type import strongest
from packshot.release.watermark import detect

QUALITY = 95
"""Of JPEG and WebP where none is asked for."""
SIDE_CAR = ".labels.json"


class NotAsMade(PackshotError):
    """A lossy file would not hold the picture that was made: strokes of a style, say, are harder on it than a photo."""


@dataclass(frozen=True, kw_only=True)
class Released:
    """A picture that left.

    Attributes:
        path: the file.
        sha256: of its bytes, 64 hex digits.
        source_type: the IPTC digital source type that its labels say (last part of the URI), or None where none is
            claimed.
        encoded: what a lossy file changed of an edited photo, as JSON values (`Receipt`); None: nothing, or no photo.
        mark: its 40-bit id, ten hex digits; None: it says nothing of itself, so it has none.
        watermarked: whether its pixels carry the id.
        notes: sentences on what was changed or left behind.
    """

    path: Path
    sha256: str
    source_type: str | None
    mark: str | None = None
    watermarked: bool = False
    encoded: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()


def release(
    image: ProductImage, path: Path, *, overwrite: bool = False, quality: int = QUALITY, beside: bool = False
) -> Released:
    """Writes a picture as a file that says what it is, and checks the file before it gets its name.

    The file appears whole or not at all. Where a label is due it is signed with `load_credentials`, entered in the
    register and the audit log, and everything that it says is read back from its bytes.

    Args:
        image: the picture; its history has to say where it came from.
        path: the file to write; its ending chooses the format (.png, .jpg, .jpeg, .webp).
        overwrite: whether a file that is there already may be replaced.
        quality: of JPEG and WebP, 1 to 100.
        beside: whether a labelled picture gets its side-car, PATH.labels.json.

    Raises:
        UsageError: an ending that is not known, or a quality out of range.
        PackshotError: the file exists, the history tells no origin, the format cannot hold the picture, the disk
            refuses, it cannot be signed or registered, or the written file does not read back as the picture.
    """
    with disk_errors(path):
        if path.is_dir():
            raise PackshotError(f"{path} is a folder; give the name of a file.")
        if not overwrite:
            check_free([path])  # Before the work; `atomic_path` makes sure after it.
    prepared = prepare(image, path, quality)
    data, store = prepared.signed(path.name)
    with atomic_path(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(data)
        back = _check(temporary.read_bytes(), data, prepared)
        encoded = _proved(prepared, back, quality)
        if store is not None:  # Before the file has its name: nothing that is labelled leaves unregistered.
            add_release(prepared.entry(path.name, data, store))
    if beside:
        _write_side_car(prepared, path, data)
    return _released(prepared, path, data, encoded)


def release_set(
    images: Sequence[ProductImage], paths: Sequence[Path], *, overwrite: bool = False, quality: int = QUALITY
) -> list[Released]:
    """Releases pictures that belong together; a set that broke off (a full disk, say) is finished by the same call.

    A file that is there already and is what would be written counts as released: byte for byte, or, where it is
    signed, intact and signed over the same content. Any other is refused before the first is written.

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
            prepared, there = prepare(image, path, quality), path.read_bytes()
            if prepared.is_in(there):
                _write_side_car(prepared, path, there)
                done[path] = _released(prepared, path, there, _proved(prepared, decode(there), quality))
    if not overwrite:
        check_free(path for path in paths if path not in done)
    return [
        done[path] if path in done else release(image, path, overwrite=overwrite, quality=quality, beside=True)
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
    """Returns a picture as the bytes of a file that is labelled, not signed, for pages that hold pictures inside.

    Raises:
        PackshotError: the history tells no origin, or the format cannot hold the picture.
    """
    return prepare_as(image, format, QUALITY, marked=False).data


def _released(prepared: Prepared, path: Path, data: bytes, encoded: Mapping[str, Any] | None) -> Released:
    return Released(
        path=path,
        sha256=sha256(data).hexdigest(),
        source_type=prepared.statement.source_type,
        mark=prepared.mark if prepared.must_sign else None,
        watermarked=prepared.watermarked,
        encoded=encoded,
        notes=prepared.notes,
    )


def _write_side_car(prepared: Prepared, path: Path, data: bytes) -> None:
    if not prepared.statement.label_due:
        return
    beside = side_car(
        prepared.statement,
        name=as_utf8(path.name),
        mime=MIME[prepared.kind],
        width=prepared.image.width,
        height=prepared.image.height,
        sha256=sha256(data).hexdigest(),
        mark=prepared.mark,
    )
    text = json.dumps(beside, indent=2, ensure_ascii=False) + "\n"
    write_bytes(path.with_name(path.name + SIDE_CAR), text.encode())


def _proved(prepared: Prepared, back: ProductImage, quality: int) -> Mapping[str, Any] | None:
    """Measures what a lossy file changed of an edited photo.

    Raises:
        NotAsMade: more than `ENCODED` allows.
    """
    image = prepared.made
    if prepared.kind == "PNG" or prepared.statement.created or len(image.history) < 2:
        return None
    meant = ProductImage(flatten(image.pixels)) if prepared.kind == "JPEG" else image
    receipt = compare_product(meant, back, limits=ENCODED, every=4)  # An encoder harms all rows alike.
    if not receipt.passed:
        raise NotAsMade(
            f"As {prepared.kind} at quality {quality} the picture is not what was made: {'; '.join(receipt.broken)}; "
            "nothing was released. Ask for more with --quality, or for PNG."
        )
    return receipt.as_json()


def _check(written: bytes, meant: bytes, prepared: Prepared) -> ProductImage:
    """Compares the file as it lies on the disk with the picture it should be, and its labels with what is said.

    Returns:
        The picture as it was read back.

    Raises:
        PackshotError: they differ.
    """
    image, statement = prepared.image, prepared.statement
    problem = PackshotError("The file does not read back as the picture that was written; nothing was released.")
    try:
        limits = Limits(max_bytes=max(1, len(meant)), max_pixels=image.height * image.width)
        back = decode(written, limits=limits)
    except BadPicture as e:
        raise problem from e
    same = written == meant and (back.height, back.width) == (image.height, image.width)
    if prepared.kind == "PNG":
        same = same and np.array_equal(back.pixels, image.pixels)
    if not same:
        raise problem
    agrees = back.history[0].params["source_type"] == statement.source_type
    said = xmp.Packet.parse(back.metadata.xmp) if back.metadata.xmp is not None else xmp.Packet.empty()
    agrees = agrees and all(said.get(name) == value.strip() for name, value in prepared.labels.items())
    if prepared.must_sign:
        found = read_manifest(written, MIME[prepared.kind])
        agrees = agrees and found is not None and found.trust != "invalid" and found.own == prepared.own
        agrees = agrees and found is not None and found.actions[1:] == tuple(a.name for a in statement.actions)
        claimed = strongest(found.source_types) if found is not None and statement.created else statement.source_type
        agrees = agrees and (statement.source_type is None or claimed == statement.source_type)
    if prepared.watermarked:
        mark = detect(back.pixels)
        if mark is None or mark.ident != int(prepared.mark, 16):
            raise PackshotError(
                "The watermark cannot be read from the written file; nothing was released. Ask for more with --quality."
            )
    if not agrees:
        raise PackshotError("The labels in the file do not say what was done to the picture; nothing was released.")
    return back
