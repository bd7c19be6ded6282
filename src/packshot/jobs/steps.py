"""Steps that came from outside as an edit: a file is named as a picture of the studio, and never as a path.

A setting that is a file on the command line (a mask, a matte, a background, a style) is "picture:SHA256" here. What is
text and may be a file's name is checked to be neither a path nor anything else than it may be. A setting that this
module does not know is refused, so that a new one is safe until somebody has thought about it.
"""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any

from packshot.core.errors import UsageError, suggest
from packshot.jobs.records import Output

if TYPE_CHECKING:
    from packshot.tasks.edit import Edit
    from packshot.tasks.notice import NoticeRequest

REFERENCE = re.compile(r"picture:([0-9a-f]{64})")
BACKGROUNDS = ("backdrop.background", "shoot.background")
STYLES = "restyle.styles"
NEVER = {
    "cutout.model": "networks are chosen by who runs the studio",
    "shoot.notice": "the notice is asked for in output",
    "shoot.format": "it is asked for in output",
    "shoot.quality": "it is asked for in output",
}
"""Settings that nobody sets from outside, and why."""
TEXTS = ("anonymise.allow.photo", "repair.attest", "shoot.channel")
"""Settings that are text and that nothing opens."""
SPOKEN = (
    "backdrop.layout.margin",
    "extend.margins",
    "repair.shapes",
    "anonymise.boxes",
    "anonymise.allow.box",
    "shoot.on",
)
"""Settings that are written as text and read as numbers (`packshot.tasks.recipe.WRITTEN`)."""


def known_tasks() -> dict[str, type[Any]]:
    """Returns the tasks that a step can name, each with the class of its settings."""
    from packshot.tasks.recipe import TASKS

    return {name: task.request for name, task in TASKS.items()}


def wanted_pictures(steps: Iterable[Any]) -> list[str]:
    """Returns the checksums of all pictures that steps name, each once, wherever they stand; loads nothing."""
    found: dict[str, None] = {}

    def look(value: Any) -> None:
        if isinstance(value, str):
            found.update(dict.fromkeys(REFERENCE.findall(value)))
        elif isinstance(value, Mapping):
            for part in value.values():
                look(part)
        elif isinstance(value, (list, tuple)):
            for part in value:
                look(part)

    for step in steps:
        look(step)
    return list(found)


def check_steps(steps: Sequence[Mapping[str, Any]], output: Output, on: date | None = None) -> None:
    """Makes sure that steps can be done, without any picture or network.

    Raises:
        UsageError: as the command line would say it, or a file is named otherwise than "picture:SHA256".
    """
    from packshot.tasks.recipe import read_step

    here = Path(__file__)  # Stands for any file that is there; nothing reads it.
    _notice(output, on or date.today())
    _check_writing(output)
    for number, step in enumerate(ready_steps(steps, output, dict.fromkeys(wanted_pictures(steps), here), on), 1):
        read_step(number, step)


def build_steps(
    steps: Sequence[Mapping[str, Any]], output: Output, files: Mapping[str, Path], on: date | None = None
) -> Edit:
    """Returns the edit of some steps, as the command line makes it of the same settings.

    Args:
        steps: tables, each with "task"; more than one become a chain, as in a recipe.
        output: its channel limits what may change, and with `notice` and `language` decides about the notice.
        files: of the pictures that steps name, by checksum; they are read here.
        on: day of the rules; None: today.

    Raises:
        UsageError: see `check_steps`.
        PackshotError: weights are missing, or a file is no picture.
    """
    from packshot.tasks.chain import Chain
    from packshot.tasks.notice import PlaceNotice, WithNotice
    from packshot.tasks.recipe import WHOLE, build_tasks
    from packshot.tasks.within import Within

    on = on or date.today()
    request = _notice(output, on)
    _check_writing(output)
    ready = ready_steps(steps, output, files, on)
    if ready[0]["task"] == WHOLE:
        asked = {"notice": request, "format": output.format, "quality": output.quality}
        return build_tasks([{**ready[0], **asked}])[0]
    edits = build_tasks(ready)
    if output.channel is not None:
        edits = [Within(edit, output.channel, on) for edit in edits]
    return WithNotice(edits[0] if len(edits) == 1 else Chain("recipe", edits), PlaceNotice(request))


def ready_steps(
    steps: Sequence[Mapping[str, Any]], output: Output, files: Mapping[str, Path], on: date | None = None
) -> list[dict[str, Any]]:
    """Returns steps as a recipe has them: each picture that is named is the file that it lies in.

    Raises:
        UsageError: a path, an unknown task, a picture that is not among `files`, or shoot beside another step.
    """
    if not steps:
        raise UsageError("There is no step; name at least one task.")
    tasks = known_tasks()
    out = []
    for number, step in enumerate(steps, 1):
        if not isinstance(step, Mapping) or not isinstance(step.get("task"), str):
            raise UsageError(f'Step {number} names no task; write task = "cutout", for example.')
        task = step["task"]
        if task not in tasks:
            raise UsageError(f"Unknown task '{task[:80]}'.{suggest(task[:80], tasks)} Known: {', '.join(tasks)}.")
        settings = {key: value for key, value in step.items() if key != "task"}
        if task == "shoot":
            if len(steps) > 1:
                raise UsageError("shoot is a whole recipe by itself; send it as the only step.")
            settings = _shoot(settings, output, on or date.today())
        safe = _safe_table(f"{task}.", tasks[task], settings, files)
        if task == "shoot":  # Its check sees the picture as it will be written.
            safe |= {"format": output.format, "quality": output.quality}
        out.append({"task": task, **safe})
    return out


def _shoot(settings: Mapping[str, Any], output: Output, on: date) -> dict[str, Any]:
    channel = settings.get("channel", output.channel)
    if channel is None:
        raise UsageError('shoot needs a channel: output.channel = "google-merchant", for example.')
    if output.channel not in (None, channel):
        raise UsageError(f"shoot is for {channel}, and the output for {output.channel}; name one channel.")
    return {"on": on.isoformat(), **settings, "channel": channel}


def _safe_table(where: str, cls: type[Any], table: Mapping[str, Any], files: Mapping[str, Path]) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {
        # An unknown name has no type: what reads the table says which is the nearest.
        key: _safe(f"{where}{key}", hints[key], value, files) if key in hints else value
        for key, value in table.items()
    }


def _safe(path: str, hint: Any, value: Any, files: Mapping[str, Path]) -> Any:
    """Returns a setting's value, a picture's file in the place of its name.

    Raises:
        UsageError: it names a file otherwise, or nobody may set it.
    """
    if path in NEVER:
        raise UsageError(f"{path} cannot be set here: {NEVER[path]}.")
    if path in SPOKEN or path in TEXTS:
        return value
    if path in BACKGROUNDS:
        return _background(path, value, files)
    if path == STYLES:
        if not isinstance(value, (list, tuple)):
            raise UsageError(f"{path} has to be a list of one or two styles.")
        return [_style(style, files) for style in value]
    kinds = _kinds(hint)
    if Path in kinds:
        return None if value is None else str(_file(path, value, files))
    if str in kinds:
        raise UsageError(f"{path} cannot be set here.")
    for kind in kinds:
        if not dataclasses.is_dataclass(kind):
            continue
        if isinstance(value, Mapping):
            return _safe_table(f"{path}.", typing.cast(type[Any], kind), value, files)
        if isinstance(value, (list, tuple)):
            inner = typing.cast(type[Any], kind)
            return [_safe_table(f"{path}.", inner, v, files) if isinstance(v, Mapping) else v for v in value]
    return value


def _kinds(hint: Any) -> set[Any]:
    """Returns the types that a hint is made of."""
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        return set()
    if origin in (typing.Union, UnionType, tuple, list):
        return set().union(*(_kinds(part) for part in typing.get_args(hint) if part is not Ellipsis))
    return {hint}


def _file(path: str, value: Any, files: Mapping[str, Path]) -> Path:
    found = REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise UsageError(f'{path} is a file, and has to be "picture:SHA256", a picture that was sent before.')
    if found[1] not in files:
        raise UsageError(f"{path} names the picture {found[1][:12]}, which is not here.")
    return files[found[1]]


def _background(path: str, value: Any, files: Mapping[str, Path]) -> str:
    from packshot.images.backdrops import parse_colour, parse_gradient

    if isinstance(value, str) and (parse_colour(value) is not None or parse_gradient(value) is not None):
        return value
    if not isinstance(value, str) or not REFERENCE.fullmatch(value):
        raise UsageError(f'{path} can be white, black, #rrggbb, gradient:A-B, or "picture:SHA256".')
    return str(_file(path, value, files))


def _style(value: Any, files: Mapping[str, Path]) -> str:
    from packshot.models.style.presets import PRESETS

    if not isinstance(value, str):
        raise UsageError(f"{STYLES} has to be a list of one or two styles.")
    found = re.fullmatch(r"(picture:[0-9a-f]{64}|[^:/\\]+)(:[0-9.]+)?", value)
    if found is not None and found[1] in PRESETS:
        return value
    if found is None or not REFERENCE.fullmatch(found[1]):
        raise UsageError(
            f"There is no style '{value[:80]}'.{suggest(value[:80], PRESETS)} Known: {', '.join(PRESETS)}; "
            'or "picture:SHA256", a picture that was sent before.'
        )
    return f"{_file(STYLES, found[1], files)}{found[2] or ''}"


def _notice(output: Output, on: date) -> NoticeRequest:
    from packshot.core.errors import lookup
    from packshot.release.notice import Language, Place
    from packshot.tasks.notice import NoticeRequest

    if output.notice is not None:
        lookup("place of the notice", output.notice, dict.fromkeys(typing.get_args(Place)))
    lookup("language", output.language, dict.fromkeys(typing.get_args(Language)))
    place, language = typing.cast("Place | None", output.notice), typing.cast("Language", output.language)
    return NoticeRequest(on=on, place=place, language=language, channel=output.channel)


def _check_writing(output: Output) -> None:
    from packshot.tasks.batch import BatchOptions

    BatchOptions(format=output.format, quality=output.quality)
