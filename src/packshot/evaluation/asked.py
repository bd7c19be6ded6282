"""Do the pictures show what was asked for? For attributes that can be seen in a picture, as a share of samples.

Letters: N samples, A length of a condition.
"""

import numpy as np

from packshot.core.random import stream_seed
from packshot.evaluation.evaluate import Photos
from packshot.evaluation.figures import Figure, wilson_interval
from packshot.images.seen import SEEN
from packshot.models.conditions import Conditions
from packshot.sampling.generator import TrainedGenerator, cut_margin

MOST_PHOTOS = 2000


def compute_attributes_shown(generator: TrainedGenerator, train: Photos, *, n: int, seed: int) -> list[Figure]:
    """Returns for each attribute that can be seen two figures: its share when asked for, and when not.

    Each sample is asked for the category of a training photo and the value that is seen in this photo, so that what is
    asked for is as frequent and as possible as in the catalogue. `NAME_shown` is the share of samples in which the same
    value is seen; `NAME_unasked` that of samples with the same noise and category for which only the category was
    asked: chance, in this catalogue. The difference is what asking does.

    Args:
        generator: trained with attributes.
        train: the photos that it was trained on.
        n: samples for each attribute.
        seed: of the samples and of the photos' choice.
    """
    figures = []
    known = generator.conditions or Conditions()
    for name in sorted(SEEN.keys() & known.attributes):
        rng = np.random.default_rng(stream_seed(seed, f"asked:{name}"))
        pool = np.sort(rng.permutation(len(train.images))[:MOST_PHOTOS])
        seen = SEEN[name](cut_margin(np.asarray(train.images[pool]), generator.margin))
        usable = [i for i, value in enumerate(seen) if value in known.attributes[name]]
        drawn = [usable[i] for i in rng.integers(0, len(usable), n)] if usable else []
        if not drawn:
            continue
        labels, asked = train.labels[pool[drawn]].tolist(), [seen[i] for i in drawn]
        eps = generator.noise(seed, 0, n)
        for kind, values in (("shown", asked), ("unasked", [None] * n)):
            pictures = generator.pictures(eps, labels, cond=known.encode({name: values}, n=n))
            hits = sum(a == b for a, b in zip(SEEN[name](pictures), asked, strict=True))
            share = Figure(
                name=f"{name}_{kind}",
                n=n,
                n_real=len(pool),
                seed=seed,
                meaning=MEANING[kind].format(name=name),
                protocol="category and value of training photos drawn at random; the same measure names the value in "
                "photos and samples; Wilson interval",
                warning="no sample was measured yet",
            )
            figures.append(share.measured(hits / n, wilson_interval(hits, n)))
    return figures


MEANING = {
    "shown": "Share of pictures that show the {name} that was asked for; more is better.",
    "unasked": "The same where the {name} was not asked for: chance.",
}
