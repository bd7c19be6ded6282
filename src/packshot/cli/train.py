"""`packshot train` and `packshot models`."""

import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import click

from packshot.cli.output import emit, json_option, quiet_option
from packshot.core.errors import UsageError

NEW = "<the run at --out>"


@click.command()
@click.argument("catalog", required=False, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run. [runs/NNNNN-MODEL-CATALOG]")
@click.option("--model", help="A name of `packshot models`. [that of --recipe or --from, else vae]")
@click.option(
    "--recipe", type=click.Path(path_type=Path), help="A TOML file of settings, or a recipe by name: small-500."
)
@click.option("--set", "settings", multiple=True, metavar="A.B=VALUE", help="Change one setting; repeat for several.")
@click.option("--budget", help="How long: 150s, 5m, 300cpu-s (CPU-seconds) or 200kimg (pictures). [150s]")
@click.option("--size", type=int, help="Picture size in pixels. [32 for photos up to 32 px, else 64]")
@click.option("--seed", type=int, help="Start of every random stream. [0]")
@click.option(
    "--attributes", metavar="A,B", help="Learn these too: colour and pattern (seen in the photos), any column."
)
@click.option("--text-model", help="Learn the photos' titles too, by this run of --model clip or pretrained folder.")
@click.option(
    "--from", "origin", type=click.Path(path_type=Path), help="Begin with the weights of a run, model or products-64."
)
@click.option("--resume", is_flag=False, flag_value=NEW, metavar="[RUN]", help="Go on with the run RUN (or --out).")
@click.option("--devices", default=1, show_default=True, help="Devices on each node, one process each.")
@click.option("--nodes", default=1, show_default=True, help="Nodes (machines), under torchrun or Ray.")
@click.option("--accelerator", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]))
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), help="Of the networks' arithmetic. [fp32]")
@click.option("--compile", "compiled", is_flag=True, help="Compile the networks (torch.compile).")
@click.option("--engine", default="local", show_default=True, type=click.Choice(["local", "ray"]))
@click.option("--ray-address", help="Of the Ray cluster. [RAY_ADDRESS, else a small one on this machine]")
@click.option("--restarts", type=int, help="Fresh starts after a lost process. [2; none for one device]")
@click.option("--dry-run", is_flag=True, help="Print the settings and stop.")
@quiet_option
@json_option
def train(
    catalog: Path | None,
    out: Path | None,
    model: str | None,
    recipe: Path | None,
    settings: tuple[str, ...],
    budget: str | None,
    size: int | None,
    seed: int | None,
    attributes: str | None,
    text_model: str | None,
    origin: Path | None,
    resume: str | None,
    devices: int,
    nodes: int,
    accelerator: str,
    precision: str | None,
    compiled: bool,
    engine: str,
    ray_address: str | None,
    restarts: int | None,
    dry_run: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train a generator on CATALOG. Ctrl-C leaves a good checkpoint; --resume goes on from it."""
    settings += (f"loop.precision={precision}",) if precision else ()
    settings += ("loop.compile=true",) if compiled else ()
    if resume is not None:
        run = _run_to_resume(resume, catalog, out)
        if dry_run:
            raise UsageError("--dry-run shows the settings of a new run; those of this one are in its run.json.")
        if origin or model or recipe or settings or attributes or text_model or size is not None or seed is not None:
            raise UsageError("A resumed run keeps its own settings; with --resume only --budget can be changed.")
    elif catalog is None:
        raise UsageError("Say which catalogue to train on: packshot train CATALOG (made by packshot ingest).")

    from packshot.core.config import to_table
    from packshot.jobs.engines import train_on
    from packshot.jobs.training import TrainJob
    from packshot.training import presets
    from packshot.training.recipes import find_recipe

    hint: list[str] = []
    if resume is not None:
        job = TrainJob(out=str(run), budget=budget)
    else:
        if attributes is not None:
            names = [name.strip() for name in attributes.split(",") if name.strip()]
            settings = (*settings, f"data.attributes={json.dumps(names)}")
        if text_model is not None:
            settings = (*settings, f"data.text_model={json.dumps(str(Path(text_model).resolve()))}")
        if origin is not None and recipe is None:
            from packshot.training.finetune import open_origin

            start = open_origin(origin, weights=False)
            if model in (None, start.model):
                model, settings = start.model, (*start.settings(), *settings)
        config = presets.resolve_config(
            model=model,
            recipe=None if recipe is None else find_recipe(recipe),
            settings=settings,
            budget=budget,
            seed=seed,
            size=size,
        )
        if dry_run:
            table = to_table(config)
            emit(table, as_json, lambda: _flat(table))
            return
        assert catalog is not None
        if not (model or recipe or origin):
            hint = _hint_at_recipe(catalog, config.data.limit)
        command = shlex.join(["packshot", *(click.get_current_context().find_root().obj or [])])
        job = TrainJob(
            out=str(out or next_run(catalog, config.model)),
            catalog=str(catalog),
            config=to_table(config),
            origin=None if origin is None else str(origin),
            command=command,
        )
    job = replace(job, accelerator=accelerator, per_node=devices, nodes=nodes, engine=engine, quiet=quiet)
    result = train_on(job, restarts=restarts, ray_address=ray_address)
    if result is None:  # Another rank than the first: it speaks for all.
        return
    emit(
        result,
        as_json,
        lambda: [
            f"{result.state.capitalize()} after {result.images:,} pictures in {result.seconds:.0f} s "
            f"({result.cpu_seconds:.0f} CPU-seconds): {result.run}",
            *(f"Left out of training: {n:,}: {reason}." for reason, n in result.left_out.items()),
            f"Next: {_first_use(result.model, result.run)}   packshot evaluate {result.run}",
            *hint,
        ],
    )
    if result.state == "stopped":
        # The result is on stdout already; an error there too would be a second JSON object.
        click.echo(f"Stopped before the budget was used up; go on with: packshot train --resume {result.run}", err=True)
        sys.exit(1)


def _hint_at_recipe(catalog: Path, limit: int | None) -> list[str]:
    """Returns a line which says that the default model is not for few photos, where there are few."""
    from packshot.catalog import open_catalog
    from packshot.training.recipes import recipe_for

    photos = min(open_catalog(catalog).summary["splits"].get("train", 0), limit or sys.maxsize)
    name = recipe_for(photos)
    if name is None:
        return []
    return [
        f"{photos:,} training photos are few, and the default model learns few by heart: try --recipe {name}, which is "
        "for so many, or begin with a ready-trained generator of such products by --from (packshot models)."
    ]


def _first_use(model: str, run: Path) -> str:
    from packshot.models.table import find_model

    if find_model(model).makes == "embeddings":
        return f"packshot search CATALOG --model {run} --text WORDS --out found"
    return f"packshot create {run} --out pictures"


def _run_to_resume(resume: str, catalog: Path | None, out: Path | None) -> Path:
    """`--resume RUN`, `RUN --resume`, `CATALOG --out RUN --resume` and `--resume CATALOG --out RUN` name the run."""
    given = [p for p in (catalog, out, None if resume == NEW else Path(resume)) if p is not None]
    runs = [p for p in given if (p / "run.json").exists()] or [p for p in (out, given[-1] if given else None) if p]
    if not runs:
        raise UsageError("Say which run to go on with: packshot train --resume RUN.")
    if len({p.resolve() for p in runs}) > 1:
        raise UsageError(f"{runs[0]} and {runs[1]} are two runs; say which one to go on with.")
    for path in given:
        if path not in runs and not (path / "catalog.json").exists():
            raise UsageError(f"{path} is neither a run nor a catalogue; to go on with {runs[0]} leave it out.")
    return runs[0]


def next_run(catalog: Path, model: str) -> Path:
    """Returns runs/NNNNN-model-catalogue with the next free number."""
    root = Path("runs")
    taken = [int(p.name[:5]) for p in root.glob("[0-9][0-9][0-9][0-9][0-9]-*")]
    return root / f"{max(taken, default=-1) + 1:05d}-{model}-{catalog.resolve().name}"


def _flat(table: dict[str, object], prefix: str = "") -> list[str]:
    lines = []
    for key, value in table.items():
        lines += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key} = {value}"]
    return lines


@click.command()
@json_option
def models(as_json: bool) -> None:
    """List the models: family, sizes, source."""
    from packshot.core.files import read_json
    from packshot.core.runs import RunFolder, shipped_names
    from packshot.models.table import MODELS
    from packshot.training.presets import DEFAULT_MODEL

    rows = [
        {
            "name": m.name,
            "family": m.family,
            "sizes": list(m.sizes),
            "channels": list(m.channels),
            "summary": m.summary,
            "makes": m.makes,
            "source": m.source,
            "default": m.name == DEFAULT_MODEL,
        }
        for m in MODELS.values()
    ]
    ready = [{"name": name, "card": read_json(RunFolder.open(Path(name)).card_file)} for name in shipped_names()]
    emit(
        {"models": rows, "ready": ready},
        as_json,
        lambda: [
            *(
                f"{m.name:14} {m.family:7} {'/'.join(map(str, m.sizes)):6} px  {m.summary}. {m.source}"
                for m in MODELS.values()
            ),
            *(["", "Ready-trained, by name instead of a run folder:"] if ready else []),
            *(f"{r['name']:14} {r['card']['summary']}" for r in ready),
        ],
    )
