"""The road of `clip`: train, go on, evaluate, search, and the sentences where it cannot be used."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from packshot.models.text import load_text_model

from .conftest import NAMES, run_cli, run_json

SMALL = ["dim=16", "width=16", "layers=1", "heads=2", "group_dim=8", "picture_width=32"]
SETTINGS = [
    word
    for s in (*(f"net.{s}" for s in SMALL), "loop.batch_size=32", "loop.lr_decay_from=1.0", "objective.lr=0.003")
    for word in ("--set", s)
]


def train(catalog: Path, out: Path, budget: str) -> Path:
    run_json("train", catalog, "--out", out, "--model", "clip", "--budget", budget, "--seed", "2", *SETTINGS)
    return out


@pytest.fixture(scope="module")
def clip_run(catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(catalog, tmp_path_factory.mktemp("clip") / "run", "6.4kimg")


def test_a_run_has_a_log_a_card_and_no_sample_grids(clip_run: Path) -> None:
    rows = [json.loads(line) for line in (clip_run / "log.jsonl").read_text().splitlines()]
    assert {"loss", "temperature", "right"} <= rows[-1].keys() and "spread" not in rows[-1]
    assert rows[-1]["loss"] < rows[0]["loss"]
    card = json.loads((clip_run / "card.json").read_text())
    assert card["data"]["licences"] and "words" in card["limits"][0]
    assert not (clip_run / "samples").exists() and not (clip_run / "metrics.jsonl").exists()


def test_a_resumed_run_has_the_weights_of_an_unbroken_one(catalog: Path, clip_run: Path, tmp_path: Path) -> None:
    run_json("train", "--resume", train(catalog, tmp_path / "run", "3.2kimg"), "--budget", "6.4kimg")
    first, second = (load_file(run / "model.safetensors") for run in (clip_run, tmp_path / "run"))
    assert first.keys() == second.keys() and all(np.array_equal(first[k], second[k]) for k in first)


def test_evaluate_finds_the_photos_of_held_out_texts(clip_run: Path) -> None:
    result = run_json("evaluate", clip_run)
    figures = {figure["name"]: figure for figure in result["figures"]}
    name = "photo_to_text_recall_1_clip"
    assert figures[name]["n"] == 240 and figures[name]["low"] > 1.5 * result["chance"][name]
    assert json.loads((clip_run / "evaluation.json").read_text())["figures"] == result["figures"]
    text, _ = run_cli("evaluate", clip_run)
    assert "by chance" in text


def test_search_by_words_and_by_a_photo(catalog: Path, clip_run: Path, tmp_path: Path) -> None:
    words = ["search", catalog, "--model", clip_run, "--out", tmp_path, "--n", "6"]
    for category in NAMES:
        found = run_json(*words, "--text", category, "--overwrite")
        assert found["searched"] > 600 and len(found["matches"]) == 6
        assert [m["category"] for m in found["matches"]].count(category) >= 5
        assert [m["similarity"] for m in found["matches"]] == sorted(m["similarity"] for m in found["matches"])[::-1]
    with Image.open(found["sheet"]) as sheet:
        assert sheet.width > 6 * 100
    photo = Image.fromarray(np.full((28, 28), 30, np.uint8))
    photo.save(tmp_path / "photo.png")
    both = run_json(*words, "--text", "bag", "--like", tmp_path / "photo.png")
    assert Path(both["sheet"]).name == "search-bag-photo.png"
    cached = sorted((catalog / "cache").glob("embeddings-*.safetensors"))
    assert len(cached) == 2  # One a split, however many searches.
    text, _ = run_cli(*words, "--text", "BAG", "--overwrite")
    assert "nearest of" in text


def test_a_photo_of_the_catalogue_finds_itself(catalog: Path, clip_run: Path, tmp_path: Path) -> None:
    from packshot.catalog import open_catalog

    photos = open_catalog(catalog)
    photo_id = photos.packed("test", 32, 1).photo_ids[7]
    Image.fromarray(photos.read(photo_id).pixels).save(tmp_path / "own.png")
    found = run_json("search", catalog, "--model", clip_run, "--out", tmp_path, "--like", tmp_path / "own.png")
    assert found["matches"][0]["similarity"] == pytest.approx(1, abs=1e-3)
    assert photo_id in [m["photo_id"] for m in found["matches"][:3]]


def test_sentences(catalog: Path, clip_run: Path, run: Path, tmp_path: Path) -> None:
    search = ["search", catalog, "--out", tmp_path / "found"]
    for words, code, message in (
        (["create", clip_run, "--out", tmp_path / "x"], 2, "makes no pictures"),
        (["sample", clip_run, "--out", tmp_path / "x.npz"], 2, "makes no pictures"),
        (["report", clip_run], 2, "makes no pictures"),
        (["evaluate", clip_run, "--train-on-synthetic"], 2, "makes no pictures"),
        (["train", catalog, "--out", tmp_path / "r", "--model", "clip", "--set", "data.flip=true"], 2, "data.flip"),
        ([*search, "--model", clip_run], 2, "--text"),
        ([*search, "--model", clip_run, "--text", "bag", "--n", "0"], 2, "1 to 400"),
        ([*search, "--model", run, "--text", "bag"], 2, "knows no texts"),
        ([*search, "--model", tmp_path / "no", "--text", "bag"], 1, "no text model"),
    ):
        _, err = run_cli(*words, code=code)
        assert message in err, words


def test_the_model_of_a_run_is_the_model_of_its_file(clip_run: Path) -> None:
    folder, file = load_text_model(clip_run), load_text_model(clip_run / "model.safetensors")
    assert np.array_equal(folder.encode_texts(["bag"]), file.encode_texts(["bag"]))
    assert folder.about == file.about and folder.size == 32 and folder.channels == 1
