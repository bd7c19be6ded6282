"""Augmentations between pictures and the discriminator: "diffaugment" (fixed) and "ada" (its strength adapts).

Both keep a discriminator from learning few photos by heart. They act on real and fake alike and are differentiable, so
that the generator learns through them. Sources: Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN
Training", arXiv:2006.10738; Karras et al. 2020, "Training GANs with Limited Data" (ADA), arXiv:2006.06676, appendix B.
Not taken from ADA: its wavelet filters against aliasing (here: bilinear) and the groups that the paper left out
(image-space filtering and corruptions).

Letters: n pictures, C channels, H height, W width, p probability of each transformation, r_t ADA's measure of
overfitting, u uniform in (0, 1), e normal (0, 1). M, a 3x3 matrix, takes an output pixel (x, y, 1), counted from the
picture's centre, to the place in the input that it shows; k, a 3x3 matrix, acts on a colour (r, g, b) after an offset.
"""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, autograd, nn

from packshot.core.errors import lookup

GREY_AXIS = 1 / math.sqrt(3)  # Each entry of the unit vector v along grey: (1, 1, 1) / sqrt(3).
# DiffAugment's ranges (its sec. 4): shift as a share of the side, and the cut-out's side.
SHIFT, CUTOUT = 1 / 8, 1 / 2


class Augment(nn.Module):
    """Transforms pictures at random; a pure function of (pictures, noise, p).

    Attributes:
        NOISE: how many normal numbers each picture takes, whatever the policy.
        p: buffer, the probability of each of ADA's transformations.

    Args:
        policy: "none"; "diffaugment", always all of colour, translation and cut-out (`p` is ignored); or "ada".
        p: ADA's first probability, in [0, 1].
        channels: 1 grey or 3 RGB.
        target: what ADA's r_t is held at.
        speed_kimg: thousands of pictures in which p can go from 0 to 1.
        interval: steps between two changes of p.

    Raises:
        UsageError: no such policy; the nearest is suggested.
    """

    NOISE: ClassVar[int] = 28

    def __init__(
        self,
        policy: str,
        p: float,
        channels: int,
        *,
        target: float = 0.6,
        speed_kimg: float = 50.0,
        interval: int = 4,
    ) -> None:
        super().__init__()
        lookup("augmentation", policy, {"none": None, "diffaugment": None, "ada": None})
        self.policy, self.channels = policy, channels
        self.target, self.speed_kimg, self.interval = target, speed_kimg, interval
        self.register_buffer("p", torch.tensor(float(p)))
        self.register_buffer("sign_sum", torch.zeros(()))
        self.register_buffer("sign_steps", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """Returns transformed pictures.

        Args:
            x: pictures [n, C, H, W] in [-1, 1].
            noise: float32 [n, NOISE] ~ N(0, I).

        Returns:
            [n, C, H, W]; colours may leave [-1, 1], as in both papers. Differentiable by `x` any number of times.
        """
        if self.policy == "none" or (self.policy == "ada" and self.p == 0):
            return x
        x = _diffaugment(x, noise) if self.policy == "diffaugment" else _ada(x, noise, self.p)
        return x.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def adapt(self, logits_real: Tensor, batch_size: int) -> None:
        """Moves p towards the target of r_t = E[sign(D(x))] (ADA, sec. 3.1, eq. 1). Call it once in a step.

        Args:
            logits_real: D on (augmented) real pictures, [N]; over all ranks, so that they keep one p.
            batch_size: real pictures in a step, over all ranks.
        """
        if self.policy != "ada":
            return
        self.sign_sum += logits_real.sign().mean()
        self.sign_steps += 1
        if self.sign_steps < self.interval:
            return
        change = batch_size * self.interval / (self.speed_kimg * 1000)
        self.p.add_((self.sign_sum / self.sign_steps - self.target).sign() * change).clamp_(0, 1)
        self.sign_sum.zero_()
        self.sign_steps.zero_()


def _diffaugment(x: Tensor, noise: Tensor) -> Tensor:
    """Brightness, saturation, contrast, translation, cut-out: the paper's policy "color,translation,cutout".

    What a shift or the cut-out leaves empty is 0, the middle grey, as in the paper.
    """
    height, width = x.shape[2:]
    u = torch.special.ndtr(noise[:, :7])
    brightness, saturation, contrast = (v[:, None, None, None] for v in (u[:, 0] - 0.5, 2 * u[:, 1], 0.5 + u[:, 2]))
    x = x + brightness
    if x.shape[1] > 1:
        x = torch.lerp(x.mean(1, keepdim=True), x, saturation)
    x = torch.lerp(x.mean((1, 2, 3), keepdim=True), x, contrast)

    side = noise.new_tensor([width, height])
    shift = torch.round((2 * u[:, 3:5] - 1) * (SHIFT * side))
    x = _warp(x, _translation(-shift), "zeros")

    # The hole's centre may lie anywhere in the picture: a hole at the border is cut off by it.
    centre = torch.floor(u[:, 5:7] * (side + 1)) - 0.5
    across = (torch.arange(width, device=x.device) - centre[:, :1]).abs() < CUTOUT * width / 2
    down = (torch.arange(height, device=x.device) - centre[:, 1:]).abs() < CUTOUT * height / 2
    return x * ~(down[:, None, :, None] & across[:, None, None, :])


def _ada(x: Tensor, noise: Tensor, p: Tensor) -> Tensor:
    """ADA's pixel blitting, geometric and colour transformations, in the paper's order, each with probability p."""
    n, channels, height, width = x.shape
    draw = _Draw(noise)
    side = noise.new_tensor([width, height])
    half_turn = 1 - torch.sqrt(1 - p)  # Two chances of a rotation: together p.

    # M = T1^-1 T2^-1 ...: the place in the input that an output pixel shows.
    m = _scaling(1 - 2 * draw.gated(p, (draw.uniform(1) > 0.5).to(x.dtype)), torch.ones(n, 1, device=x.device))
    m = m @ _rotation(draw.gated(p, draw.uniform(1).mul(4).floor() * (math.pi / 2)), exact=True)
    m = m @ _translation(-draw.gated(p, torch.round((2 * draw.uniform(2) - 1) * (0.125 * side))))
    scale = torch.exp2(-draw.gated(p, 0.2 * draw.normal(1)))
    m = m @ _scaling(scale, scale)
    m = m @ _rotation(-draw.gated(half_turn, (2 * draw.uniform(1) - 1) * math.pi))
    scale = torch.exp2(-draw.gated(p, 0.2 * draw.normal(1)))
    m = m @ _scaling(scale, 1 / scale)
    m = m @ _rotation(-draw.gated(half_turn, (2 * draw.uniform(1) - 1) * math.pi))
    m = m @ _translation(-draw.gated(p, 0.125 * side * draw.normal(2)))
    x = _warp(x, m, "reflection")

    grey = torch.full((3, 3), GREY_AXIS**2, device=x.device)  # v v^T: the part of a colour along grey.
    colour = torch.eye(3, device=x.device) - grey
    offset = draw.gated(p, 0.2 * draw.normal(1))
    contrast = torch.exp2(draw.gated(p, 0.5 * draw.normal(1)))
    flip = draw.gated(p, (draw.uniform(1) > 0.5).to(x.dtype))
    angle = draw.gated(p, (2 * draw.uniform(1) - 1) * math.pi)
    saturation = torch.exp2(draw.gated(p, draw.normal(1)))
    # Brightness and contrast first, then all the rest in the parts along and across grey: a luma flip turns the
    # former round, hue rotates and saturation scales the latter.
    luma = 1 - 2 * flip
    if channels == 1:
        return x * (luma * contrast)[..., None, None] + (luma * contrast * offset)[..., None, None]
    across = saturation[..., None] * (angle.cos()[..., None] * colour + angle.sin()[..., None] * _cross(x.device))
    k = contrast[..., None] * (luma[..., None] * grey + across)
    shifted = (x + offset[..., None, None]).flatten(2)
    return torch.bmm(k, shifted).view(x.shape)


class _Draw:
    """Takes the columns of a noise matrix [n, NOISE] one after another."""

    def __init__(self, noise: Tensor) -> None:
        self.noise, self.at = noise, 0

    def normal(self, columns: int) -> Tensor:
        self.at += columns
        return self.noise[:, self.at - columns : self.at]

    def uniform(self, columns: int) -> Tensor:
        return torch.special.ndtr(self.normal(columns))

    def gated(self, p: Tensor, value: Tensor) -> Tensor:
        """Returns `value` [n, d] where a coin of probability p says so, else 0 (no transformation)."""
        return torch.where(self.uniform(1) < p, value, torch.zeros_like(value))


def _matrix(entries: list[list[Tensor]]) -> Tensor:
    """Returns 3x3 matrices [n, 3, 3] of two rows of three columns [n]; the third row is (0, 0, 1)."""
    zero, one = torch.zeros_like(entries[0][0]), torch.ones_like(entries[0][0])
    return torch.stack([torch.stack(row, 1) for row in [*entries, [zero, zero, one]]], 1)


def _translation(t: Tensor) -> Tensor:
    zero, one = torch.zeros_like(t[:, 0]), torch.ones_like(t[:, 0])
    return _matrix([[one, zero, t[:, 0]], [zero, one, t[:, 1]]])


def _scaling(x: Tensor, y: Tensor) -> Tensor:
    zero = torch.zeros_like(x[:, 0])
    return _matrix([[x[:, 0], zero, zero], [zero, y[:, 0], zero]])


def _rotation(angle: Tensor, exact: bool = False) -> Tensor:
    """`exact`: the angles are quarter turns; their sines are rounded to -1, 0 or 1, so that no pixel is blurred."""
    cos, sin = angle[:, 0].cos(), angle[:, 0].sin()
    if exact:
        cos, sin = cos.round(), sin.round()
    zero = torch.zeros_like(cos)
    return _matrix([[cos, -sin, zero], [sin, cos, zero]])


def _cross(device: torch.device) -> Tensor:
    """Returns the matrix of the cross product v x, [3, 3]: the sine's part of a rotation about grey (Rodrigues)."""
    return GREY_AXIS * torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]], device=device)


def _warp(x: Tensor, m: Tensor, padding: str) -> Tensor:
    """Returns pictures that show at each pixel what `x` [n, C, H, W] has at M's place, in one bilinear look-up."""
    height, width = x.shape[2:]
    down = torch.arange(height, device=x.device, dtype=m.dtype) - (height - 1) / 2
    across = torch.arange(width, device=x.device, dtype=m.dtype) - (width - 1) / 2
    place = torch.stack([across.expand(height, -1), down[:, None].expand(-1, width), torch.ones(height, width).to(m)])
    grid = (m[:, :2] @ place.flatten(1)).view(-1, 2, height, width).permute(0, 2, 3, 1)
    return _Lookup.apply(x, grid * m.new_tensor([2 / width, 2 / height]), padding)


class _Lookup(autograd.Function):
    """grid_sample by a fixed grid, which torch can differentiate only once; R1 needs the second derivative.

    It is linear in the pictures, so the gradient is the transposed look-up, and that one's gradient the look-up again.
    """

    @staticmethod
    def forward(ctx, x: Tensor, grid: Tensor, padding: str) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.padding, ctx.like = padding, x.shape
        return F.grid_sample(x, grid, mode="bilinear", padding_mode=padding, align_corners=False)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        (grid,) = ctx.saved_tensors
        return _LookupTransposed.apply(gradient, grid, ctx.padding, ctx.like), None, None


class _LookupTransposed(autograd.Function):
    """The transposed look-up: each output pixel's value goes to the places that it was read from."""

    @staticmethod
    def forward(ctx, y: Tensor, grid: Tensor, padding: str, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.padding = padding
        modes = (0, {"zeros": 0, "reflection": 2}[padding])
        x, _ = torch.ops.aten.grid_sampler_2d_backward(y, y.new_empty(shape), grid, *modes, False, (True, False))
        return x

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (grid,) = ctx.saved_tensors
        return _Lookup.apply(gradient, grid, ctx.padding), None, None, None
