"""Lines of text and number plates: what is found, and what is not taken for them."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

from packshot.images.lettering import find_lines, plates_of, text_of
from packshot.images.regions import Region, merge
from tests.catalog_photos import photo

THRESHOLD = 0.35


def written(
    text: str, size: int, *, ink: int = 20, ground: int = 235, tilt: float = 0, side: int = 400
) -> tuple[np.ndarray, Region]:
    """A card with a line of text on a smooth photo, and where the text is."""
    font = ImageFont.load_default(size)
    left, top, right, bottom = font.getbbox(text)
    w, h = round(right - left), round(bottom - top)
    card = Image.new("RGBA", (w + 2 * h, 3 * h), (ground,) * 3 + (255,))
    ImageDraw.Draw(card).text((h - left, h - top), text, (ink,) * 3, font=font)
    card = card.rotate(tilt, expand=True, resample=Image.Resampling.BICUBIC)
    picture = Image.fromarray(photo(3, side, side))
    x, y = (side - card.width) // 2, (side - card.height) // 2
    picture.paste(card, (x, y), card)
    pad_x, pad_y = (card.width - w) // 2, (card.height - h) // 2
    return np.asarray(picture), Region("text", x + pad_x, y + pad_y, w, h)


def share_found(pixels: np.ndarray, true: Region) -> float:
    mask = np.zeros(pixels.shape[:2], bool)
    for region in text_of(find_lines(pixels), THRESHOLD):
        mask[region.slices] = True
    return float(mask[true.slices].mean())


@pytest.mark.parametrize(("size", "side"), [(10, 300), (16, 400), (32, 400), (70, 600)])
@pytest.mark.parametrize(("ink", "ground"), [(20, 235), (240, 60)])
def test_printed_lines_of_many_sizes_are_covered_dark_and_light(size: int, side: int, ink: int, ground: int) -> None:
    pixels, true = written("Order 4711", size, ink=ink, ground=ground, side=side)
    assert share_found(pixels, true) > 0.9
    everything = sum(r.area for r in text_of(find_lines(pixels), THRESHOLD))
    assert everything < 4 * true.area


def test_a_region_stays_where_it_is_in_a_larger_picture() -> None:
    pixels, true = written("Tel. 0171", 40, side=1300)
    assert share_found(pixels, true) > 0.9


def rings(side: int = 400) -> np.ndarray:
    y, x = (np.mgrid[:side, :side] % 24 - 12) ** 2
    return np.where(((y + x > 25) & (y + x < 64))[..., None], 40, 220).astype(np.uint8).repeat(3, 2)


@pytest.mark.parametrize(
    "pixels",
    [
        np.full((300, 300, 3), 255, np.uint8),
        np.zeros((300, 300, 3), np.uint8),
        np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8),
        np.tile(np.arange(300, dtype=np.uint8)[:, None, None] // 8 % 2 * 200, (1, 300, 3)),
        photo(5, 300, 200),
        rings(),
        *(np.full((h, w, 3), 90, np.uint8) for h, w in ((1, 1), (1, 500), (3, 2))),
        np.full((40, 30, 4), 0, np.uint8),
    ],
    ids=["white", "black", "noise", "stripes", "smooth", "rings", "1x1", "1x500", "3x2", "transparent"],
)
def test_what_is_no_text_is_not_taken_for_it(pixels: np.ndarray) -> None:
    lines = find_lines(pixels)
    assert text_of(lines, THRESHOLD) == []
    assert plates_of(lines, THRESHOLD, *pixels.shape[:2]) == []
    assert text_of(find_lines(pixels, busy=True), THRESHOLD) == []


def test_a_mark_over_a_carpet_is_found_where_the_ground_may_be_busy() -> None:
    tufts = gaussian_filter(np.random.default_rng(1).normal(0, 1, (300, 400)), 1.5)
    carpet = Image.fromarray(np.clip(165 + 28 * tufts / tufts.std(), 0, 255).astype(np.uint8)).convert("RGB")
    font = ImageFont.load_default(32)
    ImageDraw.Draw(carpet).text((60, 200), "SAMPLE SHOP", (255,) * 3, font=font)
    left, top, right, bottom = (round(n) for n in font.getbbox("SAMPLE SHOP"))
    pixels, mark = np.asarray(carpet), np.s_[200 + top : 200 + bottom, 60 + left : 60 + right]

    def covered(busy: bool) -> float:
        mask = np.zeros(pixels.shape[:2], bool)
        for region in text_of(find_lines(pixels, busy), 0.5):
            mask[region.slices] = True
        return float(mask[mark].mean())

    assert covered(busy=False) < 0.1
    assert covered(busy=True) > 0.9


@pytest.mark.parametrize("tilt", [0, 9, -12])
def test_a_number_plate_is_found_with_its_ground(tilt: float) -> None:
    pixels, true = written("KX42 LMB", 32, tilt=tilt)
    plates = plates_of(find_lines(pixels), THRESHOLD, *pixels.shape[:2])
    assert len(plates) == 1
    assert plates[0].kind == "plate"
    assert plates[0].shared(true) >= 0.95 * true.area


def test_a_sentence_is_no_number_plate() -> None:
    pixels, true = written("wash at thirty degrees, do not iron", 16)
    assert share_found(pixels, true) > 0.9
    assert plates_of(find_lines(pixels), THRESHOLD, *pixels.shape[:2]) == []


def test_regions_are_cut_to_the_picture_and_the_surest_of_two_stays() -> None:
    assert Region.clipped("face", (-3.5, 1.2, 4.1, 99), 0.5, 10, 20) == Region("face", 0, 1, 5, 9, 0.5)
    assert Region.clipped("face", (20, 0, 30, 5), 0.5, 10, 20) is None
    one, same, other = Region("a", 0, 0, 10, 10, 0.6), Region("a", 1, 0, 10, 10, 0.9), Region("a", 8, 8, 10, 10, 0.3)
    assert one.shared(other) == 4
    assert merge([one, same, other], 0.3) == [same, other]
    assert merge([one, same], 0.9) == [same, one]
