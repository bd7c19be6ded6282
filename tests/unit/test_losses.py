"""Each loss term against its written equation or an independent estimate."""

import math

import numpy as np
import pytest
import torch

from packshot.losses.gan import d_loss_fake, d_loss_real, g_loss, r1_penalty
from packshot.losses.vae import data_loss, kl_loss

LOGITS = torch.tensor([-3.0, -0.5, 0.0, 2.0])


def probability(logits: torch.Tensor) -> np.ndarray:
    return 1 / (1 + np.exp(-logits.double().numpy()))


def test_gan_terms_are_the_written_equations() -> None:
    d = probability(LOGITS)
    assert d_loss_real(LOGITS).item() == pytest.approx(-np.log(d).mean(), rel=1e-6)
    assert d_loss_fake(LOGITS).item() == pytest.approx(-np.log(1 - d).mean(), rel=1e-6)
    assert g_loss(LOGITS).item() == pytest.approx(-np.log(d).mean(), rel=1e-6)


def test_gan_terms_stay_finite_for_sure_discriminators() -> None:
    sure = torch.tensor([-1e4, 1e4])
    for loss in (d_loss_real, d_loss_fake, g_loss):
        assert math.isfinite(loss(sure).item())


def test_an_undecided_discriminator_costs_log_four() -> None:
    zero = torch.zeros(5)
    assert (d_loss_real(zero) + d_loss_fake(zero)).item() == pytest.approx(math.log(4), rel=1e-6)


def test_r1_of_a_linear_discriminator_is_half_its_squared_norm() -> None:
    w = torch.randn(3, 4, 4)
    x = torch.randn(6, 3, 4, 4, requires_grad=True)
    logits = (x * w).sum((1, 2, 3))
    assert r1_penalty(logits, x).item() == pytest.approx(0.5 * w.square().sum().item(), rel=1e-5)


def test_data_loss_is_half_the_sum_of_squares_per_picture() -> None:
    x, y = torch.randn(5, 3, 8, 8), torch.randn(5, 3, 8, 8)
    expected = 0.5 * np.sum((x.numpy() - y.numpy()) ** 2) / 5
    assert data_loss(x, y).item() == pytest.approx(expected, rel=1e-5)


def test_kl_is_zero_for_the_prior_and_agrees_with_monte_carlo() -> None:
    assert kl_loss(torch.zeros(3, 4), torch.zeros(3, 4)).item() == 0
    generator = torch.Generator().manual_seed(1)
    mean, logvar = torch.randn(1, 3, generator=generator), 0.5 * torch.randn(1, 3, generator=generator)
    posterior = torch.distributions.Normal(mean.double(), torch.exp(0.5 * logvar).double())
    torch.manual_seed(2)
    z = posterior.sample((200_000,))
    prior = torch.distributions.Normal(torch.zeros(1, 3).double(), torch.ones(1, 3).double())
    log_ratio = (posterior.log_prob(z) - prior.log_prob(z)).sum(-1)
    error = 4 * log_ratio.std().item() / math.sqrt(200_000)
    assert kl_loss(mean, logvar).item() == pytest.approx(log_ratio.mean().item(), abs=error)
