"""What the reader of a list and of pictures made for one shopper has to know, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packshot.tasks.rank import Fitted, notes_on_few
from packshot.taste.asking import TEXT, Wish

if TYPE_CHECKING:
    from packshot.tasks.personalise import PersonaliseRequest


def say_wish(wish: Wish) -> str:
    """Returns what was asked of the generator since the shopper likes it."""
    if wish.attribute == TEXT:
        return (
            f"Every second picture of the search for a {wish.category} was asked for the words '{wish.value}': "
            f"products of that name are liked more than others of the category, by {wish.gain:.2f} standard deviations."
        )
    return (
        f"Every second picture of the search was asked for {wish.attribute} {wish.value}: samples that were asked for "
        f"it are liked more than those that were asked for others, by {wish.gain:.2f} standard deviations."
    )


def notes_of(request: PersonaliseRequest, fitted: Fitted, name: str | None, row: int | None, made: int) -> list[str]:
    """Returns what is to be said of who it was made for, and where fewer pictures were made than asked.

    Args:
        request: what was asked.
        fitted: the model of taste that products are ranked by.
        name: the shopper's pseudonym; None: a newcomer.
        row: of the shopper in the histories; None: there is none.
        made: how many pictures were made.
    """
    notes = _notes(fitted, row) if name else [_newcomer(request)]
    notes += notes_on_few(fitted)
    if made < request.make.n:
        notes.append(f"Of {request.make.n} pictures {made} were made: no more looked real enough; raise --samples.")
    return notes


def _newcomer(request: PersonaliseRequest) -> str:
    n = len(request.choices)
    return (
        f"A newcomer, by {n:,} choice{'s' * (n != 1)} between two products each; nothing of it is stored."
        if n
        else "A newcomer of whom nothing is known yet: list and pictures are what shoppers like in general."
    )


def _notes(fitted: Fitted, row: int | None) -> list[str]:
    if row is None or fitted.interactions.positive[row].nnz == 0:
        return [
            "This shopper was positive about nothing yet: list and pictures are what shoppers like in general, and no "
            "past item can explain them. A few choices between pictures tell more (docs/personalise.md, Newcomers)."
        ]
    return []
