"""What an ingest is asked to do, and what it reports back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from packshot.core.errors import UsageError
from packshot.images.decode import DEFAULT_LIMITS, Limits

SPDX = re.compile(r"\(*[A-Za-z0-9][A-Za-z0-9.:-]*\+?\)*( (AND|OR|WITH) \(*[A-Za-z0-9][A-Za-z0-9.:-]*\+?\)*)*")
"""The form of an SPDX licence expression (SPDX 3, annex B); own terms are written `LicenseRef-NAME`."""

NOT_SPDX = "is not an SPDX identifier; write for example CC0-1.0, CC-BY-4.0, MIT, or LicenseRef-own for your own terms"


@dataclass(frozen=True, kw_only=True)
class IngestOptions:
    """How a source is read and what becomes of its photos.

    Attributes:
        format: kind of source (a key of `readers.READERS`); None: told from its content.
        images: folder that a list's photo names are relative to; None: the folder that the list lies in.
        columns: a list's own column names by field, for example {"image": "foto"}; known aliases need no entry.
        encoding: text encoding of a list that has no byte order mark.
        categories: names of the labels 0, 1, ... of IDX files; empty: the lines of a categories.txt beside them, the
            published ones where the files are Fashion-MNIST's, else the numbers.
        licence: SPDX expression for photos whose row names none.
        source: where the photos come from, in words, for photos whose row names none.
        owner: who holds the rights to photos whose row names nobody.
        allow_unlicensed: take photos that have no licence or no source.
        allow_opted_out: take photos whose own metadata forbids training (PLUS Data Mining, C2PA training-mining), to
            edit and to find; they are not trained on all the same.
        test_share: share of photos that goes to the test split where the source has no split of its own; [0, 0.5].
        seed: chooses which.
        max_side: photos with a longer side, in pixels, are kept as a smaller copy.
        workers: processes that decode; 1: none but this one. The result does not depend on it.
        follow_symlinks: also read photos that lie outside the folder, through links or through paths in a list.
        max_bytes: larger files are refused.
        max_pixels: photos with more pixels are refused, from their header alone.
        shard_photos: photos per shard, the unit of resuming.

    Raises:
        UsageError: a value out of its range, or a licence that is no SPDX expression.
    """

    format: str | None = None
    images: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    encoding: str = "utf-8"
    categories: tuple[str, ...] = ()
    licence: str | None = None
    source: str | None = None
    owner: str | None = None
    allow_unlicensed: bool = False
    allow_opted_out: bool = False
    test_share: float = 0.1
    seed: int = 0
    max_side: int = 1024
    workers: int = 2
    follow_symlinks: bool = False
    max_bytes: int = DEFAULT_LIMITS.max_bytes
    max_pixels: int = DEFAULT_LIMITS.max_pixels
    shard_photos: int = 2048

    def __post_init__(self) -> None:
        ranges: dict[str, tuple[float, float]] = {
            "test_share": (0, 0.5),
            "max_side": (16, 65535),
            "workers": (1, 256),
            "max_bytes": (1, 2**40),
            "max_pixels": (1, 2**40),
            "shard_photos": (1, 10**6),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise UsageError(f"{name} is {value}; it can be from {low:g} to {high:g}.")
        if self.licence is not None and not is_spdx(self.licence):
            raise UsageError(f"Licence '{self.licence}' {NOT_SPDX}.")

    @property
    def limits(self) -> Limits:
        """The limits for decoding."""
        return Limits(max_bytes=self.max_bytes, max_pixels=self.max_pixels)

    def settled(self) -> dict[str, Any]:
        """Returns, as JSON values, the options that the result depends on: all but the number of workers."""
        return {name: _json(value) for name, value in sorted(asdict(self).items()) if name != "workers"}


@dataclass(frozen=True, kw_only=True)
class IngestReport:
    """What an ingest did.

    Attributes:
        path: the catalogue.
        checksum: its checksum.
        photos: photos in it.
        synthetic: of the generated pictures in it: `pictures`, how many are `for_training`, and for what reason the
            others are `excluded`.
        resumed: how many of them an earlier, interrupted run had already done.
        splits: photos by split.
        categories: photos by category and split.
        excluded: photos that stay in the catalogue but out of training and test sets, by reason.
        duplicates: `exact_groups`, `exact_photos` (in such groups), `near_groups`, `near_photos`, `largest_group`.
        left_out: photos left out, by reason (numbers in a reason are shown as N).
        examples: for each of those reasons the first names.
        notes: things worth knowing about photos that were taken, by sentence.
        seconds: time of this run.
        photos_per_second: of this run.
    """

    path: str
    checksum: str
    photos: int
    synthetic: dict[str, Any]
    resumed: int
    splits: dict[str, int]
    categories: dict[str, dict[str, int]]
    excluded: dict[str, int]
    duplicates: dict[str, int]
    left_out: dict[str, int]
    examples: dict[str, list[str]]
    notes: dict[str, int]
    seconds: float
    photos_per_second: float

    @property
    def left_out_total(self) -> int:
        """Photos left out for any reason."""
        return sum(self.left_out.values())

    def to_json(self) -> dict[str, Any]:
        """Returns the report as JSON values."""
        return asdict(self) | {"left_out_total": self.left_out_total}


def is_spdx(licence: str) -> bool:
    """Returns whether the text has the form of an SPDX licence expression."""
    return SPDX.fullmatch(licence) is not None


def _json(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return dict(sorted(value.items())) if isinstance(value, Mapping) else value
