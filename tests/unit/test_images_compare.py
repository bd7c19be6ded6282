"""Colour difference, similarity and edges against published values, torchmetrics, scipy and closed forms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from packshot.images.compare import Tail, edge_agreement, lightness, psnr, ssim, ssim_map
from packshot.images.filters import blur, blur_known, dilate, fill_unknown, max_filter
from packshot.images.lab import CHUNK, ciede2000, delta_e, srgb_to_lab

RNG = np.random.default_rng(4)

# Sharma, Wu, Dalal (2005), table 1: two colours and their difference.
SHARMA = """
50.0000 2.6772 -79.7751 50.0000 0.0000 -82.7485 2.0425
50.0000 3.1571 -77.2803 50.0000 0.0000 -82.7485 2.8615
50.0000 2.8361 -74.0200 50.0000 0.0000 -82.7485 3.4412
50.0000 -1.3802 -84.2814 50.0000 0.0000 -82.7485 1.0000
50.0000 -1.1848 -84.8006 50.0000 0.0000 -82.7485 1.0000
50.0000 -0.9009 -85.5211 50.0000 0.0000 -82.7485 1.0000
50.0000 0.0000 0.0000 50.0000 -1.0000 2.0000 2.3669
50.0000 -1.0000 2.0000 50.0000 0.0000 0.0000 2.3669
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0009 7.1792
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0010 7.1792
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0011 7.2195
50.0000 2.4900 -0.0010 50.0000 -2.4900 0.0012 7.2195
50.0000 -0.0010 2.4900 50.0000 0.0009 -2.4900 4.8045
50.0000 -0.0010 2.4900 50.0000 0.0010 -2.4900 4.8045
50.0000 -0.0010 2.4900 50.0000 0.0011 -2.4900 4.7461
50.0000 2.5000 0.0000 50.0000 0.0000 -2.5000 4.3065
50.0000 2.5000 0.0000 73.0000 25.0000 -18.0000 27.1492
50.0000 2.5000 0.0000 61.0000 -5.0000 29.0000 22.8977
50.0000 2.5000 0.0000 56.0000 -27.0000 -3.0000 31.9030
50.0000 2.5000 0.0000 58.0000 24.0000 15.0000 19.4535
50.0000 2.5000 0.0000 50.0000 3.1736 0.5854 1.0000
50.0000 2.5000 0.0000 50.0000 3.2972 0.0000 1.0000
50.0000 2.5000 0.0000 50.0000 1.8634 0.5757 1.0000
50.0000 2.5000 0.0000 50.0000 3.2592 0.3350 1.0000
60.2574 -34.0099 36.2677 60.4626 -34.1751 39.4387 1.2644
63.0109 -31.0961 -5.8663 62.8187 -29.7946 -4.0864 1.2630
61.2901 3.7196 -5.3901 61.4292 2.2480 -4.9620 1.8731
35.0831 -44.1164 3.7933 35.0232 -40.0716 1.5901 1.8645
22.7233 20.0904 -46.6940 23.0331 14.9730 -42.5619 2.0373
36.4612 47.8580 18.3852 36.2715 50.5065 21.2231 1.4146
90.8027 -2.0831 1.4410 91.1528 -1.6435 0.0447 1.4441
90.9257 -0.5406 -0.9208 88.6381 -0.8985 -0.7239 1.5381
6.7747 -0.2908 -2.4247 5.8714 -0.0985 -2.2286 0.6377
2.0776 0.0795 -1.1350 0.9033 -0.0636 -0.5514 0.9082
"""


def test_ciede2000_is_what_was_published() -> None:
    table = np.array([line.split() for line in SHARMA.strip().splitlines()], np.float64)
    assert table.shape == (34, 7)
    assert np.abs(ciede2000(table[:, :3], table[:, 3:6]) - table[:, 6]).max() < 5.1e-5
    assert np.abs(ciede2000(table[:, 3:6], table[:, :3]) - table[:, 6]).max() < 5.1e-5


def test_lab_of_known_colours() -> None:
    """Lindbloom's calculator, D65, two digits."""
    colours = np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [128, 128, 128]], np.uint8)
    want = [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [87.73, -86.18, 83.18], [32.30, 79.19, -107.86]]
    lab = srgb_to_lab(colours)
    assert np.abs(lab[:5] - want).max() < 0.02
    assert lab[5] == pytest.approx([53.585, 0, 0], abs=0.01)


def test_delta_e_of_pictures_is_that_of_their_pixels_in_double_precision() -> None:
    one, other = RNG.integers(0, 256, (2, 40, 50, 3), dtype=np.uint8)
    other[:10] = one[:10]
    got = delta_e(one, other)
    want = ciede2000(srgb_to_lab(one).astype(np.float64), srgb_to_lab(other).astype(np.float64))
    assert got.dtype == np.float32
    assert np.abs(got - want).max() < 2e-3
    assert not got[:10].any()
    near = np.clip(one.astype(int) + 1, 0, 255).astype(np.uint8)
    assert (
        np.abs(delta_e(one, near) - ciede2000(*(srgb_to_lab(p).astype(np.float64) for p in (one, near)))).max() < 2e-3
    )


def test_delta_e_over_the_seam_of_two_chunks() -> None:
    one = np.zeros((CHUNK + 3, 3), np.uint8)
    other = one.copy()
    other[[0, CHUNK - 1, CHUNK, CHUNK + 2]] = 255
    assert np.flatnonzero(delta_e(one, other)).tolist() == [0, CHUNK - 1, CHUNK, CHUNK + 2]


@pytest.mark.parametrize("shape", [(11, 11), (64, 47), (300, 20)])
def test_ssim_and_psnr_are_those_of_torchmetrics(shape: tuple[int, int]) -> None:
    x = ndimage.gaussian_filter(RNG.random(shape) * 255, 2)
    y = x + RNG.normal(0, 6, shape)
    a, b = (torch.from_numpy(p)[None, None] for p in (x, y))
    want = float(structural_similarity_index_measure(a, b, data_range=255.0))
    assert ssim(x, y) == pytest.approx(want, abs=1e-6)
    assert 0 < want < 0.999
    assert psnr(x, y) == pytest.approx(float(peak_signal_noise_ratio(a, b, data_range=255.0)), abs=1e-3)


def test_similarity_at_the_ends() -> None:
    x = RNG.integers(0, 256, (30, 30)).astype(np.float32)
    assert ssim(x, x) == 1
    assert math.isinf(psnr(x, x))
    assert ssim(x, 255 - x) < 0
    one = np.zeros((1, 1), np.float32)
    assert ssim(one, one) == 1
    assert ssim(one, one + 255) == pytest.approx(0, abs=1e-3)
    somewhere = np.zeros((30, 30), bool)
    somewhere[:3] = True
    changed = x.copy()
    changed[20:] = 0
    assert ssim(x, changed, somewhere) == 1
    assert psnr(x, changed, somewhere) == math.inf
    assert ssim(x, changed, ~somewhere) < 0.9
    assert ssim(x, changed, np.zeros((30, 30), bool)) == 1
    assert (ssim_map(x, changed) <= 1).all()


def _disc(cx: float, blurred: float = 0.7, high: float = 200.0) -> np.ndarray:
    y, x = np.mgrid[0:80, 0:80]
    return ndimage.gaussian_filter(((x - cx) ** 2 + (y - 40) ** 2 < 400) * high, blurred)


def test_edges_that_stay_move_blur_and_vanish() -> None:
    disc = _disc(40)
    assert edge_agreement(disc, disc) == 1
    assert edge_agreement(disc, _disc(41)) > 0.98
    assert edge_agreement(disc, _disc(46)) < 0.75
    assert edge_agreement(disc, disc * 0.9) == 1
    assert edge_agreement(disc, _disc(40, 5)) < 0.6
    flat = np.zeros((80, 80))
    assert edge_agreement(disc, flat) == 0
    assert edge_agreement(flat, disc) == 0
    assert edge_agreement(flat, flat) == 1
    far = np.zeros((80, 80), bool)
    far[:5] = True
    assert edge_agreement(disc, flat, far) == 1


def test_lightness() -> None:
    assert lightness(np.array([[[255, 0, 0], [255, 255, 255]]], np.uint8)) == pytest.approx(np.array([[76.245, 255]]))


@pytest.mark.parametrize("sigma", [0.5, 1.5, 4.0])
def test_blur_is_scipys(sigma: float) -> None:
    x = RNG.random((40, 61))
    want = ndimage.gaussian_filter(x, sigma, mode="nearest", radius=math.ceil(3 * sigma))
    assert np.abs(blur(x, sigma) - want).max() < 1e-12
    assert np.array_equal(blur(x, 0), x)


def test_a_wide_blur_is_nearly_the_exact_one() -> None:
    x = (RNG.random((300, 257)) > 0.5) * 255.0
    x[100:200, 60:170] = 0
    want = ndimage.gaussian_filter(x, 30, mode="constant")
    off = np.abs(blur(x, 30, 0.0) - want)
    assert off.max() < 5
    assert off[40:-40, 40:-40].max() < 1


def test_blur_of_known_values_is_their_weighted_mean() -> None:
    x, known = RNG.random((30, 30)), (RNG.random((30, 30)) > 0.3).astype(float)
    got = blur_known(np.where(known > 0, x, 99.0), known, 2.0)
    want = ndimage.gaussian_filter(x * known, 2, mode="constant", radius=6)
    want /= ndimage.gaussian_filter(known, 2, mode="constant", radius=6)
    assert np.abs(got - want).max() < 1e-9


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 9), st.integers(0, 99))
def test_max_filter_is_scipys(height: int, width: int, radius: int, seed: int) -> None:
    x = np.random.default_rng(seed).integers(0, 9, (height, width))
    assert np.array_equal(max_filter(x, radius), ndimage.maximum_filter(x, 2 * radius + 1, mode="nearest"))
    assert np.array_equal(dilate(x > 6, radius), ndimage.maximum_filter(x > 6, 2 * radius + 1, mode="nearest"))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 33), st.integers(1, 33), st.integers(0, 99))
def test_filling_keeps_what_is_known_and_stays_in_its_range(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.random((height, width, 2)).astype(np.float32) * 255
    known = rng.random((height, width)) > 0.6
    filled = fill_unknown(np.where(known[..., None], x, 1e6), known)
    assert np.array_equal(filled[known], x[known])
    if known.any():
        assert filled.min() >= x[known].min() - 1e-3
        assert filled.max() <= x[known].max() + 1e-3
    else:
        assert not filled.any()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 700), st.sampled_from([0, 50, 99, 100]), st.integers(0, 99))
def test_a_tail_is_numpys_percentile(count: int, percent: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = (rng.random(count) * (rng.random(count) > 0.5)).astype(np.float32)
    tail = Tail(count, percent)
    for part in np.array_split(values, 7):
        tail.add(part[part > 0])
    assert tail.largest == values.max()
    assert tail.percentile == pytest.approx(float(np.percentile(values, percent)), abs=1e-6)
