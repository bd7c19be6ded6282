"""`packshot`: the command group, and how results and errors leave it."""

import io
import os
import sys
from collections.abc import Sequence

import click

import packshot
from packshot.cli import (
    advise,
    anonymise,
    audit,
    backdrop,
    card,
    catalog,
    check,
    credentials,
    cutout,
    enhance,
    erase,
    evaluate,
    events,
    explain,
    export,
    extend,
    generate,
    personalise,
    repair,
    restyle,
    rights,
    search,
    serve,
    shoot,
    survive,
    train,
    verify,
    work,
)
from packshot.cli.output import to_json
from packshot.core.errors import PackshotError, suggest
from packshot.core.process import wait_without_spinning


class Commands(click.Group):
    """A group that suggests the nearest command, and lists its commands in the order of use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the commands in the order of use."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command, or fails with the nearest name."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            ctx.fail(f"No such command '{args[0]}'.{suggest(args[0], self.commands)}")
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(packshot.__version__, prog_name="packshot")
def cli() -> None:
    """Product pictures from a shop's own photos: ingest, train, create, evaluate, report.

    Every command takes --json: the result as one JSON object on stdout, progress on stderr.
    Exit codes: 0 done, 1 it went wrong, 2 the command was wrong.
    """


cli.add_command(catalog.data)
cli.add_command(catalog.ingest)
cli.add_command(rights.rights)
cli.add_command(erase.erase)
cli.add_command(advise.advise)
cli.add_command(train.train)
cli.add_command(generate.create)
cli.add_command(generate.sample)
cli.add_command(search.search)
cli.add_command(evaluate.evaluate)
cli.add_command(evaluate.report)
cli.add_command(card.card)
cli.add_command(explain.explain)
cli.add_command(export.export)
cli.add_command(cutout.cutout)
cli.add_command(backdrop.backdrop)
cli.add_command(extend.extend)
cli.add_command(enhance.enhance)
cli.add_command(repair.repair)
cli.add_command(restyle.restyle)
cli.add_command(anonymise.anonymise)
cli.add_command(shoot.shoot)
cli.add_command(check.check)
cli.add_command(events.events)
cli.add_command(events.rank)
cli.add_command(personalise.personalise)
cli.add_command(verify.verify)
cli.add_command(survive.survive)
cli.add_command(audit.audit)
cli.add_command(credentials.credentials)
cli.add_command(train.models)
cli.add_command(serve.serve)
cli.add_command(work.work)
cli.add_command(serve.keys)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits with its code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in words
    wait_without_spinning()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # As stderr has it: a name may be no text.
    try:
        code = cli.main(args=words, prog_name="packshot", standalone_mode=False, obj=words)
        if code:  # Without its standalone mode, click returns the code of an Exit instead of raising it.
            sys.exit(code)
    except PackshotError as e:
        _fail(str(e), e.exit_code, as_json)
    except click.exceptions.Abort:
        _fail("Stopped by the user.", 1, as_json)
    except click.exceptions.Exit as e:
        sys.exit(e.exit_code)
    except click.ClickException as e:
        if not as_json:
            e.show()
            sys.exit(e.exit_code)
        _fail(e.format_message(), e.exit_code, as_json)
    except BrokenPipeError:
        # The reader of our output went away; the rest of it is not wanted.
        sys.stderr.close()
        sys.exit(1)


def _fail(message: str, exit_code: int, as_json: bool) -> None:
    print(f"packshot: {message}", file=sys.stderr)
    try:
        if as_json:
            print(to_json({"error": message, "exit_code": exit_code}), flush=True)
    except OSError:
        pass  # What is wrong stands on stderr.
    _drop_unwritten()
    sys.exit(exit_code)


def _drop_unwritten() -> None:
    """Makes sure that what a full disk did not take is not tried again when Python ends, which would complain."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
