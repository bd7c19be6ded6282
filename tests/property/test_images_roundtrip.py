"""Round trips over all sizes and contents that hypothesis can think of."""

import io

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from packshot.images.decode import BadPicture, decode, format_of
from packshot.images.encode import encode
from packshot.images.picture import Operation, ProductImage
from packshot.images.resize import fit_square, flatten

Pixels = npt.NDArray[np.uint8]


def pixel_arrays(channels: tuple[int, ...] = (3, 4), largest: int = 40) -> st.SearchStrategy[Pixels]:
    sizes = array_shapes(min_dims=2, max_dims=2, max_side=largest)
    return st.tuples(sizes, st.sampled_from(channels)).flatmap(lambda s: arrays(np.uint8, (*s[0], s[1])))


@settings(max_examples=150, deadline=None)
@given(pixel_arrays())
def test_png_brings_back_every_pixel(pixels: Pixels) -> None:
    image = ProductImage(pixels, history=(Operation("decode", "capture"),))
    back = decode(encode(image, "PNG"))
    assert np.array_equal(back.pixels, pixels)


@settings(max_examples=60, deadline=None)
@given(pixel_arrays(), st.sampled_from(["JPEG", "WEBP"]), st.integers(1, 100))
def test_every_format_brings_back_the_size(pixels: Pixels, format: str, quality: int) -> None:
    data = encode(ProductImage(pixels), format, quality)
    assert format_of(data) == format
    assert decode(data).pixels.shape[:2] == pixels.shape[:2]


TURNED = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),
    8: lambda a: np.rot90(a, 1),
}


@settings(max_examples=100, deadline=None)
@given(pixel_arrays(), st.integers(1, 8), st.sampled_from(["PNG", "TIFF", "WEBP"]))
def test_pictures_come_out_upright(pixels: Pixels, tag: int, format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = tag
    out = io.BytesIO()
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    Image.fromarray(pixels).save(out, format, exif=exif, **options)
    image = decode(out.getvalue())
    want = TURNED[tag](pixels)
    assert np.array_equal(image.pixels[..., :3], want[..., :3])
    again = decode(encode(image))
    assert np.array_equal(again.pixels, image.pixels), "turned once, not twice"


@settings(max_examples=100, deadline=None)
@given(pixel_arrays((1, 3, 4)), st.integers(1, 50), st.sampled_from(["crop", "pad"]))
def test_squares_are_square_and_stay_within_the_values(pixels: Pixels, size: int, fit: str) -> None:
    out = fit_square(pixels, size, fit)  # type: ignore[arg-type]
    assert out.shape == (size, size, pixels.shape[2])
    assert out.dtype == np.uint8
    if pixels.min() == pixels.max():
        assert (out == pixels.min()).all() or pixels.shape[2] == 4


@settings(max_examples=60, deadline=None)
@given(pixel_arrays((4,)), st.tuples(*[st.integers(0, 255)] * 3))
def test_flattening_lies_between_colour_and_background(pixels: Pixels, background: tuple[int, int, int]) -> None:
    out = flatten(pixels, background)
    low = np.minimum(pixels[..., :3], np.array(background, np.uint8))
    high = np.maximum(pixels[..., :3], np.array(background, np.uint8))
    assert ((low <= out) & (out <= high)).all()


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"BM", b"GIF89a", b""]), st.binary(max_size=300)
)
def test_any_bytes_are_a_picture_or_a_bad_picture(start: bytes, rest: bytes) -> None:
    try:
        decode(start + rest)
    except BadPicture as e:
        assert str(e).startswith("The picture ")
