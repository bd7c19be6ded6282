"""One photo, looked at once: read, decoded, measured, fingerprinted, and made ready to be stored."""

from __future__ import annotations

import hashlib
import html
import json
import math
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from packshot.catalog import quality
from packshot.catalog.fingerprint import colour_thumb, fingerprint_grey, hash_pixels
from packshot.catalog.options import NOT_SPDX, is_spdx
from packshot.catalog.records import PhotoRecord
from packshot.catalog.schema import EXAMINED, FIGURES
from packshot.catalog.statements import forbidding, read_statements
from packshot.core.text import as_utf8
from packshot.images import xmp
from packshot.images.decode import MIB, SUFFIXES, BadPicture, Limits, decode, plain_jpeg
from packshot.images.encode import encode
from packshot.images.picture import Metadata, ProductImage
from packshot.images.resize import flatten, resize

Pixels = npt.NDArray[np.uint8]

GREY8 = "GREY8"
"""Stored form of a photo that came as grey pixels: height * width bytes, row by row, without a header."""

ENTITY = re.compile(r"&(?:#\d+|#[xX][0-9a-fA-F]+|[a-zA-Z]\w*);")

KEPT_AS_THEY_ARE = {"JPEG", "PNG", "WEBP"}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What an examination depends on; the fields are those of `IngestOptions`."""

    licence: str | None
    source: str | None
    owner: str | None = None
    allow_unlicensed: bool
    allow_opted_out: bool
    max_side: int
    limits: Limits


class Stored(NamedTuple):
    """What is kept of a photo: the bytes, the format they are in, and the size of the picture in them."""

    data: bytes
    format: str
    width: int
    height: int


@dataclass(kw_only=True)
class Examined:
    """What came of some records, in their order.

    Attributes:
        columns: the photos that were taken, as columns (`schema.EXAMINED`).
        stored: what is kept of each of them.
        left_out: (key, reason) of each of the others.
        notes: sentences about photos that were taken, counted.
    """

    columns: dict[str, list[Any]] = field(default_factory=dict)
    stored: list[Stored] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, kw_only=True)
class _Photo:
    """A photo's table row without its figures, what is stored of it, and its grey values as the measures want them."""

    row: dict[str, Any]
    stored: Stored
    small: Pixels
    window: Pixels


def examine(records: Sequence[PhotoRecord], settings: Settings) -> Examined:
    """Examines photos; a photo that cannot be taken is left out with its reason, and the rest goes on.

    Args:
        records: what a reader yielded.
        settings: what to take and how.
    """
    result = Examined()
    photos: list[_Photo] = []
    for record in records:
        try:
            photos.append(_look(record, settings, result.notes))
        except BadPicture as e:
            reason = str(e).removeprefix("The picture ").removesuffix(".")
            result.left_out.append((_text(record.key) or "", reason))
    result.stored = [p.stored for p in photos]
    result.columns = {name: [p.row.get(name) for p in photos] for name in EXAMINED}
    for view, measure in MEASURES.items():
        for numbers, stack in _stacks([getattr(p, view) for p in photos]):
            for name, values in measure(stack).items():
                column = result.columns[name]
                for number, value in zip(numbers, values, strict=True):
                    column[number] = value
    return result


def _on_small(stack: Pixels) -> dict[str, list[Any]]:
    low, high = quality.compute_clipping(stack)
    dhash, thumbs = fingerprint_grey(stack)
    figures = {"blur": quality.compute_blur(stack), "clipped_low": low, "clipped_high": high}
    return {name: _numbers(values) for name, values in figures.items()} | {"dhash": dhash, "grey": thumbs}


def _on_window(stack: Pixels) -> dict[str, list[Any]]:
    noise, blockiness = quality.compute_noise(stack), quality.compute_blockiness(stack)
    return {"noise": _numbers(noise), "blockiness": _numbers(blockiness)}


MEASURES: dict[str, Callable[[Pixels], dict[str, list[Any]]]] = {
    "small": _on_small,
    "window": _on_window,
}
"""What is computed from which view of a photo, for many photos of one size at a time."""


def _numbers(figures: quality.Figures) -> list[float | None]:
    return [None if math.isnan(v) else v for v in figures.tolist()]


def _stacks(views: list[Pixels]) -> list[tuple[list[int], Pixels]]:
    """Returns pictures of one size together, in pieces: many small calls are slow, and so are large arrays."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for number, view in enumerate(views):
        by_shape.setdefault(view.shape, []).append(number)
    stacks = []
    for shape, numbers in by_shape.items():
        step = max(1, 2**15 // math.prod(shape))
        for start in range(0, len(numbers), step):
            part = numbers[start : start + step]
            stacks.append((part, np.stack([views[n] for n in part]) if len(part) > 1 else views[part[0]][None]))
    return stacks


def _look(record: PhotoRecord, settings: Settings, notes: Counter[str]) -> _Photo:
    """Looks at one photo.

    Raises:
        BadPicture: why it is left out.
    """
    if record.problem is not None:
        raise BadPicture(record.problem)
    licence, source = _rights(record, settings)
    if record.pixels is not None:
        return _look_at_pixels(record, record.pixels, licence, source, settings)
    data = record.data or _read(record.path or "", record.root, settings.limits)
    # What goes over the same bytes is done together, while they are in the processor's cache: first the file's ...
    sha256, blocks = hashlib.sha256(data).hexdigest(), data.count(b"Exif\0")
    opened = _open(data, settings.limits)
    # ... then the pixels'.
    pixel_hash = hash_pixels(opened.pixels)
    grey = opened.picture.convert("L")

    mining, says = read_statements(data, opened.metadata)
    if not settings.allow_opted_out and (words := ", ".join(forbidding(mining))):
        raise BadPicture(f"forbids training on it in its own metadata ({words})")
    ending = os.path.splitext(record.path or "")[1].lower()  # noqa: PTH122 - once per photo, strings are faster.
    if ending and ending not in SUFFIXES[opened.format]:
        notes["The name's ending does not fit the content; the content decided."] += 1
    for note in opened.notes:
        notes[note] += 1
    stored = _keep(data, opened, settings.max_side, carries_place=_carries_place(blocks, opened))
    figure = quality.estimate_jpeg_quality(data) if opened.format == "JPEG" else math.nan
    row = _row(record, settings, licence, source, sha256) | {
        "mining": mining,
        "says": says,
        "width": opened.picture.width,
        "height": opened.picture.height,
        "jpeg_quality": None if math.isnan(figure) else figure,
        "format": opened.format,
        "bytes": len(data),
        **_kept(stored, data),
        "source_type": opened.source_type,
        "pixel_hash": pixel_hash,
        "colour": colour_thumb(opened.picture),
    }
    return _Photo(row=row, stored=stored, small=_reduced(grey), window=_window(grey))


class _Opened(NamedTuple):
    """A decoded photo: in mode RGB with alpha over white, as its own pixels, and what its file said."""

    picture: Image.Image
    pixels: Pixels
    format: str
    metadata: Metadata
    source_type: str | None
    notes: Sequence[str]


def _open(data: bytes, limits: Limits) -> _Opened:
    """Decodes a photo.

    Raises:
        BadPicture: it cannot be read.
    """
    picture = plain_jpeg(data, limits)
    if picture is not None:
        return _Opened(picture, np.asarray(picture), "JPEG", Metadata(), None, ())
    image = decode(data, limits=limits)
    facts = image.history[0].params
    picture = Image.fromarray(flatten(image.pixels))
    return _Opened(picture, image.pixels, facts["format"], image.metadata, facts["source_type"], facts["notes"])


def _look_at_pixels(
    record: PhotoRecord, pixels: Pixels, licence: str | None, source: str | None, settings: Settings
) -> _Photo:
    data, grey = pixels.tobytes(), Image.fromarray(pixels)
    stored = Stored(data, GREY8, pixels.shape[1], pixels.shape[0])
    if max(pixels.shape) > settings.max_side:
        small = _shrunk(pixels[..., None], settings.max_side)
        stored = Stored(small.tobytes(), GREY8, small.shape[1], small.shape[0])
    row = _row(record, settings, licence, source, hashlib.sha256(data).hexdigest()) | {
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "format": GREY8,
        "bytes": len(data),
        **_kept(stored, data),
        "pixel_hash": hash_pixels(pixels),
        "colour": colour_thumb(grey),
    }
    return _Photo(row=row, stored=stored, small=_reduced(grey), window=_window(grey))


def _reduced(grey: Image.Image) -> Pixels:
    factor = quality.reducing_factor(*grey.size)
    return np.asarray(grey.reduce(factor) if factor > 1 else grey)


def _window(grey: Image.Image) -> Pixels:
    return np.asarray(grey.crop(quality.window_box(*grey.size)))


def _rights(record: PhotoRecord, settings: Settings) -> tuple[str | None, str | None]:
    """Returns (licence, source).

    Raises:
        BadPicture: one of them is missing or wrong.
    """
    licence, source = record.licence or settings.licence, record.source or settings.source
    if licence is not None and not is_spdx(licence):
        raise BadPicture(f"has the licence '{licence}', which {NOT_SPDX}")
    if not settings.allow_unlicensed and (licence is None or source is None):
        what = "licence" if licence is None else "source"
        raise BadPicture(f"has no {what}; state it with --{what}, or in a column named {what}")
    return licence, source


def _read(path: str, root: str | None, limits: Limits) -> bytes:
    """Reads a photo's file.

    Raises:
        BadPicture: it lies outside `root`, is no regular file, or cannot be read.
    """
    try:
        if root is not None and not _inside(path, root):
            raise BadPicture("lies outside the photos' folder; --follow-symlinks allows that")
        # Without O_NONBLOCK, opening a pipe would wait for somebody to write into it.
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(number)
            if not stat.S_ISREG(status.st_mode):
                raise BadPicture("is not a regular file")
            if status.st_size > limits.max_bytes:
                size, limit = status.st_size / MIB, limits.max_bytes / MIB
                raise BadPicture(f"has {size:,.1f} MiB; the limit is {limit:,.1f} MiB")
            return os.read(number, status.st_size)
        finally:
            os.close(number)
    except FileNotFoundError as e:
        gone = "is a link to a file that does not exist" if os.path.islink(path) else "does not exist"  # noqa: PTH114
        raise BadPicture(gone) from e
    except OSError as e:
        raise BadPicture(f"cannot be read: {e.strerror}") from e


def _inside(path: str, root: str) -> bool:
    folder, name = os.path.split(path)
    # Folders are resolved once; of the file itself it only matters whether it is a link.
    real = os.path.realpath(path) if os.path.islink(path) else os.path.join(_real_folder(folder), name)  # noqa: PTH114, PTH118
    return real.startswith(root.rstrip("/") + "/")


@lru_cache(maxsize=4096)
def _real_folder(folder: str) -> str:
    return os.path.realpath(folder)


def _keep(data: bytes, opened: _Opened, max_side: int, *, carries_place: bool) -> Stored:
    """Returns what to store of a photo: its file as it is, or a copy without metadata, smaller if need be."""
    width, height = opened.picture.size
    if (
        opened.format in KEPT_AS_THEY_ARE
        and max(width, height) <= max_side
        # More than the pixels themselves is not the picture: a film, further frames, a hidden archive.
        and len(data) <= 4 * width * height + 2**16
        and not any("several frames" in note for note in opened.notes)
        and not carries_place
    ):
        return Stored(data, opened.format, width, height)
    pixels = _shrunk(opened.pixels, max_side) if max(width, height) > max_side else opened.pixels
    form = "PNG" if pixels.shape[2] == 4 else "JPEG"
    # What is no photo says so in every copy, wherever that copy may go.
    label = xmp.stating(opened.source_type) if opened.source_type and xmp.is_synthetic(opened.source_type) else None
    data = encode(ProductImage(pixels, Metadata(xmp=label)), form, quality=95)
    return Stored(data, form, pixels.shape[1], pixels.shape[0])


def _shrunk(pixels: Pixels, max_side: int) -> Pixels:
    height, width = pixels.shape[:2]
    share = max_side / max(height, width)
    return resize(pixels, max(1, round(height * share)), max(1, round(width * share)))


def _kept(stored: Stored, data: bytes) -> dict[str, Any]:
    kind = "original" if stored.data is data else "copy"
    return {"stored": kind, "stored_width": stored.width, "stored_height": stored.height}


def _carries_place(blocks: int, opened: _Opened) -> bool:
    """Returns whether a file says where it was taken, or could.

    Args:
        blocks: EXIF blocks in the file; decoding gives the first one only.
        opened: what decoding gave.
    """
    if b"GPS" in (opened.metadata.xmp or b"") or blocks > 1:
        return True
    exif = opened.metadata.exif
    if exif is None:
        return blocks > 0  # One that cannot be read.
    if b"\x88\x25" not in exif and b"\x25\x88" not in exif:  # The tag's number, in either byte order.
        return False
    tags = Image.Exif()
    try:
        tags.load(exif)
        return bool(tags.get_ifd(0x8825))
    except Exception:  # Hostile EXIF makes Pillow raise nearly anything; then better a copy than a place.
        return True


def _row(
    record: PhotoRecord, settings: Settings, licence: str | None, source: str | None, sha256: str
) -> dict[str, Any]:
    key, product = _text(record.key), _text(record.product_id)
    # The same photo keeps its id wherever in the source it stands, and for two products it has two.
    identity = f"{product or ''}\n{key}\n{sha256}"
    extra = {_text(name): _text(value) for name, value in record.extra.items()}
    return {
        "photo_id": hashlib.sha256(identity.encode()).hexdigest()[:16],
        "key": key,
        "product_id": product,
        "title": _words(record.title),
        "category": _words(record.category),
        "price": record.price,
        "currency": _text(record.currency),
        "licence": licence,
        "source": _text(source),
        "owner": _text(record.owner or settings.owner),
        "consent": _text(record.consent),
        "date": _text(record.date),
        "split": record.split,
        "sha256": sha256,
        "extra": json.dumps(extra, ensure_ascii=False, sort_keys=True) if extra else None,
    } | dict.fromkeys(FIGURES)


def _text(text: str | None) -> str | None:
    return None if text is None else as_utf8(text)


def _words(text: str | None) -> str | None:
    """Returns text that people read: shop systems export "Tops &amp; Tees" as HTML."""
    # Only whole entities: without its semicolon, "hook&notch" would be taken for one.
    return None if text is None else ENTITY.sub(lambda found: html.unescape(found[0]), as_utf8(text))
