"""The best products for a profile, out of many: exact below 50,000, else by cells, and the best 200 exact again.

The largest dot product becomes the smallest distance by one more number for each product (Bachrach et al. 2014,
"Speeding up the Xbox recommender system using a Euclidean transformation for inner-product spaces").

Letters: I items, K numbers of a profile, n profiles, k places.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from packshot.core.errors import PackshotError
from packshot.core.files import atomic_path, disk_errors, read_json, write_json

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

EXACT_BELOW = 50_000
AGAIN = 200
"""Candidates whose scores are computed exactly."""
TRAINED_ON = 40
"""Products for each cell that the cells are learned from; faiss warns below 39."""
WANTED = 0.97
PROBES = (8, 16, 32, 64, 128, 256, 512)
JUDGES, PLACES = 100, 100


@dataclass(frozen=True, eq=False)
class ProductIndex:
    """Factors of all products, and cells where there are many.

    Attributes:
        vectors: float32 [I, K + 1], factors and bias.
        cells: a faiss index; None: every product is looked at.
        probes: cells that are looked into.
        recall: share of the exact first 100 that was found for profiles kept back to choose `probes`; 1 without cells.
    """

    vectors: Floats
    cells: Any = None
    probes: int = 0
    recall: float = 1.0

    def search(self, profile: Floats, k: int, exclude: Ints | None = None) -> tuple[Ints, Floats]:
        """Returns (numbers, scores) of the best products for one profile [K], best first.

        Args:
            profile: of the shopper.
            k: how many; fewer come back where there are not so many.
            exclude: numbers of products that are not wanted.
        """
        query = np.append(profile, 1).astype(np.float32)
        out = np.zeros(0, np.int64) if exclude is None else exclude
        if self.cells is None:
            scores = self.vectors @ query
            scores[out] = -np.inf
            wanted = max(0, min(k, len(scores) - len(np.unique(out))))
            found = (
                np.argpartition(-scores, wanted - 1)[:wanted] if 0 < wanted < len(scores) else np.arange(len(scores))
            )
            scores = scores[found]
        else:
            near = self.cells.search(np.append(query, 0)[None].astype(np.float32), max(AGAIN, 2 * k) + len(out))[1][0]
            found = np.setdiff1d(near[near >= 0], out)
            scores = self.vectors[found] @ query
            wanted = min(k, len(found))
        order = np.lexsort((found, -scores))[:wanted]
        return found[order].astype(np.int64), scores[order]

    def save(self, folder: Path) -> None:
        """Writes vectors.npy, and cells.faiss where there are cells; index.json last."""
        with atomic_path(folder / "vectors.npy") as temporary, temporary.open("wb") as f:
            np.save(f, self.vectors, allow_pickle=False)
        if self.cells is not None:
            with atomic_path(folder / "cells.faiss") as temporary:
                _faiss().write_index(self.cells, str(temporary))
        about = {"products": len(self.vectors), "cells": self.cells is not None, "probes": self.probes}
        write_json(folder / "index.json", {**about, "recall": self.recall})


def build_index(factors: Floats, bias: Floats, profiles: Floats, *, seed: int = 0) -> ProductIndex:
    """Returns an index over products.

    Args:
        factors: float32 [I, K].
        bias: float32 [I].
        profiles: float32 [n, K] of real shoppers: as many cells are looked into as these need for a recall at 100 of
            0.97 against the exact list.
        seed: of the sample that the cells are learned from, and of the profiles that judge.

    Raises:
        PackshotError: there are 50,000 products or more, and faiss is not installed.
    """
    vectors = np.concatenate([factors, bias[:, None]], axis=1).astype(np.float32)
    if len(vectors) < EXACT_BELOW:
        return ProductIndex(vectors)
    faiss, rng = _faiss(), np.random.default_rng(seed)
    squares = np.square(vectors).sum(1)
    longer = np.sqrt(np.maximum(squares.max() - squares, 0))[:, None]
    cells = _cells(np.concatenate([vectors, longer], axis=1), faiss, rng)
    judges = profiles[rng.permutation(len(profiles))[:JUDGES]]
    exact = [np.argpartition(-(vectors @ np.append(p, 1)), PLACES)[:PLACES] for p in judges]
    recall, probes = 0.0, PROBES[0]
    for probes in PROBES:
        faiss.extract_index_ivf(cells).nprobe = probes
        index = ProductIndex(vectors, cells, probes)
        found = [len(np.intersect1d(index.search(p, PLACES)[0], e)) for p, e in zip(judges, exact, strict=True)]
        recall = float(np.mean(found)) / PLACES if found else 0.0
        if recall >= WANTED:
            break
    return ProductIndex(vectors, cells, probes, recall)


def load_index(folder: Path) -> ProductIndex:
    """Reads what `ProductIndex.save` wrote; vectors are mapped, not read.

    Raises:
        PackshotError: a file is missing or damaged, or faiss is not installed.
    """
    about = read_json(folder / "index.json")
    with disk_errors(folder):
        try:
            vectors = np.load(folder / "vectors.npy", mmap_mode="r", allow_pickle=False)
        except ValueError as e:
            raise PackshotError(f"{folder} is damaged; delete it and rank again.") from e
        cells = None
        if about["cells"]:
            faiss = _faiss()
            if not (folder / "cells.faiss").is_file():
                raise PackshotError(f"{folder} is damaged; delete it and rank again.")
            cells = faiss.read_index(str(folder / "cells.faiss"))
            faiss.extract_index_ivf(cells).nprobe = about["probes"]
    if len(vectors) != about["products"]:
        raise PackshotError(f"{folder} is damaged; delete it and rank again.")
    return ProductIndex(vectors, cells, about["probes"], about["recall"])


def _cells(vectors: Floats, faiss: Any, rng: np.random.Generator) -> Any:
    count = 2 ** int(np.log2(4 * np.sqrt(len(vectors))))
    index = faiss.index_factory(vectors.shape[1], f"IVF{count},SQ8")
    sample = vectors[np.sort(rng.permutation(len(vectors))[: TRAINED_ON * count])]
    index.train(sample)
    index.add(vectors)
    return index


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as e:
        raise PackshotError(
            f"From {EXACT_BELOW:,} products on ranking needs the package faiss; run: pip install 'packshot[taste]'"
        ) from e
    return faiss
