"""Taste is made ready once, in the background: pages answer at once, and wait for the same work, which is kept."""

import io
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from packshot.core.errors import PackshotError
from packshot.core.workers import WorkerFault
from packshot.jobs.desk import Desk
from packshot.jobs.desk_ready import make_ready
from packshot.jobs.desk_taste import show_shopper, show_shoppers
from packshot.jobs.taste_records import ShopperView
from packshot.server.logs import set_up
from packshot.server.pages import taste as pages
from packshot.server.pages.working import works_of
from packshot.tasks.events import EventsRequest, ingest
from packshot.taste.ingest import IngestSettings
from tests.servers import TestClient, make_app, running
from tests.shoppers import fast_default, write_shop

HTML = {"Accept": "text/html"}


class SlowDesk(Desk):
    """A desk that makes ready only when it is let, and notes what it is asked."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.asked: list[Callable[..., Any]] = []
        self.let, self.fails = threading.Event(), False

    def ask(self, work: Callable[..., Any], *args: Any, seconds: float | None = None, quick: bool = False) -> Any:
        self.asked.append(work)
        if work is make_ready:
            assert self.let.wait(30)
            if self.fails:
                raise PackshotError("Nobody was positive about anything.")
            return 40
        if work is show_shopper:
            return ShopperView(
                name=args[2], history=(), ranked=(), drivers=(), model="hybrid", products=40, notes=(), may_make=False
            )
        if work is show_shoppers:
            raise PackshotError("Not here.")
        return work(*args)


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FastAPI]:
    app = make_app(tmp_path)
    app.state.desk = SlowDesk(app.state.settings)
    (tmp_path / "catalogs" / "shop").mkdir(parents=True)
    store = tmp_path / "events" / "autumn"
    store.mkdir(parents=True)
    (store / "store.json").write_text("{}")
    shelf = pages.CatalogFolder(name="shop", path=tmp_path / "catalogs" / "shop", summary={"photos": 1147})
    monkeypatch.setattr(pages, "list_stores", lambda *_: {"autumn": store})
    monkeypatch.setattr(pages, "list_catalogs", lambda *_: [shelf])
    monkeypatch.setattr(pages, "catalog_of_store", lambda *_: shelf)
    yield app
    app.state.desk.let.set()


def working(client: TestClient, address: str) -> str:
    """Asks for a page; returns where its work is followed."""
    began = time.monotonic()
    page = client.get(address, headers=HTML)
    assert page.status_code == 200 and time.monotonic() - began < 2
    assert "Getting to know the products" in page.text and "<progress" in page.text
    found = re.search(r'data-working="(/taste/work/[^"]+)"', page.text)
    assert found is not None
    return found[1]


def ended(client: TestClient, address: str) -> str:
    deadline = time.monotonic() + 20
    while "data-working" in (text := client.get(address, headers=HTML).text):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return text


def test_many_pages_wait_for_one_work(app: FastAPI) -> None:
    desk: SlowDesk = app.state.desk
    with running(app) as client:
        overview = working(client, "/taste")
        shoppers = [working(client, f"/taste/shoppers/{'a' * 12}{n}") for n in range(3)]
        again = working(client, "/taste")
        assert again == overview
        assert desk.asked.count(make_ready) == 1 and show_shopper not in desk.asked
        part = client.get(shoppers[0], headers=HTML).text
        assert re.search(
            r"\d s of about \d\d s", part
        )  # How long is said: a thousand photos are no matter of a moment.
        desk.let.set()
        for address in shoppers:
            assert "Ranked for them" in ended(client, address)
        assert "The products are known" in ended(client, overview)
        page = client.get("/taste", headers=HTML).text
        assert "Getting to know the products" not in page
        later = client.get(f"/taste/shoppers/{'b' * 12}", headers=HTML).text
        assert "Looking at the products and the histories" in later
        assert desk.asked.count(make_ready) == 1


def test_new_events_are_made_ready_anew(app: FastAPI, tmp_path: Path) -> None:
    desk: SlowDesk = app.state.desk
    with running(app) as client:
        for events in ("{}", '{"more": 1}'):
            (tmp_path / "events" / "autumn" / "store.json").write_text(events)
            desk.let.clear()
            address = working(client, "/taste")
            desk.let.set()
            ended(client, address)
    assert desk.asked.count(make_ready) == 2


def test_what_cannot_be_made_ready_is_said_by_who_asks(app: FastAPI) -> None:
    desk: SlowDesk = app.state.desk
    desk.fails = True
    with running(app) as client:
        overview, shopper = working(client, "/taste"), working(client, f"/taste/shoppers/{'a' * 12}")
        desk.let.set()
        assert "Nobody was positive about anything." in ended(client, overview)
        assert "Ranked for them" in ended(client, shopper)  # It is asked all the same, and says its own reason.
        assert client.get("/taste", headers=HTML).status_code == 200


def test_it_is_kept_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKSHOT_HOME", str(tmp_path / "home"))
    catalog = write_shop(tmp_path / "shop", products=12).path
    events, store = tmp_path / "events.csv", tmp_path / "store"
    rows = [f"u{n},sku-{(n + k) % 10:02d},view,2024-05-0{1 + k}" for n in range(12) for k in range(4)]
    events.write_text("\n".join(["user,product,kind,time", *rows]))
    ingest(EventsRequest(events=(events,), catalog=catalog, out=store, settings=IngestSettings(consent="rank")))

    def files() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}

    with fast_default():
        count, before = make_ready(store, catalog), files()
        assert count == 12
        assert any(path.name == "index.json" for path in before)
        assert make_ready(store, catalog) == count
    assert files() == before


def test_a_fault_is_in_the_log_as_the_page_says(app: FastAPI) -> None:
    lines = io.StringIO()
    set_up(lines, libraries=False)

    def fail() -> None:
        raise WorkerFault("KeyError: 'inside'")

    work = works_of(app.state).start("shop", "marks", 1.0, fail)
    assert work.over.wait(10)
    assert work.error is not None and "the log of the server tells what" in work.error and "inside" not in work.error
    assert '"work failed"' in lines.getvalue() and "inside" in lines.getvalue()
