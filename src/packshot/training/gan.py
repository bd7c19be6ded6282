"""One training step of a GAN: D on real and fake, then G. Total loss L = L_G + lambda L_D.

Every term beyond the two players' own is off unless `GANObjective` gives it a weight; the equations and their sources
stand in `losses/gan.py`, the parts that keep a state in `training/gan_parts.py`.

Letters: G generator, D discriminator, z prior sample, C channels, H height, W width, u uniform in (0, 1).
"""

from collections.abc import Sequence

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from packshot.core.errors import UsageError
from packshot.losses import gan as losses
from packshot.training.augment import Augment
from packshot.training.finetune import freeze_first_layers
from packshot.training.gan_parts import (
    HistoricalAverage,
    MinibatchDiscrimination,
    PathLength,
    ReferenceBatch,
    keep_features,
    picture_and_feature_sizes,
    use_virtual_batch_norm,
)
from packshot.training.objectives import GANObjective
from packshot.training.precision import uncompiled
from packshot.training.step import Batch, adam, report, update


class GANStep:
    """Networks and optimisers of a GAN, and how one batch changes them.

    Raises:
        UsageError: the objective asks for something that the generator does not offer.
    """

    def __init__(self, networks: dict[str, nn.Module], objective: GANObjective) -> None:
        o, g, d = objective, networks["generator"], networks["discriminator"]
        self.objective, self.g, self.d = o, g, d
        if o.init == "dcgan":
            for network in networks.values():
                network.apply(_dcgan_init)
        if o.freeze_d > 0:
            freeze_first_layers(d, o.freeze_d)
        self.networks = {**networks, **_parts(g, d, o)}
        self.keeps_features = o.feature_matching > 0 or o.minibatch_discrimination > 0
        players = {"generator": [g], "discriminator": [d]}
        if "minibatch" in self.networks:
            players["discriminator"].append(self.networks["minibatch"])
        # A layer that is frozen by now stays so.
        self.weights = {
            role: [p for module in modules for p in module.parameters() if p.requires_grad]
            for role, modules in players.items()
        }
        if o.historical_averaging > 0:
            self.networks |= {f"{role}_history": HistoricalAverage(w) for role, w in self.weights.items()}
        rates = {"generator": o.g_lr, "discriminator": o.d_lr}
        self.optimizers = {role: adam(weights, rates[role], o) for role, weights in self.weights.items()}

    def __call__(self, batch: Batch, fabric: Fabric) -> dict[str, Tensor]:
        """Trains on one batch and returns the loss terms, detached scalars."""
        turn = (batch.step + 1) % self.objective.d_steps == 0  # G's turn as well as D's.
        with torch.set_grad_enabled(turn):
            fake = self._generate(batch, fabric)
        terms = self._train_discriminator(batch, fake.detach(), fabric)
        if turn:
            terms |= self._train_generator(batch, fake, fabric)
        return report(terms, batch, fake)

    def _generate(self, batch: Batch, fabric: Fabric) -> Tensor:
        """Returns fake pictures [N, C, H, W] of the batch's labels."""
        g, p, label = self.g, self.objective.mixing_prob, batch.labels
        z = batch.noise("z", g.z_dim)
        if "reference" in self.networks:
            return self.networks["reference"].generate(g, z, label, fabric)
        if p == 0:
            return g(z, label)
        u = torch.special.ndtr(batch.noise("mixing", 2))
        # A crossover at the last layer is none: all layers then follow z.
        place = 1 + (u[:, 1] * (g.layers - 1)).long().clamp(max=g.layers - 2)
        crossover = torch.where(u[:, 0] < p, place, g.layers)
        return g.mixed(z, batch.noise("z2", g.z_dim), label, crossover)

    def _judge(self, x: Tensor, label: Tensor) -> tuple[Tensor, Tensor | None]:
        """Returns D's logits [N], or [N, S] of S judges, and its features [N, F] where the objective needs them."""
        if not self.keeps_features:
            return self.d(x, label), None
        with keep_features(self.d) as kept:
            logits = self.d(x, label)
        if "minibatch" in self.networks:
            logits = logits + self.networks["minibatch"](kept[0]).view(-1, *[1] * (logits.dim() - 1))
        return logits, kept[0]

    def _augment(self, x: Tensor, name: str, batch: Batch) -> Tensor:
        if "augment" not in self.networks:
            return x
        return self.networks["augment"](x, batch.noise(f"augment_{name}", Augment.NOISE))

    def _train_discriminator(self, batch: Batch, fake: Tensor, fabric: Fabric) -> dict[str, Tensor]:
        o, label = self.objective, batch.labels
        due = batch.step % o.r1_every == 0
        real = batch.images.requires_grad_(o.r1_gamma > 0 and due)
        fake.requires_grad_(o.r2_gamma > 0 and due)
        x_real, x_fake = self._augment(real, "real", batch), self._augment(fake, "fake", batch)
        # Two calls, not one on both: a batch norm in D must not mix the figures of real and fake.
        with uncompiled(real.requires_grad or fake.requires_grad):
            logits_real, logits_fake = self._judge(x_real, label)[0], self._judge(x_fake, label)[0]
        terms = discriminator_terms(o, logits_real, logits_fake)
        loss = o.d_weight * sum(terms.values())
        if real.requires_grad:
            terms["r1"] = losses.r1_penalty(logits_real, real)
            loss = loss + o.r1_gamma * o.r1_every * terms["r1"]
        if fake.requires_grad:
            terms["r2"] = losses.r1_penalty(logits_fake, fake)
            loss = loss + o.r2_gamma * o.r1_every * terms["r2"]
        if o.gradient_penalty > 0:
            u = torch.special.ndtr(batch.noise("between", 1))[:, :, None, None]
            between = torch.lerp(x_fake.detach(), x_real.detach(), u).requires_grad_()
            with uncompiled():
                terms["gp"] = losses.unit_gradient_penalty(self._judge(between, label)[0], between)
            loss = loss + o.gradient_penalty * terms["gp"]
        terms |= self._update("discriminator", loss, fabric)
        if o.augment == "ada":
            augment, seen = self.networks["augment"], logits_real.detach()
            seen = fabric.all_gather(seen) if fabric.world_size > 1 else seen
            augment.adapt(seen, len(label) * fabric.world_size)
            terms["augment_p"] = augment.p.clone()
        return terms

    def _train_generator(self, batch: Batch, fake: Tensor, fabric: Fabric) -> dict[str, Tensor]:
        o, label, d_weights = self.objective, batch.labels, self.weights["discriminator"]
        _set_trainable(d_weights, False)
        logits_fake, features_fake = self._judge(self._augment(fake, "fake_g", batch), label)
        logits_real = features_real = None
        if o.loss == "relativistic" or o.feature_matching > 0:
            with torch.no_grad():
                x_real = self._augment(batch.images.detach(), "real_g", batch)
                logits_real, features_real = self._judge(x_real, label)
        terms = {"g": generator_term(o, logits_real, logits_fake)}
        loss = terms["g"]
        if o.feature_matching > 0:
            terms["features"] = losses.feature_matching_loss(features_real, features_fake)
            loss = loss + o.feature_matching * terms["features"]
        if o.path_length_weight > 0 and (batch.step // o.d_steps) % o.path_length_every == 0:
            terms["path"] = self._path_length(batch, fabric)
            loss = loss + o.path_length_weight * o.path_length_every * terms["path"]
        terms |= self._update("generator", loss, fabric)
        _set_trainable(d_weights, True)
        return terms

    def _path_length(self, batch: Batch, fabric: Fabric) -> Tensor:
        size = batch.images.shape[1:]
        y = batch.noise("path_y", size.numel()).view(-1, *size) / (size[1] * size[2]) ** 0.5
        z = batch.noise("path_z", self.g.z_dim)
        return self.networks["path_length"](self.g.path_lengths(z, batch.labels, y), fabric)

    def _update(self, role: str, loss: Tensor, fabric: Fabric) -> dict[str, Tensor]:
        """One step of a player down its loss; returns the term of historical averaging, where there is one."""
        history, terms = self.networks.get(f"{role}_history"), {}
        if history is not None:
            terms[f"{role[0]}_history"] = history(self.weights[role])
            loss = loss + self.objective.historical_averaging * terms[f"{role[0]}_history"]
        update(self.optimizers[role], loss, fabric)
        if history is not None:
            history.add(self.weights[role])
        return terms


def discriminator_terms(o: GANObjective, logits_real: Tensor, logits_fake: Tensor) -> dict[str, Tensor]:
    """Returns the terms of D's loss for logits [N]; their sum is L_D."""
    if o.loss == "relativistic":
        return {"d_pair": losses.pairing_d(logits_real, logits_fake)}
    if o.loss == "hinge":
        return {"d_real": losses.hinge_d_real(logits_real), "d_fake": losses.hinge_d_fake(logits_fake)}
    if o.loss == "wasserstein":
        return {"d_real": losses.wasserstein_d_real(logits_real), "d_fake": losses.wasserstein_d_fake(logits_fake)}
    s = o.label_smoothing
    if o.loss == "least-squares":
        return {"d_real": losses.squares_d_real(logits_real, s), "d_fake": losses.squares_d_fake(logits_fake)}
    return {"d_real": losses.d_loss_real(logits_real, s), "d_fake": losses.d_loss_fake(logits_fake)}


def generator_term(o: GANObjective, logits_real: Tensor | None, logits_fake: Tensor) -> Tensor:
    """Returns G's own loss for logits [N]; those of real pictures only matter to the relativistic one."""
    if o.loss == "relativistic":
        return losses.pairing_g(logits_real, logits_fake)
    if o.loss in ("hinge", "wasserstein"):
        return losses.wasserstein_g(logits_fake)
    return losses.squares_g(logits_fake) if o.loss == "least-squares" else losses.g_loss(logits_fake)


def _parts(g: nn.Module, d: nn.Module, o: GANObjective) -> dict[str, nn.Module]:
    """Returns the modules that the objective adds to the two networks, by role."""
    for setting, on, method in (
        ("mixing_prob", o.mixing_prob > 0, "mixed"),
        ("path_length_weight", o.path_length_weight > 0, "path_lengths"),
    ):
        if on and not hasattr(g, method):
            raise UsageError(f"objective.{setting} needs a generator with styles, such as stylegan2; set it to 0.")
    parts: dict[str, nn.Module] = {}
    if o.augment != "none" or o.minibatch_discrimination > 0:
        channels, features = picture_and_feature_sizes(g, d)
        if o.augment != "none":
            parts["augment"] = Augment(o.augment, 0.0, channels, target=o.ada_target, speed_kimg=o.ada_speed_kimg)
        if o.minibatch_discrimination > 0:
            parts["minibatch"] = MinibatchDiscrimination(features, o.minibatch_discrimination)
    if o.path_length_weight > 0:
        parts["path_length"] = PathLength()
    if o.virtual_batch_norm:
        if not use_virtual_batch_norm(g):
            raise UsageError(
                "objective.virtual_batch_norm needs a generator with batch norm, such as dcgan; set it to false."
            )
        parts["reference"] = ReferenceBatch(g.z_dim)
    return parts


def _set_trainable(weights: Sequence[Tensor], value: bool) -> None:
    for weight in weights:
        weight.requires_grad_(value)


def _dcgan_init(module: nn.Module) -> None:
    """Radford et al. 2015, sec. 4: weights ~ N(0, 0.02). Norm layers keep scale 1, shift 0."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, 0.0, 0.02)
