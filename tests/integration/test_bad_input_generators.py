"""Bad input of every kind: one clear sentence, the right exit code, nothing written, nothing changed."""

import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from .conftest import INGEST, LICENCE, product, run_cli, run_json, write_idx

SMALL = ["--set", "net.width=8", "--set", "net.z_dim=8", "--set", "loop.batch_size=8"]
SHORT = ["--budget", "0.01kimg", "--set", "loop.samples_every_kimg=0", "--set", "loop.metrics_every_kimg=0"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grey catalogue, an RGB one, one of a single photo, tiny runs, and files that are none of ours."""
    w = tmp_path_factory.mktemp("world")
    source, colours, one = w / "idx", w / "colours" / "red", w / "one" / "red"
    for folder in (source, colours, one):
        folder.mkdir(parents=True)
    write_idx(source, "train", 24, 1)
    write_idx(source, "t10k", 12, 2)
    rng = np.random.default_rng(3)
    for i in range(12):
        grey = np.kron(product(rng, i % 2), np.ones((2, 2), np.uint8))
        Image.fromarray(np.stack([grey, grey // 3, grey // 5], axis=2)).save(colours / f"{i}.png")
    shutil.copy(colours / "0.png", one)
    run_cli("ingest", source, "--out", w / "grey", *INGEST)
    run_cli("ingest", colours.parent, "--out", w / "rgb", *LICENCE)
    run_cli("ingest", one.parent, "--out", w / "single", *LICENCE)
    run_cli("train", w / "grey", "--out", w / "run", *SMALL, *SHORT)
    run_cli("train", w / "rgb", "--out", w / "run-rgb", "--size", "32", *SMALL, *SHORT)
    write_strangers(w)
    return w


class Evil:
    """Unpickled, it makes a file."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, ("unpickled",)


def write_strangers(w: Path) -> None:
    """Writes weights files of others, damaged ones, and runs that hold them."""
    own = (w / "run" / "model.safetensors").read_bytes()
    headers = {
        "foreign": None,
        "headless": "{}",
        "listed": "[]",
        "wrong": '{"model": ["vae"], "net": {}, "spec": {"size": 32, "channels": 1, "categories": 3}, '
        '"categories": ["a"], "margin": 0}',
        "typed": '{"model": "vae", "net": 3, "spec": {"size": 32, "channels": 1, "categories": 3}, '
        '"categories": ["a"], "margin": 0}',
    }
    files = {"cut": own[: len(own) // 2], "empty": b"", "pickled": pickle.dumps(Evil())}
    for name, header in headers.items():
        save_file({"w": torch.zeros(3)}, w / "file", metadata=None if header is None else {"packshot": header})
        files[name] = (w / "file").read_bytes()
    (w / "file").unlink()
    for name, data in files.items():
        (w / f"{name}.safetensors").write_bytes(data)
        shutil.copytree(w / "run", w / f"run-{name}")
        (w / f"run-{name}" / "model.safetensors").write_bytes(data)
    (w / "evil.pt").write_bytes(pickle.dumps(Evil()))
    shutil.copytree(w / "run", w / "run-half")
    for checkpoint in (w / "run-half" / "checkpoints").iterdir():
        checkpoint.write_bytes(checkpoint.read_bytes()[:-50])
    about = json.loads((w / "run" / "run.json").read_text())
    damaged = {
        "torn": "{",
        "null": "null",
        "bare": "{}",
        "net": json.dumps({**about, "config": {**about["config"], "net": 7}}),
        "data": json.dumps({**about, "config": {**about["config"], "data": None}}),
        "path": json.dumps({**about, "catalog": 5}),
    }
    for name, text in damaged.items():
        shutil.copytree(w / "run", w / f"json-{name}")
        (w / f"json-{name}" / "run.json").write_text(text)
    recipes = {
        "key": "bogus = 1",
        "section": "[losp]\nbatch_size = 8",
        "setting": "[loop]\nbatchsize = 8",
        "other": 'model = "dcgan"\n[objective]\nr1_gamma = 1.0',
        "syntax": "[loop",
        "model": "model = []",
        "group": "loop = 3",
    }
    for name, text in recipes.items():
        (w / f"{name}.toml").write_text(text)
    (w / "binary.toml").write_bytes(b"\xff\xfe\x00")
    (w / "plain").write_text("mine")


def contents(folder: Path) -> dict[str, str]:
    """Returns the checksum of every file below a folder, caches apart."""
    files = (p for p in folder.rglob("*") if p.is_file() and "cache" not in p.parts)
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


TRAIN = "train W/grey --out out"
CREATE = "create W/run --n 2 --out out"
TABLE = [
    # Recipes and settings.
    (f"{TRAIN} --recipe W/key.toml", 2, "Unknown setting 'bogus'"),
    (f"{TRAIN} --recipe W/section.toml", 2, "Did you mean 'loop'"),
    (f"{TRAIN} --recipe W/setting.toml", 2, "Did you mean 'batch_size'"),
    (f"{TRAIN} --recipe W/other.toml --model vae", 2, "Unknown setting 'objective.r1_gamma'"),
    (f"{TRAIN} --recipe W/syntax.toml", 2, "not valid TOML"),
    (f"{TRAIN} --recipe W/binary.toml", 2, "not valid TOML"),
    (f"{TRAIN} --recipe W/model.toml", 2, "'model' is []"),
    (f"{TRAIN} --recipe W/group.toml", 2, "'loop' is a group"),
    (f"{TRAIN} --recipe W/none.toml", 1, "no such file"),
    (f"{TRAIN} --set loop.batch_size=x", 2, "of type int"),
    (f"{TRAIN} --set loop.batch_size=-1", 2, "at least 2"),
    (f"{TRAIN} --set loop.batch_size=1e9", 2, "of type int"),
    (f"{TRAIN} --set loop.batch_size=1000000000", 2, "only 24 photos"),
    (f"{TRAIN} --set objective.lr=nan", 2, "'objective.lr' is nan; it has to be a finite number"),
    (f"{TRAIN} --set objective.lr=inf", 2, "finite"),
    (f"{TRAIN} --set loop.samples_every_kimg=nan", 2, "finite"),
    (f"{TRAIN} --set loop.samples_every_kimg=-1", 2, "at least 0"),
    (f"{TRAIN} --set loop.metrics_pictures=1000000000000", 2, "1 to 100,000"),
    (f"{TRAIN} --set objective.lr=1{'0' * 400}", 2, "finite"),
    (f"{TRAIN} --set net.z_dim=1{'0' * 30}", 2, "below 2^63"),
    (f"{TRAIN} --set loop.batch_size=8 --set net.z_dim=1{'0' * 17}", 2, "cannot be that large"),
    (f"{TRAIN} --set loop.batch_size=8 --set net.width=100000", 1, "GiB of memory"),
    (f"{TRAIN} --budget {'9' * 400}s", 2, "no budget"),
    (f"{TRAIN} --model=", 2, "Unknown model ''"),
    (f"{TRAIN} --model dcgna", 2, "Did you mean 'dcgan'"),
    (f"{TRAIN} --size 48", 2, "32 or 64"),
    (f"{TRAIN} --accelerator cuda", 2, "choose others by --accelerator"),
    (f"{TRAIN} --devices 0", 2, "at least 1"),
    # Catalogues.
    ("train W/grey --out out --set loop.batch_size=128", 2, "only 24 photos to train on, too few for batches of 128"),
    ("train W/single --out out", 1, "only one photo"),
    ("train W/colours --out out", 1, "not a catalogue"),
    ("train W/rgb --out out --from W/run --set loop.batch_size=8", 2, "grey pictures, this run 32 px RGB"),
    (f"{TRAIN} --from W/run-rgb --set loop.batch_size=8", 2, "RGB pictures, this run 32 px grey"),
    ("train W/rgb --out out --from fashion-32 --set loop.batch_size=8", 2, "--set data.channels=1"),
    ("evaluate W/run --n 4 --catalog W/rgb", 1, "not the one this run was trained on"),
    # What to begin with.
    *((f"{TRAIN} --from W/{name}.safetensors", 1, name) for name in ("cut", "empty", "pickled", "foreign", "headless")),
    *((f"{TRAIN} --from W/{name}.safetensors", 1, name) for name in ("listed", "wrong", "typed")),
    (f"{TRAIN} --from W/evil.pt", 1, "no .safetensors file"),
    (f"{TRAIN} --from W/run-half --set loop.batch_size=8", 1, "damaged"),
    (f"{TRAIN} --from W/run --set loop.batch_size=8 --model dcgan", 2, "add --model vae"),
    (f"{TRAIN} --from W/run --set loop.batch_size=8 --size 64", 2, "add --set data.size=32"),
    (f"{TRAIN} --from W/run --set loop.batch_size=8 --set net.width=16", 2, "add --set net.width=8"),
    (f"{TRAIN} --from fashion32", 1, "fashion-32"),
    (f"{TRAIN} --from W/grey", 1, "not a run folder"),
    (f"{TRAIN} --from /dev/null", 1, "not a run folder"),
    # Runs with a file of another.
    *((f"create W/run-{name} --out out", 1, "model.safetensors") for name in ("cut", "empty", "pickled", "foreign")),
    *((f"create W/run-{name} --out out", 1, "model.safetensors") for name in ("headless", "listed", "wrong", "typed")),
    ("sample W/run-cut --out out.npz", 1, "damaged"),
    ("evaluate W/run-cut --n 4", 1, "damaged"),
    ("explain W/run-cut", 1, "damaged"),
    ("export W/run-cut --onnx out.onnx", 1, "damaged"),
    ("report W/run-cut", 1, "damaged"),
    ("train --resume W/run-half --budget 1kimg", 1, "damaged"),
    ("create W/evil.pt --out out", 1, "not a run folder"),
    # A damaged run.json.
    *((f"train --resume W/json-{name}", 1, "run.json") for name in ("torn", "null", "bare", "net", "data", "path")),
    *((f"evaluate W/json-{name} --n 4", 1, "run.json") for name in ("torn", "null", "bare", "net", "data", "path")),
    *((f"report W/json-{name}", 1, "run.json") for name in ("torn", "data")),
    *((f"{TRAIN} --from W/json-{name}", 1, "run.json") for name in ("torn", "bare", "net")),
    ("create W/json-bare --like W/colours/red/0.png --out out", 1, "run.json"),
    # Requests.
    (f"{CREATE} --label Bagg", 2, "Did you mean 'Bag'"),
    (f"{CREATE} --label=", 2, "Unknown category ''"),
    (f"{CREATE} --truncation nan", 2, "from 0 to 1"),
    ("create W/run --n 0 --out out", 2, "at least 1"),
    ("create W/run --n -3 --out out", 2, "at least 1"),
    ("create W/run --n 1000000000 --out out", 1, "GiB of memory"),
    ("create W/run --n 1000000000 --interpolate --out out", 1, "GiB of memory"),
    ("create W/run --n 2 --out W/plain", 1, "a file, not a folder"),
    ("create W/run --n 2 --out W/plain/x", 1, "a file, not a folder"),
    ("create W/run --n 2 --out /proc/packshot", 1, "/proc/packshot"),
    ("create W/run --mix 0 1 --styles --out out", 2, "no styles"),
    ("create W/run --styles --out out", 2, "--mix A B"),
    ("sample W/run --n 0 --out out.npz", 2, "at least 1"),
    (f"sample W/run --n 1{'0' * 30} --out out.npz", 1, "GiB of disk space"),
    ("sample W/run --n 2 --out W/plain/x.npz", 1, "a file, not a folder"),
    ("evaluate W/run --n 1000000000", 1, "GiB of memory"),
    ("explain W/run --n 1000000000", 1, "GiB of memory"),
    ("export W/run --onnx W/plain/x.onnx", 1, "a file, not a folder"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "code", "message"), TABLE, ids=[words[:90] for words, _, _ in TABLE])
def test_one_clear_sentence_and_nothing_lost(
    words: str, code: int, message: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = contents(world)
    out, err = run_cli(*words.replace("W/", f"{world}/").split(), "--json", code=code)
    error = json.loads(out)
    assert set(error) == {"error", "exit_code"}
    assert message in error["error"]
    assert "\n" not in error["error"]
    assert f"packshot: {error['error']}" in err
    assert "Traceback" not in err
    assert error["exit_code"] == code
    assert contents(world) == before
    assert list(tmp_path.iterdir()) == []


def test_a_label_in_another_case_and_any_seed_are_fine(world: Path, tmp_path: Path) -> None:
    made = run_json("create", world / "run", "--label", "ankle BOOT", "--n", "2", "--seed", "-7", "--out", tmp_path)
    assert made["labels"] == ["Ankle boot"] * 2


def test_as_few_photos_as_a_batch_takes_are_enough(world: Path, tmp_path: Path) -> None:
    run_json("train", world / "grey", "--out", tmp_path / "run", *SMALL, *SHORT, "--set", "loop.batch_size=24")


def test_grey_photos_of_an_rgb_model_where_that_is_asked_for(world: Path, tmp_path: Path) -> None:
    words = ["--from", world / "run-rgb", "--set", "data.channels=3", "--set", "loop.batch_size=8", *SHORT]
    run_json("train", world / "grey", "--out", tmp_path / "run", *words)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["spec"]["channels"] == 3


def test_samples_of_many_batches_are_those_of_one(world: Path, tmp_path: Path) -> None:
    run_cli("sample", world / "run", "--n", "1003", "--out", tmp_path / "many.npz")
    run_cli("sample", world / "run", "--n", "5", "--out", tmp_path / "few.npz")
    with np.load(tmp_path / "many.npz") as many, np.load(tmp_path / "few.npz") as few:
        assert many["images"].shape == (1003, 28, 28, 1)
        assert np.abs(many["images"][:5].astype(int) - few["images"]).max() <= 1
        assert many["labels"].tolist() == [i % 3 for i in range(1003)]
        assert many["categories"].tolist() == few["categories"].tolist()


def test_the_same_command_goes_on_after_a_full_disk(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from packshot.release import door

    words = ["create", world / "run", "--n", "4", "--out", tmp_path]
    real, left = door.release, [2]

    def until_full(image: object, path: Path, **how: object) -> object:
        if left[0] == 0:
            raise door.PackshotError(f"Cannot use {path}: the disk is full.")
        left[0] -= 1
        return real(image, path, **how)

    monkeypatch.setattr(door, "release", until_full)
    assert "disk is full" in run_json(*words, code=1)["error"]
    monkeypatch.undo()
    first = {p: p.read_bytes() for p in tmp_path.iterdir()}
    when = {p: p.stat().st_mtime_ns for p in first if p.suffix == ".png"}
    assert len(first) == 4  # Two pictures and what is said beside them.
    made = run_json(*words)
    assert len(made["pictures"]) == 4
    assert len(list(tmp_path.iterdir())) == 10
    assert first == {p: p.read_bytes() for p in first}
    assert when == {p: p.stat().st_mtime_ns for p in when}
    assert "exists already" in run_json(*words, code=1)["error"]  # It is complete: a mistake, perhaps.


def test_a_file_of_other_content_is_refused_before_any_is_written(world: Path, tmp_path: Path) -> None:
    (tmp_path / "trouser-0-0002.png").write_text("mine")
    assert "exists already" in run_json("create", world / "run", "--n", "4", "--out", tmp_path, code=1)["error"]
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"trouser-0-0002.png": "mine"}
