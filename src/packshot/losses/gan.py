"""Losses of generative adversarial networks, on logits: D(x) = sigmoid(logit).

Letters: D discriminator, G generator, x real picture, z prior sample, gamma weight of R1.
All inputs are float [N]; all results are scalars (mean over N).
"""

import torch.nn.functional as F
from torch import Tensor, autograd


def d_loss_real(logits_real: Tensor) -> Tensor:
    """-mean log D(x). Goodfellow et al. 2014, eq. 1."""
    return F.softplus(-logits_real).mean()


def d_loss_fake(logits_fake: Tensor) -> Tensor:
    """-mean log(1 - D(G(z))). Goodfellow et al. 2014, eq. 1."""
    return F.softplus(logits_fake).mean()


def g_loss(logits_fake: Tensor) -> Tensor:
    """-mean log D(G(z)), the non-saturating form. Goodfellow et al. 2014, sec. 3."""
    return F.softplus(-logits_fake).mean()


def r1_penalty(logits_real: Tensor, real: Tensor) -> Tensor:
    """1/2 mean |grad_x D(x)|^2, to be weighted by gamma. Mescheder et al. 2018, eq. 9. `real` must require grad."""
    (gradient,) = autograd.grad(logits_real.sum(), real, create_graph=True)
    return 0.5 * gradient.square().flatten(1).sum(1).mean()
