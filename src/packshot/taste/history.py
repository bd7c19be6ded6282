"""From what a shopper did to a profile: a function of the history, so a history that was changed needs no new fit.

Four ways: `HistoryMap` is learned, `Solver` is the closed form of alternating least squares, `Blend` is both, and
`Chooser` is the likeliest taste in the model of `taste.choice`.

Letters: B shoppers, I items, J rivals, H numbers of a key, K numbers of a profile.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn

from packshot.taste.picks import Likely, Shop, climb

Floats = npt.NDArray[np.float32]
CHUNK = 2048


class HistoryMap(nn.Module):
    """profile = start + A s + B t + MLP([s, t]), s and t the keys of what was liked and of what was sent back.

    s is the sum of the liked items' keys, each times the root of its weight, over the root of the sum of the weights:
    one purchase counts more than one view, a hundred views do not drown it, and a longer history speaks louder.

    Args:
        items: I.
        key: H.
        profile: K.
        hidden: width of the hidden layer.
    """

    keys: Tensor

    def __init__(self, *, items: int, key: int, profile: int, hidden: int) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"items": items, "key": key, "profile": profile, "hidden": hidden}
        self.register_buffer("keys", torch.zeros(items, key))
        self.start = nn.Parameter(torch.zeros(profile))
        self.liked = nn.Linear(key, profile, bias=False)
        self.sent_back = nn.Linear(key, profile, bias=False)
        self.deep = nn.Sequential(nn.Linear(2 * key, hidden), nn.GELU(), nn.Linear(hidden, profile))

    def forward(self, liked: Tensor, sent_back: Tensor) -> Tensor:
        """Returns profiles [B, K] of summed keys [B, H]."""
        both = torch.cat([liked, sent_back], dim=1)
        out: Tensor = self.start + self.liked(liked) - self.sent_back(sent_back) + self.deep(both)
        return out

    def profiles(self, weights: csr_matrix) -> Floats:
        """Returns profiles float32 [B, K] of signed weights [B, I]."""
        out = np.empty((weights.shape[0], self.config["profile"]), np.float32)
        keys = self.keys.numpy()
        with torch.inference_mode():
            for start in range(0, len(out), CHUNK):
                part = weights[start : start + CHUNK]
                sums = [torch.from_numpy(shares(part, sign) @ keys) for sign in (1.0, -1.0)]
                out[start : start + CHUNK] = self(*sums).numpy()
        return out


class Solver(nn.Module):
    """The profile that fits a history best, given items' factors: (Y'Y + Y'(C - 1)Y + decay)^-1 Y'C 1.

    C holds the confidence of each liked item, 1 elsewhere. Source: Hu, Koren & Volinsky 2008, "Collaborative filtering
    for implicit feedback datasets", eq. 4. What was sent back is not liked, and no more than that.

    Args:
        items: I.
        profile: K.
        decay: weight of the squared norms.
        confidence: in a like.
    """

    factors: Tensor

    def __init__(self, *, items: int, profile: int, decay: float, confidence: float) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"items": items, "profile": profile, "decay": decay, "confidence": confidence}
        self.register_buffer("factors", torch.zeros(items, profile))

    def profiles(self, weights: csr_matrix) -> Floats:
        """Returns profiles float32 [B, K] of signed weights [B, I]."""
        return solve(weights, self.factors.numpy(), self.config["decay"], self.config["confidence"])


class Blend(nn.Module):
    """Profiles of a `Solver`, times `share`, then those of a `HistoryMap`: scores of both are added.

    Args:
        solver: settings of the one.
        tower: settings of the other.
    """

    share: Tensor

    def __init__(self, *, solver: dict[str, Any], tower: dict[str, Any]) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"solver": solver, "tower": tower}
        self.solver, self.tower = Solver(**solver), HistoryMap(**tower)
        self.register_buffer("share", torch.ones(()))

    def profiles(self, weights: csr_matrix) -> Floats:
        """Returns profiles float32 [B, K] of signed weights [B, I]."""
        solved = self.solver.profiles(weights) * np.float32(self.share.item())
        return np.concatenate([solved, self.tower.profiles(weights)], axis=1)


class Chooser(nn.Module):
    """The likeliest taste given what was picked, and all tastes that are possible; see `taste.choice`.

    Args:
        items: I.
        rivals: J.
        profile: K.
        power: that an event's weight is raised to.
    """

    factors: Tensor
    fame: Tensor
    rivals: Tensor
    part: Tensor
    mean: Tensor
    covariance: Tensor

    def __init__(self, *, items: int, rivals: int, profile: int, power: float) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"items": items, "rivals": rivals, "profile": profile, "power": power}
        self.register_buffer("factors", torch.zeros(items, profile))
        self.register_buffer("fame", torch.zeros(items))
        self.register_buffer("rivals", torch.zeros(rivals, dtype=torch.int64))
        self.register_buffer("part", torch.ones(()))
        self.register_buffer("mean", torch.zeros(profile))
        self.register_buffer("covariance", torch.eye(profile))

    def profiles(self, weights: csr_matrix) -> Floats:
        """Returns profiles float32 [B, K] of signed weights [B, I]; of one who liked nothing, the mean."""
        out = np.empty((weights.shape[0], self.config["profile"]), np.float32)
        for start in range(0, len(out), CHUNK):
            out[start : start + CHUNK] = self.possible(weights[start : start + CHUNK]).tastes
        return out

    def possible(self, weights: csr_matrix) -> Likely:
        """Returns the tastes that histories, signed weights [B, I], leave possible."""
        picks = counts_of(weights, self.config["power"])
        mean, covariance = self.mean.numpy(), self.covariance.numpy()
        shop = Shop(self.factors.numpy(), self.fame.numpy(), self.rivals.numpy(), float(self.part))
        return climb(shop, picks, mean, covariance, np.tile(mean, (picks.shape[0], 1)))


HISTORIES: dict[str, type[HistoryMap] | type[Solver] | type[Blend] | type[Chooser]] = {
    "HistoryMap": HistoryMap,
    "Solver": Solver,
    "Blend": Blend,
    "Chooser": Chooser,
}
"""The four ways, by the names under which they are saved."""


def counts_of(weights: csr_matrix, power: float) -> csr_matrix:
    """Returns how many picks each cell of signed weights [B, I] counts as: what is liked, its weight to a power."""
    out = weights.copy().astype(np.float32)
    out.data = np.maximum(out.data, 0)
    out.eliminate_zeros()
    out.data = out.data**power
    return out


def solve(weights: csr_matrix, factors: Floats, decay: float, confidence: float) -> Floats:
    """Returns the least-squares profiles float32 [B, K] of rows [B, I], given factors [I, K]; see `Solver`."""
    k = factors.shape[1]
    liked = weights.copy().astype(np.float32)
    liked.data = (liked.data > 0).astype(np.float32)
    gram = factors.T @ factors + decay * np.eye(k, dtype=np.float32)
    products = (factors[:, :, None] * factors[:, None]).reshape(len(factors), k * k)
    out = np.empty((liked.shape[0], k), np.float32)
    for start in range(0, len(out), CHUNK):
        part = liked[start : start + CHUNK]
        left = gram + (confidence - 1) * (part @ products).reshape(-1, k, k)
        out[start : start + CHUNK] = np.linalg.solve(left, confidence * (part @ factors)[:, :, None])[:, :, 0]
    return out


def shares(weights: csr_matrix, sign: float) -> csr_matrix:
    """Returns what each item [B, I] has in a history of signed weights: sqrt(w / sum w), of those of one sign."""
    part = weights.copy().astype(np.float32)
    part.data = np.maximum(sign * part.data, 0)
    total = np.asarray(part.sum(1)).ravel()
    of = np.repeat(np.maximum(total, 1e-12), np.diff(part.indptr))
    part.data = np.sqrt(part.data / of).astype(np.float32)
    return part
