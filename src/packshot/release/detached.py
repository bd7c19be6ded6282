"""Signatures beside what they sign: bytes, signed by the credentials that sign pictures, and checked again.

A signature is raw, as C2PA and COSE have it (RFC 9053): of an elliptic curve r and s one after the other, of RSA
PSS with a salt as long as the hash.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from packshot.core.errors import PackshotError
from packshot.release.credentials import Credentials
from packshot.release.manifest import trusted_anchors

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

Trust = Literal["trusted", "valid", "invalid"]


def sign_detached(data: bytes, credentials: Credentials) -> bytes:
    """Returns the raw signature of `data` by the key, or by the program that signs.

    Raises:
        PackshotError: it cannot be signed.
    """
    if credentials.key is None:
        return credentials.sign_bytes(data)
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(credentials.key, None)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data)
    hashed = _hash(credentials.algorithm)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        size = (key.curve.key_size + 7) // 8
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashed)))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PSS(padding.MGF1(hashed), hashed.digest_size), hashed)
    raise PackshotError("The key is of a kind that signs no bytes; use a key for P-256, say.")


def check_detached(data: bytes, signature: bytes, algorithm: str, chain: bytes, time: datetime) -> tuple[Trust, str]:
    """Checks a signature and who made it.

    Args:
        data: what was signed.
        signature: raw.
        algorithm: as C2PA names it.
        chain: PEM, the signer's certificate first. It may be hostile.
        time: when it was signed, as `data` says; the signer's certificate has to hold then.

    Returns:
        "trusted": intact, and this machine trusts the chain's end; "valid": intact, signer not known here;
        "invalid". And the signer's name, or for "invalid" what is wrong.
    """
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.x509.oid import NameOID

    try:
        certificates = x509.load_pem_x509_certificates(chain)
        leaf = certificates[0]
        _verify(leaf.public_key(), signature, data, algorithm)
    except InvalidSignature:
        return "invalid", "the signature is not of these words, or not by this signer"
    except (ValueError, TypeError, IndexError, UnsupportedAlgorithm, x509.InvalidVersion) as e:
        return "invalid", f"the signature cannot be read ({e})"
    if not leaf.not_valid_before_utc <= time <= leaf.not_valid_after_utc:
        return "invalid", "the signer's certificate did not hold at that time"
    named = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    signer = str(named[0].value) if named else leaf.subject.rfc4514_string()
    return ("trusted" if _leads_to_trust(certificates) else "valid"), signer


def _leads_to_trust(certificates: list[Certificate]) -> bool:
    """Returns whether each certificate was issued by the next, and one of them is or was issued by a trusted root."""
    from cryptography import x509

    anchors = [c for pem in trusted_anchors() for c in x509.load_pem_x509_certificates(pem)]
    for place, certificate in enumerate(certificates):
        if any(certificate == anchor or _issued_by(certificate, anchor) for anchor in anchors):
            return True
        if place + 1 == len(certificates) or not _issued_by(certificate, certificates[place + 1]):
            return False
    return False


def _issued_by(certificate: Certificate, issuer: Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.x509 import BasicConstraints, ExtensionNotFound

    try:
        if not issuer.extensions.get_extension_for_class(BasicConstraints).value.ca:
            return False
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ExtensionNotFound, ValueError, TypeError):
        return False
    return True


def _verify(key: Any, signature: bytes, data: bytes, algorithm: str) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    if isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(signature, data)
        return
    hashed = _hash(algorithm)
    if isinstance(key, ec.EllipticCurvePublicKey):
        size = (key.curve.key_size + 7) // 8
        if len(signature) != 2 * size:
            raise ValueError(f"it has {len(signature)} bytes, not {2 * size}")
        r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
        key.verify(encode_dss_signature(r, s), data, ec.ECDSA(hashed))
        return
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, data, padding.PSS(padding.MGF1(hashed), hashed.digest_size), hashed)
        return
    raise ValueError("the signer's key is of an unknown kind")


def _hash(algorithm: str) -> Any:
    from cryptography.hazmat.primitives import hashes

    kinds: dict[str, Any] = {"es384": hashes.SHA384, "es512": hashes.SHA512}
    if algorithm not in ("es256", "ps256", *kinds):
        raise ValueError(f"the algorithm '{algorithm}' is not known")
    return kinds.get(algorithm, hashes.SHA256)()
