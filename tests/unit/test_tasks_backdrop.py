"""`backdrop`: white is white in the file, the product's pixels are its own, and what is wrong is one sentence."""

import json
from pathlib import Path

import numpy as np
import pytest

from packshot.core.errors import PackshotError, UsageError
from packshot.images.decode import decode
from packshot.images.encode import encode
from packshot.images.picture import Metadata, Operation, ProductImage
from packshot.images.placing import Layout, Length
from packshot.release.door import release
from packshot.release.source_type import derive_source_type
from packshot.tasks.backdrop import Backdrop, BackdropRequest, backdrop
from packshot.tasks.edit import Edited
from tests.integration.conftest import run_cli

CAPTURE = (Operation("decode", "capture", {"format": "JPEG"}),)


def photo(height: int = 90, width: int = 120) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.random.default_rng(5).normal(180, 4, (height, width, 3))
    inside = _inside(height, width)
    pixels[inside] = np.stack([120 + 90 * np.sin(y / 3), 60 + x, 100 + 80 * np.cos(x / 4)], axis=-1)[inside]
    return np.clip(pixels, 0, 255).astype(np.uint8)


def _inside(height: int = 90, width: int = 120) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return ((y - 0.45 * height) / (0.3 * height)) ** 2 + ((x - 0.6 * width) / (0.2 * width)) ** 2 < 1


def matte(height: int = 90, width: int = 120) -> np.ndarray:
    alpha = np.where(_inside(height, width), 255, 0).astype(np.uint8)
    soft = _inside(height, width) & ~np.roll(_inside(height, width), 1, axis=0)
    alpha[soft] = 130
    return alpha


def cut(height: int = 90, width: int = 120) -> ProductImage:
    return ProductImage(np.dstack([photo(height, width), matte(height, width)]), Metadata(), CAPTURE)


class FoundByNet:
    """Stands in for a network that cuts out."""

    task = "cutout"

    def settings(self) -> dict[str, str]:
        return {"net": "stand-in"}

    def __call__(self, image: ProductImage) -> Edited:
        pixels = np.dstack([image.pixels[..., :3], matte(image.height, image.width)])
        done = image.done(Operation("cutout", "learned"), pixels)
        return Edited(image=done, review="It is not sure.", confidence=0.4, notes=("Two items.",))


@pytest.mark.parametrize("shadow", ["none", "keep", "contact", "soft"])
@pytest.mark.parametrize("size", [None, 70, 260])
def test_white_is_white_in_the_file_and_the_product_is_its_own(shadow: str, size: int | None, tmp_path: Path) -> None:
    image = cut()
    request = BackdropRequest(shadow=shadow, layout=Layout(size=size))  # type: ignore[arg-type]
    edited = backdrop(image, request)
    assert edited.lossless and edited.refused is None and edited.review is None
    assert edited.receipt is not None
    assert edited.receipt["bit_identical"] and edited.receipt["bit_identical_outside"]
    assert edited.figures["white_outside"]
    assert edited.image.pixels.shape[2] == 3
    json.dumps(edited.receipt), json.dumps(edited.figures)
    written = decode(release(edited.image, tmp_path / "a.png").path).pixels
    plain = backdrop(image, BackdropRequest(layout=Layout(size=size))).image.pixels
    if shadow == "none":
        ring = np.ones(written.shape[:2], bool)
        height, width = written.shape[:2]
        pad = round(0.03 * height)
        ring[pad : height - pad, pad : width - pad] = False
        assert (written[ring] == 255).all()
    else:
        assert (written <= plain).all()  # A shadow only takes light away;
        assert shadow == "keep" or (written != plain).any()  # and this photo shows none.


def test_without_a_size_every_opaque_pixel_is_the_photos() -> None:
    image = cut()
    edited = backdrop(image)
    opaque = image.pixels[..., 3] == 255
    rows, columns = np.nonzero(opaque)
    height, width = edited.image.height, edited.image.width
    found = [
        (dy, dx)
        for dy in range(-90, height)
        for dx in range(-120, width)
        if 0 <= rows[0] + dy < height
        and 0 <= columns[0] + dx < width
        and np.array_equal(edited.image.pixels[rows[0] + dy, columns[0] + dx], image.pixels[rows[0], columns[0], :3])
        and rows.max() + dy < height
        and columns.max() + dx < width
        and columns.min() + dx >= 0
        and np.array_equal(edited.image.pixels[rows + dy, columns + dx], image.pixels[rows, columns, :3])
    ]
    assert len(found) == 1
    box = rows.max() + 1 - rows.min(), columns.max() + 1 - columns.min()
    assert height == width
    assert 0.8 < max(box) / height <= 0.87


def test_hidden_colours_never_show() -> None:
    image = cut()
    loud = image.pixels.copy()
    loud[..., :3][loud[..., 3] == 0] = (255, 0, 255)
    for size in (None, 200):
        request = BackdropRequest(layout=Layout(size=size))
        one, other = (backdrop(ProductImage(p, history=CAPTURE), request) for p in (image.pixels, loud))
        assert np.array_equal(one.image.pixels, other.image.pixels)


def test_jpeg_is_near_white_but_not_white_so_exact_means_png() -> None:
    """What `exact` rests on: beside an edge, the best JPEG is not 255."""
    edited = backdrop(cut(), BackdropRequest(exact=False))
    assert not edited.lossless
    white = (edited.image.pixels == 255).all(axis=2)
    for quality, near in ((95, 235), (100, 250)):
        back = decode(encode(edited.image, "JPEG", quality)).pixels
        assert (back[white] < 255).any()
        assert np.percentile(back[white], 1) >= near


@pytest.mark.parametrize("background", ["#204060", "gradient:white-#808080", "black"])
def test_other_backgrounds(background: str) -> None:
    edited = backdrop(cut(), BackdropRequest(background=background, shadow="soft"))
    assert not edited.lossless and "white_outside" not in edited.figures
    assert edited.receipt is not None and edited.receipt["passed"]
    corner = edited.image.pixels[-1, 0].tolist()
    assert corner == {"#204060": [32, 64, 96], "gradient:white-#808080": [128] * 3, "black": [0] * 3}[background]


def test_a_picture_behind_it_hands_on_what_it_is(tmp_path: Path) -> None:
    plain = ProductImage(np.full((20, 50, 3), (9, 99, 199), np.uint8), history=CAPTURE)
    release(plain, tmp_path / "room.png")
    edited = backdrop(cut(), BackdropRequest(background=str(tmp_path / "room.png")))
    assert edited.image.pixels[0, 0].tolist() == [9, 99, 199]
    assert derive_source_type(edited.image.history) is None
    made = ProductImage(plain.pixels, history=(Operation("sample", "generated"),))
    release(made, tmp_path / "dream.png")
    edited = backdrop(cut(), BackdropRequest(background=str(tmp_path / "dream.png")))
    assert derive_source_type(edited.image.history) == "compositeWithTrainedAlgorithmicMedia"
    settings = [
        Backdrop(BackdropRequest(background=str(tmp_path / name))).settings() for name in ("room.png", "dream.png")
    ]
    assert settings[0] != settings[1]


def test_an_opaque_photo_is_cut_out_by_what_is_given() -> None:
    image = ProductImage(photo(), history=CAPTURE)
    with pytest.raises(PackshotError, match="no transparency"):
        backdrop(image)
    edited = backdrop(image, cut_out=FoundByNet())
    assert (edited.review, edited.confidence, edited.notes[0]) == ("It is not sure.", 0.4, "Two items.")
    assert derive_source_type(edited.image.history) == "compositeWithTrainedAlgorithmicMedia"
    assert edited.receipt is not None and edited.receipt["bit_identical"]
    assert np.array_equal(edited.image.pixels, backdrop(cut()).image.pixels)
    with_net, without = (Backdrop(BackdropRequest(), net).settings() for net in (FoundByNet(), None))
    assert with_net != without


def test_a_matte_file(tmp_path: Path) -> None:
    path = tmp_path / "matte.png"
    release(ProductImage(matte()[..., None].repeat(3, axis=2), history=CAPTURE), path)
    edited = backdrop(ProductImage(photo(), history=CAPTURE), BackdropRequest(matte=path))
    assert edited.receipt is not None and edited.receipt["bit_identical"] and edited.receipt["pixels"] > 1500
    with pytest.raises(PackshotError, match="120 x 90 pixels and the photo 50 x 90"):
        backdrop(ProductImage(photo()[:, :50], history=CAPTURE), BackdropRequest(matte=path))


def test_a_change_of_the_product_is_refused_with_a_heat_map(monkeypatch: pytest.MonkeyPatch) -> None:
    from packshot.tasks import backdrop as module

    monkeypatch.setattr(module, "lay_over", lambda product, back: np.full_like(back, 90))
    edited = backdrop(cut())
    assert edited.refused is not None and "pixels of it changed" in edited.refused
    assert edited.beside["heat"].pixels.shape == edited.image.pixels.shape


def test_mattes_of_nothing_of_everything_and_of_one_pixel() -> None:
    empty = np.dstack([photo(), np.zeros((90, 120), np.uint8)])
    with pytest.raises(PackshotError, match="no product"):
        backdrop(ProductImage(empty, history=CAPTURE))
    nearly = np.dstack([photo(), np.full((90, 120), 254, np.uint8)])
    edited = backdrop(ProductImage(nearly, history=CAPTURE))
    assert edited.review is not None and "covers the whole photo" in edited.review
    one = np.zeros((40, 40, 4), np.uint8)
    one[3, 5] = (1, 2, 3, 255)
    small = backdrop(ProductImage(one, history=CAPTURE))
    assert small.image.pixels.shape == (2, 2, 3)
    large = backdrop(ProductImage(one, history=CAPTURE), BackdropRequest(shadow="contact", layout=Layout(size=50)))
    assert large.image.pixels.shape == (50, 50, 3) and any("enlarged" in n for n in large.notes)
    dot = ProductImage(np.array([[[7, 7, 7, 128]]], np.uint8), history=CAPTURE)
    assert backdrop(dot).image.pixels.shape == (2, 2, 3)


def test_the_shadow_of_a_cut_out_goes_or_stays() -> None:
    pixels = cut(200, 200).pixels.copy()
    pixels[170:185, 60:180] = (5, 5, 5, 100)
    image = ProductImage(pixels, history=CAPTURE)
    gone, kept = (backdrop(image, BackdropRequest(shadow=s)) for s in ("none", "keep"))  # type: ignore[arg-type]
    assert ((gone.image.pixels == 255) | (gone.image.pixels.max(axis=2, keepdims=True) > 70)).all()
    assert (kept.image.pixels == 157).all(axis=2).sum() > 1000  # 5 over white at 100 / 255.
    assert not kept.notes


def test_a_shadow_that_cannot_be_kept_is_said() -> None:
    pixels = cut().pixels.copy()
    pixels[pixels[..., 3] == 0] = 0
    edited = backdrop(ProductImage(pixels, history=CAPTURE), BackdropRequest(shadow="keep"))
    assert any("cut out already" in n for n in edited.notes)


def test_a_product_at_the_border_is_said() -> None:
    pixels = cut().pixels[:, 60:]
    edited = backdrop(ProductImage(pixels, history=CAPTURE))
    assert any("(left)" in n for n in edited.notes)


def test_requests_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is no background\. Did you mean 'white'"):
        BackdropRequest(background="whit")
    with pytest.raises(UsageError, match="Unknown shadow"):
        BackdropRequest(shadow="long")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no file"):
        BackdropRequest(matte=tmp_path / "none.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(PackshotError):
        Backdrop(BackdropRequest(background=str(tmp_path / "text.png")))


def test_on_the_command_line(tmp_path: Path) -> None:
    photos = tmp_path / "in"
    photos.mkdir()
    release(cut(), photos / "a.png")
    release(ProductImage(photo(), history=CAPTURE), photos / "opaque.png")
    words = ["backdrop", photos, "--out", tmp_path / "out", "--size", "64", "--aspect", "4:5", "--margin", "5%"]
    out, _ = run_cli(*words, "--shadow", "soft", "--format", "jpeg", "--json")
    told = json.loads(out)
    assert told["counts"]["done"] + told["counts"]["review"] == 2
    by_name = {Path(p["photo"]).name: p for p in told["photos"]}
    assert by_name["a.png"]["picture"] == "a.png" and by_name["a.png"]["receipt"]["passed"]
    assert 0 < by_name["opaque.png"]["confidence"] <= 1, "an opaque photo goes through the cut-out"
    assert decode(tmp_path / "out/a.png").pixels.shape == (64, 51, 3)
    out, _ = run_cli(*words, "--shadow", "soft", "--format", "jpeg", "--no-exact", "--json")
    assert json.loads(out)["photos"][0]["picture"] == "a.jpg"
    run_cli("backdrop", photos / "a.png", "--out", tmp_path / "same", "--fill", "keep")
    assert decode(tmp_path / "same/a.png").pixels.shape == (90, 120, 3)
    for bad in (["--fill", "2"], ["--fill", "x"], ["--aspect", "1"], ["--margin", "60%"], ["--background", "nowhere"]):
        _, err = run_cli("backdrop", photos / "a.png", "--out", tmp_path / "bad", *bad, code=2)
        assert err.startswith("packshot: ") and err.count("\n") == 1


def test_margins_decide_where_no_fill_is_given(tmp_path: Path) -> None:
    release(cut(), tmp_path / "a.png")
    run_cli("backdrop", tmp_path / "a.png", "--out", tmp_path / "out", "--margin", "10")
    rows, columns = np.nonzero(matte() >= 128)
    longest = max(rows.max() + 1 - rows.min(), columns.max() + 1 - columns.min())
    assert decode(tmp_path / "out/a.png").height == longest + 20
    assert Layout(fill=1.0, margin=Length(10, False)).fill == 1.0
