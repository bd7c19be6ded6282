"""What people do on Create, Train, Taste and Ledger, in a real browser with a real worker."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from packshot.catalog import open_catalog
from tests.browser.conftest import SAMPLES
from tests.integration.conftest import run_process
from tests.shoppers import write_shop

LONG = 280_000
"""Milliseconds that a job or a model may take on a busy machine."""


@pytest.fixture(scope="session")
def shop(home: Path, studio: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue of 40 drawn things, "shop", and a store of 30 shoppers, "autumn", where the studio looks."""
    folder = tmp_path_factory.mktemp("shop")
    write_shop(folder, products=40)
    catalog = home / "studio/catalogs/shop"
    catalog.parent.mkdir(parents=True, exist_ok=True)
    (folder / "catalog").rename(catalog)
    by: dict[str, list[str]] = {}
    for row in open_catalog(catalog).manifest(["product_id", "photo_id", "category"]).to_pylist():
        by.setdefault(row["category"], []).append(row["product_id"] or row["photo_id"])
    rng = random.Random(4)
    lines = ["user,product,kind,time"]
    for user in range(30):
        for name in rng.sample(list(by.values())[user % len(by)], 4):
            lines.append(f"u{user},{name},view,2024-05-{rng.randint(1, 28):02d}T10:{rng.randint(0, 59):02d}")
    (folder / "events.csv").write_text("\n".join(lines))
    words = ("--catalog", catalog, "--out", home / "studio/events/autumn", "--consent", "all", "--quiet")
    with pytest.MonkeyPatch.context() as patch:
        from tests.integration import conftest

        patch.setitem(conftest.ENVIRONMENT, "PACKSHOT_HOME", str(home / "user"))
        run_process("events", "ingest", folder / "events.csv", *words)
    return catalog


def test_create_keeps_rejects_undoes_and_sends_to_shoot(page: Any) -> None:
    page.goto("/create?run=fashion-32")
    page.get_by_label("Bag", exact=True).check()
    page.get_by_role("button", name="Make pictures").click()
    tiles = page.locator(".sample")
    tiles.nth(11).wait_for()
    assert "Bag" in (tiles.first.get_attribute("aria-label") or "")
    assert "pictures came" in page.locator("#said").inner_text()
    sheet = [tile.get_attribute("data-sha") for tile in tiles.all()][:12]
    tiles.nth(0).focus()
    page.keyboard.press("k")
    page.locator("#kept-count", has_text="1").wait_for()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("r")
    page.locator(f'.sample[data-sha="{sheet[1]}"]').wait_for(state="detached")
    page.get_by_role("button", name="Undo").click()
    page.locator(f'.sample[data-sha="{sheet[1]}"]').wait_for()
    assert [tile.get_attribute("data-sha") for tile in tiles.all()][:12] == sheet
    # The sheet goes on by itself when one scrolls, and by the button.
    before = tiles.count()
    page.locator("#more-row").scroll_into_view_if_needed()
    tiles.nth(before).wait_for()
    page.get_by_label("Background").select_option("none")
    page.get_by_label("Enlarge").select_option("2")
    page.get_by_role("button", name="Send to Shoot").click()
    page.wait_for_url("**/jobs/*")
    page.locator("#progress").wait_for(state="detached", timeout=LONG)
    assert page.locator("#results .badge.done, #results .badge.review").count() == 1


def test_create_says_in_words_what_cannot_be(page: Any) -> None:
    page.expected.append("status of 422")
    page.goto("/create?run=fashion-32")
    page.get_by_text("More settings").click()
    page.get_by_label("Start number", exact=True).evaluate(
        "field => { field.type = 'text'; field.value = '99999999999'; }"
    )
    page.get_by_role("button", name="Make pictures").click()
    problem = page.locator("#problem [role=alert]")
    problem.wait_for()
    assert "can be 0 to" in problem.inner_text()


def test_train_from_the_catalogue_to_the_model(page: Any, shop: Path) -> None:
    page.goto("/train")
    page.get_by_role("link", name="shop").click()
    assert "photos to train on are few" in page.locator("main").inner_text()
    page.get_by_label("Model").select_option("vae")
    page.get_by_label("How long").fill("6kimg")
    page.locator("#start").get_by_label("Size").select_option("32")
    page.locator("#run-name").fill("first")
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url("**/train/runs/first")
    page.locator(".chart polyline.curve").first.wait_for(timeout=LONG)  # It appears without a reload.
    page.get_by_role("link", name="Create with it").wait_for(timeout=LONG)
    page.locator(".badge.done", has_text="Finished").wait_for()
    assert page.locator(".sheets img").count() >= 1
    page.get_by_text("The same as a table").click()
    assert page.locator("#numbers tbody tr").count() > 2
    assert "Trained on: " in page.locator(".prose").inner_text()
    page.get_by_role("link", name="Create with it").click()
    assert page.locator("#run").input_value() == "first"
    # What is wrong with a name or a budget is said, and nothing starts.
    page.expected.append("status of 422")
    page.goto("/train/catalogs/shop")
    page.locator("#run-name").fill("first")
    page.get_by_role("button", name="Start training").click()
    page.get_by_role("alert").wait_for()
    assert "is taken" in page.get_by_role("alert").inner_text()


def test_train_stops_and_goes_on(page: Any, shop: Path) -> None:
    page.goto("/train/catalogs/shop")
    page.get_by_label("Model").select_option("vae")
    page.get_by_label("How long").fill("900kimg")
    page.locator("#start").get_by_label("Size").select_option("32")
    page.locator("#run-name").fill("long")
    page.get_by_role("button", name="Start training").click()
    page.locator(".chart polyline.curve").first.wait_for(timeout=LONG)
    page.on("dialog", lambda dialog: dialog.accept())
    page.locator("#stop").click()
    page.locator("#resume").wait_for(timeout=LONG)
    page.locator("#resume").click()
    page.locator("#stop").wait_for(timeout=LONG)
    page.locator("#stop").click()
    page.locator("#resume").wait_for(timeout=LONG)


def test_a_catalogue_of_photos_that_are_sent(page: Any, studio: str) -> None:
    page.goto("/train")
    page.get_by_text("New catalogue of photos on this computer").click()
    page.locator("#ingest-photos").set_input_files([str(path) for path in SAMPLES])
    page.get_by_label("Name of the catalogue").fill("sent")
    page.get_by_label("Category of photos without a folder").fill("clothes")
    page.get_by_label("Licence (SPDX)").fill("CC0-1.0")
    page.get_by_label("Where they come from").fill("the tests")
    page.get_by_role("button", name="Make the catalogue").click()
    page.wait_for_url("**/jobs/*")
    page.locator(".badge.done").first.wait_for(timeout=LONG)
    page.goto("/train/catalogs/sent")
    assert "3 photos" in page.locator(".lead").inner_text()
    assert "clothes" in page.locator(".bars").inner_text()


def test_taste_shows_a_shopper_and_makes_pictures(page: Any, shop: Path) -> None:
    page.goto("/taste")
    page.get_by_role("searchbox").fill("u3")
    page.get_by_role("button", name="Find").click()
    page.wait_for_url("**/taste/shoppers/*")
    page.locator("#ranked-title").wait_for(timeout=LONG)
    assert page.locator("ol.products > li").count() == 12
    assert page.locator("ul.products > li").count() == 4
    page.get_by_role("button", name="Make pictures").click()
    page.locator(".made > li").first.wait_for(timeout=LONG)
    assert page.locator(".made > li").count() == 4
    assert page.get_by_role("heading", name="Why these").count() == 1
    page.locator(".made [data-keep]").first.click()
    page.locator('.made [data-keep][aria-pressed="true"]').wait_for()
    page.goto("/create")
    page.locator("#to-shoot").wait_for()


def test_the_quiz_by_keys_with_a_step_back(page: Any, shop: Path) -> None:
    page.goto("/taste")
    page.get_by_role("link", name="Start the quiz").click()
    for n in range(5):
        page.locator(f'[data-choices="{"a" * n}"] [data-choice]').first.wait_for(timeout=LONG)
        page.keyboard.press("ArrowLeft")
    page.locator('[data-choices="aaaaa"] ol.products > li').first.wait_for(timeout=LONG)
    page.locator("#making-for").wait_for()
    page.get_by_role("button", name="Take the last choice back").click()
    page.locator('[data-choices="aaaa"]').wait_for(timeout=LONG)
    assert page.url.endswith("choices=aaaa")
    page.go_back()
    page.locator('[data-choices="aaaaa"]').wait_for(timeout=LONG)


def test_the_ledger_shows_an_erasure_before_it_is_done(page: Any, shop: Path) -> None:
    row = open_catalog(shop).manifest(["photo_id", "key"]).to_pylist()[7]
    page.goto("/ledger")
    page.get_by_text("The chain holds").wait_for()
    assert "CC0-1.0" in page.locator("main").inner_text()
    page.get_by_label("Checksum, id or name").fill(row["key"])
    page.get_by_role("button", name="Show what would go").click()
    page.get_by_role("heading", name="This would go").wait_for()
    assert "Catalogue shop: 1 rows" in page.locator("main").inner_text()
    assert row["photo_id"] in open_catalog(shop).manifest(["photo_id"]).to_pydict()["photo_id"]
    page.expected.append("status of 422")
    page.get_by_label("Type it here").fill("something else")
    page.get_by_role("button", name="Erase").click()
    page.get_by_role("alert").wait_for()
    assert "so nothing was" in page.get_by_role("alert").first.inner_text()
    page.get_by_role("button", name="Show what would go").click()
    page.get_by_label("Type it here").fill(row["key"])
    page.get_by_role("button", name="Erase").click()
    page.get_by_text("It is gone").wait_for(timeout=LONG)
    assert "packshot erase --verify" in page.locator("main").inner_text()
    assert row["photo_id"] not in open_catalog(shop).manifest(["photo_id"]).to_pydict()["photo_id"]


ALL = ("/create", "/train", "/train/catalogs/shop", "/train/runs/products-64", "/taste", "/ledger")


@pytest.mark.parametrize("address", ALL)
def test_no_page_is_hard_to_use(new_page: Callable[..., Any], shop: Path, axe: str, address: str) -> None:
    for theme in ("light", "dark"):
        page = new_page(theme=theme)
        page.goto(address)
        page.evaluate(axe)
        found = page.evaluate("axe.run({resultTypes: ['violations']})")
        serious = [v for v in found["violations"] if v["impact"] in ("serious", "critical")]
        assert not serious, [(v["id"], [n["html"][:120] for n in v["nodes"][:3]]) for v in serious]


@pytest.mark.parametrize("address", ALL)
def test_a_phone_shows_it_without_scrolling_sideways(new_page: Callable[..., Any], shop: Path, address: str) -> None:
    page = new_page(width=390, height=844, language="zh")
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    text = page.locator("main").inner_text()
    assert sum("\u4e00" <= letter <= "\u9fff" for letter in text) > 40
