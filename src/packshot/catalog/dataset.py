"""A finished catalogue: its summary, manifest and photos, verified by checksum, and packed for training."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from packshot.core.errors import PackshotError, lookup
from packshot.core.files import read_json, sha256_file
from packshot.images.picture import ProductImage
from packshot.images.xmp import is_synthetic

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from packshot.catalog.rights import Rights

Split = Literal["train", "test"]
Fit = Literal["auto", "crop", "pad"]

FORMAT, FORMAT_VERSION = "packshot-catalogue", 1
DAMAGED = "restore it from a backup, or ingest the photos again"


class Native(NamedTuple):
    """What the photos are like as they are stored.

    Attributes:
        side: median of their smaller sides, in pixels.
        channels: 1 if all of them are grey, else 3.
    """

    side: int
    channels: int


@dataclass(frozen=True, eq=False)
class Packed:
    """The photos of one split (or also generated pictures, where asked for) as one array, in the manifest's order.

    Attributes:
        images: [N, size, size, channels] uint8, read-only, mapped from a file; grey or RGB.
        labels: [N] int64, numbers into `categories`.
        photo_ids: N of them.
        categories: the catalogue's.
        margin: black pixels that were added on each side; 0: none. Outputs can be cropped back by it.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    photo_ids: list[str]
    categories: tuple[str, ...]
    margin: int


class Catalog:
    """A finished catalogue; made by `open_catalog`.

    Attributes:
        path: its folder.
        checksum: SHA-256, in hex digits, over the checksums of manifest and shards and the order of categories.
        categories: names; a photo's label is the place of its category here.
        summary: counts by split, category, licence and source, quality percentiles, duplicates, what was left out; of
            photos alone, but for `synthetic`.
        native: what the photos are like as stored.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path, self._about = path, about
        self.checksum: str = about["checksum"]
        self.categories: tuple[str, ...] = tuple(about["categories"])
        self.summary: dict[str, Any] = about["summary"]
        self.native = Native(self.summary["native"]["side"], self.summary["native"]["channels"])

    @property
    def synthetic(self) -> int:
        """How many generated pictures there are to train on, beside the photos."""
        if "synthetic" in self.summary:
            return int(self.summary["synthetic"]["for_training"])
        # An older catalogue counted them among the photos.
        return sum(n for term, n in self.summary.get("source_types", {}).items() if is_synthetic(term))

    @property
    def cache(self) -> Path:
        """Folder for what is computed from the photos: in the catalogue, or the user's cache if that is read-only."""
        if os.access(self.path, os.W_OK):
            return self.path / "cache"
        return user_cache() / "catalogues" / self.checksum[:16]

    def manifest(self, columns: list[str] | None = None) -> pa.Table:
        """Returns the manifest, one row per photo (docs/catalogue.md says what each column holds).

        Args:
            columns: names; None: all.

        Raises:
            UsageError: an unknown column; the nearest one is suggested.
            PackshotError: the file is damaged.
        """
        from packshot.catalog.packing import open_parquet
        from packshot.catalog.schema import MANIFEST, with_columns

        for name in columns or ():
            lookup("column", name, MANIFEST)
        wanted = list(MANIFEST) if columns is None else columns
        with open_parquet(self.path / "manifest.parquet") as parquet:
            there = set(parquet.schema_arrow.names)
            table = parquet.read([name for name in wanted if name in there])
        return with_columns(table, wanted)

    @cached_property
    def rights(self) -> Rights:
        """What may be trained on, and why the rest may not.

        Raises:
            PackshotError: the ledger is damaged.
        """
        from packshot.catalog.rights import read_rights

        return read_rights(self)

    @property
    def knows_statements(self) -> bool:
        """Whether the manifest keeps what each file says of its rights; those of older versions do not."""
        from packshot.catalog.packing import open_parquet

        with open_parquet(self.path / "manifest.parquet") as parquet:
            return "mining" in parquet.schema_arrow.names

    def digests(self, photo_ids: Sequence[str]) -> list[str]:
        """Returns the SHA-256, in hex digits, of each photo's file as it came (of its pixels, if it came as those)."""
        table = self.manifest(["photo_id", "sha256"]).to_pydict()
        known = dict(zip(table["photo_id"], table["sha256"], strict=True))
        return [known[photo_id] for photo_id in photo_ids]

    def read(self, photo_id: str) -> ProductImage:
        """Returns a photo as it is stored: the original, or the smaller copy.

        Raises:
            UsageError: no such photo.
            PackshotError: its shard is missing or damaged.
        """
        from packshot.catalog.packing import read_photo

        return read_photo(self, photo_id)

    def verify(self) -> None:
        """Compares every file with its checksum.

        Raises:
            PackshotError: names the first file that is missing or was changed.
        """
        for name, expected in self._about["files"].items():
            _check(self.path / name, expected)

    def packed(
        self,
        split: Split,
        size: int,
        channels: Literal[1, 3],
        fit: Fit = "auto",
        *,
        synthetic: bool = False,
        also_out: bool = False,
    ) -> Packed:
        """Returns a split's photos as one array, built once and then mapped from `cache`.

        The training split is without the photos that may not be trained on (`rights`). The test split is whole: what
        is measured makes no weights.

        Photos that the manifest marks as excluded are not among them, so that no test photo is a duplicate of a
        training photo and no training photo comes twice. Pictures whose source type says that they were generated
        come only where they are asked for, and never in the test split. Alpha is laid over white.

        Args:
            split: "train" or "test".
            size: side of the result in pixels, 8 to 1024.
            channels: 1 (luma) or 3 (RGB).
            fit: "crop" cuts the middle square, "pad" keeps the whole photo and fills up with its border's colour.
                "auto" surrounds photos that all have the same square size, up to 8 pixels smaller, with black (28
                becomes 32, and `margin` says 2), and crops others.
            synthetic: also the generated pictures of the training split: to train on, not to compare with.
            also_out: also photos that may not be trained on: to find, never to learn from.

        Raises:
            UsageError: a value out of its range.
            PackshotError: the split has no photo, or none that may be trained on; a shard is damaged; the disk is full.
        """
        from packshot.catalog.packing import pack

        return pack(self, split, size, channels, fit, synthetic=synthetic, also_out=also_out)


def open_catalog(path: Path) -> Catalog:
    """Opens a catalogue and checks its manifest.

    Raises:
        PackshotError: there is none, its ingest is unfinished, it is of a newer format, or its manifest was changed.
    """
    from packshot.catalog.checksum import compute_checksum

    description = path / "catalog.json"
    if not description.is_file():
        if (path / ".ingest").is_dir():
            raise PackshotError(
                f"{path} is not finished; give the command that began it, for example `packshot ingest`, again."
            )
        raise PackshotError(f"{path} is not a catalogue; make one with `packshot ingest SOURCE --out {path}`.")
    about = read_json(description)
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise PackshotError(f"{description} does not describe a catalogue; {DAMAGED}.")
    if about.get("format_version") != FORMAT_VERSION:
        raise PackshotError(
            f"{path} has the catalogue format {about.get('format_version')}, and this Packshot reads "
            f"{FORMAT_VERSION}; ingest the photos again, or use the version that wrote it."
        )
    try:
        good = compute_checksum(about["files"], about["categories"]) == about["checksum"]
        catalog = Catalog(path, about)
    except (KeyError, TypeError, AttributeError) as e:
        raise PackshotError(f"{description} is damaged; {DAMAGED}.") from e
    if (path / ".erase" / "commit.json").is_file():
        raise PackshotError(f"An erasure of {path} was cut off; give that `packshot erase` command again.")
    if not good:
        raise PackshotError(f"{description} was changed after the ingest; {DAMAGED}.")
    _check(path / "manifest.parquet", about["files"]["manifest.parquet"])
    return catalog


def user_cache() -> Path:
    """Returns Packshot's folder in the user's cache (XDG Base Directory Specification)."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "packshot"


def _check(path: Path, expected: str) -> None:
    if not path.is_file():
        raise PackshotError(f"{path} is missing; {DAMAGED}.")
    if sha256_file(path) != expected:
        raise PackshotError(f"{path} was changed or damaged after the ingest (its checksum differs); {DAMAGED}.")
