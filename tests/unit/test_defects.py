"""Damage drawn onto pictures of the tests' own, and found again; what is sure, and what is told; the training."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from packshot.core.errors import PackshotError, UsageError
from packshot.images.damage import KINDS, draw_damage
from packshot.images.defects import find_defects
from packshot.models.defects.apply import DefectFinder, Limits, find_pieces, load_defect_finder
from packshot.models.defects.net import DefectConfig, DefectNet
from packshot.models.weights import save_tensors
from packshot.training.defects import WIDE, DefectTraining, compute_loss, draw_wide, train_defects

ROOT = Path(__file__).parents[2]
SMALL = DefectConfig(widths=(16, 16, 16), dilations=(1, 2))


def plain(seed: int = 0, height: int = 300, width: int = 320) -> np.ndarray:
    """A plain cloth with a gentle light and some noise."""
    y, x = np.mgrid[:height, :width]
    base = 150 + 25 * np.sin(x / 90) + 20 * np.cos(y / 70)
    noise = np.random.default_rng(seed).normal(0, 2, (height, width, 3))
    return np.clip(base[..., None] * (1.0, 0.85, 0.75) + noise, 0, 255).astype(np.uint8)


def checked() -> np.ndarray:
    y, x = np.mgrid[:300, :320]
    squares = ((x // 12 + y // 12) % 2 * 140 + 50)[..., None]
    return np.repeat(squares, 3, axis=2).astype(np.uint8)


def buttons() -> np.ndarray:
    im = Image.fromarray(plain(5))
    draw = ImageDraw.Draw(im)
    for top in range(30, 280, 40):
        draw.ellipse((150, top, 164, top + 14), fill=(60, 40, 30))
        draw.ellipse((155, top + 5, 159, top + 9), fill=(190, 170, 160))
    return np.asarray(im)


def finder(folder: Path, config: DefectConfig = SMALL) -> DefectFinder:
    """A detector of random weights, asked for two kinds."""
    torch.manual_seed(0)
    net = DefectNet(config)
    torch.nn.init.normal_(net.last.weight, std=0.5)
    torch.nn.init.zeros_(net.last.bias)
    path = folder / "model.safetensors"
    limits = {kind: {"edge": 0.0, "piece": 1.0, "opens": 2.0, "told": 1.0} for kind in ("dust", "stain")}
    save_tensors(path, net.state_dict(), {"config": {"net": asdict(config), "limits": limits}})
    return DefectFinder(path)


@pytest.mark.parametrize("kind", list(KINDS))
def test_damage_changes_what_its_mask_says_and_is_a_function_of_the_seed(kind: str) -> None:
    pixels = plain()
    damaged = draw_damage(pixels, np.random.default_rng(4), [kind])
    again = draw_damage(pixels, np.random.default_rng(4), [kind])
    np.testing.assert_array_equal(damaged.pixels, again.pixels)
    assert damaged.mask.any() and not damaged.mask.all()
    changed = (damaged.pixels != pixels).any(2)
    assert changed[damaged.mask].mean() > 0.8


def test_an_unknown_kind_of_damage_is_refused() -> None:
    with pytest.raises(UsageError, match="dust"):
        draw_damage(plain(), np.random.default_rng(0), ["dusty"])


@pytest.mark.parametrize("kind", list(WIDE))
def test_damage_for_training_lies_where_it_says(kind: str) -> None:
    pixels = plain()
    for seed in range(4):
        drawn = draw_wide(pixels, np.random.default_rng(seed), kind)
        changed = np.abs(drawn.pixels.astype(int) - pixels).max(2)
        assert not (drawn.mask & ~drawn.trace).any()
        assert changed[~drawn.trace].max(initial=0) <= np.ceil(0.04 * 255 * 3)  # Up to three layers of traces.


@pytest.mark.parametrize(("kind", "recall"), [("blocks", 0.9), ("holes", 0.75), ("dust", 0.6)])
def test_damage_on_plain_ground_is_found(kind: str, recall: float) -> None:
    hit = drawn = right = claimed = 0
    for seed in range(5):
        damaged = draw_damage(plain(seed), np.random.default_rng(seed), [kind])
        found = find_defects(damaged.pixels).mask
        hit, drawn = hit + (found & damaged.mask).sum(), drawn + damaged.mask.sum()
        right, claimed = right + (found & damaged.mask).sum(), claimed + found.sum()
    assert hit / drawn > recall
    assert right / claimed > 0.5  # Around a speck its soft edge is claimed too.


@pytest.mark.parametrize("pixels", [plain(), checked(), buttons()], ids=["plain", "checked", "buttons"])
def test_what_belongs_to_the_product_is_left_alone(pixels: np.ndarray) -> None:
    assert not find_defects(pixels).mask.any()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 300), (23, 400), (33, 31)])
@pytest.mark.parametrize("colour", [0, 255])
def test_small_and_empty_pictures_have_no_damage(height: int, width: int, colour: int) -> None:
    found = find_defects(np.full((height, width, 3), colour, np.uint8))
    assert found.mask.shape == (height, width)
    assert not found.mask.any() and not found.found


def test_a_large_picture_is_searched_small_and_told_in_its_own_pixels() -> None:
    pixels = plain(1, 1400, 1500)
    pixels[300:380, 500:640] = 0
    found = find_defects(pixels)
    assert [d.kind for d in found.found if d.sure] == ["block"]
    left, top, width, height = found.found[0].box
    assert abs(left - 500) < 8 and abs(top - 300) < 8 and abs(width - 140) < 16 and abs(height - 80) < 16


def test_nothing_is_looked_for_where_a_picture_is_transparent() -> None:
    pixels = np.dstack([plain(2), np.full((300, 320), 255, np.uint8)])
    pixels[100:104, 100:104] = (0, 0, 0, 0)
    assert not find_defects(pixels).mask.any()


LIMITS = (Limits(edge=0, piece=2, opens=4, told=3), Limits(edge=1, piece=1, opens=1, told=1))


def logits(*peaks: tuple[int, int, float]) -> np.ndarray:
    """Logits of two kinds with pieces of 3 x 3 pixels, 10 apart: (place, kind, z)."""
    z = np.full((12, 60, 2), -5, np.float32)
    for place, kind, value in peaks:
        z[4:7, 10 * place : 10 * place + 3, kind] = value
    return z


def test_a_sure_piece_opens_its_kind_and_no_other() -> None:
    told = [(p.kind, p.sure, p.at[1].start) for p in find_pieces(logits((0, 0, 5.0), (2, 0, 2.5), (4, 0, 1.0)), LIMITS)]
    assert told == [(0, True, 0), (0, True, 20)]
    told = [(p.kind, p.sure, p.at[1].start) for p in find_pieces(logits((0, 0, 3.5), (2, 0, 2.5), (4, 1, 2.0)), LIMITS)]
    assert told == [(0, False, 0), (1, True, 40)]
    assert find_pieces(logits((0, 0, 2.5), (2, 1, 0.5)), LIMITS) == []


def test_a_piece_is_what_hangs_together_at_its_corners_too() -> None:
    z = np.full((8, 8, 2), -5, np.float32)
    z[1, 1, 0], z[2, 2, 0], z[6, 6, 0] = 5, 1, 5
    one, two = find_pieces(z, LIMITS)
    assert one.region.sum() == 2 and one.at == (slice(1, 3), slice(1, 3))
    assert two.region.sum() == 1 and two.at == (slice(6, 7), slice(6, 7))


def test_an_output_looks_no_further_than_reach_says() -> None:
    net = DefectNet(SMALL).eval()
    torch.nn.init.normal_(net.last.weight)
    side = 2 * SMALL.reach + 64
    x = torch.rand(1, 3, 16, side, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    middle = side // 16 * 8
    net(x)[..., middle : middle + 8].sum().backward()
    assert x.grad is not None
    seen = np.flatnonzero(x.grad.abs().sum((0, 1, 2)).numpy())
    assert middle - SMALL.reach <= seen.min() and seen.max() < middle + 8 + SMALL.reach
    assert seen.min() < middle - SMALL.reach // 3


@pytest.mark.parametrize(("height", "width"), [(24, 24), (37, 301), pytest.param(700, 530, marks=pytest.mark.slow)])
def test_findings_lie_in_the_pictures_own_pixels(tmp_path: Path, height: int, width: int) -> None:
    found = finder(tmp_path)(np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8))
    assert found.mask.shape == found.unsure.shape == (height, width)
    assert found.found and not (found.mask & found.unsure).any()
    drawn = np.zeros((height, width), bool)
    for defect in found.found:
        left, top, w, h = defect.box
        assert left >= 0 and left + w <= width and top >= 0 and top + h <= height and 0 < defect.area <= w * h
        drawn[top : top + h, left : left + w] = True
    assert not ((found.mask | found.unsure) & ~drawn).any()


def test_the_network_looks_for_nothing_where_a_picture_is_transparent(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (60, 90, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    pixels[:, 40:, 3] = 0
    found = finder(tmp_path)(pixels)
    assert (found.mask | found.unsure)[:, :40].any() and not (found.mask | found.unsure)[:, 40:].any()


def test_beside_a_missing_block_nothing_else_is_looked_for(tmp_path: Path) -> None:
    pixels = plain(2)
    pixels[96:128, 96:160] = 0
    plainly = find_defects(pixels)
    z = np.full((300, 320, 2), -5, np.float32)
    z[94:130, 95, 0], z[200:203, 20:23, 0] = 9, 9
    found = finder(tmp_path).judged(plainly, z)
    assert [(d.kind, d.box) for d in found.found] == [("block", (96, 96, 64, 32)), ("dust", (20, 200, 3, 3))]
    np.testing.assert_array_equal(found.mask, plainly.mask | (z[..., 0] > 8) & (np.arange(300) > 150)[:, None])


def test_without_weights_there_is_no_network(tmp_path: Path) -> None:
    assert load_defect_finder(tmp_path / "model.safetensors") is None


def test_another_file_than_a_detectors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"no weights")
    with pytest.raises(PackshotError, match="damaged"):
        DefectFinder(path)
    save_tensors(
        path, DefectNet(SMALL).state_dict(), {"config": {"net": asdict(SMALL), "limits": {"dust": {"edge": 0.0}}}}
    )
    with pytest.raises(PackshotError, match="no damage detector of this version"):
        DefectFinder(path)


def test_the_loss_is_a_mean_over_damage_and_one_over_the_rest() -> None:
    config = DefectTraining(few=2.0)
    y = torch.zeros(1, 5, 2, 4)
    y[0, 0, 0, :4] = 1
    w = torch.ones(1, 1, 2, 4)
    w[0, 0, 1, 3] = 0
    z = torch.linspace(-2, 2, 40).view(1, 5, 2, 4)
    terms = compute_loss(z, y, w, config)
    e = torch.log1p(torch.exp(-z)) * y + torch.log1p(torch.exp(z)) * (1 - y)
    assert float(terms["missed"]) == pytest.approx(float(e[0, 0, 0].mean()), rel=1e-5)
    seen = (e * w)[0]
    invented = seen[0, 1, :3].sum() / 4 + sum(seen[k].sum() / 8 for k in range(1, 5))
    assert float(terms["invented"]) == pytest.approx(float(invented), rel=1e-5)
    p = torch.sigmoid(z[0, 0])
    dice = (2 * p[0].sum() + 1) / (p[0].sum() + p[1, :3].sum() + 4 + 1)
    assert float(terms["dice"]) == pytest.approx(float(1 - dice), rel=1e-5)


def test_training_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    photos = [np.random.default_rng(i).integers(0, 256, (70, 80, 3 + i), dtype=np.uint8) for i in range(2)]
    config = DefectTraining(net=SMALL, steps=4, batch_size=2, side=32, shorter=(40, 60), bfloat16=False)
    whole = train_defects(photos, config, tmp_path / "whole").state_dict()
    train_defects(photos, config, tmp_path / "parts", until=3)
    parts = train_defects(photos, config, tmp_path / "parts").state_dict()
    for name, tensor in whole.items():
        assert torch.equal(tensor, parts[name]), name
    rows = [json.loads(line) for line in (tmp_path / "parts" / "log.jsonl").read_text().splitlines()]
    assert {"missed", "invented", "dice"} < set(rows[-1])
