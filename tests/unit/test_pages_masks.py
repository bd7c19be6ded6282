"""Masks of the page Repair: painted ones fit their photo, and suggestions are what `repair --auto` would take."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from packshot.core.errors import PackshotError
from packshot.images.masks import mask_of_picture
from packshot.jobs.desk_masks import find_suggestions, fit_mask
from packshot.jobs.settings import Limits
from tests.catalog_photos import encoded, photo

LIMITS = Limits()


def png(pixels: np.ndarray) -> bytes:
    return encoded(pixels, "PNG")


def read(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@settings(max_examples=30)
@given(st.integers(8, 60), st.integers(8, 60), st.data())
def test_a_mask_of_the_photos_size_stays_as_it_was_painted(width: int, height: int, data: st.DataObject) -> None:
    bits = data.draw(st.lists(st.booleans(), min_size=width * height, max_size=width * height).filter(any))
    painted = np.array(bits).reshape(height, width)
    rgba = np.zeros((height, width, 4), np.uint8)
    rgba[painted] = 255
    fitted = read(fit_mask(png(rgba), width, height, LIMITS))
    assert (fitted == np.where(painted, 255, 0)).all()
    rgb = np.repeat(fitted[..., None], 3, axis=2)
    assert (mask_of_picture(rgb, height, width) == painted).all()  # As `repair` reads it.


@settings(max_examples=20)
@given(st.floats(0.1, 0.6), st.floats(0.1, 0.6), st.integers(40, 400), st.integers(40, 400))
def test_a_box_keeps_its_place_in_a_photo_of_any_size(x: float, y: float, width: int, height: int) -> None:
    rgba = np.zeros((160, 200, 4), np.uint8)
    rgba[round(160 * y) : round(160 * (y + 0.3)), round(200 * x) : round(200 * (x + 0.3))] = 255
    fitted = read(fit_mask(png(rgba), width, height, LIMITS)) == 255
    assert fitted.shape == (height, width)
    rows, columns = np.flatnonzero(fitted.any(1)), np.flatnonzero(fitted.any(0))
    for found, share, side in ((rows, y, height), (columns, x, width)):
        assert abs(found[0] - share * side) <= 1.5 + side / 160
        assert abs(found[-1] + 1 - (share + 0.3) * side) <= 1.5 + side / 160


def test_what_is_no_mask_is_refused() -> None:
    with pytest.raises(PackshotError, match="Nothing is painted"):
        fit_mask(png(np.zeros((10, 10, 4), np.uint8)), 10, 10, LIMITS)
    clear = np.full((10, 10, 4), 255, np.uint8)
    clear[..., 3] = 0
    with pytest.raises(PackshotError, match="Nothing is painted"):
        fit_mask(png(clear), 10, 10, LIMITS)
    dot = np.zeros((900, 900, 4), np.uint8)
    dot[5, 5] = 255
    with pytest.raises(PackshotError, match="smaller than a pixel"):
        fit_mask(png(dot), 20, 20, LIMITS)
    with pytest.raises(PackshotError):
        fit_mask(b"no picture", 10, 10, LIMITS)


def test_a_lost_block_is_suggested_at_its_place() -> None:
    pixels = photo(3, 300, 240)
    pixels[60:100, 120:170] = (255, 0, 255)
    found = find_suggestions(png(pixels), 150, LIMITS)
    assert (found.width, found.height) == (150, 120)
    assert [piece.kind for piece in found.pieces] in (["block"], ["hole"])
    (piece,) = found.pieces
    assert piece.sure
    left, top, width, height = piece.box
    assert left <= 0.4 and top <= 0.25 and left + width >= 170 / 300 and top + height >= 100 / 240
    assert width < 0.25 and height < 0.25
    shown = read(found.map) == 1
    assert shown[30:50, 60:85].all() and shown.mean() < 0.08


def test_text_is_suggested_and_never_sure() -> None:
    from PIL import ImageDraw, ImageFont

    image = Image.new("RGB", (600, 300), (196, 188, 176))
    ImageDraw.Draw(image).text((90, 110), "SAMPLE 2026", font=ImageFont.load_default(60), fill=(20, 20, 20))
    found = find_suggestions(png(np.asarray(image)), 600, LIMITS)
    texts = [piece for piece in found.pieces if piece.kind == "text"]
    assert texts and not any(piece.sure for piece in texts)
    assert (read(found.map)[130:165, 100:400] > 0).any(1).all()


def test_an_unharmed_photo_gives_no_suggestion() -> None:
    found = find_suggestions(png(photo(5, 200, 160)), 400, LIMITS)
    assert found.pieces == () and not read(found.map).any()
    assert (found.width, found.height) == (200, 160)  # Never larger than the photo.
