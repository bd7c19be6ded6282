"""Tiles are put together as if the picture had been whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packshot.images.tiles import map_tiles


@st.composite
def layouts(draw: st.DrawFn) -> dict[str, int]:
    multiple = draw(st.sampled_from([1, 2, 4]))
    halo, blend = draw(st.integers(0, 6)), draw(st.integers(0, 7))
    tile = 2 * halo + blend + multiple * draw(st.integers(2, 6)) + draw(st.integers(0, 5))
    return {"tile": tile, "halo": halo, "blend": blend, "multiple": multiple}


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width, 3), np.float32)


@settings(max_examples=60, deadline=None)
@given(layouts(), st.integers(1, 61), st.integers(1, 61))
def test_identity_gives_the_picture(layout: dict[str, int], height: int, width: int) -> None:
    def same(x: np.ndarray) -> np.ndarray:
        assert max(x.shape[:2]) <= layout["tile"]
        assert x.shape[0] % layout["multiple"] == x.shape[1] % layout["multiple"] == 0
        return x

    for whole in (picture(height, width), (picture(height, width) * 255).astype(np.uint8)):
        np.testing.assert_array_equal(map_tiles(same, whole, **layout), whole)


@settings(max_examples=60, deadline=None)
@given(layouts(), st.integers(8, 61), st.integers(8, 61))
def test_a_local_function_comes_out_as_over_the_whole(layout: dict[str, int], height: int, width: int) -> None:
    reach = layout["halo"]

    def farthest(x: np.ndarray) -> np.ndarray:
        """The sum of the pixels `reach` away in four directions: wrong up to exactly there at a tile's border."""
        p = np.pad(x, ((reach, reach), (reach, reach), (0, 0)))
        h, w = x.shape[:2]
        return p[:h, reach : reach + w] + p[2 * reach :, reach : reach + w] + p[reach : reach + h, :w]

    whole = picture(height, width)
    m = layout["multiple"]
    padded = np.pad(whole, ((0, -height % m), (0, -width % m), (0, 0)), mode="reflect")
    np.testing.assert_allclose(map_tiles(farthest, whole, **layout), farthest(padded)[:height, :width], atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(layouts(), st.integers(1, 40), st.integers(1, 40), st.sampled_from([2, 3]))
def test_an_enlarging_function(layout: dict[str, int], height: int, width: int, scale: int) -> None:
    whole = picture(height, width)
    tiled = map_tiles(lambda x: x.repeat(scale, 0).repeat(scale, 1), whole, scale=scale, **layout)
    np.testing.assert_array_equal(tiled, whole.repeat(scale, 0).repeat(scale, 1))


def test_tiles_have_one_size_and_start_at_multiples() -> None:
    seen: list[tuple[int, ...]] = []
    where = np.indices((50, 70)).transpose(1, 2, 0)

    def look(x: np.ndarray) -> np.ndarray:
        seen.append((*x.shape[:2], *(x[0, 0] % 4)))
        return x

    map_tiles(look, where, tile=30, halo=4, blend=2, multiple=4)
    assert set(seen) == {(28, 28, 0, 0)}


def test_neighbours_that_disagree_are_mixed_smoothly() -> None:
    tones = iter((0.0, 1.0))
    out = map_tiles(lambda x: np.full_like(x, next(tones)), picture(8, 40), tile=26, halo=2, blend=8)
    steps = np.diff(out[0, :, 0])
    assert out[0, 0, 0] == 0 and out[0, -1, 0] == 1
    assert (steps >= 0).all() and 0 < steps.max() < 0.25
    assert not out[0, :16].any() and (out[0, 24:] == 1).all()


@pytest.mark.parametrize(
    "layout", [{"tile": 8, "halo": 4}, {"tile": 0}, {"tile": 8, "halo": -1}, {"tile": 3, "multiple": 4}]
)
def test_a_layout_that_leaves_nothing_is_refused(layout: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="leave nothing"):
        map_tiles(lambda x: x, picture(20, 20), **layout)


def test_a_function_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="not 2 times as large"):
        map_tiles(lambda x: x, picture(4, 4), tile=8, scale=2)
