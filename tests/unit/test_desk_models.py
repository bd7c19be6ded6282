"""What the desk is asked of models and shoppers: the same as the command line, nothing outside of the listings."""

import io
import json
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from packshot.catalog import open_catalog
from packshot.core.errors import PackshotError, UsageError
from packshot.core.files import write_json
from packshot.jobs.choices import Choices, Decided
from packshot.jobs.desk_ledger import (
    EraseAsked,
    carry_out_erasure,
    export_audit_text,
    find_shopper,
    forget_shopper,
    plan_erasure,
    show_audit,
    show_rights,
)
from packshot.jobs.desk_making import make_for, teach
from packshot.jobs.desk_models import SamplesRequest, check_training, find_like, found_file, make_samples
from packshot.jobs.desk_sliders import _turned, explain_command, explain_folder, is_explained, read_sliders
from packshot.jobs.desk_taste import find_name, show_quiz, show_shopper, show_shoppers
from packshot.jobs.folders import (
    find_catalog,
    find_run,
    find_store,
    list_catalogs,
    list_runs,
    list_stores,
    new_folder,
    next_name,
    tenant_folder,
)
from packshot.jobs.records import NotFound
from packshot.jobs.settings import StudioSettings
from packshot.jobs.taste_records import Choice
from packshot.models.spec import PictureSpec
from packshot.release import register
from packshot.sampling.directions import Direction
from packshot.sampling.generator import TrainedGenerator
from packshot.tasks import points
from packshot.tasks.create import CreateRequest, create
from packshot.tasks.explain import explain
from packshot.tasks.personalise import PersonaliseRequest, personalise
from packshot.tasks.rank import TasteRequest, rank
from packshot.tasks.workshop import ask_newcomer, fit_newcomers
from packshot.taste.making import MakeSettings
from packshot.taste.products import read_products
from packshot.taste.store import open_store
from tests.integration.conftest import INGEST, TINY, run_json, write_idx
from tests.shoppers import fast_default, write_shop
from tests.unit.test_directions import Knobs


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny VAE of drawn bags, boots and trousers."""
    folder = tmp_path_factory.mktemp("models")
    write_idx(folder, "train", 300, 1)
    write_idx(folder, "t10k", 200, 2)
    run_json("ingest", folder, "--out", folder / "catalog", *INGEST)
    words = ("--model", "vae", "--budget", "4kimg", *TINY)
    run_json("train", folder / "catalog", "--out", folder / "vae", *words)
    return folder / "vae"


def pixels(data: bytes | Path) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data) if isinstance(data, bytes) else data))


def test_samples_are_those_of_the_command_line(trained: Path, tmp_path: Path) -> None:
    made = make_samples(SamplesRequest(run=trained, n=4, seed=3, labels=("Bag", "trouser"), truncation_psi=0.7))
    own = create(
        CreateRequest(run=trained, out=tmp_path / "out", n=4, seed=3, labels=("Bag", "trouser"), truncation_psi=0.7)
    )
    assert [p.name for p in made.pictures] == [p.name for p in own.pictures]
    assert [p.label for p in made.pictures] == own.labels == ["Bag", "Trouser"] * 2
    for mine, path in zip(made.pictures, own.pictures, strict=True):
        assert np.array_equal(pixels(mine.data), pixels(path))
    assert made.source_type == own.source_type == "trainedAlgorithmicMedia"
    assert b"c2pa" in made.pictures[0].data and made.copy_gate == own.copy_gate


@pytest.mark.slow
def test_pictures_like_a_photo_are_a_part_of_the_command_lines_row(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = make_samples(SamplesRequest(run=trained, n=1, seed=9, labels=("Bag",))).pictures[0].data
    (tmp_path / "photo.png").write_bytes(photo)
    asked = {"run": trained, "labels": ("Bag",), "variation": 0.5, "seed": 2}
    own = create(CreateRequest(out=tmp_path / "out", n=5, like=tmp_path / "photo.png", **asked))
    kept = tmp_path / "found"
    request = SamplesRequest(n=2, offset=3, like=photo, like_name="photo.png", found=kept, **asked)
    assert found_file(request) is not None and not found_file(request).exists()
    find_like(request)
    monkeypatch.setattr(points, "find_photo", None)  # It is found once, and kept.
    made = make_samples(request)
    for mine, path in zip(made.pictures, own.pictures[3:], strict=True):
        assert mine.name == path.name and np.array_equal(pixels(mine.data), pixels(path))
    assert made.found_as == "Bag" and made.rms == own.ingredients[0]["rms"]
    assert found_file(request).name.startswith(own.ingredients[0]["sha256"])
    alone = make_samples(SamplesRequest(n=4, like=photo, found=kept, **{**asked, "variation": 0.0}))
    assert len(alone.pictures) == 1


def test_sliders_move_pictures_along_their_direction_and_say_so(trained: Path, tmp_path: Path) -> None:
    folder, width = tmp_path / "explained", 8
    row = {"key": "pca-1", "name": "brightness", "effect": 0.4, "also": ["area"], "step": [0.0] * width}
    row["step"][0] = 1.5
    write_json(folder / "sliders.json", [row])
    request = {"run": trained, "n": 3, "labels": ("Bag",), "explained": folder}
    still = make_samples(SamplesRequest(sliders={"pca-1": 0.0}, **request)).pictures
    moved = make_samples(SamplesRequest(sliders={"pca-1": 2.0}, **request)).pictures
    plain = make_samples(SamplesRequest(run=trained, n=3, labels=("Bag",))).pictures
    assert all(np.array_equal(pixels(a.data), pixels(b.data)) for a, b in zip(still, plain, strict=True))
    generator = points_generator(trained)
    z = generator.prior(generator.noise(0, 0, 3), torch.zeros(3, dtype=torch.int64))
    z[:, 0] += 2 * 1.5
    wanted = generator.pictures_at(z, [0, 0, 0])
    for mine, own in zip(moved, wanted, strict=True):
        assert np.abs(pixels(mine.data)[..., 0].astype(int) - own[..., 0]).max() <= 1
    with pytest.raises(UsageError, match="Did you mean 'pca-1'"):
        make_samples(SamplesRequest(sliders={"pca-2": 1.0}, **request))
    with pytest.raises(UsageError, match="have them found first"):
        make_samples(SamplesRequest(run=trained, sliders={"pca-1": 1.0}))


def points_generator(run: Path) -> TrainedGenerator:
    from packshot.tasks.trained import load_run_generator

    return load_run_generator(run)


@pytest.mark.slow
def test_sliders_are_the_directions_that_were_explained(trained: Path, tmp_path: Path) -> None:
    folder = explain_folder(tmp_path, trained)
    assert explain_folder(tmp_path, trained) == folder and not is_explained(folder)
    assert explain_command(trained, folder)[:4] == ("explain", str(trained), "--out", str(folder))
    told = explain(trained, out=folder, n=100)
    assert is_explained(folder)
    sliders = read_sliders(trained, folder)
    named = [row["name"] for row in told["directions"] if row["name"] != "no clear effect"]
    assert [s.name for s in sliders] == list(dict.fromkeys(named))[:8]
    assert read_sliders(trained, folder) == sliders  # Kept.
    for slider in sliders:
        if slider.name != "brightness":
            continue
        low, high = (
            make_samples(SamplesRequest(run=trained, n=24, sliders={slider.key: at}, explained=folder))
            for at in (-2.0, 2.0)
        )
        means = [np.mean([pixels(p.data).mean() for p in side.pictures]) for side in (low, high)]
        assert means[1] > means[0]


def test_a_direction_is_turned_the_way_that_it_was_named() -> None:
    knobs = TrainedGenerator(Knobs(), "dcgan", PictureSpec(size=20, channels=1, categories=2), ("a", "b"), 0)
    step = torch.zeros(knobs.noise(0, 0, 1).shape[1])
    step[0] = 1.0
    from packshot.sampling.attributes import attribute_names

    images = [knobs.pictures_at(torch.zeros(1, len(step)) + at * step, [0]) for at in (-1.0, 1.0)]
    up = float(images[1].mean()) > float(images[0].mean())
    effects = dict.fromkeys(attribute_names(1), 0.0) | {"brightness": 0.5}
    turned = _turned(knobs, Direction("pca", 1, step), effects, 0)
    assert turned == (1.0 if up else -1.0)
    assert _turned(knobs, Direction("pca", 1, -step), effects, 0) == -turned


@pytest.mark.parametrize(
    "wrong", [{"n": 0}, {"n": 65}, {"sliders": {"pca-1": 3.5}}, {"sliders": {"a": float("nan")}}, {"offset": 3}]
)
def test_impossible_requests_are_refused(wrong: dict) -> None:
    with pytest.raises(UsageError):
        SamplesRequest(run=Path("fashion-32"), **wrong)


def test_a_training_is_checked_as_the_command_line_does() -> None:
    assert check_training("dcgan", "5m", 64) == "dcgan"
    with pytest.raises(UsageError, match="Did you mean"):
        check_training("dcgann", "5m", None)
    with pytest.raises(UsageError, match="no budget"):
        check_training("vae", "5 years", None)


# Listings


@pytest.fixture
def settings(tmp_path: Path) -> StudioSettings:
    return StudioSettings(home=tmp_path)


def make_run(folder: Path, name: str, **about: object) -> Path:
    path = folder / name
    config = {"model": "vae", "net": {}, "data": {"fit": "auto"}}
    write_json(path / "run.json", {"config": config, "spec": {"size": 32}, "categories": ["A"], **about})
    return path


def test_runs_are_found_by_name_among_those_of_a_tenant(settings: StudioSettings) -> None:
    make_run(settings.runs_folder, "one", state="stopped")
    make_run(tenant_folder(settings.runs_folder, "acme"), "theirs")
    (settings.runs_folder / "broken").mkdir()
    (settings.runs_folder / "broken/run.json").write_text("{")
    (settings.runs_folder / "link").symlink_to(settings.runs_folder / "one")
    listed = {run.name: run for run in list_runs(settings, "shop")}
    assert set(listed) == {"one", "broken", "fashion-32", "products-64"}
    assert listed["one"].state == "stopped" and not listed["one"].ready
    assert "not valid JSON" in (listed["broken"].problem or "")
    assert listed["products-64"].shipped and "colour" in listed["products-64"].attributes
    assert {run.name for run in list_runs(settings, "acme")} == {"theirs", "fashion-32", "products-64"}
    assert find_run(settings, "acme", "theirs").path == settings.runs_folder / "tenants/acme/theirs"
    for name in ("theirs", "../runs/one", "tenants/acme/theirs", "/etc", "", ".", "one/", "link"):
        with pytest.raises(NotFound):
            find_run(settings, "shop", name)


def test_other_tenants_cannot_be_reached_by_their_names(settings: StudioSettings) -> None:
    make_run(settings.runs_folder, "secret")
    for tenant in ("..", "../..", "a/b", "", ".", "tenants", "x" * 300):
        place = tenant_folder(settings.runs_folder, tenant)
        assert place.parent == settings.runs_folder / "tenants"
        assert place.name not in ("", ".", "..")
        assert "secret" not in {run.name for run in list_runs(settings, tenant)}


def test_new_names_are_names_and_free(settings: StudioSettings) -> None:
    make_run(settings.runs_folder, "00007-vae-shop")
    assert next_name(settings.runs_folder, "shop", "vae", "my shop") == "00008-vae-my-shop"
    assert next_name(settings.runs_folder, "acme", "vae", "x") == "00000-vae-x"
    assert new_folder(settings.runs_folder, "shop", "Schuhe 2") == settings.runs_folder / "Schuhe 2"
    for name in ("", "..", "a/b", "-x", ".hidden", "tenants", "x" * 81, "a\n", "00007-vae-shop"):
        with pytest.raises(PackshotError):
            new_folder(settings.runs_folder, "shop", name)


def test_catalogues_that_cannot_be_used_say_why(settings: StudioSettings, tmp_path: Path) -> None:
    write_shop(tmp_path / "made")
    settings.catalogs_folder.mkdir()
    (tmp_path / "made/catalog").rename(settings.catalogs_folder / "good")
    (settings.catalogs_folder / "half/.ingest").mkdir(parents=True)
    (settings.catalogs_folder / "bad").mkdir()
    (settings.catalogs_folder / "bad/catalog.json").write_text('{"checksum": 1}')
    problems = {one.name: one.problem for one in list_catalogs(settings, "shop")}
    assert problems["good"] is None and "not finished" in problems["half"] and "damaged" in problems["bad"]
    assert find_catalog(settings, "shop", "good").summary["photos"] == 13
    with pytest.raises(NotFound):
        find_catalog(settings, "acme", "good")
    assert list_stores(settings, "shop") == {}
    with pytest.raises(NotFound):
        find_store(settings, "shop", "..")
    assert show_rights(settings.catalogs_folder / "good")["may_train"] == 13


# What was kept and rejected


def decided(sha256: str, kept: bool | None, time: int = 0) -> Decided:
    return Decided(sha256=sha256, kept=kept, name="a.png", label="Bag", run="vae", seed=1, time=time)


def test_the_last_decision_counts_until_it_is_taught(tmp_path: Path) -> None:
    a, b, c = (letter * 64 for letter in "abc")
    choices = Choices(tmp_path / "choices")
    assert choices.now() == {} and choices.kept() == [] and choices.untaught() == []
    choices.add(decided(a, True))
    choices.add(decided(b, False), b"file b")
    choices.add(decided(c, True))
    choices.add(decided(c, None))
    choices.add(decided(a, False), b"file a")
    choices.add(decided(a, True))
    assert [d.sha256 for d in choices.kept()] == [a]
    assert [d.sha256 for d in choices.untaught()] == [b, a] and all(d.time > 0 for d in choices.untaught())
    assert choices.rejected_picture(b) == b"file b" and choices.rejected_picture(c) is None
    choices.mark_taught([b])
    assert [d.sha256 for d in choices.untaught()] == [a] and choices.rejected_picture(b) is None
    assert choices.forget([a]) == 1 and choices.now().keys() == {b}
    assert a not in "".join(p.read_text() for p in (tmp_path / "choices").iterdir())
    with pytest.raises(ValueError, match="checksum"):
        choices.rejected_picture("../../etc/passwd")


# Shoppers


@pytest.fixture(scope="module")
def fast() -> Iterator[None]:
    with fast_default():
        yield


@pytest.fixture(scope="module")
def shop(fast: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A catalogue of 40 drawn things and a store in which people like one category each."""
    folder = tmp_path_factory.mktemp("shop")
    catalog = write_shop(folder, products=40)
    rows = catalog.manifest(["product_id", "photo_id", "category"]).to_pylist()
    by: dict[str, list[str]] = {}
    for row in rows:
        by.setdefault(row["category"], []).append(row["product_id"] or row["photo_id"])
    rng = random.Random(4)
    lines = ["user,product,kind,time"]
    for user in range(40):
        for name in rng.sample(list(by.values())[user % len(by)], 4):
            lines.append(f"u{user},{name},view,2024-05-{rng.randint(1, 28):02d}T10:{rng.randint(0, 59):02d}")
    (folder / "events.csv").write_text("\n".join(lines))
    (folder / "said.csv").write_text("user,consent\nu1,rank\n")
    run_json(
        "events", "ingest", folder / "events.csv", "--catalog", folder / "catalog", "--out", folder / "store",
        "--consent", "all", "--consent-file", folder / "said.csv", "--quiet",
    )  # fmt: skip
    return folder / "store", folder / "catalog"


@pytest.mark.slow
def test_a_shoppers_page_is_what_rank_says(shop: tuple[Path, Path]) -> None:
    store, catalog = shop
    some = show_shoppers(store, 0, 10)
    assert some.total == 40 and len(some.shoppers) == 10 and some.summary["events"] == 160
    assert all(s.events == 4 and s.kinds == {"view": 4} and s.rank for s in some.shoppers)
    assert len(show_shoppers(store, 35, 10).shoppers) == 5
    name = find_name(store, "u0")
    view = show_shopper(store, catalog, name, 6)
    own = rank(TasteRequest(events=store, catalog=catalog), "u0", 6)
    assert [p.product.name for p in view.ranked] == [r.product for r in own.ranked]
    assert view.name == own.user == name and view.products == own.products and view.may_make
    assert len(view.history) == 4 and all(h.kinds == ("view",) and h.weight > 0 for h in view.history)
    assert Image.open(io.BytesIO(view.ranked[0].product.picture)).format == "WEBP"
    titles = {h.product.title for h in view.history}
    assert all(p.like is None or p.like in titles for p in view.ranked)
    assert all(title in titles and 0 < lost <= 6 for title, lost in view.drivers)
    assert not show_shopper(store, catalog, "u1", 3).may_make
    with pytest.raises(UsageError, match="knows no such shopper"):
        show_shopper(store, catalog, "nobody")


@pytest.mark.slow
def test_the_quiz_asks_what_personalise_asks(shop: tuple[Path, Path], trained: Path, tmp_path: Path) -> None:
    store, catalog = shop
    view = show_quiz(store, catalog, "ab")
    own = personalise(
        PersonaliseRequest(
            events=store, run=trained, catalog=catalog, choices="ab", out=tmp_path / "out", allow_copies=True,
            make=MakeSettings(n=1, samples=12, steps=0),
        )
    )  # fmt: skip
    assert view.pair is not None and [p.name for p in view.pair] == own.next_pair and view.ranked == ()
    later = show_quiz(store, catalog, "ababa", 5)
    assert len(later.ranked) == 5 and later.pair is not None
    asked = ask_newcomer(fit_newcomers(open_store(store), catalog), "ababa")
    names = [asked_row.name for asked_row in read_products(open_catalog(catalog)).rows]
    assert [p.product.name for p in later.ranked] == [names[i] for i in asked.ranked[:5].tolist()]
    assert show_quiz(store, catalog, "ababababab", 5).pair is None
    for wrong in ("abx", "a" * 11):
        with pytest.raises(UsageError):
            show_quiz(store, catalog, wrong)


@pytest.mark.slow
def test_pictures_for_a_shopper_come_with_their_reasons(shop: tuple[Path, Path], trained: Path) -> None:
    store, catalog = shop
    made = make_for(store, trained, catalog, "u0", n=2)
    assert len(made.pictures) == len(made.about) == 2
    for picture, about in zip(made.pictures, made.about, strict=True):
        assert picture.label == about["category"] and b"c2pa" in picture.data and about["words"]
        assert {near["product"] for near in about["nearest"]} <= set(made.nearest)
    assert {d["name"] for d in made.drivers} <= set(made.titles) and made.without
    with pytest.raises(UsageError, match="did not consent to 'personalise'"):
        make_for(store, trained, catalog, "u1")


@pytest.mark.slow
def test_choices_become_events_of_the_shops_own_profile(shop: tuple[Path, Path], tmp_path: Path) -> None:
    import shutil

    store, catalog = tmp_path / "store", shop[1]
    shutil.copytree(shop[0], store)
    opened = open_catalog(catalog)
    row = opened.manifest(["photo_id", "product_id"]).to_pylist()[5]
    out = io.BytesIO()
    Image.fromarray(opened.read(row["photo_id"]).pixels).save(out, "PNG")
    now = 1_716_000_000_000
    counts = teach(store, catalog, [Choice(data=out.getvalue(), kept=True, time=now)])
    assert counts["added"] == 1
    found = find_shopper(store, "studio")
    assert found["kinds"] == {"cart": 1}
    assert show_shopper(store, catalog, "studio", 3).history[0].product.name == (row["product_id"] or row["photo_id"])
    with pytest.raises(UsageError, match="Nothing was kept"):
        teach(store, catalog, [])
    done = forget_shopper(store, "studio")
    assert done["events"] == 1 and done["found"] == []
    with pytest.raises(UsageError):
        find_shopper(store, "studio")


# The ledger


def test_the_audit_view_tells_where_the_chain_breaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKSHOT_HOME", str(tmp_path))
    assert show_audit(3).entries == 0
    for number in range(5):
        register.add_event({"event": "test", "number": number})
    view = show_audit(3)
    assert view.entries == 5 and view.problem is None and [line["number"] for line in view.lines] == [5, 4, 3]
    assert view.head == view.lines[0]["hash"]
    assert [json.loads(line)["number"] for line in export_audit_text().splitlines()] == [1, 2, 3, 4, 5]
    with sqlite3.connect(register.register_path()) as connection:
        connection.executescript("DROP TRIGGER audit_stays; UPDATE audit SET event='{}' WHERE number = 2")
    broken = show_audit(3)
    assert "entry 2" in (broken.problem or "") and broken.head == "" and broken.entries == 2
    with pytest.raises(PackshotError, match="does not hold together"):
        export_audit_text()


def test_an_erasure_is_shown_first_and_then_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKSHOT_HOME", str(tmp_path / "home"))
    catalog = write_shop(tmp_path / "shop")
    row = catalog.manifest(["photo_id", "key", "sha256"]).to_pylist()[3]
    asked = EraseAsked(what=row["key"], places=(tmp_path / "shop/catalog",))
    plan = plan_erasure(asked)
    assert plan["state"] == "listed" and plan["photos"] == 1 and plan["checksums"] == [row["sha256"]]
    assert open_catalog(tmp_path / "shop/catalog").checksum == catalog.checksum
    done = carry_out_erasure(asked)
    assert done["state"] == "erased" and Path(done["certificate"]).is_file()
    left = open_catalog(tmp_path / "shop/catalog").manifest(["photo_id"]).to_pydict()["photo_id"]
    assert row["photo_id"] not in left and len(left) == 12
    with pytest.raises(PackshotError, match="no such photo"):
        plan_erasure(asked)


@pytest.mark.slow
def test_pictures_like_a_photo_of_a_flow_are_those_of_the_command_line_too(tmp_path: Path) -> None:
    write_idx(tmp_path, "train", 90, 1)
    write_idx(tmp_path, "t10k", 30, 2)
    run_json("ingest", tmp_path, "--out", tmp_path / "catalog", *INGEST)
    words = ("--model", "latent", "--budget", "1kimg", "--set", "net.width=8", "--set", "net.flow_width=16")
    run_json("train", tmp_path / "catalog", "--out", tmp_path / "run", *words)
    photo = make_samples(SamplesRequest(run=tmp_path / "run", n=1, seed=9, labels=("Bag",))).pictures[0].data
    (tmp_path / "photo.png").write_bytes(photo)
    asked = {"run": tmp_path / "run", "labels": ("Bag",), "variation": 0.5, "seed": 2, "n": 3}
    own = create(CreateRequest(out=tmp_path / "out", like=tmp_path / "photo.png", **asked))
    made = make_samples(SamplesRequest(like=photo, like_name="photo.png", **asked))
    for mine, path in zip(made.pictures, own.pictures, strict=True):
        assert np.array_equal(pixels(mine.data), pixels(path))
