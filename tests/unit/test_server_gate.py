"""The gate: who may come in, from which page, with how much, how often; and that logs and answers keep secrets."""

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from packshot.core.errors import UsageError
from packshot.jobs.settings import StudioSettings
from packshot.server import limits as limits_module
from packshot.server.callers import COOKIE, caller_with
from packshot.server.gate import HEADERS, is_public
from packshot.server.limits import body_bound
from packshot.server.logs import log, set_up, without_secrets
from packshot.server.problems import Problem, problem_of
from tests.servers import BALANCE, HERE, TestClient, jpeg, key_for, make_app, request_part, running

STEPS = request_part(operations=[BALANCE])


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    """A studio that needs keys, and that one other site may ask."""
    return make_app(tmp_path_factory.mktemp("studio"), keys="on", origins=("https://shop.example",))


@pytest.fixture(scope="module")
def client(app: FastAPI) -> Iterator[TestClient]:
    with running(app, follow_redirects=False) as client:
        yield client


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A studio without keys, on its own machine."""
    with running(make_app(tmp_path_factory.mktemp("alone")), follow_redirects=False) as client:
        yield client


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_without_a_good_key_nothing_is_given(app: FastAPI, client: TestClient) -> None:
    good = key_for(app, "shoes")["Authorization"]
    for headers in (
        {},
        {"Authorization": good[:-1]},
        {"Authorization": good.replace("Bearer ", "")},
        {"Authorization": f"Basic {good.removeprefix('Bearer ')}"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer pk_"},
        {"Cookie": f"{COOKIE}=x"},
        {"Cookie": f"{COOKIE}={app.state.signer.sign('style', 'x', 60)}"},
    ):
        answer = client.get("/v1/jobs", headers=headers)
        assert code(answer) == (401, "key-needed")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert client.get("/v1/jobs", headers={"Authorization": good}).status_code == 200
    assert client.get("/v1/jobs", headers={"Authorization": good.replace("Bearer", "bearer")}).status_code == 200


def test_a_strangers_body_is_not_read(client: TestClient) -> None:
    read = []

    def body() -> Iterator[bytes]:
        for _ in range(1000):
            read.append(1)
            yield b"x" * 1000

    assert code(client.post("/v1/pictures", content=body(), headers={"Content-Type": "image/png"}))[0] == 401


def test_scopes(app: FastAPI, client: TestClient) -> None:
    read, edit, admin = (key_for(app, "shoes", *s) for s in (["read"], ["edit"], ["admin"]))
    photo = {"file": ("a.jpg", jpeg())}
    assert client.get("/v1/jobs", headers=read).status_code == 200
    for answer in (
        client.post("/v1/edit", files=photo, data=STEPS, headers=read),
        client.post("/v1/pictures", files=photo, headers=read),
        client.post("/v1/create", json={"run": "products-64"}, headers=edit),
        client.get("/metrics", headers=edit),
        client.get("/v1/jobs", headers=edit),
    ):
        assert code(answer) == (403, "scope-missing")
    assert client.post("/v1/pictures", files=photo, headers=edit).status_code == 201
    assert client.get("/metrics", headers=admin).status_code == 200
    with pytest.raises(ValueError, match="no scope 'reed'"):
        caller_with("reed")


def test_a_revoked_key_is_good_no_more(app: FastAPI, client: TestClient) -> None:
    headers = key_for(app, "shoes")
    assert client.get("/v1/jobs", headers=headers).status_code == 200
    app.state.keys.revoke(headers["Authorization"].split("_")[1])
    assert client.get("/v1/jobs", headers=headers).status_code == 401


def test_a_key_has_its_rate(app: FastAPI, client: TestClient) -> None:
    headers = key_for(app, "shoes", rate=2)
    answers = [client.get("/v1/jobs", headers=headers) for _ in range(3)]
    assert [a.status_code for a in answers] == [200, 200, 429]
    assert code(answers[2])[1] == "too-many-requests"
    assert 1 <= int(answers[2].headers["retry-after"]) <= 31
    assert client.get("/v1/jobs", headers=key_for(app, "shoes")).status_code == 200


def test_strangers_have_a_rate_where_they_make_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packshot.server.gate.PUBLIC_RATE", 2)
    with running(make_app(tmp_path, keys="on")) as client:
        answers = [client.post("/v1/verify", content=b"x", headers={"Content-Type": "image/png"}) for _ in range(3)]
        assert [a.status_code for a in answers] == [200, 200, 429]
        assert client.get("/health").status_code == 200


def test_browsers_log_in_and_out(app: FastAPI) -> None:
    made = app.state.keys.add("till", tenant="shoes", scopes=("read",))
    page = {"Accept": "text/html"}
    with running(app, follow_redirects=False) as client:
        away = client.get("/jobs?state=done", headers=page)
        assert (away.status_code, away.headers["location"]) == (303, "/login?next=/jobs%3Fstate%3Ddone")
        assert "key" in client.get("/login", headers=page).text
        wrong = client.post("/login", data={"key": "pk_wrong", "next": "/jobs"})
        assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)
        inside = client.post("/login", data={"key": f" {made.secret}\n", "next": "/jobs"})
        assert (inside.status_code, inside.headers["location"]) == (303, "/jobs")
        cookie = inside.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert made.secret.lower() not in cookie
        assert client.get("/v1/jobs").status_code == 200
        assert client.get("/login").status_code == 303
        app.state.keys.revoke(made.key.id)
        assert client.get("/v1/jobs").status_code == 401
        gone = client.post("/logout")
        assert gone.headers["location"] == "/login"
        assert client.cookies.get(COOKIE) is None


@pytest.mark.parametrize("next", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x", "/a\nb"])
def test_after_login_one_stays_here(app: FastAPI, client: TestClient, next: str) -> None:
    made = app.state.keys.add("till", tenant="shoes")
    answer = client.post("/login", data={"key": made.secret, "next": next})
    client.cookies.clear()
    assert answer.headers["location"] == "/"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil", "", "["]
)
def test_without_keys_only_names_of_the_machine_itself_are_answered(alone: TestClient, host: str) -> None:
    assert code(alone.get("/v1/jobs", headers={"Host": host})) == (421, "wrong-host")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8000", "localhost", "LOCALHOST:1", "[::1]", "[::1]:8000"])
def test_names_of_the_machine_itself(alone: TestClient, host: str) -> None:
    assert alone.get("/v1/jobs", headers={"Host": host}).status_code == 200


def test_its_public_name_is_its_own(tmp_path: Path) -> None:
    with running(make_app(tmp_path, public_url="https://studio.example")) as client:
        answer = client.get("/v1/jobs", headers={"Host": "studio.example"})
        assert answer.status_code == 200
        assert answer.headers["strict-transport-security"]
        sent = client.post("/v1/verify", headers={"Host": "127.0.0.1", "Origin": "https://studio.example"})
        assert sent.status_code == 415


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "https://shop.example.evil"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_another_sites_page_cannot_send_in_a_visitors_name(
    app: FastAPI, alone: TestClient, headers: dict[str, str]
) -> None:
    for path in ("/v1/jobs", "/v1/pictures", "/v1/jobs/x/cancel", "/login", "/v1/verify"):
        assert code(alone.post(path, headers=headers)) == (403, "other-site")
    assert code(alone.delete(f"/v1/pictures/{'0' * 64}", headers=headers)) == (403, "other-site")
    with running(app) as client:
        client.cookies.set(COOKIE, app.state.signer.sign("login", "x", 60))
        assert code(client.post("/v1/pictures", headers=headers)) == (403, "other-site")


def test_its_own_pages_and_programs_may_send(alone: TestClient) -> None:
    for headers in ({}, {"Origin": HERE}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}):
        assert alone.post("/v1/verify", headers=headers).status_code == 415


def test_other_sites_may_ask_only_if_the_settings_say_so(app: FastAPI, client: TestClient) -> None:
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    good = client.options("/v1/edit", headers={"Origin": "https://shop.example", **asks})
    assert good.status_code == 204
    assert good.headers["access-control-allow-origin"] == "https://shop.example"
    assert "access-control-allow-credentials" not in good.headers
    bad = client.options("/v1/edit", headers={"Origin": "https://evil.example", **asks})
    assert bad.status_code == 403
    assert not [h for h in bad.headers if h.startswith("access-control")]
    key = key_for(app, "shoes")
    answer = client.get("/v1/jobs", headers={"Origin": "https://shop.example", **key})
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    assert "Origin" in answer.headers["vary"]
    answer = client.get("/v1/jobs", headers={"Origin": "https://evil.example", **key})
    assert not [h for h in answer.headers if h.startswith("access-control")]


def test_every_answer_has_its_headers(client: TestClient) -> None:
    for answer in (client.get("/health"), client.get("/v1/jobs"), client.get("/nothing"), client.put("/v1/edit")):
        for name in HEADERS:
            assert name in answer.headers
        assert answer.headers["content-security-policy"].startswith("default-src 'self'; img-src 'self' data: blob:")
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-request-id"]
    framed = client.get("/s/token")
    assert "frame-ancestors *" in framed.headers["content-security-policy"]
    assert "x-frame-options" not in framed.headers


def test_request_ids(client: TestClient) -> None:
    assert client.get("/health", headers={"X-Request-ID": "order-7.a"}).headers["x-request-id"] == "order-7.a"
    for bad in ("a b", "x" * 65, "ü".encode(), '"}'):
        answer = client.get("/health", headers={"X-Request-ID": bad})  # type: ignore[dict-item]
        assert len(answer.headers["x-request-id"]) == 16
    assert client.get("/health").headers["x-request-id"] != client.get("/health").headers["x-request-id"]


def test_addresses_that_are_none(alone: TestClient) -> None:
    assert code(alone.get("/v1/nothing")) == (404, "not-found")
    assert code(alone.get("/%00")) == (404, "not-found")
    assert code(alone.delete("/v1/edit")) == (405, "method-not-allowed")
    assert alone.get("/docs").status_code == alone.get("/redoc").status_code == 404


def test_what_is_open_to_strangers() -> None:
    assert is_public("/health")
    assert is_public("/static/css/app.css")
    assert is_public("/s/abc")
    for path in ("/", "/v1/jobs", "/healthx", "/metrics", "/v1/verify/x", "/static", "/s"):
        assert not is_public(path), path


def test_a_body_is_counted_whatever_its_headers_say(tmp_path: Path) -> None:
    app = make_app(tmp_path, limits=StudioSettings().limits.__class__(bytes=100_000))
    sent = []

    def endless() -> Iterator[bytes]:
        for _ in range(100_000):
            sent.append(1)
            yield b"x" * 10_000

    with running(app) as client:
        png = {"Content-Type": "image/png"}
        for answer in (
            client.post("/v1/pictures", content=b"x" * 100_001, headers=png),
            client.post("/v1/pictures", content=b"", headers={**png, "Content-Length": "10000000000"}),
            client.post("/v1/edit", files={"file": b"x" * 100_001}, data=STEPS),
            client.post("/v1/edit", content=b" " * 6_000_000, headers={"Content-Type": "application/json"}),
            client.post("/v1/edit", files={"file": b"x", "other": b"x" * 3_000_000}, data=STEPS),
            client.post("/v1/verify", files={"file": b"x" * 3_000_000}),
        ):
            assert code(answer) == (413, "too-large"), answer.request.url
        assert client.post("/v1/pictures", files={"file": jpeg()}).status_code == 201


def test_bounds_are_those_of_the_content() -> None:
    limits = StudioSettings().limits
    assert body_bound("/v1/jobs", "multipart/form-data; boundary=x", limits) == limits_module.UPLOAD_BYTES
    assert body_bound("/v1/edit", "multipart/form-data; boundary=x", limits) < limits_module.UPLOAD_BYTES
    assert body_bound("/v1/verify", "image/png", limits) < 2 * limits.bytes
    assert body_bound("/login", "", limits) < 2 * limits.bytes


def test_a_form_that_is_cut_short_or_has_too_many_parts(alone: TestClient) -> None:
    head = {"Content-Type": "multipart/form-data; boundary=x"}
    cut = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n' + jpeg()[:300]
    assert code(alone.post("/v1/pictures", content=cut, headers=head)) == (400, "cut-short")
    whole = b'--x\r\nContent-Disposition: form-data; name="file"; filename="b.jpg"\r\n\r\n' + jpeg() + b"\r\n"
    assert code(alone.post("/v1/pictures", content=whole + cut, headers=head)) == (400, "cut-short")
    assert code(alone.post("/v1/pictures", content=b"", headers=head)) == (400, "cut-short")
    assert alone.get("/v1/pictures").json()["pictures"] == []
    many = (
        b"".join(b'--x\r\nContent-Disposition: form-data; name="n%d"\r\n\r\n1\r\n' % n for n in range(60))
        + b"--x--\r\n"
    )
    assert code(alone.post("/v1/pictures", content=many, headers=head)) == (400, "bad-request")
    large = b'--x\r\nContent-Disposition: form-data; name="request"\r\n\r\n' + b" " * 2_000_000 + b"\r\n--x--\r\n"
    assert code(alone.post("/v1/edit", content=large, headers=head)) == (400, "bad-request")


def test_a_body_that_comes_too_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    import anyio

    monkeypatch.setattr(limits_module, "IDLE_SECONDS", 0.1)

    async def never() -> Any:
        await anyio.sleep(60)

    async def dripping() -> Any:
        await anyio.sleep(0.04)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def read(receive: Any) -> None:
        counted = limits_module.BoundedBody({"headers": [(b"content-length", b"900")]}, receive, 1000)
        while True:
            await counted()

    for receive in (never, dripping):
        started = time.monotonic()
        with pytest.raises(Problem) as slow:
            anyio.run(read, receive)
        assert (slow.value.status_code, time.monotonic() - started < 2) == (408, True)


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    out = io.StringIO()
    set_up(out, libraries=False)
    yield out
    set_up(io.StringIO(), libraries=False)


def test_logs_have_the_ids_and_no_secret(app: FastAPI, lines: io.StringIO) -> None:
    headers = key_for(app, "shoes")
    secret = headers["Authorization"].removeprefix("Bearer ")
    with running(app) as client:
        client.get(f"/v1/jobs/abc123?key={secret}&token=verysecret", headers={**headers, "X-Request-ID": "r-1"})
        client.get(f"/s/{app.state.signer.sign('style', 'p', 60)}")
        client.get(f"/{secret}", headers=headers)
        client.post("/login", data={"key": secret})
        body = {"url": "https://user:verysecret@x.example/a.jpg?signature=verysecret"}
        client.post("/v1/pictures", json=body, headers=headers)
    text = lines.getvalue()
    first = json.loads(text.splitlines()[0])
    assert (first["request"], first["job"], first["tenant"], first["status"]) == ("r-1", "abc123", "shoes", 422)
    assert first["path"] == "/v1/jobs/abc123"
    assert "ms" in first
    assert secret.split("_", 2)[2] not in text
    assert "verysecret" not in text
    assert '"/s/***"' in text
    assert all(json.loads(line)["timestamp"] for line in text.splitlines())


def test_an_error_in_the_log_has_no_secret_and_the_answer_no_inside(app: FastAPI, lines: io.StringIO) -> None:
    def list_jobs(*_: object, **__: object) -> None:
        raise RuntimeError("https://me:verysecret@db.example/?password=verysecret Bearer abc.verysecret")

    with running(app) as client, pytest.MonkeyPatch.context() as patch:
        patch.setattr(app.state.studio, "jobs", list_jobs)
        answer = client.get("/v1/jobs", headers=key_for(app, "shoes"))
    assert code(answer) == (500, "fault")
    assert "db.example" not in answer.text
    failed = [json.loads(line) for line in lines.getvalue().splitlines() if '"failed"' in line]
    assert failed[0]["request"] == answer.json()["request"]
    assert "RuntimeError" in failed[0]["exception"]
    assert "verysecret" not in lines.getvalue()


@given(st.text(alphabet="abcXYZ019_-", min_size=10, max_size=43))
def test_no_key_stays_in_a_text(secret: str) -> None:
    for text in (
        f"pk_0123456789ab_{secret}",
        f"Authorization: Bearer {secret}",
        f"?token={secret}&x",
        f"x://u:{secret}@h/",
        f"/taste/shoppers/{secret}?model=fashion-32",
    ):
        assert secret not in without_secrets(f"before {text} after")


def test_values_with_secret_names_are_stars(lines: io.StringIO) -> None:
    log.info("event", password="verysecret", headers={"Cookie": "verysecret", "deep": [{"api_key": "verysecret"}]}, n=1)
    assert "verysecret" not in lines.getvalue()
    assert json.loads(lines.getvalue())["n"] == 1


def test_an_unforeseen_error_says_nothing_of_its_inside() -> None:
    assert problem_of(ValueError("inside")).status_code == 500
    assert "inside" not in problem_of(ValueError("inside")).detail
    assert problem_of(UsageError("--scale is 9.")).detail == "scale is 9."
