"""Losses and optimisers of the families, as settings."""

from dataclasses import dataclass
from typing import Literal


def require(ok: bool, sentence: str) -> None:
    """Raises ValueError(sentence) unless `ok`; `core.config.build_config` makes a UsageError of it."""
    if not ok:
        raise ValueError(sentence)


@dataclass(frozen=True, kw_only=True)
class AdamSettings:
    """What every family's optimisers have in common.

    Attributes:
        beta1: Adam's first decay.
        beta2: Adam's second decay.
    """

    beta1: float = 0.9
    beta2: float = 0.99

    def __post_init__(self) -> None:
        require(0 <= self.beta1 < 1 and 0 <= self.beta2 < 1, "Adam's betas have to lie in [0, 1)")

    @property
    def betas(self) -> tuple[float, float]:
        """Both, as torch takes them."""
        return self.beta1, self.beta2


@dataclass(frozen=True, kw_only=True)
class GANObjective(AdamSettings):
    """Losses and optimisers of a GAN. A weight of 0 leaves its term out; the sources stand in `losses/gan.py`.

    Attributes:
        loss: "bce" (non-saturating cross-entropy), "hinge", "wasserstein", "relativistic" (each photo paired with a
            generated picture of its category) or "least-squares".
        label_smoothing: how far the target of real pictures stays below 1; with "bce" and "least-squares".
        d_weight: `lambda`, the weight of the discriminator's part in the total.
        d_steps: discriminator updates for each update of the generator; every one sees new photos.
        r1_gamma: weight of the R1 penalty, on real pictures.
        r2_gamma: weight of the R2 penalty, on generated pictures.
        r1_every: steps between two R1 and R2 penalties ("lazy"; each then counts r1_every times).
        gradient_penalty: weight of WGAN-GP's penalty on pictures between real and fake.
        path_length_weight: weight of the path-length penalty; the generator has to offer `path_lengths`.
        path_length_every: steps between two path-length penalties; each then counts that many times.
        mixing_prob: share of pictures made from two styles; the generator has to offer `mixed`.
        feature_matching: weight of the distance between the mean features of real and fake in the generator's loss.
        minibatch_discrimination: kernels by which the discriminator compares the pictures of a batch; 0 = none.
        historical_averaging: weight of the squared distance of each player's weights from their running mean.
        virtual_batch_norm: normalise the generator's layers by a reference batch that never changes.
        augment: what the discriminator sees of real and fake alike: "none", "diffaugment", or "ada" (as strong as
            its certainty asks for).
        ada_target: ADA's aim for the mean sign of the logits of real pictures.
        ada_speed_kimg: thousands of pictures in which ADA can come from nothing to its full strength; the paper's 500
            is for runs of 25,000.
        freeze_d: the discriminator's first layers, so many, keep the weights that fine-tuning began with (FreezeD).
        g_lr: the generator's learning rate.
        d_lr: the discriminator's learning rate.
        init: "dcgan" draws weights from N(0, 0.02) as Radford et al. do; "torch" keeps the network's own.
    """

    loss: Literal["bce", "hinge", "wasserstein", "relativistic", "least-squares"] = "bce"
    label_smoothing: float = 0.0
    d_weight: float = 1.0
    d_steps: int = 1
    r1_gamma: float = 0.0
    r2_gamma: float = 0.0
    r1_every: int = 16
    gradient_penalty: float = 0.0
    path_length_weight: float = 0.0
    path_length_every: int = 4
    mixing_prob: float = 0.0
    feature_matching: float = 0.0
    minibatch_discrimination: int = 0
    historical_averaging: float = 0.0
    virtual_batch_norm: bool = False
    augment: Literal["none", "diffaugment", "ada"] = "none"
    ada_target: float = 0.6
    ada_speed_kimg: float = 50.0
    freeze_d: int = 0
    g_lr: float = 2e-4
    d_lr: float = 2e-4
    beta1: float = 0.5
    init: Literal["dcgan", "torch"] = "dcgan"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.g_lr > 0 and self.d_lr > 0, "learning rates have to be above 0")
        weights = (
            self.r1_gamma,
            self.r2_gamma,
            self.gradient_penalty,
            self.path_length_weight,
            self.feature_matching,
            self.minibatch_discrimination,
            self.historical_averaging,
        )
        require(self.d_weight > 0, "d_weight has to be above 0")
        require(min(weights) >= 0, "weights have to be at least 0")
        every = min(self.d_steps, self.r1_every, self.path_length_every)
        require(every >= 1, "d_steps, r1_every and path_length_every have to be at least 1")
        require(0 <= self.mixing_prob <= 1, "mixing_prob has to lie in [0, 1]")
        require(0 <= self.label_smoothing < 1, "label_smoothing has to lie in [0, 1)")
        smooth = self.label_smoothing == 0 or self.loss in ("bce", "least-squares")
        require(smooth, f"label_smoothing goes with loss bce or least-squares, not {self.loss}")
        require(-1 < self.ada_target < 1, "ada_target has to lie in (-1, 1)")
        require(self.ada_speed_kimg > 0, "ada_speed_kimg has to be above 0")
        require(self.freeze_d >= 0, "freeze_d has to be at least 0")


@dataclass(frozen=True, kw_only=True)
class VAEObjective(AdamSettings):
    """Loss and optimiser of a VAE.

    Attributes:
        kl_weight: weight of the KL term (called beta in some texts).
        free_bits: nats of each latent dimension, on the mean over the batch, that cost nothing; 0 is the plain KL.
        top_first_steps: in a hierarchy, steps over which the KL weight of the groups below the first falls from 1 to
            kl_weight, so that the first learns to carry the picture; 0: none.
        lr: learning rate.
    """

    kl_weight: float = 1.0
    free_bits: float = 0.0
    top_first_steps: int = 0
    lr: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.lr > 0 and self.kl_weight >= 0, "the learning rate has to be above 0, kl_weight at least 0")
        require(self.free_bits >= 0 and self.top_first_steps >= 0, "free_bits and top_first_steps: at least 0")


@dataclass(frozen=True, kw_only=True)
class VQObjective(AdamSettings):
    """Losses and optimiser of a VQ-VAE and the prior over its codes.

    Attributes:
        commitment_weight: weight of the term that keeps the encoder near its codes (beta in the paper).
        codebook_decay: weight of the old value in the codebook's moving averages, for one step.
        revive_below: a code used less than this share of the mean use gets a new place; 0 leaves dead codes dead.
        lr: learning rate of encoder, decoder and prior.
    """

    commitment_weight: float = 0.25
    codebook_decay: float = 0.98
    revive_below: float = 0.05
    lr: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.lr > 0, "the learning rate has to be above 0")
        require(self.commitment_weight >= 0, "commitment_weight has to be at least 0")
        require(0 <= self.codebook_decay < 1 and 0 <= self.revive_below < 1, "codebook_decay and revive_below: [0, 1)")


@dataclass(frozen=True, kw_only=True)
class LatentObjective(AdamSettings):
    """Losses and optimisers of a VAE and the flow of its codes.

    Attributes:
        kl_weight: weight of the KL term; small, since the flow learns what the codes are like.
        flow_draws: times that the flow sees each code of a batch, with other noise and another time.
        label_dropout: share of these without label and condition, which guidance needs.
        cond_dropout: of the others, share without the condition; and of the rest, share without an attribute or text.
        lr: the VAE's learning rate.
        flow_lr: the flow's learning rate.
    """

    kl_weight: float = 0.02
    flow_draws: int = 3
    label_dropout: float = 0.1
    cond_dropout: float = 0.3
    lr: float = 1e-3
    flow_lr: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.lr > 0 and self.flow_lr > 0, "learning rates have to be above 0")
        require(self.kl_weight >= 0, "kl_weight has to be at least 0")
        require(self.flow_draws >= 1, "flow_draws has to be at least 1")
        require(0 <= self.label_dropout < 1, "label_dropout has to lie in [0, 1)")
        require(0 <= self.cond_dropout < 1, "cond_dropout has to lie in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class VAEGANObjective(AdamSettings):
    """Losses and optimisers of a VAE whose decoder also meets a discriminator.

    Attributes:
        kl_weight: weight of the KL term; 1 lets z ~ N(0, I) decode well, which D's free pictures need.
        data_weight: weight of the squared error of pixels.
        feature_weight: weight of the squared error of the discriminator's features.
        g_weight: weight of what the discriminator says of rebuilt and free pictures.
        r1_gamma: weight of the R1 penalty; 0 leaves it out.
        r1_every: steps between two R1 penalties ("lazy"; each then counts r1_every times).
        lr: the VAE's learning rate.
        d_lr: the discriminator's learning rate.
    """

    kl_weight: float = 1.0
    data_weight: float = 1.0
    feature_weight: float = 0.1
    g_weight: float = 5.0
    r1_gamma: float = 1.0
    r1_every: int = 16
    lr: float = 1e-3
    d_lr: float = 4e-4
    beta1: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.lr > 0 and self.d_lr > 0, "learning rates have to be above 0")
        weights = (self.kl_weight, self.data_weight, self.feature_weight, self.g_weight, self.r1_gamma)
        require(min(weights) >= 0 and self.r1_every >= 1, "weights have to be at least 0, r1_every at least 1")


@dataclass(frozen=True, kw_only=True)
class ClipObjective(AdamSettings):
    """Loss and optimiser of two towers, pictures and texts.

    Attributes:
        word_dropout: share of a text's words left out in a step, so that "dress" is learned from "black dress".
        feature_dropout: share of a picture's features left out in a step, against learning photos by heart.
        lr: learning rate.
    """

    word_dropout: float = 0.2
    feature_dropout: float = 0.5
    lr: float = 3e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.lr > 0, "the learning rate has to be above 0")
        shares = self.word_dropout, self.feature_dropout
        require(min(shares) >= 0 and max(shares) < 1, "word_dropout and feature_dropout have to lie in [0, 1)")
