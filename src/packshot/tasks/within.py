"""A channel's limits to what an edit may change of the product: beyond them the picture is refused."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import date
from typing import Any

from packshot.images.picture import ProductImage
from packshot.release.channels import load_channel
from packshot.release.receipt import heat_map, held_to, limits_of
from packshot.tasks.edit import Edit, Edited


class Within:
    """An edit whose receipt is held against a channel's limits, too.

    Args:
        edit: one task, no chain, whose receipt is of the whole frame as it was: a heat map shows it so.
        channel: its name.
        on: the day.
    """

    def __init__(self, edit: Edit, channel: str, on: date) -> None:
        self.edit, self.channel = edit, channel
        self.limits = limits_of(load_channel(channel), on)

    @property
    def task(self) -> str:
        """Name of the edit."""
        return self.edit.task

    def settings(self) -> dict[str, Any]:
        """Returns the edit's settings, and under "limits" the channel's."""
        return {**self.edit.settings(), "limits": asdict(self.limits)}

    def __call__(self, image: ProductImage) -> Edited:
        """Edits one picture.

        Raises:
            PackshotError: it cannot be edited.
        """
        done = self.edit(image)
        if done.refused or done.receipt is None:
            return done
        held = held_to(done.receipt, self.limits)
        if held.passed:
            return done
        return replace(
            done,
            receipt={**done.receipt, **held.as_json()},
            refused=f"The product is not what {self.channel} lets it be: {'; '.join(held.broken)}.",
            beside={**done.beside, "heat": heat_map(image, done.image)},
        )
