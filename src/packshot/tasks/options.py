"""What a task says of the command line's options, said of settings: for recipes, the API and the pages.

A task's sentences name options, `--fill`, since most of its callers are on the command line. Who wrote TOML, JSON or a
form has settings instead: `layout.fill`. A test holds the names here against the commands and the requests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from packshot.core.errors import PackshotError

NAMES: Mapping[str, str] = {
    "style": "styles",
    "box": "box in shapes",
    "polygon": "polygon in shapes",
    "region": "boxes",
    "label": "labels",
    "format": "output.format",
    "quality": "output.quality",
    "channel": "output.channel",
    "notice": "output.notice",
    "notice-language": "output.language",
    "cert": "PACKSHOT_CERT",
    "key": "PACKSHOT_KEY",
    "signer": "PACKSHOT_SIGNER",
    "tsa": "PACKSHOT_TSA",
}
"""Options that are not called as their setting is; "-" is "_" in the rest."""
OF_TASK: Mapping[str, Mapping[str, str]] = {
    "backdrop": {name: f"layout.{name}" for name in ("fill", "size", "margin", "aspect", "centre")},
    "extend": {"margin": "margins"},
}
"""Options that are called as another task's, and mean another setting."""
STEPS = ("anonymise", "cutout", "enhance", "repair", "backdrop", "extend", "restyle", "shoot")
VALUE = r"\"[^\"]*\"|'[^']*'|[A-Z][A-Z,]+\b|-?\d(?:[\w.,:%]*[\w%])?|product\b|background\b|patch\b|closed-form\b"
SAID = re.compile(
    r"(?P<kept>`[^`]*`|pip install [^;(]*"
    rf"|packshot (?!(?:{'|'.join(STEPS)})\b)[a-z]+(?:[^;,().]|\.(?=\S))*)"
    rf"|packshot (?P<step>{'|'.join(STEPS)})(?P<more>(?= --))?\b"
    rf"|(?<![\w-])--(?P<option>[a-z][a-z0-9]*(?:-[a-z0-9]+)*)(?: (?P<value>{VALUE}))?"
)
"""A whole command, which stays as it is; a task's name as a command; an option, perhaps with its value."""
HERE_ALONE = ", or add --allow-copies if the photos are yours to copy"
"""What the command line alone lets one do: who runs a studio answers for what its pages and its API make."""
RATIO = re.compile(r"(\d+):(\d+)")


def as_settings(text: str, task: str | None = None, *, plain: bool = False) -> str:
    """Returns a task's sentence with settings in the place of options: "layout.fill is 3; it can be above 0 to 1."

    Args:
        text: what the task said. A command that is named whole ("packshot train ... --resume RUN") stays.
        task: that said it; None: it is not known, or several did ("extend: ...; backdrop: ...").
        plain: in a form's words, without the groups that settings lie in and without underscores.
    """
    if "--" not in text and "packshot " not in text:
        return text
    out = []
    for part in re.split(r"((?:^|; )[a-z]+(?:-\d+)?: )", text.replace(HERE_ALONE, "")):
        step = re.fullmatch(r"(?:; )?([a-z]+)(?:-\d+)?: ", part)
        if step is not None and step[1] in STEPS:
            task = step[1]
        out.append(_said(part, task, plain))
    return "".join(out)


def _said(text: str, task: str | None, plain: bool) -> str:
    at = task

    def say(found: re.Match[str]) -> str:
        nonlocal at
        if found["kept"] is not None:
            return found[0]
        if found["step"] is not None:
            at = found["step"]
            return f"the task {at}" + (" with" if found["more"] is not None else "")
        name, value = setting_of(found["option"], at)
        if plain:
            name = name.rpartition(".")[2].replace("_", " ")
        given = value or found["value"]
        return name if given is None else f"{name} = " + RATIO.sub(r"[\1, \2]", given)

    return SAID.sub(say, text)


def setting_of(option: str, task: str | None = None) -> tuple[str, str | None]:
    """Returns the setting that an option sets, and the value where the option is one: ("exact", "false").

    Args:
        option: without its dashes, for example "no-exact".
        task: whose; None: any.
    """
    if option.startswith("no-"):
        return setting_of(option.removeprefix("no-"), task)[0], "false"
    known = {**NAMES, **OF_TASK.get(task or "", {})}
    return known.get(option, option.replace("-", "_")), None


@contextmanager
def said_as_settings(task: str) -> Iterator[None]:
    """Has an error of the block name the settings of a task instead of options."""
    try:
        yield
    except PackshotError as e:
        e.args = (as_settings(str(e), task), *e.args[1:])
        raise
