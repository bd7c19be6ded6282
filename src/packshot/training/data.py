"""Training pictures: packed uint8 in memory, every batch a function of (seed, step)."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric
from torch import Tensor

from packshot.catalog import Catalog, Packed
from packshot.core.errors import PackshotError
from packshot.core.random import draw_subset, stream_seed
from packshot.core.runs import RunFolder
from packshot.models.conditions import Conditions
from packshot.models.spec import PictureSpec, usual_size
from packshot.models.table import ModelEntry, check_spec
from packshot.training.clip import pair_rows
from packshot.training.conditions import read_conditions
from packshot.training.config import TrainConfig
from packshot.training.devices import on_leader


class TrainingData(NamedTuple):
    """The training photos, as a run's settings ask for them.

    Attributes:
        packed: the photos.
        spec: what the networks have to make.
        conditions: what can be asked for besides the category; None: nothing.
        cond: what goes along with each photo into the step, [N, ...]; None: nothing.
    """

    packed: Packed
    spec: PictureSpec
    conditions: Conditions | None
    cond: npt.NDArray[np.float32] | None


def read_data(run: RunFolder, photos: Catalog, config: TrainConfig, entry: ModelEntry, fabric: Fabric) -> TrainingData:
    """Reads the training photos and what is known of each; the first rank packs them for all.

    Args:
        run: the run folder, which need not exist yet.
        photos: the catalogue.
        config: the run's settings.
        entry: the model.
        fabric: the ranks.

    Raises:
        UsageError: sizes, attributes or texts that the model cannot have.
        PackshotError: too few photos, or no text model where one is asked for.
    """
    native, data = photos.native, config.data
    size, channels = data.size, data.channels
    if size is None:
        wanted = usual_size(native.side)
        size = wanted if wanted in entry.sizes else entry.sizes[-1]
    if channels is None:
        channels = native.channels if native.channels in entry.channels or native.channels == 3 else entry.channels[-1]
    spec = PictureSpec(size=size, channels=channels, categories=len(photos.categories))
    check_spec(entry, spec)
    on_leader(fabric, lambda: photos.packed("train", spec.size, spec.channels, data.fit, synthetic=True))
    packed = photos.packed("train", spec.size, spec.channels, data.fit, synthetic=True)
    if len(packed.images) < 2:
        raise PackshotError(f"The catalogue {photos.path} has only one photo to train on; it needs at least 2.")
    conditions, cond = read_conditions(run, photos, packed, data, entry)
    if entry.makes == "embeddings":
        cond = pair_rows(photos, packed, data)
    return TrainingData(packed, replace(spec, conditions=conditions.groups if conditions else ()), conditions, cond)


class Batches:
    """Endless shuffled passes over packed pictures; batch `step` depends on the seed and `step` alone.

    Args:
        images: uint8 [N, H, W, C].
        labels: int64 [N].
        cond: what else is known of each picture, [N, ...] of any dtype; None: nothing.
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
        cond: np.ndarray | None = None,
        batch_size: int,
        seed: int,
        flip: bool = False,
        limit: int | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.images, self.labels = images, torch.from_numpy(np.array(labels, dtype=np.int64))
        self.cond = None if cond is None else torch.from_numpy(cond)
        self.seed, self.flip, self.batch_size = seed, flip, batch_size
        share = batch_size // world_size
        self.own = slice(rank * share, (rank + 1) * share)
        self.chosen = draw_subset(len(images), limit, seed)
        self._orders: dict[int, np.ndarray] = {}

    def _shuffle(self, n: int, name: str, *index: int) -> np.ndarray:
        return np.random.Generator(np.random.PCG64(stream_seed(self.seed, name, *index))).permutation(n)

    def _order(self, epoch: int) -> np.ndarray:
        if epoch not in self._orders:
            self._orders = {e: o for e, o in self._orders.items() if e >= epoch - 1}
            self._orders[epoch] = self.chosen[self._shuffle(len(self.chosen), "order", epoch)]
        return self._orders[epoch]

    def at(self, step: int, attempt: int = 0) -> tuple[Tensor, Tensor, Tensor | None]:
        """Returns pictures uint8 [n, H, W, C], labels int64 [n] and `cond` [n, ...] of this rank's share of a batch."""
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
        rows = torch.from_numpy(index)
        return images, self.labels[rows], None if self.cond is None else self.cond[rows]


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
