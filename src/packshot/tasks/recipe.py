"""Recipes: tasks one after the other, from a TOML file.

    [[step]]
    task = "enhance"
    white_balance = 0.5

    [[step]]
    task = "backdrop"
    background = "white"
    layout.size = 1600

A step's other settings are those of its task's request; an unknown one is an error with the nearest name. Lengths,
margins, boxes and polygons are written as on the command line: layout.margin = "5%".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from packshot.core.config import build_config, read_toml
from packshot.core.errors import UsageError, lookup
from packshot.images.masks import Polygon, Rectangle, Shape
from packshot.images.placing import parse_length
from packshot.tasks.anonymise import Anonymise, AnonymiseRequest
from packshot.tasks.backdrop import Backdrop, BackdropRequest
from packshot.tasks.chain import Chain
from packshot.tasks.cutout import Cutout, CutoutRequest
from packshot.tasks.edit import Edit
from packshot.tasks.enhance import Enhance, EnhanceRequest
from packshot.tasks.extend import Extend, ExtendRequest, parse_margins
from packshot.tasks.options import said_as_settings
from packshot.tasks.repair import Repair, RepairRequest
from packshot.tasks.restyle import Restyle, RestyleRequest
from packshot.tasks.shoot import ShootRequest, build_shoot

WHOLE = "shoot"
"""A task that is a whole recipe by itself: it ends with the notice and the channel's check."""


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
    WHOLE: Task(ShootRequest, build_shoot),
}


def _shape(text: str) -> Shape:
    return Polygon.parse(text) if " " in text.strip() else Rectangle.parse(text)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as e:
        raise UsageError(f"'{text}' is no day; write it as 2026-08-02.") from e


WRITTEN: dict[str, Callable[[str], Any]] = {
    "backdrop.layout.margin": parse_length,
    "extend.margins": parse_margins,
    "repair.shapes": _shape,
    "anonymise.boxes": Rectangle.parse,
    "anonymise.allow.box": Rectangle.parse,
    "shoot.on": _day,
}
"""Settings that are written as text, and what reads them; a list is read one by one."""


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
    if any(isinstance(step, Mapping) and step.get("task") == WHOLE for step in steps):
        raise UsageError(f"{WHOLE} is a whole recipe by itself; use packshot {WHOLE} --channel NAME.")
    return Chain(path.stem, build_tasks(steps))


def build_tasks(steps: Sequence[Mapping[str, Any]]) -> list[Edit]:
    """Makes the tasks of a recipe's step tables ready, in order.

    Raises:
        PackshotError: a task's weights are missing.
        UsageError: see `read_step`.
    """
    asked = [read_step(number, step) for number, step in enumerate(steps, 1)]  # What is wrong is told at once.
    edits = []
    for step, (task, request) in zip(steps, asked, strict=True):
        with said_as_settings(step["task"]):
            edits.append(task.build(request))
    return edits


def read_step(number: int, table: Mapping[str, Any]) -> tuple[Task, Any]:
    """Returns the task that a step's table names, and its request.

    Args:
        number: of the step, from 1, for the sentence.
        table: "task" and its settings.

    Raises:
        UsageError: an unknown task or setting, or a value out of range.
    """
    if not isinstance(table, Mapping) or not isinstance(table.get("task"), str):
        raise UsageError(f'Step {number} names no task; write task = "cutout", for example.')
    task = lookup("task", table["task"], TASKS)
    settings = {key: value for key, value in table.items() if key != "task"}
    where = f"{table['task']}."
    with said_as_settings(table["task"]):
        return task, build_config(task.request, _read(settings, where), where)


def _read(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Returns settings in which what is `WRITTEN` as text is read."""
    out: dict[str, Any] = {}
    for key, value in table.items():
        read = WRITTEN.get(f"{where}{key}")
        if isinstance(value, Mapping):
            value = _read(value, f"{where}{key}.")
        elif isinstance(value, list) and value and all(isinstance(v, Mapping) for v in value):
            value = [_read(v, f"{where}{key}.") for v in value]
        elif read is not None:
            value = [read(str(v)) for v in value] if isinstance(value, list) else read(str(value))
        out[key] = value
    return out
