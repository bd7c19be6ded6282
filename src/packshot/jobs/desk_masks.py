"""What the desk's processes are asked about masks: damage and marks that may be repainted, and painted masks to size.

Letters: h, w the size at which a page paints; H, W the photo's.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from packshot.core.errors import PackshotError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from packshot.jobs.settings import Limits

    Mask = npt.NDArray[np.bool_]

MOST_PIECES = 250
"""Suggestions of one photo; the smallest of more are left out."""
SIZE_FROM = 128
"""The level from which a painted pixel counts."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Something that may be repainted.

    Attributes:
        kind: "dust", "scratch", "stain", "hole", "block" or "text".
        box: left, top, width, height, as shares of the photo.
        sure: whether `repair --auto` would repaint it without a person's word; of a text, never.
    """

    kind: str
    box: tuple[float, float, float, float]
    sure: bool


@dataclass(frozen=True, kw_only=True)
class Suggestions:
    """What was found in a photo.

    Attributes:
        pieces: the largest first.
        map: PNG [h, w], grey: 0 is nothing, k the pixels of `pieces[k - 1]`.
        width, height: of the map.
    """

    pieces: tuple[Piece, ...]
    map: bytes
    width: int
    height: int


def find_suggestions(data: bytes, side: int, limits: Limits) -> Suggestions:
    """Finds what `packshot repair --auto` and `--marks` would repaint, each piece by itself, to be taken or left.

    Args:
        data: the photo's file.
        side: of the map's longer side, at most.
        limits: of what is decoded.

    Raises:
        PackshotError: it cannot be decoded.
    """
    import numpy as np

    from packshot.images.defects import find_defects
    from packshot.images.masks import grow
    from packshot.models.defects.apply import load_defect_finder
    from packshot.tasks.repair import AROUND_DEFECT, AROUND_MARK, find_marks

    pixels = _decoded(data, limits)
    height, width = pixels.shape[:2]
    found = (load_defect_finder() or find_defects)(pixels)
    around = AROUND_DEFECT * max(1.0, min(height, width) / 500)
    regions: list[tuple[str, bool, tuple[int, int, int, int], Mask | None]] = []
    both = found.mask | found.unsure
    for defect in found.found:
        left, top, wide, high = defect.box
        margin = int(around) + 1
        rows = slice(max(0, top - margin), top + high + margin)
        columns = slice(max(0, left - margin), left + wide + margin)
        own = np.zeros_like(both[rows, columns])
        y, x = top - rows.start, left - columns.start
        own[y : y + high, x : x + wide] = both[top : top + high, left : left + wide]
        grown = grow(own, around)
        box = (columns.start, rows.start, grown.shape[1], grown.shape[0])
        regions.append((defect.kind, defect.sure, box, grown))
    for mark in find_marks(pixels):
        margin = max(2, round(AROUND_MARK * mark.height))
        left, top = max(0, mark.x - margin), max(0, mark.y - margin)
        right, bottom = min(width, mark.x + mark.width + margin), min(height, mark.y + mark.height + margin)
        regions.append(("text", False, (left, top, right - left, bottom - top), None))
    regions.sort(key=lambda region: -region[2][2] * region[2][3])
    scale = min(1.0, side / max(height, width))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    shown = np.zeros(size, np.uint8)
    pieces: list[Piece] = []
    for kind, sure, (left, top, wide, high), own_mask in regions[:MOST_PIECES]:
        _paint(shown, len(pieces) + 1, (left, top, wide, high), own_mask, (height, width))
        pieces.append(Piece(kind=kind, box=(left / width, top / height, wide / width, high / height), sure=sure))
    return Suggestions(pieces=tuple(pieces), map=_png(shown), width=size[1], height=size[0])


def _paint(shown: Any, number: int, box: tuple[int, int, int, int], mask: Mask | None, photo: tuple[int, int]) -> None:
    """Draws a piece into the map, in place; what is smaller than a pixel there takes one."""
    import numpy as np

    left, top, wide, high = box
    rows, columns = shown.shape[0] / photo[0], shown.shape[1] / photo[1]
    y0, x0 = int(top * rows), int(left * columns)
    y1, x1 = max(y0 + 1, round((top + high) * rows)), max(x0 + 1, round((left + wide) * columns))
    part = shown[y0:y1, x0:x1]
    if mask is None:
        part[:] = number
        return
    y = np.minimum(((np.arange(part.shape[0]) + 0.5) * mask.shape[0] / part.shape[0]).astype(int), mask.shape[0] - 1)
    x = np.minimum(((np.arange(part.shape[1]) + 0.5) * mask.shape[1] / part.shape[1]).astype(int), mask.shape[1] - 1)
    near = mask[np.ix_(y, x)]
    part[near] = number
    if not near.any():
        part[part.shape[0] // 2, part.shape[1] // 2] = number


def fit_mask(data: bytes, width: int, height: int, limits: Limits) -> bytes:
    """Returns a painted mask as `repair` takes it: a PNG as large as the photo, white where it is repainted.

    Args:
        data: PNG of any size; what is not transparent and not black was painted.
        width: W.
        height: H.
        limits: of what is decoded.

    Raises:
        PackshotError: it is no picture, or nothing was painted.
    """
    import numpy as np

    from packshot.images.masks import WHITE_FROM
    from packshot.images.resize import resize, to_grey

    pixels = _decoded(data, limits)
    painted = to_grey(pixels[..., :3])[..., 0] >= WHITE_FROM
    if pixels.shape[2] == 4:
        painted &= pixels[..., 3] >= SIZE_FROM
    if not painted.any():
        raise PackshotError("Nothing is painted yet; paint over what is to go.")
    levels = np.where(painted, np.uint8(255), np.uint8(0))
    if painted.shape != (height, width):
        # Lanczos to the photo's size, and half of it is the edge: smooth outlines instead of steps.
        levels = np.where(resize(levels[..., None], height, width)[..., 0] >= SIZE_FROM, np.uint8(255), np.uint8(0))
        if not levels.any():
            raise PackshotError("What is painted is smaller than a pixel of the photo; paint a little more.")
    return _png(levels)


def _decoded(data: bytes, limits: Limits) -> Any:
    from packshot.images.decode import Limits as ImageLimits
    from packshot.images.decode import decode

    return decode(data, limits=ImageLimits(max_bytes=limits.bytes, max_pixels=limits.pixels)).pixels


def _png(levels: Any) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(levels).save(out, "PNG")
    return out.getvalue()
