"""`packshot verify`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from packshot.cli.output import emit, json_option
from packshot.cli.signing import signing_options
from packshot.core.text import printable

if TYPE_CHECKING:
    from packshot.tasks.verify import Verified

LONG = 500
"""Letters of a line that a stranger's manifest may fill."""


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option(
    "--trust",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PEM",
    help="Trust signatures under these certificates; PACKSHOT_TRUST does so for all commands.",
)
@click.option(
    "--reattach",
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="Write a copy of a stripped FILE that carries its registered manifest again.",
)
@click.option("--accept-likeness", is_flag=True, help="Attach by a likeness alone: you looked, and it is that picture.")
@click.option("--overwrite", is_flag=True, help="Replace OUT if it is there.")
@signing_options
@json_option
def verify(
    files: tuple[Path, ...],
    trust: tuple[Path, ...],
    reattach: Path | None,
    accept_likeness: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Say of each FILE what it claims, who signed it, whether that is intact, and if it was released here.

    Verdicts: released (byte for byte), re-encoded, stripped, stranger, unmarked; exit 1 if one is tampered or
    unreadable.
    """
    from packshot.tasks.verify import summary
    from packshot.tasks.verify import verify as judge

    results = judge(files, trust=trust, reattach=reattach, overwrite=overwrite, accept_likeness=accept_likeness)
    emit(summary(results), as_json, lambda: (printable(line) for r in results for line in _lines(r)))
    if any(r.failed for r in results):
        raise click.exceptions.Exit(1)


def _lines(result: Verified) -> Iterator[str]:
    from packshot.release.claims import say_intact

    yield f"{result.file}: {result.verdict}. {result.sentence}"
    claims = result.claims
    if claims is None:
        return
    found = claims.manifest
    said = {"C2PA": claims.c2pa, "XMP": claims.iptc, "China's label": (claims.china or {}).get("Label")}
    if any(said.values()):
        yield "  claims: " + ", ".join(f"{where}: {term}" for where, term in said.items() if term)
    if found is not None:
        made = f" from {', '.join(found.titles)}" if found.titles else ""
        done = f"{', '.join(found.actions) or 'nothing named'}; titled {found.title or 'nothing'}{made}"
        yield f"  done: {done}"[:LONG]
        when = f"at {found.time}" if found.time else "without a time stamp"
        who = f"by {found.signer or 'nobody named'}, {when}, with {found.generator or 'a program that is not named'}"
        yield f"  signed: {who}"[:LONG]
        yield f"  intact: {say_intact(claims)}"
    layers = {"C2PA": result.layers()["c2pa"], "XMP": "yes" if claims.iptc else "none"}
    layers |= {"China's label": "yes" if claims.china else "none", "watermark": result.watermark or "none"}
    layers["register"] = f"by {result.traced.by}" if result.traced else "none"
    yield "  layers: " + ", ".join(f"{name} {left}" for name, left in layers.items())
    yield from (f"  contradiction: {sentence}" for sentence in result.contradictions)
    yield from (f"  note: {sentence}" for sentence in result.notes)
    if result.reattached:
        yield f"  attached again: {result.reattached}"
