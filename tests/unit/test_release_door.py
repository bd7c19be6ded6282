"""The door: the label that the history asks for, whole files only, nothing overwritten unasked."""

import hashlib
import io
import itertools
import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from defusedxml.ElementTree import fromstring
from PIL import Image

from packshot.core.errors import PackshotError, UsageError
from packshot.images.decode import decode
from packshot.images.encode import encode
from packshot.images.picture import Metadata, Operation, Origin, ProductImage
from packshot.release import prepared
from packshot.release.door import Released, release
from packshot.release.source_type import derive_source_type

TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"
CAPTURE = Operation("decode", "capture")
SAMPLE = Operation("sample", "generated")
TRAINED, COMPOSITE = "trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"
ENHANCED = "algorithmicallyEnhanced"


def picture(*history: Operation, channels: int = 3, xmp: bytes | None = None) -> ProductImage:
    pixels = np.random.default_rng(8).integers(0, 256, (12, 17, channels), dtype=np.uint8)
    return ProductImage(pixels, Metadata(xmp=xmp), history)


def carried(attribute: str) -> bytes:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" dc:creator="The Shop" '
        f'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" {attribute}/></rdf:RDF></x:xmpmeta>'
    ).encode()


def declared(path: Path) -> str | None:
    """Reads the label with another reader than the one that the door checks itself with."""
    with Image.open(path) as im:
        im.load()
        packet = im.info.get("xmp")
    if packet is None:
        return None
    tag = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
    found = [e.text for e in fromstring(packet).iter(tag)]
    found += [e.get(tag) for e in fromstring(packet).iter() if e.get(tag)]
    assert len(found) <= 1
    return found[0] if found else None


# --- what is said ----------------------------------------------------------------------------------------------------


def history(*origins: Origin) -> tuple[Operation, ...]:
    return tuple(Operation(f"step {i}", origin) for i, origin in enumerate(origins))


@pytest.mark.parametrize(
    ("origins", "term"),
    [
        (("capture",), None),
        (("capture", "classical", "classical"), None),
        (("capture", "learned"), ENHANCED),
        (("capture", "learned", "classical"), ENHANCED),
        (("capture", "generated"), COMPOSITE),
        (("capture", "generated", "learned", "classical"), COMPOSITE),
        (("generated",), TRAINED),
        (("generated", "classical"), TRAINED),
        (("generated", "learned"), TRAINED),
    ],
)
def test_the_source_type_follows_the_table(origins: tuple[Origin, ...], term: str | None) -> None:
    assert derive_source_type(history(*origins)) == term


def test_a_declaration_is_kept_or_strengthened_never_weakened() -> None:
    assert derive_source_type(history("capture", "classical"), "digitalCapture") == "digitalCapture"
    assert derive_source_type(history("capture", "learned"), "digitalCapture") == ENHANCED
    assert derive_source_type(history("capture", "classical"), TRAINED) == TRAINED
    assert derive_source_type(history("capture", "learned"), TRAINED) == TRAINED
    assert derive_source_type(history("capture", "generated"), TRAINED) == TRAINED
    assert derive_source_type(history("capture", "learned"), COMPOSITE) == COMPOSITE
    assert derive_source_type(history("generated"), "digitalCapture") == TRAINED
    assert derive_source_type(history("capture", "learned"), "TrainedAlgorithmicMedia") == "TrainedAlgorithmicMedia"
    old = Operation("decode", "capture", {"source_type": TRAINED})
    assert derive_source_type((old, *history("classical"))) == TRAINED
    ranks = ["digitalCapture", ENHANCED, COMPOSITE, TRAINED]
    for before, origins in itertools.product(ranks, [("capture",), ("capture", "learned"), ("capture", "generated")]):
        after = derive_source_type(history(*origins), before)
        assert ranks.index(str(after)) >= ranks.index(before)


@pytest.mark.parametrize("origins", [(), ("classical",), ("learned", "classical")])
def test_without_an_origin_nothing_leaves(origins: tuple[Origin, ...], tmp_path: Path) -> None:
    with pytest.raises(PackshotError, match="does not say where it came from"):
        release(picture(*history(*origins)), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


# --- the file --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".png", ".jpg", ".jpeg", ".webp", ".PNG"])
def test_the_label_is_in_the_file(ending: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / f"shirt{ending}"
    released = release(picture(SAMPLE), path)
    data = path.read_bytes()
    checksum, mark = hashlib.sha256(data).hexdigest(), released.mark
    assert released == Released(path=path, sha256=checksum, source_type=TRAINED, mark=mark)
    assert mark is not None and len(bytes.fromhex(mark)) == 5
    assert declared(path) == TERMS + TRAINED
    back = decode(path)
    assert back.history[0].params["source_type"] == TRAINED
    assert back.pixels.shape == (12, 17, 3)
    if ending.lower() == ".png":
        assert np.array_equal(back.pixels, picture().pixels)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_plain_photo_leaves_without_a_claim(tmp_path: Path) -> None:
    released = release(picture(CAPTURE), tmp_path / "a.png")
    assert released.source_type is None
    assert decode(released.path).metadata.xmp is None


def test_carried_xmp_is_merged_and_its_old_label_replaced(tmp_path: Path) -> None:
    old = carried(f'Iptc4xmpExt:DigitalSourceType="{TERMS}digitalCapture"')
    path = release(picture(CAPTURE, Operation("remove", "generated"), xmp=old), tmp_path / "a.jpg").path
    assert declared(path) == TERMS + COMPOSITE
    assert b'dc:creator="The Shop"' in path.read_bytes()
    assert b"digitalCapture" not in path.read_bytes()


def test_a_label_travels_through_decode_and_release_again(tmp_path: Path) -> None:
    first = release(picture(SAMPLE), tmp_path / "a.webp")
    resized = decode(first.path).done(Operation("resize", "classical"))
    assert release(resized, tmp_path / "b.png").source_type == TRAINED
    bare = ProductImage(resized.pixels, Metadata(), resized.history)
    again = release(bare, tmp_path / "c.png")
    assert (again.source_type, declared(again.path)) == (TRAINED, TERMS + TRAINED), "also where the XMP was lost"


def test_damaged_xmp_is_replaced_and_noted(tmp_path: Path) -> None:
    for i, bad in enumerate((b"<x:xmpmeta", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", b"\xff\xfe\0")):
        released = release(picture(SAMPLE, xmp=bad), tmp_path / f"{i}.png")
        assert declared(released.path) == TERMS + TRAINED
        assert "damaged" in released.notes[0]
    assert decode(release(picture(CAPTURE, xmp=b"<"), tmp_path / "c.png").path).metadata.xmp is None


def test_xmp_too_long_for_jpeg_gives_way_to_the_label(tmp_path: Path) -> None:
    long = carried(f'dc:title="{"x" * 70_000}"')
    released = release(picture(SAMPLE, xmp=long), tmp_path / "a.jpg")
    assert declared(released.path) == TERMS + TRAINED
    assert "too long for a JPEG" in released.notes[0]
    whole = release(picture(SAMPLE, xmp=long), tmp_path / "a.png")
    assert whole.notes == ()
    assert "x" * 70_000 in (decode(whole.path).metadata.xmp or b"").decode()


def test_alpha_stays_or_the_note_says_so(tmp_path: Path) -> None:
    image = picture(SAMPLE, channels=4)
    assert np.array_equal(decode(release(image, tmp_path / "a.png").path).pixels, image.pixels)
    assert "laid over white" in release(image, tmp_path / "a.jpg").notes[0]


# --- refusals --------------------------------------------------------------------------------------------------------


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"mine")
    with pytest.raises(PackshotError, match=r"exists already.*--overwrite"):
        release(picture(SAMPLE), path)
    assert path.read_bytes() == b"mine"
    release(picture(SAMPLE), path, overwrite=True)
    assert decode(path).width == 17
    (tmp_path / "link.png").symlink_to("elsewhere.png")
    with pytest.raises(PackshotError, match="exists already"):
        release(picture(SAMPLE), tmp_path / "link.png")


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"

    def late(image: ProductImage, kind: str, quality: int) -> bytes:
        path.write_bytes(b"mine")
        return encode(image, kind, quality)

    monkeypatch.setattr(prepared, "encode", late)
    with pytest.raises(PackshotError, match=r"exists already.*--overwrite"):
        release(picture(SAMPLE), path)
    assert path.read_bytes() == b"mine"
    assert list(tmp_path.iterdir()) == [path]


def test_of_many_who_want_one_name_one_wins(tmp_path: Path) -> None:
    start = threading.Barrier(8)

    def one(i: int) -> bool:
        start.wait()
        try:
            release(picture(SAMPLE), tmp_path / "a.png")
        except PackshotError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(one, range(8))) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_without_hard_links_it_still_writes_and_still_does_not_overwrite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(source: Path, target: Path) -> None:
        if target.name == "b.png":
            target.write_bytes(b"mine")
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    assert declared(release(picture(SAMPLE), tmp_path / "a.png").path) == TERMS + TRAINED
    with pytest.raises(PackshotError, match="exists already"):
        release(picture(SAMPLE), tmp_path / "b.png")
    assert (tmp_path / "b.png").read_bytes() == b"mine"
    assert len(list(tmp_path.iterdir())) == 2


def test_wrong_endings_folders_and_parents(tmp_path: Path) -> None:
    for name, near in (("a.gif", ""), ("a", ""), ("a.jpgg", "Did you mean '.jpg'"), ("a.tiff", "")):
        with pytest.raises(UsageError, match=f"{near}.*Known endings: .png, .jpg, .jpeg, .webp"):
            release(picture(SAMPLE), tmp_path / name)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(PackshotError, match="is a folder"):
        release(picture(SAMPLE), tmp_path / "folder.png", overwrite=True)
    with pytest.raises(PackshotError, match="name is too long"):
        release(picture(SAMPLE), tmp_path / ("x" * 300 + ".png"))
    (tmp_path / "file").write_text("")
    with pytest.raises(PackshotError, match="is a file, not a folder"):
        release(picture(SAMPLE), tmp_path / "file" / "a.png")


def _drop_label(data: bytes) -> bytes:
    return encode(ProductImage(decode(data).pixels))


def _other_pixels(data: bytes) -> bytes:
    image = decode(data)
    return encode(ProductImage(255 - image.pixels, image.metadata))


@pytest.mark.parametrize("damage", [_drop_label, _other_pixels, lambda d: d[:-40], lambda d: b""])
def test_a_file_that_reads_back_differently_is_not_released(
    damage: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(image: ProductImage, kind: str, quality: int) -> bytes:
        out: bytes = damage(encode(image, kind, quality))  # type: ignore[operator]
        return out

    monkeypatch.setattr(prepared, "encode", broken)
    with pytest.raises(PackshotError, match="nothing was released"):
        release(picture(SAMPLE), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_writes_something_else_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_more(self: Path, data: bytes) -> None:
        with self.open("wb") as f:
            f.write(data + b"\0")

    monkeypatch.setattr(Path, "write_bytes", write_more)
    with pytest.raises(PackshotError, match="does not read back"):
        release(picture(SAMPLE), tmp_path / "a.jpg")
    assert list(tmp_path.iterdir()) == []


def _release_for_ever(folder: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    for i in itertools.count():
        release(ProductImage(noise, history=(SAMPLE,)), Path(folder) / f"{i}.png")


def test_kill_9_leaves_whole_files_only(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_release_for_ever, args=(str(tmp_path),))
    process.start()
    end = time.monotonic() + 60
    while len(list(tmp_path.glob("[0-9]*.png"))) < 5 and time.monotonic() < end:
        time.sleep(0.005)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    files = list(tmp_path.glob("[0-9]*.png"))
    assert len(files) >= 5
    for path in files:
        assert decode(path).history[0].params["source_type"] == TRAINED
        with Image.open(io.BytesIO(path.read_bytes())) as im:
            im.verify()
