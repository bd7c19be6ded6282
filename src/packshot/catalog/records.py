"""One photo as a source names it, before anything of it is read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SPLITS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "t10k": "test",
    "validation": "test",
    "valid": "test",
    "val": "test",
    "dev": "test",
}
"""What a source may call its splits, and what they are here: photos to learn from, photos to measure with."""

PRICE = re.compile(r"(?P<before>[^\d\s.,-]*)\s*(?P<number>\d[\d.,'  ]*)\s*(?P<after>[^\d\s.,]*)")
SIGNS = {"€": "EUR", "$": "USD", "£": "GBP", "¥": "JPY", "₹": "INR", "₽": "RUB"}


@dataclass(frozen=True, kw_only=True, slots=True)
class PhotoRecord:
    """One photo of a source.

    Attributes:
        key: its name in the source: the path in a folder, the row's photo in a list, "train/00017" in IDX files.
        path: the file to read; None where the photo came with its pixels or its bytes, or cannot be had.
        root: folder that `path` may not leave, links resolved; None: it may lie anywhere.
        pixels: [H, W] uint8 grey, for sources that hold pixels; else None.
        data: the bytes of the photo's file, for sources that hold those; else None.
        problem: why there is no photo, in words that follow its name; else None.
        product_id: the shop's own name for the product; photos of one product never go to both splits.
        title: what the shop calls it.
        category: its category; None: none given.
        price: in units of `currency`.
        currency: ISO 4217 code.
        licence: SPDX expression.
        source: where the photo comes from.
        owner: who holds the rights.
        consent: what is said of the consent of those who are to be seen (`rights.CONSENT`).
        date: of the photo or of its rights, as listed.
        split: "train" or "test" where the source says so; None: it does not.
        extra: columns that have no field here.
    """

    key: str
    path: str | None = None
    root: str | None = None
    pixels: npt.NDArray[np.uint8] | None = None
    data: bytes | None = None
    problem: str | None = None
    product_id: str | None = None
    title: str | None = None
    category: str | None = None
    price: float | None = None
    currency: str | None = None
    licence: str | None = None
    source: str | None = None
    owner: str | None = None
    consent: str | None = None
    date: str | None = None
    split: str | None = None
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Source:
    """A source that was recognised.

    Attributes:
        kind: which reader, for example "folder".
        records: its photos in an order that is the same each time.
        total: how many there are, where that is known before reading.
        categories: the source's own order of categories; None: alphabetical.
        licence: the licence that the source states for all of its photos.
        source: where it says they come from.
        notes: sentences for the user.
    """

    kind: str
    records: Iterable[PhotoRecord]
    total: int | None = None
    categories: tuple[str, ...] | None = None
    licence: str | None = None
    source: str | None = None
    notes: list[str] = field(default_factory=list)


def parse_price(text: str) -> tuple[float | None, str | None]:
    """Returns (amount, ISO 4217 currency) of "12.99 EUR", "€ 1.299,00" or "1299"; None for what is not there."""
    found = PRICE.fullmatch(text.strip())
    if not found:
        return None, None
    number = re.sub(r"['  ]", "", found["number"])
    comma, dot = number.rfind(","), number.rfind(".")
    if comma > dot:  # "1.299,00", "12,5"; "1,299" has three digits after its only comma: thousands.
        decimal = number.count(",") == 1 and (dot >= 0 or len(number) - comma != 4)
        number = number.replace(".", "").replace(",", "." if decimal else "")
    else:
        number = number.replace(",", "")
    unit = (found["before"] or found["after"]).upper()
    currency = SIGNS.get(unit) or (unit if re.fullmatch("[A-Z]{3}", unit) else None)
    try:
        return float(number), currency
    except ValueError:
        return None, None
