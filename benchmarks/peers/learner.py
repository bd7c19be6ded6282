"""What a competitor is to the benchmark: something that learns from batches and makes pictures."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class Task:
    """What a peer is built for.

    Attributes:
        images: uint8 [M, S, S, C], all packed photos.
        chosen: int64 [N], which of them are trained on; a sampler that is fitted after training sees these.
        categories: number of them.
        seed: of the samples.
    """

    images: np.ndarray
    chosen: np.ndarray
    categories: int
    seed: int

    @property
    def size(self) -> int:
        return self.images.shape[1]

    @property
    def channels(self) -> int:
        return self.images.shape[3]


class Learner(Protocol):
    """A peer in training."""

    batch_size: int

    def step(self, images: Tensor, labels: Tensor, share: float) -> None:
        """Learns from float32 pictures [n, C, S, S] in [-1, 1] and labels [n]; `share` of the budget is used."""

    def sample(self, labels: np.ndarray) -> np.ndarray:
        """Returns one uint8 picture [n, S, S, C] for each label; an unconditional peer pays it no heed."""
