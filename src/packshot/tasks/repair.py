"""`repair`: what a mask covers is painted anew from what is around it; no other pixel changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from scipy import ndimage

from packshot.core.errors import PackshotError, UsageError, lookup
from packshot.core.files import check_file, sha256_file
from packshot.images.decode import decode
from packshot.images.defects import Defects, find_defects
from packshot.images.lettering import find_lines, text_of
from packshot.images.masks import Mask, Shape, draw_shapes, grow, mask_of_picture, ramp, show_mask
from packshot.images.patches import fill_patches
from packshot.images.picture import Metadata, Operation, ProductImage
from packshot.images.regions import Region
from packshot.images.resize import Pixels
from packshot.models.defects.apply import DefectFinder, load_defect_finder
from packshot.models.inpaint.apply import Inpainter, load_inpainter
from packshot.release.receipt import MASKED, prove
from packshot.tasks.edit import Edited

Method = Literal["auto", "patch", "network"]
FindMarks = Callable[[Pixels], Sequence[Region]]

MARK = 0.5
"""The confidence from which a line of text is a mark that --marks removes."""
SURE_MARK = 0.7
"""The confidence from which a mask over a line of text asks for an attestation."""
COVERED = 0.6
"""The share of a line that such a mask covers."""
AROUND_MARK = 0.3
"""How far around a mark is repainted, as a share of its height."""
AROUND_DEFECT = 2.0
"""How far around a defect is repainted, in pixels of a picture of up to 500."""
MOST = 0.6
"""Above this share of the photo a person should look at the result."""
LEAST_ATTESTATION = 10
NOTHING = "Nothing to repair was found; the photo is as it was."


@dataclass(frozen=True, kw_only=True)
class RepairRequest:
    """What is repainted, and how. All that is named is repainted together.

    Attributes:
        mask: the file of a picture as large as each photo: white is repainted.
        shapes: rectangles and polygons; in percent they fit photos of any size.
        marks: text and marks that lie on the photo.
        auto: damage that is found: dust, scratches, stains, holes, missing blocks.
        auto_network: with `auto`, whether the network looks for dust, scratches and stains, too, if it is installed. It
            finds twice as many, and now and then takes a button or a piping for one.
        attest: a sentence by which whoever asks says that he holds the rights to remove a mark; it is recorded.
        method: "network": an inpainter says what stands in the hole, patches of the photo add the texture; "patch":
            patches alone; "auto": "network" where its weights are installed.
        grow: pixels by which the mask is grown first.
        feather: pixels around the mask over which the filling passes into the photo; they count as the mask's.
        show_mask: whether the mask is written beside the result.
        seed: of the patches' search.

    Raises:
        UsageError: nothing to repaint is named, marks are to go without an attestation, or a value is out of range.
    """

    mask: Path | None = None
    shapes: tuple[Shape, ...] = ()
    marks: bool = False
    auto: bool = False
    auto_network: bool = True
    attest: str | None = None
    method: Method = "auto"
    grow: float = 0.0
    feather: float = 0.0
    show_mask: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.mask is None and not self.shapes and not self.marks and not self.auto:
            raise UsageError("Say what to repair: --mask FILE, --box X,Y,W,H, --polygon, --marks or --auto.")
        if self.mask is not None:
            check_file(self.mask)
        lookup("method", self.method, dict.fromkeys(get_args(Method)))
        for name, value in (("grow", self.grow), ("feather", self.feather)):
            if not 0 <= value <= 200:
                raise UsageError(f"--{name} is {value:g}; it can be 0 to 200 pixels.")
        if self.attest is not None and len(self.attest.strip()) < LEAST_ATTESTATION:
            raise UsageError('--attest needs a sentence, for example --attest "I hold the rights to these photos".')
        if self.marks and self.attest is None:
            raise UsageError(
                "Removing a mark needs your word that you may: add "
                '--attest "I hold the rights to these photos"; it is recorded with each of them.'
            )


class _Asked(NamedTuple):
    """What one photo's mask is made of."""

    mask: Mask
    defects: Defects | None
    marks: tuple[Region, ...]


def find_marks(pixels: Pixels) -> list[Region]:
    """Returns the lines of text in RGB or RGBA pixels, with their confidences."""
    return text_of(find_lines(pixels, busy=True), MARK)


class Repair:
    """The edit of a request; the mask's file and the network's weights are read once.

    Attributes:
        request: what is asked for.
    """

    task = "repair"

    def __init__(self, request: RepairRequest, find_marks: FindMarks = find_marks) -> None:
        """Makes it ready.

        Args:
            request: what is asked for.
            find_marks: finds text and marks.

        Raises:
            PackshotError: the mask's file is no picture, the weights are damaged, or a network is asked for and there
                are no weights.
        """
        self.request, self.find_marks = request, find_marks
        self.drawn = None if request.mask is None else decode(request.mask).pixels
        self.network: Inpainter | None = None if request.method == "patch" else load_inpainter()
        self.finder: DefectFinder | None = load_defect_finder() if request.auto and request.auto_network else None
        if request.method == "network" and self.network is None:
            raise PackshotError("The inpainter's weights are not installed; use --method patch.")

    def __reduce__(self) -> tuple[type[Repair], tuple[RepairRequest, FindMarks]]:
        return Repair, (self.request, self.find_marks)

    def settings(self) -> dict[str, Any]:
        """Returns all that decides the pixels, and what is written beside them."""
        request = self.request
        return {
            "mask": None if request.mask is None else sha256_file(request.mask),
            "shapes": [[type(shape).__name__.lower(), shape.text] for shape in request.shapes],
            "marks": request.marks,
            "auto": request.auto,
            "attest": request.attest,
            "weights": None if self.network is None else self.network.checksum,
            "detector": None if self.finder is None else self.finder.checksum,
            "grow": request.grow,
            "feather": request.feather,
            "show_mask": request.show_mask,
            "seed": request.seed,
        }

    def __call__(self, image: ProductImage) -> Edited:
        """Repairs one photo.

        Raises:
            PackshotError: the mask has another size, lies beside the photo or covers all of it, or it covers a mark and
                there is no attestation.
        """
        request = self.request
        asked = self._asked(image)
        review = _unsure(asked.defects)
        core = grow(asked.mask, request.grow)
        if core.all():
            raise PackshotError("The mask covers the whole photo, so there is nothing to repair it from.")
        if not core.any():
            return self._unchanged(image, asked, review)
        weight = ramp(core, request.feather)
        mask = weight > 0
        if mask.all():
            raise PackshotError("The mask and its feather cover the whole photo; make --feather smaller.")
        pixels = self._filled(image, mask)
        if request.feather > 0:
            mixed = image.pixels + weight[..., None] * (pixels.astype(np.float32) - image.pixels)
            pixels = np.where(mask[..., None], np.rint(mixed), image.pixels).astype(np.uint8)
        done = image.done(self._operation(mask, asked), pixels)
        proof = prove(image, done, ~mask, limits=MASKED, mask=mask)
        receipt = proof.receipt if request.attest is None else {**proof.receipt, "attestation": request.attest}
        share = float(mask.mean())
        if share > MOST and review is None:
            review = f"{share:.0%} of the photo was repainted."
        return Edited(
            image=done,
            lossless=True,
            review=review,
            refused=proof.refused,
            receipt=receipt,
            figures={"share": round(share, 6), "method": self._method(), **_found(asked)},
            beside={**proof.beside, **self._beside(image, mask)},
        )

    def _asked(self, image: ProductImage) -> _Asked:
        """Returns what of a photo is to be repainted.

        Raises:
            PackshotError: see `__call__`.
        """
        request, size = self.request, (image.height, image.width)
        mask = draw_shapes(request.shapes, *size)
        if self.drawn is not None:
            mask |= mask_of_picture(self.drawn, *size)
        lines = list(self.find_marks(image.pixels)) if request.marks or (request.attest is None and mask.any()) else []
        if request.attest is None:
            _check_rights(mask, lines)
        marks = tuple(line for line in lines if request.marks)
        for mark in marks:
            margin = max(2, round(AROUND_MARK * mark.height))
            rows = slice(max(0, mark.y - margin), mark.y + mark.height + margin)
            mask[rows, max(0, mark.x - margin) : mark.x + mark.width + margin] = True
        defects = (self.finder or find_defects)(image.pixels) if request.auto else None
        if defects is not None:
            mask |= grow(defects.mask, AROUND_DEFECT * max(1.0, min(size) / 500))
        return _Asked(mask, defects, marks)

    def _unchanged(self, image: ProductImage, asked: _Asked, review: str | None) -> Edited:
        if self.request.auto or self.request.marks:
            note = NOTHING
        else:
            note = "The mask covers nothing; the photo is as it was."
        empty = np.zeros((image.height, image.width), np.bool_)
        figures = {"share": 0.0, "method": "none", **_found(asked)}
        return Edited(
            image=image,
            lossless=True,
            review=review,
            figures=figures,
            notes=(note,),
            beside=self._beside(image, empty),
        )

    def _filled(self, image: ProductImage, mask: Mask) -> Pixels:
        """Returns the photo with its hole filled; its alpha stays."""
        rgb, allowed = np.ascontiguousarray(image.pixels[..., :3]), None
        if image.has_alpha:
            opaque = image.pixels[..., 3] == 255
            allowed = opaque if (opaque & ~mask).any() else None
            rgb = _without_hidden(rgb, image.pixels[..., 3] == 0, mask)
        guide = None if self.network is None else self.network(rgb, mask)
        out = image.pixels.copy()
        out[mask, :3] = fill_patches(rgb, mask, allowed=allowed, guide=guide, seed=self.request.seed)[mask]
        return out

    def _method(self) -> str:
        return "patch" if self.network is None else "network"

    def _operation(self, mask: Mask, asked: _Asked) -> Operation:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        left, top = int(columns[0]), int(rows[0])
        box = [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]
        params = {"method": self._method(), "box": box, "share": round(float(mask.mean()), 6), **_found(asked)}
        if self.request.attest is not None:
            params["attestation"] = self.request.attest
        # Nobody photographed these pixels there, whether a network made them or patches of the photo.
        return Operation("repair", "generated", params)

    def _beside(self, image: ProductImage, mask: Mask) -> dict[str, ProductImage]:
        if not self.request.show_mask:
            return {}
        shown = image.done(Operation("mask", "classical"), show_mask(mask))
        return {"mask": ProductImage(shown.pixels, Metadata(), shown.history)}


def repair(image: ProductImage, request: RepairRequest) -> Edited:
    """Repairs a photo: `Repair(request)(image)`.

    Raises:
        PackshotError: see `Repair`.
    """
    return Repair(request)(image)


def _check_rights(mask: Mask, lines: Sequence[Region]) -> None:
    """Makes sure that a mask covers no mark.

    Raises:
        PackshotError: it does.
    """
    for line in lines:
        at = mask[line.y : line.y + line.height, line.x : line.x + line.width]
        if line.confidence >= SURE_MARK and at.mean() >= COVERED:
            raise PackshotError(
                f"The mask covers what looks like text, at {line.x},{line.y},{line.width},{line.height}; to remove a "
                'mark, add --attest "I hold the rights to these photos", which is recorded.'
            )


def _found(asked: _Asked) -> dict[str, Any]:
    """Returns what detectors found, as JSON values."""
    out: dict[str, Any] = {}
    if asked.defects is not None:
        out["defects"] = dict(sorted(Counter(d.kind for d in asked.defects.found if d.sure).items()))
    if asked.marks:
        out["marks"] = len(asked.marks)
    return out


def _unsure(defects: Defects | None) -> str | None:
    if defects is None or not defects.unsure.any():
        return None
    kinds = Counter(d.kind for d in defects.found if not d.sure)
    words = ", ".join(f"{kind} ({count})" for kind, count in sorted(kinds.items()))
    return f"Left alone, since it may belong to the product: {words}; if it is damage, draw a --mask."


def _without_hidden(rgb: Pixels, hidden: Mask, mask: Mask) -> Pixels:
    """Returns RGB in which pixels of full transparency have the colour of the nearest visible one."""
    seen = ~hidden & ~mask
    if not hidden.any() or not seen.any():
        return rgb
    y, x = ndimage.distance_transform_edt(~seen, return_distances=False, return_indices=True)
    out = rgb.copy()
    out[hidden] = rgb[y[hidden], x[hidden]]
    return out
