"""`packshot rights`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from packshot.cli.output import emit, json_option
from packshot.core.text import printable

if TYPE_CHECKING:
    from packshot.catalog.rights import RightsReport

SHOWN = 10


@click.command()
@click.argument("catalog", type=click.Path(path_type=Path))
@click.option("--list", "listed", is_flag=True, help="Name every photo that is not trained on, and why.")
@click.option(
    "--ledger",
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="Add corrections: a column photo (name or id), and any of licence, owner, source, consent, date.",
)
@click.option(
    "--licence-ok", multiple=True, metavar="SPDX", help="State that photos under this licence may be trained on."
)
@json_option
def rights(catalog: Path, listed: bool, ledger: Path | None, licence_ok: tuple[str, ...], as_json: bool) -> None:
    """Say which photos of CATALOG may be trained on, which may not, and why.

    What --ledger and --licence-ok state is kept in the catalogue with the time. Neither lifts an opt-out that stands in
    a photo's own file.
    """
    from packshot.catalog import open_catalog
    from packshot.catalog.rights import report_rights, state

    photos = open_catalog(catalog)
    if ledger is not None or licence_ok:
        state(photos, ledger, licence_ok)
    report = report_rights(photos)
    if not listed:
        report = dataclasses.replace(report, listed=[])
    emit(report, as_json, lambda: map(printable, _lines(report)))


def _lines(report: RightsReport) -> Iterator[str]:
    out = report.photos - report.may_train
    yield f"{report.photos:,} photos: {report.may_train:,} may be trained on, {out:,} may not."
    if made := report.synthetic["pictures"]:
        yield f"And {made:,} generated pictures: {report.synthetic['may_train']:,} may be trained on."
    for reason, row in report.out.items():
        examples = ", ".join(row["examples"])
        yield f"Out: {row['photos']:,}: {reason} ({row['why']}), e.g. {examples}."
    for reason, n in report.left_out_at_ingest.items():
        yield f"Left out at the ingest: {n:,}: {reason}."
    for note, n in report.notes.items():
        yield f"Note ({n:,} photos): {note}."
    tables = {"licence": report.licences, "owner": report.owners, "source": report.sources, "opt-out": report.opt_outs}
    for name, table in tables.items():
        for value, count in list(table.items())[:SHOWN]:
            yield f"By {name}: {value}: {count['in']:,} in, {count['out']:,} out."
        if len(table) > SHOWN:
            yield f"By {name}: {len(table) - SHOWN:,} more; --json has them all."
    if report.ledger_rows:
        yield f"The ledger has {report.ledger_rows:,} rows."
    for one in report.listed:
        yield f"{one['key']} [{one['photo_id']}]: {one['words']}."
