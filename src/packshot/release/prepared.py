"""A picture ready to leave: labelled, watermarked, encoded; all but signed.

The id of a picture is the beginning of a checksum over what is released, so the same input, settings and version have
the same id. What was made here carries the id in its pixels, too (`packshot.release.watermark`), wherever no promise is
broken by that: an edit that leaves the product's pixels bit for bit as they were, and leaves as a PNG, stays without,
unless PACKSHOT_WATERMARK=always.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from packshot.catalog.fingerprint import fingerprint_grey
from packshot.core.errors import UsageError, lookup, suggest
from packshot.core.text import as_utf8
from packshot.images import xmp
from packshot.images.encode import MAX_JPEG_XMP, encode
from packshot.images.picture import Operation, ProductImage
from packshot.images.resize import flatten
from packshot.release.credentials import load_credentials
from packshot.release.dialects import label_packet
from packshot.release.manifest import MIME, THUMBNAIL_FROM, Parent, build_definition, read_carried, read_manifest, sign
from packshot.release.register import Entry
from packshot.release.source_type import strongest
from packshot.release.statement import Statement, state
from packshot.release.watermark import LEAST_SIDE, NoRoom, embed

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
MARK_DIGITS = 10
WATERMARK = "PACKSHOT_WATERMARK"


@dataclass(frozen=True, eq=False, kw_only=True)
class Prepared:
    """A labelled picture, and the file that it becomes but for its signature.

    Attributes:
        image: with its labels in its XMP and its watermark in its pixels.
        made: the picture as it came, without its watermark: what an encoded file is compared with.
        kind: format.
        data: the file.
        statement: what is said of it.
        labels: what its XMP has to say, by name.
        content: checksum of pixels, history and format: the same for the same input, settings and version.
        parent: the manifest that it brought along, or None.
        must_sign: whether a label is due, or a manifest was brought along.
        watermarked: whether its pixels carry its id.
        notes: sentences.
    """

    image: ProductImage
    made: ProductImage
    kind: str
    data: bytes
    statement: Statement
    labels: Mapping[str, str]
    content: str
    parent: Parent | None
    must_sign: bool
    watermarked: bool
    notes: tuple[str, ...]

    @property
    def mark(self) -> str:
        """Its 40-bit id, ten hex digits."""
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


def prepare(image: ProductImage, path: Path, quality: int) -> Prepared:
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
    return prepare_as(image, kind, quality)


def prepare_as(image: ProductImage, kind: str, quality: int, *, marked: bool = True) -> Prepared:
    """Labels, watermarks and encodes a picture.

    Args:
        image: the picture.
        kind: "PNG", "JPEG" or "WEBP".
        quality: of the last two.
        marked: whether a watermark is due where it is due for a file.

    Raises:
        PackshotError: the history tells no origin, or the format cannot hold the picture.
    """
    notes: list[str] = []
    packet, carried = _packet(image, notes)
    parent, terms = _parent(image, notes)
    declared = strongest([xmp.term_of(packet.get(xmp.SOURCE_TYPE)), *terms])
    statement = state(image, declared, written=kind)
    content = _content(image, kind, quality, statement)
    made, mark = image, content[:MARK_DIGITS]
    if marked and any(o.origin == "generated" for o in image.history):
        image = _watermarked(image, kind, statement, mark, notes)
        statement = state(image, declared, written=kind)
    labels = label_packet(packet, statement, mark)
    data = packet.tobytes() if labels or carried else None
    if kind == "JPEG" and data is not None and len(data) > MAX_JPEG_XMP:
        notes.append("The XMP that the picture carried is too long for a JPEG; only its labels were kept.")
        packet = xmp.Packet.empty()
        labels = label_packet(packet, statement, mark)
        data = packet.tobytes()
    if kind == "JPEG" and image.has_alpha:
        notes.append("JPEG has no transparency; the picture was laid over white.")
    labelled = replace(image, metadata=replace(image.metadata, xmp=data))
    return Prepared(
        image=labelled,
        made=made,
        kind=kind,
        data=encode(labelled, kind, quality),
        statement=statement,
        labels=labels,
        content=content,
        parent=parent,
        must_sign=statement.label_due or image.metadata.credentials is not None,
        watermarked=image is not made,
        notes=tuple(notes),
    )


def _watermarked(image: ProductImage, kind: str, statement: Statement, mark: str, notes: list[str]) -> ProductImage:
    """Returns the picture with its id in its pixels, or, with a note where it is large enough for one, as it is."""
    if min(image.height, image.width) < LEAST_SIDE:
        return image
    wanted = os.environ.get(WATERMARK) or "auto"
    lookup(WATERMARK, wanted, dict.fromkeys(("auto", "always")))
    if wanted == "auto" and kind == "PNG" and not statement.created and not _all_new(image):
        notes.append(
            f"No watermark: the product's pixels are not changed for one. {WATERMARK}=always puts one in all the same."
        )
        return image
    try:
        embedded = embed(image.pixels, int(mark, 16))
    except NoRoom as e:
        notes.append(f"No watermark: {e}")
        return image
    return image.done(Operation("watermark", "classical", {"id": mark}), embedded.pixels)


def _all_new(image: ProductImage) -> bool:
    """Returns whether no pixel is promised to be what it was in the photo: a style or a network went over all of it."""
    styled = any(o.name == "restyle" and o.params.get("only") is None for o in image.history)
    return styled or any(o.name == "enhance" and o.origin == "learned" for o in image.history)


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
    carried, came = image.metadata.credentials, read_carried(image)
    if carried is None or came is None:
        return None, ()
    mime, found = came
    if found.trust == "invalid":
        notes.append(
            "The C2PA manifest that the photo brought along is broken; it was kept as it is, as an ingredient."
        )
    if any(o.name == "anonymise" for o in image.history):
        # Its thumbnails and assertions may show and name what was just hidden.
        notes.append("The C2PA manifest that the photo brought along was left behind: it may show who was hidden.")
        return None, found.source_types
    name = next((o.params.get("name") for o in image.history if o.name == "decode"), None)
    return Parent(carried, mime, as_utf8(str(name or "photo"))), found.source_types


def _content(image: ProductImage, kind: str, quality: int, statement: Statement) -> str:
    digest = sha256(repr((image.pixels.shape, kind, quality, statement)).encode())
    digest.update(json.dumps([(o.name, o.origin, o.params) for o in image.history], sort_keys=True).encode())
    digest.update(image.pixels.data)
    return digest.hexdigest()
