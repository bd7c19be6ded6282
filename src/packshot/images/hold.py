"""Colours held near a reference: what a network may change is a limit that it cannot pass.

Letters: H, W height and width; k the share of a pixel's change that is let through; dE the CIEDE2000 difference.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from packshot.images.lab import delta_e
from packshot.images.resize import Pixels

SURELY_NEAR = 2
"""Levels in every channel within which two sRGB colours are surely nearer than any limit that is used."""
SHARE = 0.01
"""Pixels that may be beyond the limit: it is one on the 99th percentile."""
STEPS = 4


def hold_near(
    pixels: Pixels, reference: Pixels, limit: float, where: npt.NDArray[np.bool_] | None = None
) -> tuple[Pixels, float]:
    """Returns pixels whose 99th percentile of dE against the reference is at most `limit`.

    Where no more than 1 % of the pixels are beyond it, nothing is done. Else each of these is drawn back towards its
    reference, in sRGB, until it is within; all others stay as they are.

    Args:
        pixels: RGB uint8 [H, W, 3].
        reference: of the same shape.
        limit: dE, 2 or more.
        where: bool [H, W], the pixels that count; None: all.

    Returns:
        The pixels, and the share of them, 0 .. 1, that was drawn back.
    """
    flat, base = pixels.reshape(-1, 3), reference.reshape(-1, 3)
    beyond = _beyond(flat, base, limit)
    count = len(flat)
    if where is not None:
        beyond, count = beyond[where.reshape(-1)[beyond]], int(np.count_nonzero(where))
    if len(beyond) <= SHARE * count:
        return pixels, 0.0
    out = flat.copy()
    change, far = flat[beyond].astype(np.float32) - base[beyond], base[beyond].astype(np.float32)
    k = np.ones(len(beyond), np.float32)
    still = np.arange(len(beyond))
    for _ in range(STEPS):
        now = delta_e(out[beyond[still]], base[beyond[still]])
        k[still] *= np.minimum(1, 0.98 * limit / np.maximum(now, 1e-6))
        out[beyond[still]] = np.rint(far[still] + k[still, None] * change[still]).astype(np.uint8)
        still = still[delta_e(out[beyond[still]], base[beyond[still]]) > limit]
        if not len(still):
            break
    out[beyond[still]] = base[beyond[still]]
    return out.reshape(pixels.shape), len(beyond) / count


def _beyond(flat: Pixels, base: Pixels, limit: float) -> npt.NDArray[np.intp]:
    """Returns the indices of the pixels [N, 3] that are further than `limit` from their reference."""
    step, found = 1 << 18, []
    for start in range(0, len(flat), step):
        a, b = flat[start : start + step], base[start : start + step]
        unsure = np.flatnonzero((np.maximum(a, b) - np.minimum(a, b)).max(axis=1) > SURELY_NEAR)
        found.append(start + unsure[delta_e(a[unsure], b[unsure]) > limit])
    return np.concatenate(found)
