"""`packshot create` and `packshot sample`."""

from collections.abc import Callable, Sequence
from pathlib import Path

import click
from click.core import ParameterSource

from packshot.cli.notice import asked_notice, notice_options
from packshot.cli.output import emit, json_option, quiet_option
from packshot.cli.signing import signing_options
from packshot.core.errors import UsageError


def foundation_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that only a pipeline of diffusers understands."""
    for option in (
        click.option("--accelerator", type=click.Choice(["auto", "cpu", "cuda"]), help="Pipelines: what to run on."),
        click.option("--negative", metavar="TEXT", help="Pipelines: what the pictures shall not show."),
        click.option("--size", type=int, help="Longer side in pixels: small pictures are enlarged. [the model's own]"),
        click.option("--guidance", type=float, help="Pipelines: how closely to follow the text. [the pipeline's own]"),
        click.option("--steps", type=int, help="Pipelines: steps of denoising. [20]"),
        click.option(
            "--mask",
            type=click.Path(path_type=Path),
            metavar="PICTURE",
            help="Pipelines: repaint the photo of --like where this picture is white, and nowhere else.",
        ),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--label", "labels", multiple=True, metavar="CATEGORY", help="A category by name; repeat for several. [all]"
)
@click.option("--n", default=16, show_default=True, help="How many pictures; with --interpolate, of each category.")
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same pixels.")
@click.option(
    "--truncation",
    "truncation_psi",
    default=1.0,
    show_default=True,
    help="0 to 1: below 1 more typical, less varied pictures.",
)
@click.option("--like", type=click.Path(path_type=Path), metavar="PHOTO", help="Make pictures like this photo.")
@click.option(
    "--variation",
    type=float,
    help="0 to 1: how far from the photo of --like; 0 is its reconstruction, one picture. [0.3]",
)
@click.option(
    "--mix",
    nargs=2,
    metavar="A B",
    help="Pictures on the way from A to B: each a photo, or a number i for picture i of the seed.",
)
@click.option(
    "--styles",
    is_flag=True,
    help="With --mix: A's coarse styles with B's fine ones, at every place to change over. For runs of stylegan2.",
)
@click.option("--interpolate", is_flag=True, help="For each category, pictures on the way from sample 0 to sample 1.")
@click.option(
    "--attributes",
    multiple=True,
    metavar="NAME=VALUE",
    help="What else the pictures have to show: colour=red,pattern=plain. For runs trained with --attributes.",
)
@click.option(
    "--text", help="What the pictures have to show, in words. For runs trained with --text-model, and for pipelines."
)
@click.option("--text-model", type=click.Path(path_type=Path), help="Where the run's text model is now.")
@foundation_options
@click.option(
    "--false-alarms",
    default=0.01,
    show_default=True,
    help="Pictures too near to a training photo are refused: so near as this share of unseen photos comes.",
)
@click.option("--allow-copies", is_flag=True, help="Do not compare the pictures with the training photos.")
@click.option(
    "--for-training",
    "for_training",
    type=click.Path(path_type=Path),
    metavar="CATALOG",
    help="Write a new catalogue: the photos of CATALOG, and the pictures marked as synthetic, to train on.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder. [pictures; with --for-training CATALOG-synthetic]"
)
@click.option("--overwrite", is_flag=True, help="Replace pictures of the same names.")
@notice_options
@signing_options
@json_option
def create(
    run: Path,
    labels: tuple[str, ...],
    n: int,
    seed: int,
    truncation_psi: float,
    like: Path | None,
    variation: float | None,
    mix: tuple[str, str] | None,
    styles: bool,
    interpolate: bool,
    attributes: tuple[str, ...],
    text: str | None,
    text_model: Path | None,
    mask: Path | None,
    steps: int | None,
    guidance: float | None,
    size: int | None,
    negative: str | None,
    accelerator: str | None,
    false_alarms: float,
    allow_copies: bool,
    for_training: Path | None,
    out: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Make new product pictures with the generator of RUN, as PNGs and one contact sheet.

    RUN is a run folder, the name of a generator that comes with Packshot, or a pipeline of diffusers: its folder (with
    model_index.json), or hub:OWNER/NAME to fetch it. Pipelines need --text and 'packshot[foundation]'.
    """
    from packshot.core.process import keep_freed_memory
    from packshot.tasks.create import CreateRequest, create
    from packshot.tasks.foundation import FoundationOptions

    keep_freed_memory()
    if for_training is not None:
        _create_for_training(
            run, for_training, out, labels, n, seed, truncation_psi, false_alarms, allow_copies, as_json
        )
        return
    out = out or Path("pictures")
    result = create(
        CreateRequest(
            run=run,
            out=out,
            n=n,
            seed=seed,
            labels=labels,
            overwrite=overwrite,
            truncation_psi=truncation_psi,
            like=like,
            variation=variation,
            mix=mix,
            notice=asked_notice(),
            styles=styles,
            interpolate=interpolate,
            attributes=named_values(attributes),
            text=text,
            text_model=text_model,
            size=size,
            foundation=FoundationOptions(
                mask=mask, steps=steps, guidance=guidance, negative=negative, accelerator=accelerator
            ),
            allow_copies=allow_copies,
            false_alarms=false_alarms,
        )
    )
    emit(
        result,
        as_json,
        lambda: [
            f"{len(result.pictures)} new picture{'s' * (len(result.pictures) != 1)} in {out}, labelled as generated "
            f"({result.source_type}).",
            *(
                f"{i['name']}: found as {i['label']}; the nearest picture that this generator can make is "
                f"{i['rms']:.1f} grey levels (root mean square) from it."
                for i in result.ingredients
                if "rms" in i
            ),
            *result.notes,
            *_copy_lines(result.copy_gate, result.refused_copies, result.refused_near),
            f"All on one sheet: {result.sheet}",
        ],
    )


def _copy_lines(gate: str, refused: int, near: Sequence[str] = ()) -> list[str]:
    """Returns what a person is told of copies."""
    names = ", ".join(near[:SHOWN]) + (", ..." if len(near) > SHOWN else "")
    to = f" (nearest: {names})" if names else ""
    counted = [f"Refused as too near to a training photo: {refused:,}{to}."] if refused else []
    return [*counted, gate]


SHOWN = 5
FOR_TRAINING = {
    "run",
    "for_training",
    "out",
    "labels",
    "n",
    "seed",
    "truncation_psi",
    "false_alarms",
    "allow_copies",
    "as_json",
}
"""Parameters of `create` that go with --for-training."""


def _create_for_training(
    run: Path,
    catalog: Path,
    out: Path | None,
    labels: tuple[str, ...],
    n: int,
    seed: int,
    truncation_psi: float,
    false_alarms: float,
    allow_copies: bool,
    as_json: bool,
) -> None:
    from packshot.tasks.for_training import ForTrainingRequest, create_for_training

    context = click.get_current_context()
    for option in context.command.params:
        given = context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
        if given and option.name not in FOR_TRAINING:
            raise UsageError(f"{option.opts[0]} does not go with --for-training; leave one of them out.")
    request = ForTrainingRequest(
        run=run,
        catalog=catalog,
        out=out,
        n=n,
        seed=seed,
        labels=labels,
        truncation_psi=truncation_psi,
        quiet=as_json,
        allow_copies=allow_copies,
        false_alarms=false_alarms,
    )
    result = create_for_training(request)
    emit(
        result,
        as_json,
        lambda: [
            f"{result.catalog}: {result.photos:,} photos, as they were, and {result.pictures:,} new pictures, "
            f"marked as synthetic; {result.for_training:,} of them to train on, none to test with.",
            *([f"In the catalogue already: {result.already_there:,}."] if result.already_there else []),
            *(f"Kept out of training: {count:,} ({reason})." for reason, count in result.excluded.items()),
            *_copy_lines(result.copy_gate, result.refused_copies),
        ],
    )


def named_values(given: Sequence[str]) -> dict[str, str]:
    """Returns the attributes of `--attributes colour=red,pattern=plain`, given once or several times.

    Raises:
        UsageError: one has no value, or is given twice.
    """
    out: dict[str, str] = {}
    for part in (part for text in given for part in text.split(",")):
        name, equals, value = part.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise UsageError(f"'{part}' is not an attribute with its value; write it as colour=red.")
        if name.strip() in out:
            raise UsageError(f"The attribute '{name.strip()}' is given twice; give it once.")
        out[name.strip()] = value.strip()
    return out


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--n", default=5000, show_default=True, help="How many samples, in equal shares of the categories.")
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same pixels.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="An .npz file.")
@click.option("--overwrite", is_flag=True, help="Replace the file.")
@quiet_option
@json_option
def sample(run: Path, n: int, seed: int, out: Path, overwrite: bool, quiet: bool, as_json: bool) -> None:
    """Write samples of RUN as arrays (images, labels, categories) to measure the generator with."""
    from packshot.core.process import keep_freed_memory
    from packshot.tasks.sample import sample

    keep_freed_memory()
    result = sample(run, out, n=n, seed=seed, overwrite=overwrite, quiet=quiet)
    emit(result, as_json, lambda: [f"{result.n} samples of {result.shape} uint8 in {result.file}"])
