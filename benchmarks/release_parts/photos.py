"""The photos that are marked, and the pictures without a mark that none may be read from."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from packshot.core.errors import PackshotError
from packshot.images.resize import Pixels

FASHION = Path("/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz")
SHARES = {"clothing": 270, "catalogue": 170, "studio": 60}
"""Photos by private sellers; studio photos, most on white; packshots laid on flat white, at 1,024 and at 1,400 px."""
STUDIO_SIDES = (1024, 1400)
LEAST = 256
UNMARKED = {"part of a photo": 0.6, "photo of another size": 0.25, "Fashion-MNIST": 0.05, "made up": 0.1}
"""Shares of the pictures without a mark."""


class Photo(NamedTuple):
    """A photo: its kind, its name, its file, and the side that it is enlarged to (0: none)."""

    kind: str
    name: str
    path: Path
    side: int = 0

    def pixels(self) -> Pixels:
        """Returns pixels uint8 [H, W, 3]; one with alpha is laid on white."""
        with Image.open(self.path) as file:
            picture = file.convert("RGBA") if "A" in file.getbands() else file.convert("RGB")
        if self.side and max(picture.size) != self.side:
            scale = self.side / max(picture.size)
            size = round(picture.width * scale), round(picture.height * scale)
            picture = picture.resize(size, Image.Resampling.LANCZOS)
        if picture.mode == "RGBA":
            white = Image.new("RGBA", picture.size, "white")
            white.alpha_composite(picture)
            picture = white.convert("RGB")
        return np.asarray(picture)


def all_photos(data: Path) -> dict[str, list[Photo]]:
    """Returns all photos of DATA by kind.

    Raises:
        PackshotError: a folder is not there.
    """
    listed = data / "clothing/metadata.csv"
    if not listed.is_file():
        raise PackshotError(f"{listed} is not there; --data names the folder that holds clothing, catalogue and rgba.")
    with listed.open(newline="") as file:
        known = {next(iter(row.values())) for row in csv.DictReader(file)}
    clothing = sorted((data / "clothing/original").glob("*.jpg"))
    clothing = [p for p in clothing if p.stem in known]
    photos = {
        "clothing": [Photo("clothing", p.name, p) for p in clothing],
        "catalogue": [Photo("catalogue", p.name, p) for p in sorted((data / "catalogue").glob("*.jpg"))],
        "studio": [
            Photo("studio", f"{p.stem}-{side}", p, side)
            for side in STUDIO_SIDES
            for p in sorted((data / "rgba").glob("*.png"))
        ],
    }
    for kind, found in photos.items():
        if not found:
            raise PackshotError(f"There are no photos of the kind '{kind}' in {data}.")
    return photos


def chosen_photos(data: Path, count: int) -> list[Photo]:
    """Returns `count` photos in an order drawn at random, of each kind its share; the same each time."""
    rng = np.random.default_rng(5)
    whole = sum(SHARES.values())
    taken: list[Photo] = []
    for kind, photos in all_photos(data).items():
        order = rng.permutation(len(photos))
        taken += [photos[i] for i in order[: SHARES[kind]]]
    return [taken[i] for i in rng.permutation(len(taken))][: min(count, whole)]


def unmarked(data: Path, first: int, count: int) -> Iterator[tuple[str, Pixels]]:
    """Yields kind and pixels of pictures number first, first + 1, ..., that carry no mark; the same each time."""
    photos = [photo for kind in all_photos(data).values() for photo in kind]
    small = _fashion() if FASHION.is_file() else None
    for number in range(first, first + count):
        rng = np.random.default_rng([7, number])
        kind = str(rng.choice(list(UNMARKED), p=list(UNMARKED.values())))
        if kind == "Fashion-MNIST" and small is None:
            kind = "made up"
        if kind == "made up":
            yield kind, _made_up(rng)
        elif kind == "Fashion-MNIST":
            assert small is not None
            picture = Image.fromarray(small[rng.integers(len(small))]).convert("RGB")
            side = int(rng.integers(LEAST, 641))
            yield kind, np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC))
        else:
            picture = Image.fromarray(photos[rng.integers(len(photos))].pixels())
            yield kind, np.asarray(_part(picture, rng) if kind == "part of a photo" else _resized(picture, rng))


def _part(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    width, height = (int(n * rng.uniform(0.5, 1)) for n in picture.size)
    left, top = rng.integers(picture.width - width + 1), rng.integers(picture.height - height + 1)
    part = picture.crop((left, top, left + width, top + height))
    return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else part


def _resized(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    scale = rng.uniform(0.5, 1.5)
    size = round(picture.width * scale), round(picture.height * scale * rng.uniform(0.9, 1.1))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _made_up(rng: np.random.Generator) -> Pixels:
    """Returns noise, a gradient, a flat colour, stripes, or smooth blobs, some with noise on top."""
    height, width = (int(n) for n in rng.integers(LEAST, 700, 2))
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    what = rng.integers(5)
    base = rng.uniform(0, 255, 3).astype(np.float32)
    plane = np.zeros((height, width, 3), np.float32) + base
    if what == 0:
        plane = rng.uniform(0, 255, (height, width, 3)).astype(np.float32)
    elif what == 1:
        plane += ((x / width * rng.uniform(-1, 1) + y / height * rng.uniform(-1, 1)) * 200)[..., None]
    elif what == 2:
        turn = rng.uniform(0, np.pi)
        wave = np.sin((x * np.cos(turn) + y * np.sin(turn)) * 2 * np.pi / rng.uniform(3, 60))
        plane += (wave * rng.uniform(1, 100))[..., None]
    elif what == 3:
        cells = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        plane = np.array(Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC), np.float32)
    if rng.random() < 0.5:
        plane = plane + rng.normal(0, rng.uniform(0.5, 8), plane.shape)
    return np.asarray(np.clip(plane, 0, 255), np.uint8)


def _fashion() -> Pixels:
    with gzip.open(FASHION) as file:
        return np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
