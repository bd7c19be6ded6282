"""One training step of `vae-gan`: D on photos, rebuilt and free pictures; then the VAE, with D's view as a second eye.

Larsen et al. 2016, algorithm 1. Repaired for stability, each by a weight: pixels keep a part in the data loss (the
paper leaves them out), the discriminator is held by a lazy R1 penalty (Mescheder et al. 2018), and the encoder also
gets what the decoder gets from D.

Letters: x picture, x_hat rebuilt from its code, x_p decoded from z ~ N(0, I), D discriminator, f its features.
"""

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from packshot.losses.gan import d_loss_fake, d_loss_real, g_loss, r1_penalty
from packshot.losses.vae import data_loss, kl_loss
from packshot.training.gan_parts import keep_features
from packshot.training.objectives import VAEGANObjective
from packshot.training.precision import uncompiled
from packshot.training.step import Batch, adam, report, update


class VAEGANStep:
    """VAE and discriminator with their optimisers, and how one batch changes them."""

    def __init__(self, networks: dict[str, nn.Module], objective: VAEGANObjective) -> None:
        self.networks, self.objective = networks, objective
        o = objective
        self.optimizers = {
            "vae": adam(networks["vae"].parameters(), o.lr, o),
            "discriminator": adam(networks["discriminator"].parameters(), o.d_lr, o),
        }

    def __call__(self, batch: Batch, fabric: Fabric) -> dict[str, Tensor]:
        """Trains on one batch and returns the loss terms, detached scalars; data and KL in nats per picture."""
        o, vae, d = self.objective, self.networks["vae"], self.networks["discriminator"]
        x, label, n = batch.images, batch.labels, len(batch.labels)
        mean, logvar = vae.encode(x, label)
        code = mean + torch.exp(0.5 * logvar) * batch.noise("eps", vae.z_dim)
        both = torch.cat([label, label])
        fake = vae.decode(torch.cat([code, batch.noise("z", vae.z_dim)]), both)
        x_hat = fake[:n]
        terms = self._train_discriminator(batch, fake.detach(), both, fabric)

        terms |= {"data": data_loss(x, x_hat), "kl": kl_loss(mean, logvar)}
        d.requires_grad_(False)
        with keep_features(d) as kept:
            terms["g"] = g_loss(d(fake, both))
        terms["feature"] = data_loss(d.features(x).detach(), kept[0][:n])
        loss = o.data_weight * terms["data"] + o.kl_weight * terms["kl"]
        update(self.optimizers["vae"], loss + o.feature_weight * terms["feature"] + o.g_weight * terms["g"], fabric)
        d.requires_grad_(True)

        return report(terms, batch, x_hat)

    def _train_discriminator(self, batch: Batch, fake: Tensor, both: Tensor, fabric: Fabric) -> dict[str, Tensor]:
        o, d = self.objective, self.networks["discriminator"]
        penalise = o.r1_gamma > 0 and batch.step % o.r1_every == 0
        real = batch.images.detach().requires_grad_(penalise)
        with uncompiled(penalise):
            logits_real = d(real, batch.labels)
        terms = {"d_real": d_loss_real(logits_real), "d_fake": d_loss_fake(d(fake, both))}
        loss = terms["d_real"] + terms["d_fake"]
        if penalise:
            terms["r1"] = r1_penalty(logits_real, real)
            loss = loss + o.r1_gamma * o.r1_every * terms["r1"]
        update(self.optimizers["discriminator"], loss, fabric)
        return terms
