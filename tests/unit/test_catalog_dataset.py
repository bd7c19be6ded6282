"""A finished catalogue: opening, verifying, reading, packing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from packshot.catalog import open_catalog
from packshot.core.errors import PackshotError, UsageError
from packshot.images.decode import decode
from packshot.images.resize import fit_square
from tests.catalog_photos import encoded, jpeg, photo, run, write_folder
from tests.unit.test_catalog_readers import idx


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue of 30 photos of two categories in two shards, which no test changes."""
    base = tmp_path_factory.mktemp("made")
    write_folder(base / "in", {"hats": 40, "shoes": 20})
    (base / "in/loose.png").write_bytes(encoded(np.dstack([photo(90), np.full((80, 60), 100, np.uint8)]), "PNG"))
    run(base / "in", base / "out", shard_photos=32, test_share=0.2)
    return base / "out"


@pytest.fixture
def own(made: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    import shutil

    shutil.copytree(made, tmp_path / "own", ignore=shutil.ignore_patterns("cache"))
    return tmp_path / "own"


def test_what_a_catalogue_says(made: Path) -> None:
    catalog = open_catalog(made)
    assert catalog.categories == ("hats", "shoes", "uncategorised")
    assert catalog.native == (60, 3)
    assert len(catalog.checksum) == 64
    assert sum(n for split in catalog.summary["categories"].values() for n in split.values()) == 61
    assert catalog.manifest(["key"]).num_rows == 61
    assert set(catalog.summary["quality"]["blur"]) == {"p5", "p25", "p50", "p75", "p95"}
    catalog.verify()
    with pytest.raises(UsageError, match=r"Unknown column 'kye'\. Did you mean 'key'"):
        catalog.manifest(["kye"])


def test_reading_a_photo(made: Path) -> None:
    catalog = open_catalog(made)
    for row in catalog.manifest().to_pylist()[::9]:
        original = decode((made.parent / "in" / row["key"]).read_bytes())
        assert (catalog.read(row["photo_id"]).pixels == original.pixels).all()
    with pytest.raises(UsageError, match="has no photo 'nothing'"):
        catalog.read("nothing")


@pytest.mark.parametrize("name", ["manifest.parquet", "shards/00000.parquet", "shards/00001.parquet", "rejected.jsonl"])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_verify_names_the_damaged_file(own: Path, name: str, damage: str) -> None:
    path = own / name
    data = bytearray(path.read_bytes() or b"x")
    if damage == "flip":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif damage == "cut":
        path.write_bytes(data[: len(data) // 2] if len(data) > 1 else b"longer")
    else:
        path.unlink()
    with pytest.raises(PackshotError, match=name) as caught:
        open_catalog(own).verify()
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a | {"categories": ["shoes", "hats", "uncategorised"]}, "was changed after the ingest"),
        (lambda a: a | {"files": a["files"] | {"shards/00000.parquet": "0" * 64}}, "was changed after the ingest"),
        (lambda a: a | {"format_version": 99}, "catalogue format 99"),
        (lambda a: a | {"format": "recipes"}, "does not describe a catalogue"),
        (lambda a: {k: v for k, v in a.items() if k != "files"}, "is damaged"),
        (lambda a: [a], "does not describe a catalogue"),
    ],
)
def test_a_changed_description_is_noticed(own: Path, change: object, words: str) -> None:
    about = json.loads((own / "catalog.json").read_text())
    (own / "catalog.json").write_text(json.dumps(change(about)))  # type: ignore[operator]
    with pytest.raises(PackshotError, match=words):
        open_catalog(own)


def test_what_is_no_catalogue(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(PackshotError, match="is not a catalogue; make one with `packshot ingest"):
            open_catalog(path)
    (tmp_path / "catalog.json").write_text("{")
    with pytest.raises(PackshotError, match="not valid JSON"):
        open_catalog(tmp_path)


def test_packed_is_what_decoding_and_fitting_by_hand_gives(own: Path, made: Path) -> None:
    catalog = open_catalog(own)
    rows = {r["photo_id"]: r for r in catalog.manifest().to_pylist()}
    packed = catalog.packed("train", 48, 3)
    expected = [r["photo_id"] for r in rows.values() if r["split"] == "train"]
    assert packed.photo_ids == expected, "not the manifest's order"
    assert isinstance(packed.images, np.memmap)
    assert not packed.images.flags.writeable
    assert (packed.images.shape, packed.images.dtype, packed.margin) == ((len(expected), 48, 48, 3), np.uint8, 0)
    assert packed.labels.dtype == np.int64
    for name, label, image in zip(packed.photo_ids, packed.labels, packed.images, strict=True):
        row = rows[name]
        assert catalog.categories[label] == (row["category"] or "uncategorised")
        original = decode((made.parent / "in" / row["key"]).read_bytes()).pixels
        if original.shape[2] == 4:
            alpha = original[..., 3:] / 255
            original = np.rint(original[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
        assert np.abs(fit_square(original, 48).astype(int) - image).max() <= 1


def test_packed_grey_pad_and_test_split(own: Path) -> None:
    catalog = open_catalog(own)
    grey = catalog.packed("test", 40, 1, "pad")
    assert grey.images.shape[1:] == (40, 40, 1)
    colour = catalog.packed("test", 40, 3, "pad")
    luma = colour.images @ np.array([0.299, 0.587, 0.114])
    assert np.abs(luma - grey.images[..., 0]).mean() < 2
    train = catalog.packed("train", 40, 1, "pad")
    assert not set(train.photo_ids) & set(grey.photo_ids)
    assert len(train.photo_ids) + len(grey.photo_ids) == 61


def test_packed_is_built_once_and_rebuilt_when_damaged(own: Path) -> None:
    catalog = open_catalog(own)
    first = np.array(catalog.packed("train", 16, 3).images)
    (folder,) = (own / "cache").iterdir()
    stamp = (folder / "images.npy").stat().st_mtime_ns
    catalog.packed("train", 16, 3)
    assert (folder / "images.npy").stat().st_mtime_ns == stamp
    for name in ("images.npy", "labels.npy"):
        (folder / name).write_bytes((folder / name).read_bytes()[:-20])
        assert (catalog.packed("train", 16, 3).images == first).all()
    catalog.verify()
    assert {p.name for p in (own / "cache").iterdir()} == {folder.name}, "a temporary folder was left"


def test_small_squares_get_a_black_margin(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    pictures = np.random.default_rng(0).integers(1, 256, (30, 28, 28), dtype=np.uint8)
    idx(tmp_path / "in/a-images-idx3-ubyte", pictures, pack=False)
    run(tmp_path / "in", tmp_path / "out", test_share=0)
    catalog = open_catalog(tmp_path / "out")
    packed = catalog.packed("train", 32, 1)
    assert packed.margin == 2
    assert (packed.images[:, 2:-2, 2:-2, 0] == pictures).all()
    assert packed.images.sum() == pictures.sum()
    for size, fit, margin in ((28, "auto", 0), (31, "auto", 0), (36, "auto", 4), (38, "auto", 0), (32, "crop", 0)):
        assert catalog.packed("train", size, 1, fit).margin == margin
    assert (catalog.packed("train", 28, 3).images == pictures[..., None]).all()


def test_packing_says_what_is_wrong(own: Path) -> None:
    catalog = open_catalog(own)
    for bad in (
        ("valid", 32, 3, "auto"),
        ("train", 4, 3, "auto"),
        ("train", 32, 2, "auto"),
        ("train", 32, 3, "stretch"),
    ):
        with pytest.raises(UsageError):
            catalog.packed(*bad)  # type: ignore[arg-type]
    write_folder(own.parent / "few", {"x": 3})
    run(own.parent / "few", own.parent / "few-out", test_share=0)
    with pytest.raises(PackshotError, match="no photo in its test split"):
        open_catalog(own.parent / "few-out").packed("test", 16, 3)
    shard = own / "shards/00001.parquet"
    shard.write_bytes(shard.read_bytes()[:500])
    with pytest.raises(PackshotError, match=r"00001\.parquet is damaged"):
        catalog.packed("train", 24, 3)
    assert not list((own / "cache").iterdir()), "a temporary folder was left"


def test_a_read_only_catalogue_is_packed_into_the_users_cache(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = open_catalog(own)
    real = os.access
    monkeypatch.setattr(os, "access", lambda p, mode: False if Path(p) == own else real(p, mode))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert catalog.cache.is_relative_to(tmp_path / "xdg/packshot")
    assert len(catalog.packed("train", 16, 1).images) > 0
    assert not (own / "cache").exists()


@pytest.mark.slow
def test_five_times_as_many_photos_take_no_more_memory(tmp_path: Path) -> None:
    """Peak memory of ingest and packing, each in a process of its own."""
    peaks = []
    for n in (4_000, 20_000):
        folder = tmp_path / str(n)
        folder.mkdir()
        pictures = np.random.default_rng(1).integers(0, 256, (n, 12, 12), dtype=np.uint8)
        idx(folder / "a-images-idx3-ubyte", pictures, pack=False)
        code = (
            "import resource, sys; from pathlib import Path; from tests.catalog_photos import run\n"
            "from packshot.catalog import open_catalog\n"
            "folder = Path(sys.argv[1]); run(folder, folder / 'out')\n"
            "open_catalog(folder / 'out').packed('train', 64, 1)\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
        )
        command = [sys.executable, "-c", code, str(folder)]
        root = Path(__file__).parents[2]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root, timeout=100)
        peaks.append(int(done.stdout))
    extra = peaks[1] - peaks[0]
    assert extra < 28, f"{extra} MiB more for 16,000 more photos, whose packed array alone has 62 MiB"


def test_a_photo_of_one_pixel(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i, size in enumerate(((1, 1), (1, 900), (900, 1))):
        (tmp_path / f"in/{i}.png").write_bytes(encoded(photo(i, *size), "PNG"))
        (tmp_path / f"in/{i}.jpg").write_bytes(jpeg(photo(i, *size)))
    run(tmp_path / "in", tmp_path / "out", test_share=0)
    assert open_catalog(tmp_path / "out").packed("train", 8, 3).images.shape == (6, 8, 8, 3)


def test_every_column_and_alias_is_documented() -> None:
    from packshot.catalog.readers import READERS
    from packshot.catalog.readers.table import ALIASES
    from packshot.catalog.schema import MANIFEST

    text = (Path(__file__).parents[2] / "docs/catalogue.md").read_text()
    for name in [*MANIFEST, *READERS, *ALIASES]:
        assert f"`{name}`" in text, name
    for names in ALIASES.values():
        assert ", ".join(names) in text
