"""Damage made to measure is what it says, and the same every time."""

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from packshot.images.degrade import Damage, as_jpeg, blurred, damage, shrunk


def noise_picture(height: int = 40, width: int = 48) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_no_damage_changes_nothing() -> None:
    x = noise_picture()
    assert np.array_equal(damage(x, Damage()), x)


def test_damage_is_a_function_of_its_seed() -> None:
    x = noise_picture()
    kinds = Damage(blur=1.0, noise=9.0, grain=0.4, jpeg=50, seed=3)
    assert np.array_equal(damage(x, kinds), damage(x, kinds))
    assert not np.array_equal(damage(x, kinds), damage(x, Damage(blur=1.0, noise=9.0, grain=0.4, jpeg=50, seed=4)))


@pytest.mark.parametrize("sigma", [0.5, 1.3])
def test_blur_is_a_gaussian(sigma: float) -> None:
    x = noise_picture().astype(np.float32)
    radius = max(1, int(3 * sigma + 0.5))
    expected = gaussian_filter(x, (sigma, sigma, 0), mode="nearest", radius=(radius, radius, 0))
    np.testing.assert_allclose(blurred(x, sigma), expected, atol=1e-2)


@pytest.mark.parametrize("grain", [0.0, 1.0])
def test_noise_has_the_strength_and_the_grain_asked_for(grain: float) -> None:
    x = np.full((200, 200, 3), 128, np.uint8)
    error = damage(x, Damage(noise=10.0, grain=grain, seed=1)).astype(float) - x
    assert error.std() == pytest.approx(10, rel=0.03)
    assert np.corrcoef(error[..., 0].ravel(), error[..., 1].ravel())[0, 1] == pytest.approx(grain, abs=0.03)


def test_what_is_lessened_wholly_is_gone() -> None:
    x = noise_picture()
    kinds = Damage(blur=1.0, noise=9.0, jpeg=30, seed=3)
    assert np.array_equal(damage(x, kinds.lessened(deblur=1, denoise=1, unjpeg=1)), x)
    assert np.array_equal(damage(x, kinds.lessened(deblur=0, denoise=0, unjpeg=0)), damage(x, kinds))
    half = damage(x, Damage(jpeg=30, kept=0.5)).astype(float)
    assert np.abs(half - (x.astype(float) + as_jpeg(x, 30)) / 2).max() <= 0.5


def test_shrunk_is_bicubic_of_what_fills_whole_pixels() -> None:
    x = noise_picture(41, 50)
    expected = Image.fromarray(x[:39, :48]).resize((16, 13), Image.Resampling.BICUBIC)
    assert np.array_equal(shrunk(x, 3), np.asarray(expected))
