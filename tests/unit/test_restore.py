"""The networks of `enhance`: zeros are Lanczos, tiles are the whole picture, training is a function of its seed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from packshot.core.config import build_config, read_toml
from packshot.core.errors import PackshotError
from packshot.images.resize import resize
from packshot.models.restore.apply import WEIGHTS, Restorer, lanczos
from packshot.models.restore.net import RestoreConfig, RestoreNet
from packshot.models.weights import load_tensors
from packshot.training.checkpoint import Progress
from packshot.training.restore import RestoreTraining, Samples, compute_loss, save_restore, train_restore

ROOT = Path(__file__).parents[2]
SCALE = RestoreConfig(scales=(2, 3, 4), width=4, blocks=2)
CLEAN = RestoreConfig(scales=(1,), width=4, blocks=2, unshuffle=2, controls=3)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (max(2, height // 6), max(2, width // 6), 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def restorer(folder: Path, config: RestoreConfig, heads: float = 0.3) -> Restorer:
    """A network with random weights; `heads` 0 leaves the heads at zero."""
    torch.manual_seed(1)
    net = RestoreNet(config)
    if heads:
        for head in net.heads.values():
            torch.nn.init.normal_(head.weight, std=heads)
    path = folder / "net.safetensors"
    save_restore(path, net, RestoreTraining(net=config), Progress())
    return Restorer(path)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_network_of_zeros_is_lanczos(tmp_path: Path, scale: int) -> None:
    x = picture(37, 50)
    made = restorer(tmp_path, SCALE, heads=0)(x, scale)
    expected = resize(x, 37 * scale, 50 * scale)
    assert np.abs(made.astype(int) - expected).max() <= 1  # Pillow rounds twice on its way, once for each axis.


def test_a_cleaner_of_zeros_changes_nothing(tmp_path: Path) -> None:
    x = picture(31, 45)
    assert np.array_equal(restorer(tmp_path, CLEAN, heads=0)(x, 1, (1.0, 1.0, 1.0)), x)


@pytest.mark.parametrize(("config", "scale", "controls"), [(SCALE, 2, ()), (SCALE, 3, ()), (CLEAN, 1, (1.0, 0.5, 0.0))])
def test_tiles_are_the_whole_picture(
    tmp_path: Path, config: RestoreConfig, scale: int, controls: tuple[float, ...]
) -> None:
    net, x = restorer(tmp_path, config), picture(90, 131)
    whole = net(x, scale, controls, tile=512)
    tiled = net(x, scale, controls, tile=24)
    assert whole.shape == tiled.shape == (90 * scale, 131 * scale, 3)
    assert (
        np.abs(whole.astype(int) - resize(x, 90 * scale, 131 * scale)).max() > 20
    )  # The network has something to say.
    assert np.abs(whole.astype(int) - tiled).max() <= 1


def test_reach_is_how_far_a_pixel_is_seen() -> None:
    for config, scale in ((SCALE, 2), (CLEAN, 1)):
        torch.manual_seed(0)
        net = RestoreNet(config).double()
        torch.nn.init.normal_(net.heads[str(scale)].weight)
        x = torch.rand(1, 3, 64, 64, dtype=torch.float64)
        y = x.clone()
        y[..., 32, 32] += 1
        controls = torch.ones(1, 3, dtype=torch.float64) if config.controls else None
        change = (net(x, scale, controls) - net(y, scale, controls)).abs().sum(1)[0]
        seen = torch.nonzero(change > 1e-12) // scale
        reached = (seen - 32).abs().max().item()
        assert config.reach - config.unshuffle <= reached <= config.reach


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3), (5, 1)])
def test_tiny_pictures(tmp_path: Path, size: tuple[int, int]) -> None:
    x = picture(*size)
    assert restorer(tmp_path, SCALE)(x, 4).shape == (4 * size[0], 4 * size[1], 3)
    assert restorer(tmp_path, CLEAN)(x, 1, (1.0, 1.0, 1.0)).shape == x.shape


def test_enlarged_planes_are_pillows() -> None:
    x = picture(20, 30)
    assert np.abs(lanczos(x, 3) - resize(x, 60, 90)).max() < 1.5 or (lanczos(x, 3) < 0).any()
    assert np.array_equal(lanczos(x, 1), x)


def test_foreign_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata={"packshot": '{"config": {"depth": 3}}'})
    with pytest.raises(PackshotError, match="no restoration network"):
        Restorer(path)
    with pytest.raises(PackshotError, match="safetensors"):
        Restorer(Path(__file__))


def test_loss_is_l1_of_values_and_transforms() -> None:
    x, y = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    spectrum = np.fft.rfft2((x - y).numpy(), norm="ortho")
    expected = np.abs((x - y).numpy()).mean() + 0.3 * np.abs(np.stack([spectrum.real, spectrum.imag])).mean()
    assert compute_loss(x, y, 0.3).item() == pytest.approx(expected, rel=1e-5)
    assert compute_loss(x, x, 0.3).item() == 0


TINY = RestoreTraining(
    net=RestoreConfig(scales=(2,), width=4, blocks=1),
    steps=8,
    batch_size=2,
    patch=8,
    scale_weights=(1.0,),
    bfloat16=False,
)


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    photos = [picture(40, 50, i) for i in range(3)]
    whole = train_restore(photos, TINY, tmp_path / "whole")
    train_restore(photos, TINY, tmp_path / "parts", until=3)
    parts = train_restore(photos, TINY, tmp_path / "parts")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, parts.state_dict()[name]), name
    assert any(t.abs().max() > 0 for n, t in whole.state_dict().items() if n.startswith("heads"))
    Restorer(tmp_path / "whole/model.safetensors")(photos[0], 2)


def test_samples_are_a_function_of_the_seed() -> None:
    photos = [picture(60, 70), np.dstack([picture(60, 70, 1), picture(60, 70, 2)[..., :1]])]
    config = replace(TINY, net=replace(TINY.net, scales=(1,), controls=3, unshuffle=2))
    one, same = Samples(photos, config).at(5), Samples(photos, config).at(5)
    other = Samples(photos, replace(config, seed=1)).at(5)
    for a, b in zip(one[1:], same[1:], strict=True):
        assert a is not None and b is not None and torch.equal(a, b)
    assert not torch.equal(one[1], other[1])
    assert one[4] is not None and one[4].shape == (2, 3)


@pytest.mark.parametrize("name", ["scale", "clean"])
def test_shipped_weights_are_of_the_recipe(name: str) -> None:
    path = WEIGHTS / f"{name}.safetensors"
    assert path.stat().st_size <= 4_000_000
    recipe = build_config(RestoreTraining, read_toml(ROOT / f"recipes/restore/{name}.toml"))
    tensors, _ = load_tensors(path)
    assert Restorer(path).net.config == recipe.net
    assert all(t.dtype == torch.float16 and t.isfinite().all() for t in tensors.values())
