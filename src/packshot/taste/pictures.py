"""From the features of a picture to the factors of an item: what a model of taste sees.

Letters: N pictures, D features, R numbers that are kept of them, K numbers of a profile.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from packshot.core.errors import UsageError

Floats = npt.NDArray[np.float32]
CHUNK = 4096


class PictureMap(nn.Module):
    """Features are centred and turned into their R strongest directions, then mapped to factors and a bias.

    Factors are zero where `free` is: those of the model that no picture can tell.

    Args:
        features: D.
        kept: R.
        profile: K.
        visual: how many of the K factors, the last ones, come from the picture.
        hidden: width of one hidden layer beside the linear map; 0: the map is linear.
    """

    mean: Tensor
    directions: Tensor

    def __init__(self, *, features: int, kept: int, profile: int, visual: int, hidden: int) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "features": features,
            "kept": kept,
            "profile": profile,
            "visual": visual,
            "hidden": hidden,
        }
        self.free = profile - visual
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("directions", torch.zeros(features, kept))
        self.linear = nn.Linear(kept, visual + 1, bias=False)
        self.deep = nn.Sequential(nn.Linear(kept, hidden), nn.GELU(), nn.Linear(hidden, visual + 1)) if hidden else None

    def whiten(self, features: Floats, power: float) -> None:
        """Takes mean and directions from the pictures that the model may learn from, float32 [N, D].

        Args:
            features: of products with events; others would leak what is to be measured on them.
            power: how far the directions are made equal: at 1 each has unit variance, at 0 all share the scale of the
                strongest, so that what varies little counts little.

        Raises:
            UsageError: it is one picture, which has no directions.
        """
        if len(features) < 2:
            raise UsageError(
                "All that was liked is one product, so no taste can be told from another; ingest more events, or take "
                "--model popularity."
            )
        kept = self.config["kept"]
        mean = features.mean(0, dtype=np.float64)
        centred = features.astype(np.float64) - mean
        values, vectors = np.linalg.eigh(centred.T @ centred / max(1, len(features) - 1))
        strongest = np.argsort(-values)[:kept]
        deviation = np.sqrt(np.maximum(values[strongest], 1e-12))
        # A direction that hardly varies holds rounding, not looks.
        relative = np.maximum(deviation / deviation[0], 1e-9)
        scale = np.where(relative > 1e-4, relative**-power, 0.0) / deviation[0]
        directions = np.zeros((features.shape[1], kept))
        directions[:, : len(strongest)] = vectors[:, strongest] * scale
        self.mean.copy_(torch.from_numpy(mean))
        self.directions.copy_(torch.from_numpy(directions))

    def look(self, features: Tensor) -> Tensor:
        """Returns what is kept [N, R] of features [N, D]."""
        return (features - self.mean) @ self.directions

    def of_kept(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Returns factors [N, K] and bias [N] of what `look` returned."""
        out = self.linear(kept)
        if self.deep is not None:
            out = out + self.deep(kept)
        factors = torch.cat([out.new_zeros(len(out), self.free), out[:, :-1]], dim=1)
        return factors, out[:, -1]

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Returns factors [N, K] and bias [N] of features [N, D], with gradients."""
        return self.of_kept(self.look(features))

    def embed(self, features: Floats) -> tuple[Floats, Floats]:
        """Returns factors float32 [N, K] and bias float32 [N] of features [N, D]."""
        factors, bias = [], []
        with torch.inference_mode():
            for start in range(0, len(features), CHUNK):
                part = torch.from_numpy(np.array(features[start : start + CHUNK], np.float32))
                f, b = self(part)
                factors.append(f.numpy())
                bias.append(b.numpy())
        if not factors:
            return np.zeros((0, self.config["profile"]), np.float32), np.zeros(0, np.float32)
        return np.concatenate(factors), np.concatenate(bias)
