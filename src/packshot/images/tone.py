"""Light and colour by curves that can be read: white balance, low light, levels. Each has a strength; 0 does nothing.

Letters: H, W height and width; v a value in [0, 1], sRGB unless it is called linear; g a gain; T illumination, the
largest of a pixel's three values, smoothed without crossing edges; a, b the guided filter's coefficients.

Sources: grey pixels, Huo et al. 2006 (Robust automatic white balance using grey color points); T and its gamma, Guo et
al. 2017 (LIME); the fast guided filter, He & Sun 2015, arXiv:1505.00996.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from packshot.images.resize import Pixels

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

LOOKED_AT = 256
"""Longest side of the copy that light and colour are judged on."""
LARGEST_GAIN = 1.5
"""Of one channel against another, in linear light."""
GREY = (0.30, 0.25, 0.21, 0.18, 0.15, 0.15)
"""How much colour, (max - min) / max, a pixel may have to be taken for grey, guess after guess: wood has 0.4."""
LEAST_GREY = 0.02
"""Share of grey pixels below which the colour of the light is not guessed."""
BRIGHT_ENOUGH = 0.45
"""Mean illumination that low light is lifted to at most."""
BLACK = 0.02
"""Mean illumination up to which there is nothing to lift."""
LEAST_GAMMA = 0.4
DARKEST = 0.05
"""T is taken for no less: what is nearly black is noise, and stays dark."""
STRIP = 512
"""Rows at a time."""


def white_balance(pixels: Pixels, strength: float, background: Bools | None = None) -> tuple[Pixels, tuple[float, ...]]:
    """Returns RGB pixels [H, W, 3] under neutral light, and the three gains (1, 1, 1: left alone).

    The light's colour is the mean of what should be grey: pixels of little colour, found anew after each guess. A
    picture without any keeps its colours: a red dress that fills it says nothing about the light.

    Args:
        pixels: the picture.
        strength: 0 .. 1.
        background: bool [H, W], where to look; None: everywhere, the outer parts counting more.
    """
    gains = _grey_gains(_small(pixels), None if background is None else _small_mask(background))
    gains = gains**strength
    if strength == 0 or np.allclose(gains, 1, atol=1e-3):
        return pixels, (1.0, 1.0, 1.0)
    linear = _to_linear(np.arange(256) / 255)
    curves = [np.rint(_to_srgb(np.minimum(linear * g, 1)) * 255).astype(np.uint8) for g in gains]
    return _through(pixels, curves), tuple(round(float(g), 4) for g in gains)


def auto_tone(pixels: Pixels, strength: float) -> tuple[Pixels, tuple[float, float, float]]:
    """Returns RGB pixels [H, W, 3] with black, white and middle put right within limits, and those three.

    Black and white points are the 0.5th and 99.5th percentile of luma, moved by 32 levels at most. A dark median is
    drawn towards the middle by a gamma of 0.8 at least; a light one is no fault: it is a white background. One curve
    for all channels: what was grey stays grey.

    Args:
        pixels: the picture.
        strength: 0 .. 1.
    """
    if strength == 0:
        return pixels, (0.0, 255.0, 1.0)
    luma = _small(pixels) @ np.array([0.299, 0.587, 0.114], np.float32)
    low, middle, high = np.percentile(luma, [0.5, 50, 99.5])
    black, white = strength * min(float(low), 32 / 255), 1 - strength * min(1 - float(high), 32 / 255)
    at = np.clip((middle - black) / (white - black), 0.05, 0.95)
    gamma = float(np.clip(np.log(0.5) / np.log(at), 0.8, 1.0)) ** strength
    v = np.clip((np.arange(256) / 255 - black) / (white - black), 0, 1) ** gamma
    curve = np.rint(v * 255).astype(np.uint8)
    return _through(pixels, [curve] * 3), (round(black * 255, 1), round(white * 255, 1), round(gamma, 3))


def lift_shadows(pixels: Pixels, strength: float) -> tuple[Pixels, float]:
    """Returns RGB pixels [H, W, 3] with dark parts made lighter, and the gamma of the illumination (1: left alone).

    Each pixel is multiplied by T^gamma / T: hues stay, detail within an object stays, bright parts stay, and since T
    follows edges, no glow appears along them. A picture that is light enough on the whole is left alone.

    Args:
        pixels: the picture.
        strength: 0 .. 1.
    """
    small = _small(pixels)
    mean = float(small.max(axis=2).mean())
    lifts = BLACK < mean < BRIGHT_ENOUGH
    gamma = max(LEAST_GAMMA, float(np.log(BRIGHT_ENOUGH) / np.log(mean))) if lifts else 1.0
    gamma = 1 - strength * (1 - gamma)
    if gamma == 1:
        return pixels, 1.0
    planes = [_enlarged(p, pixels.shape[0], pixels.shape[1]) for p in _guided(small.max(axis=2))]
    out = np.empty_like(pixels)
    for top in range(0, len(pixels), STRIP):
        part = slice(top, top + STRIP)
        v = pixels[part].astype(np.float32) / 255
        brightest = v.max(axis=2)
        t = np.clip(planes[0][part] * brightest + planes[1][part], DARKEST, 1)
        gain = np.minimum(t ** (gamma - 1), 1 / np.maximum(brightest, 1e-3))
        out[part] = np.rint(np.clip(v * gain[..., None], 0, 1) * 255).astype(np.uint8)
    return out, round(gamma, 4)


def _grey_gains(v: Floats, background: Bools | None) -> npt.NDArray[np.float64]:
    """Returns the gains of the channels in linear light that make the light neutral, at unchanged luminance."""
    height, width = v.shape[:2]
    rows = np.minimum(np.arange(height), np.arange(height)[::-1])[:, None] / height
    columns = np.minimum(np.arange(width), np.arange(width)[::-1])[None] / width
    weight = np.where(np.minimum(rows, columns) < 0.15, 2.0, 1.0)
    brightest = v.max(axis=2)
    weight = weight * brightest**2 * ((brightest < 0.98) & (brightest > 0.08))  # White cloth says more than a shadow.
    if background is not None:
        weight *= background
    everything = max(1.0, float((weight > 0).sum()))
    linear = _to_linear(v.astype(np.float64))
    gains = np.ones(3)
    for most in GREY:
        balanced = _to_srgb(np.minimum(linear * gains, 1))
        colour = (balanced.max(axis=2) - balanced.min(axis=2)) / np.maximum(balanced.max(axis=2), 1e-3)
        grey = weight * (colour < most)
        if (grey > 0).sum() < LEAST_GREY * everything:
            return np.ones(3)
        mean = (linear * grey[..., None]).sum(axis=(0, 1)) / grey.sum()
        gains = mean.mean() / np.maximum(mean, 1e-6)
        gains = np.clip(gains / gains[1], 1 / LARGEST_GAIN, LARGEST_GAIN)
        gains /= gains @ np.array([0.2126, 0.7152, 0.0722])
    return gains


def _guided(t: Floats) -> tuple[Floats, Floats]:
    """Returns a and b of the guided filter of a plane by itself: a t + b is smooth but for edges."""
    radius = max(2, max(t.shape) // 16)
    mean, square = _box(t, radius), _box(t * t, radius)
    variance = np.maximum(square - mean**2, 0)
    a = variance / (variance + np.float32(0.01))
    return _box(a, radius), _box(mean - a * mean, radius)


def _box(x: Floats, radius: int) -> Floats:
    """Returns the mean over windows of 2 radius + 1 pixels, cut off at the border."""
    for axis in (0, 1):
        n = x.shape[axis]
        total = np.concatenate([np.zeros_like(x.take([0], axis)), x.cumsum(axis, dtype=np.float64)], axis)
        low, high = np.maximum(np.arange(n) - radius, 0), np.minimum(np.arange(n) + radius + 1, n)
        count = (high - low).reshape(-1, 1) if axis == 0 else high - low
        x = np.asarray((total.take(high, axis) - total.take(low, axis)) / count, np.float32)
    return x


def _small(pixels: Pixels) -> Floats:
    factor = min(1.0, LOOKED_AT / max(pixels.shape[:2]))
    size = (max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX)).astype(np.float32) / np.float32(255)


def _small_mask(mask: Bools) -> Bools:
    return _small(np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * np.uint8(255))[..., 0] > 0.5


def _enlarged(plane: Floats, height: int, width: int) -> Floats:
    return np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR))


def _through(pixels: Pixels, curves: list[Pixels]) -> Pixels:
    return np.stack([curve[pixels[..., i]] for i, curve in enumerate(curves)], axis=2)


def _to_linear(v: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def _to_srgb(v: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(v <= 0.0031308, v * 12.92, 1.055 * v ** (1 / 2.4) - 0.055)
