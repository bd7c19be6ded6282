"""Projected GAN: what is frozen, what is fixed, what is saved, and that gradients reach the pictures."""

import pytest
import torch

from packshot.models.features.efflite import load_efflite0
from packshot.models.gan.projected import TAP_CHANNELS, ProjectedConfig, ProjectedDiscriminator, ProjectedGenerator
from packshot.models.spec import PictureSpec

SMALL = ProjectedConfig(z_dim=8, g_width=4, label_dim=4, view=32, mixed=8, d_width=8)
SPEC = PictureSpec(size=32, channels=1, categories=3)
LABEL = torch.tensor([0, 2, 1, 2])


def discriminator(**settings: int) -> ProjectedDiscriminator:
    torch.manual_seed(0)
    config = ProjectedConfig(**{"view": 32, "mixed": 8, "d_width": 8, **settings})
    network = ProjectedDiscriminator(config, SPEC).eval()
    torch.nn.init.normal_(network.embed.weight)
    return network


def test_taps_have_the_channels_that_are_stated() -> None:
    d = discriminator()
    assert [m.shape[1:] for m in d._project(torch.zeros(1, 1, 32, 32))] == [(8, s, s) for s in (8, 4, 2, 1)]
    assert [getattr(d, f"channel_mix{i}").shape[1] for i in range(4)] == list(TAP_CHANNELS)


@pytest.mark.parametrize("scales", [1, 2, 3, 4])
@pytest.mark.parametrize("view", [32, 64])
def test_a_logit_for_each_scale(scales: int, view: int) -> None:
    d = discriminator(scales=scales, view=view)
    assert d(torch.randn(4, 1, 32, 32), LABEL).shape == (4, scales)
    assert d.features(torch.randn(4, 1, 32, 32)).shape == (4, 8 * scales)


def test_logits_are_linear_in_the_features_with_the_label_projected() -> None:
    d = discriminator(scales=2)
    x = torch.randn(4, 1, 32, 32)
    h, logits = d.features(x), d(x, LABEL)
    for i in range(2):
        part, embed = h[:, 8 * i : 8 * i + 8], d.embed(LABEL)[:, 8 * i : 8 * i + 8]
        torch.testing.assert_close(logits[:, i], d.heads[i](part)[:, 0] + (embed * part).sum(1))


def test_the_frozen_network_is_neither_trained_nor_saved() -> None:
    d = discriminator()
    frozen = {p.data_ptr() for p in load_efflite0().module.parameters()}
    assert not frozen & {t.data_ptr() for t in d.state_dict().values()}
    before = [p.clone() for p in load_efflite0().module.parameters()]
    x = torch.randn(4, 1, 32, 32, requires_grad=True)
    d(x, LABEL).sum().backward()
    assert x.grad.abs().amax((1, 2, 3)).min() > 0
    assert all(p.grad is None for p in load_efflite0().module.parameters())
    optimizer = torch.optim.SGD(d.parameters(), 1.0)
    optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, load_efflite0().module.parameters(), strict=True))


def test_the_mixing_weights_are_fixed_and_saved() -> None:
    d = discriminator()
    mixing = {name for name in d.state_dict() if "_mix" in name}
    assert mixing == {f"channel_mix{i}" for i in range(4)} | {f"scale_mix{i}" for i in range(3)}
    assert not mixing & {name for name, _ in d.named_parameters()}
    torch.manual_seed(5)
    other = ProjectedDiscriminator(SMALL, SPEC).eval()
    x = torch.randn(4, 1, 32, 32)
    assert not torch.allclose(other(x, LABEL), d(x, LABEL))
    other.load_state_dict(d.state_dict())
    assert torch.equal(other(x, LABEL), d(x, LABEL))


def test_coarse_features_reach_the_finest_judge() -> None:
    """Cross-scale mixing: the finest map changes where only the coarsest channel mix does."""
    d, x = discriminator(), torch.randn(2, 1, 32, 32)
    before = d._project(x)
    d.channel_mix3.zero_()
    after = d._project(x)
    assert not torch.allclose(before[0], after[0])
    assert after[3].abs().max() == 0


@pytest.mark.parametrize(("size", "channels"), [(32, 1), (64, 3)])
def test_generator_uses_z_and_its_gates(size: int, channels: int) -> None:
    torch.manual_seed(0)
    g = ProjectedGenerator(SMALL, PictureSpec(size=size, channels=channels, categories=3)).eval()
    z = torch.randn(4, g.z_dim)
    x = g(z, LABEL)
    assert x.shape == (4, channels, size, size)
    torch.testing.assert_close(g(3 * z, LABEL), x)
    assert not torch.allclose(x[1], x[3])
    for gate in g.excite:
        torch.nn.init.constant_(gate.second.bias, -30.0)
    shut = g(z, LABEL)
    assert torch.allclose(shut, shut.mean(0, keepdim=True), atol=1e-4)


def test_wrong_sizes_are_refused() -> None:
    for wrong, words in (({"view": 48}, "multiple of 32"), ({"scales": 5}, "1 to 4"), ({"mixed": 0}, "at least 1")):
        with pytest.raises(ValueError, match=words):
            ProjectedConfig(**wrong)
