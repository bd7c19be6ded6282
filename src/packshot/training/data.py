"""Training pictures: packed uint8 in memory, every batch a function of (seed, step)."""

import numpy as np
import torch
from torch import Tensor

from packshot.core.random import stream_seed


class Batches:
    """Endless shuffled passes over packed pictures; batch `step` depends on the seed and `step` alone.

    Args:
        images: uint8 [N, H, W, C].
        labels: int64 [N].
        batch_size: pictures per step over all ranks.
        seed: the run's seed.
        flip: mirror each picture with probability 1/2.
        limit: use only this many pictures, drawn by the seed; None: all.
        rank: this process among `world_size`; it gets its share of every batch.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        *,
        batch_size: int,
        seed: int,
        flip: bool = False,
        limit: int | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.images, self.labels = images, torch.from_numpy(np.array(labels, dtype=np.int64))
        self.seed, self.flip, self.batch_size = seed, flip, batch_size
        share = batch_size // world_size
        self.own = slice(rank * share, (rank + 1) * share)
        everything = np.arange(len(images))
        self.chosen = everything if limit is None else np.sort(self._shuffle(len(images), "subset")[:limit])
        self._orders: dict[int, np.ndarray] = {}

    def _shuffle(self, n: int, name: str, *index: int) -> np.ndarray:
        return np.random.Generator(np.random.PCG64(stream_seed(self.seed, name, *index))).permutation(n)

    def _order(self, epoch: int) -> np.ndarray:
        if epoch not in self._orders:
            self._orders = {e: o for e, o in self._orders.items() if e >= epoch - 1}
            self._orders[epoch] = self.chosen[self._shuffle(len(self.chosen), "order", epoch)]
        return self._orders[epoch]

    def at(self, step: int, attempt: int = 0) -> tuple[Tensor, Tensor]:
        """Returns pictures uint8 [n, H, W, C] and labels int64 [n] of this rank's share of batch `step`."""
        position = step * self.batch_size + np.arange(self.batch_size)
        epochs, within = np.divmod(position, len(self.chosen))
        index = np.array([self._order(int(e))[w] for e, w in zip(epochs, within, strict=True)])[self.own]
        images = torch.from_numpy(self.images[index])
        if self.flip:
            coins = np.random.Generator(np.random.PCG64(stream_seed(self.seed, "flip", attempt, step))).random(
                self.batch_size
            )
            mirror = torch.from_numpy(coins[self.own] < 0.5)
            images[mirror] = images[mirror].flip(2)
        return images, self.labels[torch.from_numpy(index)]


class Noise:
    """Normal noise of a step: the batch of all ranks is drawn, and this rank's share of it returned."""

    def __init__(self, seed: int, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        self.seed, self.batch_size = seed, batch_size
        share = batch_size // world_size
        self.own = slice(rank * share, (rank + 1) * share)

    def at(self, name: str, step: int, dim: int, attempt: int = 0) -> Tensor:
        """Returns float32 [n, dim] ~ N(0, I) for the stream `name` at `step`."""
        generator = torch.Generator().manual_seed(stream_seed(self.seed, name, attempt, step))
        return torch.randn(self.batch_size, dim, generator=generator)[self.own]
