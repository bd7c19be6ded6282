"""New product pictures from a trained generator; and measurement data, which are arrays and not pictures."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np

from packshot.core.errors import UsageError
from packshot.core.files import atomic_path, check_disk
from packshot.core.process import check_memory
from packshot.core.progress import Progress
from packshot.core.runs import RunFolder
from packshot.images.picture import ProductImage
from packshot.images.sheet import contact_sheet
from packshot.models.foundation import is_foundation
from packshot.release.door import check_free, release_set
from packshot.sampling.generator import TrainedGenerator, batches_of, equal_shares, sheet_scale
from packshot.tasks.asked import find_asked
from packshot.tasks.enhance import EnhanceRequest, enlarge
from packshot.tasks.foundation import FoundationOptions, create_foundation
from packshot.tasks.points import (
    Points,
    check_fraction,
    crossovers,
    end_name,
    like_points,
    mix_points,
    sample_points,
    style_points,
    way_points,
)
from packshot.tasks.trained import generated_picture, load_run_generator, slug

ON_SHEET = 400
VARIATION = 0.3


@dataclass(frozen=True, kw_only=True)
class CreateRequest:
    """New pictures, please. At most one of `like`, `mix` and `interpolate`; none of them: free samples.

    Attributes:
        run: run folder of the generator, or a pipeline of diffusers (`is_foundation`), which needs `text`.
        out: folder for the pictures; made if it is not there.
        n: how many in all; with `interpolate`, of each category.
        seed: the same seed gives the same pixels.
        labels: categories by name, taken in turn; none means all of them, and for photos the best match.
        overwrite: replace pictures of the same names.
        truncation_psi: 0 .. 1; below 1 samples are more typical and less varied. For free samples and `interpolate`.
        like: a photo to make pictures like.
        variation: 0 .. 1, how far from `like`: 0 is its reconstruction (one picture), 1 free samples of its category;
            None: 0.3.
        mix: two ends of a way: a photo's path, or a number i for picture i of the seed.
        styles: of `mix`: not a way, but the coarse styles of A with the fine ones of B, one picture for every place to
            change over (n says nothing). Of a generator with styles.
        interpolate: pictures on the way from sample 0 to sample 1, the same two for each category.
        attributes: what else is asked for, by name: colour -> red. Of a generator that was trained with attributes.
        text: words for what is asked for. Of a generator that was trained with a text model; without `labels` the
            category whose name is nearest to the text is taken.
        text_model: where that text model is now; None: where it was, or the run's own copy.
        size: longer side of the pictures in pixels; smaller ones are enlarged. None: the generator's or pipeline's own.
        foundation: what only a pipeline of diffusers understands.
    """

    run: Path
    out: Path
    n: int = 16
    seed: int = 0
    labels: tuple[str, ...] = ()
    overwrite: bool = False
    truncation_psi: float = 1.0
    like: Path | None = None
    variation: float | None = None
    mix: tuple[str, str] | None = None
    styles: bool = False
    interpolate: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)
    text: str | None = None
    text_model: Path | None = None
    size: int | None = None
    foundation: FoundationOptions = field(default_factory=FoundationOptions)


@dataclass(frozen=True)
class CreateResult:
    """The files that were written.

    Attributes:
        pictures: PNG files, in order.
        labels: category of each.
        sheet: the first of them (at most 400) on one PNG; photos that they were made from come first.
        source_type: what the pictures say of their origin (IPTC DigitalSourceType).
        model: name of the model.
        seed: as asked.
        ingredients: the photos that were used: `name`, `sha256`, `label` (category it was found in) and `rms`, how far
            the generator's nearest picture is from the photo: root mean square, 0 to 255 grey levels. Of a pipeline of
            diffusers: `name` and `sha256`.
        asked: what was asked for besides categories: `attributes`, `text`.
        licence: of a pipeline of diffusers, where its model states one.
        notes: sentences for the user: what the licence allows, what was left out.
    """

    pictures: list[Path]
    labels: list[str]
    sheet: Path
    source_type: str | None
    model: str
    seed: int
    ingredients: list[dict[str, Any]] = field(default_factory=list)
    asked: dict[str, Any] = field(default_factory=dict)
    licence: str | None = None
    notes: list[str] = field(default_factory=list)


def create(request: CreateRequest) -> CreateResult:
    """Makes new product pictures and one contact sheet.

    Raises:
        UsageError: unknown category, a number out of its range, or things that do not go together.
        PackshotError: no trained model there, a photo cannot be read, or a file of that name exists.
    """
    if is_foundation(request.run):
        return create_foundation(request)
    _check(request)
    run, generator = RunFolder.open(request.run), load_run_generator(request.run)
    asked = find_asked(generator, run, request)
    chosen = asked.labels
    if request.styles:
        request = replace(request, n=crossovers(generator))
    _check_size(request, generator)
    paths, sheet_path = _file_names(request, [generator.categories[label] for label in chosen])
    if not request.overwrite:
        check_free([sheet_path])  # It is written last: pictures without it are those of a command that broke off.
    points = _points(request, run, generator, chosen)
    names = [generator.categories[label] for label in points.labels]
    cond = None if asked.cond is None else np.repeat(asked.cond, len(names), axis=0)
    pixels = points.pixels
    if pixels is None:
        pixels = generator.pictures(points.eps, points.labels, truncation_psi=request.truncation_psi, cond=cond)
    said = {**points.params, **asked.said}
    each = points.each or [{}] * len(names)
    pictures = [
        generated_picture(image, generator, points.operation, {**said, **more, "category": name, "index": i})
        for i, (image, name, more) in enumerate(zip(pixels, names, each, strict=True))
    ]
    sheet = _sheet(points, pictures, names, generator)
    if request.size is not None:
        pictures = [enlarge(picture, request.size) for picture in pictures]
    released = release_set([*pictures, sheet], [*paths, sheet_path], overwrite=request.overwrite)
    source_type = released[0].source_type
    return CreateResult(
        paths, names, sheet_path, source_type, generator.model, request.seed, points.ingredients, asked.said
    )


def _check(request: CreateRequest) -> None:
    if request.foundation != FoundationOptions():
        raise UsageError(
            f"{request.run} is no pipeline of diffusers (a folder with model_index.json, or hub:OWNER/NAME), and only "
            "those take --mask, --steps, --guidance, --negative and --accelerator."
        )
    if request.text is not None and request.run.is_dir() and not RunFolder(request.run).run_file.is_file():
        raise UsageError(
            f"{request.run} is neither a run folder (it has no run.json) nor a pipeline of diffusers (it has no "
            "model_index.json); name one of those."
        )
    kinds = {
        "--like": request.like is not None,
        "--mix": request.mix is not None,
        "--interpolate": request.interpolate,
    }
    asked = [name for name, given in kinds.items() if given]
    if len(asked) > 1:
        raise UsageError(f"{' and '.join(asked)} do not go together; choose one of them.")
    if request.styles and request.mix is None:
        raise UsageError("--styles says how to mix two pictures; name them by --mix A B.")
    least = 2 if request.mix is not None or request.interpolate else 1
    if request.n < least:
        raise UsageError(f"--n is {request.n}; ask for at least {least} picture{'s' * (least > 1)}.")
    check_fraction("--truncation", request.truncation_psi)
    if request.size is not None:
        EnhanceRequest(size=request.size)  # Its range is that of `enhance`.
    if request.variation is not None:
        check_fraction("--variation", request.variation)
        if request.like is None:
            raise UsageError("--variation says how far from a photo; name the photo by --like.")
    if request.truncation_psi != 1 and (request.like is not None or request.mix is not None):
        raise UsageError(f"--truncation does not go with {asked[0]}, which chooses the noise itself; leave it out.")


def _check_size(request: CreateRequest, generator: TrainedGenerator) -> None:
    """Refuses more pictures than the memory holds: each stands there as pixels (twice), noise, name and history."""
    each = 6 * max(generator.spec.size, request.size or 0) ** 2 + 4 * generator.noise(0, 0, 1).shape[1] + 4096
    count = request.n * (len(generator.categories) if request.interpolate else 1)
    check_memory(each * count, f"{count:,} pictures at once", "make fewer at a time, each time with another --seed")


def _variation(request: CreateRequest) -> float:
    return VARIATION if request.variation is None else request.variation


def _file_names(request: CreateRequest, names: Sequence[str]) -> tuple[list[Path], Path]:
    """Returns the files of the pictures and of the sheet, which are known before any work."""
    count = 1 if request.like is not None and _variation(request) == 0 else request.n
    sheet = "sheet"
    if request.like is not None:
        sheet = f"like-{slug(request.like.stem)}"
    elif request.mix is not None:
        sheet = f"{'styles' if request.styles else 'mix'}-{'-'.join(map(end_name, request.mix))}"
    if request.interpolate:
        sheet = "way"
        stems = [f"{slug(name)}-way" for name in names for _ in range(count)]
    elif sheet == "sheet":
        stems = [slug(names[i % len(names)]) for i in range(count)]
    else:
        stems = [sheet] * count
    paths = [request.out / f"{stem}-{request.seed}-{i:04d}.png" for i, stem in enumerate(stems)]
    last = "" if sheet == "sheet" else "-sheet"
    return paths, request.out / f"{sheet}-{request.seed}{last}.png"


def _points(request: CreateRequest, run: RunFolder, generator: TrainedGenerator, labels: Sequence[int]) -> Points:
    n, seed = request.n, request.seed
    if request.like is not None:
        return like_points(generator, run, request.like, labels, n=n, seed=seed, variation=_variation(request))
    if request.mix is not None:
        if request.styles:
            return style_points(generator, run, request.mix, labels, seed)
        return mix_points(generator, run, request.mix, labels, n, seed)
    make = way_points if request.interpolate else sample_points
    return make(generator, labels, n, seed, request.truncation_psi)


def _sheet(
    points: Points, pictures: Sequence[ProductImage], names: Sequence[str], generator: TrainedGenerator
) -> ProductImage:
    scale = sheet_scale(generator.spec.size)
    if points.columns is not None:
        rows = max(1, ON_SHEET // points.columns)
        return contact_sheet(pictures[: rows * points.columns], points.columns, points.rows[:rows], scale)
    shown = [*points.beside, *zip(pictures, names, strict=True)][:ON_SHEET]
    captions = [caption for _, caption in shown]
    columns = max(1, round(np.sqrt(len(shown))))
    varied = captions if len(set(captions)) > 1 else None
    return contact_sheet([picture for picture, _ in shown], columns, varied, scale)


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
