"""Shadows: they lie where they should, end, and leave the backdrop beyond untouched."""

import numpy as np
import pytest

from packshot.core.errors import UsageError
from packshot.images.backdrops import covering, gradient, lay_over, parse_colour, parse_gradient, plain, shade
from packshot.images.resize import flatten
from packshot.images.shadow import contact_shadow, faded, kept_shadow, own_shadow, soft_shadow

RNG = np.random.default_rng(3)


def box_matte(height: int = 300, width: int = 400) -> np.ndarray:
    alpha = np.zeros((height, width), np.uint8)
    alpha[60:200, 120:280] = 255
    return alpha


def test_a_contact_shadow_lies_at_the_foot() -> None:
    alpha = box_matte()
    shadow = contact_shadow(alpha)
    assert shadow.dtype == np.float32 and shadow.shape == alpha.shape
    assert 0.2 < shadow[201, 200] < 1
    assert shadow[201, 200] > shadow[206, 200] > shadow[215, 200]
    assert not shadow[:150].any() and not shadow[240:].any()
    assert np.abs(shadow - shadow[:, ::-1]).max() < 0.02


def test_what_is_high_above_the_ground_casts_less() -> None:
    alpha = box_matte()
    alpha[60:110, 20:120] = 255  # An arm, far above the ground.
    shadow = contact_shadow(alpha)
    assert shadow[201, 40] < 0.3 * shadow[201, 200]


def test_a_soft_shadow_goes_all_around_and_more_below() -> None:
    alpha = box_matte()
    shadow = soft_shadow(alpha)
    below, above, beside = shadow[206, 200], shadow[54, 200], shadow[130, 286]
    assert below > beside > above >= 0
    assert below > 0.05
    assert not shadow[:20].any() and not shadow[270:].any()


@pytest.mark.parametrize("make", [contact_shadow, soft_shadow])
def test_shadows_of_nothing_of_a_pixel_and_of_everything(make) -> None:  # type: ignore[no-untyped-def]
    assert not make(np.zeros((40, 30), np.uint8)).any()
    for alpha in (np.full((1, 1), 255, np.uint8), np.full((30, 700), 255, np.uint8), np.eye(90, dtype=np.uint8) * 255):
        shadow = make(alpha)
        assert shadow.shape == alpha.shape
        assert np.isfinite(shadow).all() and shadow.min() >= 0 and shadow.max() <= 1


def _photo(patterned: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns a photo whose backdrop is brighter to the right, its matte, and the shadow that was painted."""
    alpha = box_matte()
    y, x = np.mgrid[0:300, 0:400]
    light = 150 + 60 * x / 400
    if patterned:
        light = light * np.where((x // 40 + y // 40) % 2, 1.0, 0.6)
    painted = 0.45 * np.exp(-(((y - 205) / 16.0) ** 2) - ((x - 200) / 70.0) ** 4)
    photo = (light * (1 - painted))[..., None].repeat(3, axis=2) + RNG.normal(0, 2, (300, 400, 3))
    photo[alpha > 0] = (30, 60, 120)
    return np.clip(photo, 0, 255).astype(np.uint8), alpha, painted


def test_a_painted_shadow_is_found_again() -> None:
    photo, alpha, painted = _photo(patterned=False)
    found = kept_shadow(photo, alpha)
    assert found is not None
    outside = alpha == 0
    there = outside & (painted > 0.05)
    assert np.corrcoef(found[there], painted[there])[0, 1] > 0.85
    assert 0.35 < found[there].sum() / painted[there].sum() < 1.05  # It fades with the distance.
    assert found[outside & (painted < 0.001)].mean() < 0.01
    assert not found[:, :30].any()


def test_on_a_pattern_no_shadow_is_told() -> None:
    photo, alpha, _ = _photo(patterned=True)
    assert kept_shadow(photo, alpha) is None


@pytest.mark.parametrize("value", [0, 255])
def test_flat_photos_have_no_shadow(value: int) -> None:
    photo = np.full((300, 400, 3), value, np.uint8)
    found = kept_shadow(photo, box_matte())
    assert found is None or not found[box_matte() == 0].any()
    assert kept_shadow(photo, np.full((300, 400), 255, np.uint8)) is None
    assert kept_shadow(photo, np.zeros((300, 400), np.uint8)) is None


def _cutout() -> np.ndarray:
    out = np.zeros((300, 400, 4), np.uint8)
    out[60:200, 120:280] = (200, 40, 40, 255)
    out[199:201, 120:280] = (20, 20, 20, 120)  # A soft dark edge.
    return out


def test_a_shadow_in_the_transparency_is_told_from_a_soft_edge() -> None:
    assert not own_shadow(_cutout()).any()
    floor = _cutout()
    floor[230:260, 110:290] = (10, 10, 12, 90)
    found = own_shadow(floor)
    assert found[231:259, 111:289].all()
    assert not found[:225].any()


def test_a_shadow_ends_before_the_frame() -> None:
    shadow = faded(np.full((100, 60), 0.5, np.float32))
    assert not shadow[[0, -1]].any() and not shadow[:, [0, -1]].any()
    assert (shadow[6:-6, 6:-6] == 0.5).all()
    assert faded(np.ones((1, 1), np.float32)).shape == (1, 1)


def test_dark_glass_above_its_frame_is_no_shadow() -> None:
    glasses = np.zeros((100, 100, 4), np.uint8)
    glasses[20:80, 20:80] = (20, 20, 20, 255)
    glasses[30:70, 30:70, 3] = 120
    assert not own_shadow(glasses).any()


def test_shade_and_lay_over_leave_white_white() -> None:
    white = plain(20, 30, (255, 255, 255))
    shadow = np.zeros((20, 30), np.float32)
    shadow[5, 5] = 0.5
    shaded = shade(white, shadow)
    assert shaded[5, 5].tolist() == [128, 128, 128]
    shaded[5, 5] = 255
    assert (shaded == 255).all()
    product = RNG.integers(0, 256, (20, 30, 4), dtype=np.uint8)
    assert np.array_equal(lay_over(product, white), flatten(product))
    product[..., 3] = 255
    assert np.array_equal(lay_over(product, white), product[..., :3])


def test_a_gradient_goes_from_one_colour_to_the_other_without_bands() -> None:
    g = gradient(200, 50, (255, 255, 255), (250, 200, 100))
    assert (g[0] == 255).all() and (g[-1] == (250, 200, 100)).all()
    assert np.abs(g[100].mean(axis=0) - (252.5, 227.4, 177.1)).max() < 0.7
    assert len(np.unique(g[20, :, 0])) == 2  # 254.5: both 254 and 255
    assert np.array_equal(g, gradient(200, 50, (255, 255, 255), (250, 200, 100)))
    assert gradient(1, 1, (1, 2, 3), (9, 9, 9)).tolist() == [[[1, 2, 3]]]


@pytest.mark.parametrize(("height", "width"), [(40, 40), (10, 90), (90, 10), (1, 1), (64, 48)])
def test_a_picture_covers_the_frame_without_being_stretched(height: int, width: int) -> None:
    y, x = np.mgrid[0:64, 0:48]
    picture = np.stack([4 * (y % 64), 5 * x, np.full_like(x, 7)], axis=-1).clip(0, 255).astype(np.uint8)
    out = covering(picture, height, width)
    assert out.shape == (height, width, 3)
    assert (out[..., 2] == 7).all()  # No gap.
    if (height, width) == (64, 48):
        assert np.array_equal(out, picture)


def test_colours() -> None:
    assert parse_colour("white") == (255, 255, 255)
    assert parse_colour("#0a0B0c") == (10, 11, 12)
    assert parse_colour("#12") is None and parse_colour("blue.png") is None
    assert parse_gradient("gradient:white-#000000") == ((255, 255, 255), (0, 0, 0))
    assert parse_gradient("white") is None
    with pytest.raises(UsageError, match="two colours"):
        parse_gradient("gradient:white")
