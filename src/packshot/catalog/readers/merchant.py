"""A Google Merchant Center product feed: tab-separated text, or XML (RSS 2.0 or Atom with the `g:` namespace).

Source: Google Merchant Center help, "Product data specification" and "RSS 2.0 / Atom 1.0 specification".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packshot.catalog.options import IngestOptions
from packshot.catalog.readers.lists import (
    Locator,
    check_text,
    delimiter_of,
    encoding_of,
    header_of,
    plain,
    read_rows,
)
from packshot.catalog.readers.table import record_of
from packshot.catalog.records import PhotoRecord, Source
from packshot.core.errors import PackshotError
from packshot.core.files import disk_errors

ITEMS = {"item", "entry"}
FIELDS = {
    "product_id": ("id",),
    "title": ("title", "structured_title.content"),
    "category": ("product_type", "google_product_category"),
    "price": ("price", "sale_price"),
    "licence": ("licence", "license"),
    "source": ("source",),
    "owner": ("owner",),
    "consent": ("consent",),
    "date": ("date",),
    "split": ("split",),
}
IMAGES = ("image_link", "additional_image_link", "lifestyle_image_link")
LEFT_OUT = {"description", "structured_title", "structured_description", "link", "mobile_link", "ads_redirect"}
"""Long texts and addresses that no later step uses."""
STRUCTURED = ("digital_source_type", "content")
"""The parts of `structured_title` and `structured_description`, in the order of a text feed's cell."""

Item = dict[str, list[str]]
"""The texts of a product by attribute; a part of a structured one is called "structured_title.content"."""


def open_merchant(path: Path, options: IngestOptions) -> Source:
    """Opens a feed: XML where its first character is `<`, else text.

    Raises:
        PackshotError: as `open_merchant_text` and `open_merchant_xml`.
    """
    return (open_merchant_xml if _is_xml(path) else open_merchant_text)(path, options)


def _is_xml(path: Path) -> bool:
    with disk_errors(path), path.open(encoding=encoding_of(path, "latin-1"), errors="ignore") as f:
        start = f.read(4096)
    return start.lstrip("\ufeff \t\r\n").startswith("<")


def open_merchant_text(path: Path, options: IngestOptions) -> Source:
    """Opens a feed in tab-separated text.

    Raises:
        PackshotError: missing, in another encoding, or without the columns "id" and "image_link".
    """
    return Source(kind="merchant", records=_records(_text_items(path, options), Locator(path, options)))


def read_products(path: Path, options: IngestOptions) -> Iterator[Item]:
    """Returns what a feed says of its products, one after the other.

    Raises:
        PackshotError: as `open_merchant_text` and `open_merchant_xml`, before the first product or in between.
    """
    return _xml_items(path) if _is_xml(path) else _text_items(path, options)


def _text_items(path: Path, options: IngestOptions) -> Iterator[Item]:
    encoding = encoding_of(path, options.encoding)
    check_text(path, encoding)
    delimiter = delimiter_of(path, encoding)
    # "structured_title(digital_source_type:content)" names the parts of its cells.
    names = [_attribute(n.partition("(")[0]) for n in header_of(path, encoding, delimiter)]
    for column in ("id", "image_link"):
        if column not in names:
            raise PackshotError(f"{path} is not a Merchant feed: it has no column '{column}'.")

    def items() -> Iterator[Item]:
        for number, (_, cells) in enumerate(read_rows(path, encoding, delimiter)):
            if number:
                item: Item = {}
                for name, cell in zip(names, cells, strict=False):
                    if cell.strip():
                        item[name] = cell.split(",") if name == "additional_image_link" else [cell]
                        item |= _parts(name, cell)
                yield item

    return items()


def _parts(name: str, cell: str) -> Item:
    """Returns the parts of a structured attribute in a text feed: `trained_algorithmic_media:"A title"`."""
    if not name.startswith("structured_"):
        return {}
    source, colon, content = cell.strip().partition(":")
    if not colon or not re.fullmatch(r"[A-Za-z_]{1,40}", source.strip()):
        source, content = "", cell
    content = content.strip()
    if len(content) > 1 and content[0] == content[-1] == '"':
        content = content[1:-1].replace('""', '"')
    values = zip(STRUCTURED, (source.strip(), content), strict=True)
    return {f"{name}.{part}": [text] for part, text in values if text}


def open_merchant_xml(path: Path, options: IngestOptions) -> Source:
    """Opens a feed in XML. Entities and external parts, with which a feed could read other files, are refused.

    Raises:
        PackshotError: missing, not well-formed, declaring entities, or without a product.
    """
    # The whole feed is parsed once before any work, so that a fault near its end does not stop a long ingest.
    if not any(True for _ in _xml_items(path, to_the_end=True)):
        raise PackshotError(f"{path} holds no product: no <item> (RSS) and no <entry> (Atom).")
    return Source(kind="merchant", records=_records(_xml_items(path), Locator(path, options)))


def _xml_items(path: Path, to_the_end: bool = False) -> Iterator[Item]:
    """Yields the products; with `to_the_end`, parses everything and then yields one empty product if there was any."""
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, iterparse

    found = False
    with disk_errors(path), path.open("rb") as f:
        try:
            parents: list[Any] = []
            for event, element in iterparse(f, events=("start", "end")):
                if event == "start":
                    parents.append(element)
                    continue
                parents.pop()
                if _local(element.tag) not in ITEMS:
                    continue
                found = True
                if not to_the_end:
                    yield _item(element)
                if parents:
                    parents[-1].remove(element)  # Memory stays flat only if what was read is dropped.
        except ParseError as e:
            raise PackshotError(f"{path} is not well-formed XML: {e}.") from e
        except DefusedXmlException as e:
            raise PackshotError(f"{path} declares entities or external parts, which is refused for safety.") from e
        except (LookupError, ValueError) as e:  # An encoding that is not known.
            raise PackshotError(f"{path} cannot be read as XML: {e}.") from e
    if to_the_end and found:
        yield {}


def _item(element: Any) -> Item:
    item: Item = {}
    for child in element:
        text = " ".join(" ".join(child.itertext()).split())
        name = _attribute(_local(child.tag))
        if text:
            item.setdefault(name, []).append(text)
        for part in child:
            inner = " ".join("".join(part.itertext()).split())
            if inner and name.startswith("structured_"):
                item.setdefault(f"{name}.{_attribute(_local(part.tag))}", []).append(inner)
    return item


def _records(items: Iterator[Item], locator: Locator) -> Iterator[PhotoRecord]:
    for number, item in enumerate(items, 1):
        values = {field: next((item[n][0] for n in names if n in item), None) for field, names in FIELDS.items()}
        used = {n for names in FIELDS.values() for n in names} | set(IMAGES) | LEFT_OUT
        extra = {n: ", ".join(texts) for n, texts in item.items() if n.partition(".")[0] not in used}
        images = dict.fromkeys(text.strip() for name in IMAGES for text in item.get(name, []) if text.strip())
        for image in images or {"": None}:
            key = image or f"product {values['product_id'] or number}"
            yield record_of(key, {**values, "image": image}, extra, locator)


def _attribute(name: str) -> str:
    """Returns an attribute's name as the specification writes it: "g:image_link" and "image link" are "image_link"."""
    return plain(name.removeprefix("g:"))


def _local(tag: Any) -> str:
    return str(tag).rpartition("}")[2]
