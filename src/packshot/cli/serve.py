"""`packshot serve` and `packshot keys`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from packshot.cli.output import emit, json_option
from packshot.core.text import printable

if TYPE_CHECKING:
    from packshot.jobs.keys import Key
    from packshot.jobs.settings import StudioSettings


def studio_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command --settings and --set, which say which studio is meant."""
    wrap = [
        click.option(
            "--settings",
            "file",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="The studio's settings (TOML). [a studio in the user's own folder]",
        ),
        click.option("--set", "set_", multiple=True, metavar="A.B=C", help="One setting; may be given many times."),
    ]
    for decorate in reversed(wrap):
        command = decorate(command)
    return command


@click.command()
@studio_options
@click.option("--host", help="Where it listens; other than this machine itself it needs keys. [127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="[8000]")
@click.option("--no-worker", is_flag=True, help="Do no jobs here: `packshot work` does them, on any machine.")
@json_option
def serve(
    file: Path | None, set_: tuple[str, ...], host: str | None, port: int | None, no_worker: bool, as_json: bool
) -> None:
    """Start the studio: its pages, its API, and the work on its jobs, until Ctrl-C."""
    from packshot.jobs.settings import read_settings
    from packshot.server.run import ServeOptions
    from packshot.server.run import serve as run

    more = [*([f"host={host}"] if host is not None else []), *([f"port={port}"] if port is not None else [])]
    words = (*set_, *more)
    options = ServeOptions(settings=read_settings(file, words), file=file, set=words, worker=not no_worker)
    run(options, lambda line: emit({"said": line}, as_json, lambda: [line]))


@click.group()
def keys() -> None:
    """Make, list and revoke the keys that requests to the studio need."""


@keys.command("add")
@click.argument("name")
@click.option("--tenant", required=True, help="Whose pictures and jobs it opens; made by being named.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    help="What it may do: read, edit, create, train, taste or admin; may be given many times. [read]",
)
@click.option("--rate", type=int, default=600, show_default=True, help="Requests a minute.")
@click.option("--days", type=float, help="How long it is good. [until it is revoked]")
@studio_options
@json_option
def add(
    name: str,
    tenant: str,
    scopes: tuple[str, ...],
    rate: int,
    days: float | None,
    file: Path | None,
    set_: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make a key called NAME, and show it: once, for only its checksum is kept."""
    from packshot.jobs.keys import Keys

    made = Keys(_settings(file, set_)).add(name, tenant=tenant, scopes=scopes or ("read",), rate=rate, days=days)

    def lines() -> Iterator[str]:
        yield made.secret
        yield f"This is the only time that it is shown. {_line(made.key)}"

    emit({**_as_json(made.key), "secret": made.secret}, as_json, lines)


@keys.command("list")
@click.option("--tenant", help="Only those of this tenant.")
@studio_options
@json_option
def list_(tenant: str | None, file: Path | None, set_: tuple[str, ...], as_json: bool) -> None:
    """List the keys, those that are good no more included."""
    from packshot.jobs.keys import Keys

    found = Keys(_settings(file, set_)).all(tenant)
    emit({"keys": [_as_json(k) for k in found]}, as_json, lambda: map(_line, found) if found else ["There is no key."])


@keys.command()
@click.argument("ident", metavar="ID")
@studio_options
@json_option
def revoke(ident: str, file: Path | None, set_: tuple[str, ...], as_json: bool) -> None:
    """Make the key ID good no more, at once."""
    from packshot.jobs.keys import Keys

    key = Keys(_settings(file, set_)).revoke(ident)
    emit(_as_json(key), as_json, lambda: [f"{key.id} ({printable(key.name)}) opens nothing any more."])


@keys.command("webhook-secret")
@click.option("--tenant", required=True, help="Whose webhooks it vouches for.")
@studio_options
@json_option
def webhook_secret(tenant: str, file: Path | None, set_: tuple[str, ...], as_json: bool) -> None:
    """Show the secret that a tenant's webhooks are signed with."""
    from packshot.jobs.delivery import webhook_secret as find

    secret = find(_settings(file, set_).place, tenant)
    emit({"tenant": tenant, "secret": secret}, as_json, lambda: [secret])


def _settings(file: Path | None, set_: tuple[str, ...]) -> StudioSettings:
    from packshot.jobs.settings import read_settings

    return read_settings(file, set_)


def _as_json(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "tenant": key.tenant,
        "scopes": list(key.scopes),
        "rate": key.rate,
        "created": key.created.isoformat(),
        "expires": None if key.expires is None else key.expires.isoformat(),
        "revoked": None if key.revoked is None else key.revoked.isoformat(),
        "good": key.opens,
    }


def _line(key: Key) -> str:
    state = "good" if key.opens else "revoked" if key.revoked else "expired"
    rate = "any number of" if key.rate is None else f"{key.rate:,}"
    until = "" if key.expires is None else f", until {key.expires:%Y-%m-%d %H:%M} UTC"
    scopes = ", ".join(key.scopes)
    return printable(f"{key.id}  {state:7}  {key.tenant}  {key.name}: {scopes}; {rate} requests a minute{until}")
