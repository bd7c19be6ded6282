"""What people do on the pages Shoot, Jobs, Repair, Restyle and Verify, in a real browser with a real worker."""

import csv
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from tests.browser.conftest import SAMPLES

LONG = 280_000
"""Milliseconds that a job of a few photos may take on a busy machine."""


def sample(name: str) -> Path:
    return next(path for path in SAMPLES if path.stem == name)


def wait_for_end(page: Any) -> None:
    """Waits until a job's page, which follows it by itself, shows that it has ended."""
    page.locator("#progress").wait_for(state="detached", timeout=LONG)
    page.locator("#feed, #retry").first.wait_for()


def download(page: Any, selector: str, folder: Path) -> bytes:
    with page.expect_download() as coming:
        page.locator(selector).first.click()
    path = folder / f"down-{coming.value.suggested_filename}"
    coming.value.save_as(path)
    return path.read_bytes()


def size_of(data: bytes | Path) -> tuple[int, int]:
    with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data) as image:
        return image.size


def pixels(data: bytes | Path) -> np.ndarray:
    with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_shoot_from_photos_to_zip(page: Any, tmp_path: Path) -> None:
    page.goto("/")
    assert page.locator("#start").is_disabled()
    page.get_by_role("button", name="Try with these").click()
    page.get_by_role("button", name="Start with 3 photos").wait_for()
    page.get_by_role("button", name="Remove hoodie.jpg").click()
    page.get_by_label("Size").select_option("1000")
    page.get_by_text("More settings").click()
    page.get_by_label("Name of the job").fill("Two of them")
    page.get_by_role("button", name="Start with 2 photos").click()
    page.wait_for_url("**/jobs/*")
    assert page.get_by_role("heading", level=1).inner_text() == "Two of them"
    assert page.locator("#results > li").count() == 2
    wait_for_end(page)  # Nobody loads the page again: it follows.
    done = page.locator("#results .badge.done, #results .badge.review").count()
    assert done == 2
    with zipfile.ZipFile(io.BytesIO(download(page, "#zip", tmp_path))) as archive:
        names = archive.namelist()
        sizes = [size_of(archive.read(name)) for name in names]
    leaving = page.locator("#results .badge.done").count()
    assert len(names) == leaving and set(sizes) <= {(1000, 1000)}
    rows = list(csv.DictReader(io.StringIO(download(page, "#feed", tmp_path).decode("utf-8-sig"))))
    assert {row["id"] for row in rows} == {"hat", "polo"}
    page.locator("#item-0 a").click()
    slider = page.locator("[data-compare] input[type=range]")
    slider.focus()
    before = page.evaluate("() => document.querySelector('.compare-frame').style.getPropertyValue('--at')")
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    after = page.evaluate("() => document.querySelector('.compare-frame').style.getPropertyValue('--at')")
    assert (before, after) == ("50%", "45%")
    assert "Before 45 %" in slider.get_attribute("aria-valuetext")
    assert page.get_by_role("heading", name="What was proved").is_visible()
    assert page.get_by_text("bit for bit").first.is_visible()
    assert page.get_by_text("At least 100 x 100 pixels.").is_visible()


def test_what_breaks_a_rule_waits_for_a_person(page: Any, tmp_path: Path) -> None:
    page.goto("/")
    page.locator("#files").set_input_files([sample("hat"), sample("polo")])
    page.get_by_text("Amazon, main picture").click()
    page.get_by_role("radio", name="Light grey").check(force=True)
    assert page.get_by_text("has to be on pure white").is_visible()
    page.get_by_label("Size").select_option("1000")
    page.get_by_role("button", name="Start with 2 photos").click()
    page.wait_for_url("**/jobs/*")
    wait_for_end(page)
    job = page.url
    page.get_by_role("link", name="Look at them").click()
    assert page.locator("#results > li").count() == 2
    tile = page.locator("#item-0")
    assert "The background is exactly 255, 255, 255." in tile.inner_text()
    tile.get_by_role("button", name="Approve hat.jpg").click()
    tile.locator(".badge", has_text="Approved").wait_for()
    page.locator("#item-1 a").click()
    page.get_by_role("button", name="Reject").click()
    page.wait_for_url("**?state=review")  # Nothing is left to decide, so it goes back to the list.
    assert page.locator("#item-1 .badge", has_text="Rejected").count() == 1
    with zipfile.ZipFile(io.BytesIO(download(page, "#zip", tmp_path))) as archive:
        assert [name.split(".")[0] for name in archive.namelist()] == ["hat"]
    page.locator("#item-1").get_by_role("button", name="Approve polo.jpg").click()  # One may change one's mind.
    page.locator("#item-1 .badge", has_text="Approved").wait_for()
    with zipfile.ZipFile(io.BytesIO(download(page, "#zip", tmp_path))) as archive:
        assert len(archive.namelist()) == 2
    page.goto("/jobs")
    assert page.get_by_text("in review").count() == 0  # Both were decided on.
    assert page.locator(f'a[href="{job[job.index("/jobs/") :].split("?")[0]}"]').count() == 1


def test_a_job_is_stopped_and_goes_on(page: Any) -> None:
    page.goto("/")
    page.get_by_role("button", name="Try with these").click()
    page.get_by_role("button", name="Start with 3 photos").click()
    page.wait_for_url("**/jobs/*")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("Cancelled").first.wait_for()
    page.get_by_role("button", name="Go on").click()
    page.locator("#progress").wait_for()
    wait_for_end(page)
    assert page.locator("#results .badge.done, #results .badge.review").count() == 3


def test_files_that_are_no_pictures_are_told_in_words(page: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 this is no JPEG")
    page.expected.append("422")
    page.goto("/")
    page.locator("#files").set_input_files(tmp_path / "notes.txt")
    page.get_by_text("There was no picture among these files.").wait_for()
    page.locator("#files").set_input_files(tmp_path / "broken.jpg")
    message = page.locator("#refused p", has_text="broken.jpg")
    message.wait_for()
    assert page.get_by_role("button", name="Send again").is_visible()
    assert page.locator("#start").is_disabled()


@pytest.fixture
def spotted(tmp_path: Path) -> Path:
    """The hat with a large dark spot on the floor beside it."""
    image = Image.open(sample("hat")).convert("RGB")
    ImageDraw.Draw(image).ellipse((20, 330, 60, 370), fill=(15, 10, 10))
    path = tmp_path / "spotted.png"
    image.save(path)
    return path


def open_in_repair(page: Any, path: Path) -> None:
    page.goto("/repair")
    page.locator("#file").set_input_files(path)
    page.wait_for_url("**/repair?picture=*")
    page.locator("#photo").evaluate("async (img) => { await img.decode(); }")
    page.locator("#repair[data-ready]").wait_for()  # On a busy machine the scripts may come after the photo.


def paint(page: Any, x0: float, y0: float, x1: float, y1: float) -> None:
    """Draws a line between two places of the photo, given as shares of it."""
    box = page.locator("#photo").bounding_box()
    page.mouse.move(box["x"] + x0 * box["width"], box["y"] + y0 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + x1 * box["width"], box["y"] + y1 * box["height"], steps=12)
    page.mouse.up()


def covered(page: Any) -> float:
    """Returns the percent of the photo that is painted, as the page says it once it has not changed for a while."""
    said, same = "", 0
    while same < 4:
        page.wait_for_timeout(100)
        now = page.locator("#covered").inner_text()
        said, same = now, same + 1 if now == said else 0
    found = re.match(r"([\d.]+) %", said)
    return float(found[1]) if found else 0.0


def test_repair_by_brush(page: Any, spotted: Path, tmp_path: Path) -> None:
    open_in_repair(page, spotted)
    page.locator("#brush").fill("60")
    paint(page, 0.06, 0.87, 0.12, 0.88)
    first = covered(page)
    assert 1 < first < 6
    paint(page, 0.5, 0.1, 0.6, 0.1)
    assert covered(page) > first
    page.get_by_role("button", name="Undo", exact=True).click()
    assert covered(page) == first
    page.get_by_role("button", name="Do again").click()
    assert covered(page) > first
    page.get_by_role("radio", name="Eraser").click()
    paint(page, 0.45, 0.1, 0.65, 0.1)
    assert covered(page) == pytest.approx(first, abs=0.05)
    page.get_by_role("button", name="Repair this photo").click()
    page.locator("#result [data-compare]").wait_for()
    assert page.get_by_text("Outside of the repainted area no pixel changed").is_visible()
    result = pixels(download(page, "#result a[download]", tmp_path))
    original = pixels(spotted)
    changed = (result != original).any(axis=2)
    assert result[350, 40].mean() > 60 and original[350, 40].mean() < 15  # The spot is gone.
    assert 0.005 < changed.mean() < 0.06
    assert not changed[:, 120:].any()  # The hat is what it was, bit for bit.
    page.get_by_role("button", name="Another try").click()
    page.locator("#result [data-working]").wait_for()
    page.locator("#result [data-compare]").wait_for()


def test_repair_by_keyboard_alone(page: Any, spotted: Path) -> None:
    open_in_repair(page, spotted)
    stage = page.locator("#stage")
    stage.focus()
    said = page.locator("#said")
    page.keyboard.press("Space")
    assert said.inner_text() == "Painted"
    dab = covered(page)
    assert dab > 0
    for _ in range(4):
        page.keyboard.press("Shift+ArrowRight")
    assert covered(page) > dab
    assert said.inner_text().endswith("painted")
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+y")
    page.keyboard.press("r")
    assert page.get_by_role("radio", name="Box").get_attribute("aria-checked") == "true"
    page.keyboard.press("Space")
    for _ in range(3):
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    assert said.inner_text() == "Box added"
    page.get_by_role("button", name="Clear all").click()
    assert covered(page) == 0
    page.get_by_text("A box by numbers").click()
    page.get_by_role("button", name="Add the box").click()
    assert covered(page) == pytest.approx(4.0, abs=0.1)  # 20 % of 20 %.
    page.keyboard.press("Tab")
    zoom = page.locator("#inner").evaluate("(e) => e.style.transform")
    stage.focus()
    page.keyboard.press("+")
    assert page.locator("#inner").evaluate("(e) => e.style.transform") != zoom
    page.keyboard.press("0")
    assert page.locator("#inner").evaluate("(e) => e.style.transform") == zoom


def test_nothing_painted_is_told(page: Any, spotted: Path) -> None:
    open_in_repair(page, spotted)
    page.get_by_role("button", name="Repair this photo").click()
    assert page.locator("#run-error").inner_text().startswith("Nothing is painted yet")


def test_suggestions_are_taken_or_left(page: Any, tmp_path: Path) -> None:
    image = Image.open(sample("polo")).convert("RGB")
    ImageDraw.Draw(image).rectangle((150, 330, 190, 370), fill=(255, 0, 255))  # A block that was lost on the way.
    image.save(tmp_path / "lost.png")
    open_in_repair(page, tmp_path / "lost.png")
    page.get_by_role("button", name="Look for damage").click()
    first = page.locator("#piece-list input").first
    first.wait_for()
    assert (
        "Missing block" in page.locator("#piece-list").inner_text()
        or "Hole" in page.locator("#piece-list").inner_text()
    )
    assert covered(page) == 0  # Suggestions are no more than that.
    first.check()
    taken = covered(page)
    assert 0.5 < taken < 3
    first.uncheck()
    assert covered(page) == 0
    page.get_by_role("button", name="Take what is sure").click()
    assert covered(page) >= taken
    page.get_by_role("button", name="Undo", exact=True).click()
    page.wait_for_timeout(100)
    assert not first.is_checked()  # The list follows what was undone.


def test_a_mark_goes_only_with_a_word(page: Any, tmp_path: Path) -> None:
    image = Image.new("RGB", (600, 400), (196, 188, 176))
    font = ImageFont.load_default(64)
    ImageDraw.Draw(image).text((110, 160), "SAMPLE 2026", font=font, fill=(20, 20, 20))
    image.save(tmp_path / "marked.png")
    open_in_repair(page, tmp_path / "marked.png")
    page.get_by_text("A box by numbers").click()
    for name, value in {"x": "12", "y": "35", "w": "76", "h": "30"}.items():
        page.locator(f"#numbers input[name={name}]").fill(value)
    page.get_by_role("button", name="Add the box").click()
    page.get_by_role("button", name="Repair this photo").click()
    page.locator("#result [data-needs-word]").wait_for()
    assert page.evaluate("() => document.activeElement.id") == "attest"
    page.locator("#attest").check()
    page.get_by_role("button", name="Repair this photo").click()
    page.locator("#result [data-compare]").wait_for()
    result = pixels(download(page, "#result a[download]", tmp_path))
    assert result[140:260, 80:520].min() > 120  # No letter is left.


def test_one_mask_for_many_photos(page: Any, spotted: Path, tmp_path: Path) -> None:
    second = tmp_path / "second.png"
    Image.open(spotted).transpose(Image.Transpose.FLIP_TOP_BOTTOM).resize((840, 800)).save(second)
    open_in_repair(page, spotted)
    page.locator("#brush").fill("60")
    paint(page, 0.06, 0.87, 0.12, 0.88)
    page.get_by_text("The same mask in many photos").click()
    page.locator("#many-files").set_input_files([spotted, second])
    page.get_by_text("2 photos chosen").wait_for()
    page.get_by_role("button", name="Start the job").click()
    page.wait_for_url("**/jobs")  # Two sizes: two jobs.
    rows = page.locator(".job-row", has_text="Repair")
    rows.nth(1).wait_for()
    rows.first.click()
    page.wait_for_url("**/jobs/*")
    wait_for_end(page)
    assert page.locator("#results .badge.done, #results .badge.review").count() == 1


def test_restyle_and_the_link_for_shoppers(
    page: Any, new_page: Callable[..., Any], studio: str, tmp_path: Path
) -> None:
    page.goto("/restyle")
    page.locator("#file").set_input_files(sample("hat"))
    page.wait_for_url("**/restyle?picture=*")
    assert page.locator("input[name=style]").count() == 18
    page.locator("img[data-thumb]:not(.is-sample)").first.wait_for()
    assert re.search(r"\d+ of 18 made of your photo", page.locator("#made").inner_text())
    page.get_by_role("radio", name=re.compile("^Ink")).check(force=True)
    page.locator("#view [data-compare]").wait_for()
    page.get_by_role("button", name="Make it at full size").click()
    page.locator("[data-full]").wait_for()
    data = download(page, "[data-full] a[download]", tmp_path)
    assert size_of(data) == size_of(sample("hat"))
    assert b"compositeWithTrainedAlgorithmicMedia" in data
    page.get_by_text("Let shoppers choose").click()
    page.get_by_text("Which styles").click()
    for name in ("Abstract", "Weave"):
        page.locator(".style-checks").get_by_text(name).click()
    page.get_by_role("button", name="Make the link").click()
    link = page.locator("#the-link").input_value()
    assert link.startswith(f"{studio}/s/")
    shopper = new_page("zh", width=390, height=844)
    shopper.goto(link)
    assert shopper.get_by_role("heading", level=1).inner_text() == "选择风格"
    assert shopper.locator("input[name=style]").count() == 16
    assert shopper.locator('a[href^="/"]:not([href^="/theme"])').count() == 0  # It leads nowhere else.
    shopper.locator("input[value=ink]").check(force=True)
    shopper.locator("#run").click()
    shopper.locator("[data-full]").wait_for()
    assert download(shopper, "[data-full] a[download]", tmp_path)[:4] in (
        b"\x89PNG",
        b"\xff\xd8\xff\xe0",
        b"\xff\xd8\xff\xe1",
    )


def test_the_style_of_any_picture(page: Any, tmp_path: Path) -> None:
    y, x = np.mgrid[:300, :300]
    stripes = np.stack([200 + 50 * np.sin(x / 7), 90 + 80 * np.sin(y / 11), 60 + 50 * np.sin((x + y) / 9)], axis=-1)
    Image.fromarray(stripes.astype(np.uint8)).save(tmp_path / "stripes.png")
    page.goto("/restyle")
    page.locator("#file").set_input_files(sample("hat"))
    page.wait_for_url("**/restyle?picture=*")
    page.locator("#own-style").set_input_files(tmp_path / "stripes.png")
    page.wait_for_url("**&style=*")
    assert page.get_by_role("radio", name="Your picture").is_checked()
    page.locator("#view [data-compare]").wait_for()  # It is looked at without a click.


def test_verify_knows_its_own_and_what_was_stripped(page: Any, studio: str, tmp_path: Path) -> None:
    page.goto("/restyle")
    page.locator("#file").set_input_files(sample("polo"))
    page.wait_for_url("**/restyle?picture=*")
    page.get_by_role("radio", name=re.compile("^Pop")).check(force=True)
    page.get_by_role("button", name="Make it at full size").click()
    page.locator("[data-full]").wait_for()
    own = tmp_path / "own.png"
    own.write_bytes(download(page, "[data-full] a[download]", tmp_path))
    page.goto("/verify")
    page.locator("#file").set_input_files(own)
    page.get_by_role("heading", name="It left here exactly as it is").wait_for()
    page.get_by_role("button", name="Try it").click()
    page.locator("[data-working]").wait_for()
    assert re.search(r"\d+ s", page.locator("[data-working]").inner_text())
    page.locator(".trials").wait_for()
    assert page.locator(".trials tbody tr").count() == 28
    stripped = tmp_path / "stripped.png"
    Image.open(own).convert("RGB").save(stripped)
    page.locator("#file").set_input_files(stripped)
    page.get_by_role("heading", name="It comes from here; its labels were taken off").wait_for()
    plain = tmp_path / "plain.png"
    Image.effect_noise((300, 200), 60).convert("RGB").save(plain)
    page.locator("#file").set_input_files(plain)
    page.get_by_role("heading", name="It says nothing of itself").wait_for()
    (tmp_path / "letter.jpg").write_text("Dear all")
    page.locator("#file").set_input_files(tmp_path / "letter.jpg")
    page.get_by_role("heading", name="This cannot be read as a picture").wait_for()
