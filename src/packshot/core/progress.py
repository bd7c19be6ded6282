"""Progress on stderr: a bar in a terminal, plain lines elsewhere, nothing when quiet. Never on stdout."""

import sys
import time
from types import TracebackType
from typing import Any


class Progress:
    """Shows how far a piece of work is; use as a context manager.

    Args:
        title: what is being done.
        total: units of work in all; None when unknown.
        quiet: show nothing.
        every: seconds between plain lines where there is no terminal.
    """

    def __init__(self, title: str, total: float | None = None, *, quiet: bool = False, every: float = 10.0) -> None:
        self.title, self.total, self.quiet, self.every = title, total, quiet, every
        self._bar: Any = None
        self._task: Any = None
        self._last = time.monotonic()

    def __enter__(self) -> "Progress":
        if not self.quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as RichProgress

            self._bar = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}%"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(self.title, total=self.total, note="")
        return self

    def update(self, done: float, note: str = "") -> None:
        """Says that `done` units of `total` are finished; `note` is shown beside it."""
        if self.quiet:
            return
        if self._bar is not None:
            self._bar.update(self._task, completed=done, note=note)
        elif time.monotonic() - self._last >= self.every:
            self._last = time.monotonic()
            share = f" {100 * done / self.total:.0f}%" if self.total else f" {done:,.0f}"
            self.say(f"{self.title}:{share}{f'  {note}' if note else ''}")

    def say(self, line: str) -> None:
        """Prints one line to stderr, above the bar where there is one."""
        if self.quiet:
            return
        if self._bar is not None:
            self._bar.console.print(line, highlight=False, markup=False)
        else:
            print(line, file=sys.stderr, flush=True)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
