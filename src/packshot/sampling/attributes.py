"""What can be seen in a picture, as numbers: how bright, how wide, how even. They name latent directions.

Where the object is, `images.seen.find_object` says.

Letters: N pictures, S side in pixels, C channels (1 grey or 3 RGB), A attributes.
"""

import numpy as np
import numpy.typing as npt

from packshot.core.shapes import check_shape
from packshot.images.seen import find_object

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

LEAST_IN_LINE = 2
COLOURS = ("redness", "yellowness", "saturation")
SHAPES = ("brightness", "contrast", "width", "height", "area", "symmetry", "pattern")
MEANINGS = {
    "brightness": "mean grey level",
    "contrast": "standard deviation of the grey levels",
    "width": "share of the columns that the object reaches over",
    "height": "share of the rows that the object reaches over",
    "area": "share of the pixels that belong to the object",
    "symmetry": "correlation of the picture with its mirror image, left to right",
    "pattern": "mean step between neighbouring pixels of the object: edges and texture",
    "redness": "mean of R - (G + B) / 2",
    "yellowness": "mean of (R + G) / 2 - B",
    "saturation": "mean of the largest less the smallest channel",
}


def attribute_names(channels: int) -> tuple[str, ...]:
    """Returns the names of what `measure_attributes` measures; colours only where there are any."""
    return SHAPES + COLOURS if channels == 3 else SHAPES


def measure_attributes(images: Pixels) -> Floats:
    """Returns the attributes float64 [N, A] of uint8 pictures [N, S, S, C], in the order of `attribute_names`.

    Hue is measured on two axes, red to cyan and yellow to blue, since an angle has no mean slope.
    """
    letters = check_shape("images", images, "N", "S", "S", "C")
    n, side = letters["N"], letters["S"]
    x = images.astype(np.float32)
    grey = x.mean(3)
    foreground = find_object(images)
    steps = np.zeros_like(grey)
    steps[:, :, 1:] += np.abs(np.diff(grey, axis=2))
    steps[:, 1:, :] += np.abs(np.diff(grey, axis=1))
    inside = foreground.sum((1, 2))
    columns = [
        grey.mean((1, 2)),
        grey.std((1, 2)),
        _reach(foreground.sum(1)) / side,
        _reach(foreground.sum(2)) / side,
        inside / side**2,
        _mirror_correlation(grey),
        (steps * foreground).sum((1, 2)) / np.maximum(inside, 1),
    ]
    if letters["C"] == 3:
        red, green, blue = x[..., 0], x[..., 1], x[..., 2]
        colours = (red - (green + blue) / 2, (red + green) / 2 - blue, x.max(3) - x.min(3))
        columns += [c.mean((1, 2)) for c in colours]
    return np.stack(columns, axis=1).astype(np.float64).reshape(n, -1)


def _reach(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Returns from the first to the last line [N, S] that holds at least LEAST_IN_LINE pixels, how many lines."""
    held = counts >= LEAST_IN_LINE
    reach = held.shape[1] - held[:, ::-1].argmax(1) - held.argmax(1)
    return np.where(held.any(1), reach, 0)


def _mirror_correlation(grey: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    centred = grey - grey.mean((1, 2), keepdims=True)
    variance = np.square(centred).sum((1, 2))
    product = (centred * centred[:, :, ::-1]).sum((1, 2))
    # A picture of one colour is its own mirror image.
    return np.where(variance > 1e-6, product / np.maximum(variance, 1e-6), 1.0).astype(np.float32)
