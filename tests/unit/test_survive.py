"""The gauntlet: what each trial leaves, what was never there, and the table and plot of it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from packshot.core.errors import PackshotError
from packshot.images.picture import Operation, ProductImage
from packshot.release.door import release
from packshot.tasks.survive import CROPS, LAYERS, QUALITIES, SCALES, WEBP, Survived, survive
from tests.integration.conftest import run_cli
from tests.unit.test_verify import SAMPLE, pixels

REPAIRED = (
    Operation("decode", "capture", {"name": "shirt.jpg", "format": "JPEG"}),
    Operation("repair", "generated", {"method": "network"}),
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PACKSHOT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def left(result: Survived, layer: str) -> set[str]:
    return {trial.name for trial in result.trials if trial.layers[layer]}


def test_a_marked_picture_runs_the_gauntlet(home: Path, tmp_path: Path) -> None:
    path = release(ProductImage(pixels(2), history=SAMPLE), tmp_path / "new.png").path
    before = path.read_bytes()
    result = survive(path)
    names = [trial.name for trial in result.trials]
    assert len(set(names)) == len(names) == 1 + 2 * len(QUALITIES) + len(WEBP) + 1 + len(SCALES) + len(CROPS) + 2
    assert result.mark is not None and result.registered and result.notes == () and path.read_bytes() == before
    assert left(result, "c2pa") == {"as it is"}  # Nobody who changes bytes can keep a signature over them.
    assert left(result, "xmp") == set(names) - {"metadata stripped", "screenshot"}
    cut = {f"crop {percent} %" for percent in CROPS}
    assert left(result, "fingerprint") == set(names) - cut  # It is of the whole picture.
    promised = {"as it is", "PNG", "metadata stripped", "JPEG q75 4:2:0", "JPEG q75 4:4:4", "JPEG q95 4:4:4"}
    assert promised <= left(result, "watermark")
    sizes = {trial.name: (trial.width, trial.height) for trial in result.trials}
    assert sizes["as it is"] == (276, 264) and sizes["resize 0.5"] == (138, 132) and sizes["resize 2"] == (552, 528)
    assert sizes["crop 10 %"] == (249, 238) and sizes["screenshot"] == (248, 238)


def test_what_was_never_there_is_not_called_gone(home: Path, tmp_path: Path) -> None:
    path = release(ProductImage(pixels(3, 60), history=REPAIRED), tmp_path / "small.png").path
    text, _ = run_cli("survive", path, "--out", tmp_path / "out")
    assert "watermark was not there" in text and "The file carries no watermark" in text
    table = json.loads((tmp_path / "out" / "small.png.survive.json").read_text())
    assert table["mark"] is None and all(row["watermark"] is None for row in table["trials"])
    assert table["trials"][0]["c2pa"] is True and table["trials"][1]["c2pa"] is False
    with Image.open(tmp_path / "out" / "small.png.survive.png") as plot:
        colours = {colour for _, colour in plot.convert("RGB").getcolors(1 << 20)}
    assert {(0xD9, 0xD9, 0xD9), (0xC0, 0x39, 0x2B), (0x0B, 0x6E, 0x4F)} <= colours
    with pytest.raises(PackshotError, match="exists already"):
        survive(path, out=tmp_path / "out")


def test_a_strangers_picture_is_tried_as_if_it_were_registered(home: Path, tmp_path: Path) -> None:
    rgba = np.dstack([pixels(4, 48), np.tile(np.arange(60, dtype=np.uint8) * 4, (48, 1))])
    Image.fromarray(rgba).save(tmp_path / "plain.png")
    result = json.loads(run_cli("survive", tmp_path / "plain.png", "--json")[0])
    assert not result["registered"] and result["mark"] is None and result["plot"] is None
    assert "as if it were" in result["notes"][1]
    first = result["trials"][0]["layers"]
    assert first == {"c2pa": None, "xmp": None, "watermark": None, "fingerprint": True} and set(first) == set(LAYERS)
    assert not home.exists() and [p.name for p in tmp_path.iterdir()] == ["plain.png"]


def test_no_picture_no_gauntlet(home: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no picture")
    _, err = run_cli("survive", tmp_path / "a.png", "--out", tmp_path / "out", code=1)
    assert "is not a picture" in err and not (tmp_path / "out").exists()
