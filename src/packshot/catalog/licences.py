"""Which licences let a photo be trained on: one table over SPDX expressions. No legal advice; a cautious reading."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, NamedTuple

Kind = Literal["free", "credit", "share-alike", "own", "non-commercial", "no-derivatives", "reserved", "unknown"]

MEANING: dict[Kind, str] = {
    "free": "lets anybody use it for anything",
    "credit": "lets anybody use it who names its author",
    "share-alike": "lets anybody use it; what is made from it may have to carry the same licence",
    "own": "is your own terms",
    "non-commercial": "forbids commercial use",
    "no-derivatives": "forbids passing on what is made from it",
    "reserved": "reserves all rights",
    "unknown": "is in no table, so nobody can tell whether it allows training",
}
OUT: tuple[Kind, ...] = ("unknown", "no-derivatives", "non-commercial", "reserved")
"""Kinds that are not trained on, from the weakest reason to the strongest."""
TABLE: tuple[tuple[str, Kind], ...] = (
    (r"CC0-.*|CC-PDDC|CC-PDM-.*|PDDL-.*|Unlicense|0BSD|WTFPL|MIT-0|CDLA-Permissive-.*|C-UDA-.*|DL-DE-ZERO-.*", "free"),
    (r"CC-BY-NC.*|.*-Non-?Commercial.*", "non-commercial"),
    (r"CC-BY-ND-.*", "no-derivatives"),
    (
        r"CC-BY-SA-.*|ODbL-.*|CDLA-Sharing-.*|(A|L)?GPL-.*|GFDL-.*|MPL-.*|EPL-.*|EUPL-.*|OFL-.*|LAL-.*|OSL-.*",
        "share-alike",
    ),
    (r"CC-BY-\d.*|ODC-By-.*|OGL-.*|DL-DE-BY-.*|etalab-.*|Apache-.*|BSD-.*|MIT(-.*)?|ISC|Zlib|Artistic-.*", "credit"),
    (r"LicenseRef-.*(all-?rights-?reserved|no-?ai|no-?training).*|NONE", "reserved"),
    (r"LicenseRef-own([.-].*)?", "own"),
)
"""What an SPDX identifier allows, the first row that fits; upper and lower case are one."""

TOKEN = re.compile(r"[()]|[^\s()]+")


class Licence(NamedTuple):
    """What a licence expression comes to.

    Attributes:
        kind: by `MEANING`.
        name: the identifier that decided.
    """

    kind: Kind
    name: str

    @property
    def out(self) -> bool:
        """Whether photos under it are not trained on."""
        return self.kind in OUT


@lru_cache(maxsize=1024)
def read_licence(expression: str) -> Licence:
    """Returns what an SPDX expression comes to: of `A OR B` the better, of `A AND B` the worse.

    What is no expression (unbalanced brackets, for one) is unknown; nothing is raised.
    """
    tokens = TOKEN.findall(expression)
    try:
        found, rest = _any_of(tokens, 0)
    except (IndexError, RecursionError):
        return Licence("unknown", expression)
    return found if rest == len(tokens) else Licence("unknown", expression)


def _rank(licence: Licence) -> int:
    return OUT.index(licence.kind) + 1 if licence.out else 0


def _any_of(tokens: list[str], at: int) -> tuple[Licence, int]:
    found, at = _all_of(tokens, at)
    while at < len(tokens) and tokens[at].upper() == "OR":
        other, at = _all_of(tokens, at + 1)
        found = min(found, other, key=_rank)
    return found, at


def _all_of(tokens: list[str], at: int) -> tuple[Licence, int]:
    found, at = _one(tokens, at)
    while at < len(tokens) and tokens[at].upper() == "AND":
        other, at = _one(tokens, at + 1)
        found = max(found, other, key=_rank)
    return found, at


def _one(tokens: list[str], at: int) -> tuple[Licence, int]:
    if tokens[at] == "(":
        found, at = _any_of(tokens, at + 1)
        if tokens[at] != ")":
            raise IndexError("an open bracket")
        return found, at + 1
    name = tokens[at]
    # An exception (WITH) only ever adds permissions.
    return Licence(_kind(name.rstrip("+")), name), at + 3 if tokens[at + 1 : at + 2] == ["WITH"] else at + 1


def _kind(name: str) -> Kind:
    for pattern, kind in TABLE:
        if re.fullmatch(pattern, name, re.IGNORECASE):
            return kind
    return "unknown"
