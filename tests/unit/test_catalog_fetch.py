"""Fetching: each way by itself, with what can go wrong; no network beyond this machine's own loopback."""

import gzip
import hashlib
import http.server
import json
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from packshot.catalog import fetch as module
from packshot.catalog.fetch import fetch
from packshot.catalog.references import CLOTHING, FASHION_MNIST
from packshot.core.errors import PackshotError, UsageError
from tests.catalog_photos import jpeg, photo, run

NAMES = list(FASHION_MNIST.content_sha256)


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that has nothing: no Debian folder, no apt, no shared folder, no network."""
    monkeypatch.setattr(module, "DEBIAN_FOLDER", tmp_path / "no-debian")
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    monkeypatch.setattr(module, "FASHION_MNIST", replace(FASHION_MNIST, address="http://127.0.0.1:9/"))
    monkeypatch.setattr(module, "CLOTHING", replace(CLOTHING, address="http://127.0.0.1:9/"))
    monkeypatch.delenv("PACKSHOT_SHARED", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def small_fashion(folder: Path, monkeypatch: pytest.MonkeyPatch, *, pack: bool = True) -> Path:
    """Four small files, whose checksums the module is told to expect."""
    folder.mkdir(parents=True)
    sums = {}
    rng = np.random.default_rng(0)
    for name in NAMES:
        content = name.encode() + rng.bytes(5000)
        sums[name] = hashlib.sha256(content).hexdigest()
        (folder / (f"{name}.gz" if pack else name)).write_bytes(gzip.compress(content) if pack else content)
    monkeypatch.setattr(module, "FASHION_MNIST", replace(module.FASHION_MNIST, content_sha256=sums))
    return folder


@pytest.mark.parametrize("pack", [True, False])
def test_from_a_named_folder(away: Path, monkeypatch: pytest.MonkeyPatch, pack: bool) -> None:
    source = small_fashion(away / "src", monkeypatch, pack=pack)
    report = fetch("fashion-mnist", source=source)
    assert report.path == away / "cache/packshot/data/fashion-mnist"
    assert (report.licence, report.checked, report.photos, report.origin) == ("MIT", True, 70_000, str(source))
    about = json.loads((report.path / "fetched.json").read_text())
    assert (about["format"], about["licence"]) == ("idx", "MIT")
    assert "arXiv:1708.07747" in str(report.citation)
    assert fetch("fashion-mnist", source=away / "gone") == report, "what is there already is not fetched again"


def test_a_wrong_file_is_refused_and_nothing_is_left(away: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = small_fashion(away / "src", monkeypatch)
    name = f"{NAMES[2]}.gz"
    good = (source / name).read_bytes()
    for bad, words in ((gzip.compress(b"other"), "SHA-256 of"), (good[:-9], "cut short or damaged"), (b"", "differs")):
        (source / name).write_bytes(bad)
        with pytest.raises(PackshotError, match=words):
            fetch("fashion-mnist", source=source, out=away / "out")
    (source / name).unlink()
    with pytest.raises(PackshotError, match=f"has no {name}"):
        fetch("fashion-mnist", source=source, out=away / "out")
    assert sorted(p.name for p in away.iterdir()) == ["here", "src"]


def test_a_changed_earlier_fetch_is_told(away: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = small_fashion(away / "src", monkeypatch)
    fetch("fashion-mnist", source=source, out=away / "out")
    (away / f"out/{NAMES[0]}.gz").write_bytes(gzip.compress(b"other"))
    with pytest.raises(PackshotError, match="was changed since it was fetched"):
        fetch("fashion-mnist", source=source, out=away / "out")


def test_an_output_folder_in_use(away: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = small_fashion(away / "src", monkeypatch)
    (away / "out").mkdir()
    (away / "out/mine").write_text("x")
    with pytest.raises(PackshotError, match="exists and does not hold fashion-mnist"):
        fetch("fashion-mnist", source=source, out=away / "out")
    (away / "out/mine").unlink()
    assert fetch("fashion-mnist", source=source, out=away / "out").path == away / "out"


def test_nothing_anywhere_lists_the_three_ways(away: Path) -> None:
    with pytest.raises(PackshotError) as caught:
        fetch("fashion-mnist", out=away / "out")
    text = str(caught.value)
    for words in ("Three ways", "--from FOLDER", "apt-get install dataset-fashion-mnist", "http://127.0.0.1:9/"):
        assert words in text
    for tried in ("no-debian is no folder here", "apt-get and dpkg-deb are not on this machine", "no connection"):
        assert tried in text
    assert "\n" not in text
    with pytest.raises(PackshotError, match=r"Two ways.*metadata\.csv and 128/.*no connection"):
        fetch("clothing", out=away / "out")
    assert not (away / "out").exists()
    with pytest.raises(UsageError, match="Did you mean 'fashion-mnist'"):
        fetch("fashion")


def test_the_ways_are_tried_in_their_order(away: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = small_fashion(away / "debian", monkeypatch)
    monkeypatch.setattr(module, "DEBIAN_FOLDER", folder)
    assert fetch("fashion-mnist", out=away / "out").origin == str(folder)


APT = """#!/bin/sh
echo "$@" >> "{log}"
case "$*" in
  *State=*update*) exit {update} ;;
  *State=*download*) cp "{deb}" ./dataset-fashion-mnist_1_all.deb; exit 0 ;;
  *download*) echo "E: Unable to locate package x" >&2; exit 100 ;;
esac
"""


@pytest.mark.parametrize("update", [0, 100])
def test_debians_package_without_lists(away: Path, monkeypatch: pytest.MonkeyPatch, update: int) -> None:
    """apt-get does not know the package, so own lists are fetched; apt-get and dpkg-deb are stand-ins here."""
    content = small_fashion(away / "content/usr/share/datasets/fashion-mnist", monkeypatch)
    tools = away / "bin"
    tools.mkdir()
    (away / "x.deb").write_text("x")
    (tools / "apt-get").write_text(APT.format(log=away / "log", deb=away / "x.deb", update=update))
    (tools / "dpkg-deb").write_text(f'#!/bin/sh\ncp -r "{away}/content" "$3"\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setattr(module.shutil, "which", lambda name: str(tools / name))
    if update:
        with pytest.raises(PackshotError, match="apt-get failed with 100"):
            fetch("fashion-mnist", out=away / "out")
        return
    report = fetch("fashion-mnist", out=away / "out")
    assert report.origin == "Debian's package dataset-fashion-mnist_1_all.deb"
    assert content.is_dir()
    first, second, third = (away / "log").read_text().splitlines()
    assert "Dir::State=" not in first
    assert "Dir::State=" in second
    assert "Dir::State::status=/var/lib/dpkg/status" in third
    assert len(report.tried) == 1


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server on this machine's loopback that serves a folder."""
    folder = tmp_path / "www"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/", folder
        running.shutdown()


def test_the_public_address(away: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    address, folder = server
    small_fashion(away / "src", monkeypatch)
    monkeypatch.setattr(module, "FASHION_MNIST", replace(module.FASHION_MNIST, address=address))
    with pytest.raises(PackshotError, match="the server answered 404"):
        fetch("fashion-mnist", out=away / "out")
    for path in (away / "src").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    assert fetch("fashion-mnist", out=away / "out").origin == address
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 100)
    with pytest.raises(PackshotError, match="more than 100 bytes"):
        fetch("fashion-mnist", out=away / "out2")


def clothing_archive(path: Path, rows: list[str], photos: list[str]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("clothing-dataset-master/images.csv", "image,sender_id,label,kids\n" + "\n".join(rows))
        for i, name in enumerate(photos):
            archive.writestr(f"clothing-dataset-master/{name}", jpeg(photo(i)))


def test_clothing_from_its_public_archive(
    away: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, folder = server
    rows = ["a,1,T-Shirt,False", "b,1,Not sure,False", "c,2,Hat,True", "gone,2,Hat,True", "../../evil,3,Hat,True"]
    clothing_archive(
        folder / "z.zip", rows, ["images/a.jpg", "images/b.jpg", "images/c.jpg", "images/../../../evil.jpg"]
    )
    monkeypatch.setattr(module, "CLOTHING", replace(CLOTHING, address=f"{address}z.zip"))
    report = fetch("clothing", out=away / "out")
    assert (report.photos, report.checked, report.licence) == (2, False, "CC0-1.0")
    assert "SHA-256" in report.origin
    assert sorted(p.name for p in (away / "out/128").iterdir()) == ["a.jpg", "c.jpg"]
    assert not list(away.rglob("evil*"))
    ingested = run(away / "out", away / "catalog", licence=None, source=None, test_share=0.5)
    assert set(ingested.categories) == {"T-Shirt", "Hat"}
    (folder / "z.zip").write_bytes((folder / "z.zip").read_bytes()[:-40])
    with pytest.raises(PackshotError, match="cut short or damaged"):
        fetch("clothing", out=away / "out2")
    assert sorted(p.name for p in away.iterdir()) == ["catalog", "here", "out", "www"]


def test_clothing_from_a_shared_folder(away: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = away / "shared/data/clothing"
    (folder / "128").mkdir(parents=True)
    (folder / "metadata.csv").write_text("image,category,split\na,Hat,train\nb,Hat,validation\n")
    (folder / "128/a.jpg").write_bytes(jpeg(photo(1)))
    monkeypatch.setenv("PACKSHOT_SHARED", str(away / "shared"))
    with pytest.raises(PackshotError, match=r"has no photo 128/b\.jpg, which its list names"):
        fetch("clothing", out=away / "out")
    (folder / "128/b.jpg").write_bytes(jpeg(photo(2)))
    (folder / "128/not-listed.jpg").write_bytes(jpeg(photo(3)))
    assert fetch("clothing", out=away / "out").photos == 2
    assert sorted(p.name for p in (away / "out/128").iterdir()) == ["a.jpg", "b.jpg"]
    report = run(away / "out", away / "catalog", licence=None, source=None)
    assert report.splits == {"test": 1, "train": 1}


def test_the_installed_package_has_the_published_content(tmp_path: Path) -> None:
    if not module.DEBIAN_FOLDER.is_dir():
        pytest.skip("Fashion-MNIST is not installed (Debian's package dataset-fashion-mnist)")
    report = fetch("fashion-mnist", source=module.DEBIAN_FOLDER, out=tmp_path / "out")
    assert report.checked
    assert {p.name for p in report.path.iterdir()} == {"fetched.json", *(f"{n}.gz" for n in NAMES)}
