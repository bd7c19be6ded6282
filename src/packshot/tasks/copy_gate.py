"""The copy gate before the door: pictures too near to a training photo are drawn again, left out, or stop the task."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor, cat

from packshot.core.errors import PackshotError, UsageError
from packshot.core.random import stream_seed
from packshot.core.runs import RunFolder
from packshot.evaluation.copies import FALSE_ALARMS
from packshot.evaluation.gate import CopyGate
from packshot.evaluation.gate_run import open_gate, photo_names
from packshot.sampling.generator import TrainedGenerator

Pixels = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]
Draw = Callable[[Places, int], Pixels]
"""Returns the pictures of some places at attempt 1, 2, ..."""

MOST_DRAWS = 20
OFF = "Off (--allow-copies): the pictures were not compared with the training photos."
NO_PHOTOS = (
    "Not looked for: a pipeline of diffusers brings no list of its training photos, so nobody can say here whether a "
    "picture comes near to one."
)


class Request(Protocol):
    """The part of a request that is about copies."""

    @property
    def allow_copies(self) -> bool:
        """Whether pictures may leave without being compared."""

    @property
    def false_alarms(self) -> float:
        """Share of unseen photos that would be refused too."""


def request_gate(run: RunFolder, request: Request) -> CopyGate | None:
    """Returns the gate that a request asks for; None: it allows copies.

    Raises:
        UsageError: a rate beside --allow-copies, or one that the held-out photos cannot tell.
        PackshotError: the run has no index, and none can be made.
    """
    if not request.allow_copies:
        return open_gate(run, request.false_alarms)
    if request.false_alarms != FALSE_ALARMS:
        raise UsageError("--false-alarms and --allow-copies do not go together; leave one of them out.")
    return None


def check_no_gate(request: Request) -> None:
    """Refuses settings of the gate where there is none: for pipelines of diffusers.

    Raises:
        UsageError: one is given.
    """
    for name, given in (
        ("--allow-copies", request.allow_copies),
        ("--false-alarms", request.false_alarms != FALSE_ALARMS),
    ):
        if given:
            raise UsageError(f"{name} does not go with a pipeline of diffusers, which brings no training photos.")


def noise_again(generator: TrainedGenerator, seed: int, places: Places, attempt: int) -> Tensor:
    """Returns eps [n, z_dim] for pictures that are drawn again; that of a place depends on (seed, place, attempt)."""
    again = stream_seed(seed, "drawn again", attempt)
    return cat([generator.noise(again, int(i), 1) for i in places])


@dataclass(frozen=True, eq=False)
class Passed:
    """What the gate made of some pictures.

    Attributes:
        pixels: the pictures, uint8 [n, H, W, C]; those that were refused are replaced where they could be.
        refused: how many pictures were refused, each draw counted.
        nearest: training photos that they were near to, as places in the index, each once, in the order found.
        left: places of the pictures that are refused still, since they cannot be drawn again.
        said: what each picture's history says of it.
    """

    pixels: Pixels
    refused: int = 0
    nearest: tuple[int, ...] = ()
    left: frozenset[int] = frozenset()
    said: Sequence[dict[str, Any]] = field(default_factory=list)


def pass_gate(gate: CopyGate | None, pixels: Pixels, draw: Draw | None) -> Passed:
    """Compares pictures with the training photos and draws again what is too near, at most 20 times for each.

    Args:
        gate: the gate; None: off.
        pixels: uint8 [n, H, W, C] of the generator's own size.
        draw: makes others in the place of those refused; None: what is refused is left out.

    Raises:
        PackshotError: a picture was too near each time; or every picture is left out.
    """
    if gate is None:
        return Passed(pixels, said=[{"copy_gate": "off"}] * len(pixels))
    pixels = pixels.copy()
    nearest, closeness = gate.look(pixels)
    draws = np.ones(len(pixels), np.int64)
    bad = np.flatnonzero(closeness < 1)
    refused, photos = len(bad), list(nearest[bad])
    while draw is not None and len(bad):
        attempt = int(draws[bad[0]])  # All that are refused still were drawn as often.
        if attempt == MOST_DRAWS:
            raise PackshotError(_too_near(len(bad), len(pixels), f"each of {MOST_DRAWS} times that they were drawn"))
        pixels[bad] = draw(bad, attempt)
        nearest[bad], closeness[bad] = gate.look(pixels[bad])
        draws[bad] += 1
        bad = bad[closeness[bad] < 1]
        refused += len(bad)
        photos += list(nearest[bad])
    if len(bad) == len(pixels):
        raise PackshotError(_too_near(len(bad), len(pixels), "and such pictures cannot be drawn again"))
    said = [
        {"copy_gate": gate.said(float(near)), **({"drawn": int(times)} if times > 1 else {})}
        for near, times in zip(closeness, draws, strict=True)
    ]
    unique = tuple(dict.fromkeys(int(i) for i in photos))
    return Passed(pixels, refused, unique, frozenset(int(i) for i in bad), said)


def _too_near(count: int, of: int, why: str) -> str:
    return (
        f"{count:,} of {of:,} pictures came too near to a training photo, {why}. The generator repeats what it was "
        "trained on: train it on more photos or for a shorter time, ask for less likeness (--variation, --truncation) "
        "or another --seed or category, or add --allow-copies if the photos are yours to copy."
    )


def gate_sentence(gate: CopyGate | None) -> str:
    """Returns how pictures were compared."""
    return OFF if gate is None else gate.sentence


def refused_names(gate: CopyGate | None, run: RunFolder, passed: Passed) -> list[str]:
    """Returns the training photos that refused pictures were near to, by id where the catalogue is at hand."""
    return photo_names(run, gate.index, passed.nearest) if gate is not None and passed.nearest else []
