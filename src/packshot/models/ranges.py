"""The only conversions between pictures (uint8, HWC) and network tensors (float32, NCHW, [-1, 1]).

Letters: N pictures, H height, W width, C channels.
"""

import torch
from torch import Tensor


def to_model(images: Tensor) -> Tensor:
    """Returns uint8 pictures [N, H, W, C] as float32 [N, C, H, W] in [-1, 1], channels-last in memory.

    uint8 [N, H, W, C] already lies channels-last, so the permutation moves no data.
    """
    return images.permute(0, 3, 1, 2).to(torch.float32).div_(127.5).sub_(1)


def to_uint8(x: Tensor) -> Tensor:
    """Returns network output [N, C, H, W] in [-1, 1] as uint8 pictures [N, H, W, C], rounded and clipped."""
    return x.detach().permute(0, 2, 3, 1).add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
