"""Certificate chains of every kind of key that C2PA knows, made here, as files that the options name."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

KEYS: dict[str, Callable[[], Any]] = {
    "es256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "es384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "es512": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ps256": lambda: rsa.generate_private_key(65537, 2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}


def write_chain(
    folder: Path, algorithm: str = "es256", *, days: tuple[float, float] = (-1, 30), password: bytes | None = None
) -> tuple[Path, Path, Path]:
    """chain.pem, key.pem and root.pem; `days`: from when to when the signer's certificate holds, seen from now."""
    folder.mkdir()
    root_key, key, now = ec.generate_private_key(ec.SECP256R1()), KEYS[algorithm](), datetime.now(UTC)
    root = _certificate("Shop root", "Shop root", root_key, root_key, now, (-1000, 1000))
    leaf = _certificate("Shop", "Shop root", key, root_key, now, days)
    paths = folder / "chain.pem", folder / "key.pem", folder / "root.pem"
    hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden)
    for path, data in zip(paths, (leaf + root, private, root), strict=True):
        path.write_bytes(data)
        path.chmod(0o600)
    return paths


def _certificate(name: str, issuer: str, key: Any, by: Any, now: datetime, days: tuple[float, float]) -> bytes:
    root = name == issuer

    def named(text: str) -> x509.Name:
        pairs = ((NameOID.ORGANIZATION_NAME, "tests"), (NameOID.COMMON_NAME, text))
        return x509.Name([x509.NameAttribute(oid, value) for oid, value in pairs])

    builder = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(root, None), True)
        .add_extension(x509.KeyUsage(not root, False, False, False, False, root, root, False, False), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), False)
    )
    if not root:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
    return builder.sign(by, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
