"""Small made-up product photos, and what the catalogue's tests do with them again and again."""

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from packshot.catalog.ingest import ingest
from packshot.catalog.options import IngestOptions, IngestReport

RIGHTS = {"licence": "CC0-1.0", "source": "made up by the tests"}


def photo(seed: int, width: int = 60, height: int = 80) -> np.ndarray:
    """A smooth colourful picture with a little noise; pictures of different seeds look entirely different."""
    rng = np.random.default_rng(seed)
    blobs = Image.fromarray(rng.integers(0, 256, (6, 5, 3), dtype=np.uint8))
    smooth = np.asarray(blobs.resize((width, height), Image.Resampling.BICUBIC)).astype(float)
    return np.clip(smooth + rng.normal(0, 2, smooth.shape), 0, 255).astype(np.uint8)


def jpeg(pixels: np.ndarray, quality: int = 90, **options: object) -> bytes:
    return encoded(pixels, "JPEG", quality=quality, **options)


def encoded(pixels: np.ndarray, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


def write_folder(folder: Path, categories: dict[str, int], *, first_seed: int = 0) -> Path:
    """Writes `n` JPEG photos into a sub-folder per category."""
    seed = first_seed
    for name, n in categories.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            (folder / name / f"{i:03d}.jpg").write_bytes(jpeg(photo(seed)))
            seed += 1
    return folder


def run(source: Path, out: Path, /, **options: object) -> IngestReport:
    """Ingests in this process, with a licence and a source unless others are given."""
    return ingest(source, out, IngestOptions(**{"workers": 1, **RIGHTS, **options}))


def rejected(catalog: Path) -> dict[str, str]:
    """What was left out: reason by photo."""
    lines = (catalog / "rejected.jsonl").read_text().splitlines()
    return {row["photo"]: row["reason"] for row in map(json.loads, lines)}


def files(catalog: Path) -> dict[str, bytes]:
    """Every file of a catalogue, by name."""
    return {str(p.relative_to(catalog)): p.read_bytes() for p in sorted(catalog.rglob("*")) if p.is_file()}
