"""The copy gate: copies are found in the index alone, unseen photos pass at the stated rate, files round-trip."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packshot.core.errors import PackshotError, UsageError
from packshot.core.runs import RunFolder, shipped_names
from packshot.evaluation import gate as module
from packshot.evaluation.gate import (
    NEAR_EXACT,
    CopyGate,
    CopyIndex,
    Space,
    build_index,
    in_place,
    laid_over,
    load_index,
    to_grid,
)
from packshot.evaluation.gate_run import INDEX
from packshot.tasks.copy_gate import MOST_DRAWS, pass_gate

ABOUT = {"root": "ab" * 32, "photos": 900}


def photos(n: int, seed: int, size: int = 32, channels: int = 3) -> np.ndarray:
    """Pictures uint8 [n, S, S, C] that differ much from each other: blurred noise."""
    noise = np.random.default_rng(seed).normal(0, 1, (n, size, size, channels))
    smooth = sum(np.roll(noise, (i, j), (1, 2)) for i in range(5) for j in range(5))
    return np.clip(128 + 12 * np.asarray(smooth), 0, 255).astype(np.uint8)


def digests(n: int) -> list[str]:
    return [f"{i:08x}" + "0" * 56 for i in range(n)]


def index_of(train: np.ndarray, held_out: np.ndarray) -> CopyIndex:
    return build_index(train, np.arange(len(train)), digests(len(train)), held_out, ABOUT)


TRAIN, HELD_OUT = photos(900, 1), photos(400, 2)
INDEX_OF_TRAIN = index_of(TRAIN, HELD_OUT)
GATE = CopyGate.of(INDEX_OF_TRAIN)


def test_copies_are_refused_and_their_photo_is_named() -> None:
    base = TRAIN[100:130]
    float_base = base.astype(np.float64)
    planted = {
        "exact": base,
        "mirrored": base[:, :, ::-1],
        "displaced": np.roll(base, (1, -1), (1, 2)),
        "mirrored and displaced": np.roll(base[:, :, ::-1], 1, 1),
        "another tint": np.rint(float_base * [1.1, 1, 0.9] + [5, 0, -5]).clip(0, 255).astype(np.uint8),
        "less contrast": np.rint(0.8 * float_base + 20).astype(np.uint8),
    }
    for name, pictures in planted.items():
        nearest, closeness = GATE.look(np.ascontiguousarray(pictures))
        assert (closeness < 1).all(), name
        np.testing.assert_array_equal(nearest, np.arange(100, 130), err_msg=name)
    assert INDEX_OF_TRAIN.name(100) == digests(101)[100][:8]


@pytest.mark.slow
def test_unseen_photos_pass_at_about_the_stated_rate() -> None:
    fresh = photos(1500, 3)
    for rate in (0.01, 0.05, 0.2):
        refused = (CopyGate.of(INDEX_OF_TRAIN, rate).look(fresh)[1] < 1).mean()
        spread = np.sqrt(rate * (1 - rate) * (1 / 400 + 1 / 1500))
        assert rate - 4 * spread <= refused <= rate + 4 * spread


@given(st.integers(200, 600), st.sampled_from([0.01, 0.02, 0.1, 0.5]))
def test_the_rate_is_the_closed_form_of_conformal_prediction(m: int, rate: float) -> None:
    """Of uniform distances, the k-th of m is Beta(k, m + 1 - k): a new one is below it with k / (m + 1) on average."""
    means = []
    for seed in range(40):
        distances = np.sort(np.random.default_rng(seed).random(m)).astype(np.float32)
        means.append(CopyGate.of(with_held_out(distances), rate).threshold)
    k = int(rate * (m + 1) + 1e-9)
    mean = k / (m + 1)
    spread = np.sqrt(mean * (1 - mean) / (m + 2) / 40)
    assert mean <= rate
    assert abs(np.mean(means) - mean) <= 5 * spread


def with_held_out(distances: np.ndarray) -> CopyIndex:
    i = INDEX_OF_TRAIN
    return CopyIndex(i.size, i.channels, i.space, i.codes, i.digests, distances, i.about)


def test_few_held_out_photos_calibrate_nothing_and_it_is_said() -> None:
    gate = CopyGate.of(index_of(TRAIN, HELD_OUT[:199]))
    assert (gate.calibrated, gate.threshold) == (False, NEAR_EXACT)
    assert "fewer than 200 photos were held out (199)" in gate.sentence
    assert "not calibrated" in gate.said(0.5)
    assert (gate.look(TRAIN[:20])[1] < 1).all()
    assert (gate.look(TRAIN[:20, :, ::-1].copy())[1] < 1).all()
    assert not (gate.look(photos(200, 5))[1] < 1).any()
    assert CopyGate.of(index_of(TRAIN, HELD_OUT[:0])).threshold == NEAR_EXACT


def test_rates_that_cannot_be_told_are_refused() -> None:
    for rate in (0.0, 1.0, -1, float("nan")):
        with pytest.raises(UsageError, match="between 0 and 1"):
            CopyGate.of(INDEX_OF_TRAIN, rate)
    with pytest.raises(UsageError, match=r"400 held-out photos can tell no rate below 0\.0025"):
        CopyGate.of(INDEX_OF_TRAIN, 0.001)
    assert CopyGate.of(INDEX_OF_TRAIN, 0.0025).calibrated


def test_places_are_no_further_apart_than_thumbnails() -> None:
    """And just as far for few photos, which the directions hold wholly: unseen ones are not near to everything."""
    thumbnails, fresh = in_place(to_grid(TRAIN[:10])), in_place(to_grid(HELD_OUT[:50]))
    few = index_of(TRAIN[:10], HELD_OUT[:0]).space
    unit = Space(few.mean, few.basis, np.ones_like(few.scales))
    a, b = unit.place(thumbnails), unit.place(fresh)
    kept = np.linalg.norm(a[:, None] - b[None], axis=2)
    exact = np.linalg.norm(thumbnails[:, None] - fresh[None], axis=2)
    assert (kept <= exact + 1e-3).all()
    np.testing.assert_allclose(kept, exact, atol=2e-2)
    assert kept.min() > 0.5


def test_the_search_is_brute_force_in_any_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = HELD_OUT[:30]
    rows = INDEX_OF_TRAIN.space.decode(INDEX_OF_TRAIN.codes)
    brute = np.full(30, np.inf)
    for thumbnails in laid_over(to_grid(pictures)):
        places = INDEX_OF_TRAIN.space.place(thumbnails)
        brute = np.minimum(brute, np.linalg.norm(places[:, None] - rows[None], axis=2).min(1))
    for block, chunk in ((7, 3), (4096, 64)):
        monkeypatch.setattr(module, "BLOCK", block)
        monkeypatch.setattr(module, "ROWS", chunk)
        np.testing.assert_allclose(INDEX_OF_TRAIN.find_nearest(pictures)[1], brute, rtol=1e-6)


def test_a_picture_is_judged_alone() -> None:
    together, alone = GATE.look(HELD_OUT[:9])[1], [GATE.look(HELD_OUT[i : i + 1])[1][0] for i in range(9)]
    np.testing.assert_allclose(together, alone, rtol=1e-12)


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (28, 1), (128, 3)])
def test_sizes(size: int, channels: int) -> None:
    train = photos(60, 4, size, channels)
    gate = CopyGate.of(index_of(train, photos(30, 5, size, channels)))
    nearest, closeness = gate.look(train)
    assert (closeness < 1).all()
    np.testing.assert_array_equal(nearest, np.arange(60))
    with pytest.raises(ValueError, match="images has shape"):
        gate.look(photos(1, 0, size + 2, channels))


def test_files_round_trip_and_are_the_same_each_time(tmp_path: Path) -> None:
    INDEX_OF_TRAIN.save(tmp_path / INDEX)
    index_of(TRAIN, HELD_OUT).save(tmp_path / "again.safetensors")
    assert (tmp_path / INDEX).read_bytes() == (tmp_path / "again.safetensors").read_bytes()
    back = load_index(tmp_path / INDEX)
    assert back.about == ABOUT
    for mine, other in zip(GATE.look(HELD_OUT[:50]), CopyGate.of(back).look(HELD_OUT[:50]), strict=True):
        np.testing.assert_array_equal(mine, other)
    less = back.without([digests(8)[7]])
    assert len(less.codes) == 899
    assert less.find_nearest(TRAIN[7:8])[1][0] > 10 * back.find_nearest(TRAIN[7:8])[1][0]


def test_damaged_files_are_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / INDEX
    INDEX_OF_TRAIN.save(path)
    whole = path.read_bytes()
    for damaged in (whole[:-9], b"", whole.replace(b"copies-v1", b"copies-v9"), whole.replace(b'"I8"', b'"U8"')):
        path.write_bytes(damaged)
        with pytest.raises(PackshotError, match="is damaged or of another version; delete it"):
            load_index(path)


def test_refused_pictures_are_drawn_again_and_counted() -> None:
    asked = []

    def draw(places: np.ndarray, attempt: int) -> np.ndarray:
        asked.append((places.tolist(), attempt))
        return TRAIN[places] if attempt < 3 else fresh[places]

    fresh = photos(6, 8)
    fresh = fresh[(GATE.look(fresh)[1] >= 1)][:4]
    pixels = np.stack([fresh[0], TRAIN[5], fresh[2], TRAIN[9]])
    passed = pass_gate(GATE, pixels, draw)
    assert asked == [([1, 3], 1), ([1, 3], 2), ([1, 3], 3)]
    np.testing.assert_array_equal(passed.pixels, fresh[[0, 1, 2, 3]])
    assert (passed.refused, passed.nearest, passed.left) == (6, (5, 9, 1, 3), frozenset())
    assert [said.get("drawn") for said in passed.said] == [None, 4, None, 4]
    np.testing.assert_array_equal(pixels[1], TRAIN[5])  # What was given is not changed.
    left = pass_gate(GATE, pixels, None)
    assert (left.refused, left.left) == (2, {1, 3})


def test_a_generator_that_only_copies_is_stopped() -> None:
    draws = []
    with pytest.raises(PackshotError, match=r"2 of 3 pictures came too near .* each of 20 times .*--allow-copies"):
        pass_gate(GATE, np.stack([TRAIN[0], HELD_OUT[3], TRAIN[2]]), lambda p, k: draws.append(k) or TRAIN[p])
    assert len(draws) == MOST_DRAWS - 1
    with pytest.raises(PackshotError, match="cannot be drawn again"):
        pass_gate(GATE, TRAIN[:1], None)
    off = pass_gate(None, TRAIN[:2], None)
    assert (off.refused, list(off.said)) == (0, [{"copy_gate": "off"}] * 2)


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_generators_carry_an_index_of_what_they_were_trained_on(name: str) -> None:
    run = RunFolder.open(Path(name))
    index, about = load_index(run.path / INDEX), run.read()
    assert index.about == about["training_set"]
    assert len(index.codes) == about["training_set"]["photos"]
    assert (index.size, index.channels) == {"products-64": (64, 3), "fashion-32": (28, 1)}[name]
    assert CopyGate.of(index).calibrated
    assert (run.path / INDEX).stat().st_size <= 2_000_000
