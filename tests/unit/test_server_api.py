"""The API's routes: one picture at once, pictures, jobs, results, verify; each answer and each refusal."""

import base64
import csv
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image

from packshot.core.errors import DiskFull
from packshot.images.decode import decode
from packshot.jobs.database import DatabaseLost
from packshot.jobs.desk import DeskBusy, DeskLost, DeskTimeout, OneResult
from packshot.jobs.outside import Answer
from packshot.jobs.records import SHOP
from packshot.server import fetch as fetching
from packshot.server.problems import CODES
from packshot.tasks.batch import BatchOptions, edit_photos
from packshot.tasks.enhance import Enhance, EnhanceRequest
from packshot.tasks.journal import PhotoResult
from tests.catalog_photos import encoded
from tests.servers import BALANCE, TestClient, finish, jpeg, make_app, put, request_part, running, submit

STEPS = [BALANCE]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    return make_app(tmp_path_factory.mktemp("studio"))


@pytest.fixture(scope="module")
def client(app: FastAPI) -> Iterator[TestClient]:
    with running(app) as client:
        yield client


def refused(answer: Any, status: int, code: str) -> str:
    """Checks that an answer is a problem, and returns its sentence."""
    said = answer.json()
    assert (answer.status_code, said["code"]) == (status, code), said
    assert answer.headers["content-type"] == "application/problem+json"
    assert said["status"] == status
    assert said["request"] == answer.headers["x-request-id"]
    assert said["detail"]
    return str(said["detail"])


def test_one_picture_in_each_form_gives_the_pixels_of_the_command_line(
    app: FastAPI, client: TestClient, tmp_path: Path
) -> None:
    photo = jpeg(1)
    (tmp_path / "shoe.jpg").write_bytes(photo)
    edit_photos([tmp_path / "shoe.jpg"], Enhance(EnhanceRequest(white_balance=1.0)), tmp_path / "out", BatchOptions())
    right = (tmp_path / "out" / "shoe.jpg").read_bytes()
    sha256 = put(app, SHOP, photo)
    bodies = [{"picture": sha256}, {"base64": base64.b64encode(photo).decode(), "name": "shoe.jpg"}]
    answers = [client.post("/v1/edit", json={"input": body, "operations": STEPS}) for body in bodies]
    form = {"file": ("shoe.jpg", photo)}
    answers.append(client.post("/v1/edit", files=form, data=request_part(operations=STEPS)))
    settings = {"white_balance": 1.0}
    answers.append(client.post("/v1/tasks/enhance", files=form, data=request_part(settings=settings)))
    answers.append(client.post("/v1/tasks/enhance", json={"input": bodies[0], "settings": settings}))
    for answer in answers:
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
        assert answer.headers["packshot-result"] == "done"
        assert answer.headers["content-disposition"] == "inline; filename*=UTF-8''shoe.jpg"
        assert answer.content == right


def test_asked_for_json_an_edit_tells_what_was_proved(client: TestClient) -> None:
    wanted = request_part(operations=[{"task": "extend", "margins": "4,4,4,4"}], output={"format": "png"})
    answer = client.post(
        "/v1/edit", files={"file": ("a.jpg", jpeg(2))}, data=wanted, headers={"Accept": "application/json"}
    )
    said = answer.json()
    assert answer.status_code == 200, said
    assert said["status"] in ("done", "review")
    assert said["receipt"] is not None
    assert said["source_type"] == "compositeWithTrainedAlgorithmicMedia"
    picture = said["picture"]
    data = base64.b64decode(picture["base64"])
    assert (picture["mime"], picture["size"]) == ("image/png", len(data))
    assert decode(data).pixels.shape[:2] == (88, 68)


def test_a_kept_result_is_a_picture_of_the_tenant(client: TestClient) -> None:
    wanted = request_part(operations=STEPS, keep=True)
    said = client.post("/v1/edit", files={"file": ("a.jpg", jpeg(3))}, data=wanted).json()
    picture = said["picture"]
    assert picture["base64"] is None
    assert client.get(picture["href"]).headers["content-type"] == "image/jpeg"


def test_a_mask_travels_in_the_same_form(client: TestClient) -> None:
    mask = np.zeros((80, 60, 3), np.uint8)
    mask[30:40, 20:30] = 255
    step = {"task": "repair", "mask": "part:mask", "method": "patch"}
    answer = client.post(
        "/v1/edit",
        files={
            "file": ("a.png", encoded(decode(jpeg(4)).pixels, "PNG")),
            "mask": encoded(mask, "PNG"),
        },
        data=request_part(operations=[step]),
    )
    assert answer.status_code == 200, answer.text
    before, after = decode(jpeg(4)).pixels, decode(answer.content).pixels
    changed = (before != after).any(axis=2)
    assert not changed[mask[..., 0] == 0].any()


def test_edits_that_cannot_be(client: TestClient) -> None:
    form = {"file": ("a.jpg", jpeg(0))}

    def ask(*operations: dict[str, Any], **more: Any) -> Any:
        return client.post("/v1/edit", files=form, data=request_part(operations=list(operations), **more))

    assert "Did you mean 'cutout'" in refused(ask({"task": "cutuot"}), 422, "invalid-settings")
    assert "Did you mean" in refused(ask({"task": "enhance", "scael": 2}), 422, "invalid-settings")
    refused(ask({"task": "enhance", "scale": 9}), 422, "invalid-settings")
    refused(ask({"task": "repair", "mask": "/etc/passwd"}), 422, "invalid-settings")
    refused(ask({"task": "backdrop", "background": "../../secret.png"}), 422, "invalid-settings")
    refused(ask({"task": "restyle", "styles": ["/etc/passwd"]}), 422, "invalid-settings")
    refused(ask({"task": "cutout", "model": "/tmp/evil.onnx"}), 422, "invalid-settings")
    refused(ask({"task": "repair", "mask": f"picture:{'0' * 64}"}), 404, "not-found")
    refused(ask({"task": "repair", "mask": "part:mask"}), 422, "invalid")
    refused(ask(BALANCE, output={"format": "gif"}), 422, "invalid")
    refused(ask(BALANCE, output={"channel": "amazon"}), 422, "invalid-settings")
    refused(ask(BALANCE, unknown=1), 422, "invalid")
    refused(ask(), 422, "invalid")
    told = request_part(operations=STEPS)
    refused(client.post("/v1/edit", files={"file": b"hello"}, data=told), 422, "cannot-be-done")
    refused(client.post("/v1/edit", files={"file": jpeg()[:500]}, data=told), 422, "cannot-be-done")
    refused(client.post("/v1/edit", files={"other": jpeg()}, data=told), 422, "no-picture")
    refused(client.post("/v1/edit", files=form, data={"request": "{"}), 400, "no-json")
    refused(client.post("/v1/edit", content=b"x", headers={"Content-Type": "text/plain"}), 415, "wrong-content-type")
    refused(client.post("/v1/edit", content=b"x", headers={"Content-Type": "multipart/form-data"}), 400, "bad-request")
    refused(client.post("/v1/edit", json={"input": {}, "operations": STEPS}), 422, "invalid")
    refused(client.post("/v1/edit", json={"input": {"base64": "%"}, "operations": STEPS}), 422, "no-picture")
    two = {"picture": "0" * 64, "url": "http://x.example/"}
    refused(client.post("/v1/edit", json={"input": two, "operations": STEPS}), 422, "invalid")
    refused(client.post("/v1/tasks/nothing", files=form), 404, "no-task")
    refused(client.post("/v1/tasks/enhance", files=form, data=request_part(settings={"task": "x"})), 422, "invalid")


@pytest.mark.parametrize(
    "text",
    [
        '{"input": {"picture": "x"}, "operations": [{"task": "enhance", "white_balance": NaN}]}',
        '{"operations": [{"task": "enhance", "white_balance": 1e999}]}',
        '{"operations": [{"task": "enhance", "white_balance": 100000000000000000000000}]}',
        '{"operations": [{"task": "enhance", "a": "\\u0000"}]}',
        '{"operations": [{"task": "enhance", "a": "\\ud800"}]}',
        '{"a": ' * 30 + "1" + "}" * 30,
        "[" * 100_000,
        "",
        "\xff",
    ],
)
def test_json_that_is_none(client: TestClient, text: str) -> None:
    answer = client.post("/v1/edit", content=text.encode("latin-1"), headers={"Content-Type": "application/json"})
    refused(answer, 400, "no-json")


def test_a_result_that_may_not_leave_is_refused_with_its_proof(app: FastAPI, client: TestClient) -> None:
    desk = app.state.desk
    result = PhotoResult(photo="a.jpg", status="refused", reason="It changed the product.", receipt={"most": 9})

    def ask(work: Any, *args: Any, **options: Any) -> Any:
        if work.__name__ == "edit_one":
            return OneResult(data=None, mime="", name="", result=result)
        return work(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(desk, "ask", ask)
        answer = client.post("/v1/edit", files={"file": ("a.jpg", jpeg())}, data=request_part(operations=STEPS))
    assert refused(answer, 422, "refused") == "It changed the product."
    assert answer.json()["result"]["receipt"] == {"most": 9}


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (DeskBusy("All are at work."), 503, "busy"),
        (DeskTimeout("It took too long."), 422, "too-slow"),
        (DeskLost("It killed two."), 422, "worker-lost"),
        (DiskFull("The disk /inside is full."), 507, "disk-full"),
        (OSError(28, "No space left on device"), 507, "disk-full"),
        (DatabaseLost("The database /inside does not answer."), 503, "database"),
        (KeyError("inside"), 500, "fault"),
        (OSError(5, "inside"), 500, "fault"),
    ],
)
def test_what_goes_wrong_inside_is_a_clear_answer(
    app: FastAPI, client: TestClient, error: Exception, status: int, code: str
) -> None:
    def ask(*_: Any, **__: Any) -> Any:
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app.state.desk, "ask", ask)
        answer = client.post("/v1/edit", files={"file": ("a.jpg", jpeg())}, data=request_part(operations=STEPS))
    assert "inside" not in refused(answer, status, code)
    assert ("retry-after" in answer.headers) == (status == 503)
    assert client.get("/health").status_code == 200


def test_pictures_are_sent_seen_and_forgotten(client: TestClient) -> None:
    photo = jpeg(5, 300, 200)
    sent = client.post("/v1/pictures", files=[("file", ("../x/Schuh ü.jpg", photo)), ("file", ("b.png", jpeg(6)))])
    assert sent.status_code == 201
    first, second = sent.json()["pictures"]
    assert (first["name"], first["width"], first["height"], first["size"]) == ("Schuh ü.jpg", 300, 200, len(photo))
    assert second["name"] == "b.jpg"  # Its content is a JPEG.
    raw = client.post("/v1/pictures", content=photo, headers={"Content-Type": "image/jpeg"})
    assert raw.json()["pictures"][0] == first
    got = client.get(first["href"])
    assert got.content == photo
    assert got.headers["content-type"] == "image/jpeg"
    assert got.headers["content-disposition"] == "inline; filename*=UTF-8''Schuh%20%C3%BC.jpg"
    assert "sandbox" in got.headers["content-security-policy"]
    assert "private" in got.headers["cache-control"]
    again = client.get(first["href"], headers={"If-None-Match": got.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(first["href"] + "?download=true").headers["content-disposition"].startswith("attachment")
    small = client.get(first["href"] + "?thumb=160")
    assert Image.open(io.BytesIO(small.content)).size == (160, 107)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client.app.state.desk, "ask", None)  # It is kept.
        assert client.get(first["href"] + "?thumb=160").content == small.content
    refused(client.get(first["href"] + "?thumb=161"), 422, "invalid")
    assert client.get(first["href"] + "/info").json() == first
    listed = client.get("/v1/pictures?limit=1").json()
    assert len(listed["pictures"]) == 1
    older = client.get(listed["next"]).json()
    assert older["pictures"][0] != listed["pictures"][0]
    assert client.delete(first["href"]).status_code == 204
    refused(client.get(first["href"]), 404, "not-found")
    refused(client.delete(first["href"]), 404, "not-found")
    refused(client.get("/v1/pictures/nonsense"), 422, "invalid")
    refused(client.get(f"/v1/pictures/{'A' * 64}"), 422, "invalid")
    refused(client.post("/v1/pictures", files={"file": b"<svg onload=alert(1)>"}), 422, "cannot-be-done")
    refused(client.post("/v1/pictures", files={"file": b""}), 422, "no-picture")
    refused(client.post("/v1/pictures", content=b"", headers={"Content-Type": "image/png"}), 422, "no-picture")


def test_pictures_by_address(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def exchange(method: str, url: str, bounds: Any) -> Answer:
        assert not bounds.private
        assert bounds.bytes == 40 * 2**20
        if url.endswith("missing.jpg"):
            return Answer(404, {}, b"", url)
        return Answer(200, {}, jpeg(7), "https://cdn.example/a%20b/shoe%207?x=1")

    monkeypatch.setattr(fetching, "exchange", exchange)
    sent = client.post("/v1/pictures", json={"url": "https://x.example/shoe"})
    assert sent.json()["pictures"][0]["name"] == "shoe 7.jpg"
    refused(client.post("/v1/pictures", json={"url": "https://x.example/missing.jpg"}), 422, "address-silent")
    monkeypatch.undo()
    refused(client.post("/v1/pictures", json={"url": "http://169.254.169.254/"}), 422, "address-refused")
    refused(client.post("/v1/pictures", json={"url": "file:///etc/passwd"}), 422, "invalid")


def test_a_job_by_upload_is_taken_whole_or_not_at_all(app: FastAPI, client: TestClient) -> None:
    files = [("file", ("a.jpg", jpeg(10))), ("file", ("b.jpg", jpeg(11))), ("file", ("c.jpg", b"no picture"))]
    answer = client.post("/v1/jobs", files=files, data=request_part(operations=STEPS))
    refused(answer, 422, "bad-pictures")
    assert [row["row"] for row in answer.json()["left_out"]] == [3]
    assert client.get("/v1/jobs").json()["jobs"] == []
    taken = client.post("/v1/jobs", files=files, data=request_part(operations=STEPS, skip_bad=True, title="Autumn"))
    job = taken.json()
    assert taken.status_code == 202
    assert taken.headers["location"] == f"/v1/jobs/{job['id']}" == job["links"]["self"]
    assert (job["state"], job["total"], job["title"], len(job["left_out"])) == ("queued", 2, "Autumn", 1)
    items = client.get(job["links"]["items"]).json()["items"]
    assert [i["name"] for i in items] == ["a.jpg", "b.jpg"]
    page = client.get(job["links"]["items"] + "?limit=1&state=waiting").json()
    assert page["next"] == f"/v1/jobs/{job['id']}/items?offset=1&limit=1&state=waiting"
    assert client.get(page["next"]).json()["items"] == items[1:]
    assert client.get(f"/v1/jobs/{job['id']}/items/1").json() == items[1]
    refused(client.get(f"/v1/jobs/{job['id']}/items/2"), 404, "not-found")


def test_jobs_that_cannot_be(client: TestClient) -> None:
    sha256 = client.post("/v1/pictures", files={"file": jpeg(12)}).json()["pictures"][0]["sha256"]

    def ask(**values: Any) -> Any:
        return client.post("/v1/jobs", json={"operations": STEPS, "pictures": [sha256], **values})

    refused(ask(pictures=["0" * 64]), 404, "not-found")
    refused(ask(operations=[{"task": "nope"}]), 422, "invalid-settings")
    refused(ask(operations=[]), 422, "invalid")
    refused(ask(pictures=[]), 422, "invalid")
    refused(ask(priority=10), 422, "invalid")
    refused(ask(priority="5"), 422, "invalid")
    refused(ask(webhook="http://127.0.0.1/hook"), 422, "address-refused")
    refused(ask(webhook="ftp://x.example/"), 422, "invalid")
    refused(client.post("/v1/jobs", files={"x": b""}, data=request_part(operations=STEPS)), 422, "no-picture")
    refused(client.get("/v1/jobs/unknown"), 404, "not-found")
    refused(client.post("/v1/jobs/unknown/cancel"), 404, "not-found")
    refused(client.get("/v1/jobs/unknown/events"), 404, "not-found")
    refused(client.get("/v1/jobs/unknown/results.zip"), 404, "not-found")
    refused(client.get("/v1/jobs/unknown/results.csv"), 404, "not-found")
    refused(client.get("/v1/jobs?limit=0"), 422, "invalid")
    refused(client.get("/v1/jobs?before=yesterday"), 422, "invalid")
    assert "2026-08-02T10:00:00Z" in refused(client.get("/v1/jobs?before=1700000000"), 422, "invalid")


def test_the_same_idempotency_key_is_the_same_job(client: TestClient) -> None:
    sha256 = client.post("/v1/pictures", files={"file": jpeg(13)}).json()["pictures"][0]["sha256"]
    body = {"operations": STEPS, "pictures": [sha256]}
    headers = {"Idempotency-Key": "order-7"}
    first, second = (client.post("/v1/jobs", json=body, headers=headers) for _ in range(2))
    assert first.json()["id"] == second.json()["id"]
    other = client.post("/v1/jobs", json={**body, "title": "else"}, headers=headers)
    if other.status_code == 202:  # A title decides nothing.
        other = client.post("/v1/jobs", json={**body, "pictures": [sha256, sha256]}, headers=headers)
    refused(other, 409, "idempotency-key-reused")
    assert client.post("/v1/jobs", json=body).json()["id"] != first.json()["id"]


def test_a_job_by_feed_fetches_in_order_and_names_the_rows_that_fail(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = {f"https://x.example/{n}.jpg": jpeg(20 + n) for n in range(12)}

    async def exchange(method: str, url: str, bounds: Any) -> Answer:
        if url == "https://x.example/feed.csv":
            rows = "\n".join(f"sku-{n},https://x.example/{n}.jpg" for n in range(14))
            return Answer(200, {}, f"id,image_link\n{rows}\nsku-14,\n".encode(), url)
        return Answer(200 if url in pictures else 404, {}, pictures.get(url, b""), url)

    monkeypatch.setattr(fetching, "exchange", exchange)
    body = {"operations": STEPS, "feed": {"url": "https://x.example/feed.csv"}}
    answer = client.post("/v1/jobs", json=body)
    refused(answer, 422, "bad-pictures")
    assert [row["name"] for row in answer.json()["left_out"]] == ["sku-12", "sku-13", "sku-14"]
    job = client.post("/v1/jobs", json={**body, "skip_bad": True}).json()
    items = client.get(f"/v1/jobs/{job['id']}/items").json()["items"]
    assert [i["name"] for i in items] == [f"sku-{n}.jpg" for n in range(12)]
    text = "id,image_link\n1,https://x.example/3.jpg\n"
    for asked in (
        client.post("/v1/jobs", json={"operations": STEPS, "feed": {"text": text}}),
        client.post("/v1/jobs", files={"feed": ("f.csv", text.encode())}, data=request_part(operations=STEPS)),
    ):
        assert (asked.status_code, asked.json()["total"]) == (202, 1)
    refused(client.post("/v1/jobs", json={"operations": STEPS, "feed": {"text": "a,b\n"}}), 422, "no-feed")


def test_results_and_review(app: FastAPI, client: TestClient) -> None:
    pictures = [put(app, SHOP, jpeg(40 + n), f"=cmd{n}.jpg") for n in range(3)]
    id = submit(app, SHOP, *pictures, title="Herbst/1")
    finish(app, SHOP, id, ["done", "review", "failed"])
    zipped = client.get(f"/v1/jobs/{id}/results.zip")
    assert zipped.headers["content-disposition"].startswith("attachment; filename*=UTF-8''Herbst%2F1-")
    archive = zipfile.ZipFile(io.BytesIO(zipped.content))
    assert len(archive.namelist()) == 1
    assert archive.read(archive.namelist()[0]) == jpeg(100)
    rows = list(csv.DictReader(io.StringIO(client.get(f"/v1/jobs/{id}/results.csv").text)))
    assert [r["state"] for r in rows] == ["done", "review", "failed"]
    assert [bool(r["image_link"]) for r in rows] == [True, False, False]
    assert rows[0]["photo"].startswith("'=cmd0")  # No spreadsheet takes it for a formula.
    decided = client.post(f"/v1/jobs/{id}/items/1/decision", json={"decision": "approved"})
    assert decided.json()["decision"] == "approved"
    assert len(zipfile.ZipFile(io.BytesIO(client.get(f"/v1/jobs/{id}/results.zip").content)).namelist()) == 2
    refused(client.post(f"/v1/jobs/{id}/items/0/decision", json={"decision": "approved"}), 409, "conflict")
    refused(client.post(f"/v1/jobs/{id}/items/1/decision", json={"decision": "maybe"}), 422, "invalid")
    again = client.post(f"/v1/jobs/{id}/retry").json()
    assert (again["state"], again["counts"]["waiting"]) == ("queued", 1)
    assert client.post(f"/v1/jobs/{id}/cancel").json()["state"] == "cancelled"


def test_events_tell_what_changed_and_end(app: FastAPI, client: TestClient) -> None:
    id = submit(app, SHOP, put(app, SHOP, jpeg(50)))
    with client.stream("GET", f"/v1/jobs/{id}/events") as stream:
        lines = stream.iter_lines()
        got = [next(lines) for _ in range(3)]
        finish(app, SHOP, id, ["done"])
        got += list(lines)
    assert stream.headers["content-type"].startswith("text/event-stream")
    told = [json.loads(line.removeprefix("data: ")) for line in got if line.startswith("data: {")]
    assert told[0]["state"] == "queued"
    assert (told[-1]["state"], told[-1]["finished"]) == ("done", 1)
    assert "event: done" in got
    last = [line for line in got if line.startswith("id: ")][-1].removeprefix("id: ")
    again = client.get(f"/v1/jobs/{id}/events", headers={"Last-Event-ID": last}).text
    assert "data: {" not in again  # It was told already.
    assert "event: done" in again
    assert "data: {" in client.get(f"/v1/jobs/{id}/events", headers={"Last-Event-ID": "old"}).text


def test_a_stream_ends_when_the_server_is_to_end(tmp_path: Path) -> None:
    app = make_app(tmp_path)
    id = submit(app, SHOP, put(app, SHOP, jpeg(0)))
    with running(app) as client, client.stream("GET", f"/v1/jobs/{id}/events") as stream:
        lines = stream.iter_lines()
        next(lines)
        client.portal.call(app.state.stopping.set)  # type: ignore[union-attr]
        assert "event: done" not in list(lines)


@pytest.mark.slow
def test_a_thousand_jobs_at_once_are_all_taken(app: FastAPI, client: TestClient) -> None:
    sha256 = put(app, SHOP, jpeg(70))
    body = {"operations": STEPS, "pictures": [sha256]}

    def send(n: int) -> tuple[int, str]:
        answer = client.post("/v1/jobs", json=body, headers={"Idempotency-Key": f"many-{n % 1000}"})
        return answer.status_code, answer.json().get("id", answer.text)

    with ThreadPoolExecutor(40) as threads:
        answers = list(threads.map(send, range(1200)))
    assert {status for status, _ in answers} == {202}
    assert len({id for _, id in answers}) == 1000


def test_verify_is_told_by_bytes_and_by_form(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACKSHOT_HOME", str(tmp_path))  # What other tests released must not look like it.
    photo = jpeg(60)
    form = client.post("/v1/verify", files={"file": ("a.jpg", photo)}).json()
    assert (form["verdict"], form["file"]) == ("unmarked", "a.jpg")
    raw = client.post("/v1/verify", content=photo, headers={"Content-Type": "image/jpeg"}).json()
    assert raw["verdict"] == "unmarked"
    assert client.post("/v1/verify", files={"file": b"hello"}).json()["verdict"] == "unreadable"
    refused(client.post("/v1/verify"), 415, "wrong-content-type")


def test_what_there_is(app: FastAPI, client: TestClient) -> None:
    runs = {run["name"]: run for run in client.get("/v1/runs").json()["runs"]}
    assert runs["products-64"]["ready"]
    assert runs["fashion-32"]["shipped"]
    assert client.get("/v1/catalogs").json() == {"catalogs": []}
    assert "enhance" in client.get("/v1/tasks").json()["tasks"]
    ready = client.get("/ready")
    assert (ready.status_code, ready.json()["database"], ready.json()["store"]) == (200, "ok", "ok")
    assert ready.json()["status"] == "jobs wait"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app.state.studio, "ready", lambda: {"database": "It is away.", "store": "ok", "worker": "ok"})
        assert client.get("/ready").status_code == 503
    metrics = client.get("/metrics").text
    assert 'packshot_requests_total{method="GET",route="/v1/runs",status="200"}' in metrics
    assert "packshot_desk_waiting 0.0" in metrics


@pytest.mark.slow
def test_new_pictures_of_a_generator(client: TestClient) -> None:
    body = {"run": "fashion-32", "n": 2, "seed": 5, "labels": ["Bag"]}
    first, second = (client.post("/v1/create", json=body).json() for _ in range(2))
    assert [p["label"] for p in first["pictures"]] == ["Bag", "Bag"]
    pixels = [[decode(client.get(p["href"]).content).pixels for p in made["pictures"]] for made in (first, second)]
    assert np.array_equal(pixels[0], pixels[1])
    assert first["source_type"] == "trainedAlgorithmicMedia"
    refused(client.post("/v1/create", json={**body, "run": "../../etc"}), 404, "not-found")
    refused(client.post("/v1/create", json={**body, "labels": ["Bug"]}), 422, "invalid-settings")
    refused(client.post("/v1/create", json={**body, "n": 0}), 422, "invalid")


def test_every_status_has_its_code() -> None:
    assert {400, 401, 403, 404, 405, 413, 415, 422, 429, 500, 503} <= CODES.keys()


def test_the_server_loads_no_network_and_no_picture() -> None:
    code = (
        "import sys, pathlib\n"
        "from packshot.server.app import create_app\n"
        "from packshot.jobs.settings import StudioSettings\n"
        "create_app(StudioSettings(home=pathlib.Path(sys.argv[1]))).openapi()\n"
        "heavy = {'torch', 'scipy', 'onnxruntime', 'dbos', 'matplotlib', 'pyarrow'}\n"
        "print(sorted(heavy & sys.modules.keys()))\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
