"""Exact and near duplicates among photos, from their fingerprints.

Near duplicates are the same photo again: packed anew, resized, a little brighter, with a little less contrast or a
hair's breadth cropped. Two photos of one product, or of its colour variants, are not meant.

1.  Candidates: dHash differs in at most 4 of 64 bits. The bits are cut into 6 bands; 4 differences leave at least 2
    bands untouched, so sorting by each of the 15 pairs of bands brings every candidate together (pigeonhole).
2.  Check, with a and b the 16 x 16 grey thumbs, m their means, s their standard deviations, a' and b' the thumbs less
    their means and scaled to the common deviation sqrt(s_a s_b):
        |m_a - m_b| <= 8                          brightness
        (s + 1) ratio <= 1.12                     contrast
        mean |a' - b'| <= min(3, 0.5 + s / 10)    shape; stricter for flat pictures
        max |a' - b'| <= 24                       no part differs: another print on the same shirt does
        max |colour_a - colour_b| <= 20           no part has another colour

The thresholds were set by eye on Fashion-MNIST and on photos by private sellers, so that what they join is one photo.
3.  Groups: connected pairs (union-find). The thresholds are strict, so that groups do not grow into chains.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]
Index = npt.NDArray[np.int64]
Figures = npt.NDArray[np.float32]

MAX_BITS = 4
EDGES = (0, 11, 22, 33, 44, 54, 64)
BRIGHTNESS, CONTRAST, SHAPE, PART, COLOUR = 8.0, 1.12, 3.0, 24.0, 20
REACH = 4096
"""Neighbours that a photo is compared with per pair of bands, at most: it bounds the time for a catalogue that is
nearly all alike, where a photo still meets its group through its next neighbours."""

BLOCK = 2**12
PROBE = [row * 16 + (5 * row + 3) % 16 for row in range(16)]
"""One pixel of each row of a thumb, all in different columns."""


class Rows(Protocol):
    """An array [N, K] of uint8, or what reads its rows from a file."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Bytes: ...


def exact_groups(hashes: Words) -> Index:
    """Returns, for each photo, the number of the first photo with the same pixels (its own, where it is the first).

    Args:
        hashes: [N, 2] uint64, the pixel hashes.
    """
    _, first, inverse = np.unique(hashes, axis=0, return_index=True, return_inverse=True)
    return np.asarray(first, np.int64)[np.asarray(inverse).reshape(-1)]


def near_pairs(dhash: Words, grey: Rows, colour: Rows) -> Iterator[Index]:
    """Yields pairs of near duplicates, each once, as [M, 2] arrays of photo numbers.

    Args:
        dhash: [N] uint64.
        grey: [N, 256] uint8.
        colour: [N, 192] uint8.
    """
    mean, deviation, probe = _statistics(grey)
    for pairs in _candidates(dhash, mean, deviation):
        for start in range(0, len(pairs), BLOCK):
            block = pairs[start : start + BLOCK]
            block = block[_differences(block, probe, mean, deviation)[0].max(axis=1) <= PART]
            block = block[is_near(block, grey, colour, mean, deviation)]
            if len(block):
                yield block


def is_near(pairs: Index, grey: Rows, colour: Rows, mean: Figures, deviation: Figures) -> npt.NDArray[np.bool_]:
    """Returns which pairs pass the check (step 2 above).

    Args:
        pairs: [M, 2] photo numbers.
        grey: [N, 256] uint8.
        colour: [N, 192] uint8.
        mean: [N], of the grey thumbs.
        deviation: [N], of the grey thumbs.
    """
    left, right = pairs[:, 0], pairs[:, 1]
    good = np.abs(mean[left] - mean[right]) <= BRIGHTNESS
    wide, narrow = deviation[left] + 1, deviation[right] + 1
    good &= np.maximum(wide, narrow) <= CONTRAST * np.minimum(wide, narrow)
    left, right = left[good], right[good]
    difference, common = _differences(np.stack([left, right], axis=1), grey, mean, deviation)
    near = difference.mean(axis=1) <= np.minimum(SHAPE, 0.5 + common / 10)
    near &= difference.max(axis=1) <= PART
    near &= np.abs(colour[left].astype(np.int16) - colour[right]).max(axis=1) <= COLOUR
    good[good] = near
    return np.asarray(good, np.bool_)


def _differences(pairs: Index, grey: Rows, mean: Figures, deviation: Figures) -> tuple[Figures, Figures]:
    """Returns |a' - b'| [M, K] for the K pixels of `grey` [N, K], and the common deviation [M]."""
    left, right = pairs[:, 0], pairs[:, 1]
    spread = [np.maximum(deviation[side], 1e-3) for side in (left, right)]
    common = np.sqrt(spread[0] * spread[1])
    scaled = [
        (grey[side].astype(np.float32) - mean[side, None]) * (common / own)[:, None]
        for side, own in zip((left, right), spread, strict=True)
    ]
    return np.abs(scaled[0] - scaled[1]), common


def group(count: int, pairs: Iterator[Index]) -> Index:
    """Returns, for each of `count` things, the lowest number among those that pairs connect it with."""
    parent = np.arange(count, dtype=np.int64)

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = int(parent[i])
        return i

    for block in pairs:
        for a, b in block.tolist():
            low, high = sorted((root(a), root(b)))
            parent[high] = low
    while True:
        above = parent[parent]
        if np.array_equal(above, parent):
            return parent
        parent = above


def _statistics(grey: Rows) -> tuple[Figures, Figures, Bytes]:
    """Returns mean and standard deviation of each thumb, and a few of its pixels.

    Those few, held in memory, refuse most candidates before whole thumbs are fetched.
    """
    mean, deviation = np.empty(len(grey), np.float32), np.empty(len(grey), np.float32)
    probe = np.empty((len(grey), len(PROBE)), np.uint8)
    for start in range(0, len(grey), BLOCK):
        here = slice(start, start + BLOCK)
        block = grey[here]
        probe[here] = block[:, PROBE]
        wide = block.astype(np.float32)
        mean[here], deviation[here] = wide.mean(axis=1), wide.std(axis=1)
    return mean, deviation, probe


def _candidates(dhash: Words, mean: Figures, deviation: Figures) -> Iterator[Index]:
    """Yields the pairs that differ in at most 4 bits and pass the checks of brightness and contrast, each once."""
    masks = [np.uint64((1 << high) - (1 << low)) for low, high in pairwise(EDGES)]
    contrast = np.log(deviation + 1)
    limit = np.float32(np.log(CONTRAST) + 1e-6)
    for i, j in combinations(range(len(masks)), 2):
        both = masks[i] | masks[j]
        order = np.lexsort((mean, dhash & both))
        bits, level, spread = dhash[order], mean[order], contrast[order]
        # A pair is taken where its first two untouched bands are i and j, so that it comes once.
        earlier = [masks[k] for k in range(j) if k != i]
        active = np.arange(len(order) - 1)
        for step in range(1, REACH + 1):
            active = active[: np.searchsorted(active, len(order) - step)]
            # Sorted by brightness within equal bands: whoever is out of reach now is out of reach for good.
            active = active[
                ((bits[active] ^ bits[active + step]) & both == 0)
                & (level[active + step] - level[active] <= BRIGHTNESS)
            ]
            if not len(active):
                break
            other = bits[active] ^ bits[active + step]
            good = np.bitwise_count(other) <= MAX_BITS
            good &= np.abs(spread[active] - spread[active + step]) <= limit
            for mask in earlier:
                good &= other & mask != 0
            found = active[good]
            if len(found):
                yield np.sort(np.stack([order[found], order[found + step]], axis=1), axis=1)
