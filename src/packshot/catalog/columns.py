"""What the catalogue says of photos, column by column: a field of the manifest, or any column that the source had."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from packshot.core.errors import lookup
from packshot.images.seen import SEEN

if TYPE_CHECKING:
    from packshot.catalog.dataset import Catalog

FIELDS = ("title", "category", "product_id", "price", "currency", "licence", "source", "owner", "consent", "date")
"""Columns of the manifest that say something of the product."""


def read_column(photos: Catalog, name: str, photo_ids: Sequence[str]) -> list[str | None]:
    """Returns what a column says of each photo, None where it says nothing.

    Args:
        photos: the catalogue.
        name: one of FIELDS, or a column of the source that the manifest keeps under `extra`; upper and lower case are
            one.
        photo_ids: which photos, in which order.

    Raises:
        UsageError: no photo has such a column; the nearest name is suggested.
    """
    table = photos.manifest(["photo_id", *FIELDS, "extra"])
    place = {photo_id: row for row, photo_id in enumerate(table["photo_id"].to_pylist())}
    if name in FIELDS:
        values = table[name].to_pylist()
    else:
        rows = [json.loads(text) if text else {} for text in table["extra"].to_pylist()]
        known = {key.lower(): key for row in rows for key in row}
        key = known.get(name.lower()) or lookup("column", name, {**dict.fromkeys((*SEEN, *FIELDS), ""), **known})
        values = [row.get(key) for row in rows]
    chosen = (values[place[photo_id]] for photo_id in photo_ids)
    return [None if value in (None, "") else str(value) for value in chosen]
