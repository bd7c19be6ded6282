"""Which photos are for training and which for testing, so that no photo of a product is on both sides."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from packshot.catalog.duplicates import Index, group

NONE, TRAIN, TEST = 0, 1, 2
NAMES = (None, "train", "test")

OF_TEST = "duplicate of a test photo"
REPEATED = "exact duplicate of a photo before it"
COPY = "generated picture that copies a photo"
FOR_TEST = "generated picture in a test split"
REASONS = (None, OF_TEST, REPEATED, COPY, FOR_TEST)
"""Why a photo that stays in the catalogue is kept out of training and test sets."""

Codes = npt.NDArray[np.int8]


def keep_published(given: Codes, near: Index) -> tuple[Codes, Codes]:
    """Returns the split that the source states, with the training photos taken out that show a test photo.

    Args:
        given: [N], NONE (becomes train), TRAIN or TEST.
        near: [N], the group of duplicates that each photo is in.

    Returns:
        The splits, and numbers into `REASONS`. The test split stays whole.
    """
    split = np.where(given == NONE, TRAIN, given).astype(np.int8)
    tested = np.zeros(len(near), bool)
    tested[near[split == TEST]] = True
    return split, np.where((split == TRAIN) & tested[near], 1, 0).astype(np.int8)


def make_split(
    near: Index,
    product: npt.NDArray[np.uint64],
    category: Index,
    names: npt.NDArray[np.uint64],
    share: float,
    seed: int,
) -> Codes:
    """Returns a split by chance: by category, whole groups of duplicates and whole products to one side.

    Within a category, groups go to the test side in the order of a hash of (seed, their first photo's id) until its
    share is reached; what a category is short of, or a group too large for it, is made up for in the next category.

    Args:
        near: [N], the group of duplicates that each photo is in.
        product: [N], a hash of its product; 0: none given.
        category: [N], number of its category.
        names: [N], the photos' ids.
        share: of photos for testing, [0, 0.5].
        seed: chooses which.
    """
    unit = group(len(near), _same_unit(near, product))
    split = np.full(len(near), TRAIN, np.int8)
    firsts, sizes = np.unique(unit, return_counts=True)
    rank = np.array([_rank(seed, int(names[u])) for u in firsts], np.uint64)
    chosen = []
    owed = 0.0
    for number in np.unique(category[firsts]) if share > 0 else ():
        members = np.flatnonzero(category[firsts] == number)
        owed += share * float(sizes[members].sum())
        for m in members[np.argsort(rank[members], kind="stable")]:
            if sizes[m] <= owed + 0.5:
                chosen.append(firsts[m])
                owed -= float(sizes[m])
            if owed < 0.5:
                break
    split[np.isin(unit, chosen)] = TEST
    return split


def leave_out_generated(excluded: Codes, given: Codes, near: Index, generated: npt.NDArray[np.bool_]) -> Codes:
    """Returns `excluded` with the generated pictures that copy a photo, and those that were meant for testing.

    Args:
        excluded: [N], numbers into `REASONS`.
        given: [N], the split that the source states. Generated pictures are for training, whatever it says.
        near: [N], the group of duplicates that each picture is in.
        generated: [N], which are no photos.
    """
    photographed = np.zeros(len(near), bool)
    photographed[near[~generated]] = True
    out = np.where(generated & (given == TEST), REASONS.index(FOR_TEST), excluded)
    return np.where(generated & photographed[near], REASONS.index(COPY), out).astype(np.int8)


def leave_out_repeated(excluded: Codes, split: Codes, exact: Index, *, also_test: bool) -> Codes:
    """Returns `excluded` with all but the first of equal photos taken out too.

    Args:
        excluded: [N], numbers into `REASONS`; photos out already do not count as the first.
        split: [N].
        exact: [N], the first photo with the same pixels.
        also_test: take them out of the test split too; a published one stays whole.
    """
    out = excluded.copy()
    for side in (TRAIN, TEST) if also_test else (TRAIN,):
        inside = np.flatnonzero((split == side) & (excluded == 0))
        _, first = np.unique(exact[inside], return_index=True)
        repeated = np.ones(len(inside), bool)
        repeated[first] = False
        out[inside[repeated]] = 2
    return out


def _same_unit(near: Index, product: npt.NDArray[np.uint64]) -> Iterator[Index]:
    yield np.stack([near, np.arange(len(near))], axis=1)[near != np.arange(len(near))]
    order = np.argsort(product, kind="stable")
    same = (product[order][1:] == product[order][:-1]) & (product[order][1:] != 0)
    yield np.stack([order[:-1][same], order[1:][same]], axis=1)


def _rank(seed: int, name: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}:{name:016x}".encode(), digest_size=8).digest(), "big")
