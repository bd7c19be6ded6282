"""What the desk's processes are asked of generators: samples, samples like a photo, samples moved by sliders.

Samples are those of `packshot create`: the same function makes them, in a folder of the moment, so a run, a seed and
settings give the same pixels here and on the command line. Sliders add what the command line has no option for: steps
along the directions that `packshot explain` found and named. Every picture leaves by the door, and by the copy gate
before it.

Letters: N pictures, D = z_dim.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packshot.core.errors import UsageError, lookup
from packshot.core.files import read_json, sha256_file, write_json
from packshot.core.lineage import needs_retraining
from packshot.core.runs import RunFolder
from packshot.jobs.desk_sliders import Slider, read_sliders

if TYPE_CHECKING:
    from torch import Tensor

    from packshot.sampling.generator import TrainedGenerator
    from packshot.tasks.create import CreateRequest
    from packshot.tasks.points import Points

MOST_SAMPLES = 64
"""Pictures of one question; the sheet goes on with the next seed."""
MOST_STEPS = 3.0
"""Standard deviations that a slider moves at most."""


@dataclass(frozen=True, kw_only=True)
class SamplesRequest:
    """Samples of a generator, please. What is not said here is as on the command line.

    Attributes:
        run: its folder.
        n: how many.
        seed: the same seed gives the same pixels.
        labels: categories by name; none: all in turn, and of a photo the best match.
        attributes: what else is asked for, by name.
        text: words; None: none.
        truncation_psi: 0 to 1, below 1 more typical; not with `like`.
        like: a photo's file to make pictures like; None: free samples.
        like_name: the photo's name.
        variation: 0 to 1, how far from the photo; None: as on the command line.
        offset: of `like`, the number of the first picture: `n` from there are those of a longer row on the command
            line.
        found: of `like`, folder where the photo's noise is kept, which takes long to find (`find_like`); None: nowhere.
        sliders: by key (`Slider.key`), how many standard deviations to move along a direction, -3 to 3.
        explained: folder of the run's explanation; needed for sliders.
    """

    run: Path
    n: int = 12
    seed: int = 0
    labels: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    text: str | None = None
    truncation_psi: float = 1.0
    like: bytes | None = None
    like_name: str = "photo.png"
    variation: float | None = None
    offset: int = 0
    found: Path | None = None
    sliders: Mapping[str, float] = field(default_factory=dict)
    explained: Path | None = None

    def __post_init__(self) -> None:
        if self.offset < 0 or (self.offset and self.like is None):
            raise UsageError(
                "Only pictures like a photo have an offset; of others, the sheet goes on with the next seed."
            )
        if not 1 <= self.n <= MOST_SAMPLES:
            raise UsageError(f"Ask for 1 to {MOST_SAMPLES} pictures at a time, not {self.n}.")
        for key, steps in self.sliders.items():
            if not -MOST_STEPS <= steps <= MOST_STEPS:
                raise UsageError(
                    f"The slider '{key}' is at {steps:g}; it can be from -{MOST_STEPS:g} to {MOST_STEPS:g}."
                )


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One picture that was made.

    Attributes:
        data: the file, PNG, labelled and signed.
        sha256: of the file.
        name: of the file, as the command line names it.
        label: its category.
        width, height: in pixels.
    """

    data: bytes = field(repr=False)
    sha256: str
    name: str
    label: str
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Samples:
    """What was made of a request.

    Attributes:
        pictures: in order.
        seed: as asked.
        source_type: what the pictures say of their origin.
        notes: sentences for a person.
        refused_copies: pictures that were too near to a training photo, each draw counted.
        copy_gate: how pictures were compared with the training photos.
        found_as: of `like`, the category that the photo was found in; None: there was none.
        rms: of `like`, how far the generator's nearest picture is from the photo, in grey levels.
    """

    pictures: tuple[Sample, ...]
    seed: int
    source_type: str | None
    notes: tuple[str, ...] = ()
    refused_copies: int = 0
    copy_gate: str = ""
    found_as: str | None = None
    rms: float | None = None


def make_samples(request: SamplesRequest) -> Samples:
    """Makes samples of a run.

    Raises:
        UsageError: an unknown category, attribute or slider, or a number out of its range.
        PackshotError: the run has no model yet, the photo cannot be read, or nothing but copies came.
    """
    from packshot.tasks.create import create

    with tempfile.TemporaryDirectory(prefix="packshot-desk-") as folder:
        asked = _create_request(request, Path(folder))
        moved = {key: steps for key, steps in request.sliders.items() if steps}
        if moved or request.like is not None:
            return _create_moved(asked, request, _chosen(request, moved) if moved else [])
        made = create(asked)
        return Samples(
            pictures=tuple(map(read_sample, made.pictures, made.labels)),
            seed=made.seed,
            source_type=made.source_type,
            notes=tuple(made.notes),
            refused_copies=made.refused_copies,
            copy_gate=made.copy_gate,
            **_found(made.ingredients),
        )


def find_like(request: SamplesRequest) -> None:
    """Finds the noise that comes nearest to the photo of a request, and keeps it; pictures like it are quick then.

    Raises:
        UsageError: an unknown category.
        PackshotError: the run has no model yet, the photo cannot be read, or the model cannot start from a photo.
    """
    from packshot.tasks.asked import find_asked
    from packshot.tasks.trained import load_run_generator

    with tempfile.TemporaryDirectory(prefix="packshot-desk-") as folder:
        asked = _create_request(request, Path(folder))
        run, generator = RunFolder.open(request.run), load_run_generator(request.run)
        _find(asked, request, run, generator, find_asked(generator, run, asked).labels)


def found_file(request: SamplesRequest) -> Path | None:
    """Returns where the noise of a request's photo is kept; its name begins with the photo's checksum."""
    if request.found is None or request.like is None:
        return None
    model = sha256_file(RunFolder.open(request.run).trained_model())
    said = [model, sorted(request.labels), sorted(request.attributes.items()), request.text, request.seed]
    photo = hashlib.sha256(request.like).hexdigest()
    return request.found / f"{photo}-{hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]}.json"


def _create_request(request: SamplesRequest, folder: Path) -> CreateRequest:
    from packshot.tasks.create import CreateRequest

    like = None
    if request.like is not None:
        like = folder / "in" / Path(request.like_name).name
        like.parent.mkdir()
        like.write_bytes(request.like)
    return CreateRequest(
        run=request.run,
        out=folder / "out",
        n=request.n,
        seed=request.seed,
        labels=request.labels,
        attributes=request.attributes,
        text=request.text,
        truncation_psi=request.truncation_psi,
        like=like,
        variation=request.variation,
    )


def read_sample(path: Path, label: str) -> Sample:
    """Returns a picture that was released to a file."""
    from packshot.images.decode import read_header

    data, header = path.read_bytes(), read_header(path)
    digest = hashlib.sha256(data).hexdigest()
    return Sample(data=data, sha256=digest, name=path.name, label=label, width=header.width, height=header.height)


def _found(ingredients: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first = ingredients[0] if ingredients else {}
    return {"found_as": first.get("label"), "rms": first.get("rms")}


def _chosen(request: SamplesRequest, moved: Mapping[str, float]) -> list[tuple[Slider, float]]:
    if request.explained is None:
        raise UsageError("Sliders need the run's directions; have them found first.")
    known = {slider.key: slider for slider in read_sliders(request.run, request.explained)}
    return [(lookup("slider", key, known), steps) for key, steps in moved.items()]


def _create_moved(request: CreateRequest, own: SamplesRequest, moved: Sequence[tuple[Slider, float]]) -> Samples:
    """Does what `create` does, each picture's noise moved along directions before it becomes a picture."""
    import numpy as np
    import torch

    from packshot.release.door import release_set
    from packshot.tasks.asked import find_asked
    from packshot.tasks.copy_gate import gate_sentence, pass_gate, request_gate
    from packshot.tasks.points import check_fraction
    from packshot.tasks.trained import generated_picture, load_run_generator, slug

    check_fraction("--truncation", request.truncation_psi)
    run, generator = RunFolder.open(request.run), load_run_generator(request.run)
    asked = find_asked(generator, run, request)
    gate = request_gate(run, request)
    step = sum((steps * torch.tensor(s.step) for s, steps in moved), torch.zeros(generator.noise(0, 0, 1).shape[1]))

    def move(eps: Tensor, label: Tensor) -> Tensor:
        z = eps if generator.prior is None else generator.prior(eps, label)
        return generator.whiten(z + step, label) if moved else eps

    points = _points(request, own, run, generator, asked.labels, move)

    def make(eps: Tensor, labels: Sequence[int]) -> Any:
        label = torch.as_tensor(labels, dtype=torch.int64)
        cond = None if asked.cond is None else np.repeat(asked.cond, len(labels), axis=0)
        if points.draw is not None:
            return points.draw(eps, labels, cond)
        white = move(eps, label)
        return generator.pictures(white, label, truncation_psi=request.truncation_psi, cond=cond)

    def draw(places: Any, attempt: int) -> Any:
        assert points.again is not None
        return make(points.again(places, attempt), [points.labels[i] for i in places])

    passed = pass_gate(gate, make(points.eps, points.labels), None if points.again is None else draw)
    said = {**points.params, **asked.said, **({"directions": {s.key: at for s, at in moved}} if moved else {})}
    kept = [i for i in range(len(passed.pixels)) if i not in passed.left]
    names = [generator.categories[points.labels[i]] for i in kept]
    pictures = [
        generated_picture(
            passed.pixels[i],
            generator,
            points.operation,
            {**said, **passed.said[i], "category": name, "index": own.offset + i},
        )
        for i, name in zip(kept, names, strict=True)
    ]
    stem = None if request.like is None else f"like-{slug(request.like.stem)}"
    paths = [
        request.out / f"{stem or slug(name)}-{request.seed}-{own.offset + i:04d}.png"
        for i, name in zip(kept, names, strict=True)
    ]
    released = release_set(pictures, paths)
    return Samples(
        pictures=tuple(map(read_sample, paths, names)),
        seed=request.seed,
        source_type=released[0].source_type,
        notes=tuple(filter(None, [needs_retraining(run.path)])),
        refused_copies=passed.refused,
        copy_gate=gate_sentence(gate),
        **_found(points.ingredients),
    )


def _points(
    request: CreateRequest,
    own: SamplesRequest,
    run: RunFolder,
    generator: TrainedGenerator,
    labels: Sequence[int],
    move: Callable[[Tensor, Tensor], Tensor],
) -> Points:
    """Returns the points of `create`; of a photo those from `own.offset` on, from the noise that was found for it."""
    import torch

    from packshot.tasks.copy_gate import noise_again
    from packshot.tasks.create import VARIATION
    from packshot.tasks.points import Points, check_fraction, sample_points

    if request.like is None:
        return sample_points(generator, labels, request.n, request.seed, request.truncation_psi)
    variation = VARIATION if request.variation is None else request.variation
    check_fraction("--variation", variation)
    near, label, about = _find(request, own, run, generator, labels)
    near = move(near[None], torch.tensor([label]))[0]
    count = request.n if variation > 0 else 1

    def draw(noise: Tensor, labels: Sequence[int], cond: Any) -> Any:
        return generator.siblings(near, noise, labels, variation, cond)

    def again(places: Any, attempt: int) -> Tensor:
        return noise_again(generator, request.seed, places + own.offset, attempt)

    return Points(
        generator.noise(request.seed, own.offset, count),
        [label] * count,
        "sample_like",
        {"seed": request.seed, "variation": variation, "ingredients": [about]},
        ingredients=[about],
        draw=draw,
        again=again if variation > 0 else None,
    )


def _find(
    request: CreateRequest, own: SamplesRequest, run: RunFolder, generator: TrainedGenerator, labels: Sequence[int]
) -> tuple[Tensor, int, dict[str, Any]]:
    """Returns the noise [D] that comes nearest to the photo, its category, and what is said of the photo."""
    import torch

    from packshot.tasks.points import find_photo

    kept = found_file(own)
    if kept is not None and kept.is_file():
        row = read_json(kept)
        return torch.tensor(row["eps"]), int(row["label"]), {**row["about"], "name": own.like_name}
    assert request.like is not None
    found = find_photo(generator, run, request.like, labels, request.seed)
    if kept is not None:
        row = {"eps": found.inversion.eps.tolist(), "label": found.inversion.label, "about": found.about}
        write_json(kept, row)
    return found.inversion.eps, found.inversion.label, found.about


def check_training(model: str | None, budget: str | None, size: int | None) -> str:
    """Returns the model that `packshot train` would train with these options.

    Raises:
        UsageError: as the command line would say it.
    """
    from packshot.training.presets import resolve_config

    return resolve_config(model=model, recipe=None, settings=(), budget=budget, seed=None, size=size).model
