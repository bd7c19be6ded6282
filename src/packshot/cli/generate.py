"""`packshot create` and `packshot sample`."""

from pathlib import Path

import click

from packshot.cli.output import emit, json_option, quiet_option


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
@click.option("--interpolate", is_flag=True, help="For each category, pictures on the way from sample 0 to sample 1.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the pictures.")
@click.option("--overwrite", is_flag=True, help="Replace pictures of the same names.")
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
    interpolate: bool,
    out: Path,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Make new product pictures with the generator of RUN, as PNGs and one contact sheet."""
    from packshot.core.process import keep_freed_memory
    from packshot.tasks.create import CreateRequest, create

    keep_freed_memory()
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
            interpolate=interpolate,
        )
    )
    emit(
        result,
        as_json,
        lambda: [
            f"{len(result.pictures)} new pictures in {out}, labelled as generated ({result.source_type}).",
            *(
                f"{i['name']}: found as {i['label']}; the nearest picture that this generator can make is "
                f"{i['rms']:.1f} grey levels (root mean square) from it."
                for i in result.ingredients
            ),
            f"All on one sheet: {result.sheet}",
        ],
    )


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
    from packshot.tasks.create import sample

    keep_freed_memory()
    result = sample(run, out, n=n, seed=seed, overwrite=overwrite, quiet=quiet)
    emit(result, as_json, lambda: [f"{result.n} samples of {result.shape} uint8 in {result.file}"])
