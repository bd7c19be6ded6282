"""Splits: shares, strata, and that nothing that belongs together is torn apart."""

import numpy as np
import pytest

from packshot.catalog import split


def made(n: int, seed: int = 0, share: float = 0.1, groups: int | None = None, products: int = 0, categories: int = 5):
    rng = np.random.default_rng(seed)
    near = np.arange(n) if groups is None else np.sort(rng.integers(0, groups, n))
    near = np.array([np.flatnonzero(near == g)[0] for g in near])
    product = rng.integers(1, products + 1, n).astype(np.uint64) if products else np.zeros(n, np.uint64)
    category = rng.integers(0, categories, n)
    names = rng.integers(0, 2**63, n).astype(np.uint64)
    return near, product, category, names, split.make_split(near, product, category, names, share, 5)


def test_share_and_strata() -> None:
    *_, category, _, sides = made(4000)
    assert (sides == split.TEST).mean() == pytest.approx(0.1, abs=0.001)
    for c in range(5):
        assert (sides[category == c] == split.TEST).mean() == pytest.approx(0.1, abs=0.005)


def test_small_categories_still_get_their_share_together() -> None:
    *_, sides = made(300, categories=120)
    assert (sides == split.TEST).sum() == pytest.approx(30, abs=2)


def test_groups_and_products_stay_whole() -> None:
    near, product, _, _, sides = made(2000, groups=700, products=900)
    for whole in (near, product):
        for g in np.unique(whole):
            assert len(set(sides[whole == g].tolist())) == 1
    assert 0 < (sides == split.TEST).sum() <= 202


def test_no_share_means_no_test() -> None:
    assert (made(100, share=0)[-1] == split.TRAIN).all()


def test_the_seed_chooses_and_one_more_photo_changes_little() -> None:
    near, product, category, names, sides = made(1000)
    again = split.make_split(near, product, category, names, 0.1, 5)
    other = split.make_split(near, product, category, names, 0.1, 6)
    assert (again == sides).all()
    assert (other != sides).any()
    fewer = split.make_split(near[:-1], product[:-1], category[:-1], names[:-1], 0.1, 5)
    assert (fewer != sides[:-1]).sum() <= 10


def test_published_test_split_stays_whole_and_its_duplicates_leave_training() -> None:
    given = np.array([1, 1, 2, 0, 1, 2, 2], np.int8)
    near = np.array([0, 1, 0, 3, 3, 5, 5])
    sides, excluded = split.keep_published(given, near)
    assert sides.tolist() == [1, 1, 2, 1, 1, 2, 2]
    assert [split.REASONS[e] for e in excluded] == [split.OF_TEST, None, None, None, None, None, None]
    exact = np.array([0, 1, 2, 3, 3, 5, 5])
    out = split.leave_out_repeated(excluded, sides, exact, also_test=False)
    assert [split.REASONS[e] for e in out] == [split.OF_TEST, None, None, None, split.REPEATED, None, None]
    out = split.leave_out_repeated(excluded, sides, exact, also_test=True)
    assert split.REASONS[out[6]] == split.REPEATED
