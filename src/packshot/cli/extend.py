"""`packshot extend`."""

from __future__ import annotations

from pathlib import Path

import click

from packshot.cli.photos import edit_and_tell, photo_options


@click.command()
@photo_options
@click.option("--aspect", help="Width:height of the results, for example 4:5; room is added until it is reached.")
@click.option(
    "--margin",
    help="Room at each side instead, in pixels or as a share: one length, or top,right,bottom,left; negative crops.",
)
@click.option("--feather", default=0, show_default=True, help="Pixels of the photo that pass into what was added.")
def extend(
    photos: tuple[Path, ...],
    out: Path,
    format_: str | None,
    quality: int,
    overwrite: bool,
    workers: int | None,
    quiet: bool,
    as_json: bool,
    aspect: str | None,
    margin: str | None,
    feather: int,
) -> None:
    """Give PHOTOS more room: their background goes on, and every pixel of theirs stays as it is.

    No network makes what is added, but nobody photographed it either: the results are labelled as composites.
    """
    from packshot.images.placing import parse_aspect
    from packshot.tasks.cutout import Cutout
    from packshot.tasks.extend import Extend, ExtendRequest, parse_margins

    request = ExtendRequest(
        aspect=None if aspect is None else parse_aspect(aspect),
        margins=None if margin is None else parse_margins(margin),
        feather=feather,
    )
    edit_and_tell(Extend(request, Cutout()), photos, out, format_, quality, overwrite, workers, quiet, as_json)
