"""Every pixel layout against an independent computation: rounding, matrix profiles in closed form, Lab tables."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from packshot.images import colour
from packshot.images.decode import BadPicture, decode

Array = npt.NDArray[np.generic]
NOISE = np.random.default_rng(7)


def file_bytes(im: Image.Image, format: str, **options: object) -> bytes:
    out = io.BytesIO()
    im.save(out, format, **options)
    return out.getvalue()


# --- 16 bits ---------------------------------------------------------------------------------------------------------


def png(values: Array, colour_type: int, extra: bytes = b"", interlaced: bool = False) -> bytes:
    """A 16-bit PNG written by hand: [H, W, C] uint16; `extra` goes before the pixels."""
    height, width = values.shape[:2]
    big = values.astype(">u2")
    # Adam7: first column, first row, column step, row step of each pass.
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    raw = b""
    for x, y, dx, dy in passes if interlaced else [(0, 0, 1, 1)]:
        part = big[y::dy, x::dx]
        if part.size:
            raw += b"".join(b"\0" + row.tobytes() for row in part)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, int(interlaced))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    )


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def tiff(values: Array, order: str = "<", deflate: bool = False, planar: int = 1) -> bytes:
    """A 16-bit RGB TIFF written by hand, one strip."""
    height, width, channels = values.shape
    data = (values if planar == 1 else values.transpose(2, 0, 1)).astype(f"{order}u2").tobytes()
    data = zlib.compress(data) if deflate else data
    count = 11
    bits_at = 8 + 2 + 12 * count + 4
    data_at = bits_at + 2 * channels
    strips = [data_at + i * len(data) // channels for i in range(channels)] if planar == 2 else [data_at]
    assert planar == 1 or not deflate
    offsets_at = data_at + len(data)
    tags = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, channels, bits_at),
        (259, 3, 1, 8 if deflate else 1),
        (262, 3, 1, 2),
        (273, 4, len(strips), strips[0] if len(strips) == 1 else offsets_at),
        (274, 3, 1, 1),
        (277, 3, 1, channels),
        (278, 4, 1, height),
        (279, 4, len(strips), len(data) if len(strips) == 1 else offsets_at + 4 * len(strips)),
        (284, 3, 1, planar),
    ]
    out = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8) + struct.pack(order + "H", count)
    for tag, kind, number, value in tags:
        short = kind == 3 and number == 1
        packed = struct.pack(order + "HH", value, 0) if short else struct.pack(order + "I", value)
        out += struct.pack(order + "HHI", tag, kind, number) + packed
    out += struct.pack(order + "I", 0) + struct.pack(f"{order}{channels}H", *[16] * channels) + data
    return out + struct.pack(f"{order}{len(strips) * 2}I", *strips, *[len(data) // len(strips)] * len(strips))


def rounded(values: Array) -> Array:
    return np.floor(values.astype(np.float64) * 255 / 65535 + 0.5).astype(np.uint8)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bit_png_is_rounded_to_nearest(colour_type: int, channels: int, interlaced: bool) -> None:
    values = NOISE.integers(0, 65536, (37, 53, channels), dtype=np.uint16)
    values[0, :4] = np.array([0, 128, 129, 65535], np.uint16)[:, None]
    image = decode(png(values, colour_type, interlaced=interlaced))
    want = rounded(values)
    if channels < 3:
        want = np.concatenate([want[..., :1]] * 3 + [want[..., 1:]], axis=2)
    assert np.array_equal(image.pixels, want)


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_rgb_tiff_is_rounded_to_nearest(order: str, deflate: bool) -> None:
    values = NOISE.integers(0, 65536, (21, 34, 3), dtype=np.uint16)
    assert np.array_equal(decode(tiff(values, order, deflate)).pixels, rounded(values))


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_grey(format: str) -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    pixels = decode(file_bytes(Image.fromarray(values), format)).pixels
    assert np.array_equal(pixels, np.repeat(rounded(values)[..., None], 3, axis=2))


def test_a_transparent_16_bit_colour_is_matched_with_all_its_bits() -> None:
    values = np.array([[[1000, 2000, 3000], [1000, 2000, 3001]]], np.uint16)
    image = decode(png(values, 2, chunk(b"tRNS", struct.pack(">HHH", 1000, 2000, 3000))))
    assert image.pixels[0, :, 3].tolist() == [0, 255]
    grey = decode(png(values[..., :1] + np.array([[[0], [1]]], np.uint16), 0, chunk(b"tRNS", struct.pack(">H", 1000))))
    assert grey.pixels[0, :, 3].tolist() == [0, 255]


def test_plane_by_plane_16_bit_tiff_is_refused_not_read_wrongly() -> None:
    with pytest.raises(BadPicture, match="plane by plane"):
        decode(tiff(np.zeros((4, 4, 3), np.uint16), planar=2))


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_32_bit_samples_are_refused(dtype: type) -> None:
    with pytest.raises(BadPicture, match="32 bits"):
        decode(file_bytes(Image.fromarray(np.zeros((4, 4), dtype)), "TIFF"))


# --- layouts ---------------------------------------------------------------------------------------------------------


def test_1_bit_and_grey_and_grey_alpha() -> None:
    bits = NOISE.integers(0, 2, (9, 13)).astype(bool)
    assert np.array_equal(decode(file_bytes(Image.fromarray(bits), "PNG")).pixels[..., 1], bits * 255)
    grey = NOISE.integers(0, 256, (9, 13), dtype=np.uint8)
    assert np.array_equal(decode(file_bytes(Image.fromarray(grey), "BMP")).pixels[..., 2], grey)
    pairs = NOISE.integers(0, 256, (9, 13, 2), dtype=np.uint8)
    pixels = decode(file_bytes(Image.fromarray(pairs), "PNG")).pixels
    assert np.array_equal(pixels, pairs[..., [0, 0, 0, 1]])


@pytest.mark.parametrize("format", ["PNG", "GIF", "TIFF", "BMP"])
def test_palette(format: str) -> None:
    index = NOISE.integers(0, 4, (8, 8), dtype=np.uint8)
    table = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 8, 7]], np.uint8)
    im = Image.fromarray(index, "P")
    im.putpalette(table.tobytes())
    pixels = decode(file_bytes(im, format)).pixels
    assert np.array_equal(pixels, table[index])


@pytest.mark.parametrize(("transparency", "alpha"), [(2, [255, 255, 0, 255]), (b"\x10\x80\x00\xff", [16, 128, 0, 255])])
def test_palette_with_transparency(transparency: int | bytes, alpha: list[int]) -> None:
    index = NOISE.integers(0, 4, (8, 8), dtype=np.uint8)
    im = Image.fromarray(index, "P")
    im.putpalette(bytes(range(12)))
    pixels = decode(file_bytes(im, "PNG", transparency=transparency)).pixels
    assert np.array_equal(pixels[..., 3], np.array(alpha, np.uint8)[index])
    assert np.array_equal(pixels[..., 0], index * 3)


# --- CMYK ------------------------------------------------------------------------------------------------------------


def test_cmyk_without_profile_is_the_plain_formula_and_noted() -> None:
    values = NOISE.integers(0, 256, (16, 16, 4), dtype=np.uint8)
    image = decode(file_bytes(Image.fromarray(values, "CMYK"), "TIFF"))
    ink = values.astype(float) / 255
    want = 255 * (1 - ink[..., :3]) * (1 - ink[..., 3:])
    assert np.abs(image.pixels - want).max() <= 1.01
    assert "plain formula" in image.history[0].params["notes"][0]


def test_adobe_cmyk_jpeg_is_not_inverted() -> None:
    solid = np.zeros((16, 16, 4), np.uint8)
    solid[..., 0], solid[..., 3] = 255, 51  # Full cyan, a fifth of black.
    data = file_bytes(Image.fromarray(solid, "CMYK"), "JPEG", quality=100)
    assert b"Adobe" in data
    assert np.abs(decode(data).pixels.astype(int) - [0, 204, 204]).max() <= 3


def test_cmyk_with_a_profile_follows_it() -> None:
    """At the corners of the profile's table the answer is the table's own Lab value, converted in closed form."""
    corners = [(0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 255, 0), (0, 0, 0, 255)]
    profile = cmyk_profile()
    values = np.array([corners], np.uint8)
    image = decode(file_bytes(Image.fromarray(values, "CMYK"), "TIFF", icc_profile=profile))
    want = [lab_to_srgb(*INKS[tuple(v // 255 for v in c)]) for c in corners]
    assert np.abs(image.pixels[0].astype(float) - np.array(want)).max() <= 2
    assert image.metadata.icc is None
    assert image.history[0].params["notes"] == []

    noise = Image.fromarray(NOISE.integers(0, 256, (16, 16, 4), dtype=np.uint8), "CMYK")
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    source, target = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
    direct = ImageCms.profileToProfile(noise, source, target, ImageCms.Intent(1), "RGB", flags=flags)
    assert np.array_equal(decode(file_bytes(noise, "TIFF", icc_profile=profile)).pixels, np.asarray(direct))


INKS = {
    (0, 0, 0, 0): (100.0, 0.0, 0.0),
    (1, 0, 0, 0): (60.0, -30.0, -30.0),
    (0, 1, 0, 0): (50.0, 60.0, 0.0),
    (0, 0, 1, 0): (85.0, 0.0, 60.0),
}


def _ink_lab(c: int, m: int, y: int, k: int) -> tuple[float, float, float]:
    if k:
        return 0.0, 0.0, 0.0
    return INKS.get((c, m, y, k), (20.0, 0.0, 0.0))


INKS[(0, 0, 0, 1)] = _ink_lab(0, 0, 0, 1)


def cmyk_profile() -> bytes:
    """A printer profile: an 8-bit table (ICC.1:2001, 6.5.8 lut8Type) with two grid points per ink, to Lab."""
    ramp = bytes(range(256))
    grid = b"".join(
        bytes((round(L * 2.55), round(a) + 128, round(b) + 128))
        for n in range(16)
        for L, a, b in [_ink_lab(n >> 3 & 1, n >> 2 & 1, n >> 1 & 1, n & 1)]
    )
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + ramp * 4 + grid + ramp * 3
    return profile_bytes(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table, b"A2B1": table})


def lab_to_srgb(L: float, a: float, b: float) -> Array:
    fy = (L + 16) / 116
    xyz = []
    for f, white in zip((fy + a / 500, fy, fy - b / 200), D50, strict=True):
        xyz.append(white * (f**3 if f > 6 / 29 else 3 * (6 / 29) ** 2 * (f - 4 / 29)))
    return srgb_of_xyz(np.array(xyz))


# --- matrix profiles in closed form ----------------------------------------------------------------------------------

D50 = np.array([0.9642, 1.0, 0.8249])
SRGB_PRIMARIES = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
ADOBE_PRIMARIES = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
P3_PRIMARIES = ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06))


def matrix_of(primaries: tuple[tuple[float, float], ...]) -> Array:
    """Linear RGB (white D65) to XYZ relative to D50, by Bradford adaptation (ICC.1:2001, annex E)."""
    white = np.array([0.3127 / 0.3290, 1.0, (1 - 0.3127 - 0.3290) / 0.3290])
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in primaries]).T
    matrix = columns * np.linalg.solve(columns, white)
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    scale = np.diag((bradford @ D50) / (bradford @ white))
    out: Array = np.linalg.inv(bradford) @ scale @ bradford @ matrix
    return out


def srgb_of_xyz(xyz: Array) -> Array:
    linear = np.clip(xyz @ np.linalg.inv(matrix_of(SRGB_PRIMARIES)).T, 0, 1)
    out: Array = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return out


def profile_bytes(device: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC version 2 profile from its tags."""
    text = b"hand-made"
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text) + 1) + text + bytes(79),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": xyz_tag(D50),
    } | tags
    at = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, value in tags.items():
        table += name + struct.pack(">II", at + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    header = struct.pack(">I", at + len(body)) + b"test" + struct.pack(">I", 0x02100000) + device + space + connection
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += struct.pack(">3i", *(round(v * 65536) for v in D50))
    return header.ljust(128, b"\0") + table + body


def xyz_tag(xyz: Array) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(float(v) * 65536) for v in xyz))


def gamma_curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))


def srgb_curve() -> bytes:
    x = np.linspace(0, 1, 1024)
    y = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    return b"curv" + bytes(4) + struct.pack(">I1024H", 1024, *np.round(y * 65535).astype(int))


def rgb_profile(primaries: tuple[tuple[float, float], ...], curve: bytes) -> bytes:
    matrix = matrix_of(primaries)
    tags = {name + b"XYZ": xyz_tag(matrix[:, i]) for i, name in enumerate((b"r", b"g", b"b"))}
    tags |= {name + b"TRC": curve for name in (b"r", b"g", b"b")}
    return profile_bytes(b"mntr", b"RGB ", b"XYZ ", tags)


@pytest.mark.parametrize(
    ("primaries", "gamma"), [(ADOBE_PRIMARIES, 563 / 256), (P3_PRIMARIES, 2.0), (SRGB_PRIMARIES, 1.0)]
)
@pytest.mark.parametrize("alpha", [False, True])
def test_matrix_profiles_follow_the_closed_form(
    primaries: tuple[tuple[float, float], ...], gamma: float, alpha: bool
) -> None:
    values = NOISE.integers(0, 256, (32, 32, 4 if alpha else 3), dtype=np.uint8)
    data = file_bytes(Image.fromarray(values), "PNG", icc_profile=rgb_profile(primaries, gamma_curve(gamma)))
    image = decode(data)
    want = srgb_of_xyz((values[..., :3] / 255.0) ** gamma @ matrix_of(primaries).T)
    # Measured: 0.6 levels at most, 1.5 where the linear profile is steepest.
    assert np.abs(image.pixels[..., :3] - want).max() < (1.6 if gamma == 1.0 else 1.0)
    assert np.abs(values[..., :3] - want).max() > 20, "the profile has to matter for this test to mean something"
    if alpha:
        assert np.array_equal(image.pixels[..., 3], values[..., 3])
    assert image.metadata.icc is None, "a wide-gamut profile on converted pixels would be wrong"


def test_a_profile_close_to_srgb_is_still_followed() -> None:
    """sRGB primaries with a plain gamma of 2.2 move dark colours by a few levels, and nothing else."""
    grey = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    profile = rgb_profile(SRGB_PRIMARIES, gamma_curve(2.2))
    image = decode(file_bytes(Image.fromarray(grey), "PNG", icc_profile=profile))
    want = srgb_of_xyz((grey / 255.0) ** (563 / 256) @ matrix_of(SRGB_PRIMARIES).T)
    assert 2 < np.abs(grey - want).max() < 9
    assert np.abs(image.pixels - want).max() < 1.0
    assert image.metadata.icc is None


@pytest.mark.parametrize("alpha", [False, True])
def test_grey_profiles_follow_the_closed_form(alpha: bool) -> None:
    profile = profile_bytes(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": gamma_curve(1.8)})
    grey = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
    values = np.stack([grey, grey[:, ::-1]], axis=-1) if alpha else grey
    image = decode(file_bytes(Image.fromarray(values), "PNG", icc_profile=profile))
    want = srgb_of_xyz(np.outer((np.arange(256) / 255) ** 1.8, D50))
    error = np.abs(image.pixels[0, :, :3] - want)
    assert error.max() < 1.6, "lcms tabulates the curve, which shows in the deepest shadows only"
    assert error[20:].max() < 1.0
    if alpha:
        assert np.array_equal(image.pixels[..., 3], grey[:, ::-1])
    assert image.metadata.icc is None


def test_every_srgb_profile_is_recognised_and_carried_and_changes_nothing() -> None:
    values = NOISE.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    built_in = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (built_in, rgb_profile(SRGB_PRIMARIES, srgb_curve())):
        image = decode(file_bytes(Image.fromarray(values), "PNG", icc_profile=profile))
        assert np.array_equal(image.pixels, values)
        assert image.metadata.icc == profile
    grey = decode(file_bytes(Image.fromarray(values[..., 0]), "PNG", icc_profile=built_in))
    assert np.array_equal(grey.pixels, np.repeat(values[..., :1], 3, axis=2))


def test_a_profile_is_understood_once() -> None:
    data = file_bytes(Image.new("RGB", (4, 4)), "PNG", icc_profile=rgb_profile(P3_PRIMARIES, gamma_curve(1.7)))
    decode(data)
    before = colour._understand.cache_info()
    decode(data)
    after = colour._understand.cache_info()
    assert (after.hits, after.misses) == (before.hits + 1, before.misses)


def _cut(profile: bytes) -> bytes:
    return profile[:200]


def _scrambled(profile: bytes) -> bytes:
    return profile[:128] + bytes(len(profile) - 128)


@pytest.mark.parametrize("damage", [_cut, _scrambled, lambda p: b"not a profile", lambda p: p[:16] + b"XYZ " + p[20:]])
def test_a_damaged_profile_is_left_out_and_noted(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    values = NOISE.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    profile = damage(rgb_profile(P3_PRIMARIES, gamma_curve(2.0)))
    image = decode(file_bytes(Image.fromarray(values), "PNG", icc_profile=profile))
    assert np.array_equal(image.pixels, values)
    assert image.metadata.icc is None
    assert "ICC profile" in image.history[0].params["notes"][0]


def test_a_profile_for_other_pixels_is_left_out_and_noted() -> None:
    values = NOISE.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = decode(file_bytes(Image.fromarray(values), "PNG", icc_profile=cmyk_profile()))
    assert np.array_equal(image.pixels, values)
    assert image.history[0].params["notes"] == ["The ICC profile is for CMYK and the pixels are RGB; it was left out."]
