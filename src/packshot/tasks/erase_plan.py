"""What an erasure will remove, found out before anything is removed, and kept until all of it is done.

The plan is written to `erasures/` in the user's folder before the first removal. The same command, given again after
it was cut off, finds it there, adds what it finds now, and goes on; it is removed when the certificate is written.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from packshot.core.errors import PackshotError
from packshot.core.files import disk_errors, read_json, write_json
from packshot.core.home import home
from packshot.tasks.erase_holders import Held, Holder


@dataclass(frozen=True, kw_only=True)
class EraseRequest:
    """Erase a photo or a person, please.

    Attributes:
        what: a photo: its file, its SHA-256, or its id or name in a catalogue; with `person` a name.
        places: folders to look in: catalogues, runs, results; none: what is found below the current folder.
        person: `what` is a person's name.
        columns: columns that name persons; none: `PERSON_COLUMNS`.
        near: also near duplicates of the photos.
        generated: also generated pictures in catalogues that were made by a model that learned from the photos.
        source: also files elsewhere in the places, and `what` itself, that are the photo byte for byte.
        reason: for the certificate.
        certificate: its file; None: in the user's folder.
        holders: who else may have such photos: the studio.
        here: whether without `places` the current folder is looked through.
    """

    what: str
    places: tuple[Path, ...] = ()
    person: bool = False
    columns: tuple[str, ...] = ()
    near: bool = False
    generated: bool = False
    source: bool = False
    reason: str | None = None
    certificate: Path | None = None
    holders: tuple[Holder, ...] = ()
    here: bool = True

    @property
    def id(self) -> str:
        """The same for the same command, given in the same folder."""
        said = [self.what, *sorted(str(p.resolve()) for p in self.places), *self.columns, str(Path.cwd())]
        said += [holder.name for holder in self.holders]
        flags = [self.person, self.near, self.generated, self.source]
        return hashlib.sha256(json.dumps([said, flags]).encode()).hexdigest()[:32]


@dataclass
class Plan:
    """What is to be removed, as JSON values.

    Attributes:
        id: of the command; `EraseRequest.id`.
        erasure: a number drawn for this erasure.
        time: when it was begun, ISO 8601.
        salt: hex; for what the certificate does not say in clear.
        roots: the places.
        photos: SHA-256 of each photo.
        photo_ids: their ids in catalogues.
        names: what they are called in catalogues and journals.
        outputs: SHA-256 of files that were made from them.
        catalogues: by folder: `before` (checksum), `photos` (ids), `sha256s`, `rejected` (names), `ledger_rows`,
            `shards`.
        files: by path: `sha256`, `kind` ("result", "sample", "report", "source"), `by` ("checksum", "name").
        lines: SHA-256 of lines of journals, by folder.
        evaluations: runs whose evaluation names one of the photos.
        runs: by folder: `photos` (how many it learned from), `certain`, `model_sha256`, `training_set` (root).
        near: near duplicates that stay: (catalogue, name).
        generated: by catalogue, how many pictures by such models stay.
        left: by path, why a file stays: a file that is one of the photos.
        problems: by path, why something could not be looked at.
        held: by holder (the studio), how many of each kind of thing it has.
        held_names: what the pictures there are called.
    """

    id: str
    erasure: str
    time: str
    salt: str
    roots: list[str] = field(default_factory=list)
    photos: list[str] = field(default_factory=list)
    photo_ids: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    catalogues: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    lines: dict[str, list[str]] = field(default_factory=dict)
    evaluations: list[str] = field(default_factory=list)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    near: list[list[str]] = field(default_factory=list)
    generated: dict[str, int] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    held: dict[str, dict[str, int]] = field(default_factory=dict)
    held_names: list[str] = field(default_factory=list)

    @property
    def path(self) -> Path:
        """Where it is kept until all is done."""
        return home() / "erasures" / f"unfinished-{self.id}.json"

    def empty(self) -> bool:
        """Whether nothing was found."""
        held = any(count for counts in self.held.values() for count in counts.values())
        return not (self.catalogues or self.files or self.lines or self.runs or self.left or held)

    def gone(self) -> set[str]:
        """Returns the SHA-256 of the photos, and of what was made from them."""
        return {*self.photos, *self.outputs}

    def note(self, holder: str, held: Held) -> None:
        """Notes what a holder has; what a start that was cut off has found, and removed, is counted as well."""
        counts = self.held.setdefault(holder, {})
        counts |= {kind: max(n, counts.get(kind, 0)) for kind, n in held.counts.items()}
        self.held_names = sorted({*self.held_names, *held.names})
        self.outputs = sorted({*self.outputs, *held.made})

    def write(self) -> None:
        """Keeps the plan; only its owner may read it."""
        with disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_json(self.path, asdict(self))
        self.path.chmod(0o600)


def begin_plan(request: EraseRequest) -> Plan:
    """Returns the plan of the same command that was cut off, or a new and empty one.

    Raises:
        PackshotError: the one that was begun is damaged.
    """
    new = Plan(
        id=request.id,
        erasure=secrets.token_hex(16),
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        salt=secrets.token_hex(16),
    )
    if not new.path.is_file():
        return new
    try:
        return Plan(**read_json(new.path))
    except TypeError as e:
        raise PackshotError(f"{new.path} is damaged; remove it, and give the command again.") from e
