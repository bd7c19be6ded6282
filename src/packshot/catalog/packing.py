"""Photos out of shards: one by one, or a whole split as one array of equal squares."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from packshot.catalog.dataset import DAMAGED, Packed
from packshot.catalog.examine import GREY8
from packshot.catalog.parts import shard_name
from packshot.catalog.rights import refuse_nothing_left
from packshot.catalog.schema import UNCATEGORISED
from packshot.core.errors import PackshotError, UsageError
from packshot.core.files import disk_errors, read_json, write_json
from packshot.images.decode import BadPicture, decode
from packshot.images.picture import Operation, ProductImage
from packshot.images.resize import fit_square, to_grey, to_rgb
from packshot.images.xmp import is_synthetic

if TYPE_CHECKING:
    import pyarrow.parquet as pq

    from packshot.catalog.dataset import Catalog

Pixels = npt.NDArray[np.uint8]

MARGIN = 4
"""Most black pixels that "auto" adds on each side."""

READ_AHEAD = 256


@contextmanager
def open_parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """Opens a Parquet file.

    Raises:
        PackshotError: it is missing or damaged, also where that shows only while it is read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with disk_errors(path):
        try:
            with pq.ParquetFile(path) as file:
                yield file
        except pa.ArrowException as e:
            raise PackshotError(f"{path} is damaged; {DAMAGED}.") from e


def read_photo(catalog: Catalog, photo_id: str) -> ProductImage:
    """Returns one photo as it is stored; see `Catalog.read`."""
    table = catalog.manifest(["photo_id", "shard", "row", "source_type"])
    place = table["photo_id"].index(photo_id).as_py()
    if place < 0:
        raise UsageError(f"The catalogue {catalog.path} has no photo '{photo_id}'; its manifest lists them all.")
    path = catalog.path / shard_name(table["shard"][place].as_py())
    wanted, declared = table["row"][place].as_py(), table["source_type"][place].as_py()
    with open_parquet(path) as shard:
        for group in range(shard.num_row_groups):
            count = shard.metadata.row_group(group).num_rows
            if wanted < count:
                row = shard.read_row_group(group).slice(wanted, 1).to_pylist()[0]
                return _declared(_picture(row, path, None), declared)
            wanted -= count
    raise PackshotError(f"{path} is damaged; {DAMAGED}.")


def pack(
    catalog: Catalog, split: str, size: int, channels: int, fit: str, *, synthetic: bool, also_out: bool
) -> Packed:
    """Returns a split as one array; see `Catalog.packed`."""
    for name, value, known in (("split", split, ("train", "test")), ("fit", fit, ("auto", "crop", "pad"))):
        if value not in known:
            raise UsageError(f"Unknown {name} '{value}'. Known: {', '.join(known)}.")
    if not 8 <= size <= 1024 or channels not in (1, 3):
        raise UsageError(
            f"Photos cannot be packed as {size} px, {channels} channels: 8 to 1024 px, and 1 or 3 channels."
        )
    margin = 0
    if fit == "auto":
        width, height = catalog.summary["native"]["same_size"] or (0, 0)
        gap = size - width
        if width == height > 0 and 0 < gap <= 2 * MARGIN and gap % 2 == 0:
            margin = gap // 2
        fit = "crop"
    synthetic = synthetic and split == "train"
    kind = ("with-synthetic" if synthetic else "photos") if catalog.synthetic else "packed"
    out = {} if also_out or split == "test" else catalog.rights.out
    without = f"-without-{catalog.rights.key}" if out else ""
    name = f"{kind}-{split}-{size}px-{channels}-{'margin' if margin else fit}-{catalog.checksum[:16]}{without}"
    folder = catalog.cache / name
    packed = _load(catalog, folder, margin)
    if packed is None:
        chosen = [c for c in _chosen(catalog, split, synthetic) if c.photo_id not in out]
        if not chosen:
            if out:
                raise refuse_nothing_left(catalog)
            hint = "ingest it again with a larger --test-share" if split == "test" else "ingest more photos"
            raise PackshotError(f"The catalogue {catalog.path} has no photo in its {split} split; {hint}.")
        _build(catalog, folder, chosen, size, channels, fit, margin)
        packed = _load(catalog, folder, margin)
    if packed is None:
        raise PackshotError(f"The cache in {folder} could not be written; remove that folder and try again.")
    return packed


def _load(catalog: Catalog, folder: Path, margin: int) -> Packed | None:
    """Returns what was packed before; None where it is not there, or not whole."""
    if not (folder / "photos.json").is_file():
        return None
    about = read_json(folder / "photos.json")
    try:
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        labels = np.load(folder / "labels.npy", allow_pickle=False)
    except (ValueError, OSError):
        return None
    names = about.get("photo_ids", [])
    if about.get("checksum") != catalog.checksum or not len(images) == len(labels) == len(names):
        return None
    labels.flags.writeable = False
    return Packed(images, labels, names, catalog.categories, margin)


def _build(
    catalog: Catalog, folder: Path, chosen: list[_Chosen], size: int, channels: int, fit: str, margin: int
) -> None:
    numbers = {name: number for number, name in enumerate(catalog.categories)}
    labels = np.array([numbers[c.category] for c in chosen], np.int64)
    with disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = folder.parent / f".{folder.name}.{secrets.token_hex(4)}.tmp"
        temporary.mkdir()
        try:
            _write_images(catalog, temporary / "images.npy", chosen, size, channels, fit, margin)
            np.save(temporary / "labels.npy", labels, allow_pickle=False)
            about = {"checksum": catalog.checksum, "photo_ids": [c.photo_id for c in chosen]}
            write_json(temporary / "photos.json", about)
            if folder.exists() and _load(catalog, folder, margin) is None:
                shutil.rmtree(folder)
            if not folder.exists():
                temporary.replace(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


class _Chosen(NamedTuple):
    """A photo of the split, and where it is stored."""

    photo_id: str
    category: str
    shard: int
    row: int


def _chosen(catalog: Catalog, split: str, synthetic: bool) -> Iterator[_Chosen]:
    columns = ["photo_id", "category", "shard", "row", "split", "excluded", "source_type"]
    with open_parquet(catalog.path / "manifest.parquet") as manifest:
        for batch in manifest.iter_batches(columns=columns):
            for row in batch.to_pylist():
                wanted = synthetic or not is_synthetic(row["source_type"])
                if row["split"] == split and row["excluded"] is None and wanted:
                    yield _Chosen(row["photo_id"], row["category"] or UNCATEGORISED, row["shard"], row["row"])


def _write_images(
    catalog: Catalog,
    path: Path,
    chosen: list[_Chosen],
    size: int,
    channels: int,
    fit: Any,
    margin: int,
) -> None:
    """Writes the pictures one by one: with a mapped file a full disk would end the process instead of raising."""
    rows: dict[int, set[int]] = {}
    for c in chosen:
        rows.setdefault(c.shard, set()).add(c.row)
    native = size - 2 * margin
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(chosen), size, size, channels)}
    with path.open("wb") as f:
        np.lib.format.write_array_header_1_0(f, header)
        for shard in sorted(rows):
            for picture in _stored(catalog, shard, rows[shard], native):
                pixels = to_grey(picture) if channels == 1 else to_rgb(picture)
                square = np.zeros((size, size, channels), np.uint8)
                square[margin : size - margin, margin : size - margin] = _fitted(pixels, native, fit)
                f.write(square.data)
        f.flush()
        os.fsync(f.fileno())


def _fitted(pixels: Pixels, size: int, fit: Any) -> Pixels:
    return pixels if pixels.shape[:2] == (size, size) else fit_square(pixels, size, fit)


def _stored(catalog: Catalog, shard: int, rows: set[int], at_least: int) -> Iterator[Pixels]:
    """Yields the pixels of some rows of a shard, [H, W, C] with C of 1, 3 or 4, in their order."""
    path = catalog.path / shard_name(shard)
    at = 0
    found = 0
    with open_parquet(path) as file:
        for batch in file.iter_batches(batch_size=READ_AHEAD):
            for row in batch.to_pylist():
                if at in rows:
                    found += 1
                    yield _pixels(row, path, at_least)
                at += 1
    if found != len(rows):
        raise PackshotError(f"{path} is damaged; {DAMAGED}.")


def _declared(picture: ProductImage, source_type: str | None) -> ProductImage:
    """Returns the picture with the source type of the file that it came in; a stored copy may have lost it."""
    decoded = picture.history[0]
    if source_type is None or decoded.params.get("source_type") is not None:
        return picture
    said = replace(decoded, params={**decoded.params, "source_type": source_type})
    return replace(picture, history=(said, *picture.history[1:]))


def _pixels(row: dict[str, Any], path: Path, at_least: int | None) -> Pixels:
    if row["format"] == GREY8:
        return np.frombuffer(row["bytes"], np.uint8).reshape(row["height"], row["width"], 1)
    return _picture(row, path, at_least).pixels


def _picture(row: dict[str, Any], path: Path, at_least: int | None) -> ProductImage:
    if row["format"] == GREY8:
        params = {"format": GREY8, "size": [row["width"], row["height"]]}
        pixels = np.repeat(_pixels(row, path, at_least), 3, axis=2)
        return ProductImage(pixels, history=(Operation("decode", "capture", params),))
    try:
        return decode(row["bytes"], at_least=at_least)
    except BadPicture as e:
        raise PackshotError(f"{path} is damaged: photo {row['photo_id']} cannot be decoded; {DAMAGED}.") from e
