"""What a matting network says about a photo, and how sure it is."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


class Guess(NamedTuple):
    """A rough matte.

    Attributes:
        alpha: float32 [h, w] in [0, 1], a small copy of the whole photo.
        confidence: in [0, 1]; 0 where there is no product.
    """

    alpha: Floats
    confidence: float


class Matter(Protocol):
    """Finds the product of a photo.

    Attributes:
        name: of the network.
        threshold: below this confidence a person should look.
    """

    name: str
    threshold: float

    def settings(self) -> dict[str, Any]:
        """Returns what decides the matte, as JSON values."""
        ...

    def __call__(self, photo: npt.NDArray[np.uint8]) -> Guess:
        """Returns the matte of a photo, uint8 [H, W, 3].

        Raises:
            PackshotError: the network cannot be run.
        """
        ...


def certainty(alpha: Floats) -> float:
    """Returns how decided a matte is, in [0, 1]: 1 - sum 4 a (1 - a) / sum a, over the half of it that is product.

    Edges are undecided by nature; so the sum leaves out as many pixels as an edge of two pixels about the product has.
    """
    product = alpha > 0.5
    area = int(product.sum())
    if not area:
        return 0.0
    inner = np.zeros_like(product)
    inner[1:, :] |= product[1:, :] != product[:-1, :]
    inner[:, 1:] |= product[:, 1:] != product[:, :-1]
    unsure = float((4 * alpha * (1 - alpha)).sum()) - 2.0 * float(inner.sum())
    return float(np.clip(1 - unsure / area, 0, 1))


def agreement(one: Floats, other: Floats) -> float:
    """Returns the overlap of two mattes, sum min / sum max, in [0, 1]; 0 where both are empty."""
    either = float(np.maximum(one, other).sum())
    return float(np.minimum(one, other).sum()) / either if either >= 1 else 0.0


def plausible(alpha: Floats) -> float:
    """Returns 1 for a product of usual size, falling to 0 for one below 0.5 % or above 99 % of the photo."""
    share = float(alpha.mean())
    return float(np.clip(share / 0.005 - 1, 0, 1) * np.clip((0.99 - share) / 0.04, 0, 1))
