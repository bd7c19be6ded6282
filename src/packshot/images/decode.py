"""Picture files to pixels: limits first, then decoding by content, then upright 8-bit sRGB."""

import errno
import io
import stat
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, features
from PIL.JpegImagePlugin import JpegImageFile

from packshot.core.errors import PackshotError
from packshot.images import colour, exif, xmp
from packshot.images.picture import Metadata, Operation, ProductImage
from packshot.images.pillow import quiet

MIB = 2**20

SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif", ".hif"),
}
"""The formats that can be read, each with the name endings that are right for it."""

STARTS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"BM": "BMP",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
}
AVIF_BRANDS = {b"avif", b"avis"}
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
HEEDED = {"exif", "icc_profile", "xmp", "mp", "mpoffset"}
"""What Pillow may find in a JPEG that `decode` heeds."""
READ_ERRORS = {
    errno.ENOENT: "does not exist",
    errno.ENOTDIR: "does not exist",
    errno.EACCES: "may not be read: permission denied",
    errno.EPERM: "may not be read: permission denied",
    errno.ELOOP: "is a link that leads back to itself",
    errno.ENAMETOOLONG: "has a name that is too long",
}


class BadPicture(PackshotError):
    """A picture that cannot be read: the message names the file and says why, in one sentence."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is refused before anything is decoded.

    Attributes:
        max_bytes: size of the file.
        max_pixels: width times height as the file's header says.

    Raises:
        ValueError: a limit below 1.
    """

    max_bytes: int = 64 * MIB
    max_pixels: int = 64_000_000

    def __post_init__(self) -> None:
        if self.max_bytes < 1 or self.max_pixels < 1:
            raise ValueError("limits have to be 1 or more.")


DEFAULT_LIMITS = Limits()


def decode(source: Path | bytes, *, limits: Limits = DEFAULT_LIMITS, at_least: int | None = None) -> ProductImage:
    """Decodes a picture file: JPEG, PNG, WebP, TIFF, BMP, GIF, and AVIF or HEIC where the installed Pillow can.

    The content decides about the format, not the name. Of an animation the first frame is taken, of a TIFF the first
    page. The result is upright (EXIF orientation applied), 8 bits per channel, sRGB (an embedded ICC profile is
    honoured), RGB, or RGBA where the file has transparency. Safe to call from threads and processes.

    Args:
        source: the file, or its bytes.
        limits: what is refused from the header alone.
        at_least: both sides of the result may be smaller than the file's, but not below this many pixels (1 or more):
            a JPEG is then decoded at 1/2, 1/4 or 1/8 of its size, which is faster. None: full size.

    Returns:
        The picture; its history starts with the operation "decode", whose params are `name` (of the file, or None),
        `format`, `mode` (the file's own), `size` ([width, height] upright, before any reduction), `orientation`
        (EXIF 1 to 8), `reduced` (1, 2, 4 or 8), `icc` ("srgb"; "other": not kept; None: the file has no profile),
        `source_type` (IPTC term that the file's XMP carries, or None) and `notes` (sentences).

    Raises:
        BadPicture: missing, empty, too large, cut short, damaged, or not a picture at all.
        ValueError: `at_least` is below 1.
    """
    if at_least is not None and at_least < 1:
        raise ValueError(f"at_least is {at_least}; it has to be 1 or more.")
    path = source if isinstance(source, Path) else None
    kind = None
    try:
        data = _read(source, limits) if isinstance(source, Path) else bytes(source)
        _check_bytes(len(data), limits)
        kind = format_of(data)
        if kind is None:
            raise _Refusal(f"is not a picture: its content is none of {', '.join(SUFFIXES)}")
        return _decode(data, kind, path, limits, at_least)
    except _Refusal as e:
        raise BadPicture(f"{_name(path)} {e}.") from e
    except MemoryError as e:
        raise BadPicture(f"{_name(path)} does not fit into memory.") from e
    except Exception as e:  # On hostile bytes Pillow's readers raise nearly anything; none of it may reach the user.
        raise BadPicture(f"{_name(path)} is cut short or damaged, and cannot be decoded as {kind}.") from e


class Header(NamedTuple):
    """What a picture file says before anything of it is decoded: its format, and its size as it is stored."""

    format: str
    width: int
    height: int


def read_header(path: Path, *, max_bytes: int = 2**30) -> Header:
    """Returns what a picture file says of itself, also of one with more pixels than `decode` takes.

    Raises:
        BadPicture: missing, empty, larger than `max_bytes`, or without a header that can be read.
    """
    try:
        data = _read(path, Limits(max_bytes=max_bytes))
        kind = format_of(data)
        if kind is None:
            raise _Refusal(f"is not a picture: its content is none of {', '.join(SUFFIXES)}")
        size = _webp_size(data) if kind == "WEBP" and len(data) >= 30 else None
        if size is None:
            with quiet() if _may_warn(data, kind) else nullcontext():
                size = _open(data, kind).size
        return Header(kind, *size)
    except _Refusal as e:
        raise BadPicture(f"{_name(path)} {e}.") from e
    except Exception as e:  # As in `decode`.
        raise BadPicture(f"{_name(path)} is cut short or damaged; its size cannot be read.") from e


def plain_jpeg(data: bytes, limits: Limits) -> Image.Image | None:
    """Returns what `decode` gives for an RGB JPEG without any metadata that it would heed, a sixth faster.

    None: anything else; also what is wrong with a file is for `decode` to say.
    """
    if format_of(data) != "JPEG" or len(data) > limits.max_bytes:
        return None
    try:
        picture = _Jpeg(io.BytesIO(data))
        if picture.mode != "RGB" or picture.info.keys() & HEEDED or picture.width * picture.height > limits.max_pixels:
            return None
        picture.load()
    except Exception:  # On hostile bytes Pillow's readers raise nearly anything.
        return None
    return picture


def format_of(data: bytes) -> str | None:
    """Returns the format that the first bytes of a file show (a key of `SUFFIXES`), or None."""
    for start, kind in STARTS.items():
        if data.startswith(start):
            return kind
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        box = data[8 : min(int.from_bytes(data[:4], "big"), 512)]
        brands = {box[i : i + 4] for i in range(0, len(box), 4)}
        if brands & AVIF_BRANDS:
            return "AVIF"
        if brands & HEIF_BRANDS:
            return "HEIF"
    return None


class _Jpeg(JpegImageFile):
    """Pillow's JPEG reader, less a look into EXIF that can warn and that `images.exif` takes anyway."""

    def _read_dpi_from_exif(self) -> None:
        pass


class _Refusal(Exception):
    """Why a picture is not read: continues a sentence that begins with its name."""


def _name(path: Path | None) -> str:
    return "The picture" if path is None else "".join(c if c.isprintable() else "?" for c in str(path))


def _check_bytes(size: int, limits: Limits) -> None:
    if size == 0:
        raise _Refusal("is empty (0 bytes)")
    if size > limits.max_bytes:
        raise _Refusal(f"has {size / MIB:,.1f} MiB; the limit is {limits.max_bytes / MIB:,.1f} MiB")


def _check_pixels(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.max_pixels:
        raise _Refusal(
            f"says it is {width} x {height} pixels ({width * height / 1e6:,.1f} megapixels); "
            f"the limit is {limits.max_pixels / 1e6:,.1f} megapixels"
        )


def _read(path: Path, limits: Limits) -> bytes:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise _Refusal("is a folder, not a picture")
        if not stat.S_ISREG(status.st_mode):  # Reading a pipe or a device could wait for ever.
            raise _Refusal("is not a regular file")
        _check_bytes(status.st_size, limits)
        with path.open("rb", buffering=0) as f:
            return f.read(status.st_size)
    except OSError as e:
        raise _Refusal(READ_ERRORS.get(e.errno or 0, f"cannot be read: {e.strerror}")) from e
    except ValueError as e:  # A NUL byte in the name.
        raise _Refusal("is not a name that a file can have") from e


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """Returns (width, height) from a WebP's first chunk, since opening one already sets its canvas aside."""
    chunk, body = data[12:16], data[20:30]
    if chunk == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if chunk == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 ":
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    return None


def has_manifest(data: bytes) -> bool:
    """Returns whether a file's bytes look as if they held a C2PA manifest; cheap, and right about all that do."""
    return b"jumb" in data and b"c2pa" in data


def _open(data: bytes, kind: str) -> Image.Image:
    """Reads the header; nothing is decoded."""
    stream = io.BytesIO(data)
    if kind == "HEIF":
        try:
            # The plug-in's own class: registering it with Pillow would change Pillow for the whole process.
            from pillow_heif.as_plugin import HeifImageFile
        except ImportError as e:
            raise _Refusal("is a HEIC picture; install what reads it: pip install 'packshot[heif]'") from e
        heif: Image.Image = HeifImageFile(stream)
        return heif
    if kind == "AVIF" and not features.check("avif"):
        raise _Refusal("is an AVIF picture, and the installed Pillow was built without AVIF")
    if kind == "JPEG":
        return _Jpeg(stream)
    if kind not in Image.OPEN:
        Image.init()
    reader, _ = Image.OPEN[kind]
    # Exactly one reader, as `Image.open(stream, formats=[kind])` would pick it, but without its own pixel check: that
    # one warns, and its bound belongs to the whole process.
    try:
        return reader(stream, "")
    except Image.DecompressionBombError as e:  # WebP's reader checks by itself.
        raise _Refusal("says it has more pixels than can be decoded safely") from e


def _may_warn(data: bytes, kind: str) -> bool:
    """Whether Pillow's reader of this file may warn: only those take turns in `quiet`."""
    return kind in ("TIFF", "AVIF", "HEIF") or (kind == "PNG" and b"acTL" in data)


def _decode(data: bytes, kind: str, path: Path | None, limits: Limits, at_least: int | None) -> ProductImage:
    notes = []
    if path is not None and path.suffix.lower() not in SUFFIXES[kind]:
        notes.append(f"The name ends in '{path.suffix}' but the content is {kind}.")
    if kind == "WEBP" and (size := _webp_size(data)):
        _check_pixels(*size, limits)
    may_warn = _may_warn(data, kind)
    with quiet() if may_warn else nullcontext():
        im = _open(data, kind)
    mode, (width, height) = im.mode, im.size
    _check_pixels(width, height, limits)
    if problem := colour.unsupported(im):
        raise _Refusal(f"has {problem}, which cannot be read; save it with 8 or 16 bits per channel")
    if getattr(im, "is_animated", False) or "mpoffset" in im.info:
        notes.append("The file holds several frames or pages; the first one was taken.")
    reduced = 1
    # `draft` picks the largest reduction that keeps both sides, and says how wide the picture is then, unrounded.
    if at_least is not None and kind == "JPEG" and (drafted := im.draft(None, (at_least, at_least))):
        reduced = round(width / drafted[1][2])
    # Pillow turns a TIFF when it loads it, and forgets the orientation then.
    turned = exif.tiff_orientation(im) if kind == "TIFF" else None
    with quiet() if may_warn and kind in ("TIFF", "PNG") else nullcontext():  # The others are done with warning.
        low = colour.low_bytes(im, lambda: _open(data, kind)) if kind in ("PNG", "TIFF") else None
        im.load()

    exif_bytes, orientation = exif.of_picture(im, turned, notes)
    upright, icc = colour.to_srgb(im, im.info.get("icc_profile"), low, notes)
    if turned is None and orientation > 1:
        upright = upright.transpose(exif.TURNS[orientation])
        if orientation > 4:
            width, height = height, width
    packet = im.info.get("xmp")
    packet = packet if isinstance(packet, bytes) and packet else None
    params: dict[str, Any] = {
        "name": path.name if path is not None else None,
        "format": kind,
        "mode": mode,
        "size": [width, height],
        "orientation": orientation,
        "reduced": reduced,
        "icc": ("srgb" if icc else "other") if im.info.get("icc_profile") else None,
        "source_type": xmp.source_type(packet) if packet else None,
        "notes": notes,
    }
    credentials = data if has_manifest(data) else None
    metadata = Metadata(exif_bytes, icc, packet, exif.dpi_of_picture(im, exif_bytes), credentials)
    return ProductImage(np.asarray(upright), metadata, (Operation("decode", "capture", params),))
