"""Contact sheets: every picture where it belongs, pixel for pixel."""

import numpy as np
import pytest

from packshot.core.errors import UsageError
from packshot.images.picture import Metadata, Operation, ProductImage
from packshot.images.sheet import LINE, contact_sheet

SAMPLE = Operation("sample", "generated", {"seed": 1})


def pictures(count: int, side: int = 8) -> list[ProductImage]:
    noise = np.random.default_rng(4)
    return [
        ProductImage(noise.integers(0, 200, (side, side, 3), dtype=np.uint8), Metadata(), (SAMPLE,))
        for _ in range(count)
    ]


def test_pictures_lie_in_rows_enlarged_without_smoothing() -> None:
    shown = pictures(5)
    sheet = contact_sheet(shown, columns=3, scale=4)
    gap, cell = 2, 32
    assert (sheet.width, sheet.height) == (gap + 3 * (cell + gap), gap + 2 * (cell + gap))
    seen = np.ones(sheet.pixels.shape[:2], bool)
    for i, picture in enumerate(shown):
        y, x = gap + i // 3 * (cell + gap), gap + i % 3 * (cell + gap)
        part = sheet.pixels[y : y + cell, x : x + cell]
        assert np.array_equal(part, np.kron(picture.pixels, np.ones((4, 4, 1), np.uint8)))
        seen[y : y + cell, x : x + cell] = False
    assert (sheet.pixels[seen] == 255).all(), "all the rest is white"


def test_smaller_pictures_are_centred_and_alpha_is_white() -> None:
    large = pictures(1, 20)[0]
    clear = ProductImage(np.zeros((10, 10, 4), np.uint8), history=(SAMPLE,))
    sheet = contact_sheet([large, pictures(1, 10)[0], clear], columns=3)
    assert np.array_equal(sheet.pixels[2 + 5 : 2 + 15, 2 + 22 + 5 : 2 + 22 + 15], pictures(1, 10)[0].pixels)
    assert (sheet.pixels[:, 2 + 44 :] == 255).all()


def test_captions_below_each_or_beside_each_row() -> None:
    shown = pictures(6, 30)
    plain = contact_sheet(shown, 3, scale=2)
    below = contact_sheet(shown, 3, [f"no {i}" for i in range(6)], scale=2)
    assert (below.width, below.height) == (plain.width, plain.height + 2 * LINE)
    assert (below.pixels[3 + 60 : 3 + 60 + LINE] < 128).any()
    beside = contact_sheet(
        shown, 3, ["hats", "a very long caption that cannot all be shown, whatever is done"], scale=2
    )
    assert beside.height == plain.height
    assert plain.width < beside.width < plain.width + 260
    assert np.array_equal(beside.pixels[:, -plain.width + 3 :], plain.pixels[:, 3:])
    long = contact_sheet(shown, 3, ["x" * 500] * 6, scale=2)
    assert (long.width, long.height) == (below.width, below.height)


def test_a_sheet_of_generated_pictures_is_generated() -> None:
    sheet = contact_sheet(pictures(4), 2)
    assert [(o.name, o.origin) for o in sheet.history] == [("sample", "generated"), ("contact_sheet", "classical")]
    assert sheet.history[1].params == {"pictures": 4, "columns": 2, "scale": 1}


def test_fewer_pictures_than_columns_leave_no_empty_ones() -> None:
    assert contact_sheet(pictures(2), 10).width == contact_sheet(pictures(2), 2).width


@pytest.mark.parametrize(
    ("count", "columns", "scale", "captions"), [(0, 1, 1, None), (1, 0, 1, None), (1, 1, 0, None), (4, 2, 1, ["a"] * 3)]
)
def test_wrong_calls(count: int, columns: int, scale: int, captions: list[str] | None) -> None:
    with pytest.raises(UsageError):
        contact_sheet(pictures(count), columns, captions, scale)
