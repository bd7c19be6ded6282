"""One training step of a GAN: D on real and fake, then G. Total loss L = L_G + lambda L_D.

Letters: G generator, D discriminator, z prior sample.
"""

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from packshot.losses.gan import d_loss_fake, d_loss_real, g_loss, r1_penalty
from packshot.training.config import GANObjective
from packshot.training.step import Batch, update, within_category_variance


class GANStep:
    """Networks and optimisers of a GAN, and how one batch changes them."""

    def __init__(self, networks: dict[str, nn.Module], objective: GANObjective) -> None:
        self.networks, self.objective = networks, objective
        if objective.init == "dcgan":
            for network in networks.values():
                network.apply(_dcgan_init)
        betas = (objective.beta1, objective.beta2)
        self.optimizers = {
            "generator": torch.optim.Adam(networks["generator"].parameters(), objective.g_lr, betas, fused=True),
            "discriminator": torch.optim.Adam(
                networks["discriminator"].parameters(), objective.d_lr, betas, fused=True
            ),
        }

    def __call__(self, batch: Batch, fabric: Fabric) -> dict[str, Tensor]:
        """Trains on one batch and returns the loss terms, detached scalars."""
        o, g, d = self.objective, self.networks["generator"], self.networks["discriminator"]
        real, label = batch.images, batch.labels
        fake = g(batch.noise("z", g.z_dim), label)

        penalise = o.r1_gamma > 0 and batch.step % o.r1_every == 0
        real.requires_grad_(penalise)
        # Two calls, not one on both: a batch norm in D must not mix the figures of real and fake.
        logits_real, logits_fake = d(real, label), d(fake.detach(), label)
        terms = {"d_real": d_loss_real(logits_real), "d_fake": d_loss_fake(logits_fake)}
        loss_d = o.d_weight * (terms["d_real"] + terms["d_fake"])
        if penalise:
            terms["r1"] = r1_penalty(logits_real, real)
            loss_d = loss_d + o.r1_gamma * o.r1_every * terms["r1"]
        update(self.optimizers["discriminator"], loss_d, fabric)

        d.requires_grad_(False)
        terms["g"] = g_loss(d(fake, label))
        update(self.optimizers["generator"], terms["g"], fabric)
        d.requires_grad_(True)

        terms |= {"within_fake": within_category_variance(fake, label)}
        terms |= {"within_real": within_category_variance(real, label)}
        return {name: term.detach() for name, term in terms.items()}


def _dcgan_init(module: nn.Module) -> None:
    """Radford et al. 2015, sec. 4: weights ~ N(0, 0.02). Norm layers keep scale 1, shift 0."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, 0.0, 0.02)
