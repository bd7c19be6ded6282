"""`extend`: a photo with more room around it, its background continued; or less, where a margin is negative."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from packshot.core.errors import PackshotError, UsageError
from packshot.images.continuing import continue_background, guess_product
from packshot.images.filters import Bools
from packshot.images.picture import Operation, Origin, ProductImage
from packshot.images.placing import MAX_PIXELS, MAX_SIDE, Length, Placement, check_aspect, frame_of, parse_length
from packshot.images.resize import Pixels
from packshot.release.receipt import UNTOUCHED, prove
from packshot.tasks.cutout import Cutout
from packshot.tasks.edit import Edited

TOUCHES = 0.01
"""The share of a side from which on a product touches it."""
SIDES = ("top", "right", "bottom", "left")
COVERS = 16
"""Alpha from which a pixel holds some of the product."""


class Margins(NamedTuple):
    """What is added at each side; a negative length is cut off. A share is one of the photo's height or width."""

    top: Length
    right: Length
    bottom: Length
    left: Length


@dataclass(frozen=True, kw_only=True)
class ExtendRequest:
    """How much room a photo gets.

    Attributes:
        aspect: width and height of the result as a ratio: room is added at two sides, equally, until it is reached.
        margins: what each side gets instead.
        feather: pixels inside the photo's border, at the sides that grow, over which it passes into what was added; 0:
            all of the photo stays as it is.

    Raises:
        UsageError: both or neither of aspect and margins, or a feather below 0.
    """

    aspect: tuple[float, float] | None = None
    margins: Margins | None = None
    feather: int = 0

    def __post_init__(self) -> None:
        if (self.aspect is None) == (self.margins is None):
            raise UsageError("Give either an aspect (--aspect 4:5) or margins (--margin 10%,0,10%,0).")
        if self.aspect is not None:
            check_aspect(self.aspect)
        if self.feather < 0:
            raise UsageError(f"--feather is {self.feather}; it can be 0 or more pixels.")


class _Room(NamedTuple):
    """Whole pixels that each side gets, or loses."""

    top: int
    right: int
    bottom: int
    left: int


class Extend:
    """The edit of a request."""

    task = "extend"

    def __init__(self, request: ExtendRequest, cutout: Cutout | None = None) -> None:
        """Makes it ready.

        Args:
            request: what is asked for.
            cutout: finds the product, so that none of it is continued; None, or where it finds none: what differs from
                the photo's border is taken for the product.
        """
        self.request, self.cutout = request, cutout

    def settings(self) -> dict[str, Any]:
        """Returns all that decides the pixels."""
        margins = self.request.margins
        return {
            "aspect": self.request.aspect,
            "margins": None if margins is None else [list(m) for m in margins],
            "feather": self.request.feather,
            "cutout": None if self.cutout is None else self.cutout.settings(),
        }

    def __call__(self, image: ProductImage) -> Edited:
        """Extends one photo.

        Raises:
            PackshotError: nothing would be left of it, or it would be too large.
        """
        room = _room(self.request, image.height, image.width)
        if not any(room):
            return Edited(image=image, notes=("The photo has this form already; nothing was added.",))
        placement = Placement(
            height=image.height + room.top + room.bottom,
            width=image.width + room.left + room.right,
            top=room.top,
            left=room.left,
        )
        kept = _kept(placement, image)
        core = _core(kept, room, self.request.feather)
        notes: list[str] = []
        if image.has_alpha and image.pixels[..., 3].min() < 255:
            pixels, how = placement.apply(image.pixels), "transparent"
            core = kept
        elif max(room) <= 0:
            pixels, how = placement.apply(image.pixels), "cropped"
        else:
            pixels, how = self._continued(image, placement, kept, core, room, notes)
        params = {"margins": list(room), "feather": self.request.feather, "background": how}
        # Pixels that nobody photographed there; cropping and transparent room make none.
        made: Origin = "generated" if how not in ("transparent", "cropped") else "classical"
        done = image.done(Operation("extend", made, params), pixels)
        proof = prove(image, done, core, limits=UNTOUCHED, mask=~core, placement=placement)
        return Edited(
            image=done,
            refused=proof.refused,
            receipt=proof.receipt,
            figures={"width": done.width, "height": done.height, "margins": list(room), "background": how},
            notes=tuple(notes),
            beside=proof.beside,
        )

    def _continued(
        self, image: ProductImage, placement: Placement, kept: Bools, core: Bools, room: _Room, notes: list[str]
    ) -> tuple[Pixels, str]:
        photo = np.ascontiguousarray(image.pixels[..., :3])
        product = self._product(image, photo)
        touched = _touched(product, room)
        if touched:
            notes.append(
                f"The product reaches the photo's border ({', '.join(touched)}); what was added there is background."
            )
        canvas = placement.apply(photo)
        there = placement.apply(product.view(np.uint8)[..., None])[..., 0].view(np.bool_)
        filled, how = continue_background(canvas, core, there)
        band = kept & ~core
        if band.any():
            weight = _weight(kept, room, self.request.feather)[..., None]
            mixed = canvas * weight + filled * (1 - weight)
            filled[band] = (mixed[band] + 0.5).astype(np.uint8)
        if image.has_alpha:
            filled = np.concatenate([filled, np.full((*filled.shape[:2], 1), 255, np.uint8)], axis=2)
        return filled, how

    def _product(self, image: ProductImage, photo: Pixels) -> Bools:
        if self.cutout is not None:
            with suppress(PackshotError):  # A photo without a product can be extended as well.
                return self.cutout.matte(image).alpha >= COVERS
        return guess_product(photo)


def extend(image: ProductImage, request: ExtendRequest, cutout: Cutout | None = None) -> Edited:
    """Gives a photo more room: `Extend(request, cutout)(image)`.

    Raises:
        PackshotError: see `Extend`.
    """
    return Extend(request, cutout)(image)


def parse_margins(text: str) -> Margins:
    """Returns "T,R,B,L" (or one length for all sides, or two: top and bottom, left and right) as margins.

    Raises:
        UsageError: it is none of these.
    """
    lengths = [parse_length(part) for part in re.split(r"\s*,\s*", text.strip())]
    if len(lengths) not in (1, 2, 4):
        raise UsageError(f"'{text}' has {len(lengths)} margins; write one, two, or four: top,right,bottom,left.")
    return Margins(*(lengths * (4 // len(lengths))))


def _room(request: ExtendRequest, height: int, width: int) -> _Room:
    """Returns the pixels that each side gets.

    Raises:
        PackshotError: nothing would be left, or too much would be there.
    """
    if request.margins is not None:
        along = (height, width, height, width)
        room = _Room(*(round(m.pixels(side)) for m, side in zip(request.margins, along, strict=True)))
    else:
        assert request.aspect is not None
        rows, columns = frame_of(request.aspect, height, width)
        above, before = (rows - height) // 2, (columns - width) // 2
        room = _Room(above, columns - width - before, rows - height - above, before)
    new_height, new_width = height + room.top + room.bottom, width + room.left + room.right
    left_over = min(height, height + room.top, height + room.bottom), min(width, width + room.left, width + room.right)
    if min(new_height, new_width, *left_over) < 1:
        raise PackshotError(f"These margins leave nothing of a photo of {width} x {height} pixels.")
    if max(new_height, new_width) > MAX_SIDE or new_height * new_width > MAX_PIXELS:
        raise PackshotError(f"The result would have {new_width:,} x {new_height:,} pixels, which is too large.")
    return room


def _kept(placement: Placement, image: ProductImage) -> Bools:
    """Returns where the photo lies in the result."""
    kept = np.zeros((placement.height, placement.width), np.bool_)
    at = placement.covered(image.height, image.width)
    kept[at.top : at.bottom, at.left : at.right] = True
    return kept


def _core(kept: Bools, room: _Room, feather: int) -> Bools:
    """Returns the photo without its feathered border."""
    return kept if feather == 0 else kept & (_weight(kept, room, feather) >= 1)


def _weight(kept: Bools, room: _Room, feather: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Returns the photo's share of each pixel, from nearly 0 at a border that grows to 1 at `feather` pixels inside.

    A photo smaller than two feathers keeps its middle.
    """
    rows, columns = np.flatnonzero(kept.any(axis=1)), np.flatnonzero(kept.any(axis=0))
    shares = []
    for inside, grows, length in (
        (rows, (room.top > 0, room.bottom > 0), kept.shape[0]),
        (columns, (room.left > 0, room.right > 0), kept.shape[1]),
    ):
        depth = min(feather, (len(inside) - 1) // 2)
        at = np.arange(length)
        share = np.ones(length, np.float32)
        for distance, grown in zip((at - inside[0], inside[-1] - at), grows, strict=True):
            if grown and depth:
                share = np.minimum(share, np.clip((distance + 1) / (depth + 1), 0, 1))
        shares.append(share)
    return np.asarray(np.minimum(shares[0][:, None], shares[1][None, :]) * kept, np.float32)


def _touched(product: Bools, room: _Room) -> list[str]:
    """Returns the sides that grow and that the product touches."""
    lines = (product[0], product[:, -1], product[-1], product[:, 0])
    return [
        name
        for name, line, grown in zip(SIDES, lines, room, strict=True)
        if grown > 0 and np.count_nonzero(line) > TOUCHES * len(line)
    ]
