"""The GAN's loss terms against their written equations, in numpy, by finite differences or in closed form."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from packshot.losses import gan as losses

REAL = torch.tensor([-3.0, -0.5, 0.0, 2.0])
FAKE = torch.tensor([1.5, -1.0, 0.25, -4.0])
R, F = REAL.double().numpy(), FAKE.double().numpy()


def softplus(x: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(x))


@pytest.mark.parametrize(
    ("got", "want"),
    [
        (losses.hinge_d_real(REAL), np.maximum(0, 1 - R).mean()),
        (losses.hinge_d_fake(FAKE), np.maximum(0, 1 + F).mean()),
        (losses.wasserstein_d_real(REAL), -R.mean()),
        (losses.wasserstein_d_fake(FAKE), F.mean()),
        (losses.wasserstein_g(FAKE), -F.mean()),
        (losses.squares_d_real(REAL), 0.5 * ((R - 1) ** 2).mean()),
        (losses.squares_d_real(REAL, 0.1), 0.5 * ((R - 0.9) ** 2).mean()),
        (losses.squares_d_fake(FAKE), 0.5 * (F**2).mean()),
        (losses.squares_g(FAKE), 0.5 * ((F - 1) ** 2).mean()),
        (losses.pairing_d(REAL, FAKE), softplus(-(R - F)).mean()),
        (losses.pairing_g(REAL, FAKE), softplus(-(F - R)).mean()),
        (losses.path_length_loss(REAL, torch.tensor(0.5)), ((R - 0.5) ** 2).mean()),
    ],
)
def test_terms_are_the_written_equations(got: torch.Tensor, want: float) -> None:
    assert got.shape == ()
    assert got.item() == pytest.approx(want, rel=1e-6)


def test_a_smoothed_target_is_cross_entropy_against_it() -> None:
    p = 1 / (1 + np.exp(-R))
    want = -(0.9 * np.log(p) + 0.1 * np.log(1 - p)).mean()
    assert losses.d_loss_real(REAL, 0.1).item() == pytest.approx(want, rel=1e-6)


def test_a_smoothed_target_is_where_the_loss_is_least() -> None:
    for loss, best in ((losses.d_loss_real, math.log(0.9 / 0.1)), (losses.squares_d_real, 0.9)):
        logit = torch.tensor([best], dtype=torch.float64, requires_grad=True)
        loss(logit, 0.1).backward()
        assert abs(logit.grad.item()) < 1e-12


def test_no_smoothing_changes_no_bit() -> None:
    x = torch.randn(100, generator=torch.Generator().manual_seed(0))
    assert torch.equal(losses.d_loss_real(x, 0.0), nn.functional.softplus(-x).mean())


def test_the_pairing_loss_sees_differences_of_logits_only() -> None:
    shifted = losses.pairing_d(REAL + 7, FAKE + 7)
    assert shifted.item() == pytest.approx(losses.pairing_d(REAL, FAKE).item(), rel=1e-5)
    assert losses.pairing_d(REAL, REAL).item() == pytest.approx(math.log(2), rel=1e-6)


def test_hinge_asks_nothing_of_a_sure_discriminator() -> None:
    assert losses.hinge_d_real(torch.tensor([1.0, 5.0])) == 0
    assert losses.hinge_d_fake(torch.tensor([-1.0, -5.0])) == 0


@pytest.mark.parametrize("norm", [0.25, 1.0, 3.0])
def test_the_unit_gradient_penalty_of_a_linear_critic(norm: float) -> None:
    w = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(1))
    w *= norm / w.norm()
    x = torch.randn(5, 2, 3, 3, generator=torch.Generator().manual_seed(2)).requires_grad_()
    penalty = losses.unit_gradient_penalty((x * w).sum((1, 2, 3)), x)
    assert penalty.item() == pytest.approx((norm - 1) ** 2, abs=1e-6)


def test_gradient_penalties_train_the_network_as_finite_differences_say() -> None:
    """D(x) = sum a x^2, |grad| = |2 a x|: the derivative of both penalties by a, against differences."""
    x = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    for penalty in (losses.r1_penalty, losses.unit_gradient_penalty):

        def value(a: torch.Tensor, penalty=penalty) -> torch.Tensor:
            point = x.clone().requires_grad_()
            return penalty((a * point.square()).sum(1), point)

        a = torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(value(a), a)
        for i, step in enumerate(torch.eye(3, dtype=torch.float64) * 1e-6):
            difference = (value((a + step).detach()) - value((a - step).detach())) / 2e-6
            assert gradient[i].item() == pytest.approx(difference.item(), rel=1e-6)


def test_the_squared_penalty_of_a_quadratic_discriminator() -> None:
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(4)).requires_grad_()
    penalty = losses.r1_penalty(x.square().sum(1), x)
    assert penalty.item() == pytest.approx(2 * (x**2).sum(1).mean().item(), rel=1e-6)


def test_feature_matching_compares_means_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(6, 3)), rng.normal(size=(4, 3))
    got = losses.feature_matching_loss(torch.from_numpy(a), torch.from_numpy(b)).item()
    assert got == pytest.approx(((a.mean(0) - b.mean(0)) ** 2).sum(), rel=1e-9)
    assert losses.feature_matching_loss(torch.from_numpy(a), torch.from_numpy(a[::-1].copy())).item() < 1e-20


def test_historical_averaging_is_the_squared_distance() -> None:
    weights, mean = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 0.0, 4.0])
    assert losses.historical_averaging_loss(weights, mean).item() == 5
