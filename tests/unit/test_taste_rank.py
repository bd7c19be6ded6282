"""`packshot events` and `packshot rank`, from a file of events to a list, a report, and a shopper who is forgotten."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from packshot.catalog import open_catalog
from packshot.catalog.dataset import Catalog
from packshot.cli.events import events, rank
from packshot.core.errors import PackshotError, UsageError
from packshot.tasks.fairness import report_fairness
from packshot.tasks.rank import TasteRequest, evaluate_taste, fit_taste
from packshot.tasks.rank import rank as rank_for
from packshot.taste.fit import fit_preference
from packshot.taste.forget import forget_user
from packshot.taste.keys import pseudonym, read_key
from packshot.taste.products import product_features, read_products
from packshot.taste.store import open_store
from tests.shoppers import CATEGORIES, fast_default, write_shop


@pytest.fixture(scope="module", autouse=True)
def fast() -> Iterator[None]:
    with fast_default():
        yield


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return write_shop(tmp_path_factory.mktemp("shop"), products=40)


@pytest.fixture(scope="module")
def log(shop: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shoppers who each like one category; the last ten products of the catalogue have no event."""
    rng = np.random.default_rng(0)
    products = read_products(shop).rows[:30]
    path = tmp_path_factory.mktemp("log") / "events.csv"
    lines = ["user,product,kind,time"]
    for u in range(60):
        own = [p for p in products if p.category == CATEGORIES[u % 3]]
        for i in rng.permutation(len(own))[:7]:
            lines.append(
                f"{u % 3}-{u:02d},{own[i].name},view,2024-05-{rng.integers(1, 28):02d}T10:{rng.integers(60):02d}"
            )
    lines += ["returner,sku-01,return,2024-05-03", "stranger,sku-01,view,2024-05-03"]
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def store(shop: Catalog, log: Path, tmp_path: Path) -> Path:
    out = tmp_path / "store"
    said = tmp_path / "said.csv"
    said.write_text("user,consent\nstranger,personalise\n")
    run(
        events,
        "ingest",
        log,
        "--catalog",
        shop.path,
        "--out",
        out,
        "--consent",
        "rank",
        "--consent-file",
        said,
        "--quiet",
    )
    return out


def run(command: object, *words: object) -> str:
    result = CliRunner().invoke(command, [str(w) for w in words], catch_exceptions=False)  # type: ignore[arg-type]
    assert result.exit_code == 0, result.output
    return result.output


def test_a_shopper_gets_the_own_category(shop: Catalog, store: Path) -> None:
    text = run(rank, "--events", store, "--catalog", shop.path, "--user", "0-00", "--n", "5", "--json")
    result = json.loads(text)
    assert [r["category"] for r in result["ranked"]].count("tall") >= 4
    touched = {e.product for e in open_store(store).history(pseudonym(read_key(), "0-00"))}
    assert len(touched) == 7 and not touched & {r["product"] for r in result["ranked"]}
    cold = [
        r
        for r in json.loads(
            run(rank, "--events", store, "--catalog", shop.path, "--user", "0-00", "--n", "40", "--json")
        )["ranked"]
        if not r["events"]
    ]
    assert len(cold) == 10
    # Of what nobody has touched, the shopper's own category stands first.
    own = [r["category"] == "tall" for r in cold]
    assert any(own) and np.mean(np.flatnonzero(own)) < np.mean(np.flatnonzero(np.logical_not(own)))
    assert "by its looks alone" in run(rank, "--events", store, "--catalog", shop.path, "--user", "0-00", "--n", "40")


def test_the_model_is_fitted_once_and_goes_with_the_shopper(shop: Catalog, store: Path) -> None:
    request = TasteRequest(events=store, catalog=shop.path, model="als")
    fitted = fit_taste(request)
    stamp = (fitted.folder / "model.safetensors").stat().st_mtime_ns
    assert (fit_taste(request).folder / "model.safetensors").stat().st_mtime_ns == stamp
    assert (
        fit_taste(TasteRequest(events=store, catalog=shop.path, model="als", half_life_days=9)).folder != fitted.folder
    )
    name = pseudonym(read_key(), "1-01")
    assert name.encode() in (fitted.folder / "model.json").read_bytes()
    result = json.loads(run(events, "forget", store, "--user", "1-01", "--yes", "--json"))
    assert result["events"] == 7 and result["derived"] == 8 and result["found"] == []
    assert not store.joinpath("derived").exists()
    with pytest.raises(UsageError, match="knows no such shopper"):
        rank_for(request, "1-01")
    assert name not in fit_taste(request).preference.users


def test_one_who_is_forgotten_while_a_model_is_fitted_does_not_come_back(
    shop: Catalog, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = pseudonym(read_key(), "2-02")

    def slow(*given: object, **settings: object) -> object:
        forget_user(store, name)
        return fit_preference(*given, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr("packshot.tasks.rank.fit_preference", slow)
    with pytest.raises(PackshotError, match="changed while the model was fitted"):
        fit_taste(TasteRequest(events=store, catalog=shop.path, model="popularity"))
    assert not any(name.encode() in p.read_bytes() for p in store.rglob("*") if p.is_file())


def test_who_is_not_ranked_for(shop: Catalog, store: Path) -> None:
    request = TasteRequest(events=store, catalog=shop.path, model="popularity")
    result = rank_for(request, "returner", 3)
    assert "positive about nothing yet" in result.notes[0] and len(result.ranked) == 3
    assert "sku-01" not in [r.product for r in result.ranked]
    with pytest.raises(UsageError, match="did not consent to 'rank'"):
        rank_for(request, "stranger")
    with pytest.raises(UsageError, match="knows no such shopper"):
        rank_for(request, "nobody")
    with pytest.raises(UsageError, match="--n is 0"):
        rank_for(request, "returner", 0)
    with pytest.raises(UsageError, match="Unknown model of taste 'als2'"):
        rank_for(TasteRequest(events=store, catalog=shop.path, model="als2"), "returner")
    assert rank_for(TasteRequest(events=store, catalog=shop.path, model="als"), "returner", 3).notes


@pytest.mark.parametrize("model", ["hybrid", "als", "vbpr", "popularity"])
def test_of_returns_alone_nothing_is_learned(shop: Catalog, store: Path, model: str) -> None:
    request = TasteRequest(events=store, catalog=shop.path, model=model)
    fitted = fit_taste(request)
    liked = np.diff(fitted.interactions.positive.indptr) > 0
    assert liked.sum() == 60
    # What shoppers like in general: the mean over those who liked something, without what was sent back.
    mean = np.mean([fitted.preference.scores(u) for u in np.array(fitted.interactions.users)[liked]], axis=0)
    mean[fitted.products.number["sku-01"]] = -np.inf
    expected = [fitted.products.names[i] for i in np.argsort(-mean, kind="stable")[:5]]
    assert mean[np.isfinite(mean)].std() > 0
    assert [r.product for r in rank_for(request, "returner", 5).ranked] == expected


def test_few_events_are_told_or_refused_and_never_ranked_by_nothing(shop: Catalog, tmp_path: Path) -> None:
    for rows in (["only,sku-01,view,2024-05-01"], ["only,sku-01,view,2024-05-01", "b,sku-02,view,2024-05-01"]):
        (tmp_path / "log.csv").write_text("\n".join(["user,product,kind,time", *rows]))
        out = tmp_path / f"store{len(rows)}"
        run(events, "ingest", tmp_path / "log.csv", "--catalog", shop.path, "--out", out, "--consent", "all")
        for model in ("choice", "vbpr", "dvbpr"):
            request = TasteRequest(events=out, catalog=shop.path, model=model)
            if len(rows) == 1:
                with pytest.raises(UsageError, match=r"one product, .*--model popularity"):
                    rank_for(request, "only", 5)
            else:
                result = rank_for(request, "only", 39)
                assert np.isfinite([r.score for r in result.ranked]).all() and result.sees
                assert "Only 2 shoppers liked anything" in result.notes[-1]
    text = run(rank, "--events", out, "--catalog", shop.path, "--user", "only", "--model", "popularity")
    assert "nobody liked it yet" in text and "looks alone" not in text and "Only 2 shoppers" in text


@pytest.mark.slow
def test_the_report_of_real_events(shop: Catalog, store: Path) -> None:
    report = evaluate_taste(
        TasteRequest(events=store, catalog=shop.path), models=("popularity", "als", "vbpr", "hybrid")
    )
    auc = {name: figures[0]["value"] for name, figures in report.models.items()}
    assert auc["hybrid"] > 0.6 and abs(auc["random"] - 0.5) < 0.15 and report.products == 30
    assert report.gain is not None and report.gain[0]["name"] == "auc_gain_hybrid_over_vbpr"
    text = run(rank, "--events", store, "--catalog", shop.path, "--evaluate", "--quiet")
    assert all(name in text for name in ("random", "dvbpr", "cold AUC", "auc_gain_hybrid_over_vbpr"))


def test_who_is_shown_and_for_whom_it_is_right(shop: Catalog, store: Path) -> None:
    result = json.loads(
        run(rank, "--events", store, "--catalog", shop.path, "--fairness", "--tradeoff", "0.5", "--json", "--quiet")
    )
    plain, varied, lifted, both = result["rows"]
    assert [(r["tradeoff"], r["lift"]) for r in result["rows"]] == [(0, 0), (0.5, 0), (0, 0.5), (0.5, 0.5)]
    assert result["shoppers"] == 60 and result["products"] == 40
    assert varied["diversity"] > plain["diversity"] and lifted["liked"] <= plain["liked"] + 1e-6

    def little_known(row: dict[str, object]) -> float:
        own = [e for e in row["exposure"] if e["by"] == "popularity" and e["group"] in ("few events", "none")]  # type: ignore[attr-defined]
        return float(sum(e["exposure"] for e in own) / sum(e["products"] for e in own))

    assert min(little_known(lifted), little_known(both)) >= 0.5 - 0.01 and little_known(lifted) >= little_known(plain)
    for row in result["rows"]:
        asked = [q for q in row["quality"] if q["by"] == "category"]
        assert {q["group"] for q in asked} == set(CATEGORIES) and sum(q["asked"] for q in asked) == 60
        assert row["hits"] == pytest.approx(sum(q["asked"] * q["hits"] for q in asked) / 60, abs=1e-3)
    text = run(rank, "--events", store, "--catalog", shop.path, "--fairness", "--model", "popularity", "--quiet")
    assert "popularity: few events" in text and "Nobody can say" in text
    with pytest.raises(UsageError, match="Say one of these"):
        run(rank, "--events", store, "--catalog", shop.path, "--fairness", "--user", "0-00")
    with pytest.raises(UsageError, match="--tradeoff is 2"):
        run(rank, "--events", store, "--catalog", shop.path, "--fairness", "--tradeoff", "2")


def test_the_model_of_choice_ranks_and_keeps_what_it_saw(shop: Catalog, store: Path) -> None:
    request = TasteRequest(events=store, catalog=shop.path, model="choice")
    fitted = fit_taste(request)
    again = fit_taste(request)
    assert fitted.named is not None and again.named is not None
    assert fitted.seen.shape[0] == 40 and np.array_equal(again.seen, fitted.seen)
    assert fitted.preference.factors == pytest.approx(fitted.preference.sees().embed(fitted.seen)[0], abs=1e-5)
    assert set(fitted.named.kinds) == set(CATEGORIES)
    result = rank_for(request, "0-00", 5)
    assert [r.category for r in result.ranked].count("tall") >= 4
    # By its own events and by its looks: as many sides of the same.
    report = evaluate_taste(request, models=("choice",))
    assert report.models["choice"][0]["value"] > 0.6


def test_show_says_what_an_analyst_has_to_know(shop: Catalog, store: Path, tmp_path: Path) -> None:
    shown = json.loads(run(events, "show", store, "--json"))
    assert shown["summary"]["events"] == 422 and shown["summary"]["consent"] == {"rank": 61, "personalise": 1}
    log = tmp_path / "one.csv"
    lines = [f"u{i},sku-0{0 if i % 10 else 1},view,2024-05-01" for i in range(100)]
    log.write_text("user,product,kind,time\n" + "\n".join(lines))
    out = tmp_path / "other"
    text = run(events, "ingest", log, "--catalog", shop.path, "--out", out, "--quiet")
    assert "100 are of shoppers without consent" in text
    assert "The last ingest left out 100 events" in run(events, "show", out)
    run(events, "ingest", log, "--catalog", shop.path, "--out", out, "--consent", "rank", "--quiet")
    assert "90% of all events are of one product, sku-00" in run(events, "show", out)


def test_a_catalogue_without_pictures(shop: Catalog, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No photo of it may be learned from: the default goes by events alone, and a model of pictures says why not."""
    monkeypatch.setattr("packshot.tasks.rank.product_features", lambda *_, **__: None)
    result = rank_for(TasteRequest(events=store, catalog=shop.path), "0-00", 5)
    assert [r.category for r in result.ranked].count("tall") >= 2
    with pytest.raises(UsageError, match="ranks by pictures, and the catalogue has none"):
        rank_for(TasteRequest(events=store, catalog=shop.path, model="vbpr"), "0-00")
    report = report_fairness(TasteRequest(events=store, catalog=shop.path, model="popularity"), 0.5)
    assert [row.diversity for row in report.rows] == [None] * 4 and "is not known" in report.notes[-1]


def test_a_model_that_sees_no_pictures_does_not_wait_for_them(
    shop: Catalog, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("packshot.tasks.rank.product_features", look)
    for model in ("popularity", "als", "bpr"):
        assert len(rank_for(TasteRequest(events=store, catalog=shop.path, model=model), "0-00", 5).ranked) == 5
    with pytest.raises(AssertionError):
        rank_for(TasteRequest(events=store, catalog=shop.path, model="dvbpr"), "0-00")


def test_features_are_means_of_photos_that_may_be_learned_from(shop: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    products = read_products(shop)
    mean = lambda packed: packed.images.reshape(len(packed.images), -1).mean(1, keepdims=True).astype(np.float32)  # noqa: E731
    whole = product_features(shop, products, mean, "mean")
    assert whole is not None and whole.pictured.all() and whole.rows.shape == (40, 1)
    by_photo = {}
    for split in ("train", "test"):
        packed = shop.packed(split, 48, 3)
        by_photo |= dict(zip(packed.photo_ids, mean(packed)[:, 0].tolist(), strict=True))
    two = products.rows[products.number["sku-00"]].photos
    assert whole.rows[products.number["sku-00"], 0] == pytest.approx(np.mean([by_photo[p] for p in two]))
    opted = open_catalog(shop.path)
    out = dict.fromkeys(products.rows[3].photos, "opted out")
    monkeypatch.setattr(type(opted.rights), "out", property(lambda self: out), raising=False)
    less = product_features(opted, products, mean, "mean")
    assert less is not None and not less.pictured[3] and less.pictured.sum() == 39
    assert less.rows[3, 0] == pytest.approx(less.rows[less.pictured, 0].mean())


def test_words_that_are_wrong(shop: Catalog, store: Path, log: Path) -> None:
    here = ["--events", store, "--catalog", shop.path]
    for command, words, message in (
        (rank, here, "Say whom to rank for"),
        (rank, [*here, "--user", "x", "--weight", "cart"], "--weight wants"),
        (rank, [*here, "--user", "0-00", "--weight", "cart=nan"], "has to be a number"),
        (events, ["ingest", log, "--catalog", shop.path, "--out", store, "--column", "user"], "--column wants"),
        (events, ["forget", store, "--user", "x"], "add --yes"),
    ):
        with pytest.raises(UsageError, match=message):
            CliRunner().invoke(command, [str(w) for w in words], catch_exceptions=False)  # type: ignore[arg-type]
    with pytest.raises(PackshotError, match=r"No shopper in .* both consented to 'personalise'"):
        fit_taste(TasteRequest(events=store, catalog=shop.path, use="personalise", at=0))
