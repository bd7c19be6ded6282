"""Channels' rules as dated data, and the checks that they are made of, at their boundaries."""

import io
import json
from datetime import date
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from packshot.cli.main import cli
from packshot.core.errors import UsageError
from packshot.images.decode import BadPicture, Header, decode, read_header
from packshot.images.picture import Operation, ProductImage
from packshot.release.channels import channel_names, load_channel
from packshot.release.checks import CHECKS, Seen, check_picture
from packshot.release.door import release
from packshot.release.measure import border_width, find_background, white_share
from packshot.release.texts import TEXT_CHECKS
from packshot.tasks.check import check_pictures
from tests.catalog_photos import encoded, jpeg, photo, run, write_folder

TODAY, LATER = date(2026, 11, 24), date(2027, 1, 31)


def packshot(width: int = 600, height: int = 600, fill: float = 0.85, white: int = 255) -> np.ndarray:
    """A dark rectangle in the middle of a plain backdrop; its width is `fill` of the frame's."""
    pixels = np.full((height, width, 3), white, np.uint8)
    wide, tall = round(fill * width), height // 2
    left, top = (width - wide) // 2, (height - tall) // 2
    pixels[top : top + tall, left : left + wide] = (40, 60, 90)
    return pixels


def findings(pixels: np.ndarray, channel: str, on: date = TODAY, kind: str | None = None, name: str = "a.png") -> dict:
    image = decode(encoded(pixels, "PNG"))
    return {f.rule: f for f in check_picture(Seen(image, name, 1000), load_channel(channel), on, kind)}


def status(pixels: np.ndarray, channel: str, rule: str, **more: object) -> str:
    return findings(pixels, channel, **more)[rule].status


@pytest.mark.parametrize("name", channel_names())
def test_every_rule_is_complete_and_has_its_check(name: str) -> None:
    channel = load_channel(name)
    assert channel.name == name
    assert channel.about
    assert len({r.id for r in channel.rules}) == len(channel.rules)
    for rule in channel.rules:
        assert rule.check in {"picture": CHECKS, "product": TEXT_CHECKS, "edit": ("product",)}[rule.subject]
        assert rule.text.endswith((".", ")."))
        assert rule.confidence in ("confirmed", "secondary", "unconfirmed")
        assert rule.read_on <= TODAY
        assert (
            urlparse(rule.source).scheme == "https"
            or rule.confidence != "confirmed"
            or name != "google-merchant"
            or (rule.id == "label")
        )
        if rule.subject == "picture":
            CHECKS[rule.check](Seen(decode(encoded(packshot(), "PNG")), "a.png", 10), rule.params)


@pytest.mark.parametrize(
    ("side", "on", "kind", "rules"),
    [
        (99, TODAY, None, {"size": "fail"}),
        (100, TODAY, None, {"size": "pass"}),
        (249, TODAY, "apparel", {"size": "pass", "size-apparel": "fail"}),
        (250, TODAY, "apparel", {"size": "pass", "size-apparel": "pass"}),
        (499, date(2027, 1, 30), None, {"size": "pass"}),
        (499, LATER, None, {"size-2027": "fail"}),
        (499, date(2027, 2, 1), None, {"size-2027": "fail"}),
        (249, date(2027, 1, 30), "apparel", {"size": "pass", "size-apparel": "fail"}),
        (500, LATER, "apparel", {"size-2027": "pass"}),
    ],
)
def test_sizes_by_day_and_kind(side: int, on: date, kind: str | None, rules: dict[str, str]) -> None:
    seen = findings(packshot(800, side), "google-merchant", on, kind)
    assert {id: f.status for id, f in seen.items() if id.startswith("size")} == rules


def test_fill_at_its_boundaries() -> None:
    for wide, expected in ((849, "fail"), (850, "pass"), (1000, "fail")):
        pixels = packshot(1000, 1000, wide / 1000)
        assert status(pixels, "amazon-main", "fill") == (expected if wide < 1000 else "pass")
    assert status(packshot(1000, 1000, 0.749), "google-merchant", "fill") == "fail"
    assert status(packshot(1000, 1000, 0.90), "google-merchant", "fill") == "pass"
    assert status(packshot(1000, 1000, 0.902), "google-merchant", "fill") == "fail"
    assert "74.9 %" in findings(packshot(1000, 1000, 0.749), "google-merchant")["fill"].seen


@pytest.mark.parametrize("side", [500, 1000, 2000])
def test_a_fill_of_84_9_percent_is_less_than_85(side: int) -> None:
    background = find_background(packshot(side, side, 0.849))
    assert background is not None and background.box is not None
    share = (background.box[2] - background.box[0]) / side
    assert 0.847 < share <= 0.849
    assert status(packshot(side, side, 0.849), "amazon-main", "fill") == "fail"
    assert status(packshot(side, side, 0.85), "amazon-main", "fill") == "pass"


@pytest.mark.parametrize(("shift", "expected"), [(0, "pass"), (60, "pass"), (-60, "pass"), (62, "advice")])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_product_off_the_middle_is_advice(shift: int, expected: str, axis: int) -> None:
    pixels = np.roll(packshot(600, 600, 0.5), shift, axis)
    found = findings(pixels, "google-merchant")["centre"]
    assert (found.status, found.confidence) == (expected, "unconfirmed")
    assert f"{100 * abs(shift) / 600:.1f} %" in found.seen


def test_fill_of_a_picture_without_a_plain_background_cannot_be_told() -> None:
    busy = findings(photo(1, 400, 400), "google-merchant")
    assert (busy["fill"].status, busy["centre"].status) == ("unknown", "unknown")
    assert status(np.full((600, 600, 3), 255, np.uint8), "google-merchant", "fill") == "fail"


def test_a_soft_shadow_of_a_transparent_picture_is_no_product() -> None:
    pixels = np.zeros((200, 200, 4), np.uint8)
    pixels[50:150, 40:160] = (90, 20, 20, 255)
    pixels[150:190, 10:190] = (0, 0, 0, 100)
    background = find_background(pixels)
    assert background is not None
    assert background.box == (40, 50, 160, 150)


def test_white_is_255() -> None:
    assert status(packshot(white=255), "amazon-main", "white") == "pass"
    assert status(packshot(white=254), "amazon-main", "white") == "fail"
    assert status(photo(1, 700, 700), "amazon-main", "white") == "fail"
    one_side = packshot()
    one_side[:, :20] = 254
    assert status(one_side, "amazon-main", "white") == "fail"
    clear = np.dstack([packshot(), np.full((600, 600), 255, np.uint8)])
    assert status(clear, "amazon-main", "white") == "pass"
    clear[:5, :5, 3] = 0
    assert status(clear, "amazon-main", "white") == "fail"


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
def test_white_is_measured_on_the_released_file(name: str, tmp_path: Path) -> None:
    for level, expected in ((255, "pass"), (254, "fail")):
        made = ProductImage(packshot(white=level), history=(Operation("decode", "capture"),))
        release(made, tmp_path / f"{level}-{name}", quality=80)
        (seen,) = check_pictures([tmp_path / f"{level}-{name}"], "amazon-main", on=TODAY, quiet=True).pictures
        assert {f.rule: f.status for f in seen.findings}["white"] == expected


def test_the_ringing_of_a_jpeg_beside_the_product_is_not_the_backdrop() -> None:
    image = decode(jpeg(packshot(), quality=60))
    assert (image.pixels[290:310, 20:44] != 255).any(), "the JPEG has to ring for this test to say something"
    background = find_background(image.pixels)
    assert background is not None
    assert white_share(image.pixels, background) == 1.0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 30), st.integers(0, 255), st.booleans())
def test_a_border_is_found_with_its_width(width: int, shade: int, as_jpeg: bool) -> None:
    pixels = photo(3, 400, 500)
    colour = (shade, 255 - shade, 128)
    pixels = np.pad(pixels, ((width, width), (width, width), (0, 0)))
    if width:
        for edge in (np.s_[:width], np.s_[-width:], np.s_[:, :width], np.s_[:, -width:]):
            pixels[edge] = colour
    if as_jpeg:
        pixels = np.asarray(Image.open(io.BytesIO(jpeg(pixels, quality=92))))
    found = border_width(pixels)
    assert found == 0 if width == 0 else abs(found - width) <= 3


def test_a_product_on_a_plain_backdrop_has_no_border() -> None:
    for fill in (0.5, 0.9, 0.99):
        assert border_width(packshot(fill=fill)) == 0
    assert border_width(np.full((50, 50, 3), 200, np.uint8)) == 0
    assert border_width(np.zeros((1, 1, 3), np.uint8)) == 0
    assert status(np.pad(photo(2, 700, 700), ((9, 9), (9, 9), (0, 0))), "google-merchant", "border") == "fail"


def test_format_and_ending_have_to_agree() -> None:
    assert status(packshot(), "google-merchant", "format", name="a.png") == "pass"
    assert status(packshot(), "google-merchant", "format", name="a.jpg") == "fail"
    assert status(packshot(), "google-merchant", "format", name="a") == "fail"
    webp = decode(encoded(packshot(), "WEBP"))
    seen = {f.rule: f.status for f in check_picture(Seen(webp, "a.webp", 1), load_channel("amazon-main"), TODAY)}
    assert seen["format"] == "fail"


def test_bytes_and_megapixels() -> None:
    image = decode(encoded(packshot(), "PNG"))
    rules = load_channel("google-merchant")
    for size, expected in ((16_000_000, "pass"), (16_000_001, "fail"), (None, "unknown")):
        assert {f.rule: f.status for f in check_picture(Seen(image, "a.png", size), rules, TODAY)}["bytes"] == expected
    assert status(packshot(), "google-merchant", "megapixels") == "pass"
    assert CHECKS["megapixels"](Seen(image, "a.png", 1), {"at_most": 0.35})[0] is False


def test_what_has_more_than_64_megapixels_is_judged_by_its_header_alone(tmp_path: Path) -> None:
    at_most = Seen(None, "a.jpg", 10, header=Header("JPEG", 8000, 8000))
    beyond = Seen(None, "a.jpg", 10, header=Header("JPEG", 8000, 8001))
    for seen, expected in ((at_most, "pass"), (beyond, "fail")):
        told = {f.rule: f.status for f in check_picture(seen, load_channel("google-merchant"), LATER)}
        assert told["megapixels"] == expected
        assert (told["size-2027"], told["bytes"], told["format"]) == ("pass", "pass", "pass")
        assert told["fill"] == told["overlay"] == told["border"] == "unknown"
    Image.new("1", (8000, 8001)).save(tmp_path / "large.png")
    assert read_header(tmp_path / "large.png") == ("PNG", 8000, 8001)
    (checked,) = check_pictures([tmp_path], "google-merchant", on=LATER, quiet=True).pictures
    assert not checked.passed and checked.problem is None
    assert [f.seen for f in checked.findings if f.status == "fail"] == ["64.0 megapixels"]


@pytest.mark.parametrize(
    "data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBPVP8X", b"\xff\xd8\xff\xe0"]
)
def test_a_file_without_a_header_is_one_sentence(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(BadPicture, match=r"a\.png .*\.$"):
        read_header(tmp_path / "a.png")
    with pytest.raises(BadPicture, match="does not exist"):
        read_header(tmp_path / "b.png")
    (checked,) = check_pictures([tmp_path / "a.png"], "generic", on=TODAY, quiet=True).pictures
    assert checked.problem is not None and not checked.passed


def test_another_colour_space_is_seen() -> None:
    out = io.BytesIO()
    Image.fromarray(packshot()).convert("CMYK").save(out, "JPEG")
    assert CHECKS["srgb"](Seen(decode(out.getvalue()), "a.jpg", 1), {})[0] is False
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert CHECKS["srgb"](Seen(decode(jpeg(packshot(), icc_profile=srgb)), "a.jpg", 1), {})[0] is True
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert CHECKS["srgb"](Seen(decode(jpeg(packshot(), icc_profile=lab)), "a.jpg", 1), {})[0] is False


def test_a_generated_picture_carries_its_label(tmp_path: Path) -> None:
    made = ProductImage(packshot(), history=(Operation("sample", "generated"),))
    release(made, tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(encoded(packshot(), "PNG"))
    result = check_pictures([tmp_path], "google-merchant", on=TODAY, quiet=True)
    labels = [next(f for f in p.findings if f.rule == "label") for p in result.pictures]
    assert [f.status for f in labels] == ["pass", "unknown"]
    assert "trainedAlgorithmicMedia" in labels[0].seen
    assert result.passed == 2


def test_what_is_known_of_a_picture_from_elsewhere_counts(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(packshot(), "PNG"))
    (tmp_path / "b.png").write_bytes(encoded(packshot(), "PNG"))
    terms = {"a.png": "trainedAlgorithmicMedia", "b.png": "digitalCapture"}

    def known(image: ProductImage, path: Path | None) -> str | None:
        assert path is not None and image.width == 600
        return terms[path.name]

    pictures = check_pictures([tmp_path], "google-merchant", on=TODAY, known=known, quiet=True).pictures
    labels = [next(f for f in p.findings if f.rule == "label") for p in pictures]
    assert [f.status for f in labels] == ["fail", "unknown"]
    assert "known to be trainedAlgorithmicMedia" in labels[0].seen


def test_the_forecast_says_what_breaks_when(tmp_path: Path) -> None:
    for side in (90, 499, 500):
        (tmp_path / f"{side}.png").write_bytes(encoded(packshot(side, side), "PNG"))
    result = check_pictures([tmp_path], "google-merchant", on=TODAY, quiet=True)
    (change,) = result.forecast
    assert (change.on, change.rule, change.still_passing) == ("2027-01-31", "size-2027", 1)
    assert sorted(Path(p).name for p in change.pictures) == ["499.png", "90.png"]
    assert check_pictures([tmp_path], "google-merchant", on=date(2027, 1, 30), quiet=True).forecast == [change]
    assert check_pictures([tmp_path], "google-merchant", on=LATER, quiet=True).forecast == []
    words = ["check", str(tmp_path), "--channel", "google-merchant", "--on", "2026-11-24"]
    told = CliRunner().invoke(cli, words).output
    assert "From 2027-01-31 on 2 of 3 pictures break a new rule (1 of them pass the present ones)" in told
    assert f"  {tmp_path / '499.png'}\n" not in told
    assert f"  {tmp_path / '499.png'}\n" in CliRunner().invoke(cli, [*words, "--forecast"]).output
    assert load_channel("google-merchant").changes_after(TODAY) == [LATER]


def test_the_command_says_what_is_broken_and_exits_with_1(tmp_path: Path) -> None:
    (tmp_path / "good.jpg").write_bytes(jpeg(packshot(1200, 1200)))
    (tmp_path / "small.jpg").write_bytes(jpeg(packshot(200, 200)))
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff123")
    words = ["check", str(tmp_path), "--channel", "amazon-main", "--on", "2026-11-24"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 1
    assert "1 of 3 pictures pass amazon-main on 2026-11-24." in done.output
    assert "The longest side has 500 to 10,000 pixels. Seen: 200 pixels. [secondary: " in done.output
    assert "cut short or damaged" in done.output
    done = CliRunner().invoke(cli, [*words, "--json"])
    answer = json.loads(done.stdout)
    assert (answer["passed"], answer["on"]) == (1, "2026-11-24")
    assert CliRunner().invoke(cli, ["check", str(tmp_path / "good.jpg"), "--channel", "amazon-main"]).exit_code == 0


def test_a_catalogue_can_be_checked(tmp_path: Path) -> None:
    run(write_folder(tmp_path / "shop", {"hats": 2}), tmp_path / "catalogue")
    result = check_pictures([tmp_path / "catalogue"], "generic", on=TODAY, quiet=True)
    assert [p.passed for p in result.pictures] == [False, False]


def test_an_unknown_channel_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean 'google-merchant'"):
        check_pictures([tmp_path], "google-merchand", on=TODAY)
