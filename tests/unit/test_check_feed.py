"""A product feed against a channel's rules: its pictures by path, its texts, and what is not fetched."""

import json
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner

from packshot.catalog.options import IngestOptions
from packshot.catalog.readers.merchant import read_products
from packshot.cli.main import cli
from packshot.core.errors import PackshotError, UsageError
from packshot.tasks.check import CheckResult, check_pictures
from tests.catalog_photos import encoded
from tests.unit.test_channels import packshot

DAY = date(2027, 1, 31)
RSS = """<?xml version="1.0"?>
<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0"><channel>
<item><g:id>1</g:id><g:image_link>pictures/good.png</g:image_link>
<g:additional_image_link>pictures/small.png</g:additional_image_link>
<g:additional_image_link>https://shop.example/far.png</g:additional_image_link>
<g:lifestyle_image_link>pictures/missing.png</g:lifestyle_image_link>
<g:structured_title><g:digital_source_type>trained_algorithmic_media</g:digital_source_type>
<g:content>{title}</g:content></g:structured_title>
<g:structured_description><g:content>{description}</g:content></g:structured_description></item>
<item><g:id>2</g:id><g:image_link>pictures/good.png</g:image_link></item>
<item><g:id>3</g:id></item>
</channel></rss>"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "good.png").write_bytes(encoded(packshot(600, 600, 0.8), "PNG"))
    (tmp_path / "pictures" / "small.png").write_bytes(encoded(packshot(499, 499, 0.8), "PNG"))
    return tmp_path


def write_rss(shop: Path, title: str = "A hat", description: str = "Warm.") -> Path:
    (shop / "feed.xml").write_text(RSS.format(title=title, description=description))
    return shop / "feed.xml"


def checked(feed: Path, **options: object) -> CheckResult:
    return check_pictures([feed], "google-merchant", on=DAY, quiet=True, **options)  # type: ignore[arg-type]


def test_the_pictures_of_a_feed_are_checked_by_product_and_attribute(shop: Path) -> None:
    result = checked(write_rss(shop))
    told = [(p.product, p.attribute, p.picture, p.passed) for p in result.pictures]
    assert told == [
        ("1", "image_link", "pictures/good.png", True),
        ("1", "additional_image_link", "pictures/small.png", False),
        ("1", "additional_image_link", "https://shop.example/far.png", False),
        ("1", "lifestyle_image_link", "pictures/missing.png", False),
        ("2", "image_link", "pictures/good.png", True),
        ("3", "image_link", f"{shop / 'feed.xml'}: 3", False),
    ]
    assert [f.rule for f in result.pictures[1].findings if f.status == "fail"] == ["size-2027"]
    assert result.pictures[2].unknown is not None and "nothing is fetched" in result.pictures[2].unknown
    assert result.pictures[3].problem == "pictures/missing.png does not exist in " + shop.name + "."
    assert result.pictures[5].problem is not None and "has no image_link" in result.pictures[5].problem
    assert result.passed == 2 and result.broken


def test_an_address_is_found_in_the_folder_that_is_named(shop: Path) -> None:
    (shop / "pictures" / "far.png").write_bytes(encoded(packshot(700, 700, 0.8), "PNG"))
    (shop / "feed.csv").write_text("id,image_link\n1,https://shop.example/media/far.png\n")
    (far,) = checked(shop / "feed.csv", images=shop / "pictures").pictures
    assert far.passed and far.unknown is None
    only = checked(shop / "feed.csv")
    assert not only.broken and only.passed == 0  # Not known to be wrong.
    with pytest.raises(UsageError, match="no folder"):
        checked(shop / "feed.csv", images=shop / "nowhere")


@pytest.mark.parametrize(("length", "passed"), [(150, True), (151, False)])
def test_the_length_of_a_title(shop: Path, length: int, passed: bool) -> None:
    first, *_ = checked(write_rss(shop, title="ä" * length)).products
    found = {f.rule: f.status for f in first.findings}
    assert found["title-length"] == ("pass" if passed else "fail")
    assert found["title-source"] == "pass"
    assert found["description-source"] == "fail"
    assert found["description-length"] == "pass"


@pytest.mark.parametrize(("length", "status"), [(5000, "pass"), (5001, "fail")])
def test_the_length_of_a_description_in_a_text_feed(shop: Path, length: int, status: str) -> None:
    header = "id\timage_link\tstructured_description(digital_source_type:content)\n"
    text = f'1\tpictures/good.png\tdefault:"{"x" * length}"\n'
    (shop / "feed.tsv").write_text(header + text.replace('"', '""').replace("default", '"default').replace("\n", '"\n'))
    (product,) = checked(shop / "feed.tsv").products
    assert {f.rule: f.status for f in product.findings} == {"description-source": "pass", "description-length": status}


def test_products_without_structured_texts_have_nothing_said_of_them(shop: Path) -> None:
    assert checked(write_rss(shop)).products[1].findings == []
    amazon = check_pictures([shop / "feed.xml"], "amazon-main", on=DAY, quiet=True)
    assert all(p.passed and not p.findings for p in amazon.products)


@pytest.mark.parametrize(
    ("cell", "source", "content"),
    [
        ('trained_algorithmic_media:"Hat: red"', "trained_algorithmic_media", "Hat: red"),
        ('trained_algorithmic_media:"A ""big"" hat"', "trained_algorithmic_media", 'A "big" hat'),
        ("default:Hat", "default", "Hat"),
        ("Hat of wool", None, "Hat of wool"),
        ("Big hat: red", None, "Big hat: red"),
    ],
)
def test_parts_of_a_structured_cell(shop: Path, cell: str, source: str | None, content: str) -> None:
    quoted = '"' + cell.replace('"', '""') + '"'
    (shop / "feed.csv").write_text(f"id,image_link,structured_title\n1,a.png,{quoted}\n")
    (item,) = read_products(shop / "feed.csv", IngestOptions())
    assert item.get("structured_title.digital_source_type") == ([source] if source else None)
    assert item["structured_title.content"] == [content]


def test_an_atom_feed_and_several_pictures_in_one_cell(shop: Path) -> None:
    atom = '<feed xmlns="http://www.w3.org/2005/Atom" xmlns:g="http://base.google.com/ns/1.0"><entry>{}</entry></feed>'
    entry = "<g:id>7</g:id><g:image_link>pictures/good.png</g:image_link>"
    (shop / "feed.atom").write_text(atom.format(entry))
    (shop / "feed.txt").write_text(
        "id\timage_link\tadditional_image_link\n7\tpictures/good.png\tpictures/good.png,pictures/small.png\n"
    )
    assert [p.product for p in checked(shop / "feed.atom").pictures] == ["7"]
    assert [Path(p.picture).name for p in checked(shop / "feed.txt").pictures] == ["good.png", "good.png", "small.png"]


def test_a_feed_may_not_lead_out_of_its_folder(shop: Path) -> None:
    (shop / "feeds").mkdir()
    (shop / "feeds" / "feed.csv").write_text("id,image_link\n1,../pictures/good.png\n2,/etc/hostname\n")
    problems = [p.problem for p in checked(shop / "feeds" / "feed.csv").pictures]
    assert all(problem is not None and "lies outside of" in problem for problem in problems)
    assert checked(shop / "feeds" / "feed.csv", images=shop).pictures[0].problem is not None


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><rss><item><id>&x;</id></item></rss>',
        "<rss><item>",
        "name,price\nhat,3\n",
        "",
    ],
)
def test_what_is_no_feed_is_one_sentence(shop: Path, text: str) -> None:
    (shop / "feed.xml").write_text(text)
    with pytest.raises(PackshotError, match=r"feed\.xml"):
        checked(shop / "feed.xml")


def test_the_command_tells_products_and_what_was_not_looked_at(shop: Path) -> None:
    words = ["check", str(write_rss(shop, title="x" * 151)), "--channel", "google-merchant", "--on", "2027-01-31"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 1
    assert "2 of 6 pictures pass" in done.output
    assert (
        "Product 1 fails:\n  broken: structured_title has at most 150 characters. Seen: 151 characters." in done.output
    )
    assert "pictures/small.png (additional_image_link of 1) fails:" in done.output
    assert "Not looked at: 1 pictures; it is an address on the network" in done.output
    answer = json.loads(CliRunner().invoke(cli, [*words, "--json"]).stdout)
    assert [p["passed"] for p in answer["products"]] == [False, True, True]
