"""The mathematics of vq-vae, hvae and free bits: each against a hand calculation, a closed form or Monte Carlo."""

import math

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from packshot.losses.vae import code_loss, commitment_loss, free_bits_kl, kl_loss
from packshot.models.spec import PictureSpec
from packshot.models.vae.conv import ConvVAE, VAEConfig
from packshot.models.vae.hierarchical import SIDES, HierarchicalVAE, HVAEConfig
from packshot.models.vae.vq import GRID, VQVAE, Codebook, CodePrior, VQVAEConfig, inverse_cdf
from packshot.training.data import Noise
from packshot.training.objectives import VAEObjective, VQObjective
from packshot.training.step import Batch
from packshot.training.vae import VAEStep
from packshot.training.vq import VQStep

SPEC = PictureSpec(size=32, channels=1, categories=3)
PLACES = GRID * GRID
SMALL = VQVAEConfig(codes=6, code_dim=4, width=4, prior_width=12, prior_layers=2, prior_heads=2)
ONE_RANK = Fabric(accelerator="cpu", devices=1)


def batch(step: int, n: int = 6) -> Batch:
    x = torch.rand(n, 1, 32, 32, generator=torch.Generator().manual_seed(step)) * 2 - 1
    noise = Noise(0, n)
    return Batch(images=x, labels=torch.arange(n) % 3, step=step, noise=lambda name, dim: noise.at(name, step, dim))


def test_free_bits_are_the_floor_of_each_dimension() -> None:
    torch.manual_seed(0)
    mean, logvar = torch.randn(50, 4) * torch.tensor([0.0, 0.1, 1.0, 3.0]), torch.zeros(50, 4)
    each = [kl_loss(mean[:, [j]], logvar[:, [j]]).item() for j in range(4)]
    assert free_bits_kl(mean, logvar, 0).item() == pytest.approx(sum(each), rel=1e-5)
    assert each[1] < 0.3 < each[2]
    assert free_bits_kl(mean, logvar, 0.3).item() == pytest.approx(0.6 + each[2] + each[3], rel=1e-5)


def test_free_bits_take_the_pressure_from_latents_below_the_floor_only() -> None:
    mean = torch.tensor([[0.1, 2.0], [-0.1, 2.0]], requires_grad=True)
    free_bits_kl(mean, torch.zeros(2, 2), 0.5).backward()
    assert mean.grad is not None
    assert mean.grad[:, 0].tolist() == [0, 0]
    assert (mean.grad[:, 1] > 0).all()


def test_the_kl_relative_to_the_prior_is_that_of_the_two_gaussians() -> None:
    mean_p, std_p, mean, logvar = 1.5, 0.4, 0.7, -0.6
    prior = torch.distributions.Normal(torch.tensor(mean_p).double(), std_p)
    posterior = torch.distributions.Normal(torch.tensor(mean_p + std_p * mean).double(), std_p * math.exp(logvar / 2))
    torch.manual_seed(3)
    latent = posterior.sample((200_000,))
    log_ratio = posterior.log_prob(latent) - prior.log_prob(latent)
    error = 4 * log_ratio.std().item() / math.sqrt(len(latent))
    assert kl_loss(torch.tensor([[mean]]), torch.tensor([[logvar]])).item() == pytest.approx(
        log_ratio.mean().item(), abs=error
    )


def test_hvae_decodes_what_its_posterior_drew() -> None:
    torch.manual_seed(0)
    network = HierarchicalVAE(HVAEConfig(width=4), SPEC).eval()
    x, label, eps = torch.rand(2, 1, 32, 32), torch.tensor([0, 2]), torch.randn(2, network.z_dim)
    x_hat, mean, logvar = network(x, label, eps)
    again = network.decode(mean + torch.exp(0.5 * logvar) * eps, label)
    assert torch.allclose(x_hat, again, atol=1e-6)
    covered = torch.cat([torch.arange(network.z_dim)[own] for own in network.groups.values()])
    assert covered.tolist() == list(range(network.z_dim))
    assert len(network.groups) == len(SIDES)


def test_an_hvae_groups_posterior_sees_the_groups_before_it_only() -> None:
    torch.manual_seed(0)
    network = HierarchicalVAE(HVAEConfig(width=4), SPEC).eval()
    x, label, eps = torch.rand(1, 1, 32, 32), torch.tensor([1]), torch.randn(1, network.z_dim)
    _, before, _ = network(x, label, eps)
    slices = list(network.groups.values())
    moved = eps.clone()
    moved[:, slices[1]] += 1
    _, after, _ = network(x, label, moved)
    assert torch.equal(before[:, slices[0]], after[:, slices[0]])
    assert torch.equal(before[:, slices[1]], after[:, slices[1]])
    assert not torch.equal(before[:, slices[2]], after[:, slices[2]])


def test_top_first_presses_the_lower_groups_alone_and_fades() -> None:
    def change(top_first_steps: int, step: int) -> float:
        """Gradient of the loss of the lowest group's posterior along that of its KL: 1 for each unit of its weight."""
        torch.manual_seed(0)
        network = HierarchicalVAE(HVAEConfig(width=4), SPEC)
        weight = network.levels[-1].posterior[2].weight
        _, mean, logvar = network(batch(step).images, batch(step).labels, batch(step).noise("eps", network.z_dim))
        (alone,) = torch.autograd.grad(kl_loss(mean, logvar), weight)
        trained = VAEStep({"vae": network}, VAEObjective(kl_weight=0.1, top_first_steps=top_first_steps))
        trained.optimizers = {"vae": torch.optim.SGD(network.parameters(), 0.0)}
        terms = trained(batch(step), ONE_RANK)
        groups = [value.item() for name, value in terms.items() if name.startswith("kl_")]
        assert sum(groups) == pytest.approx(terms["kl"].item(), rel=1e-4)
        return float((weight.grad * alone).sum() / alone.square().sum())

    for step, extra in ((0, 0.9), (5, 0.45), (10, 0.0)):
        assert change(10, step) - change(0, step) == pytest.approx(extra, abs=1e-3)


def test_vae_without_free_bits_is_the_plain_step() -> None:
    weights = []
    for objective in (VAEObjective(kl_weight=0.05), VAEObjective(kl_weight=0.05, free_bits=0.5)):
        torch.manual_seed(0)
        step = VAEStep({"vae": ConvVAE(VAEConfig(z_dim=4, width=4), SPEC)}, objective)
        step(batch(0), ONE_RANK)
        weights.append(step.networks["vae"].posterior.weight.detach().clone())
    torch.manual_seed(0)
    vae = ConvVAE(VAEConfig(z_dim=4, width=4), SPEC)
    x_hat, mean, logvar = vae(batch(0).images, batch(0).labels, batch(0).noise("eps", 4))
    (0.5 * (batch(0).images - x_hat).square().flatten(1).sum(1).mean() + 0.05 * kl_loss(mean, logvar)).backward()
    torch.optim.Adam(vae.parameters(), 1e-3, (0.9, 0.99), fused=True).step()
    assert torch.equal(weights[0], vae.posterior.weight)
    assert not torch.equal(weights[1], vae.posterior.weight)


def test_the_codebook_follows_its_moving_averages() -> None:
    book = Codebook(2, 1)
    book.vectors.copy_(torch.tensor([[0.0], [10.0]]))
    book.usage.fill_(2.0)
    book.sums.copy_(torch.tensor([[0.0], [20.0]]))
    h = torch.tensor([[1.0], [2.0], [12.0]])
    codes = book.nearest(h)
    assert codes.tolist() == [0, 0, 1]
    tally = book.tally(h, codes)
    assert tally.tolist() == [[2.0, 3.0], [1.0, 12.0]]
    book.update(tally, torch.full((2, 1), 99.0), decay=0.75, revive_below=0.1)
    assert book.usage.tolist() == pytest.approx([0.75 * 2 + 0.25 * 2, 0.75 * 2 + 0.25 * 1])
    assert book.sums.flatten().tolist() == pytest.approx([0.25 * 3, 0.75 * 20 + 0.25 * 12])
    assert book.vectors.flatten().tolist() == pytest.approx([0.75 / 2, 18 / 1.75])


def test_dead_codes_start_anew_from_the_batch_and_all_do_at_first() -> None:
    book, fresh = Codebook(3, 2), torch.arange(6.0).view(3, 2)
    book.update(torch.tensor([[4.0, 1, 1], [0, 0, 0], [0, 0, 0]]), fresh, decay=0.9, revive_below=0.05)
    assert torch.allclose(book.vectors, fresh)
    h = fresh[:2].repeat(8, 1)
    revived = []
    for step in range(60):
        book.update(book.tally(h, book.nearest(h)), fresh + 50 + step, decay=0.9, revive_below=0.05)
        if torch.allclose(book.vectors[2], fresh[2] + 50 + step):
            revived.append(step)
    # Usage 4/30 halves every 6.6 steps, against a mean near 16 / 3; with the mean use it then lasts some time.
    assert 0 < len(revived) < 6
    assert torch.allclose(book.vectors[:2], fresh[:2], atol=1e-4)


def test_the_prior_sees_only_codes_before() -> None:
    torch.manual_seed(0)
    prior = CodePrior(SMALL, 3)
    codes, label = torch.randint(0, 6, (2, PLACES)), torch.tensor([0, 1])
    before = prior(codes, label)
    for j in (0, 7, 31, PLACES - 2):
        changed = codes.clone()
        changed[:, j] = (changed[:, j] + 1) % 6
        after = prior(changed, label)
        assert torch.equal(before[:, : j + 1], after[:, : j + 1])
        assert not torch.allclose(before[:, j + 1], after[:, j + 1], atol=1e-6)


def test_writing_step_by_step_reads_the_same_probabilities_as_reading_at_once() -> None:
    torch.manual_seed(1)
    prior = CodePrior(SMALL, 3)
    u, label = torch.rand(5, PLACES, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1])
    codes = prior.sample(u, label)
    probability = torch.softmax(prior(codes, label).double(), 2)
    upper = probability.cumsum(2).gather(2, codes[..., None])[..., 0]
    lower = upper - probability.gather(2, codes[..., None])[..., 0]
    assert (u < upper + 1e-5).all()
    assert (u > lower - 1e-5).all()
    assert len(codes.unique()) == 6


def test_inverse_cdf_draws_each_code_as_often_as_it_is_probable() -> None:
    probability = torch.tensor([0.5, 0.0, 0.2, 0.3], dtype=torch.float64)
    n = 40_000
    u = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    counts = torch.bincount(inverse_cdf(probability.expand(n, -1), u), minlength=4)
    assert counts.tolist() == [n // 2, 0, n // 5, 3 * n // 10]
    assert inverse_cdf(probability[None], torch.ones(1)).tolist() == [3]


def test_codes_from_normal_noise_have_the_priors_frequencies() -> None:
    torch.manual_seed(2)
    prior, n = CodePrior(SMALL, 3), 1000
    label = torch.zeros(n, dtype=torch.long)
    first = torch.softmax(prior(torch.zeros(1, PLACES, dtype=torch.long), label[:1])[0, 0], 0)
    codes = prior.sample(torch.special.ndtr(torch.randn(n, PLACES, dtype=torch.float64)), label)[:, 0]
    share = torch.bincount(codes, minlength=6) / n
    assert torch.allclose(share, first, atol=4 * 0.5 / math.sqrt(n))


def test_truncation_is_a_temperature() -> None:
    torch.manual_seed(0)
    vq = VQVAE(SMALL, SPEC).eval()
    z, label = torch.randn(4, vq.z_dim), torch.zeros(4, dtype=torch.long)
    assert torch.equal(vq.decode(z, label), vq.truncated(z, label, 1.0))
    cold = vq.truncated(z, label, 0.0)
    assert torch.equal(cold[0], cold[3]), "the most probable codes do not depend on z"
    assert not torch.equal(vq.decode(z, label)[0], vq.decode(z, label)[3])


def test_vq_losses_are_the_written_equations() -> None:
    torch.manual_seed(0)
    h, e = torch.randn(3, 8, requires_grad=True), torch.randn(3, 8, requires_grad=True)
    loss = commitment_loss(h, e)
    assert loss.item() == pytest.approx(np.sum((h - e).detach().numpy() ** 2) / 3, rel=1e-5)
    loss.backward()
    assert e.grad is None
    logits, codes = torch.zeros(2, 5, 4), torch.randint(0, 4, (2, 5))
    assert code_loss(logits, codes).item() == pytest.approx(5 * math.log(4), rel=1e-6)


def test_the_prior_leaves_the_autoencoder_alone_and_steps_repeat_exactly() -> None:
    torch.manual_seed(0)
    vq = VQVAE(SMALL, SPEC)
    *_, logits = vq(batch(0).images, batch(0).labels)
    logits.square().sum().backward()
    assert all(p.grad is None for part in (vq.down, vq.project, vq.up) for p in part.parameters())
    ends = []
    for _ in range(2):
        torch.manual_seed(0)
        step = VQStep({"vq": VQVAE(SMALL, SPEC)}, VQObjective())
        torch.manual_seed(len(ends))
        for i in range(4):
            terms = step(batch(i), ONE_RANK)
        assert 1 <= terms["codes_used"] <= 6
        ends.append(step.networks["vq"].state_dict())
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())
