"""One training step of `clip`: pictures and texts that belong together are drawn together, others apart.

Letters: n pairs, T words, V length of a view.
"""

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from packshot.catalog import Catalog, Packed
from packshot.core.errors import UsageError
from packshot.evaluation.features import cached_features
from packshot.losses.contrastive import info_nce, true_of
from packshot.models.features.efflite import load_efflite0
from packshot.models.text.clip import join_row, split_row
from packshot.models.text.tokens import PAD, tokenize
from packshot.models.text.view import picture_view
from packshot.training.conditions import photo_texts
from packshot.training.config import DataConfig
from packshot.training.objectives import ClipObjective
from packshot.training.step import Batch, adam, update


class ClipStep:
    """Both towers with their optimiser, and how one batch changes them.

    `batch.cond` holds what the towers see (`models.text.clip.join_row`); the pixels are not used: the frozen part of
    the picture tower has seen them once, before training. With several ranks each contrasts its own share of the batch.
    """

    def __init__(self, networks: dict[str, nn.Module], objective: ClipObjective) -> None:
        self.networks, self.objective = networks, objective
        self.optimizers = {"clip": adam(networks["clip"].parameters(), objective.lr, objective)}

    def __call__(self, batch: Batch, fabric: Fabric) -> dict[str, Tensor]:
        """Trains on one batch and returns the loss in nats, the temperature, and the share that true texts get."""
        net, o = self.networks["clip"], self.objective
        view, tokens = split_row(batch.cond)
        asked = tokens
        if o.word_dropout > 0:
            asked = drop_words(tokens, torch.special.ndtr(batch.noise("words", tokens.shape[1])), o.word_dropout)
        if o.feature_dropout > 0:
            keep = torch.special.ndtr(batch.noise("features", view.shape[1])) >= o.feature_dropout
            view = view * keep / (1 - o.feature_dropout)
        positive = true_of(asked[..., 0], tokens[..., 0])
        u, v = net.encode_picture(view), net.encode_text(asked)
        loss = info_nce(u, v, net.scale, positive)
        update(self.optimizers["clip"], loss, fabric)
        scale = net.scale.detach()
        right = (torch.softmax(scale * (u @ v.T).detach(), 1) * positive).sum(1).mean()
        return {"loss": loss.detach(), "temperature": 1 / scale, "right": right}


def pair_rows(photos: Catalog, packed: Packed, data: DataConfig) -> npt.NDArray[np.float32]:
    """Returns what the towers see of each training photo and its text, a row each (`models.text.clip.join_row`).

    The frozen features are computed once and kept in the catalogue's cache, where `packshot evaluate` finds them too.

    Raises:
        UsageError: mirrored pictures are asked for.
    """
    if data.flip:
        raise UsageError("A 'clip' sees every photo once, before training, so data.flip does nothing; leave it out.")
    features = cached_features(load_efflite0(), packed.images, photos.cache)
    return join_row(picture_view(packed.images, features), tokenize(photo_texts(photos, packed)))


def drop_words(tokens: Tensor, coin: Tensor, share: float) -> Tensor:
    """Returns the tokens without a share of their words, so that parts of a text become queries too.

    A text keeps at least its word of the greatest coin.

    Args:
        tokens: int64 [n, T, G].
        coin: [n, T], in [0, 1].
        share: of the words that go.
    """
    there = (tokens != PAD).any(2)
    coin = torch.where(there, coin, -1.0)
    keep = (coin >= share) | (coin == coin.amax(1, keepdim=True))
    return torch.where(keep[..., None], tokens, PAD)
