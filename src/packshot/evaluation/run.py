"""`packshot evaluate`: sample a run's generator, measure it against its catalogue, write `evaluation.json`."""

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

from packshot.core.errors import UsageError
from packshot.core.files import sha256_file, write_json
from packshot.core.process import check_memory
from packshot.core.progress import Progress
from packshot.core.runs import RunFolder
from packshot.evaluation.asked import compute_attributes_shown
from packshot.evaluation.card import add_figures
from packshot.evaluation.evaluate import Evaluation, Photos, evaluate_pictures, fit_samples
from packshot.evaluation.likelihood import Autoencoder, bits_per_dim_figure
from packshot.evaluation.report import open_run_catalog, run_pictures, trained_photos
from packshot.evaluation.synthetic import compute_synthetic_use
from packshot.models.features.efflite import load_efflite0
from packshot.models.table import find_model
from packshot.sampling.generator import TrainedGenerator, equal_shares, load_generator

# Samples for each attribute that is asked for.
MOST_ASKED = 1000


def evaluate_run(
    run_path: Path,
    *,
    catalog: Path | None = None,
    n: int = 5000,
    seed: int = 0,
    inception: Path | None = None,
    train_on_synthetic: bool = False,
    settings: Sequence[str] = (),
    quiet: bool = False,
) -> dict[str, Any]:
    """Draws n samples in equal shares of the categories, measures them, and writes and returns the evaluation.

    Of a generator that came with the package, or that samples by other settings than its own, nothing is written.

    Args:
        run_path: the run folder.
        catalog: the catalogue; None: the one that the run was trained on.
        n: samples.
        seed: of the samples and of the intervals.
        inception: weights of Inception-v3; None: EfficientNet-lite0 alone.
        train_on_synthetic: also train classifiers on photos, samples and both, and ask them about the test photos.
        settings: how to sample, in place of the run's own (`net.guidance=3`).
        quiet: no progress on stderr.

    Raises:
        UsageError: n below 1, or a setting that the network does not have.
        PackshotError: no trained run there, or the catalogue is missing or was changed since.
    """
    if n < 1:
        raise UsageError(f"--n is {n}; ask for at least 1 sample.")
    run = RunFolder.open(run_path)
    model_file, about = run.trained_model(), run.read()
    photos = open_run_catalog(about, catalog)
    generator = load_generator(model_file, settings)
    # Each sample, and its features (1,280) as they come and as float64.
    each = 2 * generator.spec.size**2 * generator.spec.channels + 12 * 1280
    check_memory(each * n, f"{n:,} samples and their features", "measure with fewer by --n")
    labels = equal_shares(n, len(generator.categories))
    nets = [load_efflite0()]
    if inception is not None:
        from packshot.models.features.inception import load_inception

        nets.append(load_inception(inception))
    train, test = (run_pictures(photos, about, generator, split) for split in ("train", "test"))
    with Progress("Evaluating", 1.0, quiet=quiet) as bar:
        samples = generator.sample(labels.tolist(), seed)
        evaluation = evaluate_pictures(
            samples=samples,
            sample_labels=labels,
            real_train=trained_photos(train, about, photos, run),
            real_test=test,
            cache=photos.cache,
            seed=seed,
            nets=nets,
            classifier_photos=train,
            progress=bar,
        )
        if find_model(generator.model).family == "vae":
            evaluation = _with_likelihood(evaluation, generator, train, test, seed)
        if generator.conditions is not None:
            shown = compute_attributes_shown(generator, train, n=min(n, MOST_ASKED), seed=seed)
            evaluation = replace(evaluation, figures=(*evaluation.figures, *shown))
        if train_on_synthetic:
            bar.update(1.0, "classifiers on photos, samples and both")
            sets = ((fit_samples(samples, test), labels), (train.images, train.labels), (test.images, test.labels))
            use = compute_synthetic_use(*sets, generator.categories, seed=seed)
            evaluation = replace(evaluation, figures=(*evaluation.figures, *use))
    result = {**asdict(evaluation), "n": n, "seed": seed, "model_sha256": sha256_file(model_file)}
    if settings:
        result["settings"] = list(settings)
    elif not run.is_shipped:
        write_json(run.evaluation_file, result)
        add_figures(run, result)
    return result


def _with_likelihood(
    evaluation: Evaluation, generator: TrainedGenerator, train: Photos, test: Photos, seed: int
) -> Evaluation:
    """Adds the bits per dimension, with the time they took."""
    wall, cpu = time.perf_counter(), time.process_time()
    figure = bits_per_dim_figure(
        cast(Autoencoder, generator.network),
        (train.images, train.labels),
        (test.images, test.labels),
        prior=generator.prior,
        margin=generator.margin,
        seed=seed,
    )
    return replace(
        evaluation,
        figures=(*evaluation.figures, figure),
        protocol=f"{evaluation.protocol} Bits per dimension are of {figure.n:,} test photos.",
        seconds={**evaluation.seconds, "likelihood": round(time.perf_counter() - wall, 3)},
        cpu_seconds=round(evaluation.cpu_seconds + time.process_time() - cpu, 2),
    )
