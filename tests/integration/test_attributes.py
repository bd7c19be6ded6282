"""Asking for attributes: train with them, create with them, measure whether they show, through the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from packshot.catalog import open_catalog
from packshot.evaluation.asked import compute_attributes_shown
from packshot.images.seen import name_colours
from packshot.tasks.trained import load_run_generator

from .conftest import LICENCE, run_cli, run_json

SMALL = ["net.width=8", "net.z_dim=8", "net.flow_width=32", "net.flow_blocks=2", "net.guidance=2", "loop.batch_size=32"]
SETS = [word for s in SMALL for word in ("--set", s)]
COLOURS = {"red": (200, 25, 35), "blue": (35, 70, 190), "yellow": (230, 200, 50)}


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue of 240 drawings in three colours and two categories, with a column of the shop's own."""
    folder = tmp_path_factory.mktemp("coloured")
    rng = np.random.default_rng(3)
    lines = ["image,category,Season"]
    for i in range(240):
        picture = np.full((32, 32, 3), rng.integers(225, 250), np.uint8)
        colour = np.array(list(COLOURS.values())[i % 3]) + rng.integers(-15, 16, 3)
        x, y = rng.integers(-3, 4, 2)
        wide = 5 if i % 2 else 10
        picture[6 + y : 26 + y, 16 - wide + x : 16 + wide + x] = np.clip(colour, 0, 255)
        Image.fromarray(picture).save(folder / f"{i:03}.png")
        lines.append(f"{i:03}.png,{'Trouser' if i % 2 else 'Shirt'},{('summer', 'winter')[i % 4 // 2]}")
    (folder / "list.csv").write_text("\n".join(lines))
    run_json("ingest", folder / "list.csv", "--out", folder / "catalog", *LICENCE)
    return folder / "catalog"


@pytest.fixture(scope="module")
def asked_run(coloured: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("asked") / "run"
    options = ["--model", "latent", "--attributes", "colour, Season", "--budget", "12kimg", "--size", "32"]
    run_json("train", coloured, "--out", out, *options, *SETS, "--set", "loop.metrics_every_kimg=0")
    return out


def pictures(*words: str | Path) -> np.ndarray:
    made = run_json("create", *words)["pictures"]
    return np.stack([np.asarray(Image.open(path)) for path in made])


def test_pictures_show_the_colour_that_is_asked_for(asked_run: Path, coloured: Path, tmp_path: Path) -> None:
    for colour in COLOURS:
        made = pictures(asked_run, "--attributes", f"Colour={colour}", "--n", "12", "--out", tmp_path / colour)
        assert name_colours(made).count(colour) >= 9
    train = open_catalog(coloured).packed("train", 32, 3)
    figures = {f.name: f for f in compute_attributes_shown(load_run_generator(asked_run), train, n=60, seed=1)}
    assert list(figures) == ["colour_shown", "colour_unasked"]
    assert figures["colour_shown"].low > figures["colour_unasked"].high


def test_the_history_says_what_was_asked_and_the_same_noise_without_it_is_another_picture(
    asked_run: Path, tmp_path: Path
) -> None:
    words = ["--label", "Shirt", "--n", "3", "--out"]
    asked = pictures(asked_run, "--attributes", "colour=red,season=winter", *words, tmp_path / "a")
    again = pictures(asked_run, "--attributes", "season=winter", "--attributes", "colour=red", *words, tmp_path / "b")
    free = pictures(asked_run, *words, tmp_path / "c")
    assert np.array_equal(asked, again)
    assert not np.array_equal(asked, free)
    made = run_json("create", asked_run, "--attributes", "colour=RED", *words, tmp_path / "d")
    assert made["asked"] == {"attributes": {"colour": "red"}}


@pytest.mark.slow
def test_a_photo_s_siblings_in_another_colour(asked_run: Path, tmp_path: Path) -> None:
    photo = tmp_path / "blue.png"
    picture = np.full((32, 32, 3), 240, np.uint8)
    picture[6:26, 6:26] = COLOURS["blue"]
    Image.fromarray(picture).save(photo)
    words = ["--like", photo, "--variation", "0.3", "--n", "6", "--out", tmp_path / "out"]
    made = pictures(asked_run, *words, "--attributes", "colour=yellow")
    assert name_colours(made).count("yellow") >= 4


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--attributes", "color=red"], "Did you mean 'colour'?"),
        (["--attributes", "colour=orange"], "Unknown value of colour 'orange'."),
        (["--attributes", "colour"], "write it as colour=red"),
        (["--attributes", "colour=red,colour=blue"], "given twice"),
        (["--text", "a red shirt"], "was trained without texts"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(asked_run: Path, tmp_path: Path, words: list[str], sentence: str) -> None:
    assert sentence in run_cli("create", asked_run, *words, "--out", tmp_path / "out", code=2)[1]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("model", "attributes", "sentence"),
    [
        ("vae", "colour", "train with --model latent"),
        ("latent", "colr", "Did you mean 'colour'"),
        ("latent", "title", "no two values"),
    ],
)
def test_what_cannot_be_learned_is_one_sentence(
    coloured: Path, tmp_path: Path, model: str, attributes: str, sentence: str
) -> None:
    words = ["--model", model, "--attributes", attributes, "--budget", "1kimg", "--out", tmp_path / "run"]
    assert sentence in run_cli("train", coloured, *words, code=2)[1]


def test_a_generator_without_attributes_says_so(run: Path, tmp_path: Path) -> None:
    words = ["--attributes", "colour=red", "--out", tmp_path / "out"]
    assert "was trained without attributes" in run_cli("create", run, *words, code=2)[1]


def test_a_run_with_attributes_goes_on_where_it_was(asked_run: Path, tmp_path: Path) -> None:
    about = json.loads((asked_run / "run.json").read_text())
    assert about["conditions"]["attributes"] == {"colour": ["blue", "red", "yellow"], "Season": ["summer", "winter"]}
    assert about["spec"]["conditions"] == [3, 2]
    step = run_json("train", "--resume", asked_run, "--budget", "12.1kimg")["step"]
    assert step > about["step"]


@pytest.fixture(scope="module")
def text_run(coloured: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that learned the photos' texts ("red shirt"); the text model that it was trained with is gone since."""
    folder = tmp_path_factory.mktemp("words")
    small = ["net.dim=16", "net.width=16", "net.picture_width=32", "loop.batch_size=32"]
    sets = [word for s in small for word in ("--set", s)]
    run_json(
        "train", coloured, "--out", folder / "clip", "--model", "clip", "--budget", "6.4kimg", "--size", "32", *sets
    )
    options = ["--model", "latent", "--text-model", folder / "clip", "--budget", "9kimg", "--size", "32"]
    run_json("train", coloured, "--out", folder / "run", *options, *SETS, "--set", "loop.metrics_every_kimg=0")
    (folder / "clip").rename(folder / "elsewhere")
    return folder / "run"


@pytest.mark.slow
def test_words_say_category_and_colour(text_run: Path, tmp_path: Path) -> None:
    for colour in ("red", "blue"):
        words = ["--text", f"{colour} trouser", "--n", "12", "--out", tmp_path / colour]
        made = run_json("create", text_run, *words)
        assert set(made["labels"]) == {"Trouser"}
        assert made["asked"] == {"text": f"{colour} trouser"}
        pixels = np.stack([np.asarray(Image.open(path)) for path in made["pictures"]])
        assert name_colours(pixels).count(colour) >= 8
    both = run_json("create", text_run, "--text", "red", "--label", "Shirt", "--n", "2", "--out", tmp_path / "label")
    assert both["labels"] == ["Shirt", "Shirt"]


def test_a_text_needs_words_and_the_run_s_own_text_model(text_run: Path, asked_run: Path, tmp_path: Path) -> None:
    out = ["--out", tmp_path / "out"]
    elsewhere = text_run.parent / "elsewhere"
    assert "--text is empty" in run_cli("create", text_run, "--text", " ", *out, code=2)[1]
    words = ["create", text_run, "--text", "red trouser", *out]
    assert "knows no texts" in run_cli(*words, "--text-model", asked_run, code=2)[1]
    run_json("train", "--resume", elsewhere, "--budget", "6.5kimg")
    assert "is not the text model" in run_cli(*words, "--text-model", elsewhere, code=1)[1]
    (text_run / "text-model.safetensors").rename(tmp_path / "kept.safetensors")
    try:
        assert "say by --text-model where it is" in run_cli(*words, code=1)[1]
        assert run_json(*words, "--n", "1", "--text-model", tmp_path / "kept.safetensors")["labels"]
    finally:
        (tmp_path / "kept.safetensors").rename(text_run / "text-model.safetensors")
    missing = [
        "--model",
        "latent",
        "--text-model",
        tmp_path / "nowhere",
        "--budget",
        "1kimg",
        "--out",
        tmp_path / "run",
    ]
    catalog = json.loads((text_run / "run.json").read_text())["catalog"]
    assert "There is no text model at" in run_cli("train", catalog, *missing, code=1)[1]
