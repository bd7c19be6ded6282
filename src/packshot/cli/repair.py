"""`packshot repair`."""

from __future__ import annotations

from pathlib import Path

import click

from packshot.cli.photos import edit_and_tell, photo_options


@click.command()
@photo_options
@click.option("--mask", type=click.Path(path_type=Path), help="A picture as large as each photo: white is repainted.")
@click.option("--box", "boxes", multiple=True, help="X,Y,WIDTH,HEIGHT in pixels or as shares: 10%,5%,50%,8%.")
@click.option("--polygon", "polygons", multiple=True, help='Corners: "x,y x,y x,y ...", in pixels or as shares.')
@click.option("--marks", is_flag=True, help="Text and marks that lie on the photo; needs --attest.")
@click.option("--auto", is_flag=True, help="Damage that is found: dust, scratches, stains, holes, missing blocks.")
@click.option("--attest", help='Your word that you may remove a mark: "I hold the rights to these photos".')
@click.option(
    "--method",
    default="auto",
    show_default=True,
    help="patch: from the photo's own patches; network: an inpainter says what stands there; auto: network if it is "
    "installed.",
)
@click.option("--grow", default=0.0, help="Pixels by which the mask is grown. [0]")
@click.option("--feather", default=0.0, help="Pixels around the mask over which the photo passes into it. [0]")
@click.option("--show-mask", is_flag=True, help="Write the mask beside each result.")
@click.option("--seed", default=0, show_default=True, help="Another one gives another filling.")
def repair(
    photos: tuple[Path, ...],
    out: Path,
    format_: str | None,
    quality: int,
    overwrite: bool,
    workers: int | None,
    quiet: bool,
    as_json: bool,
    mask: Path | None,
    boxes: tuple[str, ...],
    polygons: tuple[str, ...],
    marks: bool,
    auto: bool,
    attest: str | None,
    method: str,
    grow: float,
    feather: float,
    show_mask: bool,
    seed: int,
) -> None:
    """Paint parts of PHOTOS anew from what is around them; every other pixel stays as it is.

    The results are PNGs, bit-identical outside of the mask. One mask serves any number of photos of its size; boxes and
    polygons in percent serve photos of any size.
    """
    from packshot.images.masks import Polygon, Rectangle
    from packshot.tasks.repair import Repair, RepairRequest

    request = RepairRequest(
        mask=mask,
        shapes=(*map(Rectangle.parse, boxes), *map(Polygon.parse, polygons)),
        marks=marks,
        auto=auto,
        attest=attest,
        method=method,  # type: ignore[arg-type]
        grow=grow,
        feather=feather,
        show_mask=show_mask,
        seed=seed,
    )
    edit_and_tell(Repair(request), photos, out, format_, quality, overwrite, workers, quiet, as_json)
