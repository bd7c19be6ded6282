"""Text is found where it is printed, and not in plain cloth."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from packshot.images.text import components, text_mask


def page(text: str, at: tuple[int, int], size: int, ink: int = 30, paper: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Returns a picture with a text, and where its ink is."""
    canvas = Image.new("L", (400, 300), 0)
    ImageDraw.Draw(canvas).text(at, text, fill=255, font=ImageFont.load_default(size))
    cover = np.asarray(canvas)
    mixed = paper + (ink - paper) * (cover / 255)
    return np.repeat(mixed[..., None], 3, axis=2).round().astype(np.uint8), cover > 128


@pytest.mark.parametrize("size", [14, 24, 48])
@pytest.mark.parametrize(("ink", "paper"), [(30, 200), (240, 90)])
def test_printed_text_is_covered(size: int, ink: int, paper: int) -> None:
    pixels, letters = page("SALE 50 OFF", (60, 120), size, ink, paper)
    mask = text_mask(pixels)
    assert mask.shape == letters.shape and mask.dtype == np.float32
    assert mask[letters].mean() > 0.9
    assert mask[:80].max() == 0 and mask[220:].max() == 0
    assert mask.min() >= 0 and mask.max() <= 1


def test_large_photos_are_looked_at_small() -> None:
    pixels, letters = page("NEW SEASON", (60, 120), 40)
    large = np.asarray(Image.fromarray(pixels).resize((2000, 1500)))
    mask = text_mask(large)
    assert mask.shape == (1500, 2000)
    assert mask[np.asarray(Image.fromarray(letters).resize((2000, 1500)))].mean() > 0.9


@pytest.mark.parametrize("kind", ["flat", "gradient", "noise", "stripes", "disc"])
def test_cloth_is_no_text(kind: str) -> None:
    y, x = np.mgrid[:300, :400]
    grey = {
        "flat": np.full((300, 400), 255.0),
        "gradient": x / 2.0,
        "noise": np.random.default_rng(0).normal(128, 12, (300, 400)),
        "stripes": 128 + 60.0 * (y // 8 % 2),
        "disc": np.where((x - 200) ** 2 + (y - 150) ** 2 < 8000, 40.0, 200.0),
    }[kind]
    pixels = np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    assert text_mask(pixels).mean() < 0.02


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 5, 4), (1, 200, 3), (511, 13, 3)])
def test_any_size(shape: tuple[int, int, int]) -> None:
    assert text_mask(np.zeros(shape, np.uint8)).shape == shape[:2]


@pytest.mark.parametrize("density", [0.0, 0.1, 0.4, 0.6, 1.0])
def test_components_are_those_of_scipy(density: float) -> None:
    mask = np.random.default_rng(1).random((50, 70)) < density
    labels, n = ndimage.label(mask, np.ones((3, 3)))
    expected = [
        (s[0].start, s[1].start, s[0].stop, s[1].stop, int((labels[s] == i + 1).sum()))
        for i, s in enumerate(ndimage.find_objects(labels))
    ]
    assert len(expected) == n
    assert sorted(tuple(m) for m in components(mask)) == sorted(expected)
