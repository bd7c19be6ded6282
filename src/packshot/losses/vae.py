"""Losses of variational autoencoders, in nats per picture (mean over N, sum over the rest).

Letters: x picture [N, C, H, W] in [-1, 1], x_hat its reconstruction, mean and logvar of the posterior [N, z_dim],
h encoder output and e the codebook's nearest vector [N, D, g, g], K codes, P = g * g positions.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def data_loss(x: Tensor, x_hat: Tensor) -> Tensor:
    """L_data = 1/2 sum (x - x_hat)^2: a Gaussian decoder of unit variance. Kingma & Welling 2013, app. C.2."""
    return 0.5 * (x - x_hat).square().flatten(1).sum(1).mean()


def kl_loss(mean: Tensor, logvar: Tensor) -> Tensor:
    """L_KL = -1/2 sum (1 + logvar - mean^2 - exp(logvar)): KL(posterior | N(0, I)). Kingma & Welling 2013, app. B."""
    return -0.5 * (1 + logvar - mean.square() - torch.exp(logvar)).sum(1).mean()


def free_bits_kl(mean: Tensor, logvar: Tensor, free_bits: float) -> Tensor:
    """L_KL = sum_j max(free_bits, mean_n KL_nj): below `free_bits` nats a latent's code is not pressed further.

    Kingma et al. 2016, arXiv:1606.04934, app. C.8, with each dimension of z as a group of its own.
    """
    kl = -0.5 * (1 + logvar - mean.square() - torch.exp(logvar))
    return kl.mean(0).clamp_min(free_bits).sum()


def commitment_loss(h: Tensor, e: Tensor) -> Tensor:
    """L_commit = sum (h - sg(e))^2: keeps the encoder near its code. van den Oord et al. 2017, eq. 3, third term."""
    return (h - e.detach()).square().flatten(1).sum(1).mean()


def code_loss(logits: Tensor, codes: Tensor) -> Tensor:
    """L_prior = -sum_j log p(code_j | codes before j): logits [N, P, K], codes int64 [N, P]. Ibid. sec. 3.3."""
    return F.cross_entropy(logits.flatten(0, 1), codes.flatten(), reduction="sum") / len(codes)
