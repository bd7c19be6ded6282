"""Options of every command that signs: who signs, by which key, and who says when."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import click

P = ParamSpec("P")
R = TypeVar("R")

OPTIONS = (
    ("--cert", "FILE", "PACKSHOT_CERT", "Certificate chain that signs, PEM, the signer's first. [development]"),
    ("--key", "FILE", "PACKSHOT_KEY", "Its private key, PEM without a password, readable by you alone."),
    ("--signer", "COMMAND", "PACKSHOT_SIGNER", "Program that signs in place of a key: bytes in, signature out."),
    ("--tsa", "URL", "PACKSHOT_TSA", "Time stamp authority (RFC 3161) to ask."),
)


def signing_options(command: Callable[P, R]) -> Callable[P, R]:
    """Adds --cert, --key, --signer and --tsa, which set PACKSHOT_CERT, _KEY, _SIGNER and _TSA while it runs.

    The command itself gets no new argument: `packshot.release.credentials.load_credentials` reads the environment, and
    worker processes inherit it.
    """

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        given = click.get_current_context().meta
        with _environment({name: given[name] for _, _, name, _ in OPTIONS if name in given}):
            return command(*args, **kwargs)

    for flag, metavar, name, text in reversed(OPTIONS):
        add = click.option(flag, metavar=metavar, help=text, expose_value=False, callback=_noted(name))
        run = add(run)
    return run


def _noted(name: str) -> Callable[[click.Context, click.Parameter, str | None], None]:
    def note(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
        if value is not None:
            ctx.meta[name] = value

    return note


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
