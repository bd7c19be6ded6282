"""The geometry solver: never stretched, inside the frame, filled to within a pixel, pixels untouched unless scaled."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from packshot.core.errors import PackshotError, UsageError
from packshot.images.placing import (
    MAX_SIDE,
    Box,
    Layout,
    Length,
    Placement,
    box_of,
    frame_of,
    parse_aspect,
    parse_length,
    place,
)
from packshot.images.resize import resize

SIDES = st.integers(1, 60)
ASPECTS = st.sampled_from([(1.0, 1.0), (4.0, 5.0), (16.0, 9.0), (1.91, 1.0), (1.0, 3.0), None])
FILLS = st.floats(0.05, 1)
MARGINS = st.one_of(
    st.builds(Length, st.integers(0, 12).map(float), st.just(False)),
    st.builds(Length, st.floats(0, 0.45), st.just(True)),
)


@st.composite
def mattes(draw: st.DrawFn) -> np.ndarray:
    height, width = draw(SIDES), draw(SIDES)
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    bottom, right = draw(st.integers(top + 1, height)), draw(st.integers(left + 1, width))
    alpha = np.zeros((height, width), np.uint8)
    alpha[top:bottom, left:right] = 255
    return alpha


def _box(alpha: np.ndarray, p: Placement) -> tuple[float, float, float, float]:
    box = box_of(alpha >= 128)
    return (
        p.top + p.scale * box.top,
        p.left + p.scale * box.left,
        p.top + p.scale * box.bottom,
        p.left + p.scale * box.right,
    )


@settings(max_examples=300, deadline=None)
@given(mattes(), ASPECTS, st.one_of(st.none(), st.integers(20, 500)), FILLS, MARGINS, st.sampled_from(["box", "mass"]))
def test_filled_inside_and_centred(
    alpha: np.ndarray,
    aspect: tuple[float, float] | None,
    size: int | None,
    fill: float,
    margin: Length,
    centre: str,
) -> None:
    layout = Layout(aspect=aspect, size=size, fill=fill, margin=margin, centre=centre)  # type: ignore[arg-type]
    try:
        p = place(alpha, layout)
    except PackshotError:
        assert size is not None and min(_frame_sides(alpha, layout)) <= 2 * margin.amount
        return
    top, left, bottom, right = _box(alpha, p)
    rooms = [min(fill * side, side - 2 * margin.pixels(side)) for side in (p.height, p.width)]
    assert top >= -1e-6 and left >= -1e-6 and bottom <= p.height + 1e-6 and right <= p.width + 1e-6
    assert bottom - top <= rooms[0] + 1e-6 and right - left <= rooms[1] + 1e-6
    # The limiting side is filled: to the pixel that a whole number of them may cost.
    slack = min(rooms[0] - (bottom - top), rooms[1] - (right - left))
    assert slack <= 1 + 1e-6
    if size is None:
        assert p.scale == 1
    else:
        assert max(p.height, p.width) == size
        assert slack <= 1e-6
    ratio = (aspect or (alpha.shape[1], alpha.shape[0]))[0] / (aspect or (alpha.shape[1], alpha.shape[0]))[1]
    assert abs(p.width - p.height * ratio) <= max(1, ratio) * 0.5 + 1e-6 or min(p.height, p.width) == 1
    if centre == "box":
        off = 0.5 if p.scale == 1 else 0.0  # Pixels that are copied move by whole ones.
        assert abs((top + bottom - p.height) / 2) <= off + 1e-6
        assert abs((left + right - p.width) / 2) <= off + 1e-6


def _frame_sides(alpha: np.ndarray, layout: Layout) -> tuple[float, float]:
    ratio = (layout.aspect or (alpha.shape[1], alpha.shape[0]))[0] / (layout.aspect or (0, alpha.shape[0]))[1]
    assert layout.size is not None
    return layout.size, max(1, round(layout.size * min(ratio, 1 / ratio)))


@settings(max_examples=100, deadline=None)
@given(mattes(), ASPECTS, FILLS)
def test_without_a_size_no_pixel_changes(alpha: np.ndarray, aspect: tuple[float, float] | None, fill: float) -> None:
    rng = np.random.default_rng(alpha.size)
    photo = rng.integers(0, 256, (*alpha.shape, 3), dtype=np.uint8)
    p = place(alpha, Layout(aspect=aspect, fill=fill))
    placed, matte = p.apply(photo), p.apply(alpha[..., None])[..., 0]
    assert np.array_equal(placed[matte == 255], photo[alpha == 255])
    assert matte.shape == (p.height, p.width)


@settings(max_examples=60, deadline=None)
@given(st.floats(0.2, 5), SIDES, SIDES)
def test_both_axes_have_one_scale(scale: float, height: int, width: int) -> None:
    """A ramp along each axis comes out with the same slope, whatever whole numbers the sizes round to."""
    assume(min(height, width) > 24)
    y, x = np.mgrid[0:height, 0:width]
    ramps = np.stack([2 * y, 2 * x, 0 * x], axis=-1).astype(np.uint8)
    at = Placement(height=999, width=999, scale=scale).covered(height, width)
    p = Placement(height=at.bottom, width=at.right, scale=scale)
    out = p.apply(ramps).astype(float)
    inner = slice(math.ceil(4 * max(1, scale)), -math.ceil(4 * max(1, scale)))
    for axis, plane in ((0, out[..., 0]), (1, out[..., 1])):
        line = plane.mean(axis=1 - axis)
        # Pillow's centre of the frame's pixel i is (i + 0.5) / scale - 0.5 of the photo.
        want = 2 * ((np.arange(len(line)) + 0.5) / scale - 0.5)
        assert np.abs(line - want)[inner].max(initial=0) <= 1.01


@settings(max_examples=100, deadline=None)
@given(st.floats(-30, 30), st.floats(-30, 30), st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 0.05, 7]))
def test_any_placement_can_be_applied(top: float, left: float, height: int, width: int, scale: float) -> None:
    photo = np.full((17, 9, 4), 255, np.uint8)
    if scale == 1:
        top, left = round(top), round(left)
    p = Placement(height=height, width=width, top=top, left=left, scale=scale)
    out = p.apply(photo)
    at = p.covered(17, 9)
    assert out.shape == (height, width, 4)
    assert np.count_nonzero(out[..., 3] == 255) == at.height * at.width


def test_a_part_is_cut_from_what_the_whole_would_be() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (60, 48, 3), dtype=np.uint8)
    whole = Placement(height=90, width=72, scale=1.5).apply(photo)
    assert np.array_equal(whole, resize(photo, 90, 72))
    part = Placement(height=30, width=20, top=-25, left=-31, scale=1.5).apply(photo)
    assert np.abs(part.astype(int) - whole[25:55, 31:51]).max() <= 1


def test_transparent_colours_do_not_bleed() -> None:
    photo = np.zeros((20, 20, 4), np.uint8)
    photo[..., 0] = 255  # Hidden red about a blue square.
    photo[6:14, 6:14] = (0, 0, 255, 255)
    out = Placement(height=31, width=31, scale=1.55).apply(photo)
    assert out[..., 0][out[..., 3] > 20].max() <= 12


def test_a_frame_by_margins_in_pixels_and_shares() -> None:
    alpha = np.zeros((100, 100), np.uint8)
    alpha[20:80, 40:70] = 255  # 60 high, 30 wide
    p = place(alpha, Layout(fill=1, margin=Length(20, False)))
    assert (p.height, p.width) == (100, 100)
    assert (p.top, p.left) == (0, -5)
    p = place(alpha, Layout(fill=1, margin=Length(0.25, True), aspect=(1, 2)))
    assert (p.height, p.width) == (120, 60)
    p = place(alpha, Layout(aspect=(4, 5), size=1000, fill=0.9))
    assert (p.height, p.width) == (1000, 800)
    assert p.scale == pytest.approx(15)


def test_the_product_may_stay_where_it_is() -> None:
    alpha = np.full((30, 40), 255, np.uint8)
    assert place(alpha, Layout(fill=None, aspect=None)) == Placement(height=30, width=40)
    assert place(alpha, Layout(fill=None, aspect=None, size=80)) == Placement(height=60, width=80, scale=2.0)


def test_the_centre_of_mass_comes_to_the_middle_as_far_as_the_frame_lets_it() -> None:
    alpha = np.zeros((100, 100), np.uint8)
    alpha[10:90, 10:30] = 255
    alpha[45:55, 30:90] = 255  # A heavy left part and a long thin handle to the right.
    by_box = place(alpha, Layout(fill=0.5))
    by_mass = place(alpha, Layout(fill=0.5, centre="mass"))
    assert by_mass.left > by_box.left
    assert by_mass.top == by_box.top
    assert place(alpha, Layout(fill=1.0, centre="mass")).left == place(alpha, Layout(fill=1.0)).left


def test_what_cannot_be_is_one_sentence() -> None:
    empty = np.zeros((5, 5), np.uint8)
    with pytest.raises(PackshotError, match="no product"):
        place(empty, Layout())
    full = empty + 255
    with pytest.raises(PackshotError, match="no room"):
        place(full, Layout(size=20, margin=Length(10, False)))
    with pytest.raises(PackshotError, match="are the most"):
        place(full, Layout(fill=0.0001))
    for bad in (
        {"fill": 0},
        {"fill": 1.1},
        {"size": 0},
        {"size": MAX_SIDE + 1},
        {"margin": Length(-1, False)},
        {"margin": Length(0.5, True)},
        {"centre": "middle"},
        {"fill": None},
        {"fill": None, "aspect": None, "margin": Length(3, False)},
    ):
        with pytest.raises(UsageError):
            Layout(**bad)  # type: ignore[arg-type]


def test_aspects_and_lengths() -> None:
    assert parse_aspect("4:5") == (4, 5)
    assert parse_aspect("1.91:1") == (1.91, 1)
    assert parse_length("40") == parse_length("40px") == (40, False)
    assert parse_length("-5%") == (-0.05, True)
    for bad in ("", "4", "0:1", "4:-5", "1:1000", "a:b"):
        with pytest.raises(UsageError):
            parse_aspect(bad)
    for bad in ("", "%", "5 em", "nan"):
        with pytest.raises(UsageError):
            parse_length(bad)


@given(ASPECTS.filter(lambda a: a is not None), st.integers(1, 900), st.integers(1, 900))
def test_the_smallest_frame_of_an_aspect(aspect: tuple[float, float], height: int, width: int) -> None:
    rows, columns = frame_of(aspect, height, width)
    ratio = aspect[0] / aspect[1]
    assert rows >= height and columns >= width
    assert rows == height or columns == width
    assert abs(columns - rows * ratio) <= max(1, ratio) * 0.5 + 1e-6 or min(rows, columns) == 1


def test_box() -> None:
    where = np.zeros((5, 6), bool)
    where[1, 2] = where[3, 4] = True
    assert box_of(where) == Box(1, 2, 4, 5)
