"""The whole packshot: what leaves passes the channel's check, and what does not goes to review with its reason."""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from packshot.core.errors import UsageError
from packshot.images.decode import decode
from packshot.images.picture import Operation, ProductImage
from packshot.release.overlay import find_overlay
from packshot.tasks.check import check_pictures
from packshot.tasks.edit import Edited
from packshot.tasks.shoot import NO_FACES, Check, Declutter, Mend, ShootRequest, build_shoot, find_clutter
from tests.docs.test_docs import write_photo
from tests.integration.conftest import run_cli, run_json

DAY = date(2027, 1, 31)
RED = (150, 30, 40)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shoot") / "photos"
    write_photo(folder / "hats" / "red.jpg", RED)
    return folder


def test_from_a_photo_to_a_listing_picture(photos: Path, tmp_path: Path) -> None:
    words = ["shoot", photos, "--channel", "google-merchant", "--on", "2027-01-31", "--size", "520"]
    told = run_json(*words, "--out", tmp_path / "out")
    (photo,) = told["photos"]
    assert (photo["status"], photo["picture"]) == ("done", "hats/red.png")
    assert photo["source_type"] == "compositeWithTrainedAlgorithmicMedia"  # A network told product and backdrop apart.
    assert photo["receipt"]["cutout"]["bit_identical"] and photo["receipt"]["backdrop"]["passed"]
    picture = decode(tmp_path / "out/hats/red.png").pixels
    assert picture.shape == (520, 520, 3)
    assert (picture[:20] == 255).all() and (picture[:, :20] == 255).all()
    assert np.abs(picture[380, 260].astype(int) - RED).max() < 25  # Still the red of the photo.
    assert check_pictures([tmp_path / "out"], "google-merchant", on=DAY, quiet=True).passed == 1
    assert (tmp_path / "out-before-after.png").is_file()
    again = run_json(*words, "--out", tmp_path / "out")
    assert again["counts"] == {"done": 1, "review": 0, "refused": 0, "failed": 0, "again": 1}
    run_json(*words, "--out", tmp_path / "other")
    np.testing.assert_array_equal(decode(tmp_path / "other/hats/red.png").pixels, picture)


def test_as_a_jpeg_it_is_checked_as_it_will_be_seen(photos: Path, tmp_path: Path) -> None:
    words = ["shoot", photos, "--channel", "amazon-main", "--size", "1000", "--format", "jpeg", "--out", tmp_path]
    (photo,) = run_json(*words)["photos"]
    assert (photo["status"], photo["picture"]) == ("done", "hats/red.jpg")
    assert check_pictures([tmp_path], "amazon-main", on=DAY, quiet=True).passed == 1
    # A product that touches the frame: there the blocks of a JPEG ring in what has to be white.
    pixels = np.full((1000, 1000, 3), 255, np.uint8)
    pixels[4:-4, 4:-4][::2] = RED
    image = ProductImage(pixels, history=(Operation("decode", "capture", {}),))
    as_png, as_jpeg = (Check("amazon-main", DAY, *written)(image) for written in ((), ("JPEG", 30)))
    assert as_png.lossless and not as_jpeg.lossless
    assert as_png.figures["white"] != as_jpeg.figures["white"]


def test_a_broken_rule_sends_the_picture_to_review(photos: Path, tmp_path: Path) -> None:
    words = ["shoot", photos, "--channel", "google-merchant", "--on", "2027-01-31", "--size", "200"]
    (photo,) = run_json(*words, "--out", tmp_path)["photos"]
    assert (photo["status"], photo["picture"]) == ("review", "review/hats/red.png")
    assert "500 x 500" in photo["reason"]
    assert photo["figures"]["check"]["size-2027"] == {"status": "fail", "seen": "200 x 200"}


@pytest.mark.parametrize(
    ("channel", "more", "place", "height"),
    [
        ("amazon-secondary", [], "corner", 520),
        ("amazon-secondary", ["--notice", "padding", "--notice-language", "zh"], "padding", 582),
        ("amazon-main", [], "beside", 520),
    ],
)
def test_the_notice_is_where_the_channel_lets_it_be(
    channel: str, more: list[str], place: str, height: int, photos: Path, tmp_path: Path
) -> None:
    words = ["shoot", photos, "--channel", channel, "--on", "2027-01-31", "--size", "520", *more]
    told = run_json(*words, "--out", tmp_path / "out")
    (photo,) = told["photos"]
    picture = decode(tmp_path / "out" / photo["picture"]).pixels
    assert told["notices"] == {place: 1} and picture.shape == (height, 520, 3)
    rules = ["amazon-main 'overlay'", "eu-ai-act '50-4'"] if place == "beside" else ["eu-ai-act '50-4'"]
    assert [rule.split(":")[0] for rule in told["rules"]] == rules
    assert np.abs(picture[380, 260].astype(int) - RED).max() < 25
    assert any("higher than was asked for" in note for note in photo["notes"]) == (place == "padding")
    assert bool(find_overlay(picture).laid_over) == (place != "beside")


def test_a_dry_run_writes_nothing(photos: Path, tmp_path: Path) -> None:
    words = ["shoot", photos, "--channel", "generic", "--size", "300", "--out", tmp_path / "out", "--dry-run"]
    plan = run_json(*words)
    assert (plan["photos"], plan["sampled"]) == (1, 1)
    assert plan["steps"][-3:] == ["backdrop", "notice", "check"]
    assert 0 < plan["seconds_each"] <= plan["seconds"]
    assert not (tmp_path / "out").exists()


def test_a_recipe_is_tasks_in_any_order(photos: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "warm.toml"
    recipe.write_text(
        '[[step]]\ntask = "cutout"\n[[step]]\ntask = "backdrop"\nbackground = "#f4f1ea"\n'
        "layout = { aspect = [4, 5], size = 160, fill = 0.8 }\n"
    )
    (photo,) = run_json("shoot", photos, "--recipe", recipe, "--out", tmp_path / "out")["photos"]
    picture = decode(tmp_path / "out" / photo["picture"]).pixels
    assert picture.shape == (160, 128, 3)
    assert np.abs(picture[3, 3].astype(int) - (0xF4, 0xF1, 0xEA)).max() <= 2
    recipe.write_text('[[step]]\ntask = "backdrop"\nbackgruond = "white"\n')
    assert (
        "Did you mean 'background'" in run_cli("shoot", photos, "--recipe", recipe, "--out", tmp_path / "x", code=2)[1]
    )


def test_settings_tell_every_step_and_the_rules() -> None:
    request = ShootRequest(channel="generic", on=DAY, repair=False, white_balance=0)
    steps = build_shoot(request).settings()["steps"]
    assert [s["task"] for s in steps] == ["anonymise", "cutout", "declutter", "enlarge", "backdrop", "notice", "check"]
    assert {r["id"] for r in steps[-1]["settings"]["rules"]} >= {"format", "size", "colour"}
    with pytest.raises(UsageError, match="--size is 9"):
        ShootRequest(channel="generic", on=DAY, size=9)


def test_clutter_is_small_apart_and_cut_by_a_side_that_the_product_does_not_reach() -> None:
    seen = np.zeros((60, 80), np.bool_)
    seen[20:60, 20:50] = True  # The product reaches the lower side.
    clutter = np.zeros_like(seen)
    clutter[10:20, 72:] = clutter[:3, :5] = True
    clutter[54:60, 76:] = True  # In a corner: the product does not reach its other side.
    others = np.zeros_like(seen)
    others[50:60, 60:66] = True  # At the side that the product reaches.
    others[5:9, 60:70] = True  # Within the photo.
    others[10:40, :12] = True  # Too large.
    found, things = find_clutter(seen | clutter | others)
    assert things == 3
    np.testing.assert_array_equal(found, clutter)
    for nothing in (np.zeros((5, 4), np.bool_), np.ones((1, 1), np.bool_)):
        found, things = find_clutter(nothing)
        assert things == 0 and not found.any()


def test_what_is_left_out_is_told_and_the_rest_stays() -> None:
    pixels = np.full((60, 80, 4), (255, 255, 255, 0), np.uint8)
    pixels[10:50, 20:50] = pixels[:20, 70:] = (90, 120, 30, 255)
    done = Declutter()(ProductImage(pixels, history=(Operation("decode", "capture"),)))
    assert done.figures == {"things": 1, "share": 0.0417}
    assert done.notes
    assert (done.image.pixels[:, 70:] == (255, 255, 255, 0)).all()
    np.testing.assert_array_equal(done.image.pixels[:, :70], pixels[:, :70])
    assert Declutter()(done.image).image is done.image


@pytest.mark.parametrize("there", [False, True])
def test_where_faces_are_not_looked_for_it_is_said(there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packshot.tasks.shoot.is_installed", lambda: there)
    monkeypatch.setattr("packshot.tasks.shoot.Anonymise", lambda request: Drawn(request.faces))
    privacy = build_shoot(ShootRequest(channel="generic", on=DAY)).steps[0]
    image = ProductImage(np.zeros((9, 9, 3), np.uint8), history=(Operation("decode", "capture", {}),))
    assert (NO_FACES in privacy(image).notes) is not there
    assert (privacy.task, privacy.settings()) == ("anonymise", {"faces": there})


class Drawn:
    """Stands for the detector."""

    task = "anonymise"

    def __init__(self, faces: bool) -> None:
        self.faces = faces

    def settings(self) -> dict[str, Any]:
        return {"faces": self.faces}

    def __call__(self, image: ProductImage) -> Edited:
        return Edited(image=image)


@pytest.mark.parametrize(("share", "told"), [(0.0, "note"), (0.001, "note"), (0.9, "review")])
def test_what_may_be_damage_is_a_note_and_much_that_was_repainted_a_review(share: float, told: str) -> None:
    class Unsure:
        task = "repair"

        def settings(self) -> dict[str, Any]:
            return {"any": 1}

        def __call__(self, image: ProductImage) -> Edited:
            return Edited(image=image, review="Look.", notes=("So.",), figures={"share": share})

    mend = Mend(Unsure())
    done = mend(ProductImage(np.zeros((2, 2, 3), np.uint8), history=(Operation("decode", "capture"),)))
    assert (done.review, done.notes) == ((None, ("So.", "Look.")) if told == "note" else ("Look.", ("So.",)))
    assert mend.settings() == {"any": 1}


def test_channel_or_recipe(photos: Path, tmp_path: Path) -> None:
    assert "--channel" in run_cli("shoot", photos, "--out", tmp_path / "out", code=2)[1]


@pytest.mark.parametrize("words", [("--size", "500"), ("--no-repair",), ("--on", "2027-01-31"), ("--shadow", "none")])
def test_what_a_recipe_does_not_heed_is_refused(words: tuple[str, ...], photos: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text('[[step]]\ntask = "extend"\naspect = [1, 1]\n')
    told = run_cli("shoot", photos, "--recipe", recipe, *words, "--out", tmp_path / "out", code=2)[1]
    assert f"{words[0].replace('--no-', '--')} does not go with --recipe" in told
    assert not (tmp_path / "out").exists()
