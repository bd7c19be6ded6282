"""A photo in an artistic style: named, taken from a picture, or a mixture of two.

`restyle(image, request)` does one photo; `Restyle(request)` is the edit for many (`tasks.batch.edit_photos`).

Letters: H, W height and width; m how much of the style each pixel gets, in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from packshot.core.errors import PackshotError, UsageError, suggest
from packshot.core.files import disk_errors, sha256_file
from packshot.images.decode import decode
from packshot.images.filters import fill_unknown
from packshot.images.picture import Operation, ProductImage
from packshot.images.recolour import keep_colours
from packshot.images.resize import Pixels, flatten, to_grey
from packshot.images.text import text_mask
from packshot.models.style.presets import PRESETS
from packshot.models.style.stylise import Style, mix_styles, style_of_picture, stylise
from packshot.tasks.cutout import Cutout
from packshot.tasks.edit import Edited

Floats = npt.NDArray[np.float32]

ROWS = 256
"""Blended at a time."""
FLAT = 3.0
"""A style picture whose values deviate less than this from their mean, of 255, shows nothing but a colour."""
PICTURE_SIZE = 640
"""`Style.size` of a style picture."""


@dataclass(frozen=True, kw_only=True)
class RestyleRequest:
    """What a photo is to look like.

    Attributes:
        styles: one or two of NAME or PICTURE (a file), each with its share of the mixture where that is not half:
            "ink:0.7". Where one share is given, the other style gets the rest.
        strength: 0 (the photo) to 1 (the style alone).
        keep_colours: take the brush strokes from the style and the colours from the photo.
        only: "product" or "background": the rest stays as it is. Needs to know where the product is: from the photo's
            transparency, from `matte`, or from the cut-out.
        matte: a picture as large as the photo, white (or opaque) where the product is.
        protect_text: leave text and logos as they are.

    Raises:
        UsageError: no style, three styles, shares or a strength out of range, or a matte that nothing uses.
    """

    styles: tuple[str, ...]
    strength: float = 1.0
    keep_colours: bool = False
    only: Literal["product", "background"] | None = None
    matte: Path | None = None
    protect_text: bool = False

    def __post_init__(self) -> None:
        if not 1 <= len(self.styles) <= 2:
            raise UsageError(f"restyle takes one style, or two to mix, not {len(self.styles)}.")
        if not 0 <= self.strength <= 1:
            raise UsageError(f"--strength is {self.strength}; it can be 0 to 1.")
        if self.only not in (None, "product", "background"):
            raise UsageError(f"--only is '{self.only}'; it can be product or background.")
        if self.matte is not None and self.only is None:
            raise UsageError("--matte is for --only product or --only background; add one of them.")
        self.shares()

    def shares(self) -> list[tuple[str, float]]:
        """Returns each style's name or file and its share; the shares sum to 1.

        Raises:
            UsageError: a share is no number above 0, or two given ones do not sum to 1.
        """
        parsed = [_parse(style) for style in self.styles]
        given = [share for _, share in parsed if share is not None]
        if len(parsed) == 1:
            if given not in ([], [1.0]):
                raise UsageError(f"{self.styles[0]} is a share of one style; for less of it, use --strength.")
            return [(parsed[0][0], 1.0)]
        if len(given) == 0:
            given = [0.5, 0.5]
        elif len(given) == 1:
            given = [given[0], 1 - given[0]] if parsed[0][1] is not None else [1 - given[0], given[0]]
        if not (min(given) >= 0 and abs(sum(given) - 1) <= 1e-6):  # Nor is not-a-number a share.
            raise UsageError(f"The shares of {' and '.join(self.styles)} have to lie between 0 and 1 and sum to 1.")
        return [(name, share) for (name, _), share in zip(parsed, given, strict=True)]


def restyle(image: ProductImage, request: RestyleRequest, cutout: Cutout | None = None) -> Edited:
    """Returns a photo in a style: `Restyle(request, cutout)(image)`.

    Raises:
        UsageError: an unknown style.
        PackshotError: the style picture or the matte is of no use, or nobody knows where the product is.
    """
    return Restyle(request, cutout)(image)


class Restyle:
    """The edit `restyle` with its settings; the styles are read once.

    Args:
        request: what is wanted.
        cutout: finds the product where `request.only` is set and neither the photo nor `request.matte` tell.

    Raises:
        UsageError: an unknown style, or no such file.
        PackshotError: a style picture that is one flat colour, or that cannot be read.
    """

    task = "restyle"

    def __init__(self, request: RestyleRequest, cutout: Cutout | None = None) -> None:
        self.request, self.cutout = request, cutout
        named = request.shares()
        loaded = [_load(name) for name, _ in named]
        self.styles = [(style, share) for (style, _, _), (_, share) in zip(loaded, named, strict=True)]
        self.strength = request.strength * sum(s * share for (_, s, _), (_, share) in zip(loaded, named, strict=True))
        self.about = [{"style": told, "share": share} for (_, _, told), (_, share) in zip(loaded, named, strict=True)]
        if len(self.styles) == 2:
            mixed = mix_styles(self.styles[0][0], self.styles[1][0], self.styles[1][1])
            if mixed is not None:
                self.styles = [(mixed, 1.0)]
        self.matte = None if request.matte is None else _read_matte(request.matte)

    def settings(self) -> dict[str, Any]:
        """Returns what decides the pixels."""
        r = self.request
        return {
            "styles": self.about,
            "strength": r.strength,
            "keep_colours": r.keep_colours,
            "only": r.only,
            "matte": None if r.matte is None else sha256_file(r.matte),
            "cutout": None if self.cutout is None else self.cutout.settings(),
            "protect_text": r.protect_text,
        }

    def __call__(self, image: ProductImage) -> Edited:
        """Returns one photo in the style.

        Raises:
            PackshotError: nobody knows where the product is, or there is nothing to style.
        """
        rgb = image.pixels[..., :3]
        m = np.full(rgb.shape[:2], self.strength, np.float32)
        figures: dict[str, Any] = {}
        review = None
        if self.request.only is not None:
            product, review = self._product(image)
            m *= product if self.request.only == "product" else 1 - product
            if not m.any() and self.strength:
                empty = "no product" if self.request.only == "product" else "nothing but the product"
                raise PackshotError(f"There is {empty} in this photo; --only {self.request.only} has nothing to style.")
        if self.request.protect_text:
            text = text_mask(image.pixels)
            figures["text_area"] = round(float(text.mean()), 4)
            m *= 1 - text
        if image.has_alpha:
            m *= image.pixels[..., 3] > 0
        if not m.any():
            return Edited(image=image, figures=figures, notes=("Nothing was restyled.",))
        out = image.pixels.copy()
        _blend(out, self._styled(_opaque(image.pixels)), m)
        operation = Operation("restyle", "generated", self.settings())
        return Edited(image=image.done(operation, out), review=review, figures=figures)

    def _styled(self, photo: Pixels) -> Pixels:
        one, *other = [stylise(photo, style) for style, _ in self.styles]
        if other:
            one = one.copy()
            _blend(one, other[0], np.full(photo.shape[:2], self.styles[1][1], np.float32))
        return keep_colours(one, photo) if self.request.keep_colours else one

    def _product(self, image: ProductImage) -> tuple[Floats, str | None]:
        """Returns where the product is, [H, W], by the matte file, the transparency or the cut-out; and any doubt."""
        if self.matte is not None:
            if self.matte.shape != (image.height, image.width):
                h, w = self.matte.shape
                raise PackshotError(
                    f"The matte {self.request.matte} has {w} x {h} pixels and the photo {image.width} x "
                    f"{image.height}; they have to be of one size."
                )
            return self.matte, None
        if image.has_alpha and image.pixels[..., 3].min() < 255:
            return _unit(image.pixels[..., 3]), None
        if self.cutout is not None:
            found = self.cutout.matte(image)
            return _unit(found.alpha), found.review
        raise PackshotError(
            f"Where the product is cannot be seen from this photo, so --only {self.request.only} has nothing to go by; "
            "give a cut-out with transparency, or --matte FILE."
        )


def _parse(style: str) -> tuple[str, float | None]:
    name, colon, share = style.rpartition(":")
    with disk_errors(Path(style)):
        if not colon or Path(style).exists():
            return style, None
    try:
        return name, float(share)
    except ValueError:
        return style, None


def _load(name: str) -> tuple[Style, float, Any]:
    """Returns a style, what a strength of 1 stands for, and what tells it from all others."""
    if name in PRESETS:
        return PRESETS[name].style, PRESETS[name].strength, name
    path = Path(name)
    with disk_errors(path):
        if not path.is_file():
            raise UsageError(
                f"There is no style '{name}', and no picture of that name.{suggest(name, PRESETS)} "
                "`packshot restyle --list` tells the styles."
            )
    picture = flatten(decode(path).pixels)
    if picture.reshape(-1, 3).std(axis=0).max() < FLAT:
        raise PackshotError(
            f"{name} is one flat colour, which is no style; choose a picture with strokes or a pattern."
        )
    return style_of_picture(picture, PICTURE_SIZE), 1.0, sha256_file(path)


def _read_matte(path: Path) -> Floats:
    with disk_errors(path):
        if not path.is_file():
            raise UsageError(f"There is no file {path}.")
    pixels = decode(path).pixels
    by_alpha = pixels.shape[2] == 4 and pixels[..., 3].min() < 255
    plane = pixels[..., 3] if by_alpha else to_grey(pixels)[..., 0]
    return _unit(plane)


def _opaque(pixels: Pixels) -> Pixels:
    """Returns RGB [H, W, 3] in which transparent pixels continue the colours around, so that edges are right."""
    if pixels.shape[2] == 3:
        return pixels
    known = pixels[..., 3] > 0
    if known.all():
        return np.ascontiguousarray(pixels[..., :3])
    return np.rint(fill_unknown(pixels[..., :3].astype(np.float32), known)).astype(np.uint8)


def _blend(out: Pixels, other: Pixels, m: Floats) -> None:
    """Moves the colours of `out` towards `other` by m, in place; where m is 0 they stay, bit for bit.

    In sRGB values, whose steps look about equal: half strength looks like half.
    """
    for top in range(0, len(out), ROWS):
        band = slice(top, top + ROWS)
        colours = out[band, :, :3]
        photo = colours.astype(np.float32)
        colours[:] = np.rint(photo + m[band, :, None] * (other[band] - photo))


def _unit(plane: Pixels) -> Floats:
    return np.asarray(plane, np.float32) / np.float32(255)
