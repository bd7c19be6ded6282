"""EXIF: the orientation and resolution at once, without Pillow; the thorough cleaning only when a picture leaves."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from packshot.images.pillow import quiet

if TYPE_CHECKING:
    from PIL import Image

PREFIX = b"Exif\0\0"
ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x0112, 0x011A, 0x011B, 0x0128
EXIF_IFD, GPS_IFD = 0x8769, 0x8825
COLOR_SPACE = 0xA001

# EXIF orientation -> what turns the stored pixels upright, by the numbers of PIL.Image.Transpose (EXIF 2.32, 4.6.4).
TURNS: dict[int, Any] = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}

# What says something about the picture. All else in the first directory describes how a file was stored (strips, tiles,
# colour maps, thumbnails), is private to a camera maker, or is unknown, so nobody can say what it gives away.
KEPT_TAGS = frozenset(
    {
        0x010E,  # ImageDescription
        0x010F,  # Make
        0x0110,  # Model
        ORIENTATION,
        X_RESOLUTION,
        Y_RESOLUTION,
        RESOLUTION_UNIT,
        0x0131,  # Software
        0x0132,  # DateTime
        0x013B,  # Artist
        0x4746,  # Rating
        0x8298,  # Copyright
        *range(0x9C9B, 0x9CA0),  # XPTitle, XPComment, XPAuthor, XPKeywords, XPSubject
    }
)
MAKER_NOTE = 0x927C
# MakerNote holds offsets that break when EXIF is written anew, and often the place; PixelXDimension, PixelYDimension
# and Interop are stale after a crop.
DROPPED_EXIF_TAGS = frozenset({MAKER_NOTE, 0xA002, 0xA003, 0xA005})

# What tells whose camera it was: one number ties all photos of a camera together (EXIF 2.32, table 8).
SERIALS = {0xA420: "ImageUniqueID", 0xA430: "CameraOwnerName", 0xA431: "BodySerialNumber", 0xA435: "LensSerialNumber"}
AUTHORS = {0x013B: "Artist", 0x9C9D: "XPAuthor", 0xA437: "Photographer", 0xA438: "ImageEditor"}


def upright(exif: bytes) -> tuple[int, bytes]:
    """Returns the orientation (1 to 8; 1 where there is none) and the same EXIF with its orientation set to 1.

    Raises:
        ValueError: it is not EXIF at all.
    """
    tiff = _tiff(exif)
    out, orientation = bytearray(tiff), 0
    for order, tag, kind, at in _entries(tiff):
        if tag == ORIENTATION and kind in (1, 3, 4):
            form = order + {1: "B", 3: "H", 4: "I"}[kind]
            orientation = orientation or struct.unpack_from(form, tiff, at)[0]
            struct.pack_into(form, out, at, 1)
    return orientation if 1 <= orientation <= 8 else 1, PREFIX + bytes(out)


def resolution(exif: bytes) -> tuple[float, float] | None:
    """Returns (horizontal, vertical) pixels per inch, or None where EXIF does not say."""
    values: dict[int, float] = {}
    tiff = _tiff(exif)
    for order, tag, kind, at in _entries(tiff):
        if tag == RESOLUTION_UNIT and kind == 3:
            values[tag] = struct.unpack_from(order + "H", tiff, at)[0]
        elif tag in (X_RESOLUTION, Y_RESOLUTION) and kind == 5:
            (offset,) = struct.unpack_from(order + "I", tiff, at)
            if offset + 8 <= len(tiff):
                top, bottom = struct.unpack_from(order + "II", tiff, offset)
                values[tag] = top / bottom if bottom else math.nan
    if X_RESOLUTION not in values:
        return None
    per_inch = {2: 1.0, 3: 2.54}.get(int(values.get(RESOLUTION_UNIT, 2)), math.nan)
    x = values[X_RESOLUTION] * per_inch
    return sane_dpi((x, values.get(Y_RESOLUTION, math.nan) * per_inch)) or sane_dpi((x, x))


def sane_dpi(dpi: Any) -> tuple[float, float] | None:
    """Returns the pair as floats, or None where it is not a resolution that a file can carry (above 0, below 65536)."""
    if dpi is None:
        return None
    try:
        x, y = (float(v) for v in dpi)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return (x, y) if 0.5 <= x < 65535.5 and 0.5 <= y < 65535.5 else None


def clean(exif: bytes, dpi: tuple[float, float] | None = None) -> bytes | None:
    """Returns EXIF that may leave the house, or None where nothing is left or it cannot be read.

    Kept: description, camera, dates, author, copyright, exposure. Left out: GPS, thumbnail, maker notes, everything
    about how the file was stored. The orientation is 1, the colour space sRGB.

    Args:
        exif: EXIF as a file carried it.
        dpi: written as the resolution; None: what EXIF says stays.
    """
    from PIL import Image

    old = Image.Exif()
    try:
        with quiet():
            old.load(PREFIX + _tiff(exif))
            return _written(old, dpi=dpi, keep_gps=False)
    except Exception:  # Hostile EXIF makes Pillow raise nearly anything; metadata must not cost the picture.
        return None


def anonymous(exif: bytes, *, authors: bool = False) -> tuple[bytes | None, list[str]]:
    """Returns what `clean` returns without serial numbers and the owner's name, and the names of all that was private.

    Args:
        exif: EXIF as a file carried it.
        authors: leave out who made the photo, too.
    """
    from PIL import ExifTags, Image

    old, unwanted = Image.Exif(), SERIALS | (AUTHORS if authors else {})
    try:
        with quiet():
            old.load(PREFIX + _tiff(exif))
            inner = old.get_ifd(EXIF_IFD)
            found = [name for tag, name in unwanted.items() if tag in inner or tag in old]
            found += ["GPS"] if old.get_ifd(GPS_IFD) else []
            found += ["MakerNote"] if MAKER_NOTE in inner else []
            found += ["Thumbnail"] if old.get_ifd(ExifTags.IFD.IFD1) else []
            return _written(old, keep_gps=False, unwanted=frozenset(unwanted)), found
    except Exception:  # As in `clean`.
        return None, ["damaged EXIF"]


def tiff_orientation(im: Image.Image) -> int:
    """Returns the orientation of a TIFF that is opened and not loaded yet (1 where there is none)."""
    value = getattr(im, "tag_v2", {}).get(ORIENTATION)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def of_resolution(dpi: tuple[float, float]) -> bytes:
    """Returns EXIF that says the resolution (pixels per inch) and nothing else."""
    from PIL import Image

    out = Image.Exif()
    out[X_RESOLUTION], out[Y_RESOLUTION], out[RESOLUTION_UNIT] = *dpi, 2
    return out.tobytes()


def of_picture(im: Image.Image, turned: int | None, notes: list[str]) -> tuple[bytes | None, int]:
    """Returns the EXIF of a loaded picture, its orientation set to 1, and the orientation that the file had.

    Args:
        im: the loaded picture.
        turned: for a TIFF, its orientation; its EXIF lies in its own directory. None: another format.
        notes: gets a sentence where EXIF is damaged.
    """
    if turned is not None:
        return _of_tiff(im, notes), turned
    exif = im.info.get("exif")
    if exif is None and "Raw profile type exif" in im.info:  # How ImageMagick puts EXIF into PNG.
        try:
            exif = bytes.fromhex("".join(str(im.info["Raw profile type exif"]).split("\n")[3:]))
        except ValueError:
            exif = b"damaged"
    if not isinstance(exif, bytes) or not exif:
        return None, 1
    try:
        orientation, exif = upright(exif)
    except ValueError:
        notes.append("The EXIF data is damaged and was left out.")
        return None, 1
    return exif, orientation


def dpi_of_picture(im: Image.Image, exif: bytes | None) -> tuple[float, float] | None:
    """Returns the pixels per inch that the file's own header states, else those in its EXIF, else None."""
    return sane_dpi(im.info.get("dpi")) or (resolution(exif) if exif else None)


def _of_tiff(im: Image.Image, notes: list[str]) -> bytes | None:
    try:
        with quiet():
            return _written(im.getexif(), keep_gps=True)
    except Exception:  # As in `clean`.
        notes.append("The EXIF data is damaged and was left out.")
        return None


def _written(
    old: Image.Exif,
    *,
    keep_gps: bool,
    dpi: tuple[float, float] | None = None,
    unwanted: frozenset[int] = frozenset(),
) -> bytes | None:
    from PIL import Image

    new = Image.Exif()
    for tag in (KEPT_TAGS & set(old)) - unwanted:
        new[tag] = old[tag]
    dropped = DROPPED_EXIF_TAGS | unwanted
    inner = {tag: value for tag, value in old.get_ifd(EXIF_IFD).items() if tag not in dropped}
    if COLOR_SPACE in inner:
        inner[COLOR_SPACE] = 1
    if inner:
        new[EXIF_IFD] = inner
    if keep_gps and (gps := old.get_ifd(GPS_IFD)):
        new[GPS_IFD] = dict(gps)
    if not len(new):
        return None
    if ORIENTATION in new:
        new[ORIENTATION] = 1
    if dpi:
        new[X_RESOLUTION], new[Y_RESOLUTION], new[RESOLUTION_UNIT] = *dpi, 2
    return new.tobytes()


def _tiff(exif: bytes) -> bytes:
    while exif.startswith(PREFIX):
        exif = exif[len(PREFIX) :]
    if len(exif) < 8 or exif[:4] not in (b"II*\0", b"MM\0*"):
        raise ValueError("not EXIF")
    return exif


def _entries(tiff: bytes) -> Iterator[tuple[str, int, int, int]]:
    """Yields (byte order, tag, type, position of the value field) for the first directory; stops where it is cut."""
    order = "<" if tiff[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", tiff, 4)
    if start + 2 > len(tiff):
        return
    (count,) = struct.unpack_from(order + "H", tiff, start)
    for at in range(start + 2, min(start + 2 + 12 * count, len(tiff) - 11), 12):
        tag, kind = struct.unpack_from(order + "HH", tiff, at)
        yield order, tag, kind, at + 8
