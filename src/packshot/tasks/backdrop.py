"""`backdrop`: the product on another background, where it should be in the frame, with or without a shadow."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from packshot.core.errors import PackshotError, lookup
from packshot.core.files import check_file, disk_errors, sha256_file
from packshot.images.backdrops import (
    covering,
    gradient,
    lay_over,
    no_background,
    parse_colour,
    parse_gradient,
    plain,
    shade,
)
from packshot.images.decode import decode
from packshot.images.filters import Bools, dilate
from packshot.images.matte import estimate_foreground
from packshot.images.picture import Operation, Origin, ProductImage
from packshot.images.placing import Box, Layout, Placement, box_of, place
from packshot.images.resize import WHITE, Pixels, to_grey
from packshot.images.shadow import Shadow, contact_shadow, faded, kept_shadow, own_shadow, soft_shadow
from packshot.images.xmp import is_synthetic
from packshot.release.receipt import UNTOUCHED, prove
from packshot.release.source_type import derive_source_type
from packshot.release.statement import LABELLED
from packshot.tasks.edit import Edit, Edited

LOW, HIGH = 15, 240
ENLARGED = 1.05
FAINT = 8
"""Alpha of a shadow that can just be seen."""
LEVELS = 8
"""What colours under full transparency differ by, at least, where they are a photo's."""
MADE = {"contact": contact_shadow, "soft": soft_shadow}
SIDES = ("top", "left", "bottom", "right")


@dataclass(frozen=True, kw_only=True)
class BackdropRequest:
    """What a product is put on, and how.

    Attributes:
        background: "white", "#rrggbb", "gradient:A-B" (upper and lower colour), or the file of a picture, which is
            scaled and cut to cover the frame.
        shadow: "none"; "keep": the photo's own; "contact": made, of a product that stands; "soft": made, of one that
            lies flat.
        layout: the frame, and how the product lies in it.
        matte: a file, white where the product is, as large as each photo; None: the photo's own transparency, or what
            the cut-out finds.
        exact: the file holds exactly these pixels, so that a white background is 255 up to the product's edge: a PNG.
            False: any format; beside the product's edge a JPEG's white is some levels off.

    Raises:
        UsageError: a background or a shadow that is none.
    """

    background: str = "white"
    shadow: Shadow = "none"
    layout: Layout = field(default_factory=Layout)
    matte: Path | None = None
    exact: bool = True

    def __post_init__(self) -> None:
        lookup("shadow", self.shadow, dict.fromkeys(get_args(Shadow)))
        known = parse_colour(self.background) or parse_gradient(self.background)
        with disk_errors(Path(self.background)):
            if known is None and not Path(self.background).is_file():
                raise no_background(self.background)
        if self.matte is not None:
            check_file(self.matte)


class _Cut(NamedTuple):
    """A product cut out: RGBA, and what the one who cut it out says of it."""

    image: ProductImage
    review: str | None = None
    confidence: float | None = None
    notes: tuple[str, ...] = ()


class Backdrop:
    """The edit of a request; files that it names are read once."""

    task = "backdrop"

    def __init__(self, request: BackdropRequest, cut_out: Edit | None = None) -> None:
        """Makes it ready.

        Args:
            request: what is asked for.
            cut_out: gives an opaque photo as RGBA; None: opaque photos are refused, unless there is a matte.

        Raises:
            PackshotError: the background's picture or the matte cannot be read.
        """
        self.request, self.cut_out = request, cut_out
        self.colour = parse_colour(request.background)
        self.gradient = None if self.colour else parse_gradient(request.background)
        self.picture = None if self.colour or self.gradient else decode(Path(request.background))
        self.matte = None if request.matte is None else _matte(decode(request.matte).pixels)

    def settings(self) -> dict[str, Any]:
        """Returns all that decides the pixels."""
        request, layout = self.request, self.request.layout
        named = request.background if self.picture is None else sha256_file(Path(request.background))
        return {
            "background": named,
            "shadow": request.shadow,
            "aspect": layout.aspect,
            "size": layout.size,
            "fill": layout.fill,
            "margin": list(layout.margin),
            "centre": layout.centre,
            "matte": None if request.matte is None else sha256_file(request.matte),
            "exact": request.exact,
            "cut_out": None if self.cut_out is None else self.cut_out.settings(),
        }

    def __call__(self, image: ProductImage) -> Edited:
        """Puts the product of one photo on the background.

        Raises:
            PackshotError: there is no matte, no product in it, or no room for it.
        """
        layout, shadow = self.request.layout, self.request.shadow
        cut = self._cut(image)
        notes = list(cut.notes)
        own = own_shadow(cut.image.pixels)
        pixels, box_alpha = (
            _with_shadow(cut.image.pixels, own) if shadow == "keep" else _without_shadow(cut.image.pixels, own)
        )
        placement = place(box_alpha, layout)
        placed = placement.apply(pixels)
        alpha = placed[..., 3]
        plane = None if shadow == "keep" and own.any() else self._shadow(image, pixels, placed, placement, notes)
        backdrop = self._backdrop(placement.height, placement.width)
        result = lay_over(placed, backdrop if plane is None else shade(backdrop, plane))
        done = cut.image.done(self._operation(placement, cut.image), result)
        product = _product(pixels[..., 3], placement)
        proof = prove(image, done, product, limits=UNTOUCHED, mask=~product, placement=placement)
        notes += _notes(box_alpha, placement)
        figures = self._figures(box_of(box_alpha >= 128), alpha, plane, result, placement)
        covers = "The matte covers the whole photo, so none of its background was replaced."
        return Edited(
            image=done,
            lossless=self.request.exact and self.colour == WHITE,
            review=cut.review or (covers if (box_alpha >= 128).all() else None),
            refused=proof.refused,
            confidence=cut.confidence,
            receipt=proof.receipt,
            figures=figures,
            notes=tuple(notes),
            beside=proof.beside,
        )

    def _cut(self, image: ProductImage) -> _Cut:
        if self.matte is not None:
            if self.matte.shape != (image.height, image.width):
                height, width = self.matte.shape
                raise PackshotError(
                    f"The matte has {width} x {height} pixels and the photo {image.width} x {image.height}; "
                    "they have to be of one size."
                )
            colours = estimate_foreground(image.pixels[..., :3], self.matte.astype(np.float32) / np.float32(255))
            pixels = np.concatenate([colours, self.matte[..., None]], axis=2)
            return _Cut(image.done(Operation("matte", "classical"), pixels))
        if image.has_alpha and image.pixels[..., 3].min() < 255:
            return _Cut(image)
        if self.cut_out is None:
            raise PackshotError(
                "The photo has no transparency; cut the product out first (packshot cutout), or give its --matte."
            )
        found = self.cut_out(image)
        if not found.image.has_alpha:
            raise PackshotError("The cut-out found no product.")
        return _Cut(found.image, found.review, found.confidence, found.notes)

    def _shadow(
        self, photo: ProductImage, cut: Pixels, placed: Pixels, placement: Placement, notes: list[str]
    ) -> npt.NDArray[np.float32] | None:
        """Returns the shadow in the frame, or None; a note says why one that was asked for is not the photo's."""
        shadow = self.request.shadow
        if shadow == "none":
            return None
        if shadow != "keep":
            return faded(MADE[shadow](placed[..., 3]))
        seen = _shows_backdrop(photo.pixels)
        kept = kept_shadow(photo.pixels[..., :3], cut[..., 3]) if seen else None
        if kept is None:
            why = "its backdrop is too patterned or too small" if seen else "it is cut out already"
            notes.append(f"The photo's own shadow cannot be told ({why}); a soft one was made.")
            return faded(soft_shadow(placed[..., 3]))
        plane = (kept * 255 + 0.5).astype(np.uint8)[..., None]
        return faded(placement.apply(plane)[..., 0].astype(np.float32) / np.float32(255))

    def _backdrop(self, height: int, width: int) -> Pixels:
        if self.colour is not None:
            return plain(height, width, self.colour)
        if self.gradient is not None:
            return gradient(height, width, *self.gradient)
        assert self.picture is not None
        return covering(self.picture.pixels, height, width)

    def _operation(self, placement: Placement, cut: ProductImage) -> Operation:
        """Returns the entry of the history.

        Pixels that were not there before count as generated where a network was at work: it found the product, or it
        made the backdrop. A photo with transparency of its own, over plain white, stays what it was.
        """
        params = {"background": self.request.background, "shadow": self.request.shadow, "scale": placement.scale}
        origin: Origin = "generated" if derive_source_type(cut.history) in LABELLED else "classical"
        if self.picture is not None:
            declared = derive_source_type(self.picture.history)
            params |= {"background": Path(self.request.background).name, "background_source_type": declared}
            origin = "generated" if is_synthetic(declared) else origin
        return Operation("backdrop", origin, params)

    def _figures(
        self, box: Box, alpha: Pixels, shadow: npt.NDArray[np.float32] | None, result: Pixels, placement: Placement
    ) -> dict[str, Any]:
        fill = placement.scale * max(box.height / placement.height, box.width / placement.width)
        size = {"width": placement.width, "height": placement.height}
        figures: dict[str, Any] = {**size, "scale": placement.scale, "fill": round(fill, 4)}
        if self.colour == WHITE:
            outside = alpha == 0 if shadow is None else (alpha == 0) & (shadow == 0)
            figures["white_outside"] = bool((result[outside] == 255).all())
        return figures


def backdrop(image: ProductImage, request: BackdropRequest | None = None, cut_out: Edit | None = None) -> Edited:
    """Puts a product on another background: `Backdrop(request, cut_out)(image)`.

    Raises:
        UsageError: see `BackdropRequest`.
        PackshotError: see `Backdrop`.
    """
    return Backdrop(request or BackdropRequest(), cut_out)(image)


def _matte(pixels: Pixels) -> Pixels:
    """Returns a matte's file as [H, W]: its transparency where it has any, else its grey.

    What is nearly opaque or nearly clear (`LOW`, `HIGH`) becomes so, as mattes of networks are never quite sure.
    """
    clear = pixels.shape[2] == 4 and pixels[..., 3].min() < 255
    alpha = pixels[..., 3] if clear else to_grey(pixels)[..., 0]
    stretched = (alpha.astype(np.float32) - LOW) * (255 / (HIGH - LOW))
    return np.asarray(np.clip(stretched + 0.5, 0, 255), np.uint8)


def _product(alpha: Pixels, placement: Placement) -> Bools:
    """Returns which pixels of the frame come from opaque pixels of the photo alone, bool [H, W].

    When it is scaled, a pixel comes from all that Lanczos weighs: three pixels about it, of the photo or of the frame.
    """
    opaque = alpha == 255
    if placement.scale != 1:
        opaque = ~dilate(~opaque, 1 + math.ceil(3 / min(1.0, placement.scale)))
    return np.asarray(placement.apply(opaque.view(np.uint8)[..., None] * np.uint8(255))[..., 0] == 255)


def _shows_backdrop(pixels: Pixels) -> bool:
    """Returns whether a photo still holds what lay around its product: it is opaque, or cut out with its colours."""
    if pixels.shape[2] == 3:
        return True
    hidden = pixels[..., :3][pixels[..., 3] == 0]
    return len(hidden) == 0 or int(np.ptp(hidden, axis=0).max()) > LEVELS


def _with_shadow(cut: Pixels, shadow: Bools) -> tuple[Pixels, Pixels]:
    """Returns a cut-out with its shadow, and the matte that its box is taken from: the shadow is to be in the frame."""
    alpha = cut[..., 3]
    return cut, np.where(shadow & (alpha >= FAINT), np.uint8(255), alpha)


def _without_shadow(cut: Pixels, shadow: Bools) -> tuple[Pixels, Pixels]:
    """Returns a cut-out without the shadow that its transparency holds, and the matte that its box is taken from."""
    if not shadow.any():
        return cut, cut[..., 3]
    out = cut.copy()
    out[shadow] = 0
    return out, out[..., 3]


def _notes(alpha: Pixels, placement: Placement) -> list[str]:
    notes = []
    box = box_of(alpha >= 128)
    ends = (box.top == 0, box.left == 0, box.bottom == alpha.shape[0], box.right == alpha.shape[1])
    cut_off = [side for side, at_end in zip(SIDES, ends, strict=True) if at_end]
    if cut_off and len(cut_off) < len(SIDES):
        notes.append(f"The product reaches the photo's border ({', '.join(cut_off)}): it may be cut off there.")
    if placement.scale > ENLARGED:
        notes.append(f"The product was enlarged x{placement.scale:.2f}; packshot enhance gives it more detail.")
    return notes
