"""What every model in the table has to do in training: a loaded checkpoint goes on as if nothing had happened."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric

from packshot.core.random import stream_seed
from packshot.models.ranges import to_model
from packshot.models.spec import PictureSpec
from packshot.models.table import MODELS
from packshot.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from packshot.training.data import Batches, Noise
from packshot.training.presets import resolve_config
from packshot.training.run import STEPS
from tests.golden.test_loss_curves import SMALL, pairs, shapes

STEPS_BEFORE, STEPS_AFTER, BATCH = 3, 3, 8


def build(model: str, weights_seed: int) -> tuple[Any, Batches, Noise]:
    config = resolve_config(model=model, settings=[*SMALL[model], f"loop.batch_size={BATCH}"], seed=3)
    entry = MODELS[model]
    spec = PictureSpec(size=entry.sizes[0], channels=1, categories=2)
    torch.manual_seed(stream_seed(weights_seed, "weights"))
    networks = {role: make(config.net, spec) for role, make in entry.networks.items()}
    images, labels = shapes(spec.size, 1)
    batches = Batches(images, labels, cond=pairs(model, images, labels), batch_size=BATCH, seed=3)
    return STEPS[entry.family](networks, config.objective), batches, Noise(3, BATCH)


def go_on(step: Any, batches: Batches, noise: Noise, steps: range) -> None:
    from packshot.training.step import Batch

    fabric = Fabric(accelerator="cpu", devices=1)
    for i in steps:
        images, labels, cond = batches.at(i)
        step(Batch(to_model(images), labels, i, lambda name, dim, i=i: noise.at(name, i, dim), cond), fabric)


@pytest.mark.parametrize("model", MODELS)
def test_a_loaded_checkpoint_goes_on_bit_for_bit(model: str, tmp_path: Path) -> None:
    first, batches, noise = build(model, 3)
    go_on(first, batches, noise, range(STEPS_BEFORE))
    path = save_checkpoint(tmp_path, Progress(step=STEPS_BEFORE), first.networks, first.optimizers, keep=1)
    before = {f"{r}/{k}": v.clone() for r, n in first.networks.items() for k, v in n.state_dict().items()}
    rest = range(STEPS_BEFORE, STEPS_BEFORE + STEPS_AFTER)
    go_on(first, batches, noise, rest)

    second, batches, noise = build(model, 4)  # Other weights: all has to come from the file.
    torch.manual_seed(99)  # No step may lean on the global stream.
    load_checkpoint(path, second.networks, second.optimizers)
    go_on(second, batches, noise, rest)
    changed = False
    for role, network in first.networks.items():
        for name, value in network.state_dict().items():
            assert torch.equal(value, second.networks[role].state_dict()[name]), f"{role}: {name}"
            changed |= not torch.equal(value, before[f"{role}/{name}"])
    assert changed
