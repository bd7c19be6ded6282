"""Quality figures against closed forms, scipy's convolution, and pictures whose damage is known."""

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.signal import convolve2d

from packshot.catalog import quality
from tests.catalog_photos import encoded, jpeg, photo


@pytest.fixture
def greys() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 40, 56), dtype=np.uint8)


def test_blur_is_the_variance_of_the_laplacian(greys: np.ndarray) -> None:
    kernel = [[0, 1, 0], [1, -4, 1], [0, 1, 0]]
    oracle = [convolve2d(g.astype(float), kernel, mode="valid").var() for g in greys]
    assert quality.compute_blur(greys) == pytest.approx(oracle, rel=1e-4)


def test_noise_is_immerkaers_sum(greys: np.ndarray) -> None:
    kernel = [[1, -2, 1], [-2, 4, -2], [1, -2, 1]]
    height, width = greys.shape[1:]
    factor = math.sqrt(math.pi / 2) / (6 * (width - 2) * (height - 2))
    oracle = [factor * np.abs(convolve2d(g.astype(float), kernel, mode="valid")).sum() for g in greys]
    assert quality.compute_noise(greys) == pytest.approx(oracle, rel=1e-5)


@pytest.mark.parametrize("sigma", [3.0, 8.0, 15.0])
def test_noise_finds_the_deviation_of_gaussian_noise(sigma: float) -> None:
    rng = np.random.default_rng(1)
    noisy = np.clip(128 + rng.normal(0, sigma, (1, 128, 128)), 0, 255).round().astype(np.uint8)
    assert quality.compute_noise(noisy)[0] == pytest.approx(sigma, rel=0.05)


def test_noise_does_not_see_slopes() -> None:
    slope = np.add.outer(np.arange(64), 2 * np.arange(64)).astype(np.uint8)[None]
    assert quality.compute_noise(np.minimum(slope, 190))[0] < 1
    assert quality.compute_noise(slope[:, :40, :40])[0] == 0


def test_blurring_lowers_blur() -> None:
    sharp = np.random.default_rng(2).integers(0, 256, (96, 96)).astype(float)
    stack = np.stack([gaussian_filter(sharp, s).astype(np.uint8) for s in (0, 1, 2, 4)])
    figures = quality.compute_blur(stack)
    assert all(np.diff(figures) < 0)


def test_blockiness_of_flat_blocks_and_of_none() -> None:
    blocks = np.kron(np.random.default_rng(3).integers(0, 2, (8, 8)) * 40, np.ones((8, 8))).astype(np.uint8)
    step = (
        np.abs(np.diff(blocks.astype(int), axis=1))[:, 7::8].mean(),
        np.abs(np.diff(blocks.astype(int), axis=0))[7::8].mean(),
    )
    expected = sum((s + 0.5) / 0.5 for s in step) / 2
    assert quality.compute_blockiness(blocks[None])[0] == pytest.approx(expected, rel=1e-5)
    assert quality.compute_blockiness(np.full((1, 64, 64), 77, np.uint8))[0] == 1
    noise = np.random.default_rng(4).integers(0, 256, (1, 128, 128), dtype=np.uint8)
    assert quality.compute_blockiness(noise)[0] == pytest.approx(1, abs=0.05)


def test_strong_jpeg_compression_is_blocky() -> None:
    from packshot.images.decode import decode

    smooth = photo(5, 120, 120)
    grey = [decode(jpeg(smooth, q)).pixels[..., 1] for q in (95, 40, 10)]
    figures = quality.compute_blockiness(np.stack(grey))
    assert figures[0] < figures[1] < figures[2]
    assert figures[2] > 1.5


def test_clipping_counts_pixels() -> None:
    grey = np.array([[[0, 2, 3, 100], [252, 253, 255, 254]]], np.uint8)
    low, high = quality.compute_clipping(grey)
    assert (low[0], high[0]) == (2 / 8, 3 / 8)


@pytest.mark.parametrize("setting", [5, 10, 25, 49, 50, 51, 75, 90, 95, 99, 100])
def test_jpeg_quality_is_read_from_the_tables(setting: int) -> None:
    data = jpeg(photo(6), setting)
    assert quality.estimate_jpeg_quality(data) == pytest.approx(setting, abs=1)


def test_jpeg_quality_of_what_is_no_jpeg_or_cut_off() -> None:
    data = jpeg(photo(6), 75)
    for other in (
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff",
        data[:20],
        data[:60],
        encoded(photo(6), "PNG"),
        b"\xff\xd8" + b"\xff\xdb\0\0" * 9,
    ):
        assert math.isnan(quality.estimate_jpeg_quality(other))


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 9), (1, 2, 2), (1, 15, 40)])
def test_pictures_too_small_to_measure_are_nan_not_an_error(shape: tuple[int, ...]) -> None:
    grey = np.zeros(shape, np.uint8)
    for figure in (quality.compute_blur, quality.compute_noise):
        assert np.isnan(figure(grey)).all() == (min(shape[1:]) < 3)
    assert np.isnan(quality.compute_blockiness(grey)).all()


def test_figures_do_not_depend_on_the_company(greys: np.ndarray) -> None:
    for figure in (quality.compute_blur, quality.compute_noise, quality.compute_blockiness):
        together = figure(greys)
        assert [figure(g[None])[0] for g in greys] == together.tolist()


@pytest.mark.parametrize(("width", "height"), [(500, 300), (129, 127), (128, 128), (1, 2000)])
def test_the_window_is_the_middle_and_starts_on_a_block(width: int, height: int) -> None:
    left, top, right, bottom = quality.window_box(width, height)
    for low, high, side in ((left, right, width), (top, bottom, height)):
        assert low % 8 == 0
        assert high - low == min(side, quality.WINDOW)
        assert abs((low + high) / 2 - side / 2) <= 8


def test_the_factor_brings_the_longest_side_near_192() -> None:
    sizes = {100: 1, 192: 1, 287: 1, 289: 2, 533: 3, 1024: 5, 8000: 42}
    assert {side: quality.reducing_factor(side, 50) for side in sizes} == sizes
