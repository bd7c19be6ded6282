"""Errors a user sees: one clear sentence that says what to do, and the exit code that says it to a script."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


class PackshotError(Exception):
    """Something went wrong that the user can act on. The message is one clear sentence; `exit_code` is 1."""

    exit_code = 1


class UsageError(PackshotError):
    """The command or call itself was wrong (unknown model, category, option). `exit_code` is 2."""

    exit_code = 2


class DiskFull(PackshotError):
    """No more can be written: what goes on with the next file after an error stops at this one."""


def suggest(name: str, known: Iterable[str]) -> str:
    """Returns " Did you mean 'x'?" for the known name nearest to `name`, or an empty string."""
    names = list(known)
    by_lower = {n.lower(): n for n in names}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return f" Did you mean '{by_lower[close[0]]}'?" if close else ""


def lookup(kind: str, name: str, table: Mapping[str, T]) -> T:
    """Returns `table[name]`.

    Raises:
        UsageError: no such name; the sentence suggests the nearest one and lists them all.
    """
    if name in table:
        return table[name]
    raise UsageError(f"Unknown {kind} '{name}'.{suggest(name, table)} Known: {', '.join(table)}.")


def spelled(kind: str, name: str, known: Iterable[str]) -> str:
    """Returns the known name that is `name`, or, where none is, the one that differs from it in case alone.

    Raises:
        UsageError: no such name, as `lookup` says it.
    """
    names = {n: n for n in known}
    folded = {n.lower(): n for n in names}
    return lookup(kind, name, names) if name in names or name.lower() not in folded else folded[name.lower()]
