"""Working with a trained generator through the command line: truncation, photos, ways, explain, export."""

import hashlib
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from packshot.tasks.export import export
from packshot.tasks.trained import load_run_generator

from .conftest import product, run_cli, run_json


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "My boot.png"
    Image.fromarray(product(np.random.default_rng(7), 1)).resize((56, 56), Image.Resampling.NEAREST).save(path)
    return path


@pytest.fixture(scope="module")
def gan(catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gan") / "run"
    small = ["net.g_width=8", "net.d_width=8", "loop.batch_size=16"]
    sets = [word for s in small for word in ("--set", s)]
    run_json("train", catalog, "--out", out, "--model", "dcgan", "--budget", "0.5kimg", *sets)
    return out


def pixels(path: str | Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert "trainedAlgorithmicMedia" in picture.info["xmp"].decode()
        return np.asarray(picture).astype(int)


def test_truncation_makes_pictures_of_a_category_alike(run: Path, tmp_path: Path) -> None:
    spread = {}
    for psi in ("1", "0.3", "0"):
        out = ["--out", tmp_path / psi, "--label", "Bag", "--n", "6", "--truncation", psi]
        made = run_json("create", run, *out)["pictures"]
        spread[psi] = np.stack([pixels(p) for p in made]).std(0).mean()
    assert spread["1"] > 1.5 * spread["0.3"] > 0
    assert spread["0"] == 0


@pytest.mark.slow
def test_like_a_photo(run: Path, photo: Path, tmp_path: Path) -> None:
    one = run_json("create", run, "--like", photo, "--variation", "0", "--out", tmp_path / "0")
    assert len(one["pictures"]) == 1
    (about,) = one["ingredients"]
    assert about["name"] == "My boot.png"
    assert about["sha256"] == hashlib.sha256(photo.read_bytes()).hexdigest()
    assert about["label"] == one["labels"][0] == "Ankle boot"
    own = pixels(one["pictures"][0])
    with Image.open(photo) as original:
        small = np.asarray(original.resize((28, 28), Image.Resampling.LANCZOS)).astype(int)
    assert np.sqrt(np.square(own[..., 0] - small).mean()) == pytest.approx(about["rms"], abs=0.5)
    assert about["rms"] < 0.6 * small.std()
    distance = {}
    for variation in ("0.2", "1"):
        words = ["--like", photo, "--variation", variation, "--n", "5", "--out", tmp_path / variation]
        made = [pixels(p) for p in run_json("create", run, *words)["pictures"]]
        distance[variation] = np.mean([np.sqrt(np.square(p - own).mean()) for p in made])
    assert 0 < distance["0.2"] < 0.8 * distance["1"]
    with Image.open(one["sheet"]) as sheet:  # It shows the photo, so it is not generated as a whole.
        assert "compositeWithTrainedAlgorithmicMedia" in sheet.info["xmp"].decode()
    bag = run_json("create", run, "--like", photo, "--label", "Bag", "--n", "1", "--out", tmp_path / "bag")
    assert bag["ingredients"][0]["label"] == "Bag"


def test_a_mix_of_two_samples_begins_and_ends_with_them(run: Path, tmp_path: Path) -> None:
    samples = run_json("create", run, "--n", "6", "--seed", "4", "--out", tmp_path / "s")
    mixed = run_json("create", run, "--mix", "1", "5", "--n", "5", "--seed", "4", "--out", tmp_path / "m")
    ends = [pixels(mixed["pictures"][i]) for i in (0, -1)]
    for end, i in zip(ends, (1, 5), strict=True):
        assert np.abs(end - pixels(samples["pictures"][i])).max() <= 1
    assert mixed["labels"][0] == samples["labels"][1]
    assert mixed["labels"][-1] == samples["labels"][5]
    assert mixed["ingredients"] == []


def test_a_mix_of_a_photo_and_a_sample(run: Path, photo: Path, tmp_path: Path) -> None:
    mixed = run_json("create", run, "--mix", photo, "2", "--n", "4", "--out", tmp_path)
    assert len(mixed["pictures"]) == 4
    assert [i["name"] for i in mixed["ingredients"]] == ["My boot.png"]
    assert mixed["labels"][0] == "Ankle boot"


def test_interpolation_has_a_row_for_each_category(run: Path, tmp_path: Path) -> None:
    words = ["--interpolate", "--n", "4", "--label", "Bag", "--label", "Trouser", "--out", tmp_path]
    result = run_json("create", run, *words)
    assert result["labels"] == ["Bag"] * 4 + ["Trouser"] * 4
    frames = [pixels(p) for p in result["pictures"][:4]]
    steps = [np.abs(a - b).mean() for a, b in pairwise(frames)]
    assert 0 < max(steps) < np.abs(frames[0] - frames[3]).mean()


@pytest.mark.slow
def test_an_explanation_names_directions_and_finds_photos(run: Path, gan: Path, tmp_path: Path) -> None:
    result = run_json("explain", run, "--n", "200", "--out", tmp_path / "vae")
    assert json.loads((tmp_path / "vae" / "explain.json").read_text()) == result
    assert {d["method"] for d in result["directions"]} == {"factor", "codes"}
    named = [d for d in result["directions"] if d["name"] != "no clear effect"]
    assert named
    assert result["directions"][0]["effect"] == max(d["effect"] for d in named)
    for direction in result["directions"]:
        pixels(tmp_path / "vae" / direction["sheet"])
        if direction["effect"] is not None:
            assert direction["effect"] == direction["effects"][direction["name"]] > 0
    assert "looks like Bag" in result["attributes"]
    assert "no discriminator" in result["discriminator"]["note"]
    assert len(result["nearest"]["pairs"]) == 16
    assert all(p["thumbnails"]["pixel_rms"] > 0 for p in result["nearest"]["pairs"])
    other = run_json("explain", gan, "--n", "200")
    assert 0 <= other["discriminator"]["share_on_object"] <= 1
    for name in ("discriminator.png", "nearest.png", "explain.json"):
        assert (gan / "explain" / name).exists()


@pytest.mark.slow
def test_an_explanation_goes_on_without_photos_or_checkpoints(gan: Path, tmp_path: Path) -> None:
    for name in ("run.json", "model.safetensors"):
        (tmp_path / name).write_bytes((gan / name).read_bytes())
    about = json.loads((gan / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**about, "catalog": str(tmp_path / "gone")}))
    result = run_json("explain", tmp_path, "--n", "100")
    assert result["nearest"]["note"].startswith("Photos not found")
    assert "no checkpoint" in result["discriminator"]["note"]
    assert result["directions"]
    assert all(d["category_changed"] is None for d in result["directions"])


@pytest.mark.parametrize("psi", ["1", "0.6"])
def test_an_onnx_file_makes_the_same_pictures(psi: str, run: Path, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    file = tmp_path / "g.onnx"
    result = run_json("export", run, "--onnx", file, "--truncation", psi)
    assert result["difference"] <= 1
    assert min(result["torch_pictures_per_second"], result["onnx_pictures_per_second"]) > 0
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    generator = load_run_generator(run)
    assert json.loads(facts["categories"]) == list(generator.categories)
    assert json.loads(facts["card"])["data"]["licences"] == {"CC0-1.0": 840}
    z, label = generator.noise(9, 0, 5), torch.tensor([0, 1, 2, 0, 1])
    (made,) = session.run(None, {"z": z.numpy(), "label": label.numpy()})
    ours = generator.pictures(z, label, truncation_psi=float(psi))
    assert made.dtype == np.uint8
    assert np.abs(made.astype(int) - ours).max() <= 1


def test_an_onnx_file_that_differs_is_removed(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr("packshot.tasks.export._difference", lambda ours, theirs: 2)
    with pytest.raises(Exception, match="differ from torch's by up to 2"):
        export(run, tmp_path / "g.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["create", "RUN", "--truncation", "1.2", "--out", "OUT"], 2, "from 0 to 1"),
        (["create", "RUN", "--like", "PHOTO", "--variation", "-1", "--out", "OUT"], 2, "from 0 to 1"),
        (["create", "RUN", "--variation", "0.5", "--out", "OUT"], 2, "--like"),
        (["create", "RUN", "--like", "PHOTO", "--interpolate", "--out", "OUT"], 2, "do not go together"),
        (["create", "RUN", "--like", "PHOTO", "--truncation", "0.5", "--out", "OUT"], 2, "--truncation"),
        (["create", "RUN", "--like", "MISSING", "--out", "OUT"], 1, "MISSING"),
        (["create", "RUN", "--like", "RUN/run.json", "--out", "OUT"], 1, "run.json"),
        (["create", "RUN", "--like", "PHOTO", "--label", "Bagg", "--out", "OUT"], 2, "Did you mean 'Bag'"),
        (["create", "RUN", "--mix", "1", "MISSING", "--out", "OUT"], 1, "MISSING"),
        (["create", "RUN", "--mix", "1", "2", "--n", "1", "--out", "OUT"], 2, "at least 2"),
        (["explain", "MISSING"], 1, "not a run folder"),
        (["explain", "RUN", "--n", "5"], 2, "at least 100"),
        (["export", "RUN", "--onnx", "OUT"], 2, ".onnx"),
        (["export", "MISSING", "--onnx", "a.onnx"], 1, "not a run folder"),
        (["export", "RUN", "--onnx", "a.onnx", "--truncation", "2"], 2, "from 0 to 1"),
    ],
)
def test_wrong_commands_are_one_clear_sentence(
    words: list[str], code: int, message: str, run: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"RUN": run, "PHOTO": photo, "MISSING": "MISSING", "OUT": "out", "RUN/run.json": run / "run.json"}
    error = run_json(*[names.get(w, w) for w in words], code=code)
    assert message in error["error"]
    assert "\n" not in error["error"]
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_a_model_says_how_to_finish_it(run: Path, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes((run / "run.json").read_bytes())
    for words in (["explain", tmp_path], ["export", tmp_path, "--onnx", tmp_path / "a.onnx"]):
        _, error = run_cli(*words, code=1)
        assert "--resume" in error
