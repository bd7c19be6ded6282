"""`packshot card`."""

from pathlib import Path

import click

from packshot.cli.output import emit, json_option


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Write the page there instead of to stdout.")
@json_option
def card(run: Path, out: Path | None, as_json: bool) -> None:
    """Show the card of RUN, or of a generator that comes with Packshot: data, rights, figures, limits, cost.

    The page is Markdown; --json gives card.json as it is.
    """
    from packshot.core.files import read_json, write_text
    from packshot.core.runs import RunFolder
    from packshot.evaluation.card import card_page

    page = card_page(run)
    if out is not None:
        write_text(out, page)
    emit(read_json(RunFolder.open(run).card_file), as_json, lambda: [page.rstrip("\n") if out is None else f"{out}"])
