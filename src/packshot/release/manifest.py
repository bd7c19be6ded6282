"""C2PA manifests: what is signed into a picture, and what is read back from any file.

Source: C2PA specification 2.2; the library is c2pa-python. Everything runs offline but a time stamp that is asked for.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from packshot import __version__
from packshot.core.errors import PackshotError
from packshot.core.files import disk_errors
from packshot.core.home import home
from packshot.images import xmp
from packshot.images.decode import has_manifest
from packshot.release.credentials import ANCHOR, Credentials
from packshot.release.statement import Statement

MIME = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
STORE = "application/x-c2pa-manifest-store"
OWN = "org.packshot.release"
"""Label of Packshot's own assertion: the picture's mark and the checksum of what was signed."""
THUMBNAIL_FROM = 512
"""Pictures whose longest side is at least this get a thumbnail in their manifest."""
THUMBNAIL_SIDE = 256
MAX_STORE = 16 * 2**20

Trust = Literal["trusted", "valid", "invalid"]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a file's active manifest says.

    Attributes:
        trust: "trusted": intact, and its signer is known here; "valid": intact, signer not trusted; "invalid": the
            file or the manifest was changed after signing, or the signature is broken.
        problems: codes of C2PA for what is wrong, without the signer's trust.
        signer: name in the certificate, or None.
        time: of signing as the manifest says, ISO 8601, or None.
        generator: the program that made the claim.
        source_types: IPTC terms in its actions, oldest first.
        actions: names of its actions, oldest first.
        ingredients: how many it names.
        own: Packshot's own assertion, or an empty table.
    """

    trust: Trust
    problems: tuple[str, ...] = ()
    signer: str | None = None
    time: str | None = None
    generator: str | None = None
    source_types: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    ingredients: int = 0
    own: Mapping[str, Any]


@dataclass(frozen=True)
class Parent:
    """The picture that an edit began with.

    Attributes:
        data: a file with a manifest, or a manifest store alone; its manifests are kept.
        mime: of `data`.
    """

    data: bytes
    mime: str


def build_definition(
    statement: Statement, *, title: str, mime: str, own: Mapping[str, Any], parent: Parent | None
) -> dict[str, Any]:
    """Returns the definition of a manifest for c2pa.

    Args:
        statement: what is said.
        title: the file's name.
        mime: its format.
        own: Packshot's own assertion.
        parent: an ingredient with its own manifest, which will be added by its bytes; None: named only.
    """
    actions: list[dict[str, Any]] = []
    ingredients: list[dict[str, Any]] = []
    if statement.created:
        term = statement.source_type or "digitalCreation"
        first = {"action": "c2pa.created", "digitalSourceType": xmp.SOURCE_TYPE_TERMS + term}
        actions.append(first | ({"description": statement.model} if statement.model else {}))
    else:
        actions.append({"action": "c2pa.opened", "parameters": {"ingredientIds": ["source"]}})
        if parent is None:
            named = {"title": statement.ingredient or "photo", "format": "image/*", "relationship": "parentOf"}
            ingredients.append({**named, "instance_id": f"packshot:{own['content']}", "label": "source"})
    actions += [action.as_c2pa() for action in statement.actions]
    assertions = [
        {"label": "c2pa.actions.v2", "data": {"actions": actions, "allActionsIncluded": True}},
        {"label": OWN, "data": dict(own)},
    ]
    return {
        "claim_generator_info": [{"name": "Packshot", "version": __version__}],
        "title": title,
        "format": mime,
        "assertions": assertions,
        "ingredients": ingredients,
    }


def sign(
    data: bytes,
    mime: str,
    definition: Mapping[str, Any],
    credentials: Credentials,
    *,
    parent: Parent | None = None,
    thumbnail: bool = False,
) -> tuple[bytes, bytes]:
    """Signs a manifest into a file.

    Args:
        data: the file.
        mime: its format.
        definition: see `build_definition`.
        credentials: who signs.
        parent: the ingredient whose manifests are kept.
        thumbnail: whether the manifest gets a small picture of the file.

    Returns:
        The signed file, and its manifest store.

    Raises:
        PackshotError: the credentials do not sign, or the time stamp authority does not answer.
    """
    import c2pa

    small = {"enabled": thumbnail, "long_edge": THUMBNAIL_SIDE, "quality": "low", "ignore_errors": True}
    settings = {"builder": {"thumbnail": small}, "verify": {"verify_after_sign": False}}
    out = io.BytesIO()
    try:
        signer = _signer(credentials)
        with c2pa.Builder(dict(definition), context=c2pa.Context.from_dict(settings)) as builder:
            if parent is not None:
                about = {"title": "source", "relationship": "parentOf", "label": "source"}
                builder.add_ingredient(about, parent.mime, io.BytesIO(parent.data))
            store = builder.sign(signer, mime, io.BytesIO(data), out)
    except c2pa.C2paError as e:
        hint = " Is the time stamp authority's address right?" if credentials.time_stamp and "http" in str(e) else ""
        raise PackshotError(f"The picture could not be signed ({e}); nothing was released.{hint}") from e
    return out.getvalue(), bytes(store)


def _signer(credentials: Credentials) -> Any:
    import c2pa

    if credentials.key is not None:
        tsa = credentials.time_stamp.encode() if credentials.time_stamp else None
        info = c2pa.C2paSignerInfo(credentials.algorithm.encode(), credentials.chain, credentials.key, tsa)
        return c2pa.Signer.from_info(info)
    algorithm = c2pa.C2paSigningAlg[credentials.algorithm.upper()]
    return c2pa.Signer.from_callback(
        credentials.sign_bytes, algorithm, credentials.chain.decode(), credentials.time_stamp
    )


def read_manifest(data: bytes, mime: str, anchors: Sequence[bytes] = ()) -> Manifest | None:
    """Reads what a file's manifest says, and whether it is intact.

    Args:
        data: the file; it may be hostile.
        mime: its format, as its content shows.
        anchors: certificates (PEM) that are trusted on top of `trusted_anchors`.

    Returns:
        None: there is no manifest.
    """
    import c2pa

    if not has_manifest(data):
        return None
    pem = "\n".join(a.decode("ascii", "replace") for a in (*trusted_anchors(), *anchors))
    settings: dict[str, Any] = {"verify": {"ocsp_fetch": False, "remote_manifest_fetch": False}}
    if pem:
        settings["trust"] = {"trust_anchors": pem}
    try:
        with c2pa.Reader(mime, io.BytesIO(data), context=c2pa.Context.from_dict(settings)) as reader:
            report = json.loads(reader.json())
    except c2pa.C2paError as e:
        if "ManifestNotFound" in type(e).__name__ or "ManifestNotFound" in str(e):
            return None
        return Manifest(trust="invalid", problems=(str(e)[:200],), own={})
    except (ValueError, UnicodeError) as e:
        return Manifest(trust="invalid", problems=(str(e)[:200],), own={})
    return _read_report(report)


def _read_report(report: Mapping[str, Any]) -> Manifest:
    active = report.get("manifests", {}).get(report.get("active_manifest"), {})
    results = report.get("validation_results", {}).get("activeManifest", {})
    failures = [str(f.get("code")) for f in results.get("failure", [])]
    problems = tuple(code for code in failures if code != "signingCredential.untrusted")
    state = report.get("validation_state")
    trust: Trust = "invalid" if problems or state == "Invalid" else "trusted" if state == "Trusted" else "valid"
    assertions = {str(a.get("label")): a.get("data") or {} for a in active.get("assertions", [])}
    listed = next((d for label, d in assertions.items() if label.startswith("c2pa.actions")), {})
    actions = [a for a in listed.get("actions", []) if isinstance(a, dict)]
    terms = [xmp.term_of(a["digitalSourceType"]) for a in actions if isinstance(a.get("digitalSourceType"), str)]
    signature = active.get("signature_info") or {}
    generators = active.get("claim_generator_info") or [{}]
    own = assertions.get(OWN)
    return Manifest(
        trust=trust,
        problems=problems,
        signer=signature.get("common_name") or signature.get("issuer"),
        time=signature.get("time"),
        generator=generators[0].get("name") or active.get("claim_generator"),
        source_types=tuple(t for t in terms if t),
        actions=tuple(str(a.get("action")) for a in actions),
        ingredients=len(active.get("ingredients", [])),
        own=own if isinstance(own, dict) else {},
    )


def trusted_anchors() -> tuple[bytes, ...]:
    """Returns the roots that this machine trusts: its own chains', old ones too, and the file PACKSHOT_TRUST's."""
    named = os.environ.get("PACKSHOT_TRUST")
    files = [*sorted(home().glob(f"credentials*/{ANCHOR}")), *([Path(named)] if named else [])]
    return tuple(_read_anchor(path, path.stat().st_mtime_ns) for path in files if path.is_file())


@lru_cache(maxsize=32)
def _read_anchor(path: Path, changed: int) -> bytes:
    with disk_errors(path):
        return path.read_bytes()
