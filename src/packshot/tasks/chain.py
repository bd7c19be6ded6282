"""Edits one after the other, as one edit: what a recipe and `shoot` are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from packshot.core.errors import PackshotError
from packshot.images.picture import ProductImage
from packshot.tasks.edit import Edit, Edited


class Chain:
    """Each edit takes the picture that the one before it made; the first refusal ends the chain.

    What the steps say is put together: receipts and figures by the step's task (a second step of that task: "task-2"),
    the lowest confidence, all notes, and every reason for a person to look.

    Args:
        task: name of the whole, for example "shoot".
        steps: the edits, at least one.
    """

    def __init__(self, task: str, steps: Sequence[Edit]) -> None:
        if not steps:
            raise ValueError("a chain has at least one step.")
        self._task, self.steps = task, tuple(steps)
        names = [step.task for step in self.steps]
        self.names = [n if (k := names[:i].count(n)) == 0 else f"{n}-{k + 1}" for i, n in enumerate(names)]

    @property
    def task(self) -> str:
        """Name of the whole."""
        return self._task

    def settings(self) -> dict[str, Any]:
        """Returns the settings of every step, in order."""
        return {"steps": [{"task": step.task, "settings": step.settings()} for step in self.steps]}

    def __call__(self, image: ProductImage) -> Edited:
        """Edits one picture.

        Raises:
            PackshotError: a step cannot edit it; the sentence names the step.
        """
        done: list[tuple[str, Edited]] = []
        for name, step in zip(self.names, self.steps, strict=True):
            try:
                done.append((name, step(image)))
            except PackshotError as e:
                raise type(e)(f"{name}: {e}") from e
            image = done[-1][1].image
            if done[-1][1].refused:
                break
        return _together(done)


def _together(done: list[tuple[str, Edited]]) -> Edited:
    last = done[-1][1]
    sure = [e.confidence for _, e in done if e.confidence is not None]
    reviews = [f"{name}: {e.review}" for name, e in done if e.review]
    receipts = {name: dict(e.receipt) for name, e in done if e.receipt is not None}
    return Edited(
        image=last.image,
        lossless=last.lossless,
        review="; ".join(reviews) or None,
        refused=f"{done[-1][0]}: {last.refused}" if last.refused else None,
        confidence=min(sure, default=None),
        receipt=receipts or None,
        figures={name: dict(e.figures) for name, e in done if e.figures},
        notes=tuple(dict.fromkeys(note for _, e in done for note in e.notes)),
        beside={f"{name}-{of}": picture for name, e in done for of, picture in e.beside.items()},
    )
