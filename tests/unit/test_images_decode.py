"""decode: every format, every orientation, and every bad file as one sentence, with no warning let out."""

import io
import multiprocessing
import os
import struct
import warnings
import zlib
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageFile, features

from packshot.images import decode as decode_module
from packshot.images.decode import BadPicture, Limits, decode, plain_jpeg
from packshot.images.picture import ProductImage

Pixels = npt.NDArray[np.uint8]

LOSSLESS: dict[str, dict[str, object]] = {
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {"compression": "tiff_lzw"},
    "BMP": {},
}
NEARLY: dict[str, dict[str, object]] = {
    "JPEG": {"quality": 100, "subsampling": 0},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}
ALL = [*LOSSLESS, *NEARLY, "GIF"]


def ramp(height: int = 24, width: int = 36) -> Pixels:
    """Smooth colours that no turn or flip maps onto themselves."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [x * 255 // (width - 1), y * 255 // (height - 1), (x + y) * 255 // (height + width - 2)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def saved(im: Image.Image | Pixels, format: str, **options: object) -> bytes:
    if format == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    out = io.BytesIO()
    (im if isinstance(im, Image.Image) else Image.fromarray(im)).save(out, format, **options)
    return out.getvalue()


def notes(image: ProductImage) -> list[str]:
    found: list[str] = image.history[0].params["notes"]
    return found


# --- good files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", [*LOSSLESS, *NEARLY])
def test_formats(format: str, tmp_path: Path) -> None:
    pixels = ramp()
    path = tmp_path / f"picture.{format.lower()}"
    path.write_bytes(saved(pixels, format, **(LOSSLESS | NEARLY)[format]))
    image = decode(path)
    difference = np.abs(image.pixels.astype(int) - pixels)
    assert difference.max() <= (0 if format in LOSSLESS else 4)
    assert image.history[0].origin == "capture"
    assert image.history[0].params == {
        "name": path.name,
        "format": format,
        "mode": "RGB",
        "size": [36, 24],
        "orientation": 1,
        "reduced": 1,
        "icc": None,
        "source_type": None,
        "notes": [],
    }
    assert not image.pixels.flags.writeable
    assert np.array_equal(decode(path.read_bytes()).pixels, image.pixels)


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "GIF"])
def test_transparency_is_kept(format: str) -> None:
    pixels = np.dstack([ramp(), np.where(np.arange(36) < 18, 0, 255) * np.ones((24, 1), int)]).astype(np.uint8)
    if format == "GIF":
        pixels[..., :3] = pixels[0, -1, :3]
    image = decode(saved(pixels, format, **LOSSLESS.get(format, {})))
    assert image.has_alpha
    assert np.array_equal(image.pixels[..., 3], pixels[..., 3])
    assert np.array_equal(image.pixels[:, 18:, :3], pixels[:, 18:, :3])


def test_one_pixel() -> None:
    for format in ALL:
        assert decode(saved(np.full((1, 1, 3), 255, np.uint8), format)).pixels.shape[:2] == (1, 1)


ORACLE = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("tag", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "JPEG", "AVIF"])
def test_orientation(format: str, tag: int) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = tag, "Camera"
    data = saved(ramp(), format, exif=exif, **(LOSSLESS | NEARLY)[format])
    image = decode(data)
    want = ORACLE[tag](ramp())
    assert image.pixels.shape == want.shape
    assert np.abs(image.pixels.astype(int) - want).max() <= (0 if format in LOSSLESS else 4)
    params = image.history[0].params
    assert (params["orientation"], params["size"]) == (tag, [want.shape[1], want.shape[0]])
    carried = Image.Exif()
    carried.load(image.metadata.exif)
    assert carried.get(0x0112, 1) == 1
    assert carried[0x010F].strip("\0") == "Camera"


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_impossible_orientation_is_none(value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    image = decode(saved(ramp(), "PNG", exif=exif))
    assert image.history[0].params["orientation"] == 1
    assert np.array_equal(image.pixels, ramp())


def test_imagemagick_puts_exif_into_a_text_chunk() -> None:
    from PIL.PngImagePlugin import PngInfo

    exif = Image.Exif()
    exif[0x0112] = 3
    info = PngInfo()
    info.add_text("Raw profile type exif", f"\nexif\n  {len(exif.tobytes())}\n{exif.tobytes().hex()}\n", zip=True)
    assert np.array_equal(decode(saved(ramp(), "PNG", pnginfo=info)).pixels, ramp()[::-1, ::-1])


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_of_several_frames_the_first_is_taken_and_noted(format: str) -> None:
    red, blue = (Image.new("RGB", (8, 8), c) for c in ("#ff0000", "#0000ff"))
    image = decode(saved(red, format, save_all=True, append_images=[blue], **(LOSSLESS.get(format, {}))))
    assert np.abs(image.pixels[..., :3].astype(int) - [255, 0, 0]).max() <= 3
    assert "several frames or pages" in notes(image)[0]


def test_a_wrong_ending_is_decoded_by_content_and_noted(tmp_path: Path) -> None:
    path = tmp_path / "shirt.jpg"
    path.write_bytes(saved(ramp(), "PNG"))
    image = decode(path)
    assert np.array_equal(image.pixels, ramp())
    assert image.history[0].params["format"] == "PNG"
    assert notes(image) == ["The name ends in '.jpg' but the content is PNG."]


def test_a_link_to_a_picture_is_followed(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(saved(ramp(), "PNG"))
    (tmp_path / "b.png").symlink_to("a.png")
    assert np.array_equal(decode(tmp_path / "b.png").pixels, ramp())


@pytest.mark.parametrize(("at_least", "want"), [(1, (50, 67)), (50, (50, 67)), (51, (100, 134)), (201, (400, 533))])
def test_at_least_reduces_a_jpeg_and_keeps_both_sides(at_least: int, want: tuple[int, int]) -> None:
    image = decode(saved(ramp(533, 400), "JPEG"), at_least=at_least)
    assert (image.width, image.height) == want
    assert image.history[0].params["size"] == [400, 533]
    assert image.history[0].params["reduced"] == 400 // want[0]
    small = np.asarray(Image.fromarray(ramp(533, 400)).resize(want, Image.Resampling.BOX))
    assert np.abs(image.pixels.astype(int) - small).mean() < 2
    assert decode(saved(ramp(), "PNG"), at_least=4).width == 36


def test_the_reduction_is_the_true_one_for_odd_sizes() -> None:
    for width in range(1, 40):
        params = decode(saved(ramp(40, width) if width > 1 else np.zeros((40, 1, 3), np.uint8), "JPEG"), at_least=1)
        want = next(s for s in (8, 4, 2, 1) if width >= s)
        assert (params.history[0].params["reduced"], params.width) == (want, -(-width // want))


def test_at_least_has_to_be_a_size() -> None:
    with pytest.raises(ValueError, match="at_least"):
        decode(b"", at_least=0)


def test_the_declared_source_type_goes_into_the_history() -> None:
    term = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        f'e:DigitalSourceType="{term}"/></rdf:RDF></x:xmpmeta>'
    ).encode()
    for data in (saved(ramp(), "JPEG", xmp=packet), saved(ramp(), "WEBP", xmp=packet), tiff_with_xmp(packet)):
        image = decode(data)
        assert image.metadata.xmp == packet
        assert image.history[0].params["source_type"] == "trainedAlgorithmicMedia"


def tiff_with_xmp(packet: bytes) -> bytes:
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    tags = ImageFileDirectory_v2()
    tags[700] = packet
    tags.tagtype[700] = 1
    return saved(ramp(), "TIFF", tiffinfo=tags)


# --- bad files -------------------------------------------------------------------------------------------------------


def sentence(source: Path | bytes, limits: Limits | None = None) -> str:
    with pytest.raises(BadPicture) as caught:
        decode(source, limits=limits or Limits())
    text = str(caught.value)
    name = str(source) if isinstance(source, Path) else "The picture"
    assert text.startswith(name.replace("\n", "?"))
    assert "\n" not in text
    assert "Traceback" not in text
    assert text.endswith(".")
    return text


def test_missing_folder_link_and_pipe(tmp_path: Path) -> None:
    assert "does not exist" in sentence(tmp_path / "none.jpg")
    assert "does not exist" in sentence(tmp_path / "none" / "deeper.jpg")
    assert "is a folder" in sentence(tmp_path)
    (tmp_path / "dangling.png").symlink_to("nowhere.png")
    assert "does not exist" in sentence(tmp_path / "dangling.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    assert "link that leads back" in sentence(tmp_path / "loop.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert "not a regular file" in sentence(tmp_path / "pipe.png")
    assert "name that is too long" in sentence(tmp_path / ("x" * 300 + ".png"))
    with pytest.raises(BadPicture, match="not a name"):
        decode(tmp_path / "nul\0.png")
    sentence(tmp_path / "two\nlines.png")


def test_permission_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(saved(ramp(), "PNG"))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)  # The tests may run as root, who may read everything.
    assert "permission denied" in sentence(path)


def test_empty_and_text_and_unknown(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").write_bytes(b"")
    assert "is empty (0 bytes)" in sentence(tmp_path / "empty.jpg")
    assert "is empty" in sentence(b"")
    (tmp_path / "text.jpg").write_text("I am not a picture.")
    assert "is not a picture" in sentence(tmp_path / "text.jpg")
    for start in (b"%PDF-1.7", b"<svg xmlns", b"%!PS-Adobe-3.0 EPSF", b"P6\n2 2\n255\n", b"\0" * 64, b"\xff"):
        assert "is not a picture" in sentence(start + b"x" * 40)
    assert "BMP" in sentence(b"BMW is a car, and this is a text that begins with BM.")


@pytest.mark.parametrize("keep", [0.02, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("format", ALL)
def test_truncated(format: str, keep: float, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    data = saved(noise, format, **(LOSSLESS.get(format, {})))
    path = tmp_path / f"cut.{format.lower()}"
    path.write_bytes(data[: max(20, int(len(data) * keep))])
    assert "is cut short or damaged" in sentence(path)


def bombs() -> dict[str, bytes]:
    side = 60_000

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    jpeg = bytearray(saved(np.zeros((8, 8, 3), np.uint8), "JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", side, side)
    png = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)) + chunk(b"IDAT", b"")
    gif = bytearray(saved(Image.new("P", (8, 8)), "GIF"))
    gif[6:10] = struct.pack("<HH", side, side)
    bmp = bytearray(saved(np.zeros((8, 8, 3), np.uint8), "BMP"))
    bmp[18:26] = struct.pack("<ii", side, side)
    tiff = bytearray(saved(np.zeros((8, 8, 3), np.uint8), "TIFF"))
    for tag in (256, 257):
        at = tiff.index(struct.pack("<H", tag) + b"\4\0" if tag == 0 else struct.pack("<H", tag))
        tiff[at : at + 12] = struct.pack("<HHII", tag, 4, 1, side)
    vp8x = b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + struct.pack("<I", 16000)[:3] * 2
    webp = b"RIFF" + struct.pack("<I", 4 + len(vp8x) + 8) + b"WEBP" + vp8x + b"VP8L" + bytes(4)
    lossless = b"VP8L" + struct.pack("<I", 10) + b"\x2f" + struct.pack("<I", 16000 | 16000 << 14) + bytes(5)
    return {
        "jpeg": bytes(jpeg),
        "png": b"\x89PNG\r\n\x1a\n" + png,
        "gif": bytes(gif),
        "bmp": bytes(bmp),
        "tiff": bytes(tiff),
        "webp": webp,
        "webp lossless": b"RIFF" + struct.pack("<I", 4 + len(lossless)) + b"WEBP" + lossless,
    }


@pytest.mark.parametrize("kind", sorted(bombs()))
def test_bombs_are_refused_from_the_header(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: ImageFile.ImageFile) -> None:
        pytest.fail("pixels were decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    if kind.startswith("webp"):  # Its reader sets memory for the whole canvas aside when it is opened.
        monkeypatch.setattr(decode_module, "_open", lambda *_: pytest.fail("the file was opened"))
    assert "pixels" in sentence(bombs()[kind])


def test_pillows_own_pixel_check_does_not_warn() -> None:
    """Pillow's `Image.open` warns above 89 million pixels."""
    header = struct.pack(">IIBBBBB", 10_000, 10_000, 8, 0, 0, 0, 0)
    body = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    rest = struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    text = sentence(b"\x89PNG\r\n\x1a\n" + body + rest)
    assert "10000 x 10000 pixels (100.0 megapixels); the limit is 64.0 megapixels" in text


def test_limits_are_inclusive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(ramp(10, 20), "PNG")
    assert decode(data, limits=Limits(max_bytes=len(data), max_pixels=200)).width == 20
    assert "the limit is" in sentence(data, Limits(max_pixels=199))
    assert "MiB" in sentence(data, Limits(max_bytes=len(data) - 1))
    with (tmp_path / "huge.png").open("wb") as f:
        f.truncate(2**33)
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("the file was opened"))
    assert "8,192.0 MiB; the limit is 64.0 MiB" in sentence(tmp_path / "huge.png")
    with pytest.raises(ValueError, match="1 or more"):
        Limits(max_pixels=0)


def test_heic_without_its_plug_in_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif.as_plugin", None)
    data = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)
    assert "pip install 'packshot[heif]'" in sentence(data)


def test_heic_with_its_plug_in() -> None:
    plug_in = pytest.importorskip("pillow_heif", reason="HEIC needs the optional pillow-heif")
    out = io.BytesIO()
    plug_in.from_pillow(Image.fromarray(ramp(64, 96))).save(out, quality=95)
    image = decode(out.getvalue())
    assert image.history[0].params["format"] == "HEIF"
    assert np.abs(image.pixels.astype(int) - ramp(64, 96)).mean() < 3
    assert "HEIF" not in Image.OPEN, "the plug-in was registered for the whole process"


# --- hostile metadata, threads, processes ----------------------------------------------------------------------------


def test_damaged_exif_is_left_out_and_noted() -> None:
    for exif in (b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01"):
        image = decode(saved(ramp(), "PNG", exif=exif))
        assert np.array_equal(image.pixels, ramp())
    assert notes(decode(saved(ramp(), "PNG", exif=b"Exif\0\0garbage"))) == [
        "The EXIF data is damaged and was left out."
    ]


def hostile_files(seed: int, count: int) -> list[bytes]:
    """Small files of all formats with metadata, each with some bytes changed, cut out, or repeated."""
    exif = Image.Exif()
    exif[0x0112], exif[0x011A], exif[0x0128] = 6, 300.0, 2
    exif[0x8825] = {1: "N", 2: (1.0, 2.0, 3.0)}
    exif.load(exif.tobytes())
    extra: dict[str, dict[str, object]] = {f: {"exif": exif} for f in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")}
    good = [saved(ramp(12, 16), f, **extra.get(f, {})) for f in ALL]
    good.append(saved(ramp(12, 16), "PNG", save_all=True, append_images=[Image.new("RGB", (16, 12))]))
    good.append(saved(np.zeros((12, 16), np.uint16), "TIFF"))
    good.append(saved(Image.new("CMYK", (16, 12)), "JPEG"))
    random = np.random.default_rng(seed)
    out = []
    for i in range(count):
        data = bytearray(good[i % len(good)])
        for _ in range(int(random.integers(1, 6))):
            at = int(random.integers(0, min(len(data), 400)))
            match int(random.integers(0, 3)):
                case 0:
                    data[at] = int(random.integers(0, 256))
                case 1:
                    del data[at : at + int(random.integers(1, 9))]
                case _:
                    data[at:at] = data[at : at + int(random.integers(1, 9))]
        out.append(bytes(data))
    return out


def outcome(data: bytes) -> str:
    try:
        image = decode(data, limits=Limits(max_pixels=100_000))
    except BadPicture as e:
        assert "\n" not in str(e)
        return "bad"
    assert image.pixels.dtype == np.uint8
    return "good"


def test_hostile_bytes_give_a_picture_or_bad_picture_and_nothing_else() -> None:
    """Warnings are errors here, so one that gets out fails the test."""
    found = [outcome(data) for data in hostile_files(3, 1500)]
    assert min(found.count("good"), found.count("bad")) > 300


@pytest.mark.parametrize("after_pixels", [False, True])
def test_a_contradictory_animated_png_does_not_warn(after_pixels: bool) -> None:
    body = b"acTL" + struct.pack(">II", 1, 0)
    chunk = struct.pack(">I", 8) + body + struct.pack(">I", zlib.crc32(body))
    data = saved(ramp(), "PNG")
    at = data.index(b"IEND" if after_pixels else b"IDAT") - 4
    assert np.array_equal(decode(data[:at] + chunk + chunk + data[at:]).pixels, ramp())


def test_threads_leave_the_warning_filters_as_they_were() -> None:
    files = hostile_files(5, 300)
    alone = [outcome(data) for data in files]
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(outcome, files))
    assert together == alone
    assert list(warnings.filters) == before


def test_another_process_decodes_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(saved(ramp(), "JPEG"))
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        there = pool.submit(decode, path).result()
    here = decode(path)
    assert np.array_equal(there.pixels, here.pixels)
    assert (there.history, there.metadata) == (here.history, here.metadata)
    assert not there.pixels.flags.writeable


def test_pillow_is_left_as_it_was() -> None:
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, ImageFile.MAXBLOCK)
    decode(saved(ramp(), "PNG"))
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, ImageFile.MAXBLOCK)


def mpo() -> bytes:
    return saved(Image.fromarray(ramp()), "MPO", save_all=True, append_images=[Image.new("RGB", (36, 24))])


def test_a_jpeg_with_several_pictures_is_a_jpeg() -> None:
    image = decode(mpo())
    assert image.history[0].params["format"] == "JPEG"
    assert "several frames" in notes(image)[0]
    assert np.array_equal(image.pixels, decode(saved(ramp(), "JPEG")).pixels)


def test_resolution_comes_from_the_header_or_from_exif_or_is_unknown() -> None:
    exif = Image.Exif()
    exif[0x011A], exif[0x011B], exif[0x0128] = 100.0, 50.0, 3
    assert decode(saved(ramp(), "JPEG")).metadata.dpi is None
    assert decode(saved(ramp(), "JPEG", dpi=(300, 150))).metadata.dpi == (300.0, 150.0)
    assert decode(saved(ramp(), "JPEG", exif=exif)).metadata.dpi == (254.0, 127.0)
    assert decode(saved(ramp(), "WEBP", exif=exif)).metadata.dpi == (254.0, 127.0)
    assert decode(saved(ramp(), "TIFF", dpi=(300, 150))).metadata.dpi == (300.0, 150.0)
    assert decode(saved(ramp(), "PNG", dpi=(300, 150))).metadata.dpi == pytest.approx((300, 150), rel=1e-4)
    exif[0x011A] = 0.0
    assert decode(saved(ramp(), "WEBP", exif=exif)).metadata.dpi is None


def test_real_photos_are_what_pillow_decodes(shared_data: Path) -> None:
    photos = sorted((shared_data / "clothing" / "original").glob("*.jpg"))[:20]
    assert photos
    for path in photos:
        with Image.open(path) as im:
            assert np.array_equal(decode(path).pixels, np.asarray(im.convert("RGB")))


# --- the short way for plain JPEG files ------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 30}, {"dpi": (300, 300)}, {"comment": "x"}])
def test_plain_jpeg_equals_decode(options: dict[str, object]) -> None:
    data = saved(ramp(), "JPEG", **options)
    picture = plain_jpeg(data, Limits())
    assert picture is not None
    assert np.array_equal(np.asarray(picture), decode(data).pixels)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_plain_jpeg_leaves_other_colours_to_decode(mode: str) -> None:
    assert plain_jpeg(saved(Image.fromarray(ramp()).convert(mode), "JPEG"), Limits()) is None


def test_plain_jpeg_leaves_what_needs_heed_to_decode() -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    data = saved(ramp(), "JPEG")
    assert plain_jpeg(saved(ramp(), "JPEG", exif=turned), Limits()) is None
    assert plain_jpeg(saved(ramp(), "JPEG", icc_profile=b"not a profile"), Limits()) is None
    assert plain_jpeg(saved(ramp(), "JPEG", xmp=b"<x:xmpmeta/>"), Limits()) is None
    assert plain_jpeg(data[: len(data) // 2], Limits()) is None
    assert plain_jpeg(saved(ramp(), "PNG"), Limits()) is None
    assert plain_jpeg(data, Limits(max_pixels=99)) is None
    assert plain_jpeg(data, Limits(max_bytes=99)) is None
