"""`packshot restyle`."""

from pathlib import Path
from typing import Literal

import click

from packshot.cli.output import emit
from packshot.cli.photos import edit_and_tell, photo_options


def _list(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted:
        return
    from packshot.models.style.presets import PRESETS

    table = {name: {"about": p.about, "about_zh": p.about_zh} for name, p in PRESETS.items()}
    as_json = "--json" in (context.find_root().obj or ())
    emit(table, as_json, lambda: (f"{name:14} {row['about']}" for name, row in table.items()))
    context.exit()


@click.command()
@photo_options
@click.option("--list", is_flag=True, is_eager=True, expose_value=False, callback=_list, help="List the named styles.")
@click.option(
    "--style",
    "styles",
    multiple=True,
    required=True,
    metavar="NAME|PICTURE[:SHARE]",
    help="A named style, or any picture whose style is taken. Twice: a mixture, in equal shares unless told otherwise.",
)
@click.option("--strength", default=1.0, show_default=True, help="0 is the photo, 1 the style.")
@click.option("--keep-colours", is_flag=True, help="The style's strokes in the photo's colours.")
@click.option("--only", type=click.Choice(["product", "background"]), help="Style this part; the rest stays as it is.")
@click.option(
    "--matte",
    type=click.Path(path_type=Path),
    help="For --only: a picture, white where the product is. [its transparency, else what the cut-out finds]",
)
@click.option("--protect-text", is_flag=True, help="Leave text and logos as they are.")
def restyle(
    styles: tuple[str, ...],
    strength: float,
    keep_colours: bool,
    only: Literal["product", "background"] | None,
    matte: Path | None,
    protect_text: bool,
    photos: tuple[Path, ...],
    out: Path,
    format_: str | None,
    quality: int,
    overwrite: bool,
    workers: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Turn PHOTOS (files, folders, catalogues or feeds) into pictures of an artistic style."""
    from packshot.tasks.cutout import Cutout
    from packshot.tasks.restyle import Restyle, RestyleRequest

    request = RestyleRequest(
        styles=styles,
        strength=strength,
        keep_colours=keep_colours,
        only=only,
        matte=matte,
        protect_text=protect_text,
    )
    cutout = Cutout() if only and matte is None else None
    edit_and_tell(Restyle(request, cutout), photos, out, format_, quality, overwrite, workers, quiet, as_json)
