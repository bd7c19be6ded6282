"""sRGB to CIELAB (D65), and the colour difference CIEDE2000.

Letters: L lightness 0 .. 100, a green to red, b blue to yellow, C chroma, h hue angle, (cos h, sin h) its direction,
`_m` for the mean of two colours, `d` for their difference. Sources: IEC 61966-2-1 (sRGB), CIE 15 (CIELAB),
Sharma, Wu, Dalal: The CIEDE2000 color-difference formula (2005), whose equation numbers are given.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]
T = TypeVar("T", bound=np.floating[Any])

CHUNK = 1 << 15
"""Pixels at a time in `delta_e`: some 30 float32 planes of them fit a processor's cache."""

RGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE_XYZ = RGB_TO_XYZ.sum(axis=1)
"""D65, as the matrix itself has it, so that white is L 100, a 0, b 0."""
RGB_TO_WHITE = (RGB_TO_XYZ / WHITE_XYZ[:, None]).astype(np.float32)
SMALL, LINE = np.float32((6 / 29) ** 3), np.float32(1 / (3 * (6 / 29) ** 2))
C6, S6, C30, S30, C63, S63 = (f(math.radians(d)) for d in (6, 30, 63) for f in (math.cos, math.sin))
"""The fixed angles of eq. 15."""


def srgb_to_lab(pixels: Pixels) -> npt.NDArray[np.float32]:
    """Returns sRGB uint8 [..., 3] as CIELAB float32 [..., 3] under D65."""
    return np.stack(_lab(*(pixels[..., i] for i in range(3))), axis=-1)


def ciede2000(one: npt.NDArray[T], other: npt.NDArray[T]) -> npt.NDArray[T]:
    """Returns the CIEDE2000 difference of CIELAB colours [..., 3] as [...], with k_L = k_C = k_H = 1."""
    return _ciede2000(*(np.ascontiguousarray(p[..., i]) for p in (one, other) for i in range(3)))


def delta_e(one: Pixels, other: Pixels) -> npt.NDArray[np.float32]:
    """Returns the CIEDE2000 difference of sRGB pixels [..., 3] as float32 [...]; equal ones cost nothing."""
    out = np.zeros(one.shape[:-1], np.float32)
    flat, a, b = out.reshape(-1), one.reshape(-1, 3), other.reshape(-1, 3)
    for start in range(0, len(flat), CHUNK):
        part = slice(start, start + CHUNK)
        planes = [np.ascontiguousarray(p[part, i]) for p in (a, b) for i in range(3)]
        where = np.flatnonzero((planes[0] != planes[3]) | (planes[1] != planes[4]) | (planes[2] != planes[5]))
        if len(where):
            red, green, blue, red_, green_, blue_ = (p.take(where) for p in planes)
            flat[part][where] = _ciede2000(*_lab(red, green, blue), *_lab(red_, green_, blue_))
    return out


def _lab(red: Pixels, green: Pixels, blue: Pixels) -> tuple[Plane, Plane, Plane]:
    linear = [LINEAR.take(plane) for plane in (red, green, blue)]
    x, y, z = (_root(sum(k * plane for k, plane in zip(row, linear, strict=True))) for row in RGB_TO_WHITE)
    coloured = (red != green) | (green != blue)  # A grey has no hue, not even one of rounding.
    return 116 * y - 16, 500 * (x - y) * coloured, 200 * (y - z) * coloured


def _root(t: Any) -> Plane:
    """Returns CIELAB's f(t): the cube root and, below (6/29)^3, a line."""
    return np.asarray(np.where(t > SMALL, np.cbrt(t), t * LINE + np.float32(4 / 29)), np.float32)


def _ciede2000(
    l1: npt.NDArray[T],
    a1: npt.NDArray[T],
    b1: npt.NDArray[T],
    l2: npt.NDArray[T],
    a2: npt.NDArray[T],
    b2: npt.NDArray[T],
) -> npt.NDArray[T]:
    c_m = (np.sqrt(a1 * a1 + b1 * b1) + np.sqrt(a2 * a2 + b2 * b2)) / 2
    stretch = 1.5 - 0.5 * _chroma_weight(c_m)  # 1 + G, eq. 4 and 5
    a1, a2 = np.asarray(a1 * stretch, l1.dtype), np.asarray(a2 * stretch, l1.dtype)
    c1, c2 = np.sqrt(a1 * a1 + b1 * b1), np.sqrt(a2 * a2 + b2 * b2)  # eq. 6
    # Directions instead of the angles of eq. 7: a grey's is 0, that of the mean hue is the sum's (eq. 14), and their
    # distance is 2 sin(dh / 2), as eq. 11 wants it, the shorter way round (eq. 10).
    cos1, sin1, cos2, sin2 = (p / np.where(c == 0, 1, c) for p, c in ((a1, c1), (b1, c1), (a2, c2), (b2, c2)))
    turned = np.sqrt((cos2 - cos1) ** 2 + (sin2 - sin1) ** 2)
    dl, dc = l2 - l1, c2 - c1  # eq. 8, 9
    dh = np.copysign(np.sqrt(c1 * c2) * turned, cos1 * sin2 - sin1 * cos2)  # eq. 11
    l_m, c_m = (l1 + l2) / 2, (c1 + c2) / 2  # eq. 12, 13
    t, theta = _of_hue(*_mean_hue(cos1, sin1, cos2, sin2))
    rotation = -2 * np.sin(theta) * _chroma_weight(c_m)  # eq. 17, 21
    bright = (l_m - 50) ** 2
    s_l = 1 + 0.015 * bright / np.sqrt(20 + bright)  # eq. 18
    s_c, s_h = 1 + 0.045 * c_m, 1 + 0.015 * c_m * t  # eq. 19, 20
    light, chroma, hue = dl / s_l, dc / s_c, dh / s_h
    total = light**2 + chroma**2 + hue**2 + rotation * chroma * hue  # eq. 22
    return np.asarray(np.sqrt(np.maximum(total, 0)), l1.dtype)


def _mean_hue(
    cos1: npt.NDArray[T], sin1: npt.NDArray[T], cos2: npt.NDArray[T], sin2: npt.NDArray[T]
) -> tuple[npt.NDArray[T], npt.NDArray[T]]:
    """Returns cos h_m and sin h_m; (1, 0) where both colours are grey."""
    cos, sin = cos1 + cos2, sin1 + sin2
    length = np.sqrt(cos * cos + sin * sin)
    short = np.nonzero(length < 0.1)
    if len(short[0]):  # Nearly opposite hues: the sum's direction is taken across their difference, which is long.
        c1, s1, c2, s2 = (p[short] for p in (cos1, sin1, cos2, sin2))
        across, up = s1 - s2, c2 - c1
        sign = np.sign(across * cos[short] + up * sin[short])
        # Opposite ones: the mean of two angles in 0 .. 360 lies 90 degrees beyond the smaller.
        sign = np.where(sign == 0, np.where((s1 > 0) | ((s1 == 0) & (c1 > 0)), -1, 1), sign)
        grey = (across == 0) & (up == 0)
        cos[short], sin[short] = np.where(grey, 1, sign * across), sign * up
        length[short] = np.sqrt(cos[short] ** 2 + sin[short] ** 2)
    return np.asarray(cos / length, cos1.dtype), np.asarray(sin / length, cos1.dtype)


def _of_hue(cos: npt.NDArray[T], sin: npt.NDArray[T]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Returns T (eq. 15), and twice the angle of eq. 16 in radians."""
    cos2, sin2 = 2 * cos * cos - 1, 2 * sin * cos
    cos3, sin3 = cos * (2 * cos2 - 1), sin * (2 * cos2 + 1)
    cos4, sin4 = 2 * cos2 * cos2 - 1, 2 * sin2 * cos2
    t = 1.0 - 0.17 * (C30 * cos + S30 * sin) + 0.24 * cos2
    t += 0.32 * (C6 * cos3 - S6 * sin3) - 0.20 * (C63 * cos4 + S63 * sin4)
    h = np.arctan2(sin, cos) * (180 / math.pi)
    return t, (math.pi / 3) * np.exp(-((np.where(h < 0, h + 85, h - 275) / 25) ** 2))


def _linear() -> Plane:
    v = np.arange(256) / 255
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _chroma_weight(c: npt.NDArray[Any]) -> npt.NDArray[Any]:
    c = c / 25  # Divided first: 100 ** 7 is beyond what float32 adds exactly.
    c3 = c * c * c
    c7 = c3 * c3 * c
    return np.asarray(np.sqrt(c7 / (c7 + 1)))


LINEAR = _linear()
"""The linear light of each sRGB value."""
