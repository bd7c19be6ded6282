"""sampling/: priors, equal shares, interpolation, the generator on disk."""

from pathlib import Path

import numpy as np
import pytest
import torch

from packshot.core.config import to_table
from packshot.core.errors import PackshotError, UsageError
from packshot.models.ranges import to_model, to_uint8
from packshot.models.spec import PictureSpec
from packshot.models.table import find_model
from packshot.models.weights import load_tensors, save_tensors
from packshot.sampling.generator import TrainedGenerator, equal_shares, interpolate, load_generator, save_generator
from packshot.sampling.prior import ClassGaussian, fit_class_prior

SPEC = PictureSpec(size=32, channels=1, categories=3)


def make_generator(model: str = "vae", margin: int = 0, prior: bool = False) -> TrainedGenerator:
    torch.manual_seed(0)
    entry = find_model(model)
    network = entry.networks[entry.sampler](entry.config(), SPEC).eval()
    gaussian = None
    if prior:
        gaussian = ClassGaussian(3, network.z_dim)
        gaussian.mean.normal_()
    return TrainedGenerator(network, model, SPEC, ("Bag", "Coat", "Ankle boot"), margin, gaussian)


def test_ranges_round_trip_every_byte() -> None:
    images = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).repeat(2, 1, 1, 3)
    x = to_model(images)
    assert x.shape == (2, 3, 16, 16)
    assert (x.min().item(), x.max().item()) == (-1, 1)
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(to_uint8(x), images)
    assert to_uint8(torch.tensor([[[[-3.0]], [[3.0]], [[0.0]]]])).tolist() == [[[[0, 255, 128]]]]


def test_a_fitted_prior_has_the_moments_of_the_codes() -> None:
    generator = torch.Generator().manual_seed(3)
    label = torch.arange(60_000) % 2
    mix = torch.randn(2, 3, 3, generator=generator)
    centre = torch.tensor([[0.0, 1.0, 2.0], [5.0, 0.0, -5.0]])
    eps = torch.randn(60_000, 3, generator=generator)
    codes = centre[label] + torch.einsum("nij,nj->ni", mix[label], eps)
    prior = ClassGaussian(2, 3)
    prior.fit(codes, label)
    z = prior(torch.randn(60_000, 3, generator=generator), label)
    for c in range(2):
        expected = mix[c] @ mix[c].T
        assert torch.allclose(z[label == c].mean(0), centre[c], atol=0.05)
        assert torch.allclose(torch.cov(z[label == c].T), expected, rtol=0.05, atol=0.05)


def test_a_prior_stays_sound_for_categories_with_few_or_no_photos() -> None:
    codes, label = torch.randn(41, 8), torch.tensor([0] * 40 + [1])
    prior = ClassGaussian(3, 8)
    prior.fit(codes, label)
    assert torch.isfinite(prior.scale).all()
    assert torch.allclose(prior.mean[1], codes[40])
    assert torch.allclose(prior.mean[2], codes.mean(0), atol=1e-6)
    assert torch.equal(prior.scale[1], prior.scale[2])


def test_fit_class_prior_encodes_pictures() -> None:
    vae = find_model("vae").networks["vae"](find_model("vae").config(z_dim=4, width=8), SPEC).eval()
    images = torch.randint(0, 256, (1100, 32, 32, 1), dtype=torch.uint8)
    labels = torch.arange(1100) % 3
    prior = fit_class_prior(vae.encode, images, labels, categories=3, z_dim=4)
    with torch.no_grad():
        mean, _ = vae.encode(to_model(images), labels)
    assert torch.allclose(prior.mean[1], mean[labels == 1].mean(0), atol=1e-5)


@pytest.mark.parametrize("model", ["vae", "dcgan"])
def test_picture_i_is_the_same_however_many_are_asked_for(model: str) -> None:
    generator = make_generator(model, prior=model == "vae")
    many = generator.sample([0, 1, 2] * 50, seed=7)
    few = generator.sample([0, 1, 2], seed=7)
    # Other batch sizes may round the last bit differently.
    assert np.abs(many[:3].astype(int) - few).max() <= 1
    assert np.array_equal(generator.sample([0, 1, 2], seed=7), few)
    assert not np.array_equal(generator.sample([0, 1, 2], seed=8), few)
    assert np.array_equal(generator.noise(7, 1, 2), generator.noise(7, 0, 3)[1:])


def test_the_margin_is_cut_off() -> None:
    whole, cut = make_generator(), make_generator(margin=2)
    a, b = whole.sample([0, 1], 1), cut.sample([0, 1], 1)
    assert a.shape == (2, 32, 32, 1)
    assert np.array_equal(a[:, 2:-2, 2:-2], b)


def test_categories_by_name() -> None:
    generator = make_generator()
    assert generator.label_of("Ankle boot") == 2
    assert generator.label_of("ankle BOOT") == 2
    with pytest.raises(UsageError, match="Did you mean 'Ankle boot'"):
        generator.label_of("Ankel boots")


def test_equal_shares_differ_by_at_most_one() -> None:
    assert np.bincount(equal_shares(5000, 10)).tolist() == [500] * 10
    assert sorted(np.bincount(equal_shares(11, 4)).tolist()) == [2, 3, 3, 3]


def test_interpolation_keeps_the_norm_of_gaussian_noise() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(64), torch.randn(64)
    path = interpolate(a, b, 9)
    assert torch.allclose(path[0], a, atol=1e-5)
    assert torch.allclose(path[-1], b, atol=1e-5)
    norms = path.norm(dim=1)
    assert norms.min() > 0.95 * min(a.norm(), b.norm())
    assert torch.allclose(interpolate(a, a, 3), a.expand(3, -1))


@pytest.mark.parametrize("prior", [False, True])
def test_a_generator_from_disk_makes_the_same_pixels(tmp_path: Path, prior: bool) -> None:
    generator = make_generator(margin=2, prior=prior)
    save_generator(tmp_path / "m.safetensors", generator, to_table(find_model("vae").config()))
    loaded = load_generator(tmp_path / "m.safetensors")
    assert (loaded.model, loaded.spec, loaded.categories, loaded.margin) == ("vae", SPEC, generator.categories, 2)
    assert np.array_equal(loaded.sample([0, 1, 2], 5), generator.sample([0, 1, 2], 5))


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_generator(path, make_generator(), to_table(find_model("vae").config()))
    tensors, header = load_tensors(path)
    save_tensors(path, tensors, {**header, "model": "gone"})
    with pytest.raises(PackshotError, match="another version"):
        load_generator(path)
