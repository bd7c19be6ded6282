"""Which pictures leave with their id in their pixels, and that manifest, pixels and register say the same id."""

import io
import json
from pathlib import Path

import c2pa
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from packshot.core.errors import UsageError
from packshot.images.decode import decode
from packshot.images.picture import Operation, ProductImage
from packshot.release.door import encode_labelled, release
from packshot.release.manifest import SOFT_BINDING, read_manifest
from packshot.release.register import find_by_mark
from packshot.release.watermark import detect

CAPTURE = Operation("decode", "capture", {"name": "shirt.jpg", "format": "JPEG"})
SAMPLE = Operation("sample", "generated", {"model": "vae"})
REPAIR = Operation("repair", "generated", {"method": "network", "box": [2, 3, 5, 4]})
ENHANCE = Operation("enhance", "learned")
BACKDROP = Operation("backdrop", "generated")
RESTYLE = Operation("restyle", "generated", {"only": None})
RESTYLE_A_PART = Operation("restyle", "generated", {"only": "background"})


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    monkeypatch.setenv("PACKSHOT_HOME", str(folder))
    monkeypatch.delenv("PACKSHOT_WATERMARK", raising=False)
    return folder


def product(*history: Operation, side: int = 400) -> ProductImage:
    """A soft, coloured blob with some texture on white."""
    y, x = np.mgrid[0:side, 0:side] / side - 0.5
    inside = (x / 0.36) ** 2 + (y / 0.42) ** 2 < 1
    cloth = ndimage.gaussian_filter(np.random.default_rng(4).normal(0, 1, (side, side)), 2) * 60
    pixels = np.full((side, side, 3), 255.0)
    pixels[inside] = (np.array([150, 60, 70]) + 60 * x[..., None] + cloth[..., None])[inside]
    return ProductImage(pixels.clip(0, 255).astype(np.uint8), history=history)


def saved_again(path: Path, **how: int) -> np.ndarray:
    out = io.BytesIO()
    with Image.open(path) as picture:
        picture.convert("RGB").save(out, "JPEG", **how)
    return np.asarray(Image.open(out))


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp"])
def test_a_generated_picture_carries_the_id_that_all_else_says(ending: str, tmp_path: Path) -> None:
    made = product(SAMPLE)
    released = release(made, tmp_path / f"a{ending}")
    assert released.watermarked and released.mark is not None and released.notes == ()
    back = decode(released.path)
    found = detect(back.pixels)
    assert found is not None and f"{found.ident:010x}" == released.mark
    again = detect(saved_again(released.path, quality=75, subsampling=2))  # Nothing but pixels is left.
    assert again is not None and again.ident == found.ident
    assert [entry.mark for entry in find_by_mark(released.mark)] == [released.mark]
    mime = {".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}[ending]
    manifest = read_manifest(released.path.read_bytes(), mime)
    assert manifest is not None and manifest.trust == "trusted" and manifest.own["mark"] == released.mark
    assert manifest.actions == ("c2pa.created", "c2pa.watermarked")
    with c2pa.Reader(mime, io.BytesIO(released.path.read_bytes())) as reader:
        report = json.loads(reader.json())
    assertions = report["manifests"][report["active_manifest"]]["assertions"]
    (binding,) = [a["data"] for a in assertions if a["label"] == "c2pa.soft-binding"]
    assert binding["alg"] == SOFT_BINDING and [b["value"] for b in binding["blocks"]] == [released.mark]
    if ending == ".png":
        white = (made.pixels == 255).all(2)
        assert white.any() and (back.pixels[white] == 255).all()
        error = np.mean((back.pixels.astype(float) - made.pixels) ** 2)
        assert 0 < error < 255**2 / 10**4  # Above 40 dB.


@pytest.mark.parametrize(
    ("history", "ending", "wanted"),
    [
        ((CAPTURE, REPAIR), ".png", False),
        ((CAPTURE, REPAIR), ".jpg", True),
        ((CAPTURE, REPAIR), ".webp", True),
        ((CAPTURE, RESTYLE), ".png", True),
        ((CAPTURE, ENHANCE, BACKDROP), ".png", True),
        ((CAPTURE, BACKDROP), ".png", False),
        ((CAPTURE, RESTYLE_A_PART), ".png", False),
        ((CAPTURE, ENHANCE), ".png", False),
        ((CAPTURE, ENHANCE), ".jpg", False),
        ((CAPTURE,), ".jpg", False),
    ],
)
def test_pixels_that_are_promised_to_stay_do_stay(
    history: tuple[Operation, ...], ending: str, wanted: bool, tmp_path: Path
) -> None:
    made = product(*history)
    released = release(made, tmp_path / f"a{ending}")
    pixels = decode(released.path).pixels
    assert released.watermarked is wanted is (detect(pixels) is not None)
    if ending == ".png":
        assert np.array_equal(pixels, made.pixels) is not wanted
        assert any("No watermark" in note for note in released.notes) is (
            not wanted and history[-1].origin == "generated"
        )


def test_who_wants_it_always_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKSHOT_WATERMARK", "always")
    assert release(product(CAPTURE, REPAIR), tmp_path / "a.png").watermarked
    assert not release(product(CAPTURE, ENHANCE), tmp_path / "b.png").watermarked  # Nothing was made there.
    monkeypatch.setenv("PACKSHOT_WATERMARK", "alway")
    with pytest.raises(UsageError, match="always"):
        release(product(SAMPLE), tmp_path / "c.png")
    assert not (tmp_path / "c.png").exists()


def test_small_pictures_and_blank_ones_leave_without(tmp_path: Path) -> None:
    assert release(product(SAMPLE, side=255), tmp_path / "small.png").notes == ()
    blank = ProductImage(np.full((300, 300, 3), 255, np.uint8), history=(SAMPLE,))
    released = release(blank, tmp_path / "blank.png")
    assert not released.watermarked and "No watermark" in released.notes[0]
    assert (decode(released.path).pixels == 255).all()


def test_the_same_picture_has_the_same_id_and_pixels(tmp_path: Path) -> None:
    one, two = (release(product(SAMPLE), tmp_path / f"{name}.png") for name in "ab")
    assert one.mark == two.mark
    np.testing.assert_array_equal(decode(one.path).pixels, decode(two.path).pixels)
    other = release(product(SAMPLE, side=401), tmp_path / "c.png")
    assert other.mark != one.mark


def test_what_is_to_be_learned_from_has_no_watermark() -> None:
    data = encode_labelled(product(SAMPLE))
    np.testing.assert_array_equal(decode(data).pixels, product(SAMPLE).pixels)
