"""What a generator has learned: named directions of its noise, what its discriminator looks at, whom samples resemble.

Letters: N pictures, S side in pixels, C channels, D = z_dim, T steps of a walk, A attributes, K categories.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from packshot.catalog import Catalog, Packed
from packshot.core.errors import PackshotError, UsageError
from packshot.core.files import write_json
from packshot.core.process import check_memory
from packshot.core.progress import Progress
from packshot.core.runs import RunFolder
from packshot.evaluation.agreement import Classifier, cached_classifier
from packshot.evaluation.evaluate import fit_samples
from packshot.evaluation.report import open_run_catalog, run_pictures, trained_photos
from packshot.images.sheet import contact_sheet
from packshot.release.door import release
from packshot.sampling.attributes import MEANINGS, attribute_names, measure_attributes
from packshot.sampling.directions import Direction, find_directions, measure_effect, walk
from packshot.sampling.generator import TrainedGenerator, equal_shares, sheet_scale
from packshot.tasks.explain_pictures import discriminator_view, nearest_photos
from packshot.tasks.trained import generated_picture, load_run_generator

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

DIRECTIONS = 6
WALKS = 200
AT = (-2.0, -1.0, 0.0, 1.0, 2.0)
SHOWN_AT = (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)
SHOWN = 6
LEAST = 100
NO_EFFECT = "no clear effect"


def explain(
    run_path: Path, *, out: Path | None = None, n: int = 1000, seed: int = 0, quiet: bool = False
) -> dict[str, Any]:
    """Writes `explain.json` and its sheets, and returns what it says.

    Args:
        run_path: the run folder.
        out: folder; None: `explain` in the run folder. What an earlier explanation wrote there is replaced.
        n: free samples that say how much each attribute varies.
        seed: of all samples.
        quiet: no progress on stderr.

    Returns:
        `directions`: for each its `method`, `number`, `name` (the attribute with the largest clear effect, or "no clear
        effect"), `effect` (attribute's standard deviations per standard deviation of z), `side_effects`, `effects` (of
        every attribute), `category_changed` (share of walks that end in another category, by the evaluation's
        classifier; None without photos) and `sheet`. `discriminator`, `nearest`: a `note` where there is nothing to
        say. `attributes`: what each means and its standard deviation. `folder`, `n`, `seed`, `model`.

    Raises:
        UsageError: n below 100.
        PackshotError: no trained model there, or the disk refuses.
    """
    if n < LEAST:
        raise UsageError(f"--n is {n}; an explanation needs at least {LEAST} samples.")
    generator = load_run_generator(run_path)
    # Each sample's noise, and its picture as numbers of 8 bytes.
    each = 8 * (generator.noise(0, 0, 1).shape[1] + generator.spec.size**2 * generator.spec.channels)
    check_memory(each * n, f"{n:,} samples", "explain with fewer by --n")
    run = RunFolder.open(run_path)
    if out is None and run.is_shipped:
        raise UsageError(
            f"{run_path} came with Packshot and is not written to; say where to put the explanation by --out."
        )
    about = run.read()
    folder = out or run.path / "explain"
    with Progress("Explaining", 1.0, quiet=quiet) as bar:
        photos, note = _photos(about, generator, run.is_shipped)
        bar.update(0.05, "classifier")
        classifier = None if photos is None else _classifier(photos)
        measure = _Measure(generator, None if photos is None else photos.train, classifier, n, seed)
        bar.update(0.2, "directions")
        directions = find_directions(generator, count=DIRECTIONS, n=n, seed=seed)
        rows = []
        for i, direction in enumerate(directions):
            bar.update(0.25 + 0.55 * i / max(1, len(directions)), "directions")
            rows.append(_explain_direction(direction, measure, len(directions), folder))
        bar.update(0.8, "discriminator and nearest photos")
        result = {
            "model": generator.model,
            "n": n,
            "seed": seed,
            "walks": WALKS,
            "folder": str(folder),
            "directions": sorted(rows, key=lambda row: -abs(row["effect"] or 0)),
            "attributes": measure.about(),
            "discriminator": discriminator_view(run, about, generator, folder, seed=seed),
            "nearest": {"note": note}
            if photos is None
            else nearest_photos(
                trained_photos(photos.train, about, photos.catalog, run),
                photos.catalog.cache,
                generator,
                folder,
                seed=seed,
            ),
        }
    write_json(folder / "explain.json", result)
    return result


@dataclass(frozen=True, eq=False)
class _Photos:
    """The photos of the catalogue that a run was trained on."""

    train: Packed
    test: Packed | None
    catalog: Catalog


def _photos(about: Mapping[str, Any], generator: TrainedGenerator, shipped: bool) -> tuple[_Photos | None, str]:
    if shipped:
        return None, "No photos beside the samples: those that it learned from do not come with it."
    try:
        catalog = open_run_catalog(about, None)
        train = run_pictures(catalog, about, generator, "train")
        has_test = catalog.summary["splits"].get("test", 0) > 0
        return _Photos(train, run_pictures(catalog, about, generator, "test") if has_test else None, catalog), ""
    except PackshotError as e:
        return None, f"Photos not found: {e}"


def _classifier(photos: _Photos) -> Classifier | None:
    if photos.test is None:
        return None
    train, test = photos.train, photos.test
    real, unseen = (train.images, train.labels), (test.images, test.labels)
    return cached_classifier(real, unseen, len(train.categories), photos.catalog.cache)


class _Measure:
    """Attributes of pictures, and how much each varies over free samples.

    Attributes:
        names: of the A attributes; those of the classifier are "looks like CATEGORY".
        spread: float64 [A], standard deviation within categories; of the classifier's, overall.
    """

    def __init__(
        self, generator: TrainedGenerator, photos: Packed | None, classifier: Classifier | None, n: int, seed: int
    ) -> None:
        self.generator, self.photos, self.classifier, self.seed = generator, photos, classifier, seed
        self.seen = attribute_names(generator.spec.channels)
        self.names = [*self.seen]
        if classifier is not None:
            self.names += [f"looks like {name}" for name in generator.categories]
        labels = equal_shares(n, len(generator.categories))
        values, _ = self(generator.sample(labels.tolist(), seed))
        within = values[:, : len(self.seen)].copy()
        for label in range(len(generator.categories)):
            within[labels == label] -= within[labels == label].mean(0)
        self.spread = np.concatenate([within.std(0), values[:, len(self.seen) :].std(0)])

    def __call__(self, images: Pixels) -> tuple[Floats, npt.NDArray[np.int64] | None]:
        """Returns attributes float64 [N, A], and the category int64 [N] that the classifier sees."""
        values = measure_attributes(images)
        if self.classifier is None or self.photos is None:
            return values, None
        seen = self.classifier.predict(fit_samples(images, self.photos))
        return np.concatenate([values, np.eye(len(self.generator.categories))[seen]], 1), seen

    def about(self) -> dict[str, dict[str, Any]]:
        """Returns meaning and standard deviation of each attribute."""
        kinds = [MEANINGS.get(name, "the evaluation's classifier puts it there") for name in self.names]
        return {
            name: {"meaning": kind, "std": float(std)}
            for name, kind, std in zip(self.names, kinds, self.spread, strict=True)
        }


def _explain_direction(direction: Direction, measure: _Measure, tests: int, folder: Path) -> dict[str, Any]:
    generator, seed = measure.generator, measure.seed
    labels = torch.from_numpy(equal_shares(WALKS, len(generator.categories)))
    eps = generator.noise(seed, 0, WALKS)
    z = eps if generator.prior is None else generator.prior(eps, labels)
    images = walk(generator, direction, z, labels, AT)
    values, seen = measure(images.reshape(-1, *images.shape[2:]))
    key = f"{direction.method} {direction.number}"
    found = measure_effect(values.reshape(WALKS, len(AT), -1), measure.spread, AT, tests=tests, name=key, seed=seed)
    order = [int(i) for i in np.argsort(-np.abs(found.effect)) if found.clear[i]]
    changed = None
    if seen is not None:
        seen = seen.reshape(WALKS, len(AT))
        changed = float((seen[:, [0, -1]] != seen[:, len(AT) // 2, None]).mean())
    # Towards more of what it is named after.
    sign = -1.0 if order and found.effect[order[0]] < 0 else 1.0
    sheet = folder / f"{direction.method}-{direction.number}.png"
    _write_walks(
        Direction(direction.method, direction.number, sign * direction.step), generator, z, labels, sheet, seed
    )
    effects = {name: round(sign * float(e), 3) for name, e in zip(measure.names, found.effect, strict=True)}
    return {
        "method": direction.method,
        "number": direction.number,
        "name": measure.names[order[0]] if order else NO_EFFECT,
        "effect": effects[measure.names[order[0]]] if order else None,
        "side_effects": {measure.names[i]: effects[measure.names[i]] for i in order[1:]},
        "effects": effects,
        "category_changed": changed,
        "sheet": sheet.name,
    }


def _write_walks(
    direction: Direction, generator: TrainedGenerator, z: torch.Tensor, labels: torch.Tensor, path: Path, seed: int
) -> None:
    """Writes a row for each of the first samples, from -2 to 2 standard deviations."""
    images = walk(generator, direction, z[:SHOWN], labels[:SHOWN], SHOWN_AT)
    params = {"direction": f"{direction.method} {direction.number}", "seed": seed}
    pictures = [generated_picture(image, generator, "walk", params) for image in images.reshape(-1, *images.shape[2:])]
    captions = [generator.categories[int(y)] for y in labels[:SHOWN]]
    sheet = contact_sheet(pictures, len(SHOWN_AT), captions, sheet_scale(generator.spec.size))
    release(sheet, path, overwrite=True)
