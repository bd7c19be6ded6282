"""The pages Shoot, Jobs, Repair, Restyle and Verify without a browser: what they ask for, show and refuse."""

import io
import re
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from packshot.jobs.records import Item, JobRequest, Output
from packshot.jobs.review import undecided
from packshot.server.pages import shopper
from packshot.server.pages.frame import so_far
from packshot.server.pages.jobs import _next_undecided, _place
from packshot.server.pages.saying import say_checks, say_receipt
from packshot.server.signing import Signer
from tests.servers import finish, jpeg, key_for, make_app, put, running, submit

HTML = {"Accept": "text/html"}
PART = {**HTML, "X-Fragment": "1"}
SAID = {"channel": "amazon-main", "size": "1000", "background": "own", "own_background": "#aabbcc", "shadow": "soft"}


def english(text: str, **values: Any) -> str:
    return text.format(**values)


@pytest.fixture
def app(tmp_path: Path):
    return make_app(tmp_path)


def painted(width: int, height: int) -> bytes:
    rgba = np.zeros((height, width, 4), np.uint8)
    rgba[: height // 2, : width // 2] = 255
    out = io.BytesIO()
    Image.fromarray(rgba).save(out, "PNG")
    return out.getvalue()


def ended(client: Any, address: str, seconds: float = 60) -> str:
    """Follows work until it is done; returns the last part of the page."""
    deadline = time.monotonic() + seconds
    while True:
        answer = client.get(address, headers=PART)
        if "data-working" not in answer.text:
            return str(answer.text)
        assert time.monotonic() < deadline
        time.sleep(0.05)


def working(text: str) -> str:
    return re.search(r'data-working="([^"]+)"', text)[1]


def test_shoot_asks_for_what_the_page_says(app) -> None:
    sums = [put(app, "shop", jpeg(seed)) for seed in range(2)]
    with running(app) as client:
        body = {
            **SAID,
            "pictures": sums,
            "privacy": "on",
            "fill": "0.7",
            "quality": "80",
            "format": "webp",
            "title": " Two ",
        }
        answer = client.post("/", json=body)
        assert answer.status_code == 201
        job = app.state.studio.job("shop", answer.json()["location"].removeprefix("/jobs/"))
    assert job.request.title == "Two" and job.request.pictures == tuple(sums)
    assert job.request.output == Output(format="webp", quality=80, channel="amazon-main", notice="auto")
    (step,) = job.request.steps
    assert step == {
        "task": "shoot",
        "size": 1000,
        "fill": 0.7,
        "background": "#aabbcc",
        "shadow": "soft",
        "privacy": True,
        "white_balance": 0.5,
        "repair": False,
    }


@pytest.mark.parametrize(
    ("changed", "status", "says"),
    [
        ({"pictures": []}, 422, "Choose photos first."),
        ({"pictures": "x"}, 422, "Choose photos first."),
        ({"pictures": ["0" * 64]}, 404, "no "),
        ({"size": "large"}, 422, "size is 'large', which is no number."),
        ({"size": "9"}, 422, "64 to 8,000"),
        ({"channel": "moon"}, 422, "moon"),
        ({"background": "/etc/passwd"}, 422, "background"),
        ({"background": "own", "own_background": "file.png"}, 422, "background"),
        ({"shadow": "huge"}, 422, "huge"),
        ({"format": "gif"}, 422, "gif"),
    ],
)
def test_shoot_refuses_in_words(app, changed: dict[str, Any], status: int, says: str) -> None:
    one = put(app, "shop", jpeg())
    with running(app) as client:
        answer = client.post("/", json={**SAID, "pictures": [one], **changed}, headers=PART)
    assert (answer.status_code, says in answer.text.replace("&#39;", "'")) == (status, True), answer.text
    assert app.state.studio.jobs("shop") == []


def test_shoot_by_a_form_alone(app) -> None:
    with running(app, follow_redirects=False) as client:
        files = [("photos", (f"{i}.jpg", jpeg(i), "image/jpeg")) for i in range(2)]
        answer = client.post("/", data=SAID, files=files, headers=HTML)
        assert answer.status_code == 303
        assert app.state.studio.job("shop", answer.headers["location"].removeprefix("/jobs/")).total == 2
        empty = client.post("/", data=SAID, files=[("photos", ("", b"", "application/octet-stream"))], headers=HTML)
        assert empty.status_code == 400 and "Choose photos first." in empty.text
        bad = client.post("/", data=SAID, files=[("photos", ("a.jpg", b"no", "image/jpeg"))], headers=HTML)
        assert bad.status_code == 400 and 'role="alert"' in bad.text


def test_a_jobs_page_shows_every_state_and_decisions(app) -> None:
    sums = [put(app, "shop", jpeg(seed), f"photo & {seed}.jpg") for seed in range(5)]
    id = submit(app, "shop", *sums)
    with running(app) as client:
        waits = client.get(f"/jobs/{id}", headers=HTML).text
        assert 'hx-trigger="every 1500ms"' in waits and "Waiting for its turn" in waits and "Stop" in waits
        assert "Nothing works on jobs at the moment" in waits  # There is no worker here.
        assert 'hx-get="/jobs"' in client.get("/jobs", headers=HTML).text
        assert (
            "?before=2030"
            in client.get("/jobs?before=2030-01-01T00:00:00Z", headers={**HTML, "HX-Request": "true"}).text
        )
        finish(app, "shop", id, ["done", "review", "review", "failed", "refused"])
        page = client.get(f"/jobs/{id}", headers=HTML).text
        assert "hx-trigger" not in page and "Try 2 again" in page and f"/v1/jobs/{id}/results.zip" in page
        assert "photo &amp; 0.jpg" in page
        review = client.get(f"/jobs/{id}?state=review", headers=HTML).text
        assert re.findall(r'<li class="tile" id="item-(\d+)"', review) == ["1", "2"]
        assert client.get(f"/jobs/{id}?state=nonsense&page=-3", headers=HTML).status_code == 200
        part = client.post(
            f"/jobs/{id}/items/1/decide", data={"decision": "approved"}, headers={**HTML, "HX-Request": "true"}
        )
        assert part.text.lstrip().startswith('<header class="head" id="job-head">') and "Approved" in part.text
        assert "1 picture waits for your look" in part.text  # The other one.
        assert _next_undecided(app.state.studio, "shop", id, 1) == 2
        after = client.post(
            f"/jobs/{id}/items/2/decide", data={"decision": "rejected"}, headers=HTML, follow_redirects=False
        )
        assert after.headers["location"] == f"/jobs/{id}?state=review"
        assert client.post(f"/jobs/{id}/items/0/decide", data={"decision": "approved"}, headers=PART).status_code == 422
        assert client.post(f"/jobs/{id}/items/1/decide", data={"decision": "maybe"}, headers=PART).status_code == 422
        item = client.get(f"/jobs/{id}/items/3", headers=HTML).text
        assert "look at it" in item and f"/repair?picture={sums[3]}" in item
        near = client.get(f"/jobs/{id}/items/2?state=review", headers=HTML).text
        assert 'rel="prev"' in near and 'rel="next"' not in near
        assert client.get(f"/jobs/{id}/items/99", headers=HTML).status_code == 404
        rows = client.get("/jobs", headers=HTML).text
        assert "in review" not in rows and "1 failed" in rows  # Both were decided on.


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/jobs?before=yesterday", 422),
        ("/jobs?before=2026-01-01T00:00:00", 422),
        ("/jobs/x?page=99999999999999999999999999", 404),
        ("/jobs/x/items/99999999999999999999999999", 422),
        ("/jobs/x/items/-1", 422),
        ("/repair?picture=../../etc/passwd", 404),
        ("/restyle?picture=%00", 404),
        ("/restyle/thumb/" + "0" * 64 + "/ink", 404),
        ("/restyle/style/../x.webp", 404),
        ("/restyle/style/nonsense.webp", 422),
        ("/repair/work/nothing", 404),
        ("/repair/found/nothing.png", 404),
        ("/verify/survive/nothing", 404),
    ],
)
def test_odd_addresses_are_answered_in_words(app, address: str, status: int) -> None:
    with running(app) as client:
        answer = client.get(address, headers=PART)
    assert answer.status_code == status and "data-problem" in answer.text


def test_half_a_request_is_answered_in_words(app) -> None:
    picture = put(app, "shop", jpeg())
    with running(app) as client:
        for content in (b"{", b"[]", b'"x"', b"\xff"):
            answer = client.post("/", content=content, headers={**PART, "Content-Type": "application/json"})
            assert answer.status_code == 422 and "Choose photos first." in answer.text
        mask = {"mask": ("mask.png", painted(9, 9), "image/png")}
        for data in ({"feather": "nan"}, {"feather": "900"}, {"grow": "x"}, {"seed": "-1"}, {"seed": "9" * 30}):
            assert client.post(f"/repair/run/{picture}", data=data, files=mask, headers=PART).status_code == 422, data
        headers = {**PART, "Content-Type": "multipart/form-data; boundary=x"}
        assert client.post("/verify", content=b"--x\r\nhalf", headers=headers).status_code in (400, 422)
        assert client.post("/upload", content=b"", headers=headers).status_code in (400, 422)


def test_no_jobs_yet_is_an_empty_state_that_teaches(app) -> None:
    with running(app) as client:
        assert "Nothing was started yet" in client.get("/jobs", headers=HTML).text


def test_other_tenants_see_nothing(tmp_path: Path) -> None:
    app = make_app(tmp_path, keys="on")
    mine, theirs = key_for(app, "a"), key_for(app, "b")
    picture = put(app, "a", jpeg())
    id = submit(app, "a", picture)
    with running(app) as client:
        started = client.post(f"/repair/suggest/{picture}", headers={**PART, **mine}).json()["id"]
        for address in (
            f"/jobs/{id}",
            f"/jobs/{id}/live",
            f"/jobs/{id}/items/0",
            f"/repair?picture={picture}",
            f"/restyle?picture={picture}",
            f"/restyle/thumb/{picture}/ink",
            f"/repair/found/{started}",
            f"/repair/work/{started}",
            f"/restyle/work/{started}",
        ):
            assert client.get(address, headers={**HTML, **theirs}).status_code == 404, address
        for address in (
            f"/jobs/{id}/cancel",
            f"/jobs/{id}/retry",
            f"/repair/suggest/{picture}",
            f"/restyle/link/{picture}",
        ):
            data = {"styles": "ink", "days": "1"}
            assert client.post(address, data=data, headers={**HTML, **theirs}).status_code == 404, address
        assert client.get(f"/repair/found/{started}", headers={**HTML, **mine}).status_code == 200


def test_one_mask_for_photos_of_two_sizes_is_two_jobs(app) -> None:
    studio = app.state.studio
    photos = [
        studio.add_picture(
            "shop", jpeg(i, *size), name=f"{i}.jpg", mime="image/jpeg", width=size[0], height=size[1]
        ).sha256
        for i, size in enumerate([(60, 80), (60, 80), (100, 50)])
    ]
    with running(app) as client:
        answer = client.post(
            "/repair/many",
            data={"pictures": " ".join(photos), "feather": "2", "attest": "on"},
            files={"mask": ("mask.png", painted(90, 120), "image/png")},
        )
        assert (answer.status_code, answer.json()) == (201, {"location": "/jobs"})
        jobs = sorted(studio.jobs("shop"), key=lambda job: -job.total)
        assert [job.request.pictures for job in jobs] == [tuple(photos[:2]), (photos[2],)]
        for job, size in zip(jobs, [(60, 80), (100, 50)], strict=True):
            (step,) = job.request.steps
            assert step["feather"] == 2 and step["attest"].startswith("I hold the rights")
            mask = studio.read_picture("shop", step["mask"].removeprefix("picture:"))
            assert Image.open(io.BytesIO(mask)).size == size
        page = client.get("/repair", headers=HTML).text
        assert page.count("?picture=") == 4  # Three photos and the form; masks are not offered.
        for data, files in (({"pictures": ""}, True), ({"pictures": photos[0]}, False)):
            more = {"files": {"mask": ("mask.png", painted(9, 9), "image/png")}} if files else {}
            assert client.post("/repair/many", data=data, headers=PART, **more).status_code == 422


def test_a_link_opens_one_product_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app(tmp_path, keys="on")
    shop = key_for(app, "a", "edit")
    picture, other = put(app, "a", jpeg(1)), put(app, "a", jpeg(2))
    with running(app) as client:
        form = {"styles": ["ink", "pop", "nonsense"], "days": "2"}
        made = client.post(f"/restyle/link/{picture}", data=form, headers={**PART, **shop}).text
        link = re.search(r"/s/[A-Za-z0-9._-]+", made)[0]
        page = client.get(link, headers=HTML)
        assert page.status_code == 200 and "frame-ancestors *" in page.headers["content-security-policy"]
        assert re.findall(r'name="style" value="(\w+)"', page.text) == ["ink", "pop"]
        assert picture not in page.text  # Not even its checksum.
        assert client.get(f"{link}/photo").headers["content-type"] == "image/webp"
        assert client.get(f"{link}/style/ink.webp").status_code == 200
        for address in (
            f"{link}/thumb/mosaic",
            f"{link}/thumb/{other}",
            f"{link}/work/x",
            f"{link}/result/x",
            f"{link}x",
            "/s/a.b",
            "/s/",
        ):
            assert client.get(address, headers=HTML).status_code == 404, address
        for address in (
            "/",
            "/jobs",
            f"/v1/pictures/{picture}",
            f"/restyle/thumb/{picture}/ink",
            f"/restyle?picture={picture}",
        ):
            assert client.get(address).status_code == 401, address
        assert client.post(f"{link}/run", data={"style": "mosaic"}, headers=PART).status_code == 422
        for days in ("0", "400", "x", ""):
            again = client.post(f"/restyle/link/{picture}", data={**form, "days": days}, headers={**PART, **shop})
            assert again.status_code == (200 if days == "" else 422), days
        assert client.post(f"/restyle/link/{picture}", data={"days": "1"}, headers={**PART, **shop}).status_code == 422
        for purpose, value, seconds in (
            ("login", {"t": "a", "p": picture}, 60),
            (shopper.PURPOSE, {"t": "a", "p": picture}, -1),
        ):
            token = app.state.signer.sign(purpose, value, seconds)
            assert client.get(f"/s/{token}", headers=HTML).status_code == 404
        strange = Signer(tmp_path / "elsewhere").sign(shopper.PURPOSE, {"t": "a", "p": picture}, 60)
        assert client.get(f"/s/{strange}", headers=HTML).status_code == 404
        app.state.studio.forget_picture("a", picture)
        gone = client.get(link, headers=HTML)
        assert gone.status_code == 404 and "Ask the shop" in gone.text


def test_a_shopper_makes_a_picture_once_and_it_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app(tmp_path, keys="on")
    picture = put(app, "a", jpeg(1))
    link = f"/s/{app.state.signer.sign(shopper.PURPOSE, {'t': 'a', 'p': picture, 's': ['ink']}, 60)}"
    asked, edits = [], []
    ask = app.state.desk.ask
    monkeypatch.setattr(app.state.desk, "ask", lambda work, *a, **k: asked.append(work.__name__) or ask(work, *a, **k))
    with running(app) as client:
        files = []
        for strength in ("1.0", "0.97"):  # The nearest of the three that there are.
            begun = client.post(f"{link}/run", data={"style": "ink", "strength": strength}, headers=PART)
            assert begun.status_code == 202
            done = ended(client, working(begun.text))
            file = client.get(re.search(r'href="([^"]+/result/[^"]+)"', done)[1])
            assert file.headers["content-type"] in ("image/jpeg", "image/png")
            files.append(file.content)
            edits.append(asked.count("edit_one"))
    assert files[0] == files[1] and b"compositeWithTrainedAlgorithmicMedia" in files[0]
    assert edits[0] >= 1 and edits[1] == edits[0]  # The second time nothing was made.


def test_verify_says_it_in_words_and_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKSHOT_HOME", str(tmp_path / "home"))  # What other tests released must not look like it.
    app = make_app(tmp_path, keys="on")
    with running(app) as client:
        part = client.post("/verify", files={"file": ("my photo.jpg", jpeg(), "image/jpeg")}, headers=PART)
        assert part.status_code == 200 and "It says nothing of itself" in part.text and "my photo.jpg" in part.text
        page = client.post(
            "/verify", files={"file": ("a.jpg", jpeg(), "image/jpeg")}, headers={**HTML, "Accept-Language": "zh"}
        )
        assert "<html" in page.text and "它没有任何说明" in page.text
        empty = client.post("/verify", files={"file": ("a.jpg", b"", "image/jpeg")}, headers=HTML)
        assert empty.status_code == 400 and "is empty" in empty.text
        assert client.post("/verify", headers=PART).status_code == 422
        begun = client.post("/verify/survive", files={"file": ("a.jpg", jpeg(), "image/jpeg")}, headers=PART)
        table = ended(client, working(begun.text))
        assert table.count("<tr") == 29 and "Fingerprint" in table
    assert app.state.studio.pictures("shop") == []


def receipt(**changed: Any) -> dict[str, Any]:
    limits = {"identical": False, "identical_outside": False, **changed.pop("limits", {})}
    usual = {
        "compared": "the photo",
        "pixels": 1234,
        "bit_identical": True,
        "bit_identical_outside": None,
        "delta_e_p99": 0.0,
    }
    return {**usual, "text_agreement": None, "limits": limits, "broken": [], "passed": True, **changed}


def test_receipts_in_words() -> None:
    tell = english
    assert say_receipt(None, english, tell) == [] == say_receipt({}, english, tell)
    (said,) = say_receipt(receipt(), english, tell)
    assert (said.kind, said.text) == ("pass", "All 1234 pixels of the product are those of the photo, bit for bit.")
    (said,) = say_receipt(receipt(limits={"identical_outside": True}, bit_identical_outside=True), english, tell)
    assert said.text == "Outside of the repainted area no pixel changed, bit for bit."
    steps = {"cutout": receipt(), "enhance-2": receipt(bit_identical=False, delta_e_p99=2.4, text_agreement=0.987)}
    first, second = say_receipt(steps, english, tell)
    assert (first.title, second.title) == ("Cut-out", "Light and detail 2")
    assert (
        "less than 2.4 ΔE, which can just be seen side by side" in second.text and "99% of its strokes" in second.text
    )
    (said,) = say_receipt(receipt(passed=False, broken=["pixels of it changed, and none may"]), english, tell)
    assert (said.kind, said.text) == ("fail", "The product is not what it was: pixels of it changed, and none may.")
    (said,) = say_receipt(receipt(pixels=0, bit_identical=None), english, tell)
    assert said.kind == "unknown"


def test_checks_in_words_what_failed_first_and_the_files_size(app) -> None:
    studio = app.state.studio
    output = Output(channel="google-merchant")
    request = JobRequest(tenant="shop", steps=({"task": "shoot"},), pictures=(put(app, "shop", jpeg()),), output=output)
    job = studio.submit(request)
    found = {
        "bytes": {"status": "unknown", "seen": "it is no file of its own yet"},
        "border": {"status": "fail", "seen": "a border of 9 pixels"},
    }
    item = Item(job=job.id, number=0, picture="0" * 64, name="a.jpg", state="review", figures={"check": found})
    said = say_checks(job, item, 2_000_000, english, lambda text: text)
    assert [(one.kind, one.title) for one in said] == [
        ("fail", "No border around the picture."),
        ("pass", "At most 16 MB."),
    ]
    assert said[1].text == "Seen: 2.0 MB"
    assert say_checks(job, item, 17_000_000, english, lambda text: text)[1].kind == "fail"


def test_the_photo_lies_where_its_product_is() -> None:
    def place(compared: str, figures: dict[str, Any] | None = None):
        item = Item(
            job="j",
            number=0,
            picture="p",
            name="n",
            state="done",
            receipt={"backdrop": {"compared": compared}},
            figures=figures or {},
        )
        return _place(item, picture(400, 300), picture(1000, 1000))

    def picture(width: int, height: int):
        return type("P", (), {"width": width, "height": height})()

    assert place("the photo") == (0, 0, 0.4, 0.3)
    assert place("the photo scaled by Lanczos x 2.0000 and moved by +100, -50") == pytest.approx((0.1, -0.05, 0.8, 0.6))
    assert place("the photo moved by +5, +0") == pytest.approx((0.005, 0, 0.4, 0.3))
    whole = {"enlarge": {"width": 800, "height": 600}}
    assert place("the photo scaled by Lanczos x 0.5000 and moved by +10, +20", whole) == pytest.approx(
        (0.01, 0.02, 0.4, 0.3)
    )
    part = {"enlarge": {"width": 400, "height": 400, "from": [100, 50, 200, 200]}}
    assert place("the photo scaled by Lanczos x 1.5000 and moved by +300, +150", part) == pytest.approx(
        (0, 0, 1.2, 0.9)
    )
    assert place("the photo", {"enlarge": {"width": 400, "height": 400}}) is None  # Of a part, and nobody says which.
    assert place("the photo scaled by Lanczos to 800 x 600") is None


def test_what_waits_for_a_person_is_counted_until_it_is_decided(app) -> None:
    id = submit(app, "shop", *(put(app, "shop", jpeg(seed)) for seed in range(3)))
    finish(app, "shop", id, ["review", "review", "review"])
    with running(app) as client:
        page = client.get(f"/jobs/{id}", headers=HTML).text
        assert "3 pictures wait for your look" in page and "Until one is approved" in page
        assert "results.zip" not in page and "results.csv" in page  # An empty zip helps nobody.
        assert "3 in review" in client.get("/jobs", headers=HTML).text
        client.post(f"/jobs/{id}/items/0/decide", data={"decision": "rejected"}, headers=HTML)
        assert "2 in review" in client.get("/jobs", headers=HTML).text
        review = client.get(f"/jobs/{id}?state=review", headers=HTML).text
        assert "Approve the 2 that are left" in review and "data-confirm" in review
        client.post(f"/jobs/{id}/approve", headers=HTML)
        decided = [item.decision for item in app.state.studio.items("shop", id)]
        assert decided == ["rejected", "approved", "approved"]  # What a person had said stays.
        page = client.get(f"/jobs/{id}", headers=HTML).text
        assert "wait for your look" not in page and "results.zip" in page
        assert "in review" not in client.get("/jobs", headers=HTML).text
        assert client.post("/jobs/unknown/approve", headers=HTML).status_code == 404


def test_others_pictures_are_not_counted(app) -> None:
    studio = app.state.studio
    ids = {tenant: submit(app, tenant, put(app, tenant, jpeg(1))) for tenant in ("shop", "shoes")}
    for tenant, id in ids.items():
        finish(app, tenant, id, ["review"])
    assert undecided(studio, "shop", list(ids.values())) == {ids["shop"]: 1}
    assert undecided(studio, "shop", []) == {}


def test_what_runs_says_how_long_it_has_been_running(app) -> None:
    id = submit(app, "shop", put(app, "shop", jpeg(1)))
    book = app.state.studio.book
    with running(app) as client:
        assert "so far" not in client.get(f"/jobs/{id}", headers=HTML).text
        book.begin(id, next(row.run for row in book.unqueued() if row.id == id))
        assert re.search(r"\d s so far", client.get(f"/jobs/{id}", headers=HTML).text)
        assert "已用" in client.get(f"/jobs/{id}?lang=zh", headers=HTML).text
    job = app.state.studio.job("shop", id)
    assert job.started is not None
    assert so_far(replace(job, started=job.started + timedelta(days=400))) == 0  # The clock was set back.
    assert so_far(None) is so_far(replace(job, state="done")) is None
