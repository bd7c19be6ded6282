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
from packshot.images import jumbf, xmp
from packshot.images.decode import has_manifest
from packshot.images.picture import ProductImage
from packshot.release.credentials import ANCHOR, Credentials
from packshot.release.statement import ACTIONS, Statement

MIME = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
STORE = "application/x-c2pa-manifest-store"
OWN = "org.packshot.release"
"""Label of Packshot's own assertion: the picture's mark and the checksum of what was signed."""
SOFT_BINDING = "org.packshot.watermark.1"
"""The algorithm of `packshot.release.watermark`, in the assertion by which a stripped picture leads to its manifest."""
THUMBNAIL_FROM = 512
"""Pictures whose longest side is at least this get a thumbnail in their manifest."""
THUMBNAIL_SIDE = 256
UNBOUND = "assertion.dataHash.mismatch"
"""What C2PA says of a manifest store alone: there is no file to hold its checksum against."""

Trust = Literal["trusted", "valid", "invalid"]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a file's active manifest says.

    Attributes:
        trust: "trusted": intact, and its signer is known here; "valid": intact, signer not trusted; "invalid": the
            file or the manifest was changed after signing, or the signature is broken.
        problems: codes of C2PA for what is wrong, without the signer's trust.
        title: what it calls the picture, or None.
        signer: name in the certificate, or None.
        serial: the certificate's number, or None.
        time: of signing as the manifest says, ISO 8601, or None.
        generator: the program that made the claim.
        source_types: IPTC terms in its actions, oldest first.
        actions: names of its actions, oldest first.
        ingredients: how many it names.
        titles: what it calls them.
        own: Packshot's own assertion, or an empty table.
        earlier: ids of the released pictures that it was made from, as the ingredients' manifests say.
    """

    trust: Trust
    problems: tuple[str, ...] = ()
    title: str | None = None
    signer: str | None = None
    serial: str | None = None
    time: str | None = None
    generator: str | None = None
    source_types: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    ingredients: int = 0
    titles: tuple[str, ...] = ()
    own: Mapping[str, Any]
    earlier: tuple[str, ...] = ()


@dataclass(frozen=True)
class Parent:
    """The picture that an edit began with.

    Attributes:
        data: a file with a manifest, or a manifest store alone; its manifests are kept.
        mime: of `data`; of a store alone it does not count.
        title: what it is called.
    """

    data: bytes
    mime: str
    title: str = "photo"


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
    assertions: list[dict[str, Any]] = [
        {"label": "c2pa.actions.v2", "data": {"actions": actions, "allActionsIncluded": True}},
        {"label": OWN, "data": dict(own)},
    ]
    if any(action.name == ACTIONS["watermark"] for action in statement.actions):
        value = {"scope": {}, "value": own["mark"]}
        assertions.append({"label": "c2pa.soft-binding", "data": {"alg": SOFT_BINDING, "blocks": [value]}})
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
    failed: list[PackshotError] = []
    try:
        signer = _signer(credentials, failed)
        with c2pa.Builder(dict(definition), context=c2pa.Context.from_dict(settings)) as builder:
            if parent is not None:
                about = {"title": parent.title, "relationship": "parentOf", "label": "source"}
                mime_of_parent = STORE if is_store(parent.data) else parent.mime
                builder.add_ingredient(about, mime_of_parent, io.BytesIO(parent.data))
            store = builder.sign(signer, mime, io.BytesIO(data), out)
    except c2pa.C2paError as e:
        if failed:
            raise failed[0] from e
        hint = " Is the time stamp authority's address right?" if credentials.time_stamp and "http" in str(e) else ""
        raise PackshotError(f"The picture could not be signed ({e}); nothing was released.{hint}") from e
    signed = out.getvalue()
    if credentials.command is not None:  # A key was held against its certificate when it was loaded.
        found = read_manifest(signed, mime)
        if found is None or found.trust == "invalid":
            raise PackshotError(
                f"What the signing program ({credentials.program}) wrote is no {credentials.algorithm} signature by "
                "the certificate's key; nothing was released."
            )
    return signed, bytes(store)


def _signer(credentials: Credentials, failed: list[PackshotError]) -> Any:
    """Returns what signs; why a program did not is added to `failed`, since c2pa does not pass it on."""
    import c2pa

    if credentials.key is not None:
        tsa = credentials.time_stamp.encode() if credentials.time_stamp else None
        info = c2pa.C2paSignerInfo(credentials.algorithm.encode(), credentials.chain, credentials.key, tsa)
        return c2pa.Signer.from_info(info)

    def signature(data: bytes) -> bytes:
        try:
            return credentials.sign_bytes(data)
        except PackshotError as e:
            failed.append(e)
            return b""

    algorithm = c2pa.C2paSigningAlg[credentials.algorithm.upper()]
    return c2pa.Signer.from_callback(signature, algorithm, credentials.chain.decode(), credentials.time_stamp)


def read_manifest(data: bytes, mime: str, anchors: Sequence[bytes] = ()) -> Manifest | None:
    """Reads what a file's manifest says, and whether it is intact.

    Args:
        data: the file, or a manifest store alone (then intact means that nobody changed the store itself); it may be
            hostile.
        mime: the file's format, as its content shows.
        anchors: certificates (PEM) that are trusted on top of `trusted_anchors`.

    Returns:
        None: there is no manifest.

    Raises:
        PackshotError: the file that PACKSHOT_TRUST names is missing, or holds no certificates.
    """
    import c2pa

    if not has_manifest(data):
        return None
    alone = is_store(data)
    try:
        store = data if alone else jumbf.find_store(data)
        if store is not None:  # Before c2pa, which asks for as much memory as a few bytes announce.
            jumbf.check_store(store)
    except jumbf.BadStore as e:
        return Manifest(trust="invalid", problems=(str(e),), own={})
    pem = "\n".join(a.decode("ascii", "replace") for a in (*trusted_anchors(), *anchors))
    settings: dict[str, Any] = {"verify": {"ocsp_fetch": False, "remote_manifest_fetch": False}}
    if pem:
        settings["trust"] = {"trust_anchors": pem}
    try:
        context = c2pa.Context.from_dict(settings)
        with c2pa.Reader(STORE if alone else mime, io.BytesIO(data), context=context) as reader:
            report = json.loads(reader.json())
    except c2pa.C2paError as e:
        if "ManifestNotFound" in type(e).__name__ or "ManifestNotFound" in str(e):
            return None
        return Manifest(trust="invalid", problems=(str(e)[:200],), own={})
    except (ValueError, UnicodeError) as e:
        return Manifest(trust="invalid", problems=(str(e)[:200],), own={})
    return _read_report(report, alone)


def is_store(data: bytes) -> bool:
    """Returns whether bytes are a manifest store alone, not a file with one in it."""
    return data[4:8] == b"jumb" and data[16 : 16 + len(jumbf.STORE)] == jumbf.STORE


def read_carried(image: ProductImage) -> tuple[str, Manifest] | None:
    """Returns the format of the file that a picture came as, and what the manifest in it says; None: there was none."""
    carried, opened = image.metadata.credentials, next((o for o in image.history if o.name == "decode"), None)
    mime = MIME.get(str(opened.params.get("format"))) if opened is not None else None
    found = read_manifest(carried, mime) if carried is not None and mime is not None else None
    return None if found is None or mime is None else (mime, found)


def _read_report(report: Mapping[str, Any], alone: bool) -> Manifest:
    manifests = _table(report.get("manifests"))
    active = _table(manifests.get(str(report.get("active_manifest"))))
    results = _table(_table(report.get("validation_results")).get("activeManifest"))
    failures = [str(f.get("code")) for f in _tables(results.get("failure"))]
    expected = ("signingCredential.untrusted", *([UNBOUND] if alone else []))
    problems = tuple(code for code in failures if code not in expected)
    state = report.get("validation_state")
    if problems or (state == "Invalid" and not alone):
        trust: Trust = "invalid"
    else:
        known = state == "Trusted" or (alone and "signingCredential.untrusted" not in failures)
        trust = "trusted" if known else "valid"
    assertions = _assertions(active)
    listed = next((data for label, data in assertions.items() if label.startswith("c2pa.actions")), {})
    actions = _tables(listed.get("actions"))
    terms = [xmp.term_of(a["digitalSourceType"]) for a in actions if isinstance(a.get("digitalSourceType"), str)]
    signature = _table(active.get("signature_info"))
    generators = _tables(active.get("claim_generator_info")) or [{}]
    ingredients = _tables(active.get("ingredients"))
    others = [_assertions(_table(m)).get(OWN, {}).get("mark") for m in manifests.values() if m is not active]
    return Manifest(
        trust=trust,
        problems=problems,
        title=_text(active.get("title")),
        signer=_text(signature.get("common_name")) or _text(signature.get("issuer")),
        serial=_text(signature.get("cert_serial_number")),
        time=_text(signature.get("time")),
        generator=_text(generators[0].get("name")) or _text(active.get("claim_generator")),
        source_types=tuple(t for t in terms if t),
        actions=tuple(str(a.get("action")) for a in actions),
        ingredients=len(ingredients),
        titles=tuple(str(i.get("title") or "without a title") for i in ingredients),
        own=assertions.get(OWN, {}),
        earlier=tuple(mark for mark in others if isinstance(mark, str)),
    )


def _assertions(manifest: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {str(a.get("label")): _table(a.get("data")) for a in _tables(manifest.get("assertions"))}


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _tables(value: Any) -> list[Mapping[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def trusted_anchors() -> tuple[bytes, ...]:
    """Returns the roots that this machine trusts: its own chains', old ones too, and the file PACKSHOT_TRUST's.

    Raises:
        PackshotError: the file that PACKSHOT_TRUST names is missing, or holds no certificates.
    """
    named = os.environ.get("PACKSHOT_TRUST")
    own = tuple(_read_anchor(p, p.stat().st_mtime_ns) for p in sorted(home().glob(f"credentials*/{ANCHOR}")))
    return (*own, read_trust(Path(named))) if named else own


def read_trust(path: Path) -> bytes:
    """Returns a file of certificates to trust, PEM.

    Raises:
        PackshotError: it is missing, or holds none.
    """
    with disk_errors(path):
        changed = path.stat().st_mtime_ns
    return _read_anchor(path, changed)


@lru_cache(maxsize=32)
def _read_anchor(path: Path, changed: int) -> bytes:
    from cryptography import x509

    with disk_errors(path):
        pem = path.read_bytes()
    try:
        x509.load_pem_x509_certificates(pem)
    except ValueError as e:
        raise PackshotError(f"{path} holds no certificates in PEM form to trust.") from e
    return pem
