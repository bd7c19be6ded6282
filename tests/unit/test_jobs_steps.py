"""Steps from outside: files are pictures of the studio, and nothing else opens a file."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from types import UnionType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from packshot.core.errors import PackshotError, UsageError
from packshot.images.decode import decode
from packshot.jobs import steps as steps_module
from packshot.jobs.records import Output
from packshot.jobs.steps import NEVER, SPOKEN, TEXTS, build_steps, check_steps, known_tasks, wanted_pictures
from packshot.tasks.chain import Chain
from packshot.tasks.enhance import Enhance, EnhanceRequest
from packshot.tasks.notice import NoticeRequest, PlaceNotice, WithNotice
from packshot.tasks.recipe import WRITTEN, read_recipe
from packshot.tasks.shoot import ShootRequest, build_shoot
from packshot.tasks.within import Within

SHA = "a" * 64
OTHER = "b" * 64
USUAL: dict[str, dict[str, Any]] = {
    "enhance": {"white_balance": 0.5},
    "repair": {"auto": True},
    "extend": {"margins": "4"},
    "restyle": {"styles": ["ink"], "only": "product"},
    "shoot": {"channel": "google-merchant"},
}
"""What a task cannot be without, or a setting needs beside it."""
PATHS = [
    "/etc/passwd",
    "../../etc/passwd",
    "file:///etc/passwd",
    "http://127.0.0.1/x.png",
    "s3://bucket/x.png",
    "~/x.png",
    "C:\\x.png",
    "x.png",
    "",
    f"picture:{SHA}/../x",
    f"picture:{SHA.upper()}",
    f" picture:{SHA}",
    f"picture:{SHA}\n",
    "picture:../../etc/passwd",
    "/etc/passwd:0.5",
    "white\0/etc/passwd",
]


def settings_of(cls: type[Any], where: str) -> Iterator[tuple[str, Any]]:
    """Yields every setting of a request, those of groups within it too, with its type."""
    hints = typing.get_type_hints(cls)
    for f in dataclasses.fields(cls):
        path = f"{where}{f.name}"
        if path in NEVER or path in SPOKEN:
            yield path, hints[f.name]
            continue
        groups = [k for k in kinds(hints[f.name]) if dataclasses.is_dataclass(k)]
        for group in groups:
            yield from settings_of(group, f"{path}.")
        if not groups:
            yield path, hints[f.name]


def kinds(hint: Any) -> set[Any]:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, UnionType, tuple):
        return set().union(*(kinds(a) for a in typing.get_args(hint) if a is not Ellipsis))
    return set() if origin is typing.Literal else {hint}


TEXTUAL = [
    path
    for task, request in known_tasks().items()
    for path, hint in settings_of(request, f"{task}.")
    if kinds(hint) & {str, Path} and path not in TEXTS
]
"""Every setting that might be taken for a file's name: all that are text, unless TEXTS says that nothing opens it."""


def nested(path: str, value: Any) -> dict[str, Any]:
    task, *names = path.split(".")
    table: dict[str, Any] = {}
    node = table
    for name in names[:-1]:
        node = node.setdefault(name, {})
    node[names[-1]] = value
    return {"task": task, **USUAL.get(task, {}), **table}


def test_the_settings_that_may_be_files_are_known() -> None:
    assert {"repair.mask", "cutout.model", "backdrop.background", "backdrop.matte", "restyle.styles"} <= set(TEXTUAL)
    assert "repair.attest" not in TEXTUAL


@pytest.mark.parametrize("path", TEXTUAL)
@pytest.mark.parametrize("value", PATHS)
def test_no_setting_takes_a_path(path: str, value: str) -> None:
    for given in (value, [value], [value, "ink"], {"x": value}):
        with pytest.raises(UsageError):
            check_steps([nested(path, given)], Output())


@pytest.mark.parametrize("path", [p for p in TEXTUAL if p not in NEVER and not p.startswith("shoot.notice")])
def test_those_that_are_files_take_a_picture(path: str) -> None:
    reference: Any = f"picture:{SHA}"
    table = nested(path, [reference, f"picture:{OTHER}:0.3"] if path == "restyle.styles" else reference)
    assert wanted_pictures([table]) == [SHA, OTHER] if path == "restyle.styles" else [SHA]
    check_steps([table], Output())


def test_a_picture_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names the picture aaaaaaaaaaaa, which is not here"):
        build_steps([nested("repair.mask", f"picture:{SHA}")], Output(), {})


def test_a_new_text_setting_is_refused_until_somebody_thought_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Request:
        lut: str | None = None

    # Its annotations are text, and read in the module's own names.
    monkeypatch.setattr(steps_module, "known_tasks", lambda: {"grade": Request})
    with pytest.raises(UsageError, match=r"grade\.lut cannot be set here"):
        steps_module.ready_steps([{"task": "grade", "lut": "/x.cube"}], Output(), {})


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([], "no step"),
        ([{"x": 1}], "names no task"),
        (["cutout"], "names no task"),
        ([{"task": "nope"}], "Unknown task 'nope'"),
        ([{"task": "enhance", "white_balanc": 1.0}], "Did you mean"),
        ([{"task": "enhance", "white_balance": 7}], "white_balance|white-balance"),
        ([{"task": "shoot"}], "needs a channel"),
        ([{"task": "shoot", "channel": "google-merchant"}, {"task": "cutout"}], "only step"),
        ([{"task": "shoot", "channel": "google-merchant", "on": "tomorrow"}], "no day"),
        ([{"task": "shoot", "channel": "google-merchant", "notice": {}}], "asked for in output"),
        ([{"task": "cutout", "model": f"picture:{SHA}"}], "chosen by who runs the studio"),
    ],
)
def test_what_is_wrong_is_said(steps: list[Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check_steps(steps, Output())


@pytest.mark.parametrize(
    "output",
    [
        Output(format="gif"),
        Output(quality=0),
        Output(channel="ebay"),
        Output(notice="somewhere"),
        Output(language="fr"),
    ],
)
def test_an_impossible_output_is_said(output: Output) -> None:
    with pytest.raises(UsageError):
        check_steps([{"task": "enhance", "white_balance": 0.5}], output)


def test_shoot_is_written_as_the_output_says() -> None:
    made = steps_module.ready_steps([{"task": "shoot"}], Output(channel="generic", format="jpeg", quality=90), {})
    assert (made[0]["format"], made[0]["quality"]) == ("jpeg", 90)
    with pytest.raises(UsageError, match="asked for in output"):
        check_steps([{"task": "shoot", "format": "jpeg"}], Output(channel="generic"))


def test_shoot_is_for_one_channel() -> None:
    check_steps([{"task": "shoot"}], Output(channel="amazon-main"))
    with pytest.raises(UsageError, match="name one channel"):
        check_steps([{"task": "shoot", "channel": "google-merchant"}], Output(channel="amazon-main"))


def test_the_edit_is_that_of_the_command_line(tmp_path: Path) -> None:
    one = build_steps([{"task": "enhance", "white_balance": 0.5}], Output(), {})
    assert isinstance(one, WithNotice)
    assert one.task == "enhance"
    limited = build_steps([{"task": "enhance", "white_balance": 0.5}], Output(channel="google-merchant"), {})
    assert isinstance(limited.edit, Within)
    two = build_steps([{"task": "enhance", "white_balance": 0.5}, {"task": "extend", "margins": "4"}], Output(), {})
    assert isinstance(two.edit, Chain)
    # As a recipe of the command line makes them: the same settings decide the pixels.
    recipe = tmp_path / "r.toml"
    recipe.write_text('[[step]]\ntask = "enhance"\nwhite_balance = 0.5\n[[step]]\ntask = "extend"\nmargins = "4"\n')
    assert two.edit.settings() == read_recipe(recipe).settings()


@pytest.mark.parametrize("channel", [None, "google-merchant"])
def test_what_decides_the_pixels_is_as_on_the_command_line(channel: str | None) -> None:
    """As `packshot.cli.notice.noticed` wraps the edit of one task."""
    day = date(2026, 8, 2)
    edit: Any = Enhance(EnhanceRequest(white_balance=0.5))
    edit = Within(edit, channel, day) if channel else edit
    there = WithNotice(edit, PlaceNotice(NoticeRequest(on=day, channel=channel)))
    here = build_steps([{"task": "enhance", "white_balance": 0.5}], Output(channel=channel), {}, day)
    assert here.settings() == there.settings()


def test_shoot_is_that_of_the_command_line() -> None:
    day = date(2026, 8, 2)
    notice = NoticeRequest(on=day, channel="google-merchant", language="zh")
    request = ShootRequest(channel="google-merchant", on=day, size=800, notice=notice, format="jpeg", quality=90)
    output = Output(channel="google-merchant", language="zh", format="jpeg", quality=90)
    here = build_steps([{"task": "shoot", "size": 800}], output, {}, day)
    assert here.task == "shoot"
    assert here.settings() == build_shoot(request).settings()


def test_the_day_of_the_rules_is_that_of_the_job() -> None:
    edit = build_steps([{"task": "enhance", "white_balance": 0.5}], Output(channel="generic"), {}, date(2026, 1, 1))
    assert edit.notice.request.on == date(2026, 1, 1)


def test_a_mask_and_a_style_are_read_from_the_pictures_given(tmp_path: Path) -> None:
    mask = tmp_path / "m"
    Image.fromarray(np.pad(np.full((4, 4), 255, np.uint8), 10)).save(mask, "PNG")
    photo = tmp_path / "p.png"
    Image.fromarray(np.random.default_rng(1).integers(90, 110, (24, 24, 3), dtype=np.uint8)).save(photo)
    table = {"task": "repair", "mask": f"picture:{SHA}", "method": "patch"}
    edit = build_steps([table], Output(), {SHA: mask})
    image = decode(photo)
    done = edit(image)
    changed = (done.image.pixels != image.pixels).any(axis=-1)
    assert changed[10:14, 10:14].any()
    assert not changed[:10].any()


def test_what_stays_visible_is_a_box_in_words() -> None:
    check_steps([{"task": "anonymise", "faces": False, "allow": [{"photo": "p", "box": "1,1,5,5"}]}], Output())
    with pytest.raises(UsageError):
        check_steps([{"task": "anonymise", "faces": False, "allow": [{"box": "/etc/passwd"}]}], Output())


def test_a_recipe_of_the_command_line_has_no_shoot(tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text('[[step]]\ntask = "shoot"\nchannel = "generic"\non = 2026-08-02\n')
    with pytest.raises(PackshotError, match="whole recipe by itself"):
        read_recipe(recipe)


def test_spoken_settings_are_those_that_a_recipe_reads() -> None:
    assert set(SPOKEN) == set(WRITTEN)
