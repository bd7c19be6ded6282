"""A picture in tiles: any function of arrays over a picture of any size, without seams and with bounded memory.

A function that looks at its surroundings is wrong near the border of a tile, where the surroundings are missing. So
tiles overlap: `halo` pixels at each inner border are computed and thrown away, and between what is left neighbours are
mixed over `blend` pixels. A function whose output depends on `halo` pixels around and no more comes out exactly as
over the whole picture. One that also depends on the whole picture (a normalisation, a histogram) needs that fixed
beforehand; blending only hides small differences.

Letters: H, W height and width; C, D channels before and after; n a length, t a tile's length along it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def map_tiles(
    function: Callable[[Array], Array],
    picture: Array,
    *,
    tile: int,
    halo: int = 0,
    blend: int = 0,
    multiple: int = 1,
    scale: int = 1,
) -> Array:
    """Returns `function` of a picture, computed in tiles that all have the same size.

    Args:
        function: [h, w, C] -> [scale h, scale w, D]; h and w are at most `tile` and multiples of `multiple`.
        picture: [H, W, C]; reflected at its right and lower border where it is no multiple.
        tile: longest side of a tile, halo included.
        halo: pixels at an inner border that are thrown away.
        blend: pixels over which neighbours are mixed (a smooth step: 3 s^2 - 2 s^3).
        multiple: tiles start at multiples of it, and their sides are such.
        scale: of the result.

    Returns:
        [scale H, scale W, D] in the function's own type; mixed values of whole numbers are rounded.

    Raises:
        ValueError: a tile is too small for its overlaps, or the function returned another size.
    """
    height, width = picture.shape[:2]
    overlap = 2 * halo + blend
    largest = tile // multiple * multiple
    if min(halo, blend) < 0 or largest <= 0 or largest - overlap < multiple:
        raise ValueError(f"Tiles of {tile} pixels leave nothing between overlaps of {overlap}.")
    pad = ((0, -height % multiple), (0, -width % multiple), (0, 0))
    padded = np.pad(picture, pad, mode="reflect") if any(p[1] for p in pad) else picture
    (rows, h), (columns, w) = (_spread(n, largest, overlap, multiple) for n in padded.shape[:2])

    out: Array | None = None
    for i, top in enumerate(rows):
        strip: Array | None = None
        for j, left in enumerate(columns):
            part = np.asarray(function(np.ascontiguousarray(padded[top : top + h, left : left + w])))
            if part.shape[:2] != (h * scale, w * scale):
                raise ValueError(f"A tile of {h} x {w} came back as {part.shape[:2]}, not {scale} times as large.")
            if strip is None:
                strip = np.empty((h * scale, padded.shape[1] * scale, part.shape[2]), part.dtype)
            _lay(strip.swapaxes(0, 1), part.swapaxes(0, 1), columns, j, w, blend, scale)
        assert strip is not None
        if out is None:
            out = np.empty((padded.shape[0] * scale, *strip.shape[1:]), strip.dtype)
        _lay(out, strip, rows, i, h, blend, scale)
    assert out is not None
    return out[: height * scale, : width * scale]


def _spread(n: int, largest: int, overlap: int, multiple: int) -> tuple[list[int], int]:
    """Returns where tiles start that cover n with at least `overlap` between neighbours, and their length.

    As few tiles as `largest` allows, and those as short as they can be.
    """
    if n <= largest:
        return [0], n
    step = (largest - overlap) // multiple * multiple
    count = -(-(n - largest) // step) + 1
    step = -(-(n - overlap) // (count * multiple)) * multiple
    t = min(largest, -(-(step + overlap) // multiple) * multiple)
    # Spread evenly; rounding down keeps the overlap, since the last one starts at a multiple itself.
    return [(n - t) * i // (count - 1) // multiple * multiple for i in range(count)], t


def _lay(out: Array, part: Array, starts: list[int], index: int, length: int, blend: int, scale: int) -> None:
    """Writes a part into its place along the first axis, mixed with what its neighbour before it has written."""
    start = starts[index]
    if index == 0:
        out[start * scale : (start + length) * scale] = part
        return
    middle = (start + starts[index - 1] + length) // 2  # Of the overlap: both sides are furthest from their borders.
    low, high = (middle - blend // 2) * scale, (middle - blend // 2 + blend) * scale
    offset = start * scale
    s = (np.arange(high - low, dtype=np.float32) + 0.5) / max(1, high - low)
    weight = (3 * s**2 - 2 * s**3).reshape(-1, *[1] * (out.ndim - 1))
    before, after = out[low:high], part[low - offset : high - offset]
    if np.issubdtype(out.dtype, np.integer):
        mixed = before.astype(np.float32)
        out[low:high] = np.rint(mixed + weight * (after - mixed)).astype(out.dtype)
    else:
        out[low:high] = before + weight * (after - before)
    out[high : offset + length * scale] = part[high - offset :]
