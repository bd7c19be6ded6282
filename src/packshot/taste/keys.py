"""Shoppers' pseudonyms: HMAC-SHA256 of their ids under a key that lies in the user's folder, never in a store."""

import hmac
import os
import secrets
from pathlib import Path

from packshot.core.errors import PackshotError
from packshot.core.files import check_file, disk_errors
from packshot.core.home import home

LEAST = 16
DIGITS = 32
"""Hex digits of a pseudonym: 128 bits, so that two of a thousand million shoppers meet with odds of 1 in 10^20."""


def key_path() -> Path:
    """Returns where the key lies unless another is named."""
    return home() / "taste.key"


def read_key(path: Path | None = None, *, make: bool = False) -> bytes:
    """Returns the key.

    Args:
        path: a file of at least 16 bytes; None: the one in the user's folder.
        make: draw one if there is none in the user's folder, readable by its owner alone.

    Raises:
        UsageError: there is no such file.
        PackshotError: the file is too short, or the disk refuses.
    """
    own = path or key_path()
    with disk_errors(own):
        if path is None and make and not own.exists():
            own.parent.mkdir(parents=True, exist_ok=True)
            try:
                with os.fdopen(os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as f:
                    f.write(secrets.token_hex(32) + "\n")
            except FileExistsError:
                pass  # Another process was first; its key is ours too.
        check_file(own)
        key = own.read_bytes().strip()
    if len(key) < LEAST:
        raise PackshotError(f"The key {own} has {len(key)} bytes; it needs at least {LEAST}, best 32 random ones.")
    return key


def pseudonym(key: bytes, user: str) -> str:
    """Returns the pseudonym of a shopper's id: 32 hex digits."""
    return hmac.digest(key, user.encode(), "sha256").hex()[:DIGITS]


def key_check(key: bytes) -> str:
    """Returns what tells two keys apart and says nothing of either, for a store to notice that the key is another."""
    return hmac.digest(key, b"packshot: which key is this?", "sha256").hex()[:16]
