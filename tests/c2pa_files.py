"""Picture files with a C2PA manifest, signed by a chain that is made here, and a store with any CBOR in it."""

import io
import json
from datetime import UTC, datetime, timedelta
from functools import cache

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

USES = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
MORE_USES = ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")


def certificate(
    name: str, issuer: str, key: ec.EllipticCurvePrivateKey, issuer_key: ec.EllipticCurvePrivateKey
) -> bytes:
    """A certificate as C2PA asks for; one that signs itself is the root."""
    root, now = name == issuer, datetime.now(UTC)
    may = {"key_cert_sign", "crl_sign"} if root else {"digital_signature"}

    def subject(text: str) -> x509.Name:
        return x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, text), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "tests")]
        )

    builder = (
        x509.CertificateBuilder()
        .subject_name(subject(name))
        .issuer_name(subject(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=root, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**{use: use in may for use in USES + MORE_USES}), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if not root:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@cache
def chain() -> tuple[bytes, bytes]:
    """A signer's certificate under a root, and the signer's key, all PEM."""
    root, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    certificates = certificate("signer", "root", leaf, root) + certificate("root", "root", root, root)
    private = leaf.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificates, private


def signed(
    data: bytes, mime: str, entries: dict | None, *, label: str = "cawg.training-mining", parent: bytes | None = None
) -> bytes:
    """The file with a manifest, with a training-mining assertion in it, or with an ingredient that has its own."""
    action = {
        "action": "c2pa.created",
        "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture",
    }
    assertions = [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}]
    if entries is not None:
        assertions.append({"label": label, "data": {"entries": entries}})
    about = {"claim_generator_info": [{"name": "tests", "version": "1"}], "title": "t", "assertions": assertions}
    settings = {"verify": {"verify_after_sign": False}, "builder": {"thumbnail": {"enabled": False}}}
    out, (certificates, key) = io.BytesIO(), chain()
    signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", certificates, key, None))
    with c2pa.Builder(json.dumps(about), context=c2pa.Context.from_dict(settings)) as builder:
        if parent is not None:
            builder.add_ingredient({"title": "p", "relationship": "componentOf"}, mime, io.BytesIO(parent))
        builder.sign(signer, mime, io.BytesIO(data), out)
    return out.getvalue()


def box(kind: bytes, payload: bytes) -> bytes:
    """A JUMBF box."""
    return (8 + len(payload)).to_bytes(4, "big") + kind + payload


def description(uuid: bytes, label: bytes) -> bytes:
    """The first box of a superbox: what it is and what it is called."""
    return box(b"jumd", uuid + b"\x03" + label + b"\0")


def store_with(content: bytes) -> bytes:
    """A manifest store whose training-mining assertion is this CBOR (or anything else)."""
    tail = b"\x00\x11\x00\x10\x80\x00\x00\xaa\x008\x9bq"
    assertion = box(b"jumb", description(b"cbor" + tail, b"cawg.training-mining") + box(b"cbor", content))
    assertions = box(b"jumb", description(b"c2as" + tail, b"c2pa.assertions") + assertion)
    manifest = box(b"jumb", description(b"c2ma" + tail, b"urn:uuid:1") + assertions)
    return box(b"jumb", description(b"c2pa" + tail, b"c2pa") + manifest)
