"""Rectangles of a picture in which something was found, and what can be done with them.

Letters: H, W height and width of the picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Region:
    """A rectangle of whole pixels inside a picture.

    Attributes:
        kind: what was found there, for example "face".
        x: of its left column.
        y: of its top row.
        width: in pixels, 1 or more.
        height: in pixels, 1 or more.
        confidence: of the detector, 0 .. 1; its meaning differs from detector to detector.
    """

    kind: str
    x: int
    y: int
    width: int
    height: int
    confidence: float = 1.0

    @classmethod
    def clipped(
        cls, kind: str, box: tuple[float, float, float, float], confidence: float, height: int, width: int
    ) -> Region | None:
        """Returns (left, top, right, bottom), in whole pixels, cut to a picture of H x W; None: it lies beside."""
        left, top = max(0, math.floor(box[0])), max(0, math.floor(box[1]))
        right, bottom = min(width, math.ceil(box[2])), min(height, math.ceil(box[3]))
        if right <= left or bottom <= top:
            return None
        return cls(kind, left, top, right - left, bottom - top, confidence)

    @property
    def area(self) -> int:
        """In pixels."""
        return self.width * self.height

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, for arrays [H, W, ...]."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)

    def shared(self, other: Region) -> int:
        """Returns how many pixels lie in both."""
        across = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        down = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        return max(0, across) * max(0, down)


def merge(regions: Sequence[Region], overlap: float) -> list[Region]:
    """Returns the surest of the regions that are one thing (non-maximum suppression), surest first.

    Args:
        regions: in any order.
        overlap: two whose intersection over union is larger are one thing, 0 .. 1.
    """
    kept: list[Region] = []
    for region in sorted(regions, key=lambda r: (-r.confidence, r.y, r.x, r.height, r.width)):
        if all(region.shared(k) <= overlap * (region.area + k.area - region.shared(k)) for k in kept):
            kept.append(region)
    return kept
