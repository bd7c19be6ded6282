"""`create` and the copy gate: from a trained run to pictures that are drawn again, left out, or refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from packshot.catalog import open_catalog
from packshot.core.errors import PackshotError
from packshot.core.runs import RunFolder
from packshot.evaluation import gate_run
from packshot.evaluation.gate import load_index
from packshot.evaluation.gate_run import INDEX
from packshot.sampling.generator import TrainedGenerator
from packshot.tasks import create as task

from .conftest import run_cli, run_json


def pixels(result: dict) -> list[np.ndarray]:
    return [np.asarray(Image.open(path)) for path in result["pictures"]]


def test_train_leaves_an_index_and_create_uses_it(run: Path, tmp_path: Path) -> None:
    index, about = load_index(run / INDEX), RunFolder(run).read()
    assert index.about == about["training_set"]
    assert (len(index.codes), len(index.held_out)) == (about["training_set"]["photos"], 240)
    made = run_json("create", run, "--n", "6", "--seed", "1", "--out", tmp_path)
    assert f"{len(index.codes):,} training photos" in made["copy_gate"] and "240 held-out" in made["copy_gate"]
    assert len(made["pictures"]) == 6


@pytest.fixture
def photos(catalog: Path) -> tuple[np.ndarray, np.ndarray]:
    """The training photos and the held-out ones, without margin."""
    packed = [open_catalog(catalog).packed(split, 32, 1) for split in ("train", "test")]
    train, test = (p.images[:, p.margin : -p.margin, p.margin : -p.margin] for p in packed)
    return np.ascontiguousarray(train), np.ascontiguousarray(test)


@pytest.fixture
def half_copies(photos: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator that gives a training photo or noise, by its own noise alone."""
    train, _ = photos

    def pictures(self: TrainedGenerator, eps: torch.Tensor, labels: object, **_: object) -> np.ndarray:
        out = []
        for row in eps.numpy():
            rng = np.random.default_rng(int(abs(row.sum()) * 1e6))
            out.append(train[rng.integers(len(train))] if row[0] > 0 else rng.integers(0, 256, (28, 28, 1), np.uint8))
        return np.stack(out)

    monkeypatch.setattr(TrainedGenerator, "pictures", pictures)


@pytest.mark.usefixtures("half_copies")
def test_copies_are_drawn_again_and_the_same_each_time(
    run: Path, photos: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    words = ("create", run, "--n", "12", "--seed", "2")
    first, second = (run_json(*words, "--out", tmp_path / name) for name in "ab")
    free = run_json(*words, "--allow-copies", "--out", tmp_path / "c")
    fewer = run_json("create", run, "--n", "5", "--seed", "2", "--out", tmp_path / "d")
    assert first["refused_copies"] == second["refused_copies"] > 0
    known = set(open_catalog(Path(RunFolder(run).read()["catalog"])).manifest(["photo_id"]).to_pydict()["photo_id"])
    assert first["refused_near"] and set(first["refused_near"]) <= known
    assert (free["refused_copies"], "--allow-copies" in free["copy_gate"]) == (0, True)
    for a, b in zip(pixels(first), pixels(second), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(pixels(first)[:5], pixels(fewer), strict=True):
        np.testing.assert_array_equal(a, b)
    copies = {photo.tobytes() for photo in photos[0]}
    before, after = ([p[..., :1].tobytes() in copies for p in pixels(r)] for r in (free, first))
    assert 0 < sum(before) < 12 and not any(after)
    for was_copy, a, b in zip(before, pixels(first), pixels(free), strict=True):
        assert np.array_equal(a, b) != was_copy


@pytest.mark.usefixtures("half_copies")
def test_on_a_way_copies_are_left_out(run: Path, tmp_path: Path) -> None:
    made = run_json("create", run, "--interpolate", "--n", "6", "--seed", "1", "--out", tmp_path)
    assert 0 < made["refused_copies"] < 18
    assert len(made["pictures"]) == len(made["labels"]) == 18 - made["refused_copies"]
    assert f"{made['refused_copies']} of 18 pictures are left out" in made["notes"][0]
    assert sorted(p.name for p in tmp_path.glob("*-way-*.png")) == sorted(Path(p).name for p in made["pictures"])


@pytest.mark.usefixtures("half_copies")
def test_pictures_to_train_on_go_by_the_gate_too(run: Path, catalog: Path, tmp_path: Path) -> None:
    made = run_json("create", run, "--for-training", catalog, "--n", "20", "--out", tmp_path / "both")
    assert made["pictures"] + made["already_there"] == 20
    assert made["refused_copies"] > 0 and "of unseen photos" in made["copy_gate"]


def test_a_photo_to_make_pictures_like_that_was_trained_on_is_told(
    run: Path, photos: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    Image.fromarray(photos[0][3][..., 0]).save(tmp_path / "known.png")
    words = ("create", run, "--like", tmp_path / "known.png", "--n", "2", "--out", tmp_path / "out")
    assert "one of those that the generator was trained on" in run_json(*words)["notes"][0]
    Image.fromarray(photos[0][4][..., 0]).save(tmp_path / "other.png")
    words = ("create", run, "--mix", tmp_path / "known.png", tmp_path / "other.png", "--n", "4", "--out", tmp_path)
    said = run_json(*words)["notes"]
    assert sum("was trained on" in note for note in said) == 1  # Of two photos it is said once.


def test_a_generator_that_gives_its_photos_is_refused(
    run: Path, photos: tuple[np.ndarray, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainedGenerator, "pictures", lambda self, eps, labels, **_: photos[0][: len(labels)])
    with pytest.raises(PackshotError, match="4 of 4 pictures came too near to a training photo"):
        task.create(task.CreateRequest(run=run, out=tmp_path / "out", n=4))
    assert not (tmp_path / "out").exists()
    made = task.create(task.CreateRequest(run=run, out=tmp_path / "out", n=4, allow_copies=True))
    assert len(made.pictures) == 4


def test_an_index_is_made_once_where_it_is_missing(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    whole = (copy / INDEX).read_bytes()
    (copy / INDEX).unlink()
    run_json("create", copy, "--n", "2", "--out", tmp_path / "a")
    assert (copy / INDEX).read_bytes() == whole
    with monkeypatch.context() as patch:
        patch.setattr(gate_run, "index_photos", None)
        run_json("create", copy, "--n", "2", "--out", tmp_path / "b")
    (copy / INDEX).write_bytes(whole[:-5])
    _, error = run_cli("create", copy, "--n", "2", "--out", tmp_path / "c", code=1)
    assert "delete it" in error and error.count("\n") == 1


def test_without_index_and_catalogue_nothing_leaves_unless_it_is_said(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    (copy / INDEX).unlink()
    RunFolder(copy).update(catalog=str(tmp_path / "gone"))
    _, error = run_cli("create", copy, "--n", "2", "--out", tmp_path / "a", code=1)
    assert "cannot be compared with its training photos" in error and "--allow-copies" in error
    assert not (tmp_path / "a").exists()
    assert len(run_json("create", copy, "--n", "2", "--allow-copies", "--out", tmp_path / "a")["pictures"]) == 2


def test_another_runs_index_is_refused(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    shutil.copy(RunFolder.open(Path("fashion-32")).path / INDEX, copy / INDEX)
    _, error = run_cli("create", copy, "--n", "2", "--out", tmp_path / "a", code=1)
    assert "other photos" in error


def test_options_that_do_not_go_together(run: Path, tmp_path: Path) -> None:
    words = ("create", run, "--n", "2", "--out", tmp_path)
    assert "do not go together" in run_cli(*words, "--allow-copies", "--false-alarms", "0.1", code=2)[1]
    assert "between 0 and 1" in run_cli(*words, "--false-alarms", "2", code=2)[1]
    assert "can tell no rate below" in run_cli(*words, "--false-alarms", "0.001", code=2)[1]
