"""Inception-v3 for a user's weights: the published names and shapes, the published values, hostile files."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor

from packshot.core.errors import PackshotError
from packshot.evaluation.distribution import compute_fd
from packshot.models.features.inception import InceptionV3, load_inception, prepare
from tests.evaluation_stubs import drawn

# Of pytorch-fid 0.3.0 with `invented_weights` and the pictures of the test below, computed once by hand.
# PUBLISHED_LAYOUT: SHA-256 of the sorted lines "name [shape]" of the published file, less its counters; 472 tensors.
GOLDEN = [
    [0.1478734, 0.0237778, 0.9123604, 0.0383205, 0.8615128],
    [0.1620885, 0.0273735, 0.9867978, 0.0348562, 0.8351462],
]
GOLDEN_MEAN = 0.8504632
PUBLISHED_LAYOUT = "bd04e829988dd22dd0bbf9e499a87af311ed57c1b4309a9d20a907d8ed4123d4"


def invented_weights() -> dict[str, Tensor]:
    """Weights of the published layout, drawn so that activations neither die nor blow up."""
    with torch.device("meta"):
        layout = InceptionV3().state_dict()
    rng = np.random.default_rng(7)
    out = {}
    for name, tensor in layout.items():
        if name.endswith("num_batches_tracked"):
            continue
        shape, fan = tuple(tensor.shape), max(1, int(np.prod(tensor.shape[1:])))
        if name.endswith("conv.weight"):
            values = rng.standard_normal(shape, np.float32) * np.float32((2 / fan) ** 0.5)
        elif name.endswith(("running_var", "bn.weight")):
            values = rng.uniform(0.7, 1.3, shape).astype(np.float32)
        else:
            values = rng.uniform(0, 0.4, shape).astype(np.float32)
        out[name] = torch.from_numpy(values)
    return out


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return invented_weights()


@pytest.fixture(scope="module")
def file(weights: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inception") / "inception.safetensors"
    safetensors.torch.save_file(weights, path)
    return path


def test_names_and_shapes_are_the_published_ones(weights: dict[str, Tensor]) -> None:
    lines = sorted(f"{name} {list(tensor.shape)}" for name, tensor in weights.items())
    assert len(lines) == 472
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == PUBLISHED_LAYOUT
    assert weights["fc.weight"].shape == (1008, 2048)


def test_features_are_those_of_the_published_port(file: Path) -> None:
    net = load_inception(file)
    got = net.features(drawn(2, 1, 32, 3)[0])
    assert got.shape == (2, 2048)
    np.testing.assert_allclose(got[:, [0, 500, 1000, 1500, 2047]], GOLDEN, rtol=2e-4)
    assert got.mean() == pytest.approx(GOLDEN_MEAN, rel=1e-4)


def test_mean_pooling_leaves_the_padding_out_and_the_last_block_takes_the_maximum(weights: dict[str, Tensor]) -> None:
    net = InceptionV3().eval()
    net.load_state_dict(weights, strict=False)
    ones = torch.ones(1, 1280, 8, 8)

    def pooled(block: str, x: Tensor) -> Tensor:
        unit = net.get_submodule(f"{block}.branch_pool")
        return net.get_submodule(block)(x)[:, -192:], unit

    for block, x in (("Mixed_7b", ones), ("Mixed_7c", torch.rand(1, 2048, 8, 8))):
        with torch.no_grad():
            got, unit = pooled(block, x)
            expected = unit(x if block == "Mixed_7b" else F.max_pool2d(x, 3, 1, 1))
        torch.testing.assert_close(got, expected)


@pytest.mark.slow
def test_the_published_pth_and_safetensors_are_the_same(
    file: Path, weights: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = drawn(2, 1, 28)[0]
    expected = load_inception(file)
    assert "not the published .pth file" in expected.source
    assert hashlib.sha256(file.read_bytes()).hexdigest()[:8] in expected.protocol
    full = InceptionV3()
    full.load_state_dict(weights, strict=False)
    for name, tensors in (("plain.pth", weights), ("counters.pth", full.state_dict())):
        torch.save(tensors, tmp_path / name)
        with pytest.raises(PackshotError, match="is not the published"):
            load_inception(tmp_path / name)
        publish(tmp_path / name, monkeypatch)
        net = load_inception(tmp_path / name)
        np.testing.assert_array_equal(net.features(images), expected.features(images))
        assert "not the published" not in net.source


def publish(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes a file for the published one, which is in no package."""
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr("packshot.models.features.inception.PUBLISHED_SHA256", checksum[:8])


def test_figures_are_named_fid(file: Path) -> None:
    net = load_inception(file)
    rows = np.zeros((3, 2048), np.float32)
    figure = compute_fd(rows, rows, net, seed=0)
    assert figure.name == "fid_inception_3"
    assert "2,049" in str(figure.warning)


def test_resize_is_bilinear_without_antialiasing() -> None:
    images = torch.from_numpy(drawn(2, 1, 40)[0])
    x = prepare(images)
    assert x.shape == (2, 3, 299, 299)
    small = images[..., 0].float()
    # Half-pixel centres: output 149 looks at 19.9983... of the input.
    at = (149 + 0.5) * 40 / 299 - 0.5
    low, part = int(at), at - int(at)
    row = small[:, low] * (1 - part) + small[:, low + 1] * part
    value = row[:, low] * (1 - part) + row[:, low + 1] * part
    torch.testing.assert_close(x[:, 1, 149, 149], value / 127.5 - 1, atol=1e-4, rtol=0)


class Evil:
    def __reduce__(self) -> tuple:
        return (Path("evil").write_text, ("ran",))


def test_hostile_and_wrong_files_are_refused(
    weights: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil()))
    torch.save({"net": Evil()}, tmp_path / "evil2.pth")
    (tmp_path / "noise.pth").write_bytes(b"\x00\xff" * 100)
    (tmp_path / "noise.safetensors").write_bytes(b"\xff" * 100)
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({**weights, "extra": torch.zeros(1)}, tmp_path / "extra.pth")
    torch.save({n: t for n, t in weights.items() if n != "fc.bias"}, tmp_path / "less.pth")
    torch.save({**weights, "fc.bias": torch.zeros(1000)}, tmp_path / "shape.pth")
    for path in sorted(tmp_path.glob("*.*")):
        with pytest.raises(PackshotError, match=path.name):
            load_inception(path)
        publish(path, monkeypatch)
        with pytest.raises(PackshotError, match=path.name):
            load_inception(path)
    assert not (tmp_path / "evil").exists()
    with pytest.raises(PackshotError, match="no such file"):
        load_inception(tmp_path / "missing.pth")
