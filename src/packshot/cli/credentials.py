"""`packshot credentials init` and `show`."""

from __future__ import annotations

from pathlib import Path

import click

from packshot.cli.output import emit, json_option
from packshot.cli.signing import signing_options
from packshot.core.text import printable


@click.group()
def credentials() -> None:
    """Who signs the pictures that leave."""


@credentials.command()
@click.option("--organisation", default="Packshot development", show_default=True, help="Name in the certificates.")
@click.option("--overwrite", is_flag=True, help="Make new ones; the old ones are kept aside, and still trusted here.")
@json_option
def init(organisation: str, overwrite: bool, as_json: bool) -> None:
    """Make a development chain: a root, a signer and its key, which nobody but this machine trusts."""
    from packshot.release.credentials import init_credentials

    folder = init_credentials(organisation, overwrite=overwrite)
    emit({"folder": folder}, as_json, lambda: [f"Credentials for development are in {folder}."])


@credentials.command()
@signing_options
@json_option
def show(as_json: bool) -> None:
    """Say who would sign now, until when, and where the files lie; the key itself is never shown.

    Where there are no credentials yet, none are made.
    """
    from packshot.core.errors import PackshotError
    from packshot.release.credentials import credentials_folder, load_credentials, named_credentials

    if not named_credentials() and not credentials_folder().exists():
        raise PackshotError("There are no credentials yet; make them with: packshot credentials init")
    found = load_credentials()
    result = {
        "signer": found.signer,
        "since": found.since.isoformat(),
        "until": found.until.isoformat(),
        "algorithm": found.algorithm,
        "development": found.development,
        "program": found.program,
        "time_stamp": found.time_stamp,
        "files": [str(Path(path)) for path in found.files],
    }
    kind = "development; others read it as valid, signer not trusted" if found.development else "brought along"

    def lines() -> list[str]:
        out = [f"Signer: {found.signer} ({kind})", f"Until: {found.until:%Y-%m-%d}, from {found.since:%Y-%m-%d}"]
        out += [f"Algorithm: {found.algorithm}", f"Files: {', '.join(map(str, found.files))}"]
        out += [f"Signs by the program: {found.program}"] if found.program else []
        return [printable(line) for line in (*out, f"Time stamps: {found.time_stamp or 'none'}")]

    emit(result, as_json, lines)
