"""What a picture looks like in numbers that have names: brightness, length, size, detail, and the colour's name.

Letters: N pictures, S side in pixels, C channels (1 grey or 3 RGB).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from packshot.images.seen import COLOURS, LEAST_OBJECT, find_object, name_colours, to_lab

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

SHAPES = ("brightness", "length", "size", "detail")
"""brightness: mean L* of the object; length: log of its height over its width; size: its share of the picture; detail:
mean step in L* between neighbours inside of it."""

WORDS = {
    "brightness": ("darker", "brighter"),
    "length": ("wider", "longer"),
    "size": ("slimmer", "fuller"),
    "detail": ("plainer", "more detailed"),
}
"""How less and more of each is said."""

CHUNK = 500


@dataclass(frozen=True, eq=False)
class Looks:
    """Measures of N pictures.

    Attributes:
        shapes: float32 [N, 4], the columns of SHAPES in their own units.
        colours: N names of `images.seen.COLOURS`.
    """

    shapes: Floats
    colours: list[str]


def measure_looks(images: Pixels) -> Looks:
    """Returns the looks of uint8 pictures [N, S, S, C]; an object that is not found is the whole picture."""
    parts = [_shapes(images[start : start + CHUNK]) for start in range(0, len(images), CHUNK)]
    shapes = np.concatenate(parts) if parts else np.zeros((0, len(SHAPES)), np.float32)
    return Looks(shapes, name_colours(np.asarray(images)) if len(images) else [])


def colour_names(channels: int) -> list[str]:
    """Returns the names that pictures of so many channels can have."""
    return [name for name in COLOURS if channels == 3 or name in ("black", "grey", "white")]


def _shapes(images: Pixels) -> Floats:
    found = find_object(images)
    mask = found | (found.mean((1, 2), keepdims=True) < LEAST_OBJECT)
    light = to_lab(np.broadcast_to(images, (*images.shape[:3], 3)))[..., 0]
    area = mask.sum((1, 2))
    brightness = (light * mask).sum((1, 2)) / area
    height, width = mask.any(2).sum(1), mask.any(1).sum(1)
    across, down = mask[:, :, 1:] & mask[:, :, :-1], mask[:, 1:] & mask[:, :-1]
    steps = (np.abs(np.diff(light, axis=2)) * across).sum((1, 2)) + (np.abs(np.diff(light, axis=1)) * down).sum((1, 2))
    pairs = np.maximum(across.sum((1, 2)) + down.sum((1, 2)), 1)
    side = images.shape[1]
    columns = [brightness, np.log(height / width), area / side**2, steps / pairs]
    return np.stack(columns, axis=1).astype(np.float32)
