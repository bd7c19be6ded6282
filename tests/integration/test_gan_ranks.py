"""Two ranks have the gradients of one: half the batch each, the same noise, the mean of what they find."""

from pathlib import Path

import pytest
import torch

from packshot.models.weights import load_tensors
from packshot.training.checkpoint import list_checkpoints

from .conftest import run_json

# No batch norm, beta1 = 0: after its first step Adam's first moment is the gradient itself. A tiny d_lr leaves D where
# it was, so that G's gradient is that of the same D.
ONE_STEP = [
    *("--model", "r3gan", "--budget", "0.016kimg", "--seed", "3"),
    *("--set", "loop.batch_size=16", "--set", "objective.d_lr=1e-12"),
    *("--set", "loop.samples_every_kimg=0", "--set", "loop.metrics_every_kimg=0"),
    *("--set", "net.g_width=4", "--set", "net.d_width=4", "--set", "net.group=8"),
]


def gradients(catalog: Path, out: Path, devices: int) -> dict[str, torch.Tensor]:
    run_json("train", catalog, "--out", out, "--devices", str(devices), *ONE_STEP)
    tensors, header = load_tensors(list_checkpoints(out / "checkpoints")[-1])
    assert header["progress"]["step"] == 1
    return {k: v for k, v in tensors.items() if k.endswith("/exp_avg")}


@pytest.mark.slow
@pytest.mark.distributed
def test_two_ranks_have_the_gradients_of_one(catalog: Path, tmp_path: Path) -> None:
    one, two = (gradients(catalog, tmp_path / str(n), n) for n in (1, 2))
    assert one.keys() == two.keys()
    assert {name.split("/")[1] for name in one} == {"generator", "discriminator"}
    for name, gradient in one.items():
        torch.testing.assert_close(two[name], gradient, rtol=1e-5, atol=1e-6, msg=name)
    assert max(g.abs().max().item() for g in one.values()) > 1e-3
