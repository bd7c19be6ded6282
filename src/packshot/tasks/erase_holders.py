"""Who keeps photos beside catalogues, runs and folders of results: the studio. What it holds, the rooms above tell.

An erasure is handed such holders. It asks each what it has of the photos, has it removed, and asks again afterwards;
the certificate counts what went.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from packshot.core.needles import Needle


@dataclass(frozen=True, kw_only=True)
class Held:
    """What a holder has of some photos.

    Attributes:
        made: SHA-256 of what it made from them.
        names: what they, and those, are called there.
        counts: how many of each kind of thing go, for example {"pictures": 3}.
    """

    made: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    counts: Mapping[str, int] = field(default_factory=dict)


class Holder(Protocol):
    """Keeps photos and what was made from them."""

    @property
    def name(self) -> str:
        """What lists and certificates call it; the same each time."""
        ...

    @property
    def places(self) -> Sequence[Path]:
        """Folders of catalogues, runs and results that belong to it, and are looked through like any other."""
        ...

    @property
    def own(self) -> Sequence[Path]:
        """Files and folders that it alone looks after; nobody else looks into them."""
        ...

    def of_person(self, person: str) -> set[str]:
        """Returns the SHA-256 of pictures that say themselves that they are of this person."""
        ...

    def find(self, gone: Collection[str]) -> Held:
        """Returns what it has of photos, by their SHA-256; nothing is changed."""
        ...

    def stop(self, gone: Collection[str]) -> None:
        """Has nothing more made from the photos: what waits to be made is dropped, what is being made is ended."""
        ...

    def remove(self, gone: Collection[str], names: Collection[str]) -> None:
        """Removes what it has of the photos, and their names where a text holds them; what is not there is no error.

        Raises:
            PackshotError: something cannot be removed; the rest was.
        """
        ...

    def shared(self, names: Collection[str], gone: Collection[str]) -> set[str]:
        """Returns which of some names pictures have, too, that stay."""
        ...

    def left(self, gone: Collection[str], needles: Collection[Needle], salt: bytes) -> list[str]:
        """Returns sentences' ends about what is still there of the photos, naming nobody; none: nothing."""
        ...
