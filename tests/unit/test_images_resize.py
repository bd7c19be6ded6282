"""Sizes and channels against closed forms."""

import numpy as np
import pytest

from packshot.core.errors import UsageError
from packshot.images.resize import border_colour, fit_square, flatten, resize, to_grey, to_rgb

NOISE = np.random.default_rng(11)


def test_flatten_is_the_rounded_mixture() -> None:
    pixels = NOISE.integers(0, 256, (16, 16, 4), dtype=np.uint8)
    alpha = pixels[..., 3:] / 255
    for background in ((255, 255, 255), (10, 200, 0)):
        want = pixels[..., :3] * alpha + np.array(background) * (1 - alpha)
        assert np.abs(flatten(pixels, background) - want).max() <= 0.5 + 1e-9
    rgb = pixels[..., :3]
    assert flatten(rgb) is rgb


def test_grey_is_bt601_luma() -> None:
    pixels = NOISE.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    grey = to_grey(pixels)
    assert grey.shape == (16, 16, 1)
    assert np.abs(grey[..., 0] - pixels @ np.array([0.299, 0.587, 0.114])).max() <= 0.51
    clear = np.zeros((2, 2, 4), np.uint8)
    assert to_grey(clear).min() == 255
    assert to_grey(grey) is grey
    assert np.array_equal(to_rgb(grey), np.concatenate([grey] * 3, axis=2))
    assert to_rgb(clear).shape == (2, 2, 3)


def test_reduction_is_antialiased() -> None:
    """A fine checkerboard becomes even grey; taking every n-th pixel would give black or white."""
    y, x = np.mgrid[0:256, 0:256]
    board = (((x + y) % 2) * 255).astype(np.uint8)[..., None]
    for pixels in (board, to_rgb(board)):
        small = resize(pixels, 20, 31)
        assert small.shape == (20, 31, pixels.shape[2])
        assert np.abs(small.astype(int) - 127).max() <= 6


def test_hidden_colours_do_not_bleed() -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:, :4] = (255, 0, 0, 255)
    pixels[:, 4:] = (0, 255, 0, 0)
    small = resize(pixels, 3, 3)
    assert small[..., 1].max() == 0


def test_crop_keeps_the_middle() -> None:
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, :10], pixels[:, 10:20], pixels[:, 20:] = 10, 20, 30
    assert (fit_square(pixels, 10) == 20).all()
    assert (fit_square(pixels.transpose(1, 0, 2), 10) == 20).all()
    same = NOISE.integers(0, 256, (12, 12, 3), dtype=np.uint8)
    assert np.array_equal(fit_square(same, 12), same)
    assert np.array_equal(fit_square(same, 12, "pad"), same)


def test_pad_keeps_all_and_fills_with_the_border() -> None:
    pixels = np.full((20, 40, 3), (200, 180, 160), np.uint8)
    pixels[5:15, 10:30] = 0
    out = fit_square(pixels, 40, "pad")
    assert np.array_equal(out[10:30], pixels)
    assert (out[:10] == (200, 180, 160)).all()
    assert (out[30:] == (200, 180, 160)).all()
    assert (fit_square(pixels, 40, "pad", (1, 2, 3))[0] == (1, 2, 3)).all()
    assert fit_square(np.zeros((1, 500, 1), np.uint8), 8, "pad").shape == (8, 8, 1)


def test_the_border_colour_is_a_median() -> None:
    pixels = np.full((9, 9, 3), 50, np.uint8)
    pixels[0, :4] = 255  # A logo in a corner does not count.
    pixels[4, 4] = 0
    assert border_colour(pixels) == (50, 50, 50)
    assert border_colour(np.full((1, 1, 4), 7, np.uint8)) == (7, 7, 7, 7)


def test_wrong_calls() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(UsageError, match="Known: crop, pad"):
        fit_square(pixels, 4, "stretch")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="channels"):
        fit_square(pixels, 4, "pad", (1, 2))
