"""Cuts the product out of a photo: RGBA of the photo's size, the product's own pixels as they were.

Only what lies at an edge, where alpha is neither 0 nor 255, gets another colour: the product's, without the
background's share.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from packshot.core.errors import PackshotError, UsageError, lookup
from packshot.images.matte import (
    Floats,
    estimate_foreground,
    guided_filter,
    scale_plane,
    without_fluff,
    without_specks,
)
from packshot.images.picture import Operation, ProductImage
from packshot.images.resize import Pixels
from packshot.models.cutout.foreign import ForeignMatter
from packshot.models.cutout.guess import Matter
from packshot.models.cutout.own import load_own
from packshot.release.receipt import UNTOUCHED, prove
from packshot.tasks.edit import Edited

Refine = Literal["none", "guided", "closed-form"]

SEE_THROUGH = 250
"""A photo has transparency of its own where a thousandth of it at least has an alpha below this."""
LEAST_SHARE = 0.001
LOW, HIGH = 0.06, 0.94
"""The network's alpha below LOW becomes 0, above HIGH 1, and is stretched between."""
HALF = 128
NOTHING_OUT = "its own transparency leaves nothing of the photo out"
CLOSED_FORM_SIDE = 800
"""Closed-form matting solves for every pixel at once; so its picture is at most this large."""


@dataclass(frozen=True, kw_only=True)
class CutoutRequest:
    """How products are cut out.

    Attributes:
        model: an ONNX matting network of the user's own (`packshot.models.cutout.foreign`); None: the package's.
        threshold: below this confidence, 0 .. 1, a picture is left to a person; None: the network's own.
        refine: "guided" moves edges to those of the photo at its full size; "closed-form" solves them with pymatting,
            slower and finer at hair and fringes; "none" scales the network's answer up.
        matte: also write the matte, as a grey picture, beside the result.
        alpha_only: the result is the matte instead of the cut-out product.

    Raises:
        UsageError: a value out of range.
    """

    model: Path | None = None
    threshold: float | None = None
    refine: Refine = "guided"
    matte: bool = False
    alpha_only: bool = False

    def __post_init__(self) -> None:
        lookup("way to refine", self.refine, dict.fromkeys(get_args(Refine)))
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise UsageError(f"--threshold is {self.threshold:g}; it can be 0 to 1.")


class Matte(NamedTuple):
    """Where the product is.

    Attributes:
        alpha: uint8 [H, W], 255 is product.
        confidence: 0 .. 1; None: the photo's own transparency, which nobody has to guess.
        review: why a person should look; None: it is sure.
        items: how many separate things there are; None: not counted.
    """

    alpha: Pixels
    confidence: float | None
    review: str | None
    items: int | None


class Cutout:
    """`packshot cutout`, with its network loaded."""

    task = "cutout"

    def __init__(self, request: CutoutRequest | None = None) -> None:
        self.request = request or CutoutRequest()
        if self.request.refine == "closed-form":
            _pymatting()
        self.matter: Matter = load_own() if self.request.model is None else ForeignMatter(self.request.model)

    def __reduce__(self) -> tuple[type[Cutout], tuple[CutoutRequest]]:
        return Cutout, (self.request,)

    @property
    def threshold(self) -> float:
        """The confidence below which a person should look."""
        return self.matter.threshold if self.request.threshold is None else self.request.threshold

    def settings(self) -> dict[str, Any]:
        """Returns everything that decides the result."""
        r = self.request
        how = {"refine": r.refine, "matte": r.matte, "alpha_only": r.alpha_only, "threshold": self.threshold}
        return {**how, "model": self.matter.settings()}

    def matte(self, image: ProductImage) -> Matte:
        """Returns where the product is; for tasks that need to know without cutting it out.

        Raises:
            PackshotError: there is no product, or the network cannot be run.
        """
        if (own := own_transparency(image)) is not None:
            return Matte(own, None, NOTHING_OUT if (own >= HALF).all() else None, None)
        photo = np.ascontiguousarray(image.pixels[..., :3])
        guess = self.matter(photo)
        rough = np.clip((guess.alpha - LOW) / (HIGH - LOW), 0, 1).astype(np.float32)
        rough, areas = without_specks(rough)
        if not areas or sum(areas) < LEAST_SHARE * rough.size:
            raise PackshotError("no product was found; is there one, and is it set off from its background?")
        alpha = self._refined(photo, rough)
        review = None
        if guess.confidence < self.threshold:
            review = f"the cut-out is not sure (confidence {guess.confidence:.2f}, wanted {self.threshold:.2f})"
        return Matte(alpha, round(guess.confidence, 4), review, len(areas))

    def _refined(self, photo: Pixels, rough: Floats) -> Pixels:
        how = self.request.refine
        if how == "none":
            return _levels(np.clip(scale_plane(rough, *photo.shape[:2]), 0, 1))
        if how == "closed-form":  # Asked for the sake of single threads: those stay.
            return _levels(guided_filter(photo, closed_form(photo, rough)))
        return without_fluff(_levels(guided_filter(photo, rough)))

    def __call__(self, image: ProductImage) -> Edited:
        """Cuts the product out of one photo.

        Raises:
            PackshotError: see `matte`.
        """
        found = self.matte(image)
        alpha, sure = found.alpha, found.confidence is not None
        params = {"model": self.matter.settings() if sure else None, "refine": self.request.refine if sure else None}
        figures = {"items": found.items, "coverage": round(float(alpha.mean()) / 255, 4)}
        notes = () if sure else ("Photos that had transparency of their own kept it.",)
        grey = image.done(Operation("matte", "classical", params), np.repeat(alpha[..., None], 3, axis=2))
        beside = {"matte": grey} if self.request.matte and not self.request.alpha_only else {}
        edited = Edited(
            image=grey,
            lossless=True,
            review=found.review,
            confidence=found.confidence,
            figures=figures,
            notes=notes,
            beside=beside,
        )
        if self.request.alpha_only:
            return edited
        if not sure:
            return replace(edited, image=image.done(Operation("cutout", "classical", params)))
        cut = image.done(Operation("cutout", "learned", params), laid_bare(image.pixels[..., :3], alpha))
        proof = prove(image, cut, alpha, limits=UNTOUCHED)
        return replace(
            edited, image=cut, receipt=proof.receipt, refused=proof.refused, beside={**beside, **proof.beside}
        )


def _levels(alpha: Floats) -> Pixels:
    return np.rint(alpha * 255).astype(np.uint8)


def cutout(image: ProductImage, request: CutoutRequest | None = None) -> Edited:
    """Cuts the product out of one photo; for many, make one `Cutout` and keep it.

    Args:
        image: the photo.
        request: how; None: with the package's own network.

    Raises:
        UsageError: the request names a file that is no matting model.
        PackshotError: there is no product, or the network cannot be run.
    """
    return Cutout(request)(image)


def own_transparency(image: ProductImage) -> Pixels | None:
    """Returns the alpha [H, W] of a picture that is cut out already, or None.

    Raises:
        PackshotError: nothing of it can be seen.
    """
    if not image.has_alpha:
        return None
    alpha = image.pixels[..., 3]
    if not alpha.any():
        raise PackshotError("every pixel is transparent; there is nothing to cut out.")
    return alpha.copy() if (alpha < SEE_THROUGH).mean() >= LEAST_SHARE else None


def laid_bare(photo: Pixels, alpha: Pixels) -> Pixels:
    """Returns RGBA [H, W, 4]: the photo's colours where alpha is 255, the product's own at its edge, white elsewhere.

    Args:
        photo: uint8 [H, W, 3].
        alpha: uint8 [H, W].
    """
    colours = estimate_foreground(np.ascontiguousarray(photo), alpha.astype(np.float32) / np.float32(255))
    colours[alpha == 0] = 255  # A background that is cut away shall not be found again under it.
    return np.dstack([colours, alpha])


def closed_form(photo: Pixels, rough: Floats) -> Floats:
    """Returns alpha [h, w] by closed-form matting (Levin et al. 2008) between what is surely product and surely not.

    Args:
        photo: uint8 [H, W, 3].
        rough: float32 [any, any], alpha as the network has it.

    Raises:
        PackshotError: pymatting is not installed.
    """
    from packshot.images.filters import dilate
    from packshot.images.resize import resize

    height, width = photo.shape[:2]
    factor = min(1.0, CLOSED_FORM_SIDE / max(height, width))
    h, w = max(1, round(height * factor)), max(1, round(width * factor))
    alpha = scale_plane(rough, h, w)
    reach = max(2, round(max(h, w) * 0.012))
    unknown = dilate((alpha > 0.05) & (alpha < 0.95), reach)
    trimap: npt.NDArray[np.float64] = np.where(unknown, 0.5, alpha > 0.5).astype(np.float64)
    if not (trimap == 1).any() or not (trimap == 0).any():
        return alpha
    small = resize(photo, h, w).astype(np.float64) / 255
    solved = _pymatting().estimate_alpha_cf(small, trimap)
    return np.asarray(np.clip(solved, 0, 1), np.float32)


def _pymatting() -> Any:
    try:
        import pymatting
    except ImportError as e:
        raise PackshotError(
            f"--refine closed-form needs pymatting ({e.name} is missing); install it with: "
            "pip install 'packshot[matting]'"
        ) from e
    return pymatting
