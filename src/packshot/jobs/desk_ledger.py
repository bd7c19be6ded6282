"""What the desk's processes are asked about rights and traces: a catalogue's rights, the audit log, erasures.

The same functions as on the command line answer: `packshot rights`, `packshot audit verify`, `packshot erase`.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packshot.core.errors import PackshotError

if TYPE_CHECKING:
    from packshot.jobs.settings import StudioSettings
    from packshot.release.register import AuditLine

MOST_LISTED = 200
"""Photos that are named one by one; the command line names all."""


@dataclass(frozen=True, kw_only=True)
class AuditView:
    """The end of the audit log, and whether all of it holds together.

    Attributes:
        entries: how many there are; up to where it holds, if it does not.
        head: hash of the last; "" where the log is broken.
        lines: the newest, newest first: `number`, `time`, `event`, `hash`.
        problem: what does not hold together; None: it does.
    """

    entries: int
    head: str
    lines: tuple[Mapping[str, Any], ...]
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class Signer:
    """Who signs what leaves now.

    Attributes:
        name: in the certificate.
        since, until: ISO 8601, when the certificate begins and ends.
        development: whether it was made here, so that nobody else trusts it.
        time_stamp: whether a time stamp authority is asked.
        problem: why nothing can be signed, one sentence; None: it can.
    """

    name: str = ""
    since: str = ""
    until: str = ""
    development: bool = False
    time_stamp: bool = False
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class EraseAsked:
    """Erase a photo or a person, please; see `packshot.tasks.erase_plan.EraseRequest`.

    Attributes:
        what: a SHA-256, or a photo's id or name in a catalogue; with `person` a name.
        places: folders to look in.
        person: `what` is a person's name.
        near: also near duplicates.
        generated: also generated pictures by models that learned from the photos.
        reason: for the certificate.
        settings: of the studio, whose pictures and jobs are looked into as well; None: they are not.
        tenant: whose things in the studio; None: everybody's.
    """

    what: str
    places: tuple[Path, ...] = field(default=(), repr=False)
    person: bool = False
    near: bool = False
    generated: bool = False
    reason: str | None = None
    settings: StudioSettings | None = None
    tenant: str | None = None


def show_rights(catalog: Path) -> dict[str, Any]:
    """Returns which photos of a catalogue may be trained on and why others may not (`packshot rights --list --json`).

    Of the photos that may not, the first `MOST_LISTED` are listed, and `more` says how many are not.

    Raises:
        PackshotError: the catalogue, its manifest or its ledger is damaged.
    """
    from packshot.catalog import open_catalog
    from packshot.catalog.rights import report_rights

    report = asdict(report_rights(open_catalog(catalog)))
    listed = report["listed"]
    return {**report, "listed": listed[:MOST_LISTED], "more": max(0, len(listed) - MOST_LISTED)}


def allow_licence(catalog: Path, licence: str) -> None:
    """Notes that the owner states that photos under a licence may be trained on (`packshot rights --licence-ok`).

    Raises:
        UsageError: no photo of the catalogue has this licence.
        PackshotError: the catalogue is damaged, or cannot be written.
    """
    from packshot.catalog import open_catalog
    from packshot.catalog.rights import state

    state(open_catalog(catalog), None, (licence,))


def show_audit(last: int) -> AuditView:
    """Recomputes the chain of this machine's audit log and returns its newest entries.

    Raises:
        PackshotError: the register cannot be used.
    """
    from packshot.release.register import read_audit, verify_audit

    kept: deque[AuditLine] = deque(maxlen=last)
    count = 0

    def seen() -> Iterator[AuditLine]:
        nonlocal count
        for line in read_audit():
            kept.append(line)
            count += 1
            yield line

    problem, head = None, ""
    try:
        _, head = verify_audit(seen())
    except PackshotError as e:
        problem = str(e)
    lines = tuple(
        {"number": e.number, "time": e.time, "event": json.loads(json.dumps(e.event)), "hash": e.hash}
        for e in reversed(kept)
    )
    return AuditView(entries=count, head=head, lines=lines, problem=problem)


def export_audit_text() -> str:
    """Returns the whole log as lines of JSON that verify alone (`packshot audit export`).

    Raises:
        PackshotError: the log does not hold together.
    """
    import tempfile

    from packshot.release.audit import export_audit

    with tempfile.TemporaryDirectory(prefix="packshot-desk-") as folder:
        path = Path(folder) / "audit.jsonl"
        export_audit(path)
        return path.read_text(encoding="utf-8")


def show_signer() -> Signer:
    """Returns who signs what leaves now; a development chain is made where there is none, as the first release does."""
    from packshot.release.credentials import load_credentials

    try:
        own = load_credentials()
    except PackshotError as e:
        return Signer(problem=str(e))
    return Signer(
        name=own.signer,
        since=own.since.isoformat(),
        until=own.until.isoformat(),
        development=own.development,
        time_stamp=own.time_stamp is not None,
    )


def plan_erasure(asked: EraseAsked) -> dict[str, Any]:
    """Returns what an erasure would remove (`packshot erase --dry-run --json`), and `checksums` of the photos.

    Nothing is changed.

    Raises:
        UsageError: a place is no folder, or the reason holds the person's name.
        PackshotError: there is nothing of it anywhere.
    """
    from packshot.tasks.erase import listed
    from packshot.tasks.erase_finder import make_plan

    plan = make_plan(_request(asked), dry_run=True)
    return _plain(listed(plan)) | {"checksums": [*plan.photos, *plan.outputs]}


def carry_out_erasure(asked: EraseAsked) -> dict[str, Any]:
    """Removes what `plan_erasure` tells, and returns the result with its certificate; killed half-way, it goes on.

    Raises:
        UsageError: see `plan_erasure`.
        PackshotError: see `plan_erasure`.
    """
    from packshot.tasks.erase import carry_out
    from packshot.tasks.erase_finder import make_plan

    request = _request(asked)
    plan = make_plan(request)
    checksums = [*plan.photos, *plan.outputs]
    return _plain(carry_out(plan, request)) | {"checksums": checksums}


def _request(asked: EraseAsked) -> Any:
    from packshot.jobs.holdings import StudioHolder
    from packshot.tasks.erase_plan import EraseRequest

    holders = () if asked.settings is None else (StudioHolder(asked.settings, asked.tenant),)
    return EraseRequest(
        what=asked.what,
        places=asked.places,
        person=asked.person,
        near=asked.near,
        generated=asked.generated,
        reason=asked.reason or None,
        holders=holders,
        here=False,
    )


def _plain(result: Any) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(json.dumps(asdict(result), default=str))
    return value


def find_shopper(store: Path, user: str) -> dict[str, Any]:
    """Returns what a store holds of a shopper: `name`, `events`, `kinds` and whether pictures may be made.

    Raises:
        UsageError: there is no such shopper.
        PackshotError: the store is damaged, or was made with another key.
    """
    from packshot.taste.keys import read_key
    from packshot.taste.store import open_store

    opened = open_store(store)
    name = opened.find_user(user, None if user in opened.users else read_key())
    events = opened.history(name)
    kinds: dict[str, int] = {}
    for event in events:
        kinds[event.kind] = kinds.get(event.kind, 0) + 1
    return {"name": name, "events": len(events), "kinds": kinds}


def forget_shopper(store: Path, user: str) -> dict[str, Any]:
    """Removes a shopper from a store and proves it (`packshot events forget`).

    Raises:
        UsageError: there is no such shopper.
        PackshotError: the shopper was found again afterwards.
    """
    from packshot.tasks.events import forget

    return _plain(forget(store, user))
