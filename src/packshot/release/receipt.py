"""Product proof: what an edit did to the product's pixels, measured, held against limits, and shown.

The product region is what the product covers wholly (its matte is 255), in the frame of the result. What is compared
with it is the photo as it came in; where the product was moved or scaled, the photo moved and scaled likewise, by whole
pixels or with Lanczos.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import date
from typing import Any, NamedTuple

import numpy as np

from packshot.core.shapes import check_shape
from packshot.images.compare import SSIM_RADIUS, Tail, agreement, edge_counts, lightness, ssim_map
from packshot.images.filters import Bools
from packshot.images.lab import delta_e
from packshot.images.picture import Metadata, Operation, ProductImage, combined_history
from packshot.images.placing import Placement, box_of
from packshot.images.resize import Pixels, flatten, resize
from packshot.release.channels import Channel
from packshot.release.lettered import text_agreement

HEAT_TOP = 10.0
"""The CIEDE2000 difference that a heat map shows as its hottest colour."""
HEAT = np.array([[255, 236, 120], [255, 150, 30], [220, 30, 40], [120, 0, 110]], np.float32)
"""The colours of a heat map, from a difference that can just be seen to `HEAT_TOP`."""
SEEN = 0.5
STRIP = 1 << 18
"""Pixels at a time: what is measured takes some 100 bytes for each of them, and nothing for the rest of the picture."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an edit may do to the product; None and False: no limit.

    Attributes:
        identical: every pixel of the product region has to be the photo's own.
        identical_outside: so has every pixel outside the edit's mask.
        delta_e_max: the largest CIEDE2000 difference.
        delta_e_p99: its 99th percentile.
        ssim: the least structural similarity.
        edge_agreement: the least F1 score of the edges.
        text_agreement: the least agreement of the strokes of any text.
    """

    identical: bool = False
    identical_outside: bool = False
    delta_e_max: float | None = None
    delta_e_p99: float | None = None
    ssim: float | None = None
    edge_agreement: float | None = None
    text_agreement: float | None = None


UNTOUCHED = Limits(identical=True)
"""Cut-outs, backdrops and extensions: no pixel of the product changes; a scaled one is the photo scaled by Lanczos."""
MASKED = Limits(identical_outside=True)
"""Repairs: no pixel outside the mask changes."""
FAITHFUL = Limits(delta_e_p99=3.0, text_agreement=0.9)
"""Enhancement: against the photo scaled by Lanczos. Texts of 13 clothing photos, enlarged x2: 0.995 or more."""
ENCODED = Limits(delta_e_p99=6.0, ssim=0.93, text_agreement=0.8)
"""What a lossy file may change of the pixels that it was made from. Twelve clothing photos at 1,000 px: JPEG at quality
95 1.4 to 2.2 and 0.994 or more, at 75 up to 4.9 and from 0.969, at 50 up to 6.6 and from 0.941. Texts of 27 photos at
800 px: JPEG 0.97 or more at 75, 0.93 at 50; WebP 0.90 and 0.88; mirrored at their place at most 0.43."""


def limits_of(channel: Channel, on: date) -> Limits:
    """Returns what a channel lets an edit do to the product on a day: its rules on edits, else `FAITHFUL`."""
    stated = [r for r in channel.rules if r.subject == "edit" and r.binds(on, None)]
    return Limits(**{k: v for rule in stated for k, v in rule.params.items()}) if stated else FAITHFUL


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What was measured in the product region.

    Attributes:
        compared: what with what, in words.
        pixels: size of the product region.
        bit_identical: whether all pixels of the product region are the photo's own; None: it is empty.
        bit_identical_outside: whether all pixels outside the edit's mask are; None: the edit declared no mask.
        delta_e_max: largest CIEDE2000 difference; None, as the next ones: the product region is empty.
        delta_e_p99: its 99th percentile.
        ssim: mean structural similarity of the lightness.
        edge_agreement: F1 score of the edges (`packshot.images.compare.edge_agreement`).
        text_agreement: of the text that changed most (`packshot.release.lettered`); None: no text was found, or the
            product region is empty; 1 where no pixel changed.
        limits: what was allowed.
        broken: the limits that do not hold, in words.
        passed: whether all of them hold.
    """

    compared: str
    pixels: int
    bit_identical: bool | None
    bit_identical_outside: bool | None
    delta_e_max: float | None
    delta_e_p99: float | None
    ssim: float | None
    edge_agreement: float | None
    text_agreement: float | None
    limits: Limits
    broken: tuple[str, ...] = field(init=False)
    passed: bool = field(init=False)

    def __post_init__(self) -> None:
        broken = tuple(_broken(self))
        object.__setattr__(self, "broken", broken)
        object.__setattr__(self, "passed", not broken)

    def as_json(self) -> dict[str, Any]:
        """Returns it as JSON values."""
        return {**asdict(self), "broken": list(self.broken)}


def held_to(receipt: Mapping[str, Any], limits: Limits) -> Receipt:
    """Returns a receipt with other limits: what was measured stays.

    Args:
        receipt: as JSON values.
        limits: that hold instead of its own.
    """
    measured = {f.name: receipt[f.name] for f in fields(Receipt) if f.init and f.name != "limits"}
    return Receipt(**measured, limits=limits)


class Proof(NamedTuple):
    """A receipt as a task hands it on.

    Attributes:
        receipt: as JSON values.
        refused: why the result may not leave; None: it may.
        beside: the heat map, under the name "heat", where the result is refused; else nothing.
    """

    receipt: dict[str, Any]
    refused: str | None
    beside: dict[str, ProductImage]


def prove(
    before: ProductImage,
    after: ProductImage,
    product: Bools | Pixels | None = None,
    *,
    limits: Limits,
    mask: Bools | None = None,
    placement: Placement | None = None,
) -> Proof:
    """Compares the product before and after an edit, and says whether the result may leave.

    Args:
        before: see `compare_product`; so are `after`, `product`, `limits`, `mask` and `placement`.
    """
    receipt = compare_product(before, after, product, limits=limits, mask=mask, placement=placement)
    if receipt.passed:
        return Proof(receipt.as_json(), None, {})
    reason = f"The product is not what it was: {'; '.join(receipt.broken)}."
    return Proof(receipt.as_json(), reason, {"heat": heat_map(before, after, placement=placement)})


def compare_product(
    before: ProductImage,
    after: ProductImage,
    product: Bools | Pixels | None = None,
    *,
    limits: Limits,
    mask: Bools | None = None,
    placement: Placement | None = None,
    every: int = 1,
) -> Receipt:
    """Measures what an edit did to the product.

    Args:
        before: the photo as it came in.
        after: the result.
        product: [H, W] in the frame of the result, bool, or a matte of which 255 counts; None: the whole picture.
        limits: what is allowed.
        mask: bool [H, W] in the frame of the result, what the edit was to repaint; None: it declared nothing.
        placement: where the photo lies in the result; None: where it was, or, where the result has another size,
            scaled to it. What the photo does not reach belongs to no region.
        every: one of so many strips of rows is measured; whether pixels are identical is told of all.

    Raises:
        ValueError: a region of another size than the result.
    """
    rows, columns = after.height, after.width
    reference, at = _reference(before, after, placement)
    compared = _words(before, after, placement)
    region = np.zeros((rows, columns), np.bool_)
    if product is None:
        region[at] = True
    else:
        check_shape("product", product, rows, columns)
        region[at] = product[at] if product.dtype == np.bool_ else product[at] == 255
    outside = None
    if mask is not None:
        check_shape("mask", mask, rows, columns)
        outside = not _differ(reference[at], after.pixels[at], ~mask[at])
    if not region.any():
        return Receipt(
            compared=f"{compared}; no pixel is wholly the product's",
            pixels=0,
            bit_identical=None,
            bit_identical_outside=outside,
            delta_e_max=None,
            delta_e_p99=None,
            ssim=None,
            edge_agreement=None,
            text_agreement=None,
            limits=limits,
        )
    box = box_of(region)
    near = slice(max(0, box.top - 8), box.bottom + 8), slice(max(0, box.left - 8), box.right + 8)
    return _measured(reference[near], after.pixels[near], region[near], compared, outside, limits, every)


def heat_map(before: ProductImage, after: ProductImage, *, placement: Placement | None = None) -> ProductImage:
    """Returns a picture of where the result differs from the photo: yellow just visibly, red and violet strongly.

    The result lies beneath it, pale and grey.

    Args:
        before: see `compare_product`; so are `after` and `placement`.
    """
    reference, at = _reference(before, after, placement)
    there = np.zeros((after.height, after.width), np.bool_)
    there[at] = True
    pixels = np.empty((after.height, after.width, 3), np.uint8)
    for part, _ in _strips(after.height, after.width):
        pixels[part] = _heat(flatten(reference[part]), flatten(after.pixels[part]), there[part])
    operation = Operation("heat_map", "classical", {"delta_e_top": HEAT_TOP})
    return ProductImage(pixels, Metadata(), (*combined_history([before, after]), operation))


def _heat(one: Pixels, other: Pixels, there: Bools) -> Pixels:
    difference = np.where(there, delta_e(one, other), np.float32(0))
    grey = 150 + lightness(other)[..., None] * np.float32(0.35)
    steps = np.clip(difference / HEAT_TOP, 0, 1) * (len(HEAT) - 1)
    low = np.minimum(steps.astype(np.int64), len(HEAT) - 2)
    part = (steps - low)[..., None].astype(np.float32)
    hot = HEAT[low] * (1 - part) + HEAT[low + 1] * part
    weight = np.clip(difference / SEEN - 1, 0, 1)[..., None]
    return np.asarray(grey * (1 - weight) + hot * weight + 0.5).astype(np.uint8)


def _measured(
    a: Pixels, b: Pixels, region: Bools, compared: str, outside: bool | None, limits: Limits, every: int
) -> Receipt:
    pixels, strips = int(np.count_nonzero(region)), list(_strips(*region.shape))[::every]
    count = sum(int(np.count_nonzero(region[part][inner])) for part, inner in strips)
    identical = not _differ(a, b, region)
    figures: dict[str, float | None] = {"delta_e_max": 0.0, "delta_e_p99": 0.0}
    figures |= dict.fromkeys(("ssim", "edge_agreement", "text_agreement"), 1.0)
    if not identical and count:
        tail, similar, edges = Tail(count, 99), 0.0, np.zeros(4, np.int64)
        for part, inner in strips:
            where = region[part]
            one = flatten(a[part])
            # Outside the region the photo stands in for the result, so that no window sees more than the product.
            other = np.where(where[..., None], flatten(b[part]), one) if _differ(a[part], b[part], where) else one
            x = lightness(one)
            y = x if other is one else lightness(other)
            counted = np.zeros_like(where)
            counted[inner] = where[inner]
            edges += edge_counts(x, y, counted)
            if other is one:
                similar += int(np.count_nonzero(counted))
            else:
                similar += float(ssim_map(x, y)[counted].sum(dtype=np.float64))
                tail.add(delta_e(one[inner], other[inner])[where[inner]])
        figures = {
            "delta_e_max": round(tail.largest, 4),
            "delta_e_p99": round(tail.percentile, 4),
            "ssim": round(similar / count, 6),
            "edge_agreement": round(agreement(edges), 6),
            "text_agreement": text_agreement(a, b, region),
        }
    return Receipt(
        compared=compared,
        pixels=pixels,
        bit_identical=identical,
        bit_identical_outside=outside,
        limits=limits,
        **figures,
    )


def _strips(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Yields rows of a picture, with what windows see beyond them, and where in these the rows themselves lie."""
    step = max(8 * SSIM_RADIUS, STRIP // width)
    for top in range(0, height, step):
        start = max(0, top - SSIM_RADIUS)
        yield slice(start, top + step + SSIM_RADIUS), slice(top - start, top - start + step)


def _differ(a: Pixels, b: Pixels, where: Bools) -> bool:
    """Returns whether RGB or RGBA pixels [H, W, C] differ at any place of [H, W]; RGB is opaque."""
    step = max(1, STRIP // max(1, where.shape[1]))
    for top in range(0, len(where), step):
        part = slice(top, top + step)
        one, other, differ = a[part], b[part], np.zeros_like(where[part])
        for i in range(3):
            differ |= one[..., i] != other[..., i]
        if a.shape[2] == 4 or b.shape[2] == 4:
            alphas = [p[..., 3] if p.shape[2] == 4 else np.uint8(255) for p in (one, other)]
            differ |= alphas[0] != alphas[1]
        if (differ & where[part]).any():
            return True
    return False


def _broken(receipt: Receipt) -> list[str]:
    limits = receipt.limits
    broken = []
    if limits.identical and receipt.bit_identical is False:
        broken.append("pixels of it changed, and none may")
    if limits.identical_outside and not receipt.bit_identical_outside:
        broken.append("pixels outside the mask changed, and none may")
    most = (
        ("the largest CIEDE2000 difference", receipt.delta_e_max, limits.delta_e_max),
        ("the 99th percentile of the CIEDE2000 difference", receipt.delta_e_p99, limits.delta_e_p99),
    )
    least = (
        ("SSIM", receipt.ssim, limits.ssim),
        ("the agreement of the edges", receipt.edge_agreement, limits.edge_agreement),
        ("the agreement of a text's strokes", receipt.text_agreement, limits.text_agreement),
    )
    for name, value, limit in most:
        if value is not None and limit is not None and value > limit:
            broken.append(f"{name} is {value:.2f}, and {limit:g} is the most")
    for name, value, limit in least:
        if value is not None and limit is not None and value < limit:
            broken.append(f"{name} is {value:.3f}, and {limit:g} is the least")
    return broken


def _reference(
    before: ProductImage, after: ProductImage, placement: Placement | None
) -> tuple[Pixels, tuple[slice, slice]]:
    """Returns the photo in the frame of the result, and where in the frame it lies."""
    everywhere = slice(0, after.height), slice(0, after.width)
    if placement is None and (before.height, before.width) == (after.height, after.width):
        return before.pixels, everywhere
    if placement is None:
        return resize(before.pixels, after.height, after.width), everywhere
    check_shape("after", after.pixels, placement.height, placement.width, after.pixels.shape[2])
    at = placement.covered(before.height, before.width)
    return placement.apply(before.pixels), (slice(at.top, at.bottom), slice(at.left, at.right))


def _words(before: ProductImage, after: ProductImage, placement: Placement | None) -> str:
    if placement is None:
        if (before.height, before.width) == (after.height, after.width):
            return "the photo"
        return f"the photo scaled by Lanczos to {after.width} x {after.height}"
    moved = f"moved by {placement.left:+g}, {placement.top:+g}" if placement.left or placement.top else ""
    scaled = f"scaled by Lanczos x {placement.scale:.4f}" if placement.scale != 1 else ""
    return " ".join(["the photo", *filter(None, [" and ".join(filter(None, [scaled, moved]))])])
