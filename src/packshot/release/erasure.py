"""The certificate of an erasure: what was asked and done, signed, and chained into the audit log.

The file holds `body`, `signature` (algorithm, value, chain), and nothing else. The audit log has an entry with the
SHA-256 of the body; the signature is over the same bytes: the body as JSON with sorted keys and no spaces.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from packshot.core.errors import PackshotError
from packshot.core.files import read_json
from packshot.release.credentials import load_credentials
from packshot.release.detached import Trust, check_detached, sign_detached
from packshot.release.register import add_event, read_audit, verify_audit

KIND, VERSION = "packshot-erasure", 1
SCRYPT = {"n": 2**14, "r": 8, "p": 1}


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What a certificate is worth.

    Attributes:
        body: what it says.
        trust: of the signature.
        signer: name in the signer's certificate; of an invalid one what is wrong.
        audit: number of its entry in the audit log of this machine; None: there is none.
        audit_problem: why the log itself does not hold together; None: it does.
    """

    body: Mapping[str, Any]
    trust: Trust
    signer: str
    audit: int | None
    audit_problem: str | None


def hash_person(name: str, salt: bytes) -> str:
    """Returns what a certificate says in place of a person's name: scrypt of it, without case and outer spaces.

    Who knows the name can check it. Who does not has to guess, at about 16 MiB and 50 ms a guess.
    """
    return hashlib.scrypt(name.strip().casefold().encode(), salt=salt, dklen=32, **SCRYPT).hex()


def canonical(body: Mapping[str, Any]) -> bytes:
    """Returns the bytes that are signed and hashed."""
    return json.dumps(body, sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode()


def certify(body: Mapping[str, Any]) -> dict[str, Any]:
    """Signs a body and enters it in the audit log; returns the certificate.

    A body that is in the log already (a command that was cut off) is not entered again.

    Raises:
        PackshotError: it cannot be signed, or the register cannot be written.
    """
    data, credentials = canonical(body), load_credentials()
    signature = sign_detached(data, credentials)
    digest = hashlib.sha256(data).hexdigest()
    if _entry(digest) is None:
        add_event({"event": "erase", "certificate": digest, "photos": list(body["asked"]["photos"])})
    return {
        "body": dict(body),
        "signature": {
            "algorithm": credentials.algorithm,
            "value": base64.b64encode(signature).decode(),
            "chain": credentials.chain.decode("ascii"),
        },
    }


def check_certificate(path: Path) -> Checked:
    """Checks signature and audit entry of a certificate.

    Raises:
        PackshotError: it is no certificate of an erasure.
    """
    whole = read_json(path)
    try:
        body, signed = whole["body"], whole["signature"]
        if body["kind"] != KIND or body["version"] != VERSION:
            raise ValueError("of another kind or version")
        data, time = canonical(body), datetime.fromisoformat(body["finished"])
        value, chain = base64.b64decode(signed["value"]), str(signed["chain"]).encode()
        algorithm = str(signed["algorithm"])
        if time.tzinfo is None:
            raise ValueError("its time has no zone")
    except (KeyError, TypeError, ValueError) as e:
        raise PackshotError(f"{path} is no certificate of an erasure by this version of Packshot ({e}).") from e
    trust, signer = check_detached(data, value, algorithm, chain, time)
    problem = None
    try:
        verify_audit(read_audit())
    except PackshotError as e:
        problem = str(e)
    return Checked(
        body=body, trust=trust, signer=signer, audit=_entry(hashlib.sha256(data).hexdigest()), audit_problem=problem
    )


def is_certificate(path: Path) -> bool:
    """Returns whether a file is a certificate whose signature is intact; such a one may name checksums."""
    if path.suffix != ".json" or path.stat().st_size > 2**26:
        return False
    try:
        return check_certificate(path).trust != "invalid"
    except PackshotError:
        return False


def _entry(digest: str) -> int | None:
    return next(
        (
            line.number
            for line in read_audit()
            if line.event.get("event") == "erase" and line.event.get("certificate") == digest
        ),
        None,
    )
