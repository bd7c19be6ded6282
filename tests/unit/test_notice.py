"""The visible notice: where channel and law allow it, else beside the picture, and refusals that name the rules."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packshot.core.errors import PackshotError, UsageError
from packshot.images.picture import Operation, ProductImage
from packshot.release.channels import channel_names, law_names, load_channel, load_law
from packshot.release.measure import find_background
from packshot.release.notice import TEXTS, NoticeRefused, place_notice, usual_place
from packshot.release.notice_ink import CONTRAST, FONT, check_letters, contrast
from packshot.release.overlay import find_overlay
from packshot.release.statement import state
from tests.catalog_photos import photo
from tests.unit.test_channels import packshot

DAY = date(2026, 11, 24)
CHINA = ("china-labelling",)
PAGE = Path(__file__).parents[2] / "docs/notice.md"


def image(pixels: np.ndarray) -> ProductImage:
    return ProductImage(pixels, history=(Operation("sample", "generated"),))


def changed(before: np.ndarray, after: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what differs."""
    rows, columns = np.nonzero((before != after).any(axis=2))
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


@pytest.mark.parametrize("name", law_names())
def test_every_rule_of_a_law_is_complete(name: str) -> None:
    law = load_law(name)
    assert law.name == name and law.about
    assert len({r.id for r in law.rules}) == len(law.rules)
    for rule in law.rules:
        assert rule.text.endswith(".") and rule.source and rule.start is not None
        assert rule.read_on <= DAY and rule.confidence in ("confirmed", "secondary", "unconfirmed")
        assert rule.check in ("machine_readable", "visible", "least_height", "wording", "kept")
        assert rule.check != "visible" or set(rule.params["places"]) <= {"pixels", "caption", "html"}
    assert any(r.check == "visible" for r in law.rules)


def test_laws_bind_from_their_day() -> None:
    eu, china = load_law("eu-ai-act"), load_law("china-labelling")
    for law, day in ((eu, date(2026, 8, 2)), (china, date(2025, 9, 1))):
        (visible,) = [r for r in law.rules if r.check == "visible"]
        assert visible.binds(day, None) and not visible.binds(date.fromordinal(day.toordinal() - 1), None)
    with pytest.raises(UsageError, match="Did you mean 'eu-ai-act'"):
        load_law("eu-ai-akt")


@pytest.mark.parametrize("channel", ["google-merchant", "amazon-main"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_where_the_channel_forbids_text_the_notice_is_beside_the_picture(channel: str, language: str) -> None:
    before = image(packshot())
    placed = place_notice(before, "modified", channel, language, on=DAY)  # type: ignore[arg-type]
    text = {"en": "Modified with AI", "zh": "AI 修改"}[language]
    assert placed.image.pixels is before.pixels
    assert (placed.place, placed.text, placed.caption, placed.alt) == ("beside", text, text, text)
    tag = {"en": "en", "zh": "zh-Hans"}[language]
    assert placed.html == f'<figcaption lang="{tag}">{text}</figcaption>'
    assert placed.because[0].startswith(f"{channel} 'overlay': ") and "[secondary: " in placed.because[0]
    assert placed.because[1].startswith("eu-ai-act '50-4': ")


@pytest.mark.parametrize("place", ["corner", "padding"])
def test_pixels_that_a_channel_forbids_are_refused_with_both_rules(place: str) -> None:
    with pytest.raises(NoticeRefused) as e:
        place_notice(image(packshot()), "generated", "google-merchant", on=DAY, place=place)  # type: ignore[arg-type]
    assert e.value.rules == (("google-merchant", "overlay"), ("eu-ai-act", "50-4"))
    for pack, id in e.value.rules:
        rules = (load_channel(pack) if pack in channel_names() else load_law(pack)).rules
        assert next(r.text for r in rules if r.id == id) in str(e.value)
    assert "leave the notice to the caption" in str(e.value)


def test_a_law_that_wants_it_inside_the_file_and_a_channel_that_forbids_it() -> None:
    with pytest.raises(NoticeRefused, match="another channel") as e:
        place_notice(image(packshot()), "generated", "amazon-main", "zh", on=DAY, laws=CHINA)
    assert e.value.rules == (("amazon-main", "overlay"), ("china-labelling", "visible"))
    before = date(2025, 8, 31)  # Not yet in force.
    assert place_notice(image(packshot()), "generated", "amazon-main", "zh", on=before, laws=CHINA).place == "beside"


@pytest.mark.parametrize("channel", ["generic", "amazon-secondary"])
def test_a_free_corner_is_taken_and_the_product_stays(channel: str) -> None:
    before = image(packshot(600, 600, 0.8))
    placed = place_notice(before, "generated", channel, on=DAY)
    assert placed.place == "corner" and placed.caption is None and placed.html is None
    left, top, right, bottom = changed(before.pixels, placed.image.pixels)
    assert left > 300 and top > 450 and right < 600 and bottom < 600  # Below the product, on the right.
    operation = placed.image.history[-1]
    x, y, width, height = operation.params["box"]
    assert x <= left and y <= top and right <= x + width and bottom <= y + height
    assert operation.origin == "classical"
    assert state(placed.image).source_type == "trainedAlgorithmicMedia"  # The notice changes no label.
    assert find_overlay(placed.image.pixels).laid_over, "a notice that our own detector does not see is no notice"


def test_without_a_free_corner_a_strip_goes_below() -> None:
    full = packshot(400, 400, 0.5)
    full[2:-2, 2:-2] = (40, 60, 90)
    placed = place_notice(image(full), "generated", "generic", on=DAY)
    assert placed.place == "padding"
    assert np.array_equal(placed.image.pixels[:400], full)
    left, top, width, height = placed.image.history[-1].params["box"]
    assert (left, top, width, top + height) == (0, 400, 400, placed.image.height)
    with pytest.raises(PackshotError, match="every corner"):
        place_notice(image(full), "generated", "generic", on=DAY, place="corner")


def test_on_a_busy_picture_auto_covers_nothing_and_a_corner_gets_a_plate() -> None:
    busy = photo(2, 500, 400)
    assert place_notice(image(busy), "generated", "generic", on=DAY).place == "padding"
    placed = place_notice(image(busy), "generated", "generic", on=DAY, place="corner")
    x, y, width, height = placed.image.history[-1].params["box"]
    plate = placed.image.pixels[y : y + height, x : x + width]
    assert (plate[0] == 255).all() and (plate[:, 0] == 255).all() and plate.min() == 0
    assert np.array_equal(
        np.delete(placed.image.pixels, np.s_[y : y + height], 0), np.delete(busy, np.s_[y : y + height], 0)
    )


@pytest.mark.parametrize(
    ("language", "laws", "height", "share"),
    [
        ("en", ("eu-ai-act",), None, 0.03),
        ("zh", ("eu-ai-act",), None, 0.05),
        ("en", CHINA, None, 0.05),
        ("zh", CHINA, 0.08, 0.08),
    ],
)
def test_the_letters_are_as_high_as_they_have_to_be(
    language: str, laws: tuple[str, ...], height: float | None, share: float
) -> None:
    before = image(packshot(1000, 800, 0.6))
    placed = place_notice(before, "generated", "generic", language, on=DAY, laws=laws, height=height)  # type: ignore[arg-type]
    _, top, _, bottom = changed(before.pixels, placed.image.pixels)
    assert share * 800 <= bottom - top <= 1.3 * share * 800 + 2


@settings(max_examples=200)
@given(st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255)))
def test_contrast_is_that_of_wcag(colour: tuple[int, int, int]) -> None:
    assert max(contrast((0, 0, 0), colour), contrast((255, 255, 255), colour)) >= 4.58
    assert contrast(colour, colour) == 1


@pytest.mark.parametrize("level", [0, 40, 118, 128, 200, 255])
def test_the_notice_stands_out_from_the_backdrop(level: int) -> None:
    pixels = np.full((300, 400, 3), level, np.uint8)
    placed = place_notice(image(pixels), "generated", "generic", on=DAY).image
    left, top, width, height = placed.history[-1].params["box"]
    made = placed.pixels[top : top + height, left : left + width]
    inks = {tuple(int(v) for v in c) for c in made.reshape(-1, 3)}
    assert max(contrast(a, b) for a in inks for b in inks) >= 4.5
    enough = max(contrast(c, (level,) * 3) for c in ((0, 0, 0), (255, 255, 255))) >= CONTRAST
    assert tuple(made[0, 0]) == ((level,) * 3 if enough else (255, 255, 255))
    assert enough == (level in (0, 40, 200, 255))
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)  # As WCAG's own tables say.


def test_the_words_are_those_that_the_law_wants() -> None:
    before = image(packshot())
    assert place_notice(before, "generated", "generic", "zh", on=DAY, laws=CHINA).text == "AI 生成"
    assert place_notice(before, "modified", "generic", "zh", on=DAY).text == "AI 修改"
    assert place_notice(before, "modified", "generic", "zh", on=DAY, laws=CHINA).text == "含 AI 生成内容"
    assert place_notice(before, "modified", "generic", on=DAY, laws=CHINA).text == "Modified with AI"
    own = place_notice(before, "modified", "google-merchant", on=DAY, text="<AI> & “Größe”")
    assert own.html == '<figcaption lang="en">&lt;AI&gt; &amp; “Größe”</figcaption>'


def test_the_font_has_every_text_and_says_what_it_lacks() -> None:
    for texts in TEXTS.values():
        for text in texts.values():
            check_letters(text)
    for law in law_names():
        for rule in load_law(law).rules:
            for text in rule.params.get("texts", {}).values():
                check_letters(text)
    with pytest.raises(UsageError, match="has no я 龘"):
        check_letters("AI я 龘")
    with pytest.raises(UsageError, match="no text"):
        check_letters("  ")
    assert FONT.stat().st_size < 30_000
    assert "SIL OPEN FONT LICENSE" in (FONT.parent / "OFL.txt").read_text()


def test_none_is_none() -> None:
    before = image(packshot())
    placed = place_notice(before, "generated", "generic", on=DAY, place="none")
    assert placed.image.pixels is before.pixels
    assert (placed.place, placed.caption, placed.alt, placed.html) == ("none", None, None, None)
    assert placed.because  # What the law says is told all the same.


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 300, 3), (300, 5, 4), (40, 40, 3)])
def test_a_picture_too_small_to_read_gets_it_beside(shape: tuple[int, ...]) -> None:
    pixels = np.full(shape, 255, np.uint8)
    placed = place_notice(image(pixels), "generated", "generic", on=DAY)
    if shape[1] < 60:
        assert placed.place == "beside" and "too narrow" in placed.because[0]
        with pytest.raises(PackshotError, match="too narrow"):
            place_notice(image(pixels), "generated", "generic", on=DAY, place="padding")
        if shape[1] < 30:
            with pytest.raises(PackshotError, match="too narrow"):
                place_notice(image(pixels), "generated", "generic", "zh", on=DAY, laws=CHINA)
    else:
        assert placed.place == "padding" and placed.image.height > shape[0]


def test_transparency_gets_a_plate_and_keeps_the_rest() -> None:
    clear = np.zeros((400, 400, 4), np.uint8)
    clear[100:300, 100:300] = (200, 30, 30, 255)
    placed = place_notice(image(clear), "generated", "generic", on=DAY)
    x, y, width, height = placed.image.history[-1].params["box"]
    assert placed.place == "corner"
    assert (placed.image.pixels[y : y + height, x : x + width, 3] == 255).all()
    outside = np.ones((400, 400), bool)
    outside[y : y + height, x : x + width] = False
    assert np.array_equal(placed.image.pixels[outside], clear[outside])


def test_equal_requests_give_equal_pixels_and_the_pictures_keep_their_backdrop() -> None:
    first, again = (place_notice(image(packshot()), "generated", "generic", on=DAY).image.pixels for _ in range(2))
    assert np.array_equal(first, again)
    background = find_background(first)
    assert background is not None and (background.colour == 255).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"language": "fr"},
        {"place": "middle"},
        {"kind": "made"},
        {"laws": ("gdpr",)},
        {"height": 0.6},
        {"channel": "ebay"},
    ],
)
def test_wrong_words_are_usage_errors(wrong: dict[str, object]) -> None:
    options: dict[str, object] = {"kind": "generated", "channel": "generic", "on": DAY, **wrong}
    with pytest.raises(UsageError):
        place_notice(image(packshot(60, 60)), **options)  # type: ignore[arg-type]


def test_the_page_says_where_it_goes() -> None:
    rows = [line.strip("|").split("|") for line in PAGE.read_text().splitlines() if line.startswith("|")]
    table = [[cell.strip(" `") for cell in row] for row in rows[: 2 + 1 + len(channel_names())]]
    assert table[0][1:] == law_names()[::-1] and sorted(row[0] for row in table[3:]) == channel_names()
    for channel, *places in table[2:]:
        named = None if channel == "none named" else channel
        for law, where in zip(table[0][1:], places, strict=True):
            place = usual_place(named, (law,), DAY)
            try:
                placed = place_notice(image(packshot()), "modified", named, on=DAY, place=place, laws=(law,)).place
            except NoticeRefused:
                placed = "refused"  # type: ignore[assignment]
            assert placed == where, (channel, law)
