"""Damage drawn onto clean pictures, with the truth of where it lies: dust, scratches, stains, holes, missing blocks.

What a detector is measured on, and a network is trained on. Everything is a function of the generator that is given.

Letters: H, W height and width; a the opacity of the damage at each pixel, 0 to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

from packshot.core.errors import lookup
from packshot.images.resize import Pixels

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

SEEN = 0.3
"""The opacity from which a pixel counts as damaged."""
SUPERSAMPLE = 4


class Damaged(NamedTuple):
    """A damaged picture, uint8 [H, W, 3], and where the damage is, bool [H, W]."""

    pixels: Pixels
    mask: Mask


def draw_damage(pixels: Pixels, rng: np.random.Generator, kinds: Sequence[str] | None = None) -> Damaged:
    """Draws damage onto RGB pixels [H, W, 3].

    Sizes go with the shorter side: those named in this file are for 500 pixels.

    Args:
        pixels: uint8; not changed.
        rng: decides everything.
        kinds: of `KINDS`; None: one to three of them, drawn.

    Raises:
        UsageError: an unknown kind.
    """
    if kinds is None:
        kinds = list(rng.choice(list(KINDS), int(rng.integers(1, 4)), replace=False))
    out = pixels.astype(np.float32)
    mask = np.zeros(pixels.shape[:2], np.bool_)
    for kind in kinds:
        layers = lookup("kind of damage", kind, KINDS)(out, rng)
        for opacity, colour in layers:
            out += opacity[..., None] * (colour - out)
            mask |= opacity >= SEEN * max(float(opacity.max()), 1e-6)
    return Damaged(np.clip(np.rint(out), 0, 255).astype(np.uint8), mask)


Layers = list[tuple[Floats, Floats]]


def _dust(image: Floats, rng: np.random.Generator) -> Layers:
    height, width, size = _sizes(image)
    layers = []
    for light in (True, False):
        plane, draw = _canvas(height, width)
        for _ in range(int(rng.integers(3, 15))):
            x, y = rng.uniform(0, width), rng.uniform(0, height)
            radius = rng.uniform(0.9, 2.6) * size
            angles = np.sort(rng.uniform(0, 2 * np.pi, 8))
            reach = radius * rng.uniform(0.7, 1.3, 8)
            draw.polygon(_corners(x + reach * np.cos(angles), y + reach * np.sin(angles)), fill=255)
        layers.append((_opacity(plane, height, width) * np.float32(rng.uniform(0.75, 1.0)), _tone(rng, light)))
    return layers


def _scratches(image: Floats, rng: np.random.Generator) -> Layers:
    height, width, size = _sizes(image)
    light = bool(rng.random() < 0.6)
    plane, draw = _canvas(height, width)
    for _ in range(int(rng.integers(1, 5))):
        length, bend = rng.uniform(0.15, 0.7) * min(height, width), rng.normal(0, 0.1)
        x, y, angle = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0, 2 * np.pi)
        steps = np.linspace(0, 1, 24)
        turned = angle + bend * steps * 3
        xs = x + np.cumsum(np.cos(turned)) * length / 24
        ys = y + np.cumsum(np.sin(turned)) * length / 24
        draw.line(_corners(xs, ys), fill=255, width=max(2, round(SUPERSAMPLE * size * rng.uniform(0.9, 2.0))))
    return [(_opacity(plane, height, width) * np.float32(rng.uniform(0.75, 1.0)), _tone(rng, light))]


def _stains(image: Floats, rng: np.random.Generator) -> Layers:
    height, width, size = _sizes(image)
    layers: Layers = []
    for _ in range(int(rng.integers(1, 3))):
        shape = _blob(height, width, rng, size * rng.uniform(7, 18))
        soft = ndimage.gaussian_filter(shape.astype(np.float32), size * rng.uniform(0.8, 1.8))
        tint = np.array([rng.uniform(50, 130), rng.uniform(30, 90), rng.uniform(10, 60)], np.float32)
        layers.append((soft * np.float32(rng.uniform(0.45, 0.8)), tint))
    return layers


def _holes(image: Floats, rng: np.random.Generator) -> Layers:
    height, width, size = _sizes(image)
    out: Layers = []
    for _ in range(int(rng.integers(1, 4))):
        shape = _blob(height, width, rng, size * rng.uniform(5, 22)).astype(np.float32)
        out.append((shape, np.full(3, rng.choice([0.0, 255.0, 128.0]), np.float32)))
    return out


def _blocks(image: Floats, rng: np.random.Generator) -> Layers:
    height, width, _ = _sizes(image)
    side = int(rng.choice([8, 16, 32]))
    out: Layers = []
    for _ in range(int(rng.integers(1, 5))):
        shape = np.zeros((height, width), np.float32)
        y, x = int(rng.integers(-(-height // side))) * side, int(rng.integers(-(-width // side))) * side
        shape[y : y + side * int(rng.integers(1, 3)), x : x + side * int(rng.integers(1, 4))] = 1
        colours = ([0, 0, 0], [128, 128, 128], [255, 255, 255], [0, 255, 0], [255, 0, 255])
        out.append((shape, np.array(colours[int(rng.integers(len(colours)))], np.float32)))
    return out


KINDS: dict[str, Callable[[Floats, np.random.Generator], Layers]] = {
    "dust": _dust,
    "scratches": _scratches,
    "stains": _stains,
    "holes": _holes,
    "blocks": _blocks,
}


def _sizes(image: Floats) -> tuple[int, int, float]:
    height, width = image.shape[:2]
    return height, width, max(0.5, min(height, width) / 500)


def _tone(rng: np.random.Generator, light: bool) -> Floats:
    tone = rng.uniform(225, 255) if light else rng.uniform(0, 35)
    colour: Floats = np.clip(tone + rng.normal(0, 4, 3), 0, 255).astype(np.float32)
    return colour


def _canvas(height: int, width: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    plane = Image.new("L", (SUPERSAMPLE * width, SUPERSAMPLE * height))
    return plane, ImageDraw.Draw(plane)


def _corners(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> list[tuple[float, float]]:
    return [(float(a), float(b)) for a, b in zip(SUPERSAMPLE * x, SUPERSAMPLE * y, strict=True)]


def _opacity(plane: Image.Image, height: int, width: int) -> Floats:
    opacity: Floats = np.asarray(plane.resize((width, height), Image.Resampling.BOX), np.float32) / np.float32(255)
    return opacity


def _blob(height: int, width: int, rng: np.random.Generator, radius: float) -> Mask:
    """Returns a lump of about this radius at a place inside of the picture."""
    cy, cx = rng.uniform(0, height), rng.uniform(0, width)
    y, x = np.mgrid[:height, :width]
    angle = np.arctan2(y - cy, x - cx)
    waves = sum(rng.uniform(0, 0.35 / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in range(1, 6))
    inside: Mask = np.hypot(y - cy, x - cx) < radius * (1 + waves)
    return inside
