"""Hostile files through the whole door: a photo that carries them is edited and leaves labelled, or not at all."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from packshot.core.errors import PackshotError
from packshot.images.decode import MIB, BadPicture, Limits, decode
from packshot.images.picture import Operation
from packshot.release.door import release
from packshot.release.manifest import read_manifest
from tests.c2pa_files import signed

REPAIR = Operation("repair", "generated", {"method": "patch", "box": [1, 2, 3, 4]})
COMPOSITE = "compositeWithTrainedAlgorithmicMedia"
LAUGHS = (
    b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha">%s]><x:xmpmeta xmlns:x="adobe:ns:meta/">&j;</x:xmpmeta>"""
    % b"".join(b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(9))
)


def png(packet: bytes | None = None, *more: tuple[bytes, bytes]) -> bytes:
    out = io.BytesIO()
    y, x = np.mgrid[0:40, 0:50]
    Image.fromarray(np.stack([4 * y, 4 * x, y + x], -1).astype(np.uint8)).save(out, "PNG")
    data = out.getvalue()
    chunks = [(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet)] if packet is not None else []
    for kind, body in (*chunks, *more):
        chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        data = data[:33] + chunk + data[33:]
    return data


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PACKSHOT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize(
    "packet",
    [
        LAUGHS,
        b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + b"<a>" * 100_000,
        b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + b"x" * (5 * MIB) + b"</x:xmpmeta>",
        b"\xff\xfe" + b"\0" * 999,
        b"digitalSourceType digitalCapture",
    ],
    ids=["laughs", "deep", "long", "utf-16", "no XML"],
)
@pytest.mark.parametrize("ending", [".png", ".jpg"])
def test_hostile_xmp_is_left_behind_and_the_label_is_there(packet: bytes, ending: str, tmp_path: Path) -> None:
    photo = decode(png(packet))
    released = release(photo.done(REPAIR), tmp_path / f"a{ending}")
    assert released.source_type == COMPOSITE
    data = released.path.read_bytes()
    assert len(data) < MIB and b"ENTITY" not in data
    assert decode(data).history[0].params["source_type"] == COMPOSITE


def test_a_packet_of_100_mb_does_not_come_in() -> None:
    data = png(b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + b" " * (100 * MIB) + b"</x:xmpmeta>")
    for limit in (64 * MIB, 200 * MIB):
        with pytest.raises(BadPicture, match=r"\.$"):
            decode(data, limits=Limits(max_bytes=limit))


@pytest.mark.parametrize(
    "store",
    [b"", b"\0\0\0\x08jumb", b"\xff\xff\xff\xffjumb" + b"c2pa" * 50, b"\0\0\0\x20jumb" + b"jumd" * 200],
    ids=["empty", "short", "endless", "garbage"],
)
def test_a_broken_manifest_is_no_reason_to_leave_unlabelled(store: bytes, tmp_path: Path) -> None:
    photo = decode(png(None, (b"caBX", store)))
    try:
        released = release(photo.done(REPAIR), tmp_path / "a.png")
    except PackshotError as e:
        assert str(e).endswith(".") and not (tmp_path / "a.png").exists()
        return
    found = read_manifest(released.path.read_bytes(), "image/png")
    assert found is not None and found.trust == "trusted" and found.source_types == (COMPOSITE,)


def test_a_manifest_of_another_tool_is_kept_and_what_is_ours_is_added(tmp_path: Path) -> None:
    theirs = signed(png(), "image/png", None)
    released = release(decode(theirs).done(REPAIR), tmp_path / "a.jpg")
    found = read_manifest(released.path.read_bytes(), "image/jpeg")
    assert found is not None and found.trust == "trusted" and found.ingredients == 1
    assert found.actions == ("c2pa.opened", "c2pa.edited", "c2pa.converted")
    their = read_manifest(theirs, "image/png")
    assert their is not None and their.trust == "valid", "nobody here trusts their signer"


def test_a_folder_that_takes_no_files_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(PackshotError, match=r"/proc/a\.png.*\.$"):
        release(decode(png()).done(REPAIR), Path("/proc/a.png"))
