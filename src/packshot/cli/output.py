"""How a command's result is printed: lines for a person, or one JSON object."""

import dataclasses
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from packshot.core.files import disk_errors

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object on stdout.")
quiet_option = click.option("--quiet", is_flag=True, help="No progress on stderr.")


def emit(result: Any, as_json: bool, lines: Callable[[], Iterable[str]]) -> None:
    """Prints a result dataclass (or table) as JSON, or the lines made for a person."""
    with disk_errors(Path("stdout")):
        _print(result, as_json, lines)


def _print(result: Any, as_json: bool, lines: Callable[[], Iterable[str]]) -> None:
    if as_json:
        value = (
            dataclasses.asdict(result) if dataclasses.is_dataclass(result) and not isinstance(result, type) else result
        )
        click.echo(to_json(value))
    else:
        for line in lines():
            click.echo(line)


def to_json(value: Any) -> str:
    """Returns a value as one line of JSON that stdout's encoding can hold."""
    text = json.dumps(value, default=_plain, ensure_ascii=False)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:  # A terminal of another alphabet, or a file's name that is no text.
        return json.dumps(value, default=_plain)
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")
