"""Losses of a matting network.

Letters: l logits [N, 1, H, W], alpha its target in [0, 1], a = sigmoid(l), G Sobel gradients.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def bce_loss(logits: Tensor, alpha: Tensor) -> Tensor:
    """L_bce = mean of -alpha log a - (1 - alpha) log(1 - a)."""
    return F.binary_cross_entropy_with_logits(logits, alpha)


def iou_loss(logits: Tensor, alpha: Tensor) -> Tensor:
    """L_iou = 1 - (sum a alpha + 1) / (sum (a + alpha - a alpha) + 1), mean over N. Qin et al. 2019, eq. 7."""
    a = torch.sigmoid(logits)
    both = (a * alpha).flatten(1).sum(1)
    either = (a + alpha - a * alpha).flatten(1).sum(1)
    return (1 - (both + 1) / (either + 1)).mean()


def alpha_loss(logits: Tensor, alpha: Tensor) -> Tensor:
    """L_alpha = mean |a - alpha|. Xu et al. 2017, arXiv:1703.03872, eq. 1."""
    return (torch.sigmoid(logits) - alpha).abs().mean()


def gradient_loss(logits: Tensor, alpha: Tensor) -> Tensor:
    """L_grad = mean |G(a) - G(alpha)|: edges as sharp as they are. Sobel, both directions."""
    sobel = logits.new_tensor([[1, 0, -1], [2, 0, -2], [1, 0, -1]]) / 4
    kernel = torch.stack([sobel, sobel.T])[:, None]
    return F.conv2d(torch.sigmoid(logits) - alpha, kernel).abs().mean()
