"""Which candidate is recommended, and the sentences that say why. Pure: figures in, words out.

Two candidates differ where their 95 % intervals do not overlap; else "no difference shown", and the cheaper one wins.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from packshot.evaluation.figures import Figure
from packshot.tasks.advise_needs import FIGURE_WORDS, KID, RECON
from packshot.tasks.advise_plan import Plan

SAME_COST = 0.1
"""Costs closer than this share of each other count as the same."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What one trial showed at the end of a round.

    Attributes:
        model: the candidate.
        round: 1, 2, ...
        trained: training in all so far, in the plan's unit.
        images: pictures seen in training.
        train_cost: CPU-seconds (on a GPU seconds) of training for each picture.
        sample_cost: CPU-seconds of sampling for each picture.
        seconds: of this trial in this round, evaluation and all.
        figures: by short name: "kid", "precision", "recall", "copies", "recon_rms".
    """

    model: str
    round: int
    trained: float
    images: int
    train_cost: float
    sample_cost: float
    seconds: float
    figures: dict[str, Figure]


@dataclass(frozen=True)
class Choice:
    """The recommended model and the reasons for it, in sentences."""

    model: str
    reasons: tuple[str, ...]


def overlap(a: Figure, b: Figure) -> bool:
    """Says whether the intervals of two figures with values have a number in common."""
    assert a.low is not None and a.high is not None and b.low is not None and b.high is not None
    return a.low <= b.high and b.low <= a.high


def rank(rows: Sequence[Evidence], judged_by: str) -> list[Evidence]:
    """Returns the rows, best (lowest) figure first; those without a value last."""

    def key(row: Evidence) -> tuple[bool, float]:
        value = row.figures[judged_by].value
        return value is None, value or 0.0

    return sorted(rows, key=key)


def cheaper(rows: Sequence[Evidence]) -> Evidence:
    """Returns the row with the least training cost for each picture; of about equal ones that with the least sampling.

    Raises:
        ValueError: no rows.
    """
    least = min(row.train_cost for row in rows)
    near = [row for row in rows if row.train_cost <= least * (1 + SAME_COST)]
    return min(near, key=lambda row: row.sample_cost)


def choose(plan: Plan, evidence: Sequence[Evidence], decisive: int) -> Choice:
    """Chooses among the candidates measured in the round `decisive`.

    Args:
        plan: what was planned.
        evidence: of all rounds.
        decisive: the last round that all its candidates finished; 0: none.
    """
    rows = rank([e for e in evidence if e.round == decisive], plan.judged_by)
    measured = [row for row in rows if row.figures[plan.judged_by].value is not None]
    if not measured:
        first = plan.candidates[0]
        return Choice(
            first.model,
            (
                f"No figure tells the candidates apart, so this is a rule of thumb and not a measurement: "
                f"{first.model} comes first for this need ({first.why}).",
            ),
        )
    best = measured[0]
    words = FIGURE_WORDS[plan.judged_by]
    alike = [r for r in measured if overlap(r.figures[plan.judged_by], best.figures[plan.judged_by])]
    chosen = cheaper(alike)
    reasons = []
    if len(measured) == 1:
        reasons.append(f"Only {chosen.model} was measured, so nothing is shown about the others.")
    elif len(alike) == 1:
        others = ", ".join(_with_figure(r, plan.judged_by) for r in measured[1:])
        reasons.append(
            f"By {words} {_with_figure(best, plan.judged_by)} is better than {others}; the intervals do not overlap."
        )
    else:
        names = ", ".join(_with_figure(r, plan.judged_by) for r in alike)
        reasons.append(
            f"By {words} no difference shown between {names}: their intervals overlap. {chosen.model} is the cheaper "
            f"one: {_cost(chosen)}, against {'; '.join(f'{_cost(r)} ({r.model})' for r in alike if r is not chosen)}."
        )
    reasons += _left_behind(plan, evidence, chosen, decisive)
    return Choice(chosen.model, (*reasons, *_cautions(chosen, plan)))


def _left_behind(plan: Plan, evidence: Sequence[Evidence], chosen: Evidence, decisive: int) -> list[str]:
    """Says what earlier rounds showed about those who did not reach the last one."""
    reasons = []
    stayed = {e.model for e in evidence if e.round == decisive}
    for number in range(1, decisive):
        here = [e for e in evidence if e.round == number]
        own = next(e for e in here if e.model == chosen.model)
        next_round = {e.model for e in evidence if e.round == number + 1} | stayed
        for row in here:
            figure, mine = row.figures[plan.judged_by], own.figures[plan.judged_by]
            if row.model in next_round or figure.value is None or mine.value is None:
                continue
            shown = "no difference to it shown there" if overlap(figure, mine) else "the intervals do not overlap"
            reasons.append(
                f"{_with_figure(row, plan.judged_by)} stopped after round {number}, where {chosen.model} had "
                f"{_number(mine)}: {shown}."
            )
    return reasons


def _cautions(chosen: Evidence, plan: Plan) -> list[str]:
    out = []
    copies, recall = chosen.figures.get("copies"), chosen.figures.get("recall")
    if copies is not None and copies.low is not None and copies.low > 0.02:
        out.append(
            f"Its share of copies is {copies.value:.1%}, and unseen photos give 1 %: it learns photos by heart, "
            "or makes only the most usual ones. Look at `packshot explain` before you use its pictures."
        )
    if plan.judged_by == KID and recall is not None and recall.value is not None and recall.value < 0.1:
        out.append(f"It leaves out much so far: recall {recall.value:.2f}. Train it longer before you judge it.")
    out.append(
        f"All of this is after {chosen.trained:.0f} {plan.unit} of training, the same for each; longer training can "
        "change the order."
    )
    return out


def _cost(row: Evidence) -> str:
    return f"{1000 * row.train_cost:.2f} ms for a picture in training, {1000 * row.sample_cost:.2f} ms in sampling"


def _number(figure: Figure) -> str:
    return f"{figure.value:.3g} [{figure.low:.3g}, {figure.high:.3g}]"


def _with_figure(row: Evidence, name: str) -> str:
    return f"{row.model} {_number(row.figures[name])}"


COLUMNS = {KID: "KID", "precision": "precision", "recall": "recall", "copies": "copies", RECON: "recon. RMS"}


def table_lines(evidence: Sequence[Evidence], unit: str) -> list[str]:
    """Returns the evidence as a table for a person; a dash where there is no value."""
    shown = [name for name in COLUMNS if any(name in e.figures for e in evidence)]
    rows = [["model", "round", f"trained {unit}", *(COLUMNS[n] for n in shown), "train ms", "sample ms", "seconds"]]
    for e in evidence:
        cells = [e.model, str(e.round), f"{e.trained:.0f}"]
        for name in shown:
            figure = e.figures.get(name)
            cells.append("-" if figure is None or figure.value is None else _number(figure))
        rows.append([*cells, f"{1000 * e.train_cost:.2f}", f"{1000 * e.sample_cost:.2f}", f"{e.seconds:.0f}"])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
