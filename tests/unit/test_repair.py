"""`packshot repair`: what it repaints, what it leaves, what it refuses, what it says."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from packshot.core.config import build_config, read_toml
from packshot.core.errors import PackshotError, UsageError
from packshot.images.decode import decode
from packshot.images.masks import Polygon, Rectangle
from packshot.images.picture import Operation, ProductImage
from packshot.images.regions import Region
from packshot.models.inpaint import apply
from packshot.models.inpaint.net import InpaintConfig, InpaintNet
from packshot.release.source_type import derive_source_type
from packshot.tasks import repair as module
from packshot.tasks.repair import Repair, RepairRequest, repair
from packshot.training.checkpoint import Progress
from packshot.training.inpaint import HOLES, InpaintTraining, draw_hole, save_inpainter, train_inpaint
from tests.catalog_photos import photo
from tests.integration.conftest import run_cli

SMALL = InpaintConfig(width=8, middle=8, dilations=(1, 2))
RIGHTS = "I hold the rights to these photos"


def captured(pixels: np.ndarray) -> ProductImage:
    return ProductImage(pixels, history=(Operation("decode", "capture"),))


def random_photo(height: int = 60, width: int = 50, seed: int = 0, channels: int = 3) -> ProductImage:
    return captured(np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8))


def box(text: str, **more: Any) -> RepairRequest:
    return RepairRequest(shapes=(Rectangle.parse(text),), method="patch", **more)


@given(st.integers(0, 2**32 - 1), st.integers(3, 4), st.sampled_from([0.0, 2.5]), st.sampled_from([0.0, 1.0]))
@settings(max_examples=15, deadline=None)
def test_outside_of_the_mask_and_in_alpha_not_one_bit_changes(
    seed: int, channels: int, feather: float, grown: float
) -> None:
    rng = np.random.default_rng(seed)
    image = random_photo(int(rng.integers(12, 60)), int(rng.integers(12, 60)), seed, channels)
    request = box("20%,30%,30%,20%", feather=feather, grow=grown, show_mask=True, attest=RIGHTS)
    done = repair(image, request)
    mask = done.beside["mask"].pixels[..., 0] == 255
    assert mask.any() and done.lossless and done.refused is None
    np.testing.assert_array_equal(done.image.pixels[~mask], image.pixels[~mask])
    np.testing.assert_array_equal(done.image.pixels[..., 3:], image.pixels[..., 3:])
    assert done.receipt is not None and done.receipt["bit_identical_outside"]
    np.testing.assert_array_equal(repair(image, request).image.pixels, done.image.pixels)


def test_hidden_colours_do_not_bleed_into_the_repair() -> None:
    pixels = np.full((60, 60, 4), (200, 180, 40, 255), np.uint8)
    pixels[:, :25] = (0, 0, 255, 0)
    done = repair(captured(pixels), box("20,20,20,20", attest=RIGHTS))
    np.testing.assert_array_equal(done.image.pixels[20:40, 25:40, :3] - np.uint8([200, 180, 40]), 0)
    np.testing.assert_array_equal(done.image.pixels[:, :20], pixels[:, :20])


def test_nothing_masked_leaves_the_photo_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    Image.new("L", (50, 60)).save(path)
    image = random_photo()
    done = repair(image, RepairRequest(mask=path, method="patch"))
    assert done.image is image
    assert done.notes == ("The mask covers nothing; the photo is as it was.",)


def test_everything_masked_is_one_clear_sentence() -> None:
    with pytest.raises(PackshotError, match="covers the whole photo"):
        repair(random_photo(), box("0,0,100%,100%", attest=RIGHTS))
    with pytest.raises(PackshotError, match="--feather smaller"):
        repair(random_photo(), box("1,1,48,58", feather=9, attest=RIGHTS))
    with pytest.raises(PackshotError, match="covers the whole photo"):
        repair(random_photo(1, 1), box("0,0,1,1", attest=RIGHTS))


@pytest.mark.parametrize("value", [0, 255])
def test_a_white_and_a_black_photo_stay_so(value: int) -> None:
    image = captured(np.full((40, 40, 3), value, np.uint8))
    np.testing.assert_array_equal(repair(image, box("10,10,9,9")).image.pixels, image.pixels)
    assert repair(image, RepairRequest(auto=True, method="patch")).image is image


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "Say what to repair"),
        ({"marks": True}, "needs your word"),
        ({"marks": True, "attest": "yes"}, "--attest needs a sentence"),
        ({"auto": True, "method": "pach"}, "Did you mean 'patch'"),
        ({"auto": True, "feather": -1.0}, "--feather is -1"),
        ({"auto": True, "grow": 1e9}, "--grow is 1e"),
        ({"mask": Path("no-such-mask.png")}, "There is no file"),
    ],
)
def test_a_wrong_request_is_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        RepairRequest(**settings)


def test_a_mark_goes_with_an_attestation_which_is_recorded() -> None:
    pixels = np.full((80, 120, 3), 180, np.uint8)
    pixels[30:40, 40:90:4] = 20
    mark = Region("text", 40, 30, 50, 10, 0.9)
    image = captured(pixels)
    done = Repair(RepairRequest(marks=True, attest=RIGHTS, method="patch"), lambda _: [mark])(image)
    np.testing.assert_array_equal(done.image.pixels, 180)
    assert done.image.history[-1].params["attestation"] == RIGHTS
    assert done.receipt is not None and done.receipt["attestation"] == RIGHTS
    assert done.figures["marks"] == 1


def test_a_mask_over_a_mark_asks_for_an_attestation_too() -> None:
    image, mark = random_photo(80, 120), Region("text", 40, 30, 50, 10, 0.9)
    over, beside = box("35,25,60,20"), box("0,60,10,10")
    with pytest.raises(PackshotError, match="covers what looks like text, at 40,30,50,10"):
        Repair(over, lambda _: [mark])(image)
    Repair(replace(over, attest=RIGHTS), lambda _: [mark])(image)
    Repair(beside, lambda _: [mark])(image)


def test_patches_are_no_ai_and_a_network_is() -> None:
    image = random_photo()
    history = repair(image, box("10,10,9,9", attest=RIGHTS)).image.history
    assert derive_source_type(history, None) == "compositeWithTrainedAlgorithmicMedia"
    assert history[-1].params["box"] == [10, 10, 9, 9]


def weights(path: Path) -> Path:
    torch.manual_seed(0)
    net = InpaintNet(SMALL)
    torch.nn.init.normal_(net.last.weight, std=0.05)
    save_inpainter(path, net, InpaintTraining(net=SMALL), Progress())
    return path


def test_with_weights_the_network_says_what_stands_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = apply.load_inpainter(weights(tmp_path / "inpaint.safetensors"))
    assert network is not None
    monkeypatch.setattr(module, "load_inpainter", lambda: network)
    image = random_photo(90, 70)
    request = box("20,20,30,33", attest=RIGHTS)
    edit = Repair(replace(request, method="auto"))
    done = edit(image)
    assert edit.settings()["weights"] == network.checksum
    assert derive_source_type(done.image.history, None) == "compositeWithTrainedAlgorithmicMedia"
    changed = (done.image.pixels != image.pixels).any(2)
    assert not changed[:20].any() and not changed[:, 50:].any() and changed[20:53, 20:50].mean() > 0.9
    assert (done.image.pixels != repair(image, request).image.pixels).any()


@pytest.mark.parametrize(("height", "width"), [(1, 9), (300, 20), (131, 517)])
def test_the_network_takes_any_size_and_keeps_what_is_known(height: int, width: int, tmp_path: Path) -> None:
    network = apply.Inpainter(weights(tmp_path / "inpaint.safetensors"))
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    hole = np.zeros((height, width), bool)
    hole[:, 3:6] = True
    guess = network(pixels, hole)
    assert guess.shape == pixels.shape and guess.dtype == np.float32
    np.testing.assert_array_equal(guess[~hole], pixels[~hole])


def test_without_weights_a_network_that_is_asked_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "load_inpainter", lambda: None)
    with pytest.raises(PackshotError, match="--method patch"):
        Repair(RepairRequest(auto=True, method="network"))
    assert Repair(RepairRequest(auto=True)).network is None


def test_another_file_than_an_inpainters_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "inpaint.safetensors"
    path.write_bytes(b"no weights")
    with pytest.raises(PackshotError, match="damaged"):
        apply.Inpainter(path)


@pytest.mark.parametrize("kind", HOLES)
@pytest.mark.parametrize("share", [0.04, 0.3])
def test_training_holes_have_about_the_share_that_is_asked(kind: str, share: float) -> None:
    for seed in range(5):
        hole = draw_hole(64, 64, kind, share, np.random.default_rng(seed))
        assert 0.9 * share <= hole.mean() < min(0.95, 3 * share + 0.1)


def test_training_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    photos = [np.random.default_rng(i).integers(0, 256, (70, 80, 3 + i), dtype=np.uint8) for i in range(2)]
    config = InpaintTraining(net=SMALL, steps=4, batch_size=2, side=64, adversarial_from=0.5, bfloat16=False)
    whole = train_inpaint(photos, config, tmp_path / "whole").state_dict()
    train_inpaint(photos, config, tmp_path / "parts", until=3)
    parts = train_inpaint(photos, config, tmp_path / "parts").state_dict()
    for name, tensor in whole.items():
        assert torch.equal(tensor, parts[name]), name
    rows = [json.loads(line) for line in (tmp_path / "parts" / "log.jsonl").read_text().splitlines()]
    assert {"recon", "coarse", "match", "adversarial", "judge"} < set(rows[-1])
    assert apply.Inpainter(tmp_path / "parts" / "inpaint.safetensors").net.config == SMALL


def test_the_command_repairs_a_folder_with_one_box(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, size in enumerate((40, 64)):
        Image.fromarray(photo(i)).resize((size, size + 8)).save(folder / f"{i}.png")
    out = tmp_path / "out"
    words = [str(folder), "--box", "25%,25%,25%,25%", "--show-mask", "--attest", RIGHTS, "--out", str(out), "--json"]
    told = json.loads(run_cli("repair", *words)[0])
    assert told["counts"]["done"] == 2
    for i in range(2):
        mask = decode(out / f"{i}-mask.png").pixels[..., 0] > 0
        before, after = decode(folder / f"{i}.png"), decode(out / f"{i}.png")
        np.testing.assert_array_equal(before.pixels[~mask], after.pixels[~mask])


def test_the_command_says_what_is_wrong_with_a_mask(tmp_path: Path) -> None:
    Image.fromarray(photo(0)).save(tmp_path / "a.png")
    Image.new("L", (7, 5), 255).save(tmp_path / "mask.png")
    words = [tmp_path / "a.png", "--mask", tmp_path / "mask.png", "--out", tmp_path / "o"]
    assert "The mask has 7 x 5 pixels" in "".join(run_cli("repair", *words, code=1))


def test_polygons_are_recorded_as_they_were_written() -> None:
    request = RepairRequest(shapes=(Polygon.parse("1,1 9,1 5,9"),), method="patch")
    assert Repair(request).settings()["shapes"] == [["polygon", "1,1 9,1 5,9"]]


def test_the_recipe_parses_and_names_its_command() -> None:
    path = Path(__file__).parents[2] / "recipes" / "repair" / "inpaint.toml"
    config = build_config(InpaintTraining, read_toml(path))
    assert "recipes/repair/inpaint.toml" in config.about
    assert config.side % 16 == 0
