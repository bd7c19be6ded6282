"""Safe repairs: what is repaired, what is left alone and why, and that no original is ever changed."""

import io
import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from packshot.cli.main import cli
from packshot.core.errors import UsageError
from packshot.images.decode import decode
from packshot.images.picture import Operation, ProductImage
from packshot.release.channels import load_channel
from packshot.release.checks import Seen
from packshot.release.fixes import FrameRules, NotSafe, reframe, shrink, whiten
from packshot.release.measure import fill_share, find_background
from packshot.tasks import check_fix
from packshot.tasks.check import CheckedPicture, CheckResult, check_pictures
from packshot.tasks.check_fix import Fixer
from tests.catalog_photos import encoded, jpeg, photo
from tests.unit.test_channels import packshot

DAY = date(2027, 1, 31)


def image(pixels: np.ndarray) -> ProductImage:
    return ProductImage(pixels, history=(Operation("decode", "capture"),))


def repaired(folder: Path, channel: str = "google-merchant", **options: object) -> CheckResult:
    out = folder.parent / "out"
    return check_pictures([folder], channel, on=DAY, fix_into=out, quiet=True, **options)  # type: ignore[arg-type]


def one(tmp_path: Path, name: str, data: bytes, channel: str = "google-merchant", **options: object) -> CheckedPicture:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(data)
    (checked,) = repaired(tmp_path / "in", channel, **options).pictures
    assert (tmp_path / "in" / name).read_bytes() == data  # Whatever happens.
    return checked


def test_a_nearly_white_backdrop_becomes_white_and_the_product_stays(tmp_path: Path) -> None:
    pixels = packshot(600, 600, 0.9, white=246)
    made = whiten(image(pixels)).pixels
    product = pixels[..., 0] == 40
    assert (made[product] == pixels[product]).all()
    assert (made[~product] == 255).all()
    checked = one(tmp_path, "a.png", encoded(pixels, "PNG"), "amazon-main")
    assert checked.fixed is not None and checked.fixed.passed
    assert checked.fixed.repairs == ["white backdrop"]
    (after,) = checked.fixed.after
    assert (after.rule, after.status) == ("white", "pass")
    assert np.array_equal(decode(tmp_path / "out" / "a.png").pixels, made)


def test_what_is_white_inside_the_product_stays() -> None:
    pixels = packshot(300, 300, 0.8, white=250)
    pixels[140:160, 140:160] = 251  # A hole, or a label: nobody knows.
    made = whiten(image(pixels)).pixels
    assert (made[140:160, 140:160] == 251).all() and (made[0] == 255).all()


def test_backdrops_that_cannot_be_made_white_safely() -> None:
    with pytest.raises(NotSafe, match="not nearly white: packshot shoot"):
        whiten(image(packshot(white=242)))
    assert (whiten(image(packshot(white=243))).pixels[0] == 255).all()
    with pytest.raises(NotSafe, match="not plain"):
        whiten(image(photo(1, 300, 300)))
    shadow = packshot(300, 300, 0.6, white=250)
    shadow[225:250, 60:240] = 230
    with pytest.raises(NotSafe, match="soft shadow or a light product"):
        whiten(image(shadow))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(40, 200), st.integers(40, 200), st.floats(0.1, 0.98), st.floats(0.1, 0.98), st.sampled_from([3, 4, -4]),
    st.tuples(st.floats(0, 0.9), st.floats(0, 0.2)),
)  # fmt: skip
def test_a_new_frame_keeps_its_rules_and_every_pixel_of_the_product(
    height: int, width: int, tall: float, wide: float, channels: int, fill: tuple[float, float]
) -> None:
    pixels = np.full((height, width, abs(channels)), 255, np.uint8)
    h, w = max(4, round(tall * height)), max(4, round(wide * width))
    top, left = (height - h) // 3, (width - w) // 3
    product = np.random.default_rng(0).integers(0, 200, (h, w, 3), dtype=np.uint8)
    pixels[top : top + h, left : left + w, :3] = product
    if channels < 0:  # Transparent around the product.
        pixels[..., 3] = 0
        pixels[top : top + h, left : left + w, 3] = 255
    low, high = fill[0] + 0.02, min(1.0, fill[0] + 0.1 + fill[1])
    try:
        made = reframe(image(pixels), FrameRules(fill=(low, high)))
    except NotSafe:
        background = find_background(pixels)
        assert background is None or min(top, left, height - h - top, width - w - left) < 1
        return
    rows, columns = np.nonzero((made.pixels[..., :3] != 255).any(axis=2))
    box = made.pixels[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1, :3]
    assert np.array_equal(box, product)
    background = find_background(made.pixels)
    assert background is not None
    share = fill_share(background)
    slack = 2 / min(made.width, made.height)
    assert share is not None and low - slack <= share <= high + slack
    assert (
        abs(rows.min() + rows.max() + 1 - made.height) <= 1 and abs(columns.min() + columns.max() + 1 - made.width) <= 1
    )
    assert abs(made.width / made.height - width / height) <= 0.03 * width / height + slack


@pytest.mark.parametrize(("side", "fill", "repaired_to"), [(480, 0.89, 500), (423, 0.89, 500), (420, 0.89, None)])
def test_padding_brings_the_size_as_far_as_the_fill_allows(
    side: int, fill: float, repaired_to: int | None, tmp_path: Path
) -> None:
    fixed = one(tmp_path, "a.png", encoded(packshot(side, side, fill), "PNG")).fixed
    assert fixed is not None and fixed.passed == (repaired_to is not None)
    if repaired_to is None:
        assert fixed.picture is None
        assert "packshot enhance --scale 2 enlarges it" in fixed.remains[0]
    else:
        assert decode(tmp_path / "out" / "a.png").pixels.shape == (repaired_to, repaired_to, 3)


def test_a_product_at_the_edge_or_on_an_uneven_backdrop_gets_no_new_frame() -> None:
    cut = packshot(300, 300, 0.5)
    cut[150:, 100:200] = (40, 60, 90)
    with pytest.raises(NotSafe, match="needs a new photo"):
        reframe(image(cut), FrameRules(fill=(0.75, 0.9)))
    uneven = packshot(300, 300, 0.5)
    uneven[:, :10] = 250
    with pytest.raises(NotSafe, match="not even"):
        reframe(image(uneven), FrameRules(fill=(0.75, 0.9)))
    with pytest.raises(NotSafe, match="not plain"):
        reframe(image(photo(1, 300, 300)), FrameRules(fill=(0.75, 0.9)))
    with pytest.raises(NotSafe, match="smaller"):
        reframe(image(packshot()), FrameRules(side=900))


def test_a_picture_that_is_too_large_is_resized_down(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert shrink(image(packshot(400, 300)), 400).width == 400
    fixed = one(tmp_path, "a.jpg", jpeg(packshot(10_400, 130, 0.88)), "amazon-main").fixed
    assert fixed is not None and fixed.passed and fixed.repairs == ["resized to 10000 x 125"]


def test_ending_format_and_colour_space(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    good = packshot(600, 600, 0.9)
    (folder / "wrong.png").write_bytes(jpeg(good))
    Image.fromarray(good).save(folder / "b.webp", lossless=True)
    Image.fromarray(good).convert("CMYK").save(folder / "c.jpg", quality=95)
    Image.fromarray(good).save(folder / "d.bmp")
    result = repaired(folder, "amazon-main")
    assert not result.broken and result.passed == 0
    made = {Path(p.fixed.picture or "").name: p.fixed.passed for p in result.pictures if p.fixed is not None}
    assert made == {"wrong.jpg": True, "b.jpg": True, "c.jpg": True, "d.png": True}
    for name in made:
        with Image.open(tmp_path / "out" / name) as im:
            assert im.mode == "RGB" and im.format == {".jpg": "JPEG", ".png": "PNG"}[Path(name).suffix]
    assert np.array_equal(decode(tmp_path / "out" / "d.png").pixels, good)


def test_a_file_that_is_too_large_is_recompressed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = load_channel("google-merchant")
    limit = next(r for r in rules.rules if r.id == "bytes")
    pixels = packshot(900, 900, 0.8)
    pixels[200:700, 100:800] = np.random.default_rng(0).integers(0, 256, (500, 700, 3))
    data = encoded(pixels, "PNG")
    monkeypatch.setattr(check_fix, "FOR_LABELS", 0)
    monkeypatch.setitem(limit.params, "at_most", 0.5)
    assert len(data) > 500_000
    fixed = one(tmp_path, "a.png", data).fixed
    assert fixed is not None and fixed.passed and fixed.picture is not None
    assert Path(fixed.picture).suffix == ".jpg" and Path(fixed.picture).stat().st_size <= 500_000
    assert fixed.repairs[-1].startswith("JPEG of quality ")


def test_a_missing_label_is_written_where_it_is_known_and_only_there(tmp_path: Path) -> None:
    data = encoded(packshot(600, 600, 0.8), "PNG")
    fixed = one(tmp_path, "a.png", data, known=lambda i, p: "trainedAlgorithmicMedia").fixed
    assert fixed is not None and fixed.passed and fixed.repairs == ["label trainedAlgorithmicMedia"]
    assert decode(tmp_path / "out" / "a.png").history[0].params["source_type"] == "trainedAlgorithmicMedia"
    assert check_pictures([tmp_path / "in"], "google-merchant", on=DAY, quiet=True).passed == 1  # Nothing is known.


def test_what_still_breaks_a_rule_goes_to_review_with_what_it_needs(tmp_path: Path) -> None:
    pixels = packshot(800, 800, 0.6, white=200)
    fixed = one(tmp_path, "a.png", encoded(pixels, "PNG"), "amazon-main").fixed
    assert fixed is not None and not fixed.passed
    assert fixed.picture == str(tmp_path / "out" / "review" / "a.png")
    assert {f.rule: f.status for f in fixed.after} == {"white": "fail", "fill": "pass"}
    assert fixed.remains == [
        "The background is exactly 255, 255, 255. The backdrop (200, 200, 200) is not nearly white: packshot shoot "
        "cuts the product out and puts it on white."
    ]


def test_pictures_that_pass_are_left_and_names_never_clash(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "good.png").write_bytes(encoded(packshot(600, 600, 0.8), "PNG"))
    for ending in ("png", "webp"):
        (folder / f"same.{ending}").write_bytes(jpeg(packshot(600, 600, 0.8)))
    result = repaired(folder)
    problems = [p.fixed.problem for p in result.pictures if p.fixed is not None]
    assert sorted(p.name for p in (tmp_path / "out").iterdir() if p.is_file()) == ["same.jpg"]
    assert problems[0] is None and problems[1] is not None and "is the result of" in problems[1]
    again = repaired(folder)
    assert again.pictures[1].fixed is not None and again.pictures[1].fixed.passed  # The same file counts as done.


def test_an_original_is_never_written_over(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    data = encoded(packshot(900, 900, 0.7), "PNG")
    (folder / "a.png").write_bytes(data)
    (checked,) = check_pictures([folder / "a.png"], "google-merchant", on=DAY, fix_into=folder, quiet=True).pictures
    assert checked.fixed is not None and checked.fixed.problem is not None
    assert "is the picture itself" in checked.fixed.problem
    assert (folder / "a.png").read_bytes() == data and len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 1, 4), (2, 90, 3), (60, 60, 4)])
@pytest.mark.parametrize("level", [0, 255])
def test_odd_pictures_are_refused_with_a_reason(shape: tuple[int, ...], level: int, tmp_path: Path) -> None:
    checked = one(tmp_path, "a.png", encoded(np.full(shape, level, np.uint8), "PNG"), "amazon-main")
    assert checked.fixed is not None and not checked.fixed.passed
    assert checked.fixed.remains and all(sentence.endswith(".") for sentence in checked.fixed.remains)


def test_every_channel_can_be_fixed_into_a_format_that_the_door_writes(tmp_path: Path) -> None:
    for name in ("google-merchant", "amazon-main", "amazon-secondary", "generic"):
        assert "JPEG" in Fixer(load_channel(name), DAY, None, tmp_path).formats


def test_a_header_alone_is_not_repaired(tmp_path: Path) -> None:
    out = io.BytesIO()
    Image.new("1", (8000, 8001)).save(out, "PNG")
    fixed = one(tmp_path, "a.png", out.getvalue()).fixed
    assert fixed is not None and fixed.picture is None
    assert "needs a smaller copy" in fixed.remains[0]


def test_the_command_repairs_and_tells_before_and_after(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(encoded(packshot(600, 600, 0.96), "PNG"))
    words = ["check", str(tmp_path / "in"), "--channel", "google-merchant", "--on", "2027-01-31"]
    alone = CliRunner().invoke(cli, [*words, "--fix"])
    assert isinstance(alone.exception, UsageError) and "--out" in str(alone.exception)
    done = CliRunner().invoke(cli, [*words, "--fix", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert f"repaired: {tmp_path / 'out' / 'a.png'} (frame of " in done.output
    assert "fill: 96.0 % -> 87.9 %: kept" in done.output
    told = json.loads(CliRunner().invoke(cli, [*words, "--fix", "--out", str(tmp_path / "out"), "--json"]).stdout)
    assert told["pictures"][0]["fixed"]["passed"]


def test_a_usage_error_names_the_channel(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean"):
        repaired(tmp_path, "amazon-mein")
    assert Seen(image(packshot(9, 9)), None, None).width == 9
