"""The notice at the end of every edit: where it is by channel and law, what the files say, what is refused."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from packshot.core.errors import UsageError
from packshot.images.decode import decode
from packshot.images.picture import Operation, ProductImage
from packshot.release.channels import channel_names
from packshot.release.door import release
from packshot.release.manifest import MIME, read_manifest
from packshot.release.notice import usual_place
from packshot.tasks.batch import BatchOptions, BatchResult, edit_photos
from packshot.tasks.chain import Chain
from packshot.tasks.edit import Edited
from packshot.tasks.notice import NoticeRequest, PlaceNotice, WithNotice, notice_due
from packshot.tasks.shoot import Check
from tests.catalog_photos import encoded
from tests.integration.conftest import run_cli, run_json
from tests.unit.test_channels import packshot

DAY = date(2026, 11, 24)
FORBID = ("amazon-main", "google-merchant")
TEXTS = {"en": "Modified with AI", "zh": "AI 修改"}
CHINA = ("china-labelling",)
SMALL = 400
"""The width of a photo that no AI touches."""


class Made:
    """Paints a square of the product, as a network would; a photo of the width SMALL is only made darker."""

    task = "made"

    def settings(self) -> dict[str, Any]:
        return {}

    def __call__(self, image: ProductImage) -> Edited:
        pixels = image.pixels.copy()
        middle = slice(image.height // 2, image.height // 2 + 8), slice(image.width // 2, image.width // 2 + 8)
        pixels[middle][..., :3] //= 2
        kind = "classical" if image.width == SMALL else "generated"
        return Edited(image=image.done(Operation("fill", kind), pixels), lossless=True, receipt={"passed": True})


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    Image.fromarray(packshot(300, 300, 0.8)).save(folder / "a.png")
    return folder


def edited(shop: Path, out: Path, **options: Any) -> BatchResult:
    request = NoticeRequest(**{"on": DAY, **options})
    return edit_photos([shop], WithNotice(Made(), PlaceNotice(request)), out, BatchOptions(quiet=True))


def beside(path: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(path.with_name(path.name + ".labels.json").read_text())["notice"]
    return told


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("place", [None, "auto", "corner", "padding", "beside", "none"])
@pytest.mark.parametrize("channel", [None, *channel_names()])
def test_every_channel_and_place(channel: str | None, place: str | None, language: str, shop: Path) -> None:
    out = shop.parent / "out"
    result = edited(shop, out, channel=channel, place=place, language=language)
    (photo,) = result.photos
    if channel in FORBID and place in ("corner", "padding"):
        assert (photo.status, photo.picture) == ("refused", None)
        assert f"{channel} 'overlay'" in str(photo.reason) and "eu-ai-act '50-4'" in str(photo.reason)
        assert sorted(p.name for p in out.rglob("*") if p.is_file()) == ["packshot.jsonl"]
        return
    usual = "beside" if channel in (None, *FORBID) else "corner"
    where = {None: usual, "auto": "beside" if channel in FORBID else "corner"}.get(place, place)  # type: ignore[call-overload]
    assert photo.status == "done" and photo.figures["notice"]["place"] == where
    assert result.notices == {where: 1}
    told, picture = beside(out / "a.png"), decode(out / "a.png")
    assert told["placed"] == {"place": where, "language": language}
    assert {of: told[of]["caption"] for of in TEXTS} == TEXTS
    assert photo.figures["notice"]["text"] == told[language]["alt"]
    without = Made()(decode(shop / "a.png")).image.pixels
    if where in ("beside", "none"):
        np.testing.assert_array_equal(picture.pixels, without)
    else:
        assert picture.height > 300 if where == "padding" else picture.height == 300
        product = slice(75, 225), slice(30, 270)
        np.testing.assert_array_equal(picture.pixels[product], without[product])
        assert not np.array_equal(picture.pixels[:300], without) or where == "padding"
    actions = read_manifest((out / "a.png").read_bytes(), MIME["PNG"]).actions  # type: ignore[union-attr]
    assert ("c2pa.addedText" in actions) == (where in ("corner", "padding"))


def test_rules_are_told_once_for_all_photos(shop: Path) -> None:
    for name in ("b", "c"):
        Image.fromarray(packshot(250, 300, 0.7)).save(shop / f"{name}.png")
    result = edited(shop, shop.parent / "out", channel="amazon-main")
    assert [rule.split(":")[0] for rule in result.rules] == ["amazon-main 'overlay'", "eu-ai-act '50-4'"]
    assert result.notices == {"beside": 3} and not any("overlay" in n for p in result.photos for n in p.notes)
    again = edited(shop, shop.parent / "out", channel="amazon-main")
    assert again.counts["again"] == 3 and (again.rules, again.notices) == (result.rules, result.notices)


def test_a_refusal_is_of_its_photo_alone(shop: Path) -> None:
    Image.fromarray(packshot(SMALL, 300, 0.7)).save(shop / "b.png")
    out = shop.parent / "out"
    result = edited(shop, out, channel="google-merchant", laws=CHINA)
    assert [p.status for p in result.photos] == ["refused", "done"]
    assert "google-merchant 'overlay'" in str(result.photos[0].reason)
    assert "china-labelling 'visible'" in str(result.photos[0].reason)
    assert "another channel" in str(result.photos[0].reason)
    assert "notice" not in result.photos[1].figures  # No AI, no notice.
    assert not (out / "b.png.labels.json").exists()


def test_the_laws_words_stand_in_the_picture_and_beside_it(shop: Path) -> None:
    out = shop.parent / "out"
    (photo,) = edited(shop, out, laws=CHINA, language="zh").photos  # No channel, yet the law wants it inside.
    assert photo.figures["notice"]["place"] == "corner"
    told = beside(out / "a.png")
    assert told["zh"]["caption"] == photo.figures["notice"]["text"] == "含 AI 生成内容"
    assert told["en"]["caption"] == "Modified with AI"
    (other,) = edited(shop, shop.parent / "own", text="<AI> made this").photos
    told = beside(shop.parent / "own" / "a.png")
    assert other.figures["notice"]["text"] == told["en"]["caption"] == "<AI> made this"
    assert told["en"]["html"] == '<figcaption lang="en">&lt;AI&gt; made this</figcaption>'
    (refused,) = edited(shop, shop.parent / "no", laws=CHINA, place="beside").photos
    assert refused.status == "refused" and "china-labelling 'visible'" in str(refused.reason)


def test_another_notice_is_another_result(shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = edited(shop, out, channel="generic")
    assert edited(shop, out, channel="generic", on=date(2026, 12, 1)).counts["again"] == 1  # The same rules hold.
    no_law = edited(shop, out, channel="generic", laws=())  # Done anew; the file comes out the same.
    assert (no_law.counts["again"], no_law.counts["done"], no_law.rules) == (0, 1, [])
    for other in ({"language": "zh"}, {"place": "padding"}, {"text": "AI"}, {"channel": "amazon-main"}):
        failed = edited(shop, out, **{"channel": "generic", **other})
        assert failed.counts["again"] == 0, other
        assert failed.photos[0].status == "failed" and "exists already" in str(failed.photos[0].reason)
    before_the_law = edited(shop, out, channel="generic", on=date(2026, 8, 1))
    assert before_the_law.counts["again"] == 0
    assert edited(shop, out, channel="generic").photos[0].sha256 == first.photos[0].sha256


def test_a_strip_is_checked_and_told() -> None:
    image = ProductImage(packshot(600, 10_000, 0.8), history=(Operation("decode", "capture"),))
    request = NoticeRequest(on=DAY, channel="amazon-secondary", place="padding")
    alone = Chain("shoot", [Made(), Check("amazon-secondary", DAY)])(image)
    assert alone.review is None
    done = Chain("shoot", [Made(), PlaceNotice(request), Check("amazon-secondary", DAY)])(image)
    assert done.image.height > 10_000 and "500 to 10,000" in str(done.review)
    assert done.figures["notice"]["height"] == done.image.height
    assert any("higher than was asked for" in note for note in done.notes)


def test_transparent_pictures_keep_their_rest(shop: Path) -> None:
    clear = np.zeros((400, 500, 4), np.uint8)
    clear[100:300, 150:350] = (200, 30, 30, 255)
    (shop / "a.png").write_bytes(encoded(clear, "PNG"))
    for place in ("corner", "padding"):
        out = shop.parent / place
        (photo,) = edited(shop, out, place=place).photos
        picture = decode(out / "a.png")
        assert photo.status == "done" and picture.has_alpha
        np.testing.assert_array_equal(picture.pixels[:400, :, 3][100:300], clear[100:300, :, 3])
        box = slice(400, None) if place == "padding" else slice(300, 400)
        assert (picture.pixels[box][..., 3] == 255).any()


def test_a_photo_that_only_its_manifest_calls_made_gets_its_notice(tmp_path: Path) -> None:
    drawn = ProductImage(packshot(300, 300), history=(Operation("sample", "generated"),))
    released = release(drawn, tmp_path / "a.png")
    image = decode(released.path)
    assert notice_due(image) == "generated"
    history = tuple(Operation(o.name, o.origin, {**o.params, "source_type": None}) for o in image.history)
    bare = ProductImage(image.pixels, image.metadata, history)
    assert notice_due(bare) == "generated"  # By the manifest alone.
    assert notice_due(ProductImage(image.pixels, history=history)) is None


def test_where_nobody_says_where() -> None:
    assert usual_place(None, ("eu-ai-act",), DAY) == "beside"
    assert usual_place(None, CHINA, DAY) == "auto"
    assert usual_place(None, CHINA, date(2025, 8, 31)) == "beside"
    assert usual_place("amazon-main", (), DAY) == "auto"


@pytest.mark.slow
def test_the_edit_with_its_notice_travels_to_workers(shop: Path, tmp_path: Path) -> None:
    edit = WithNotice(Made(), PlaceNotice(NoticeRequest(on=DAY, channel="generic")))
    Image.fromarray(packshot(250, 300, 0.7)).save(shop / "b.png")
    two = edit_photos([shop], edit, tmp_path / "two", BatchOptions(quiet=True, workers=2))
    one = edit_photos([shop], edit, tmp_path / "one", BatchOptions(quiet=True))
    assert two.notices == one.notices == {"corner": 2}
    for name in ("a.png", "b.png"):
        np.testing.assert_array_equal(decode(tmp_path / "one" / name).pixels, decode(tmp_path / "two" / name).pixels)


REPAIR = ("--box", "48%,48%,4%,4%", "--method", "patch")


def test_commands_place_it(shop: Path, tmp_path: Path) -> None:
    photo = shop / "a.png"
    told = run_json("repair", photo, *REPAIR, "--out", tmp_path / "plain")
    assert told["notices"] == {"beside": 1} and told["photos"][0]["receipt"]["bit_identical_outside"]
    words = ["repair", photo, *REPAIR, "--channel", "amazon-secondary", "--notice-language", "zh"]
    out, _ = run_cli(*words, "--notice", "padding", "--out", tmp_path / "zh")
    assert "Visible notice of AI: 1 on a strip below the picture." in out and out.count("eu-ai-act '50-4'") == 1
    assert decode(tmp_path / "zh/a.png").height > 300
    out, _ = run_cli("repair", photo, *REPAIR, "--channel", "amazon-main", "--out", tmp_path / "main")
    assert "1 beside the picture" in out and "amazon-main 'overlay'" in out
    out, _ = run_cli(*words[:-2], "--channel", "amazon-main", "--notice", "corner", "--out", tmp_path / "no", code=1)
    assert "1 refused:" in out and not (tmp_path / "no/a.png").exists()
    told = run_json("repair", photo, *REPAIR, "--notice", "none", "--law", "none", "--out", tmp_path / "none")
    assert (told["notices"], told["rules"]) == ({"none": 1}, [])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--channel", "amazon-mian"], "amazon-main"),
        (["--law", "none", "--law", "eu-ai-act"], "--law none"),
        (["--notice-text", "сделано ИИ"], "font has no"),
        (["--notice", "none", "--notice-text", "AI"], "leave one of them out"),
    ],
)
def test_what_cannot_be_is_said_before_the_work(words: list[str], said: str, shop: Path, tmp_path: Path) -> None:
    _, err = run_cli("repair", shop, *REPAIR, *words, "--out", tmp_path / "out", code=2)
    assert said in err and not (tmp_path / "out").exists()


def test_a_request_is_checked() -> None:
    with pytest.raises(UsageError, match="Did you mean 'eu-ai-act'"):
        NoticeRequest(on=DAY, laws=("eu-ai-akt",))
