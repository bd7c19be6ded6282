"""The plan of `packshot advise`: what the catalogue is, which models are candidates and why, and what trials cost.

Successive halving (Jamieson & Talwalkar 2016, arXiv:1502.07943): all candidates train for a little, the better half
goes on, until two are left. Every round may cost the same, so those who stay train longer and longer.

Letters: N photos, K categories, n candidates, R rounds, r training of one candidate, B what is left for training,
t thumbnail values; a thumbnail has mean 0 and length 1.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from packshot.core.errors import UsageError, lookup
from packshot.models.table import PICTURE_MODELS
from packshot.tasks.advise_needs import FIGURE_WORDS, NEEDS, RECON

SMALL = 2_000
"""Fewer training photos than this let a discriminator learn them by heart."""

FIGURE_PHOTOS, RECON_PHOTOS = 200, 30
"""Test photos that the figures need at least: KID, precision, recall and copies; reconstruction."""

HELD_SHARE = 0.5
"""At most this share of the training photos is held back from the trials, to judge where test photos are too few."""

LARGEST_BATCH = 64
"""Fewer training photos than this do not fill a batch of every candidate's preset."""

AUGMENT = "objective.augment=diffaugment"
SAMPLES = (1_000, 500, 250)
EVALUATION_SHARE = 0.25
COPIES_SHARE = 0.15
# The machine may get slower; a round whose last trial does not fit any more is lost.
SLACK = 0.1

# CPU-seconds on one core, measured; only the plan's first estimate rests on them.
KID_COST = 4.75 / 500**2  # times the square of the pictures compared
NEAREST_COST = 3.0 / (60_000 * 1_000)  # for each sample and training photo
START_COST = 2.0  # of a trial: networks, checkpoints, prior, model file
SAMPLE_COST = 1.0  # of sampling and the rest, beside the features
# What a trial needs at least to say anything, in CPU-seconds at 32 px.
LEAST_TRIAL = 5.0

# Megabytes.
MEMORY_BASE, MEMORY_NETWORKS_32 = 900, 200


@dataclass(frozen=True, kw_only=True)
class CatalogFacts:
    """What the advice is for.

    Attributes:
        train: training photos, without those that are kept out.
        test: test photos, likewise.
        categories: name to training photos.
        native: median of the photos' smaller sides, in pixels.
        size: side of the training pictures, in pixels.
        channels: 1 grey, 3 RGB.
        variety: mean distance of two photos of a category, see `measure_variety`; None: no category has two.
        held: training photos that no trial sees, which judge beside the test photos (`held_back`).
    """

    train: int
    test: int
    categories: dict[str, int]
    native: int
    size: int
    channels: int
    variety: float | None
    held: int = 0

    @property
    def judges(self) -> int:
        """Photos that trials are compared with."""
        return self.test + self.held

    @property
    def seen(self) -> int:
        """Photos that trials learn from."""
        return self.train - self.held


@dataclass(frozen=True)
class Candidate:
    """A model to try, the settings (`--set`) that differ from its preset, and why it is tried."""

    model: str
    settings: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Round:
    """`trials` candidates train until each has used `amount` in all (the plan's `unit`)."""

    trials: int
    amount: float


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What things cost here, in the budget's own seconds, as far as it is known.

    Attributes:
        rate: for one unit of training.
        cpu: for one CPU-second of anything else.
        feature: for the features of one picture.
        waiting: features of photos that are computed once: test photos, and training photos for the copies.
    """

    rate: float
    cpu: float
    feature: float
    waiting: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What `advise` is going to do.

    Attributes:
        need: "sharp", "similar" or "repair".
        facts: of the catalogue.
        judged_by: the figure that decides.
        unit: of training: "cpu-s", or "s" on a GPU.
        budget: seconds of the budget that are left for trials.
        candidates: in the order in which they are tried.
        not_tried: model to why not.
        rounds: of successive halving; none where no figure could tell candidates apart.
        samples: that each trial is measured with.
        copies: whether copies are looked for.
        prepare: seconds before the first trial, for the photos' features.
        overhead: seconds of each trial beside its training, most of it evaluation.
        memory_mb: about the largest that the process gets.
        notes: what the reader should know, in sentences.
    """

    need: str
    facts: CatalogFacts
    judged_by: str
    unit: str
    budget: float
    candidates: tuple[Candidate, ...]
    not_tried: dict[str, str]
    rounds: tuple[Round, ...]
    samples: int
    copies: bool
    prepare: float
    overhead: float
    memory_mb: int
    notes: tuple[str, ...]


def measure_variety(thumbnails: npt.NDArray[np.floating], labels: npt.NDArray[np.int64]) -> float | None:
    """Returns the mean distance between the thumbnails of two photos of the same category, over all such pairs.

    0: all the same; sqrt(2) = 1.41: unrelated (the distance is sqrt(2 (1 - r)), r their correlation).

    Args:
        thumbnails: [N, t], each of mean 0 and length 1 (`evaluation.copies.compute_thumbnails`).
        labels: [N].
    """
    total, pairs = 0.0, 0
    for label in np.unique(labels):
        rows = thumbnails[labels == label].astype(np.float64)
        above = np.triu_indices(len(rows), 1)
        squares = (rows**2).sum(1)
        distances = np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * rows @ rows.T, 0))
        total, pairs = total + float(distances[above].sum()), pairs + len(above[0])
    return total / pairs if pairs else None


def least_judges(need: str) -> int:
    """Returns how many unseen photos the figure that decides needs at least.

    Raises:
        UsageError: no such need; the nearest is suggested.
    """
    return RECON_PHOTOS if lookup("need", need, NEEDS).judged_by == RECON else FIGURE_PHOTOS


def held_back(train: int, test: int, least: int) -> int:
    """Returns how many training photos have to be held back for `least` unseen ones; 0: none, or it would be too many.

    Most shops have so few photos that their test split, a tenth of them, tells no models apart.
    """
    lacking = least - test
    return lacking if 0 < lacking <= HELD_SHARE * train else 0


def choose_candidates(need: str, facts: CatalogFacts) -> tuple[tuple[Candidate, ...], dict[str, str]]:
    """Returns the candidates, best hope first, and why other models of the table are none.

    Raises:
        UsageError: no such need; the nearest is suggested.
    """
    wanted = lookup("need", need, NEEDS)
    small = facts.train < SMALL
    chosen, not_tried = [], dict(wanted.not_tried)
    for name, why in wanted.candidates.items():
        entry = PICTURE_MODELS[name]
        if facts.size not in entry.sizes or facts.channels not in entry.channels:
            not_tried[name] = f"it does not make {facts.size} px pictures of {facts.channels} channel(s)"
            continue
        settings: tuple[str, ...] = ()
        if small and entry.family == "gan":
            settings = (AUGMENT,)
            why = f"{why}; below {SMALL:,} photos its discriminator sees them augmented, against learning them by heart"
        if facts.seen < LARGEST_BATCH:
            settings += (f"loop.batch_size={min(16, facts.seen)}",)
        chosen.append(Candidate(name, settings, why))
    for name in PICTURE_MODELS:
        if name not in wanted.candidates:
            not_tried.setdefault(name, "there is no experience with it for this need")
    return tuple(chosen), not_tried


def round_sizes(n: int) -> list[int]:
    """Returns how many train in each round: n, the better half of them, and so on down to 2 (or n itself, if 1)."""
    sizes = [n]
    while sizes[-1] > 2:
        sizes.append((sizes[-1] + 1) // 2)
    return sizes


def share_rounds(sizes: list[int], left: float, overhead: float, rate: float, done: float = 0.0) -> tuple[Round, ...]:
    """Shares what is left of the budget, less some slack, among rounds of equal cost.

    Args:
        sizes: trials of each round.
        left: seconds of the budget.
        overhead: seconds of each trial beside its training.
        rate: seconds of one unit of training.
        done: training that each candidate has had already.
    """
    training = max(0.0, (1 - SLACK) * left - overhead * sum(sizes)) / rate / len(sizes)
    rounds = []
    for size in sizes:
        done += training / size
        rounds.append(Round(size, math.floor(10 * done) / 10))
    return tuple(rounds)


def make_plan(need: str, facts: CatalogFacts, left: float, costs: Costs, unit: str) -> Plan:
    """Returns the plan for `left` seconds of budget.

    As many candidates are tried as get enough training each; samples and copies are measured as far as they fit.

    Raises:
        UsageError: unknown need, or too short a budget to compare two candidates.
    """
    candidates, not_tried = choose_candidates(need, facts)
    judged_by = NEEDS[need].judged_by
    plan = Plan(
        need=need,
        facts=facts,
        judged_by=judged_by,
        unit=unit,
        budget=left,
        candidates=candidates,
        not_tried=not_tried,
        rounds=(),
        samples=0,
        copies=False,
        prepare=0.0,
        overhead=0.0,
        memory_mb=0,
        notes=_notes(facts),
    )
    least_photos = least_judges(need)
    if facts.judges < least_photos:
        note = (
            f"{facts.test:,} test photos are too few to tell models apart ({least_photos} are needed for the figure "
            "that decides), so there are no trials; ingest with a larger --test-share, or add photos."
        )
        return replace(plan, notes=(*plan.notes, note))
    least = LEAST_TRIAL * (facts.size / 32) ** 2
    wanted = facts.judges >= FIGURE_PHOTOS and costs.waiting[1] * costs.feature <= COPIES_SHARE * left
    for copies, n, samples in _choices(len(candidates), wanted):
        sizes, prepare = round_sizes(n), _prepare(costs, copies)
        overhead = _overhead(facts, costs, copies, samples)
        rounds = share_rounds(sizes, left - prepare, overhead, costs.rate)
        modest = overhead * sum(sizes) <= EVALUATION_SHARE * left or samples == SAMPLES[-1]
        if rounds[0].amount >= least and modest:
            break
    else:
        # The last choice was the cheapest one.
        enough = prepare + 2 * (overhead + costs.rate * least) / (1 - SLACK) + 1
        raise UsageError(
            f"The budget is too short to compare two models here: two trials of {least:.0f} {unit} and their "
            f"evaluation take about {enough:.0f} s, and {left:.0f} s are left of it; give a larger --budget."
        )
    left_out = {c.model: f"the budget has room for {n} candidates, and others come first" for c in candidates[n:]}
    more = [] if copies else [_no_copies(facts, costs)]
    return replace(
        plan,
        candidates=candidates[:n],
        not_tried=not_tried | left_out,
        rounds=rounds,
        samples=samples,
        copies=copies,
        prepare=prepare,
        overhead=overhead,
        memory_mb=_memory(facts, copies),
        notes=(*plan.notes, *more),
    )


def _choices(candidates: int, copies: bool) -> Iterator[tuple[bool, int, int]]:
    """Yields (whether to look for copies, candidates, samples), what is wanted most first."""
    for look in (True, False) if copies else (False,):
        for n in range(candidates, 1, -1):
            for samples in SAMPLES:
                yield look, n, samples


def _prepare(costs: Costs, copies: bool) -> float:
    """Seconds for the features of photos that have none yet."""
    return (costs.waiting[0] + (costs.waiting[1] if copies else 0)) * costs.feature


def _overhead(facts: CatalogFacts, costs: Costs, copies: bool, samples: int) -> float:
    """Seconds of a trial beside its training."""
    cpu = KID_COST * min(samples, facts.judges) ** 2 + START_COST + SAMPLE_COST
    if copies:
        cpu += NEAREST_COST * samples * facts.seen
    return samples * costs.feature + cpu * costs.cpu


def _memory(facts: CatalogFacts, copies: bool) -> int:
    """Megabytes: the program, networks that train, the photos and their features."""
    picture = facts.size**2 * facts.channels / 1e6
    features = 1280 * 4 / 1e6
    photos = facts.train * (picture + (features if copies else 0))
    return round(MEMORY_BASE + MEMORY_NETWORKS_32 * (facts.size / 32) ** 2 + photos)


def _no_copies(facts: CatalogFacts, costs: Costs) -> str:
    if facts.judges < FIGURE_PHOTOS:
        return f"Copies are not looked for: that needs {FIGURE_PHOTOS} test photos, and there are {facts.judges:,}."
    seconds = costs.waiting[1] * costs.feature
    return (
        f"Copies are not looked for: the features of {facts.seen:,} training photos would take about {seconds:.0f} s "
        "once; `packshot evaluate` computes and keeps them."
    )


def _notes(facts: CatalogFacts) -> tuple[str, ...]:
    notes = []
    if facts.train < SMALL:
        notes.append(
            f"{facts.train:,} training photos are few: watch the share of copies, and think of starting from a run on "
            "a larger catalogue (`packshot train --from RUN`; of clothing, --from products-64)."
        )
    if facts.held:
        notes.append(
            f"{facts.test:,} test photos are too few to tell models apart, so {facts.held:,} training photos judge "
            f"beside them: the trials learn from the other {facts.seen:,}, the recommended command from all."
        )
    poor = [name for name, count in facts.categories.items() if count < 50]
    if poor and len(facts.categories) > 1:
        shown = ", ".join(poor[:5]) + (" and others" if len(poor) > 5 else "")
        notes.append(f"Categories with fewer than 50 training photos will look alike or copied: {shown}.")
    return tuple(notes)


def plan_lines(plan: Plan) -> list[str]:
    """Returns the plan for a person."""
    f = plan.facts
    colour = "grey" if f.channels == 1 else "RGB"
    counts = sorted(f.categories.values())
    lines = [
        f"Catalogue: {f.train:,} training and {f.test:,} test photos, {len(counts)} categories of {counts[0]:,} to "
        f"{counts[-1]:,} photos, {colour}, {f.native} px, trained at {f.size} px.",
    ]
    if f.variety is not None:
        lines.append(
            f"Variety: two photos of a category are {f.variety:.2f} apart (0 the same, 1.41 unrelated thumbnails)."
        )
    lines.append(f"Wanted: {NEEDS[plan.need].wish}; {FIGURE_WORDS[plan.judged_by]} decides.")
    lines += [f"  candidate  {c.model:13} {c.why}." for c in plan.candidates]
    lines += [f"  not tried  {line}" for line in not_tried_lines(plan.not_tried)]
    for number, r in enumerate(plan.rounds, 1):
        lines.append(f"Round {number}: {r.trials} candidates, until each has trained for {r.amount:.0f} {plan.unit}.")
    if plan.rounds:
        trials = sum(r.trials for r in plan.rounds)
        lines.append(
            f"Cost: at most {plan.budget:.0f} s of the budget: {plan.prepare:.0f} s for the photos' features, {trials} "
            f"times about {plan.overhead:.0f} s for starting and evaluating with {plan.samples:,} samples, training "
            f"for the rest; about {plan.memory_mb:,} MB of memory."
        )
    return [*lines, *plan.notes]


def not_tried_lines(not_tried: dict[str, str]) -> list[str]:
    """Returns a line for each reason, with the models it holds for."""
    names: dict[str, list[str]] = {}
    for model, why in not_tried.items():
        names.setdefault(why, []).append(model)
    return [f"{', '.join(models)}: {why}." for why, models in names.items()]
