"""The pages Create, Train, Taste and Ledger without a browser: what they ask for, show and refuse."""

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packshot.core.files import write_json
from packshot.core.runs import append_jsonl
from packshot.jobs.desk_models import Sample
from packshot.jobs.folders import tenant_folder
from packshot.jobs.records import JobRequest, NotFound
from packshot.server.pages import train_runs
from packshot.server.pages.asking import Made, Sheet, commands_of, find_job, once, pace_of, sheet_of
from packshot.server.pages.create import choices_of, shoot_steps
from packshot.server.pages.curves import HEIGHT, LEFT, WIDTH, charts_of, make_chart, short
from packshot.server.pages.frame import environment
from packshot.server.pages.working import works_of
from tests.servers import jpeg, key_for, make_app, put, running, submit
from tests.shoppers import write_shop

HTML = {"Accept": "text/html"}
PAGES = {
    "/create": "create",
    "/train": "train",
    "/train/runs/products-64": "train",
    "/taste": "taste",
    "/ledger": "admin",
}


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PACKSHOT_HOME", str(tmp_path / "home"))  # Nothing was released from here yet.
    return make_app(tmp_path)


MADE = b"a made picture"
SHA = hashlib.sha256(MADE).hexdigest()


def sample(data: bytes = MADE) -> Sample:
    digest = hashlib.sha256(data).hexdigest()
    return Sample(data=data, sha256=digest, name="bag-0-0000.png", label="Bag", width=28, height=28)


def remember(app: Any, tenant: str = "shop") -> None:
    sheet_of(app.state).add(Made(tenant=tenant, sample=sample(), run="fashion-32", seed=0))


def end_job(app: Any, id: str, state: str) -> None:
    """Notes that a job has ended, as a worker would."""
    book = app.state.studio.book
    run = next(row.run for row in book.unqueued() if row.id == id)
    book.begin(id, run)
    book.end(id, run, state, error=None if state == "done" else "it broke")


@pytest.mark.parametrize(("address", "scope"), PAGES.items())
def test_each_page_needs_its_scope(tmp_path: Path, address: str, scope: str) -> None:
    app = make_app(tmp_path, keys="on")
    others = [s for s in ("read", "edit", "create", "train", "taste") if s != scope]
    with running(app) as client:
        assert client.get(address, headers=HTML | key_for(app, "acme", scope)).status_code == 200
        assert client.get(address, headers=HTML | key_for(app, "acme", *others)).status_code == 403
        assert client.get(address).status_code in (303, 401)


def test_empty_pages_teach(app) -> None:
    with running(app) as client:
        said = {address: client.get(address, headers=HTML).text for address in PAGES}
    assert "Nothing made yet" in said["/create"]
    assert "packshot ingest" in said["/train"] and "packshot events ingest" in said["/taste"]
    assert "No catalogue yet" in said["/ledger"] and "Nothing has left yet" in said["/ledger"]
    assert "products-64" in said["/ledger"] and "CC0-1.0" in said["/ledger"]


def test_no_page_has_inline_script_or_style() -> None:
    for name in environment().list_templates():
        if name.startswith(("create", "train", "taste", "ledger")):
            text = (Path(train_runs.__file__).parents[1] / "templates" / name).read_text()
            assert not re.search(r"\son[a-z]+=|\sstyle=|<style|<script(?![^>]*src=)|javascript:", text), name


# Create


def test_a_sheet_is_made_kept_and_sent_to_shoot(app) -> None:
    with running(app) as client:
        asked = {"run": "fashion-32", "label": ["Bag", "Coat"], "seed": "4", "n": "2"}
        came = client.post("/create/sheet", data=asked).json()
        assert came["next"] == {"seed": 5, "offset": 0} and came["said"][0] == "2 pictures came."
        sums = re.findall(r'data-sha="([0-9a-f]{64})"', came["html"])
        assert len(sums) == 2 and "Bag, made by AI, picture 1 of start number 4" in came["html"]
        picture = client.get(f"/create/picture/{sums[0]}")
        assert picture.headers["content-type"] == "image/png" and b"c2pa" in picture.content
        kept = client.post("/create/choose", data={"sha256": sums[0], "decision": "keep"})
        assert sums[0] in kept.text and 'id="kept-count">1<' in kept.text
        client.post("/create/choose", data={"sha256": sums[1], "decision": "reject"})
        assert app.state.studio.read_picture("shop", sums[0]) == picture.content
        answer = client.post(
            "/create/shoot", data={"picture": sums, "scale": "2", "ground": "white"}, follow_redirects=False
        )
        assert answer.status_code == 422  # The rejected one is no picture of the shop.
        answer = client.post("/create/shoot", data={"picture": sums[:1], "ground": "white"}, follow_redirects=False)
        job = app.state.studio.job("shop", answer.headers["location"].removeprefix("/jobs/"))
    assert job.request.pictures == (sums[0],) and job.request.steps == shoot_steps("4", "white")
    choices = choices_of(app.state.settings, "shop")
    assert {d.sha256: d.kept for d in choices.untaught()} == {sums[0]: True, sums[1]: False}


def test_what_was_decided_can_be_taken_back(app) -> None:
    remember(app)
    with running(app) as client:

        def choose(decision: str) -> Any:
            return client.post("/create/choose", data={"sha256": SHA, "decision": decision})

        assert choose("keep").status_code == 200
        assert len(app.state.studio.pictures("shop")) == 1
        assert "Keep what you like" in choose("undo").text
        assert app.state.studio.pictures("shop") == []
        choose("keep")
        choose("reject")  # What is rejected is no picture of the shop any more.
        assert app.state.studio.pictures("shop") == []
        assert choose("burn").json()["detail"] == "Say keep, reject or undo."


def test_a_made_picture_is_its_tenants_alone(tmp_path: Path) -> None:
    app = make_app(tmp_path, keys="on")
    remember(app, "acme")
    with running(app) as client:
        mine, other = key_for(app, "acme", "create"), key_for(app, "other", "create")
        assert client.get(f"/create/picture/{SHA}", headers=mine).status_code == 200
        assert client.get(f"/create/picture/{SHA}", headers=other).status_code == 404
        said = {"sha256": SHA, "decision": "keep"}
        assert client.post("/create/choose", data=said, headers=other).status_code == 404
        foreign = put(app, "acme", jpeg())
        answer = client.post("/create/sheet", data={"run": "fashion-32", "like": foreign}, headers=other)
        assert answer.status_code == 404


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"run": "../../etc"}, "There is no model"),
        ({"run": "fashion-32", "label": "Bg"}, "Did you mean 'Bag'"),
        ({"run": "fashion-32", "seed": "x"}, "no whole number"),
        ({"run": "fashion-32", "seed": "-1"}, "can be 0 to"),
        ({"run": "fashion-32", "truncation": "7"}, "from 0 to 1"),
        ({"run": "fashion-32", "truncation": "nan"}, "no number"),
        ({"run": "fashion-32", "slide-pca-1": "2"}, "have them found first"),
        ({"run": "fashion-32", "slide-pca-1": "9"}, "from -3 to 3"),
        ({"run": "fashion-32", "n": "4000"}, "can be 1 to"),
        ({"run": "fashion-32", "like": "f" * 64}, "no picture"),
    ],
)
def test_wrong_wishes_are_told_in_a_sentence(app, wrong: dict[str, str], words: str) -> None:
    with running(app) as client:
        answer = client.post("/create/sheet", data=wrong)
    assert answer.status_code in (404, 422) and re.search(words, answer.json()["detail"]), answer.text


def test_directions_are_looked_for_once(app) -> None:
    with running(app) as client:
        for _ in range(2):
            text = client.post("/create/explain", data={"run": "fashion-32"}, headers={"HX-Request": "true"}).text
            assert "Waiting for its turn" in text
        (job,) = app.state.studio.jobs("shop")
        assert job.request.argv[0] == "explain" and str(app.state.settings.place) in job.request.argv[3]
        end_job(app, job.id, "failed")
        assert "it broke" in client.get("/create/directions?run=fashion-32").text
        client.post("/create/explain", data={"run": "fashion-32"})
    assert len(app.state.studio.jobs("shop")) == 2


def test_the_sheet_forgets_the_oldest_first() -> None:
    sheet, many = Sheet(most=100), [sample(f"picture {n:02d}".encode()) for n in range(12)]
    for one in many:
        for _ in range(2):
            sheet.add(Made(tenant="a", sample=one, run="r", seed=0))
    assert sheet.bytes == 100
    with pytest.raises(NotFound, match="no longer remembered"):
        sheet.get("a", many[1].sha256)
    assert sheet.get("a", many[2].sha256).run == "r"
    with pytest.raises(NotFound):
        sheet.get("b", many[2].sha256)


def test_how_far_a_command_is_by_its_progress_lines(app) -> None:
    studio = app.state.studio
    argv = ("explain", "x", "--out", "y")
    job = once(studio, JobRequest(tenant="shop", kind="command", argv=argv))
    assert once(studio, JobRequest(tenant="shop", kind="command", argv=argv)).id == job.id
    assert find_job(commands_of(studio, "shop"), ("x", "--out")).id == job.id and commands_of(studio, "acme") == []
    assert find_job(commands_of(studio, "shop"), ("x", "y")) is None
    assert pace_of(studio, job).share is None
    log = "Explaining: 9%\nExplaining: 48%  directions\n"
    studio.book.progress(job.id, finished=0, total=0, rate=None, log=log)
    pace = pace_of(studio, studio.job("shop", job.id))
    assert (pace.share, pace.note) == (0.48, "directions")
    submit(app, "shop", put(app, "shop", jpeg()))
    assert find_job(commands_of(studio, "shop"), argv).id == job.id


# Train


@pytest.fixture
def shelf(app, tmp_path: Path) -> Path:
    write_shop(tmp_path / "made")
    folder = app.state.settings.catalogs_folder
    folder.mkdir()
    return (tmp_path / "made/catalog").rename(folder / "shop")


def test_a_catalogue_is_checked_and_trained_on(app, shelf: Path) -> None:
    runs = app.state.settings.runs_folder
    with running(app) as client:
        page = client.get("/train/catalogs/shop", headers=HTML).text
        assert "photos to train on are few" in page and "Fewer than 20 photos each" in page
        assert "All photos may be trained on" in page
        said = {"model": "vae", "budget": "2kimg", "size": "32", "name": "first"}
        answer = client.post("/train/catalogs/shop/train", data=said, follow_redirects=False)
        assert answer.headers["location"] == "/train/runs/first"
        (job,) = app.state.studio.jobs("shop")
        wanted = ["train", str(shelf), "--out", str(runs / "first"), "--model", "vae", "--budget", "2kimg"]
        assert list(job.request.argv) == [*wanted, "--size", "32", "--quiet", "--json"]
        assert "Waiting for its turn" in client.get("/train/runs/first", headers=HTML).text
        book = app.state.studio.book
        job = next(row for row in book.unqueued())
        book.begin(job.id, job.run)
        text = client.get("/train/runs/first", headers=HTML).text  # It runs, and has no folder yet.
        assert "Getting ready" in text and "s so far" in text and "Waiting" not in text
        again = client.post("/train/catalogs/shop/train", data=said, headers=HTML)
        assert again.status_code == 422 and "is taken" in again.text
        for wrong in ({"budget": "soon"}, {"model": "vea"}, {"size": "48"}, {"name": "../up"}):
            answer = client.post("/train/catalogs/shop/train", data={**said, "name": "x", **wrong}, headers=HTML)
            assert answer.status_code == 422, wrong
        client.post("/train/runs/first/stop")
        assert app.state.studio.job("shop", job.id).state == "cancelled"
        client.post("/train/runs/first/resume")
        assert app.state.studio.job("shop", job.id).state == "queued"
    assert len(app.state.studio.jobs("shop")) == 1


def test_advice_is_asked_for_and_shown(app, shelf: Path) -> None:
    with running(app) as client:
        for _ in range(2):
            client.post("/train/catalogs/shop/advise", data={"need": "similar", "budget": "2m"})
        (job,) = app.state.studio.jobs("shop")
        assert job.request.argv[:6] == ("advise", str(shelf), "--need", "similar", "--budget", "2m")
        out = Path(job.request.argv[job.request.argv.index("--out") + 1])
        assert out.is_relative_to(app.state.settings.place / "advice")
        figures = {"kid": {"value": 12.3}, "recon_rms": {"value": None}}
        row = {"model": "vae", "round": 1, "trained": 5.0, "figures": figures}
        advice = {"model": "vae", "reasons": ["It is steady."], "evidence": [row], "failed": {}, "stopped_early": None}
        write_json(out / "advise.json", advice)
        end_job(app, job.id, "done")
        page = client.get("/train/catalogs/shop", headers=HTML).text
        assert "Advised: vae" in page and "It is steady." in page and "12.3" in page
        assert re.search(r'value="vae" selected', page)
        bad = client.post("/train/catalogs/shop/advise", data={"need": "beauty"}, headers=HTML)
        assert bad.status_code == 422


def test_a_licence_is_stated_with_a_word(app, shelf: Path) -> None:
    with running(app) as client:
        url = "/train/catalogs/shop/licence"
        assert client.post(url, data={"licence": "CC0-1.0"}, headers=HTML).status_code == 422
        said = {"licence": "CC0-1.0", "sure": "on"}
        assert client.post(url, data=said, follow_redirects=False).status_code == 303
        assert json.loads((shelf / "ledger.jsonl").read_text())["licence_ok"] == "CC0-1.0"
        assert client.post(url, data={**said, "licence": "MIT"}, headers=HTML).status_code == 422


def test_photos_that_are_sent_are_put_aside_by_category(app) -> None:
    said = {"name": "mine", "licence": "CC0-1.0", "source": "own", "category": "shoes", "folder": ["../bags", ""]}
    files = [("photos", ("../../evil.jpg", jpeg(1), "image/jpeg")), ("photos", ("b.jpg", jpeg(2), "image/jpeg"))]
    with running(app) as client:
        answer = client.post("/train/catalogs", data=said, files=files, follow_redirects=False)
        (job,) = app.state.studio.jobs("shop")
        assert answer.headers["location"] == f"/jobs/{job.id}"
        assert client.post("/train/catalogs", data=said, files=files, headers=HTML).status_code == 422
        none = client.post("/train/catalogs", data={**said, "licence": ""}, files=files, headers=HTML)
        assert "under which licence" in none.text
    intake = app.state.settings.place / "intake/mine"
    found = sorted(str(p.relative_to(intake)) for p in intake.rglob("*.jpg"))
    assert found == ["bags/00000-evil.jpg", "shoes/00001-b.jpg"]
    assert job.request.argv[:4] == ("ingest", str(intake), "--out", str(app.state.settings.catalogs_folder / "mine"))
    with running(app) as client:
        client.get("/train")
        assert intake.exists()
        write_json(app.state.settings.catalogs_folder / "mine/catalog.json", {})  # The ingest has ended.
        assert "mine" in client.get("/train").text and not intake.exists()


def make_run(app, name: str = "vae", tenant: str = "shop") -> Path:
    path = tenant_folder(app.state.settings.runs_folder, tenant) / name
    config = {"model": "vae", "net": {}, "data": {"fit": "auto"}, "budget": "10kimg"}
    about = {"config": config, "spec": {"size": 32}, "categories": ["A"], "state": "running"}
    write_json(path / "run.json", {**about, "catalog": "/x/shop"})
    for step in range(1, 6):
        row = {"step": step, "kimg": step, "seconds": step, "cpu_seconds": step, "img_per_s": 5.0}
        append_jsonl(path / "log.jsonl", {**row, "data": 100 / step, "kl": math.nan if step == 2 else step})
    (path / "samples").mkdir()
    (path / "samples/000003kimg.png").write_bytes(b"\x89PNG sheet")
    (path / "samples/notes.txt").write_text("secret")
    return path


def test_a_run_shows_its_curves_and_sheets(app) -> None:
    path = make_run(app)
    with running(app) as client:
        page = client.get("/train/runs/vae", headers=HTML).text
        assert page.count("<polyline") == 6 and "Distance of photos given back" in page
        assert "after 3 thousand pictures" in page and "learns from shop" in page
        sheet = client.get("/train/runs/vae/samples/000003kimg.png")
        assert sheet.content == b"\x89PNG sheet"
        for name in ("notes.txt", "..%2Frun.json", "000004kimg.png", "%2e%2e%2flog.jsonl"):
            assert client.get(f"/train/runs/vae/samples/{name}", headers=HTML).status_code == 404
        for name in ("nothing", "%2e%2e%2f%2e%2e", "tenants"):
            assert client.get(f"/train/runs/{name}", headers=HTML).status_code == 404
        assert client.get("/train/runs/vae/card.json").status_code == 404
        assert client.post("/train/runs/vae/evaluate", headers=HTML).status_code == 422
        # The run was lost: no job knows it. It goes on by a new one.
        client.post("/train/runs/vae/resume")
        (job,) = app.state.studio.jobs("shop")
        assert job.request.argv[:3] == ("train", "--resume", str(path))
        page = client.get("/train/runs/vae/live").text
        assert 'hx-get="/train/runs/vae/live"' in page and 'value="0.500"' in page
        assert client.post("/train/runs/products-64/resume", headers=HTML).status_code == 422
        assert "17 kinds of clothing" in client.get("/train/runs/products-64", headers=HTML).text


def test_runs_of_another_tenant_are_not_there(tmp_path: Path) -> None:
    app = make_app(tmp_path, keys="on")
    make_run(app, "theirs", "acme")
    with running(app) as client:
        mine, other = (key_for(app, tenant, "admin") | HTML for tenant in ("acme", "other"))
        assert client.get("/train/runs/theirs", headers=mine).status_code == 200
        for address in ("/train/runs/theirs", "/train/runs/theirs/samples/000003kimg.png", "/create?run=theirs"):
            answer = client.get(address, headers=other)
            assert answer.status_code == 404 or "theirs" not in answer.text
        assert "theirs" not in client.get("/ledger", headers=other).text
        assert client.post("/train/runs/theirs/stop", headers=other).status_code == 404


def test_the_card_is_read_as_blocks() -> None:
    page = "# a\n\nOne.\n\n## Data\n- x: 1\n- y\n\n## Figures\n| f | v |\n|---|---|\n| kid | 2 |\n"
    assert train_runs.read_blocks(page) == [
        {"kind": "p", "text": "One."},
        {"kind": "h", "text": "Data"},
        {"kind": "ul", "items": ["x: 1", "y"]},
        {"kind": "h", "text": "Figures"},
        {"kind": "table", "rows": [["f", "v"], ["kid", "2"]]},
    ]


FINITE = st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: round(x, 6))


@given(st.lists(st.one_of(FINITE, st.just(math.nan), st.just(math.inf)), max_size=300), st.sampled_from([0.0, 0.06]))
def test_a_chart_stays_in_its_frame(values: list[float], smooth: float) -> None:
    points = [(float(i), y) for i, y in enumerate(values)]
    good = [p for p in points if math.isfinite(p[1])]
    chart = make_chart("x", points, smooth)
    if len(good) < 2:
        assert chart is None
        return
    assert chart is not None and chart.count == len(good)
    for line in (chart.path, chart.raw):
        places = [tuple(map(float, p.split(","))) for p in line.split()]
        assert 2 <= len(places) <= 160
        assert all(LEFT <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in places)
        assert [x for x, _ in places] == sorted(x for x, _ in places)
    assert chart.path.endswith(f"{chart.end[0]},{chart.end[1]}")
    assert 2 <= len(chart.y_ticks) <= 8 and 2 <= len(chart.rows) <= 12
    assert (chart.low, chart.high) == (short(min(y for _, y in good)), short(max(y for _, y in good)))


def test_figures_come_first_and_speed_last() -> None:
    log = [{"step": i, "kimg": i, "img_per_s": 9, "loss": i, "seconds": i} for i in range(3)]
    metrics = [{"step": i, "kimg": i, "name": "kid_efflite0", "value": 9 - i, "low": 1, "n": 500} for i in range(3)]
    assert [c.name for c in charts_of(log, metrics)] == ["kid_efflite0", "loss", "img_per_s"]
    assert charts_of([], []) == [] and charts_of(log[:1], []) == []


# Ledger


def test_an_erasure_is_shown_then_typed_then_done(app, shelf: Path) -> None:
    from packshot.catalog import open_catalog

    row = open_catalog(shelf).manifest(["photo_id", "key"]).to_pylist()[2]
    with running(app) as client:
        asked = {"what": row["key"], "kind": "photo", "store": "", "reason": ""}
        plan = client.post("/ledger/erase", data=asked)
        assert "This would go" in plan.text and "Catalogue shop: 1 rows" in plan.text
        wrong = client.post("/ledger/erase", data={**asked, "confirm": "yes"})
        assert wrong.status_code == 422 and len(open_catalog(shelf).manifest(["photo_id"])) == 13
        done = client.post("/ledger/erase", data={**asked, "confirm": row["key"]})
        assert "It is gone" in done.text and "packshot erase --verify" in done.text
        assert len(open_catalog(shelf).manifest(["photo_id"])) == 12
        assert "no such photo" in client.post("/ledger/erase", data=asked).text
        assert client.post("/ledger/erase", data={"what": " ", "kind": "photo"}).status_code == 422


def test_a_photo_goes_from_the_store_with_what_was_made_of_it(app) -> None:
    from tests.servers import finish

    sha = put(app, "shop", jpeg(7))
    (item,) = finish(app, "shop", submit(app, "shop", sha), ["done"])
    found = app.state.settings.place / "found" / f"{sha}-0123.json"
    write_json(found, {})
    with running(app) as client:
        files = {"file": ("shoe.jpg", jpeg(7), "image/jpeg")}
        plan = client.post("/ledger/erase", data={"kind": "photo"}, files=files).text
        assert "2 pictures" in plan and "1 lines of 1 jobs" in plan and item.result is not None
        assert len(app.state.studio.pictures("shop")) == 2 and found.exists()
        shown = works_of(app.state).start("shop", "repair", 1, lambda: "a page that shows it")
        done = client.post("/ledger/erase", data={"kind": "photo", "what": sha, "confirm": sha})
        assert "It is gone" in done.text
    with pytest.raises(NotFound):
        works_of(app.state).get("shop", shown.id)
    assert app.state.studio.pictures("shop") == [] and not found.exists()
    assert app.state.studio.jobs("shop") == []


def test_the_audit_log_can_be_taken_along(app) -> None:
    with running(app) as client:
        answer = client.get("/ledger/audit.jsonl")
    assert answer.status_code == 200 and "attachment" in answer.headers["content-disposition"]
