"""Figures of mattes against true ones.

Letters: a matte, t the true one, both [H, W] in [0, 1].
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]


def compute_iou(a: Floats, t: Floats) -> float:
    """Returns |A and T| / |A or T| of what is above 0.5, in [0, 1]; 1 where both are empty."""
    one, other = a > 0.5, t > 0.5
    either = int((one | other).sum())
    return int((one & other).sum()) / either if either else 1.0


def compute_alpha_error(a: Floats, t: Floats) -> float:
    """Returns mean |a - t| over the whole picture, in [0, 1]."""
    return float(np.abs(np.asarray(a, np.float64) - t).mean())


def compute_rank_correlation(x: Floats, y: Floats) -> float:
    """Returns Spearman's rho of two lists of numbers [N], in [-1, 1]; equal numbers share their mean rank."""
    ranks = [_ranks(np.asarray(v, np.float64)) for v in (x, y)]
    if any(r.std() == 0 for r in ranks):
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    _, where, counts = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean: npt.NDArray[np.float64] = last - (counts - 1) / 2
    return mean[where]
