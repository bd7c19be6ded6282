"""Generated pictures in a catalogue: known for ever, never for testing, and never among the photos."""

import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from packshot.catalog import open_catalog
from packshot.catalog.generated import Added, add_generated
from packshot.catalog.records import PhotoRecord
from packshot.core.errors import PackshotError
from packshot.images.decode import decode
from packshot.images.picture import Operation, ProductImage
from packshot.images.xmp import is_synthetic, source_type, stating, term_of
from packshot.release.door import encode_labelled
from tests.catalog_photos import encoded, files, jpeg, photo, run, write_folder
from tests.unit.test_catalog_readers import idx

COPY, FOR_TEST = "generated picture that copies a photo", "generated picture in a test split"
REPEATED = "exact duplicate of a photo before it"
MADE_BY = {"model": "drawn", "seed": 3}


def generated(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    return encode_labelled(ProductImage(pixels, history=(Operation("sample", "generated"),)), kind)


def records(pictures: list[np.ndarray], category: str = "hats", first: int = 0) -> Iterator[PhotoRecord]:
    for i, pixels in enumerate(pictures, first):
        yield PhotoRecord(key=f"generated/{i}.png", data=generated(pixels), category=category, licence="CC0-1.0")


def rows(catalog: Path) -> list[dict]:
    return open_catalog(catalog).manifest().to_pylist()


def add(catalog: Path, out: Path, pictures: list[np.ndarray], **options: object) -> Added:
    return add_generated(open_catalog(catalog), out, records(pictures, **options), MADE_BY)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue of 60 photos in two shards, one of them twice; no test changes it."""
    base = tmp_path_factory.mktemp("photos")
    folder = write_folder(base / "in", {"hats": 40, "shoes": 19})
    (folder / "shoes/twice.jpg").write_bytes(jpeg(photo(41), 70))
    run(folder, base / "out", shard_photos=32, test_share=0.3)
    return base / "out"


@pytest.fixture(scope="module")
def both(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Added]:
    """Those photos and 12 generated pictures: 8 new ones, copies of 3 photos, and one of them twice."""
    out = tmp_path_factory.mktemp("both") / "out"
    near = [np.clip(photo(i).astype(int) + 2, 0, 255).astype(np.uint8) for i in (3, 41, 50)]
    return out, add(photos, out, [*(photo(i) for i in range(900, 908)), *near, photo(900)])


TERMS = {
    "trainedAlgorithmicMedia": True,
    "TRAINEDALGORITHMICMEDIA": True,
    "compositeWithTrainedAlgorithmicMedia": True,
    "compositeSynthetic": True,
    "algorithmicMedia": True,
    "algorithmicallyEnhanced": False,
    "digitalCapture": False,
    "print": False,
    "": False,
    None: False,
}


@pytest.mark.parametrize("term", TERMS)
def test_which_source_types_are_no_photos(term: str | None) -> None:
    assert is_synthetic(term) is TERMS[term]
    if term:
        assert source_type(stating(term)) == term
        assert (
            term_of(f"digsrctype:{term}") == term_of(f"http://cv.iptc.org/newscodes/digitalsourcetype/{term}/") == term
        )


def test_a_folder_of_photos_and_generated_pictures(tmp_path: Path) -> None:
    """The generated ones are known by their own metadata, in every format; they change nothing for the photos."""
    alone = write_folder(tmp_path / "alone", {"hats": 20, "shoes": 20})
    mixed = shutil.copytree(alone, tmp_path / "mixed")
    for i, kind in zip(range(900, 930), itertools.cycle(["PNG", "JPEG", "WEBP"]), strict=False):
        (mixed / "hats" / f"new{i}.{kind.lower()}").write_bytes(generated(photo(i), kind))
    (mixed / "hats/copy.png").write_bytes(generated(photo(5)))
    for seed in range(3):
        options = {"test_share": 0.4, "seed": seed}
        before, after = (run(f, tmp_path / f"{f.name}{seed}", **options) for f in (alone, mixed))
        assert before.splits == after.splits
        assert before.categories == after.categories
        assert (before.photos, after.photos) == (40, 40)
        assert after.synthetic["pictures"] == 31
        assert after.synthetic["for_training"] == 30
        assert after.synthetic["excluded"] == {COPY: 1}
        sides = [{r["key"]: r["split"] for r in rows(tmp_path / f"{f.name}{seed}")} for f in (alone, mixed)]
        assert sides[0].items() <= sides[1].items()
        assert {side for key, side in sides[1].items() if key not in sides[0]} == {"train"}
        plain, catalog = (open_catalog(tmp_path / f"{name}{seed}") for name in ("alone", "mixed"))
        for split in ("train", "test"):
            want = plain.packed(split, 16, 3)
            assert catalog.packed(split, 16, 3).photo_ids == want.photo_ids
            np.testing.assert_array_equal(catalog.packed(split, 16, 3).images, want.images)
        assert catalog.packed("test", 16, 3, synthetic=True).photo_ids == plain.packed("test", 16, 3).photo_ids
        everything = catalog.packed("train", 16, 3, synthetic=True)
        assert len(everything.images) == len(plain.packed("train", 16, 3).images) + 30 == 24 + 30


def test_a_published_test_split_takes_no_generated_picture(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "in/train", {"hats": 6}).parent
    write_folder(folder / "test", {"hats": 3}, first_seed=20)
    (folder / "test/hats/made.png").write_bytes(generated(photo(900)))
    (folder / "train/hats/same.jpg").write_bytes(jpeg(photo(900), 80))  # A photo that the made one copies.
    (folder / "test/hats/other.png").write_bytes(generated(photo(901)))
    report = run(folder, tmp_path / "out")
    assert report.splits == {"train": 7, "test": 3}
    assert report.excluded == {}
    assert report.synthetic["excluded"] == {COPY: 1, FOR_TEST: 1}
    catalog = open_catalog(tmp_path / "out")
    assert [len(catalog.packed(s, 16, 3, synthetic=True).images) for s in ("train", "test")] == [7, 3]


def test_a_catalogue_of_generated_pictures_alone(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i in range(6):
        (tmp_path / f"in/{i}.png").write_bytes(generated(photo(i)))
    report = run(tmp_path / "in", tmp_path / "out", test_share=0.5)
    assert (report.photos, report.synthetic["for_training"], report.splits) == (0, 6, {})
    catalog = open_catalog(tmp_path / "out")
    assert len(catalog.packed("train", 16, 3, synthetic=True).images) == 6
    for split in ("train", "test"):
        with pytest.raises(PackshotError, match=f"has no photo in its {split} split"):
            catalog.packed(split, 16, 3)


@pytest.mark.parametrize("options", [{}, {"max_side": 32}])
def test_the_mark_stays_in_the_stored_bytes(options: dict, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    rgba = np.dstack([photo(1), np.full((80, 60), 90, np.uint8)])
    for name, pixels in (("rgb", photo(0)), ("rgba", rgba)):
        (tmp_path / f"in/{name}.png").write_bytes(generated(pixels))
    run(tmp_path / "in", tmp_path / "out", **options)
    for row in pq.read_table(tmp_path / "out/shards/00000.parquet").to_pylist():
        assert decode(row["bytes"]).history[0].params["source_type"] == "trainedAlgorithmicMedia"
    for row in rows(tmp_path / "out"):
        assert row["source_type"] == "trainedAlgorithmicMedia"
        picture = open_catalog(tmp_path / "out").read(row["photo_id"])
        assert picture.history[0].params["source_type"] == "trainedAlgorithmicMedia"


def test_a_catalogue_of_an_older_version(tmp_path: Path) -> None:
    """It counted generated pictures among the photos; its manifest tells them apart all the same."""
    folder = write_folder(tmp_path / "in", {"hats": 20})
    (folder / "hats/made.png").write_bytes(generated(photo(900)))
    run(folder, tmp_path / "out", test_share=0)
    about = json.loads((tmp_path / "out/catalog.json").read_text())
    del about["summary"]["synthetic"]
    about["summary"]["source_types"] = {"trainedAlgorithmicMedia": 1, "digitalCapture": 3}
    (tmp_path / "out/catalog.json").write_text(json.dumps(about))
    catalog = open_catalog(tmp_path / "out")
    assert catalog.synthetic == 1
    assert [len(catalog.packed("train", 16, 3, synthetic=s).images) for s in (False, True)] == [20, 21]


def test_what_is_added_changes_nothing_about_the_photos(photos: Path, both: tuple[Path, Added]) -> None:
    out, added = both
    before, after = open_catalog(photos), open_catalog(out)
    after.verify()
    assert (added.photos, added.pictures, added.for_training, added.synthetic) == (60, 12, 8, 8)
    assert added.excluded == {COPY: 3, REPEATED: 1}
    assert added.per_category == {"hats": 12}
    assert added.checksum == after.checksum != before.checksum
    assert after.summary["synthetic"]["categories"] == {"hats": 8}
    assert {k: v for k, v in after.summary.items() if k != "synthetic"} == {
        k: v for k, v in before.summary.items() if k != "synthetic"
    }
    old, new = rows(photos), rows(out)
    groups = ("near_group", "duplicate_group")
    for one, other in zip(old, new, strict=False):
        assert {k: v for k, v in one.items() if k not in groups} == {k: v for k, v in other.items() if k not in groups}
    for split in ("train", "test"):
        want, got = before.packed(split, 24, 3), after.packed(split, 24, 3)
        assert got.photo_ids == want.photo_ids
        np.testing.assert_array_equal(got.images, want.images)
    everything = after.packed("train", 24, 3, synthetic=True)
    train = before.packed("train", 24, 3).photo_ids
    assert everything.photo_ids[: len(train)] == train
    assert len(everything.images) == len(train) + 8
    assert after.packed("test", 24, 3, synthetic=True).photo_ids == before.packed("test", 24, 3).photo_ids
    np.testing.assert_array_equal(after.read(new[60]["photo_id"]).pixels, photo(900))


def test_groups_are_those_of_one_ingest(photos: Path, both: tuple[Path, Added], tmp_path: Path) -> None:
    """Oracle: photos and generated pictures ingested together, by the code that compares every picture with every."""
    out, _ = both
    folder = tmp_path / "in"
    for row in rows(out):
        path = folder / row["category"] / row["key"].replace("/", "-")
        path.parent.mkdir(parents=True, exist_ok=True)
        shard = pq.read_table(out / f"shards/{row['shard']:05d}.parquet")
        path.write_bytes(shard["bytes"][row["row"]].as_py())
    run(folder, tmp_path / "out", test_share=0)

    def named(catalog: Path) -> tuple[set[frozenset[str]], dict[str, str]]:
        found: dict[str, set[str]] = {}
        table = rows(catalog)
        for row in table:
            found.setdefault(row["near_group"] or row["photo_id"], set()).add(row["sha256"] + row["format"])
        return set(map(frozenset, found.values())), {r["sha256"]: r["excluded"] for r in table if r["source_type"]}

    groups, excluded = named(out)
    assert len([g for g in groups if len(g) > 1]) == 3
    assert named(tmp_path / "out")[0] == groups
    assert named(tmp_path / "out")[1] == excluded


def test_adding_twice(both: tuple[Path, Added], tmp_path: Path) -> None:
    out, _ = both
    with pytest.raises(PackshotError, match=r"has all of these pictures already; choose another --seed\."):
        add(out, tmp_path / "again", [photo(i) for i in range(900, 908)])
    assert not (tmp_path / "again").exists()
    # Number 7 is there; 906 is there under another name; 950 is new.
    more = add(out, tmp_path / "more", [photo(907), photo(906), photo(950)], first=7)
    assert (more.photos, more.pictures, more.for_training, more.synthetic) == (60, 2, 1, 9)
    about = json.loads((tmp_path / "more/catalog.json").read_text())
    assert [fact["pictures"] for fact in about["generated"]] == [12, 2]
    assert about["generated"][1]["from"] == open_catalog(out).checksum
    open_catalog(tmp_path / "more").verify()


def test_a_picture_that_does_not_say_that_it_was_generated(photos: Path, tmp_path: Path) -> None:
    plain = PhotoRecord(key="x", data=encoded(photo(900), "PNG"), category="hats")
    with pytest.raises(ValueError, match="not labelled as generated"):
        add_generated(open_catalog(photos), tmp_path / "out", [plain], MADE_BY)
    assert not (tmp_path / "out/catalog.json").exists()


@pytest.mark.parametrize("name", ["shards/00001.parquet", "rejected.jsonl"])
def test_a_damaged_catalogue_is_refused_before_anything_is_written(name: str, photos: Path, tmp_path: Path) -> None:
    own = shutil.copytree(photos, tmp_path / "own")
    catalog = open_catalog(own)
    (own / name).write_bytes((own / name).read_bytes()[:-1] + b"?")
    with pytest.raises(PackshotError, match=name):
        add_generated(catalog, tmp_path / "out", records([photo(900)]), MADE_BY)
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_is_in_use(photos: Path, both: tuple[Path, Added], tmp_path: Path) -> None:
    before = files(both[0])
    with pytest.raises(PackshotError, match="already holds a catalogue; choose another --out"):
        add(photos, both[0], [photo(901)])
    with pytest.raises(PackshotError, match="already holds a catalogue"):
        add(photos, photos, [photo(901)])
    assert files(both[0]) == before
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(PackshotError, match="is not empty"):
        add(photos, tmp_path, [photo(901)])
    with pytest.raises(PackshotError, match="is a file"):
        add(photos, tmp_path / "notes.txt", [photo(901)])


@pytest.mark.parametrize("moment", ["while drawing", "with shards copied", "before the journal goes"])
def test_an_interrupted_work_is_done_again(
    moment: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from packshot.catalog import generated as module

    pictures = [photo(i) for i in range(900, 908)]
    whole = tmp_path / "whole"
    add(photos, whole, pictures)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    def broken() -> Iterator[PhotoRecord]:
        yield from records(pictures[:3])
        raise KeyboardInterrupt

    out = tmp_path / "out"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        if moment == "with shards copied":
            patch.setattr(module, "_write_manifest", stop)
        if moment == "before the journal goes":
            patch.setattr(module.Journal, "remove", stop)
        given = broken() if moment == "while drawing" else records(pictures)
        add_generated(open_catalog(photos), out, given, MADE_BY)
    if moment != "before the journal goes":
        with pytest.raises(PackshotError, match="is not finished; give the command that began it"):
            open_catalog(out)
    with pytest.raises(PackshotError, match="another seed; repeat that command"):
        add_generated(open_catalog(photos), out, records(pictures), {**MADE_BY, "seed": 4})
    add(photos, out, pictures)
    assert files(out) == files(whole)


def test_colour_pictures_of_another_size_among_grey_pixels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (20, 28, 28), dtype=np.uint8)
    idx(tmp_path / "train-images-idx3-ubyte.gz", pictures)
    idx(tmp_path / "train-labels-idx1-ubyte.gz", np.arange(20, dtype=np.uint8) % 2)
    run(tmp_path, tmp_path / "out", test_share=0, categories=("hats", "shoes"))
    before = open_catalog(tmp_path / "out")
    add(tmp_path / "out", tmp_path / "both", [photo(900), np.repeat(pictures[3][..., None], 3, axis=2)])
    after = open_catalog(tmp_path / "both")
    assert after.native == before.native == (28, 1)
    packed = after.packed("train", 32, 1, synthetic=True)
    assert packed.margin == 2  # As for the photos alone.
    assert packed.images.shape == (21, 32, 32, 1)  # The copy of photo 3, in three channels, is none to train on.
    np.testing.assert_array_equal(packed.images[:20], before.packed("train", 32, 1).images)
    assert packed.images[20, 2:-2, 2:-2].std() > 10
