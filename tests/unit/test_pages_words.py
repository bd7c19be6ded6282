"""Every word of the studio's pages is there in Chinese as well, and says as much."""

import ast
import re
import string
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from jinja2 import nodes

from packshot.server.pages import frame

PAGES = Path(frame.__file__).parent
CHINESE = re.compile(r"[\u4e00-\u9fff]")
MARKS = ("_", "N_", "n_", "words", "several")
SAME = {"Packshot", "JPEG", "PNG", "WebP", "Google Merchant", "{n} of {total}"}
"""What may be the same in both languages."""


def python_texts(path: Path) -> Iterator[str]:
    """Yields the texts of `_("...")`, `N_("...")` and `n_("...", "...", n)` (its second: Chinese has no singular)."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and (name := called(node.func)) in MARKS:
            at = 1 if name in ("n_", "several") else 0
            if len(node.args) > at and isinstance(text := node.args[at], ast.Constant) and isinstance(text.value, str):
                yield text.value


def called(function: ast.expr) -> str:
    """Returns the name of what is called: of `words(request)("...")` it is "words"."""
    if isinstance(function, ast.Call):
        return called(function.func)
    return function.id if isinstance(function, ast.Name) else ""


def template_texts(path: Path) -> Iterator[str]:
    """Yields the texts of a template's `_` and `n_`."""
    tree = frame.environment().parse(path.read_text(encoding="utf-8"))
    for call in tree.find_all(nodes.Call):
        if isinstance(call.node, nodes.Name) and call.node.name in ("_", "n_"):
            at = 1 if call.node.name == "n_" else 0
            if len(call.args) > at and isinstance(call.args[at], nodes.Const):
                yield call.args[at].value


def all_texts() -> dict[str, str]:
    """Returns every text, with a file that it stands in."""
    found: dict[str, str] = {}
    for path in sorted(PAGES.glob("*.py")):
        found |= dict.fromkeys(python_texts(path), path.name)
    for path in sorted(frame.TEMPLATES.glob("*.html")):
        found |= dict.fromkeys(template_texts(path), path.name)
    return found


def names(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_every_text_has_its_chinese() -> None:
    missing = {text: where for text, where in all_texts().items() if text not in frame.chinese() and text not in SAME}
    assert not missing, "\n".join(f"{where}: {text}" for text, where in missing.items())


def test_the_chinese_is_chinese_and_fills_in_the_same_names() -> None:
    table = frame.chinese()
    assert len(table) > 200
    for english, own in table.items():
        assert CHINESE.search(own) or english in SAME, english
        assert names(english) == names(own), english


def test_nothing_is_translated_that_no_page_says() -> None:
    """Else the table grows for ever. What tasks say, and what stands for a part of it, is checked by `told`."""
    said = set(all_texts())
    for path in sorted(frame.LOCALE.glob("zh*.toml")):
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        unused = set(table.get("texts", {})) - said
        assert not unused, f"{path.name}: {sorted(unused)}"


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-GB,en;q=0.9,zh;q=0.8", "en"),
        ("de,zh;q=0.5,en;q=0.4", "zh"),
        ("zh;q=0", "en"),
        ("*", "en"),
        ("zh;q=oops, en;q=0.1", "en"),
    ],
)
def test_the_browsers_language_is_taken(header: str, language: str) -> None:
    assert frame._preferred(header) == language
