"""The columns of a catalogue's tables. Names only; Arrow is imported where a table is built."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

FIGURES = ("blur", "noise", "blockiness", "clipped_low", "clipped_high", "jpeg_quality")
"""Quality figures; equations in `quality`."""

UNCATEGORISED = "uncategorised"
"""Category of photos that have none."""

EXAMINED = {
    "photo_id": "string",
    "key": "string",
    "product_id": "string",
    "title": "string",
    "category": "string",
    "price": "double",
    "currency": "string",
    "licence": "string",
    "source": "string",
    "owner": "string",
    "consent": "string",
    "date": "string",
    "mining": "string",
    "says": "string",
    "split": "string",
    "width": "int32",
    "height": "int32",
    **dict.fromkeys(FIGURES, "float"),
    "format": "string",
    "bytes": "int64",
    "sha256": "string",
    "stored": "string",
    "stored_width": "int32",
    "stored_height": "int32",
    "source_type": "string",
    "extra": "string",
    "pixel_hash": "string",
    "dhash": "string",
    "grey": "binary",
    "colour": "binary",
}
"""What looking at one photo gives. `split` is the source's own here."""

MANIFEST = {
    **{name: kind for name, kind in EXAMINED.items() if name not in ("grey", "colour")},
    "duplicate_group": "string",
    "near_group": "string",
    "excluded": "string",
    "shard": "int32",
    "row": "int32",
}
"""What the manifest says of one photo; documented in docs/catalogue.md."""

SHARD = {"photo_id": "string", "format": "string", "width": "int32", "height": "int32", "bytes": "binary"}
"""What a shard holds of one photo: `format` is JPEG, PNG, WEBP or GREY8, width and height those of the stored bytes."""


def arrow_schema(columns: dict[str, str]) -> pa.Schema:
    """Returns the Arrow schema of a table."""
    import pyarrow as pa

    return pa.schema([(name, pa.type_for_alias(kind)) for name, kind in columns.items()])


def with_columns(table: pa.Table, names: Iterable[str]) -> pa.Table:
    """Returns these columns of a manifest; one that an older Packshot did not write is null: not known."""
    import pyarrow as pa

    def column(name: str) -> Any:
        there = name in table.column_names
        return table[name] if there else pa.nulls(table.num_rows, pa.type_for_alias(MANIFEST[name]))

    return pa.table({name: column(name) for name in names})
