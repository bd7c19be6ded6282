"""The invisible watermark: what it may not touch, what it survives, and that it never speaks where there is none."""

import hashlib
import io
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from scipy import ndimage

from packshot.core.errors import UsageError
from packshot.release import lattice as lat
from packshot.release import watermark
from packshot.release.codes import CHECK_BITS, ID_BITS, decode_ids
from packshot.release.lattice import SIDE, TILES, lattice
from packshot.release.watermark import LEAST_SIDE, Embedded, NoRoom, detect, embed

ID, OTHER = 0x123456789A, 0x0F0F0F0F0F
GOLDEN = Path(__file__).parents[1] / "golden/watermarked.jpg"
KINDS = {"room": (480, 400), "white": (512, 420), "large": (760, 1000)}


def product(seed: int, height: int, width: int, *, white: bool = False) -> np.ndarray:
    """A printed, knitted thing on a wall with a little light and noise, or on pure white."""
    rng = np.random.default_rng(seed)
    light = np.linspace(205, 165, height)[:, None, None] + np.linspace(0, 25, width)[None, :, None]
    base = np.full((height, width, 3), 255.0) if white else light + rng.normal(0, 2.5, (height, width, 3))
    mask = Image.new("L", (width, height))
    draw = ImageDraw.Draw(mask)
    draw.rounded_rectangle((width * 0.12, height * 0.1, width * 0.88, height * 0.92), width * 0.15, fill=255)
    draw.ellipse((width * 0.4, height * 0.05, width * 0.6, height * 0.18), fill=0)
    y, x = np.mgrid[0:height, 0:width]
    cells = rng.integers(40, 210, (9, 7, 3), dtype=np.uint8)
    print_ = np.asarray(Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC), float)
    knit = 10 * np.sin(x * 1.3 + 2 * np.sin(y / 9))[..., None] + rng.normal(0, 5, (height, width, 1))
    thing = np.clip(print_ + knit, 0, 250)
    part = np.asarray(mask, float)[..., None] / 255
    return np.clip(np.rint(base * (1 - part) + thing * part), 0, 255).astype(np.uint8)


@cache
def original(kind: str) -> np.ndarray:
    return product(sum(map(ord, kind)), *KINDS[kind], white=kind == "white")


@cache
def marked(kind: str) -> Embedded:
    return embed(original(kind), ID)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


def saved(pixels: np.ndarray, kind: str, **options: object) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return np.asarray(Image.open(file).convert("RGB"))


def resized(pixels: np.ndarray, factor: float) -> np.ndarray:
    height, width = (round(n * factor) for n in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


def cropped(pixels: np.ndarray, share: float, down: float, right: float) -> np.ndarray:
    height, width = (round(n * (1 - share)) for n in pixels.shape[:2])
    top, left = round((pixels.shape[0] - height) * down), round((pixels.shape[1] - width) * right)
    return pixels[top : top + height, left : left + width]


def padded(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    page = np.full((round(height * 1.3), round(width * 1.2), 3), 244, np.uint8)
    page[40 : 40 + height, 20 : 20 + width] = pixels
    return page


ATTACKS = {
    "nothing": lambda x: x,
    "JPEG q75 4:2:0": lambda x: saved(x, "JPEG", quality=75, subsampling=2),
    "JPEG q75 4:4:4": lambda x: saved(x, "JPEG", quality=75, subsampling=0),
    "WebP q80": lambda x: saved(x, "WEBP", quality=80),
    "half the size": lambda x: resized(x, 0.5),
    "twice the size": lambda x: resized(x, 2),
    "a tenth is cut off": lambda x: cropped(x, 0.1, 0.7, 0.2),
    "a tenth is cut off, JPEG q85": lambda x: saved(cropped(x, 0.1, 0, 1), "JPEG", quality=85, subsampling=2),
    "padded": padded,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_marked_picture_is_almost_the_same_and_the_same_each_time(kind: str):
    result, before = marked(kind), original(kind).copy()
    assert np.array_equal(embed(original(kind), ID).pixels, result.pixels)
    assert np.array_equal(original(kind), before)
    assert result.pixels.dtype == np.uint8 and result.pixels.shape == original(kind).shape
    assert result.ident == ID and psnr(result.pixels, original(kind)) >= 40
    assert not np.array_equal(embed(original(kind), OTHER).pixels, result.pixels)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_the_id_survives(kind: str, attack: str):
    found = detect(ATTACKS[attack](marked(kind).pixels))
    assert found is not None and found.ident == ID
    assert found.score > 5


def test_the_scale_says_what_was_cut_off_or_added():
    for change, scale in ((lambda x: cropped(x, 0.1, 0.5, 0.5), 0.9), (padded, 1.3)):
        found = detect(change(marked("room").pixels))
        assert found is not None and found.scale == pytest.approx(scale, abs=0.01)


@given(st.integers(0, 2**ID_BITS - 1))
@settings(max_examples=4)
def test_any_id_can_be_written(ident: int):
    found = detect(embed(original("room"), ident).pixels)
    assert found is not None and found.ident == ident


def test_exact_white_is_never_touched_and_none_is_added():
    before, after = original("white"), marked("white").pixels
    white = (before == 255).all(-1)
    assert white.mean() > 0.3 and np.array_equal(after[white], before[white])


def test_white_inside_the_product_stays_too():
    pixels = original("room").copy()
    pixels[100:140, 100:300] = 255
    pixels[200:300:7, 90:300:5] = 255
    white = (pixels == 255).all(-1)
    assert (embed(pixels, ID).pixels[white] == 255).all()


def test_alpha_stays_and_hidden_pixels_too():
    rng = np.random.default_rng(4)
    alpha = np.clip(np.hypot(*np.mgrid[-1:1:480j, -1:1:400j]) * -400 + 420, 0, 255).astype(np.uint8)
    pixels = np.dstack([original("room"), alpha])
    pixels[alpha == 0, :3] = rng.integers(0, 256, ((alpha == 0).sum(), 3))
    result = embed(pixels, ID).pixels
    assert result.shape == pixels.shape and np.array_equal(result[..., 3], alpha)
    assert (alpha == 0).any() and np.array_equal(result[alpha == 0], pixels[alpha == 0])
    found = detect(result)
    assert found is not None and found.ident == ID


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=4)
def test_where_is_respected_bit_for_bit(seed: int):
    rng = np.random.default_rng(seed)
    coarse = rng.random((6, 5)) < 0.85
    where = np.kron(coarse, np.ones((80, 80), bool)) & (rng.random((480, 400)) < 0.999)
    try:
        after = embed(original("room"), ID, where=where).pixels
    except NoRoom:
        return
    assert np.array_equal(after[~where], original("room")[~where])
    assert (after[where] != original("room")[where]).any()
    found = detect(after)
    assert found is not None and found.ident == ID


def test_everywhere_is_the_same_as_no_mask():
    where = np.ones((480, 400), bool)
    assert np.array_equal(embed(original("room"), ID, where=where).pixels, marked("room").pixels)


def no_room() -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    white = np.full((400, 400, 3), 255, np.uint8)
    dot = white.copy()
    dot[195:205, 195:205] = np.random.default_rng(0).integers(0, 255, (10, 10, 3))
    clear = np.dstack([original("room"), np.zeros((480, 400), np.uint8)])
    return {
        "all white": (white, None),
        "a dot on white": (dot, None),
        "small": (product(1, LEAST_SIDE - 1, 600), None),
        "nowhere": (original("room"), np.zeros((480, 400), bool)),
        "all hidden": (clear, None),
    }


@pytest.mark.parametrize("case", no_room())
def test_a_picture_without_room_says_so(case: str):
    pixels, where = no_room()[case]
    with pytest.raises(NoRoom, match=r"watermark"):
        embed(pixels, ID, where=where)


@pytest.mark.parametrize("ident", [-1, 2**ID_BITS])
def test_ids_out_of_range_are_refused(ident: int):
    with pytest.raises(UsageError, match="40 bits"):
        embed(original("room"), ident)


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(UsageError, match="must be the same"):
        embed(original("room"), ID, where=np.ones((400, 480), bool))


def odd_pictures() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(6)
    y, x = np.mgrid[0:300, 0:400]
    grid = np.where((x // 12 + y // 12) % 2, 40, 200).astype(np.uint8)  # Its frequencies are near the lattice's.
    wave = (128 + 90 * np.sin(x * 2 * np.pi * 24 / 400)).astype(np.uint8)
    return {
        **{f"flat {v}": np.full((300, 400, 3), v, np.uint8) for v in (0, 1, 128, 249, 255)},
        "noise": rng.integers(0, 256, (300, 400, 3), dtype=np.uint8),
        "checks": np.dstack([grid] * 3),
        "wave": np.dstack([wave] * 3),
        "narrow": rng.integers(0, 256, (16, 900, 3), dtype=np.uint8),
        "tiny": rng.integers(0, 256, (9, 9, 3), dtype=np.uint8),
        "one pixel": np.zeros((1, 1, 3), np.uint8),
        "clear": np.zeros((300, 300, 4), np.uint8),
    }


def test_no_more_words_are_tried_than_the_false_alarms_are_reckoned_with(monkeypatch: pytest.MonkeyPatch):
    tried: list[int] = []

    def counted(beliefs: np.ndarray) -> list[int | None]:
        tried.append(len(beliefs))
        return decode_ids(beliefs)

    monkeypatch.setattr(watermark, "decode_ids", counted)
    assert detect(original("room")) is None
    assert sum(tried) == watermark.TRIES + 1 and sum(tried) * 2.0**-CHECK_BITS <= 1e-6


@pytest.mark.parametrize("name", odd_pictures())
def test_odd_pictures_carry_no_id(name: str):
    assert detect(odd_pictures()[name]) is None


@pytest.mark.parametrize("name", ["flat 0", "flat 128", "noise", "checks"])
def test_odd_pictures_are_marked_so_that_it_is_read_or_not_at_all(name: str):
    pixels = odd_pictures()[name]
    try:
        result = embed(pixels, ID)
    except NoRoom:
        return
    found = detect(saved(result.pixels, "JPEG", quality=75, subsampling=2))
    assert found is not None and found.ident == ID and psnr(result.pixels, pixels) >= 40


@pytest.mark.parametrize("seed", range(12))
def test_unmarked_pictures_carry_no_id(seed: int):
    pixels = product(100 + seed, 300 + 30 * seed, 520 - 20 * seed, white=seed % 3 == 0)
    assert detect(saved(pixels, "JPEG", quality=80)) is None


def test_a_mark_that_is_almost_destroyed_reads_as_itself_or_not_at_all():
    rng, outcomes = np.random.default_rng(7), set()
    for quality, noise in ((40, 0), (25, 0), (12, 0), (60, 12), (30, 25)):
        worn = np.clip(marked("room").pixels + rng.normal(0, noise, original("room").shape), 0, 255).astype(np.uint8)
        found = detect(saved(resized(worn, 0.6), "JPEG", quality=quality, subsampling=2))
        outcomes.add(found if found is None else found.ident)
    assert None in outcomes and outcomes <= {None, ID}


def test_of_two_marks_one_is_read_or_none():
    twice = embed(marked("room").pixels, OTHER).pixels
    found = detect(twice)
    assert found is None or found.ident in (ID, OTHER)


def test_what_is_read_of_a_stranger_part_is_its_own_id():
    left, right = marked("room").pixels, embed(original("room"), OTHER).pixels
    half = np.hstack([left[:, :200], right[:, 200:]])
    found = detect(half)
    assert found is None or found.ident in (ID, OTHER)


def test_a_file_that_left_long_ago_is_still_read():
    """A golden file: if this fails, marks that are out in the world are lost."""
    found = detect(np.asarray(Image.open(GOLDEN).convert("RGB")))
    assert found is not None and found.ident == ID


def test_the_lattice_stays_what_it_is():
    at = lattice()
    digest = hashlib.sha256()
    for part in (at.ky, at.kx, *at.data, *at.sync, *at.order, *at.sign):
        digest.update(np.asarray(part).astype("<i4").tobytes())
    for phase in at.phase:
        digest.update(np.rint(np.angle(phase) * 1000).astype("<i4").tobytes())
    assert digest.hexdigest()[:16] == LATTICE


LATTICE = "9181ba032f820f77"


def test_no_point_of_the_lattice_is_its_own_or_anothers_mirror():
    at = lattice()
    points = set(zip(at.ky.tolist(), at.kx.tolist(), strict=True))
    assert len(points) == lat.POINTS and not any((-y, -x) in points for y, x in points)
    for data, sync in zip(at.data, at.sync, strict=True):
        assert sorted([*data, *sync]) == list(range(lat.POINTS))


def test_spectrum_and_waves_are_the_fourier_transform_at_the_points():
    at, rng = lattice(), np.random.default_rng(8)
    plane = rng.normal(size=(SIDE, 301)).astype(np.float32)
    y, x = np.arange(SIDE), np.arange(301)
    for n in (0, 57, lat.POINTS - 1):
        row = np.exp(-2j * np.pi * TILES * at.ky[n] * y / SIDE)
        column = np.exp(-2j * np.pi * TILES * at.kx[n] * x / SIDE)
        assert lat.spectrum(plane)[n] == pytest.approx(row @ plane @ column, abs=0.01)
        one = np.zeros(lat.POINTS, np.complex64)
        one[n] = 0.3 - 0.4j
        wave = (one[n] * np.conj(np.outer(row, column))).real
        assert np.allclose(lat.waves(one, (SIDE, 301)), wave, atol=1e-5)
    with_noise, _ = lat.spectrum_and_noise(plane, 1.0)
    assert np.allclose(with_noise, lat.spectrum(plane), atol=0.05)


@given(st.integers(0, 2**32 - 1), st.integers(10, 40), st.integers(10, 40))
@settings(max_examples=20)
def test_the_least_value_around_is_scipys(seed: int, height: int, width: int):
    plane = np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32)
    assert np.array_equal(lat._least(plane), ndimage.minimum_filter(plane, 9))


@pytest.mark.slow
def test_many_unmarked_pictures_carry_no_id():
    for seed in range(400):
        pixels = product(1000 + seed, 256 + seed % 300, 256 + (7 * seed) % 350, white=seed % 2 == 0)
        assert detect(pixels) is None


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(25))
def test_many_pictures_keep_their_id(seed: int):
    rng = np.random.default_rng(seed)
    pixels = product(seed, *(int(n) for n in rng.integers(300, 900, 2)), white=seed % 2 == 0)
    ident = int(rng.integers(1 << ID_BITS))
    result = embed(pixels, ident)
    assert psnr(result.pixels, pixels) >= 40
    for name in ("JPEG q75 4:2:0", "half the size", "a tenth is cut off"):
        found = detect(ATTACKS[name](result.pixels))
        assert found is not None and found.ident == ident, name
