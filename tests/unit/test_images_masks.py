"""Masks from boxes, polygons and pictures."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packshot.core.errors import PackshotError, UsageError
from packshot.images.masks import Polygon, Rectangle, draw_shapes, grow, mask_of_picture, ramp, show_mask


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 30), st.integers(0, 30), st.integers(1, 9))
def test_a_box_in_pixels_is_exactly_its_pixels(height: int, width: int, x: int, y: int, size: int) -> None:
    inside = Rectangle.parse(f"{x},{y},{size},{size + 1}").mask(height, width)
    wanted = np.zeros((height, width), bool)
    wanted[y : y + size + 1, x : x + size] = True
    np.testing.assert_array_equal(inside, wanted)


@pytest.mark.parametrize(("height", "width"), [(100, 200), (37, 61), (1, 1)])
def test_a_box_in_percent_fits_any_size(height: int, width: int) -> None:
    inside = Rectangle.parse("25%, 0%, 50%, 100%").mask(height, width)
    assert inside.any()
    assert abs(inside.mean() - 0.5) <= 1 / width


def test_a_polygon_with_a_boxs_corners_is_that_box() -> None:
    polygon = Polygon.parse("5,4 25,4 25,12 5,12").mask(20, 30)
    np.testing.assert_array_equal(polygon, Rectangle.parse("5,4,20,8").mask(20, 30))


def test_a_triangle_has_half_of_its_box() -> None:
    inside = Polygon.parse("0,0 100%,0 0,100%").mask(200, 200)
    assert inside.mean() == pytest.approx(0.5, abs=0.01)
    assert inside[0, 0] and not inside[-1, -1]


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "1,2,0,4", "1,2,3,-4", "nan,0,1,1", "1e400,0,1,1"]
)
def test_what_is_no_box_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Rectangle.parse(text)


@pytest.mark.parametrize("text", ["", "1,1 2,2", "1 2 3", "1,1,1 2,2 3,3", "x,y 1,1 2,2"])
def test_what_is_no_polygon_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Polygon.parse(text)


@pytest.mark.parametrize("shape", [Rectangle.parse("50,0,5,5"), Polygon.parse("900,900 950,900 900,950")])
def test_a_shape_beside_the_photo_is_one_clear_sentence(shape: Rectangle | Polygon) -> None:
    with pytest.raises(PackshotError, match="lies beside the photo, which has 40 x 30 pixels"):
        draw_shapes([shape], 30, 40)


def test_shapes_far_outside_are_cut_at_the_border() -> None:
    mask = draw_shapes(
        [Rectangle.parse("-100000,-5,100010,8"), Polygon.parse("-99999,20 99999,20 99999,99999")], 30, 40
    )
    assert mask[0, 0] and mask[2, 9] and not mask[2, 10] and not mask[3, 0]


def test_a_mask_is_read_back_from_what_shows_it() -> None:
    mask = np.random.default_rng(0).random((9, 7)) > 0.5
    np.testing.assert_array_equal(mask_of_picture(show_mask(mask), 9, 7), mask)


def test_transparent_parts_of_a_masks_picture_stay() -> None:
    pixels = np.full((4, 4, 4), 255, np.uint8)
    pixels[2:, :, 3] = 0
    np.testing.assert_array_equal(mask_of_picture(pixels, 4, 4).sum(1), [4, 4, 0, 0])


def test_a_mask_of_another_size_is_one_clear_sentence() -> None:
    with pytest.raises(PackshotError, match="The mask has 7 x 9 pixels and the photo 8 x 9"):
        mask_of_picture(np.zeros((9, 7, 3), np.uint8), 9, 8)


@given(st.integers(0, 2**32 - 1), st.floats(0, 6))
def test_a_grown_mask_is_what_lies_within_the_distance(seed: int, by: float) -> None:
    mask = np.random.default_rng(seed).random((11, 13)) > 0.93
    y, x = np.nonzero(mask)
    at = np.mgrid[:11, :13]
    wanted = np.zeros_like(mask)
    for cy, cx in zip(y, x, strict=True):
        wanted |= np.hypot(at[0] - cy, at[1] - cx) <= by
    np.testing.assert_array_equal(grow(mask, by), wanted)


def test_a_ramp_is_one_in_the_mask_and_falls_to_zero_beyond_the_feather() -> None:
    mask = np.zeros((1, 12), bool)
    mask[0, :4] = True
    np.testing.assert_allclose(ramp(mask, 3)[0], [1, 1, 1, 1, 0.75, 0.5, 0.25, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(ramp(mask, 0), mask)
