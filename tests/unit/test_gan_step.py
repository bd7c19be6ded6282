"""training/gan.py: every switch of the objective, alone and together, and the parts that keep a state."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from packshot.core.errors import UsageError
from packshot.models.spec import PictureSpec
from packshot.models.table import MODELS
from packshot.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from packshot.training.data import Noise
from packshot.training.ema import make_ema
from packshot.training.gan import GANStep
from packshot.training.gan_parts import (
    KERNEL_DIM,
    REFERENCE_SIZE,
    HistoricalAverage,
    MinibatchDiscrimination,
    PathLength,
    ReferenceBatch,
    VirtualBatchNorm,
    keep_features,
    picture_and_feature_sizes,
    use_virtual_batch_norm,
)
from packshot.training.objectives import GANObjective
from packshot.training.presets import resolve_config
from packshot.training.step import Batch
from tests.golden.test_loss_curves import SMALL

FABRIC = Fabric(accelerator="cpu", devices=1)
GANS = [name for name, entry in MODELS.items() if entry.family == "gan"]
N, CATEGORIES = 6, 3


def networks_of(model: str, channels: int = 1) -> dict[str, nn.Module]:
    config = resolve_config(model=model, settings=SMALL[model])
    entry = MODELS[model]
    spec = PictureSpec(size=entry.sizes[0], channels=channels, categories=CATEGORIES)
    torch.manual_seed(1)
    return {role: build(config.net, spec) for role, build in entry.networks.items()}


def make_step(model: str = "dcgan", **objective: Any) -> GANStep:
    networks = networks_of(model)
    torch.manual_seed(2)
    return GANStep(networks, GANObjective(**objective))


def batch_at(i: int, step: GANStep, asked: list[str] | None = None) -> Batch:
    with torch.no_grad():
        shape = step.g.eval()(torch.zeros(1, step.g.z_dim), torch.zeros(1, dtype=torch.int64)).shape[1:]
        step.g.train()
    noise = Noise(7, N)

    def draw(name: str, dim: int) -> Tensor:
        if asked is not None:
            asked.append(name)
        return noise.at(name, i, dim)

    images = torch.tanh(noise.at("images", i, shape.numel())).view(N, *shape)
    return Batch(images.contiguous(memory_format=torch.channels_last), torch.arange(N) % CATEGORIES, i, draw)


def train(step: GANStep, first: int, last: int) -> list[dict[str, float]]:
    return [{k: v.item() for k, v in step(batch_at(i, step), FABRIC).items()} for i in range(first, last)]


def weights_of(step: GANStep) -> Tensor:
    return torch.cat([p.detach().flatten() for role in ("generator", "discriminator") for p in step.weights[role]])


def plain_steps(networks: dict[str, nn.Module], batches: Iterator[Batch]) -> None:
    """The step without any switch, written out."""
    g, d = networks["generator"], networks["discriminator"]
    for network in (g, d):
        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, 0.0, 0.02)
    g_adam, d_adam = (torch.optim.Adam(n.parameters(), 2e-4, (0.5, 0.99), fused=True) for n in (g, d))
    for batch in batches:
        fake = g(batch.noise("z", g.z_dim), batch.labels)
        logits_real, logits_fake = d(batch.images, batch.labels), d(fake.detach(), batch.labels)
        d_adam.zero_grad()
        (F.softplus(-logits_real).mean() + F.softplus(logits_fake).mean()).backward()
        d_adam.step()
        g_adam.zero_grad()
        F.softplus(-d(fake, batch.labels)).mean().backward()
        g_adam.step()


def test_without_switches_it_is_the_plain_step_bit_for_bit() -> None:
    step = make_step()
    train(step, 0, 3)
    networks = networks_of("dcgan")
    torch.manual_seed(2)
    plain_steps(networks, (batch_at(i, step) for i in range(3)))
    assert step.networks.keys() == {"generator", "discriminator"}
    for role, network in networks.items():
        for name, value in network.state_dict().items():
            assert torch.equal(value, step.networks[role].state_dict()[name]), (role, name)


SWITCHES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "hinge": ({"loss": "hinge"}, set()),
    "wasserstein": ({"loss": "wasserstein"}, set()),
    "relativistic": ({"loss": "relativistic"}, {"d_pair"}),
    "least-squares": ({"loss": "least-squares"}, set()),
    "smoothing": ({"label_smoothing": 0.1}, set()),
    "r1": ({"r1_gamma": 1.0, "r1_every": 1}, {"r1"}),
    "r2": ({"r2_gamma": 1.0, "r1_every": 1}, {"r2"}),
    "gradient-penalty": ({"gradient_penalty": 10.0}, {"gp"}),
    "features": ({"feature_matching": 1.0}, {"features"}),
    "minibatch": ({"minibatch_discrimination": 4}, set()),
    "history": ({"historical_averaging": 1.0}, {"g_history", "d_history"}),
    "virtual-batch-norm": ({"virtual_batch_norm": True}, set()),
    "diffaugment": ({"augment": "diffaugment"}, set()),
    "ada": ({"augment": "ada", "ada_target": -0.9}, {"augment_p"}),
}
TOGETHER: dict[str, Any] = {
    "loss": "least-squares",
    "label_smoothing": 0.1,
    "r1_gamma": 0.1,
    "r2_gamma": 0.1,
    "r1_every": 2,
    "gradient_penalty": 1.0,
    "feature_matching": 0.1,
    "minibatch_discrimination": 2,
    "historical_averaging": 0.01,
    "augment": "diffaugment",
}


@pytest.mark.parametrize("name", SWITCHES)
def test_each_switch_trains_dcgan_and_changes_the_outcome(name: str) -> None:
    settings, terms = SWITCHES[name]
    step, plain = make_step(**settings), make_step()
    rows = train(step, 0, 3)
    train(plain, 0, 3)
    assert all(np.isfinite(list(row.values())).all() for row in rows)
    assert terms <= rows[0].keys()
    after, default = weights_of(step), weights_of(plain)
    if len(after) == len(default) and name != "ada":  # ADA begins at p = 0: it changes nothing yet.
        assert not torch.equal(after, default)
    ema = make_ema(step.g)
    pictures = [ema(torch.zeros(1, ema.z_dim), torch.tensor([1])) for _ in range(2)]
    assert torch.equal(*pictures)


@pytest.mark.parametrize("model", GANS)
def test_the_switches_work_together_on_every_gan(model: str) -> None:
    step = make_step(model, init="torch", **TOGETHER)
    before = weights_of(step)
    (row,) = train(step, 0, 1)
    assert {"d_real", "d_fake", "g", "r1", "r2", "gp", "features", "g_history", "d_history"} <= row.keys()
    assert np.isfinite(list(row.values())).all()
    assert bool(weights_of(step).isfinite().all())
    assert not torch.equal(before, weights_of(step))


@pytest.mark.parametrize(
    "settings",
    [
        {**TOGETHER, "virtual_batch_norm": True},
        {"augment": "ada", "ada_target": -0.9, "historical_averaging": 0.1, "d_steps": 2, "loss": "relativistic"},
    ],
)
def test_a_loaded_checkpoint_goes_on_bit_for_bit(settings: dict[str, Any], tmp_path: Path) -> None:
    unbroken = make_step(**settings)
    train(unbroken, 0, 9)
    first = make_step(**settings)
    train(first, 0, 5)
    path = save_checkpoint(tmp_path, Progress(step=5), first.networks, first.optimizers, keep=1)
    torch.manual_seed(99)
    second = GANStep(networks_of("dcgan"), GANObjective(**settings))
    load_checkpoint(path, second.networks, second.optimizers)
    train(second, 5, 9)
    for role, network in unbroken.networks.items():
        for name, value in network.state_dict().items():
            assert torch.equal(value, second.networks[role].state_dict()[name]), (role, name)


def test_steps_draw_no_global_randomness() -> None:
    step = make_step(**{**TOGETHER, "virtual_batch_norm": True})
    state = torch.get_rng_state()
    train(step, 0, 2)
    assert torch.equal(state, torch.get_rng_state())


def test_the_generator_waits_for_d_steps() -> None:
    step = make_step(d_steps=3)
    seen = []
    for i in range(6):
        before = [p.detach().clone() for p in step.g.parameters()]
        row = step(batch_at(i, step), FABRIC)
        seen.append(any(not torch.equal(a, b) for a, b in zip(before, step.g.parameters(), strict=True)))
        assert ("g" in row) == seen[-1]
    assert seen == [False, False, True] * 2


def test_lazy_penalties_come_on_their_steps() -> None:
    step = make_step(r1_gamma=1.0, r2_gamma=1.0, r1_every=2)
    assert [("r1" in row, "r2" in row) for row in train(step, 0, 4)] == [(True, True), (False, False)] * 2


def test_a_frozen_layer_stays_as_it_is() -> None:
    networks = networks_of("dcgan")
    networks["discriminator"].layers[0].requires_grad_(False)
    step = GANStep(networks, GANObjective(init="torch"))
    frozen, moving = step.d.layers[0].weight.clone(), step.d.dense.weight.clone()
    train(step, 0, 2)
    assert torch.equal(step.d.layers[0].weight, frozen)
    assert not step.d.layers[0].weight.requires_grad
    assert not torch.equal(step.d.dense.weight, moving)


def test_what_both_players_see_is_augmented_by_named_streams() -> None:
    step, asked = make_step(augment="diffaugment", loss="relativistic"), []
    step(batch_at(0, step, asked), FABRIC)
    assert sorted(asked) == ["augment_fake", "augment_fake_g", "augment_real", "augment_real_g", "z"]


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        ("dcgan", {"mixing_prob": 0.5}, "objective.mixing_prob needs a generator with styles"),
        ("dcgan", {"path_length_weight": 2.0}, "objective.path_length_weight needs a generator with styles"),
        ("r3gan", {"virtual_batch_norm": True}, "objective.virtual_batch_norm needs a generator with batch norm"),
    ],
)
def test_a_switch_that_the_generator_cannot_follow_is_refused(
    model: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        make_step(model, **settings)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("objective.loss=hinged", "it can be bce, hinge"),
        ("objective.d_steps=0", "at least 1"),
        ("objective.r2_gamma=-1", "at least 0"),
        ("objective.mixing_prob=1.5", r"in \[0, 1\]"),
        ("objective.augment=adda", "it can be none, diffaugment, ada"),
    ],
)
def test_wrong_settings_are_refused(setting: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve_config(model="dcgan", settings=[setting])


def test_smoothing_is_refused_where_there_is_no_target() -> None:
    with pytest.raises(UsageError, match="label_smoothing goes with loss bce or least-squares, not hinge"):
        resolve_config(model="dcgan", settings=["objective.loss=hinge", "objective.label_smoothing=0.1"])


class Styled(nn.Module):
    """A generator of four styles that is linear in w, so that its path lengths are known."""

    def __init__(self) -> None:
        super().__init__()
        self.z_dim, self.layers = 2, 4
        self.draw = nn.Linear(2, 16, bias=False)
        self.crossovers: list[Tensor] = []

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        return torch.tanh(self.draw(z)).view(-1, 1, 4, 4)

    def mixed(self, z: Tensor, z2: Tensor, label: Tensor, crossover: Tensor) -> Tensor:
        self.crossovers.append(crossover)
        return self(torch.where((crossover == self.layers)[:, None], z, z2), label)

    def path_lengths(self, z: Tensor, label: Tensor, y: Tensor) -> Tensor:
        return (y.flatten(1) @ self.draw.weight).norm(dim=1)


class Judge(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(16, 1)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        return self.dense(x.flatten(1))[:, 0]


def styled_step(**objective: Any) -> GANStep:
    torch.manual_seed(0)
    networks = {"generator": Styled(), "discriminator": Judge()}
    return GANStep(networks, GANObjective(init="torch", **objective))


def test_styles_are_mixed_as_often_as_asked() -> None:
    crossovers = []
    step = styled_step(mixing_prob=0.5)
    for i in range(60):
        step(batch_at(i, step), FABRIC)
    crossovers = torch.cat(step.g.crossovers)
    counts = torch.bincount(crossovers, minlength=5).tolist()
    assert len(counts) == 5
    assert counts[0] == 0
    # 360 draws: half keep all layers, a sixth each of the others; four standard errors.
    assert abs(counts[4] - 180) < 38
    assert all(abs(c - 60) < 29 for c in counts[1:4])


def test_path_lengths_are_pulled_to_their_mean_lazily() -> None:
    step = styled_step(path_length_weight=2.0, path_length_every=3)
    batch, weight = batch_at(0, step), step.g.draw.weight.detach().clone()
    row = step(batch, FABRIC)
    y = batch.noise("path_y", 16).numpy() / 4
    lengths = np.linalg.norm(y @ weight.numpy(), axis=1)
    mean = 0.01 * lengths.mean()
    assert step.networks["path_length"].mean.item() == pytest.approx(mean, rel=1e-5)
    assert row["path"].item() == pytest.approx(((lengths - mean) ** 2).mean(), rel=1e-5)
    assert ["path" in r for r in train(step, 1, 4)] == [False, False, True]


def test_the_running_mean_of_path_lengths_settles_at_the_lengths() -> None:
    part = PathLength()
    for _ in range(1000):
        loss = part(torch.full((4,), 3.0), FABRIC)
    assert part.mean.item() == pytest.approx(3, rel=1e-3)
    assert loss.item() < 1e-4


def test_closeness_is_the_written_sum() -> None:
    torch.manual_seed(0)
    part, f = MinibatchDiscrimination(5, 3), torch.randn(4, 5)
    m = (f @ part.project.weight.T).detach().numpy().reshape(4, 3, KERNEL_DIM)
    want = np.array(
        [
            [sum(np.exp(-np.abs(m[i, b] - m[j, b]).sum()) for j in range(4) if j != i) for b in range(3)]
            for i in range(4)
        ]
    )
    np.testing.assert_allclose(part.closeness(f).detach().numpy(), want, rtol=1e-5, atol=1e-6)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(part(f[order]), part(f)[order])


def test_equal_pictures_are_as_close_as_can_be() -> None:
    part = MinibatchDiscrimination(5, 3)
    assert torch.equal(part.closeness(torch.ones(7, 5)), torch.full((7, 3), 6.0))


def test_the_historical_mean_is_that_of_all_states() -> None:
    weights = [torch.randn(3, 2), torch.randn(4)]
    part, states = HistoricalAverage(weights), [torch.cat([w.flatten() for w in weights])]
    assert part(weights).item() == 0
    for _ in range(5):
        weights = [w + torch.randn_like(w) for w in weights]
        states.append(torch.cat([w.flatten() for w in weights]))
        part.add(weights)
    torch.testing.assert_close(part.mean, torch.stack(states).mean(0))
    assert part(weights).item() == pytest.approx((states[-1] - part.mean).square().sum().item(), rel=1e-6)


def test_virtual_batch_norm_is_the_written_one() -> None:
    torch.manual_seed(0)
    norm = VirtualBatchNorm(3)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(REFERENCE_SIZE + 2, 3, 4, 4)
    got = norm(x).detach().numpy()
    reference = x[:REFERENCE_SIZE].double().numpy()
    for i in range(REFERENCE_SIZE, REFERENCE_SIZE + 2):
        pixels = np.concatenate([reference, x[i : i + 1].double().numpy()])
        mean, var = pixels.mean((0, 2, 3)), pixels.var((0, 2, 3))
        want = (x[i].numpy() - mean[:, None, None]) / np.sqrt(var + norm.eps)[:, None, None]
        want = want * norm.weight.detach().numpy()[:, None, None] + norm.bias.detach().numpy()[:, None, None]
        np.testing.assert_allclose(got[i], want, rtol=1e-4, atol=1e-5)
    plain = nn.BatchNorm2d(3).eval()
    plain.load_state_dict(norm.state_dict())
    np.testing.assert_allclose(norm.running_mean, reference.mean((0, 2, 3)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(norm.running_var, reference.var((0, 2, 3)), rtol=1e-4)
    assert torch.equal(norm.eval()(x), plain(x))


def test_with_virtual_batch_norm_no_picture_depends_on_the_others() -> None:
    g = networks_of("dcgan")["generator"]
    plain = copy.deepcopy(g)
    assert use_virtual_batch_norm(g) == sum(isinstance(m, nn.BatchNorm2d) for m in plain.modules())
    assert use_virtual_batch_norm(networks_of("r3gan")["generator"]) == 0
    reference, z, label = ReferenceBatch(g.z_dim), torch.randn(4, g.z_dim), torch.arange(4) % CATEGORIES
    together = reference.generate(g, z, label, FABRIC)
    alone = reference.generate(g, z[2:3], label[2:3], FABRIC)
    torch.testing.assert_close(together[2:3], alone, rtol=1e-4, atol=1e-5)
    assert reference.label.tolist() == [i % 4 % CATEGORIES for i in range(REFERENCE_SIZE)]
    plain.load_state_dict(g.state_dict())
    assert torch.equal(g.eval()(z, label), plain.eval()(z, label))


@pytest.mark.parametrize("model", GANS)
def test_every_discriminators_features_come_from_its_one_pass(model: str) -> None:
    networks = networks_of(model)
    g, d = networks["generator"].eval(), networks["discriminator"].eval()
    before = copy.deepcopy([g.state_dict(), d.state_dict()])
    channels, features = picture_and_feature_sizes(g.train(), d.train())
    assert g.training and d.training
    for old, network in zip(before, (g, d), strict=True):
        assert all(torch.equal(v, network.state_dict()[k]) for k, v in old.items())
    g.eval()
    d.eval()
    label = torch.arange(N) % CATEGORIES
    x = g(torch.randn(N, g.z_dim), label)
    with keep_features(d) as kept:
        logits = d(x, label)
    assert channels == x.shape[1]
    assert len(kept) == 1
    assert kept[0].shape == (N, features)
    assert torch.equal(logits, d(x, label))
    assert len(kept) == 1, "it goes on keeping"


@pytest.mark.parametrize("model", [name for name in GANS if hasattr(MODELS[name].networks["generator"], "mixed")])
def test_generators_with_styles_mix_them_and_have_path_lengths(model: str) -> None:
    step = make_step(model, init="torch", mixing_prob=0.9, path_length_weight=2.0, path_length_every=2)
    rows = train(step, 0, 3)
    assert ["path" in row for row in rows] == [True, False, True]
    assert all(np.isfinite(list(row.values())).all() for row in rows)
    assert step.networks["path_length"].mean > 0


def test_ada_is_as_quick_as_the_objective_says() -> None:
    """Four steps of N pictures, of 1,000 that p takes from 0 to 1."""
    step = make_step(augment="ada", ada_target=-0.9, ada_speed_kimg=1.0)
    seen = [row["augment_p"] for row in train(step, 0, 4)]
    assert seen == pytest.approx([0, 0, 0, 4 * N / 1000])
