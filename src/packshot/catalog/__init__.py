"""Catalogues: readers, quality, duplicates, splits, and the versioned, checksummed dataset that they end in.

`ingest.ingest` writes a catalogue, `open_catalog` reads it, `fetch.fetch` brings the two reference ones.
"""

from packshot.catalog.dataset import Catalog, Packed, open_catalog

__all__ = ["Catalog", "Packed", "open_catalog"]
