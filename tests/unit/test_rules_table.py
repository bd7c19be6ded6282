"""Every row of the table "from what was done to what is said", field by field, with two readers that are not ours.

exiftool (Debian's libimage-exiftool-perl) reads XMP and the manifest's actions; c2pa's own reader checks the signature.
"""

import io
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import c2pa
import numpy as np
import pytest

from packshot import __version__
from packshot.images.picture import Operation, ProductImage
from packshot.release.door import SIDE_CAR, Released, release
from packshot.release.statement import state

TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"
SCHEMA = "https://schema.org/"
ENHANCED, COMPOSITE, TRAINED = (
    "algorithmicallyEnhanced",
    "compositeWithTrainedAlgorithmicMedia",
    "trainedAlgorithmicMedia",
)
BOX = [4, 6, 20, 10]
MIME = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}


@dataclass(frozen=True)
class Row:
    """What was done, and what has to be said of it."""

    done: tuple[Operation, ...]
    term: str | None
    actions: tuple[str, ...]
    notice: str | None = None
    declared: str | None = None
    region: bool = False


ROWS = {
    "resize": Row((Operation("resize", "classical"),), None, ("c2pa.resized",)),
    "crop": Row((Operation("crop", "classical"),), None, ("c2pa.cropped",)),
    "resize what was declared": Row(
        (Operation("resize", "classical"),), "digitalCapture", ("c2pa.resized",), declared="digitalCapture"
    ),
    "tone": Row((Operation("tone", "classical"),), None, ("c2pa.adjustedColor",)),
    "learned enlargement": Row((Operation("enhance", "learned"),), ENHANCED, ("c2pa.enhanced",)),
    "cut-out": Row((Operation("cutout", "learned"),), ENHANCED, ("c2pa.enhanced",)),
    "backdrop": Row(
        (Operation("cutout", "learned"), Operation("backdrop", "generated")),
        COMPOSITE,
        ("c2pa.enhanced", "c2pa.edited"),
        "modified",
    ),
    "repair": Row(
        (Operation("repair", "generated", {"box": BOX}),), COMPOSITE, ("c2pa.edited",), "modified", region=True
    ),
    "extend": Row((Operation("extend", "generated"),), COMPOSITE, ("c2pa.edited",), "modified"),
    "restyle": Row((Operation("restyle", "generated", {"only": None}),), COMPOSITE, ("c2pa.filtered",), "modified"),
}
GENERATED = {
    "sample": Row((Operation("sample", "generated", {"model": "vae"}),), TRAINED, (), "generated"),
    "sample, enlarged": Row(
        (Operation("sample", "generated", {"model": "vae"}), Operation("enhance", "learned")),
        TRAINED,
        ("c2pa.enhanced",),
        "generated",
    ),
}


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKSHOT_HOME", str(tmp_path / "home"))
    for name in ("PRODUCER", "CHINA_LABEL", "CREDIT", "COPYRIGHT", "WATERMARK"):
        monkeypatch.delenv(f"PACKSHOT_{name}", raising=False)


def leave(row: Row, folder: Path, ending: str, *, opened: bool = True) -> Released:
    format = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}[ending]
    params = {"name": "shirt.jpg", "format": format, "source_type": row.declared}
    first = (Operation("decode", "capture", params),) if opened else ()
    y, x = np.mgrid[0:48, 0:64]
    pixels = np.stack([3 * y + x, 90 + x, 180 - y], -1).astype(np.uint8)
    return release(ProductImage(pixels, history=(*first, *row.done)), folder / f"a.{ending}", beside=True)


def exiftool(path: Path) -> dict[str, Any]:
    if shutil.which("exiftool") is None:
        pytest.skip("exiftool is not installed (Debian's package libimage-exiftool-perl)")
    done = subprocess.run(["exiftool", "-j", "-G1", "-struct", str(path)], capture_output=True, check=True)
    (found,) = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def manifest_of(path: Path) -> dict[str, Any]:
    with c2pa.Reader(MIME[path.suffix[1:]], io.BytesIO(path.read_bytes())) as reader:
        report = json.loads(reader.json())
    assert report["validation_state"] in ("Valid", "Trusted")
    active = report["manifests"][report["active_manifest"]]
    assert isinstance(active, dict)
    return active


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
@pytest.mark.parametrize("name", [*ROWS, *GENERATED])
def test_c2pa_and_the_side_car_say_what_the_table_says(name: str, ending: str, tmp_path: Path) -> None:
    row = (ROWS | GENERATED)[name]
    released = leave(row, tmp_path, ending, opened=name in ROWS)
    assert released.source_type == row.term
    beside = released.path.with_name(released.path.name + SIDE_CAR)
    if row.term not in (ENHANCED, COMPOSITE, TRAINED):
        assert released.mark is None and not beside.exists()  # Nothing a machine did has to be said.
        return
    active = manifest_of(released.path)
    (data,) = [a["data"] for a in active["assertions"] if a["label"].startswith("c2pa.actions")]
    first, *then = data["actions"]
    assert tuple(a["action"] for a in then) == row.actions
    terms = {a["digitalSourceType"] for a in data["actions"] if "digitalSourceType" in a}
    if name in ROWS:
        assert first["action"] == "c2pa.opened" and "digitalSourceType" not in first
        (source,) = active["ingredients"]
        assert (source["relationship"], source["title"]) == ("parentOf", "shirt.jpg")
        assert TERMS + row.term in terms
    else:
        assert (first["action"], first["digitalSourceType"]) == ("c2pa.created", TERMS + TRAINED)
        assert not active.get("ingredients")
    shapes = [r["shape"] for a in then for c in a.get("changes", []) for r in c["region"]]
    boxes = [[s["origin"]["x"], s["origin"]["y"], s["width"], s["height"]] for s in shapes]
    assert boxes == ([BOX] if row.region else [])
    told = json.loads(beside.read_text())
    assert told["source_type"] == row.term and told["id"] == released.mark
    upper = row.term[0].upper() + row.term[1:]
    assert told["json_ld"]["digitalSourceType"] == f"{SCHEMA}{upper.removesuffix('DigitalSource')}DigitalSource"
    made = row.notice is not None
    platforms = told["platforms"]
    assert platforms["dv360"]["SyntheticContentAttestationStatus"] == ("IS_SYNTHETIC" if made else "NOT_SYNTHETIC")
    assert platforms["taboola"]["ai_disclosure"]["status"] == ("AI_GENERATED" if made else "NOT_AI_GENERATED")
    assert ("notice" in told) is made
    if made:
        words = {"generated": ("Generated with AI", "AI 生成"), "modified": ("Modified with AI", "AI 修改")}[
            row.notice or ""
        ]
        assert (told["notice"]["en"]["caption"], told["notice"]["zh"]["caption"]) == words


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
@pytest.mark.parametrize("name", [*ROWS, *GENERATED])
def test_exiftool_reads_the_same(name: str, ending: str, tmp_path: Path) -> None:
    row = (ROWS | GENERATED)[name]
    released = leave(row, tmp_path, ending, opened=name in ROWS)
    found = exiftool(released.path)
    xmp = {k: v for k, v in found.items() if k.startswith("XMP")}
    toolkit = xmp.pop("XMP-x:XMPToolkit", None)
    assert toolkit is None
    wanted: dict[str, Any] = {}
    if row.term in (ENHANCED, COMPOSITE, TRAINED):
        wanted["XMP-iptcExt:DigitalSourceType"] = TERMS + row.term
    if row.notice is not None:
        label = {"Label": "1", "ContentProducer": "Packshot", "ProduceID": released.mark, "ReservedCode1": ""}
        label |= {"ContentPropagator": "", "PropagateID": "", "ReservedCode2": ""}
        wanted["XMP-TC260:Aigc"] = label
        assert list(json.loads(xmp["XMP-TC260:Aigc"])) == list(label)
        xmp["XMP-TC260:Aigc"] = json.loads(xmp["XMP-TC260:Aigc"])
    if row.term == TRAINED:
        wanted |= {"XMP-iptcExt:AISystemUsed": "Packshot vae", "XMP-iptcExt:AISystemVersionUsed": __version__}
        # Version 12 of exiftool does not know these two of IPTC 2025.1 by their name's case.
        xmp = {k.replace("Aisystem", "AISystem"): v for k, v in xmp.items()}
    if row.declared is not None:
        assert row.term == row.declared
        wanted["XMP-iptcExt:DigitalSourceType"] = TERMS + row.declared
    assert xmp == wanted
    if ending == "webp":  # There exiftool finds no manifest.
        return
    listed = found.get("CBOR:Actions", [])
    actions = [a["action"] for a in (listed if isinstance(listed, list) else [listed])]
    if row.term in (ENHANCED, COMPOSITE, TRAINED):
        assert actions == ["c2pa.opened" if name in ROWS else "c2pa.created", *row.actions]
        assert found["JUMBF:JUMDLabel"] == "c2pa" and found["CBOR:Mark"] == released.mark
    else:
        assert actions == [] and "JUMBF:JUMDLabel" not in found


def test_rights_are_written_where_the_user_said_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKSHOT_COPYRIGHT", "© 2026 Our shop\x01")
    monkeypatch.setenv("PACKSHOT_CREDIT", "Our shop")
    monkeypatch.setenv("PACKSHOT_PRODUCER", "某店")
    found = exiftool(leave(GENERATED["sample"], tmp_path, "jpg", opened=False).path)
    assert (found["XMP-dc:Rights"], found["XMP-photoshop:Credit"]) == ("© 2026 Our shop", "Our shop")
    assert json.loads(found["XMP-TC260:Aigc"])["ContentProducer"] == "某店"
    plain = exiftool(leave(ROWS["resize"], tmp_path, "png").path)
    assert "XMP-dc:Rights" not in plain  # Nothing is added to a photo that nothing has to be said of.


def test_the_statement_is_one_for_all_dialects() -> None:
    for name, row in (ROWS | GENERATED).items():
        params = {"name": "a", "format": "PNG", "source_type": row.declared}
        first = (Operation("decode", "capture", params),) if name in ROWS else ()
        said = state(ProductImage(np.zeros((2, 2, 3), np.uint8), history=(*first, *row.done)), row.declared)
        assert (said.source_type, said.notice, said.china_label) == (row.term, row.notice, row.notice is not None)
        assert said.created is (name in GENERATED)
