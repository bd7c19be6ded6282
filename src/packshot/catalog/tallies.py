"""What a catalogue's summary counts, photos and generated pictures apart."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from packshot.catalog.schema import FIGURES, UNCATEGORISED
from packshot.images.xmp import is_synthetic

if TYPE_CHECKING:
    import pyarrow as pa

MOST = 50
DISTINCT, OTHERS = 10_000, "others"
"""Different values of a column that are counted one by one; a source may differ for every photo."""

COUNTED = ("split", "licence", "source", "format", "stored", "source_type", "excluded")
PERCENTILES = (5, 25, 50, 75, 95)


class Tallies:
    """What is counted over the manifest while it is written.

    Attributes:
        photos: of the photos.
        synthetic: of pictures whose source type says that a computer made them.
    """

    def __init__(self) -> None:
        self.photos, self.synthetic = _Counts(), _Counts()

    def add(self, table: pa.Table, colour: pa.ChunkedArray | None) -> None:
        """Counts rows of the manifest; `colour` are their colour thumbs, None where `native` will not be asked for."""
        import pyarrow as pa

        made = [is_synthetic(term) for term in table["source_type"].to_pylist()]
        if not any(made):
            self.photos.add(table, colour)
            return
        for counts, kind in ((self.photos, False), (self.synthetic, True)):
            rows = pa.array([m is kind for m in made])
            counts.add(table.filter(rows), None if colour is None else colour.filter(rows))

    def summary(self, categories: list[str]) -> dict[str, Any]:
        """Returns the parts of a catalogue's summary that follow from its manifest; all but `synthetic` is of photos.

        Args:
            categories: names, in the order of their labels.
        """
        photos, made = self.photos, self.synthetic
        usable = {name: made.usable[name] for name in categories if made.usable[name]}
        return {
            "photos": photos.pictures,
            "synthetic": {
                "pictures": made.pictures,
                "for_training": made.usable.total(),
                "categories": usable,
                "licences": made.most("licence"),
                "sources": made.most("source"),
                "excluded": made.most("excluded"),
            },
            "splits": photos.most("split"),
            "categories": {name: dict(photos.by_split.get(name, {})) for name in categories},
            "licences": photos.most("licence"),
            "sources": photos.most("source"),
            "formats": photos.most("format"),
            "stored": photos.most("stored"),
            "source_types": photos.most("source_type"),
            "excluded": photos.most("excluded"),
            "quality": photos.quality(),
        }

    def native(self) -> dict[str, Any]:
        """Returns what the photos are like as stored; where there is none, what the generated pictures are like."""
        return (self.photos if self.photos.pictures else self.synthetic).native()


class _Counts:
    def __init__(self) -> None:
        self.pictures = 0
        self.counts: dict[str, Counter[str]] = {name: Counter() for name in COUNTED}
        self.by_split: dict[str, Counter[str]] = {}
        self.usable: Counter[str] = Counter()
        self._figures: dict[str, list[npt.NDArray[np.float32]]] = {name: [] for name in FIGURES}
        self._sizes: Counter[tuple[int, int]] = Counter()
        self._grey = True

    def add(self, table: pa.Table, colour: pa.ChunkedArray | None) -> None:
        self.pictures += table.num_rows
        if colour is not None:
            thumbs = np.frombuffer(b"".join(colour.to_pylist()), np.uint8).reshape(-1, 3)
            self._grey = self._grey and bool((thumbs == thumbs[:, :1]).all())
        for name, counter in self.counts.items():
            for value, count in Counter(v for v in table[name].to_pylist() if v is not None).items():
                counter[value if value in counter or len(counter) < DISTINCT else OTHERS] += count
        rows = zip(*(table[name].to_pylist() for name in ("category", "split", "excluded")), strict=True)
        for category, side, excluded in rows:
            self.by_split.setdefault(category or UNCATEGORISED, Counter())[side] += 1
            if excluded is None:
                self.usable[category or UNCATEGORISED] += 1
        sizes = zip(table["stored_width"].to_pylist(), table["stored_height"].to_pylist(), strict=True)
        self._sizes.update(sizes)
        for name, arrays in self._figures.items():
            arrays.append(table[name].to_numpy())  # Nulls become NaN.

    def most(self, name: str) -> dict[str, int]:
        """Returns the most frequent values."""
        return dict(sorted(self.counts[name].items(), key=lambda c: (-c[1], c[0]))[:MOST])

    def native(self) -> dict[str, Any]:
        """Returns the median smaller side, 1 channel if all are grey, and the size if all have the same."""
        sides = sorted((min(size), n) for size, n in self._sizes.items())
        half = np.searchsorted(np.cumsum([n for _, n in sides]), sum(n for _, n in sides) / 2)
        return {
            "side": sides[int(half)][0],
            "channels": 1 if self._grey else 3,
            "same_size": list(next(iter(self._sizes))) if len(self._sizes) == 1 else None,
        }

    def quality(self) -> dict[str, dict[str, float | None]]:
        """Returns percentiles of each figure, to 4 digits."""
        out: dict[str, dict[str, float | None]] = {}
        for name, arrays in self._figures.items():
            values = np.concatenate([np.empty(0, np.float32), *arrays])
            values = values[~np.isnan(values)]
            found = np.percentile(values, PERCENTILES).tolist() if len(values) else [None] * len(PERCENTILES)
            shown = [v if v is None else float(f"{v:.4g}") for v in found]
            out[name] = dict(zip((f"p{p}" for p in PERCENTILES), shown, strict=True))
        return out
