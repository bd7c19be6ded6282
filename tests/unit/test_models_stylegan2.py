"""StyleGAN2 against the paper's equations and independent computations."""

import math

import pytest
import torch
import torch.nn.functional as F

from packshot.models.gan.stylegan2 import (
    EqualConv,
    ModulatedConv,
    StyleGAN2Config,
    StyleGAN2Discriminator,
    StyleGAN2Generator,
)
from packshot.models.spec import PictureSpec

SMALL = StyleGAN2Config(z_dim=6, w_dim=5, mapping_layers=2, g_width=4, g_widest=8, d_width=4, d_widest=8)
SPEC = PictureSpec(size=32, channels=1, categories=3)
LABEL = torch.tensor([0, 2, 1, 2])


def generator(spec: PictureSpec = SPEC, shape: tuple[int, int] | None = None) -> StyleGAN2Generator:
    torch.manual_seed(0)
    network = StyleGAN2Generator(SMALL, spec, shape).eval()
    for conv in network.convs:
        torch.nn.init.constant_(conv.noise_scale, 0.3)
    return network


@pytest.mark.parametrize("demodulate", [True, False])
def test_scaled_activations_are_the_papers_scaled_weights(demodulate: bool) -> None:
    """Eq. 1 and 3, with a convolution of its own for every picture."""
    torch.manual_seed(0)
    conv = ModulatedConv(5, 7, 3, 4, demodulate=demodulate)
    x, w = torch.randn(3, 5, 6, 9), torch.randn(3, 4)
    for i in range(3):
        s = conv.style(w)[i]
        weight = conv.weight / math.sqrt(5 * 9) * s[None, :, None, None]
        if demodulate:  # Ours carries the gain of the leaky ReLU behind it.
            weight = math.sqrt(2) * weight / weight.square().sum((1, 2, 3), keepdim=True).add(1e-8).sqrt()
        expected = F.conv2d(x[i : i + 1], weight, padding=1)
        torch.testing.assert_close(conv(x, w)[i : i + 1], expected, rtol=1e-4, atol=1e-5)


def test_demodulated_activations_have_unit_variance() -> None:
    torch.manual_seed(0)
    conv = ModulatedConv(32, 64, 3, 4, double=False)
    y = conv(torch.randn(8, 32, 16, 16), 3 * torch.randn(8, 4))[:, :, 1:-1, 1:-1] / math.sqrt(2)
    assert y.var().item() == pytest.approx(1, rel=0.05)


def test_upsampling_keeps_a_constant() -> None:
    """A kernel with one weight in its middle: each picture is only enlarged, and its inside stays what it was."""
    conv = ModulatedConv(1, 1, 3, 2, double=True, demodulate=False)
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[0, 0, 1, 1] = 3.0  # Against the gain 1 / sqrt(9).
    y = conv(torch.ones(1, 1, 6, 5), torch.zeros(1, 2))
    assert y.shape == (1, 1, 12, 10)
    torch.testing.assert_close(y[:, :, 2:-2, 2:-2], torch.ones(1, 1, 8, 6))


def test_halving_keeps_a_constant() -> None:
    for kernel in (1, 3):
        conv = EqualConv(1, 1, kernel, halve=True, active=False)
        with torch.no_grad():
            conv.weight.zero_()
            conv.weight[0, 0, kernel // 2, kernel // 2] = kernel
        y = conv(torch.ones(1, 1, 12, 10))
        assert y.shape == (1, 1, 6, 5)
        torch.testing.assert_close(y[:, :, 1:-1, 1:-1], torch.ones(1, 1, 4, 3))


@pytest.mark.parametrize(("height", "width"), [(64, 48), (40, 64), (8, 8), (24, 16)])
def test_any_multiple_of_eight(height: int, width: int) -> None:
    g, x = generator(shape=(height, width)), None
    x = g(torch.randn(4, g.z_dim), LABEL)
    assert x.shape == (4, 1, height, width)
    d = StyleGAN2Discriminator(SMALL, SPEC, (height, width))
    assert d(x, LABEL).shape == (4,)
    with pytest.raises(ValueError, match="multiples of 8"):
        StyleGAN2Generator(SMALL, SPEC, (height + 4, width))


def test_a_picture_is_a_function_of_its_own_z_and_label() -> None:
    g = generator()
    z = torch.randn(4, g.z_dim)
    x = g(z, LABEL)
    torch.testing.assert_close(g(z[2:3], LABEL[2:3]), x[2:3])
    other = z.clone()
    other[:, -1] += 3  # The last pixel of the last noise map.
    changed = (g(other, LABEL) - x).abs().amax((0, 1))
    assert changed[-1, -1] > 1e-3
    assert changed[:-2, :-2].max() == 0
    # z is normalised: its length does not matter, its direction does.
    longer = torch.cat([5 * z[:, :6], z[:, 6:]], 1)
    torch.testing.assert_close(g(longer, LABEL), x, rtol=1e-3, atol=1e-5)


def test_style_mixing_at_its_ends() -> None:
    g = generator()
    z, z2 = torch.randn(4, g.z_dim), torch.randn(4, g.z_dim)
    all_first = g.mixed(z, z2, LABEL, torch.full((4,), g.layers))
    assert torch.equal(all_first, g(z, LABEL))
    swapped = torch.cat([z2[:, :6], z[:, 6:]], 1)  # The noise maps stay those of z.
    assert torch.equal(g.mixed(z, z2, LABEL, torch.zeros(4, dtype=torch.long)), g(swapped, LABEL))
    one = g.mixed(z, z2, LABEL, torch.tensor([g.layers, 0, 3, g.layers]))
    torch.testing.assert_close(one[[0, 3]], all_first[[0, 3]])
    assert not torch.allclose(one[2], all_first[2], atol=1e-3)
    assert not torch.allclose(one[2], g(swapped, LABEL)[2], atol=1e-3)


def test_path_lengths_are_the_jacobians() -> None:
    """|J_w^T y| with the Jacobian by its columns, and its gradient reaches the weights."""
    g = generator()
    z, y = torch.randn(2, g.z_dim), torch.randn(2, 1, 32, 32) / 32
    lengths = g.path_lengths(z, LABEL[:2], y)
    for i in range(2):
        w = g._map(z[i : i + 1], LABEL[i : i + 1]).detach()
        jacobian = torch.autograd.functional.jacobian(lambda v, i=i: g._draw([v] * g.layers, z[i : i + 1]), w)
        expected = (jacobian.view(-1, 5) * y[i].view(-1, 1)).sum(0).norm()
        assert lengths[i].item() == pytest.approx(expected.item(), rel=1e-4)
    lengths.sum().backward()
    assert g.convs[0].conv.weight.grad.abs().max() > 0


def test_truncation_and_the_running_mean_of_w() -> None:
    g = generator().train()
    torch.manual_seed(1)
    with torch.no_grad():
        for _ in range(40):
            g(torch.randn(400, g.z_dim), torch.arange(400) % 2)  # The third category is never seen.
        g.eval()
        z = torch.randn(400, g.z_dim)
        w = g._map(z, torch.arange(400) % 2)
    assert g.w_mean[2].abs().max() == 0
    for k in range(2):
        torch.testing.assert_close(g.w_mean[k], w[k::2].mean(0), rtol=0, atol=4 * w.std().item() / math.sqrt(200))
    z, label = torch.randn(4, g.z_dim), LABEL % 2
    torch.testing.assert_close(g.truncated(z, label, 1.0), g(z, label), rtol=1e-4, atol=1e-5)
    mean = g.truncated(torch.cat([z[:1, :6].expand(4, -1), z[:, 6:]], 1), label, 0.0)
    torch.testing.assert_close(g.truncated(z, label, 0.0), mean)
    before = g.w_mean.clone()
    g(z, label)
    assert torch.equal(g.w_mean, before)  # In evaluation it stays.


def test_discriminator_sees_the_spread_of_its_group() -> None:
    torch.manual_seed(0)
    d = StyleGAN2Discriminator(SMALL, SPEC)
    x = torch.randn(8, 1, 32, 32)
    mixed, alike = d(x, torch.zeros(8, dtype=torch.long)), d(x[:1].expand(8, -1, -1, -1), torch.zeros(8).long())
    assert not torch.allclose(mixed[0], alike[0], atol=1e-4)
    h = d.features(x)
    label = torch.arange(8) % 3
    expected = h @ d.head.weight[0] / math.sqrt(8) + d.head.bias + (d.embed(label) * h).mean(1)
    torch.testing.assert_close(d(x, label), expected)
    assert d(x[:3], label[:3]).shape == (3,)  # A batch that does not divide by 4.


def test_second_derivatives_for_r1() -> None:
    torch.manual_seed(0)
    d = StyleGAN2Discriminator(SMALL, PictureSpec(size=8, channels=3, categories=3)).double()
    x = torch.randn(4, 3, 8, 8, dtype=torch.double, requires_grad=True)
    (gradient,) = torch.autograd.grad(d(x, LABEL).sum(), x, create_graph=True)
    direction = torch.randn_like(x)
    (second,) = torch.autograd.grad((gradient * direction).sum(), d.from_picture.weight)
    eps = 1e-5
    with torch.no_grad():
        weight = d.from_picture.weight
        step = torch.zeros_like(weight)
        step[0, 1] = eps
        ahead, behind = [], []
        for sign, out in ((1, ahead), (-1, behind)):
            weight += sign * step
            with torch.enable_grad():
                out.append((torch.autograd.grad(d(x, LABEL).sum(), x)[0] * direction).sum())
            weight -= sign * step
    assert second[0, 1].item() == pytest.approx((ahead[0] - behind[0]).item() / (2 * eps), rel=1e-3)


def test_every_size_has_to_be_there() -> None:
    for wrong in ({"w_dim": 0}, {"mapping_layers": 0}, {"d_widest": -1}):
        with pytest.raises(ValueError, match="at least 1"):
            StyleGAN2Config(**wrong)
