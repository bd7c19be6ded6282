"""`packshot personalise`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from packshot.cli.output import emit, json_option, quiet_option
from packshot.cli.signing import signing_options
from packshot.core.errors import UsageError
from packshot.core.text import printable

if TYPE_CHECKING:
    from packshot.tasks.personalise import PersonaliseResult
    from packshot.tasks.redesign import RedesignResult


@click.command()
@click.option("--events", required=True, type=click.Path(path_type=Path), metavar="STORE", help="A store of events.")
@click.option("--user", metavar="ID", help="The shop's own id of the shopper, or the pseudonym.")
@click.option(
    "--newcomer",
    metavar="CHOICES",
    help="Instead of --user: answers to the quiz so far, e.g. abba; '' to begin. Says which pair to ask about next.",
)
@click.option("--model", "run", required=True, type=click.Path(path_type=Path), metavar="RUN", help="The generator.")
@click.option("--catalog", type=click.Path(path_type=Path), help="Whose products are ranked. [what RUN was trained on]")
@click.option(
    "--category", "categories", multiple=True, metavar="CATEGORY", help="Make this; repeat for several. [by taste]"
)
@click.option("--n", default=4, show_default=True, help="How many pictures.")
@click.option("--places", default=12, show_default=True, help="How many ranked products.")
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same pixels.")
@click.option("--samples", default=2048, show_default=True, help="Samples that the pictures are chosen from.")
@click.option("--steps", default=6, show_default=True, help="Rounds of search near the best; 0: the best samples.")
@click.option("--diversity", default=0.15, show_default=True, help="0 to 1: how far liked stands back behind varied.")
@click.option("--redesign", metavar="PRODUCT", help="Change this product as little as --group likes it more by --gain.")
@click.option("--group", multiple=True, metavar="ID", help="With --redesign: a shopper; repeat for several. Or: all.")
@click.option(
    "--gain", default=0.5, show_default=True, help="With --redesign: standard deviations of appeal over the catalogue."
)
@click.option("--report", is_flag=True, help="Write OUT/personalise.html too: history, ranked, made, why.")
@click.option(
    "--taste-key",
    "key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Key of the pseudonyms. [taste.key in the user's folder]",
)
@click.option(
    "--false-alarms",
    default=0.01,
    show_default=True,
    help="Pictures too near to a training photo are refused: so near as this share of unseen photos comes.",
)
@click.option("--allow-copies", is_flag=True, help="Do not compare the pictures with the training photos.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("personalised"), show_default=True, help="Folder.")
@click.option("--overwrite", is_flag=True, help="Replace files of the same names.")
@signing_options
@quiet_option
@json_option
def personalise(
    events: Path,
    user: str | None,
    newcomer: str | None,
    run: Path,
    catalog: Path | None,
    categories: tuple[str, ...],
    n: int,
    places: int,
    seed: int,
    samples: int,
    steps: int,
    diversity: float,
    redesign: str | None,
    group: tuple[str, ...],
    gain: float,
    report: bool,
    key: Path | None,
    false_alarms: float,
    allow_copies: bool,
    out: Path,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Rank products and make new pictures for one shopper who consented to 'personalise', and say why.

    With --redesign: change a product of the catalogue as little as possible, so that a group of shoppers likes it more.
    """
    from packshot.core.process import keep_freed_memory
    from packshot.tasks.personalise import PersonaliseRequest
    from packshot.tasks.personalise import personalise as make
    from packshot.taste.making import MakeSettings

    keep_freed_memory()
    if sum(one is not None for one in (user, newcomer, redesign)) != 1:
        raise UsageError(
            "Say one of these: for whom to make pictures, --user ID or --newcomer CHOICES, or what to change, "
            "--redesign PRODUCT --group ID."
        )
    if redesign is not None:
        if report or categories:
            raise UsageError("--report and --category go with --user or --newcomer, not with --redesign.")
        _redesign(events, redesign, group, run, catalog, gain, seed, key, false_alarms, allow_copies, out, overwrite,
                  quiet, as_json)  # fmt: skip
        return
    if group:
        raise UsageError("--group goes with --redesign PRODUCT.")
    request = PersonaliseRequest(
        events=events,
        user=user,
        choices=newcomer or "",
        run=run,
        catalog=catalog,
        out=out,
        categories=categories,
        places=places,
        make=MakeSettings(n=n, samples=samples, steps=steps, diversity=diversity, seed=seed),
        report=report,
        key=key,
        overwrite=overwrite,
        allow_copies=allow_copies,
        false_alarms=false_alarms,
    )
    result = make(request, quiet=quiet)
    emit(result, as_json, lambda: map(printable, _lines(result)))


def _redesign(
    events: Path,
    product: str,
    group: tuple[str, ...],
    run: Path,
    catalog: Path | None,
    gain: float,
    seed: int,
    key: Path | None,
    false_alarms: float,
    allow_copies: bool,
    out: Path,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    from packshot.tasks.redesign import RedesignRequest, redesign_product
    from packshot.taste.redesign import RedesignSettings

    request = RedesignRequest(
        events=events,
        product=product,
        group=group,
        run=run,
        catalog=catalog,
        out=out,
        settings=RedesignSettings(gain=gain),
        seed=seed,
        key=key,
        overwrite=overwrite,
        allow_copies=allow_copies,
        false_alarms=false_alarms,
    )
    result = redesign_product(request, quiet=quiet)
    emit(result, as_json, lambda: map(printable, _changed(result)))


def _changed(result: RedesignResult) -> Iterator[str]:
    who = f"{result.shoppers:,} shopper{'s' * (result.shoppers != 1)}"
    yield f"{result.product}, for {who}: {result.before:+.2f} before, {result.after:+.2f} after,"
    yield f"in standard deviations over the catalogue; {result.liked_by:.0%} of them like it more."
    yield f"Changed by {result.change:.1f} grey levels: {', '.join(result.words) or 'nothing that has a name'}."
    yield f"The generator's nearest picture is {result.rms:.1f} grey levels from the photo."
    yield from result.notes
    yield f"Picture: {result.picture}; before and after: {result.sheet}"


def _lines(result: PersonaliseResult) -> Iterator[str]:
    yield "Ranked:"
    for place, one in enumerate(result.ranked, 1):
        yield f"{place:3}  {one.title or one.key}  ({one.category or 'no category'}, {one.product})"
    yield "Made:"
    for picture in result.pictures:
        near = ", ".join(map(_near, picture.nearest))
        yield f"{picture.score:+5.2f}  {picture.path}  {picture.category}: {', '.join(picture.words)}; near {near}"
    if result.drivers:
        yield "Without it, the pictures would be liked so much less, and so many ranked products would go:"
    titles = {row["product"]: row["title"] or row["key"] for row in result.history}
    for driver in result.drivers:
        yield f"{-driver['effect']:+5.2f}  {driver['lost']:3}  {titles.get(driver['name'], driver['name'])}"
    for driver in result.without:
        made = ", ".join(sorted({m["category"] for m in driver["made"]}))
        yield f"{-driver['effect']:+5.2f}  {driver['lost']:3}  all {driver['items']} of {driver['name']}; made: {made}"
    if result.refused_copies:
        yield f"{result.refused_copies:,} pictures were too near to a training photo and were replaced."
    yield from result.notes
    if result.next_pair:
        yield f"Ask next which is liked more: a, {result.next_pair[0]}, or b, {result.next_pair[1]}."
    yield f"Sheet: {result.sheet}" + (f"; page: {result.page}" if result.page else "")


def _near(product: dict[str, Any]) -> str:
    had = " (in the history)" if product["in_history"] else ""
    return f"{product['title'] or product['key']} {product['similarity']:.2f}{had}"
