"""The task: what becomes of the photo's pixels, whatever network says where the product is."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import packshot.tasks.cutout as task
from packshot.core.errors import PackshotError, UsageError
from packshot.images.picture import Operation, ProductImage
from packshot.models.cutout.guess import Guess
from packshot.release.source_type import derive_source_type
from packshot.tasks.cutout import Cutout, CutoutRequest, cutout

CAPTURE = (Operation("decode", "capture", {"format": "PNG"}),)


@dataclass
class Brightness:
    """A network that takes what is bright for the product."""

    confidence: float = 0.9
    name = "brightness"
    threshold = 0.5

    def settings(self) -> dict[str, Any]:
        return {"name": self.name}

    def __call__(self, photo: np.ndarray) -> Guess:
        return Guess((photo.mean(2) / 255).astype(np.float32), self.confidence)


@pytest.fixture(autouse=True)
def brightness(monkeypatch: pytest.MonkeyPatch) -> Brightness:
    matter = Brightness()
    monkeypatch.setattr(task, "load_own", lambda: matter)
    return matter


def picture(pixels: np.ndarray) -> ProductImage:
    return ProductImage(pixels.astype(np.uint8), history=CAPTURE)


def shoes(height: int = 120, width: int = 90) -> np.ndarray:
    """Two bright things, one with a hole, soft edges, on a dark blue ground; and a bright speck."""
    y, x = np.mgrid[0:height, 0:width] + 0.5

    def thing(cy: float, cx: float, r: float) -> np.ndarray:
        return np.clip((r - np.hypot(y - cy * height, x - cx * width)) / 3 + 0.5, 0, 1)

    alpha = np.maximum(thing(0.3, 0.3, 0.2 * width) * (1 - thing(0.3, 0.3, 0.06 * width)), thing(0.7, 0.7, 0.2 * width))
    alpha = np.maximum(alpha, thing(0.1, 0.9, 2))[..., None]
    grain = np.random.default_rng(0).integers(-6, 7, (height, width, 3))
    return np.clip(alpha * (250, 248, 244) + (1 - alpha) * (2, 4, 20) + grain, 0, 255).astype(np.uint8)


def test_the_product_keeps_its_pixels_and_the_background_is_gone() -> None:
    photo = shoes()
    done = cutout(picture(photo))
    out = done.image.pixels
    assert out.shape == (120, 90, 4)
    opaque, clear = out[..., 3] == 255, out[..., 3] == 0
    assert opaque.sum() > 1000
    assert (out[opaque, :3] == photo[opaque]).all()
    assert (out[clear, :3] == 255).all()
    assert out[36, 27, 3] == 0  # The hole.
    assert out[84, 63, 3] == 255
    assert not out[:25, 70:, 3].any()  # The speck.
    assert done.figures["items"] == 2
    assert done.lossless
    assert done.review is None
    assert done.refused is None
    assert done.confidence == 0.9
    assert done.receipt is not None
    assert done.receipt["bit_identical"] is True


def test_edge_pixels_lose_the_background_s_colour() -> None:
    photo = shoes()
    out = cutout(picture(photo)).image.pixels
    edge = (out[..., 3] > 60) & (out[..., 3] < 200)
    assert edge.sum() > 20
    assert out[edge, 2].mean() > photo[edge, 2].mean() + 40


def test_the_same_photo_gives_the_same_pixels() -> None:
    image = picture(shoes())
    assert (cutout(image).image.pixels == cutout(image).image.pixels).all()
    assert (image.pixels == shoes()).all()


def test_a_network_that_decides_what_stays_is_said() -> None:
    done = cutout(picture(shoes()))
    assert [o.name for o in done.image.history] == ["decode", "cutout"]
    assert derive_source_type(done.image.history) == "algorithmicallyEnhanced"


def test_an_unsure_cut_out_is_left_to_a_person(brightness: Brightness) -> None:
    brightness.confidence = 0.31
    done = cutout(picture(shoes()))
    assert done.review is not None
    assert "0.31" in done.review
    assert cutout(picture(shoes()), CutoutRequest(threshold=0.3)).review is None


@pytest.mark.parametrize("dot", [0, 255])
def test_no_product_is_one_sentence(dot: int) -> None:
    photo = np.full((40, 30, 3), 10)
    photo[2, 2] = dot
    with pytest.raises(PackshotError, match="no product was found"):
        cutout(picture(photo))


@pytest.mark.parametrize("refine", ["guided", "none"])
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (37, 2)])
def test_a_photo_that_is_all_product_is_kept_whole(size: tuple[int, int], refine: Any) -> None:
    done = cutout(picture(np.full((*size, 3), 255)), CutoutRequest(refine=refine))
    assert done.image.pixels.shape == (*size, 4)
    assert (done.image.pixels == 255).all()


def test_transparency_of_its_own_is_respected() -> None:
    pixels = np.dstack([shoes(), np.zeros((120, 90), np.uint8)])
    pixels[30:90, 20:60, 3] = 255
    pixels[30, 20:60, 3] = 128
    done = cutout(picture(pixels))
    assert (done.image.pixels == pixels).all()
    assert done.confidence is None
    assert done.review is None
    assert any("kept it" in note for note in done.notes)


def test_transparency_that_leaves_nothing_out_is_left_to_a_person() -> None:
    pixels = np.dstack([shoes(), np.full((120, 90), 180, np.uint8)])
    done = cutout(picture(pixels))
    assert (done.image.pixels == pixels).all()
    assert "leaves nothing of the photo out" in (done.review or "")


def test_an_alpha_channel_that_hides_nothing_is_not_transparency() -> None:
    pixels = np.dstack([shoes(), np.full((120, 90), 255, np.uint8)])
    pixels[0, 0, 3] = 0
    assert (cutout(picture(pixels)).image.pixels == cutout(picture(shoes())).image.pixels).all()


def test_a_picture_that_cannot_be_seen_is_one_sentence() -> None:
    with pytest.raises(PackshotError, match="every pixel is transparent"):
        cutout(picture(np.dstack([shoes(), np.zeros((120, 90), np.uint8)])))


def test_the_matte_beside_the_result_and_alone() -> None:
    both = cutout(picture(shoes()), CutoutRequest(matte=True))
    alpha = both.image.pixels[..., 3]
    assert (both.beside["matte"].pixels == alpha[..., None]).all()
    alone = cutout(picture(shoes()), CutoutRequest(alpha_only=True, matte=True))
    assert (alone.image.pixels == alpha[..., None]).all()
    assert not alone.beside
    assert alone.lossless


def test_settings_tell_requests_apart() -> None:
    requests = [CutoutRequest(), CutoutRequest(refine="none"), CutoutRequest(threshold=0.2), CutoutRequest(matte=True)]
    settings = [Cutout(r).settings() for r in requests]
    assert len({repr(s) for s in settings}) == len(requests)


def test_a_wrong_request_is_refused() -> None:
    with pytest.raises(UsageError, match="0 to 1"):
        CutoutRequest(threshold=1.5)
    with pytest.raises(UsageError, match="Did you mean 'guided'"):
        CutoutRequest(refine="guide")  # type: ignore[arg-type]


def test_closed_form_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pymatting", None)
    with pytest.raises(PackshotError, match=r"packshot\[matting\]"):
        Cutout(CutoutRequest(refine="closed-form"))


def test_closed_form_solves_between_what_is_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Solver:
        @staticmethod
        def estimate_alpha_cf(image: np.ndarray, trimap: np.ndarray) -> np.ndarray:
            seen.append(trimap)
            return np.where(trimap == 0.5, image.mean(2) > 0.5, trimap)

    monkeypatch.setattr(task, "_pymatting", lambda: Solver)
    done = cutout(picture(shoes()), CutoutRequest(refine="closed-form"))
    assert set(np.unique(seen[0])) == {0, 0.5, 1}
    assert done.image.pixels[84, 63, 3] == 255
    assert done.image.pixels[36, 27, 3] == 0
