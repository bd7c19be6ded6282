"""`clip`: a picture tower and a text tower whose vectors lie near each other where the text is true of the picture.

Radford et al. 2021, arXiv:2103.00020, made small: the picture tower is a frozen EfficientNet-lite0 (`view.py`) with a
trained head, the text tower a transformer over the words of hashed letter groups (`tokens.py`).

Letters: N pictures or texts, T words, G letter groups of a word, D length of a vector, V length of a view.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from packshot.models.spec import PictureSpec
from packshot.models.text.tokens import BUCKETS, GROUPS, PAD, WORDS
from packshot.models.text.view import FEATURES, VIEW

FIRST_SCALE, MAX_SCALE = 1 / 0.07, 100.0


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """Sizes of the towers.

    Attributes:
        dim: length of the vectors of pictures and texts.
        width: of the text tower.
        layers: of the text tower.
        heads: attention heads of each.
        group_dim: length of a letter group's embedding.
        picture_width: hidden width of the head on the frozen features.
    """

    dim: int = 128
    width: int = 64
    layers: int = 2
    heads: int = 4
    group_dim: int = 64
    picture_width: int = 256

    def __post_init__(self) -> None:
        if min(self.dim, self.width, self.layers, self.heads, self.group_dim, self.picture_width) < 1:
            raise ValueError("every size of the network has to be at least 1")
        if self.width % self.heads:
            raise ValueError("net.width has to be a multiple of net.heads")


class TextTower(nn.Module):
    """Words to a vector: the mean of a word's groups, its place, and self-attention; read off at an extra first place.

    A text without words has the vector of that first place alone.
    """

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.groups = nn.Embedding(BUCKETS, config.group_dim, padding_idx=PAD)
        self.widen = nn.Linear(config.group_dim, config.width)
        self.place = nn.Parameter(0.02 * torch.randn(WORDS + 1, config.width))
        self.layers = nn.ModuleList(_Layer(config.width, config.heads) for _ in range(config.layers))
        self.norm, self.out = nn.LayerNorm(config.width), nn.Linear(config.width, config.dim, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens int64 [N, T, G] to vectors [N, D], of any length."""
        longest = int((tokens[..., 0] != PAD).any(0).sum())  # Places that are empty in all of them cost time alone.
        tokens = tokens[:, :longest]
        there = tokens != PAD
        word = self.groups(tokens).sum(2) / there.sum(2, keepdim=True).clamp_min(1)
        h = torch.cat([self.place[:1].expand(len(tokens), 1, -1), self.widen(word) + self.place[1 : longest + 1]], 1)
        seen = F.pad(there.any(2), (1, 0), value=True)[:, None, None]
        for layer in self.layers:
            h = layer(h, seen)
        return self.out(self.norm(h[:, 0]))


class _Layer(nn.Module):
    """Attention and a dense part, each on the normalised input and added to it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.dense = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, h: Tensor, seen: Tensor) -> Tensor:
        """[N, T, width] to the same; `seen` bool [N, 1, 1, T] says which places hold a word."""
        q, k, v = self.qkv(self.norm1(h)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        h = h + self.mix(mixed.transpose(1, 2).flatten(2))
        return h + self.dense(self.norm2(h))


class PictureTower(nn.Module):
    """The trained head: views to vectors."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(FEATURES)
        self.features = nn.Linear(FEATURES, config.picture_width)
        self.thumbnail = nn.Linear(VIEW - FEATURES, config.picture_width, bias=False)
        self.out = nn.Linear(config.picture_width, config.dim, bias=False)

    def forward(self, view: Tensor) -> Tensor:
        """Views float32 [N, V] to vectors [N, D], of any length."""
        f, thumbnail = view[:, :FEATURES], view[:, FEATURES:]
        return self.out(F.gelu(self.features(self.norm(f)) + self.thumbnail(thumbnail)))


class ClipNet(nn.Module):
    """Both towers and the learned temperature."""

    def __init__(self, config: ClipConfig, spec: PictureSpec) -> None:
        super().__init__()
        self.text, self.picture = TextTower(config), PictureTower(config)
        self.log_scale = nn.Parameter(torch.tensor(math.log(FIRST_SCALE)))

    @property
    def scale(self) -> Tensor:
        """One over the temperature, at most 100 (Radford et al. 2021, sec. 2.5)."""
        return self.log_scale.clamp_max(math.log(MAX_SCALE)).exp()

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Tokens int64 [N, T, G] to unit vectors [N, D]."""
        return F.normalize(self.text(tokens), dim=1)

    def encode_picture(self, view: Tensor) -> Tensor:
        """Views float32 [N, V] to unit vectors [N, D]."""
        return F.normalize(self.picture(view), dim=1)


def join_row(view: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Returns views [N, V] and tokens [N, T, G] as one row a picture, float32 [N, V + T * G]: exact up to 2^24."""
    return np.concatenate([view, tokens.reshape(len(tokens), -1).astype(np.float32)], 1)


def split_row(row: Tensor) -> tuple[Tensor, Tensor]:
    """Returns views float32 [N, V] and tokens int64 [N, T, G] of `join_row`."""
    return row[:, :VIEW], row[:, VIEW:].to(torch.int64).unflatten(1, (WORDS, GROUPS))
