"""What a person would say of a product picture at a glance: where the object is, its colour's name, plain or patterned.

Colour names are the basic terms of English (Berlin & Kay 1969) and beige, which shops need. A pixel has the name of
the nearest example in CIELAB; a picture that of most of its object, where the middle counts more than the rim.

Letters: N pictures, S side in pixels, C channels (1 grey or 3 RGB).
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from packshot.core.shapes import check_shape

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Masks = npt.NDArray[np.bool_]

OBJECT = 25
"""Grey levels in one channel by which an object's pixel differs from the colour of the picture's border."""
LEAST_OBJECT = 0.05
"""Below this share of the picture the object was not found, and the whole picture is looked at."""
PATTERNED = 30.0
"""Mean step in grey levels between neighbours inside of the object from which it counts as patterned."""
GAP = 2
CHUNK = 500
BITS = 5
"""Of each channel that decide over a pixel's name: 2^15 colours, named once."""

COLOURS: dict[str, tuple[str, ...]] = {
    "black": ("0c0c0e", "1c1c20", "2b2b2e"),
    "grey": ("5a5a5c", "7d7d80", "9a9a9c", "b0b0b2"),
    "white": ("cacacc", "e4e4e4", "fdfdfd"),
    "red": ("b81422", "dd2230", "7d1220", "a23a40"),
    "orange": ("f08020", "e0601c", "d98a4a"),
    "yellow": ("f5d820", "e0c040", "e8dc80", "c9a520"),
    "green": ("1f8045", "60a050", "2c4a30", "6e7434", "8fae7a", "20a090"),
    "blue": ("2050c0", "3f80d0", "1a2748", "92b8de", "56769c", "3c4a66"),
    "purple": ("6c2f90", "9165b4", "3d2350", "b79bd0"),
    "pink": ("ee8fb0", "e9bcc4", "d8407e", "c98a92"),
    "brown": ("6b4423", "46301f", "8a5a30", "5c463a"),
    "beige": ("dfceb0", "c4ac88", "efe4d2", "a89478"),
}
"""Examples of each colour, sRGB in hexadecimal digits; chosen by eye."""
GREYS = ("black", "grey", "white")
PATTERNS = ("plain", "patterned")


def find_object(images: Pixels) -> Masks:
    """Returns which pixels [N, S, S] of uint8 pictures [N, S, S, C] differ from the border's median colour."""
    border = np.concatenate([images[:, 0], images[:, -1], images[:, 1:-1, 0], images[:, 1:-1, -1]], axis=1)
    colour = np.median(border, axis=1)[:, None, None, :]
    differs: Masks = (np.abs(images.astype(np.float32) - colour.astype(np.float32)) > OBJECT).any(3)
    return differs


def to_lab(rgb: Pixels) -> Floats:
    """Returns CIELAB (D65) float32 [..., 3] of sRGB uint8 [..., 3]. IEC 61966-2-1 and CIE 15."""
    levels = np.arange(256) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4).astype(np.float32)
    matrix = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]],
        np.float32,
    )
    xyz = linear[rgb] @ (matrix / matrix.sum(1, keepdims=True)).T
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1).astype(np.float32)


def name_colours(images: Pixels) -> list[str]:
    """Returns the name of the object's most frequent colour for each of uint8 pictures [N, S, S, C].

    A grey picture is black, grey or white.
    """
    names: list[str] = []
    for start in range(0, len(images), CHUNK):
        names += _name_colours(images[start : start + CHUNK])
    return names


def name_patterns(images: Pixels) -> list[str]:
    """Returns "plain" or "patterned" for each of uint8 pictures [N, S, S, C].

    What is measured is the mean step between neighbouring pixels inside of the object, its outline left out. Folds and
    noise make small steps, prints and stripes large ones; at 64 px a fine pattern is not seen.
    """
    out: list[str] = []
    for start in range(0, len(images), CHUNK):
        x = images[start : start + CHUNK].astype(np.int16)
        inside = _erode(_closed(_looked_at(images[start : start + CHUNK])))
        steps = np.zeros(inside.shape, np.float32)
        steps[:, :, 1:] += np.abs(np.diff(x, axis=2)).mean(3)
        steps[:, 1:, :] += np.abs(np.diff(x, axis=1)).mean(3)
        mean = (steps * inside).sum((1, 2)) / np.maximum(inside.sum((1, 2)), 1)
        out += [PATTERNS[int(m > PATTERNED)] for m in mean]
    return out


SEEN = {"colour": name_colours, "pattern": name_patterns}
"""Attributes that are read from a picture itself."""


def _name_colours(images: Pixels) -> list[str]:
    letters = check_shape("images", images, "N", "S", "S", "C")
    known = [name for name in COLOURS if letters["C"] == 3 or name in GREYS]
    high = (_rgb(images) >> (8 - BITS)).astype(np.int32)
    name = _table(tuple(known))[(high[..., 0] << 2 * BITS) + (high[..., 1] << BITS) + high[..., 2]]
    axis = np.linspace(-1, 1, letters["S"], dtype=np.float32)
    middle = np.exp(-2 * (axis[:, None] ** 2 + axis[None, :] ** 2))
    weight = _looked_at(images) * middle
    votes = np.stack([(weight * (name == i)).sum((1, 2)) for i in range(len(known))], axis=1)
    return [known[i] for i in votes.argmax(1)]


@lru_cache(maxsize=2)
def _table(known: tuple[str, ...]) -> npt.NDArray[np.int8]:
    """Returns for each colour of BITS bits a channel the place in `known` of the name of its nearest example."""
    examples = [(i, bytes.fromhex(code)) for i, name in enumerate(known) for code in COLOURS[name]]
    lab = to_lab(np.array([list(code) for _, code in examples], np.uint8))
    number = np.arange(2 ** (3 * BITS))
    level = [(number >> shift) % 2**BITS for shift in (2 * BITS, BITS, 0)]
    centre = np.stack(level, axis=1) * 2 ** (8 - BITS) + 2 ** (7 - BITS)
    # |p - e|^2 without |p|^2, which is the same for all examples.
    distance = np.square(lab).sum(1) - 2 * to_lab(centre.astype(np.uint8)) @ lab.T
    table: npt.NDArray[np.int8] = np.array([i for i, _ in examples], np.int8)[distance.argmin(1)]
    return table


def _looked_at(images: Pixels) -> Masks:
    found = find_object(images)
    looked_at: Masks = found | (found.mean((1, 2), keepdims=True) < LEAST_OBJECT)
    return looked_at


def _closed(masks: Masks) -> Masks:
    """Adds gaps of up to 2 * GAP pixels in the object: stripes and dots in the background's colour."""
    out = ~masks
    for _ in range(GAP):
        out = _erode(out)
    out = ~out
    for _ in range(GAP):
        out = _erode(out)
    return out


def _erode(masks: Masks) -> Masks:
    """Takes from each mask [N, S, S] the pixels that have a neighbour, of four, outside of it."""
    padded = np.pad(masks, ((0, 0), (1, 1), (1, 1)), mode="edge")
    around = (padded[:, :-2, 1:-1], padded[:, 2:, 1:-1], padded[:, 1:-1, :-2], padded[:, 1:-1, 2:])
    eroded: Masks = np.logical_and.reduce((masks, *around))
    return eroded


def _rgb(images: Pixels) -> Pixels:
    return np.broadcast_to(images, (*images.shape[:3], 3)) if images.shape[3] == 1 else images
