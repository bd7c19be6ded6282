"""The products of a catalogue, by every name that events may call them, and what their pictures look like.

Letters: I products, D features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import Literal

import numpy as np
import numpy.typing as npt

from packshot.catalog.dataset import Catalog, Packed
from packshot.images.xmp import is_synthetic

Floats = npt.NDArray[np.float32]
MOST_SIDE = 64


@dataclass(frozen=True)
class Product:
    """One product.

    Attributes:
        name: its product_id; without one, each photo is a product and this is the photo's id.
        key: of its first photo: where that came from.
        title: of its first photo that has one.
        category: of its first photo.
        price: of its first photo that has one.
        photos: ids of its photos.
    """

    name: str
    key: str
    title: str | None
    category: str | None
    price: float | None
    photos: tuple[str, ...]

    @property
    def label(self) -> str:
        """What people know it by: its title, else the file that it came from."""
        return self.title or self.key


@dataclass(frozen=True, eq=False)
class Products:
    """All products of a catalogue, in the manifest's order."""

    rows: list[Product]

    @cached_property
    def names(self) -> list[str]:
        """Their I names."""
        return [row.name for row in self.rows]

    @cached_property
    def number(self) -> dict[str, int]:
        """The place in `rows` by name; by a photo's key, the key's last part without ending, or a photo's id, too.

        Where two products would have one such name, it is nobody's.
        """
        out: dict[str, int] = {}
        for names in (
            lambda row: (row.name,),
            lambda row: (row.key,),
            lambda row: row.photos,
            lambda row: (PurePath(row.key).stem,),
        ):
            found: dict[str, int] = {}
            twice: set[str] = set()
            for place, row in enumerate(self.rows):
                for name in names(row):
                    if found.setdefault(name, place) != place:
                        twice.add(name)
            for name, place in found.items():
                if name not in twice:
                    out.setdefault(name, place)
        return out


def read_products(catalog: Catalog) -> Products:
    """Returns the products of a catalogue; generated pictures are none."""
    columns = ["photo_id", "key", "product_id", "title", "category", "price", "source_type"]
    found: dict[str, Product] = {}
    for row in catalog.manifest(columns).to_pylist():
        if is_synthetic(row["source_type"]):
            continue
        name = row["product_id"] or row["photo_id"]
        old = found.get(name)
        if old is None:
            found[name] = Product(name, row["key"], row["title"], row["category"], row["price"], (row["photo_id"],))
        else:
            found[name] = Product(
                name,
                old.key,
                old.title or row["title"],
                old.category,
                old.price if old.price is not None else row["price"],
                (*old.photos, row["photo_id"]),
            )
    return Products(list(found.values()))


@dataclass(frozen=True, eq=False)
class ProductFeatures:
    """What products look like.

    Attributes:
        rows: float32 [I, D], the mean over a product's pictures; of products without any, the mean of all.
        pictured: bool [I], which products have a picture that may be learned from.
        protocol: names what made them.
    """

    rows: Floats
    pictured: npt.NDArray[np.bool_]
    protocol: str


def product_features(
    catalog: Catalog,
    products: Products,
    describe: Callable[[Packed], Floats] | None = None,
    protocol: str | None = None,
    *,
    size: int | None = None,
    channels: Literal[1, 3] | None = None,
    fit: Literal["auto", "crop", "pad"] = "auto",
    step: Callable[[int], None] | None = None,
) -> ProductFeatures | None:
    """Returns the features of the products' photos in both splits; None where no product has one.

    Photos that may not be trained on are left out, since a preference learns from features.

    Args:
        catalog: the catalogue.
        products: its products.
        describe: features float32 [N, D] of packed photos; None: those of `load_view`, cached in the catalogue.
        protocol: names what `describe` does.
        size: pixels that photos are packed to; None: 64, or their own size where that is less.
        channels: that they are packed with; None: their own.
        fit: how they are packed.
        step: called with the photos of a split that are looked at, if `describe` is None.
    """
    if describe is None:
        from packshot.evaluation.features import cached_features, nothing
        from packshot.taste.view import load_view

        net = load_view()
        protocol = net.protocol

        def describe(packed: Packed) -> Floats:
            return cached_features(net, packed.images, catalog.cache, step=step or nothing)

    place = {photo: i for i, row in enumerate(products.rows) for photo in row.photos}
    out = catalog.rights.out
    total: Floats | None = None
    count = np.zeros(len(products.rows), np.int64)
    splits: tuple[Literal["train", "test"], ...] = ("train", "test")
    for split in splits:
        if not catalog.summary["splits"].get(split):
            continue
        packed = catalog.packed(
            split,
            size or picture_side(catalog),
            channels or (1 if catalog.native.channels == 1 else 3),
            fit,
            also_out=True,
        )
        features = describe(packed)
        if total is None:
            total = np.zeros((len(products.rows), features.shape[1]), np.float32)
        good = [row for row, photo in enumerate(packed.photo_ids) if photo in place and photo not in out]
        at = np.array([place[packed.photo_ids[row]] for row in good], np.int64)
        np.add.at(total, at, features[good])
        count += np.bincount(at, minlength=len(count))
    pictured = count > 0
    if total is None or not pictured.any():
        return None
    total[pictured] /= count[pictured, None]
    total[~pictured] = total[pictured].mean(0)
    return ProductFeatures(total, pictured, str(protocol))


def picture_side(catalog: Catalog) -> int:
    """Returns the side, in pixels, at which a catalogue's products are looked at."""
    return max(8, min(MOST_SIDE, catalog.native.side))
