"""Do the samples help a classifier? Trained on photos, on samples, and on both, and asked about unseen photos.

"Classification accuracy score" of Ravuri & Vinyals 2019, arXiv:1905.10887, with the small classifier of agreement.py.

Letters: n samples, N training photos, M test photos, K categories, S side in pixels, C channels.
"""

from collections.abc import Sequence

import numpy as np

from packshot.evaluation.agreement import Classifier, Labels, train_classifier
from packshot.evaluation.features import Pixels
from packshot.evaluation.figures import Figure, where_from, wilson_interval

LEAST = 200


def compute_synthetic_use(
    samples: tuple[Pixels, Labels],
    train: tuple[Pixels, Labels],
    test: tuple[Pixels, Labels],
    categories: Sequence[str],
    *,
    seed: int,
) -> tuple[Figure, Figure, Figure]:
    """Returns the accuracy on test photos of classifiers trained on photos, on samples, and on both.

    Args:
        samples: uint8 [n, S, S, C] and int64 [n], the categories asked for.
        train: the same of the N photos that the generator was trained on.
        test: the same of M photos it has not seen.
        categories: the K names.
        seed: of the samples.
    """
    both = np.concatenate([train[0], samples[0]]), np.concatenate([train[1], samples[1]])
    n, photos = len(samples[1]), len(train[1])
    return (
        _accuracy("accuracy_trained_on_photos", f"{photos:,} photos", train, test, categories, seed),
        _accuracy("accuracy_trained_on_synthetic", f"{n:,} samples alone", samples, test, categories, seed),
        _accuracy("accuracy_trained_on_both", f"{photos:,} photos and {n:,} samples", both, test, categories, seed),
    )


def _accuracy(
    name: str,
    what: str,
    data: tuple[Pixels, Labels],
    test: tuple[Pixels, Labels],
    categories: Sequence[str],
    seed: int,
) -> Figure:
    images, labels = data
    count = len(test[1])
    figure = Figure(
        name=name,
        n=len(labels),
        n_real=count,
        seed=seed,
        meaning=f"Share of unseen photos that a classifier trained on {what} puts in the right category.",
        protocol="the small convolutional net of the agreement figure, one training; Wilson interval",
        warning=f"{name} needs at least {LEAST} pictures to train on and {LEAST} test photos; there are "
        f"{len(labels):,} and {count:,}. {where_from(len(labels), count, LEAST)}",
    )
    if min(len(labels), count) < LEAST:
        return figure
    nobody = np.zeros(len(categories), np.int64)
    network = train_classifier(np.ascontiguousarray(images), labels, len(categories))
    hits = int((Classifier(network, nobody, nobody).predict(test[0]) == test[1]).sum())
    return figure.measured(hits / count, wilson_interval(hits, count))
