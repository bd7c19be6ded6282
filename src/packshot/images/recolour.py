"""The colours of one picture with the lightness pattern of another.

Letters: L lightness 0 .. 100, a and b of CIELAB (D65); `_low` for what is left of a picture made LOW pixels long.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from packshot.images.lab import RGB_TO_XYZ, WHITE_XYZ, delta_e, srgb_to_lab
from packshot.images.resize import Pixels

Floats = npt.NDArray[np.floating[Any]]

LOW = 32
"""Longest side, in pixels, of what counts as the colours of a picture: areas, not strokes."""
GAIN = 1.3
"""Of the pattern: without the style's colours its strokes are harder to see."""
BAND = 1 << 18
"""Pixels at a time; CIELAB takes some 20 floats of each."""
ROUNDS = 3
"""Of bringing colours back that were cut off at the limits of sRGB."""


def keep_colours(styled: Pixels, photo: Pixels) -> Pixels:
    """Returns the pattern of `styled` in the colours of `photo`.

    L = L_photo_low + GAIN (L_styled - L_styled_low); a and b are the photo's.

    What falls outside of sRGB is cut off, which would darken white and lighten black where the pattern is strong; the
    mean of each area is brought back.

    Args:
        styled: uint8 [H, W, 3].
        photo: uint8 [H, W, 3].
    """
    height, width = photo.shape[:2]
    change = _enlarged(srgb_to_lab(low(photo))[..., 0] - GAIN * srgb_to_lab(low(styled))[..., 0], height, width)
    out = np.empty_like(photo)
    rows = max(1, BAND // width)
    for top in range(0, height, rows):
        band = slice(top, top + rows)
        lab = srgb_to_lab(photo[band])
        lab[..., 0] = GAIN * srgb_to_lab(styled[band])[..., 0] + change[band]
        out[band] = lab_to_srgb(lab)
    for _ in range(ROUNDS):
        out = with_areas_of(out, photo, LOW)
    return out


def with_areas_of(picture: Pixels, other: Pixels, side: int) -> Pixels:
    """Returns a picture [H, W, 3] that, made as small as `side` pixels, looks like `other` [H, W, 3] made so."""
    height, width = picture.shape[:2]
    change = low(other, side).astype(np.float32) - low(picture, side)
    out = np.empty_like(picture)
    for c in range(3):
        plane = _enlarged(np.ascontiguousarray(change[..., c]), height, width)
        out[..., c] = np.clip(np.rint(plane + picture[..., c]), 0, 255)
    return out


def colour_shift(one: Pixels, other: Pixels, side: int = LOW) -> npt.NDArray[np.float32]:
    """Returns CIEDE2000 between the areas of two pictures [H, W, 3], as [h, w] with a longest side of `side`."""
    return delta_e(low(one, side), low(other, side))


def low(pixels: Pixels, side: int = LOW) -> Pixels:
    """Returns a picture [H, W, 3] made small: the mean of each area, `side` pixels at its longest side."""
    scale = min(1.0, side / max(pixels.shape[:2]))
    h, w = (max(1, round(n * scale)) for n in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((w, h), Image.Resampling.BOX))


def lab_to_srgb(lab: Floats) -> Pixels:
    """Returns CIELAB [..., 3] (D65) as sRGB uint8 [..., 3]; what lies outside of sRGB is cut off."""
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    linear = np.clip(xyz @ (np.linalg.inv(RGB_TO_XYZ) * WHITE_XYZ).T.astype(xyz.dtype), 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(encoded * 255), np.uint8)


def _enlarged(plane: npt.NDArray[np.float32], height: int, width: int) -> npt.NDArray[np.float32]:
    return np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC))
