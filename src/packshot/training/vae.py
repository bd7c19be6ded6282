"""One training step of a VAE: L = L_data + kl_weight * L_KL."""

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from packshot.losses.vae import data_loss, kl_loss
from packshot.training.config import VAEObjective
from packshot.training.step import Batch, update, within_category_variance


class VAEStep:
    """A VAE with its optimiser, and how one batch changes it."""

    def __init__(self, networks: dict[str, nn.Module], objective: VAEObjective) -> None:
        self.networks, self.objective = networks, objective
        betas = (objective.beta1, objective.beta2)
        self.optimizers = {"vae": torch.optim.Adam(networks["vae"].parameters(), objective.lr, betas, fused=True)}

    def __call__(self, batch: Batch, fabric: Fabric) -> dict[str, Tensor]:
        """Trains on one batch and returns the loss terms, detached scalars in nats per picture."""
        vae = self.networks["vae"]
        x_hat, mean, logvar = vae(batch.images, batch.labels, batch.noise("eps", vae.z_dim))
        terms = {"data": data_loss(batch.images, x_hat), "kl": kl_loss(mean, logvar)}
        update(self.optimizers["vae"], terms["data"] + self.objective.kl_weight * terms["kl"], fabric)
        real, label = batch.images, batch.labels
        terms |= {"within_fake": within_category_variance(x_hat, label)}
        terms |= {"within_real": within_category_variance(real, label)}
        return {name: term.detach() for name, term in terms.items()}
