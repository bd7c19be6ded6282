"""Directions of a run's noise as sliders: what `packshot explain` found and named, kept with the steps themselves.

An explanation is a job of its own, a minute or two on two cores; the directions are computed again here, which are the
same for the same seed, and turned the way that they were named after.

Letters: D = z_dim, T places on a walk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packshot.core.errors import PackshotError, UsageError
from packshot.core.files import read_json, sha256_file, write_json
from packshot.core.runs import RunFolder

if TYPE_CHECKING:
    from packshot.sampling.directions import Direction
    from packshot.sampling.generator import TrainedGenerator

SLIDERS, EXPLAINED = "sliders.json", "explain.json"
MOST_SLIDERS = 8
EXPLAIN_SAMPLES = 300
"""Free samples from which the studio has a run explained: enough to name what is clear, in a minute or two."""


@dataclass(frozen=True, kw_only=True)
class Slider:
    """A direction that was found, with its name.

    Attributes:
        key: its method and number: "pca-1".
        name: the attribute that it changes most.
        effect: that attribute's standard deviations for one of the noise; above zero.
        also: other attributes that it clearly changes, the strongest first.
        step: D numbers, the change of z for one standard deviation, towards more of `name`.
    """

    key: str
    name: str
    effect: float
    also: tuple[str, ...]
    step: tuple[float, ...] = field(repr=False)


def explain_folder(home: Path, run: Path) -> Path:
    """Returns where the explanation of a run's present model is kept; a run that was trained on has another."""
    model = RunFolder.open(run).trained_model()
    return home / "explained" / sha256_file(model)[:24]


def explain_command(run: Path, folder: Path) -> tuple[str, ...]:
    """Returns the command line, after `packshot`, that explains a run for `read_sliders`."""
    return ("explain", str(run), "--out", str(folder), "--n", str(EXPLAIN_SAMPLES), "--json")


def is_explained(folder: Path) -> bool:
    """Returns whether an explanation is finished: explain.json is written last."""
    return (folder / EXPLAINED).is_file()


def read_sliders(run: Path, folder: Path) -> tuple[Slider, ...]:
    """Returns the named directions of a run, the strongest of each name; they are kept beside the explanation.

    Args:
        run: its folder.
        folder: of the explanation, from `packshot explain`.

    Raises:
        UsageError: the run was not explained.
        PackshotError: the explanation is damaged.
    """
    kept = folder / SLIDERS
    try:
        if kept.is_file():
            return tuple(
                Slider(**{**row, "also": tuple(row["also"]), "step": tuple(row["step"])}) for row in read_json(kept)
            )
        if not is_explained(folder):
            raise UsageError("Sliders need the run's directions; have them found first.")
        sliders = _find_sliders(run, read_json(folder / EXPLAINED))
    except (KeyError, TypeError, ValueError) as e:
        raise PackshotError(f"The explanation in {folder} is damaged; remove it and explain the run again.") from e
    write_json(kept, [slider.__dict__ for slider in sliders])
    return sliders


def _find_sliders(run: Path, explained: Mapping[str, Any]) -> tuple[Slider, ...]:
    """Finds the directions of an explanation again, which are the same for the same seed, and turns them as it did."""
    from packshot.sampling.directions import find_directions
    from packshot.tasks.explain import DIRECTIONS, NO_EFFECT
    from packshot.tasks.trained import load_run_generator

    generator = load_run_generator(run)
    seed = int(explained["seed"])
    found = {
        f"{d.method}-{d.number}": d
        for d in find_directions(generator, count=DIRECTIONS, n=int(explained["n"]), seed=seed)
    }
    sliders: dict[str, Slider] = {}
    for row in explained["directions"]:  # The strongest first.
        name, key = row["name"], f"{row['method']}-{row['number']}"
        if name == NO_EFFECT or name in sliders or key not in found or len(sliders) == MOST_SLIDERS:
            continue
        turn = _turned(generator, found[key], row["effects"], seed)
        sliders[name] = Slider(
            key=key,
            name=name,
            effect=float(row["effect"]),
            also=tuple(row["side_effects"]),
            step=tuple(round(float(x), 6) for x in turn * found[key].step),
        )
    return tuple(sliders.values())


def _turned(generator: TrainedGenerator, direction: Direction, effects: Mapping[str, float], seed: int) -> float:
    """Returns 1 or -1: which way along a direction has these effects.

    An explanation tells the effects after it turned the direction towards its name. The attribute with the largest
    effect, of those that are measured on pixels alone, is measured again on the very same walks.
    """
    import numpy as np
    import torch

    from packshot.sampling.attributes import attribute_names, measure_attributes
    from packshot.sampling.directions import walk
    from packshot.sampling.generator import equal_shares
    from packshot.tasks.explain import WALKS

    names = attribute_names(generator.spec.channels)
    strongest = max(names, key=lambda name: abs(effects[name]))
    labels = torch.from_numpy(equal_shares(WALKS, len(generator.categories)))
    eps = generator.noise(seed, 0, WALKS)
    z = eps if generator.prior is None else generator.prior(eps, labels)
    images = walk(generator, direction, z, labels, (-2.0, 2.0))
    values = measure_attributes(images.reshape(-1, *images.shape[2:])).reshape(WALKS, 2, -1)[
        :, :, names.index(strongest)
    ]
    rise = float((values[:, 1] - values[:, 0]).mean())
    return float(np.sign(rise) * np.sign(effects[strongest])) or 1.0
