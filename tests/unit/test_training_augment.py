"""Augmentations: the identity, the closed form of single transformations, gradients, and ADA's controller."""

import math

import pytest
import torch

from packshot.core.errors import UsageError
from packshot.training.augment import Augment

OFF = 9.0  # As a coin: ndtr(9) = 1, above every p. As a value: the upper end of its range.
ON = -9.0
MIDDLE = 0.0  # ndtr(0) = 1/2.
# Columns of ADA's noise: where each transformation's value and coin are.
FLIP, QUARTER, SHIFT, SCALE, TURN, STRETCH, TURN2, SHIFT2 = 0, 2, 4, 7, 9, 11, 13, 15
BRIGHTNESS, CONTRAST, LUMA, HUE, SATURATION = 18, 20, 22, 24, 26
COINS = (1, 3, 6, 8, 10, 12, 14, 17, 19, 21, 23, 25, 27)


def pictures(n: int = 3, channels: int = 3, height: int = 16, width: int = 16, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(n, channels, height, width, generator=generator) - 1


def noise(n: int = 3, seed: int = 1) -> torch.Tensor:
    return torch.randn(n, Augment.NOISE, generator=torch.Generator().manual_seed(seed))


def ada(x: torch.Tensor, on: dict[int, float]) -> torch.Tensor:
    """Applies ADA with only the transformations of `on`: their first column and its value; a coin follows them."""
    values = torch.zeros(len(x), Augment.NOISE)
    values[:, list(COINS)] = OFF
    for column, value in on.items():
        values[:, column] = value
        values[:, min(c for c in COINS if c > column)] = ON
    return Augment("ada", 0.5, x.shape[1])(x, values)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("policy", ["none", "ada"])
def test_at_p_zero_nothing_happens(policy: str, channels: int) -> None:
    x = pictures(channels=channels)
    assert torch.equal(Augment(policy, 0.0, channels)(x, noise()), x)


def test_a_coin_that_says_no_changes_no_bit() -> None:
    """The whole road through look-up and colours, with no transformation chosen."""
    x = pictures()
    torch.testing.assert_close(ada(x, {}), x, rtol=0, atol=1e-6)


@pytest.mark.parametrize("policy", ["diffaugment", "ada"])
@pytest.mark.parametrize(("channels", "height", "width"), [(1, 16, 16), (3, 16, 16), (3, 16, 24)])
def test_a_function_of_pictures_and_noise(policy: str, channels: int, height: int, width: int) -> None:
    augment, x = Augment(policy, 0.8, channels), pictures(3, channels, height, width)
    first = augment(x, noise())
    assert first.shape == x.shape
    assert first.dtype == torch.float32
    assert torch.equal(augment(x, noise()), first)
    assert not torch.equal(augment(x, noise(seed=2)), first)
    # Each picture by itself: the others in the batch do not matter.
    torch.testing.assert_close(augment(x[1:2], noise()[1:2]), first[1:2])


@pytest.mark.parametrize("policy", ["diffaugment", "ada"])
@pytest.mark.parametrize("channels", [1, 3])
def test_first_and_second_derivatives(policy: str, channels: int) -> None:
    x = pictures(2, channels, 6, 8).double().requires_grad_()
    augment = Augment(policy, 0.9, channels).double()
    values = noise(2).double()
    assert torch.autograd.gradcheck(lambda v: augment(v, values), (x,))
    assert torch.autograd.gradgradcheck(lambda v: augment(v, values).pow(2), (x,))


def test_ada_geometry_is_what_it_says() -> None:
    x = pictures()
    torch.testing.assert_close(ada(x, {FLIP: OFF}), x.flip(3))
    torch.testing.assert_close(ada(x, {FLIP: ON}), x)
    quarters = {ada_noise: torch.rot90(x, k, (2, 3)) for k, ada_noise in ((0, -1.2), (2, 0.3))}
    for value, expected in quarters.items():
        torch.testing.assert_close(ada(x, {QUARTER: value}), expected)
    turned = ada(x, {QUARTER: -0.3})
    assert any(torch.allclose(turned, torch.rot90(x, k, (2, 3))) for k in (1, 3))
    # The upper end of the shift, 1/8 of 16 px = 2 px; the picture goes right and down.
    shifted = ada(x, {SHIFT: OFF, SHIFT + 1: OFF})
    torch.testing.assert_close(shifted[:, :, 2:, 2:], x[:, :, :-2, :-2])
    torch.testing.assert_close(ada(x, {SHIFT2: 1.0, SHIFT2 + 1: 0.0})[:, :, :, 2:], x[:, :, :, :-2])
    # A half turn by the free rotation; a rotation by 0.
    torch.testing.assert_close(ada(x, {TURN: OFF}), torch.rot90(x, 2, (2, 3)), rtol=0, atol=1e-4)
    torch.testing.assert_close(ada(x, {TURN2: MIDDLE}), x, rtol=0, atol=1e-5)


def test_ada_scaling_makes_the_object_larger() -> None:
    x = torch.zeros(1, 1, 32, 32)
    x[:, :, 12:20, 12:20] = 1
    # 2^(0.2 * 5) = 2: twice the side, four times the area; stretching keeps the area.
    assert ada(x, {SCALE: 5.0}).sum().item() == pytest.approx(4 * 64, rel=0.02)
    stretched = ada(x, {STRETCH: 5.0})[:, :, 8:24]  # Further out are its reflections.
    assert stretched.sum().item() == pytest.approx(64, rel=0.02)
    assert stretched[0, 0, 8].sum().item() == pytest.approx(16, rel=0.05)
    assert stretched[0, 0, :, 16].sum().item() == pytest.approx(4, rel=0.05)


def test_ada_colours_are_what_they_say() -> None:
    x = pictures()
    grey = x.mean(1, keepdim=True)
    torch.testing.assert_close(ada(x, {BRIGHTNESS: 1.5}), x + 0.3)
    torch.testing.assert_close(ada(x, {CONTRAST: 2.0}), 2 * x)
    torch.testing.assert_close(ada(x, {LUMA: OFF}), x - 2 * grey)
    torch.testing.assert_close(ada(x, {SATURATION: 1.0}), grey + 2 * (x - grey))
    torch.testing.assert_close(ada(x, {HUE: MIDDLE}), x)
    # A third of a turn moves red to green or to blue: 2/3 pi of [-pi, pi] is 5/6 of the range.
    third = torch.special.ndtri(torch.tensor(5 / 6)).item()
    assert any(torch.allclose(ada(x, {HUE: third}), x.roll(k, 1), atol=1e-5) for k in (1, 2))
    one = x[:, :1]
    torch.testing.assert_close(ada(one, {LUMA: OFF}), -one)
    torch.testing.assert_close(ada(one, {SATURATION: 1.0, HUE: third}), one)
    torch.testing.assert_close(ada(one, {BRIGHTNESS: 1.5}), one + 0.3)


def test_p_is_the_share_of_transformed_pictures() -> None:
    n = 4000
    x = torch.linspace(-1, 1, 64).view(1, 1, 8, 8).expand(n, -1, -1, -1)
    values = noise(n)
    values[:, list(COINS)] = OFF
    coin = torch.randn(n, generator=torch.Generator().manual_seed(3))
    values[:, 18], values[:, 19] = 1.0, coin
    changed = (Augment("ada", 0.3, 1)(x, values) - x).abs().amax((1, 2, 3)) > 0.1
    assert changed.float().mean().item() == pytest.approx(0.3, abs=4 * math.sqrt(0.21 / n))


def diffaugment(x: torch.Tensor, on: dict[int, float]) -> torch.Tensor:
    """Applies DiffAugment with every value but those of `on` at the middle (no change), and the hole in a corner."""
    values = torch.zeros(len(x), Augment.NOISE)
    values[:, 5:7] = ON
    for column, value in on.items():
        values[:, column] = value
    return Augment("diffaugment", 0.0, x.shape[1])(x, values)


@pytest.mark.parametrize("channels", [1, 3])
def test_diffaugment_is_what_it_says(channels: int) -> None:
    x = pictures(channels=channels, height=16, width=24)
    middle = x.clone()
    middle[:, :, :4, :6] = 0  # A quarter of the hole, 8 x 12 px around the corner.
    torch.testing.assert_close(diffaugment(x, {}), middle, rtol=0, atol=1e-5)
    away = slice(None), slice(None), slice(4, None), slice(6, None)
    torch.testing.assert_close(diffaugment(x, {0: OFF})[away], (x + 0.5)[away])
    mean = x.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(diffaugment(x, {2: OFF})[away], (mean + 1.5 * (x - mean))[away])
    grey = x.mean(1, keepdim=True)
    torch.testing.assert_close(diffaugment(x, {1: OFF})[away], (grey + 2 * (x - grey))[away])
    shifted = diffaugment(x, {3: ON, 4: ON})  # 1/8 of 24 x 16 px to the left and up.
    torch.testing.assert_close(shifted[:, :, 4:14, 6:21], x[:, :, 6:, 9:], rtol=0, atol=1e-5)
    assert shifted[:, :, 14:].abs().max() == 0
    assert shifted[:, :, :, 21:].abs().max() == 0
    assert (diffaugment(x + 3, {5: MIDDLE, 6: MIDDLE}) == 0).sum().item() == 3 * channels * 8 * 12


def test_diffaugment_keeps_the_mean_brightness_on_average() -> None:
    x = torch.full((3000, 1, 8, 8), 0.5)
    y = Augment("diffaugment", 0.0, 1)(x, noise(3000))
    inside = y[:, :, 3:5, 3:5]
    seen = inside[inside != 0]  # Not the holes.
    assert seen.mean().item() == pytest.approx(0.5, abs=0.03)
    assert seen.std().item() == pytest.approx(1 / math.sqrt(12), rel=0.05)


@pytest.mark.parametrize(("logit", "start", "end"), [(1.0, 0.0, 0.04), (-1.0, 0.5, 0.46), (-1.0, 0.01, 0.0)])
def test_ada_moves_p_towards_its_target(logit: float, start: float, end: float) -> None:
    """10 kimg of 32 pictures a step: p can move by 1 in 312.5 steps, by 4 * 0.0032 every fourth."""
    augment = Augment("ada", start, 1, speed_kimg=10, interval=4)
    seen = []
    for _ in range(13):
        augment.adapt(torch.full((32,), logit), 32)
        seen.append(augment.p.item())
    assert seen[:3] == [pytest.approx(start)] * 3
    assert seen[3] != seen[2] or start == end
    assert seen[-1] == pytest.approx(end, abs=0.002)


def test_ada_holds_r_t_at_its_target() -> None:
    """A discriminator whose r_t falls as p rises, 1 - p, is held at p = 0.4 for the target 0.6."""
    augment = Augment("ada", 0.0, 1, target=0.6, speed_kimg=5)
    generator = torch.Generator().manual_seed(0)
    for _ in range(400):
        r = 1 - augment.p.item()
        augment.adapt((torch.rand(64, generator=generator) < (1 + r) / 2).float() - 0.5, 64)
    assert augment.p.item() == pytest.approx(0.4, abs=0.1)


def test_the_controller_goes_on_from_a_checkpoint() -> None:
    one, two = (Augment("ada", 0.2, 1, speed_kimg=5) for _ in range(2))
    logits = torch.randn(64, generator=torch.Generator().manual_seed(0)) + 1
    for _ in range(6):
        one.adapt(logits, 64)
    two.load_state_dict(one.state_dict())
    for _ in range(6):
        one.adapt(logits, 64)
        two.adapt(logits, 64)
    assert one.p == two.p
    assert one.p != 0.2


def test_other_policies_have_no_controller_and_unknown_ones_are_refused() -> None:
    augment = Augment("diffaugment", 0.0, 1, interval=1)
    augment.adapt(torch.ones(8), 8)
    assert augment.p == 0
    with pytest.raises(UsageError, match="diffaugment"):
        Augment("diffaugmnt", 0.0, 1)
