"""Recipes: tasks one after the other, from a TOML file.

    [[step]]
    task = "enhance"
    white_balance = 0.5

    [[step]]
    task = "backdrop"
    background = "white"
    layout.size = 1600

A step's other settings are those of its task's request; an unknown one is an error with the nearest name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from packshot.core.config import build_config, read_toml
from packshot.core.errors import UsageError, lookup
from packshot.tasks.anonymise import Anonymise, AnonymiseRequest
from packshot.tasks.backdrop import Backdrop, BackdropRequest
from packshot.tasks.chain import Chain
from packshot.tasks.cutout import Cutout, CutoutRequest
from packshot.tasks.edit import Edit
from packshot.tasks.enhance import Enhance, EnhanceRequest
from packshot.tasks.extend import Extend, ExtendRequest
from packshot.tasks.repair import Repair, RepairRequest
from packshot.tasks.restyle import Restyle, RestyleRequest


class Task(NamedTuple):
    """A task that a recipe can name.

    Attributes:
        request: its settings.
        build: makes the edit of them.
    """

    request: type[Any]
    build: Callable[[Any], Edit]


TASKS: dict[str, Task] = {
    "anonymise": Task(AnonymiseRequest, Anonymise),
    "cutout": Task(CutoutRequest, Cutout),
    "enhance": Task(EnhanceRequest, Enhance),
    "repair": Task(RepairRequest, Repair),
    "backdrop": Task(BackdropRequest, lambda request: Backdrop(request, Cutout())),
    "extend": Task(ExtendRequest, lambda request: Extend(request, Cutout())),
    "restyle": Task(RestyleRequest, lambda request: Restyle(request, Cutout() if request.only else None)),
}


def read_recipe(path: Path) -> Chain:
    """Reads a recipe and makes its tasks ready.

    Raises:
        PackshotError: the file is missing, or a task's weights are.
        UsageError: it is no recipe, or names an unknown task or setting, or a value out of range.
    """
    table = read_toml(path)
    unknown = sorted(table.keys() - {"step"})
    steps = table.get("step")
    if unknown or not isinstance(steps, list) or not steps:
        raise UsageError(
            f"{path} is not a recipe of pictures; it consists of [[step]] tables, each with its task"
            + (f", and does not know '{unknown[0]}'." if unknown else ".")
        )
    return Chain(path.stem, [_step(number, step) for number, step in enumerate(steps, 1)])


def _step(number: int, table: Mapping[str, Any]) -> Edit:
    if not isinstance(table, Mapping) or not isinstance(table.get("task"), str):
        raise UsageError(f'Step {number} names no task; write task = "cutout", for example.')
    task = lookup("task", table["task"], TASKS)
    settings = {key: value for key, value in table.items() if key != "task"}
    return task.build(build_config(task.request, settings, f"{table['task']}."))
