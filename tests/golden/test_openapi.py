"""The API's description, as a golden file; PACKSHOT_WRITE_GOLDEN=1 writes it anew, and the diff shows what changed."""

import json
import os
import re
import typing
from pathlib import Path
from typing import Any

import pytest

from packshot.server.api.found import Verdict
from packshot.server.gate import is_public
from packshot.server.problems import CODES
from packshot.tasks.verify import Verdict as TaskVerdict
from tests.servers import make_app

GOLDEN = Path(__file__).with_name("openapi.json")


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(make_app(tmp_path_factory.mktemp("studio")).openapi()))
    return found


def test_the_description_is_the_golden_one(described: dict[str, Any]) -> None:
    text = json.dumps(described, indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("PACKSHOT_WRITE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert json.loads(GOLDEN.read_text(encoding="utf-8")) == described


def test_every_reference_leads_somewhere(described: dict[str, Any]) -> None:
    text = json.dumps(described)
    names = {part.partition('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert names
    assert names <= described["components"]["schemas"].keys()


def test_every_route_is_told_and_says_who_may_ask(described: dict[str, Any]) -> None:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], f"{method} {path}"
            assert operation["description"], f"{method} {path}"
            assert ("security" in operation) != is_public(path), f"{method} {path}"
            answers = operation["responses"]
            assert {"500", "503"} <= answers.keys() and "default" not in answers
            assert ("401" in answers) == ("security" in operation), f"{method} {path}"
            assert any(status < "300" for status in answers)


def test_every_problem_is_one_of_the_guide(described: dict[str, Any]) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    table = guide[guide.index("## Errors") : guide.index("## Limits")]
    told = {name.removeprefix("Problem") for name in described["components"]["responses"]}
    assert told <= set(re.findall(r"\b[45]\d\d\b", table))
    assert told == {status for status in map(str, CODES) if status != "405"}


def test_the_verdicts_are_those_of_the_task() -> None:
    assert typing.get_args(Verdict) == typing.get_args(TaskVerdict)


def test_every_route_is_in_the_guide(described: dict[str, Any]) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    missing = [
        f"{method.upper()} {path}"
        for path, methods in described["paths"].items()
        for method in methods
        if f"{method.upper()} {path}" not in guide
    ]
    assert not missing


def test_every_code_is_in_the_guide() -> None:
    root = Path(__file__).parents[2]
    guide = (root / "docs" / "api.md").read_text(encoding="utf-8")
    given = re.compile(r"Problem\((?:[^()]|\([^()]*\))*\)")
    code = re.compile(r'"([a-z]+(?:-[a-z]+)*)"(?=\)|,\n|, (?:headers|extra)=)')
    found = {"not-found", "invalid", "fault"}
    for path in (root / "src" / "packshot" / "server").glob("**/*.py"):
        if "pages" not in path.parts:
            found |= {c for call in given.findall(path.read_text(encoding="utf-8")) for c in code.findall(call)}
    assert {"busy", "scope-missing", "cut-short"} <= found
    assert not sorted(c for c in found if c not in guide)
