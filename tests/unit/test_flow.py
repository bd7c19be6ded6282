"""The flow of codes against closed forms."""

import pytest
import torch
from torch import Tensor

from packshot.models.flow import CodeFlow
from packshot.models.spec import PictureSpec
from packshot.models.vae.latent import LatentConfig, LatentFlow

K, D = 3, 5


def flow(guidance: float = 1.0, steps: int = 16) -> CodeFlow:
    torch.manual_seed(0)
    net = CodeFlow(D, K, width=16, blocks=2, guidance=guidance, steps=steps)
    net.observe(torch.linspace(-1, 1, D), torch.linspace(-1, 1, D).square() + torch.arange(1, D + 1) ** 2, 1.0)
    return net


class GaussianFlow(CodeFlow):
    """Codes that are N(shift, 1) after normalising: E[code - z | code_t] is known."""

    shift = 0.7

    def forward(self, code_t: Tensor, t: Tensor, label: Tensor, cond: Tensor | None = None) -> Tensor:
        t = t[:, None]
        spread = t**2 + (1 - t) ** 2
        return self.shift + (2 * t - 1) / spread * (code_t - t * self.shift)


def test_codes_have_the_mean_and_deviation_that_were_seen() -> None:
    net = flow()
    assert torch.allclose(net.mean, torch.linspace(-1, 1, D))
    assert torch.allclose(net.std, torch.arange(1.0, D + 1))


def test_the_solver_turns_a_normal_sample_into_the_right_gaussian() -> None:
    net = GaussianFlow(D, K, width=8, blocks=1, guidance=1.0, steps=100)
    net.observe(torch.full((D,), 2.0), torch.full((D,), 4.0 + 9.0), 1.0)
    z = torch.randn(50, D)
    # The exact map between two Gaussians of one variance along straight paths is a shift.
    assert torch.allclose(net.sample(z, torch.zeros(50, dtype=torch.long)), 2 + 3 * (z + 0.7), atol=3e-3)


def test_invert_goes_the_way_back() -> None:
    net, z, label = flow(steps=24), torch.randn(20, D), torch.arange(20) % K
    assert torch.allclose(net.invert(net.sample(z, label), label), z, atol=1e-2)


def test_guidance_goes_on_in_the_label_s_direction() -> None:
    x, label, t = torch.randn(7, D), torch.arange(7) % K, torch.full((7,), 0.4)
    net = flow()
    given, without = net(x, t, label), net(x, t, torch.full_like(label, K))
    assert torch.allclose(net._guided(x, 0.4, label, None), given, atol=1e-6)
    net.guidance = 3.0
    assert torch.allclose(net._guided(x, 0.4, label, None), without + 3 * (given - without), atol=1e-6)
    early = net(x, torch.full((7,), 0.05), label)
    assert torch.allclose(net._guided(x, 0.05, label, None), early, atol=1e-6)


def test_a_condition_of_zeros_is_none_at_all_and_guidance_leaves_condition_and_label_out_together() -> None:
    torch.manual_seed(1)
    net = CodeFlow(D, K, groups=(2, 3), width=16, blocks=2, guidance=2.5, steps=4)
    x, label, t = torch.randn(7, D), torch.arange(7) % K, torch.full((7,), 0.4)
    cond = torch.eye(5)[torch.arange(7) % 5]
    assert torch.equal(net(x, t, label, torch.zeros(7, 5)), net(x, t, label))
    given, without = net(x, t, label, cond), net(x, t, torch.full_like(label, K))
    assert not torch.allclose(given, net(x, t, label), atol=1e-4)
    assert torch.allclose(net._guided(x, 0.4, label, cond), without + 2.5 * (given - without), atol=1e-6)
    assert not torch.allclose(net.sample(x, label, cond), net.sample(x, label), atol=1e-3)


def test_the_loss_of_the_best_guess_is_the_variance_that_is_left() -> None:
    net = GaussianFlow(D, K, width=8, blocks=1, guidance=1.0, steps=1)
    net.observe(torch.zeros(D), torch.ones(D), 1.0)
    torch.manual_seed(1)
    n, t = 200_000, 0.3
    code, z = net.shift + torch.randn(n, D), torch.randn(n, D)
    loss = net.velocity_loss(code, torch.zeros(n, dtype=torch.long), z, torch.full((n,), t))
    # Var(code - z | code_t) = 2 - (2 t - 1)^2 / (t^2 + (1 - t)^2) for unit variances.
    assert loss.item() == pytest.approx(2 - (2 * t - 1) ** 2 / (t**2 + (1 - t) ** 2), rel=0.01)


def test_figures_of_codes_move_by_the_weight() -> None:
    net = flow()
    before = net.mean.clone()
    net.observe(before + 1, net.square, 0.25)
    assert torch.allclose(net.mean, before + 0.25)


def test_the_latent_model_finds_the_z_of_a_code() -> None:
    torch.manual_seed(0)
    config = LatentConfig(z_dim=16, width=8, flow_width=32, flow_blocks=2, guidance=1.5, flow_steps=16)
    net = LatentFlow(config, PictureSpec(size=32, channels=1, categories=3)).eval()
    z, label = torch.randn(4, 16), torch.tensor([0, 1, 2, 0])
    with torch.inference_mode():
        code = net.flow.sample(config.truncation_psi * z, label)
        assert torch.allclose(net.find_z(code, label), z, atol=1e-2)


def test_codes_near_a_code_lie_between_it_and_free_samples() -> None:
    net, label = flow(guidance=2.0), torch.arange(20) % K
    code, z = net.sample(torch.randn(20, D), label), torch.randn(20, D)
    assert torch.allclose(net.near(code, z, label, 0.0), code, atol=1e-5)
    assert torch.equal(net.near(code, z, label, 1.0), net.sample(z, label))
    far = [(net.near(code, z, label, share) - code).norm() for share in (0.2, 0.5, 1.0)]
    assert 0 < far[0] < far[1] < far[2]


def test_near_starts_where_a_share_is_left_and_goes_the_rest_of_the_way() -> None:
    net = GaussianFlow(D, K, width=8, blocks=1, guidance=1.0, steps=100)
    net.observe(torch.full((D,), 2.0), torch.full((D,), 4.0 + 9.0), 1.0)
    code, z = 2 + 3 * torch.randn(50, D), torch.randn(50, D)
    made = net.near(code, z, torch.zeros(50, dtype=torch.long), 0.4)
    # Where the flow maps Gaussians, x at time t has mean t * shift and spread s(t), and ends as shift + (x - mean) / s.
    start = 0.4 * z + 0.6 * (code - 2) / 3
    wanted = net.shift + (start - 0.6 * net.shift) / (0.6**2 + 0.4**2) ** 0.5
    assert torch.allclose(made, 2 + 3 * wanted, atol=3e-3)


class ByLabel(CodeFlow):
    """Codes of label y are N(mean of y, 1)."""

    means = torch.tensor([-2.0, 0.0, 2.0])

    def forward(self, code_t: Tensor, t: Tensor, label: Tensor, cond: Tensor | None = None) -> Tensor:
        t, mean = t[:, None], self.means[label][:, None]
        return mean + (2 * t - 1) / (t**2 + (1 - t) ** 2) * (code_t - t * mean)


def test_the_label_that_fits_a_code_best_is_its_own() -> None:
    torch.manual_seed(2)
    net = ByLabel(D, K, width=8, blocks=1, guidance=3.0, steps=1)
    own = torch.arange(60) % K
    code = net.means[own][:, None] + torch.randn(60, D)
    misfit = torch.stack([net.misfit(code, torch.full((60,), y)) for y in range(K)])
    assert (misfit.argmin(0) == own).float().mean() > 0.95
    assert torch.equal(net.misfit(code, own), net.misfit(code, own))
    # By hand for one code: the same noises and times, one after the other.
    z = torch.randn(64, D, generator=torch.Generator().manual_seed(0))
    t = (torch.arange(64) + 0.5) / 64
    each = [net.velocity_loss(code[:1], own[:1], z[i : i + 1], t[i : i + 1]) for i in range(64)]
    assert misfit[own[0], 0].item() == pytest.approx(torch.stack(each).mean().item(), rel=1e-4)


def test_siblings_of_the_latent_model_reach_from_the_picture_to_free_ones() -> None:
    torch.manual_seed(0)
    config = LatentConfig(z_dim=16, width=8, flow_width=32, flow_blocks=2, guidance=1.5, flow_steps=8)
    net = LatentFlow(config, PictureSpec(size=32, channels=1, categories=3)).eval()
    z, noise, label = torch.randn(4, 16), torch.randn(4, 16), torch.tensor([0, 1, 2, 0])
    with torch.inference_mode():
        assert torch.allclose(net.siblings(z, noise, label, 0.0), net.decode(z, label), atol=1e-4)
        assert torch.allclose(net.siblings(z, noise, label, 1.0), net.decode(noise, label), atol=1e-5)
