"""One training step of a VAE: L = L_data + kl_weight * L_KL."""

from lightning_fabric import Fabric
from torch import Tensor, nn

from packshot.losses.vae import data_loss, free_bits_kl, kl_loss
from packshot.training.objectives import VAEObjective
from packshot.training.step import Batch, adam, report, update


class VAEStep:
    """A VAE with its optimiser, and how one batch changes it.

    The network's `forward(x, label, eps)` returns x_hat, and mean and logvar of the posterior in units of the prior,
    so that the KL is that to N(0, I). Its `groups` (name: slice of z) are the parts of a hierarchy, from the top.
    """

    def __init__(self, networks: dict[str, nn.Module], objective: VAEObjective) -> None:
        self.networks, self.objective = networks, objective
        self.optimizers = {"vae": adam(networks["vae"].parameters(), objective.lr, objective)}

    def __call__(self, batch: Batch, fabric: Fabric) -> dict[str, Tensor]:
        """Trains on one batch and returns the loss terms, detached scalars in nats per picture."""
        vae, o = self.networks["vae"], self.objective
        x_hat, mean, logvar = vae(batch.images, batch.labels, batch.noise("eps", vae.z_dim))
        terms = {"data": data_loss(batch.images, x_hat), "kl": kl_loss(mean, logvar)}
        kl = free_bits_kl(mean, logvar, o.free_bits) if o.free_bits > 0 else terms["kl"]
        loss = terms["data"] + o.kl_weight * kl
        groups = {name: kl_loss(mean[:, own], logvar[:, own]) for name, own in vae.groups.items()}
        if batch.step < o.top_first_steps:
            extra = (1 - o.kl_weight) * (1 - batch.step / o.top_first_steps)
            loss = loss + extra * sum(list(groups.values())[1:])
        update(self.optimizers["vae"], loss, fabric)
        terms |= {f"kl_{name}": term for name, term in groups.items()}
        return report(terms, batch, x_hat)
