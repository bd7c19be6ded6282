"""`packshot check`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from packshot.cli.output import emit, json_option, quiet_option
from packshot.core.errors import UsageError
from packshot.core.text import printable

if TYPE_CHECKING:
    from packshot.release.checks import Finding
    from packshot.tasks.check import CheckedPicture, CheckResult
    from packshot.tasks.check_fix import Fixed


@click.command()
@click.argument("pictures", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--channel", required=True, help="google-merchant, amazon-main, amazon-secondary or generic.")
@click.option(
    "--on", type=click.DateTime(["%Y-%m-%d"]), help="By the rules in force on this day, for example 2027-01-31. [today]"
)
@click.option("--apparel", is_flag=True, help="The products are clothing, for which some channels have own rules.")
@click.option("--images", type=click.Path(path_type=Path), help="Folder of a feed's pictures. [the feed's own]")
@click.option("--fix", is_flag=True, help="Repair into --out what can be repaired safely, and check that again.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for repaired pictures; no original is changed.")
@click.option("--forecast", is_flag=True, help="Name the pictures that rules which come into force later will break.")
@quiet_option
@json_option
def check(
    pictures: tuple[Path, ...],
    channel: str,
    on: datetime | None,
    apparel: bool,
    images: Path | None,
    fix: bool,
    out: Path | None,
    forecast: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Say which of a channel's rules PICTURES keep and break; exit 1 if one is broken.

    PICTURES are files, folders, catalogues and product feeds (CSV, TSV, RSS, Atom). Every rule comes with where and
    when it was read; what only others say of a channel is marked as such.
    """
    from packshot.tasks.check import check_pictures

    if fix != (out is not None):
        raise UsageError("--fix repairs pictures into the folder that --out names: give both, or neither.")
    day = on.date() if on else date.today()
    kind = "apparel" if apparel else None
    result = check_pictures(
        list(pictures), channel, on=day, kind=kind, images=images, fix_into=out, quiet=quiet or as_json
    )
    emit(result, as_json, lambda: _lines(result, forecast))
    if result.broken:
        raise click.exceptions.Exit(1)


def _lines(result: CheckResult, forecast: bool) -> Iterator[str]:
    yield f"{result.passed:,} of {len(result.pictures):,} pictures pass {result.channel} on {result.on}."
    for product in result.products:
        said = list(_findings(product.findings))
        if said:
            yield printable(f"Product {product.product} {'passes' if product.passed else 'fails'}:")
            yield from said
    for picture in result.pictures:
        yield from _of(picture)
    advised = {f.rule: f for p in result.pictures for f in p.findings if f.status == "advice"}
    for rule, f in advised.items():
        count = sum(g.rule == rule and g.status == "advice" for p in result.pictures for g in p.findings)
        yield f"Advice for {count:,} pictures: {f.text}{_doubt(f)}"
    unknown = Counter((f.text, f.seen) for p in result.pictures for f in p.findings if f.status == "unknown")
    unknown.update(("", p.unknown) for p in result.pictures if p.unknown is not None)
    for (text, seen), count in unknown.most_common():
        yield (
            f"Cannot be told of {count:,} pictures: {text} Seen: {seen}."
            if text
            else f"Not looked at: {count:,} pictures; {seen}."
        )
    yield from _later(result, forecast)


def _later(result: CheckResult, named: bool) -> Iterator[str]:
    for change in result.forecast:
        if change.pictures:
            yield (
                f"From {change.on} on {len(change.pictures):,} of {len(result.pictures):,} pictures break a new rule "
                f"({change.still_passing:,} of them pass the present ones): {change.text}"
            )
            if named:
                yield from (printable(f"  {name}") for name in change.pictures)
        elif named:
            yield f"From {change.on} on no picture breaks this new rule: {change.text}"


def _of(picture: CheckedPicture) -> Iterator[str]:
    if picture.problem:
        yield printable(
            picture.problem if picture.picture in picture.problem else f"{picture.picture}: {picture.problem}"
        )
    said = list(_findings(picture.findings))
    if said:
        of = f" ({picture.attribute} of {picture.product})" if picture.product else ""
        yield printable(f"{picture.picture}{of} {'passes' if picture.passed else 'fails'}:")
        yield from said
    if picture.fixed is not None:
        yield from _fixed(picture.fixed)


def _findings(findings: list[Finding]) -> Iterator[str]:
    for f in findings:
        if f.status == "fail":
            yield printable(f"  broken: {f.text} Seen: {f.seen}.{_doubt(f)}")


def _doubt(f: Finding) -> str:
    return "" if f.confidence == "confirmed" else f" [{f.confidence}: {f.source}]"


def _fixed(fixed: Fixed) -> Iterator[str]:
    if fixed.problem:
        yield printable(f"  not repaired: {fixed.problem}")
    elif fixed.picture is None:
        yield "  not repaired: no repair is safe."
    else:
        state = "it passes" if fixed.passed else "it still fails"
        yield printable(f"  repaired: {fixed.picture} ({', '.join(fixed.repairs)}); {state}.")
        before = {f.rule: f.seen for f in fixed.before}
        for f in fixed.after:
            told = {"fail": "broken", "pass": "kept"}.get(f.status, f.status)
            yield printable(f"    {f.rule}: {before.get(f.rule, 'kept')} -> {f.seen}: {told}")
    yield from (printable(f"    to do: {sentence}") for sentence in fixed.remains)
