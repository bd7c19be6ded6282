"""Samples of a trained generator as arrays, to measure it with: data, and no pictures."""

import math
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import numpy as np

from packshot.core.errors import UsageError
from packshot.core.files import atomic_path, check_disk
from packshot.core.process import check_memory
from packshot.core.progress import Progress
from packshot.release.door import check_free
from packshot.sampling.generator import batches_of, equal_shares
from packshot.tasks.trained import load_run_generator


@dataclass(frozen=True)
class SampleResult:
    """Measurement data.

    Attributes:
        file: the .npz: `images` uint8 [N, H, W, C], `labels` int64 [N], `categories` names.
        n: number of pictures.
        shape: H, W, C.
        per_category: pictures of each category.
        model: name of the model.
        seed: as asked.
    """

    file: Path
    n: int
    shape: tuple[int, int, int]
    per_category: dict[str, int]
    model: str
    seed: int


def sample(run: Path, out: Path, *, n: int, seed: int, overwrite: bool = False, quiet: bool = False) -> SampleResult:
    """Writes n samples in equal shares of the categories as arrays, to measure a generator with.

    Raises:
        UsageError: n below 1, or `out` does not end in .npz.
        PackshotError: no trained model there, the file exists, or the disk is full.
    """
    if n < 1:
        raise UsageError(f"--n is {n}; ask for at least 1 sample.")
    if out.suffix != ".npz":
        raise UsageError(f"--out {out} has to end in .npz.")
    if not overwrite:
        check_free([out])
    generator = load_run_generator(run)
    side = generator.spec.size - 2 * generator.margin
    shape = (side, side, generator.spec.channels)
    check_disk(out, n * math.prod(shape))
    check_memory(16 * n, f"{n:,} labels", "ask for fewer samples")
    labels = equal_shares(n, len(generator.categories))
    with (
        Progress("Sampling", n, quiet=quiet) as bar,
        atomic_path(out, overwrite=overwrite) as temporary,
        ZipFile(temporary, "w") as file,
    ):
        # As np.savez writes it, but one part after the other, so that memory stays flat.
        with file.open("images.npy", "w", force_zip64=True) as f:
            about = {"descr": "|u1", "fortran_order": False, "shape": (n, *shape)}
            np.lib.format.write_array_header_1_0(f, about)
            for start, chunk in batches_of(labels):
                pixels = generator.pictures(generator.noise(seed, start, len(chunk)), chunk.tolist())
                f.write(np.ascontiguousarray(pixels).data)
                bar.update(start + len(chunk))
        for name, array in (("labels", labels), ("categories", np.array(generator.categories))):
            with file.open(f"{name}.npy", "w") as f:
                np.lib.format.write_array(f, array, allow_pickle=False)
    counts = np.bincount(labels, minlength=len(generator.categories))
    per_category = {name: int(k) for name, k in zip(generator.categories, counts, strict=True)}
    return SampleResult(out, n, shape, per_category, generator.model, seed)
