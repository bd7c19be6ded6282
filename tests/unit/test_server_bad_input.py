"""What goes wrong outside: bombs in every wrapping, a database that is lost and comes back, a clock that jumps.

The rest of the list is elsewhere: half an upload and ten gigabytes over a real port (tests/integration/
test_server_network.py), wrong content types, unknown jobs, a thousand jobs and a full disk (test_server_api.py), a
webhook that hangs (test_server_delivery.py).
"""

import gzip
import io
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fastapi import FastAPI

from packshot.jobs.desk import Desk
from packshot.jobs.records import SHOP
from tests.servers import BALANCE, HERE, TestClient, finish, jpeg, key_for, make_app, put, request_part, running, submit

PAGE = {"Accept": "text/html"}


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *between: bytes) -> bytes:
    """A PNG of black pixels, 1 bit each, with chunks of its own before its pixels; packed it is a thousandth."""
    packer = zlib.compressobj(9)
    row = b"\0" * (1 + (width + 7) // 8)
    rows = b"".join(packer.compress(row * 500) for _ in range(height // 500)) + packer.compress(row * (height % 500))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + header + b"".join(between) + chunk(b"IDAT", rows + packer.flush()) + chunk(b"IEND", b"")
    )


def text_bomb(size: int) -> bytes:
    """A small PNG with a text that is much longer unpacked."""
    return png(64, 64, chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * size, 9)))


def profile_bomb(size: int) -> bytes:
    """A small PNG whose colour profile is much longer unpacked."""
    return png(64, 64, chunk(b"iCCP", b"icc\0\0" + zlib.compress(b"\0" * size, 9)))


def zipped(size: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jpg", b"\0" * size)
    return out.getvalue()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    """A studio whose desk has real processes: they, and not the server, open what comes."""
    app = make_app(tmp_path_factory.mktemp("studio"))
    app.state.desk.close()
    app.state.desk = Desk(app.state.settings, 1)
    yield app
    app.state.desk.close()


@pytest.fixture(scope="module")
def client(app: FastAPI) -> Iterator[TestClient]:
    with running(app) as client:
        yield client


BOMBS: dict[str, Callable[[], bytes]] = {
    "900 megapixels": lambda: png(30_000, 30_000),
    "pixels that are announced alone": lambda: png(30_000, 500)[:60],
    "a zip": lambda: zipped(80_000_000),
    "a zip in gzip": lambda: gzip.compress(zipped(10_000_000)),
    "a text": lambda: text_bomb(80_000_000),
    "a profile": lambda: profile_bomb(80_000_000),
}
GOOD = ("a text", "a profile")
"""Whose pixels are fine: what is wrong beside them is left out, or the picture is refused; both are right."""


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_words_and_harms_nobody(client: TestClient, name: str) -> None:
    data, began = BOMBS[name](), time.monotonic()
    assert len(data) < 600_000
    form = {"file": ("a.png", data)}
    answers = [
        client.post("/v1/pictures", files=form),
        client.post("/v1/pictures", content=data, headers={"Content-Type": "image/png"}),
        client.post("/v1/edit", files=form, data=request_part(operations=[BALANCE])),
        client.post("/v1/jobs", files=form, data=request_part(operations=[BALANCE])),
    ]
    for answer in answers:
        if name in GOOD and answer.status_code < 300:
            continue
        assert answer.status_code == 422, answer.text
        assert answer.json()["code"] in ("cannot-be-done", "bad-pictures")
        assert len(answer.json()["detail"]) < 300
    verdict = client.post("/v1/verify", files=form)
    assert verdict.status_code in (200, 422), verdict.text
    assert time.monotonic() - began < 20
    assert client.post("/v1/pictures", files={"file": ("a.jpg", jpeg(1))}).status_code == 201


def test_a_mask_that_is_a_bomb(client: TestClient) -> None:
    step = {"task": "repair", "mask": "part:mask", "method": "patch"}
    form = {"file": ("a.jpg", jpeg(2)), "mask": ("mask.png", BOMBS["900 megapixels"]())}
    answer = client.post("/v1/edit", files=form, data=request_part(operations=[step]))
    assert (answer.status_code, answer.json()["code"]) == (422, "cannot-be-done")


def test_a_body_that_is_packed_is_no_json(client: TestClient) -> None:
    body = gzip.compress(b"[" + b" " * 20_000_000 + b"]")
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = client.post("/v1/jobs", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "no-json")


def test_a_feed_that_grows(client: TestClient) -> None:
    entities = "".join(f'<!ENTITY a{n + 1} "{f"&a{n};" * 10}">' for n in range(9))
    laughs = f'<!DOCTYPE rss [<!ENTITY a0 "ha">{entities}]><rss><channel><item><id>&a9;</id></item></channel></rss>'
    for text in (laughs, '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><rss><id>&x;</id></rss>'):
        answer = client.post("/v1/jobs", json={"operations": [BALANCE], "feed": {"text": text}})
        assert (answer.status_code, answer.json()["code"]) == (422, "no-feed")
        assert "root:" not in answer.text


def test_content_that_is_not_what_it_says(client: TestClient) -> None:
    """The type is told from the content; a wrong one neither opens a door nor keeps a photo out."""
    photo = jpeg(3)
    for kind in ("image/svg+xml", "image/x-icon", "application/octet-stream"):
        sent = client.post("/v1/pictures", content=photo, headers={"Content-Type": kind})
        assert (sent.status_code, sent.json()["pictures"][0]["mime"]) == (201, "image/jpeg")
    named = client.post("/v1/pictures", files={"file": ("x.html", photo, "text/html")}).json()["pictures"][0]
    shown = client.get(named["href"])
    assert (shown.headers["content-type"], shown.headers["x-content-type-options"]) == ("image/jpeg", "nosniff")
    for body, kind in (
        (b'{"operations": []}', "text/json"),
        (b"a=1", "application/x-www-form-urlencoded"),
        (photo, "video/mp4"),
        (b"<a/>", "application/xml"),
        (photo, "multipart/mixed; boundary=x"),
    ):
        for address in ("/v1/pictures", "/v1/jobs", "/v1/edit", "/v1/verify", "/v1/create"):
            answer = client.post(address, content=body, headers={"Content-Type": kind})
            assert (answer.status_code, answer.json()["code"]) == (415, "wrong-content-type"), (address, kind)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_database_that_is_lost_is_said_and_comes_back(tmp_path: Path, language: str) -> None:
    app = make_app(tmp_path / "studio")
    client = TestClient(app, base_url=HERE, raise_server_exceptions=False)  # No other thread asks the database.
    id, path = submit(app, SHOP, put(app, SHOP, jpeg(1))), tmp_path / "studio" / "studio.sqlite"
    app.state.studio.engine.dispose()  # Connections end, as those to a server that goes away.
    kept = path.read_bytes()
    path.write_bytes(b"This is no database." * 500)
    for answer in (
        client.get("/v1/jobs"),
        client.get(f"/v1/jobs/{id}"),
        client.post("/v1/jobs", json={"operations": [BALANCE], "pictures": ["0" * 64]}),
        client.post("/v1/pictures", files={"file": ("a.jpg", jpeg(2))}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (503, "database"), answer.text
        assert int(answer.headers["retry-after"]) > 0
        assert str(tmp_path) not in answer.text
    page = client.get(f"/jobs?lang={language}", headers=PAGE)
    assert page.status_code == 503
    assert "<html" in page.text and str(tmp_path) not in page.text
    assert ("database cannot be reached" in page.text) == (language == "en")
    assert client.get("/health").status_code == 200
    assert client.get("/ready").status_code == 503
    app.state.studio.engine.dispose()
    path.write_bytes(kept)
    assert client.get(f"/v1/jobs/{id}").json()["state"] == "queued"
    assert client.post("/v1/pictures", files={"file": ("a.jpg", jpeg(2))}).status_code == 201
    assert client.get("/ready").status_code == 200


def set_clock(patch: pytest.MonkeyPatch, by: timedelta) -> None:
    """Has the clock be wrong by so much, wherever the studio looks at it."""
    real, at = time.time, datetime.now(UTC) + by
    patch.setattr(time, "time", lambda: real() + by.total_seconds())
    for name, module in list(sys.modules.items()):
        if name.startswith("packshot.jobs.") and getattr(module, "now", None) is not None:
            patch.setattr(module, "now", lambda: at)


@pytest.mark.parametrize("by", [timedelta(days=-400), timedelta(days=400)])
def test_a_clock_that_jumps(tmp_path: Path, by: timedelta) -> None:
    app = make_app(tmp_path)
    with running(app) as client:
        first = submit(app, SHOP, put(app, SHOP, jpeg(1)), put(app, SHOP, jpeg(2)))
        with pytest.MonkeyPatch.context() as patch:
            set_clock(patch, by)
            second = submit(app, SHOP, put(app, SHOP, jpeg(3)))
            finish(app, SHOP, first, ["done", "review"])
            told = client.get(f"/v1/jobs/{first}").json()
            assert (told["state"], told["finished"]) == ("done", 2)
            assert told["rate"] is None or told["rate"] >= 0
            for address in (f"/jobs/{first}", "/jobs", f"/jobs/{second}", "/"):
                page = client.get(address, headers=PAGE)
                assert page.status_code == 200, address
                assert ">-" not in page.text  # No time that is less than none.
        assert {job["id"] for job in client.get("/v1/jobs").json()["jobs"]} == {first, second}
        finish(app, SHOP, second, ["done"])
        assert client.get(f"/v1/jobs/{second}/results.zip").status_code == 200
        paged = client.get("/v1/jobs?limit=1").json()
        assert len(paged["jobs"]) == 1 and client.get(paged["next"]).json()["jobs"]


def test_a_login_outlives_no_clock(tmp_path: Path) -> None:
    app = make_app(tmp_path, keys="on")
    secret = key_for(app, "shoes", "read")["Authorization"].removeprefix("Bearer ")
    with running(app, follow_redirects=False) as client:
        client.post("/login", data={"key": secret, "next": "/jobs"})
        assert client.get("/jobs", headers=PAGE).status_code == 200
        with pytest.MonkeyPatch.context() as patch:
            set_clock(patch, timedelta(days=2))
            late = client.get("/jobs", headers=PAGE)
            assert (late.status_code, late.headers["location"]) == (303, "/login?next=/jobs")
        assert client.get("/jobs", headers=PAGE).status_code == 200


def test_no_unknown_parameter_is_passed_over(client: TestClient) -> None:
    answer = client.get("/v1/jobs?limt=5")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert "Did you mean 'limit'" in answer.json()["detail"]
    assert client.get("/v1/jobs?limit=5").status_code == 200
