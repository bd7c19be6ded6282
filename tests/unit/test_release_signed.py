"""What leaves with a label: signed, registered, read back; and what happens where that cannot be."""

import io
import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from packshot.core.errors import DiskFull, PackshotError
from packshot.images import xmp
from packshot.images.decode import BadPicture, decode
from packshot.images.encode import encode
from packshot.images.picture import Operation, ProductImage
from packshot.release import register
from packshot.release.credentials import credentials_folder, init_credentials
from packshot.release.door import SIDE_CAR, release, release_set
from packshot.release.manifest import read_manifest
from packshot.release.register import add_event, find_by_checksum, find_by_mark, read_audit, verify_audit

CAPTURE = Operation("decode", "capture", {"name": "shirt.jpg", "format": "JPEG"})
SAMPLE = Operation("sample", "generated", {"model": "dcgan"})
REPAIR = Operation("repair", "generated", {"method": "network", "box": [2, 3, 5, 4]})
TRAINED, COMPOSITE = "trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    monkeypatch.setenv("PACKSHOT_HOME", str(folder))
    return folder


def picture(*history: Operation, seed: int = 8, side: int = 24) -> ProductImage:
    height, width = side, side + 5
    ramp = np.arange(height)[:, None, None] * 3 + np.arange(width)[None, :, None] * 2 + np.array([9, 40, 70]) + 5 * seed
    return ProductImage(ramp.clip(0, 255).astype(np.uint8), history=history)


def test_a_file_that_is_not_what_was_made_does_not_leave(home: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(8).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    image = ProductImage(noise, history=(CAPTURE, REPAIR))
    with pytest.raises(PackshotError, match=r"As JPEG at quality 40 .*--quality, or for PNG"):
        release(image, tmp_path / "a.jpg", quality=40)
    assert not (tmp_path / "a.jpg").exists()
    assert release(image, tmp_path / "a.png").encoded is None
    smooth = release(picture(CAPTURE, REPAIR), tmp_path / "b.jpg").encoded
    assert smooth is not None and smooth["passed"] and 0 < smooth["delta_e_p99"] < 3


@pytest.mark.parametrize(("ending", "mime"), [(".png", "image/png"), (".jpg", "image/jpeg"), (".webp", "image/webp")])
def test_a_generated_picture_says_so_in_every_layer(home: Path, ending: str, mime: str, tmp_path: Path) -> None:
    (released,) = release_set([picture(SAMPLE)], [tmp_path / f"new{ending}"])
    data = released.path.read_bytes()
    found = read_manifest(data, mime)
    assert found is not None and found.trust == "trusted" and found.problems == ()
    assert found.actions == ("c2pa.created",) and found.source_types == (TRAINED,)
    assert found.signer == "Packshot development, signer" and found.generator == "Packshot"
    assert found.own["mark"] == released.mark
    back = decode(released.path)
    assert back.history[0].params["source_type"] == TRAINED
    packet = xmp.Packet.parse(back.metadata.xmp or b"")
    label = json.loads(packet.get(f"{{{xmp.TC260}}}AIGC") or "")
    assert list(label) == [
        *("Label", "ContentProducer", "ProduceID", "ReservedCode1", "ContentPropagator", "PropagateID", "ReservedCode2")
    ]
    assert label["ProduceID"] == released.mark and label["Label"] == "1"
    beside = json.loads(released.path.with_name(released.path.name + SIDE_CAR).read_text())
    assert beside["json_ld"]["digitalSourceType"] == "https://schema.org/TrainedAlgorithmicMediaDigitalSource"
    assert beside["json_ld"]["sha256"] == released.sha256
    assert beside["platforms"]["dv360"]["SyntheticContentAttestationStatus"] == "IS_SYNTHETIC"
    assert beside["platforms"]["taboola"]["ai_disclosure"]["status"] == "AI_GENERATED"
    (entry,) = find_by_checksum(released.sha256)
    assert entry.mark == released.mark and [e.sha256 for e in find_by_mark(entry.mark)] == [released.sha256]
    count, _ = verify_audit(list(read_audit()))
    assert count == 1


def test_a_repair_says_where(home: Path, tmp_path: Path) -> None:
    path = release(picture(CAPTURE, REPAIR), tmp_path / "a.jpg").path
    found = read_manifest(path.read_bytes(), "image/jpeg")
    assert found is not None and found.actions == ("c2pa.opened", "c2pa.edited") and found.source_types == (COMPOSITE,)
    assert found.ingredients == 1
    import c2pa

    with c2pa.Reader("image/jpeg", io.BytesIO(path.read_bytes())) as reader:
        manifests = json.loads(reader.json())
    active = manifests["manifests"][manifests["active_manifest"]]
    assert active["ingredients"][0]["title"] == "shirt.jpg" and active["ingredients"][0]["relationship"] == "parentOf"
    action = active["assertions"][0]["data"]["actions"][1]
    shape = action["changes"][0]["region"][0]["shape"]
    assert (shape["origin"], shape["width"], shape["height"]) == ({"x": 2.0, "y": 3.0}, 5.0, 4.0)


def test_nothing_due_means_nothing_signed_and_no_key_made(home: Path, tmp_path: Path) -> None:
    (released,) = release_set([picture(CAPTURE, Operation("resize", "classical"))], [tmp_path / "a.jpg"])
    assert released.mark is None and released.source_type is None
    assert read_manifest(released.path.read_bytes(), "image/jpeg") is None
    assert not home.exists() and [p.name for p in tmp_path.iterdir()] == ["a.jpg"]


def test_a_manifest_that_was_there_is_kept_as_the_ingredient(home: Path, tmp_path: Path) -> None:
    first = release(picture(SAMPLE), tmp_path / "first.png").path
    again = decode(first)
    assert again.metadata.credentials is not None
    resized = again.done(Operation("resize", "classical"), again.pixels[::2, ::2])
    second = release(resized, tmp_path / "second.jpg")
    assert second.source_type == TRAINED
    found = read_manifest(second.path.read_bytes(), "image/jpeg")
    assert found is not None and found.trust == "trusted"
    assert found.actions == ("c2pa.opened", "c2pa.resized", "c2pa.converted") and found.ingredients == 1
    import c2pa

    with c2pa.Reader("image/jpeg", io.BytesIO(second.path.read_bytes())) as reader:
        assert len(json.loads(reader.json())["manifests"]) == 2


def test_a_label_that_only_the_manifest_holds_is_not_lost(home: Path, tmp_path: Path) -> None:
    first = decode(release(picture(SAMPLE), tmp_path / "first.png").path)
    stripped = replace(first, metadata=replace(first.metadata, xmp=None), history=(CAPTURE_PNG,))
    second = release(stripped, tmp_path / "second.png")
    assert second.source_type == TRAINED
    assert decode(second.path).history[0].params["source_type"] == TRAINED


CAPTURE_PNG = Operation("decode", "capture", {"name": "first.png", "format": "PNG"})


def test_what_was_hidden_does_not_leave_in_the_old_manifest(home: Path, tmp_path: Path) -> None:
    first = decode(release(picture(SAMPLE), tmp_path / "first.png").path)
    hidden = first.done(Operation("anonymise", "classical"), 255 - first.pixels)
    second = release(hidden, tmp_path / "second.png")
    assert second.source_type == TRAINED and any("left behind" in note for note in second.notes)
    import c2pa

    with c2pa.Reader("image/png", io.BytesIO(second.path.read_bytes())) as reader:
        report = json.loads(reader.json())
    assert len(report["manifests"]) == 1
    assert (
        report["manifests"][report["active_manifest"]]["assertions"][0]["data"]["actions"][1]["reason"]
        == "c2pa.PII.present"
    )


def test_the_same_again_is_not_done_again(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    (first,) = release_set([picture(SAMPLE)], [path])
    path.with_name("a.png" + SIDE_CAR).unlink()
    (second,) = release_set([picture(SAMPLE)], [path])
    assert second == first and path.with_name("a.png" + SIDE_CAR).is_file()
    assert len(list(read_audit())) == 1
    with pytest.raises(PackshotError, match="exists already"):
        release_set([picture(SAMPLE, seed=9)], [path])
    other = tmp_path / "b.png"
    (third,) = release_set([picture(SAMPLE)], [other])
    assert third.mark == first.mark and np.array_equal(decode(other).pixels, decode(path).pixels)


def _one(job: tuple[str, int]) -> str:
    os.environ["PACKSHOT_HOME"] = job[0]
    folder = Path(job[0]).parent
    return release(picture(SAMPLE, seed=job[1]), folder / f"{job[1]}.png").sha256


def test_processes_that_begin_at_once_share_one_chain_and_one_log(home: Path) -> None:
    home.parent.mkdir(exist_ok=True)
    with ProcessPoolExecutor(3, multiprocessing.get_context("spawn")) as pool:
        done = list(pool.map(_one, [(str(home), i) for i in range(9)]))
    assert len(list(home.glob("credentials*"))) == 1
    count, _ = verify_audit(list(read_audit()))
    assert count == 9 and sorted(str(line.event["sha256"]) for line in read_audit()) == sorted(done)
    for i in range(9):
        found = read_manifest((home.parent / f"{i}.png").read_bytes(), "image/png")
        assert found is not None and found.trust == "trusted"


def _loosen(folder: Path) -> None:
    (folder / "key.pem").chmod(0o644)


def _lose(folder: Path) -> None:
    (folder / "key.pem").unlink()


def _mix(folder: Path) -> None:
    kept = (folder / "chain.pem").read_bytes()
    init_credentials(overwrite=True)
    (folder / "chain.pem").write_bytes(kept)


def _garble(folder: Path) -> None:
    (folder / "chain.pem").write_text("no certificate")


@pytest.mark.parametrize(
    ("harm", "says"), [(_loosen, "chmod 600"), (_lose, "no file"), (_mix, "not the key"), (_garble, "no certificates")]
)
def test_no_label_no_picture(harm: object, says: str, home: Path, tmp_path: Path) -> None:
    harm(init_credentials())  # type: ignore[operator]
    before = tmp_path / "a.png"
    before.write_bytes(b"original")
    with pytest.raises(PackshotError, match=says):
        release(picture(SAMPLE), before, overwrite=True)
    assert before.read_bytes() == b"original"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "home"] and list(read_audit()) == []
    release(picture(CAPTURE), tmp_path / "b.png")  # Of a plain photo nothing is claimed, so nothing has to be signed.


def test_a_register_that_cannot_be_written_stops_the_release(home: Path, tmp_path: Path) -> None:
    init_credentials()
    (home / "register.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(PackshotError, match=r"register .* cannot be used"):
        release(picture(SAMPLE), tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


def test_a_register_without_room_is_a_full_disk(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_event({"event": "erasure"})
    monkeypatch.setattr(register, "SCHEMA", register.SCHEMA + ";PRAGMA max_page_count = 1")  # No page more than it has.
    with pytest.raises(DiskFull, match=r"register .* cannot be used"):
        add_event({"event": "erasure", "reason": "x" * 100_000})
    assert len(list(read_audit())) == 1


def test_a_home_that_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PACKSHOT_HOME", str(tmp_path / "file"))
    with pytest.raises(PackshotError, match="is a file, not a folder"):
        release(picture(SAMPLE), tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


def test_the_key_is_its_owners_alone(home: Path) -> None:
    folder = init_credentials()
    assert folder == credentials_folder()
    assert (folder / "key.pem").stat().st_mode & 0o777 == 0o600 and folder.stat().st_mode & 0o777 == 0o700
    with pytest.raises(PackshotError, match="already"):
        init_credentials()


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp"])
def test_a_changed_byte_is_detected_or_changes_nothing(ending: str, home: Path, tmp_path: Path) -> None:
    kind = {".png": "PNG", ".jpg": "JPEG", ".webp": "WEBP"}[ending]
    path = release(picture(SAMPLE, side=40), tmp_path / f"a{ending}").path
    data, mime = path.read_bytes(), f"image/{kind.lower()}"
    whole = decode(data)
    rng = np.random.default_rng(3)
    for at in rng.integers(len(data), size=334):
        changed = bytearray(data)
        changed[at] ^= int(rng.integers(1, 256))
        found = read_manifest(bytes(changed), mime)
        if found is None or found.trust == "invalid":
            continue
        try:
            back = decode(bytes(changed))
        except BadPicture:
            continue
        assert np.array_equal(back.pixels, whole.pixels) and back.metadata.xmp == whole.metadata.xmp, at
        assert found.source_types == (TRAINED,)


def test_a_picture_saved_again_elsewhere_has_no_manifest(home: Path, tmp_path: Path) -> None:
    path = release(picture(SAMPLE), tmp_path / "a.png").path
    out = io.BytesIO()
    Image.open(path).save(out, "PNG")
    assert read_manifest(out.getvalue(), "image/png") is None
    assert read_manifest(encode(decode(path)), "image/png") is None
