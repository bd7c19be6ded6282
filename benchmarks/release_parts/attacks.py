"""What happens to a picture on its way: by name, each a function of pixels [H, W, 3] and a source of chance."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial

import numpy as np
from PIL import Image

from packshot.images.resize import Pixels

Attack = Callable[[Pixels, np.random.Generator], Pixels]


def compressed(pixels: Pixels, rng: np.random.Generator, kind: str, quality: int, chroma: str = "4:2:0") -> Pixels:
    """Returns pixels after a JPEG or a WebP."""
    file = io.BytesIO()
    if kind == "JPEG":
        Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=chroma)
    else:
        Image.fromarray(pixels).save(file, "WEBP", quality=quality, method=4)
    with Image.open(file) as read:
        return np.asarray(read.convert("RGB"))


def resized(pixels: Pixels, rng: np.random.Generator, percent: int) -> Pixels:
    """Returns pixels at another size, by Lanczos."""
    height, width = (max(1, round(n * percent / 100)) for n in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


def cropped(pixels: Pixels, rng: np.random.Generator, percent: int) -> Pixels:
    """Returns pixels that lost so much of their width and of their height, at a place drawn at random."""
    height, width = (round(n * (1 - percent / 100)) for n in pixels.shape[:2])
    top = int(rng.integers(pixels.shape[0] - height + 1))
    left = int(rng.integers(pixels.shape[1] - width + 1))
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def on_screen(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Returns a screenshot: at 80 % by a bilinear filter, on a page with a pale margin and a bar, as a JPEG of q85."""
    small = Image.fromarray(pixels)
    small = small.resize((round(small.width * 0.8), round(small.height * 0.8)), Image.Resampling.BILINEAR)
    margin, bar = round(0.04 * small.width), round(0.08 * small.height)
    page = Image.new("RGB", (small.width + 2 * margin, small.height + 2 * margin + bar), (246, 246, 248))
    page.paste((52, 58, 70), (0, 0, page.width, bar))
    page.paste(small, (margin, bar + margin))
    return compressed(np.asarray(page), rng, "JPEG", 85)


def after(first: Attack, second: Attack) -> Attack:
    """Returns the second attack on the result of the first."""
    return lambda pixels, rng: second(first(pixels, rng), rng)


def _jpeg(quality: int, chroma: str = "4:2:0") -> Attack:
    return partial(compressed, kind="JPEG", quality=quality, chroma=chroma)


HALF, TENTH = partial(resized, percent=50), partial(cropped, percent=10)
MAIN: dict[str, Attack] = {
    "JPEG q75 4:2:0": _jpeg(75),
    "resize 50 %": HALF,
    "crop 10 %": TENTH,
    "WebP q80": partial(compressed, kind="WEBP", quality=80),
    "screenshot": on_screen,
    "resize 50 %, JPEG q75": after(HALF, _jpeg(75)),
    "crop 10 %, JPEG q75": after(TENTH, _jpeg(75)),
}
"""Those of the goals, and what else is common: for every photo."""
GAUNTLET: dict[str, Attack] = {
    **{f"JPEG q{q} 4:2:0": _jpeg(q) for q in (50, 60, 70, 80, 90, 95)},
    **{f"JPEG q{q} 4:4:4": _jpeg(q, "4:4:4") for q in (50, 60, 70, 75, 80, 90, 95)},
    "WebP q50": partial(compressed, kind="WEBP", quality=50),
    "WebP q90": partial(compressed, kind="WEBP", quality=90),
    **{f"resize {p} %": partial(resized, percent=p) for p in (25, 75, 150, 200)},
    "crop 5 %": partial(cropped, percent=5),
    "crop 20 %": partial(cropped, percent=20),
}
"""The others: for a part of the photos."""
