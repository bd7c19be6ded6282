"""The only door that pixels leave by: state, label, encode, sign, write, read back, register.

What is said of a picture is derived once, from its history (`packshot.release.statement`), and every label repeats it:
the C2PA manifest, XMP for IPTC and for China, the side-car. A picture of which nothing has to be said, and that brought
no manifest along, is written as it is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from packshot.catalog.fingerprint import fingerprint_grey
from packshot.core.errors import PackshotError, UsageError, suggest
from packshot.core.files import atomic_path, disk_errors, write_bytes
from packshot.core.text import as_utf8
from packshot.images import xmp
from packshot.images.decode import BadPicture, Limits, decode
from packshot.images.encode import MAX_JPEG_XMP, encode
from packshot.images.picture import ProductImage
from packshot.images.resize import flatten
from packshot.release.credentials import load_credentials
from packshot.release.dialects import aigc, label_packet, read_aigc, side_car
from packshot.release.manifest import MIME, THUMBNAIL_FROM, Parent, build_definition, read_manifest, sign
from packshot.release.receipt import ENCODED, compare_product
from packshot.release.register import Entry, add_release
from packshot.release.source_type import strongest
from packshot.release.statement import Statement, state

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
QUALITY = 95
"""Of JPEG and WebP where none is asked for."""
MARK_DIGITS = 10
SIDE_CAR = ".labels.json"


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
        notes: sentences on what was changed or left behind.
    """

    path: Path
    sha256: str
    source_type: str | None
    mark: str | None = None
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
    prepared = _prepare(image, path, quality)
    data, store = prepared.signed(path.name)
    with atomic_path(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(data)
        back = _check(temporary.read_bytes(), data, prepared)
        encoded = _proved(prepared, back, quality)
        if store is not None:  # Before the file has its name: nothing that is labelled leaves unregistered.
            add_release(prepared.entry(path.name, data, store))
    if beside:
        _write_side_car(prepared, path, data)
    return prepared.as_released(path, data, encoded)


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
            prepared, there = _prepare(image, path, quality), path.read_bytes()
            if prepared.is_in(there):
                _write_side_car(prepared, path, there)
                done[path] = prepared.as_released(path, there, _proved(prepared, decode(there), quality))
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
    return _prepare_as(image, format, QUALITY).data


@dataclass(frozen=True, eq=False, kw_only=True)
class _Prepared:
    """A labelled picture, and the file that it becomes but for its signature.

    Attributes:
        image: with its labels in its XMP.
        kind: format.
        data: the file.
        statement: what is said of it.
        content: checksum of pixels, history and format: the same for the same input, settings and version.
        parent: the manifest that it brought along, or None.
        must_sign: whether a label is due, or a manifest was brought along.
        notes: sentences.
    """

    image: ProductImage
    kind: str
    data: bytes
    statement: Statement
    content: str
    parent: Parent | None
    must_sign: bool
    notes: tuple[str, ...]

    @property
    def mark(self) -> str:
        return self.content[:MARK_DIGITS]

    @property
    def own(self) -> dict[str, Any]:
        """Packshot's own assertion in the manifest."""
        return {"mark": self.mark, "content": self.content}

    def signed(self, name: str) -> tuple[bytes, bytes | None]:
        """Returns the file as it leaves, and its manifest store where it has one."""
        if not self.must_sign:
            return self.data, None
        mime = MIME[self.kind]
        definition = build_definition(self.statement, title=as_utf8(name), mime=mime, own=self.own, parent=self.parent)
        return sign(
            self.data,
            mime,
            definition,
            load_credentials(),
            parent=self.parent,
            thumbnail=max(self.image.height, self.image.width) >= THUMBNAIL_FROM,
        )

    def is_in(self, there: bytes) -> bool:
        """Returns whether a file is what this would become."""
        if not self.must_sign:
            return there == self.data
        found = read_manifest(there, MIME[self.kind])
        return found is not None and found.trust != "invalid" and found.own == self.own

    def entry(self, name: str, data: bytes, store: bytes) -> Entry:
        """Returns the entry of the register."""
        grey = np.asarray(Image.fromarray(flatten(self.image.pixels)).convert("L"))
        (dhash,), (thumb,) = fingerprint_grey(grey[None])
        return Entry(
            mark=self.mark,
            sha256=sha256(data).hexdigest(),
            content=self.content,
            dhash=dhash,
            thumb=thumb,
            mime=MIME[self.kind],
            width=self.image.width,
            height=self.image.height,
            source_type=self.statement.source_type,
            name=as_utf8(name),
            history=tuple((o.name, o.origin) for o in self.image.history),
            manifest=store,
        )

    def as_released(self, path: Path, data: bytes, encoded: Mapping[str, Any] | None) -> Released:
        return Released(
            path=path,
            sha256=sha256(data).hexdigest(),
            source_type=self.statement.source_type,
            mark=self.mark if self.must_sign else None,
            encoded=encoded,
            notes=self.notes,
        )


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
    return _prepare_as(image, kind, quality)


def _prepare_as(image: ProductImage, kind: str, quality: int) -> _Prepared:
    notes: list[str] = []
    packet, carried = _packet(image, notes)
    parent, terms = _parent(image, notes)
    statement = state(image, strongest([xmp.term_of(packet.get(xmp.SOURCE_TYPE)), *terms]), written=kind)
    content = _content(image, kind, quality, statement)
    labels = label_packet(packet, statement, content[:MARK_DIGITS])
    data = packet.tobytes() if labels or carried else None
    if kind == "JPEG" and data is not None and len(data) > MAX_JPEG_XMP:
        notes.append("The XMP that the picture carried is too long for a JPEG; only its labels were kept.")
        packet = xmp.Packet.empty()
        label_packet(packet, statement, content[:MARK_DIGITS])
        data = packet.tobytes()
    if kind == "JPEG" and image.has_alpha:
        notes.append("JPEG has no transparency; the picture was laid over white.")
    labelled = replace(image, metadata=replace(image.metadata, xmp=data))
    return _Prepared(
        image=labelled,
        kind=kind,
        data=encode(labelled, kind, quality),
        statement=statement,
        content=content,
        parent=parent,
        must_sign=statement.label_due or image.metadata.credentials is not None,
        notes=tuple(notes),
    )


def _packet(image: ProductImage, notes: list[str]) -> tuple[xmp.Packet, bool]:
    """Returns the XMP that the picture carries, or an empty one, and whether it carries any."""
    if image.metadata.xmp is None:
        return xmp.Packet.empty(), False
    try:
        return xmp.Packet.parse(image.metadata.xmp), True
    except xmp.BadXmp:
        notes.append("The XMP that the picture carried is damaged; a new one took its place.")
        return xmp.Packet.empty(), False


def _parent(image: ProductImage, notes: list[str]) -> tuple[Parent | None, tuple[str, ...]]:
    """Returns the manifest that the picture brought along, as an ingredient, and the source types that it claims."""
    carried = image.metadata.credentials
    mime = MIME.get(str(next((o.params.get("format") for o in image.history if o.name == "decode"), "")))
    if carried is None or mime is None:
        return None, ()
    found = read_manifest(carried, mime)
    if found is None:
        return None, ()
    if found.trust == "invalid":
        notes.append(
            "The C2PA manifest that the photo brought along is broken; it was kept as it is, as an ingredient."
        )
    if any(o.name == "anonymise" for o in image.history):
        # Its thumbnails and assertions may show and name what was just hidden.
        notes.append("The C2PA manifest that the photo brought along was left behind: it may show who was hidden.")
        return None, found.source_types
    return Parent(carried, mime), found.source_types


def _content(image: ProductImage, kind: str, quality: int, statement: Statement) -> str:
    digest = sha256(repr((image.pixels.shape, kind, quality, statement)).encode())
    digest.update(json.dumps([(o.name, o.origin, o.params) for o in image.history], sort_keys=True).encode())
    digest.update(image.pixels.data)
    return digest.hexdigest()


def _write_side_car(prepared: _Prepared, path: Path, data: bytes) -> None:
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


def _proved(prepared: _Prepared, back: ProductImage, quality: int) -> Mapping[str, Any] | None:
    """Measures what a lossy file changed of an edited photo.

    Raises:
        PackshotError: more than `ENCODED` allows.
    """
    image = prepared.image
    if prepared.kind == "PNG" or prepared.statement.created or len(image.history) < 2:
        return None
    meant = ProductImage(flatten(image.pixels)) if prepared.kind == "JPEG" else image
    receipt = compare_product(meant, back, limits=ENCODED, every=2)  # An encoder harms all rows alike.
    if not receipt.passed:
        raise PackshotError(
            f"As {prepared.kind} at quality {quality} the picture is not what was made: {'; '.join(receipt.broken)}; "
            "nothing was released. Ask for more with --quality, or for PNG."
        )
    return receipt.as_json()


def _check(written: bytes, meant: bytes, prepared: _Prepared) -> ProductImage:
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
    wanted = aigc(statement, prepared.mark)
    agrees = back.history[0].params["source_type"] == statement.source_type
    agrees = agrees and (wanted is None or read_aigc(back.metadata.xmp) == json.loads(wanted))
    if prepared.must_sign:
        found = read_manifest(written, MIME[prepared.kind])
        agrees = agrees and found is not None and found.trust != "invalid" and found.own == prepared.own
        agrees = agrees and found is not None and found.actions[1:] == tuple(a.name for a in statement.actions)
        claimed = strongest(found.source_types) if found is not None and statement.created else statement.source_type
        agrees = agrees and (statement.source_type is None or claimed == statement.source_type)
    if not agrees:
        raise PackshotError("The labels in the file do not say what was done to the picture; nothing was released.")
    return back
