"""What every model in the table that makes pictures has to do, at every size and channel count that it states."""

import pytest
import torch

from packshot.core.errors import PackshotError, UsageError
from packshot.models.spec import PictureSpec
from packshot.models.table import PICTURE_MODELS, ModelEntry, check_spec, find_model
from packshot.models.weights import load_into, load_tensors, save_tensors

CASES = [
    pytest.param(entry, PictureSpec(size=size, channels=channels, categories=5), id=f"{entry.name}-{size}-{channels}")
    for entry in PICTURE_MODELS.values()
    for size in entry.sizes
    for channels in entry.channels
]
N = 4


def make(network: torch.nn.Module, z: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    return getattr(network, "decode", network)(z, label)


@pytest.mark.parametrize(("entry", "spec"), CASES)
def test_sampler_makes_pictures_in_range(entry: ModelEntry, spec: PictureSpec) -> None:
    torch.manual_seed(0)
    network = entry.networks[entry.sampler](entry.config(), spec)
    x = make(network, 5 * torch.randn(N, network.z_dim), torch.arange(N) % spec.categories)
    assert x.shape == (N, spec.channels, spec.size, spec.size)
    assert x.dtype == torch.float32
    assert x.abs().max() <= 1
    assert x.is_contiguous(memory_format=torch.channels_last) or spec.channels == 1


@pytest.mark.parametrize(("entry", "spec"), CASES)
def test_every_parameter_gets_a_gradient(entry: ModelEntry, spec: PictureSpec) -> None:
    torch.manual_seed(0)
    label = torch.arange(8) % spec.categories
    for role, build in entry.networks.items():
        network = build(entry.config(), spec)
        with torch.no_grad():  # A layer that begins at 0 lets no gradient through to those before it.
            for parameter in network.parameters():
                parameter += 0.01 * torch.randn_like(parameter)
        if role == "generator":
            out = [network(torch.randn(8, network.z_dim), label)]
        elif role == "discriminator":
            out = [network(torch.randn(8, spec.channels, spec.size, spec.size), label)]
        elif role == "latent":
            x = torch.rand(8, spec.channels, spec.size, spec.size)
            z, t = torch.randn(8, network.z_dim), torch.rand(8)
            x_hat, mean, logvar = network.vae(x, label, z)
            # Each category has a row in the flow, and so has "none".
            out = [x_hat, mean, logvar, network.flow.velocity_loss(mean, torch.arange(8) % (spec.categories + 1), z, t)]
        elif role == "vq":
            x_hat, _, _, logits = network(torch.rand(8, spec.channels, spec.size, spec.size), label)
            out = [x_hat, logits]
        else:
            out = list(
                network(torch.rand(8, spec.channels, spec.size, spec.size), label, torch.randn(8, network.z_dim))
            )
        sum(o.square().sum() for o in out).backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(("entry", "spec"), CASES)
def test_the_category_matters(entry: ModelEntry, spec: PictureSpec) -> None:
    torch.manual_seed(0)
    network = entry.networks[entry.sampler](entry.config(), spec).eval()
    z = torch.randn(N, network.z_dim)
    assert not torch.equal(
        make(network, z, torch.zeros(N, dtype=torch.long)), make(network, z, torch.ones(N, dtype=torch.long))
    )


@pytest.mark.parametrize(("entry", "spec"), CASES)
def test_save_and_load_give_the_same_network(entry: ModelEntry, spec: PictureSpec, tmp_path) -> None:
    torch.manual_seed(0)
    for role, build in entry.networks.items():
        first, second = build(entry.config(), spec).to(memory_format=torch.channels_last), build(entry.config(), spec)
        save_tensors(tmp_path / f"{role}.safetensors", first.state_dict(), {"role": role})
        tensors, header = load_tensors(tmp_path / f"{role}.safetensors")
        assert header == {"role": role}
        load_into(second, tensors, "test")
        for name, value in first.state_dict().items():
            assert torch.equal(value, second.state_dict()[name]), name


def test_weights_of_another_network_are_refused(tmp_path) -> None:
    spec = PictureSpec(size=32, channels=1, categories=3)
    entry = find_model("vae")
    wide = entry.networks["vae"](entry.config(width=16), spec)
    narrow = entry.networks["vae"](entry.config(width=8), spec)
    with pytest.raises(PackshotError, match="do not fit"):
        load_into(narrow, wide.state_dict(), "wide.safetensors")


def test_a_damaged_file_is_refused(tmp_path) -> None:
    path = tmp_path / "m.safetensors"
    save_tensors(path, {"a": torch.zeros(100)}, {})
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(PackshotError, match="damaged"):
        load_tensors(path)
    path.write_bytes(b"\x80\x04pickle")
    with pytest.raises(PackshotError, match="damaged"):
        load_tensors(path)
    with pytest.raises(PackshotError, match="no such file"):
        load_tensors(tmp_path / "missing.safetensors")


def test_unknown_model_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean 'dcgan'"):
        find_model("dcgann")


def test_a_size_the_model_cannot_make_is_refused() -> None:
    with pytest.raises(UsageError, match="32 or 64 px"):
        check_spec(find_model("dcgan"), PictureSpec(size=48, channels=1, categories=2))
    with pytest.raises(UsageError, match="1 channel"):
        check_spec(find_model("gan-reference"), PictureSpec(size=28, channels=3, categories=2))
