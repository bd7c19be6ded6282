"""ProductImage never changes, whoever holds the arrays and tables that it was made from."""

import pickle

import numpy as np
import pytest

from packshot.images.picture import Metadata, Operation, ProductImage, combined_history


def picture(*history: Operation, channels: int = 3) -> ProductImage:
    return ProductImage(np.full((2, 5, channels), 7, np.uint8), Metadata(), history)


def test_pixels_are_read_only_and_not_shared_with_the_giver() -> None:
    pixels = np.zeros((2, 3, 3), np.uint8)
    image = ProductImage(pixels)
    pixels[:] = 9
    assert image.pixels.max() == 0
    with pytest.raises(ValueError, match="read-only"):
        image.pixels[0, 0, 0] = 1
    assert (image.height, image.width, image.has_alpha) == (2, 3, False)
    assert picture(channels=4).has_alpha


def test_read_only_pixels_are_not_copied() -> None:
    pixels = np.frombuffer(bytes(12), np.uint8).reshape(2, 2, 3)
    assert ProductImage(pixels).pixels is pixels


def test_strided_pixels_become_contiguous() -> None:
    pixels = np.frombuffer(bytes(range(24)), np.uint8).reshape(2, 4, 3)[:, ::2]
    image = ProductImage(pixels)
    assert image.pixels.flags.c_contiguous
    assert np.array_equal(image.pixels, pixels)


@pytest.mark.parametrize(
    ("shape", "dtype"), [((2, 2), "uint8"), ((2, 2, 1), "uint8"), ((0, 2, 3), "uint8"), ((2, 2, 3), "float32")]
)
def test_other_shapes_and_types_are_refused(shape: tuple[int, ...], dtype: str) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        ProductImage(np.zeros(shape, dtype))


def test_done_appends_and_leaves_the_first_alone() -> None:
    first = picture(Operation("decode", "capture"))
    second = first.done(Operation("invert", "classical", {"by": 255}), 255 - first.pixels)
    third = second.done(Operation("look", "classical"))
    assert [o.name for o in first.history] == ["decode"]
    assert [o.name for o in third.history] == ["decode", "invert", "look"]
    assert second.pixels[0, 0, 0] == 248
    assert third.pixels is second.pixels
    assert third.metadata is first.metadata


def test_params_are_copied_and_have_to_be_json() -> None:
    inner = [1, 2.5, None, "x", True]
    params = {"a": inner, "b": {"c": (1, 2)}}
    operation = Operation("o", "classical", params)
    inner.append(3)
    assert operation.params == {"a": [1, 2.5, None, "x", True], "b": {"c": [1, 2]}}
    for bad in ({"a": np.uint8(3)}, {"a": float("nan")}, {1: 2}, {"a": b"x"}, {"a": {1, 2}}):
        with pytest.raises(ValueError, match="not a JSON value"):
            Operation("o", "classical", bad)  # type: ignore[arg-type]


def test_unknown_origins_are_refused() -> None:
    with pytest.raises(ValueError, match="capture, classical, learned, generated"):
        Operation("o", "magic")  # type: ignore[arg-type]


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_it_travels_to_another_process(protocol: int) -> None:
    image = ProductImage(np.arange(12, dtype=np.uint8).reshape(2, 2, 3), Metadata(dpi=(72.0, 72.0)))
    back = pickle.loads(pickle.dumps(image.done(Operation("x", "learned", {"k": [1]})), protocol))  # noqa: S301
    assert np.array_equal(back.pixels, image.pixels)
    assert not back.pixels.flags.writeable
    assert back.metadata == image.metadata
    assert back.history == (Operation("x", "learned", {"k": [1]}),)


def test_combined_history_holds_each_kind_once_and_keeps_what_files_declared() -> None:
    pictures = [picture(Operation("sample", "generated", {"seed": i})) for i in range(50)]
    pictures.append(picture(Operation("decode", "capture", {"source_type": "trainedAlgorithmicMedia", "name": "a"})))
    pictures.append(picture(Operation("decode", "capture", {"source_type": None, "name": "b"})))
    assert combined_history(pictures) == (
        Operation("sample", "generated"),
        Operation("decode", "capture", {"source_type": "trainedAlgorithmicMedia"}),
        Operation("decode", "capture"),
    )
