"""The darkroom's commands on bad input, as a user runs them: the right exit code, one clear sentence, nothing lost."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from packshot.cli.main import main
from packshot.images.decode import decode
from packshot.tasks.journal import JOURNAL
from tests.catalog_photos import encoded, jpeg, photo

OPAQUE = np.full((20, 24, 1), 255, np.uint8)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Any:
    """Runs a command with --json and returns its exit code and its one JSON object."""

    def run(*words: object) -> tuple[int, dict[str, Any]]:
        code = 0
        try:
            main([*map(str, words), "--json"])
        except SystemExit as e:
            assert isinstance(e.code, int)
            code = e.code
        told = capfd.readouterr()
        assert "Traceback" not in told.err
        assert "Warning" not in told.err
        value = json.loads(told.out)
        if "error" in value:
            assert value["exit_code"] == code
            assert value["error"] in told.err
        return code, value

    return run


@pytest.fixture
def good(tmp_path: Path) -> Path:
    (tmp_path / "good.jpg").write_bytes(jpeg(photo(1, 24, 20)))
    return tmp_path / "good.jpg"


EXTEND = ("extend", "--aspect", "1:1", "--out")


def test_every_kind_of_bad_file_fails_alone(tmp_path: Path, run: Any) -> None:
    shop = tmp_path / "shop"
    (shop / "dir.jpg").mkdir(parents=True)
    data = jpeg(photo(1, 24, 20))
    pixels = photo(2, 24, 20)
    fine = {"good.jpg": data, "-dash.jpg": data, "new\nline.jpg": data, "schön 日本.jpg": data}
    fine |= {"one.png": encoded(pixels[:1, :1], "PNG"), "1x24.png": encoded(pixels[:, :1], "PNG")}
    fine |= {"white.png": encoded(np.full((9, 9, 3), 255, np.uint8), "PNG")}
    fine |= {"clear.png": encoded(np.dstack([pixels, 0 * OPAQUE]), "PNG")}
    bad = {"cut.jpg": data[: len(data) // 2], "zero.jpg": b"", "text.jpg": b"hello", "b" * 240 + ".jpg": data}
    for name, content in {**fine, **bad}.items():
        (shop / name).write_bytes(content)
    with open(os.fsencode(shop) + b"/caf\xe9.jpg", "wb") as f:  # noqa: PTH123 - pathlib takes no bytes.
        f.write(data)
    Image.fromarray(pixels).convert("CMYK").save(shop / "cmyk.jpg")
    (shop / "dangling.jpg").symlink_to(tmp_path / "nothing")
    os.mkfifo(shop / "pipe.jpg")
    before = {p: p.read_bytes() for p in shop.rglob("*") if p.is_file()}
    code, told = run(*EXTEND, tmp_path / "out", shop)
    assert code == 1
    failed = {Path(p["photo"]).name for p in told["photos"] if p["status"] == "failed"}
    assert failed == {*bad, "dangling.jpg", "pipe.jpg"}
    assert told["counts"]["done"] == len(fine) + 2
    assert {p: p.read_bytes() for p in before} == before
    assert not list((tmp_path / "out").glob(".*"))
    assert run(*EXTEND, tmp_path / "out", shop)[1]["counts"]["again"] == len(fine) + 2


def test_names_for_a_person_are_one_line_each(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "new\nline\x1b[31m.jpg").write_bytes(b"no")
    with pytest.raises(SystemExit, match="1"):
        main([*EXTEND, str(tmp_path / "out"), str(tmp_path), "--quiet"])
    out = capfd.readouterr().out
    assert "\x1b" not in out
    assert len(out.splitlines()) == 3


@pytest.mark.parametrize(
    "words",
    [
        ("extend", "--margin", "9" * 400),
        ("extend", "--aspect", "0:1"),
        ("backdrop", "--margin", "9" * 400),
        ("backdrop", "--fill", "nan"),
        ("backdrop", "--size", "0"),
        ("backdrop", "--matte", "missing.png"),
        ("cutout", "--threshold", "nan"),
        ("cutout", "--quality", "0"),
        ("enhance", "--denoise", "nan"),
        ("enhance", "--scale", "2", "--most-change", "inf"),
        ("repair", "--auto", "--grow", "nan"),
        ("repair", "--mask", "missing.png"),
        ("repair", "--box", "nan,0,1,1"),
        ("restyle", "--style", "ink:nan", "--style", "pop"),
        ("restyle", "--style", "ink", "--strength", "nan"),
        ("restyle", "--style", f"{'x' * 50}:1"),
        ("anonymise", "--no-faces", "--text", "--strength", "nan"),
        ("extend", "--aspect", "1:1", "--workers", "0"),
        ("cutout", ""),
        ("shoot",),
        ("shoot", "--channel", "generic", "--size", "1000000000"),
        ("check", "--channel", "bogus"),
    ],
)
def test_a_wrong_option_is_exit_code_2(words: tuple[str, ...], good: Path, tmp_path: Path, run: Any) -> None:
    out = () if words[0] == "check" else ("--out", tmp_path / "out")
    code, told = run(*words, good, *out)
    assert (code, list(told)) == (2, ["error", "exit_code"])
    assert not (tmp_path / "out").exists()


def test_files_that_options_name(good: Path, tmp_path: Path, run: Any) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    out = ("--out", tmp_path / "out")
    for words in (("cutout", "--model", tmp_path / "pipe.onnx"), ("repair", "--mask", tmp_path)):
        assert run(*words, good, *out)[0] == 2
    for words in (("backdrop", "--background", "x" * 5000), ("restyle", "--style", "x" * 5000 + ":1")):
        assert run(*words, good, *out)[0] == 1


STEPS = {
    'task = "backdrop"\nlayout.aspect = [4]': "is no aspect",
    'task = "backdrop"\nlayout.aspect = [0, 1]': "is no aspect",
    'task = "backdrop"\nlayout.margin = "9x"': "is no length",
    'task = "extend"\naspect = [-1, 1]': "is no aspect",
    'task = "restyle"': "'restyle.styles' is missing",
    'task = "repair"\nshapes = [3]': "is no box",
    'task = "repair"\nmask = "missing.png"': "no file missing.png",
    'task = "enhance"\nscael = 2': "Did you mean 'scale'?",
}


@pytest.mark.parametrize("step", STEPS)
def test_a_recipe_that_is_wrong(step: str, good: Path, tmp_path: Path, run: Any) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(f"[[step]]\n{step}\n")
    code, told = run("shoot", good, "--recipe", recipe, "--out", tmp_path / "out")
    assert code == 2
    assert STEPS[step] in told["error"]


def test_a_recipe_names_files_boxes_and_lengths_as_the_command_line_does(good: Path, tmp_path: Path, run: Any) -> None:
    mask = np.zeros((20, 24, 3), np.uint8)
    mask[4:8, 4:8] = 255
    (tmp_path / "mask.png").write_bytes(encoded(mask, "PNG"))
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        f'[[step]]\ntask = "repair"\nmask = "{tmp_path}/mask.png"\nshapes = ["50%,50%,4,4", "1,1 3,1 1,3"]\n'
        'method = "patch"\n[[step]]\ntask = "extend"\nmargins = "1,0,3,0"\n'
    )
    code, told = run("shoot", good, "--recipe", recipe, "--out", tmp_path / "out")
    assert code == 0, told
    assert decode(tmp_path / "out" / told["photos"][0]["picture"]).pixels.shape == (24, 24, 3)


def test_a_damaged_journal_costs_only_its_damaged_lines(good: Path, tmp_path: Path, run: Any) -> None:
    other = tmp_path / "other.jpg"
    other.write_bytes(jpeg(photo(5, 24, 20)))
    out, journal = tmp_path / "out", tmp_path / "out" / JOURNAL
    run(*EXTEND, out, good, other)
    first, second = journal.read_bytes().splitlines(keepends=True)
    wrong = first.replace(b'"notes": []', b'"notes": 3')
    assert wrong != first
    junk = [b"\x00\xff\xfe\n", b"[" * 100_000 + b"\n", b'{"key": [3]}\n', b"[1]\n", wrong, second, b'{"key": "to']
    journal.write_bytes(b"".join(junk))
    code, told = run(*EXTEND, out, good, other)
    assert code == 0
    assert [p["again"] for p in told["photos"]] == [False, True]
    assert run(*EXTEND, out, good, other)[1]["counts"]["again"] == 2


def test_an_out_that_cannot_be_used(good: Path, tmp_path: Path, run: Any) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "taken" / JOURNAL).mkdir(parents=True)
    for out in (tmp_path / "file", tmp_path / "file/below", tmp_path / "taken"):
        assert run(*EXTEND, out, good)[0] == 1
    assert (tmp_path / "file").read_text() == "mine"


def test_the_photos_own_folder_as_out(good: Path, tmp_path: Path, run: Any) -> None:
    original = good.read_bytes()
    code, told = run(*EXTEND, tmp_path, good)
    assert code == 1
    assert "is the photo itself" in told["photos"][0]["reason"]
    assert good.read_bytes() == original
    assert run(*EXTEND, tmp_path, good, "--overwrite")[0] == 0
    assert decode(good).pixels.shape == (24, 24, 3)


def test_an_output_that_is_full(good: Path, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    words = [sys.executable, "-m", "packshot", "check", str(good), "--channel", "generic", "--json"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "packshot: Cannot use stdout: the disk is full; free some space and run the same command again."
    ]


def test_one_photos_matte_is_never_another_photos_result(good: Path, tmp_path: Path, run: Any) -> None:
    cut = encoded(np.dstack([photo(3, 24, 20), np.where(np.arange(20)[:, None, None] < 9, 0, OPAQUE)]), "PNG")
    (tmp_path / "a.png").write_bytes(cut)
    (tmp_path / "a-matte.png").write_bytes(cut)
    words = ("cutout", "--matte", "--overwrite", tmp_path / "a.png", tmp_path / "a-matte.png")
    code, told = run(*words, "--out", tmp_path / "out")
    assert code == 1
    assert [p["status"] for p in told["photos"]] == ["failed", "done"]
    assert "a result of" in told["photos"][0]["reason"]


def test_the_sheet_replaces_nothing_but_its_own(good: Path, tmp_path: Path, run: Any) -> None:
    recipe, mine = tmp_path / "r.toml", tmp_path / "out-before-after.png"
    recipe.write_text('[[step]]\ntask = "extend"\naspect = [1, 1]\n')
    mine.write_bytes(b"mine")
    for _ in range(2):
        assert run("shoot", good, "--recipe", recipe, "--out", tmp_path / "out")[0] == 0
    assert mine.read_bytes() == b"mine"
    sheets = sorted(p.name for p in tmp_path.glob("out-before-after*"))
    assert sheets == ["out-before-after-2.png", "out-before-after.png"]
