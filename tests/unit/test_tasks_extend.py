"""`extend`: the photo's pixels stay, the background goes on as it was, and margins are what was asked for."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packshot.core.errors import PackshotError, UsageError
from packshot.images.continuing import continue_background, guess_product
from packshot.images.decode import decode
from packshot.images.picture import Metadata, Operation, ProductImage
from packshot.images.placing import Length
from packshot.release.door import release
from packshot.release.source_type import derive_source_type
from packshot.tasks.extend import Extend, ExtendRequest, Margins, extend, parse_margins
from tests.cutouts import Known
from tests.integration.conftest import run_cli

CAPTURE = (Operation("decode", "capture"),)
RNG = np.random.default_rng(17)


def picture(pixels: np.ndarray) -> ProductImage:
    return ProductImage(pixels, Metadata(), CAPTURE)


def plain(height: int = 80, width: int = 70, noise: float = 2.0) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    light = 170 + 0.3 * y + 0.2 * x
    pixels = light[..., None] * np.array([1.0, 0.98, 0.9]) + RNG.normal(0, noise, (height, width, 3))
    pixels[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3] = (150, 20, 30)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def margins(*lengths: float) -> ExtendRequest:
    return ExtendRequest(margins=Margins(*(Length(v, False) for v in lengths)))


LENGTHS = st.integers(-12, 25)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), LENGTHS, LENGTHS, LENGTHS, LENGTHS, st.integers(0, 9))
def test_the_photo_stays_as_it_is(
    height: int, width: int, top: int, right: int, bottom: int, left: int, feather: int
) -> None:
    photo = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    request = ExtendRequest(margins=margins(top, right, bottom, left).margins, feather=feather)
    sizes = height + top + bottom, width + left + right
    if min(*sizes, height + top, height + bottom, width + left, width + right) < 1:
        with pytest.raises(PackshotError, match="leave nothing"):
            extend(picture(photo), request)
        return
    edited = extend(picture(photo), request)
    assert (edited.image.height, edited.image.width) == sizes
    deep = feather if feather else 0
    cut = [max(0, -v) for v in (top, right, bottom, left)]
    safe = [c + (deep if v > 0 else 0) for c, v in zip(cut, (top, right, bottom, left), strict=True)]
    rows = slice(safe[0], max(safe[0], height - safe[2]))
    columns = slice(safe[3], max(safe[3], width - safe[1]))
    there = photo[rows, columns]
    if there.size:
        at = edited.image.pixels[safe[0] + top :, safe[3] + left :][: there.shape[0], : there.shape[1]]
        assert np.array_equal(at, there)
    assert edited.refused is None
    if any((top, right, bottom, left)):
        assert edited.receipt is not None and edited.receipt["passed"]


def test_a_plain_background_goes_on_smoothly_with_its_noise() -> None:
    photo = plain(160, 140)
    edited = extend(picture(photo), margins(30, 30, 30, 30))
    assert edited.figures["background"] == "smooth"
    out = edited.image.pixels.astype(float)
    left, seam, inside = out[30:-30, 20:29], out[30:-30, 29:31], out[30:-30, 31:40]
    assert np.abs(left.mean(axis=(0, 1)) - inside.mean(axis=(0, 1))).max() < 4
    assert np.abs(seam[:, 0] - seam[:, 1]).mean() < 4  # No step: about the noise's own.
    assert 0.6 < left.std(axis=0).mean() / inside.std(axis=0).mean() < 1.4
    outside = np.ones(out.shape[:2], bool)
    outside[30:-30, 30:-30] = False
    assert out[outside][:, 1].min() > 120  # Nothing of the red product.


def test_a_texture_goes_on() -> None:
    x = np.mgrid[0:120, 0:120][1]
    photo = np.where((x // 6) % 2, 200, 120)[..., None].repeat(3, axis=2).astype(np.uint8)
    edited = extend(picture(photo), margins(24, 0, 0, 0))
    assert edited.figures["background"] == "patches"
    added = edited.image.pixels[2:24, :, 0].astype(float)
    assert np.abs(added - photo[0, :, 0]).mean() < 25  # Stripes go straight on; their mean is 40 off.


def test_a_product_that_the_border_cuts_off_leaves_no_smear_beside_it() -> None:
    rng = np.random.default_rng(0)
    photo = np.repeat(rng.integers(110, 170, (100, 100, 1), np.uint8), 3, axis=2)  # Rough, so patches go on.
    alpha = np.zeros((100, 100), np.uint8)
    alpha[:70, 35:65] = 255
    photo[:70, 35:65] = (200, 10, 10)
    edited = extend(picture(photo), margins(24, 0, 0, 0), Known(alpha))
    assert edited.figures["background"] == "patches"
    added = edited.image.pixels[:24].astype(int)
    assert np.abs(added[..., 0] - added[..., 1]).max() < 12  # Grey all over.


def test_no_product_is_continued_where_its_matte_is_known() -> None:
    photo = np.full((80, 80, 3), 210, np.uint8)
    photo[20:60, 0:40] = (200, 10, 10)  # It touches the left border.
    alpha = np.zeros((80, 80), np.uint8)
    alpha[20:60, 0:40] = 255
    edited = extend(picture(photo), margins(0, 0, 0, 30), Known(alpha))
    assert edited.image.pixels[:, :30, 1].min() > 190
    assert "(left)" in edited.notes[0]
    assert extend(picture(photo), margins(0, 30, 0, 0), Known(alpha)).notes == ()


def test_what_looks_like_the_product() -> None:
    photo = plain(90, 90)
    photo[85:] = (20, 20, 20)  # A skirting board at the border is no product.
    guess = guess_product(photo)
    assert guess[32:58, 32:58].all()
    assert not guess[:20].any() and not guess[86:].any()
    assert not guess_product(np.full((9, 7, 3), 255, np.uint8)).any()


def test_feather_blends_only_the_sides_that_grow() -> None:
    photo = plain()
    request = ExtendRequest(margins=Margins(*(Length(v, False) for v in (10, 0, 0, 0))), feather=8)
    out = extend(picture(photo), request).image.pixels
    assert np.array_equal(out[18:], photo[8:])
    assert not np.array_equal(out[10:18], photo[:8])
    assert np.abs(out[10:18].astype(int) - photo[:8]).max() < 20


def test_an_aspect_is_reached_by_adding_alone() -> None:
    photo = plain(80, 70)
    for aspect, size in (((4.0, 5.0), (88, 70)), ((1.0, 1.0), (80, 80)), ((16.0, 9.0), (80, 142))):
        edited = extend(picture(photo), ExtendRequest(aspect=aspect))
        assert (edited.image.height, edited.image.width) == size
    same = extend(picture(photo), ExtendRequest(aspect=(7.0, 8.0)))
    assert same.image.pixels is photo or np.array_equal(same.image.pixels, photo)
    assert "already" in same.notes[0]


def test_large_canvases_are_continued_at_a_smaller_size() -> None:
    photo = plain(500, 700)
    edited = extend(picture(photo), ExtendRequest(aspect=(1.0, 1.0)))
    out = edited.image.pixels.astype(float)
    assert out.shape == (700, 700, 3)
    assert np.array_equal(out[100:600].astype(np.uint8), photo)
    assert np.abs(out[80:99].mean(axis=(0, 1)) - out[101:120].mean(axis=(0, 1))).max() < 5
    assert 0.5 < out[80:99].std(axis=0).mean() / out[101:120].std(axis=0).mean() < 1.5


def test_transparency_is_continued_as_transparency() -> None:
    pixels = np.zeros((20, 20, 4), np.uint8)
    pixels[5:15, 5:15] = (9, 9, 9, 255)
    out = extend(picture(pixels), margins(5, 5, 5, 5)).image.pixels
    assert out.shape == (30, 30, 4) and np.count_nonzero(out[..., 3]) == 100
    pixels[..., 3] = 255
    out = extend(picture(pixels), margins(5, 5, 5, 5)).image.pixels
    assert (out[..., 3] == 255).all()


@pytest.mark.parametrize("value", [0, 255])
def test_flat_and_tiny_photos(value: int) -> None:
    for shape in ((1, 1), (1, 30), (40, 40)):
        out = extend(picture(np.full((*shape, 3), value, np.uint8)), margins(7, 9, 11, 13)).image.pixels
        assert (out == value).all()


@pytest.mark.parametrize("shape", [(1, 1000), (1000, 1), (2, 900)])
def test_a_line_of_pixels_on_a_large_canvas(shape: tuple[int, int]) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    square = extend(picture(photo), ExtendRequest(aspect=(1, 1))).image.pixels
    assert square.shape == (max(shape), max(shape), 3)
    top, left = ((max(shape) - n) // 2 for n in shape)
    assert np.array_equal(square[top : top + shape[0], left : left + shape[1]], photo)


def test_a_photo_that_is_darker_at_its_border_goes_on_darker() -> None:
    """It is never lighter beyond the border than at it: the photo's border would stand there as a frame."""
    y, x = np.mgrid[-1:1:120j, -1:1:90j]
    photo = np.rint(np.broadcast_to((220 - 32 * np.maximum(x**4, y**4))[..., None], (120, 90, 3))).astype(np.uint8)
    edited = extend(picture(photo), margins(25, 25, 25, 25))
    assert edited.figures["background"] == "smooth"
    out = edited.image.pixels[..., 0].astype(float)
    for beyond, border in (
        (out[:25, 40:100], out[25, 40:100]),
        (out[-25:, 40:100], out[-26, 40:100]),
        (out[40:130, :25].T, out[40:130, 25]),
        (out[40:130, -25:].T, out[40:130, -26]),
    ):
        assert np.abs(beyond.mean(axis=1) - border.mean()).max() < 4


def test_nothing_but_product_goes_on_all_the_same() -> None:
    canvas = np.full((30, 30, 3), 77, np.uint8)
    known = np.zeros((30, 30), bool)
    known[10:20, 10:20] = True
    filled = continue_background(canvas, known, product=known)
    assert np.abs(filled.pixels.astype(int) - 77).max() <= 1


def test_what_nobody_photographed_is_said() -> None:
    edited = extend(picture(plain()), margins(5, 5, 5, 5))
    assert derive_source_type(edited.image.history) == "compositeWithTrainedAlgorithmicMedia"
    assert edited.image.history[-1].params["margins"] == [5, 5, 5, 5]
    assert derive_source_type(extend(picture(plain()), margins(-5, -5, 0, 0)).image.history) is None


def test_the_same_again_and_other_settings() -> None:
    request = margins(9, 9, 9, 9)
    one, other = (extend(picture(plain_fixed()), request).image.pixels for _ in range(2))
    assert np.array_equal(one, other)
    assert Extend(request).settings() != Extend(margins(9, 9, 9, 8)).settings()
    found = Extend(request, Known(np.zeros((1, 1), np.uint8)))
    assert found.settings() != Extend(request).settings()


def plain_fixed() -> np.ndarray:
    return np.random.default_rng(1).integers(100, 110, (40, 40, 3), dtype=np.uint8)


def test_margins_are_read() -> None:
    assert parse_margins("10%") == Margins(*[Length(0.1, True)] * 4)
    assert parse_margins("1, 2px") == Margins(Length(1, False), Length(2, False), Length(1, False), Length(2, False))
    assert parse_margins("1,-2%,3,4")[1] == Length(-0.02, True)
    for bad in ("", "1,2,3", "a", "1,2,3,4,5"):
        with pytest.raises(UsageError):
            parse_margins(bad)
    for request in ({}, {"aspect": (1.0, 1.0), "margins": parse_margins("1")}, {"aspect": (1.0, 1.0), "feather": -1}):
        with pytest.raises(UsageError):
            ExtendRequest(**request)  # type: ignore[arg-type]
    with pytest.raises(PackshotError, match="too large"):
        extend(picture(plain()), margins(30_000, 0, 0, 0))


def test_on_the_command_line(tmp_path: Path) -> None:
    release(picture(plain()), tmp_path / "a.png")
    out, _ = run_cli("extend", tmp_path / "a.png", "--out", tmp_path / "out", "--margin=10%,0,-5,0", "--json")
    told = json.loads(out)["photos"][0]
    assert told["receipt"]["passed"] and told["source_type"] == "compositeWithTrainedAlgorithmicMedia"
    assert decode(tmp_path / "out/a.png").pixels.shape == (83, 70, 3)
    run_cli("extend", tmp_path / "a.png", "--out", tmp_path / "square", "--aspect", "1:1", "--feather", "3")
    assert decode(tmp_path / "square/a.png").pixels.shape == (80, 80, 3)
    _, err = run_cli("extend", tmp_path / "a.png", "--out", tmp_path / "none", code=2)
    assert "either an aspect" in err
