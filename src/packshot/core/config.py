"""Configurations: frozen keyword-only dataclasses, read from TOML tables and `--set a.b=c`; nothing unknown passes."""

import dataclasses
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from packshot.core.errors import UsageError, suggest
from packshot.core.files import disk_errors

C = TypeVar("C")

MOST = 2.0**63
"""No number among the settings is larger: whole numbers may be in TOML, but neither torch nor a float holds them."""


def read_toml(path: Path) -> dict[str, Any]:
    """Reads a TOML file.

    Raises:
        PackshotError: the file is missing.
        UsageError: it is not TOML.
    """
    with disk_errors(path), path.open("rb") as f:
        try:
            return tomllib.load(f)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
            raise UsageError(f"{path} is not valid TOML: {e}.") from e


def apply_settings(table: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """Returns a copy of `table` with each `a.b=value` of `settings` put in; a value is TOML, else a plain string.

    Raises:
        UsageError: a setting has no `=`.
    """
    out: dict[str, Any] = {k: dict(v) if isinstance(v, Mapping) else v for k, v in table.items()}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise UsageError(f"'{setting}' is not a setting; write it as name=value, for example loop.batch_size=64.")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        *parents, last = key.strip().split(".")
        node = out
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise UsageError(f"'{key}' does not fit: '{parent}' is a value, not a group of settings.")
        node[last] = value
    return out


def build_config(cls: type[C], table: Mapping[str, Any], where: str = "") -> C:
    """Builds the dataclass `cls` from a table, nested dataclasses from nested tables.

    Raises:
        UsageError: an unknown key (the nearest known one is suggested) or a value of the wrong type or range.
    """
    if not isinstance(table, Mapping):
        raise UsageError(f"Setting '{where[:-1] or cls.__name__}' is a group; give it as a table.")
    hints = typing.get_type_hints(cls)
    names = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in table.items():
        path = f"{where}{key}"
        if key not in names:
            raise UsageError(f"Unknown setting '{path}'.{suggest(key, names)} Known: {', '.join(names)}.")
        values[key] = _convert(hints[key], value, path)
    for f in dataclasses.fields(cls):  # type: ignore[arg-type]
        if f.name not in values and f.default is f.default_factory is dataclasses.MISSING:
            raise UsageError(f"Setting '{where}{f.name}' is missing.")
    try:
        return cls(**values)
    except (TypeError, ValueError) as e:
        raise UsageError(f"Setting{f' {where[:-1]!r}' if where else 's'} cannot be used: {str(e).rstrip('.')}.") from e


def to_table(config: Any) -> dict[str, Any]:
    """Returns the dataclass as nested plain tables, so that `build_config(type(c), to_table(c)) == c`."""
    return dataclasses.asdict(config)


def _convert(hint: Any, value: Any, path: str) -> Any:
    if dataclasses.is_dataclass(value):  # Read already, from what a file cannot hold as a table.
        return value
    if dataclasses.is_dataclass(hint):
        return build_config(typing.cast(type[Any], hint), value, f"{path}.")
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _convert(next(a for a in arguments if a is not type(None)), value, path)
    if origin is typing.Literal:
        if value not in arguments:
            raise UsageError(f"Setting '{path}' is '{value}'; it can be {', '.join(map(str, arguments))}.")
        return value
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(_convert(arguments[0], v, path) for v in value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if not abs(value) <= MOST:  # Nor is not-a-number.
            raise UsageError(f"Setting '{path}' is {value}; it has to be a finite number below 2^63.")
        return float(value)
    if isinstance(value, int) and abs(value) >= MOST:
        raise UsageError(f"Setting '{path}' is too large a number; it has to be below 2^63.")
    wanted = origin or hint
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        raise UsageError(f"Setting '{path}' is {value!r}; it has to be of type {wanted.__name__}.")
    return value
