"""The dialects beside C2PA: XMP for IPTC and for China's measures, JSON-LD of schema.org, flags of platforms.

Sources: IPTC Photo Metadata Standard 2023.1; TC260's guide to GB 45438-2025 (namespace, property and keys were read at
their source, the codes of `Label` were not); schema.org/digitalSourceType; DV360 and Taboola: the names of their flags.
"""

from __future__ import annotations

import json
import os
from typing import Any

from packshot import __version__
from packshot.images import xmp
from packshot.images.xmp import Packet
from packshot.release.notice import TEXTS, told_beside
from packshot.release.statement import Statement

AIGC = f"{{{xmp.TC260}}}AIGC"
AIGC_KEYS = (
    "Label",
    "ContentProducer",
    "ProduceID",
    "ReservedCode1",
    "ContentPropagator",
    "PropagateID",
    "ReservedCode2",
)
SCHEMA_ORG = {
    "trainedAlgorithmicMedia": "TrainedAlgorithmicMediaDigitalSource",
    "compositeWithTrainedAlgorithmicMedia": "CompositeWithTrainedAlgorithmicMediaDigitalSource",
    "algorithmicallyEnhanced": "AlgorithmicallyEnhancedDigitalSource",
    "digitalCapture": "DigitalCaptureDigitalSource",
}


def producer() -> str:
    """Returns who produces the pictures, for China's label: $PACKSHOT_PRODUCER, else "Packshot"."""
    return os.environ.get("PACKSHOT_PRODUCER") or "Packshot"


def aigc(statement: Statement, mark: str) -> str | None:
    """Returns the JSON text of China's label, or None where none is due.

    The code of `Label` is "1" for what AI made, unless PACKSHOT_CHINA_LABEL says otherwise: that clause is unconfirmed.

    Args:
        statement: what is said.
        mark: the picture's id, hex.
    """
    if not statement.china_label:
        return None
    values = {"Label": os.environ.get("PACKSHOT_CHINA_LABEL") or "1", "ContentProducer": producer(), "ProduceID": mark}
    return json.dumps({key: values.get(key, "") for key in AIGC_KEYS}, ensure_ascii=False)


def read_aigc(packet: bytes | None) -> dict[str, Any] | None:
    """Returns China's label as a file's XMP holds it, or None: there is none, or it is no JSON table."""
    if packet is None or b"AIGC" not in packet:
        return None
    try:
        found = json.loads(Packet.parse(packet).get(AIGC) or "null")
    except (xmp.BadXmp, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _named(variable: str) -> str:
    return "".join(c for c in os.environ.get(variable, "") if c.isprintable()).strip()


def label_packet(packet: Packet, statement: Statement, mark: str) -> dict[str, str]:
    """Writes what is due into a packet; what it says already of its rights, or more strongly of its origin, stays.

    Rights are written where the user has said them: PACKSHOT_COPYRIGHT ("© 2026 Our shop") and PACKSHOT_CREDIT.

    Args:
        packet: of the picture; it is changed.
        statement: what is said.
        mark: the picture's id, hex.

    Returns:
        By name, what the packet says now of all that is due; empty where nothing is.
    """
    due: dict[str, str] = {}
    term, label = statement.source_type, aigc(statement, mark)
    if term is not None:
        due[xmp.SOURCE_TYPE] = packet.get(xmp.SOURCE_TYPE) or ""
        if term != xmp.term_of(due[xmp.SOURCE_TYPE]):
            due[xmp.SOURCE_TYPE] = xmp.SOURCE_TYPE_TERMS + term
    if label is not None:
        due[AIGC] = label
    if statement.label_due:
        made = {xmp.AI_SYSTEM: f"Packshot {statement.model}", xmp.AI_VERSION: __version__} if statement.model else {}
        rights = {xmp.CREDIT: _named("PACKSHOT_CREDIT"), xmp.RIGHTS: _named("PACKSHOT_COPYRIGHT")}
        due |= {name: packet.get(name) or value for name, value in (made | rights).items() if value}
    for name, value in due.items():
        if value != packet.get(name):
            (packet.set_text if name == xmp.RIGHTS else packet.set)(name, value)
    return due


def side_car(
    statement: Statement, *, name: str, mime: str, width: int, height: int, sha256: str, mark: str
) -> dict[str, Any]:
    """Returns what belongs beside the file: JSON-LD for the page, flags for platforms, texts for people.

    Args:
        statement: what is said.
        name: the file's name.
        mime: its format.
        width: in pixels.
        height: in pixels.
        sha256: of the file's bytes.
        mark: the picture's id, hex.
    """
    term, notice = statement.source_type, statement.notice
    page: dict[str, Any] = {
        "@context": "https://schema.org",
        "@type": "ImageObject",
        "contentUrl": name,
        "encodingFormat": mime,
        "width": width,
        "height": height,
        "sha256": sha256,
    }
    if term in SCHEMA_ORG:
        page["digitalSourceType"] = f"https://schema.org/{SCHEMA_ORG[term]}"
    made = notice is not None
    platforms = {
        "google-merchant": {"image": {"iptc_digital_source_type": term}},
        "dv360": {"SyntheticContentAttestationStatus": "IS_SYNTHETIC" if made else "NOT_SYNTHETIC"},
        "taboola": {"ai_disclosure": {"status": "AI_GENERATED" if made else "NOT_AI_GENERATED"}},
    }
    out: dict[str, Any] = {"id": mark, "source_type": term, "json_ld": page, "platforms": platforms}
    if notice is not None:
        texts = statement.notice_texts or {language: by_kind[notice] for language, by_kind in TEXTS.items()}
        out["notice"] = {language: told_beside(text, language) for language, text in texts.items()}
        if statement.notice_place is not None:
            out["notice"]["placed"] = {"place": statement.notice_place, "language": statement.notice_language}
    return out
