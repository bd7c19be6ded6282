"""Text over a picture: beside the product, printed on it, and where that cannot be told."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from packshot.release.overlay import find_overlay
from tests.catalog_photos import jpeg, photo
from tests.unit.test_channels import findings, packshot, status


def written(
    pixels: np.ndarray, text: str, x: int, y: int, size: int = 30, ink: tuple[int, ...] = (200, 0, 0)
) -> np.ndarray:
    picture = Image.fromarray(pixels)
    ImageDraw.Draw(picture).text((x, y), text, ink, font=ImageFont.load_default(size))
    return np.asarray(picture)


@pytest.mark.parametrize(("x", "y", "size"), [(60, 20, 34), (300, 550, 16), (200, 105, 24)])
def test_text_beside_the_product_is_laid_over_the_picture(x: int, y: int, size: int) -> None:
    pixels = written(packshot(600, 600, 0.8), "SALE -50 %", x, y, size)
    found = find_overlay(pixels)
    assert found.laid_over and not found.unclear and not found.printed
    region = found.laid_over[0]
    assert abs(region.x - x) < size and abs(region.y - y) < size


def test_which_channels_forbid_it() -> None:
    pixels = written(packshot(300, 300, 0.8), "NEW PRICE", 60, 20, 20)
    answer = findings(pixels, "google-merchant")["overlay"]
    assert (answer.status, answer.confidence) == ("fail", "secondary")
    assert "text beside the product" in answer.seen
    assert status(pixels, "amazon-main", "overlay") == "fail"
    assert "overlay" not in findings(pixels, "amazon-secondary")


def test_text_survives_being_looked_at_in_a_large_picture_and_a_jpeg() -> None:
    pixels = written(packshot(1500, 1500, 0.8), "www.shop.example", 400, 40, 60, (60, 60, 60))
    region = find_overlay(np.asarray(Image.open(io.BytesIO(jpeg(pixels, quality=75))))).laid_over[0]
    assert region.x > 340 and region.x + region.width < 1000 and abs(region.y - 40) < 60 and region.height < 150


def test_print_on_the_product_is_none() -> None:
    pixels = written(packshot(600, 600, 0.8), "BRAND NAME", 150, 280, 50, (255, 255, 255))
    assert status(pixels, "google-merchant", "overlay") == "pass"


def test_text_that_may_stand_on_a_light_product_cannot_be_told() -> None:
    pixels = np.full((600, 600, 3), 255, np.uint8)
    for edge in (np.s_[100:110, 80:520], np.s_[490:500, 80:520], np.s_[100:500, 80:90], np.s_[100:500, 510:520]):
        pixels[edge] = 180  # A white box: only its edges are seen.
    pixels = written(pixels, "FINE TEA", 220, 280, 40, (40, 40, 40))
    answer = findings(pixels, "google-merchant")["overlay"]
    assert answer.status == "unknown" and "cannot be told" in answer.seen


def test_without_a_plain_backdrop_text_cannot_be_told_and_none_is_none() -> None:
    pixels = photo(3, 500, 500)
    assert status(pixels, "google-merchant", "overlay") == "pass"
    card = pixels.copy()
    card[200:300, 100:400] = 235
    assert status(written(card, "Order 4711", 130, 225, 40, (20, 20, 20)), "google-merchant", "overlay") == "unknown"


def test_a_picture_of_nothing_but_letters_or_of_many_like_parts_cannot_be_told() -> None:
    empty = np.full((500, 500, 3), 255, np.uint8)
    assert status(written(empty, "POSTER", 60, 200, 90, (0, 0, 0)), "google-merchant", "overlay") == "unknown"


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 300, 3), (7, 5, 4), (300, 300, 4)])
@pytest.mark.parametrize("level", [0, 255])
def test_odd_pictures_have_no_text(shape: tuple[int, ...], level: int) -> None:
    found = find_overlay(np.full(shape, level, np.uint8))
    assert not found.laid_over and not found.unclear and not found.printed


def test_parts_beside_the_product_are_no_text() -> None:
    pixels = packshot(600, 600, 0.6)
    for x in (40, 110, 200):  # Three screws of different size.
        pixels[540:560, x : x + 10 + x // 10] = (90, 90, 90)
    assert status(pixels, "google-merchant", "overlay") == "pass"
