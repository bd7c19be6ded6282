"""`packshot search`."""

from pathlib import Path

import click

from packshot.cli.output import emit, json_option


@click.command()
@click.argument("catalog", type=click.Path(path_type=Path))
@click.option("--text", help="Words that the photos should fit.")
@click.option("--like", type=click.Path(path_type=Path), help="A photo that they should be like.")
@click.option(
    "--model", required=True, type=click.Path(path_type=Path), help="A run of --model clip, or a pretrained folder."
)
@click.option("--n", default=12, show_default=True, help="How many photos.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the sheet.")
@click.option("--overwrite", is_flag=True, help="Replace the sheet.")
@json_option
def search(
    catalog: Path, text: str | None, like: Path | None, model: Path, n: int, out: Path, overwrite: bool, as_json: bool
) -> None:
    """Find the photos of CATALOG that fit a text, are like a photo, or both; one sheet shows them."""
    from packshot.core.process import keep_freed_memory
    from packshot.tasks.search import SearchRequest, search

    keep_freed_memory()
    result = search(
        SearchRequest(catalog=catalog, model=model, out=out, text=text, like=like, n=n, overwrite=overwrite)
    )
    emit(
        result,
        as_json,
        lambda: [
            *(f"{m.similarity:6.3f}  {m.title}  ({m.category}, {m.photo_id})" for m in result.matches),
            f"The nearest of {result.searched:,} photos: {result.sheet}",
        ],
    )
