"""Lists of products as feeds: CSV, TSV or a merchant feed (RSS or Atom with Google's names), as rows."""

from __future__ import annotations

import csv
import io
from typing import NamedTuple

from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

from packshot.server.problems import Problem

IMAGES = ("image_link", "image link", "image", "image_url", "image url", "image src", "picture", "url", "photo")
NAMES = ("id", "sku", "handle", "item_id", "product_id", "mpn", "name", "title")
FEED_BYTES = 20 * 2**20


class FeedRow(NamedTuple):
    """A product's picture.

    Attributes:
        row: number, from 1.
        name: its id, which its results are called by.
        url: of its picture; "" where it has none.
    """

    row: int
    name: str
    url: str


def read_feed(data: bytes, most: int) -> list[FeedRow]:
    """Reads a feed.

    Args:
        data: the file.
        most: rows that are allowed.

    Raises:
        Problem: 422, it is none, or has too many rows.
    """
    head = data.lstrip(b"\xef\xbb\xbf \r\n\t")[:1]
    rows = _xml(data, most) if head == b"<" else _table(data, most)
    if not rows:
        raise Problem(422, "The feed has no rows.", "no-feed")
    return rows


def _table(data: bytes, most: int) -> list[FeedRow]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise Problem(422, "The feed is no text in UTF-8.", "no-feed") from e
    first = text.partition("\n")[0]
    delimiter = max("\t;,", key=first.count)
    rows: list[FeedRow] = []
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        columns = {(c or "").strip().lower(): c for c in reader.fieldnames or ()}
        image = next((columns[c] for c in IMAGES if c in columns), None)
        name = next((columns[c] for c in NAMES if c in columns), None)
        if image is None:
            raise Problem(422, f"The feed has no column of pictures; call it {IMAGES[0]}.", "no-feed")
        for number, row in enumerate(reader, 1):
            rows.append(FeedRow(number, (row.get(name or "") or "").strip(), (row.get(image) or "").strip()))
            _check_count(len(rows), most)
    except csv.Error as e:
        raise Problem(422, f"The feed is no CSV: {e}.", "no-feed") from e
    return rows


def _xml(data: bytes, most: int) -> list[FeedRow]:
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, DefusedXmlException, ValueError, LookupError) as e:
        raise Problem(422, "The feed is no XML that can be read.", "no-feed") from e
    rows: list[FeedRow] = []
    for item in root.iter():
        if item.tag.rpartition("}")[2] not in ("item", "entry"):
            continue
        found = {e.tag.rpartition("}")[2]: (e.text or "").strip() for e in item}
        rows.append(FeedRow(len(rows) + 1, found.get("id") or found.get("title", ""), found.get("image_link", "")))
        _check_count(len(rows), most)
    return rows


def _check_count(count: int, most: int) -> None:
    if count > most:
        raise Problem(422, f"The feed has more than {most:,} rows; send it in parts.", "feed-too-long")
