"""The main road through the command line: ingest, train, create, sample, evaluate, report."""

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from packshot.core.runs import read_jsonl
from packshot.images.decode import decode
from packshot.models.table import MODELS

from .conftest import INGEST, TINY, run_cli, run_json


def test_training_leaves_a_whole_run_folder(run: Path) -> None:
    about = json.loads((run / "run.json").read_text())
    assert about["state"] == "finished"
    assert about["images"] == 16_000
    assert about["config"]["seed"] == 5
    assert len(about["catalog_checksum"]) == 64
    log = read_jsonl(run / "log.jsonl")
    assert log[-1]["step"] == 1000
    assert log[-1]["data"] < 0.5 * log[0]["data"], "the model did not learn"
    card = json.loads((run / "card.json").read_text())
    assert card["data"]["licences"] == {"CC0-1.0": 840}
    assert (run / "samples" / "000016kimg.png").exists()
    assert read_jsonl(run / "metrics.jsonl"), "no figures were made on schedule"


def test_same_seed_same_pixels_and_labelled_as_generated(run: Path, tmp_path: Path) -> None:
    a = run_json("create", run, "--label", "Ankle boot", "--n", "4", "--seed", "7", "--out", tmp_path / "a")
    b = run_json("create", run, "--label", "ankle boot", "--n", "4", "--seed", "7", "--out", tmp_path / "b")
    c = run_json("create", run, "--label", "Ankle boot", "--n", "4", "--seed", "8", "--out", tmp_path / "c")
    assert a["labels"] == ["Ankle boot"] * 4
    assert a["source_type"] == "trainedAlgorithmicMedia"
    for left, right, other in zip(a["pictures"], b["pictures"], c["pictures"], strict=True):
        same, again, different = (decode(Path(p)) for p in (left, right, other))
        np.testing.assert_array_equal(same.pixels, again.pixels)
        assert same.metadata.xmp == again.metadata.xmp  # The id, too.
        assert not np.array_equal(same.pixels, different.pixels)
        with Image.open(left) as picture:
            assert picture.size == (28, 28)
            assert "trainedAlgorithmicMedia" in picture.info["xmp"].decode()
    assert Path(a["sheet"]).exists()


def test_created_files_are_never_overwritten_unless_asked(run: Path, tmp_path: Path) -> None:
    run_cli("create", run, "--n", "2", "--out", tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    _, error = run_cli("create", run, "--n", "2", "--out", tmp_path, code=1)
    assert "--overwrite" in error
    assert before == {p: p.read_bytes() for p in tmp_path.iterdir()}
    run_cli("create", run, "--n", "2", "--out", tmp_path, "--overwrite")


def test_samples_are_data_in_equal_shares(run: Path, tmp_path: Path) -> None:
    result = run_json("sample", run, "--n", "100", "--seed", "3", "--out", tmp_path / "s.npz")
    assert sum(result["per_category"].values()) == 100
    with np.load(tmp_path / "s.npz") as data:
        assert data["images"].shape == (100, 28, 28, 1)
        assert data["images"].dtype == np.uint8
        assert sorted(np.bincount(data["labels"]).tolist()) == [33, 33, 34]
        assert len(data["categories"]) == 3
    again = tmp_path / "again.npz"
    run_cli("sample", run, "--n", "100", "--seed", "3", "--out", again)
    with np.load(again) as a, np.load(tmp_path / "s.npz") as b:
        assert np.array_equal(a["images"], b["images"])


@pytest.mark.slow
def test_evaluation_is_honest_about_few_pictures_and_the_report_is_self_contained(run: Path) -> None:
    result = run_json("evaluate", run, "--n", "300", "--seed", "1")
    figures = {f["name"]: f for f in result["figures"]}
    distance = next(f for name, f in figures.items() if name.startswith("fd_efflite0"))
    assert distance["value"] is None
    assert distance["warning"]
    kid = figures["kid_efflite0"]
    assert kid["low"] <= kid["value"] <= kid["high"]
    assert all(f["n"] > 0 and "seed" in f for f in result["figures"])
    page = Path(run_json("report", run)["report"]).read_text()
    assert not re.search(r"(src|href)=[\"'](?!data:|#)", page), "the page loads something"
    pictures = re.findall(r"data:image/png;base64,([^\"]+)", page)
    assert len(pictures) >= 9
    for picture in pictures[:9]:
        Image.open(io.BytesIO(base64.b64decode(picture))).verify()
    for text in ("Ankle boot", "CC0-1.0", "kid_efflite0", "--seed 5", "<svg"):
        assert text in page


@pytest.mark.parametrize("model", ["dcgan", pytest.param("gan-reference", marks=pytest.mark.slow)])
def test_every_other_model_trains_and_creates(model: str, catalog: Path, tmp_path: Path) -> None:
    small = ["--set", "net.g_width=8", "--set", "net.d_width=8", "--set", "loop.batch_size=16"]
    result = run_json("train", catalog, "--out", tmp_path / "run", "--model", model, "--budget", "0.5kimg", *small)
    assert (result["state"], result["images"]) == ("finished", 512)
    run_json("create", tmp_path / "run", "--n", "3", "--out", tmp_path / "out")


def test_models_lists_the_table() -> None:
    assert {m["name"] for m in run_json("models")["models"]} == set(MODELS)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["create", "RUN", "--label", "Ankel boot", "--out", "OUT"], 2, "Did you mean 'Ankle boot'"),
        (["create", "RUN", "--n", "0", "--out", "OUT"], 2, "at least 1"),
        (["create", "MISSING", "--out", "OUT"], 1, "not a run folder"),
        (["create", "RUN", "--lable", "Bag", "--out", "OUT"], 2, "--label"),
        (["sample", "RUN", "--out", "OUT"], 2, ".npz"),
        (["train", "CATALOG", "--out", "RUN", "--budget", "1kimg"], 1, "exists already"),
        (["train", "CATALOG", "--out", "OUT", "--model", "dcgann"], 2, "Did you mean 'dcgan'"),
        (["train", "CATALOG", "--out", "OUT", "--set", "loop.batchsize=3"], 2, "Did you mean 'batch_size'"),
        (["train", "CATALOG", "--out", "OUT", "--size", "48"], 2, "32 or 64 px"),
        (["train", "CATALOG", "--out", "OUT", "--budget", "soon"], 2, "is no budget"),
        (["train", "MISSING", "--out", "OUT"], 1, "MISSING"),
        (["train", "--resume", "MISSING"], 1, "not a run folder"),
        (["evaluate", "MISSING"], 1, "not a run folder"),
        (["report", "MISSING"], 1, "not a run folder"),
        (["ingets"], 2, "Did you mean 'ingest'"),
    ],
)
def test_wrong_commands_are_one_clear_sentence(
    words: list[str], code: int, message: str, run: Path, catalog: Path, tmp_path: Path
) -> None:
    names = {"RUN": run, "CATALOG": catalog, "MISSING": tmp_path / "MISSING", "OUT": tmp_path / "out"}
    before = (run / "model.safetensors").read_bytes()
    error = run_json(*[names.get(w, w) for w in words], code=code)
    assert message in error["error"]
    assert error["exit_code"] == code
    assert "\n" not in error["error"]
    assert (run / "model.safetensors").read_bytes() == before


@pytest.mark.slow
def test_a_changed_catalogue_is_noticed(source: Path, tmp_path: Path) -> None:
    run_json("ingest", source, "--out", tmp_path / "cat", *INGEST)
    run_json("train", tmp_path / "cat", "--out", tmp_path / "run", "--budget", "0.2kimg", *TINY)
    for p in sorted((tmp_path / "cat").rglob("*"), reverse=True):
        p.unlink() if p.is_file() else p.rmdir()
    run_json("ingest", source, "--out", tmp_path / "cat", "--seed", "9", "--max-side", "20", *INGEST)
    for words in (["train", "--resume", tmp_path / "run", "--budget", "1kimg"], ["report", tmp_path / "run"]):
        assert "changed" in run_json(*words, code=1)["error"]
