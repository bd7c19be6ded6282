"""`packshot advise`."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from packshot.cli.output import emit, json_option, quiet_option
from packshot.cli.train import next_run

if TYPE_CHECKING:
    from packshot.tasks.advise import AdviseResult


@click.command()
@click.argument("catalog", type=click.Path(path_type=Path))
@click.option("--need", required=True, metavar="sharp|similar|repair", help="What the pictures are for.")
@click.option("--budget", default="10m", show_default=True, help="For everything: 10m, 90s or 600cpu-s.")
@click.option("--device", default="auto", show_default=True, type=click.Choice(["cpu", "cuda", "auto"]))
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the trials. [runs/NNNNN-advise-CATALOG]")
@click.option("--seed", default=0, show_default=True, help="Of the trials and their samples.")
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@quiet_option
@json_option
def advise(
    catalog: Path,
    need: str,
    budget: str,
    device: Literal["cpu", "cuda", "auto"],
    out: Path | None,
    seed: int,
    dry_run: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Find the model for CATALOG: state a plan, make short trials within the budget, recommend one with evidence."""
    from packshot.core.process import keep_freed_memory
    from packshot.tasks.advise import AdviseRequest, advise, plan_advice
    from packshot.tasks.advise_plan import plan_lines

    keep_freed_memory()
    request = AdviseRequest(
        catalog=catalog,
        need=need,
        out=out or next_run(catalog, "advise"),
        budget=budget,
        device=device,
        seed=seed,
        quiet=quiet,
    )
    if dry_run:
        plan = plan_advice(request)
        emit(plan, as_json, lambda: plan_lines(plan))
        return
    result = advise(request)
    emit(result, as_json, lambda: _lines(result))


def _lines(result: "AdviseResult") -> list[str]:
    from packshot.tasks.advise_choice import table_lines
    from packshot.tasks.advise_plan import not_tried_lines

    lines = table_lines(result.evidence, result.plan.unit) if result.evidence else []
    lines += [f"Recommended: {result.model}", *result.reasons]
    if result.stopped_early:
        lines.append(f"Stopped early: {result.stopped_early}.")
    lines += [f"Went wrong: {model}: {reason}" for model, reason in result.failed.items()]
    lines += [f"Not tried: {line}" for line in not_tried_lines(result.not_tried)]
    return [*lines, f"{result.seconds:.0f} s of the budget used; written to {result.file}", "", result.command]
