"""`packshot explain`."""

from pathlib import Path
from typing import Any

import click

from packshot.cli.output import emit, json_option, quiet_option


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the sheets. [RUN/explain]")
@click.option("--n", default=1000, show_default=True, help="Free samples that say how much pictures vary.")
@click.option("--seed", default=0, show_default=True, help="Of all samples.")
@quiet_option
@json_option
def explain(run: Path, out: Path | None, n: int, seed: int, quiet: bool, as_json: bool) -> None:
    """Show what the generator of RUN has learned: named directions, its discriminator's view, nearest photos."""
    from packshot.core.process import keep_freed_memory
    from packshot.tasks.explain import explain

    keep_freed_memory()
    result = explain(run, out=out, n=n, seed=seed, quiet=quiet)
    emit(result, as_json, lambda: _lines(result))


def _lines(result: dict[str, Any]) -> list[str]:
    lines = []
    for row in result["directions"]:
        effect = "" if row["effect"] is None else f"{row['effect']:+.2f}"
        sides = ", ".join(f"{name} {value:+.2f}" for name, value in list(row["side_effects"].items())[:4])
        lines.append(f"{row['sheet']:14} {row['name']:24} {effect:6} {'also ' + sides if sides else ''}".rstrip())
    lines.append("Effects are in standard deviations of the attribute, for one standard deviation of the noise.")
    view = result["discriminator"]
    if "sheet" in view:
        lines.append(
            f"The discriminator's look lies on the object by {view['share_on_object']:.0%}; "
            f"the object takes {view['object_area']:.0%} of the picture."
        )
    notes = [part["note"] for part in (view, result["nearest"]) if "note" in part]
    return [*lines, *notes, f"Sheets and explain.json in {result['folder']}"]
