"""The generators that come with the package: they make pictures at once, and say what they are."""

import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from packshot.core.errors import UsageError
from packshot.core.runs import SHIPPED, RunFolder, shipped_names
from packshot.evaluation.report import write_report
from packshot.evaluation.run import evaluate_run
from packshot.images.decode import decode
from packshot.models.weights import load_tensors
from packshot.release.manifest import read_manifest
from packshot.release.watermark import detect
from packshot.sampling.generator import load_generator
from packshot.tasks.check import check_pictures
from packshot.tasks.create import CreateRequest, create
from packshot.tasks.explain import _photos, explain
from packshot.tasks.trained import load_run_generator
from packshot.training.finetune import open_origin
from packshot.training.run import resume
from tests.integration.conftest import run_json


def test_both_are_there() -> None:
    assert {"fashion-32", "products-64"} <= set(shipped_names())


@pytest.mark.parametrize("name", shipped_names())
def test_pictures_without_training(name: str, tmp_path: Path) -> None:
    category = load_run_generator(Path(name)).categories[3]
    request = CreateRequest(run=Path(name), out=tmp_path, n=3, seed=5, labels=(category.lower(),))
    made = create(request)
    assert made.labels == [category] * 3
    pixels = [np.asarray(Image.open(p)) for p in made.pictures]
    assert all(p.std() > 5 for p in pixels)  # Not a blank.
    assert not np.array_equal(pixels[0], pixels[1])
    assert made.source_type == "trainedAlgorithmicMedia"


def test_small_pictures_are_enlarged_to_the_size_that_a_channel_takes(tmp_path: Path) -> None:
    request = CreateRequest(run=Path("fashion-32"), out=tmp_path / "large", n=2, size=500, labels=("bag",))
    small = create(CreateRequest(run=Path("fashion-32"), out=tmp_path / "small", n=2, labels=("bag",)))
    large = create(request)
    assert large.source_type == "trainedAlgorithmicMedia"
    for one, other in zip(small.pictures, large.pictures, strict=True):
        plain = Image.open(one).resize((500, 500), Image.Resampling.LANCZOS)
        pixels = np.asarray(Image.open(other)).astype(int)
        assert pixels.shape == (500, 500, 3)
        assert 0 < np.abs(pixels - np.asarray(plain)).mean() < 20  # The same picture, by more than resizing.
    checked = check_pictures(large.pictures, "google-merchant", on=date(2027, 1, 31), quiet=True)
    status = {f.rule: f.status for p in checked.pictures for f in p.findings}
    assert (status["size-2027"], status["label"]) == ("pass", "pass")
    with pytest.raises(UsageError, match="--size is 0"):
        create(CreateRequest(run=Path("fashion-32"), out=tmp_path, size=0))


def test_a_new_picture_says_so_where_channel_and_law_let_it(tmp_path: Path) -> None:
    words = ("create", "fashion-32", "--label", "bag", "--n", "1", "--size", "320", "--seed", "4")
    plain = run_json(*words, "--out", tmp_path / "plain")
    marked = run_json(*words, "--channel", "amazon-secondary", "--out", tmp_path / "marked")
    main = run_json(*words, "--channel", "google-merchant", "--out", tmp_path / "main")
    files = {}
    for name, made in {"plain": plain, "marked": marked, "main": main}.items():
        data = Path(made["pictures"][0]).read_bytes()
        manifest = read_manifest(data, "image/png")
        beside = json.loads(Path(f"{made['pictures'][0]}.labels.json").read_text())
        assert manifest is not None and beside["notice"]["en"]["caption"] == "Generated with AI"
        files[name] = decode(data).pixels, manifest.actions, beside["notice"].get("placed", {}).get("place")
        found = detect(decode(data).pixels)
        assert found is not None and f"{found.ident:010x}" == manifest.own["mark"]
    assert "c2pa.addedText" in files["marked"][1] and files["marked"][2] in ("corner", "padding")
    assert "c2pa.addedText" not in files["main"][1] and files["main"][2] == "beside"
    assert any("google-merchant" in note for note in main["notes"])
    assert files["plain"][0].shape[1] == files["marked"][0].shape[1] == 320
    refused = run_json(*words, "--channel", "google-merchant", "--notice", "corner", "--out", tmp_path / "no", code=1)
    assert "google-merchant" in refused["error"] and not list(tmp_path.glob("no/*"))


@pytest.mark.parametrize("name", shipped_names())
def test_files_are_small_half_precision_and_without_paths(name: str) -> None:
    run = RunFolder.open(Path(name))
    assert run.model_file.stat().st_size <= 12_000_000
    tensors, _ = load_tensors(run.model_file)
    assert {t.dtype for t in tensors.values() if t.is_floating_point()} == {torch.float16}
    text = run.run_file.read_text() + run.card_file.read_text()
    assert '"catalog"' not in text
    assert "/tmp" not in text
    assert sum(f.stat().st_size for f in SHIPPED.rglob("*") if f.is_file()) < 24_000_000


@pytest.mark.parametrize("name", shipped_names())
def test_cards_state_licence_figures_limits_and_recipe(name: str) -> None:
    card = json.loads(RunFolder.open(Path(name)).card_file.read_text())
    assert set(card["data"]["licences"]) <= {"CC0-1.0", "MIT"}
    assert card["name"] == name
    assert {"agreement", "kid_efflite0"} <= {f["name"] for f in card["figures"]}
    assert card["limits"]
    assert (Path(__file__).parents[2] / card["recipe"]).exists()


def test_they_are_read_and_never_written(tmp_path: Path) -> None:
    name = Path(shipped_names()[0])
    with pytest.raises(UsageError, match="--from"):
        resume(name)
    with pytest.raises(UsageError, match=r"card\.json"):
        write_report(name)
    with pytest.raises(UsageError, match="--out"):
        explain(name)
    with pytest.raises(UsageError, match="--catalog"):
        evaluate_run(name, quiet=True)


def test_a_folder_of_the_same_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = shipped_names()[0]
    RunFolder.create(tmp_path / name).write({"mine": True})
    monkeypatch.chdir(tmp_path)
    assert RunFolder.open(Path(name)).path == Path(name)


@pytest.mark.parametrize("name", shipped_names())
def test_training_can_begin_with_them(name: str) -> None:
    origin = open_origin(Path(name))
    assert origin.sampler_only
    assert origin.categories == load_run_generator(Path(name)).categories


def test_an_explanation_names_no_option_that_it_does_not_have() -> None:
    photos, note = _photos({}, load_run_generator(Path(shipped_names()[0])), shipped=True)
    assert photos is None and "do not come with it" in note and "--" not in note


def test_a_generator_can_be_asked_to_sample_otherwise() -> None:
    path = RunFolder.open(Path("fashion-32")).trained_model()
    own, typical = load_generator(path), load_generator(path, ["net.guidance=3", "net.truncation_psi=0.1"])
    assert own.network.flow.guidance == 4 and typical.network.flow.guidance == 3
    pictures = [g.sample([3] * 6, 1).astype(np.float32) for g in (own, typical)]
    assert pictures[1].std(0).mean() < 0.5 * pictures[0].std(0).mean()
    for setting, says in (
        ("net.width=64", "does not fit the trained weights"),
        ("net.guidence=3", "Did you mean 'guidance'"),
        ("net.guidance=99", "has to lie in"),
        ("model=vae", "only settings of the network"),
    ):
        with pytest.raises(UsageError, match=says):
            load_generator(path, [setting])
