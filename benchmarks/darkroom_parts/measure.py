"""What is measured of a competitor's output. Runs in the benchmark's own process, never in a competitor's.

Letters: H, W height and width; x an output, t the truth.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from benchmarks.darkroom_parts.cases import Case
from packshot.evaluation.matting import compute_alpha_error, compute_iou
from packshot.images.compare import lightness, psnr, ssim
from packshot.images.recolour import colour_shift

Array = npt.NDArray[Any]
Row = dict[str, Any]

BEST = 100.0
"""The PSNR of equal pictures: no log can hold an infinite one."""
BORDER = 8
"""Pixels at each border that PSNR and SSIM do not count."""
NEAR = 2
"""Pixels by which damage may be missed and still be found: its soft edge."""
FEATURE_SIDE = 224
AROUND = 16
"""Lines on both sides that a line's step is compared with, to find a seam."""


def nothing(case: Case, x: Array) -> Row:
    return {}


def matte(case: Case, x: Array) -> Row:
    a, t = x / 255, case.truth / 255
    return {"iou": compute_iou(a, t), "alpha_error": compute_alpha_error(a, t)}


def fidelity(case: Case, x: Array) -> Row:
    """PSNR of RGB and SSIM of luma without the border, and the two feature distances."""
    at = (slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    figures = {
        "psnr": min(BEST, psnr(x[at], case.truth[at])),
        "ssim": ssim(lightness(x[at]), lightness(case.truth[at])),
    }
    return figures | distances(x, case.truth)


def hole(case: Case, x: Array) -> Row:
    mask = case.more["mask"]
    figures = {
        "psnr": min(BEST, psnr(x, case.truth, mask)),
        "exact": float(np.array_equal(x[~mask], case.truth[~mask])),
    }
    return figures | distances(x, case.truth)


def found(case: Case, x: Array) -> Row:
    """Counts for F1 of what is repaired (x is 1) and of what a person is told, too (x is 2)."""
    row: Row = {"touched": float((x == 1).any()), "told": float((x > 0).any())}
    for name, got in (("f1", x == 1), ("f1_told", x > 0)):
        row[name] = [int(n) for n in hits(got, case.truth)]
    return row


def hits(got: Array, truth: Array) -> tuple[int, int, int, int]:
    """Returns how many pixels were found near damage, how many were found, how much damage lies near those, and all."""
    around = (wider(truth), wider(got))
    return (got & around[0]).sum(), got.sum(), (truth & around[1]).sum(), truth.sum()


def wider(mask: Array) -> Array:
    return ndimage.binary_dilation(mask, np.ones((3, 3), bool), iterations=NEAR) if mask.any() else mask


def seams(case: Case, x: Array) -> Row:
    return {"seam": max(worst_line(lightness(x)), worst_line(lightness(x).T)), "side": min(x.shape[:2])}


def worst_line(plane: Array) -> float:
    """Returns the largest step between two neighbouring columns, as a multiple of the median of those around it.

    A step is the mean of |difference| over all rows: strokes and edges go through some rows, a seam through all. 1: all
    columns are alike.
    """
    steps = np.abs(np.diff(plane.astype(np.float32), axis=1)).mean(axis=0)
    usual = ndimage.median_filter(steps, 2 * AROUND + 1, mode="nearest")
    inner = slice(AROUND, -AROUND)
    return float((steps[inner] / np.maximum(usual[inner], 0.25)).max())


def colours(case: Case, x: Array) -> Row:
    """CIEDE2000 between the areas of result and photo, 32 of them along the longer side."""
    from packshot.images.resize import resize

    given = case.given if x.shape == case.given.shape else resize(case.given, *x.shape[:2])
    shift = colour_shift(x, given)
    return {"shift_p95": float(np.percentile(shift, 95)), "shift_max": float(shift.max())}


def distances(x: Array, truth: Array) -> Row:
    """Two distances in the features of EfficientNet-Lite0.

    "feature": L2 between the 1,280 features of the whole picture at 224 x 224 px. "maps": L2 between the maps before
    they are averaged, at the picture's own size, as a share of the truth's.
    """
    (one, maps), (true, true_maps) = features(x), features(truth)
    return {
        "feature": float(np.linalg.norm(one - true)),
        "maps": float(np.linalg.norm(maps - true_maps) / np.linalg.norm(true_maps)),
    }


def features(x: Array) -> tuple[Array, Array]:
    return _features(np.ascontiguousarray(x).tobytes(), x.shape)


@functools.lru_cache(maxsize=64)
def _features(pixels: bytes, shape: tuple[int, ...]) -> tuple[Array, Array]:
    import torch
    from torch.nn import functional as F

    from packshot.models.features.efflite import load_efflite0

    module: Any = load_efflite0().module
    x = torch.from_numpy(np.frombuffer(pixels, np.uint8).reshape(shape).copy())
    x = x.permute(2, 0, 1)[None].float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        square = F.interpolate(x, size=(FEATURE_SIDE, FEATURE_SIDE), mode="bilinear", antialias=True)
        return module(square)[0].numpy(), module[:-1](x)[0].numpy()
