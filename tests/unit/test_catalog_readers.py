"""Readers: a small example of each kind of source, and what is wrong with the wrong ones."""

import gzip
import json
import struct
from pathlib import Path

import numpy as np
import pytest

from packshot.catalog.options import IngestOptions
from packshot.catalog.readers import open_source
from packshot.catalog.records import PhotoRecord, parse_price
from packshot.core.errors import PackshotError, UsageError
from tests.catalog_photos import jpeg, photo


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with photos a.jpg, b.png, sub/c.jpg."""
    (tmp_path / "sub").mkdir()
    for name in ("a.jpg", "b.png", "sub/c.jpg"):
        (tmp_path / name).write_bytes(jpeg(photo(1)))
    return tmp_path


def records(path: Path, **options: object) -> list[PhotoRecord]:
    return list(open_source(path, IngestOptions(**options)).records)


def put(folder: Path, name: str, text: str, encoding: str = "utf-8") -> Path:
    (folder / name).write_bytes(text.encode(encoding))
    return folder / name


# --- folders ---


def test_folder_names_its_categories_and_skips_what_is_no_photo(shop: Path) -> None:
    for name in ("notes.txt", ".hidden.jpg", "Thumbs.db"):
        (shop / name).write_bytes(b"x")
    (shop / "sub/deep").mkdir()
    (shop / "sub/deep/D.JPEG").write_bytes(b"x")
    found = records(shop)
    assert [(r.key, r.category) for r in found] == [
        ("a.jpg", None),
        ("b.png", None),
        ("sub/c.jpg", "sub"),
        ("sub/deep/D.JPEG", "sub/deep"),
    ]
    assert all(r.product_id is None and r.split is None for r in found)


def test_folders_named_train_and_test_are_splits(tmp_path: Path) -> None:
    for side in ("train", "validation"):
        (tmp_path / side / "hats").mkdir(parents=True)
        (tmp_path / side / "hats/1.jpg").write_bytes(b"x")
    source = open_source(tmp_path, IngestOptions())
    assert [(r.split, r.category) for r in source.records] == [("train", "hats"), ("test", "hats")]
    assert "splits" in source.notes[0]
    (tmp_path / "shoes").mkdir()
    assert {r.split for r in records(tmp_path)} == {None}


def test_the_catalogue_itself_is_not_read(shop: Path) -> None:
    (shop / "catalog").mkdir()
    (shop / "catalog/x.jpg").write_bytes(b"x")
    found = open_source(shop, IngestOptions(), leave_out=shop / "catalog").records
    assert [r.key for r in found] == ["a.jpg", "b.png", "sub/c.jpg"]


def test_links_to_folders_are_refused_unless_asked_and_never_run_in_circles(shop: Path, tmp_path: Path) -> None:
    (shop / "loop").symlink_to(shop)
    found = {r.key: r.problem for r in records(shop)}
    assert "link to a folder" in str(found["loop"])
    keys = [r.key for r in records(shop, follow_symlinks=True)]
    assert keys == ["a.jpg", "b.png", "sub/c.jpg"]


def test_a_list_in_the_folder_is_pointed_out(shop: Path) -> None:
    put(shop, "list.csv", "image\na.jpg\n")
    assert "list.csv" in open_source(shop, IngestOptions()).notes[0]


# --- lists ---

CSV = "Image Path,SKU,Product Name,Category,Price,Colour,Licence,Split\n{}"


@pytest.mark.parametrize(("name", "mark"), [("l.csv", ","), ("l.csv", ";"), ("l.tsv", "\t"), ("l.txt", "|")])
def test_table_columns_are_matched_by_name(shop: Path, name: str, mark: str) -> None:
    text = CSV.format("a.jpg,S1,Red hat,Hats,12.50 EUR,red,CC0-1.0,train\nsub/c.jpg,S2,,Hats,,,,validation\n")
    source = open_source(put(shop, name, text.replace(",", mark)), IngestOptions())
    first, second = source.records
    assert source.total == 2
    assert (first.product_id, first.title, first.category, first.price, first.currency) == (
        "S1",
        "Red hat",
        "Hats",
        12.5,
        "EUR",
    )
    assert (first.licence, first.split, first.extra) == ("CC0-1.0", "train", {"Colour": "red"})
    assert Path(str(first.path)) == shop / "a.jpg"
    assert (second.split, second.title, second.licence, second.price) == ("test", None, None, None)


def test_own_column_names_and_missing_endings(shop: Path) -> None:
    path = put(shop, "l.csv", "foto,wo,art\na,here,hat\nsub\\c,there,shoe\n")
    first, second = records(path, columns={"image": "foto", "category": "art", "source": "wo"})
    assert (first.problem, first.category, first.source) == (None, "hat", "here")
    assert Path(str(second.path)) == shop / "sub/c.jpg"


def test_photos_in_another_folder(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = put(
        tmp_path_factory.mktemp("list"), "l.csv", "image\na.jpg\nhttps://shop.example/x/b.png?v=2\nhttp://e/z.jpg\n"
    )
    a, b, z = records(path, images=str(shop))
    assert (a.problem, Path(str(b.path)).name) == (None, "b.png")
    assert "not downloaded" in str(z.problem)
    assert "not downloaded" in str(records(path)[1].problem)
    with pytest.raises(PackshotError, match="does not exist; name it with --images"):
        open_source(path, IngestOptions(images=str(shop / "nowhere")))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("gone.jpg,,", "does not exist"),
        (",only a title,", "has no photo in its row"),
        ("a.jpg,,maybe", "split 'maybe'"),
        ("a.jpg,,,too,many", "row of 5 cells"),
    ],
)
def test_bad_rows_say_what_is_wrong(shop: Path, row: str, words: str) -> None:
    bad, good = records(put(shop, "l.csv", f"image,title,split\n{row}\na.jpg,x,test\n"))
    assert words in str(bad.problem)
    assert bad.path is None
    assert good.problem is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("sku,price\n1,2\n", "no column for the photo; its columns are sku, price"),
        ("image,image\na.jpg,b.png\n", "two columns named 'image'"),
        ('image,title\na.jpg,"never closed\nb.jpg,x\n', "from line"),
    ],
)
def test_unusable_tables(shop: Path, text: str, words: str) -> None:
    with pytest.raises(PackshotError, match=words):
        open_source(put(shop, "l.csv", text), IngestOptions())


def test_unknown_columns_and_fields_get_suggestions(shop: Path) -> None:
    path = put(shop, "l.csv", "Foto,sku\na.jpg,1\n")
    with pytest.raises(UsageError, match=r"no column 'Fotos'\. Did you mean 'Foto'"):
        open_source(path, IngestOptions(columns={"image": "Fotos"}))
    with pytest.raises(UsageError, match=r"Unknown field 'imgae'\. Did you mean 'image'"):
        open_source(path, IngestOptions(columns={"imgae": "Foto"}))
    with pytest.raises(UsageError, match=r"Unknown format 'shopfy'\. Did you mean 'shopify'"):
        open_source(path, IngestOptions(format="shopfy"))


@pytest.mark.parametrize(("encoding", "given"), [("utf-8-sig", "utf-8"), ("utf-16", "utf-8"), ("cp1252", "cp1252")])
def test_encodings(shop: Path, encoding: str, given: str) -> None:
    path = put(shop, "l.csv", "image,title\na.jpg,Schuh Größe 42 – rot\n", encoding)
    (record,) = records(path, encoding=given)
    assert record.title == "Schuh Größe 42 – rot"


def test_a_wrong_encoding_is_told_with_its_line_before_any_work(shop: Path) -> None:
    path = put(shop, "l.csv", "image,title\na.jpg,x\nb.png,Größe\n", "cp1252")
    with pytest.raises(PackshotError, match=r"not utf-8 text \(line 3\).*--encoding"):
        open_source(path, IngestOptions())
    with pytest.raises(UsageError, match="Unknown encoding 'utf-9'"):
        open_source(path, IngestOptions(encoding="utf-9"))


def test_json_lines(shop: Path) -> None:
    rows = [{"image": "a.jpg", "id": 7, "price": "€ 3", "tags": ["x"]}, {"photos": ["b.png", "sub/c.jpg"], "sku": "P"}]
    path = put(shop, "l.jsonl", "\n".join([*map(json.dumps, rows), "{broken", "[1]", ""]))
    a, b, c, broken, array = records(path)
    assert (a.product_id, a.price, a.currency, a.extra) == ("7", 3.0, "EUR", {"tags": '["x"]'})
    assert (b.product_id, c.product_id, c.key) == ("P", "P", "sub/c.jpg")
    assert (broken.problem, array.problem) == ("is not valid JSON", "is not a JSON object")
    assert records(put(shop, "m.jsonl", '{"bild": "a.jpg"}'), columns={"image": "bild"})[0].problem is None


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("12.99 EUR", (12.99, "EUR")),
        ("EUR 12,99", (12.99, "EUR")),
        ("€1.299,00", (1299.0, "EUR")),
        ("$1,299.50", (1299.5, "USD")),
        ("1,299", (1299.0, None)),
        ("7", (7.0, None)),
        ("free", (None, None)),
        ("", (None, None)),
        ("1.2.3", (None, None)),
    ],
)
def test_prices(text: str, price: tuple[float | None, str | None]) -> None:
    assert parse_price(text) == price


# --- feeds ---

RSS = """<?xml version="1.0"?>
<rss xmlns:g="http://base.google.com/ns/1.0" version="2.0"><channel><title>Shop</title>
<item><g:id>A</g:id><title>Hat &amp; scarf</title><g:image_link>a.jpg</g:image_link><g:price>5.00 GBP</g:price>
<g:additional_image_link>b.png</g:additional_image_link><g:additional_image_link>a.jpg</g:additional_image_link>
<g:product_type>Home &gt; Hats</g:product_type><g:brand>X</g:brand><description>long</description></item>
<item><g:id>B</g:id><g:image_link>https://shop.example/b.jpg</g:image_link></item>
<item><g:id>C</g:id></item></channel></rss>"""

ATOM = """<feed xmlns="http://www.w3.org/2005/Atom" xmlns:g="http://base.google.com/ns/1.0"><title>Shop</title>
<entry><g:id>A</g:id><title>Hat</title><g:image_link>sub/c.jpg</g:image_link></entry></feed>"""


def test_merchant_rss(shop: Path) -> None:
    a, b, remote, none = records(put(shop, "feed.xml", RSS))
    assert (a.product_id, a.title, a.category, a.price, a.currency) == ("A", "Hat & scarf", "Home > Hats", 5.0, "GBP")
    assert a.extra == {"brand": "X"}
    assert (b.product_id, Path(str(b.path)).name) == ("A", "b.png")
    assert "not downloaded" in str(remote.problem)
    assert (none.key, none.problem) == ("product C", "has no photo in its row")


def test_merchant_atom_and_text(shop: Path) -> None:
    (entry,) = records(put(shop, "feed.xml", ATOM))
    assert (entry.product_id, entry.title, Path(str(entry.path)).name) == ("A", "Hat", "c.jpg")
    text = 'id\ttitle\timage link\tadditional image link\tprice\nA\tHat\ta.jpg\t"b.png,sub/c.jpg"\t3 USD\n'
    source = open_source(put(shop, "feed.txt", text), IngestOptions())
    assert source.kind == "merchant"
    assert [(r.product_id, r.key, r.price) for r in source.records] == [
        ("A", "a.jpg", 3.0),
        ("A", "b.png", 3.0),
        ("A", "sub/c.jpg", 3.0),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (RSS[:400], "not well-formed XML"),
        ("<rss><channel></channel></rss>", "holds no product"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><rss><item>&a;</item></rss>', "entities"),
        ('<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><rss><item>&a;</item></rss>', "entities"),
        ('<?xml version="1.0" encoding="klingon"?><rss/>', "XML"),
    ],
)
def test_bad_feeds(shop: Path, text: str, words: str) -> None:
    with pytest.raises(PackshotError, match=words):
        open_source(put(shop, "feed.xml", text), IngestOptions())


SHOPIFY = """Handle,Title,Body (HTML),Vendor,Type,Variant Price,Image Src,Image Position,Image Alt Text,Variant Image
hat,Red hat,<p>x</p>,Acme,Hats,9.90,a.jpg,1,front,
hat,,,,,10.90,b.png,2,,a.jpg
hat,,,,,,https://cdn.example/c.jpg,3,,
shoe,Shoe,,,Shoes,20,,,,sub/c.jpg
"""


def test_shopify(shop: Path) -> None:
    source = open_source(put(shop, "products.csv", SHOPIFY), IngestOptions())
    assert source.kind == "shopify"
    a, b, remote, c = source.records
    assert (a.product_id, a.title, a.category, a.price) == ("hat", "Red hat", "Hats", 9.9)
    assert a.extra == {"Vendor": "Acme", "Image Alt Text": "front"}
    assert (b.title, b.category, b.extra) == ("Red hat", "Hats", {"Vendor": "Acme"})
    assert "not downloaded" in str(remote.problem)
    assert (c.product_id, Path(str(c.path)).name) == ("shoe", "c.jpg")
    with pytest.raises(PackshotError, match="no column 'Handle'"):
        open_source(put(shop, "x.csv", "image\na.jpg\n"), IngestOptions(format="shopify"))


# --- IDX ---


def idx(path: Path, array: np.ndarray, *, pack: bool = True) -> Path:
    data = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(data, mtime=0) if pack else data)
    return path


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for word, n in (("t10k", 5), ("train", 1030)):
        idx(tmp_path / f"{word}-images-idx3-ubyte.gz", rng.integers(0, 256, (n, 6, 4), dtype=np.uint8))
        idx(tmp_path / f"{word}-labels-idx1-ubyte", (np.arange(n) % 3).astype(np.uint8), pack=False)
    return tmp_path


def test_idx_keeps_the_published_split_and_label_order(digits: Path) -> None:
    source = open_source(digits, IngestOptions())
    found = list(source.records)
    assert (source.kind, source.total, source.categories) == ("idx", 1035, ("0", "1", "2"))
    assert [r.split for r in found] == ["train"] * 1030 + ["test"] * 5
    assert (found[1029].key, found[1029].category, found[1030].key) == ("train/01029", "0", "test/00000")
    assert found[0].pixels is not None
    assert found[0].pixels.shape == (6, 4)


def test_idx_categories_by_option_by_file_and_too_few(digits: Path) -> None:
    assert open_source(digits, IngestOptions(categories=("a", "b", "c"))).categories == ("a", "b", "c")
    put(digits, "categories.txt", "hat\nshoe\nbag\n")
    assert [r.category for r in records(digits)][:3] == ["hat", "shoe", "bag"]
    put(digits, "categories.txt", "hat\nshoe\n")
    assert records(digits)[2].problem == "has the label 2, and there are 2 categories"
    put(digits, "categories.txt", "hat\nhat\n")
    with pytest.raises(PackshotError, match="one name per line"):
        open_source(digits, IngestOptions())


def test_one_idx_file_alone_has_no_published_split(digits: Path) -> None:
    found = records(digits / "train-images-idx3-ubyte.gz")
    assert (len(found), {r.split for r in found}, found[1].category) == (1030, {None}, "1")


def test_fashion_mnist_is_known_by_its_content() -> None:
    folder = Path("/usr/share/datasets/fashion-mnist")
    if not folder.is_dir():
        pytest.skip("Fashion-MNIST is not installed (Debian's package dataset-fashion-mnist)")
    source = open_source(folder, IngestOptions())
    assert source.total == 70_000
    assert source.categories is not None
    assert (source.categories[0], source.categories[9], source.licence) == ("T-shirt/top", "Ankle boot", "MIT")
    first = next(iter(source.records))
    assert (first.category, first.split) == ("Ankle boot", "train")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("cut", "cut short or damaged"),
        ("short", "cut short: .* instead of"),
        ("long", "longer than its header says"),
        ("labels", "5 pictures but .* 4 labels"),
        ("magic", "not an IDX file of labels"),
        ("huge", "cannot be used"),
    ],
)
def test_damaged_idx(digits: Path, damage: str, words: str) -> None:
    images, labels = digits / "t10k-images-idx3-ubyte.gz", digits / "t10k-labels-idx1-ubyte"
    whole = gzip.decompress(images.read_bytes())
    if damage == "cut":
        images.write_bytes(images.read_bytes()[:-30])
    elif damage == "short":
        images.write_bytes(gzip.compress(whole[:-3]))
    elif damage == "long":
        images.write_bytes(gzip.compress(whole + b"x"))
    elif damage == "labels":
        idx(labels, np.zeros(4, np.uint8), pack=False)
    elif damage == "magic":
        labels.write_bytes(b"nonsense")
    else:
        images.write_bytes(whole[:4] + struct.pack(">3I", 5, 2**31, 2**31))
    with pytest.raises(PackshotError, match=words):
        open_source(digits, IngestOptions())


# --- what it is ---


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\x7fELF\0\0\0\0" * 40, "not a source that can be read"),
        (b"\x89PNG\r\n\x1a\n\0\0", "not a source"),
    ],
)
def test_what_is_no_source(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(PackshotError, match=words):
        open_source(tmp_path / "x", IngestOptions())


def test_missing_and_mismatched_sources(shop: Path) -> None:
    with pytest.raises(PackshotError, match="does not exist; name a folder of photos"):
        open_source(shop / "nowhere", IngestOptions())
    with pytest.raises(PackshotError, match="is a folder, which format 'csv' cannot be"):
        open_source(shop, IngestOptions(format="csv"))
    with pytest.raises(PackshotError, match="is a file, which format 'folder' cannot be"):
        open_source(shop / "a.jpg", IngestOptions(format="folder"))


def test_clothing_list_of_stems(shared_data: Path) -> None:
    folder = shared_data / "clothing"
    source = open_source(folder / "metadata.csv", IngestOptions(images=str(folder / "128")))
    found = list(source.records)
    assert (len(found), source.total) == (4746, 4746)
    assert not any(r.problem for r in found)
    assert {r.split for r in found} == {"train", "test"}
    assert found[0].extra.keys() == {"kids", "contributor", "width", "height"}
