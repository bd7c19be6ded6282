"""A cut-out for tests that know where the product is."""

from typing import Any

import numpy as np

from packshot.images.picture import ProductImage
from packshot.tasks.cutout import Matte


class Known:
    """Stands in for `Cutout` where only its answer matters.

    Args:
        alpha: uint8 [H, W], the answer.
        review: its doubt.
    """

    def __init__(self, alpha: np.ndarray, review: str | None = None) -> None:
        self.alpha, self.review = alpha, review

    def matte(self, image: ProductImage) -> Matte:
        return Matte(self.alpha, 1.0, self.review, 1)

    def settings(self) -> dict[str, Any]:
        return {"net": 1}
