"""Ingest end to end in one process: what the catalogue says, what it keeps, what it leaves out."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from packshot.catalog import open_catalog
from packshot.catalog.ingest import ingest
from packshot.catalog.options import IngestOptions
from packshot.core.errors import PackshotError, UsageError
from packshot.core.progress import Progress
from packshot.images.decode import decode
from tests.catalog_photos import RIGHTS, encoded, files, jpeg, photo, rejected, run, write_folder


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "shop", {"hats": 12, "shoes": 9})


def rows(catalog: Path) -> list[dict]:
    return open_catalog(catalog).manifest().to_pylist()


def test_a_folder_becomes_a_catalogue(shop: Path, tmp_path: Path) -> None:
    report = run(shop, tmp_path / "out")
    assert (report.photos, report.left_out, report.resumed) == (21, {}, 0)
    assert report.categories == {"hats": {"train": 11, "test": 1}, "shoes": {"train": 8, "test": 1}}
    assert report.to_json()["left_out_total"] == 0
    json.dumps(report.to_json())
    first = rows(tmp_path / "out")[0]
    data = (shop / "hats/000.jpg").read_bytes()
    assert (first["key"], first["category"], first["licence"]) == ("hats/000.jpg", "hats", "CC0-1.0")
    assert (first["width"], first["height"], first["bytes"], first["format"]) == (60, 80, len(data), "JPEG")
    assert (first["stored"], first["stored_width"], first["stored_height"]) == ("original", 60, 80)
    assert first["jpeg_quality"] == pytest.approx(90, abs=1)
    assert all(first[name] is not None for name in ("blur", "noise", "blockiness", "clipped_low", "clipped_high"))
    assert not (tmp_path / "out/.ingest").exists()
    shard = pq.ParquetFile(tmp_path / "out/shards/00000.parquet").read().to_pylist()
    assert shard[0]["bytes"] == data, "the photo is not kept byte for byte"


def test_the_same_photos_give_the_same_bytes_whatever_the_workers(shop: Path, tmp_path: Path) -> None:
    run(shop, tmp_path / "one", workers=1, shard_photos=8)
    run(shop, tmp_path / "two", workers=2, shard_photos=8)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert len(list((tmp_path / "one/shards").iterdir())) > 0


def test_an_id_depends_on_the_photo_not_on_its_place(shop: Path, tmp_path: Path) -> None:
    run(shop, tmp_path / "one")
    (shop / "hats/000a.jpg").write_bytes(jpeg(photo(900)))
    run(shop, tmp_path / "two")
    one, two = ({r["key"]: r["photo_id"] for r in rows(tmp_path / n)} for n in ("one", "two"))
    assert one == {k: v for k, v in two.items() if k != "hats/000a.jpg"}
    assert open_catalog(tmp_path / "one").checksum != open_catalog(tmp_path / "two").checksum


def test_titles_and_categories_lose_the_html_that_shop_systems_put_in(shop: Path, tmp_path: Path) -> None:
    lines = [
        "image,title,category",
        "hats/000.jpg,Rock &amp; Roll &quot;5&#233;&quot; hook&notch AT&T,Tops &amp; Tees",
        "hats/001.jpg,plain,Tops & Tees",
    ]
    (shop / "feed.csv").write_text("\n".join(lines) + "\n")
    run(shop / "feed.csv", tmp_path / "out")
    found = {row["key"]: (row["title"], row["category"]) for row in rows(tmp_path / "out")}
    assert sorted(found.values()) == [('Rock & Roll "5é" hook&notch AT&T', "Tops & Tees"), ("plain", "Tops & Tees")]


def test_photos_without_rights_are_counted_and_left_out(shop: Path, tmp_path: Path) -> None:
    (shop / "l.csv").write_text(
        "image,licence,source\nhats/000.jpg,MIT,studio\nhats/001.jpg,,studio\nhats/002.jpg,CC BY 4.0,studio\n"
        "hats/003.jpg,MIT,\nhats/004.jpg,(MIT OR Apache-2.0),shop\nhats/005.jpg,LicenseRef-own,us\n"
    )
    report = run(shop / "l.csv", tmp_path / "a", licence=None, source=None)
    assert report.photos == 3
    assert rejected(tmp_path / "a") == {
        "hats/001.jpg": "has no licence; state it with --licence, or in a column named licence",
        "hats/002.jpg": "has the licence 'CC BY 4.0', which is not an SPDX identifier; write for example CC0-1.0, "
        "CC-BY-4.0, MIT, or LicenseRef-own for your own terms",
        "hats/003.jpg": "has no source; state it with --source, or in a column named source",
    }
    assert report.left_out_total == 3
    licences = {r["key"]: r["licence"] for r in rows(tmp_path / "a")}
    assert licences["hats/004.jpg"] == "(MIT OR Apache-2.0)"
    report = run(shop / "l.csv", tmp_path / "b", licence=None, source=None, allow_unlicensed=True)
    assert report.photos == 5
    report = run(shop / "l.csv", tmp_path / "c")
    assert report.photos == 5
    with pytest.raises(UsageError, match="'my own' is not an SPDX identifier"):
        IngestOptions(licence="my own")


def test_without_any_rights_nothing_is_left_behind(shop: Path, tmp_path: Path) -> None:
    with pytest.raises(PackshotError, match=r"No photo could be taken; 21 were left out.*hats/000.jpg has no licence"):
        run(shop, tmp_path / "out", licence=None)
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    with pytest.raises(PackshotError, match="No photo could be taken"):
        run(shop, tmp_path / "out", source=None)
    assert list((tmp_path / "out").iterdir()) == []
    assert run(shop, tmp_path / "out").photos == 21


def test_duplicates_are_found_and_never_on_both_sides(shop: Path, tmp_path: Path) -> None:
    for i in range(6):
        (shop / f"shoes/copy{i}.png").write_bytes(
            encoded(decode((shop / f"hats/00{i}.jpg").read_bytes()).pixels, "PNG")
        )
        (shop / f"shoes/again{i}.jpg").write_bytes(jpeg(photo(i), 60))
    for seed in range(12):
        out = tmp_path / str(seed)
        report = run(shop, out, test_share=0.3, seed=seed)
        assert report.duplicates == {
            "exact_groups": 6,
            "exact_photos": 12,
            "near_groups": 6,
            "near_photos": 18,
            "largest_group": 3,
        }
        by_group: dict[str, set[str]] = {}
        for r in rows(out):
            by_group.setdefault(r["near_group"] or r["photo_id"], set()).add(r["split"])
        assert all(len(sides) == 1 for sides in by_group.values())
        assert report.excluded == {"exact duplicate of a photo before it": 6}
    catalog = open_catalog(tmp_path / "0")
    packed = [p for side in ("train", "test") for p in catalog.packed(side, 32, 3).photo_ids]
    assert len(packed) == len(set(packed)) == 27


def test_a_published_test_split_stays_whole(shop: Path, tmp_path: Path) -> None:
    lines = ["image,split"] + [f"hats/{i:03d}.jpg,{'test' if i < 4 else 'train'}" for i in range(12)]
    (shop / "hats/dup.jpg").write_bytes((shop / "hats/001.jpg").read_bytes())
    (shop / "hats/near.jpg").write_bytes(jpeg(photo(2), 70))
    (shop / "l.csv").write_text("\n".join([*lines, "hats/dup.jpg,train", "hats/near.jpg,train", "hats/dup.jpg,test"]))
    report = run(shop / "l.csv", tmp_path / "out")
    assert report.splits == {"train": 10, "test": 4}
    assert rejected(tmp_path / "out") == {
        "hats/dup.jpg": "is listed twice: the same photo of the same product came before"
    }
    assert report.excluded == {"duplicate of a test photo": 2}
    catalog = open_catalog(tmp_path / "out")
    assert len(catalog.packed("test", 16, 1).images) == 4
    assert len(catalog.packed("train", 16, 1).images) == 8


def test_photos_of_one_product_stay_together(shop: Path, tmp_path: Path) -> None:
    lines = [
        "image,sku",
        *(f"hats/{i:03d}.jpg,P{i // 3}" for i in range(12)),
        *(f"shoes/{i:03d}.jpg,Q{i // 3}" for i in range(9)),
    ]
    (shop / "l.csv").write_text("\n".join(lines))
    run(shop / "l.csv", tmp_path / "out", test_share=0.3)
    sides: dict[str, set[str]] = {}
    for r in rows(tmp_path / "out"):
        sides.setdefault(r["product_id"], set()).add(r["split"])
    assert all(len(s) == 1 for s in sides.values())
    assert {"train", "test"} == {s for side in sides.values() for s in side}


def test_one_photo_for_two_products_is_two_entries(shop: Path, tmp_path: Path) -> None:
    (shop / "l.csv").write_text("image,sku\nhats/000.jpg,S\nhats/000.jpg,M\nhats/001.jpg,M\n")
    report = run(shop / "l.csv", tmp_path / "out")
    assert (report.photos, report.duplicates["exact_photos"]) == (3, 2)
    assert len({r["photo_id"] for r in rows(tmp_path / "out")}) == 3


def gps_jpeg(pixels: np.ndarray) -> bytes:
    exif = Image.Exif()
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    exif[0x010E] = "a hat"
    return jpeg(pixels, exif=exif)


def test_what_is_stored_as_it_is_and_what_as_a_copy(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    alpha = np.dstack([photo(5, 90, 40), np.full((40, 90), 128, np.uint8)])
    orientation = Image.Exif()
    orientation[0x0112] = 6
    animation = io.BytesIO()
    frames = [Image.fromarray(photo(s)) for s in (7, 8)]
    frames[0].save(animation, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    contents = {
        "a-small.png": encoded(photo(1), "PNG"),
        "b-large.jpg": jpeg(photo(2, 300, 150)),
        "c-gps.jpg": gps_jpeg(photo(3)),
        "d-bmp.bmp": encoded(photo(4), "BMP"),
        "e-alpha.png": encoded(alpha, "PNG"),
        "f-large-alpha.webp": encoded(np.dstack([photo(6, 20, 200), np.full((200, 20), 99, np.uint8)]), "WEBP"),
        "g-turned.jpg": jpeg(photo(7), exif=orientation),
        "h-film.webp": animation.getvalue(),
        "i-hoard.jpg": jpeg(photo(9)) + bytes(10**5),
        "j-two-exif.jpg": jpeg(photo(10)) + gps_jpeg(photo(11)),
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    report = run(folder, tmp_path / "out", max_side=128)
    assert report.photos == 10
    catalog = open_catalog(tmp_path / "out")
    found = {r["key"]: r for r in catalog.manifest().to_pylist()}
    kinds = {k: (r["format"], r["stored"], r["stored_width"], r["stored_height"]) for k, r in found.items()}
    assert kinds == {
        "a-small.png": ("PNG", "original", 60, 80),
        "b-large.jpg": ("JPEG", "copy", 128, 64),
        "c-gps.jpg": ("JPEG", "copy", 60, 80),
        "d-bmp.bmp": ("BMP", "copy", 60, 80),
        "e-alpha.png": ("PNG", "original", 90, 40),
        "f-large-alpha.webp": ("WEBP", "copy", 13, 128),
        "g-turned.jpg": ("JPEG", "original", 80, 60),
        "h-film.webp": ("WEBP", "copy", 60, 80),
        "i-hoard.jpg": ("JPEG", "copy", 60, 80),
        "j-two-exif.jpg": ("JPEG", "copy", 60, 80),
    }
    for name, r in found.items():
        image = catalog.read(r["photo_id"])
        assert (image.width, image.height) == (r["stored_width"], r["stored_height"]), name
        assert image.has_alpha == ("alpha" in name)
        if r["stored"] == "copy":
            assert image.metadata.exif is None
    everything = b"".join(p.read_bytes() for p in (tmp_path / "out/shards").iterdir())
    assert b"a hat" not in everything


def test_opted_out_photos_are_left_out_unless_allowed(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    rdf = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:plus="http://ns.useplus.org/ldf/xmp/1.0/" plus:DataMining='
        '"http://ns.useplus.org/ldf/vocab/DMI-{}"/></rdf:RDF></x:xmpmeta>'
    )
    for i, word in enumerate(("PROHIBITED-AIMLTRAINING", "ALLOWED")):
        (folder / f"{i}.jpg").write_bytes(jpeg(photo(i), xmp=rdf.format(word).encode()))
    report = run(folder, tmp_path / "a")
    assert rejected(tmp_path / "a") == {
        "0.jpg": "forbids training on it in its own metadata (PLUS DMI-PROHIBITED-AIMLTRAINING)"
    }
    assert report.photos == 1
    assert run(folder, tmp_path / "b", allow_opted_out=True).photos == 2


def test_grey_idx_pictures_keep_their_pixels(tmp_path: Path) -> None:
    from tests.unit.test_catalog_readers import idx

    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    pictures = rng.integers(0, 256, (1100, 20, 30), dtype=np.uint8)
    idx(tmp_path / "in/some-images-idx3-ubyte", pictures, pack=False)
    report = run(tmp_path / "in", tmp_path / "out", shard_photos=1024)
    assert report.photos == 1100
    catalog = open_catalog(tmp_path / "out")
    assert catalog.native == (20, 1)
    assert catalog.categories == ("uncategorised",)
    row = catalog.manifest().to_pylist()[1050]
    pixels = catalog.read(row["photo_id"]).pixels
    assert (pixels == pictures[1050][..., None]).all()
    assert (row["key"], row["shard"], row["row"]) == ("some-images-idx3-ubyte/01050", 1, 26)
    small = run(tmp_path / "in", tmp_path / "small", max_side=16)
    assert small.checksum != report.checksum
    assert open_catalog(tmp_path / "small").read(row["photo_id"]).pixels.shape == (11, 16, 3)


def test_a_fetched_folder_knows_its_rights(shop: Path, tmp_path: Path) -> None:
    (shop / "metadata.csv").write_text("image,category\n000,Hat\n001,Hat\n")
    about = {"format": "csv", "list": "metadata.csv", "images": "hats", "licence": "CC0-1.0", "source": "sellers"}
    (shop / "fetched.json").write_text(json.dumps(about))
    report = run(shop, tmp_path / "out", licence=None, source=None)
    assert report.photos == 2
    assert {(r["licence"], r["source"]) for r in rows(tmp_path / "out")} == {("CC0-1.0", "sellers")}


def test_progress_hears_of_photos(shop: Path, tmp_path: Path) -> None:
    class Heard(Progress):
        seen: list[float] = []  # noqa: RUF012

        def update(self, done: float, note: str = "") -> None:
            self.seen.append(done)

    bar = Heard("x", quiet=True)
    ingest(shop, tmp_path / "out", IngestOptions(workers=1, **RIGHTS), bar)
    assert bar.seen == [21]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("test_share", 0.6),
        ("test_share", -0.1),
        ("workers", 0),
        ("max_side", 3),
        ("max_pixels", 0),
        ("shard_photos", 0),
    ],
)
def test_options_out_of_range(option: str, value: float) -> None:
    with pytest.raises(UsageError, match=option):
        IngestOptions(**{option: value})
