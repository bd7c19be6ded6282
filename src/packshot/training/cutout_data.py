"""What the matting network is trained on: photos with their mattes, and cut-out things laid on other backgrounds.

Every example is a function of (seed, step, place in the batch). Shadows are painted onto backgrounds and are no part
of alpha, so that the network learns to leave them behind.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from packshot.core.errors import PackshotError
from packshot.core.random import stream_seed

Pixels = npt.NDArray[np.uint8]
Rng = np.random.Generator

STORED_SIDE = 416
CLOTH, PACKSHOT = 0.55, 0.7
"""Bounds of a draw in [0, 1): below the first a composite's object is clothing, below the second a packshot, else a
rendered object."""


@dataclass(frozen=True)
class Sources:
    """Pictures in memory, each uint8 [h, w, 4] with its own size.

    Attributes:
        photos: whole photos; the fourth channel is the matte.
        packshots: cut-out products.
        objects: rendered objects.
    """

    photos: list[Pixels]
    packshots: list[Pixels]
    objects: list[Pixels]


def read_photos(folder: Path, split: str) -> dict[str, Pixels]:
    """Reads photos with mattes: FOLDER/metadata.csv (image, contributor, split), FOLDER/original, FOLDER/mattes.

    Args:
        folder: laid out so.
        split: "train" or "validation"; no contributor is on both sides.

    Returns:
        Stem to uint8 [h, w, 4], in the order of names.

    Raises:
        PackshotError: nothing there.
    """
    with (folder / "metadata.csv").open(encoding="utf-8") as f:
        names = sorted(row["image"] for row in csv.DictReader(f) if row["split"] == split)
    out = {}
    for name in names:
        matte = folder / "mattes" / f"{name}.png"
        if matte.is_file():
            with Image.open(folder / "original" / f"{name}.jpg") as photo, Image.open(matte) as alpha:
                planes = [photo.convert("RGB"), alpha.convert("L")]
            for plane in planes:  # Apart: Pillow would forget the colours where alpha is 0.
                plane.thumbnail((STORED_SIDE, STORED_SIDE), Image.Resampling.BOX)
            out[name] = np.dstack([np.asarray(plane) for plane in planes])
    if not out:
        raise PackshotError(f"There is no photo with a matte for '{split}' in {folder}.")
    return out


def read_objects(paths: Sequence[Path]) -> list[Pixels]:
    """Reads RGBA pictures, cut to their boxes, soft shadows removed; very small ones are left out."""
    out = []
    for path in paths:
        with Image.open(path) as file:
            picture = file.convert("RGBA")
        picture.thumbnail((STORED_SIDE, STORED_SIDE), Image.Resampling.BOX)
        pixels = without_shadow(np.asarray(picture))
        rows, columns = np.nonzero(pixels[..., 3].max(1))[0], np.nonzero(pixels[..., 3].max(0))[0]
        if len(rows) > 16 and len(columns) > 16:
            out.append(pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy())
    return out


def without_shadow(pixels: Pixels) -> Pixels:
    """Returns RGBA pixels with alpha 0 further than three pixels from what is nearly opaque."""
    solid = Image.fromarray((pixels[..., 3] > 200).astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(7))
    out = pixels.copy()
    out[..., 3][np.asarray(solid) == 0] = 0
    return out


def own_colours(pixels: Pixels) -> Pixels:
    """Returns RGBA pixels whose half-transparent colours are those of the object beside them, not of its ground."""
    alpha = pixels[..., 3:].astype(np.float32) / 255
    inside = (pixels[..., 3:] > 240) * alpha
    weighted = [np.clip(pixels[..., :3] * inside, 0, 255).astype(np.uint8), (inside * 255).astype(np.uint8)]
    near = np.asarray(Image.fromarray(np.dstack(weighted), "RGBX").filter(ImageFilter.BoxBlur(4)), np.float32)
    colour = np.clip(near[..., :3] * 255 / np.maximum(near[..., 3:], 1), 0, 255)
    known = (near[..., 3:] > 8) & (inside == 0)
    return np.dstack([np.where(known, colour, pixels[..., :3]).astype(np.uint8), pixels[..., 3]])


class Composer:
    """Makes examples: `batch(step, n, size)`."""

    def __init__(self, sources: Sources, seed: int) -> None:
        self.sources, self.seed = sources, seed

    def batch(self, step: int, n: int, size: int) -> tuple[Tensor, Tensor]:
        """Returns photos float32 [n, 3, size, size] in [0, 1] and alpha float32 [n, 1, size, size]."""
        made = [self.example(step, i, size) for i in range(n)]
        both = torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2).float() / 255
        return both[:, :3].contiguous(memory_format=torch.channels_last), both[:, 3:].contiguous()

    def example(self, step: int, i: int, size: int) -> Pixels:
        """Returns uint8 [size, size, 4]: a photo and the alpha of what is a product in it."""
        rng = np.random.Generator(np.random.PCG64(stream_seed(self.seed, "cutout", step, i)))
        draw = rng.random()
        if draw < 0.55:
            pixels = photo_crop(rng, pick(rng, self.sources.photos), size)
            if rng.random() < 0.3:
                pixels = relight(rng, pixels)
        else:
            pixels = background(rng, self.sources.photos, size)
            for _ in range(0 if draw > 0.97 else 1 + (rng.random() < 0.2) + (rng.random() < 0.08)):
                pixels = self.laid_on(rng, pixels, size)
        return spoil(rng, pixels)

    def laid_on(self, rng: Rng, ground: Pixels, size: int) -> Pixels:
        """Returns `ground` [size, size, 4] with one more thing on it, and often its shadow."""
        draw = rng.random()
        if draw < CLOTH:
            source = boxed(own_colours(pick(rng, self.sources.photos)))
        else:
            source = pick(rng, self.sources.packshots if draw < PACKSHOT else self.sources.objects)
        thing = placed(rng, source, size)
        alpha = thing[..., 3:].astype(np.float32) / 255
        shade = shadow(rng, thing[..., 3])[..., None] if rng.random() < 0.7 else 1.0
        colour = ground[..., :3] * shade * (1 - alpha) + thing[..., :3] * alpha
        both = np.maximum(ground[..., 3], thing[..., 3])
        return np.dstack([np.clip(colour + 0.5, 0, 255).astype(np.uint8), both])


def pick(rng: Rng, pictures: Sequence[Pixels]) -> Pixels:
    """Returns one of the pictures."""
    return pictures[int(rng.integers(len(pictures)))]


def boxed(pixels: Pixels) -> Pixels:
    """Returns RGBA pixels cut to the box of what is visible."""
    seen = pixels[..., 3] > 8
    rows, columns = np.nonzero(seen.any(1))[0], np.nonzero(seen.any(0))[0]
    if not len(rows):
        return pixels
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def affine(
    pixels: Pixels, size: int, *, scale: float, degrees: float, flip: bool, centre: tuple[float, float]
) -> Pixels:
    """Returns [size, size, C]: pixels scaled and turned around `centre` (x, y of theirs), which comes to the middle.

    With four channels, colours are weighted by alpha, and beyond the border is nothing.
    """
    angle = np.deg2rad(degrees)
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    mirror = -1 if flip else 1
    half = size / 2
    a, b = mirror * cos, sin
    d, e = -mirror * sin, cos
    matrix = (a, b, centre[0] - a * half - b * half, d, e, centre[1] - d * half - e * half)
    picture = Image.fromarray(pixels)
    if scale < 0.6:  # Bilinear alone would skip pixels.
        picture, matrix = picture.reduce(2), tuple(v / 2 for v in matrix)
    return np.asarray(picture.transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR))


def turn(rng: Rng) -> float:
    """Returns degrees: mostly upright, now and then any."""
    return float(rng.uniform(-180, 180) if rng.random() < 0.15 else rng.normal(0, 8))


def photo_crop(rng: Rng, pixels: Pixels, size: int) -> Pixels:
    """Returns a photo with its matte, turned and scaled at random, mirrored beyond its border."""
    height, width = pixels.shape[:2]
    pad = (height // 3, width // 3)
    wide = np.pad(pixels, ((pad[0], pad[0]), (pad[1], pad[1]), (0, 0)), mode="symmetric")
    scale = size / max(height, width) * float(np.exp(rng.normal(0.05, 0.2)))
    centre = (
        pad[1] + width * (0.5 + rng.normal(0, 0.06)),
        pad[0] + height * (0.5 + rng.normal(0, 0.06)),
    )
    how = {"scale": scale, "degrees": turn(rng), "flip": rng.random() < 0.5, "centre": centre}
    planes = (np.ascontiguousarray(wide[..., :3]), np.ascontiguousarray(wide[..., 3]))
    return np.dstack([affine(plane, size, **how) for plane in planes])


def placed(rng: Rng, pixels: Pixels, size: int) -> Pixels:
    """Returns an RGBA object somewhere on a transparent [size, size, 4], colours changed a little."""
    height, width = pixels.shape[:2]
    scale = size / max(height, width) * rng.uniform(0.35, 1.05)
    centre = (width * (0.5 + rng.normal(0, 0.15)), height * (0.5 + rng.normal(0, 0.15)))
    out = affine(pixels, size, scale=scale, degrees=turn(rng), flip=rng.random() < 0.5, centre=centre)
    gain = np.exp(rng.normal(0, 0.15)) * np.exp(rng.normal(0, 0.08, 3))
    return np.dstack([np.clip(out[..., :3] * gain, 0, 255).astype(np.uint8), out[..., 3]])


def relight(rng: Rng, pixels: Pixels) -> Pixels:
    """Returns a photo with a matte whose product and background have other colours than before."""
    alpha = pixels[..., 3:].astype(np.float32) / 255
    gains = np.exp(rng.normal(0, 0.25, (2, 1))) * np.exp(rng.normal(0, 0.12, (2, 3)))
    gain = alpha * gains[0] + (1 - alpha) * gains[1]
    return np.dstack([np.clip(pixels[..., :3] * gain, 0, 255).astype(np.uint8), pixels[..., 3]])


def shadow(rng: Rng, alpha: Pixels) -> npt.NDArray[np.float32]:
    """Returns what light is left [S, S] in [0, 1] around an object of this alpha: a soft shadow beside it."""
    size = alpha.shape[0]
    blur = float(rng.uniform(1, size * 0.05))
    offset = rng.normal(0, size * 0.03, 2).astype(int)
    soft = Image.fromarray(np.roll(alpha, tuple(offset), (0, 1))).filter(ImageFilter.GaussianBlur(blur))
    return 1 - np.asarray(soft, np.float32) / 255 * np.float32(rng.uniform(0.15, 0.75))


def background(rng: Rng, photos: Sequence[Pixels], size: int) -> Pixels:
    """Returns [size, size, 4] with alpha 0: a part of a photo without product, a blurred photo, or a drawn pattern."""
    draw = rng.random()
    if draw < 0.55:
        colour = ground_of_photo(rng, photos, size)
    elif draw < 0.7:
        photo = np.ascontiguousarray(pick(rng, photos)[..., :3])
        part = affine(photo, size, scale=2.0, degrees=turn(rng), flip=False, centre=(200, 200))
        colour = np.asarray(Image.fromarray(part).filter(ImageFilter.GaussianBlur(float(rng.uniform(8, 40)))))
    else:
        colour = drawn(rng, size)
    return np.dstack([colour, np.zeros((size, size), np.uint8)])


def ground_of_photo(rng: Rng, photos: Sequence[Pixels], size: int) -> Pixels:
    """Returns RGB [size, size, 3]: a rectangle of a photo that shows no product, mirrored until it fills the square."""
    for _ in range(12):
        photo = pick(rng, photos)
        height, width = photo.shape[:2]
        h, w = (int(rng.integers(24, max(25, side // 2))) for side in (height, width))
        top, left = int(rng.integers(height - h)), int(rng.integers(width - w))
        part = photo[top : top + h, left : left + w]
        if part[..., 3].max() < 25:
            zoom = float(rng.uniform(1, 2.5)) * size / 384
            scaled = Image.fromarray(np.ascontiguousarray(part[..., :3])).resize(
                (max(8, int(w * zoom)), max(8, int(h * zoom))), Image.Resampling.BICUBIC
            )
            tile = np.asarray(scaled)
            again = [(0, max(0, size - side)) for side in tile.shape[:2]]
            return np.pad(tile, (*again, (0, 0)), mode="symmetric")[:size, :size]
    return drawn(rng, size)


def drawn(rng: Rng, size: int) -> Pixels:
    """Returns RGB [size, size, 3]: one colour, or a gradient, planks, weave or checks with noise of several widths."""
    low, high = rng.uniform(0, 255, (2, 3))
    if rng.random() < 0.4:  # Light, nearly grey: what most product photos are taken on.
        low = rng.uniform(150, 255) + rng.normal(0, 6, 3)
        high = low + rng.normal(0, 18, 3)
    if rng.random() < 0.2:  # A studio's paper.
        return np.broadcast_to(np.clip(low, 0, 255).astype(np.uint8), (size, size, 3))
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    angle = rng.uniform(0, np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    kind = rng.integers(5)
    pattern = along
    if kind == 1:
        pattern = (np.floor(along * rng.integers(3, 16)) % 2) * rng.uniform(0.2, 1) + along * 0.2
    elif kind == 2:
        n = rng.integers(3, 20)
        pattern = (np.floor(x * n) + np.floor(y * n)) % 2
    elif kind == 3:
        pattern = 0.5 + 0.5 * np.sin(along * rng.uniform(20, 200)) * rng.uniform(0.2, 1)
    elif kind == 4:
        pattern = 0.5 + noise(rng, size, stretch=(1, int(rng.integers(4, 24))))
    out = low + (high - low) * pattern[..., None] + 255 * float(rng.uniform(0, 0.2)) * noise(rng, size)[..., None]
    return np.clip(out, 0, 255).astype(np.uint8)


def noise(rng: Rng, size: int, stretch: tuple[int, int] = (1, 1)) -> npt.NDArray[np.float32]:
    """Returns noise [size, size] of several widths, about in [-0.5, 0.5]."""
    total = np.zeros((size, size), np.float32)
    for width in (2, 8, 32):
        cells = [max(2, size // (width * s)) for s in stretch]
        plane = Image.fromarray(rng.normal(0, 0.15, cells).astype(np.float32))
        total += np.asarray(plane.resize((size, size), Image.Resampling.BICUBIC))
    return total


def spoil(rng: Rng, pixels: Pixels) -> Pixels:
    """Returns the photo with other light, colours, sharpness, noise and JPEG; alpha stays."""
    colour = pixels[..., :3].astype(np.float32)
    gain = np.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.06, 3))
    colour = 255 * np.clip(colour * gain / 255, 0, 1) ** np.float32(np.exp(rng.normal(0, 0.15)))
    if rng.random() < 0.5:
        grey = colour.mean(2, keepdims=True)
        colour = grey + (colour - grey) * rng.uniform(0.3, 1.4)
    if rng.random() < 0.3:
        colour += rng.normal(0, rng.uniform(1, 10), colour.shape)
    picture = Image.fromarray(np.clip(colour, 0, 255).astype(np.uint8))
    if rng.random() < 0.25:
        picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.2))))
    if rng.random() < 0.5:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=int(rng.integers(30, 95)))
        picture = Image.open(buffer)
    return np.dstack([np.asarray(picture), pixels[..., 3]])
