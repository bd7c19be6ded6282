"""Whose picture is it, and is it what it says: every verdict, every layer, hostile files, manifests attached again."""

import io
import json
import shutil
import time
import zlib
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import c2pa
import numpy as np
import pytest
from PIL import Image

from packshot.core.errors import PackshotError, UsageError
from packshot.images import xmp
from packshot.images.decode import decode
from packshot.images.jumbf import STORE
from packshot.images.picture import Operation, ProductImage
from packshot.release.claims import Claims, contradictions, say_intact
from packshot.release.door import SIDE_CAR, release
from packshot.release.manifest import Manifest, read_manifest
from packshot.release.register import find_by_checksum
from packshot.tasks.verify import Verified, verify
from tests import c2pa_files
from tests.integration.conftest import run_cli

TRAINED, COMPOSITE = "trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"
SAMPLE = (Operation("sample", "generated", {"model": "dcgan"}),)
REPAIRED = (
    Operation("decode", "capture", {"name": "shirt.jpg", "format": "JPEG"}),
    Operation("repair", "generated", {"method": "network", "box": [2, 3, 5, 4]}),
)


def pixels(seed: int = 0, side: int = 264) -> np.ndarray:
    """Something woven, smooth enough for a JPEG and busy enough for a watermark."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0 : side + 12]
    a, b = rng.uniform(9, 40, 2)
    grey = 120 + 40 * np.sin(x / a) + 30 * np.cos(y / b + x / 40)
    colours = np.stack([grey, 0.8 * grey + 20, 0.6 * grey + 50], -1) + rng.normal(0, 4, (side, side + 12, 3))
    return colours.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home and a folder with three released pictures: watermarked PNG and JPEG, and a repair without a watermark."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PACKSHOT_HOME", str(folder / "home"))
        assert release(ProductImage(pixels(1), history=SAMPLE), folder / "new.jpg").watermarked
        assert release(ProductImage(pixels(2), history=SAMPLE), folder / "new.png").watermarked
        assert not release(ProductImage(pixels(3, 60), history=REPAIRED), folder / "repaired.png").watermarked
    return folder


@pytest.fixture
def made(_made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, a fresh copy for each test."""
    monkeypatch.delenv("PACKSHOT_TRUST", raising=False)
    monkeypatch.setenv("PACKSHOT_HOME", str(tmp_path / "made" / "home"))
    shutil.copytree(_made, tmp_path / "made")
    return tmp_path / "made"


def one(path: Path, **options: Path) -> Verified:
    (result,) = verify([path], **options)  # type: ignore[arg-type]
    return result


def saved(path: Path, source: Path, *, packet: bytes | None = None, scale: float = 1, **options: object) -> Path:
    """The picture saved by a program that knows of no label but the XMP it is given."""
    with Image.open(source) as im:
        im = im.convert("RGB").resize((round(im.width * scale), round(im.height * scale)))
    im.info.clear()
    im.save(path, **(options if packet is None else {"xmp": packet, **options}))  # type: ignore[arg-type]
    return path


def packet_of(path: Path) -> bytes:
    found = decode(path).metadata.xmp
    assert found is not None
    return found


def foreign(path: Path, seed: int = 9) -> Path:
    out = io.BytesIO()
    Image.fromarray(pixels(seed)).save(out, "PNG")
    path.write_bytes(c2pa_files.signed(out.getvalue(), "image/png", None))
    return path


def test_fresh_re_encoded_stripped_and_a_strangers_are_told_apart(made: Path) -> None:
    again = saved(made / "again.jpg", made / "new.jpg", packet=packet_of(made / "new.jpg"), quality=80)
    bare = saved(made / "bare.jpg", made / "new.jpg", quality=75)
    files = [made / "new.jpg", again, bare, foreign(made / "other.png")]
    out = json.loads(run_cli("verify", *files, "--json")[0])
    assert out["verdicts"] == {"released": 1, "re-encoded": 1, "stripped": 1, "stranger": 1}
    fresh, re_encoded, stripped, stranger = out["files"]
    mark = fresh["registered"]["mark"]
    assert fresh["layers"] == {"c2pa": "intact", "iptc": True, "china": True, "watermark": mark, "register": "bytes"}
    assert fresh["claims"]["c2pa"] == fresh["claims"]["iptc"] == TRAINED
    assert fresh["claims"]["actions"] == ["c2pa.created", "c2pa.watermarked"]
    assert (fresh["claims"]["title"], fresh["signature"]["trust"]) == ("new.jpg", "trusted")
    assert fresh["claims"]["china"]["ProduceID"] == mark and "byte for byte" in fresh["sentence"]
    left = {"c2pa": "none", "iptc": True, "china": True, "watermark": mark, "register": "watermark"}
    assert re_encoded["layers"] == left and re_encoded["registered"]["proof"]
    assert "signature is gone and labels are left" in re_encoded["sentence"]
    assert stripped["layers"] == {**left, "iptc": False, "china": False}
    assert f"The watermark in its pixels is the id of new.jpg ({mark})" in stripped["sentence"]
    assert stripped["registered"]["likeness"]["bits"] <= 4
    assert stranger["sentence"] == "Signed by signer, and not as a picture of this register."
    assert stranger["signature"]["words"] == "valid, but its signer is not trusted here"
    assert stranger["claims"]["generator"] == "tests" and stranger["registered"] is None
    assert not any(f["contradictions"] for f in out["files"])


def test_it_is_said_in_lines_too(made: Path) -> None:
    text, _ = run_cli("verify", made / "new.png", made / "repaired.png")
    assert text.splitlines()[0].startswith(f"{made / 'new.png'}: released. Released here at 20")
    assert "titled repaired.png from shirt.jpg" in text and "intact: valid, and its signer is trusted here" in text
    assert f"claims: C2PA: {COMPOSITE}, XMP: {COMPOSITE}, China's label: 1" in text


def test_without_a_watermark_a_likeness_is_called_one(made: Path) -> None:
    bare = one(saved(made / "bare.webp", made / "repaired.png", quality=80))
    assert bare.verdict == "stripped" and bare.traced is not None
    assert (bare.traced.by, bare.traced.proof, bare.traced.entry.name) == ("fingerprint", False, "repaired.png")
    assert "a likeness, no proof" in bare.sentence and "of 64 bits differ" in bare.sentence
    labelled = saved(made / "l.webp", made / "repaired.png", packet=packet_of(made / "repaired.png"), quality=80)
    found = one(labelled)
    assert (found.verdict, found.traced and found.traced.by) == ("re-encoded", "label")
    assert "a label can be copied" in found.sentence
    photo = one(saved(made / "photo.webp", made / "repaired.png", packet=xmp.stating("digitalCapture"), quality=80))
    assert photo.verdict == "stranger" and "a likeness, no proof" in photo.sentence  # The photo that it began with.


def test_nothing_claimed_and_nothing_found(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(pixels(7)).save(made / "plain.png")
    assert one(made / "plain.png").verdict == "unmarked"
    Image.fromarray(pixels(7)).transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(made / "plain.tif")
    assert one(made / "plain.tif").verdict == "unmarked"
    monkeypatch.setenv("PACKSHOT_HOME", str(tmp_path / "elsewhere"))
    away = one(made / "new.jpg")  # Another machine has another register, and does not trust this one's signer.
    assert away.verdict == "stranger" and away.claims is not None
    assert say_intact(away.claims) == "valid, but its signer is not trusted here"
    assert any("which this register does not know" in note for note in away.notes)
    assert not (tmp_path / "elsewhere").exists()


def test_trust_is_a_matter_of_who_asks(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other, root = foreign(made / "other.png"), made / "root.pem"
    root.write_bytes(c2pa_files.chain()[0])
    run_cli("verify", other)
    assert "and its signer is trusted here" in run_cli("verify", other, "--trust", root)[0]
    monkeypatch.setenv("PACKSHOT_TRUST", str(root))
    assert "and its signer is trusted here" in run_cli("verify", other)[0]
    monkeypatch.setenv("PACKSHOT_TRUST", str(made / "none.pem"))
    assert "no such file" in run_cli("verify", other, code=1)[1]
    monkeypatch.delenv("PACKSHOT_TRUST")
    assert "holds no certificates" in run_cli("verify", other, "--trust", made / "new.jpg", code=1)[1]


def test_a_copied_label_does_not_make_a_picture_ours(made: Path) -> None:
    Image.fromarray(pixels(8)).save(made / "thief.jpg", xmp=packet_of(made / "new.jpg"))
    found = one(made / "thief.jpg")
    assert found.verdict == "stranger" and found.traced is None
    assert any("the label was copied" in note for note in found.notes)


def test_a_stranger_who_signs_our_picture_is_told_from_us(made: Path) -> None:
    bare = saved(made / "bare.jpg", made / "new.jpg", quality=90)
    (made / "taken.jpg").write_bytes(c2pa_files.signed(bare.read_bytes(), "image/jpeg", None))
    found = one(made / "taken.jpg")
    assert found.verdict == "stranger" and found.traced is not None and found.traced.by == "watermark"
    assert "The watermark in its pixels is the id of new.jpg" in found.sentence
    assert any("the register has trainedAlgorithmicMedia" in sentence for sentence in found.contradictions)


def test_a_weakened_label_contradicts_the_register(made: Path) -> None:
    packet = xmp.stating("digitalCapture")
    found = one(saved(made / "bare.jpg", made / "new.jpg", packet=packet, quality=85))
    assert found.verdict == "re-encoded"
    assert found.contradictions == (f"The labels say digitalCapture, the register has {TRAINED}.",)


def manifest(*terms: str, opened: bool = False, mark: str | None = None, earlier: tuple[str, ...] = ()) -> Manifest:
    first = "c2pa.opened" if opened else "c2pa.created"
    own = {} if mark is None else {"mark": mark}
    return Manifest(trust="valid", source_types=terms, actions=(first,), own=own, earlier=earlier)


A, B = "0123456789", "abcdef0123"


@pytest.mark.parametrize(
    ("claims", "watermark", "says"),
    [
        (Claims(), A, []),
        (Claims(manifest=manifest(TRAINED, mark=A), iptc=TRAINED, china={"ProduceID": A}), A, []),
        (Claims(manifest=manifest(TRAINED), iptc="digitalCapture"), None, ["C2PA says", "XMP says digitalCapture"]),
        (Claims(manifest=manifest("digitalCapture"), iptc=TRAINED), None, ["C2PA says digitalCapture"]),
        (Claims(manifest=manifest("algorithmicallyEnhanced", opened=True), iptc=TRAINED), None, []),
        (Claims(manifest=manifest("algorithmicallyEnhanced", opened=True), iptc="digitalCapture"), None, ["XMP says"]),
        (Claims(iptc="digitalCapture", china={"Label": "1"}), None, ["China's label says that AI made it"]),
        (Claims(manifest=manifest(TRAINED, mark=A), iptc=TRAINED), B, ["The ids differ", A, B]),
        (Claims(manifest=manifest(TRAINED, mark=A, earlier=(B,)), iptc=TRAINED), B, []),
        (Claims(china={"ProduceID": A}), B, ["The ids differ"]),
        (Claims(china={"ProduceID": "another producer's"}), B, []),
    ],
)
def test_layers_that_cannot_both_be_true(claims: Claims, watermark: str | None, says: list[str]) -> None:
    found = contradictions(claims, watermark)
    assert len(found) == bool(says) and all(part in found[0] for part in says)


def test_a_certificate_that_ended_is_no_tampering() -> None:
    ended = Claims(manifest=Manifest(trust="invalid", problems=("signingCredential.expired",), own={}))
    both = ("signingCredential.expired", "assertion.dataHash.mismatch")
    assert not ended.changed and "only with a time stamp" in say_intact(ended)
    assert Claims(manifest=Manifest(trust="invalid", problems=both, own={})).changed
    assert Claims(manifest=Manifest(trust="invalid", own={})).changed


@pytest.mark.slow
def test_a_certificate_that_ends_after_signing(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Earlier(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) - timedelta(days=30) + timedelta(seconds=4)  # type: ignore[arg-type]

    monkeypatch.setattr(c2pa_files, "datetime", Earlier)
    monkeypatch.setattr(c2pa_files, "chain", c2pa_files.chain.__wrapped__)
    other = foreign(made / "short.png")
    time.sleep(6)
    found = one(other)
    assert found.verdict == "stranger" and found.claims is not None and not found.failed
    assert "signingCredential.expired" in say_intact(found.claims)


def chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def png_with(kind: bytes, data: bytes) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels(5, 20)).save(out, "PNG")
    return out.getvalue()[:33] + chunk(kind, data) + out.getvalue()[33:]


BOMB = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><SourceType>&b;AIGC</SourceType></x:xmpmeta>"""
HOSTILE: dict[str, tuple[Callable[[bytes], bytes], str, str]] = {
    "text.png": (lambda new: b"no picture at all", "unreadable", "is not a picture"),
    "empty.jpg": (lambda new: b"", "unreadable", "is empty"),
    "short.jpg": (lambda new: new[: len(new) // 2], "unreadable", "cut short or damaged"),
    "garbled.png": (lambda new: png_with(b"caBX", b"jumb c2pa" * 40), "tampered", "invalid"),
    "memory.png": (
        lambda new: png_with(b"caBX", c2pa_files.store_with(b"\x5b\x00\x00\x00\x05" + b"\xff" * 8)),
        "tampered",
        "CBOR that announces more than there is",
    ),
    "broken.jpg": (lambda new: new.replace(b"c2pa.created", b"c2pa.creator"), "tampered", "invalid"),
    "bomb.png": (lambda new: png_with(b"iTXt", b"XML:com.adobe.xmp" + b"\0" * 5 + BOMB), "unmarked", "Nothing"),
    "huge.png": (
        lambda new: png_with(b"iTXt", b"XML:com.adobe.xmp" + b"\0" * 5 + b"<SourceType/>" * 400_000),
        "unmarked",
        "Nothing",
    ),
}


def test_hostile_files_get_a_sentence_each_and_the_next_is_judged(made: Path) -> None:
    new = (made / "new.jpg").read_bytes()
    for name, (make, _, _) in HOSTILE.items():
        (made / name).write_bytes(make(new))
    files = [made / name for name in HOSTILE]
    out = json.loads(run_cli("verify", *files, made, made / "none.png", made / "new.jpg", "--json", code=1)[0])["files"]
    for found, (name, (_, verdict, says)) in zip(out, HOSTILE.items(), strict=False):
        assert (found["verdict"], says in found["sentence"]) == (verdict, True), (name, found)
    notes = {Path(f["file"]).name: f.get("notes") for f in out}
    assert "damaged or hostile" in notes["bomb.png"][0] and "too long" in notes["huge.png"][0]
    assert [f["verdict"] for f in out[-3:]] == ["unreadable", "unreadable", "released"]


def test_a_changed_picture_is_tampered_with(made: Path) -> None:
    data = bytearray((made / "new.jpg").read_bytes())
    data[-300] ^= 1
    (made / "changed.jpg").write_bytes(data)
    out, _ = run_cli("verify", made / "changed.jpg", code=1)
    assert "tampered. Its C2PA manifest is invalid" in out and "assertion.dataHash.mismatch" in out
    assert "The watermark in its pixels is the id of new.jpg" in out


def test_bytes_that_no_signature_covers_make_it_another_file_still(made: Path) -> None:
    data = (made / "new.jpg").read_bytes()
    (made / "same.jpg").write_bytes(data.replace(b"c2pa.assertions", b"c2pa.assertionz", 1))
    found = one(made / "same.jpg")
    assert found.verdict == "re-encoded" and "but its bytes are not those that left" in found.sentence


def check_tampering(path: Path, count: int) -> None:
    """Any one byte changed: never called released, and detected, or pixels and labels are what they were."""
    data, mime = path.read_bytes(), {".png": "image/png", ".jpg": "image/jpeg"}[path.suffix]
    whole, was = decode(path), one(path)
    assert was.verdict == "released" and was.claims is not None
    rng = np.random.default_rng(11)
    target = path.with_name(f"changed{path.suffix}")
    detected = 0
    for at in rng.integers(len(data), size=count):
        changed = bytearray(data)
        changed[at] ^= int(rng.integers(1, 256))
        target.write_bytes(changed)
        found = one(target)
        assert found.verdict != "released", at
        if found.failed or (found.claims is not None and found.claims.manifest is None):
            detected += 1
            continue
        back = decode(target)
        assert np.array_equal(back.pixels, whole.pixels), at
        assert found.claims is not None and found.claims.manifest is not None
        assert (found.claims.iptc, found.claims.china) == (was.claims.iptc, was.claims.china), at
        now, then = read_manifest(bytes(changed), mime), was.claims.manifest
        assert now is not None and then is not None
        if found.claims.changed or now.trust == "invalid":
            detected += 1
            continue
        assert (now.source_types, now.actions, now.own) == (then.source_types, then.actions, then.own), at
    assert detected > 0.8 * count


@pytest.mark.parametrize("ending", [".png", ".jpg"])
def test_a_changed_byte_is_never_called_released(ending: str, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packshot.tasks.verify.detect", lambda pixels: None)  # It decides nothing here, and takes long.
    path = release(ProductImage(pixels(4, 40), history=SAMPLE), made / f"small{ending}").path
    check_tampering(path, 200)


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".png", ".jpg"])
def test_a_thousand_changed_bytes(ending: str, made: Path) -> None:
    check_tampering(made / f"new{ending}", 1000)


def test_a_stripped_picture_gets_its_manifest_again(made: Path) -> None:
    bare = saved(made / "bare.jpg", made / "new.png", quality=80, scale=0.9)
    before, out = bare.read_bytes(), made / "back.png"
    text, _ = run_cli("verify", bare, "--reattach", out)
    assert f"attached again: {out}" in text and bare.read_bytes() == before
    assert out.with_name(out.name + SIDE_CAR).is_file()
    with Image.open(out) as im, Image.open(bare) as stripped:
        assert np.array_equal(np.asarray(im), np.asarray(stripped))  # Not one pixel more is changed.
    with c2pa.Reader("image/png", io.BytesIO(out.read_bytes())) as reader:
        report = json.loads(reader.json())
    assert report["validation_state"] == "Valid" and len(report["manifests"]) == 2
    active = report["manifests"][report["active_manifest"]]
    (ingredient,) = active["ingredients"]
    assert ingredient["relationship"] == "parentOf"
    (entry,) = find_by_checksum(one(made / "new.png").traced.entry.sha256)  # type: ignore[union-attr]
    assert entry.manifest is not None and ingredient["active_manifest"].encode() in entry.manifest
    codes = [f["code"] for f in ingredient["validation_results"]["activeManifest"]["failure"]]
    assert "assertion.dataHash.mismatch" in codes  # Whoever reads it sees that the old signature is over other bytes.
    back = one(out)
    assert back.verdict == "released" and back.contradictions == () and back.claims is not None
    assert back.claims.iptc == TRAINED and back.claims.china is not None and back.claims.manifest is not None
    assert back.claims.manifest.trust == "trusted" and back.claims.manifest.earlier == (entry.mark,)
    assert back.watermark == entry.mark and any("it was made from" in note for note in back.notes)


def test_what_cannot_be_attached_again_is_refused(made: Path) -> None:
    out = made / "back.jpg"
    alike = saved(made / "alike.webp", made / "repaired.png", quality=80)
    with pytest.raises(PackshotError, match="which proves nothing"):
        verify([alike], reattach=out)
    with pytest.raises(PackshotError, match=r"new\.jpg is released: there is no registered manifest"):
        verify([made / "new.jpg"], reattach=out)
    with pytest.raises(PackshotError, match="is unmarked"):
        Image.fromarray(pixels(7)).save(made / "plain.png")
        verify([made / "plain.png"], reattach=out)
    with pytest.raises(UsageError, match="give one FILE"):
        verify([alike, alike], reattach=out)
    bare = saved(made / "bare.jpg", made / "new.jpg", quality=80)
    with pytest.raises(PackshotError, match="exists already"):
        verify([bare], reattach=alike)
    with pytest.raises(UsageError, match="is the file itself"):
        verify([bare], reattach=bare, overwrite=True)
    assert not out.exists()
    (found,) = verify([alike], reattach=out, accept_likeness=True)
    assert found.reattached == str(out) and one(out).verdict == "released"
    assert one(out).claims.iptc == COMPOSITE  # type: ignore[union-attr]


def test_a_store_alone_is_intact_where_nobody_changed_it(made: Path) -> None:
    (entry,) = find_by_checksum(one(made / "new.jpg").traced.entry.sha256)  # type: ignore[union-attr]
    store = entry.manifest
    assert store is not None and store[16 : 16 + len(STORE)] == STORE
    found = read_manifest(store, "image/jpeg")
    assert (
        found is not None and (found.trust, found.title) == ("trusted", "new.jpg") and found.own["mark"] == entry.mark
    )
    at = store.index(b"trainedAlgorithmicMedia")
    other = read_manifest(store[:at] + b"T" + store[at + 1 :], "image/jpeg")
    assert other is not None and other.trust == "invalid"
