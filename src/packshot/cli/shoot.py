"""`packshot shoot`."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from packshot.cli.notice import asked_channel, asked_notice
from packshot.cli.photos import edit_and_tell, photo_options, plan_and_tell
from packshot.core.errors import UsageError

if TYPE_CHECKING:
    from packshot.tasks.edit import Edit

OF_A_CHANNEL = (
    "on",
    "size",
    "fill",
    "background",
    "shadow",
    "privacy",
    "white_balance",
    "repair",
    "threshold",
)
"""Parameters that say how a channel's picture is made; in a recipe, its steps do."""


@click.command()
@photo_options
@click.option(
    "--recipe", type=click.Path(path_type=Path), help="A TOML file of [[step]] tables instead: any tasks in any order."
)
@click.option("--on", type=click.DateTime(["%Y-%m-%d"]), help="By the channel's rules of this day. [today]")
@click.option("--size", default=1600, show_default=True, help="Side of the square picture in pixels.")
@click.option("--fill", default=0.86, show_default=True, help="Share of it that the product's longer side takes.")
@click.option("--background", default="white", show_default=True, help="white, #rrggbb, gradient:A-B, or a FILE.")
@click.option("--shadow", type=click.Choice(["none", "keep", "contact", "soft"]), default="none", show_default=True)
@click.option("--privacy/--no-privacy", default=True, show_default=True, help="Hide faces; clean metadata.")
@click.option("--white-balance", default=0.5, show_default=True, help="0 leaves the light's colour, 1 takes it out.")
@click.option("--repair/--no-repair", default=True, show_default=True, help="Take out dust, scratches and stains.")
@click.option("--threshold", type=float, help="Of the cut-out's confidence; below it a picture goes to review.")
@click.option("--dry-run", is_flag=True, help="Show the plan, its time and its memory, measured on a few photos.")
def shoot(
    photos: tuple[Path, ...],
    out: Path,
    format_: str | None,
    quality: int,
    overwrite: bool,
    workers: int | None,
    quiet: bool,
    as_json: bool,
    recipe: Path | None,
    on: datetime | None,
    size: int,
    fill: float,
    background: str,
    shadow: str,
    privacy: bool,
    white_balance: float,
    repair: bool,
    threshold: float | None,
    dry_run: bool,
) -> None:
    """Turn PHOTOS into the pictures that a channel wants, or that a recipe describes.

    Privacy, light, damage, cut-out, pixels, backdrop, notice, the channel's rules, labels; one sheet, before and after.
    What breaks a rule or is not sure lies in OUT/review. The same command goes on where a killed one was.
    """
    channel = asked_channel()
    if (channel is None) == (recipe is None):
        raise UsageError("Say what for: --channel google-merchant, for example, or --recipe FILE.")
    edit: Edit
    if recipe is not None:
        from packshot.tasks.recipe import read_recipe

        _check_recipe_alone()
        edit = read_recipe(recipe)
    else:
        from packshot.tasks.shoot import ShootRequest, build_shoot

        assert channel is not None
        day = on.date() if on else date.today()
        edit = build_shoot(
            ShootRequest(
                channel=channel,
                on=day,
                size=size,
                fill=fill,
                background=background,
                shadow=shadow,  # type: ignore[arg-type]  # click has checked it
                privacy=privacy,
                white_balance=white_balance,
                repair=repair,
                threshold=threshold,
                notice=asked_notice(day),
                format=format_,
                quality=quality,
            )
        )
    if dry_run:
        plan_and_tell(edit, photos, out, workers, as_json)
        return
    edit_and_tell(
        edit, photos, out, format_, quality, overwrite, workers, quiet, as_json, sheet=True, whole=recipe is None
    )


def _check_recipe_alone() -> None:
    """Makes sure that nothing was asked for that a recipe would not heed.

    Raises:
        UsageError: it was.
    """
    context = click.get_current_context()
    for option in context.command.params:
        given = context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
        if given and option.name in OF_A_CHANNEL:
            raise UsageError(f"{option.opts[0]} does not go with --recipe; write it into a step of the recipe.")
