"""`enhance`: more pixels, less noise, blur and JPEG, better light; and a measured limit to what may change."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from packshot.core.errors import PackshotError, UsageError, lookup
from packshot.images.degrade import to_levels
from packshot.images.filters import dilate, fill_unknown
from packshot.images.hold import hold_near
from packshot.images.picture import Operation, ProductImage
from packshot.images.placing import MAX_PIXELS, MAX_SIDE
from packshot.images.resize import Pixels, resize
from packshot.images.text import text_mask
from packshot.images.tone import auto_tone, lift_shadows, white_balance
from packshot.models.restore.apply import Restorer, load_restorer
from packshot.models.restore.vivid import Vivid, VividModel, load_vivid
from packshot.release.receipt import FAITHFUL, Limits, heat_map, prove
from packshot.tasks.edit import Edited

Mode = Literal["faithful", "vivid"]
Floats = npt.NDArray[np.float32]

LARGEST_STEP = 4
LANCZOS_REACH = 4
"""Pixels of the photo about a pixel of the enlarged one that it is made from, one to spare."""
STRIP = 512
"""Rows at a time."""
TOLD = 0.05
"""Share of pixels held back from which on the user is told."""


@dataclass(frozen=True, kw_only=True)
class EnhanceRequest:
    """What is to become of a photo. Every strength is 0 (nothing) to 1.

    Attributes:
        scale: 1, 2, 3 or 4 times as many pixels a side.
        size: longest side of the result, in pixels, instead of a scale.
        denoise: takes noise away.
        jpeg: takes the traces of JPEG away.
        deblur: takes blur away.
        low_light: lifts what is dark.
        white_balance: makes the light neutral.
        tone: black, white and middle put right, within limits.
        mode: "faithful" makes nothing up; "vivid" enlarges with Real-ESRGAN, which makes texture up.
        vivid_model: "fast", or "best", which takes some 40 times as long.
        most_change: the largest difference from the photo scaled by Lanczos that a faithful result may have, as the
            99th percentile of CIEDE2000; what goes further is held back. None: no limit. Light and tone come after.
        protect_text: clean-up and vivid leave text and marks as a faithful enlargement has them.
        difference: a picture of where the result differs from the photo is made, too.

    Raises:
        UsageError: a value out of range, scale and size at once, or nothing to do.
    """

    scale: int = 1
    size: int | None = None
    denoise: float = 0.0
    jpeg: float = 0.0
    deblur: float = 0.0
    low_light: float = 0.0
    white_balance: float = 0.0
    tone: float = 0.0
    mode: Mode = "faithful"
    vivid_model: VividModel = "fast"
    most_change: float | None = 3.0
    protect_text: bool = True
    difference: bool = False

    def __post_init__(self) -> None:
        lookup("mode", self.mode, dict.fromkeys(get_args(Mode)))
        lookup("vivid model", self.vivid_model, dict.fromkeys(get_args(VividModel)))
        if self.scale not in range(1, LARGEST_STEP + 1):
            raise UsageError(f"--scale is {self.scale}; it can be 1, 2, 3 or 4. For more, name the --size.")
        if self.size is not None and not 1 <= self.size <= MAX_SIDE:
            raise UsageError(f"--size is {self.size}; it can be 1 to {MAX_SIDE:,} pixels.")
        if self.size is not None and self.scale != 1:
            raise UsageError("Give either --scale or --size.")
        for name in STRENGTHS:
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"--{name.replace('_', '-')} is {getattr(self, name):g}; it can be 0 to 1.")
        if self.most_change is not None and not 2 <= self.most_change <= 100:
            raise UsageError(f"--most-change is {self.most_change:g}; it can be 2 to 100, or 'none'.")
        if self.size is None and self.scale == 1 and not any(getattr(self, name) for name in STRENGTHS):
            raise UsageError(
                "Say what to do: --scale 2, --size 1600, or a strength such as --denoise 0.5 or --white-balance 1."
            )

    @property
    def cleans(self) -> bool:
        """Whether noise, JPEG traces or blur are to go."""
        return any((self.deblur, self.denoise, self.jpeg))


STRENGTHS = tuple(f.name for f in fields(EnhanceRequest) if f.type == "float")


class Enhance:
    """The edit of a request.

    Attributes:
        request: what is asked for.
    """

    task = "enhance"

    def __init__(self, request: EnhanceRequest) -> None:
        """Loads the networks that the request needs.

        Raises:
            PackshotError: weights are missing or damaged, or "vivid" is not installed.
        """
        self.request = request
        self.protects = request.protect_text and (request.cleans or request.mode == "vivid")
        enlarges = request.scale > 1 or request.size is not None
        self.cleaner: Restorer | None = load_restorer("clean") if request.cleans else None
        self.scaler: Restorer | None = load_restorer("scale") if enlarges else None
        self.vivid: Vivid | None = None
        if enlarges and request.mode == "vivid":
            self.vivid = load_vivid(request.vivid_model, request.scale if request.size is None else LARGEST_STEP)
        networks = {"clean": self.cleaner, "scale": self.scaler, "vivid": self.vivid}
        self.weights = {name: net.checksum for name, net in networks.items() if net is not None}

    def __reduce__(self) -> tuple[type[Enhance], tuple[EnhanceRequest]]:
        return Enhance, (self.request,)

    def settings(self) -> dict[str, Any]:
        """Returns all that decides the pixels."""
        return {**asdict(self.request), "weights": self.weights}

    def __call__(self, image: ProductImage) -> Edited:
        """Enhances one photo.

        Raises:
            PackshotError: the result would be too large.
        """
        request = self.request
        height, width = self._target(image.height, image.width)
        figures: dict[str, Any] = {"width": width, "height": height}
        done, notes = image, list[str]()
        receipt, refused, beside = None, None, {}
        if request.cleans or (height, width) != (image.height, image.width):
            pixels, held, text = self._restored(image.pixels, height, width)
            done = image.done(self._operation(image, height, width), pixels)
            figures |= {"held_back": round(held, 4), "text_protected": round(text, 4)}
            if held > TOLD:
                notes.append(
                    f"Up to {held:.0%} of a photo's pixels were held within a colour difference of "
                    f"{request.most_change:g}; --most-change lets more through."
                )
            limits = Limits()
            if request.mode == "faithful":
                limits = Limits(delta_e_p99=request.most_change, text_agreement=FAITHFUL.text_agreement)
            product = _wholly_seen(image.pixels, height, width)
            proof = prove(image, done, product, limits=limits)
            receipt, refused, beside = proof.receipt, proof.refused, dict(proof.beside)
        if any((request.white_balance, request.low_light, request.tone)):
            done = self._lit(done, figures)
        if request.difference:
            beside["difference"] = heat_map(image, done)
        return Edited(image=done, refused=refused, receipt=receipt, figures=figures, notes=tuple(notes), beside=beside)

    def _target(self, height: int, width: int) -> tuple[int, int]:
        request, longest = self.request, max(height, width)
        if request.size is None:
            rows, columns = height * request.scale, width * request.scale
        else:
            rows = max(1, round(height * request.size / longest))
            columns = max(1, round(width * request.size / longest))
        if rows * columns > MAX_PIXELS or max(rows, columns) > MAX_SIDE:
            raise PackshotError(
                f"The result would have {columns:,} x {rows:,} pixels; at most {MAX_PIXELS // 10**6} megapixels and "
                f"{MAX_SIDE:,} a side are made. Ask for a smaller --scale or --size."
            )
        return rows, columns

    def _operation(self, image: ProductImage, height: int, width: int) -> Operation:
        request = self.request
        if not request.cleans and height * width <= image.height * image.width:
            return Operation("resize", "classical", {"width": width, "height": height})
        params = {"width": width, "height": height, "mode": request.mode}
        strengths = {name: value for name in ("denoise", "jpeg", "deblur") if (value := getattr(request, name))}
        return Operation("enhance", "learned", params | strengths)

    def _restored(self, pixels: Pixels, height: int, width: int) -> tuple[Pixels, float, float]:
        """Returns the photo cleaned and at its new size, and the shares of its pixels held back and protected."""
        rgb, alpha, request = pixels[..., :3], pixels[..., 3:], self.request
        if alpha.size:
            known = alpha[..., 0] > 0  # The colours of hidden pixels are anything, and would shine through.
            rgb = to_levels(fill_unknown(rgb.astype(np.float32), known)) if known.any() else rgb
        rgb = np.ascontiguousarray(rgb)
        text = text_mask(rgb) if self.protects else None
        made = rgb
        if self.cleaner is not None:
            made = self.cleaner(rgb, 1, (request.deblur, request.denoise, request.jpeg))
        made = self._made_up(made, height, width) if self.vivid is not None else self._enlarged(made, height, width)
        held = protected = 0.0
        if text is not None and text.any():
            protected = float((text > 0.5).mean())
            made = _laid(made, self._enlarged(rgb, height, width), text)
        if request.mode == "faithful" and request.most_change is not None:
            made, held = hold_near(
                made, resize(rgb, height, width), request.most_change, _wholly_seen(pixels, height, width)
            )
        if alpha.size:
            made = np.concatenate([made, resize(alpha, height, width)], axis=2)
        return made, held, protected

    def _enlarged(self, rgb: Pixels, height: int, width: int) -> Pixels:
        for step in scale_steps(max(height / rgb.shape[0], width / rgb.shape[1])):
            assert self.scaler is not None
            rgb = self.scaler(rgb, step)
        return rgb if rgb.shape[:2] == (height, width) else resize(rgb, height, width)

    def _made_up(self, rgb: Pixels, height: int, width: int) -> Pixels:
        assert self.vivid is not None
        while rgb.shape[0] < height or rgb.shape[1] < width:
            rgb = self.vivid(rgb)
        return rgb if rgb.shape[:2] == (height, width) else resize(rgb, height, width)

    def _lit(self, image: ProductImage, figures: dict[str, Any]) -> ProductImage:
        request, rgb, alpha = self.request, np.ascontiguousarray(image.pixels[..., :3]), image.pixels[..., 3:]
        rgb, gains = white_balance(rgb, request.white_balance)
        rgb, gamma = lift_shadows(rgb, request.low_light)
        rgb, levels = auto_tone(rgb, request.tone)
        found = {"gains": list(gains), "shadow_gamma": gamma, "levels": list(levels)}
        figures |= found
        pixels = np.concatenate([rgb, alpha], axis=2) if alpha.size else rgb
        return image.done(Operation("tone", "classical", found), pixels)


def enhance(image: ProductImage, request: EnhanceRequest) -> Edited:
    """Enhances one picture.

    Raises:
        PackshotError: see `Enhance`.
    """
    return Enhance(request)(image)


def enlarge(image: ProductImage, side: int) -> ProductImage:
    """Returns a picture whose longest side is `side`, enlarged by the faithful network; one as large comes back.

    For pictures that were generated: no limit is held and nothing is proved, since there is no photo to be true to.
    """
    if max(image.height, image.width) >= side:
        return image
    request = EnhanceRequest(size=side, most_change=None, protect_text=False)
    edit = Enhance(request)
    height, width = edit._target(image.height, image.width)
    pixels = edit._restored(image.pixels, height, width)[0]
    return image.done(edit._operation(image, height, width), pixels)


def scale_steps(need: float) -> list[int]:
    """Returns the factors, each 2 to 4, whose product is at least `need` (1 or less: none)."""
    steps = []
    while need > LARGEST_STEP:
        steps.append(LARGEST_STEP)
        need /= LARGEST_STEP
    return [*steps, max(2, math.ceil(round(need, 6)))] if need > 1 else steps


def _wholly_seen(pixels: Pixels, height: int, width: int) -> npt.NDArray[np.bool_] | None:
    """Returns where a scaled photo has no transparency as far as Lanczos looks, bool [height, width]; RGB: None."""
    if pixels.shape[2] == 3:
        return None
    opaque = ~dilate(pixels[..., 3] < 255, LANCZOS_REACH)
    return np.asarray(Image.fromarray(opaque).resize((width, height), Image.Resampling.NEAREST))


def _laid(made: Pixels, plain: Pixels, weight: Floats) -> Pixels:
    """Returns `made` with `plain` laid over it where `weight`, [h, w] of any size, is 1."""
    height, width = made.shape[:2]
    large = np.asarray(Image.fromarray(weight).resize((width, height), Image.Resampling.BILINEAR))
    out = made.copy()
    for top in range(0, height, STRIP):
        part = slice(top, top + STRIP)
        if large[part].any():
            change = plain[part].astype(np.float32) - made[part]
            out[part] = to_levels(made[part] + large[part, :, None] * change)
    return out
