"""A Shopify product export: a CSV row per variant or photo; a product's columns are filled in its first row only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from packshot.catalog.options import IngestOptions
from packshot.catalog.readers.lists import Locator, check_text, encoding_of, header_of, read_rows
from packshot.catalog.readers.table import record_of
from packshot.catalog.records import PhotoRecord, Source
from packshot.core.errors import PackshotError

REQUIRED = ("Handle", "Image Src")
PRODUCT = {"title": ("Title",), "category": ("Type", "Product Category"), "price": ("Variant Price",)}
KEPT = ("Vendor", "Tags", "Status", "Google Shopping / Gender", "Google Shopping / Age Group")
OWN = {
    "licence": ("Licence", "License"),
    "source": ("Source",),
    "owner": ("Owner",),
    "consent": ("Consent",),
    "split": ("Split",),
}


def open_shopify(path: Path, options: IngestOptions) -> Source:
    """Opens a Shopify product CSV; the product id is its handle.

    Raises:
        PackshotError: missing, in another encoding, or without the columns "Handle" and "Image Src".
    """
    encoding = encoding_of(path, options.encoding)
    check_text(path, encoding)
    names = header_of(path, encoding, ",")
    missing = [c for c in REQUIRED if c not in names]
    if missing:
        raise PackshotError(f"{path} is not a Shopify product export: it has no column '{missing[0]}'.")
    return Source(kind="shopify", records=_records(path, encoding, names, Locator(path, options)))


def _records(path: Path, encoding: str, names: list[str], locator: Locator) -> Iterator[PhotoRecord]:
    handle = ""
    product: dict[str, str] = {}
    seen: set[str] = set()
    for number, (line, cells) in enumerate(read_rows(path, encoding, ",")):
        if number == 0:
            continue
        row = dict(zip(names, (c.strip() for c in cells), strict=False))
        if row.get("Handle", "") != handle:
            handle, product, seen = row.get("Handle", ""), {}, set()
        for name, value in row.items():
            if value:
                product.setdefault(name, value)
        for image in (row.get("Image Src", ""), row.get("Variant Image", "")):
            if not image or image in seen:
                continue
            seen.add(image)
            values = {field: _first(product, columns) for field, columns in (PRODUCT | OWN).items()}
            extra = {name: product[name] for name in KEPT if name in product}
            if row.get("Image Alt Text"):
                extra["Image Alt Text"] = row["Image Alt Text"]
            problem = None if handle else f"is in line {line}, which has no handle"
            yield record_of(image, {**values, "image": image, "product_id": handle}, extra, locator, problem)


def _first(row: dict[str, str], columns: tuple[str, ...]) -> str | None:
    return next((row[c] for c in columns if row.get(c)), None)
