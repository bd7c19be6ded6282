"""Labelled samples to train on: a new catalogue of photos and samples, each known for ever as what it is."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from packshot.catalog import Catalog, open_catalog
from packshot.catalog.generated import add_generated
from packshot.catalog.options import is_spdx
from packshot.catalog.records import PhotoRecord
from packshot.core.errors import UsageError, lookup
from packshot.core.files import read_json, sha256_file
from packshot.core.lineage import needs_retraining
from packshot.core.progress import Progress
from packshot.core.runs import RunFolder
from packshot.evaluation.copies import FALSE_ALARMS
from packshot.evaluation.gate import CopyGate
from packshot.release.door import encode_labelled
from packshot.sampling.generator import BATCH, TrainedGenerator, batches_of, equal_shares, load_generator
from packshot.tasks.copy_gate import gate_sentence, noise_again, pass_gate, request_gate
from packshot.tasks.points import check_fraction
from packshot.tasks.trained import generated_picture, slug


@dataclass(frozen=True, kw_only=True)
class ForTrainingRequest:
    """A catalogue with generated pictures beside its photos, please.

    Attributes:
        run: run folder of the generator.
        catalog: the photos; it is only read.
        out: the new catalogue; None: beside `catalog`, its name with "-synthetic".
        n: how many samples, in equal shares of the categories.
        seed: the same seed gives the same pictures.
        labels: categories by name; none means all that the generator makes.
        truncation_psi: 0 .. 1; below 1 samples are more typical and less varied.
        quiet: no progress on stderr.
        allow_copies: take pictures without comparing them with the photos that the generator was trained on.
        false_alarms: between 0 and 1, the share of unseen photos that would be refused as copies too.
    """

    run: Path
    catalog: Path
    out: Path | None = None
    n: int = 16
    seed: int = 0
    labels: tuple[str, ...] = ()
    truncation_psi: float = 1.0
    quiet: bool = False
    allow_copies: bool = False
    false_alarms: float = FALSE_ALARMS


@dataclass(frozen=True)
class ForTrainingResult:
    """The new catalogue.

    Attributes:
        catalog: its folder.
        checksum: its checksum.
        photos: photos in it, the same as in the old one.
        pictures: generated pictures that were added.
        for_training: how many of them will be trained on.
        already_there: samples that the catalogue had before, and that were not added again.
        excluded: how many of the added ones will not be trained on, by reason.
        synthetic: all generated pictures to train on, with those that were there before.
        per_category: added pictures of each category, the excluded ones among them.
        refused_copies: pictures that were too near to a training photo and drawn again, each draw counted.
        copy_gate: how pictures were compared with the training photos, or why not.
        model: name of the model.
        seed: as asked.
    """

    catalog: Path
    checksum: str
    photos: int
    pictures: int
    for_training: int
    already_there: int
    excluded: dict[str, int]
    synthetic: int
    model: str
    seed: int
    per_category: dict[str, int] = field(default_factory=dict)
    refused_copies: int = 0
    copy_gate: str = ""


def create_for_training(request: ForTrainingRequest) -> ForTrainingResult:
    """Draws samples and writes a new catalogue: the photos of the old one, and the samples to train on.

    Each sample is a PNG that says that it was generated, and so does its row of the manifest: whatever reads the
    catalogue can tell it from a photo. It is never in the test split. One that comes too near to a training photo is
    drawn again.

    Raises:
        UsageError: a number out of its range, or a category that the generator or the catalogue does not have.
        PackshotError: no trained model or no catalogue there, damaged files, `out` is in use, the disk is full, or the
            generator makes nothing but copies of its training photos.
    """
    if request.n < 1:
        raise UsageError(f"--n is {request.n}; ask for at least 1 picture.")
    check_fraction("--truncation", request.truncation_psi)
    run = RunFolder.open(request.run)
    model_file = run.trained_model()
    photos = open_catalog(request.catalog)
    generator = load_generator(model_file)
    gate = request_gate(run, request)
    chosen = _categories(request, generator, photos)
    labels = np.array([label for label, _ in chosen])[equal_shares(request.n, len(chosen))]
    made_by = {
        "model": generator.model,
        "model_sha256": sha256_file(model_file),
        "n": request.n,
        "seed": request.seed,
        "labels": [name for _, name in chosen],
        "truncation_psi": request.truncation_psi,
        "copy_gate": "off" if gate is None else f"{request.false_alarms:.3g} false alarms",
    }
    refused: list[int] = []
    whole = request.catalog.resolve()
    out = request.out or whole.with_name(f"{whole.name}-synthetic")
    with Progress("Sampling", request.n, quiet=request.quiet) as bar:
        if sentence := needs_retraining(run.path):
            bar.say(sentence)
        records = _records(request, generator, labels, dict(chosen), made_by, _licence(run), bar, gate, refused)
        added = add_generated(photos, out, records, made_by)
    return ForTrainingResult(
        catalog=added.path,
        checksum=added.checksum,
        photos=added.photos,
        pictures=added.pictures,
        for_training=added.for_training,
        already_there=request.n - added.pictures,
        excluded=added.excluded,
        synthetic=added.synthetic,
        model=generator.model,
        seed=request.seed,
        per_category=added.per_category,
        refused_copies=sum(refused),
        copy_gate=gate_sentence(gate),
    )


def _categories(request: ForTrainingRequest, generator: TrainedGenerator, photos: Catalog) -> list[tuple[int, str]]:
    """Returns the generator's labels to sample, each with the name that the catalogue has for it.

    Raises:
        UsageError: the generator or the catalogue does not have one; of the catalogue the nearest name is suggested.
    """
    labels = [generator.label_of(name) for name in request.labels] or list(range(len(generator.categories)))
    labels = list(dict.fromkeys(labels))
    by_name = {name: name for name in photos.categories}
    folded = {name.lower(): name for name in photos.categories}
    found = [(y, by_name.get(generator.categories[y]) or folded.get(generator.categories[y].lower())) for y in labels]
    missing = [generator.categories[y] for y, name in found if name is None]
    if request.labels and missing:
        lookup("category of the catalogue", missing[0], by_name)
    if missing:
        both = ", ".join(f"--label {name!r}" for _, name in found if name is not None)
        hint = f"name those that it has: {both}" if both else f"it has {', '.join(photos.categories)}"
        raise UsageError(f"The catalogue {request.catalog} has no category {', '.join(map(repr, missing))}; {hint}.")
    return [(y, name) for y, name in found if name is not None]


def _records(
    request: ForTrainingRequest,
    generator: TrainedGenerator,
    labels: npt.NDArray[np.int64],
    names: dict[int, str],
    made_by: dict[str, Any],
    licence: str | None,
    bar: Progress,
    gate: CopyGate | None,
    refused: list[int],
) -> Iterator[PhotoRecord]:
    """Yields the samples as files, labelled by the door; picture i depends on (seed, i, label) alone.

    `refused` gets how many pictures of each batch the gate refused.
    """
    sha256, psi = made_by["model_sha256"], request.truncation_psi
    for start, chunk in batches_of(labels, BATCH):
        eps = generator.noise(request.seed, start, len(chunk))

        def draw(places: npt.NDArray[np.int64], attempt: int, start: int = start) -> npt.NDArray[np.uint8]:
            again = noise_again(generator, request.seed, places + start, attempt)
            return generator.pictures(again, labels[places + start].tolist(), truncation_psi=psi)

        passed = pass_gate(gate, generator.pictures(eps, chunk.tolist(), truncation_psi=psi), draw)
        refused.append(passed.refused)
        for i, (pixels, said) in enumerate(zip(passed.pixels, passed.said, strict=True), start):
            name = names[int(labels[i])]
            params = {"seed": request.seed, "truncation_psi": psi, **said, "category": name, "index": i}
            yield PhotoRecord(
                key=f"generated/{sha256[:12]}/{slug(name)}-{request.seed}-{i:05d}.png",
                data=encode_labelled(generated_picture(pixels, generator, "sample", params)),
                category=name,
                licence=licence,
                source=f"generated by {generator.model}, model SHA-256 {sha256[:12]}",
                extra={
                    "made_by": generator.model,
                    "model_sha256": sha256,
                    "seed": str(request.seed),
                    "index": str(i),
                    "truncation_psi": str(psi),
                },
            )
        bar.update(start + len(chunk))


def _licence(run: RunFolder) -> str | None:
    """Returns the licences of the photos that the generator learned from, all of them at once; None: not known."""
    if not run.card_file.exists():
        return None
    try:
        data = read_json(run.card_file)["data"]
        licences = sorted(data.get("trained_on", data)["licences"])
    except (KeyError, TypeError):
        return None
    whole = " AND ".join(f"({name})" if " " in name and len(licences) > 1 else name for name in licences)
    return whole if whole and is_spdx(whole) else None
