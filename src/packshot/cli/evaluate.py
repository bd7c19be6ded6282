"""`packshot evaluate` and `packshot report`."""

from pathlib import Path

import click

from packshot.cli.output import emit, json_option, quiet_option
from packshot.core.errors import UsageError


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--catalog", type=click.Path(path_type=Path), help="The catalogue. [the one it was trained on]")
@click.option("--n", default=5000, show_default=True, help="Samples, in equal shares of the categories.")
@click.option("--seed", default=0, show_default=True, help="Of the samples and the intervals.")
@click.option(
    "--train-on-synthetic", is_flag=True, help="Do the samples help a classifier? Trains three: photos, samples, both."
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Sample by another setting of the network, for example net.guidance=3; then nothing is written.",
)
@click.option("--inception", type=click.Path(path_type=Path), help="Weights of Inception-v3, for fid_inception_*.")
@quiet_option
@json_option
def evaluate(
    run: Path,
    catalog: Path | None,
    n: int,
    seed: int,
    train_on_synthetic: bool,
    settings: tuple[str, ...],
    inception: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Measure the generator of RUN against the photos: distance, precision, recall, copies, agreement.

    Of a run of --model clip: how well the texts of test photos find their photos.
    """
    from packshot.core.process import keep_freed_memory
    from packshot.evaluation.run import evaluate_run
    from packshot.tasks.search import evaluate_retrieval, makes_embeddings

    keep_freed_memory()
    if makes_embeddings(run):
        if inception is not None or train_on_synthetic or settings:
            raise UsageError(f"{run} makes no pictures; leave out --inception, --set and --train-on-synthetic.")
        result = evaluate_retrieval(run, catalog=catalog)
    else:
        result = evaluate_run(
            run,
            catalog=catalog,
            n=n,
            seed=seed,
            inception=inception,
            train_on_synthetic=train_on_synthetic,
            settings=settings,
            quiet=quiet,
        )
    chance = result.get("chance", {})

    def lines() -> list[str]:
        text = []
        for f in result["figures"]:
            interval = f"[{f['low']:.4g}, {f['high']:.4g}]" if f["low"] is not None else ""
            value = f"{f['value']:.4g}" if f["value"] is not None else "-"
            luck = f"by chance {chance[f['name']]:.4g}" if f["name"] in chance else ""
            text.append(f"{f['name']:28} {value:>8}  {interval:20} n={f['n']}  {f['warning'] or luck}")
        written = [f"Written to {run / 'evaluation.json'}"] if run.is_dir() and not settings else []
        return [*text, *(f"Warning: {w}" for w in result["warnings"]), *written]

    emit(result, as_json, lines)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--catalog", type=click.Path(path_type=Path), help="The catalogue. [the one it was trained on]")
@click.option("--out", type=click.Path(path_type=Path), help="The page. [RUN/report.html]")
@json_option
def report(run: Path, catalog: Path | None, out: Path | None, as_json: bool) -> None:
    """Write one self-contained HTML page about RUN: samples beside photos, curves, figures, licences, command."""
    from packshot.core.process import keep_freed_memory
    from packshot.evaluation.report import write_report

    keep_freed_memory()
    path = write_report(run, catalog=catalog, out=out)
    emit({"report": path}, as_json, lambda: [f"Report: {path}"])
