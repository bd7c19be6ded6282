"""Properties of a catalogue that hold for any photos: nothing lost, nothing torn apart, nothing left to chance."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from packshot.catalog import duplicates, quality, split
from packshot.catalog.fingerprint import hash_pixels
from packshot.catalog.readers.table import match_columns
from packshot.catalog.records import parse_price
from packshot.core.errors import PackshotError
from tests.catalog_photos import encoded, jpeg, photo, rejected, run

SMALL = st.integers(1, 40)


@given(SMALL, SMALL, st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_pixel_hash_depends_on_every_pixel(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    other = pixels.copy()
    place = tuple(rng.integers(0, pixels.shape))
    other[place] ^= rng.integers(1, 256, dtype=np.uint8)
    assert hash_pixels(pixels) == hash_pixels(np.asfortranarray(pixels))
    assert hash_pixels(pixels) != hash_pixels(other)
    if height != width:
        assert hash_pixels(pixels) != hash_pixels(pixels.reshape(width, height, 3))


@given(st.integers(3, 60), st.integers(3, 60), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_figures_are_unmoved_by_turning_and_in_range(height: int, width: int, seed: int) -> None:
    grey = np.random.default_rng(seed).integers(0, 256, (1, height, width), dtype=np.uint8)
    turned = np.ascontiguousarray(grey[:, ::-1, ::-1])
    for figure in (quality.compute_blur, quality.compute_noise):
        assert figure(grey)[0] >= 0
        assert np.isclose(figure(grey)[0], figure(turned)[0], rtol=1e-4, atol=1e-3)
    low, high = quality.compute_clipping(grey)
    assert 0 <= low[0] + high[0] <= 1
    bright, dark = quality.compute_clipping(255 - grey)
    assert (bright[0], dark[0]) == (high[0], low[0])


@given(st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40))
def test_groups_are_an_equivalence(pairs: list[tuple[int, int]]) -> None:
    groups = duplicates.group(30, iter([np.array(pairs, np.int64).reshape(-1, 2)]))
    assert all(groups[a] == groups[b] for a, b in pairs)
    assert (groups <= np.arange(30)).all()
    assert (groups[groups] == groups).all()
    steps = {frozenset(p) for p in pairs}
    for g in set(groups.tolist()):
        members = set(np.flatnonzero(groups == g).tolist())
        reached, front = {g}, {g}
        while front:
            front = {b for s in steps if s & front for b in s} - reached
            reached |= front
        assert members == reached


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=120),
    st.floats(0, 0.5),
    st.integers(0, 99),
)
@settings(deadline=None)
def test_a_split_keeps_together_what_belongs_together(
    photos: list[tuple[int, int, int]], share: float, seed: int
) -> None:
    near = np.array([p[0] for p in photos])
    near = np.array([int(np.flatnonzero(near == g)[0]) for g in near])
    product = np.array([p[1] for p in photos], np.uint64)
    category = np.array([p[2] for p in photos])
    names = np.arange(len(photos), dtype=np.uint64)
    sides = split.make_split(near, product, category, names, share, seed)
    assert set(sides.tolist()) <= {split.TRAIN, split.TEST}
    assert (sides == split.TEST).sum() <= share * len(photos) + 1
    for key in (near, product):
        for value in set(key.tolist()) - ({0} if key is product else set()):
            assert len(set(sides[key == value].tolist())) == 1


@given(st.text(max_size=30))
def test_any_price_is_read_or_left_alone(text: str) -> None:
    amount, currency = parse_price(text)
    assert amount is None or amount >= 0
    assert currency is None or (len(currency) == 3 and currency.isascii())


@given(st.lists(st.text(max_size=12), max_size=8, unique=True))
def test_columns_are_claimed_once(names: list[str]) -> None:
    try:
        columns = match_columns(names, {}, "list.csv")
    except PackshotError:
        columns = match_columns(names, {}, None)
    assert set(columns.values()) <= set(names)
    assert len(set(columns.values())) == len(columns)


KINDS = st.sampled_from(["jpeg", "png", "copy", "cut", "junk", "empty"])


@given(st.lists(KINDS, min_size=1, max_size=14), st.integers(0, 3))
@settings(max_examples=12, deadline=None)
def test_every_file_is_taken_or_left_out_with_a_reason(kinds: list[str], seed: int) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "in"
        folder.mkdir()
        for i, kind in enumerate(kinds):
            pixels = photo(1000 * seed + i, 30, 40)
            data = {
                "jpeg": jpeg(pixels),
                "png": encoded(pixels, "PNG"),
                "copy": jpeg(photo(1000 * seed, 30, 40)),
                "cut": jpeg(pixels)[:200],
                "junk": b"not a picture",
                "empty": b"",
            }[kind]
            (folder / f"{i:02d}.jpg").write_bytes(data)
        good = sum(k in ("jpeg", "png", "copy") for k in kinds)
        out = Path(temporary) / "out"
        if not good:
            try:
                run(folder, out)
            except PackshotError as e:
                assert "No photo could be taken" in str(e)
            else:
                raise AssertionError("an empty catalogue was made")
            return
        report = run(folder, out, seed=seed)
        assert (report.photos, report.left_out_total) == (good, len(kinds) - good)
        assert len(rejected(out)) == len(kinds) - good
        assert sum(report.splits.values()) == good
