"""`packshot cutout` from the command line, with the network that comes with the package."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from packshot.core.files import read_json
from packshot.evaluation.matting import compute_iou
from packshot.images.decode import decode
from packshot.models.cutout.own import CARD, WEIGHTS
from packshot.models.weights import load_tensors
from packshot.tasks.cutout import Cutout
from tests.integration.conftest import run_cli, run_json

pytestmark = pytest.mark.skipif(not WEIGHTS.exists(), reason="the network is not trained yet")


def draw(path: Path, seed: int, mode: str = "RGB") -> np.ndarray:
    """Writes a photo of a red shirt on a grey ground; returns where it is."""
    rng = np.random.default_rng(seed)
    height, width = 240, 200
    shirt = np.zeros((height, width), bool)
    shirt[60:210, 60:140] = True
    for i in range(45):
        shirt[60 + i : 90 + i, 60 - i : 61] = shirt[60 + i : 90 + i, 139 : 140 + i] = True
    shirt[55:75, 90:110] = False
    ground = 205 + rng.normal(0, 4, (height, width, 1)) + np.linspace(-10, 10, width)[None, :, None]
    photo = np.where(shirt[..., None], np.array([170, 30, 40]) + rng.normal(0, 6, (height, width, 3)), ground)
    Image.fromarray(np.clip(photo, 0, 255).astype(np.uint8)).convert(mode).save(path)
    return shirt


def test_a_folder_with_a_bad_file_and_one_that_is_cut_out_already(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    shirt = draw(photos / "a.jpg", 0)
    draw(photos / "cmyk.jpg", 1, "CMYK")
    (photos / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    Image.fromarray(np.dstack([np.full((9, 9, 3), 200), np.eye(9) * 255]).astype(np.uint8)).save(photos / "done.png")
    result = run_json("cutout", photos, "--out", out, "--threshold", "0", "--matte", code=1)
    by_name = {Path(p["photo"]).name: p for p in result["photos"]}
    assert result["counts"] == {"done": 3, "review": 0, "refused": 0, "failed": 1, "again": 0}
    assert by_name["broken.png"]["status"] == "failed"
    assert by_name["done.png"]["confidence"] is None
    cut = np.asarray(Image.open(out / by_name["a.jpg"]["picture"]))
    assert cut.shape == (240, 200, 4)
    assert compute_iou(cut[..., 3] / 255, shirt) > 0.8
    opaque = cut[..., 3] == 255
    assert (cut[opaque, :3] == decode(photos / "a.jpg").pixels[opaque]).all()
    assert (np.asarray(Image.open(out / "a-matte.png").convert("L")) == cut[..., 3]).all()
    assert by_name["a.jpg"]["source_type"] == "algorithmicallyEnhanced"
    assert run_json("cutout", photos, "--out", out, "--threshold", "0", "--matte", code=1)["counts"]["again"] == 3


def test_an_unsure_one_goes_to_review(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", 0)
    result = run_json("cutout", tmp_path / "a.png", "--out", tmp_path / "out", "--threshold", "1")
    assert result["photos"][0]["status"] == "review"
    assert (tmp_path / "out/review/a.png").exists()


def test_wrong_use_is_one_sentence(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", 0)
    (tmp_path / "net.onnx").write_text("not one")
    words = ("cutout", tmp_path / "a.png", "--out", tmp_path / "out")
    assert "0 to 1" in run_cli(*words, "--threshold", "2", code=2)[1]
    assert "no ONNX model" in run_cli(*words, "--model", tmp_path / "net.onnx", code=2)[1]
    assert not (tmp_path / "out").exists()


def test_hostile_photos(tmp_path: Path) -> None:
    for name, pixels in {
        "white": np.full((50, 40, 3), 255),
        "black": np.zeros((50, 40, 3)),
        "dot": np.full((1, 1, 3), 90),
        "line": np.full((1, 700, 3), 90),
        "hidden": np.zeros((20, 20, 4)),
    }.items():
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"{name}.png")
    result = json.loads(run_cli("cutout", tmp_path, "--out", tmp_path / "out", "--json", code=1)[0])
    assert {p["status"] for p in result["photos"]} <= {"failed", "review"}
    for photo in result["photos"]:
        assert photo["reason"].count("\n") == 0


def test_weights_are_small_half_precision_and_their_card_says_what_they_are() -> None:
    tensors, header = load_tensors(WEIGHTS)
    assert WEIGHTS.stat().st_size <= 12_000_000
    assert {str(t.dtype) for t in tensors.values() if t.is_floating_point()} == {"torch.float16"}
    card = read_json(CARD)
    assert set(card["data"]["licences"]) <= {"CC0-1.0", "BSD-3-Clause", "MIT"}
    assert (Path(__file__).parents[2] / card["recipe"]).exists()
    assert {"iou_median", "alpha_error_mean"} <= set(card["figures"])
    assert card["limits"]
    assert 0 < header["config"]["threshold"] < 1


@pytest.mark.slow
def test_held_out_photos_reach_the_goal(shared_data: Path) -> None:
    edit, ious = Cutout(), []
    rows = [line.split(",") for line in (shared_data / "clothing/metadata.csv").read_text().splitlines()[1:]]
    for name in sorted(row[0] for row in rows if row[4] == "validation"):
        matte = shared_data / f"clothing/mattes/{name}.png"
        if matte.exists():
            cut = edit(decode(shared_data / f"clothing/original/{name}.jpg")).image.pixels
            ious.append(compute_iou(cut[..., 3] / 255, np.asarray(Image.open(matte).convert("L")) / 255))
    assert np.median(ious) >= 0.95
