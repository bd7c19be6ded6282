"""How the pages are: within reach of everybody (axe-core), light, of any width, in both languages, without an error."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.browser.conftest import SAMPLES

PAGES = ["/", "/jobs", "/repair", "/restyle", "/create", "/train", "/taste", "/verify", "/ledger"]
MOST = 300_000
"""Bytes of a page before its pictures."""
SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def places(studio: str, browser: Any) -> dict[str, str]:
    """Pages of a picture and of a job, too: a photo that is sent, and a small job of it."""
    context = browser.new_context(base_url=studio, locale="en-GB")
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto("/repair")
    page.locator("#file").set_input_files(SAMPLES[0])
    page.wait_for_url("**/repair?picture=*")
    picture = page.url.split("picture=")[1]
    page.goto("/")
    page.locator("#files").set_input_files(SAMPLES[0])
    page.get_by_text("Amazon, main picture").click()
    page.get_by_role("radio", name="Dark").check(force=True)
    page.get_by_label("Size").select_option("1000")
    page.get_by_role("button", name="Start with 1 photo").click()
    page.wait_for_url("**/jobs/*")
    page.locator("#progress").wait_for(state="detached", timeout=200_000)
    job = page.url.removeprefix(studio)
    page.goto(f"/restyle?picture={picture}")
    page.get_by_text("Let shoppers choose").click()
    page.get_by_role("button", name="Make the link").click()
    link = page.locator("#the-link").input_value().removeprefix(studio)
    context.close()
    return {
        "repair": f"/repair?picture={picture}",
        "restyle": f"/restyle?picture={picture}",
        "job": job,
        "review": f"{job}?state=review",
        "item": f"{job}/items/0?state=review",
        "shopper": link,
        "missing": "/nothing-here",
    }


def findings(page: Any, axe: str) -> list[str]:
    """Returns the serious findings of axe-core, each with where it was found."""
    page.evaluate(axe)
    found = page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{page.url} {one['id']}: {one['help']}: {[node['html'][:120] for node in one['nodes'][:3]]}"
        for one in found["violations"]
        if one["impact"] in SERIOUS
    ]


@pytest.mark.parametrize(("language", "theme", "width"), [("en", "light", 1360), ("zh", "dark", 390)])
def test_nobody_is_shut_out(
    new_page: Callable[..., Any], places: dict[str, str], axe: str, language: str, theme: str, width: int
) -> None:
    page = new_page(language, theme, width)
    page.expected += ["404"]
    wrong = []
    for path in [*PAGES, *places.values()]:
        page.goto(path)
        page.wait_for_timeout(150)
        wrong += findings(page, axe)
    assert wrong == [], "\n".join(wrong)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_phone_shows_every_page_without_scrolling_sideways(
    new_page: Callable[..., Any], places: dict[str, str], language: str
) -> None:
    page = new_page(language, width=390, height=844)
    page.expected += ["404"]
    for path in [*PAGES, *places.values()]:
        page.goto(path)
        wide = page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{path} is {wide} pixels too wide"


def test_pages_are_light(new_page: Callable[..., Any], places: dict[str, str]) -> None:
    """Everything but pictures, as it is before any compression."""
    for path in [*PAGES, *places.values()]:
        page = new_page()
        page.expected += ["404"]
        sizes: dict[str, int] = {}

        def note(answer: Any, sizes: dict[str, int] = sizes) -> None:
            kind = answer.headers.get("content-type", "")
            if not kind.startswith("image/") or "svg" in kind:
                sizes[answer.url] = len(answer.body())

        page.on("response", note)
        page.goto(path, wait_until="load")
        page.wait_for_timeout(200)
        assert any(url.endswith(path.split("?")[-1]) or path.split("?")[0] in url for url in sizes)
        assert sum(sizes.values()) <= MOST, {url: size for url, size in sizes.items() if size > 20_000}
        page.context.close()


def test_the_keyboard_reaches_everything_in_order(page: Any) -> None:
    page.goto("/")
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.id") == "main"
    seen = []
    for _ in range(25):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("() => document.activeElement.id || document.activeElement.name"))
    order = ["files", "folder", "try", "channel", "background", "shadow", "size"]
    assert [name for name in seen if name in order][: len(order)] == order


def test_theme_and_language_are_remembered(page: Any) -> None:
    page.goto("/jobs")
    page.locator(".side [data-theme-to=dark]").click()
    colour = "() => getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(colour)
    assert sum(map(int, dark.removeprefix("rgb(").removesuffix(")").split(","))) < 120
    page.goto("/")
    assert page.evaluate(colour) == dark
    page.locator(".side").get_by_role("link", name="中文").click()
    assert page.get_by_role("heading", level=1).inner_text() == "出图"
    page.goto("/verify")
    assert page.get_by_role("heading", level=1).inner_text() == "核验"
    assert page.locator("html").get_attribute("lang") == "zh-CN"


def test_a_page_works_without_scripts(browser: Any, studio: str, tmp_path: Path) -> None:
    strange = tmp_path / "strange.png"  # No picture of the other tests, which the register may know.
    Image.effect_noise((240, 180), 70).convert("RGB").save(strange)
    context = browser.new_context(base_url=studio, java_script_enabled=False, locale="en-GB")
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto("/")
    page.locator("#files").set_input_files(SAMPLES[0])
    page.locator("#start").click()
    page.wait_for_url("**/jobs/*")
    assert page.locator("#results > li").count() == 1
    page.get_by_role("button", name="Stop").click()
    page.goto("/verify")
    page.locator("#file").set_input_files(strange)
    page.get_by_role("main").get_by_role("button", name="Verify").click()
    page.get_by_role("heading", name="It says nothing of itself").wait_for()
    context.close()
