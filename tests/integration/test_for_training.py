"""`create --for-training`: samples in a catalogue, from the command line to a model that says what it learned from."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from packshot.catalog import Catalog, open_catalog
from packshot.core.files import read_json
from packshot.core.random import draw_subset
from packshot.evaluation.report import run_pictures, trained_photos
from packshot.sampling.generator import load_generator
from tests.catalog_photos import files, photo, write_folder
from tests.catalog_photos import run as ingest
from tests.integration.conftest import LICENCE, NAMES, TINY, run_cli, run_json
from tests.unit.test_catalog_generated import generated

SCRIPT = """
import sys
from pathlib import Path
from packshot.catalog import open_catalog
from packshot.catalog.generated import add_generated
from packshot.catalog.records import PhotoRecord
photos = [PhotoRecord(key=p.name, data=p.read_bytes(), category="Hat") for p in sorted(Path(sys.argv[3]).glob("*.png"))]
add_generated(open_catalog(Path(sys.argv[1])), Path(sys.argv[2]), photos, {"seed": 0})
"""


@pytest.fixture(scope="module")
def made(catalog: Path, run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """The small catalogue with 60 samples of the small run, and what the command said."""
    out = tmp_path_factory.mktemp("made") / "both"
    before = files(catalog)
    result = run_json("create", run, "--for-training", catalog, "--n", "60", "--seed", "4", "--out", out)
    after = files(catalog)
    assert {name: after[name] for name in before} == before
    return out, result


def test_the_new_catalogue(catalog: Path, made: tuple[Path, dict]) -> None:
    out, result = made
    assert result["catalog"] == str(out)
    assert (result["photos"], result["pictures"], result["already_there"]) == (840, 60, 0)
    assert result["per_category"] == dict.fromkeys(NAMES, 20)
    assert result["for_training"] + sum(result["excluded"].values()) == 60
    photos = open_catalog(out)
    photos.verify()
    rows = [r for r in photos.manifest().to_pylist() if r["source_type"] == "trainedAlgorithmicMedia"]
    assert len(rows) == 60
    assert {r["split"] for r in rows} == {"train"}
    assert {r["licence"] for r in rows} == {"CC0-1.0"}
    said = json.loads(rows[7]["extra"])
    assert (said["seed"], said["index"], said["made_by"]) == ("4", "7", "vae")
    assert photos.native == open_catalog(catalog).native
    assert len(photos.packed("test", 32, 1, synthetic=True).images) == 240


def test_equal_to_the_pictures_of_plain_create(run: Path, made: tuple[Path, dict], tmp_path: Path) -> None:
    """And a folder of those, ingested, is known for what it is, and comes to the same pictures."""
    run_json("create", run, "--n", "6", "--seed", "4", "--out", tmp_path / "pictures")
    (tmp_path / "pictures/sheet-4.png").unlink()
    result = run_json("ingest", tmp_path / "pictures", "--out", tmp_path / "again", *LICENCE, "--test-share", "0.5")
    assert (result["photos"], result["synthetic"]["pictures"], result["synthetic"]["for_training"]) == (0, 6, 6)
    assert (
        "6 pictures that say they were generated"
        in run_cli("ingest", tmp_path / "pictures", "--out", tmp_path / "third", *LICENCE)[0]
    )
    hashes = [
        {r["pixel_hash"] for r in open_catalog(path).manifest().to_pylist() if r["source_type"]}
        for path in (made[0], tmp_path / "again")
    ]
    assert len(hashes[1]) == 6
    assert hashes[1] <= hashes[0]


def test_taken_out_and_ingested_again(made: tuple[Path, dict], tmp_path: Path) -> None:
    """Whoever takes the pictures out of the catalogue's shards takes their mark along."""
    import pyarrow.parquet as pq

    (tmp_path / "in").mkdir()
    rows = [r for r in open_catalog(made[0]).manifest().to_pylist() if r["source_type"]]
    for row in rows:
        stored = pq.read_table(made[0] / f"shards/{row['shard']:05d}.parquet")["bytes"][row["row"]].as_py()
        (tmp_path / f"in/{row['photo_id']}.png").write_bytes(stored)
    result = run_json("ingest", tmp_path / "in", "--out", tmp_path / "out", *LICENCE, "--test-share", "0.5")
    assert (result["photos"], result["synthetic"]["pictures"]) == (0, 60)


@pytest.mark.slow
def test_trained_compared_and_reported(made: tuple[Path, dict], tmp_path: Path) -> None:
    """The run learns from both; its card says so; what it is compared with are photos alone."""
    out, result = made
    usable, run, photos = result["for_training"], tmp_path / "run", open_catalog(out)
    run_json("train", out, "--out", run, "--model", "vae", "--budget", "1kimg", *TINY)
    card = read_json(run / "card.json")
    assert card["data"]["synthetic"] == usable > 0
    assert card["data"]["photos"] == {"train": 600, "test": 240}
    about, generator = read_json(run / "run.json"), load_generator(run / "model.safetensors")
    train = run_pictures(photos, about, generator, "train")
    assert [len(run_pictures(photos, about, generator, s).images) for s in ("train", "test")] == [600, 240]
    assert len(photos.packed("train", 32, 1, synthetic=True).images) == 600 + usable
    run_json("report", run)
    page = (run / "report.html").read_text()
    assert f"600 product photos and generated pictures ({usable} in the catalogue)" in page
    assert f"{usable} to train on" in page

    about["config"]["data"]["limit"] = 300  # Drawn among photos and samples; those of them that are photos count.
    seen = trained_photos(train, about, photos)
    rows = drawn(photos, 300, seed=0)
    assert {r["source_type"] for r in rows} == {None, "trainedAlgorithmicMedia"}
    assert seen.photo_ids == [r["photo_id"] for r in rows if r["source_type"] is None]
    assert trained_photos(train, about, photos).labels.shape == (len(seen.photo_ids),)


def drawn(catalog: Catalog, limit: int, seed: int) -> list[dict]:
    rows = [r for r in catalog.manifest().to_pylist() if r["split"] == "train" and not r["excluded"]]
    return [rows[i] for i in draw_subset(len(rows), limit, seed)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--n", "0"], "--n is 0"),
        (["--truncation", "1.5"], "--truncation is 1.5"),
        (["--label", "Trousers"], "Did you mean 'Trouser'"),
        (["--interpolate"], "--interpolate does not go with --for-training"),
        (["--overwrite"], "--overwrite does not go with --for-training"),
        (["--like", "x.jpg"], "--like does not go with --for-training"),
    ],
)
def test_wrong_use(words: list[str], message: str, catalog: Path, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    error = run_cli("create", run, "--for-training", catalog, "--out", out, *words, code=2)[1]
    assert message in error
    assert not out.exists()


def test_without_out_plain_pictures_go_into_their_usual_folder(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = run_json("create", run, "--n", "2")["pictures"]
    assert {Path(path).parent for path in made} == {Path("pictures")}


def test_what_is_missing(catalog: Path, run: Path, tmp_path: Path) -> None:
    assert "is not a catalogue" in run_cli("create", run, "--for-training", tmp_path, code=1)[1]
    assert "is not a run folder" in run_cli("create", tmp_path / "none", "--for-training", catalog, code=1)[1]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue of colour photos of hats and chairs."""
    base = tmp_path_factory.mktemp("shop")
    ingest(write_folder(base / "in", {"Hat": 20, "Chair": 20}), base / "shop", shard_photos=16)
    return base / "shop"


def test_categories_that_the_catalogue_does_not_have(shop: Path, tmp_path: Path) -> None:
    create = ["create", "products-64", "--for-training", shop, "--out", tmp_path / "out"]
    error = run_cli(*create, code=2)[1]
    assert "has no category 'Blazer', 'Blouse'" in error
    assert "name those that it has: --label 'Hat'." in error
    assert "Unknown category of the catalogue 'Shoes'" in run_cli(*create, "--label", "Shoes", code=2)[1]
    assert not (tmp_path / "out").exists()


def test_beside_the_catalogue_unless_said(shop: Path) -> None:
    """Colour samples of another size than the photos; grey and size are settled when they are packed."""
    text = run_cli("create", "products-64", "--for-training", shop, "--label", "hat", "--n", "3")[0]
    assert "40 photos, as they were, and 3 new pictures, marked as synthetic" in text
    both = open_catalog(shop.with_name("shop-synthetic"))
    assert both.summary["synthetic"]["categories"] == {"Hat": 3}
    assert both.packed("train", 32, 1, synthetic=True).images.shape[1:] == (32, 32, 1)
    error = run_cli("create", "products-64", "--for-training", shop, "--label", "hat", "--n", "3", code=1)[1]
    assert "already holds a catalogue; choose another --out" in error


def test_a_grey_generator_among_colour_photos(run: Path, tmp_path: Path) -> None:
    ingest(write_folder(tmp_path / "in", {"Bag": 10, "Trouser": 10}), tmp_path / "shop")
    words = ["--label", "Bag", "--label", "trouser", "--n", "4", "--out", tmp_path / "out"]
    assert run_json("create", run, "--for-training", tmp_path / "shop", *words)["for_training"] == 4
    packed = open_catalog(tmp_path / "out").packed("train", 32, 3, synthetic=True)
    assert (packed.images[-4:] == packed.images[-4:, :, :, :1]).all()
    assert packed.labels[-4:].tolist() == [0, 1, 0, 1]


def appears(path: Path) -> Callable[[], bool]:
    return path.exists


MOMENTS = {
    "at the start": lambda out: appears(out / ".ingest"),
    "with the new shard whole": lambda out: appears(out / ".ingest/00003.json"),
    "while shards are copied": lambda out: appears(out / "shards/00001.parquet"),
    "after the manifest": lambda out: appears(out / "manifest.parquet"),
}


def start(shop: Path, out: Path, pictures: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(shop), str(out), str(pictures)])


@pytest.fixture(scope="module")
def unbroken(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """A folder of 40 generated pictures, and the files of the catalogue that they are added to at one go."""
    base = tmp_path_factory.mktemp("unbroken")
    (base / "in").mkdir()
    for i in range(40):
        (base / f"in/{i:02d}.png").write_bytes(generated(photo(900 + i)))
    assert start(shop, base / "out", base / "in").wait(60) == 0
    return base / "in", files(base / "out")


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_and_done_again(
    moment: str, shop: Path, unbroken: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    before, out, (pictures, whole) = files(shop), tmp_path / "out", unbroken
    process, end = start(shop, out, pictures), time.monotonic() + 60
    there = MOMENTS[moment](out)
    while process.poll() is None and not there():
        assert time.monotonic() < end
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    assert files(shop) == before
    if (out / ".ingest").exists() or not (out / "catalog.json").exists():
        assert start(shop, out, pictures).wait(60) == 0
    assert files(out) == whole
