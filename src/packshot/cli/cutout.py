"""`packshot cutout`."""

from __future__ import annotations

from pathlib import Path

import click

from packshot.cli.photos import edit_and_tell, photo_options


@click.command()
@photo_options
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="Your own U2Net, ISNet, BiRefNet or MODNet as an .onnx file; for another, a descriptor beside it as .json.",
)
@click.option("--threshold", type=float, help="Below this confidence, 0 to 1, it goes to review. [the network's own]")
@click.option(
    "--refine",
    type=click.Choice(["guided", "closed-form", "none"]),
    default="guided",
    show_default=True,
    help="How edges are drawn at the photo's full size; closed-form needs the extra 'matting'.",
)
@click.option("--matte", is_flag=True, help="Also write the matte, as STEM-matte.png.")
@click.option("--alpha-only", is_flag=True, help="Write the matte instead of the product.")
def cutout(
    photos: tuple[Path, ...],
    out: Path,
    format_: str | None,
    quality: int,
    overwrite: bool,
    workers: int | None,
    quiet: bool,
    as_json: bool,
    model: Path | None,
    threshold: float | None,
    refine: str,
    matte: bool,
    alpha_only: bool,
) -> None:
    """Cut the product out of PHOTOS (files, folders, catalogues, feeds): PNGs with transparency, as large as they are.

    The product's pixels stay as they are, except at its edge, where the background's colour is taken out. What the
    network is not sure of lies in OUT/review; a photo that is cut out already keeps its transparency.
    """
    from packshot.tasks.cutout import Cutout, CutoutRequest

    request = CutoutRequest(
        model=model,
        threshold=threshold,
        refine=refine,  # type: ignore[arg-type]
        matte=matte,
        alpha_only=alpha_only,
    )
    edit_and_tell(Cutout(request), photos, out, format_, quality, overwrite, workers, quiet, as_json)
