"""encode: what is carried over, what must not be, and what a format cannot hold."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from packshot.core.errors import PackshotError, UsageError
from packshot.images import exif as exif_module
from packshot.images import xmp
from packshot.images.decode import decode
from packshot.images.encode import encode
from packshot.images.picture import Metadata, Operation, ProductImage
from packshot.images.resize import flatten

FORMATS = ["PNG", "JPEG", "WEBP"]
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PLACE = (52.0, 31.0, 12.25)


def camera_exif(orientation: int = 1) -> bytes:
    """EXIF as a telephone writes it: camera, place, maker notes, sizes, a thumbnail behind it all."""
    e = Image.Exif()
    e[0x010F], e[0x0110], e[0x0112], e[0x0131], e[0x8298] = "Maker", "Model 5", orientation, "Firmware", "(c) Shop"
    e[0x011A], e[0x011B], e[0x0128] = 300.0, 300.0, 2
    e[0x0201], e[0x0202] = 12345, 678  # Where a thumbnail would be.
    e[0xC4A5] = b"PrintIM\0secret"
    e[0x8769] = {0x829A: 0.01, 0x9003: "2026:01:02 03:04:05", 0x927C: b"MAKER NOTE 52.52", 0xA001: 2, 0xA002: 4000}
    e[0x8825] = {1: "N", 2: PLACE, 3: "E", 4: (13.0, 24.0, 1.0)}
    first = e.tobytes()
    # A second directory with a thumbnail, as cameras append it (EXIF 2.32, 4.5.5).
    tiff = bytearray(first[6:])
    order = "<" if tiff[:2] == b"II" else ">"
    start = struct.unpack_from(order + "I", tiff, 4)[0]
    count = struct.unpack_from(order + "H", tiff, start)[0]
    struct.pack_into(order + "I", tiff, start + 2 + 12 * count, len(tiff))
    thumbnail = b"\xff\xd8THUMBNAIL\xff\xd9"
    second = struct.pack(order + "H", 2)
    second += struct.pack(order + "HHII", 0x0201, 4, 1, len(tiff) + 2 + 24 + 4)
    second += struct.pack(order + "HHII", 0x0202, 4, 1, len(thumbnail)) + struct.pack(order + "I", 0)
    return first[:6] + bytes(tiff) + second + thumbnail


def parsed(exif: bytes | None) -> Image.Exif:
    out = Image.Exif()
    out.load(exif or b"")
    return out


PACKET = b"""<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:xmpGImg="http://ns.adobe.com/xap/1.0/g/img/" exif:GPSLatitude="52,31.2N" tiff:Orientation="6" xmp:Rating="4">
<exif:GPSLongitude>13,24.0E</exif:GPSLongitude>
<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">\xc2\xa9 Caf\xc3\xa9 &amp; Shop</rdf:li></rdf:Alt></dc:rights>
<xmp:Thumbnails><rdf:Alt><rdf:li><xmpGImg:image>AAAA</xmpGImg:image></rdf:li></rdf:Alt></xmp:Thumbnails>
<exif:Nested rdf:parseType="Resource"><exif:GPSAltitude>34/1</exif:GPSAltitude></exif:Nested>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""


def picture(channels: int = 3, **metadata: object) -> ProductImage:
    pixels = np.random.default_rng(2).integers(0, 256, (20, 30, channels), dtype=np.uint8)
    return ProductImage(pixels, Metadata(**metadata), (Operation("decode", "capture"),))  # type: ignore[arg-type]


@pytest.mark.parametrize("format", FORMATS)
def test_metadata_is_carried_and_the_place_is_not(format: str) -> None:
    data = encode(picture(exif=camera_exif(), icc=SRGB, xmp=PACKET, dpi=(300.0, 200.0)), format)
    for secret in (b"GPS", b"THUMBNAIL", b"MAKER NOTE", b"PrintIM", b"52,31", b"xmpGImg", struct.pack(">II", 49, 4)):
        assert secret not in data
    back = decode(data).metadata
    assert back.icc == SRGB
    assert back.dpi == pytest.approx((300.0, 200.0), rel=1e-4)
    e = parsed(back.exif)
    assert 0x8825 not in e
    assert (e[0x010F], e[0x0110], e[0x8298], e[0x0112]) == ("Maker", "Model 5", "(c) Shop", 1)
    inner = e.get_ifd(0x8769)
    assert inner[0x9003] == "2026:01:02 03:04:05"
    assert inner[0xA001] == 1, "the pixels are sRGB now"
    assert 0x927C not in inner and 0xA002 not in inner
    assert not e.get_ifd(0x0201) and e._info is not None and e._info.next == 0
    assert back.xmp is not None
    assert "© Café &amp; Shop" in back.xmp.decode()
    packet = xmp.Packet.parse(back.xmp)
    assert packet.get("{http://ns.adobe.com/xap/1.0/}Rating") == "4"
    assert b"Orientation" not in back.xmp


def test_the_place_is_there_before_encoding_for_who_checks_privacy() -> None:
    image = decode(encode_with_pillow(camera_exif(6)))
    e = parsed(image.metadata.exif)
    assert e.get_ifd(0x8825)[2] == PLACE
    assert e[0x0112] == 1
    assert image.height == 30


def encode_with_pillow(exif: bytes) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (30, 20)).save(out, "JPEG", exif=exif)
    return out.getvalue()


def test_a_tiffs_own_directory_becomes_exif_without_what_describes_its_storage() -> None:
    out = io.BytesIO()
    e = parsed(camera_exif(6))
    Image.new("RGB", (30, 20)).save(out, "TIFF", exif=e)
    image = decode(out.getvalue())
    assert (image.height, image.width) == (30, 20)
    carried = parsed(image.metadata.exif)
    assert set(carried) <= exif_module.KEPT_TAGS | {0x8769, 0x8825}
    assert carried[0x010F] == "Maker"
    assert carried.get(0x0112, 1) == 1
    assert carried.get_ifd(0x8825)[2] == PLACE
    assert 0x8825 not in parsed(decode(encode(image, "WEBP")).metadata.exif)


@pytest.mark.parametrize("format", FORMATS)
def test_damaged_metadata_is_not_carried(format: str) -> None:
    for packet in (b"<x:xmpmeta", b"\0\1\2", b"<a/>", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"):
        back = decode(encode(picture(exif=b"Exif\0\0nonsense", xmp=packet), format)).metadata
        assert (back.exif, back.xmp) == (None, None)


def test_nothing_is_invented() -> None:
    for format in FORMATS:
        assert decode(encode(picture(), format)).metadata == Metadata()


@pytest.mark.parametrize("format", FORMATS)
def test_equal_pictures_give_equal_bytes(format: str) -> None:
    image = picture(exif=camera_exif(), icc=SRGB, xmp=PACKET, dpi=(300.0, 300.0))
    assert encode(image, format) == encode(image, format)


def test_jpeg_lays_alpha_over_white_and_webp_keeps_it() -> None:
    image = picture(channels=4)
    jpeg = decode(encode(image, "JPEG", quality=100))
    assert not jpeg.has_alpha
    assert np.abs(jpeg.pixels.astype(int) - flatten(image.pixels)).max() <= 6
    assert np.array_equal(decode(encode(image, "WEBP")).pixels[..., 3], image.pixels[..., 3])
    assert np.array_equal(decode(encode(image)).pixels, image.pixels)


def test_quality_orders_sizes_and_errors() -> None:
    image = picture()
    for format in ("JPEG", "WEBP"):
        sizes, errors = [], []
        for quality in (20, 60, 95):
            data = encode(image, format, quality)
            sizes.append(len(data))
            errors.append(float(np.abs(decode(data).pixels.astype(int) - image.pixels).mean()))
        assert sizes == sorted(sizes)
        assert errors == sorted(errors, reverse=True)


def test_wrong_calls_and_what_does_not_fit() -> None:
    with pytest.raises(UsageError, match="Did you mean 'PNG'"):
        encode(picture(), "png")
    for quality in (0, 101):
        with pytest.raises(UsageError, match="1 to 100"):
            encode(picture(), "JPEG", quality)
    wide = ProductImage(np.zeros((1, 16_384, 3), np.uint8))
    with pytest.raises(PackshotError, match="at most 16383 pixels a side"):
        encode(wide, "WEBP")
    assert decode(encode(wide)).width == 16_384
    long = PACKET.replace(b"Shop", b"S" * 70_000)
    with pytest.raises(PackshotError, match="more EXIF or XMP than a JPEG can hold"):
        encode(picture(xmp=long), "JPEG")
    assert b"S" * 70_000 in (decode(encode(picture(xmp=long))).metadata.xmp or b"")
