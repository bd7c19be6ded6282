"""core/: configuration, files, run folders, shapes, suggestions."""

import errno
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from packshot.core.config import apply_settings, build_config, read_toml, to_table
from packshot.core.errors import PackshotError, UsageError, lookup, suggest
from packshot.core.files import atomic_path, disk_errors, read_json, sha256_file, write_json, write_text
from packshot.core.random import stream_seed
from packshot.core.runs import RunFolder, append_jsonl, keep_rows_up_to, read_jsonl
from packshot.core.shapes import check_shape


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 0.1
    kind: Literal["a", "b"] = "a"
    flip: bool = False


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    size: int | None = None
    inner: Inner = field(default_factory=Inner)
    weights: tuple[float, ...] = ()


def test_config_round_trip_and_settings() -> None:
    table = apply_settings({"name": "x"}, ["inner.rate=2", "size=7", "inner.kind=b", "weights=[1, 2.5]"])
    config = build_config(Outer, table)
    assert config == Outer(name="x", size=7, inner=Inner(rate=2.0, kind="b"), weights=(1.0, 2.5))
    assert build_config(Outer, to_table(config)) == config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["inner.rat=2"], "Unknown setting 'inner.rat'. Did you mean 'rate'"),
        (["inner.kind=c"], "can be a, b"),
        (["size=big"], "has to be of type int"),
        (["inner.flip=1"], "has to be of type bool"),
        (["inner.rate=true"], "has to be of type float"),
        (["inner=3"], "is a group"),
        (["name.x=3"], "is a value, not a group"),
        (["size"], "is not a setting"),
    ],
)
def test_wrong_settings_are_one_sentence(settings: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build_config(Outer, apply_settings({"name": "x"}, settings))


def test_missing_setting_and_bad_toml(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name"):
        build_config(Outer, {})
    (tmp_path / "r.toml").write_text("a = = 1")
    with pytest.raises(UsageError, match="not valid TOML"):
        read_toml(tmp_path / "r.toml")
    with pytest.raises(PackshotError, match="no such file"):
        read_toml(tmp_path / "none.toml")


def test_lookup_suggests_and_lists() -> None:
    assert lookup("model", "vae", {"vae": 1}) == 1
    with pytest.raises(
        UsageError, match=r"Unknown category 'Ankel boot'. Did you mean 'Ankle boot'\? Known: Bag, Ankle boot"
    ):
        lookup("category", "Ankel boot", {"Bag": 0, "Ankle boot": 1})
    assert suggest("zzzz", ["vae"]) == ""


def test_atomic_write_leaves_the_old_file_when_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"x": 1})
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert read_json(path) == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_disk_errors_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(PackshotError, match="disk is full"), disk_errors(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
    write_text(tmp_path / "file", "x")
    with pytest.raises(PackshotError, match="is a file, not a folder"):
        write_text(tmp_path / "file" / "below", "x")
    write_text(tmp_path / "bad.json", "{")
    with pytest.raises(PackshotError, match="not valid JSON"):
        read_json(tmp_path / "bad.json")


def test_sha256_of_known_text(tmp_path: Path) -> None:
    write_text(tmp_path / "abc", "abc")
    assert sha256_file(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_streams_differ_by_name_and_index_and_repeat() -> None:
    seeds = {stream_seed(s, n, i) for s in range(5) for n in ("a", "b") for i in range(5)}
    assert len(seeds) == 50
    assert all(0 <= s < 2**63 for s in seeds)
    assert stream_seed(1, "noise", 2) == stream_seed(1, "noise", 2)


def test_run_folder_is_never_taken_twice(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run")
    about = {"config": {"model": "vae", "net": {}, "data": {"fit": "auto"}}, "spec": {}, "categories": []}
    run.write({**about, "state": "new"})
    run.update(state="finished")
    assert RunFolder.open(tmp_path / "run").read() == {**about, "state": "finished"}
    run.write({**about, "images": "many"})
    with pytest.raises(PackshotError, match="images is wrong or missing"):
        run.read()
    with pytest.raises(PackshotError, match="--resume"):
        RunFolder.create(tmp_path / "run")
    (tmp_path / "other").mkdir()
    with pytest.raises(PackshotError, match="not a run folder"):
        RunFolder.open(tmp_path / "other")


def test_log_rows_after_a_checkpoint_are_dropped_and_a_torn_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for step in range(5):
        append_jsonl(path, {"step": step})
    with path.open("a") as f:
        f.write('{"step": 5, "lo')
    assert [r["step"] for r in read_jsonl(path)] == [0, 1, 2, 3, 4]
    keep_rows_up_to(path, 2)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [0, 1, 2]


def test_letters_once_bound_hold() -> None:
    bound = check_shape("image", np.zeros((4, 6, 3)), "H", "W", 3)
    assert bound == {"H": 4, "W": 6}
    check_shape("mask", np.zeros((4, 6)), "H", "W", **bound)
    with pytest.raises(ValueError, match=r"mask has shape \[5, 6\], expected \[H=4, W=6\]"):
        check_shape("mask", np.zeros((5, 6)), "H", "W", **bound)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom packshot.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'PIL', 'pyarrow', 'matplotlib', 'lightning_fabric', 'rich', 'jinja2'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "ingest" in done.stdout
