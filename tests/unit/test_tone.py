"""White balance, low light and tone: what they repair, what they leave alone, and that strength 0 is nothing."""

import numpy as np
import pytest

from packshot.images.hold import hold_near
from packshot.images.lab import delta_e
from packshot.images.tone import auto_tone, lift_shadows, white_balance


def scene(height: int = 60, width: int = 80) -> np.ndarray:
    """A red square on a grey floor whose light falls off to one side."""
    x = np.repeat(np.linspace(150, 210, width)[None, :, None], height, 0).repeat(3, 2)
    x[20:40, 30:50] = (170, 40, 45)
    return np.rint(x).astype(np.uint8)


def in_light(x: np.ndarray, gains: tuple[float, float, float]) -> np.ndarray:
    linear = (x / 255) ** 2.2 * np.array(gains)
    return np.rint(np.clip(linear, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8)


@pytest.mark.parametrize("function", [white_balance, auto_tone, lift_shadows])
def test_strength_0_is_identity(function) -> None:
    x = np.random.default_rng(0).integers(0, 256, (30, 41, 3), np.uint8) // 2
    assert np.array_equal(function(x, 0.0)[0], x)


@pytest.mark.parametrize("light", [(1.1, 0.95, 0.75), (0.8, 0.95, 1.1)])
def test_the_colour_of_the_light_is_taken_away(light: tuple[float, float, float]) -> None:
    true, seen = scene(), in_light(scene(), light)
    balanced, gains = white_balance(seen, 1.0)
    assert delta_e(balanced, true).mean() < 0.35 * delta_e(seen, true).mean()
    floor = balanced[:15].astype(int)
    assert np.abs(floor - floor.mean(axis=2, keepdims=True)).max() < 4
    assert (gains[2] > gains[0]) == (light[2] < light[0])


def test_neutral_light_stays() -> None:
    assert delta_e(white_balance(scene(), 1.0)[0], scene()).max() < 1


def test_a_red_dress_that_fills_the_picture_says_nothing_about_the_light() -> None:
    x = np.full((40, 40, 3), (180, 30, 40), np.uint8)
    balanced, gains = white_balance(x, 1.0)
    assert np.array_equal(balanced, x) and gains == (1.0, 1.0, 1.0)


def test_half_the_strength_is_half_of_the_way() -> None:
    seen = in_light(scene(), (1.1, 0.95, 0.75))
    half, whole = (white_balance(seen, s)[1] for s in (0.5, 1.0))
    np.testing.assert_allclose(np.square(half), whole, rtol=1e-3)


def test_dark_photos_are_lifted_without_a_glow() -> None:
    x = np.zeros((80, 80, 3), np.uint8)
    x[:, :40], x[:, 40:] = (20, 18, 16), (90, 80, 70)
    lifted, gamma = lift_shadows(x, 1.0)
    assert gamma < 0.7 and lifted[:, :30].mean() > 1.5 * x[:, :30].mean()
    for part in (slice(0, 39), slice(41, 80)):  # Each side stays one colour, up to the edge between them.
        side = lifted[:, part, 1].astype(int)
        assert side.max() - side.min() <= 0.25 * side.mean()
    assert (lifted[:, 45:].mean(axis=(0, 1)) > lifted[:, :35].mean(axis=(0, 1))).all()


def test_light_photos_are_left_alone() -> None:
    assert np.array_equal(lift_shadows(scene(), 1.0)[0], scene())


def test_levels_are_stretched_within_limits_and_grey_stays_grey() -> None:
    x = np.repeat(np.linspace(40, 200, 100).astype(np.uint8)[None, :, None], 20, 0).repeat(3, 2)
    out, (black, white, gamma) = auto_tone(x, 1.0)
    assert black == pytest.approx(32) and white == pytest.approx(255 - 32) and 0.8 <= gamma <= 1
    assert out.min() < x.min() and out.max() > x.max()
    assert np.array_equal(out[..., 0], out[..., 1]) and np.array_equal(out[..., 0], out[..., 2])
    assert (np.diff(out[0, :, 0].astype(int)) >= 0).all()


@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (23, 17)])
@pytest.mark.parametrize("function", [white_balance, auto_tone, lift_shadows])
def test_flat_pictures(function, size: tuple[int, int], value: int) -> None:
    out = function(np.full((*size, 3), value, np.uint8), 1.0)[0]
    assert out.shape == (*size, 3) and np.ptp(out) == 0


def test_held_colours_are_within_the_limit_and_the_others_stay() -> None:
    rng = np.random.default_rng(0)
    reference = rng.integers(0, 256, (50, 60, 3), np.uint8)
    wild = np.clip(reference.astype(int) + rng.integers(-30, 31, reference.shape), 0, 255).astype(np.uint8)
    wild[:25] = reference[:25]
    held, share = hold_near(wild, reference, 3.0)
    assert delta_e(held, reference).max() <= 3.0
    before = delta_e(wild, reference)
    assert share == pytest.approx((before > 3).mean())
    assert np.array_equal(held[before <= 3], wild[before <= 3])


def test_nothing_is_held_where_one_pixel_in_a_hundred_is_beyond() -> None:
    reference = np.full((100, 100, 3), 100, np.uint8)
    few, many = reference.copy(), reference.copy()
    few[:1], many[:2] = 160, 160
    assert np.array_equal(hold_near(few, reference, 3.0)[0], few)
    assert delta_e(hold_near(many, reference, 3.0)[0], reference).max() <= 3
