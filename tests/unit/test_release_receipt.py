"""Product proof: what is measured, what breaks a limit, and what the heat map shows."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from packshot.images.decode import decode
from packshot.images.encode import encode
from packshot.images.lab import delta_e
from packshot.images.picture import Operation, ProductImage
from packshot.images.placing import Placement
from packshot.images.resize import resize
from packshot.release.channels import Channel, load_channel
from packshot.release.lettered import find_texts
from packshot.release.notice_ink import FONT
from packshot.release.receipt import (
    ENCODED,
    FAITHFUL,
    MASKED,
    UNTOUCHED,
    Limits,
    compare_product,
    heat_map,
    held_to,
    limits_of,
    prove,
)
from packshot.release.source_type import derive_source_type
from packshot.tasks.batch import BatchOptions, edit_photos
from packshot.tasks.edit import Edited
from packshot.tasks.within import Within

RNG = np.random.default_rng(21)
CAPTURE = (Operation("decode", "capture"),)
NO_LIMITS = Limits()


def picture(pixels: np.ndarray) -> ProductImage:
    return ProductImage(pixels, history=CAPTURE)


def photo(height: int = 60, width: int = 50, channels: int = 3) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    base = 120 + 60 * np.sin(y / 7)[..., None] * np.cos(x / 5)[..., None] + RNG.normal(0, 3, (height, width, channels))
    pixels = np.clip(base, 0, 255).astype(np.uint8)
    if channels == 4:
        pixels[..., 3] = 255
    return pixels


def matte(height: int = 60, width: int = 50) -> np.ndarray:
    alpha = np.zeros((height, width), np.uint8)
    alpha[10:50, 10:40] = 255
    alpha[9, 10:40] = 128
    return alpha


def test_an_untouched_product_on_another_background() -> None:
    before, alpha = photo(), matte()
    after = np.where(alpha[..., None] > 0, before, 255).astype(np.uint8)
    after[9] = 7
    receipt = compare_product(picture(before), picture(after), alpha, limits=UNTOUCHED, mask=alpha < 255)
    assert receipt.passed and receipt.broken == ()
    assert (receipt.bit_identical, receipt.bit_identical_outside) == (True, True)
    assert receipt.pixels == 1200
    assert (receipt.delta_e_max, receipt.delta_e_p99, receipt.ssim, receipt.edge_agreement) == (0, 0, 1, 1)
    told = receipt.as_json()
    assert json.loads(json.dumps(told)) == told
    assert told["limits"]["identical"] is True


def test_one_changed_pixel_is_found_and_refused_with_a_heat_map() -> None:
    before, alpha = photo(), matte()
    after = before.copy()
    after[20, 20] = (255, 0, 0)
    receipt, refused, beside = prove(picture(before), picture(after), alpha, limits=UNTOUCHED, mask=alpha < 255)
    assert receipt["bit_identical"] is False and receipt["bit_identical_outside"] is False
    assert receipt["passed"] is False
    assert receipt["delta_e_max"] == pytest.approx(float(delta_e(before[20, 20], after[20, 20])), abs=1e-3)
    assert receipt["delta_e_p99"] == 0
    assert refused == "The product is not what it was: pixels of it changed, and none may."
    heat = beside["heat"].pixels.astype(int)
    coloured = heat.max(axis=2) - heat.min(axis=2) > 20
    assert np.argwhere(coloured).tolist() == [[20, 20]]


def test_only_the_product_counts() -> None:
    """The figures of the region are those of a picture that is nothing else."""
    before = photo()
    after = np.clip(before.astype(int) + 5, 0, 255).astype(np.uint8)
    region = np.zeros((60, 50), bool)
    region[10:50, 10:40] = True
    got = compare_product(picture(before), picture(after), region, limits=NO_LIMITS)
    worse = after.copy()
    worse[~region] = 0
    same = compare_product(picture(before), picture(worse), region, limits=NO_LIMITS)
    assert got.as_json() == same.as_json()
    inner = delta_e(before, after)[region]
    assert got.delta_e_max == pytest.approx(float(inner.max()), abs=1e-4)
    assert got.delta_e_p99 == pytest.approx(float(np.percentile(inner, 99)), abs=1e-4)
    assert 0 < got.ssim < 1  # type: ignore[operator]


def test_limits_break_in_words() -> None:
    before = photo()
    after = np.clip(before.astype(int) + 40, 0, 255).astype(np.uint8)
    receipt, refused, beside = prove(picture(before), picture(after), limits=FAITHFUL)
    assert (
        refused is not None and "99th percentile of the CIEDE2000 difference" in refused and "3 is the most" in refused
    )
    assert "heat" in beside and not receipt["passed"]
    blurred = np.repeat(np.repeat(before[::6, ::6], 6, axis=0), 6, axis=1)[:60, :50]
    broken = compare_product(
        picture(before), picture(blurred), limits=Limits(ssim=0.9, edge_agreement=0.9, delta_e_max=0.1)
    ).broken
    assert len(broken) >= 2 and any("SSIM" in b for b in broken)
    assert prove(picture(before), picture(before), limits=UNTOUCHED).refused is None


def test_outside_the_mask() -> None:
    before, after = photo(), photo()
    mask = np.ones((60, 50), bool)
    mask[:30] = False
    after[:30] = before[:30]
    assert compare_product(picture(before), picture(after), None, limits=MASKED, mask=mask).passed
    after[3, 3] += 1
    receipt = compare_product(picture(before), picture(after), None, limits=MASKED, mask=mask)
    assert not receipt.passed and receipt.broken == ("pixels outside the mask changed, and none may",)
    assert compare_product(picture(before), picture(before), limits=NO_LIMITS).bit_identical_outside is None
    assert not compare_product(picture(before), picture(before), limits=MASKED).passed  # Nothing was declared.


def test_a_product_that_was_moved_cut_and_scaled() -> None:
    before = photo(channels=3)
    moved = Placement(height=40, width=90, top=-12, left=7)
    after = moved.apply(before)
    receipt = compare_product(picture(before), picture(after), limits=UNTOUCHED, placement=moved)
    assert receipt.passed and receipt.pixels == 40 * 50
    assert "moved by +7, -12" in receipt.compared
    after[0, 0] = 1  # Beyond the photo.
    assert compare_product(picture(before), picture(after), limits=UNTOUCHED, placement=moved).passed
    shifted = Placement(height=40, width=90, top=-11, left=7)
    assert not compare_product(picture(before), picture(after), limits=UNTOUCHED, placement=shifted).passed
    scaled = Placement(height=90, width=75, scale=1.5)
    receipt = compare_product(picture(before), picture(scaled.apply(before)), limits=UNTOUCHED, placement=scaled)
    assert receipt.passed and "Lanczos" in receipt.compared


def test_another_size_without_a_placement_is_a_scaled_photo() -> None:
    before = photo()
    after = resize(before, 120, 100)
    assert compare_product(picture(before), picture(after), limits=UNTOUCHED).passed
    nearest = before.repeat(2, axis=0).repeat(2, axis=1)
    assert not compare_product(picture(before), picture(nearest), limits=UNTOUCHED).passed


def test_transparency_counts() -> None:
    before = photo(channels=4)
    after = before.copy()
    after[20, 20, 3] = 0
    receipt = compare_product(picture(before), picture(after), limits=UNTOUCHED)
    assert not receipt.passed and receipt.delta_e_max > 5  # type: ignore[operator]
    assert compare_product(picture(before[..., :3]), picture(before), limits=UNTOUCHED).passed


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 2)])
def test_tiny_pictures(shape: tuple[int, int]) -> None:
    white, black = (picture(np.full((*shape, 3), v, np.uint8)) for v in (255, 0))
    receipt = compare_product(white, black, limits=NO_LIMITS)
    assert receipt.delta_e_max == pytest.approx(100, abs=0.01)
    assert receipt.bit_identical is False
    assert heat_map(white, black).pixels.shape == (*shape, 3)


def test_no_pixel_of_the_product() -> None:
    receipt = compare_product(picture(photo()), picture(photo()), np.full((60, 50), 254, np.uint8), limits=FAITHFUL)
    assert receipt.pixels == 0 and receipt.bit_identical is None and receipt.delta_e_max is None
    assert "no pixel" in receipt.compared


def test_a_region_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="product has shape"):
        compare_product(picture(photo()), picture(photo()), np.ones((3, 3), bool), limits=FAITHFUL)


def test_a_heat_map_says_what_its_pictures_were() -> None:
    made = ProductImage(photo(), history=(*CAPTURE, Operation("fill", "generated")))
    heat = heat_map(picture(photo()), made)
    assert derive_source_type(heat.history) == "compositeWithTrainedAlgorithmicMedia"


def test_strips_leave_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    before, region = photo(130, 70), RNG.random((130, 70)) > 0.2
    after = np.clip(before + RNG.normal(0, 9, before.shape), 0, 255).astype(np.uint8)
    after[45:70] = before[45:70]
    results = []
    for strip in (1, 1 << 20):
        monkeypatch.setattr("packshot.release.receipt.STRIP", strip)
        receipt = compare_product(picture(before), picture(after), region, limits=NO_LIMITS)
        results.append((receipt.as_json(), heat_map(picture(before), picture(after)).pixels))
    assert results[0][0] == results[1][0]
    assert np.array_equal(results[0][1], results[1][1])


WORDS = "PURE COTTON"
LOWER = slice(200, 300)
"""Rows of `labelled` without text."""


def labelled(words: str = WORDS, ink: int = 20) -> np.ndarray:
    """A plain product with a line of text on it."""
    canvas = Image.new("RGB", (400, 300), (214, 205, 190))
    font = ImageFont.truetype(str(FONT), 36, layout_engine=ImageFont.Layout.BASIC)
    ImageDraw.Draw(canvas).text((60, 100), words, font=font, fill=(ink, ink, ink))
    return np.asarray(canvas)


def blurred(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(ndimage.gaussian_filter(pixels, (5, 5, 0)))


def noisy(pixels: np.ndarray) -> np.ndarray:
    return np.clip(pixels + np.random.default_rng(4).normal(0, 4, pixels.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("change", "stays"),
    [
        (lambda p: noisy(p), True),
        (lambda p: np.clip(p * 0.9 + 5, 0, 255).astype(np.uint8), True),
        (lambda p: decode(encode(picture(p), "JPEG", 75)).pixels, True),
        (lambda p: decode(encode(picture(p), "WEBP", 75)).pixels, True),
        (blurred, False),
        (lambda p: labelled("SOFT NYLONS"), False),
        (lambda p: labelled(ink=170), False),
        (lambda p: np.roll(p, 4, axis=1), False),
        (lambda p: labelled(""), False),
    ],
)
def test_a_text_stays_or_is_refused(change: Callable[[np.ndarray], np.ndarray], stays: bool) -> None:
    before = labelled()
    receipt, refused, beside = prove(picture(before), picture(change(before)), limits=Limits(text_agreement=0.8))
    assert (refused is None) == stays == (receipt["text_agreement"] >= 0.8)
    if refused is not None:
        assert "the agreement of a text's strokes is" in refused and "0.8 is the least" in refused
        heat = beside["heat"].pixels.astype(int)
        assert (np.ptp(heat[LOWER], axis=2) <= 20).all() and (np.ptp(heat, axis=2) > 20).any()


def test_only_texts_of_the_product_count() -> None:
    before, lower = labelled(), np.zeros((300, 400), bool)
    lower[LOWER] = True
    after = np.where(lower[..., None], noisy(before), labelled("SOFT NYLONS"))
    assert len(find_texts(before, np.ones((300, 400), bool))) == 2 and find_texts(before, lower) == []  # Two words.
    receipt = compare_product(picture(before), picture(after), lower, limits=Limits(text_agreement=1.0))
    assert receipt.text_agreement is None and receipt.passed and receipt.bit_identical is False
    assert compare_product(picture(before), picture(before), limits=FAITHFUL).text_agreement == 1
    assert compare_product(picture(photo()), picture(photo() + 1), limits=NO_LIMITS).text_agreement is None


def test_a_text_is_compared_where_it_was_placed() -> None:
    before = labelled()
    placement = Placement(height=700, width=900, top=40, left=30, scale=2.0)
    after = placement.apply(before)
    assert compare_product(picture(before), picture(after), limits=UNTOUCHED, placement=placement).text_agreement == 1
    for change, stays in ((noisy, True), (lambda p: np.roll(p, 8, axis=1), False)):
        receipt = compare_product(picture(before), picture(change(after)), limits=FAITHFUL, placement=placement)
        assert receipt.text_agreement is not None and (receipt.text_agreement >= 0.9) == stays
    clear = np.dstack([before, np.full(before.shape[:2], 255, np.uint8)])
    receipt = compare_product(picture(clear), picture(np.dstack([blurred(before), clear[..., 3]])), limits=ENCODED)
    assert any("text's strokes" in b for b in receipt.broken)


class Shifted:
    """An edit that shifts the product's colour by CIEDE2000 5, whatever it says.

    Args:
        limits: that it is proved against.
    """

    task = "shifted"

    def __init__(self, limits: Limits) -> None:
        self.limits = limits

    def settings(self) -> dict[str, Any]:
        return {}

    def __call__(self, image: ProductImage) -> Edited:
        product = (image.pixels != 255).any(axis=2)
        pixels = image.pixels.copy()
        while delta_e(image.pixels, pixels)[product].mean() < 5:
            pixels[product, 0] += 1
        done = image.done(Operation("tone", "classical"), pixels)
        proof = prove(image, done, product, limits=self.limits)
        return Edited(image=done, receipt=proof.receipt, refused=proof.refused, beside=proof.beside)


def shop_photo(folder: Path) -> Path:
    pixels = np.full((120, 160, 3), 255, np.uint8)
    pixels[30:90, 40:120] = np.clip(photo(60, 80), 0, 220)
    path = folder / "shirt.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("channel", [None, "generic", "google-merchant"])
def test_a_product_whose_colour_was_shifted_does_not_leave(channel: str | None, tmp_path: Path) -> None:
    """The whole road: also an edit that sets itself no limits is held to those of the channel."""
    source, out = shop_photo(tmp_path), tmp_path / "out"
    edit = Shifted(FAITHFUL) if channel is None else Within(Shifted(NO_LIMITS), channel, date(2026, 11, 24))
    (result,) = edit_photos([source], edit, out, BatchOptions(quiet=True)).photos
    assert (result.status, result.picture, result.source_type) == ("refused", None, None)
    assert "the 99th percentile of the CIEDE2000 difference is" in str(result.reason)
    assert channel is None or channel in str(result.reason)
    assert result.receipt is not None and 5 <= result.receipt["delta_e_p99"] < 7
    assert result.receipt["passed"] is False and result.receipt["limits"]["delta_e_p99"] == 3
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.suffix == ".png") == [
        "refused/shirt-heat.png"
    ]
    heat = decode(out / "refused/shirt-heat.png").pixels.astype(int)
    hot = np.ptp(heat, axis=2) > 20
    assert hot[30:90, 40:120].mean() > 0.95 and not hot[:30].any() and not hot[:, 120:].any()


def test_without_a_channel_nothing_is_held_to_one(tmp_path: Path) -> None:
    (result,) = edit_photos([shop_photo(tmp_path)], Shifted(NO_LIMITS), tmp_path / "out").photos
    assert result.status == "done"


def test_a_channel_states_its_limits_from_a_day_on() -> None:
    generic = load_channel("generic")
    (rule,) = [r for r in generic.rules if r.subject == "edit"]
    day = date(2026, 11, 24)
    assert limits_of(generic, day) == Limits(delta_e_p99=3.0, text_agreement=0.9)
    assert limits_of(load_channel("amazon-main"), day) == FAITHFUL
    strict = replace(rule, params={"delta_e_p99": 1.0, "ssim": 0.99}, start=date(2027, 1, 1))
    channel = Channel(name="strict", about="", rules=(strict,))
    assert limits_of(channel, day) == FAITHFUL
    assert limits_of(channel, date(2027, 1, 1)) == Limits(delta_e_p99=1.0, ssim=0.99)
    before, after = photo(), np.clip(photo().astype(int) + 6, 0, 255).astype(np.uint8)
    receipt = compare_product(picture(before), picture(after), limits=NO_LIMITS)
    assert receipt.passed and len(held_to(receipt.as_json(), Limits(delta_e_p99=1.0, delta_e_max=90)).broken) == 1
