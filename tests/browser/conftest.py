"""A real studio (`packshot serve` with its worker) and a real browser, once for all tests of this folder."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from packshot.server.pages.frame import STATIC

CHROMIUM = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
AXE = "axe-core@4.14.1"
SAMPLES = [STATIC / "samples" / f"{name}.jpg" for name in ("hat", "hoodie", "polo")]
"""Real photos that come with the pages."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the studio."""
    return tmp_path_factory.mktemp("studio")


@pytest.fixture(scope="session")
def studio(home: Path, browser: Any) -> Iterator[str]:
    """The address of a studio with one worker; the processes end with the tests."""
    environment = os.environ | {"PACKSHOT_HOME": str(home / "user"), "OMP_NUM_THREADS": "1"}
    options = ["--port", "0", "--set", f"home={home / 'studio'}", "--set", "workers=1"]
    log = (home / "serve.log").open("w+")
    process = subprocess.Popen(
        [sys.executable, "-m", "packshot", "serve", *options],
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    )
    try:
        yield _address(process, home / "serve.log")
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.close()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = re.search(r"http://127\.0\.0\.1:\d+", log.read_text())
        if found and _answers(found[0]):
            return found[0]
        assert process.poll() is None, log.read_text()[-2000:]
        time.sleep(0.2)
    raise AssertionError(f"the studio did not start: {log.read_text()[-2000:]}")


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium, or a skip with the reason."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (the extra dev)")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium fonts-noto-cjk")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def new_page(browser: Any, studio: str) -> Iterator[Callable[..., Any]]:
    """Returns what opens a page; afterwards, that no script failed and the CSP refused nothing.

    `page.expected` is a list of messages of the console that a test expects, for example of an answer 422.
    """
    pages = []

    def make(language: str = "en", theme: str = "light", width: int = 1360, height: int = 900, **options: Any) -> Any:
        context = browser.new_context(
            base_url=studio,
            locale={"en": "en-GB", "zh": "zh-CN"}[language],
            color_scheme=theme,
            viewport={"width": width, "height": height},
            accept_downloads=True,
            **options,
        )
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.said, page.expected = [], []
        page.on("console", lambda m: page.said.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: page.said.append(f"script: {e}"))
        pages.append(page)
        return page

    yield make
    said = [text for page in pages for text in page.said if not any(part in text for part in page.expected)]
    for page in pages:
        page.context.close()
    assert said == []


@pytest.fixture
def page(new_page: Callable[..., Any]) -> Any:
    """A page in English, light, on a desk."""
    return new_page()


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The text of axe-core, from npm; a skip where it cannot be had."""
    folder = tmp_path_factory.mktemp("axe")
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm on this machine, so axe-core cannot be had")
    got = subprocess.run([npm, "pack", AXE, "--silent"], cwd=folder, capture_output=True, timeout=120, check=False)
    archives = list(folder.glob("axe-core-*.tgz"))
    if got.returncode or not archives:
        pytest.skip(f"axe-core cannot be had: {got.stderr.decode()[-200:]}")
    with tarfile.open(archives[0]) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()
