"""What a photo's file says of its own rights: PLUS Data Mining, C2PA training-mining, and who owns it.

What forbids is heeded whoever wrote it: no signature is asked of a "no", and a statement that cannot be read in full
counts if it contains the words. Sources: IPTC Photo Metadata Standard 2025.1 with the PLUS vocabulary
http://ns.useplus.org/ldf/vocab/; CAWG "Training and Data Mining Assertion" 1.1, and C2PA 1.4 for its older name.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from packshot.core.text import as_utf8
from packshot.images import xmp
from packshot.images.jumbf import BadStore, check_store, find_store
from packshot.images.picture import Metadata

PLUS = "{http://ns.useplus.org/ldf/xmp/1.0/}DataMining"
PROHIBITED = re.compile(rb"DMI-PROHIBITED[A-Z-]*")
TELLING = re.compile(rb"DataMining|rights|Rights|Credit|creator|^\xff\xfe|^\xfe\xff")
"""What an XMP packet has that is worth the parsing; or it is in UTF-16, which this pattern cannot read."""

SAYS = {
    "copyright": (xmp.RIGHTS,),
    "owner": (f"{{{xmp.XMP_RIGHTS}}}Owner",),
    "creator": (f"{{{xmp.DC}}}creator",),
    "credit": (xmp.CREDIT,),
    "usage_terms": (xmp.USAGE_TERMS,),
    "web_statement": (f"{{{xmp.XMP_RIGHTS}}}WebStatement",),
}
COPYRIGHT, ARTIST = 0x8298, 0x013B
TAGS = (b"\x82\x98", b"\x98\x82", b"\x01\x3b", b"\x3b\x01")
"""Their numbers in EXIF, in either byte order."""

MAX_TEXT, MAX_TERMS = 300, 16
LABELS = ("cawg.training-mining", "c2pa.training-mining")
KEY = re.compile(r"[A-Za-z0-9_.-]{1,64}")
UNREAD = "c2pa.training-mining:notAllowed"


class Statements(NamedTuple):
    """What a file says.

    Attributes:
        mining: terms, space between them: `plus:DMI-PROHIBITED`, `cawg.ai_training:notAllowed`, `...:constrained`;
            what is allowed too; None: it says nothing.
        says: JSON of what it says of its owner (keys of `SAYS`); None: nothing.
    """

    mining: str | None = None
    says: str | None = None


def read_statements(data: bytes, metadata: Metadata) -> Statements:
    """Reads what a file says; nothing in it can make this fail.

    Args:
        data: the file.
        metadata: its XMP and EXIF, as decoding found them.
    """
    terms = _from_c2pa(data)
    says: dict[str, str] = {}
    if metadata.xmp is not None or metadata.exif is not None:
        from_xmp, says = _from_xmp(metadata.xmp or b"")
        # A second packet, or one in parts, that decoding passed over.
        found = None if from_xmp else PROHIBITED.search(data)
        terms = from_xmp + ([f"plus:{found[0].decode()}"] if found else []) + terms
        says = _from_exif(metadata.exif or b"") | says
    if not terms and not says:
        return Statements()
    return Statements(" ".join(dict.fromkeys(terms)) or None, json.dumps(says, ensure_ascii=False) if says else None)


def forbidding(mining: str | None) -> list[str]:
    """Returns those terms of `Statements.mining` that forbid training, in words.

    PLUS: every value that begins with DMI-PROHIBITED. C2PA: every entry that is not `allowed` (`constrained` counts as
    `notAllowed` where nothing more is known), but `ai_inference`, which is no training. No kind of training is told
    from another: what forbids one kind is left out of all.
    """
    words = []
    for term in (mining or "").split():
        kind, _, value = term.partition(":")
        if kind == "plus" and value.startswith("DMI-PROHIBITED"):
            words.append(f"PLUS {value}")
        elif kind != "plus" and value != "allowed" and not kind.endswith(".ai_inference"):
            words.append(f"C2PA {kind} {value}")
    return words


def reserves_all(says: str | None) -> bool:
    """Returns whether what a file says of its owner reserves all rights."""
    return says is not None and re.search("all rights reserved", says, re.IGNORECASE) is not None


def _from_xmp(packet: bytes) -> tuple[list[str], dict[str, str]]:
    if not TELLING.search(packet):
        return [], {}
    try:
        parsed = xmp.Packet.parse(packet)
        value = (parsed.get(PLUS) or "").strip()
        found = {key: parsed.get(name) for key, names in SAYS.items() for name in names}
    except xmp.BadXmp:
        return [], {}
    return _plus(value), {key: _clipped(text) for key, text in found.items() if text and text.strip()}


def _plus(value: str) -> list[str]:
    term = (xmp.term_of(value) or "").upper()
    if re.fullmatch("DMI-[A-Z-]{1,60}", term):
        return [f"plus:{term}"]
    # Some programs write the term's words ("Prohibited for AI/ML training") in place of its address.
    return ["plus:DMI-PROHIBITED"] if value.lower().startswith("prohibited") else []


def _from_exif(exif: bytes) -> dict[str, str]:
    if not any(tag in exif for tag in TAGS):
        return {}
    from PIL import Image

    tags = Image.Exif()
    try:
        tags.load(exif)
        found = {"copyright": tags.get(COPYRIGHT), "creator": tags.get(ARTIST)}
    except Exception:  # Hostile EXIF makes Pillow raise nearly anything.
        return {}
    texts = {key: _clipped(text) for key, text in found.items() if isinstance(text, str)}
    return {key: text for key, text in texts.items() if text}


def _clipped(text: str) -> str:
    """Returns one line of limited length that UTF-8 can hold."""
    plain = " ".join(text.replace("\0", " ").split())[:MAX_TEXT]
    return as_utf8(plain)


def _from_c2pa(data: bytes) -> list[str]:
    """Returns the entries of all training-mining assertions in a file: its own, and those of what it was made from."""
    try:
        store = find_store(data)
    except BadStore:
        return _as_text(data)
    if store is None:
        return []
    if b"training-mining" not in store and b"brob" not in store:
        return _as_text(data)
    import c2pa

    try:
        check_store(store)
        with c2pa.Reader("application/c2pa", io.BytesIO(store), context=_context()) as reader:
            report = json.loads(reader.json())
        entries = list(_entries(report))
    except (BadStore, c2pa.C2paError, ValueError, RecursionError):
        return _as_text(store)
    return entries or _as_text(store)


@lru_cache(maxsize=1)
def _context() -> Any:
    """Returns the settings for c2pa: only read; no checks of signatures, and never the network."""
    import c2pa

    verify = ("verify_after_reading", "verify_trust", "remote_manifest_fetch", "ocsp_fetch")
    return c2pa.Context.from_dict({"verify": dict.fromkeys(verify, False)})


def _entries(report: Any) -> Iterator[str]:
    for manifest in _values(report, "manifests"):
        for assertion in _values(manifest, "assertions"):
            label = assertion.get("label") if isinstance(assertion, dict) else None
            # A second one of a kind is called label__1.
            if not isinstance(label, str) or label.partition("__")[0] not in LABELS:
                continue
            data = assertion.get("data")
            entries = data.get("entries", data) if isinstance(data, dict) else None
            for key, entry in list(entries.items())[:MAX_TERMS] if isinstance(entries, dict) else ():
                use = entry.get("use") if isinstance(entry, dict) else entry
                if KEY.fullmatch(key) and use in ("allowed", "notAllowed", "constrained"):
                    yield f"{key}:{use}"


def _values(table: Any, name: str) -> list[Any]:
    found = table.get(name) if isinstance(table, dict) else None
    return list(found.values()) if isinstance(found, dict) else found if isinstance(found, list) else []


def _as_text(data: bytes) -> list[str]:
    """Returns what a manifest that cannot be read seems to say."""
    return [UNREAD] if b"training-mining" in data and (b"notAllowed" in data or b"constrained" in data) else []
