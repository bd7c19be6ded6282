"""`packshot personalise`: who likes dark boots gets dark boots, and no more once the boots are taken out."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from packshot.catalog import open_catalog
from packshot.cli.events import events as events_command
from packshot.cli.personalise import personalise as command
from packshot.core.errors import PackshotError, UsageError
from packshot.images.decode import decode
from packshot.tasks.personalise import PersonaliseRequest, personalise
from packshot.taste.forget import forget_user
from packshot.taste.keys import pseudonym, read_key
from packshot.taste.looks import measure_looks
from packshot.taste.making import MakeSettings
from packshot.taste.products import read_products
from packshot.taste.store import open_store
from tests.shoppers import fast_default

BOOT, BAG, TROUSER = "Ankle boot", "Bag", "Trouser"
SETTINGS = MakeSettings(n=3, samples=60, steps=3)


@pytest.fixture(scope="module", autouse=True)
def fast() -> Iterator[None]:
    with fast_default():
        yield


@pytest.fixture(scope="module")
def brightness(catalog: Path) -> dict[str, tuple[str, float]]:
    """Category and brightness of each product."""
    opened = open_catalog(catalog)
    names = {photo: row for row in read_products(opened).rows for photo in row.photos}
    out = {}
    for split in ("train", "test"):
        packed = opened.packed(split, 28, 1)  # type: ignore[arg-type]
        light = measure_looks(packed.images).shapes[:, 0]
        for photo, value in zip(packed.photo_ids, light, strict=True):
            out[names[photo].name] = (names[photo].category or "", float(value))
    return out


@pytest.fixture(scope="module")
def store(catalog: Path, brightness: dict[str, tuple[str, float]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shoppers who like one category dark or bright; `boots` likes dark boots, and bright trousers a little."""
    rng = np.random.default_rng(0)

    def some(category: str, dark: bool, n: int) -> list[str]:
        own = sorted((value, name) for name, (c, value) in brightness.items() if c == category)
        half = own[: len(own) // 3] if dark else own[-len(own) // 3 :]
        return [half[i][1] for i in rng.permutation(len(half))[:n]]

    lines = ["user,product,kind,time"]
    for u in range(90):
        category, dark = (BOOT, BAG, TROUSER)[u % 3], bool(u // 3 % 2)
        for name in some(category, dark, 8):
            lines.append(f"u{u},{name},view,2024-05-{rng.integers(1, 28):02d}T10:{rng.integers(60):02d}")
    for name in some(BOOT, True, 8):
        lines.append(f"boots,{name},purchase,2024-05-20T10:{rng.integers(60):02d}")
    for name in some(TROUSER, False, 3):
        lines.append(f"boots,{name},view,2024-05-20T11:{rng.integers(60):02d}")
    lines.append(f"returner,{some(BAG, True, 1)[0]},return,2024-05-20")
    lines.append(f"ranked-only,{some(BAG, True, 1)[0]},view,2024-05-20")
    folder = tmp_path_factory.mktemp("taste")
    (folder / "events.csv").write_text("\n".join(lines))
    (folder / "said.csv").write_text("user,consent\nranked-only,rank\n")
    words = [folder / "events.csv", "--catalog", catalog, "--out", folder / "store", "--quiet", "--consent", "all"]
    words += ["--consent-file", folder / "said.csv"]
    result = CliRunner().invoke(events_command, ["ingest", *map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return folder / "store"


def test_dark_boots_are_shown_and_made_and_go_with_the_boots(
    store: Path, run: Path, brightness: dict[str, tuple[str, float]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ["--events", store, "--user", "boots", "--model", run, "--n", 3, "--samples", 120, "--steps", 3]
    words += ["--out", out, "--report", "--quiet", "--json"]
    got = CliRunner().invoke(command, list(map(str, words)), catch_exceptions=False)
    assert got.exit_code == 0, got.output
    result = json.loads(got.output)
    middle = np.median([value for c, value in brightness.values() if c == BOOT])
    shown = [brightness[r["product"]] for r in result["ranked"]]
    assert sum(c == BOOT and value < middle for c, value in shown) >= 9, shown
    touched = {e.product for e in open_store(store).history(pseudonym(read_key(), "boots"))}
    assert len(touched) == 11 and not touched & {r["product"] for r in result["ranked"]}
    # The pictures: boots, and darker than half of the catalogue's boots.
    assert [p["category"] for p in result["pictures"]] == [BOOT] * 3
    pixels = np.stack([decode(Path(p["path"])).pixels[..., :1] for p in result["pictures"]])
    assert (measure_looks(pixels).shapes[:, 0] < middle).all()
    assert all(p["realism"] <= 1 and p["score"] > 0.5 for p in result["pictures"])
    words_said = [p["words"] for p in result["pictures"]]
    assert any("darker" in w for w in words_said) and not any("brighter" in w for w in words_said), words_said
    nearest = [brightness[near["product"]] for p in result["pictures"] for near in p["nearest"]]
    assert sum(c == BOOT for c, _ in nearest) >= 7, nearest
    # Without the boots of the history there is another list, and other pictures.
    assert [w["name"] for w in result["without"]] == [BOOT, TROUSER]
    boots, trousers = result["without"]
    assert boots["effect"] > 0.5 and boots["lost"] >= 9
    assert trousers["effect"] < boots["effect"] and trousers["lost"] < boots["lost"]
    assert sum(brightness[name][0] == TROUSER for name in boots["ranked"]) >= 9
    assert BOOT not in [m["category"] for m in boots["made"]]
    assert {d["name"] for d in result["drivers"]} <= touched and result["drivers"][0]["effect"] > 0
    # The files say that they are generated, and nothing of whom they are for.
    name = pseudonym(read_key(), "boots")
    for picture in result["pictures"]:
        history = Path(picture["path"]).with_name(Path(picture["path"]).name + ".labels.json").read_text()
        assert "trainedAlgorithmicMedia" in history and name not in history
        assert name.encode() not in Path(picture["path"]).read_bytes()
    page = (out / "personalise.html").read_text()
    assert name not in page and "://" not in page
    assert page.count("<img") == 11 + 12 + 3 * 4 + len(result["drivers"]) + 2 * (12 + 3)
    assert page.count("generated picture:") == 3 + 2 * 3


def test_the_same_seed_gives_the_same_pixels_and_a_category_can_be_asked_for(
    store: Path, run: Path, tmp_path: Path
) -> None:
    request = PersonaliseRequest(
        events=store, user="boots", run=run, categories=("bag",), make=SETTINGS, out=tmp_path / "a"
    )
    first = personalise(request)
    again = personalise(replace(request, out=tmp_path / "b"))
    assert [p.category for p in first.pictures] == [BAG] * 3
    for one, two in zip(first.pictures, again.pictures, strict=True):
        assert np.array_equal(decode(one.path).pixels, decode(two.path).pixels)
    with pytest.raises(PackshotError, match="exists already"):
        personalise(request)


def test_who_liked_nothing_gets_what_is_liked_in_general_and_is_told_so(store: Path, run: Path, tmp_path: Path) -> None:
    request = PersonaliseRequest(events=store, user="returner", run=run, make=SETTINGS, out=tmp_path, report=True)
    result = personalise(request)
    assert len(result.pictures) == 3 and len(result.ranked) == 12
    assert "positive about nothing yet" in result.notes[0]
    assert result.drivers == [] and result.without == []
    page = (tmp_path / "personalise.html").read_text()
    assert "no liked product in the history" in page and "Ask next" not in page and "personal data" in page
    few = replace(request, make=MakeSettings(n=20, samples=20, steps=0), out=tmp_path / "few", report=False)
    result = personalise(few)
    assert 0 < len(result.pictures) < 20
    assert f"Of 20 pictures {len(result.pictures)} were made" in result.notes[1]
    with pytest.raises(UsageError, match="--places is 0"):
        personalise(replace(request, places=0))


@pytest.mark.slow
def test_a_newcomer_is_asked_and_gets_what_was_chosen(
    store: Path, run: Path, brightness: dict[str, tuple[str, float]], tmp_path: Path
) -> None:
    request = PersonaliseRequest(events=store, run=run, make=replace(SETTINGS, steps=0), out=tmp_path, overwrite=True)
    result, choices = personalise(request), ""
    assert "nothing is known yet" in result.notes[0] and result.user is None

    def likes(name: str) -> float:
        return 1000.0 * (brightness[name][0] == BAG) + brightness[name][1]  # Bags first, the bright before the dark.

    for _ in range(6):
        first, second = result.next_pair
        choices += "a" if likes(first) > likes(second) else "b"
        result = personalise(replace(request, choices=choices))
    assert "6 choices" in result.notes[0] and result.history == []
    assert [brightness[r.product][0] for r in result.ranked].count(BAG) >= 10
    assert [p.category for p in result.pictures].count(BAG) >= 2
    personalise(replace(request, choices=choices, report=True))
    page = (tmp_path / "personalise.html").read_text()
    assert "Ask next" in page and page.count("data:image/png") >= 2 + len(result.ranked) + len(result.pictures)
    assert "History" not in page and "personal data" not in page and "Why" not in page
    with pytest.raises(UsageError, match="letters a and b"):
        personalise(replace(request, choices="abc"))


def test_a_product_is_redesigned_for_a_group(
    store: Path, run: Path, brightness: dict[str, tuple[str, float]], tmp_path: Path
) -> None:
    product = max((v, n) for n, (c, v) in brightness.items() if c == BOOT)[1]  # The brightest boot,
    words = ["--events", store, "--model", run, "--redesign", product, "--out", tmp_path, "--quiet", "--json"]
    words += ["--group", "boots", "--group", "u3", "--gain", "0.2"]  # for who likes dark ones.
    got = CliRunner().invoke(command, list(map(str, words)), catch_exceptions=False)
    assert got.exit_code == 0, got.output
    result = json.loads(got.output)
    assert result["reached"] and result["after"] >= result["before"] + 0.2 and result["change"] > 0
    assert result["shoppers"] == 2 and result["liked_by"] >= 0.5
    labels = Path(result["picture"] + ".labels.json").read_text()
    assert "trainedAlgorithmicMedia" in labels and pseudonym(read_key(), "boots") not in labels
    assert product in (tmp_path / "packshot.jsonl").read_text()  # So an erasure of the photo finds the picture.
    for more, message in (
        (["--redesign", "no-such"], "no product"),
        (["--group", "nobody"], "knows no such shopper"),
        (["--report"], "not with --redesign"),
    ):
        bad = CliRunner().invoke(command, [*map(str, words), *more, "--out", str(tmp_path / "bad")])
        assert isinstance(bad.exception, UsageError) and message in str(bad.exception)


def test_who_is_unknown_erased_or_did_not_consent_gets_nothing(store: Path, run: Path, tmp_path: Path) -> None:
    request = PersonaliseRequest(events=store, user="nobody", run=run, make=SETTINGS, out=tmp_path / "none")
    with pytest.raises(UsageError, match="knows no such shopper"):
        personalise(request)
    with pytest.raises(UsageError, match="did not consent to 'personalise'"):
        personalise(replace(request, user="ranked-only"))
    forget_user(store, "u0", read_key())
    with pytest.raises(UsageError, match="knows no such shopper"):
        personalise(replace(request, user="u0"))
    with pytest.raises(UsageError, match="Hat"):
        personalise(replace(request, user="boots", categories=("Hat",)))
    assert not (tmp_path / "none").exists()
