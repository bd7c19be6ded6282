"""Who did what with which product, as one sparse matrix of signed weights.

Letters: U users, I items (products).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

KINDS = ("view", "cart", "purchase", "return", "hide")
"""Kinds of events; the place of a kind here is its number in a store."""

WEIGHTS: dict[str, float] = {"view": 1.0, "cart": 3.0, "purchase": 5.0, "return": -5.0, "hide": -3.0}
"""What one event of a kind counts when it is fresh. A purchase that comes back counts nothing."""

HALF_LIFE_DAYS = 30.0
"""Days after which an event counts half."""

MOST_HALVED = 30
"""Times that an event's weight is halved: what is older happened too, and who did nothing since has a taste."""
ROUNDING = 1e-6
"""Of the weights that a cell sums up: less is zero."""


@dataclass(frozen=True, eq=False)
class Interactions:
    """Signed weights of users and items.

    Attributes:
        users: U names (pseudonyms, where they come from a store).
        items: I names of products.
        matrix: float32 [U, I]; above zero: likes; below: sent back or hidden. Cells that sum to zero are not stored.
        last: int32 [U], the item that each user was last positive about; -1: none.
    """

    users: list[str]
    items: list[str]
    matrix: csr_matrix
    last: npt.NDArray[np.int32]

    @cached_property
    def user_rows(self) -> dict[str, int]:
        """The row of each user."""
        return {name: row for row, name in enumerate(self.users)}

    @cached_property
    def item_columns(self) -> dict[str, int]:
        """The column of each item."""
        return {name: column for column, name in enumerate(self.items)}

    @cached_property
    def positive(self) -> csr_matrix:
        """The weights above zero, float32 [U, I]."""
        return _part(self.matrix, 1.0)

    @cached_property
    def negative(self) -> csr_matrix:
        """The weights below zero with their sign turned, float32 [U, I]."""
        return _part(self.matrix, -1.0)

    @cached_property
    def warm(self) -> npt.NDArray[np.bool_]:
        """Which items [I] somebody was positive about."""
        warm: npt.NDArray[np.bool_] = np.bincount(self.positive.indices, minlength=len(self.items)) > 0
        return warm


def from_events(
    users: Sequence[str],
    items: Sequence[str],
    rows: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float32],
    times: npt.NDArray[np.int64],
) -> Interactions:
    """Returns the sums of events' weights.

    Args:
        users: U names.
        items: I names.
        rows: [E] numbers into `users`.
        columns: [E] numbers into `items`.
        weights: [E] signed, as they count now.
        times: [E]; only their order counts. Of equal times the later event in the arrays is the last.
    """
    matrix = csr_matrix((weights, (rows, columns)), shape=(len(users), len(items)), dtype=np.float32)
    matrix.sum_duplicates()
    # What cancels out leaves rounding; what is small since it is old is no rounding, and it happened.
    all_of_it = csr_matrix((np.abs(weights), (rows, columns)), shape=matrix.shape, dtype=np.float32)
    all_of_it.sum_duplicates()
    matrix.data[np.abs(matrix.data) < ROUNDING * all_of_it.data] = 0
    matrix.eliminate_zeros()
    last = np.full(len(users), -1, np.int32)
    liked = np.asarray(matrix[rows, columns]).ravel() > 0 if len(rows) else np.zeros(0, bool)
    liked &= weights > 0
    order = np.flatnonzero(liked)[np.argsort(times[liked], kind="stable")]
    last[rows[order]] = columns[order]
    return Interactions(list(users), list(items), matrix, last)


def _part(matrix: csr_matrix, sign: float) -> csr_matrix:
    part = matrix.copy()
    part.data = np.maximum(sign * part.data, 0).astype(np.float32)
    part.eliminate_zeros()
    return part
