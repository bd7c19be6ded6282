"""Merkle trees over digests, as in RFC 6962 (section 2.1), with proofs that a digest is among them.

Letters: d a leaf's data, n the number of leaves, k the largest power of two below n.

    MTH([])  = SHA-256("")
    MTH([d]) = SHA-256(0x00 || d)
    MTH(D)   = SHA-256(0x01 || MTH(D[:k]) || MTH(D[k:]))
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

ALGORITHM = "RFC 6962 Merkle tree, SHA-256, over the sorted SHA-256 of the photos' bytes"


def leaf_hash(data: bytes) -> bytes:
    """Returns the hash of a leaf; its first byte keeps a leaf from passing for a node."""
    return hashlib.sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Returns the hash of a node of two others."""
    return hashlib.sha256(b"\1" + left + right).digest()


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Returns the root, 32 bytes, of the leaves in their order; O(n) time, O(log n) memory."""
    whole: list[tuple[int, bytes]] = []  # Roots of complete trees, the largest first: (leaves, root).
    for data in leaves:
        size, root = 1, leaf_hash(data)
        while whole and whole[-1][0] == size:
            root, size = node_hash(whole.pop()[1], root), 2 * size
        whole.append((size, root))
    if not whole:
        return hashlib.sha256(b"").digest()
    root = whole.pop()[1]
    while whole:
        root = node_hash(whole.pop()[1], root)
    return root


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Returns the audit path of a leaf: the hashes beside its way to the root, the lowest first.

    Args:
        leaves: all of them.
        index: which, 0 to n - 1.

    Raises:
        IndexError: there is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise IndexError(f"there is no leaf {index} among {len(leaves)}")
    path: list[bytes] = []
    start, end = 0, len(leaves)
    while end - start > 1:
        k = 1 << ((end - start - 1).bit_length() - 1)
        if index < start + k:
            path.append(merkle_root(leaves[start + k : end]))
            end = start + k
        else:
            path.append(merkle_root(leaves[start : start + k]))
            start += k
    return path[::-1]


def verify_inclusion(root: bytes, size: int, index: int, data: bytes, path: Sequence[bytes]) -> bool:
    """Returns whether `path` proves that `data` is leaf `index` of the `size` leaves under `root`.

    Source: RFC 9162, section 2.1.3.2. What is malformed is no proof; nothing is raised.
    """
    if not 0 <= index < size:
        return False
    at, last, hashed = index, size - 1, leaf_hash(data)
    for beside in path:
        if last == 0:
            return False
        if at & 1 or at == last:
            hashed = node_hash(beside, hashed)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            hashed = node_hash(hashed, beside)
        at, last = at >> 1, last >> 1
    return last == 0 and hashed == root
