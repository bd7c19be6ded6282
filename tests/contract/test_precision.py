"""Every model trains in bfloat16: losses and penalties stay finite and near those of float32, weights stay float32."""

import math

import pytest
import torch
from lightning_fabric import Fabric

from packshot.models.ranges import to_model
from packshot.models.table import MODELS
from packshot.training.precision import prepare
from packshot.training.step import Batch

from .test_training import build

# Enough for the lazy penalties of step 0 and for a step without them.
STEPS = 2


def terms(model: str, precision: str) -> tuple[list[dict[str, float]], set[torch.dtype], set[torch.dtype]]:
    """Loss terms of each step; the types of all weights and moments; those that convolutions and matrices saw."""
    fabric = Fabric(accelerator="cpu", devices=1, precision={"fp32": "32-true", "bf16": "bf16-mixed"}[precision])
    step, batches, noise = build(model, 3)
    networks = [step.networks[role] for role in MODELS[model].networks]
    prepare(networks, fabric, precision=precision, compiled=False)
    seen: set[torch.dtype] = set()
    for network in networks:
        for layer in network.modules():
            if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
                layer.register_forward_hook(lambda layer, inputs, out: seen.add(out.dtype))
    rows = []
    for i in range(STEPS):
        images, labels, cond = batches.at(i)
        batch = Batch(to_model(images), labels, i, lambda name, dim, i=i: noise.at(name, i, dim), cond)
        rows.append({name: float(value) for name, value in step(batch, fabric).items()})
    kept = {t.dtype for n in step.networks.values() for t in n.state_dict().values() if t.is_floating_point()}
    for optimizer in step.optimizers.values():
        kept |= {t.dtype for state in optimizer.state.values() for t in state.values()}
    return rows, kept, seen


@pytest.mark.parametrize("model", MODELS)
def test_bf16_is_finite_and_near_float32(model: str) -> None:
    exact, _, types = terms(model, "fp32")
    rough, kept, used = terms(model, "bf16")
    assert torch.bfloat16 not in types
    assert kept == {torch.float32}
    assert torch.bfloat16 in used or model == "stylegan2"  # Its layers are its own functions, not torch's modules.
    assert all(math.isfinite(value) for row in rough for value in row.values()), rough
    for name, value in exact[0].items():
        assert rough[0][name] == pytest.approx(value, rel=0.1, abs=0.05), name
    assert exact[0] != rough[0]
