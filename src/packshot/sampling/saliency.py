"""What a discriminator looks at: the places that move its verdict when they are blurred.

Gradients were tried first: averaged over noisy copies they showed how the discriminator sees the noise.

Letters: N pictures, C channels, S side in pixels, P places.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GRID = 8


@torch.no_grad()
def compute_saliency(discriminator: nn.Module, x: Tensor, label: Tensor) -> Tensor:
    """Returns how much blurring around each pixel of x [N, C, S, S] in [-1, 1] moves the logit, float32 [N, S, S].

    Occlusion (Zeiler & Fergus 2014, arXiv:1311.2901), by blur under a soft window, so that what is put in its place is
    as natural as can be (Fong & Vedaldi 2017, arXiv:1704.03296). Absolute changes; a pixel gets the mean of the windows
    around it, by their weight.

    Args:
        discriminator: (x, label) -> logits [N], in evaluation mode.
        x: the pictures.
        label: int64 [N].
    """
    side = x.shape[-1]
    at = torch.arange(side, dtype=x.dtype, device=x.device)
    centres = (torch.arange(GRID, dtype=x.dtype, device=x.device) + 0.5) * side / GRID - 0.5
    lines = torch.exp(-((at - centres[:, None]) ** 2) / (2 * (side / GRID / 1.5) ** 2))
    windows = (lines[:, None, :, None] * lines[None, :, None, :]).flatten(0, 1)
    blurred = _blur(x, side / GRID)
    plain = discriminator(x, label)
    total = torch.zeros_like(x[:, 0])
    for window in windows:
        change = (discriminator(torch.lerp(x, blurred, window), label) - plain).abs()
        total += change[:, None, None] * window
    return total / windows.sum(0)


def _blur(x: Tensor, std: float) -> Tensor:
    """Returns x [N, C, S, S] under a Gaussian of `std` pixels; the border is repeated outwards."""
    reach = min(int(2 * std), x.shape[-1] - 1)
    at = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
    line = torch.exp(-at.square() / (2 * std**2))
    line = (line / line.sum()).expand(x.shape[1], 1, -1)
    x = F.pad(x, (reach,) * 4, mode="replicate")
    x = F.conv2d(x, line[:, :, None, :], groups=x.shape[1])
    return F.conv2d(x, line[:, :, :, None], groups=x.shape[1])
