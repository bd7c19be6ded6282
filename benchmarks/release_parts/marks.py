"""The watermarks that are compared: each marks a picture with 40 bits, and reads them again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from packshot.core.errors import PackshotError
from packshot.images.resize import Pixels
from packshot.release.codes import ID_BITS
from packshot.release.watermark import NoRoom, detect, embed

OURS = "packshot"
PEERS = ("dwtDct", "dwtDctSvd")


class Mark(NamedTuple):
    """A watermark.

    Attributes:
        name: as in the tables.
        put: pixels and id in, marked pixels out; None: it has no room.
        bits: the bits that are read, bool [40]; None: it says that there are none.
    """

    name: str
    put: Callable[[Pixels, int], Pixels | None]
    bits: Callable[[Pixels], np.ndarray | None]


def id_bits(ident: int) -> np.ndarray:
    """Returns the 40 bits of an id, bool [40]."""
    return np.array([ident >> (ID_BITS - 1 - i) & 1 for i in range(ID_BITS)], bool)


def build_mark(name: str, packages: Path | None) -> Mark:
    """Returns a watermark by name.

    Raises:
        PackshotError: a peer's package is not there.
    """
    return Mark(name, _put, _read) if name == OURS else _peer(name, packages)


def _put(pixels: Pixels, ident: int) -> Pixels | None:
    try:
        return embed(pixels, ident).pixels
    except NoRoom:
        return None


def _read(pixels: Pixels) -> np.ndarray | None:
    found = detect(pixels)
    return None if found is None else id_bits(found.ident)


def _peer(name: str, packages: Path | None) -> Mark:
    if packages is not None and str(packages) not in sys.path:
        sys.path.append(str(packages))
    try:
        import cv2
        from imwatermark import WatermarkDecoder, WatermarkEncoder
    except ImportError as e:
        raise PackshotError(f"invisible-watermark is not there ({e}); benchmarks/peers/README.md says how.") from e
    cv2.setNumThreads(1)

    def put(pixels: Pixels, ident: int) -> Pixels:
        encoder = WatermarkEncoder()
        encoder.set_watermark("bits", [int(b) for b in id_bits(ident)])
        marked = encoder.encode(np.ascontiguousarray(pixels[..., ::-1]), name)
        return np.ascontiguousarray(marked[..., ::-1])

    def bits(pixels: Pixels) -> np.ndarray | None:
        if pixels.shape[0] * pixels.shape[1] < 256 * 256:  # It refuses those.
            return None
        decoder = WatermarkDecoder("bits", ID_BITS)
        return np.asarray(decoder.decode(np.ascontiguousarray(pixels[..., ::-1]), name), bool)

    return Mark(name, put, bits)
