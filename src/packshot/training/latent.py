"""One training step of `latent`: the VAE on the batch, then the flow on the batch's codes.

Letters: n pictures, D length of a code, z prior sample, t time in [0, 1].
"""

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from packshot.losses.vae import data_loss, kl_loss
from packshot.training.objectives import LatentObjective
from packshot.training.step import Batch, adam, report, update

MOMENTUM = 0.01


class LatentStep:
    """VAE and flow with an optimiser each, and how one batch changes them."""

    def __init__(self, networks: dict[str, nn.Module], objective: LatentObjective) -> None:
        self.networks, self.objective = networks, objective
        net = networks["latent"]
        self.optimizers = {
            "vae": adam(net.vae.parameters(), objective.lr, objective),
            "flow": adam(net.flow.parameters(), objective.flow_lr, objective),
        }

    def __call__(self, batch: Batch, fabric: Fabric) -> dict[str, Tensor]:
        """Trains on one batch and returns the loss terms: the VAE's in nats per picture, the flow's per number."""
        o, net, label = self.objective, self.networks["latent"], batch.labels
        x_hat, mean, logvar = net.vae(batch.images, label, batch.noise("eps", net.z_dim))
        terms = {"data": data_loss(batch.images, x_hat), "kl": kl_loss(mean, logvar)}
        update(self.optimizers["vae"], terms["data"] + o.kl_weight * terms["kl"], fabric)

        code = mean.detach()
        moments = torch.stack([code.mean(0), code.square().mean(0)])
        if fabric.world_size > 1:
            moments = fabric.all_reduce(moments, reduce_op="mean")
        net.flow.observe(*moments, max(MOMENTUM, 1 / (batch.step + 1)))
        terms["flow"] = self._flow_loss(batch, code)
        update(self.optimizers["flow"], terms["flow"], fabric)

        return report(terms, batch, x_hat)

    def _flow_loss(self, batch: Batch, code: Tensor) -> Tensor:
        """Each code is used `flow_draws` times, with other z, other t, and now and then without label or condition."""
        o, flow = self.objective, self.networks["latent"].flow
        n, d = code.shape
        noise = batch.noise("flow", o.flow_draws * (d + 2)).view(n * o.flow_draws, d + 2)
        z, t, coin = noise[:, :d], torch.sigmoid(noise[:, d]), torch.special.ndtr(noise[:, d + 1])
        label, without = batch.labels.repeat_interleave(o.flow_draws), coin < o.label_dropout
        label = torch.where(without, flow.categories, label)
        cond = None
        if batch.cond is not None:
            cond = (self._kept(batch) & ~without[:, None]) * batch.cond.repeat_interleave(o.flow_draws, dim=0)
        return flow.velocity_loss(code.repeat_interleave(o.flow_draws, dim=0), label, z, t, cond)

    def _kept(self, batch: Batch) -> Tensor:
        """Returns which numbers of the conditions are kept, bool [n * flow_draws, A]: all or none, then by parts."""
        o, groups = self.objective, self.networks["latent"].flow.groups
        coins = torch.special.ndtr(batch.noise("cond", o.flow_draws * (len(groups) + 1)))
        keep = coins.view(-1, len(groups) + 1) >= o.cond_dropout
        lengths = torch.tensor(groups, device=keep.device)
        return keep[:, 1:].repeat_interleave(lengths, dim=1) & keep[:, :1]
