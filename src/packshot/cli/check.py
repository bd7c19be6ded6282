"""`packshot check`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from packshot.cli.output import emit, json_option, printable, quiet_option

if TYPE_CHECKING:
    from packshot.tasks.check import CheckedPicture, CheckResult


@click.command()
@click.argument("pictures", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--channel", required=True, help="google-merchant, amazon-main, amazon-secondary or generic.")
@click.option(
    "--on", type=click.DateTime(["%Y-%m-%d"]), help="By the rules in force on this day, for example 2027-01-31. [today]"
)
@click.option("--apparel", is_flag=True, help="The products are clothing, for which some channels have own rules.")
@quiet_option
@json_option
def check(
    pictures: tuple[Path, ...], channel: str, on: datetime | None, apparel: bool, quiet: bool, as_json: bool
) -> None:
    """Say which of a channel's rules PICTURES (files, folders, catalogues) keep and break; exit 1 if one is broken.

    Every rule comes with where and when it was read; what only others say of a channel is marked as such.
    """
    from packshot.tasks.check import check_pictures

    day = on.date() if on else date.today()
    kind = "apparel" if apparel else None
    result = check_pictures(list(pictures), channel, on=day, kind=kind, quiet=quiet or as_json)
    emit(result, as_json, lambda: _lines(result))
    if result.passed < len(result.pictures):
        raise click.exceptions.Exit(1)


def _lines(result: CheckResult) -> Iterator[str]:
    yield f"{result.passed:,} of {len(result.pictures):,} pictures pass {result.channel} on {result.on}."
    for picture in result.pictures:
        yield from _of(picture)
    unknown = Counter((f.text, f.seen) for p in result.pictures for f in p.findings if f.status == "unknown")
    for (text, seen), count in unknown.most_common():
        yield f"Cannot be told of {count:,} pictures: {text} Seen: {seen}."


def _of(picture: CheckedPicture) -> Iterator[str]:
    if picture.problem:
        yield printable(f"{picture.picture}: {picture.problem}")
    said = [f for f in picture.findings if f.status in ("fail", "advice")]
    if said:
        yield printable(f"{picture.picture} {'passes' if picture.passed else 'fails'}:")
    for f in said:
        doubt = "" if f.confidence == "confirmed" else f" [{f.confidence}: {f.source}]"
        yield f"  {'broken' if f.status == 'fail' else 'advice'}: {f.text} Seen: {f.seen}.{doubt}"
