"""restyle: the networks taken apart are the networks, tiles fit, and what is to stay stays."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner
from PIL import Image, ImageDraw, ImageFont

from packshot.cli.main import cli
from packshot.core.errors import PackshotError, UsageError
from packshot.images.lab import srgb_to_lab
from packshot.images.picture import Operation, ProductImage
from packshot.images.recolour import colour_shift, keep_colours, lab_to_srgb
from packshot.models.style import networks
from packshot.models.style import stylise as engine
from packshot.models.style.presets import PRESETS, THUMBNAILS
from packshot.release.source_type import derive_source_type
from packshot.tasks.restyle import Restyle, RestyleRequest, restyle
from tests.cutouts import Known

Pixels = npt.NDArray[np.uint8]


def photo(height: int, width: int, seed: int = 0) -> Pixels:
    """A smooth picture with an edge: noise made large, and a bright disc."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(40, 200, (6, 5, 3), dtype=np.uint8))
    pixels = np.array(coarse.resize((width, height), Image.Resampling.BICUBIC))
    y, x = np.ogrid[:height, :width]
    pixels[(y - height / 2) ** 2 + (x - width / 2) ** 2 < (min(height, width) / 4) ** 2] = (220, 60, 50)
    return pixels


def image(pixels: Pixels) -> ProductImage:
    return ProductImage(pixels, history=(Operation("decode", "capture"),))


def planes(pixels: Pixels) -> npt.NDArray[np.float32]:
    return (pixels.astype(np.float32) / 255).transpose(2, 0, 1)[None]


def vector(number: int) -> npt.NDArray[np.float32]:
    return np.eye(networks.N_STYLES, dtype=np.float32)[number]


def test_the_network_of_26_is_the_published_one() -> None:
    import onnxruntime

    x = np.ascontiguousarray(planes(photo(96, 64)))
    session = onnxruntime.InferenceSession(str(networks._file("multistyle26")), providers=["CPUExecutionProvider"])
    mixed = 0.3 * vector(4) + 0.7 * vector(19)
    published = session.run(None, {"image": x, "style_weights": mixed})[0]
    ours, _ = networks.StyledNetwork(networks.network_of_26(), mixed).run_and_measure(x)
    np.testing.assert_allclose(ours, published, atol=1e-4)


def test_the_network_of_any_is_the_published_one_without_its_rounding() -> None:
    import onnxruntime

    x = photo(384, 384)
    code = networks.style_code(photo(256, 256, seed=3).astype(np.float32) / 255)
    session = onnxruntime.InferenceSession(
        str(networks._file("arbitrary_transform")), providers=["CPUExecutionProvider"]
    )
    given = {
        i.name: v
        for i, v in zip(session.get_inputs(), (x[None] / np.float32(255), code.reshape(1, 1, 1, 100)), strict=True)
    }
    published = session.run(None, given)[0][0]
    ours, _ = networks.StyledNetwork(networks.network_of_any(), code).run_and_measure(np.ascontiguousarray(planes(x)))
    assert abs(ours[0].transpose(1, 2, 0) - published).mean() < 0.06  # Published: 8-bit activations.
    assert np.corrcoef(ours[0].transpose(1, 2, 0).ravel(), published.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("network", [networks.network_of_26, networks.network_of_any])
def test_with_given_moments_tiles_are_the_whole(network: object) -> None:
    net = network()  # type: ignore[operator]
    styled = networks.StyledNetwork(net, vector(12) if net.name == "many" else np.full(100, 0.1, np.float32))
    x = np.ascontiguousarray(planes(photo(240, 176)))
    whole, moments = styled.run_and_measure(x)
    local = styled.frozen(moments)
    np.testing.assert_allclose(local(x), whole, atol=1e-4)
    part = local(np.ascontiguousarray(x[:, :, 20:]))
    np.testing.assert_allclose(part[:, :, networks.REACH :], whole[:, :, 20 + networks.REACH :], atol=1e-4)
    assert abs(part[:, :, :8] - whole[:, :, 20:28]).max() > 1e-3  # Near the cut it is another picture: REACH is needed.


def test_shares_of_moments_are_those_of_repeated_pictures() -> None:
    styled = networks.StyledNetwork(networks.network_of_26(), vector(0))
    a, b = planes(photo(64, 64, 1)), planes(photo(64, 64, 2))
    weighted = styled.run_and_measure(np.concatenate([a, b]), np.array([2 / 3, 1 / 3], np.float32))[1]
    repeated = styled.run_and_measure(np.concatenate([a, a, b]))[1]
    for one, other in zip(weighted, repeated, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("network", [networks.network_of_26, networks.network_of_any])
def test_a_picture_beside_counts_like_one_among_them(network: object) -> None:
    net = network()  # type: ignore[operator]
    styled = networks.StyledNetwork(net, vector(3) if net.name == "many" else np.full(100, 0.1, np.float32))
    a, b = planes(photo(64, 48, 1)), planes(photo(64, 48, 2))
    among, moments = styled.run_and_measure(np.concatenate([a, b]), np.array([0.65, 0.35], np.float32))
    out, same = styled.run_and_measure(a, np.array([0.65], np.float32), b)
    np.testing.assert_allclose(out, among[:1], atol=1e-4)
    for one, other in zip(moments, same, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
    smaller = styled.run_and_measure(a, np.array([0.65], np.float32), np.ascontiguousarray(b[..., :32, :24]))[0]
    assert smaller.shape == a.shape


def test_tiles_leave_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    """In tiles or as one: the same picture."""
    monkeypatch.setattr(engine, "TILE", 192)
    starts = []
    whole = engine.map_tiles

    def spy(function: object, picture: Pixels, **layout: int) -> Pixels:
        def noted(x: Pixels) -> Pixels:
            starts.append(x.shape[1])
            return function(x)  # type: ignore[operator,no-any-return]

        return whole(noted, picture, **layout)  # type: ignore[return-value]

    monkeypatch.setattr(engine, "map_tiles", spy)
    style = engine.style_of_26({12: 1}, 96)
    out = engine.stylise(photo(200, 400), style)
    assert len(starts) > 4
    monkeypatch.setattr(engine, "TILE", 2000)
    np.testing.assert_allclose(out.astype(int), engine.stylise(photo(200, 400), style).astype(int), atol=3)


def test_sizes_grow_in_steps_up_to_the_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LARGEST_UP", 4.0)
    assert engine.sizes(600, 600, 640) == [(600, 600)]
    assert engine.sizes(1, 1, 640) == [(4, 4)]
    assert engine.sizes(320, 320, 640) == [(640, 640)]
    steps = engine.sizes(4000, 3000, 640)
    assert steps[-1] == (4000, 3000) and len(steps) == 3
    assert abs(np.sqrt(np.prod(steps[0])) - 640) < 2
    assert all(b[0] / a[0] <= engine.LARGEST_STEP + 0.01 for a, b in pairwise(steps))


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (1, 90), (67, 61)])
@pytest.mark.parametrize("tone", [0, 255])
def test_any_size_and_flat_photos(size: tuple[int, int], tone: int) -> None:
    flat = np.full((*size, 3), tone, np.uint8)
    out = engine.stylise(flat, engine.style_of_26({8: 1}, 64))
    assert out.shape == flat.shape and out.dtype == np.uint8
    np.testing.assert_array_equal(out, engine.stylise(flat, engine.style_of_26({8: 1}, 64)))


def small(styles: tuple[str, ...] = ("ink",), **rest: object) -> RestyleRequest:
    return RestyleRequest(styles=styles, **rest)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LARGEST_UP", 1.0)  # Small photos are not enlarged, for speed.


def test_a_restyled_photo_says_so_and_keeps_its_alpha() -> None:
    rgba = np.dstack([photo(65, 63), np.full((65, 63), 255, np.uint8)])
    rgba[:20, :, 3], rgba[20:30, :, 3] = 0, 90
    before = image(rgba)
    after = restyle(before, small()).image
    np.testing.assert_array_equal(after.pixels[..., 3], rgba[..., 3])
    np.testing.assert_array_equal(after.pixels[:20], rgba[:20])
    assert (after.pixels[30:, :, :3] != rgba[30:, :, :3]).any()
    assert after.history[-1].name == "restyle"
    assert derive_source_type(after.history) == "compositeWithTrainedAlgorithmicMedia"
    np.testing.assert_array_equal(before.pixels, rgba)


def test_hidden_colours_change_nothing() -> None:
    rgba = np.dstack([photo(48, 48), np.full((48, 48), 255, np.uint8)])
    rgba[:, :16, 3] = 0
    other = rgba.copy()
    other[:, :16, :3] = (0, 255, 0)
    one, two = (restyle(image(p), small()).image.pixels[:, 16:] for p in (rgba, other))
    np.testing.assert_array_equal(one, two)


def test_strength_goes_from_the_photo_to_the_style() -> None:
    pixels = photo(48, 40)
    none, half, full = (restyle(image(pixels), small(strength=s)).image for s in (0.0, 0.5, 1.0))
    np.testing.assert_array_equal(none.pixels, pixels)
    assert derive_source_type(none.history) is None
    middle = (pixels.astype(float) + full.pixels) / 2
    assert abs(half.pixels - middle).max() <= 1


@pytest.mark.parametrize("only", ["product", "background"])
def test_only_a_part_is_styled(only: str, tmp_path: Path) -> None:
    pixels, matte = photo(50, 44), np.zeros((50, 44), np.uint8)
    matte[10:30, 8:36] = 255
    Image.fromarray(matte).save(tmp_path / "matte.png")
    kept = matte == (0 if only == "product" else 255)
    by_file = restyle(image(pixels), small(only=only, matte=tmp_path / "matte.png")).image.pixels
    found = restyle(image(pixels), small(only=only), Known(matte, "unsure"))
    assert found.review == "unsure"
    np.testing.assert_array_equal(by_file, found.image.pixels)
    np.testing.assert_array_equal(by_file[kept], pixels[kept])
    assert (by_file[~kept] != pixels[~kept]).any(axis=1).mean() > 0.5
    cut = restyle(image(np.dstack([pixels, np.maximum(matte, 1)])), small(only=only)).image.pixels[..., :3]
    assert (cut[kept] == pixels[kept]).mean() > 0.9


def test_text_stays() -> None:
    page = Image.fromarray(np.full((160, 320, 3), (150, 170, 190), np.uint8))
    ImageDraw.Draw(page).text((40, 50), "SUMMER SALE", fill=(20, 20, 60), font=ImageFont.load_default(36))
    pixels = np.asarray(page)
    done = restyle(image(pixels), small(("pop",), protect_text=True))
    letters = (pixels != pixels[0, 0]).any(axis=2)
    assert abs(done.image.pixels[letters].astype(int) - pixels[letters]).mean() < 2
    plain = restyle(image(pixels), small(("pop",))).image.pixels
    assert abs(plain[letters].astype(int) - pixels[letters]).mean() > 20
    assert 0.05 < done.figures["text_area"] < 0.6


def test_colours_are_kept_within_5() -> None:
    pixels = photo(120, 96)
    loud = Restyle(small(("abstract",)))(image(pixels)).image.pixels
    kept = Restyle(small(("abstract",), keep_colours=True))(image(pixels)).image.pixels
    assert colour_shift(loud, pixels).mean() > 15
    assert colour_shift(kept, pixels).max() < 5
    assert (kept != pixels).any()


def test_colours_of_the_same_picture_are_its_own() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    np.testing.assert_array_equal(lab_to_srgb(srgb_to_lab(pixels)), pixels)
    white = np.full((40, 30, 3), 255, np.uint8)
    assert colour_shift(keep_colours(pixels, white), white).max() < 15  # Half of any pattern is beyond white.


def test_two_named_styles_are_mixed_as_one() -> None:
    pixels = photo(40, 40)
    ink, pop = (restyle(image(pixels), small((s,))).image.pixels for s in ("ink", "pop"))
    both = restyle(image(pixels), small(("ink", "pop:0"))).image.pixels
    np.testing.assert_array_equal(both, ink)
    mixed = restyle(image(pixels), small(("ink:0.5", "pop"))).image.pixels
    assert (mixed != ink).any() and (mixed != pop).any()


def test_a_picture_as_style_alone_and_mixed(tmp_path: Path) -> None:
    Image.fromarray(photo(64, 80, seed=5)).save(tmp_path / "a:b.png")
    name = str(tmp_path / "a:b.png")
    pixels = photo(40, 40)
    own = restyle(image(pixels), small((name,))).image.pixels
    ink = restyle(image(pixels), small(("ink",))).image.pixels
    mixed = restyle(image(pixels), small((f"{name}:0.25", "ink"))).image.pixels
    assert abs(mixed - (0.25 * own + 0.75 * ink)).max() <= 1
    assert Restyle(small((name,))).settings()["styles"][0]["style"] != name


def test_wrong_requests_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (30, 30), (90, 10, 10)).save(tmp_path / "flat.png")
    Image.new("L", (9, 9), 255).save(tmp_path / "matte.png")
    plain = image(photo(20, 20))
    for request, sentence in (
        ({"styles": ()}, "one style"),
        ({"styles": ("ink", "pop", "chalk")}, "not 3"),
        ({"strength": 1.5}, "--strength is 1.5"),
        ({"styles": ("ink:0.9", "pop:0.9")}, "sum to 1"),
        ({"styles": ("ink:2", "pop")}, "sum to 1"),
        ({"styles": ("ink:0.7",)}, "use --strength"),
        ({"styles": ("ink:nan",)}, "use --strength"),
        ({"matte": tmp_path / "matte.png"}, "--only"),
    ):
        with pytest.raises(UsageError, match=sentence):
            RestyleRequest(**{"styles": ("ink",), **request})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="Did you mean 'ink'"):
        Restyle(small(("inkk",)))
    with pytest.raises(PackshotError, match="one flat colour"):
        Restyle(small((str(tmp_path / "flat.png"),)))
    with pytest.raises(PackshotError, match="of one size"):
        restyle(plain, small(only="product", matte=tmp_path / "matte.png"))
    with pytest.raises(PackshotError, match="nothing to go by"):
        restyle(plain, small(only="product"))
    with pytest.raises(PackshotError, match="no product"):
        restyle(plain, small(only="product"), Known(np.zeros((20, 20), np.uint8)))
    with pytest.raises(PackshotError, match="nothing but the product"):
        restyle(plain, small(only="background"), Known(np.full((20, 20), 255, np.uint8)))


def test_presets_are_ten_or_more_and_have_small_thumbnails() -> None:
    assert len(PRESETS) >= 10
    assert {"impressionism", "abstract", "watercolour", "ink", "pop", "mosaic"} <= set(PRESETS)
    sizes = {path.stem: path.stat().st_size for path in THUMBNAILS.glob("*.webp")}
    assert set(sizes) == set(PRESETS)
    assert max(sizes.values()) <= 15_000 and sum(sizes.values()) <= 200_000


def test_command(tmp_path: Path) -> None:
    Image.fromarray(photo(33, 31)).save(tmp_path / "shoe.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    run = CliRunner().invoke(
        cli,
        [
            "restyle",
            str(tmp_path / "shoe.jpg"),
            str(tmp_path / "broken.jpg"),
            "--style",
            "ink",
            "--out",
            str(tmp_path / "out"),
            "--json",
        ],
    )
    told = json.loads(run.stdout)
    assert run.exit_code == 1 and told["counts"]["done"] == told["counts"]["failed"] == 1
    assert told["photos"][0]["source_type"] == "compositeWithTrainedAlgorithmicMedia"
    with Image.open(tmp_path / "out" / "shoe.jpg") as written:
        assert written.size == (31, 33)


def test_command_lists_the_styles() -> None:
    listed = CliRunner().invoke(cli, ["restyle", "--list"])
    assert listed.exit_code == 0
    assert [line.split()[0] for line in listed.stdout.splitlines()] == list(PRESETS)
    as_json = CliRunner().invoke(cli, ["restyle", "--list", "--json"], obj=["restyle", "--list", "--json"])
    assert list(json.loads(as_json.stdout)) == list(PRESETS)
