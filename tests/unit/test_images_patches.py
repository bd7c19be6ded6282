"""Holes filled smoothly and with patches."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packshot.images.patches import fill_patches
from packshot.images.smooth import fill_membrane, fill_smooth, fit_guess


def box(height: int, width: int, top: int, left: int, rows: int, columns: int) -> np.ndarray:
    hole = np.zeros((height, width), bool)
    hole[top : top + rows, left : left + columns] = True
    return hole


def error(a: np.ndarray, b: np.ndarray, hole: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b)[hole].mean())


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_outside_of_the_hole_not_one_bit_changes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 60, 2)
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    hole = rng.random((height, width)) < rng.uniform(0, 1)
    hole[rng.integers(height), rng.integers(width)] = False
    filled = fill_patches(pixels, hole)
    assert filled.dtype == np.uint8 and filled.shape == pixels.shape
    np.testing.assert_array_equal(filled[~hole], pixels[~hole])


def test_what_stands_in_the_hole_has_no_influence_and_the_seed_decides() -> None:
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (70, 60, 3), dtype=np.uint8)
    hole = box(70, 60, 20, 15, 25, 30)
    other = pixels.copy()
    other[hole] = 7
    first = fill_patches(pixels, hole, seed=1)
    np.testing.assert_array_equal(first, fill_patches(other, hole, seed=1))
    assert (first != fill_patches(pixels, hole, seed=2)).any()


def test_a_periodic_texture_is_restored_nearly_exactly() -> None:
    y, x = np.mgrid[:120, :120]
    pattern = np.stack(
        [128 + 100 * np.sin(x * np.pi / 4), 128 + 100 * np.sin(y * np.pi / 5), (x // 4 + y // 5) % 2 * 200], 2
    )
    pixels = pattern.astype(np.uint8)
    hole = box(120, 120, 45, 40, 36, 40)
    assert error(fill_patches(pixels, hole), pixels, hole) < 3
    smooth = fill_smooth(pixels.astype(np.float32), hole)
    assert error(smooth, pixels, hole) > 30


def test_an_edge_goes_on_straight_through_the_hole() -> None:
    pixels = np.zeros((90, 90, 3), np.uint8)
    pixels[:, 45:] = (200, 60, 40)
    hole = box(90, 90, 30, 30, 30, 30)
    assert error(fill_patches(pixels, hole), pixels, hole) < 4


@pytest.mark.parametrize("colour", [0, 255])
def test_one_colour_stays_one_colour(colour: int) -> None:
    pixels = np.full((50, 40, 3), colour, np.uint8)
    damaged = pixels.copy()
    hole = box(50, 40, 0, 0, 30, 40)
    damaged[hole] = 99
    np.testing.assert_array_equal(fill_patches(damaged, hole), pixels)


def test_only_what_is_allowed_is_copied() -> None:
    pixels = np.zeros((60, 120, 3), np.uint8)
    pixels[:, 60:, 1] = 255
    hole = box(60, 120, 20, 20, 20, 20)
    allowed = np.zeros((60, 120), bool)
    allowed[:, :60] = True
    assert fill_patches(pixels, hole, allowed=allowed)[hole].max() == 0


def test_a_guide_draws_what_a_large_hole_holds_towards_it() -> None:
    rng = np.random.default_rng(0)
    pixels = np.where(np.arange(120)[None, :, None] < 60, 60, 190) + rng.normal(0, 6, (120, 120, 1))
    pixels = np.repeat(np.clip(pixels, 0, 255), 3, axis=2).astype(np.uint8)
    hole = box(120, 120, 40, 30, 40, 60)
    guide = pixels.astype(np.float32)
    guide[hole] = 190
    without = error(fill_patches(pixels, hole), np.float64(190), hole)
    assert error(fill_patches(pixels, hole, guide=guide), np.float64(190), hole) < 0.6 * without


def test_one_pixel_no_hole_and_nothing_known() -> None:
    one = np.full((1, 1, 3), 9, np.uint8)
    np.testing.assert_array_equal(fill_patches(one, np.zeros((1, 1), bool)), one)
    for fill in (lambda: fill_patches(one, np.ones((1, 1), bool)), lambda: fill_smooth(one, np.ones((1, 1), bool))):
        with pytest.raises(ValueError, match="covers the whole picture"):
            fill()


def test_a_smooth_filling_goes_on_with_a_slope() -> None:
    y, x = np.mgrid[:60, :60].astype(np.float32)
    plane = (2 * x + y)[..., None]
    hole = box(60, 60, 20, 20, 8, 30)
    damaged = np.where(hole[..., None], 0, plane)
    np.testing.assert_allclose(fill_smooth(damaged, hole), plane, atol=1.5)


def test_a_large_smooth_filling_stays_within_what_surrounds_it() -> None:
    rng = np.random.default_rng(1)
    image = rng.uniform(50, 90, (150, 150, 2)).astype(np.float32)
    hole = box(150, 150, 20, 20, 100, 100)
    filled = fill_smooth(image, hole)
    np.testing.assert_array_equal(filled[~hole], image[~hole])
    assert filled.min() > 30 and filled.max() < 110


def test_a_membrane_is_harmonic() -> None:
    y, x = np.mgrid[:24, :24].astype(np.float32)
    harmonic = (x * x - y * y)[..., None]
    hole = box(24, 24, 8, 8, 8, 8)
    np.testing.assert_allclose(fill_membrane(np.where(hole[..., None], 0, harmonic), hole), harmonic, atol=20)


def test_a_guess_is_moved_to_fit_what_is_known() -> None:
    image = np.full((40, 40, 1), 100, np.float32)
    hole = box(40, 40, 10, 10, 20, 20)
    np.testing.assert_allclose(fit_guess(image, hole, image - 30), image, atol=0.5)
