"""The whole packshot: what leaves passes the channel's check, and what does not goes to review with its reason."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from packshot.core.errors import UsageError
from packshot.images.decode import decode
from packshot.tasks.check import check_pictures
from packshot.tasks.shoot import ShootRequest, build_shoot
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
    assert photo["source_type"] == "algorithmicallyEnhanced"  # A network enlarged it.
    assert photo["receipt"]["cutout"]["bit_identical"] and photo["receipt"]["backdrop"]["passed"]
    picture = decode(tmp_path / "out/hats/red.png").pixels
    assert picture.shape == (520, 520, 3)
    assert (picture[:20] == 255).all() and (picture[:, :20] == 255).all()
    assert np.abs(picture[380, 260].astype(int) - RED).max() < 25  # Still the red of the photo.
    assert check_pictures([tmp_path / "out"], "google-merchant", on=DAY, quiet=True).passed == 1
    assert (tmp_path / "out-before-after.png").is_file()
    again = run_json(*words, "--out", tmp_path / "out")
    assert again["counts"] == {"done": 1, "review": 0, "refused": 0, "failed": 0, "again": 1}
    assert run_json(*words, "--out", tmp_path / "other")["photos"][0]["sha256"] == photo["sha256"]


def test_a_broken_rule_sends_the_picture_to_review(photos: Path, tmp_path: Path) -> None:
    words = ["shoot", photos, "--channel", "google-merchant", "--on", "2027-01-31", "--size", "200"]
    (photo,) = run_json(*words, "--out", tmp_path)["photos"]
    assert (photo["status"], photo["picture"]) == ("review", "review/hats/red.png")
    assert "500 x 500" in photo["reason"]
    assert photo["figures"]["check"]["size-2027"] == {"status": "fail", "seen": "200 x 200"}


def test_a_dry_run_writes_nothing(photos: Path, tmp_path: Path) -> None:
    words = ["shoot", photos, "--channel", "generic", "--size", "300", "--out", tmp_path / "out", "--dry-run"]
    plan = run_json(*words)
    assert (plan["photos"], plan["sampled"]) == (1, 1)
    assert plan["steps"][-3:] == ["enlarge", "backdrop", "check"]
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
    assert [s["task"] for s in steps] == ["anonymise", "cutout", "enlarge", "backdrop", "check"]
    assert {r["id"] for r in steps[-1]["settings"]["rules"]} == {"format", "size", "colour"}
    with pytest.raises(UsageError, match="--size is 9"):
        ShootRequest(channel="generic", on=DAY, size=9)


def test_channel_or_recipe(photos: Path, tmp_path: Path) -> None:
    assert "--channel" in run_cli("shoot", photos, "--out", tmp_path / "out", code=2)[1]
