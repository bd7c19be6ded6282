"""What a training run is told: all its settings in one frozen value."""

from dataclasses import dataclass, field
from typing import Any, Literal

from packshot.models.table import ModelEntry
from packshot.training.objectives import (
    ClipObjective,
    GANObjective,
    LatentObjective,
    VAEGANObjective,
    VAEObjective,
    VQObjective,
    require,
)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """How catalogue photos become training pictures.

    Attributes:
        size: pixels on a side; None: 32 for photos up to 32 px, else 64, as far as the model can.
        channels: 1 grey, 3 RGB; None: what the photos have, as far as the model can.
        fit: "crop" cuts the middle square, "pad" adds a border, "auto" pads tiny square photos with black, else crops.
        flip: mirror half of the pictures; right where left and right mean nothing.
        limit: use only this many training photos, drawn by the seed; None: all.
        attributes: what can be asked for besides the category: "colour" and "pattern" are seen in the photo itself,
            others are columns of the catalogue.
        text_model: a text model (`packshot train --model clip`, or a folder of a pretrained one), so that pictures can
            be asked for by a text; None: they cannot.
    """

    size: int | None = None
    channels: int | None = None
    fit: Literal["auto", "crop", "pad"] = "auto"
    flip: bool = False
    limit: int | None = None
    attributes: tuple[str, ...] = ()
    text_model: str | None = None

    def __post_init__(self) -> None:
        require(self.limit is None or self.limit >= 2, "data.limit has to be at least 2")
        require(self.size is None or self.size >= 8, "data.size has to be at least 8")


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """The loop around the steps. The schedules change no weight.

    Attributes:
        batch_size: pictures per step, over all devices.
        precision: "bf16" lets the networks compute in bfloat16; their weights, losses and penalties stay float32.
        compile: compile the networks (torch.compile).
        lr_decay_from: share of the budget after which the learning rates fall linearly to lr_floor; 1 = never.
        lr_floor: share of the learning rate that is left at the end of the budget.
        ema_halflife_kimg: half-life of the averaged weights, in thousands of pictures.
        ema_rampup: the half-life is never longer than this share of the pictures seen so far.
        log_every_steps: steps between two log rows.
        samples_every_kimg: between two sample grids; 0 = none.
        metrics_every_kimg: between two quick evaluations; 0 = none.
        metrics_pictures: samples in a quick evaluation.
        checkpoint_every_seconds: wall seconds between two checkpoints.
        keep_checkpoints: how many of the newest stay.
    """

    batch_size: int = 64
    precision: Literal["fp32", "bf16"] = "fp32"
    compile: bool = False
    lr_decay_from: float = 0.5
    lr_floor: float = 0.05
    ema_halflife_kimg: float = 20.0
    ema_rampup: float = 0.05
    log_every_steps: int = 25
    samples_every_kimg: float = 10.0
    metrics_every_kimg: float = 20.0
    metrics_pictures: int = 500
    checkpoint_every_seconds: float = 20.0
    keep_checkpoints: int = 2

    def __post_init__(self) -> None:
        require(self.batch_size >= 2, "loop.batch_size has to be at least 2")
        require(0 <= self.lr_decay_from <= 1 and 0 <= self.lr_floor <= 1, "lr_decay_from and lr_floor are in [0, 1]")
        require(self.log_every_steps >= 1, "loop.log_every_steps has to be at least 1")
        require(self.keep_checkpoints >= 1, "loop.keep_checkpoints has to be at least 1")
        require(self.ema_halflife_kimg >= 0 and self.ema_rampup >= 0, "the EMA's settings have to be at least 0")
        require(1 <= self.metrics_pictures <= 100_000, "loop.metrics_pictures has to be 1 to 100,000")
        periods = (self.samples_every_kimg, self.metrics_every_kimg, self.checkpoint_every_seconds)
        require(min(periods) >= 0, "times between two of a kind have to be at least 0")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """All settings of a run.

    Attributes:
        model: name in the table of models.
        seed: from which every random stream is derived.
        budget: how long to train, for example "150s", "5m", "300cpu-s" or "200kimg".
        net: sizes of the network (the model's own config).
        objective: losses and optimisers (of the model's family).
        data: how photos become training pictures.
        loop: batch size, averages and schedules.
    """

    model: str
    seed: int
    budget: str
    net: Any
    objective: Any
    data: DataConfig = field(default_factory=DataConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)


OBJECTIVES: dict[str, type[Any]] = {
    "gan": GANObjective,
    "vae": VAEObjective,
    "vq-vae": VQObjective,
    "latent": LatentObjective,
    "vae-gan": VAEGANObjective,
    "clip": ClipObjective,
}


def config_class(entry: ModelEntry) -> type[TrainConfig]:
    """Returns TrainConfig with the model's own types for `net` and `objective`, so that unknown keys are found."""
    from dataclasses import make_dataclass

    objective = OBJECTIVES[entry.family]
    return make_dataclass(
        "TrainConfig",
        [
            ("net", entry.config, field(default_factory=entry.config)),
            ("objective", objective, field(default_factory=objective)),
        ],
        bases=(TrainConfig,),
        frozen=True,
        kw_only=True,
    )
