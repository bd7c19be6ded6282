"""Damage drawn onto pictures of the tests' own, and found again."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from packshot.core.errors import UsageError
from packshot.images.damage import KINDS, draw_damage
from packshot.images.defects import find_defects


def plain(seed: int = 0, height: int = 300, width: int = 320) -> np.ndarray:
    """A plain cloth with a gentle light and some noise."""
    y, x = np.mgrid[:height, :width]
    base = 150 + 25 * np.sin(x / 90) + 20 * np.cos(y / 70)
    noise = np.random.default_rng(seed).normal(0, 2, (height, width, 3))
    return np.clip(base[..., None] * (1.0, 0.85, 0.75) + noise, 0, 255).astype(np.uint8)


def checked() -> np.ndarray:
    y, x = np.mgrid[:300, :320]
    squares = ((x // 12 + y // 12) % 2 * 140 + 50)[..., None]
    return np.repeat(squares, 3, axis=2).astype(np.uint8)


def buttons() -> np.ndarray:
    im = Image.fromarray(plain(5))
    draw = ImageDraw.Draw(im)
    for top in range(30, 280, 40):
        draw.ellipse((150, top, 164, top + 14), fill=(60, 40, 30))
        draw.ellipse((155, top + 5, 159, top + 9), fill=(190, 170, 160))
    return np.asarray(im)


@pytest.mark.parametrize("kind", list(KINDS))
def test_damage_changes_what_its_mask_says_and_is_a_function_of_the_seed(kind: str) -> None:
    pixels = plain()
    damaged = draw_damage(pixels, np.random.default_rng(4), [kind])
    again = draw_damage(pixels, np.random.default_rng(4), [kind])
    np.testing.assert_array_equal(damaged.pixels, again.pixels)
    assert damaged.mask.any() and not damaged.mask.all()
    changed = (damaged.pixels != pixels).any(2)
    assert changed[damaged.mask].mean() > 0.8


def test_an_unknown_kind_of_damage_is_refused() -> None:
    with pytest.raises(UsageError, match="dust"):
        draw_damage(plain(), np.random.default_rng(0), ["dusty"])


@pytest.mark.parametrize(("kind", "recall"), [("blocks", 0.9), ("holes", 0.75), ("dust", 0.6)])
def test_damage_on_plain_ground_is_found(kind: str, recall: float) -> None:
    hit = drawn = right = claimed = 0
    for seed in range(5):
        damaged = draw_damage(plain(seed), np.random.default_rng(seed), [kind])
        found = find_defects(damaged.pixels).mask
        hit, drawn = hit + (found & damaged.mask).sum(), drawn + damaged.mask.sum()
        right, claimed = right + (found & damaged.mask).sum(), claimed + found.sum()
    assert hit / drawn > recall
    assert right / claimed > 0.5  # Around a speck its soft edge is claimed too.


@pytest.mark.parametrize("pixels", [plain(), checked(), buttons()], ids=["plain", "checked", "buttons"])
def test_what_belongs_to_the_product_is_left_alone(pixels: np.ndarray) -> None:
    assert not find_defects(pixels).mask.any()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 300), (23, 400), (33, 31)])
@pytest.mark.parametrize("colour", [0, 255])
def test_small_and_empty_pictures_have_no_damage(height: int, width: int, colour: int) -> None:
    found = find_defects(np.full((height, width, 3), colour, np.uint8))
    assert found.mask.shape == (height, width)
    assert not found.mask.any() and not found.found


def test_a_large_picture_is_searched_small_and_told_in_its_own_pixels() -> None:
    pixels = plain(1, 1400, 1500)
    pixels[300:380, 500:640] = 0
    found = find_defects(pixels)
    assert [d.kind for d in found.found if d.sure] == ["block"]
    left, top, width, height = found.found[0].box
    assert abs(left - 500) < 8 and abs(top - 300) < 8 and abs(width - 140) < 16 and abs(height - 80) < 16


def test_nothing_is_looked_for_where_a_picture_is_transparent() -> None:
    pixels = np.dstack([plain(2), np.full((300, 320), 255, np.uint8)])
    pixels[100:104, 100:104] = (0, 0, 0, 0)
    assert not find_defects(pixels).mask.any()
