"""A flow from N(0, I) to the codes of photos: flow matching with a small residual network over flat codes.

Lipman et al., "Flow Matching for Generative Modeling" (2023, arXiv:2210.02747), straight paths: code_t = (1 - t) z +
t code, and the network learns the velocity code - z. Guidance as in Ho & Salimans (2022, arXiv:2207.12598): label and
condition are left out in some of the training, and sampling goes further in the direction in which they turn the
velocity. It never touches pixels, so that it costs a fraction of what the network does that made the codes.

Letters: N codes, D length of a code, K categories, A length of a condition, t time in [0, 1], z prior sample.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FREQUENCIES = 32
HIGHEST = 500.0
CONDITION = 128
DRAWS = 64
"""Noises, at as many times, over which it is averaged how ill a code fits its label."""
ASKED = "asked.weight"
"""How the name of the one weight ends that has a column for each number of a condition."""
GUIDED = (0.1, 0.9)
"""Times between which sampling is guided: at the ends guidance costs variety and buys nothing.

Kynkaanniemi et al. 2024, arXiv:2404.07724."""


class _Block(nn.Module):
    """h + gate * f(norm(h) * (1 + scale) + shift); time and label give shift, scale and gate (Peebles & Xie 2023)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate = nn.Linear(CONDITION, 3 * width)
        self.inner = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))
        nn.init.zeros_(self.modulate.bias)
        nn.init.normal_(self.modulate.weight, 0.0, 0.02)

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        shift, scale, gate = self.modulate(condition).chunk(3, dim=1)
        return h + gate * self.inner(self.norm(h) * (1 + scale) + shift)


class CodeFlow(nn.Module):
    """Turns z ~ N(0, I) into codes of a category, and of a condition (`models.conditions`) where it learned any.

    Attributes:
        mean, square: float32 [D], of the codes and of their squares; inside, codes have mean 0 and deviation 1.
        groups: lengths of the parts of a condition, each of which can be left out; A is their sum.
        guidance: how far sampling follows label and condition: 1 is the learned distribution, more is more typical.
        steps: of Heun's method from z to the code; each asks the network twice, the last one once.
    """

    mean: Tensor
    square: Tensor
    frequencies: Tensor

    def __init__(
        self,
        dim: int,
        categories: int,
        *,
        groups: tuple[int, ...] = (),
        width: int,
        blocks: int,
        guidance: float,
        steps: int,
    ) -> None:
        super().__init__()
        self.categories, self.groups, self.guidance, self.steps = categories, groups, guidance, steps
        self.time = nn.Sequential(nn.Linear(2 * FREQUENCIES, CONDITION), nn.SiLU(), nn.Linear(CONDITION, CONDITION))
        self.embed = nn.Embedding(categories + 1, CONDITION)  # The last row stands for "no label".
        # Without a bias: zeros, "not asked", change nothing.
        self.asked = nn.Linear(sum(groups), CONDITION, bias=False) if groups else None
        self.enter = nn.Linear(dim, width)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(blocks))
        self.leave = nn.Linear(width, dim)
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("square", torch.ones(dim))
        self.register_buffer("frequencies", HIGHEST ** torch.linspace(0, 1, FREQUENCIES), persistent=False)

    def forward(self, code_t: Tensor, t: Tensor, label: Tensor, cond: Tensor | None = None) -> Tensor:
        """Returns the velocity [N, D] at `code_t` [N, D] and time t [N] or [1].

        Args:
            code_t: between z and the code.
            t: time.
            label: int64 [N], K where none is given.
            cond: float32 [N, A], zeros for what is not asked; None: nothing is.
        """
        angle = t[:, None] * self.frequencies
        condition = self.time(torch.cat([angle.sin(), angle.cos()], dim=1)) + self.embed(label)
        if self.asked is not None and cond is not None:
            condition = condition + self.asked(cond)
        condition = F.silu(condition)
        h = self.enter(code_t)
        for block in self.blocks:
            h = block(h, condition)
        return self.leave(h)

    @property
    def std(self) -> Tensor:
        """Deviation of the codes, float32 [D]."""
        return (self.square - self.mean.square()).clamp_min(1e-8).sqrt()

    @torch.no_grad()
    def observe(self, mean: Tensor, square: Tensor, weight: float) -> None:
        """Moves `mean` and `square` [D] towards those of a batch of codes, by `weight` in [0, 1]."""
        self.mean.lerp_(mean, weight)
        self.square.lerp_(square, weight)

    def velocity_loss(self, code: Tensor, label: Tensor, z: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        """Returns mean (v - (code - z))^2, a scalar. Lipman et al. 2023, eq. 23 with sigma_min = 0.

        Args:
            code: float32 [N, D], as the encoder gives it.
            label: int64 [N]; K where the label is left out.
            z: float32 [N, D] ~ N(0, I).
            t: float32 [N] in [0, 1].
            cond: as for `forward`.
        """
        code = (code - self.mean) / self.std
        code_t = torch.lerp(z, code, t[:, None])
        return (self(code_t, t, label, cond) - (code - z)).square().mean()

    def sample(self, z: Tensor, label: Tensor, cond: Tensor | None = None) -> Tensor:
        """Returns codes [N, D] for z [N, D], label [N] and cond [N, A]: Heun's method from t = 0 to 1."""
        return self._solve(z, label, cond, 0.0, 1.0) * self.std + self.mean

    def near(self, code: Tensor, z: Tensor, label: Tensor, share: float, cond: Tensor | None = None) -> Tensor:
        """Returns codes [N, D] like `code` [N, D]: noise takes the place of a share of it, and the flow goes on there.

        Meng et al. 2022, arXiv:2108.01073 (SDEdit), along the straight paths. Share 0 gives `code` itself, 1 what
        `sample` gives for z [N, D].
        """
        x = torch.lerp(z, (code - self.mean) / self.std, 1 - share)
        return self._solve(x, label, cond, 1 - share, 1.0) * self.std + self.mean

    def misfit(self, code: Tensor, label: Tensor) -> Tensor:
        """Returns how ill codes [N, D] fit their label [N]: the velocity's mean square error over DRAWS noises, [N].

        Of several labels the one with the least suits a code best (Li et al. 2023, arXiv:2303.16203). The noises are
        the same for all, and for each call.
        """
        z = torch.randn(DRAWS, code.shape[1], generator=torch.Generator().manual_seed(0)).to(code)
        t = (torch.arange(DRAWS).to(code) + 0.5) / DRAWS
        code = ((code - self.mean) / self.std)[:, None]
        code_t = torch.lerp(z, code, t[:, None])  # [N, DRAWS, D]
        n = len(label)
        velocity = self(code_t.flatten(0, 1), t.repeat(n), label.repeat_interleave(DRAWS)).view(n, DRAWS, -1)
        return (velocity - (code - z)).square().mean((1, 2))

    def invert(self, code: Tensor, label: Tensor) -> Tensor:
        """Returns the z [N, D] that `sample` turns into `code`, nearly: the same way back, in as many steps."""
        return self._solve((code - self.mean) / self.std, label, None, 1.0, 0.0)

    def _solve(self, x: Tensor, label: Tensor, cond: Tensor | None, start: float, end: float) -> Tensor:
        step = (end - start) / self.steps
        for i in range(self.steps):
            first = self._guided(x, start + i * step, label, cond)
            if i == self.steps - 1:
                return x + step * first
            second = self._guided(x + step * first, start + (i + 1) * step, label, cond)
            x = x + step * (first + second) / 2
        return x

    def _guided(self, x: Tensor, t: float, label: Tensor, cond: Tensor | None) -> Tensor:
        time = x.new_tensor([t])  # One for all.
        velocity: Tensor = self(x, time, label, cond)
        if self.guidance == 1 or not GUIDED[0] <= t <= GUIDED[1]:
            return velocity
        without = self(x, time, torch.full_like(label, self.categories))
        return without + self.guidance * (velocity - without)
