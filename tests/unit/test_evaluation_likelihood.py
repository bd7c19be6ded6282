"""evaluation/likelihood.py against exact probabilities."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from packshot.evaluation.likelihood import (
    HALF_STEP,
    bits_per_dim_figure,
    compute_bits_per_dim,
    decoder_variance,
    log_probability,
)
from packshot.sampling.prior import ClassGaussian

SIDE, Z_DIM = 3, 2


class LinearGaussian:
    """x = offset + weight @ z + s * noise: its likelihood and posterior are Gaussians in closed form."""

    z_dim = Z_DIM

    def __init__(self, variance: float, blur: float = 1.0) -> None:
        generator = torch.Generator().manual_seed(0)
        self.weight = 0.1 * torch.randn(SIDE * SIDE, Z_DIM, generator=generator)
        self.offset, self.variance, self.blur = 0.1, variance, blur

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        precision = torch.eye(Z_DIM) + self.weight.T @ self.weight / self.variance
        covariance = torch.linalg.inv(precision)
        return (x.flatten(1) - self.offset) @ self.weight @ covariance / self.variance, covariance.diagonal()

    def __call__(self, x: Tensor, label: Tensor, eps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, variance = self.posterior(x)
        logvar = (self.blur * variance).log().expand_as(mean)
        z = mean + torch.exp(0.5 * logvar) * eps
        return (self.offset + z @ self.weight.T).view_as(x), mean, logvar

    def exact_bits(self, images: np.ndarray, mean: Tensor, covariance: Tensor) -> np.ndarray:
        """From the density of x, times the width of a step, for z ~ N(mean, covariance)."""
        x = torch.from_numpy(images).flatten(1).double() / 127.5 - 1
        weight = self.weight.double()
        total = weight @ covariance.double() @ weight.T + self.variance * torch.eye(SIDE * SIDE).double()
        density = torch.distributions.MultivariateNormal(self.offset + weight @ mean.double(), total)
        nats = density.log_prob(x) + SIDE * SIDE * math.log(2 * HALF_STEP)
        return (-nats / math.log(2) / SIDE**2).numpy()


def photos(n: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.integers(90, 190, (n, SIDE, SIDE, 1)).astype(np.uint8), np.zeros(n, np.int64)


def test_the_bound_rises_to_the_exact_likelihood_of_a_linear_gaussian_vae() -> None:
    images, labels = photos()
    network = LinearGaussian(variance=0.05, blur=1.3)
    exact = network.exact_bits(images, torch.zeros(Z_DIM), torch.eye(Z_DIM))
    means = []
    for samples in (1, 16, 4000):
        options = {"importance_samples": samples, "seed": 0, "variance": network.variance}
        means.append(compute_bits_per_dim(network, images, labels, **options).mean())
    assert means[0] > means[1] > exact.mean() - 1e-3
    assert means[2] == pytest.approx(exact.mean(), abs=2e-3)


def test_a_fitted_prior_is_the_density_of_z() -> None:
    images, labels = photos()
    network, prior = LinearGaussian(variance=0.05), ClassGaussian(2, Z_DIM)
    prior.mean[0] = torch.tensor([0.5, -0.5])
    prior.scale[0] = torch.tensor([[0.8, 0.0], [0.4, 1.2]])
    got = compute_bits_per_dim(
        network, images, labels, importance_samples=6000, seed=0, variance=network.variance, prior=prior
    )
    exact = network.exact_bits(images, prior.mean[0], prior.scale[0] @ prior.scale[0].T)
    assert got.mean() == pytest.approx(exact.mean(), abs=3e-3)


@pytest.mark.parametrize("variance", [0.3, 0.01, 1e-5])
@pytest.mark.parametrize("mean", [-1.2, -1.0, 0.013, 0.9])
def test_the_256_values_have_probability_one_together(variance: float, mean: float) -> None:
    nats = log_probability(torch.arange(256).double(), torch.full((256,), mean), variance)
    assert nats.isfinite().all()
    assert nats.exp().sum().item() == pytest.approx(1, abs=1e-9)


def test_far_values_keep_a_finite_probability() -> None:
    far = log_probability(torch.tensor([0.0, 10.0, 255.0]).double(), torch.tensor([1.0, 1.0, -1.0]), 1e-4)
    assert far.isfinite().all()
    assert (far < -1000).all()


def test_the_variance_is_the_mean_squared_error_without_the_margin() -> None:
    class Grey:
        z_dim = 1

        def __call__(self, x: Tensor, label: Tensor, eps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            return torch.zeros_like(x), torch.zeros_like(eps), torch.zeros_like(eps)

    images = np.zeros((7, 4, 4, 1), np.uint8)
    images[:, 1:3, 1:3] = 255
    images[0, 1, 1] = 128
    labels = np.zeros(7, np.int64)
    want = (27 + (128 / 127.5 - 1) ** 2) / 28
    assert decoder_variance(Grey(), images, labels, margin=1, seed=0) == pytest.approx(want, rel=1e-6)
    bits = compute_bits_per_dim(Grey(), images, labels, importance_samples=2, seed=0, variance=0.25, margin=1)
    s = 0.5 * math.sqrt(2)
    white = 0.5 * math.erfc((1 - HALF_STEP) / s)
    grey = 0.5 * math.erf((0.5 / 127.5 + HALF_STEP) / s) - 0.5 * math.erf((0.5 / 127.5 - HALF_STEP) / s)
    assert bits[1:] == pytest.approx(-math.log2(white), rel=1e-6)
    assert bits[0] == pytest.approx(-(3 * math.log2(white) + math.log2(grey)) / 4, rel=1e-6)


def test_the_figure_says_what_it_is() -> None:
    images, labels = photos(40)
    network = LinearGaussian(variance=0.05)
    figure = bits_per_dim_figure(network, (images, labels), (images, labels), prior=None, margin=0, seed=3)
    assert figure.name == "bits_per_dim_iw32"
    assert figure.value is not None
    assert figure.low < figure.value < figure.high
    assert 4 < figure.value < 8
    assert "N(0, I)" in figure.protocol
    few = bits_per_dim_figure(network, (images, labels), (images[:5], labels[:5]), prior=None, margin=0, seed=3)
    assert few.value is None
    assert "30 test photos" in few.warning
