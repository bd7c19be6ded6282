"""Whether files still hold certain words, told by somebody who need not know the words.

A word is kept as its length, 16 bits of a rolling hash, and a salted SHA-256. The rolling hash finds the few places in
a file that may hold it, the SHA-256 says which do. Who guesses a word can check the guess; who does not learns only
its length and 16 bits.

Letters: x the bytes of a file, L the length of a word, B an odd number.

    h(i) = sum over j < L of x[i + j] B^j  (mod 2^64) = B^-i (P[i + L] - P[i]),  P[i] = sum over k < i of x[k] B^k
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from packshot.core.files import disk_errors

CHUNK = 2**20
LONGEST, SHORTEST = 4096, 4
"""Bytes of a word; a shorter one would be found everywhere."""
BASE = 0x9E3779B97F4A7C15
SHIFT = np.uint64(48)


@dataclass(frozen=True, kw_only=True)
class Needle:
    """A word to look for.

    Attributes:
        length: in bytes.
        sieve: the top 16 bits of its rolling hash.
        sha256: of salt and word, hex.
        name: it is a name: only found where no letter, digit, hyphen or dot joins it on either side, nor a slash on
            its left, unless it has a slash itself.
        path: it is a name with a slash.
    """

    length: int
    sieve: int
    sha256: str
    name: bool = False
    path: bool = False

    @classmethod
    def of(cls, word: bytes, salt: bytes, *, name: bool = False) -> Needle:
        """Returns the needle of a word.

        Raises:
            ValueError: it is shorter than `SHORTEST` or longer than `LONGEST`.
        """
        if not SHORTEST <= len(word) <= LONGEST:
            raise ValueError(f"a word of {len(word)} bytes cannot be looked for")
        sieve = int(_rolling(np.frombuffer(word, np.uint8), len(word))[0])
        return cls(
            length=len(word),
            sieve=sieve,
            sha256=hashlib.sha256(salt + word).hexdigest(),
            name=name,
            path=name and b"/" in word,
        )

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Needle:
        """Returns what `vars` of a needle held."""
        return cls(**{name: row[name] for name in cls.__dataclass_fields__})


def spellings(text: str) -> set[bytes]:
    """Returns how Packshot's files write a text: UTF-8, and JSON's escapes; what is too short is left out."""
    plain = text.encode("utf-8", "surrogateescape")
    escaped = json.dumps(text)[1:-1].encode()
    unescaped = json.dumps(text, ensure_ascii=False)[1:-1].encode("utf-8", "surrogateescape")
    return {word for word in (plain, escaped, unescaped) if SHORTEST <= len(word) <= LONGEST}


def find_needles(path: Path, needles: Iterable[Needle], salt: bytes) -> set[Needle]:
    """Returns which of the needles a file holds; memory stays flat.

    Raises:
        PackshotError: it cannot be read.
    """
    groups: dict[int, dict[str, list[Needle]]] = {}
    for needle in needles:
        groups.setdefault(needle.length, {}).setdefault(needle.sha256, []).append(needle)
    if not groups:
        return set()
    found: set[Needle] = set()
    for data, start, end in _windows(path, max(groups) + 1):
        for length, known in groups.items():
            for at in _candidates(data, length, known):
                hashed = hashlib.sha256(salt + data[at : at + length]).hexdigest()
                found.update(n for n in known.get(hashed, ()) if _stands_alone(n, data, at, start, end))
    return found


def _windows(path: Path, overlap: int) -> Iterator[tuple[bytes, bool, bool]]:
    """Yields a file in pieces that overlap, and whether each holds its start and its end."""
    with disk_errors(path), path.open("rb") as f:
        tail, start = b"", True
        while True:
            read = f.read(CHUNK)
            data = tail + read
            yield data, start, not read
            if not read:
                return
            if len(data) > overlap:
                tail, start = data[-overlap:], False
            else:
                tail = data


def _candidates(data: bytes, length: int, known: Mapping[str, list[Needle]]) -> list[int]:
    if len(data) < length:
        return []
    wanted = np.zeros(2**16, bool)
    wanted[[n.sieve for group in known.values() for n in group]] = True
    places: list[int] = np.flatnonzero(wanted[_rolling(np.frombuffer(data, np.uint8), length)]).tolist()
    return places


def _stands_alone(needle: Needle, data: bytes, at: int, start: bool, end: bool) -> bool:
    if not needle.name:
        return True
    after = at + needle.length
    if (at == 0 and not start) or (after == len(data) and not end):
        return False  # The neighbour is not in this piece; the word is whole in the next one, or was in the last.
    before = data[at - 1 : at] if at else b""
    return not (_joins(before, slash=not needle.path) or _joins(data[after : after + 1], slash=True))


def _joins(byte: bytes, *, slash: bool) -> bool:
    return byte.isalnum() or byte in (b"_", b"-", b".") or (slash and byte == b"/") or byte >= b"\x80"


def _rolling(x: npt.NDArray[np.uint8], length: int) -> npt.NDArray[np.uint64]:
    """Returns the top 16 bits of the hash of every window."""
    powers, inverse = _powers()
    sums = np.zeros(len(x) + 1, np.uint64)
    np.cumsum(x * powers[: len(x)], out=sums[1:])
    windows = sums[length:] - sums[: len(sums) - length]
    windows *= inverse[: len(windows)]
    return windows >> SHIFT


@lru_cache(maxsize=1)
def _powers() -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Returns the powers of B and of its inverse modulo 2^64, as many as a piece has bytes."""
    count = CHUNK + LONGEST + 2
    out = []
    for base in (BASE, pow(BASE, -1, 2**64)):
        table = np.full(count, base, np.uint64)
        table[0] = 1
        out.append(np.cumprod(table, dtype=np.uint64))
    return out[0], out[1]
