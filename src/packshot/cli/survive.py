"""`packshot survive`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from packshot.cli.output import emit, json_option
from packshot.core.text import printable

if TYPE_CHECKING:
    from packshot.tasks.survive import Survived


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder for the table and a plot of it.")
@click.option("--overwrite", is_flag=True, help="Replace the table and the plot if they are there.")
@json_option
def survive(file: Path, out: Path | None, overwrite: bool, as_json: bool) -> None:
    """Say what is left of FILE's labels after JPEG, WebP, resizing, cropping, stripping and a screenshot."""
    from packshot.tasks.survive import survive as run

    result = run(file, out=out, overwrite=overwrite)
    emit(result, as_json, lambda: map(printable, _lines(result)))


def _lines(result: Survived) -> Iterator[str]:
    from packshot.tasks.survive import LAYERS

    words = {None: "was not there", False: "gone", True: "left"}
    yield f"{'':20}" + "".join(f"{layer:15}" for layer in LAYERS).rstrip()
    for trial in result.trials:
        yield f"{trial.name:20}" + "".join(f"{words[trial.layers[layer]]:15}" for layer in LAYERS).rstrip()
    counts = {layer: result.left(layer) for layer in LAYERS}
    told = [f"{layer} {n[0]} of {n[1]}" if n else f"{layer} was not there" for layer, n in counts.items()]
    yield f"Left: {', '.join(told)}."
    yield from result.notes
    if result.plot:
        yield f"Table: {result.table}; plot: {result.plot}"
