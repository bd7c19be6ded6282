"""`packshot anonymise`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from packshot.cli.photos import edit_and_tell, photo_options


@click.command()
@photo_options
@click.option("--faces/--no-faces", default=True, show_default=True, help="Hide faces.")
@click.option("--plates", is_flag=True, help="Hide number plates.")
@click.option("--text", is_flag=True, help="Hide lines of text.")
@click.option("--region", "regions", multiple=True, help="Hide this rectangle, X,Y,W,H, in every photo.")
@click.option(
    "--how", type=click.Choice(["blur", "fill", "pixelate"]), default="blur", show_default=True, help="To hide it so."
)
@click.option("--strength", default=0.5, show_default=True, help="Of blur and pixelate, 0 to 1.")
@click.option("--threshold", default=0.35, show_default=True, help="How sure a detector has to be.")
@click.option(
    "--allow",
    multiple=True,
    help="What stays as it is: X,Y,W,H in every photo, or FILE.csv (photo,x,y,width,height).",
)
@click.option("--authors", is_flag=True, help="Remove who made the photo from its metadata, too.")
def anonymise(
    photos: tuple[Path, ...],
    out: Path,
    format_: str | None,
    quality: int,
    overwrite: bool,
    workers: int | None,
    quiet: bool,
    as_json: bool,
    faces: bool,
    plates: bool,
    text: bool,
    regions: tuple[str, ...],
    how: Literal["blur", "fill", "pixelate"],
    strength: float,
    threshold: float,
    allow: tuple[str, ...],
    authors: bool,
) -> None:
    """Hide who is to be seen in PHOTOS: faces, number plates, texts; and place, owner and serial numbers in metadata.

    A face of which the detector is not sure sends its photo to OUT/review. No detector finds all: look at the results.
    """
    from packshot.images.masks import Rectangle
    from packshot.tasks.anonymise import Anonymise, AnonymiseRequest, read_allow

    request = AnonymiseRequest(
        faces=faces,
        plates=plates,
        text=text,
        boxes=tuple(Rectangle.parse(r) for r in regions),
        how=how,
        strength=strength,
        threshold=threshold,
        allow=tuple(entry for given in allow for entry in read_allow(given)),
        authors=authors,
    )
    edit_and_tell(Anonymise(request), photos, out, format_, quality, overwrite, workers, quiet, as_json)
