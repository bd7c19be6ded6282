"""`packshot enhance` end to end, with the weights that come with the package."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from packshot.core.errors import PackshotError, UsageError
from packshot.images.decode import decode
from packshot.images.lab import delta_e
from packshot.images.picture import Operation, ProductImage
from packshot.images.resize import resize
from packshot.tasks import enhance as tasks_enhance
from packshot.tasks.enhance import Enhance, EnhanceRequest, enhance, enlarge, scale_steps

from .conftest import run_cli, run_json


def photo(height: int, width: int, channels: int = 3, seed: int = 0) -> ProductImage:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (max(2, height // 5), max(2, width // 5), channels), np.uint8)
    mode = "RGBA" if channels == 4 else "RGB"
    pixels = np.asarray(
        Image.fromarray(coarse, mode=None).convert(mode).resize((width, height), Image.Resampling.BICUBIC)
    )
    return ProductImage(pixels, history=(Operation("decode", "capture"),))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_faithful_stays_within_the_limit(scale: int) -> None:
    image = photo(40, 53)
    done = enhance(image, EnhanceRequest(scale=scale, denoise=1, jpeg=1, deblur=1))
    assert done.image.pixels.shape == (40 * scale, 53 * scale, 3)
    reference = resize(image.pixels, 40 * scale, 53 * scale)
    assert np.percentile(delta_e(done.image.pixels, reference), 99) <= 3
    assert not np.array_equal(done.image.pixels, reference)
    assert done.receipt is not None and done.refused is None
    assert [(o.name, o.origin) for o in done.image.history[1:]] == [("enhance", "learned")]


def test_light_is_classical_and_comes_after_the_proof() -> None:
    image = photo(30, 40)
    dark = image.done(Operation("dim", "classical"), image.pixels // 4)
    done = enhance(dark, EnhanceRequest(low_light=1, tone=0.5, white_balance=0.5))
    assert {o.origin for o in done.image.history} == {"capture", "classical"}
    assert done.image.pixels.mean() > 1.3 * dark.pixels.mean()
    both = enhance(dark, EnhanceRequest(scale=2, low_light=1))
    assert both.refused is None and [o.name for o in both.image.history[-2:]] == ["enhance", "tone"]


def test_size_is_the_longest_side() -> None:
    assert enhance(photo(30, 47), EnhanceRequest(size=100)).image.pixels.shape == (64, 100, 3)
    smaller = enhance(photo(30, 47), EnhanceRequest(size=20)).image
    assert smaller.width == 20 and smaller.history[-1].origin == "classical"
    assert scale_steps(1) == [] and scale_steps(1.2) == [2] and scale_steps(4) == [4] and scale_steps(16) == [4, 4]
    assert scale_steps(5) == [4, 2] and scale_steps(2.5) == [3]


def test_alpha_is_lanczos_and_hidden_colours_do_not_shine_through() -> None:
    pixels = np.zeros((24, 24, 4), np.uint8)
    pixels[6:18, 6:18] = (200, 60, 40, 255)
    pixels[..., 1][pixels[..., 3] == 0] = 255  # A loud green, hidden.
    done = enhance(ProductImage(pixels, history=(Operation("decode", "capture"),)), EnhanceRequest(scale=2)).image
    assert np.array_equal(done.pixels[..., 3:], resize(np.ascontiguousarray(pixels[..., 3:]), 48, 48))
    shown = done.pixels[done.pixels[..., 3] > 16][:, :3].astype(int)
    assert np.abs(shown - (200, 60, 40)).max() <= 6


@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("size", [(1, 1), (1, 30), (17, 5)])
def test_flat_pictures_stay_flat(size: tuple[int, int], value: int) -> None:
    image = ProductImage(np.full((*size, 3), value, np.uint8), history=(Operation("decode", "capture"),))
    everything = EnhanceRequest(scale=2, denoise=1, jpeg=1, deblur=1, white_balance=1)
    done = enhance(image, everything).image.pixels
    assert done.shape == (2 * size[0], 2 * size[1], 3)
    assert np.abs(done.astype(int) - value).max() <= 8


def test_alpha_alone() -> None:
    image = ProductImage(np.zeros((9, 9, 4), np.uint8), history=(Operation("decode", "capture"),))
    assert not enhance(image, EnhanceRequest(scale=3, denoise=1)).image.pixels[..., 3].any()


def test_texts_are_as_without_clean_up(monkeypatch: pytest.MonkeyPatch) -> None:
    image = photo(60, 60)
    text = np.zeros((60, 60), np.float32)
    text[10:20, 10:30] = 1
    monkeypatch.setattr(tasks_enhance, "text_mask", lambda pixels: text)
    asked = EnhanceRequest(scale=2, denoise=1, jpeg=1, most_change=None)
    plain = enhance(image, EnhanceRequest(scale=2, most_change=None)).image.pixels
    free = enhance(image, replace(asked, protect_text=False)).image.pixels
    done = enhance(image, asked)
    assert np.array_equal(done.image.pixels[22:38, 22:58], plain[22:38, 22:58])
    assert not np.array_equal(free[22:38, 22:58], plain[22:38, 22:58])
    assert np.array_equal(done.image.pixels[80:], free[80:])
    assert done.figures["text_protected"] == pytest.approx(200 / 3600, abs=1e-4)


def test_generated_samples_are_enlarged_and_stay_generated() -> None:
    sample = ProductImage(photo(32, 32).pixels, history=(Operation("sample", "generated"),))
    large = enlarge(sample, 200)
    assert large.pixels.shape == (200, 200, 3) and large.history[0].origin == "generated"
    assert enlarge(large, 100) is large


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "Say what to do"),
        ({"scale": 5}, "--scale is 5"),
        ({"scale": 2, "size": 100}, "either"),
        ({"size": 0}, "--size is 0"),
        ({"denoise": 1.5}, "--denoise is 1.5"),
        ({"low_light": float("nan")}, "--low-light is nan"),
        ({"scale": 2, "mode": "vivd"}, "Did you mean 'vivid'"),
        ({"scale": 2, "most_change": 0.5}, "--most-change is 0.5"),
    ],
)
def test_wrong_requests(asked: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        EnhanceRequest(**asked)


def test_a_result_that_is_too_large_is_refused() -> None:
    image = ProductImage(np.zeros((1, 19_000, 3), np.uint8), history=(Operation("decode", "capture"),))
    with pytest.raises(PackshotError, match="smaller --scale"):
        enhance(image, EnhanceRequest(scale=4))


def test_vivid_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ncnn" else real(name))
    with pytest.raises(PackshotError, match=r"pip install 'packshot\[vivid\]'"):
        Enhance(EnhanceRequest(scale=3, mode="vivid", vivid_model="best"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("enhance")
    exif = Image.Exif()
    exif[0x013B] = "A. Seller"
    Image.fromarray(photo(31, 42).pixels).save(folder / "one.jpg", quality=60, exif=exif, dpi=(300, 300))
    Image.fromarray(photo(20, 20, 4).pixels).save(folder / "two.png")
    (folder / "three.png").write_bytes(b"no picture")
    return folder


def test_a_folder_from_the_command_line(world: Path, tmp_path: Path) -> None:
    result = run_json("enhance", world, "--out", tmp_path, "--scale", "2", "--denoise", "0.5", "--difference", code=1)
    assert result["counts"] == {"done": 2, "review": 0, "refused": 0, "failed": 1, "again": 0}
    one = decode(tmp_path / "one.jpg")
    assert (one.height, one.width) == (62, 84) and one.metadata.dpi == (300, 300)
    assert one.metadata.exif is not None and b"A. Seller" in one.metadata.exif
    assert decode(tmp_path / "two.png").has_alpha
    rows = {row["photo"].rsplit("/", 1)[-1]: row for row in result["photos"]}
    assert rows["one.jpg"]["source_type"] == "algorithmicallyEnhanced"
    assert rows["one.jpg"]["receipt"]["delta_e_p99"] <= 3
    assert (tmp_path / rows["one.jpg"]["beside"]["difference"]).is_file()
    assert json.loads((tmp_path / "packshot.jsonl").read_text().splitlines()[0])["figures"]["width"] == 84


def test_wrong_commands(world: Path, tmp_path: Path) -> None:
    for words, said in ((["--scale", "7"], "--scale is 7"), (["--most-change", "much", "--scale", "2"], "most-change")):
        _, err = run_cli("enhance", world, "--out", tmp_path, *words, code=2)
        assert said in err


def test_a_cut_out_is_held_against_what_is_seen_of_it() -> None:
    y, x = np.mgrid[0:70, 0:60]
    inside = ((y - 35) / 26) ** 2 + ((x - 30) / 22) ** 2 < 1
    pixels = np.full((70, 60, 4), 255, np.uint8)
    pixels[..., :3][inside] = (170, 30, 40)
    pixels[..., 3] = inside * np.uint8(255)
    edited = enhance(ProductImage(pixels, history=(Operation("decode", "capture"),)), EnhanceRequest(scale=2))
    assert edited.refused is None
    assert edited.receipt is not None and 0 < edited.receipt["pixels"] < 120 * 140
    assert edited.receipt["delta_e_p99"] <= 3
