"""Sentences that tasks wrote, as a page shows them: in the reader's language, and without the options of a command.

Tasks write English. locale/zh*.toml and locale/en*.toml have a table [sentences]: what a task says, with {} for what
changes, and what a page says instead; [parts] has the words that stand there. In English only what names a command's
options is there.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Literal

from packshot.tasks.options import as_settings

Language = Literal["en", "zh"]

LOCALE = Path(__file__).parents[1] / "locale"
STEP = re.compile(r"([a-z]+)(?:-(\d+))?: ")
STEPS_APART = re.compile(r"; (?=[a-z]+(?:-\d+)?: )")
CHECKED = re.compile(r"(.+?) Seen: (.+?)\.(?= [A-Z0-9]|$)\s*")


def N_(text: str) -> str:
    """Marks a text that is translated where it is shown."""
    return text


STEPS = {
    "anonymise": N_("Privacy"),
    "enhance": N_("Light and detail"),
    "repair": N_("Repair"),
    "cutout": N_("Cut-out"),
    "declutter": N_("Clearing up"),
    "enlarge": N_("Enlarging"),
    "backdrop": N_("Background"),
    "extend": N_("Extending"),
    "restyle": N_("Style"),
    "notice": N_("AI notice"),
    "check": N_("Channel's rules"),
    "shoot": N_("Listing pictures"),
}
"""Tasks and steps by the words of a page."""


@cache
def texts(language: Language) -> Mapping[str, str]:
    """Returns what each English text of the pages is in a language, from all of its files in locale/."""
    return _table(language, "texts")


def _table(language: Language, name: str) -> dict[str, str]:
    out: dict[str, str] = {}
    for path in sorted(LOCALE.glob(f"{language}*.toml")):
        out |= tomllib.loads(path.read_text(encoding="utf-8")).get(name, {})
    return out


@cache
def _sentences(language: Language) -> list[tuple[re.Pattern[str], str]]:
    """Returns the known sentences, the longest first, and what is said instead."""
    out = []
    for english, own in sorted(_table(language, "sentences").items(), key=lambda pair: -len(pair[0])):
        parts = [re.escape(part) for part in english.split("{}")]
        out.append((re.compile("(.*?)".join(parts), re.DOTALL), own))
    return out


def translate(text: str, language: Language) -> str:
    """Returns a text of the pages in a language; where nobody has translated it, itself."""
    return texts(language).get(text, text)


def step_name(name: str, say: Callable[[str], str]) -> str:
    """Returns the words for a step ("backdrop", "repair-2"), as `say` translates them."""
    base, dash, number = name.rpartition("-")
    if dash and number.isdigit():
        return f"{step_name(base, say)} {number}"
    return say(STEPS.get(name, name))


def tell(text: str | None, language: Language) -> str:
    """Returns a sentence of a task for a reader; what is not known stays as it was written.

    What a chain puts together ("cutout: it is not sure; check: No border. Seen: 3 pixels.") is taken apart first.
    """
    if not text:
        return ""
    parts = STEPS_APART.split(text)
    return ("；" if language == "zh" else "; ").join(_of_step(part, language) for part in parts)


def _of_step(text: str, language: Language) -> str:
    found = STEP.match(text)
    if found is None or found[1] not in STEPS:
        return _checked(text, language)
    name = step_name(text[: found.end() - 2], partial(translate, language=language))
    return f"{name}{'：' if language == 'zh' else ': '}{_checked(text[found.end() :], language)}"


def _checked(text: str, language: Language) -> str:
    """Returns what the check of a channel's rules says, each rule and what was seen by itself."""
    rules = CHECKED.findall(text)
    if not rules or CHECKED.sub("", text).strip():
        return _known(text, language)
    form = "{} 实测：{}。" if language == "zh" else "{} Seen: {}."
    return " ".join(form.format(_known(rule, language), _known(seen, language)) for rule, seen in rules)


def _known(text: str, language: Language) -> str:
    for pattern, own in _sentences(language):
        if match := pattern.fullmatch(text):
            return own.format(*(_part(part, language) for part in match.groups()))
    known = translate(text, language)
    if known != text:
        return known
    if language == "zh" and text.endswith("."):  # Perhaps a clause that stands as a sentence.
        own = _known(clause := text.removesuffix("."), language)
        if own != as_settings(clause, plain=True):
            return f"{own}。"
    return as_settings(text, plain=True)


def _part(text: str, language: Language) -> str:
    """Returns what stands in a sentence's place, each word of a list by itself: "top, left", "dust (3)"."""
    if text in _parts(language) or language == "en":
        return _parts(language).get(text, text)
    whole = translate(text, language)
    if whole != text:
        return whole
    known = _parts(language)
    return ", ".join(re.sub(r"^\w+", lambda word: known.get(word[0], word[0]), one) for one in text.split(", "))


@cache
def _parts(language: Language) -> Mapping[str, str]:
    return _table(language, "parts")
