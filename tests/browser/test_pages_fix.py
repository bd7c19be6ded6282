"""What people do where not all went well: take back what they removed, decide what is in review, repair it by hand."""

import io
import zipfile
from pathlib import Path
from typing import Any

from tests.browser.conftest import SAMPLES
from tests.browser.test_pages_stories import download, paint, pixels, sample, wait_for_end


def test_what_was_removed_comes_back(page: Any) -> None:
    page.goto("/")
    page.locator("#files").set_input_files(SAMPLES)
    page.get_by_role("button", name="Start with 3 photos").wait_for()
    page.get_by_role("button", name="Remove polo.jpg").click()
    page.get_by_role("button", name="Start with 2 photos").wait_for()
    page.get_by_text("polo.jpg removed.").locator("button").click()
    page.get_by_role("button", name="Start with 3 photos").wait_for()
    page.get_by_role("button", name="Remove all").click()
    assert page.locator("#start").is_disabled()
    page.get_by_text("3 photos removed.").locator("button").click()
    page.get_by_role("button", name="Start with 3 photos").wait_for()
    assert page.locator("#tiles img").count() == 3


def test_the_few_in_review_are_decided_and_repaired(page: Any, tmp_path: Path) -> None:
    page.goto("/")
    page.locator("#files").set_input_files([sample("hat"), sample("polo")])
    page.get_by_text("Amazon, main picture").click()
    page.get_by_role("radio", name="Light grey").check(force=True)
    page.get_by_label("Size").select_option("1000")
    page.get_by_role("button", name="Start with 2 photos").click()
    page.wait_for_url("**/jobs/*")
    wait_for_end(page)
    job = page.url
    # Nothing may leave yet, and the page says so instead of giving an empty zip.
    assert page.locator("#zip").count() == 0
    assert page.get_by_text("Until one is approved there is nothing to download.").is_visible()
    page.locator("#item-0 a").click()
    page.get_by_role("link", name="Repair by hand").click()
    page.locator("#repair[data-ready]").wait_for()
    paint(page, 0.04, 0.05, 0.10, 0.05)
    page.get_by_role("button", name="Repair this photo").click()
    page.locator("#into-job").click()
    page.wait_for_url("**/items/0*")
    assert page.locator("#mended").is_visible()
    assert page.get_by_text("Approved").first.is_visible()
    page.goto(job)
    with zipfile.ZipFile(io.BytesIO(download(page, "#zip", tmp_path))) as archive:
        assert [name.split(".")[0] for name in archive.namelist()] == ["hat"]
        repaired = pixels(archive.read(archive.namelist()[0]))
    # The other one is approved from the list, and the page knows it at once.
    page.goto(f"{job}?state=review")
    assert page.locator("#approve-all").count() == 0  # One alone needs no button for all.
    page.locator("#item-1").get_by_role("button", name="Reject polo.jpg").click()
    page.locator("#item-1 .badge", has_text="Rejected").wait_for()
    page.goto(job)
    assert page.locator("#to-review").count() == 0
    page.locator("#item-0 a").click()
    page.locator("#take-back").click()
    page.locator("#mended").wait_for(state="detached")
    page.get_by_role("button", name="Approve").click()
    page.goto(job)
    with zipfile.ZipFile(io.BytesIO(download(page, "#zip", tmp_path))) as archive:
        own = pixels(archive.read(archive.namelist()[0]))
    assert own.shape == repaired.shape and (own != repaired).any()  # The job's own picture is there again.


def test_all_that_are_left_are_approved_at_once(page: Any, tmp_path: Path) -> None:
    page.goto("/")
    page.locator("#files").set_input_files(SAMPLES)
    page.get_by_text("Amazon, main picture").click()
    page.get_by_role("radio", name="Light grey").check(force=True)
    page.get_by_label("Size").select_option("1000")
    page.get_by_role("button", name="Start with 3 photos").click()
    page.wait_for_url("**/jobs/*")
    wait_for_end(page)
    page.get_by_role("link", name="Look at them").click()
    page.locator("#item-2").get_by_role("button", name="Approve").click()
    page.locator("#zip").wait_for()  # Without loading the page again.
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Approve the 2 that are left").click()
    page.locator("#approve-all").wait_for(state="detached")
    with zipfile.ZipFile(io.BytesIO(download(page, "#zip", tmp_path))) as archive:
        assert len(archive.namelist()) == 3
