"""A picture of a job that is repaired by hand goes back into it: zip, feed and page have it; it can be undone."""

import csv
import io
import re
import zipfile
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from packshot.images.decode import decode
from packshot.jobs.database import made, reading
from packshot.jobs.mended import put_mended, take_back
from packshot.jobs.records import JobRequest, NotFound, Output
from tests.servers import TestClient, finish, jpeg, key_for, make_app, put, running, submit
from tests.unit.test_pages_routes import HTML, PART, ended, painted, working


@pytest.fixture
def app(tmp_path: Any) -> FastAPI:
    return make_app(tmp_path)


def repair(client: TestClient, sha256: str, **about: Any) -> str:
    """Repairs a corner of a picture; returns the part of the page with the result."""
    form = {"feather": "0", "seed": "0", **about}
    begun = client.post(f"/repair/run/{sha256}", files={"mask": painted(60, 80)}, data=form, headers=PART)
    assert begun.status_code == 202, begun.text
    return ended(client, working(begun.text))


def results(client: TestClient, id: str) -> dict[str, bytes]:
    archive = zipfile.ZipFile(io.BytesIO(client.get(f"/v1/jobs/{id}/results.zip").content))
    return {name: archive.read(name) for name in archive.namelist()}


def into(part: str) -> str:
    found = re.search(r'action="(/repair/work/[^"]+/into)"', part)
    assert found is not None, part
    return found[1]


def test_what_is_repaired_goes_back_into_its_job_and_out_again(app: FastAPI) -> None:
    id = submit(app, "shop", *(put(app, "shop", jpeg(seed)) for seed in range(2)))
    before = finish(app, "shop", id, ["done", "review"])[1]
    assert before.result is not None
    with running(app) as client:
        page = client.get(f"/jobs/{id}/items/1?state=review", headers=HTML).text
        link = re.search(r'href="(/repair\?[^"]+)"', page)
        assert link is not None
        asked = client.get(link[1].replace("&amp;", "&"), headers=HTML).text
        assert f'name="job" value="{id}"' in asked and "can go back into its job" in asked
        part = repair(client, before.result, job=id, number="1", state="review")
        assert len(results(client, id)) == 1  # Nothing happens before it is put there.
        back = client.post(into(part), headers=HTML, follow_redirects=False)
        assert (back.status_code, back.headers["location"]) == (303, f"/jobs/{id}/items/1?state=review")
        after = app.state.studio.item("shop", id, 1)
        assert (after.state, after.decision) == ("review", "approved")
        assert after.result not in (before.result, None)
        leaving = results(client, id)
        assert list(leaving) == ["result-0.jpg", "result-1.png"]
        changed = (decode(leaving["result-1.png"]).pixels != decode(jpeg(101)).pixels).any(axis=2)
        assert changed[:40, :30].mean() > 0.5  # What was painted over, and it is the new file that leaves.
        rows = list(csv.DictReader(io.StringIO(client.get(f"/v1/jobs/{id}/results.csv").text)))
        assert rows[1]["sha256"] == after.result
        assert rows[1]["source_type"] == after.source_type == "compositeWithTrainedAlgorithmicMedia"
        shown = client.get(f"/jobs/{id}/items/1", headers=HTML).text
        assert "You repaired this picture by hand" in shown and after.result in shown
        assert "repair" in (after.receipt or {})
        assert after.beside == {"repair-before": before.result}
        with reading(app.state.studio.engine) as connection:  # Whoever erases the photo finds what was made of it.
            found = sa.select(made.c.sha256).where(made.c.tenant == "shop", made.c.source == before.result)
            assert after.result in connection.execute(found).scalars().all()
        undone = client.post(f"/jobs/{id}/items/1/back", headers=HTML, follow_redirects=False)
        assert undone.status_code == 303
        again = app.state.studio.item("shop", id, 1)
        assert again == before
        assert list(results(client, id)) == ["result-0.jpg"]
        assert "take-back" not in client.get(f"/jobs/{id}/items/1", headers=HTML).text
        assert client.post(f"/jobs/{id}/items/1/back", headers=HTML).status_code == 422


def test_a_done_picture_stays_done_and_two_repairs_are_undone_one_by_one(app: FastAPI) -> None:
    id = submit(app, "shop", put(app, "shop", jpeg(1)))
    first = finish(app, "shop", id, ["done"])[0]
    with running(app) as client:
        client.post(into(repair(client, first.result or "", job=id, number="0")), headers=HTML)
        second = app.state.studio.item("shop", id, 0)
        assert (second.state, second.decision) == ("done", None)
        client.post(into(repair(client, second.result or "", job=id, number="0", seed="3")), headers=HTML)
        third = app.state.studio.item("shop", id, 0)
        assert set(third.receipt or {}) >= {"repair", "repair-2"}
        for wanted in (second, first):
            client.post(f"/jobs/{id}/items/0/back", headers=HTML)
            assert app.state.studio.item("shop", id, 0) == wanted


def test_the_channel_is_asked_anew(app: FastAPI) -> None:
    """A white ground is checked again: what the repair left dark is said, though a person approved it."""
    step = {"task": "shoot", "channel": "amazon-main", "size": 1000}
    request = JobRequest(
        tenant="shop", steps=(step,), pictures=(put(app, "shop", jpeg(1)),), output=Output(channel="amazon-main")
    )
    id = app.state.studio.submit(request).id
    item = finish(app, "shop", id, ["review"])[0]
    with running(app) as client:
        client.post(into(repair(client, item.result or "", job=id, number="0")), headers=HTML)
        after = app.state.studio.item("shop", id, 0)
        assert "The background is exactly 255, 255, 255." in (after.reason or "")
        assert {one["status"] for one in after.figures["check"].values()} >= {"fail"}
        page = client.get(f"/jobs/{id}/items/0", headers=HTML).text
        assert "The channel&#39;s rules" in page and "exactly 255" in page


def test_only_the_result_that_stands_there_is_replaced(app: FastAPI) -> None:
    id = submit(app, "shop", put(app, "shop", jpeg(1)))
    item = finish(app, "shop", id, ["review"])[0]
    other = put(app, "shop", jpeg(9))
    with running(app) as client:
        for sha256, about in (
            (other, {"job": id, "number": "0"}),  # No result of the job.
            (item.result, {"job": id, "number": "7"}),
            (item.result, {"job": "nothing", "number": "0"}),
            (item.result, {"job": id, "number": "x"}),
            (item.result, {}),
        ):
            assert "into-job" not in repair(client, sha256 or "", **about)
        one, two = (repair(client, item.result or "", job=id, number="0", seed=seed) for seed in "12")
        assert client.post(into(one), headers=HTML).status_code == 200
        late = client.post(into(two), headers=HTML)  # It was made of what is no longer there.
        assert late.status_code == 422
        assert "another picture there by now" in late.text
        assert client.post("/repair/work/unknown/into", headers=HTML).status_code == 404


def test_nobody_puts_anything_into_anothers_job(tmp_path: Any) -> None:
    app = make_app(tmp_path, keys="on")
    id = submit(app, "shoes", put(app, "shoes", jpeg(1)))
    item = finish(app, "shoes", id, ["review"])[0]
    with running(app) as client:
        client.headers.update(key_for(app, "shoes"))
        part = repair(client, item.result or "", job=id, number="0")
        client.headers.update(key_for(app, "hats"))
        assert client.post(into(part), headers=HTML).status_code == 404
        assert client.post(f"/jobs/{id}/items/0/back", headers=HTML).status_code == 404
    for act in (take_back, put_mended):
        with pytest.raises(NotFound):
            act(app.state.studio, "hats", id, 0, *([None] if act is put_mended else []))  # type: ignore[operator]
    assert app.state.studio.item("shoes", id, 0) == item
