"""`vq-vae`: pictures as a grid of codes from a learned codebook, and a prior that writes such grids.

van den Oord et al., "Neural Discrete Representation Learning" (2017), arXiv:1711.00937; the codebook by moving averages
(ibid. app. A.1). The prior is a small causal transformer (Vaswani et al. 2017) instead of the paper's PixelCNN: it
keeps what it computed for earlier codes, so that writing a grid costs about as much as reading one.

Letters: N pictures, C channels, D length of a code's vector, g side of the grid, P = g * g positions, K codes in the
codebook, M = N * P vectors, h encoder output, z latent sample [N, P], u uniform in (0, 1).
"""

from dataclasses import dataclass
from itertools import chain, pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from packshot.models.spec import PictureSpec
from packshot.models.vae.conv import double, double_to_picture, halve

GRID = 8


@dataclass(frozen=True, kw_only=True)
class VQVAEConfig:
    """Sizes of the VQ-VAE; its grid has 8x8 codes at every picture size.

    Attributes:
        codes: vectors in the codebook.
        code_dim: their length.
        width: channels at half the picture's size; they double at every halving down to the grid.
        prior_width: length of the prior's features.
        prior_layers: its transformer layers.
        prior_heads: attention heads in each; they divide prior_width.
    """

    codes: int = 128
    code_dim: int = 16
    width: int = 32
    prior_width: int = 96
    prior_layers: int = 2
    prior_heads: int = 3

    def __post_init__(self) -> None:
        sizes = (self.code_dim, self.width, self.prior_width, self.prior_layers, self.prior_heads)
        if min(sizes) < 1 or self.codes < 2:
            raise ValueError("every size of the network has to be at least 1, and codes at least 2")
        if self.prior_width % self.prior_heads:
            raise ValueError("prior_width has to divide by prior_heads")


class Codebook(nn.Module):
    """K vectors that follow the encoder by moving averages; no gradient reaches them.

    Attributes:
        vectors: float32 [K, D].
        usage: float32 [K], moving average of how many vectors of a batch take each code; 0 before the first update.
        sums: float32 [K, D], moving average of the sum of those vectors.
    """

    vectors: Tensor
    usage: Tensor
    sums: Tensor

    def __init__(self, codes: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.randn(codes, dim))
        self.register_buffer("usage", torch.zeros(codes))
        self.register_buffer("sums", torch.zeros(codes, dim))

    def nearest(self, h: Tensor) -> Tensor:
        """Returns the code int64 [M] whose vector is nearest to each of h [M, D]. Ibid. eq. 1."""
        return (self.vectors.square().sum(1) - 2 * h.detach() @ self.vectors.T).argmin(1)

    def tally(self, h: Tensor, codes: Tensor) -> Tensor:
        """Returns, for each code, how many of h [M, D] took it and their sum: float32 [K, 1 + D]."""
        rows = torch.cat([h.new_ones(len(h), 1), h.detach()], dim=1)
        return h.new_zeros(len(self.vectors), rows.shape[1]).index_add_(0, codes, rows)

    @torch.no_grad()
    def update(self, tally: Tensor, fresh: Tensor, *, decay: float, revive_below: float) -> None:
        """Moves the vectors to the moving average of what took them. Ibid. app. A.1, eq. 6 to 8.

        A code that is used less than `revive_below` times the mean starts anew from a vector of the batch; at the
        first update all do.

        Args:
            tally: float32 [K, 1 + D], from `tally`, of the whole batch.
            fresh: float32 [K, D], vectors of the batch, the places for codes that are revived.
            decay: weight of the old averages.
            revive_below: share of the mean use.
        """
        first = self.usage.sum() == 0
        self.usage.lerp_(tally[:, 0], 1 - decay)
        self.sums.lerp_(tally[:, 1:], 1 - decay)
        mean = self.usage.mean()
        dead = (self.usage < revive_below * mean) | first
        # With the mean use, so that it has time to win vectors before it is judged again.
        self.usage.copy_(torch.where(dead, mean, self.usage))
        self.sums.copy_(torch.where(dead[:, None], mean * fresh, self.sums))
        used = self.usage[:, None] > 0
        self.vectors.copy_(torch.where(used, self.sums / self.usage[:, None].clamp_min(1e-12), self.vectors))


class _Layer(nn.Module):
    """Causal self-attention and a two-layer network, each on normalised input and added to it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, h: Tensor, past: Tensor | None = None, at: int = 0) -> Tensor:
        """Features [N, L, width] of positions at .. at + L - 1.

        Args:
            h: all positions (at = 0), or one.
            past: [2, N, heads, P, width / heads]: keys and values of the positions before; this one's are put in.
            at: the first position of h.
        """
        n, length, width = h.shape
        split = (n, length, self.heads, width // self.heads)
        q, k, v = (part.view(split).transpose(1, 2) for part in self.qkv(self.norm1(h)).chunk(3, dim=2))
        if past is None:
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            past[0, :, :, at], past[1, :, :, at] = k[:, :, 0], v[:, :, 0]
            mixed = F.scaled_dot_product_attention(q, past[0, :, :, : at + 1], past[1, :, :, : at + 1])
        h = h + self.out(mixed.transpose(1, 2).reshape(n, length, width))
        return h + self.mlp(self.norm2(h))


class CodePrior(nn.Module):
    """p(code_j | codes before j, label) over a grid read in rows."""

    def __init__(self, config: VQVAEConfig, categories: int) -> None:
        super().__init__()
        width = config.prior_width
        self.start = nn.Embedding(categories, width)
        self.label = nn.Embedding(categories, width)
        self.code = nn.Embedding(config.codes, width)
        self.place = nn.Parameter(0.1 * torch.randn(GRID * GRID, width))
        self.layers = nn.ModuleList([_Layer(width, config.prior_heads) for _ in range(config.prior_layers)])
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, config.codes))
        for table in (self.start, self.label, self.code):
            nn.init.normal_(table.weight, 0.0, 0.1)

    def forward(self, codes: Tensor, label: Tensor) -> Tensor:
        """Codes int64 [N, P] to logits [N, P, K]; those of position j see the codes before j only."""
        before = torch.cat([self.start(label)[:, None], self.code(codes[:, :-1])], dim=1)
        h = before + self.place + self.label(label)[:, None]
        for layer in self.layers:
            h = layer(h)
        return self.head(h)

    @torch.no_grad()
    def sample(self, u: Tensor, label: Tensor, temperature: float = 1.0) -> Tensor:
        """Writes a grid: each code in turn is where the prior's cumulative distribution passes u.

        Args:
            u: uniforms [N, P] in (0, 1).
            label: int64 [N].
            temperature: divides the logits; towards 0 the most probable code is taken each time.

        Returns:
            Codes int64 [N, P], a function of u and label alone.
        """
        n, places = u.shape
        codes = torch.empty(n, places, dtype=torch.int64, device=u.device)
        first = self.layers[0]
        size = (2, n, first.heads, places, self.place.shape[1] // first.heads)
        pasts = [self.place.new_empty(size) for _ in self.layers]
        before = self.start(label)
        for j in range(places):
            h = (before + self.place[j] + self.label(label))[:, None]
            for layer, past in zip(self.layers, pasts, strict=True):
                h = layer(h, past, j)
            logits = self.head(h[:, 0]).double() / max(temperature, 1e-3)
            codes[:, j] = inverse_cdf(torch.softmax(logits, dim=1), u[:, j])
            before = self.code(codes[:, j])
        return codes


def inverse_cdf(probability: Tensor, u: Tensor) -> Tensor:
    """Returns the first index int64 [N] where the cumulative sum of probability float64 [N, K] passes u [N]."""
    cumulative = probability.cumsum(1)
    at = u.to(cumulative.dtype)[:, None].contiguous()
    index = torch.searchsorted(cumulative, at, right=True)[:, 0]
    return index.clamp_max(probability.shape[1] - 1)


class _Residual(nn.Module):
    """x + conv(norm-act(conv(x)))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.SiLU(),
            nn.Conv2d(width, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(x + self.body(x))


class VQVAE(nn.Module):
    """Encoder, codebook, decoder and prior. z [N, P] ~ N(0, I) chooses the codes, so z_dim = P."""

    def __init__(self, config: VQVAEConfig, spec: PictureSpec) -> None:
        super().__init__()
        self.z_dim = GRID * GRID
        widths = [config.width * 2**i for i in range((spec.size // GRID).bit_length() - 1)]
        down = [halve(c_in, c_out) for c_in, c_out in pairwise([spec.channels, *widths])]
        # Batch norm without scale and shift fixes the size of h, which the data loss alone would leave free.
        self.down = nn.Sequential(
            *chain(*down),
            _Residual(widths[-1]),
            nn.Conv2d(widths[-1], config.code_dim, 1, bias=False),
            nn.BatchNorm2d(config.code_dim, affine=False),
        )
        self.codebook = Codebook(config.codes, config.code_dim)
        self.embed = nn.Embedding(spec.categories, widths[-1])
        self.project = nn.Conv2d(config.code_dim, widths[-1], 3, padding=1)
        residual = _Residual(widths[-1])
        up = [double(c_in, c_out) for c_in, c_out in pairwise(widths[::-1])]
        self.up = nn.Sequential(residual, *chain(*up), *double_to_picture(widths[0], spec.channels))
        self.prior = CodePrior(config, spec.categories)

    def encode(self, x: Tensor) -> Tensor:
        """Pictures [N, C, H, W] in [-1, 1] to h [M, D], in the order of the grid's rows."""
        return self.down(x).permute(0, 2, 3, 1).flatten(0, 2)

    def paint(self, e: Tensor, label: Tensor) -> Tensor:
        """Codebook vectors [M, D] to pictures [N, C, H, W] in [-1, 1]."""
        grid = e.view(len(label), GRID, GRID, -1).permute(0, 3, 1, 2)
        return self.up(self.project(grid) + self.embed(label)[:, :, None, None])

    def forward(self, x: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns x_hat, h [M, D], codes int64 [N, P], and the prior's logits [N, P, K] of these codes."""
        h = self.encode(x)
        codes = self.codebook.nearest(h)
        e = self.codebook.vectors[codes]
        # Straight through (ibid. sec. 3.2): the decoder reads e, the gradient goes to h.
        x_hat = self.paint(h + (e - h).detach(), label)
        codes = codes.view(len(x), -1)
        return x_hat, h, codes, self.prior(codes, label)

    def decode(self, z: Tensor, label: Tensor) -> Tensor:
        """z [N, P] ~ N(0, I) to pictures [N, C, H, W] in [-1, 1]: uniforms Phi(z) choose each code in turn."""
        return self.truncated(z, label, 1.0)

    def truncated(self, z: Tensor, label: Tensor, truncation_psi: float) -> Tensor:
        """As `decode`, with `truncation_psi` as the prior's temperature: below 1 the codes are more usual."""
        codes = self.prior.sample(torch.special.ndtr(z.double()), label, truncation_psi)
        return self.paint(self.codebook.vectors[codes.flatten()], label)
