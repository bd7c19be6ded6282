"""What a piece of advice has come to so far, kept in its folder, so that the same command goes on where it was killed.

`begun.json` says what was asked for and planned, and what is known after each trial. It is written whole, before the
first trial and after each; a trial that was cut off in between is an ordinary run, which goes on from its newest
checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from packshot.core.config import build_config
from packshot.core.errors import PackshotError, UsageError
from packshot.core.files import disk_errors, read_json, write_json
from packshot.evaluation.figures import Figure
from packshot.tasks.advise_choice import Evidence
from packshot.tasks.advise_plan import Plan
from packshot.training.budget import parse_budget

# Of the budget, for choosing and writing: a share of it, and seconds at least.
RESERVE_SHARE, RESERVE = 0.03, 2.0

NAME, ADVICE, TRIALS = "begun.json", "advise.json", "trials"


@dataclass(frozen=True)
class Meter:
    """The budget in seconds, of wall time or of CPU, since the request came; earlier starts used some of it, too."""

    kind: str
    amount: float
    clock: Callable[[], float]
    start: float

    @classmethod
    def of(cls, text: str, used: float) -> Meter:
        """Returns the meter of a budget, of which earlier starts have used some seconds.

        Raises:
            UsageError: it is no time.
        """
        budget = parse_budget(text)
        if budget.kind == "kimg":
            raise UsageError(f"The budget of advice is time: give --budget 10m or 600cpu-s, not {text}.")
        clock = time.monotonic if budget.kind == "seconds" else time.process_time
        return cls(budget.kind, budget.amount, clock, clock() - used)

    @property
    def used(self) -> float:
        """Seconds spent so far."""
        return self.clock() - self.start

    @property
    def left(self) -> float:
        """What may still be spent, less a reserve for choosing and writing."""
        return self.amount - self.used - max(RESERVE, RESERVE_SHARE * self.amount)

    def deadline(self, after: float) -> float | None:
        """Returns the `time.monotonic()` at which training has to stop for `after` seconds to be left."""
        return time.monotonic() + self.left - after if self.kind == "seconds" else None


@dataclass(kw_only=True)
class Begun:
    """Advice that was begun.

    Attributes:
        asked: what tells it from other advice: catalogue by its checksum, need, budget, device, seed.
        plan: what was planned before the first trial.
        used: seconds of the budget, of the starts that were killed included, up to their last finished trial.
        amounts: what each candidate of each round trains up to, in the plan's unit; of the rounds that were begun.
        evidence: of the trials that were finished.
        failed: model to what went wrong.
        not_reached: model to why it made no step in its share.
        rate, overhead, paid, beside: what trials were found to cost; see `packshot.tasks.advise._Trials`.
    """

    asked: dict[str, Any]
    plan: Plan
    used: float = 0.0
    amounts: list[float] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    not_reached: dict[str, str] = field(default_factory=dict)
    rate: float = 0.0
    overhead: float = 0.0
    paid: dict[str, float] = field(default_factory=dict)
    beside: list[float] = field(default_factory=list)

    def write(self, out: Path) -> None:
        """Keeps it in the folder of the advice, which is made if it is not there."""
        write_json(out / NAME, asdict(self))

    def knows(self, model: str, number: int) -> bool:
        """Returns whether a candidate's trial in a round is over, however it ended."""
        tried = any(e.model == model and e.round == number for e in self.evidence)
        return tried or model in self.failed or model in self.not_reached


def read_begun(out: Path, asked: Mapping[str, Any]) -> Begun | None:
    """Returns the advice that was begun in a folder; None: none was.

    Args:
        out: the folder.
        asked: what is asked for now; see `Begun`.

    Raises:
        PackshotError: it was other advice, or that of an older version, which cannot be gone on with.
    """
    with disk_errors(out):
        there = any((out / name).exists() for name in (NAME, ADVICE, TRIALS))
    if not there:
        return None
    try:
        table = read_json(out / NAME)
        begun = Begun(
            **table
            | {"plan": build_config(Plan, table["plan"]), "evidence": [read_evidence(row) for row in table["evidence"]]}
        )
    except (KeyError, TypeError, ValueError, PackshotError) as e:
        raise _taken(out) from e
    if begun.asked != dict(asked):
        raise _taken(out)
    return begun


def read_evidence(row: Mapping[str, Any]) -> Evidence:
    """Returns what `dataclasses.asdict` made of it."""
    return Evidence(**{**row, "figures": {name: Figure(**figure) for name, figure in row["figures"].items()}})


def _taken(out: Path) -> PackshotError:
    return PackshotError(
        f"{out} holds the trials of other advice (another catalogue, need, budget, device, seed, or an older version); "
        "choose another --out, or remove it."
    )
