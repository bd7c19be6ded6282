"""What the commands of the darkroom share: PHOTOS..., --out and how results are written; and how they are told.

PHOTOS are files, folders, catalogues and product feeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from packshot.cli.notice import notice_options, noticed
from packshot.cli.output import emit, json_option, quiet_option
from packshot.cli.signing import signing_options
from packshot.core.errors import PackshotError
from packshot.core.text import printable

if TYPE_CHECKING:
    from packshot.tasks.batch import BatchResult
    from packshot.tasks.edit import Edit

IMAGES = "packshot.images"
"""Where the context of a command keeps the folder of a feed's photos, so that no command has to hand it on."""
SHOWN = 10
PLACES = {
    "corner": "in a corner",
    "padding": "on a strip below the picture",
    "beside": "beside the picture, as caption, alt text and HTML in its .labels.json",
    "none": "left out, as was asked",
}


def photo_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command PHOTOS..., --out, --format, --quality, --overwrite, --workers, --quiet and --json.

    And --images, the notice's and the signer's options, which are no parameters of it: `edit_and_tell` and the door
    read them.
    """
    wrap = [
        click.argument("photos", nargs=-1, required=True, type=_Place(path_type=Path)),
        click.option("--out", required=True, type=_Place(path_type=Path), help="Folder for the results."),
        click.option(
            "--images",
            type=_Place(path_type=Path),
            expose_value=False,
            callback=_keep_images,
            help="Where PHOTOS is a product feed or list: the folder of its photos. [the feed's own]",
        ),
        click.option(
            "--format",
            "format_",
            type=click.Choice(["png", "jpeg", "webp"]),
            help="Of the results; those with transparency are PNGs in any case. [the photo's own]",
        ),
        click.option("--quality", default=95, show_default=True, help="Of JPEG and WebP."),
        click.option("--overwrite", is_flag=True, help="Replace files of the same names."),
        click.option("--workers", type=int, help="Processes that edit. [for many photos, one for each core; else 1]"),
        quiet_option,
        json_option,
    ]
    command = notice_options(signing_options(command))
    for decorate in reversed(wrap):
        command = decorate(command)
    return command


class _Place(click.Path):
    """A file or folder. An empty name, as an unset variable of a script gives it, is not the folder one is in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("A name is empty; name a file or folder (. is the one that you are in).", param, ctx)
        return super().convert(value, param, ctx)


def _keep_images(context: click.Context, _: click.Parameter, folder: Path | None) -> None:
    context.meta[IMAGES] = folder


def _images() -> Path | None:
    folder: Path | None = click.get_current_context().meta[IMAGES]
    return folder


def edit_and_tell(
    edit: Edit,
    photos: tuple[Path, ...],
    out: Path,
    format_: str | None,
    quality: int,
    overwrite: bool,
    workers: int | None,
    quiet: bool,
    as_json: bool,
    sheet: bool = False,
    whole: bool = False,
) -> None:
    """Edits the photos, prints what became of them, and exits with 1 where one failed or was refused.

    With `sheet`, photos and results side by side go to OUT-before-after.png, made anew each time. An edit that is
    `whole` places its notice itself.
    """
    from packshot.core.process import keep_freed_memory
    from packshot.tasks.batch import BatchOptions, edit_photos

    keep_freed_memory()
    options = BatchOptions(
        format=format_,
        quality=quality,
        overwrite=overwrite,
        quiet=quiet or as_json,
        workers=workers,
        images=_images(),
    )
    result = edit_photos(list(photos), edit if whole else noticed(edit), out, options)
    shown = not sheet or _write_sheet(list(photos), result)
    emit(result, as_json, lambda: _lines(result))
    if result.counts["failed"] or result.counts["refused"] or not shown:
        raise click.exceptions.Exit(1)


def plan_and_tell(edit: Edit, photos: tuple[Path, ...], out: Path, workers: int | None, as_json: bool) -> None:
    """Prints what the command would do, how long it would take and how much memory."""
    from packshot.tasks.batch import BatchOptions, plan_photos

    plan = plan_photos(list(photos), edit, out, BatchOptions(workers=workers, images=_images()))

    def lines() -> Iterator[str]:
        yield f"{plan.photos:,} photo{'s' * (plan.photos != 1)}, each: {', '.join(plan.steps)}."
        if plan.seconds_each is None or plan.seconds is None:
            yield "How long that takes cannot be told: none of the photos that were tried could be edited."
        else:
            yield (
                f"About {plan.seconds_each:.1f} s a photo, {plan.seconds / 60:,.1f} min in all (measured on "
                f"{plan.sampled}, for {plan.workers} process{'es' * (plan.workers > 1)}); memory up to "
                f"{plan.memory_mib:,.0f} MiB{' each' * (plan.workers > 1)}. Nothing was written."
            )

    emit(plan, as_json, lines)


def _write_sheet(photos: list[Path], result: BatchResult) -> bool:
    """Writes the sheet; where that fails, says why: the photos are done all the same."""
    from packshot.tasks.before_after import write_before_after

    try:
        write_before_after(photos, result, _images())
    except PackshotError as e:
        click.echo(f"packshot: There is no sheet of before and after: {e}", err=True)
        return False
    return True


def _lines(result: BatchResult) -> Iterator[str]:
    counts = result.counts
    again = f" ({counts['again']:,} of them before)" if counts["again"] else ""
    yield f"{result.task}: {counts['done']:,} of {len(result.photos):,} photos done, in {result.out}{again}."
    for status, words in (
        ("review", "to look at, in {0}/review"),
        ("refused", "refused"),
        ("failed", "failed"),
    ):
        some = [p for p in result.photos if p.status == status]
        if some:
            yield f"{len(some):,} {words.format(result.out)}:"
            for p in some[:SHOWN]:
                yield printable(f"  {p.reason}" if status == "failed" else f"  {p.photo}: {p.reason}")
            if len(some) > SHOWN:
                yield f"  and {len(some) - SHOWN:,} more; --json has them all."
    if result.notices:
        yield (
            "Visible notice of AI: " + ", ".join(f"{n:,} {PLACES[place]}" for place, n in result.notices.items()) + "."
        )
        yield from (f"  {rule}" for rule in result.rules)
    notes = list(dict.fromkeys(note for p in result.photos for note in p.notes))
    yield from notes[:SHOWN]
    if len(notes) > SHOWN:
        yield f"And {len(notes) - SHOWN:,} more notes; --json has them all."
