"""Any pixel layout that a file may have, to 8-bit sRGB: RGB, or RGBA where the file has transparency."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

if TYPE_CHECKING:
    from PIL.ImageCms import ImageCmsTransform

GREY = ("1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N")
GREY_ALPHA_BYTES = "RGBA"
PLANAR, BITS_PER_SAMPLE = 284, 258  # TIFF tags
MODE_OF_SPACE = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}


class LowBytes(NamedTuple):
    """A second reader of a 16-bit file; `grey_alpha` says that it reads plain bytes of grey and alpha."""

    reader: Image.Image
    grey_alpha: bool


class Profile(NamedTuple):
    """An ICC profile, understood: the mode of its pixels, and the transform to RGB in sRGB (None: it is sRGB)."""

    mode: str
    transform: ImageCmsTransform | None


def to_srgb(
    im: Image.Image, icc: bytes | None, low: LowBytes | None, notes: list[str]
) -> tuple[Image.Image, bytes | None]:
    """Converts a loaded picture to 8-bit sRGB.

    Args:
        im: the picture as Pillow loaded it, in any mode.
        icc: its ICC profile, or None: RGB is then taken as sRGB, CMYK is converted by (1 - C)(1 - K).
        low: what `low_bytes` returned for the file.
        notes: gets a sentence for each thing that the user should know.

    Returns:
        The picture in mode RGB or RGBA, and the profile where it is still right (sRGB pixels with an sRGB profile).
    """
    grey = im.mode in GREY
    im = _eight_bit(im, low)
    profile = _profile_for(im.mode, grey, icc, notes) if icc else None
    if im.mode == "CMYK" and profile is None:
        notes.append("CMYK without a usable ICC profile was converted by the plain formula; colours are a guess.")
    if im.mode == "La":
        im = im.convert("LA")
    mode = "RGBA" if im.has_transparency_data else "RGB"
    if profile is None or profile.transform is None:
        return (im if im.mode == mode else im.convert(mode)), (icc if profile is not None else None)
    out = profile.transform.apply(im if im.mode == profile.mode else im.convert(profile.mode))
    if mode == "RGBA":
        out.putalpha(im.convert("RGBA").getchannel("A"))
    return out, None


def round_16_to_8(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Returns 16-bit values as 8-bit ones: round(v * 255 / 65535), which is (v + 128) // 257 exactly."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def unsupported(im: Image.Image) -> str | None:
    """Returns what the file has that would be read wrongly, or None; only its header has to be read."""
    if im.mode in ("I", "F"):
        return "samples of 32 bits or with a sign"
    tags = getattr(im, "tag_v2", {})
    if tags.get(PLANAR) == 2 and 16 in tags.get(BITS_PER_SAMPLE, ()):
        return "16-bit samples stored plane by plane"
    return None


def low_bytes(im: Image.Image, reopen: Callable[[], Image.Image]) -> LowBytes | None:
    """Reads the file once more for the low bytes of 16-bit colour, or returns None where there are none.

    Pillow has no mode for 16-bit colour: it keeps each sample's first byte. Told that the bytes are swapped, it keeps
    the other one, and both together are the sample.

    Args:
        im: the picture, its header read, not loaded.
        reopen: opens the file once more.
    """
    swapped = _swapped(im)
    if swapped is None:
        return None
    second = reopen()
    assert isinstance(second, ImageFile.ImageFile)
    second.tile = [
        tile._replace(args=swapped if isinstance(tile.args, str) else (swapped, *(tile.args or ())[1:]))
        for tile in second.tile
    ]
    second.load()
    return LowBytes(second, grey_alpha=swapped == GREY_ALPHA_BYTES)


def _swapped(im: Image.Image) -> str | None:
    tiles = getattr(im, "tile", [])
    layout = tiles[0].args if tiles else ""
    layout = layout if isinstance(layout, str) else str((layout or ("",))[0])
    if layout == "LA;16B":  # Read as four plain bytes: grey high, grey low, alpha high, alpha low.
        return GREY_ALPHA_BYTES
    bands, _, depth = layout.partition(";")
    if bands not in ("RGB", "RGBA", "RGBX", "CMYK") or depth not in ("16B", "16L", "16N"):
        return None
    if depth == "16N":
        depth = "16L" if sys.byteorder == "little" else "16B"
    return f"{bands};{'16L' if depth == '16B' else '16B'}"


def _eight_bit(im: Image.Image, low: LowBytes | None) -> Image.Image:
    """Rounds 16-bit samples to 8 bits; a single transparent colour (PNG tRNS) is matched before that."""
    clear = im.info.get("transparency")
    if im.mode.startswith("I;16"):
        grey = np.asarray(im).astype(np.uint16)
        out = Image.fromarray(round_16_to_8(grey))
        if clear is not None:
            out.putalpha(Image.fromarray(np.where(grey == clear, 0, 255).astype(np.uint8)))
        return out
    if low is None:
        return im
    rest = np.asarray(low.reader).astype(np.uint16)
    if low.grey_alpha:
        values = rest[..., 0::2] << 8 | rest[..., 1::2]
        return Image.frombytes("LA", im.size, round_16_to_8(values).tobytes())
    values = np.asarray(im).astype(np.uint16) << 8 | rest
    out = Image.frombytes(im.mode, im.size, round_16_to_8(values).tobytes())
    if clear is not None and im.mode == "RGB":
        opaque = (values != np.array(clear, np.uint16)).any(axis=2)
        out.putalpha(Image.fromarray(np.where(opaque, 255, 0).astype(np.uint8)))
    return out


def _profile_for(mode: str, grey: bool, icc: bytes, notes: list[str]) -> Profile | None:
    """Returns the profile where it is sound and fits the pixels, else None, with a note."""
    try:
        profile = _understand(icc)
    except ValueError as e:
        notes.append(f"The ICC profile {e}; it was left out.")
        return None
    fits = {"CMYK": mode == "CMYK", "L": grey, "RGB": mode != "CMYK"}[profile.mode]
    if not fits:
        notes.append(f"The ICC profile is for {profile.mode} and the pixels are {mode}; it was left out.")
        return None
    return profile


@lru_cache(maxsize=32)
def _understand(icc: bytes) -> Profile:
    """Builds the transform to sRGB: relative colorimetric with black point compensation.

    A profile that moves no colour of a 9 x 9 x 9 grid by more than one level of 255 is sRGB: there are dozens of sRGB
    profiles under as many names, and converting from them would cost time and change nothing.

    Raises:
        ValueError: the profile is damaged or of a kind that pictures do not have.
    """
    from PIL import ImageCms

    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        mode = MODE_OF_SPACE.get(profile.profile.xcolor_space)
        if mode is None:
            raise ValueError("is for a colour space that pictures do not have")
        transform = ImageCms.buildTransform(
            profile,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, TypeError) as e:
        raise ValueError("is damaged") from e
    if mode == "RGB":
        steps = np.linspace(0, 255, 9).round().astype(np.uint8)
        grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3)
        moved = np.asarray(transform.apply(Image.fromarray(grid))).astype(int)
        if np.abs(moved - grid).max() <= 1:
            return Profile(mode, None)
    return Profile(mode, transform)
