"""Who signs: a certificate chain and its key, made here for development or brought along.

A development chain is one that nobody but this machine trusts: what it signs reads as "valid, signer not trusted".
The rules for a chain are those of C2PA 2.2, section 14.5: ES256, no self-signed leaf, keyUsage digitalSignature.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import stat
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packshot.core.errors import PackshotError
from packshot.core.files import disk_errors
from packshot.core.home import home

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

CHAIN, KEY, ANCHOR = "chain.pem", "key.pem", "ca.pem"
LEAF_DAYS, ANCHOR_DAYS = 825, 3650
SECONDS_TO_SIGN = 60


@dataclass(frozen=True)
class Credentials:
    """What signs a picture.

    Attributes:
        chain: PEM, the signer's certificate first.
        key: PEM (PKCS #8) of its private key; None: `command` signs.
        anchor: PEM of a certificate that this machine trusts on top of others; None: none.
        algorithm: as C2PA names it: es256, es384, es512, ps256 or ed25519.
        command: a program that signs: the bytes to sign on its standard input, the raw signature on its output.
        time_stamp: address of a time stamp authority (RFC 3161); None: no time stamp.
        development: whether the chain was made here.
        signer: the name in the certificate.
        since: when the certificate begins.
        until: when the certificate ends.
        files: where chain, key and anchor lie, those that there are.
    """

    chain: bytes
    key: bytes | None
    anchor: bytes | None
    algorithm: str
    command: str | None
    time_stamp: str | None
    development: bool
    signer: str
    since: datetime
    until: datetime
    files: tuple[Path, ...]

    def sign_bytes(self, data: bytes) -> bytes:
        """Returns the raw signature of the program that signs.

        Raises:
            PackshotError: there is none, or it failed.
        """
        assert self.command is not None
        failed = f"The signing program ({self.program}) failed"
        try:
            done = subprocess.run(shlex.split(self.command), input=data, capture_output=True, timeout=SECONDS_TO_SIGN)
        except (OSError, ValueError, subprocess.SubprocessError) as e:
            why = e.strerror if isinstance(e, OSError) else type(e).__name__
            raise PackshotError(f"{failed}: {why}; nothing was released.") from e
        if done.returncode or not done.stdout:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["it wrote no signature"]
            raise PackshotError(f"{failed} (exit code {done.returncode}): {said[0][:200]}; nothing was released.")
        return done.stdout

    @property
    def program(self) -> str | None:
        """The program that signs, without its arguments, which may hold a PIN; None: a key signs."""
        return None if self.command is None else next(iter(self.command.split()), "")


def credentials_folder() -> Path:
    """Returns where this machine's own credentials lie."""
    return home() / "credentials"


def init_credentials(organisation: str = "Packshot development", *, overwrite: bool = False) -> Path:
    """Makes a development chain: a root, a signer under it, and the signer's key, which only its owner may read.

    Returns:
        The folder with chain.pem, key.pem and ca.pem.

    Raises:
        PackshotError: there is one already, or the disk refuses.
    """
    folder = credentials_folder()
    if folder.exists() and not overwrite:
        raise PackshotError(f"There are credentials in {folder} already; add --overwrite to replace them.")
    files = _development_chain(organisation)
    # Made aside and moved whole: two first releases at once end with one chain.
    aside = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    with disk_errors(folder):
        try:
            aside.mkdir(parents=True, mode=0o700)
            for name, data in files.items():
                with os.fdopen(os.open(aside / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as f:
                    f.write(data)
            if overwrite and folder.exists():
                old = folder.with_name(f"{folder.name}.{datetime.now(UTC):%Y%m%dT%H%M%S}.{secrets.token_hex(2)}")
                folder.rename(old)  # What it signed stays verifiable: its root may still be wanted.
            try:
                aside.rename(folder)
            except OSError:
                if not (folder / CHAIN).is_file():
                    raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return folder


def named_credentials() -> bool:
    """Returns whether the environment names what signs, in place of this machine's own chain."""
    return any(os.environ.get(name) for name in ("PACKSHOT_CERT", "PACKSHOT_KEY", "PACKSHOT_SIGNER"))


def load_credentials() -> Credentials:
    """Returns what signs now: the chain named by the environment, else this machine's own, made if need be.

    PACKSHOT_CERT and PACKSHOT_KEY name a chain and a key (the options --cert and --key set them), PACKSHOT_SIGNER a
    program that signs in place of a key (a card, a remote service), PACKSHOT_TSA a time stamp authority.

    Raises:
        PackshotError: a file is missing or is not what it should be, the key may be read by others, or the
            certificate has ended.
    """
    env = os.environ
    cert, key, command = env.get("PACKSHOT_CERT"), env.get("PACKSHOT_KEY"), env.get("PACKSHOT_SIGNER")
    tsa = env.get("PACKSHOT_TSA") or None
    if cert:
        if not key and not command:
            raise PackshotError("A certificate needs its key: give --key FILE, or --signer COMMAND.")
        if key and command:
            raise PackshotError("Give --key FILE or --signer COMMAND (PACKSHOT_KEY, PACKSHOT_SIGNER), not both.")
        return _load(Path(cert), Path(key) if key else None, None, command or None, tsa)
    if key or command:
        raise PackshotError("A key needs its certificate: give the chain with --cert FILE.")
    folder = credentials_folder()
    with disk_errors(folder):
        there = folder.exists()
    if not there:
        try:
            init_credentials()
        except PackshotError:
            if not (folder / CHAIN).is_file():  # Else another process was faster.
                raise
    return _load(folder / CHAIN, folder / KEY, folder / ANCHOR, None, tsa)


def _load(cert: Path, key: Path | None, anchor: Path | None, command: str | None, tsa: str | None) -> Credentials:
    files = [p for p in (cert, key, anchor) if p is not None]
    with disk_errors(cert):
        for path in files:
            if not path.is_file():
                raise PackshotError(f"There is no file {path}; make credentials with: packshot credentials init")
        marks = tuple((str(p), p.stat().st_mtime_ns, p.stat().st_mode) for p in files)
    return _check_dates(_loaded(marks, cert, key, anchor, command, tsa), cert)


@lru_cache(maxsize=8)
def _loaded(
    marks: tuple[Any, ...], cert: Path, key: Path | None, anchor: Path | None, command: str | None, tsa: str | None
) -> Credentials:
    """Reads and checks the files; `marks` makes a file that changed be read again."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if key is not None and stat.S_IMODE(key.stat().st_mode) & 0o077:
        raise PackshotError(f"{key} may be read by others; do: chmod 600 {shlex.quote(str(key))}")
    with disk_errors(cert):
        chain = cert.read_bytes()
        secret = key.read_bytes() if key is not None else None
        root = anchor.read_bytes() if anchor is not None else None
    try:
        certificates = x509.load_pem_x509_certificates(chain)
    except ValueError as e:
        raise PackshotError(f"{cert} holds no certificates in PEM form.") from e
    leaf = certificates[0]
    if secret is not None:
        try:
            private = load_pem_private_key(secret, None)
        except (ValueError, TypeError) as e:
            raise PackshotError(f"{key} is no private key in PEM form without a password (PKCS #8).") from e
        if private.public_key() != leaf.public_key():
            raise PackshotError(f"{key} is not the key of the first certificate in {cert}.")
    name = _name_of(leaf)
    return Credentials(
        chain=chain,
        key=secret,
        anchor=root,
        algorithm=_algorithm(leaf, cert),
        command=command,
        time_stamp=tsa,
        development=anchor is not None,
        signer=name,
        since=leaf.not_valid_before_utc,
        until=leaf.not_valid_after_utc,
        files=tuple(path for path in (cert, key, anchor) if path is not None),
    )


def _check_dates(credentials: Credentials, cert: Path) -> Credentials:
    now = datetime.now(UTC)
    if credentials.since > now:
        raise PackshotError(f"The certificate in {cert} begins only on {credentials.since:%Y-%m-%d}.")
    if credentials.until < now:
        again = " Make new ones with: packshot credentials init --overwrite" if credentials.development else ""
        raise PackshotError(f"The certificate in {cert} ended on {credentials.until:%Y-%m-%d}.{again}")
    return credentials


def _algorithm(leaf: Certificate, cert: Path) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    key = leaf.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in (
        curves := {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
    ):
        return curves[key.curve.name]
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPublicKey):
        return "ps256"
    raise PackshotError(f"The certificate in {cert} has a kind of key that C2PA does not know; use P-256, say.")


def _name_of(leaf: Certificate) -> str:
    from cryptography.x509.oid import NameOID

    for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        if found := leaf.subject.get_attributes_for_oid(oid):
            return str(found[0].value)
    return leaf.subject.rfc4514_string()


def _development_chain(organisation: str) -> dict[str, bytes]:
    """Returns chain.pem, key.pem and ca.pem."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    start = datetime.now(UTC) - timedelta(hours=1)  # A clock that is a little slow elsewhere.
    root_key, leaf_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def named(common: str) -> x509.Name:
        pairs = ((NameOID.ORGANIZATION_NAME, organisation), (NameOID.COMMON_NAME, common))
        return x509.Name([x509.NameAttribute(oid, value) for oid, value in pairs])

    def made(who: x509.Name, key: Any, days: int, ca: bool) -> x509.CertificateBuilder:
        usage = x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False)
        return (
            x509.CertificateBuilder()
            .subject_name(who)
            .issuer_name(named(f"{organisation}, root"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca, None), True)
            .add_extension(usage, True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        )

    root = made(named(f"{organisation}, root"), root_key, ANCHOR_DAYS, True).sign(root_key, hashes.SHA256())
    leaf = (
        made(named(f"{organisation}, signer"), leaf_key, LEAF_DAYS, False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), False)
        .sign(root_key, hashes.SHA256())
    )
    anchor = root.public_bytes(Encoding.PEM)
    key = leaf_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return {CHAIN: leaf.public_bytes(Encoding.PEM) + anchor, KEY: key, ANCHOR: anchor}
