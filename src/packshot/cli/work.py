"""`packshot work`."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

import click

from packshot.cli.output import emit, json_option


@click.command()
@click.option(
    "--settings", "file", type=click.Path(path_type=Path), help="The studio's TOML file. [its usual settings]"
)
@click.option("--set", "settings", multiple=True, metavar="A.B=VALUE", help="Change one setting; repeat for several.")
@json_option
def work(file: Path | None, settings: tuple[str, ...], as_json: bool) -> None:
    """Do the studio's jobs until Ctrl-C; what is not done then is gone on with by the next worker.

    `packshot serve` starts one by itself. Others may run on any machine that reaches the same database and store.
    """
    from packshot.jobs.settings import read_settings
    from packshot.jobs.worker import Worker

    worker = Worker(read_settings(file, settings))
    click.echo(f"Working at the jobs of {worker.settings.place}, {worker.engine.width} pictures at once.", err=True)
    worker.run()
    with suppress(OSError):  # The server that started us may have been killed: nobody reads what we say.
        emit(
            {"worker": worker.id, "state": "stopped"}, as_json, lambda: ["Stopped; the jobs wait for the next worker."]
        )
        sys.stdout.flush()
    os._exit(0)  # Threads still hold the jobs that were handed back; nothing of them may be recorded.
