"""How every peer's pictures are drawn: in evaluation mode, seeded, and without a trace in its training."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from packshot.models.ranges import to_uint8

BATCH = 100


def in_batches(network: nn.Module, make: Callable[[Tensor], Tensor], labels: np.ndarray, seed: int) -> np.ndarray:
    """Returns uint8 pictures [n, S, S, C] of `make(labels)`, which gives float32 pictures [b, C, S, S] in [-1, 1].

    torch's own random stream, which the published training steps draw from, is left as it was.
    """
    training = network.training
    network.eval()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        out = [to_uint8(make(part)).numpy() for part in torch.from_numpy(labels).split(BATCH)]
    network.train(training)
    return np.concatenate(out)
