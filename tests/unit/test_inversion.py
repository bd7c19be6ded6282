"""sampling/: truncation, the way back from a picture to its noise, and variations around it."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from packshot.core.errors import PackshotError
from packshot.models.spec import PictureSpec
from packshot.sampling.generator import TrainedGenerator, vary
from packshot.sampling.inversion import invert, match_loss
from packshot.sampling.prior import ClassGaussian
from packshot.tasks.points import end_name, sample_index

SPEC = PictureSpec(size=8, channels=1, categories=3)
NAMES = ("Bag", "Coat", "Boot")


class Linear(nn.Module):
    """Pictures tanh(W z + b[label]): smooth, with a known best z for each of its own pictures."""

    def __init__(self, z_dim: int = 4) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.z_dim = z_dim
        self.weight = nn.Parameter(0.3 * torch.randn(z_dim, 64))
        self.bias = nn.Parameter(torch.randn(3, 64))

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        return torch.tanh(z @ self.weight + self.bias[label]).view(-1, 1, 8, 8)


class Encoded(Linear):
    """The same with a decoder and an encoder that is a little off."""

    def encode(self, x: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.atanh(x.flatten(1).clamp(-0.999, 0.999)) - self.bias[label]
        z = h @ torch.linalg.pinv(self.weight) + 0.2
        return z, torch.zeros_like(z)


class Truncated(Linear):
    def truncated(self, z: Tensor, label: Tensor, truncation_psi: float) -> Tensor:
        return self(z, label) * truncation_psi


class Codes(Linear):
    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        return super().forward((z > 0).float(), label).detach()


def generator_of(network: nn.Module, prior: bool = False) -> TrainedGenerator:
    network = network.eval().requires_grad_(False)
    gaussian = None
    if prior:
        torch.manual_seed(5)
        gaussian = ClassGaussian(3, network.z_dim)
        gaussian.fit(torch.randn(600, 4) @ torch.randn(4, 4) + torch.randn(4), torch.arange(600) % 3)
    return TrainedGenerator(network, "stub", SPEC, NAMES, 0, gaussian)


def test_the_inverse_of_a_fitted_prior_is_its_inverse() -> None:
    prior = generator_of(Linear(), prior=True).prior
    eps, label = torch.randn(50, 4), torch.arange(50) % 3
    assert torch.allclose(prior.inverse(prior(eps, label), label), eps, atol=1e-4)


def test_truncation_shortens_the_noise_before_the_prior() -> None:
    generator = generator_of(Linear(), prior=True)
    eps, label = torch.randn(5, 4), torch.arange(5) % 3
    half = generator.pictures(eps, label, truncation_psi=0.5)
    assert np.array_equal(half, generator.pictures(0.5 * eps, label))
    none = generator.pictures(eps, label, truncation_psi=0.0)
    assert np.array_equal(none, generator.pictures_at(generator.prior.mean[label], label))
    assert np.array_equal(generator.pictures(eps, label, truncation_psi=1.0), generator.pictures(eps, label))


def test_a_network_that_truncates_does_it_its_own_way() -> None:
    network = Truncated()
    generator = generator_of(network)
    eps, label = torch.randn(5, 4), torch.zeros(5, dtype=torch.int64)
    assert torch.allclose(generator.render(eps, label, truncation_psi=0.5), 0.5 * network(eps, label))
    assert torch.equal(generator.render(eps, label, truncation_psi=1.0), network(eps, label))


@pytest.mark.parametrize(("network", "prior"), [(Linear, False), (Linear, True), (Encoded, False), (Encoded, True)])
def test_a_picture_of_the_generator_is_found_again(network: type[Linear], prior: bool) -> None:
    generator = generator_of(network(), prior)
    eps = generator.noise(11, 0, 1)
    x = generator.render(eps, torch.tensor([1]))
    found = invert(generator, x, [0, 1, 2], seed=0)
    assert found.label == 1
    assert (found.eps - eps[0]).abs().max() < 0.15
    again = invert(generator, x, [0, 1, 2], seed=0)
    assert torch.equal(again.eps, found.eps)


def test_a_given_category_is_kept() -> None:
    generator = generator_of(Linear())
    x = generator.render(generator.noise(11, 0, 1), torch.tensor([1]))
    assert invert(generator, x, [2], seed=0).label == 2


def test_a_model_that_draws_codes_cannot_start_from_a_photo() -> None:
    generator = generator_of(Codes())
    assert not generator.is_smooth
    with pytest.raises(PackshotError, match="codes"):
        invert(generator, torch.zeros(1, 1, 8, 8), [0], seed=0)


def test_the_match_feels_a_shift_less_than_another_picture() -> None:
    x = torch.zeros(1, 1, 32, 32)
    x[..., 10:20, 10:20] = 1
    shifted, moved = x.roll(2, 3), x.roll(12, 3)
    loss = match_loss(torch.cat([x, shifted, moved]), x)
    assert loss[0] == 0
    assert 0 < loss[1] < 0.5 * loss[2]
    # Two sizes of an 8 px picture by hand: the pixels', and that of 2x2 means.
    y = torch.zeros(1, 1, 8, 8)
    y[..., 0, 0] = 1
    expected = (1 / 64 + 0.25**2 / 16) / 2
    assert match_loss(y, torch.zeros(1, 1, 8, 8)).item() == pytest.approx(expected)


def test_variations_reach_from_the_photo_to_free_samples_and_stay_gaussian() -> None:
    torch.manual_seed(0)
    eps, noise = torch.randn(2000), torch.randn(50, 2000)
    assert torch.allclose(vary(eps, noise, 0.0), eps.expand(50, -1))
    assert torch.allclose(vary(eps, noise, 1.0), noise, atol=1e-5)
    assert vary(eps, noise, 0.4).square().mean().item() == pytest.approx(1, abs=0.05)


def test_an_end_of_a_mix_is_a_number_or_a_path() -> None:
    assert sample_index("12") == 12
    assert sample_index("boot.png") is None
    assert sample_index("./12") is None
    assert end_name("photos/Red Boot.png") == "red-boot"


class Judged(Encoded):
    """It rebuilds a photo under any label, and says itself which one suits."""

    def __init__(self) -> None:
        super().__init__()
        self.bias.data[:] = self.bias[0]
        self.asked: list[int] = []

    def misfit(self, code: Tensor, label: Tensor) -> Tensor:
        self.asked = label.tolist()
        return (label - 2).abs().float()

    def siblings(self, z: Tensor, noise: Tensor, label: Tensor, variation: float) -> Tensor:
        return torch.full((len(noise), 1, 8, 8), variation) * label[:, None, None, None]


def test_a_network_that_tells_a_code_s_category_is_asked() -> None:
    network = Judged()
    generator = generator_of(network)
    x = generator.render(generator.noise(11, 0, 1), torch.tensor([0]))
    assert invert(generator, x, [0, 1, 2], seed=0).label == 2
    assert network.asked == [0, 1, 2]
    assert invert(generator, x, [1, 0], seed=0).label == 1
    assert network.asked == [1, 0]


def test_siblings_are_turned_noise_but_where_the_network_has_its_own_way() -> None:
    eps, noise = torch.randn(4), torch.randn(3, 4)
    plain = generator_of(Linear(), prior=True)
    wanted = plain.pictures(vary(eps, noise, 0.3), [0, 1, 2])
    assert np.array_equal(plain.siblings(eps, noise, [0, 1, 2], 0.3), wanted)
    own = generator_of(Judged()).siblings(eps, noise, [0, 1, 1], 0.5)
    assert own.shape == (3, 8, 8, 1)
    assert own[1].min() == own[2].max() > own[0].max()
