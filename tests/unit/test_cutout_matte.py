"""Mattes as arrays: windows, edges, colours, things, each against an independent way to compute it."""

import numpy as np
import pytest
import scipy.ndimage as nd
from hypothesis import given, settings
from hypothesis import strategies as st

from packshot.evaluation.matting import compute_alpha_error, compute_iou, compute_rank_correlation
from packshot.images.matte import (
    STEEPER,
    WORKING_SIDE,
    box_mean,
    estimate_foreground,
    guided_filter,
    sampled,
    scale_plane,
    without_fluff,
    without_specks,
)


def disc(size: int, radius: float, soft: float = 0.0, at: tuple[float, float] = (0.5, 0.5)) -> np.ndarray:
    y, x = np.mgrid[0:size, 0:size] + 0.5
    distance = np.hypot(y - at[0] * size, x - at[1] * size) - radius
    return (np.clip(0.5 - distance / soft, 0, 1) if soft else distance < 0).astype(np.float32)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 9, 3), (12, 7, 2)])
@pytest.mark.parametrize("radius", [1, 3, 20])
def test_box_mean_is_the_mean_of_what_the_window_holds(shape: tuple[int, ...], radius: int) -> None:
    x = np.random.default_rng(0).random(shape, np.float32)
    expected = [
        [
            x[max(0, r - radius) : r + radius + 1, max(0, c - radius) : c + radius + 1].mean((0, 1))
            for c in range(shape[1])
        ]
        for r in range(shape[0])
    ]
    np.testing.assert_allclose(box_mean(x, radius), expected, atol=1e-5)


def test_sampled_is_the_bilinear_enlargement() -> None:
    x = np.random.default_rng(1).random((7, 5), np.float32)
    places = np.nonzero(np.ones((40, 33), bool))
    large = sampled(x[..., None], places, 40, 33)[:, 0].reshape(40, 33)
    np.testing.assert_allclose(large, scale_plane(x, 40, 33), atol=2e-3)


def test_guided_filter_is_the_mean_of_regressions_in_windows() -> None:
    rng = np.random.default_rng(2)
    photo = rng.integers(0, 256, (9, 8, 3), dtype=np.uint8)
    alpha = rng.uniform(0.1, 0.9, (9, 8)).astype(np.float32)
    radius, eps = 1, 1e-2
    guide = photo / 255
    fitted = np.zeros((9, 8, 4))
    for r in range(9):
        for c in range(8):
            window = np.s_[max(0, r - 1) : r + 2, max(0, c - 1) : c + 2]
            i, p = guide[window].reshape(-1, 3), alpha[window].ravel()
            centred = i - i.mean(0)
            a = np.linalg.solve(centred.T @ centred / len(p) + eps * np.eye(3), centred.T @ (p - p.mean()) / len(p))
            fitted[r, c] = *a, p.mean() - a @ i.mean(0)
    mean = np.stack([nd.generic_filter(fitted[..., k], np.nanmean, 3, mode="constant", cval=np.nan) for k in range(4)])
    expected = (mean[:3].transpose(1, 2, 0) * guide).sum(2) + mean[3]
    expected = np.clip((expected - 0.5) * STEEPER + 0.5, 0, 1)
    got = guided_filter(photo, alpha, radius=radius, eps=eps)
    product = alpha > 0.5
    near = nd.binary_dilation(product, np.ones((5, 5))) & nd.binary_dilation(~product, np.ones((5, 5)))
    assert near.mean() > 0.9
    np.testing.assert_allclose(got[near], expected[near], atol=1e-4)
    np.testing.assert_array_equal(got[~near], alpha[~near])


def test_guided_filter_moves_a_rough_edge_to_the_photos_edge() -> None:
    true = disc(600, 200)
    photo = np.where(true[..., None] > 0, (200, 40, 40), (60, 90, 60)).astype(np.uint8)
    rough = disc(384, 127.5, soft=4)
    refined = guided_filter(photo, rough)
    before, after = np.abs(scale_plane(rough, 600, 600) - true).mean(), np.abs(refined - true).mean()
    assert after < 0.75 * before
    assert refined[300, 300] == 1
    assert refined[5, 5] == 0


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (33, 2), (WORKING_SIDE + 7, 3)])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_guided_filter_keeps_a_decided_matte_of_any_size(size: tuple[int, int], value: float) -> None:
    photo = np.random.default_rng(3).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert (guided_filter(photo, np.full((4, 4), value, np.float32)) == value).all()


def test_foreground_has_no_share_of_the_background() -> None:
    alpha = disc(120, 40, soft=8)
    front, back = np.array([200, 30, 60.0]), np.array([20, 220, 90.0])
    photo = np.rint(alpha[..., None] * front + (1 - alpha[..., None]) * back).astype(np.uint8)
    own = estimate_foreground(photo, alpha)
    edge = (alpha > 0.1) & (alpha < 1)
    assert np.abs(photo[edge] - front).mean() > 40
    assert np.abs(own[edge] - front).mean() < 6
    decided = (alpha == 0) | (alpha == 1)
    assert (own[decided] == photo[decided]).all()


def test_specks_and_haze_go_and_every_item_stays() -> None:
    shoes = np.maximum(disc(200, 30, 3, (0.3, 0.3)), disc(200, 25, 3, (0.7, 0.7)))
    hole = disc(200, 8, 0, (0.3, 0.3))
    true = shoes * (1 - hole)
    dirty = np.maximum(true, disc(200, 3, 0, (0.9, 0.1)))
    dirty[5:20, 100:140] = 0.3
    clean, areas = without_specks(dirty.astype(np.float32))
    np.testing.assert_array_equal(clean, true)
    assert len(areas) == 2
    assert areas[0] > areas[1]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**31))
def test_without_fluff_is_the_median_of_nine(height: int, width: int, seed: int) -> None:
    alpha = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    np.testing.assert_array_equal(without_fluff(alpha), nd.median_filter(alpha, 3, mode="nearest"))


def test_threads_beside_a_product_go_and_its_straps_stay() -> None:
    alpha = np.zeros((40, 40), np.uint8)
    alpha[10:30, 10:30] = alpha[:10, 14:16] = 255  # A strap, two pixels wide.
    fluff = alpha.copy()
    fluff[15, 31] = fluff[20, 30:34] = 180
    np.testing.assert_array_equal(without_fluff(fluff)[:, 31:], alpha[:, 31:])
    assert (without_fluff(alpha)[1:9, 14:16] == 255).all()


def test_nothing_has_no_things() -> None:
    clean, areas = without_specks(np.full((5, 4), 0.4, np.float32))
    assert areas == []
    assert not clean.any()


def test_figures_of_mattes() -> None:
    true = np.zeros((10, 10))
    true[:, :5] = 1
    other = np.zeros((10, 10))
    other[:, :4] = 0.8
    assert compute_iou(other, true) == pytest.approx(0.8)
    assert compute_alpha_error(other, true) == pytest.approx((40 * 0.2 + 10) / 100)
    assert compute_iou(np.zeros((2, 2)), np.zeros((2, 2))) == 1


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=3, max_size=20), st.integers(0, 99))
def test_rank_correlation_is_scipys(values: list[int], seed: int) -> None:
    from scipy.stats import spearmanr

    x = np.array(values, float)
    y = np.random.default_rng(seed).integers(0, 5, len(x)).astype(float)
    got = compute_rank_correlation(x, y)
    if x.std() == 0 or y.std() == 0:
        assert got == 0
    else:
        assert got == pytest.approx(spearmanr(x, y).statistic)
