"""One training step of a VQ-VAE and its prior: L = L_data + commitment_weight * L_commit + L_prior.

The prior learns the codes of the same step. They are whole numbers, so its gradient ends there and the autoencoder
does not feel it; its loss falls once the codes settle.

Letters: h encoder output [M, D], e its codes' vectors, K codes.
"""

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from packshot.losses.vae import code_loss, commitment_loss, data_loss
from packshot.models.vae.vq import VQVAE
from packshot.training.objectives import VQObjective
from packshot.training.step import Batch, adam, report, update


class VQStep:
    """A VQ-VAE with its optimiser, and how one batch changes it and its codebook."""

    def __init__(self, networks: dict[str, nn.Module], objective: VQObjective) -> None:
        self.networks, self.objective = networks, objective
        self.optimizers = {"vq": adam(networks["vq"].parameters(), objective.lr, objective)}

    def __call__(self, batch: Batch, fabric: Fabric) -> dict[str, Tensor]:
        """Trains on one batch and returns the loss terms, detached scalars.

        `data`, `commitment` and `prior` are per picture, the last in nats; `codes_used` is the perplexity of the
        batch's codes, from 1 to K.
        """
        vq, real, label = self.networks["vq"], batch.images, batch.labels
        x_hat, h, codes, logits = vq(real, label)
        rows = h.view(len(real), -1)
        e = vq.codebook.vectors[codes.flatten()].view_as(rows)
        terms = {
            "data": data_loss(real, x_hat),
            "commitment": commitment_loss(rows, e),
            "prior": code_loss(logits, codes),
        }
        loss = terms["data"] + self.objective.commitment_weight * terms["commitment"] + terms["prior"]
        update(self.optimizers["vq"], loss, fabric)
        share = self._move_codebook(vq, h.detach(), codes, batch, fabric)
        terms["codes_used"] = torch.exp(-torch.xlogy(share, share).sum())
        return report(terms, batch, x_hat)

    def _move_codebook(self, vq: VQVAE, h: Tensor, codes: Tensor, batch: Batch, fabric: Fabric) -> Tensor:
        """Updates the codebook alike on every rank; returns the share of each code in the batch, [K]."""
        book = vq.codebook
        tally = book.tally(h, codes.flatten())
        # A random order of the batch's vectors, the same for the same step: the new places of dead codes.
        order = batch.noise("revive", vq.z_dim).flatten().argsort()
        fresh = h[order[torch.arange(len(book.vectors), device=h.device) % len(h)]]
        if fabric.world_size > 1:
            tally, fresh = fabric.all_reduce(tally, reduce_op="sum"), fabric.broadcast(fresh)
        o = self.objective
        book.update(tally, fresh, decay=o.codebook_decay, revive_below=o.revive_below)
        return tally[:, 0] / tally[:, 0].sum()
