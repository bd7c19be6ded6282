"""New product pictures from a trained generator; and measurement data, which are arrays and not pictures."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from packshot.core.errors import PackshotError, UsageError
from packshot.core.files import atomic_path
from packshot.core.progress import Progress
from packshot.core.runs import RunFolder
from packshot.images.picture import Operation, ProductImage
from packshot.images.resize import to_rgb
from packshot.images.sheet import contact_sheet
from packshot.release.door import check_free, release
from packshot.sampling.generator import (
    TrainedGenerator,
    batches_of,
    equal_shares,
    load_generator,
    sheet_scale,
)

ON_SHEET = 400


@dataclass(frozen=True, kw_only=True)
class CreateRequest:
    """New pictures, please.

    Attributes:
        run: run folder of the generator.
        out: folder for the pictures; made if it is not there.
        n: how many in all.
        seed: the same seed gives the same pixels.
        labels: categories by name, taken in turn; none means all of them.
        overwrite: replace pictures of the same names.
    """

    run: Path
    out: Path
    n: int = 16
    seed: int = 0
    labels: tuple[str, ...] = ()
    overwrite: bool = False


@dataclass(frozen=True)
class CreateResult:
    """The files that were written.

    Attributes:
        pictures: PNG files, in order.
        labels: category of each.
        sheet: the first of them (at most 400) on one PNG.
        source_type: what the files say of their origin (IPTC DigitalSourceType).
        model: name of the model.
        seed: as asked.
    """

    pictures: list[Path]
    labels: list[str]
    sheet: Path
    source_type: str | None
    model: str
    seed: int


def create(request: CreateRequest) -> CreateResult:
    """Makes new product pictures and one contact sheet.

    Raises:
        UsageError: unknown category, or n below 1.
        PackshotError: no trained model there, or a file of that name exists.
    """
    if request.n < 1:
        raise UsageError(f"--n is {request.n}; ask for at least 1 picture.")
    generator = load_run_generator(request.run)
    chosen = [generator.label_of(name) for name in request.labels] or list(range(len(generator.categories)))
    labels = [chosen[i % len(chosen)] for i in range(request.n)]
    names = [generator.categories[label] for label in labels]
    paths = [request.out / f"{slug(name)}-{request.seed}-{i:04d}.png" for i, name in enumerate(names)]
    sheet_path = request.out / f"sheet-{request.seed}.png"
    if not request.overwrite:
        check_free([*paths, sheet_path])

    pixels = generator.sample(labels, request.seed)
    pictures = [
        generated_picture(image, generator, seed=request.seed, index=i, category=names[i])
        for i, image in enumerate(pixels)
    ]
    released = [release(p, path, overwrite=request.overwrite) for p, path in zip(pictures, paths, strict=True)]
    columns = max(1, round(np.sqrt(min(request.n, ON_SHEET))))
    captions = names[:ON_SHEET] if len(set(names)) > 1 else None
    sheet = contact_sheet(
        pictures[:ON_SHEET], columns=columns, captions=captions, scale=sheet_scale(generator.spec.size)
    )
    release(sheet, sheet_path, overwrite=request.overwrite)
    return CreateResult(paths, names, sheet_path, released[0].source_type, generator.model, request.seed)


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
    labels = equal_shares(n, len(generator.categories))
    parts = []
    with Progress("Sampling", n, quiet=quiet) as bar:
        for start, chunk in batches_of(labels):
            parts.append(generator.pictures(generator.noise(seed, start, len(chunk)), chunk.tolist()))
            bar.update(start + len(chunk))
    images = np.concatenate(parts)
    with atomic_path(out) as temporary, temporary.open("wb") as f:
        np.savez(f, images=images, labels=labels, categories=np.array(generator.categories))
    counts = np.bincount(labels, minlength=len(generator.categories))
    per_category = {name: int(k) for name, k in zip(generator.categories, counts, strict=True)}
    h, w, c = images.shape[1:]
    return SampleResult(out, n, (h, w, c), per_category, generator.model, seed)


def load_run_generator(path: Path) -> TrainedGenerator:
    """Loads the generator of a run folder.

    Raises:
        PackshotError: no run there, or it has no model yet.
    """
    run = RunFolder.open(path)
    if not run.model_file.exists():
        raise PackshotError(f"The run {path} has no model yet; finish it with: packshot train --resume {path}")
    return load_generator(run.model_file)


def generated_picture(
    pixels: np.ndarray, generator: TrainedGenerator, *, seed: int, index: int, category: str
) -> ProductImage:
    """Returns uint8 pixels [H, W, C] of a generator as a picture whose history says where it came from."""
    params = {"model": generator.model, "category": category, "seed": seed, "index": index}
    return ProductImage(to_rgb(pixels), history=(Operation("sample", "generated", params),))


def slug(name: str) -> str:
    """Returns a category's name as a part of a file name: "T-shirt/top" becomes "t-shirt-top"."""
    return re.sub(r"[^\w]+", "-", name.lower()).strip("-") or "picture"
