"""Losses of variational autoencoders, in nats per picture (mean over N, sum over the rest).

Letters: x picture [N, C, H, W] in [-1, 1], x_hat its reconstruction, mean and logvar of the posterior [N, z_dim].
"""

import torch
from torch import Tensor


def data_loss(x: Tensor, x_hat: Tensor) -> Tensor:
    """L_data = 1/2 sum (x - x_hat)^2: a Gaussian decoder of unit variance. Kingma & Welling 2013, app. C.2."""
    return 0.5 * (x - x_hat).square().flatten(1).sum(1).mean()


def kl_loss(mean: Tensor, logvar: Tensor) -> Tensor:
    """L_KL = -1/2 sum (1 + logvar - mean^2 - exp(logvar)): KL(posterior | N(0, I)). Kingma & Welling 2013, app. B."""
    return -0.5 * (1 + logvar - mean.square() - torch.exp(logvar)).sum(1).mean()
