"""Fingerprints that tell equal and nearly equal photos.

pixel hash  128 bits over height, width, channels and pixels: equal for equal pictures, however they were packed.
dHash       64 bits: is a pixel brighter than its left neighbour, in 9 x 8 grey pixels. Re-encoding and resizing
            change few of them. N. Krawetz, "Kind of Like That", 2013.
thumb       16 x 16 grey pixels, each the mean of its part of the picture; and 8 x 8 x 3 in colour: what a candidate
            found by dHash is checked with.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

BLOCK_WORDS = 2**13


def hash_pixels(pixels: Pixels) -> str:
    """Returns 32 hex digits that are equal for equal pictures.

    SHA-256 over all pixels would take as long as decoding a JPEG, so blocks of 64 KiB are first reduced to a sum of
    products with fixed odd weights, modulo 2^64 (multilinear hashing; D. Lemire, O. Kaser, "Strongly universal string
    hashing is fast", 2014), each word folded first, since high bits alone would meet few bits of their weight. It is
    no defence against somebody who makes two pictures collide on purpose.

    Args:
        pixels: [H, W] or [H, W, C] uint8.
    """
    flat = np.ascontiguousarray(pixels).reshape(-1)
    digest = hashlib.sha256(repr(pixels.shape).encode())
    whole = len(flat) // 8 * 8
    digest.update(flat[whole:].data)
    words = flat[:whole].view("<u8")
    for start in range(0, len(words), BLOCK_WORDS):
        block = words[start : start + BLOCK_WORDS]
        folded = block >> np.uint64(32)
        folded ^= block
        # einsum multiplies and adds in one pass, which is twice as fast as two.
        digest.update(int(np.einsum("i,i", folded, _weights()[: len(block)])).to_bytes(8, "big"))
    return digest.hexdigest()[:32]


@lru_cache(maxsize=1)
def _weights() -> npt.NDArray[np.uint64]:
    """Returns [BLOCK_WORDS] odd numbers, the same everywhere and always: PCG64's raw stream is fixed."""
    return np.random.PCG64(0).random_raw(BLOCK_WORDS) | np.uint64(1)


def words_of(texts: list[str]) -> npt.NDArray[np.uint64]:
    """Returns fingerprints in hex digits as uint64, one for each 16 digits."""
    return np.frombuffer(bytes.fromhex("".join(texts)), ">u8").astype(np.uint64)


def colour_thumb(picture: Image.Image) -> bytes:
    """Returns the colour thumb of a picture in mode RGB or L: 192 bytes, row by row, RGB.

    Each of its 8 x 8 means is over 64 evenly spread pixels: enough for colour, and the same time for any size.
    """
    thumb = picture.resize((64, 64), Image.Resampling.NEAREST).reduce(8)
    return (thumb if thumb.mode == "RGB" else thumb.convert("RGB")).tobytes()


def fingerprint_grey(stack: Pixels) -> tuple[list[str], list[bytes]]:
    """Returns the dHash and the grey thumb of each picture.

    Args:
        stack: [N, h, w] uint8.

    Returns:
        N times 16 hex digits; N times 256 bytes, row by row.
    """
    height, width = stack.shape[1:]
    means = _box(height, (16,)) @ stack.astype(np.float32) @ _box(width, (9, 16)).T
    thumbs = np.rint(means[:, :, 9:]).astype(np.uint8)
    steps = means[:, 0::2, :9] + means[:, 1::2, :9]
    # Rounded first: equal greys may differ in their last bit after a product of matrices.
    steps = np.rint(steps * 8)
    bits = np.packbits((steps[:, :, 1:] > steps[:, :, :-1]).reshape(len(stack), 64), axis=1)
    return [b.tobytes().hex() for b in bits], [t.tobytes() for t in thumbs]


@lru_cache(maxsize=1024)
def _box(size: int, parts: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Returns [sum of parts, size]: for each number of parts, the matrix that takes means over equal parts."""
    rows = []
    for count in parts:
        edges = np.arange(count + 1) * (size / count)
        pixels = np.arange(size)
        share = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
        rows.append(np.clip(share, 0, 1) * (count / size))
    return np.concatenate(rows).astype(np.float32)
