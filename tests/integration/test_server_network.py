"""The server over a real port: the typed client, uploads that break off or never end, streams, and its end."""

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from packshot.core.errors import PackshotError
from packshot.images.decode import decode
from packshot.jobs.records import SHOP
from packshot.server.client import ApiError, Client
from packshot.server.run import _Server
from tests.servers import BALANCE, finish, jpeg, key_for, make_app

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # Connections that a test breaks off.


@contextlib.contextmanager
def served(app: Any) -> Iterator[str]:
    """A server on a port of its own, in a thread; yields its address."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, access_log=False, ws="none", lifespan="on")
    server = _Server(config, app)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:  # What other tests released must not look like what is sent here.
        patch.setenv("PACKSHOT_HOME", str(tmp_path_factory.mktemp("home")))
        yield make_app(tmp_path_factory.mktemp("studio"))


@pytest.fixture(scope="module")
def url(app: Any) -> Iterator[str]:
    with served(app) as url:
        yield url


def test_the_client_edits_submits_waits_and_verifies(app: Any, url: str, tmp_path: Path) -> None:
    photos = []
    for n in range(2):
        photos.append(tmp_path / f"shoe-{n}.jpg")
        photos[-1].write_bytes(jpeg(n))
    with Client(url) as studio:
        assert "enhance" in studio.tasks()
        edited = studio.edit(photos[0], [BALANCE], output={"format": "png"})
        assert (edited.name, edited.mime, edited.status) == ("shoe-0.png", "image/png", "done")
        assert decode(edited.data).pixels.shape == (80, 60, 3)
        job = studio.submit(photos, [BALANCE], title="Autumn", key="k-1")
        assert (job.state, job.total, job.ended) == ("queued", 2, False)
        assert studio.submit(photos, [BALANCE], title="Autumn", key="k-1").id == job.id
        with pytest.raises(PackshotError, match="has not ended within"):
            studio.wait(job.id, seconds=0.05, pause=0.01)
        finish(app, SHOP, job.id, ["done", "review"])
        seen = []
        assert studio.wait(job.id, tell=seen.append).counts["done"] == 1
        assert len(seen) == 1
        assert [data for _, data in studio.results(job.id)] == [jpeg(100)]
        assert [item["state"] for item in studio.items(job.id)] == ["done", "review"]
        assert studio.verify(photos[0])["verdict"] == "unmarked"
        with pytest.raises(ApiError, match="Did you mean 'cutout'") as refused:
            studio.edit(jpeg(0), [{"task": "cutuot"}])
        assert (refused.value.status, refused.value.code) == (422, "invalid-settings")
        assert refused.value.request
        with pytest.raises(ApiError) as refused:
            studio.job("unknown")
        assert refused.value.status == 404
    with Client("http://127.0.0.1:1") as nobody, pytest.raises(PackshotError, match="does not answer"):
        nobody.tasks()


def test_the_client_comes_again_when_the_studio_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.read())
        if len(asked) < 3:
            return httpx.Response(503, headers={"Retry-After": "5"}, json={"detail": "Busy.", "code": "busy"})
        return httpx.Response(200, json={"verdict": "unmarked"})

    with Client("http://studio", key="pk_x", transport=httpx.MockTransport(answer)) as studio:
        assert studio.verify(b"photo")["verdict"] == "unmarked"
    assert waited == [5, 5]
    assert [b"photo" in body for body in asked] == [True] * 3


def raw(url: str, head: str, body: bytes = b"", *, chunks: int = 0) -> bytes:
    """Sends bytes as they are, and returns what comes back until the server closes."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode() + body)
        sent = 0
        with contextlib.suppress(OSError):
            for _ in range(chunks):
                connection.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
                sent += 1
        got = b""
        with contextlib.suppress(OSError):
            while piece := connection.recv(65536):
                got += piece
    return got


def test_ten_gigabytes_are_refused_before_they_are_sent(url: str) -> None:
    head = "POST /v1/pictures HTTP/1.1\nHost: 127.0.0.1\nContent-Type: image/png\nContent-Length: 10000000000\n\n"
    started = time.monotonic()
    answer = raw(url, head)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"code":"too-large"' in answer
    assert time.monotonic() - started < 5


def test_a_body_without_a_length_is_counted(url: str) -> None:
    head = "POST /v1/pictures HTTP/1.1\nHost: 127.0.0.1\nContent-Type: image/png\nTransfer-Encoding: chunked\n\n"
    raw(url, head, chunks=2000)  # 125 MiB, of which 40 are read.
    assert httpx.get(f"{url}/health").status_code == 200
    assert httpx.get(f"{url}/v1/pictures").status_code == 200


def test_half_an_upload_leaves_nothing_and_the_server_up(url: str) -> None:
    before = httpx.get(f"{url}/v1/pictures").json()
    jobs = httpx.get(f"{url}/v1/jobs").json()
    host, _, port = url.removeprefix("http://").partition(":")
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n' + jpeg(5)[:700]
    for path in ("/v1/pictures", "/v1/jobs", "/v1/edit", "/v1/verify"):
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(f"{head}Content-Length: 100000\r\n\r\n".encode() + part)
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"POST /v1/pictures HTTP/1.1\r\nHost: 127.")
    assert httpx.get(f"{url}/v1/pictures").json() == before
    assert httpx.get(f"{url}/v1/jobs").json() == jobs


@pytest.mark.parametrize(
    "head",
    [
        "GET / HTTP/1.1\n\n",
        "GET /v1/jobs HTTP/1.1\nHost: evil.example\n\n",
        "NONSENSE\n\n",
        "GET /v1/jobs HTTP/1.1\nHost: 127.0.0.1\nContent-Length: -1\n\n",
        "POST /v1/edit HTTP/1.1\nHost: 127.0.0.1\nContent-Length: 5\nTransfer-Encoding: chunked\n\n0\n\n",
        f"GET /{'a' * 70_000} HTTP/1.1\nHost: 127.0.0.1\n\n",
    ],
)
def test_requests_that_are_none(url: str, head: str) -> None:
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode())
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(OSError):
            while piece := connection.recv(65536):
                answer += piece
    assert answer == b"" or int(answer.split()[1]) < 500
    assert httpx.get(f"{url}/health").status_code == 200


def test_events_over_the_wire_end_with_the_server(tmp_path: Path) -> None:
    app = make_app(tmp_path)
    with served(app) as url, Client(url) as studio:
        (tmp_path / "a.jpg").write_bytes(jpeg(0))
        job = studio.submit([tmp_path / "a.jpg"], [BALANCE])
        got: list[str] = []

        def listen() -> None:
            with httpx.stream("GET", f"{url}/v1/jobs/{job.id}/events", timeout=20) as stream:
                got.extend(stream.iter_lines())

        thread = threading.Thread(target=listen)
        thread.start()
        time.sleep(0.3)
        finish(app, SHOP, job.id, ["done"])
        thread.join(10)
        assert not thread.is_alive()
    states = [json.loads(line.removeprefix("data: "))["state"] for line in got if line.startswith("data: {")]
    assert (states[0], states[-1]) == ("queued", "done")
    assert "event: done" in got


def test_keys_over_the_wire(tmp_path: Path) -> None:
    app = make_app(tmp_path, keys="on")
    secret = key_for(app, "shoes", "read")["Authorization"].removeprefix("Bearer ")
    with served(app) as url:
        with Client(url) as stranger, pytest.raises(ApiError) as refused:
            stranger.tasks()
        assert refused.value.status == 401
        with Client(url, key=secret) as reader:
            assert reader.tasks()
            with pytest.raises(ApiError) as refused:
                reader.edit(jpeg(0), [BALANCE])
            assert refused.value.code == "scope-missing"


COMMAND = """
import sys
from packshot.cli import main as m, serve
if "serve" not in m.cli.commands:
    m.cli.add_command(serve.serve)
m.main(sys.argv[1:])
"""


@pytest.mark.slow
def test_the_command_serves_and_ends_when_it_is_told_to(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["serve", "--port", str(port), "--no-worker", "--set", f"home={tmp_path / 'studio'}", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())["said"]
        assert f"http://127.0.0.1:{port}" in said
        with Client(f"http://127.0.0.1:{port}") as studio:
            edited = studio.edit(jpeg(3), [BALANCE])  # By real processes of a real desk.
            assert decode(edited.data).pixels.shape == (80, 60, 3)
            (tmp_path / "a.jpg").write_bytes(jpeg(4))
            job = studio.submit([tmp_path / "a.jpg"], [BALANCE])
        with httpx.stream("GET", f"http://127.0.0.1:{port}/v1/jobs/{job.id}/events", timeout=30) as stream:
            lines = stream.iter_lines()
            next(lines)
            process.send_signal(signal.SIGTERM)
            started = time.monotonic()
            assert "event: done" not in list(lines)  # It ended with the server, not with the job.
        _, err = process.communicate(timeout=30)
        assert time.monotonic() - started < 10
        assert process.returncode == 0, err.decode()
        for line in err.decode().splitlines():
            assert json.loads(line)["event"]
        desk = tmp_path / "studio" / "desk"
        assert not list(desk.iterdir())
    finally:
        process.kill()
        process.communicate()
    words = ["serve", "--no-worker", "--set", "host=203.0.113.7", "--set", f"home={tmp_path}"]
    again = subprocess.run([sys.executable, "-c", COMMAND, *words], capture_output=True, text=True, timeout=60)
    assert again.returncode == 1
    assert "Nothing can listen at 203.0.113.7:8000" in again.stderr


def test_a_zip_is_sent_while_it_is_made(app: Any, url: str, tmp_path: Path) -> None:
    files = [("file", (f"{n}.jpg", jpeg(n))) for n in range(20)]
    told = {"request": json.dumps({"operations": [BALANCE]})}
    id = httpx.post(f"{url}/v1/jobs", files=files, data=told).json()["id"]
    finish(app, SHOP, id, ["done"] * 20)
    with httpx.stream("GET", f"{url}/v1/jobs/{id}/results.zip") as answer:
        assert answer.headers["transfer-encoding"] == "chunked"
        data = b"".join(answer.iter_bytes())
    archive = zipfile.ZipFile(io.BytesIO(data))
    assert archive.testzip() is None
    assert len(set(archive.namelist())) == 20
