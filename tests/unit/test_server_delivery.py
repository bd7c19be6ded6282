"""Webhooks: signed, told of every end once it is noted, tried again, and never held up by one that hangs."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from packshot.jobs import delivery
from packshot.jobs.database import deliveries, engine, now, writing
from packshot.jobs.delivery import DELIVERY, SIGNATURE, Deliverer, check_signature, deliveries_of, webhook_secret
from packshot.jobs.settings import StudioSettings
from tests.servers import finish, jpeg, make_app, put, submit

SHOES = "shoes"


class Receiver(ThreadingHTTPServer):
    """Takes webhooks; `act` says what it answers."""

    daemon_threads = True

    def __init__(self, act: Callable[["Receiver"], int]) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((dict(self.headers), body))
                status = act(receiver)
                self.send_response(status)
                if status in (301, 302, 307, 308):
                    self.send_header("Location", f"http://127.0.0.1:{receiver.server_address[1]}/else")
                self.send_header("Content-Length", "0")
                with contextlib.suppress(OSError):
                    self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/hook"


@contextlib.contextmanager
def receiver(act: Callable[[Receiver], int] = lambda _: 200) -> Iterator[Receiver]:
    with Receiver(act) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def app(tmp_path: Path) -> Any:
    return make_app(tmp_path, fetch_private=True)


def end_a_job(app: Any, url: str | None, seed: int = 0) -> str:
    id = submit(app, SHOES, put(app, SHOES, jpeg(seed)), webhook=url, title="Autumn")
    finish(app, SHOES, id, ["done"])
    return id


def told(app: Any, id: str) -> list[tuple[str, int]]:
    return [(row["state"], row["tries"]) for row in deliveries_of(app.state.settings, SHOES, id)]


def make_due(app: Any) -> None:
    with writing(engine(app.state.settings)) as connection:
        connection.execute(sa.update(deliveries).values(next_at=now() - timedelta(seconds=1)))


def test_a_jobs_end_is_told_once_and_signed(app: Any) -> None:
    with receiver() as there:
        id = end_a_job(app, there.url)
        assert told(app, id) == [("waiting", 0)]  # It is in the database before anybody sends it.
        deliverer = Deliverer(app.state.settings)
        assert deliverer.send_due() == 1
        assert deliverer.send_due() == 0
    assert told(app, id) == [("done", 1)]
    headers, body = there.got[0]
    said = json.loads(body)
    assert said["type"] == "job.done"
    assert said["job"] == {
        **{"id": id, "state": "done", "title": "Autumn", "total": 1, "error": None, "href": f"/v1/jobs/{id}"},
        "counts": {"waiting": 0, "done": 1, "review": 0, "refused": 0, "failed": 0},
    }
    assert check_signature(webhook_secret(app.state.settings.place, SHOES), body, headers[SIGNATURE])
    assert not check_signature(webhook_secret(app.state.settings.place, "hats"), body, headers[SIGNATURE])
    assert headers[DELIVERY].startswith(id)


def test_each_end_of_a_job_is_told(app: Any) -> None:
    with receiver() as there:
        id = submit(app, SHOES, put(app, SHOES, jpeg(0)), webhook=there.url)
        app.state.studio.cancel(SHOES, id)
        app.state.studio.retry(SHOES, id)
        finish(app, SHOES, id, ["done"])
        Deliverer(app.state.settings).send_due()
    assert sorted(json.loads(body)["type"] for _, body in there.got) == ["job.cancelled", "job.done"]
    assert len({headers[DELIVERY] for headers, _ in there.got}) == 2


def test_nobody_is_told_who_did_not_ask(app: Any) -> None:
    id = end_a_job(app, None)
    assert told(app, id) == []
    assert Deliverer(app.state.settings).send_due() == 0


@pytest.mark.parametrize("status", [400, 404, 410, 429, 500, 503, 301, 302, 307])
def test_what_fails_is_tried_again_later_and_later(app: Any, status: int) -> None:
    with receiver(lambda r: status if len(r.got) < 3 else 204) as there:
        id = end_a_job(app, there.url)
        deliverer = Deliverer(app.state.settings)
        waits = []
        for tries in (1, 2):
            deliverer.send_due()
            assert told(app, id) == [("waiting", tries)]
            row = deliveries_of(app.state.settings, SHOES, id)[0]
            assert row["last_error"] == f"The receiver answered {status}."
            waits.append((row["next_at"] - now()).total_seconds())
            assert deliverer.send_due() == 0  # It is not due yet.
            make_due(app)
        deliverer.send_due()
        assert len({headers[DELIVERY] for headers, _ in there.got}) == 1
    assert 3 < waits[0] < 7
    assert 20 < waits[1] < 40
    assert told(app, id)[0][1] == 3


def test_after_two_days_it_is_given_up(app: Any) -> None:
    id = end_a_job(app, "http://127.0.0.1:1/hook")
    with writing(engine(app.state.settings)) as connection:
        connection.execute(sa.update(deliveries).values(created=now() - timedelta(days=2, seconds=1)))
    deliverer = Deliverer(app.state.settings)
    deliverer.send_due()
    assert told(app, id) == [("failed", 1)]
    make_due(app)
    assert deliverer.send_due() == 0


@pytest.mark.parametrize(("away", "sent"), [(timedelta(hours=1), 0), (timedelta(days=3), 1)])
def test_a_clock_that_was_set_back_holds_no_webhook_up(app: Any, away: timedelta, sent: int) -> None:
    with receiver() as there:
        end_a_job(app, there.url)
        with writing(engine(app.state.settings)) as connection:
            connection.execute(sa.update(deliveries).values(next_at=now() + away))
        assert Deliverer(app.state.settings).send_due() == sent


def test_one_that_hangs_holds_nobody_up(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "SECONDS", 0.5)
    done = threading.Event()

    def hang(_: Receiver) -> int:
        done.wait(10)
        return 200

    with receiver(hang) as slow, receiver() as quick:
        hanging = [end_a_job(app, slow.url, n) for n in range(3)]
        good = end_a_job(app, quick.url, 9)
        started = time.monotonic()
        Deliverer(app.state.settings).send_due()
        spent = time.monotonic() - started
        done.set()
    assert spent < 3
    assert told(app, good) == [("done", 1)]
    assert [told(app, id) for id in hanging] == [[("waiting", 1)]] * 3


def test_addresses_of_the_own_network_are_not_told(tmp_path: Path) -> None:
    app = make_app(tmp_path)
    with receiver() as there:
        id = end_a_job(app, there.url)
        Deliverer(app.state.settings).send_due()
    assert there.got == []
    assert told(app, id) == [("waiting", 1)]
    assert (
        "public internet" in deliveries_of(app.state.settings, SHOES, id)[0]["last_error"]
        or "Port" in (deliveries_of(app.state.settings, SHOES, id)[0]["last_error"])
    )


def test_two_servers_tell_it_once_and_one_that_died_is_made_up_for(app: Any) -> None:
    with receiver() as there:
        ids = [end_a_job(app, there.url, n) for n in range(5)]
        first, second = Deliverer(app.state.settings), Deliverer(app.state.settings)
        mine = first._claim()
        assert second._claim() == []  # The first has them, and has died.
        make_due(app)
        assert second.send_due() == len(mine) == 5
        assert [told(app, id) for id in ids] == [[("done", 2)]] * 5
    assert len(there.got) == 5


def test_the_thread_sends_what_comes_and_ends_with_its_block(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "PAUSE", 0.02)
    with receiver() as there, Deliverer(app.state.settings):
        id = end_a_job(app, there.url)
        for _ in range(500):
            if told(app, id) == [("done", 1)]:
                break
            time.sleep(0.01)
    assert told(app, id) == [("done", 1)]
    assert not [t for t in threading.enumerate() if t.name == "webhooks"]


def test_other_tenants_do_not_see_what_became_of_it(app: Any) -> None:
    id = end_a_job(app, "http://127.0.0.1:1/")
    assert deliveries_of(app.state.settings, "hats", id) == []


def test_the_secret_is_made_once_and_is_its_owners(tmp_path: Path) -> None:
    settings = StudioSettings(home=tmp_path / "new")
    first = webhook_secret(settings.place, SHOES)
    assert webhook_secret(settings.place, SHOES) == first
    files = list(settings.place.iterdir())
    assert [f.name for f in files] == [delivery.SECRET_FILE]
    assert files[0].stat().st_mode & 0o077 == 0
