"""Losses of generative adversarial networks, on the discriminator's logits: D(x) = sigmoid(logit) for "bce".

Letters: D discriminator, G generator, x real picture, z prior sample, f features, theta weights, w mapped latent.
All logits are float [N], or [N, S] of a discriminator with S judges; all results are scalars (mean over all logits).
"""

import torch.nn.functional as F
from torch import Tensor, autograd

# bce: Goodfellow et al. 2014, arXiv:1406.2661.


def d_loss_real(logits_real: Tensor, smoothing: float = 0.0) -> Tensor:
    """-mean log D(x), Goodfellow et al. 2014, eq. 1; its target is 1 - smoothing, Salimans et al. 2016, sec. 3.4."""
    return (F.softplus(-logits_real) + smoothing * logits_real).mean()


def d_loss_fake(logits_fake: Tensor) -> Tensor:
    """-mean log(1 - D(G(z))). Goodfellow et al. 2014, eq. 1."""
    return F.softplus(logits_fake).mean()


def g_loss(logits_fake: Tensor) -> Tensor:
    """-mean log D(G(z)), the non-saturating form. Goodfellow et al. 2014, sec. 3."""
    return F.softplus(-logits_fake).mean()


# hinge: Lim & Ye 2017, arXiv:1705.02894, as Miyato et al. 2018, arXiv:1802.05957, write it.


def hinge_d_real(logits_real: Tensor) -> Tensor:
    """mean max(0, 1 - D(x)). Miyato et al. 2018, eq. 16."""
    return F.relu(1 - logits_real).mean()


def hinge_d_fake(logits_fake: Tensor) -> Tensor:
    """mean max(0, 1 + D(G(z))). Miyato et al. 2018, eq. 16."""
    return F.relu(1 + logits_fake).mean()


# wasserstein: Arjovsky et al. 2017, arXiv:1701.07875; its discriminator is called critic. Also the hinge's G.


def wasserstein_d_real(logits_real: Tensor) -> Tensor:
    """-mean D(x). Arjovsky et al. 2017, eq. 3."""
    return -logits_real.mean()


def wasserstein_d_fake(logits_fake: Tensor) -> Tensor:
    """mean D(G(z)). Arjovsky et al. 2017, eq. 3."""
    return logits_fake.mean()


def wasserstein_g(logits_fake: Tensor) -> Tensor:
    """-mean D(G(z)). Arjovsky et al. 2017, eq. 3; Miyato et al. 2018, eq. 17."""
    return -logits_fake.mean()


# least-squares: Mao et al. 2017, arXiv:1611.04076.


def squares_d_real(logits_real: Tensor, smoothing: float = 0.0) -> Tensor:
    """1/2 mean (D(x) - (1 - smoothing))^2. Mao et al. 2017, eq. 9 (a = 0, b = 1)."""
    return 0.5 * (logits_real - (1 - smoothing)).square().mean()


def squares_d_fake(logits_fake: Tensor) -> Tensor:
    """1/2 mean D(G(z))^2. Mao et al. 2017, eq. 9."""
    return 0.5 * logits_fake.square().mean()


def squares_g(logits_fake: Tensor) -> Tensor:
    """1/2 mean (D(G(z)) - 1)^2. Mao et al. 2017, eq. 9 (c = 1)."""
    return 0.5 * (logits_fake - 1).square().mean()


# relativistic pairing: Jolicoeur-Martineau 2018, arXiv:1807.00734; Huang et al. 2024, arXiv:2501.05441.


def pairing_d(logits_real: Tensor, logits_fake: Tensor) -> Tensor:
    """mean softplus(-(D(x) - D(G(z)))). Huang et al. 2024, eq. 2."""
    return F.softplus(logits_fake - logits_real).mean()


def pairing_g(logits_real: Tensor, logits_fake: Tensor) -> Tensor:
    """mean softplus(-(D(G(z)) - D(x))). Huang et al. 2024, eq. 2, the non-saturating form."""
    return F.softplus(logits_real - logits_fake).mean()


# Penalties and additions.


def r1_penalty(logits: Tensor, x: Tensor) -> Tensor:
    """1/2 mean |grad_x D(x)|^2, to be weighted by gamma. Mescheder et al. 2018, eq. 9.

    R1 at real pictures x, R2 at generated ones; `x` must require grad.
    """
    (gradient,) = autograd.grad(logits.sum(), x, create_graph=True)
    return 0.5 * gradient.square().flatten(1).sum(1).mean()


def unit_gradient_penalty(logits: Tensor, x: Tensor) -> Tensor:
    """mean (|grad_x D(x)| - 1)^2 at x between real and fake. Gulrajani et al. 2017, eq. 3. `x` must require grad."""
    (gradient,) = autograd.grad(logits.sum(), x, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


def feature_matching_loss(features_real: Tensor, features_fake: Tensor) -> Tensor:
    """|mean f(x) - mean f(G(z))|^2 for features [N, F]. Salimans et al. 2016, sec. 3.1."""
    return (features_real.mean(0) - features_fake.mean(0)).square().sum()


def historical_averaging_loss(weights: Tensor, mean: Tensor) -> Tensor:
    """|theta - 1/t sum_i theta_i|^2 for all weights of a player, [P]. Salimans et al. 2016, sec. 3.3."""
    return (weights - mean).square().sum()


def path_length_loss(lengths: Tensor, mean: Tensor) -> Tensor:
    """mean (|J_w^T y| - a)^2 for lengths [N] and their running mean a. Karras et al. 2020, arXiv:1912.04958, eq. 4."""
    return (lengths - mean).square().mean()
