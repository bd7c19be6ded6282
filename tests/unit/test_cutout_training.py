"""Training of the matting network: losses, examples, and that a resumed run is the unbroken one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from packshot.core.config import build_config, read_toml
from packshot.core.errors import PackshotError
from packshot.losses.matting import alpha_loss, bce_loss, gradient_loss, iou_loss
from packshot.models.cutout.net import MattingConfig
from packshot.training.cutout import CutoutTraining, Phase, rate, train_cutout
from packshot.training.cutout_data import (
    Composer,
    Sources,
    affine,
    own_colours,
    read_objects,
    read_photos,
    shadow,
    without_shadow,
)

ROOT = Path(__file__).parents[2]


def thing(seed: int, size: int = 60) -> np.ndarray:
    """RGBA: a square of one colour with a soft border, on noise."""
    rng = np.random.default_rng(seed)
    pixels = np.empty((size, size, 4), np.uint8)
    pixels[..., :3] = rng.integers(0, 90, (size, size, 3))
    pixels[..., 3] = 0
    pixels[15:45, 15:45] = (*rng.integers(120, 256, 3), 255)
    pixels[14, 15:45, 3] = 128
    return pixels


@pytest.fixture(scope="module")
def composer() -> Composer:
    things = [thing(i) for i in range(3)]
    return Composer(Sources(photos=things, packshots=things, objects=things), seed=5)


def test_losses_are_zero_for_the_truth_and_known_for_a_guess() -> None:
    alpha = torch.zeros(1, 1, 8, 8)
    alpha[..., :4] = 1
    right = (alpha * 2 - 1) * 40
    for loss in (bce_loss, iou_loss, alpha_loss, gradient_loss):
        assert float(loss(right, alpha)) == pytest.approx(0, abs=1e-6)
    unsure = torch.zeros_like(alpha)
    assert float(bce_loss(unsure, alpha)) == pytest.approx(np.log(2))
    assert float(alpha_loss(unsure, alpha)) == pytest.approx(0.5)
    # Both 16, either 16 + 32, and one more on either side.
    assert float(iou_loss(unsure, alpha)) == pytest.approx(1 - 17 / 49)
    # Sobel / 4 gives 1 at the two columns of each of 6 rows beside the step: 12 of 36 places, half of them in 2 kinds.
    assert float(gradient_loss(unsure, alpha)) == pytest.approx(12 / 72)


def test_examples_are_a_function_of_seed_and_step(composer: Composer) -> None:
    again = Composer(composer.sources, composer.seed)
    for i in range(12):
        assert (composer.example(3, i, 64) == again.example(3, i, 64)).all()
    assert (composer.example(3, 0, 64) != composer.example(4, 0, 64)).any()
    photos, alpha = composer.batch(0, 3, 64)
    assert photos.shape == (3, 3, 64, 64)
    assert alpha.shape == (3, 1, 64, 64)
    assert 0 <= photos.min() <= photos.max() <= 1


def test_most_examples_show_a_product_and_some_show_none(composer: Composer) -> None:
    shares = [float((composer.example(0, i, 64)[..., 3] > 128).mean()) for i in range(150)]
    assert 0 < np.mean([s == 0 for s in shares]) < 0.2
    assert 0.05 < np.mean(shares) < 0.8


def test_affine_turns_mirrors_and_scales() -> None:
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[5:15, 20:30] = 255
    same = affine(pixels, 40, scale=1, degrees=0, flip=False, centre=(20, 20))
    assert (same == pixels).all()
    mirrored = affine(pixels, 40, scale=1, degrees=0, flip=True, centre=(20, 20))
    assert (mirrored == pixels[:, ::-1]).all()
    half = affine(pixels, 40, scale=0.5, degrees=0, flip=False, centre=(20, 20))
    assert half[15, 22].min() > 200
    assert 20 <= int((half[..., 0] >= 127).sum()) <= 30


def test_colours_of_an_edge_become_those_of_the_thing() -> None:
    pixels = thing(1)
    edge = own_colours(pixels)[14, 20:40, :3].astype(int)
    assert np.abs(edge - pixels[30, 30, :3].astype(int)).max() <= 3


def test_soft_shadows_are_no_part_of_a_packshot_and_darken_the_ground() -> None:
    pixels = thing(2)
    pixels[52:58, 10:50] = (0, 0, 0, 90)
    assert not without_shadow(pixels)[50:, :, 3].any()
    assert (without_shadow(pixels)[10:46] == pixels[10:46]).all()
    light = shadow(np.random.default_rng(0), pixels[..., 3])
    assert 0 < light.min() < 0.95
    assert light.max() <= 1


def test_pictures_are_read_by_split_and_cut_to_their_boxes(tmp_path: Path) -> None:
    for folder in ("original", "mattes"):
        (tmp_path / folder).mkdir()
    Image.fromarray(thing(0)[..., :3]).save(tmp_path / "original/a.jpg", quality=95)
    Image.fromarray(thing(0)[..., 3].copy()).save(tmp_path / "mattes/a.png")
    (tmp_path / "metadata.csv").write_text("image,contributor,split\na,1,train\nb,1,train\nc,2,validation\n")
    photos = read_photos(tmp_path, "train")
    assert list(photos) == ["a"]
    assert photos["a"][0, 0, :3].max() < 130  # What is outside the matte keeps its colours.
    with pytest.raises(PackshotError, match="no photo with a matte"):
        read_photos(tmp_path, "validation")
    Image.fromarray(thing(0)).save(tmp_path / "thing.png")
    assert read_objects([tmp_path / "thing.png"])[0].shape == (31, 30, 4)


@pytest.mark.slow
def test_a_resumed_run_is_the_unbroken_one(composer: Composer, tmp_path: Path) -> None:
    def settings(steps: int) -> CutoutTraining:
        small = MattingConfig(widths=(4, 4, 6, 8, 8), detail=4)
        # Without a warm-up of its own length, the rate of a step does not depend on how many there will be.
        phases = (Phase(steps=2, size=32, batch_size=2), Phase(steps=steps - 2, size=64, batch_size=2))
        return CutoutTraining(phases=phases, warmup=100, checkpoint_every=2, net=small)

    quiet = {"say": lambda line: None}
    whole = train_cutout(settings(4), composer, tmp_path / "whole", **quiet)
    train_cutout(settings(2), composer, tmp_path / "parts", **quiet)
    parts = train_cutout(settings(4), composer, tmp_path / "parts", **quiet)
    for (name, one), other in zip(whole.state_dict().items(), parts.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


def test_the_rate_rises_and_falls() -> None:
    settings = CutoutTraining(phases=(Phase(steps=100, size=32, batch_size=1),), warmup=10)
    rates = [rate(i, settings) for i in range(100)]
    assert rates[0] == 0.1
    assert max(rates) == pytest.approx(1)
    assert rates[-1] < 0.03


def test_the_recipe_parses_and_names_its_command() -> None:
    path = ROOT / "recipes/darkroom/cutout.toml"
    settings = build_config(CutoutTraining, read_toml(path))
    assert settings.steps >= 500
    assert all(p.size % 32 == 0 for p in settings.phases)
    assert (ROOT / settings.about.split()[0]).exists()
    assert "recipes/darkroom/cutout.toml" in settings.about
