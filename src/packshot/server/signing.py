"""Signed tokens: for the cookie of a browser that logged in, and for links that open one thing to strangers.

A token says what it is for and until when, in the open, and an HMAC-SHA256 under the studio's own secret vouches for
it. The secret lies in the studio's folder, readable by its owner alone; several servers of one studio share the folder
or the file.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import secrets
import time
from pathlib import Path
from typing import Any

from packshot.core.errors import PackshotError
from packshot.core.files import disk_errors

SECRET_FILE = "signing.key"
LONGEST = 4096


class Signer:
    """Makes and reads tokens.

    Args:
        folder: the studio's; the secret is made there where there is none.

    Raises:
        PackshotError: the secret can neither be read nor made.
    """

    def __init__(self, folder: Path) -> None:
        self._secret = own_secret(folder / SECRET_FILE)

    def sign(self, purpose: str, value: Any, seconds: float) -> str:
        """Returns a token for one purpose that is good for so long.

        Args:
            purpose: what it is for; a token for another purpose is not read.
            value: JSON values that it holds, for all to see.
            seconds: how long it is good.
        """
        body = _encode(json.dumps([int(time.time() + seconds), value], separators=(",", ":")).encode())
        return f"{body}.{_encode(self._mac(purpose, body))}"

    def read(self, purpose: str, token: str) -> Any | None:
        """Returns the value of a token; None: it is none of ours, for something else, or no longer good."""
        body, dot, mac = token.partition(".")
        if not dot or len(token) > LONGEST or not token.isascii():
            return None
        if not hmac.compare_digest(_encode(self._mac(purpose, body)), mac):
            return None
        until, value = json.loads(_decode(body))
        return value if time.time() < until else None

    def _mac(self, purpose: str, body: str) -> bytes:
        return hmac.new(self._secret, f"{purpose}\0{body}".encode(), hashlib.sha256).digest()


def own_secret(path: Path) -> bytes:
    """Returns the secret in a file, which is made where there is none."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            # Whoever is first makes it; the others read that one. A link is whole or not there.
            temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
            try:
                descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "wb") as f:
                    f.write(secrets.token_bytes(32))
                    f.flush()
                    os.fsync(f.fileno())
                with contextlib.suppress(FileExistsError):
                    path.hardlink_to(temporary)
            finally:
                temporary.unlink(missing_ok=True)
        data = path.read_bytes()
    if len(data) < 32:
        raise PackshotError(f"{path} is damaged; remove it: a new one is made, and all have to log in again.")
    return data


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
