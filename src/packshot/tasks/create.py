"""New product pictures from a trained generator."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from packshot.core.errors import UsageError
from packshot.core.lineage import needs_retraining
from packshot.core.process import check_memory
from packshot.core.runs import RunFolder
from packshot.evaluation.copies import FALSE_ALARMS
from packshot.evaluation.gate import CopyGate
from packshot.images.picture import ProductImage
from packshot.images.sheet import contact_sheet
from packshot.models.foundation import is_foundation
from packshot.release.door import check_free, release_set
from packshot.sampling.generator import TrainedGenerator, sheet_scale
from packshot.tasks.asked import find_asked
from packshot.tasks.copy_gate import (
    NO_PHOTOS,
    Draw,
    Passed,
    check_no_gate,
    gate_sentence,
    pass_gate,
    refused_names,
    request_gate,
)
from packshot.tasks.enhance import EnhanceRequest, enlarge
from packshot.tasks.foundation import FoundationOptions, create_foundation
from packshot.tasks.made_from import note_made_from
from packshot.tasks.notice import NoticeRequest, place_or_refuse
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
        notice: where the pictures say visibly that AI made them; None: nowhere but in their labels.
        size: longer side of the pictures in pixels; smaller ones are enlarged. None: the generator's or pipeline's own.
        foundation: what only a pipeline of diffusers understands.
        allow_copies: let pictures leave without comparing them with the training photos.
        false_alarms: between 0 and 1, the share of unseen photos that would be refused as copies too.
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
    notice: NoticeRequest | None = None
    foundation: FoundationOptions = field(default_factory=FoundationOptions)
    allow_copies: bool = False
    false_alarms: float = FALSE_ALARMS


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
        refused_copies: pictures that were too near to a training photo, each draw counted.
        copy_gate: how pictures were compared with the training photos, or why not.
        refused_near: the training photos that those refused were near to: ids, or `sha256:` and first digits.
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
    refused_copies: int = 0
    copy_gate: str = ""
    refused_near: list[str] = field(default_factory=list)


def create(request: CreateRequest) -> CreateResult:
    """Makes new product pictures and one contact sheet.

    A picture that comes too near to a training photo is drawn again; on a way, in a mix and of a reconstruction, which
    are not drawn, it is left out.

    Raises:
        UsageError: unknown category, a number out of its range, or things that do not go together.
        PackshotError: no trained model there, a photo cannot be read, a file of that name exists, copies cannot be
            looked for, or the generator makes nothing but copies.
    """
    if is_foundation(request.run):
        check_no_gate(request)
        return replace(create_foundation(request), copy_gate=NO_PHOTOS)
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
    gate = request_gate(run, request)
    points = _points(request, run, generator, chosen)
    names = [generator.categories[label] for label in points.labels]
    passed = pass_gate(gate, *_pixels(request, generator, points, asked.cond))
    said = {**points.params, **asked.said}
    each = points.each or [{}] * len(names)
    pictures = [
        generated_picture(image, generator, points.operation, {**said, **more, **near, "category": name, "index": i})
        for i, (image, name, more, near) in enumerate(zip(passed.pixels, names, each, passed.said, strict=True))
    ]
    notes, beside = _beside(gate, points, passed, len(pictures))
    points = replace(points, beside=beside)
    sheet = _sheet(points, pictures, names, generator, passed.left)
    kept = [i for i in range(len(pictures)) if i not in passed.left]
    pictures, paths, names = [pictures[i] for i in kept], [paths[i] for i in kept], [names[i] for i in kept]
    if request.size is not None:
        pictures = [enlarge(picture, request.size) for picture in pictures]
    if request.notice is not None:
        placed = [place_or_refuse(request.notice, picture) for picture in pictures]
        pictures = [one.image for one in placed]
        notes += dict.fromkeys(note for one in placed for note in one.notes)
    released = release_set([*pictures, sheet], [*paths, sheet_path], overwrite=request.overwrite)
    note_made_from(request.out, released, points.ingredients)
    if sentence := needs_retraining(run.path):
        notes.append(sentence)
    return CreateResult(
        pictures=paths,
        labels=names,
        sheet=sheet_path,
        source_type=released[0].source_type,
        model=generator.model,
        seed=request.seed,
        ingredients=points.ingredients,
        asked=asked.said,
        notes=notes,
        refused_copies=passed.refused,
        copy_gate=gate_sentence(gate),
        refused_near=refused_names(gate, run, passed),
    )


def _pixels(
    request: CreateRequest, generator: TrainedGenerator, points: Points, asked: npt.NDArray[np.float32] | None
) -> tuple[npt.NDArray[np.uint8], Draw | None]:
    """Returns the pictures of the points, and what draws others in the place of some of them, if they were drawn."""

    def make(eps: Tensor, labels: Sequence[int]) -> npt.NDArray[np.uint8]:
        cond = None if asked is None else np.repeat(asked, len(labels), axis=0)
        if points.draw is not None:
            return points.draw(eps, labels, cond)
        return generator.pictures(eps, labels, truncation_psi=request.truncation_psi, cond=cond)

    def draw(places: npt.NDArray[np.int64], attempt: int) -> npt.NDArray[np.uint8]:
        assert points.again is not None
        return make(points.again(places, attempt), [points.labels[i] for i in places])

    if points.pixels is not None:
        return points.pixels, None
    return make(points.eps, points.labels), None if points.again is None else draw


def _beside(
    gate: CopyGate | None, points: Points, passed: Passed, count: int
) -> tuple[list[str], list[tuple[ProductImage, str]]]:
    """Returns what there is to say of copies, and what the sheet shows first: photos, and what was made of them.

    A photo is the user's own and stays; a generated picture that is a copy of a training photo does not.
    """
    notes, shown = [], []
    if passed.left:
        notes.append(f"{len(passed.left):,} of {count:,} pictures are left out: too near to a training photo.")
    for picture, caption in points.beside:
        near = False
        if gate is not None:
            near = bool(gate.look(picture.pixels[None, :, :, : gate.index.channels])[1][0] < 1)
        generated = picture.history[-1].origin == "generated"
        if near and not generated:
            notes.append(
                "A photo that was given is one of those that the generator was trained on, or looks like one; pictures "
                "too near to it are refused."
            )
        if not (near and generated):
            shown.append((picture, caption))
    return list(dict.fromkeys(notes)), shown


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
    points: Points,
    pictures: Sequence[ProductImage],
    names: Sequence[str],
    generator: TrainedGenerator,
    left: Collection[int],
) -> ProductImage:
    """Returns the sheet; the places of pictures that are left out stay white where places tell something."""
    scale = sheet_scale(generator.spec.size)
    if points.columns is not None:
        pictures = [
            replace(picture, pixels=np.full_like(picture.pixels, 255)) if i in left else picture
            for i, picture in enumerate(pictures)
        ]
        rows = max(1, ON_SHEET // points.columns)
        return contact_sheet(pictures[: rows * points.columns], points.columns, points.rows[:rows], scale)
    own = [pair for i, pair in enumerate(zip(pictures, names, strict=True)) if i not in left]
    shown = [*points.beside, *own][:ON_SHEET]
    captions = [caption for _, caption in shown]
    columns = max(1, round(np.sqrt(len(shown))))
    varied = captions if len(set(captions)) > 1 else None
    return contact_sheet([picture for picture, _ in shown], columns, varied, scale)
