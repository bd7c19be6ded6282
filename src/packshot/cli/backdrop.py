"""`packshot backdrop`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from packshot.cli.photos import edit_and_tell, photo_options

if TYPE_CHECKING:
    from packshot.images.placing import Layout

KEEP = "keep"


@click.command()
@photo_options
@click.option(
    "--background",
    default="white",
    show_default=True,
    help="white, #rrggbb, gradient:A-B (top to foot), or a picture's FILE.",
)
@click.option(
    "--shadow",
    type=click.Choice(["none", "keep", "contact", "soft"]),
    default="none",
    show_default=True,
    help="keep: the photo's own; contact: of a product that stands; soft: of one that lies flat.",
)
@click.option(
    "--fill", help="Share of the frame's limiting side that the product takes, or keep: it stays where it is. [0.85]"
)
@click.option("--margin", help="What stays free at each side: pixels, or a share like 5%.")
@click.option("--aspect", help="Width:height of the frame, or keep: the photo's. [1:1]")
@click.option("--size", type=int, help="The frame's longer side in pixels. [the photo's own scale]")
@click.option("--centre", type=click.Choice(["box", "mass"]), default="box", show_default=True, help="What is centred.")
@click.option(
    "--matte",
    type=click.Path(path_type=Path),
    help="A file, white where the product is. [its transparency, else the cut-out]",
)
@click.option(
    "--no-exact", is_flag=True, help="White need not be 255 to the product's edge: JPEG and WebP are allowed."
)
def backdrop(
    photos: tuple[Path, ...],
    out: Path,
    format_: str | None,
    quality: int,
    overwrite: bool,
    workers: int | None,
    quiet: bool,
    as_json: bool,
    background: str,
    shadow: str,
    fill: str | None,
    margin: str | None,
    aspect: str | None,
    size: int | None,
    centre: str,
    matte: Path | None,
    no_exact: bool,
) -> None:
    """Put the products of PHOTOS on white, a colour, a gradient or a picture.

    The product is never stretched; without --size its pixels stay as they are.
    """
    from packshot.tasks.backdrop import Backdrop, BackdropRequest
    from packshot.tasks.cutout import Cutout

    request = BackdropRequest(
        background=background,
        shadow=shadow,  # type: ignore[arg-type]  # click has checked it
        layout=_layout(fill, margin, aspect, size, centre),
        matte=matte,
        exact=not no_exact,
    )
    cut_out = Cutout() if matte is None else None
    edit_and_tell(Backdrop(request, cut_out), photos, out, format_, quality, overwrite, workers, quiet, as_json)


def _layout(fill: str | None, margin: str | None, aspect: str | None, size: int | None, centre: str) -> Layout:
    from packshot.images.placing import FILL, NO_MARGIN, Layout, parse_aspect, parse_length

    stays = fill == KEEP
    ratio = (
        None if aspect == KEEP or (stays and aspect is None) else (1.0, 1.0) if aspect is None else parse_aspect(aspect)
    )
    # A margin that is asked for decides alone, unless a fill is, too.
    share = None if stays else _share(fill) if fill is not None else FILL if margin is None else 1.0
    free = NO_MARGIN if margin is None else parse_length(margin)
    return Layout(aspect=ratio, size=size, fill=share, margin=free, centre=centre)  # type: ignore[arg-type]


def _share(text: str) -> float:
    from packshot.core.errors import UsageError

    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--fill is '{text}'; it can be a number above 0 to 1, or keep.") from None
