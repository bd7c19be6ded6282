"""`packshot data fetch` and `packshot ingest`."""

from pathlib import Path

import click

from packshot.cli.output import emit, json_option, quiet_option
from packshot.core.errors import UsageError


@click.group()
def data() -> None:
    """Bring reference catalogues of real product photos."""


@data.command()
@click.argument("name", metavar="fashion-mnist|clothing")
@click.option("--from", "source", type=click.Path(path_type=Path), help="A folder on this machine that holds the data.")
@click.option("--out", type=click.Path(path_type=Path), help="Where to put it. [the user's cache folder]")
@json_option
def fetch(name: str, source: Path | None, out: Path | None, as_json: bool) -> None:
    """Bring a reference catalogue: from a local folder, a system package or its public address, checked."""
    from packshot.catalog.fetch import fetch

    result = fetch(name, source=source, out=out)
    emit(result, as_json, lambda: [f"{result.name} is in {result.path} ({result.licence}; from {result.origin})."])


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the catalogue.")
@click.option("--licence", metavar="SPDX", help="Licence of photos whose row names none, for example CC0-1.0.")
@click.option(
    "--source", "origin", metavar="TEXT", help="Where the photos come from, for photos whose row does not say."
)
@click.option("--owner", metavar="TEXT", help="Who holds the rights, for photos whose row does not say.")
@click.option("--allow-unlicensed", is_flag=True, help="Take photos without licence or source too.")
@click.option(
    "--allow-opted-out",
    is_flag=True,
    help="Take photos whose own metadata forbids training: to edit and find, never to train on.",
)
@click.option("--format", "kind", help="Kind of source. [told from its content]")
@click.option("--images", type=click.Path(path_type=Path), help="Folder that a list's photo names are relative to.")
@click.option(
    "--column", "columns", multiple=True, metavar="FIELD=NAME", help="A list's own column name, e.g. image=foto."
)
@click.option(
    "--category", "categories", multiple=True, metavar="NAME", help="Name of label 0, then 1, ... of IDX files."
)
@click.option("--encoding", default="utf-8", show_default=True, help="Text encoding of a list.")
@click.option(
    "--test-share", default=0.1, show_default=True, help="Share for the test split, where the source has none."
)
@click.option("--seed", default=0, show_default=True, help="Chooses the test split.")
@click.option("--max-side", default=1024, show_default=True, help="Longer photos are kept as a copy of this size.")
@click.option("--workers", default=2, show_default=True, help="Processes that decode.")
@click.option("--follow-symlinks", is_flag=True, help="Also read files that lie outside SOURCE.")
@quiet_option
@json_option
def ingest(
    source: Path,
    out: Path,
    licence: str | None,
    origin: str | None,
    owner: str | None,
    allow_unlicensed: bool,
    allow_opted_out: bool,
    kind: str | None,
    images: Path | None,
    columns: tuple[str, ...],
    categories: tuple[str, ...],
    encoding: str,
    test_share: float,
    seed: int,
    max_side: int,
    workers: int,
    follow_symlinks: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Read product photos from SOURCE into a catalogue: a folder, a CSV/TSV/JSONL list, a feed, or IDX files.

    A killed ingest goes on where it was when the same command is given again.
    """
    from packshot.catalog.ingest import ingest
    from packshot.catalog.options import IngestOptions
    from packshot.core.progress import Progress

    pairs = dict(c.partition("=")[::2] for c in columns)
    if not all(pairs.values()):
        raise UsageError("--column takes FIELD=NAME, for example --column image=foto.")
    options = IngestOptions(
        format=kind,
        images=str(images) if images else None,
        columns=pairs,
        categories=categories,
        encoding=encoding,
        licence=licence,
        source=origin,
        owner=owner,
        allow_unlicensed=allow_unlicensed,
        allow_opted_out=allow_opted_out,
        test_share=test_share,
        seed=seed,
        max_side=max_side,
        workers=workers,
        follow_symlinks=follow_symlinks,
    )
    with Progress("Reading photos", quiet=quiet) as bar:
        report = ingest(source, out, options, bar)

    def lines() -> list[str]:
        splits = ", ".join(f"{n:,} {name}" for name, n in report.splits.items())
        text = [f"{report.photos:,} photos in {report.path} ({splits}), {len(report.categories)} categories."]
        made = report.synthetic
        if made["pictures"]:
            text.append(
                f"And {made['pictures']:,} pictures that say they were generated: {made['for_training']:,} to train "
                "on, none to test with."
            )
            text += [f"Kept out of training: {n:,} ({reason})." for reason, n in made["excluded"].items()]
        twins = report.duplicates
        text.append(
            f"Duplicates: {twins['exact_photos']:,} exact in {twins['exact_groups']:,} groups, "
            f"{twins['near_photos']:,} near in {twins['near_groups']:,} groups."
        )
        text += [f"Kept out of training: {n:,} ({reason})." for reason, n in report.excluded.items()]
        for reason, n in report.left_out.items():
            text.append(f"Left out: {n:,}: {reason}, e.g. {', '.join(report.examples.get(reason, [])[:3])}.")
        text += [f"Note ({n:,} photos): {note}" for note, n in report.notes.items()]
        text.append(f"{report.seconds:.1f} s, {report.photos_per_second:,.0f} photos/s.")
        return text

    emit(report, as_json, lines)
