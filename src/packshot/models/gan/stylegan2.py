"""`stylegan2`: StyleGAN2 at widths for a CPU, conditional on category.

Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN" (arXiv:1912.04958): a mapping network from z
to w, convolutions modulated by w and demodulated (sec. 2.2, eq. 1 and 3), skip generator and residual discriminator
(sec. 4.1), path lengths (sec. 3.2), minibatch standard deviation and equalised learning rate (Karras et al. 2018).
Conditioning: an embedding of the category joins z before the mapping network; D adds the projection of Miyato & Koyama
(2018). Ours: tanh at the end, so that pictures lie in [-1, 1]; the noise maps are a part of z, so that a picture is a
function of z alone; the running mean of w, for truncation, is kept for each category.

Letters: N pictures, C channels, H height, W width, K categories, z prior sample, w mapped latent, s scale of a
convolution's input channels (its style), L modulated 3x3 convolutions, J the Jacobian of the pictures by w.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, autograd, nn

from packshot.models.spec import PictureSpec

MAPPING_LR = 0.01  # The mapping network learns at this share of the rate (the paper's appendix B).
W_MEAN_DECAY = 0.998
GAIN = math.sqrt(2)  # With it, leaky ReLU about keeps the mean square of a normal input.
GROUP = 4  # Pictures in a group of the minibatch standard deviation.


@dataclass(frozen=True, kw_only=True)
class StyleGAN2Config:
    """Sizes of the network; the paper's own are z_dim 512, w_dim 512, 8 mapping layers, at most 512 channels.

    Attributes:
        z_dim: length of the part of z that is mapped to w; the noise maps come on top.
        w_dim: length of w, and of the category's embedding.
        mapping_layers: dense layers from z to w.
        g_width: generator's channels at the picture's full size; they double at every halving, up to g_widest.
        g_widest: most channels in the generator.
        d_width: discriminator's channels at full size; they double likewise.
        d_widest: most channels in the discriminator.
    """

    z_dim: int = 64
    w_dim: int = 64
    mapping_layers: int = 4
    g_width: int = 8
    g_widest: int = 96
    d_width: int = 8
    d_widest: int = 96

    def __post_init__(self) -> None:
        if min(self.z_dim, self.w_dim, self.g_width, self.g_widest, self.d_width, self.d_widest) < 1:
            raise ValueError("every size of the network has to be at least 1")
        if self.mapping_layers < 1:
            raise ValueError("net.mapping_layers has to be at least 1")


def _sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Returns (H, W) from the start, whose shorter side is 4 to 7 px or which does not halve, to the full size."""
    if height % 8 or width % 8:
        raise ValueError(f"height and width have to be multiples of 8, not {height} x {width}")
    sizes = [(height, width)]
    while min(sizes[0]) >= 8 and not (sizes[0][0] % 2 or sizes[0][1] % 2):
        sizes.insert(0, (sizes[0][0] // 2, sizes[0][1] // 2))
    return sizes


def _channels(steps: int, width: int, widest: int) -> list[int]:
    """Returns the channels from the start to the full size."""
    return [min(widest, width * 2**i) for i in range(steps)][::-1]


class EqualLinear(nn.Module):
    """Dense layer with weights ~ N(0, 1), scaled as He et al. do when it runs, so that all learn at one rate.

    `gain` is GAIN where a leaky ReLU follows: scaling before it or after it is the same.
    """

    def __init__(self, c_in: int, c_out: int, *, bias: float = 0.0, lr: float = 1.0, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(c_out, c_in) / lr)
        self.bias = nn.Parameter(torch.full((c_out,), bias / lr))
        self.weight_gain, self.bias_gain = gain * lr / math.sqrt(c_in), gain * lr

    def forward(self, x: Tensor) -> Tensor:
        """Returns [N, c_out] of [N, c_in]."""
        return F.linear(x, self.weight * self.weight_gain, self.bias * self.bias_gain)


class EqualConv(nn.Module):
    """Convolution with equalised learning rate, of odd kernel size, keeping the size or halving it after a blur.

    With `active` a leaky ReLU follows, whose gain it brings, and it has a bias.
    """

    def __init__(self, c_in: int, c_out: int, kernel: int, *, halve: bool = False, active: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(c_out, c_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(c_out)) if active else None
        self.gain = (GAIN if active else 1.0) / math.sqrt(c_in * kernel**2)
        self.kernel, self.halve = kernel, halve

    def forward(self, x: Tensor) -> Tensor:
        """Returns [N, c_out, H, W], or half of H and W, of [N, c_in, H, W]."""
        weight, bias = self.weight * self.gain, None if self.bias is None else self.bias * GAIN
        if not self.halve:
            y = F.conv2d(x, weight, bias, padding=self.kernel // 2)
        elif self.kernel == 1:  # The blur need not be computed where its result is dropped.
            y = F.conv2d(_blur(x, padding=1, stride=2), weight, bias)
        else:
            y = F.conv2d(_blur(x, padding=self.kernel // 2 + 1), weight, bias, stride=2)
        return y if bias is None else _activate(y)


def _blur(x: Tensor, *, padding: int, stride: int = 1, gain: float = 1.0) -> Tensor:
    """Returns `x` under the filter [1, 3, 3, 1] along both axes, the paper's."""
    line = torch.tensor([1.0, 3.0, 3.0, 1.0], device=x.device, dtype=x.dtype) / 8
    channels = int(x.shape[1])  # A plain number also while the network is traced for ONNX.
    kernel = (gain * line[:, None] * line).expand(channels, 1, 4, 4)
    return F.conv2d(x, kernel, padding=padding, stride=stride, groups=channels)


def _activate(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


class ModulatedConv(nn.Module):
    """Convolution whose input channels are scaled by a style from w (eq. 1), demodulated (eq. 3, times GAIN) or not.

    The paper scales the weights and runs N convolutions as one of N groups. Here the activations are scaled before and
    after one ordinary convolution, which is the same function (their sec. 2.2) and on a CPU 1 to 3 times as fast.
    """

    def __init__(
        self, c_in: int, c_out: int, kernel: int, w_dim: int, *, double: bool = False, demodulate: bool = True
    ) -> None:
        super().__init__()
        self.style = EqualLinear(w_dim, c_in, bias=1.0)
        self.weight = nn.Parameter(torch.randn(c_out, c_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(c_out))
        self.gain, self.kernel = 1 / math.sqrt(c_in * kernel**2), kernel
        self.double, self.demodulate = double, demodulate

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Returns [N, c_out, H, W], or twice H and W, of x [N, c_in, H, W] and w [N, w_dim]; without the bias."""
        s = self.style(w)
        weight = self.weight * self.gain
        x = x * s[:, :, None, None]
        if self.double:
            x = _blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), padding=1, gain=4.0)
        else:
            x = F.conv2d(x, weight, padding=self.kernel // 2)
        if not self.demodulate:
            return x
        norm = GAIN * torch.rsqrt(s.square() @ weight.square().sum((2, 3)).t() + 1e-8)
        return x * norm[:, :, None, None]


class StyledConv(nn.Module):
    """Modulated 3x3 convolution, noise map, bias, leaky ReLU."""

    def __init__(self, c_in: int, c_out: int, w_dim: int, *, double: bool) -> None:
        super().__init__()
        self.conv = ModulatedConv(c_in, c_out, 3, w_dim, double=double)
        self.noise_scale = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        """Returns [N, c_out, H, W] of x, w [N, w_dim] and noise [N, 1, H, W] of the output's size."""
        x = self.conv(x, w)
        return _activate(x + noise * (GAIN * self.noise_scale) + (GAIN * self.conv.bias)[:, None, None])


class StyleGAN2Generator(nn.Module):
    """z [N, z_dim] ~ N(0, I) and label [N] int64 to pictures [N, C, H, W] in [-1, 1].

    Attributes:
        z_dim: length of z: the mapped part, then the noise maps from the smallest to the largest.
        layers: L, how many styles can be mixed; a crossover lies in 1 .. L - 1.

    Args:
        config: sizes of the network.
        spec: the pictures.
        shape: (H, W), multiples of 8, for pictures that are not square; None: spec.size.
    """

    def __init__(self, config: StyleGAN2Config, spec: PictureSpec, shape: tuple[int, int] | None = None) -> None:
        super().__init__()
        sizes = _sizes(*(shape or (spec.size, spec.size)))
        channels = _channels(len(sizes), config.g_width, config.g_widest)
        self.mapped = config.z_dim
        self.maps = [size for i, size in enumerate(sizes) for _ in range(1 if i == 0 else 2)]
        self.layers = len(self.maps)
        self.z_dim = config.z_dim + sum(h * w for h, w in self.maps)
        self.embed = nn.Embedding(spec.categories, config.w_dim)
        inputs = [config.z_dim + config.w_dim] + [config.w_dim] * (config.mapping_layers - 1)
        self.mapping = nn.ModuleList(EqualLinear(c, config.w_dim, lr=MAPPING_LR, gain=GAIN) for c in inputs)
        self.start = nn.Parameter(torch.randn(1, channels[0], *sizes[0]))
        self.convs, self.to_picture = nn.ModuleList(), nn.ModuleList()
        for i, c in enumerate(channels):
            if i > 0:
                self.convs.append(StyledConv(channels[i - 1], c, config.w_dim, double=True))
            self.convs.append(StyledConv(c, c, config.w_dim, double=False))
            self.to_picture.append(ModulatedConv(c, spec.channels, 1, config.w_dim, demodulate=False))
        self.register_buffer("w_mean", torch.zeros(spec.categories, config.w_dim))

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        """Returns pictures [N, C, H, W] in [-1, 1]."""
        return self._draw([self._map(z, label)] * self.layers, z)

    def mixed(self, z: Tensor, z2: Tensor, label: Tensor, crossover: Tensor) -> Tensor:
        """Returns pictures whose first `crossover` [N] int64 convolutions follow z and the others z2 (style mixing).

        The noise maps are those of z. A crossover of `layers` or more leaves z alone.
        """
        w, w2 = self._map(z, label), self._map(z2, label)
        return self._draw([torch.where((i < crossover)[:, None], w, w2) for i in range(self.layers)], z)

    def crossed(self, z: Tensor, label: Tensor, z2: Tensor, label2: Tensor, crossover: Tensor) -> Tensor:
        """Returns pictures whose first `crossover` [N] int64 convolutions are those of (z, label), the others' of the
        second: style, category and noise map. At `layers` it is the picture of the first, at 0 that of the second.
        """
        place = torch.arange(self.layers, device=z.device)
        sizes = torch.tensor([h * w for h, w in self.maps], device=z.device)
        first = place < crossover[:, None]
        noise = torch.where(first.repeat_interleave(sizes, 1), z[:, self.mapped :], z2[:, self.mapped :])
        w, w2 = self._map(z, label), self._map(z2, label2)
        styles = [torch.where(first[:, i, None], w, w2) for i in range(self.layers)]
        return self._draw(styles, torch.cat([z[:, : self.mapped], noise], 1))

    def path_lengths(self, z: Tensor, label: Tensor, y: Tensor) -> Tensor:
        """Returns |J_w^T y| [N] (eq. 4), differentiable; y [N, C, H, W] ~ N(0, I) / sqrt(H W)."""
        w = self._map(z, label)
        pictures = self._draw([w] * self.layers, z)
        (gradient,) = autograd.grad((pictures * y).sum(), w, create_graph=True)
        return gradient.square().sum(1).sqrt()

    def truncated(self, z: Tensor, label: Tensor, truncation_psi: float) -> Tensor:
        """Returns pictures of w drawn towards its category's mean: 1 changes nothing, 0 gives the mean product."""
        w = torch.lerp(self.w_mean[label], self._map(z, label), truncation_psi)
        return self._draw([w] * self.layers, z)

    def _map(self, z: Tensor, label: Tensor) -> Tensor:
        """Returns w [N, w_dim]; in training mode, keeps the running mean of each category up to date."""
        h = torch.cat([_unit(z[:, : self.mapped]), _unit(self.embed(label))], 1)
        for layer in self.mapping:
            h = _activate(layer(h))
        if self.training:
            with torch.no_grad():
                member = F.one_hot(label, len(self.w_mean)).to(self.w_mean.dtype)
                count = member.sum(0)[:, None]
                mean = (member.t() @ h).to(count.dtype) / count.clamp(min=1)
                self.w_mean.copy_(torch.lerp(self.w_mean, mean, 1 - W_MEAN_DECAY**count))
        return h

    def _draw(self, w: list[Tensor], z: Tensor) -> Tensor:
        """Returns pictures of w for each of the L convolutions and of z's noise maps."""
        noise = z[:, self.mapped :].split([h * w for h, w in self.maps], 1)
        x = self.start.expand(z.shape[0], -1, -1, -1).contiguous(memory_format=torch.channels_last)
        x = self.convs[0](x, w[0], noise[0].view(-1, 1, *self.maps[0]))
        picture = self._picture(0, x, w[min(1, self.layers - 1)])
        for i in range(1, self.layers, 2):
            for j in (i, i + 1):
                x = self.convs[j](x, w[j], noise[j].view(-1, 1, *self.maps[j]))
            picture = F.interpolate(picture, scale_factor=2, mode="bilinear", align_corners=False)
            # A picture's style is that of the next convolution: so in the paper's network.
            picture = picture + self._picture((i + 1) // 2, x, w[min(i + 2, self.layers - 1)])
        return torch.tanh(picture).contiguous(memory_format=torch.channels_last)

    def _picture(self, level: int, x: Tensor, w: Tensor) -> Tensor:
        layer = self.to_picture[level]
        return layer(x, w) + layer.bias[:, None, None]


def _unit(x: Tensor) -> Tensor:
    """Returns the rows of `x` at a mean square of 1."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


class ResidualDown(nn.Module):
    """Two 3x3 convolutions beside a 1x1 one, halving the picture."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.first = EqualConv(c_in, c_in, 3)
        self.second = EqualConv(c_in, c_out, 3, halve=True)
        self.skip = EqualConv(c_in, c_out, 1, halve=True, active=False)

    def forward(self, x: Tensor) -> Tensor:
        """Returns [N, c_out, H/2, W/2] of [N, c_in, H, W]."""
        return (self.second(self.first(x)) + self.skip(x)) / math.sqrt(2)


class StyleGAN2Discriminator(nn.Module):
    """Pictures [N, C, H, W] in [-1, 1] and label [N] to logits [N]. Arguments as the generator's."""

    def __init__(self, config: StyleGAN2Config, spec: PictureSpec, shape: tuple[int, int] | None = None) -> None:
        super().__init__()
        sizes = _sizes(*(shape or (spec.size, spec.size)))
        channels = _channels(len(sizes), config.d_width, config.d_widest)[::-1]
        self.from_picture = EqualConv(spec.channels, channels[0], 1)
        self.blocks = nn.ModuleList(ResidualDown(c_in, c_out) for c_in, c_out in pairwise(channels))
        top = channels[-1]
        self.last = EqualConv(top + 1, top, 3)
        self.dense = EqualLinear(top * sizes[0][0] * sizes[0][1], top, gain=GAIN)
        self.head = EqualLinear(top, 1)
        self.embed = nn.Embedding(spec.categories, top)

    def features(self, x: Tensor) -> Tensor:
        """Returns [N, F]: what the logits are linear in."""
        h = self.from_picture(x)
        for block in self.blocks:
            h = block(h)
        h = torch.cat([h, _minibatch_std(h)], 1)
        return _activate(self.dense(self.last(h).flatten(1)))

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Returns logits [N]."""
        h = self.features(x)
        return self.head(h)[:, 0] + (self.embed(label) * h).mean(1)


def _minibatch_std(x: Tensor) -> Tensor:
    """Returns [N, 1, H, W]: the mean standard deviation within each group of pictures (Karras et al. 2018, sec. 3).

    A group is every (N / 4)th picture; of a batch that does not divide by 4, all.
    """
    n = len(x)
    group = GROUP if n % GROUP == 0 else n
    std = x.unflatten(0, (group, n // group)).var(0, correction=0).add(1e-8).sqrt().flatten(1).mean(1)
    return std.repeat(group)[:, None, None, None].expand(-1, 1, *x.shape[2:])
