"""Options of every command that may leave an AI notice on a picture: where, in which language, by which rules."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from packshot.tasks.edit import Edit
    from packshot.tasks.notice import NoticeRequest

ASKED = "packshot.notice"
"""Where the context of a command keeps what was asked for, so that no command has to hand it on."""
NO_LAW = "none"


def notice_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command --notice, --notice-language, --notice-text, --channel and --law; `asked_notice` reads them."""
    wrap = [
        click.option(
            "--channel",
            help="Where the pictures are to be shown, whose rules they keep: google-merchant, amazon-main, "
            "amazon-secondary or generic.",
            expose_value=False,
            callback=_keep,
        ),
        click.option(
            "--notice",
            type=click.Choice(["auto", "none", "corner", "padding", "beside"]),
            help="Where it is said that AI made or changed a picture. auto: in its pixels, where the channel lets it; "
            "beside: as caption, alt text and HTML, in NAME.labels.json. [auto with --channel, else beside]",
            expose_value=False,
            callback=_keep,
        ),
        click.option(
            "--notice-language",
            type=click.Choice(["en", "zh"]),
            default="en",
            show_default=True,
            expose_value=False,
            callback=_keep,
        ),
        click.option(
            "--notice-text",
            help="In other words. [those that the law wants]",
            expose_value=False,
            callback=_keep,
        ),
        click.option(
            "--law",
            "laws",
            multiple=True,
            type=click.Choice(["eu-ai-act", "china-labelling", NO_LAW]),
            help="A law that the notice keeps; may be given twice. [eu-ai-act]",
            expose_value=False,
            callback=_keep,
        ),
    ]
    for decorate in reversed(wrap):
        command = decorate(command)
    return command


def _keep(context: click.Context, option: click.Parameter, value: Any) -> None:
    context.meta.setdefault(ASKED, {})[option.name] = value


def asked_channel() -> str | None:
    """Returns the --channel of the command that runs, or None."""
    channel: str | None = click.get_current_context().meta[ASKED]["channel"]
    return channel


def asked_notice(on: date | None = None) -> NoticeRequest:
    """Returns what the command that runs was asked for.

    Args:
        on: the day of the rules; None: today.

    Raises:
        UsageError: an unknown channel, a text with letters that the font lacks, or --law none beside another.
    """
    from packshot.core.errors import UsageError
    from packshot.release.notice import LAWS
    from packshot.tasks.notice import NoticeRequest

    asked = click.get_current_context().meta[ASKED]
    laws = asked["laws"] or LAWS
    if NO_LAW in laws and len(laws) > 1:
        raise UsageError("--law none says that no law is kept; leave it out, or the others.")
    return NoticeRequest(
        on=on or date.today(),
        place=asked["notice"],
        language=asked["notice_language"],
        channel=asked["channel"],
        laws=tuple(dict.fromkeys(law for law in laws if law != NO_LAW)),
        text=asked["notice_text"],
    )


def noticed(edit: Edit) -> Edit:
    """Returns an edit that keeps within the limits of the --channel and ends with the notice, as was asked for.

    Raises:
        UsageError: see `asked_notice`.
    """
    from packshot.tasks.notice import PlaceNotice, WithNotice
    from packshot.tasks.within import Within

    request = asked_notice()
    if request.channel is not None:
        edit = Within(edit, request.channel, request.on)
    return WithNotice(edit, PlaceNotice(request))
