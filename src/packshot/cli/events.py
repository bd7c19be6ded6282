"""`packshot events ingest|show|forget` and `packshot rank`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from packshot.cli.output import emit, json_option, quiet_option
from packshot.core.errors import UsageError
from packshot.core.text import printable

if TYPE_CHECKING:
    from packshot.tasks.events import Shown
    from packshot.tasks.fairness import FairnessReport
    from packshot.tasks.rank import RankResult, TasteRequest
    from packshot.taste.compare import TasteReport
    from packshot.taste.ingest import Ingested

key_option = click.option(
    "--key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Key of the pseudonyms. [taste.key in the user's folder]",
)


@click.group()
def events() -> None:
    """What shoppers did: into a store under pseudonyms, and out of it again."""


@events.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="EVENTS...")
@click.option("--catalog", required=True, type=click.Path(path_type=Path), help="Whose products the events are about.")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="STORE",
    help="The store; one that is there gets more.",
)
@key_option
@click.option(
    "--consent",
    metavar="SCOPES",
    help="Of shoppers of whom nothing else is said: rank, personalise (with commas), or none. [left out]",
)
@click.option(
    "--consent-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A table of users and consents; counts first.",
)
@click.option(
    "--column", "columns", multiple=True, metavar="FIELD=NAME", help="A file's own column name, e.g. user=kunde."
)
@click.option("--kind", metavar="KIND", help="Kind of all events, for files that do not say: view, cart, purchase, ...")
@quiet_option
@json_option
def ingest(
    files: tuple[Path, ...],
    catalog: Path,
    out: Path,
    key: Path | None,
    consent: str | None,
    consent_file: Path | None,
    columns: tuple[str, ...],
    kind: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Read EVENTS (CSV, TSV, JSON Lines, Parquet; user, product, kind, time) into a store.

    Users become pseudonyms. Unknown products and kinds, damaged rows, double clicks and bots are left out and counted.
    """
    from packshot.core.progress import Progress
    from packshot.tasks.events import EventsRequest
    from packshot.tasks.events import ingest as run
    from packshot.taste.ingest import IngestSettings

    pairs = dict(c.partition("=")[::2] for c in columns)
    if not all(pairs.values()):
        raise UsageError("--column wants FIELD=NAME, for example --column user=kunde.")
    settings = IngestSettings(columns=pairs, kind=kind, consent=consent, consent_file=consent_file)
    with Progress("Reading events", quiet=quiet) as progress:
        result = run(
            EventsRequest(events=files, catalog=catalog, out=out, key=key, settings=settings),
            lambda rows: progress.update(rows, f"{rows:,} rows"),
        )
    emit(result, as_json, lambda: map(printable, _ingested(result)))


@events.command()
@click.argument("store", type=click.Path(path_type=Path))
@json_option
def show(store: Path, as_json: bool) -> None:
    """Say what a STORE holds: events by kind, shoppers by consent, what was left out and why."""
    from packshot.tasks.events import show as run

    result = run(store)
    emit(result, as_json, lambda: map(printable, _shown(result)))


@events.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--user", required=True, metavar="ID", help="The shop's own id of the shopper, or the pseudonym.")
@key_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def forget(store: Path, user: str, key: Path | None, yes: bool, as_json: bool) -> None:
    """Remove a shopper from a STORE: events, consents, models, indexes; proven by reading every byte of it."""
    import sys

    from packshot.tasks.events import forget as run

    if not yes:
        if as_json or not sys.stdin.isatty():
            raise UsageError("Nothing is removed without a word: add --yes.")
        click.confirm("Remove this shopper? It cannot be undone.", abort=True)
    result = run(store, user, key)
    emit(
        result,
        as_json,
        lambda: [
            f"Forgot {result.events:,} events and {result.derived:,} computed files; {result.files:,} files "
            f"({result.bytes:,} bytes) were read, and the shopper is in none of them."
        ],
    )


@click.command()
@click.option("--events", required=True, type=click.Path(path_type=Path), metavar="STORE", help="A store of events.")
@click.option("--catalog", required=True, type=click.Path(path_type=Path), help="The catalogue that is ranked.")
@click.option("--user", metavar="ID", help="The shop's own id of the shopper, or the pseudonym.")
@click.option("--n", default=20, show_default=True, help="How many products.")
@click.option("--model", default="hybrid", show_default=True, help="hybrid, choice, popularity, als, bpr, vbpr, dvbpr.")
@click.option(
    "--features", type=click.Path(path_type=Path), metavar="RUN", help="A run of --model clip. [the shipped backbone]"
)
@click.option("--half-life", default=30.0, show_default=True, help="Days after which an event counts half.")
@click.option("--weight", "weights", multiple=True, metavar="KIND=NUMBER", help="What an event counts, e.g. cart=4.")
@key_option
@click.option(
    "--evaluate", is_flag=True, help="Measure the models instead: each shopper's last liked product is looked for."
)
@click.option(
    "--fairness",
    is_flag=True,
    help="Measure whom the lists show and for whom they are right, by category, price and popularity.",
)
@click.option(
    "--tradeoff",
    default=0.3,
    show_default=True,
    help="With --fairness, 0 to 1: how far varied counts beside liked, and how much of their share of the catalogue "
    "little-known products get of the attention.",
)
@click.option("--seed", default=0, show_default=True, help="Of the fit.")
@quiet_option
@json_option
def rank(
    events: Path,
    catalog: Path,
    user: str | None,
    n: int,
    model: str,
    features: Path | None,
    half_life: float,
    weights: tuple[str, ...],
    key: Path | None,
    evaluate: bool,
    fairness: bool,
    tradeoff: float,
    seed: int,
    quiet: bool,
    as_json: bool,
) -> None:
    """Rank the products of a catalogue for one shopper, or measure how well that works (--evaluate, --fairness)."""
    from packshot.core.process import keep_freed_memory
    from packshot.core.progress import Progress
    from packshot.tasks.rank import TasteRequest, evaluate_taste
    from packshot.tasks.rank import rank as run

    keep_freed_memory()
    request = TasteRequest(
        events=events,
        catalog=catalog,
        model=model,
        features=features,
        half_life_days=half_life,
        weights=_weights(weights),
        seed=seed,
    )
    if (user is not None) + evaluate + fairness > 1:
        raise UsageError("Say one of these: --user ID, --evaluate or --fairness.")
    if evaluate:
        with Progress("Measuring", quiet=quiet) as progress:
            report = evaluate_taste(request, note=lambda name: progress.say(f"fitting {name}"))
        emit(report, as_json, lambda: report_lines(report))
        return
    if fairness:
        _fairness(request, tradeoff, quiet=quiet, as_json=as_json)
        return
    if user is None:
        raise UsageError("Say whom to rank for, --user ID, or measure with --evaluate or --fairness.")
    with Progress("Looking at photos", quiet=quiet) as progress:
        result = run(request, user, n, key, lambda done: progress.update(done, f"{done:,} photos"))
    emit(result, as_json, lambda: map(printable, _ranked(result)))


def _fairness(request: TasteRequest, tradeoff: float, *, quiet: bool, as_json: bool) -> None:
    from packshot.core.progress import Progress
    from packshot.tasks.fairness import report_fairness

    with Progress("Measuring", quiet=quiet):
        report = report_fairness(request, tradeoff)
    emit(report, as_json, lambda: map(printable, _fair_lines(report)))


def _fair_lines(report: FairnessReport) -> Iterator[str]:
    yield f"Lists of {report.places} of {report.shoppers:,} shoppers, {report.products:,} products, by {report.model}."
    yield "Varied, lifted: the trade-offs. Hits: lists that hold the last liked product, which was taken away before."
    yield f"{'varied':>8}{'lifted':>8}{'liked':>8}{'diversity':>11}{'shown':>8}{'hits':>8}{'NDCG':>8}"
    for row in report.rows:
        varied = "-" if row.diversity is None else f"{row.diversity:.3f}"
        yield (
            f"{row.tradeoff:8.2f}{row.lift:8.2f}{row.liked:8.3f}{varied:>11}{row.shown:8.1%}{row.hits or 0:8.1%}"
            f"{row.ndcg or 0:8.3f}"
        )
    for row in report.rows:
        yield f"Varied {row.tradeoff:.2f}, lifted {row.lift:.2f}: products, attention, lift; hits (asked)"
        quality = {(q.by, q.group): q for q in row.quality}
        for one in row.exposure:
            asked = quality.get((one.by, one.group))
            hits = "-" if asked is None else f"{asked.hits:.1%} ({asked.asked})"
            yield f"  {one.by + ': ' + one.group:32}{one.products:8.1%}{one.exposure:8.1%}{one.lift:7.2f}  {hits}"
    yield from report.notes


def report_lines(report: TasteReport) -> Iterator[str]:
    """Yields the table of a report."""
    yield f"{report.shoppers:,} shoppers asked about their last liked product, {report.products:,} products, "
    yield f"{report.cold:,} of them with all events taken away (cold); 95 % intervals over shoppers."
    yield f"{'':12}{'AUC':>24}{'NDCG@20':>24}{'HR@20':>24}{'cold AUC':>24}"
    for name, figures in report.models.items():
        yield f"{name:12}" + "".join(f"{_interval(figure):>24}" for figure in figures)
    for figure in report.gain or ():
        yield f"{figure['name']}: {_interval(figure)}"
    yield from report.warnings


def _interval(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return "-"
    return f"{figure['value']:.4f} [{figure['low']:.4f}, {figure['high']:.4f}]"


def _weights(pairs: tuple[str, ...]) -> dict[str, float]:
    out = {}
    for pair in pairs:
        kind, _, number = pair.partition("=")
        try:
            out[kind] = float(number)
        except ValueError as e:
            raise UsageError(f"--weight wants KIND=NUMBER, for example cart=4, not '{pair}'.") from e
    return out


def _ingested(result: Ingested) -> Iterator[str]:
    counts = result.counts
    yield f"{counts['added']:,} of {counts['rows']:,} rows were added in {result.seconds:.1f} s."
    left = {
        "damaged": "are damaged",
        "unknown_product": "are of products that the catalogue does not have",
        "unknown_kind": "are of an unknown kind",
        "before_2000": "are dated before 2000",
        "future": "are dated more than a day ahead",
        "no_consent": "are of shoppers without consent (said by --consent, --consent-file or a column)",
        "double_clicks": "are double clicks",
        "already_there": "are there already",
        "of_bots": "are of bots",
    }
    read = ", ".join(f"{name} is {' or '.join(columns)}" for name, columns in result.columns.items())
    if read:
        yield f"Columns: {read}."
    for name, words in left.items():
        if counts[name]:
            yield f"Left out: {counts[name]:,} {words}."
            yield from (
                f"  {e.file}, {_unit(e.file)} {e.line:,}: {e.said}" for e in result.examples if e.reason == name
            )
    if counts["clamped"]:
        yield f"{counts['clamped']:,} are dated up to a day ahead; they are taken as they are."
    if counts["withdrawn"]:
        yield f"{counts['withdrawn']:,} older events were removed: their shoppers' consent ended, or they are bots."
    yield f"{result.store} holds {result.events:,} events of {result.shoppers:,} shoppers."


def _unit(file: str) -> str:
    return "row" if file.lower().endswith((".parquet", ".pq")) else "line"


def _shown(result: Shown) -> Iterator[str]:
    about = result.summary
    kinds = ", ".join(f"{n:,} {kind}" for kind, n in about["kinds"].items())
    yield f"{about['events']:,} events of {about['shoppers']:,} shoppers on {about['products']:,} products: {kinds}."
    if about["first"] is not None:
        yield f"From {_day(about['first'])} to {_day(about['last'])}."
    consent = ", ".join(f"{n:,} to {scope}" for scope, n in about["consent"].items())
    yield f"Consent: {consent}. Bots: {about['bots']:,}."
    left: dict[str, int] = {}
    for one in result.ingests:
        for name, n in one["counts"].items():
            left[name] = left.get(name, 0) + n
    said = ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in left.items() if n)
    yield f"Ingests: {len(result.ingests):,}; {said or 'no rows'}."
    yield from result.notes


def _ranked(result: RankResult) -> Iterator[str]:
    untouched = "  by its looks alone" if result.sees else "  nobody liked it yet"
    for place, one in enumerate(result.ranked, 1):
        looks = "" if one.events else untouched
        about = f"{one.category or 'no category'}, {one.product}"
        yield f"{place:3}  {one.score:8.3f}  {one.title or one.key}  ({about}){looks}"
    yield f"Of {result.products:,} products, by {result.model}; the shopper's history has {result.history:,}."
    yield from result.notes


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).date().isoformat()
