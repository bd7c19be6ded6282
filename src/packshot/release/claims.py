"""What a file says of itself, in every dialect, whether that is intact, and whether it agrees with itself.

Nothing here is believed: a label can be copied from one file into another, a signature cannot.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from packshot.images import xmp
from packshot.images.picture import ProductImage
from packshot.release.dialects import AIGC_KEYS, read_aigc
from packshot.release.manifest import MIME, Manifest, read_manifest
from packshot.release.source_type import strongest

READ_MIME = {**MIME, "TIFF": "image/tiff", "GIF": "image/gif", "AVIF": "image/avif", "HEIF": "image/heif"}
"""Formats that may hold a manifest."""
MAX_TEXT = 200
"""Letters of a label that are told; whoever writes more than a term or a name means harm."""
OF_SIGNER = ("signingCredential.", "timeStamp.")
"""Beginnings of C2PA's codes that are about the signer and the time, not about the picture."""


@dataclass(frozen=True, kw_only=True)
class Claims:
    """What a file says of itself.

    Attributes:
        manifest: its C2PA manifest, or None.
        iptc: the source type in its XMP, or None.
        china: the label of GB 45438-2025 in its XMP, or None.
        notes: sentences on what could not be read.
    """

    manifest: Manifest | None = None
    iptc: str | None = None
    china: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()

    @property
    def c2pa(self) -> str | None:
        """The source type that the manifest's actions claim, the one that says most."""
        return strongest(self.manifest.source_types) if self.manifest else None

    @property
    def labels(self) -> bool:
        """Whether anything is claimed at all."""
        return self.manifest is not None or self.iptc is not None or self.china is not None

    @property
    def ids(self) -> dict[str, str]:
        """The ids that the labels name: where -> ten hex digits."""
        found = {
            "C2PA": self.manifest.own.get("mark") if self.manifest else None,
            "China's label": (self.china or {}).get("ProduceID"),
        }
        return {k: v for k, v in found.items() if isinstance(v, str) and re.fullmatch("[0-9a-f]{10}", v)}

    @property
    def changed(self) -> bool:
        """Whether the manifest is broken, by more than a signer whose certificate does not count (any more)."""
        found = self.manifest
        if found is None or found.trust != "invalid":
            return False
        return not found.problems or not all(p.startswith(OF_SIGNER) for p in found.problems)


def read_claims(image: ProductImage, anchors: Sequence[bytes] = ()) -> Claims:
    """Returns what a decoded file says.

    Args:
        image: as `decode` returned it; the file may be hostile.
        anchors: certificates (PEM) that are trusted on top of this machine's.

    Raises:
        PackshotError: the file that PACKSHOT_TRUST names is missing, or holds no certificates.
    """
    packet, kind = image.metadata.xmp, str(image.history[0].params["format"])
    notes = []
    if packet is not None:
        try:
            xmp.Packet.parse(packet)
        except xmp.BadXmp as e:
            notes.append(f"Its XMP was not read: it is damaged or hostile ({str(e)[:80]}).")
    carried = image.metadata.credentials
    found = read_manifest(carried, READ_MIME[kind], anchors) if carried and kind in READ_MIME else None
    term = None if packet is None or notes else xmp.source_type(packet)
    label = None if notes else read_aigc(packet)
    return Claims(
        manifest=found,
        iptc=term and term[:MAX_TEXT],
        china=label and {key: str(label[key])[:MAX_TEXT] for key in AIGC_KEYS if key in label},
        notes=tuple(notes),
    )


def say_intact(claims: Claims) -> str:
    """Returns in words whether the manifest holds, and who says so."""
    found = claims.manifest
    if found is None:
        return "there is no C2PA manifest"
    codes = ", ".join(dict.fromkeys(found.problems)) or "no reason given"
    if claims.changed:
        return f"invalid: the file or its manifest was changed after signing, or is damaged ({codes})"
    if found.trust == "invalid":
        return (
            f"the content is as it was signed, but C2PA does not accept the signer's certificate ({codes}); "
            "one that ended counts only with a time stamp"
        )
    return {"trusted": "valid, and its signer is trusted here", "valid": "valid, but its signer is not trusted here"}[
        found.trust
    ]


def contradictions(claims: Claims, watermark: str | None) -> list[str]:
    """Returns a sentence for each pair of layers of which not both can be true.

    An edit's manifest may say less than XMP does: what the photo declared before stands in its ingredient. So XMP
    contradicts a manifest where it says less, or where the picture is said to be created.

    Args:
        claims: what the file says.
        watermark: the id in its pixels, or None.
    """
    out = []
    c2pa, iptc, found = claims.c2pa, claims.iptc, claims.manifest
    if c2pa and iptc and c2pa.lower() != iptc.lower():
        weaker = strongest([c2pa, iptc]) == c2pa
        if weaker or (found is not None and "c2pa.created" in found.actions):
            out.append(f"C2PA says {c2pa}, XMP says {iptc}.")
    said = strongest([c2pa, iptc])
    if claims.china is not None and said is not None and not xmp.is_synthetic(said):
        out.append(f"China's label says that AI made it, {'C2PA' if said == c2pa else 'XMP'} says {said}.")
    ids = claims.ids | ({"the watermark": watermark} if watermark else {})
    earlier = found.earlier if found else ()
    named = {where: mark for where, mark in ids.items() if where == "C2PA" or mark not in earlier}
    if len(set(named.values())) > 1:
        out.append(f"The ids differ: {', '.join(f'{where} has {mark}' for where, mark in named.items())}.")
    return out
