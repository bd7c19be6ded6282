"""What every task of the darkroom is: an edit, which takes one picture and gives the next one, and says what it did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from packshot.images.picture import ProductImage


@dataclass(frozen=True, kw_only=True)
class Edited:
    """What an edit made of one picture.

    Attributes:
        image: the result; its history holds one entry more for each thing that was done.
        lossless: whether the file has to hold exactly these pixels, and so has to be a PNG.
        review: why a person should look at it before it is used: the edit was not sure. None: it is sure.
        refused: why the result may not leave: it changed what it had no business to change. None: it may.
        confidence: 0 .. 1; None where the edit has no notion of it.
        receipt: what was proved about the product's pixels, as JSON values; None where nothing can be.
        figures: what else was measured or found, as JSON values.
        notes: sentences for the user.
        beside: further pictures, each written beside the result as STEM-NAME.png, for example "matte" or "heat".
    """

    image: ProductImage
    lossless: bool = False
    review: str | None = None
    refused: str | None = None
    confidence: float | None = None
    receipt: Mapping[str, Any] | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    beside: Mapping[str, ProductImage] = field(default_factory=dict)


class Edit(Protocol):
    """A task with all its settings, ready for any number of pictures; the networks that it needs are loaded once.

    Same picture, same settings, same version: same pixels (on a CPU).

    An edit can be pickled, so that worker processes can do it; with networks, it is as its request that it is pickled.
    """

    @property
    def task(self) -> str:
        """Name of the task, for example "cutout"."""
        ...

    def settings(self) -> dict[str, Any]:
        """Returns everything that decides the pixels, as JSON values: options, checksums of weights and of pictures."""
        ...

    def __call__(self, image: ProductImage) -> Edited:
        """Edits one picture; the picture itself stays as it is.

        Raises:
            PackshotError: this picture cannot be edited so; one sentence that follows its name.
        """
        ...
