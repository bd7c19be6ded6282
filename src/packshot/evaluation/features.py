"""Features of pictures, and a cache of the real photos' features on disk.

Letters: N pictures, S side in pixels, C channels, D features.
"""

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from packshot.core.errors import PackshotError
from packshot.core.files import atomic_path, disk_errors
from packshot.models.features.net import FeatureNet

Pixels = npt.NDArray[np.uint8]
Features = npt.NDArray[np.float32]
Step = Callable[[int], None]
"""Called with the number of pictures done so far."""

CHUNK = 1000
HASHED_ROWS = 4096
TABLE_NUMBERS = 5_000_000


def chunk_rows(columns: int) -> int:
    """Returns how many rows of a table with that many columns may be in memory at a time: about 20 MB of float32."""
    return max(1, TABLE_NUMBERS // max(1, columns))


def nothing(_: int) -> None:
    """A `Step` that shows no progress."""


def compute_features(net: FeatureNet, images: Pixels, *, step: Step = nothing) -> Features:
    """Returns the features float32 [N, D] of uint8 pictures [N, S, S, C].

    float32 holds what the net computed exactly; statistics of them are taken in float64.
    """
    out = np.empty((len(images), net.dim), np.float32)
    for start in range(0, len(images), CHUNK):
        out[start : start + CHUNK] = net.features(images[start : start + CHUNK])
        step(min(start + CHUNK, len(images)))
    return out


def content_key(*parts: npt.NDArray[np.generic] | str) -> str:
    """Returns the SHA-256, in hex digits, of arrays (type, shape and contents) and texts; memory stays flat.

    A cache keyed by it is right whatever changed: catalogue, split, size, framing, protocol.
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            digest.update(f"text {len(part.encode())}\n{part}".encode())
            continue
        digest.update(f"array {part.dtype.str} {part.shape}\n".encode())
        for start in range(0, len(part), HASHED_ROWS):
            digest.update(np.ascontiguousarray(part[start : start + HASHED_ROWS]).data)
    return digest.hexdigest()


def cache_file(cache: Path, kind: str, key: str) -> Path:
    """Returns the path of a cached result."""
    return cache / f"{kind}-{key[:24]}.safetensors"


def features_file(net: FeatureNet, images: Pixels, cache: Path) -> Path:
    """Returns where `cached_features` keeps the features of these pictures."""
    return cache_file(cache, f"features-{net.name}", content_key(net.protocol, images))


def cached_features(net: FeatureNet, images: Pixels, cache: Path, *, step: Step = nothing) -> Features:
    """Returns `compute_features`, read-only and mapped from a safetensors file in `cache`, which is made when missing.

    The file is keyed by the pictures' contents and the net's protocol, and is whole or not there.

    Raises:
        PackshotError: the disk refuses, or the cached file is damaged.
    """
    path = features_file(net, images, cache)
    shape = (len(images), net.dim)
    if not path.exists():
        header = {
            "__metadata__": {"protocol": net.protocol},
            "features": {"dtype": "F32", "shape": shape, "data_offsets": [0, 4 * math.prod(shape)]},
        }
        head = json.dumps(header).encode()
        head += b" " * (-len(head) % 8)
        with atomic_path(path) as temporary, temporary.open("wb") as f:
            f.write(len(head).to_bytes(8, "little") + head)
            for start in range(0, len(images), CHUNK):
                f.write(net.features(images[start : start + CHUNK]).astype("<f4").data)
                step(min(start + CHUNK, len(images)))
            f.flush()
    step(len(images))
    return _map_features(path, shape)


def _map_features(path: Path, shape: tuple[int, int]) -> Features:
    with disk_errors(path), path.open("rb") as f:
        start = 8 + int.from_bytes(f.read(8), "little")
        size = path.stat().st_size
    if size != start + 4 * math.prod(shape):
        raise PackshotError(f"The cached features {path} are damaged; delete this file and run the same command again.")
    if shape[0] == 0:
        return np.empty(shape, np.float32)
    return np.memmap(path, "<f4", "r", start, shape)
