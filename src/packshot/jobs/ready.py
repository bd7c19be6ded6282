"""Edits that a process keeps ready, with their networks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from packshot.tasks.edit import Edit


class Ready(NamedTuple):
    """An edit, the files of the pictures that its steps name, and what removes those when it is not kept any more."""

    edit: Edit
    files: Mapping[str, Path]
    drop: Callable[[], object] = lambda: None


class ReadyEdits:
    """The edits that were asked for last.

    An edit whose pictures were removed, with their job or because they were erased, is not kept: it would go on to
    show them.

    Args:
        most: that are kept.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._kept: OrderedDict[str, Ready] = OrderedDict()

    def get(self, key: str, make: Callable[[], Ready]) -> Edit:
        """Returns the edit of a key, which tells it from all others; it is made if it is not there."""
        for other, kept in list(self._kept.items()):
            if not all(path.is_file() for path in kept.files.values()):
                self._drop(other)
        if key not in self._kept:
            self._kept[key] = make()
            while len(self._kept) > self.most:
                self._drop(next(iter(self._kept)))
        self._kept.move_to_end(key)
        return self._kept[key].edit

    def _drop(self, key: str) -> None:
        self._kept.pop(key).drop()
