"""`create --mix A B --styles`: the coarse styles of one picture with the fine ones of another."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from packshot.images.decode import decode
from packshot.models.gan.stylegan2 import StyleGAN2Config, StyleGAN2Generator
from packshot.models.spec import PictureSpec
from packshot.models.table import MODELS
from packshot.sampling.generator import TrainedGenerator
from packshot.tasks import create as task

CATEGORIES = ("Bag", "Hat")


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TrainedGenerator:
    """A StyleGAN2 of random weights, with noise maps that count, in the place of a run's."""
    torch.manual_seed(0)
    config = StyleGAN2Config(z_dim=8, w_dim=8, mapping_layers=2, g_width=4, d_width=4)
    spec = PictureSpec(size=32, channels=3, categories=2)
    network = StyleGAN2Generator(config, spec).eval().requires_grad_(False)
    for name, parameter in network.named_parameters():
        if name.endswith("noise_scale"):
            parameter.fill_(0.3)
    made = TrainedGenerator(network, "stylegan2", spec, CATEGORIES, 2)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    monkeypatch.setattr(task, "load_run_generator", lambda run: made)
    return made


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_the_ends_are_the_pictures_themselves_and_between_each_layer_counts(
    generator: TrainedGenerator, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    own = task.create(task.CreateRequest(run=run, out=tmp_path / "own", n=4, seed=3, allow_copies=True))
    mixed = task.create(
        task.CreateRequest(run=run, out=tmp_path / "mixed", seed=3, mix=("0", "3"), styles=True, allow_copies=True)
    )
    layers = generator.network.layers
    assert len(mixed.pictures) == layers + 1
    assert np.array_equal(pixels(mixed.pictures[0]), pixels(own.pictures[0]))
    assert np.array_equal(pixels(mixed.pictures[-1]), pixels(own.pictures[3]))
    assert len({pixels(p).tobytes() for p in mixed.pictures}) == layers + 1
    assert mixed.labels == ["Bag"] * layers + ["Hat"]
    assert mixed.sheet.name == "styles-0-3-3-sheet.png"


def test_a_crossover_is_a_mix_of_styles_and_of_noise_maps(generator: TrainedGenerator) -> None:
    network = generator.network
    z, z2 = generator.noise(1, 0, 3), generator.noise(2, 0, 3)
    label, k = torch.zeros(3, dtype=torch.int64), torch.tensor([1, 4, 7])
    for parameter in (p for n, p in network.named_parameters() if n.endswith("noise_scale")):
        parameter.zero_()  # `mixed` has the noise maps of z alone.
    torch.testing.assert_close(network.crossed(z, label, z2, label, k), network.mixed(z, z2, label, k))


def test_the_history_names_the_crossover(generator: TrainedGenerator, tmp_path: Path, monkeypatch) -> None:
    seen = []
    real = task.generated_picture

    def watch(image, own, operation, params):
        seen.append((operation, params["ends"], params["crossover"], params["styles"]))
        return real(image, own, operation, params)

    monkeypatch.setattr(task, "generated_picture", watch)
    task.create(
        task.CreateRequest(run=tmp_path / "run", out=tmp_path / "out", mix=("1", "0"), styles=True, allow_copies=True)
    )
    layers = generator.network.layers
    assert seen == [("mix", ["1", "0"], k, layers) for k in range(layers, -1, -1)]
    assert decode(tmp_path / "out" / "styles-1-0-0-0000.png").width == 28


def test_only_stylegan2_has_styles() -> None:
    offering = [n for n, e in MODELS.items() if any(hasattr(b, "crossed") for b in e.networks.values())]
    assert offering == ["stylegan2"]
