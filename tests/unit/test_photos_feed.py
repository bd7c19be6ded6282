"""Photos that a feed or list names: each once, under its own path; what cannot be had is one sentence."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from packshot.cli.main import cli
from packshot.core.errors import PackshotError
from packshot.tasks.batch import BatchOptions, edit_photos, plan_photos
from packshot.tasks.before_after import before_after
from packshot.tasks.photos import Photo, find_photos
from tests.catalog_photos import jpeg, photo
from tests.unit.test_batch import Invert

RSS = """<?xml version="1.0"?>
<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0"><channel>
<item><g:id>1</g:id><g:image_link>pictures/a.jpg</g:image_link>
<g:additional_image_link>pictures/b.jpg</g:additional_image_link></item>
<item><g:id>2</g:id><g:image_link>./pictures/a.jpg</g:image_link></item>
<item><g:id>3</g:id><g:image_link>https://shop.example/p/b.jpg?v=2</g:image_link></item>
<item><g:id>4</g:id><g:image_link>../secret.jpg</g:image_link></item>
<item><g:id>5</g:id><g:image_link>pictures/gone.jpg</g:image_link></item>
</channel></rss>"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    (folder / "pictures").mkdir(parents=True)
    for i, name in enumerate(("pictures/a.jpg", "pictures/b.jpg", "../secret.jpg")):
        (folder / name).write_bytes(jpeg(photo(i, 24, 20)))
    (folder / "feed.xml").write_text(RSS)
    return folder


def refusal(found: Photo) -> str:
    with pytest.raises(PackshotError) as e:
        found.read()
    with pytest.raises(PackshotError):
        found.checksum()
    return str(e.value)


def test_each_photo_of_a_feed_once_and_the_rest_is_one_sentence(shop: Path) -> None:
    feed = shop / "feed.xml"
    a, b, far, outside, gone = find_photos([feed])
    assert [str(p.stem) for p in (a, b)] == ["pictures/a", "pictures/b"]
    assert (a.name, sorted((a.read().height, a.read().width))) == (f"{feed}: pictures/a.jpg", [20, 24])
    assert "address on the network; download the photos and name their folder with --images" in refusal(far)
    assert "lies outside of" in refusal(outside)
    assert refusal(gone).endswith(f"pictures/gone.jpg does not exist in {shop.resolve()}.")


def test_images_names_the_folder_in_which_an_address_is_looked_for(shop: Path) -> None:
    found = list(find_photos([shop / "feed.xml"], images=shop / "pictures"))
    assert [(str(p.stem), p.path is not None) for p in found if p.path is not None] == [("b", True)]
    with pytest.raises(PackshotError, match="does not exist"):
        list(find_photos([shop / "feed.xml"], images=shop / "none"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.csv", "sku,photo\n1,pictures/a.jpg\n2,pictures/b\n"),
        ("feed.tsv", "id\timage_link\tadditional_image_link\n1\tpictures/a.jpg\tpictures/b.jpg,pictures/a.jpg\n"),
        ("list.jsonl", '{"image": "pictures/a.jpg"}\n{"image": "pictures/b.jpg"}\n'),
        ("export.csv", "Handle,Title,Image Src\nx,X,pictures/a.jpg\nx,,pictures/b.jpg\n"),
    ],
)
def test_every_kind_of_list(name: str, text: str, shop: Path) -> None:
    (shop / name).write_text(text)
    assert [str(p.stem) for p in find_photos([shop / name])] == ["pictures/a", "pictures/b"]


def test_a_file_that_lists_nothing_is_one_sentence(shop: Path) -> None:
    for name, text in (("no.txt", "dear shop"), ("empty.csv", ""), ("no.xml", "<a/>")):
        (shop / name).write_text(text)
        with pytest.raises(PackshotError, match=name):
            list(find_photos([shop / name]))


def test_an_edit_of_a_feed(shop: Path, tmp_path: Path) -> None:
    feed, out = shop / "feed.xml", tmp_path / "out"
    assert plan_photos([feed], Invert(), out).photos == 5
    result = edit_photos([feed], Invert(), out, BatchOptions(quiet=True))
    assert result.counts == {"done": 2, "review": 0, "refused": 0, "failed": 3, "again": 0}
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*.jpg")) == ["pictures/a.jpg", "pictures/b.jpg"]
    sheet = before_after([feed], result)
    assert sheet is not None
    again = edit_photos([feed], Invert(), out, BatchOptions(quiet=True))
    assert again.counts["again"] == 2
    some = edit_photos([feed], Invert(), tmp_path / "some", BatchOptions(quiet=True, images=shop / "pictures"))
    assert [p.picture for p in some.photos if p.status == "done"] == ["b.jpg"]
    assert before_after([feed], some, shop / "pictures") is not None


def test_on_the_command_line(shop: Path, tmp_path: Path) -> None:
    words = ["extend", str(shop / "feed.xml"), "--aspect", "1:1", "--json"]
    told = CliRunner().invoke(cli, [*words, "--out", str(tmp_path / "out")])
    assert told.exit_code == 1  # Three of them cannot be had.
    assert json.loads(told.stdout)["counts"]["done"] == 2
    told = CliRunner().invoke(cli, [*words, "--images", str(shop / "pictures"), "--out", str(tmp_path / "some")])
    assert [p["picture"] for p in json.loads(told.stdout)["photos"] if p["picture"]] == ["b.jpg"]
