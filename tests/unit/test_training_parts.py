"""training/: budgets, batches, noise, averages, checkpoints, health, configuration."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from packshot.core.errors import PackshotError, UsageError
from packshot.core.progress import Progress as Bar
from packshot.core.runs import RunFolder, read_jsonl
from packshot.training.budget import Budget, parse_budget
from packshot.training.checkpoint import Progress, list_checkpoints, load_checkpoint, save_checkpoint
from packshot.training.config import LoopConfig
from packshot.training.data import Batches, Noise
from packshot.training.ema import ema_decay, make_ema, update_ema
from packshot.training.hooks import COLLAPSE_ROWS, CheckpointHook, Every, LogHook
from packshot.training.loop import LoopState, Unhealthy, learning_rate_factor
from packshot.training.presets import resolve_config
from packshot.training.step import within_category_variance


@pytest.mark.parametrize(
    ("text", "kind", "amount"),
    [
        ("120s", "seconds", 120),
        ("5m", "seconds", 300),
        ("1.5h", "seconds", 5400),
        ("300cpu-s", "cpu_seconds", 300),
        ("200kimg", "kimg", 200),
    ],
)
def test_budgets(text: str, kind: str, amount: float) -> None:
    assert parse_budget(text) == Budget(kind, amount)


@pytest.mark.parametrize("text", ["", "5", "s", "-3s", "0s", "5 minutes", "1e3s", "nan s"])
def test_wrong_budgets(text: str) -> None:
    with pytest.raises(UsageError, match="is no budget"):
        parse_budget(text)


def data(n: int) -> tuple[np.ndarray, np.ndarray]:
    images = np.zeros((n, 4, 4, 1), np.uint8)
    images[:, 0, 0, 0] = np.arange(n)
    return images, np.arange(n) % 3


def test_every_photo_is_seen_once_per_pass_and_batches_depend_on_the_step_alone() -> None:
    images, labels = data(10)
    batches = Batches(images, labels, batch_size=4, seed=1)
    seen = [int(x) for step in range(5) for x in batches.at(step)[0][:, 0, 0, 0]]
    assert sorted(seen[:10]) == list(range(10))
    assert sorted(seen[10:]) == list(range(10))
    assert seen[:10] != seen[10:]
    again = Batches(images, labels, batch_size=4, seed=1)
    x, y, _ = again.at(3)
    assert x[:, 0, 0, 0].tolist() == seen[12:16]
    assert torch.equal(y, x[:, 0, 0, 0].long() % 3)


def test_ranks_together_see_the_batch_and_noise_of_one() -> None:
    images, labels = data(20)
    one = Batches(images, labels, batch_size=4, seed=1, flip=True)
    two = [Batches(images, labels, batch_size=4, seed=1, flip=True, rank=r, world_size=2) for r in range(2)]
    assert torch.equal(one.at(2)[0], torch.cat([b.at(2)[0] for b in two]))
    noise = torch.cat([Noise(1, 4, r, 2).at("z", 2, 7) for r in range(2)])
    assert torch.equal(Noise(1, 4).at("z", 2, 7), noise)
    assert not torch.equal(Noise(1, 4).at("z", 3, 7), noise)


def test_limit_uses_that_many_photos() -> None:
    images, labels = data(50)
    batches = Batches(images, labels, batch_size=5, seed=2, limit=10)
    assert len({int(v) for s in range(20) for v in batches.at(s)[0][:, 0, 0, 0]}) == 10


def test_flip_mirrors_left_and_right_only() -> None:
    images = np.zeros((40, 2, 3, 1), np.uint8)
    images[:, 0, 0, 0] = 1
    batch, _, _ = Batches(images, np.zeros(40), batch_size=40, seed=0, flip=True).at(0)
    assert batch[:, 1].sum() == 0
    assert batch[:, 0, 1].sum() == 0
    assert 5 < int(batch[:, 0, 2].sum()) < 35
    assert int(batch.sum()) == 40


def test_ema_halves_after_its_half_life_and_ramps_up() -> None:
    steps = 100
    decay = ema_decay(10, 10**9, steps * 10 / 1000, 0.05)
    assert decay**steps == pytest.approx(0.5)
    assert ema_decay(10, 10, 100, 0.05) < 1e-3
    network = nn.BatchNorm2d(2)
    ema = make_ema(network)
    with torch.no_grad():
        network.weight.fill_(3)
        network.running_mean.fill_(2)
        network.num_batches_tracked.fill_(7)
    update_ema(ema, network, 0.5)
    assert ema.weight.tolist() == [2, 2]
    assert ema.running_mean.tolist() == [1, 1]
    assert ema.num_batches_tracked == 7


def test_learning_rate_falls_linearly_after_its_start() -> None:
    config = LoopConfig(lr_decay_from=0.5, lr_floor=0.1)
    assert [learning_rate_factor(s, config) for s in (0, 0.5, 0.75, 1)] == pytest.approx([1, 1, 0.55, 0.1])
    assert learning_rate_factor(1, LoopConfig(lr_decay_from=1.0)) == 1


ONE_RANK = Fabric(accelerator="cpu", devices=1)


def trained() -> tuple[nn.Module, torch.optim.Adam]:
    torch.manual_seed(0)
    network = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    return network, torch.optim.Adam(network.parameters(), 1e-2, fused=True)


def advance(network: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for i in range(steps):
        x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(i))
        optimizer.zero_grad()
        network(x.contiguous(memory_format=torch.channels_last)).square().sum().backward()
        optimizer.step()


def test_a_loaded_checkpoint_goes_on_bit_for_bit(tmp_path: Path) -> None:
    network, optimizer = trained()
    advance(network, optimizer, 5)
    progress = Progress(step=5, images=10, seconds=1.5, attempt=1)
    path = save_checkpoint(tmp_path, progress, {"n": network}, {"n": optimizer}, keep=2)
    other, other_optimizer = trained()
    assert load_checkpoint(path, {"n": other}, {"n": other_optimizer}) == progress
    for net, opt in ((network, optimizer), (other, other_optimizer)):
        advance(net, opt, 5)
    assert torch.equal(network.weight, other.weight)
    moments = other_optimizer.state[other.weight]["exp_avg"]
    assert moments.stride() == other.weight.stride()


def test_only_the_newest_checkpoints_stay(tmp_path: Path) -> None:
    network, optimizer = trained()
    for step in range(5):
        save_checkpoint(tmp_path, Progress(step=step), {"n": network}, {"n": optimizer}, keep=2)
    assert [p.stem for p in list_checkpoints(tmp_path)] == ["step-00000003", "step-00000004"]


def state_with(images: int, **terms: float) -> LoopState:
    return LoopState(Progress(step=25, images=images), terms={k: torch.tensor(v) for k, v in terms.items()})


def test_log_rows_hold_the_mean_terms(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run")
    hook = LogHook(run, LoopConfig(log_every_steps=25), Bar("t", quiet=True), LoopState(Progress()), ONE_RANK)
    for step, value in ((24, 1.0), (25, 3.0)):
        state = state_with(100, data=value, within_fake=1.0, within_real=4.0)
        state.progress.step = step
        hook(state)
    (row,) = read_jsonl(run.log_file)
    assert (row["step"], row["data"], row["kimg"], row["spread"]) == (25, 2.0, 0.1, 0.5)


def test_not_a_number_and_collapse_are_noticed() -> None:
    hook = LogHook(None, LoopConfig(log_every_steps=1), Bar("t", quiet=True), LoopState(Progress()), ONE_RANK)
    with pytest.raises(Unhealthy, match="'g' became nan"):
        hook(state_with(100, g=math.nan, within_fake=1.0, within_real=1.0))
    hook = LogHook(None, LoopConfig(log_every_steps=1), Bar("t", quiet=True), LoopState(Progress()), ONE_RANK)
    for _ in range(COLLAPSE_ROWS - 1):
        hook(state_with(10_000, g=1.0, within_fake=0.0001, within_real=1.0))
    with pytest.raises(Unhealthy, match="collapsed"):
        hook(state_with(10_000, g=1.0, within_fake=0.0001, within_real=1.0))


def test_a_broken_state_is_never_saved(tmp_path: Path) -> None:
    network, optimizer = trained()
    hook = CheckpointHook(RunFolder(tmp_path), LoopConfig(), {"n": network}, {"n": optimizer})
    hook.save(LoopState(Progress(step=1)))
    with torch.no_grad():
        network.weight[0, 0, 0, 0] = math.inf
    with pytest.raises(Unhealthy, match="not-a-number"):
        hook.save(LoopState(Progress(step=2)))
    assert [p.stem for p in list_checkpoints(tmp_path / "checkpoints")] == ["step-00000001"]


def test_every_is_due_once_per_period() -> None:
    every = Every(1.0)
    due = [every.due(i) for i in range(0, 4000, 400)]
    assert sum(due) == 3
    assert not any(Every(0).due(i) for i in range(0, 4000, 400))
    assert Every(1.0, images=1900).due(2000), "a period that begins on the first step after a resume"


def test_spread_within_categories_ignores_what_the_categories_are() -> None:
    label = torch.tensor([0, 0, 1, 1])
    x = torch.tensor([0.0, 0.0, 10.0, 10.0]).view(4, 1, 1, 1)
    assert within_category_variance(x, label).item() == 0
    y = torch.tensor([-1.0, 1.0, 9.0, 11.0]).view(4, 1, 1, 1)
    assert within_category_variance(y, label).item() == pytest.approx(1)


def test_settings_reach_the_models_own_config_and_unknown_ones_do_not() -> None:
    config = resolve_config(
        model="vae", settings=["net.z_dim=8", "objective.kl_weight=2"], budget="1s", seed=4, size=64
    )
    assert (config.net.z_dim, config.objective.kl_weight, config.data.size, config.seed) == (8, 2.0, 64, 4)
    with pytest.raises(UsageError, match="Did you mean 'kl_weight'"):
        resolve_config(model="vae", settings=["objective.klweight=2"])
    with pytest.raises(UsageError, match=r"Unknown setting 'objective.r1_gamma'"):
        resolve_config(model="vae", settings=["objective.r1_gamma=2"])
    with pytest.raises(UsageError, match="is no budget"):
        resolve_config(model="vae", budget="soon")
    with pytest.raises(PackshotError, match="no such file"):
        resolve_config(recipe=Path("/nonexistent.toml"))
