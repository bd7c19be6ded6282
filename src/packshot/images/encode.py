"""Pictures to file bytes: PNG, JPEG, WebP, with the metadata that may leave the house."""

import io
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from packshot.core.errors import PackshotError, UsageError, lookup
from packshot.images import exif, xmp
from packshot.images.picture import ProductImage
from packshot.images.resize import flatten

# Longest side in pixels and longest EXIF and XMP in bytes that each format can hold; None: no bound that matters.
MAX_SIDE: dict[str, int | None] = {"PNG": None, "JPEG": 65_500, "WEBP": 16_383}
MAX_JPEG_EXIF = 65_533
MAX_JPEG_XMP = 65_533 - len(b"http://ns.adobe.com/xap/1.0/\0")


def encode(image: ProductImage, format: str = "PNG", quality: int = 95) -> bytes:
    """Encodes a picture as a file.

    Carried over: EXIF without GPS, thumbnail and maker notes (`exif.clean`), the ICC profile, the resolution, XMP
    without GPS (`xmp.clean`). Metadata that is damaged is not carried. Equal pictures give equal bytes.

    Args:
        image: the picture. JPEG has no transparency: RGBA is laid over white there.
        format: "PNG" (lossless), "JPEG" or "WEBP".
        quality: 1 (smallest) to 100, for JPEG and WebP; from 90 on JPEG keeps the full colour resolution (4:4:4).

    Raises:
        UsageError: unknown format, or a quality out of range.
        PackshotError: the format cannot hold so large a picture or so much metadata.
    """
    longest = lookup("picture format", format, MAX_SIDE)
    if not 1 <= quality <= 100:
        raise UsageError(f"Quality is {quality}; it can be 1 to 100.")
    if longest is not None and max(image.height, image.width) > longest:
        raise PackshotError(
            f"{format} holds at most {longest} pixels a side and the picture has {image.width} x {image.height}; "
            "choose PNG or a smaller size."
        )
    carried = image.metadata
    exif_bytes = exif.clean(carried.exif, carried.dpi) if carried.exif else None
    if exif_bytes is None and carried.dpi and format == "WEBP":  # Its only place for a resolution.
        exif_bytes = exif.of_resolution(carried.dpi)
    packet = xmp.clean(carried.xmp) if carried.xmp else None
    options: dict[str, Any] = {}
    if exif_bytes:
        options["exif"] = exif_bytes
    if carried.icc:
        options["icc_profile"] = carried.icc
    if carried.dpi and format != "WEBP":
        options["dpi"] = carried.dpi if format == "PNG" else tuple(max(1, round(v)) for v in carried.dpi)
    if format == "PNG":
        if packet:
            options["pnginfo"] = PngInfo()
            options["pnginfo"].add_itxt("XML:com.adobe.xmp", packet.decode("utf-8"))
    elif packet:
        options["xmp"] = packet
    if format == "JPEG":
        if len(exif_bytes or b"") > MAX_JPEG_EXIF or len(packet or b"") > MAX_JPEG_XMP:
            raise PackshotError(
                "The picture carries more EXIF or XMP than a JPEG can hold (64 KiB); choose PNG or WEBP."
            )
        options |= {"quality": quality, "subsampling": 0 if quality >= 90 else 2}
    elif format == "WEBP":
        options["quality"] = quality
    pixels = flatten(image.pixels) if format == "JPEG" else image.pixels
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format, **options)
    return out.getvalue()
