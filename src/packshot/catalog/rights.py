"""Which photos of a catalogue may be trained on, which may not, and why: one judgement, kept to by all that trains."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from packshot.catalog.ledger import FIELDS, Ledger, add_rows, read_corrections, read_ledger
from packshot.catalog.licences import MEANING, read_licence
from packshot.catalog.statements import forbidding, reserves_all
from packshot.core.errors import PackshotError, UsageError, suggest
from packshot.images.xmp import is_synthetic

if TYPE_CHECKING:
    from packshot.catalog.dataset import Catalog

WITHDRAWN, REFUSED, UNCLEAR = "consent withdrawn", "consent refused", "consent not clear"
OPTED_OUT = "opted out in its own file"
NOT_LICENSED = "all rights reserved"
REASONS: dict[str, str] = {
    WITHDRAWN: "somebody took a consent back",
    REFUSED: "somebody did not consent",
    UNCLEAR: "the words about consent are no plain yes",
    OPTED_OUT: "its metadata forbids training (PLUS Data Mining, C2PA training-mining); there is no override",
    NOT_LICENSED: "it has no licence, and its metadata reserves all rights",
    **{f"licence {kind}": f"its licence {MEANING[kind]}" for kind in ("non-commercial", "no-derivatives")},
    "licence reserved": "its licence reserves all rights",
    "licence unknown": "its licence is in no table; say that it allows training by --licence-ok",
}
"""Every reason why a photo is not trained on, strongest first."""

CONSENT: dict[str, tuple[str, ...]] = {
    "given": ("yes", "y", "true", "1", "given", "granted", "signed", "ok", "ja", "oui", "si", "sí", "是", "同意"),
    "not needed": ("not needed", "none needed", "not required", "not applicable", "n/a", "na", "-"),
    REFUSED: ("no", "n", "false", "0", "refused", "denied", "declined", "nein", "non", "否", "不同意"),
    WITHDRAWN: ("withdrawn", "revoked", "objected", "erase", "erased", "撤回"),
}
"""What a shop may write about consent; other words are not clear."""

UNLICENSED = "has no licence; taken as the shop's own"
NOT_READ = "came in by an older Packshot, which did not keep what the file says; ingest again to know"
EXAMPLES = 3
COLUMNS = ["photo_id", "key", "split", "excluded", "source_type", "mining", "says", *FIELDS]


class Verdict(NamedTuple):
    """What was decided about a photo.

    Attributes:
        reason: a key of `REASONS`: it is out; None: it is in.
        words: what decided, in words that follow the photo's name.
        note: something to know about a photo that is in; None: nothing.
    """

    reason: str | None
    words: str
    note: str | None = None


@lru_cache(maxsize=4096)
def judge(
    licence: str | None, consent: str | None, mining: str | None, reserved: bool, licence_ok: bool = False
) -> Verdict:
    """Decides about a photo.

    Args:
        licence: SPDX expression; None: none was stated.
        consent: what the shop says of the consent of those who are to be seen; None: nothing.
        mining: what its file says of mining (`statements.Statements`).
        reserved: its file reserves all rights.
        licence_ok: the owner of the catalogue stated that this licence allows training.
    """
    word = _consent(consent)
    if word in (REFUSED, WITHDRAWN, UNCLEAR):
        return Verdict(word, f"has the consent '{consent}'")
    if forbids := forbidding(mining):
        return Verdict(OPTED_OUT, f"says {', '.join(forbids)} in its own metadata")
    if licence is None:
        if reserved:
            return Verdict(NOT_LICENSED, "has no licence, and says 'all rights reserved' in its own metadata")
        return Verdict(None, UNLICENSED, UNLICENSED)
    found = read_licence(licence)
    if found.out and not licence_ok:
        return Verdict(f"licence {found.kind}", f"has the licence {licence}; {found.name} {MEANING[found.kind]}")
    note = f"{found.name} {MEANING[found.kind]}" if found.kind == "share-alike" else None
    if found.out:
        note = f"{licence} was stated to allow training"
    return Verdict(None, f"has the licence {licence}", note)


def _consent(consent: str | None) -> str | None:
    if consent is None:
        return None
    plain = consent.strip().lower()
    return next((kind for kind, words in CONSENT.items() if plain in words), UNCLEAR)


@dataclass(frozen=True)
class Rights:
    """What a catalogue's photos and ledger come to.

    Attributes:
        out: the verdict on each photo that is not trained on, by photo id.
        left_out: how many pictures of the training split that makes, by reason.
        notes: how many pictures of the training split have something to know, by note.
        ledger_rows: corrections in the ledger.
        licences_ok: licences that were stated to allow training.
    """

    out: Mapping[str, Verdict]
    left_out: dict[str, int]
    notes: dict[str, int]
    ledger_rows: int
    licences_ok: tuple[str, ...]

    @property
    def key(self) -> str:
        """A name for exactly these photos being out; empty where none is."""
        return hashlib.sha256("\n".join(sorted(self.out)).encode()).hexdigest()[:8] if self.out else ""

    def about(self) -> dict[str, Any]:
        """Returns what run.json and card.json say of it."""
        return {
            "left_out": self.left_out,
            "notes": self.notes,
            "ledger_rows": self.ledger_rows,
            "licences_ok": list(self.licences_ok),
        }

    def sentence(self) -> str:
        """Returns how many pictures of the training split are left out and why, or an empty text."""
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in self.left_out.items())
        return f"{sum(self.left_out.values()):,} pictures are not trained on ({reasons})" if reasons else ""


def read_rights(catalog: Catalog) -> Rights:
    """Judges every photo of a catalogue.

    Raises:
        PackshotError: its manifest or ledger is damaged.
    """
    ledger = read_ledger(catalog.path)
    out: dict[str, Verdict] = {}
    left_out: Counter[str] = Counter()
    notes: Counter[str] = Counter()
    for row, verdict in _judged(catalog, ledger):
        trained = row["split"] == "train" and row["excluded"] is None
        if verdict.reason is not None:
            out[row["photo_id"]] = verdict
            left_out[verdict.reason] += trained
        elif verdict.note is not None and trained:
            notes[verdict.note] += 1
    ordered = {reason: left_out[reason] for reason in REASONS if left_out[reason]}
    return Rights(out, ordered, dict(sorted(notes.items())), ledger.rows, tuple(sorted(ledger.licences_ok)))


def _judged(catalog: Catalog, ledger: Ledger) -> Iterator[tuple[dict[str, Any], Verdict]]:
    """Yields each photo's row, with the ledger's corrections, and the verdict on it."""
    ok = {name.lower() for name in ledger.licences_ok}
    table = catalog.manifest(COLUMNS).to_pydict()
    for values in zip(*(table[name] for name in COLUMNS), strict=True):
        row = dict(zip(COLUMNS, values, strict=True))
        row.update(ledger.photos.get(row["photo_id"], {}))
        licence = row["licence"]
        licence_ok = licence is not None and licence.lower() in ok
        yield row, judge(licence, row["consent"], row["mining"], reserves_all(row["says"]), licence_ok)


@dataclass(frozen=True, kw_only=True)
class RightsReport:
    """What `packshot rights` tells.

    Attributes:
        catalog: its folder.
        photos: photos in it.
        may_train: how many of them may be trained on.
        synthetic: generated pictures in it, and how many of these may be trained on.
        out: for each reason: `photos`, `why` and the first `examples`.
        notes: how many photos there is something to know about, by note.
        licences: photos that are `in` and `out`, by licence.
        owners: the same by owner.
        sources: the same by source.
        opt_outs: the same by what the file says of mining.
        left_out_at_ingest: photos that never came in for want of rights, by reason.
        ledger_rows: corrections in the ledger.
        licences_ok: licences that were stated to allow training.
        listed: each picture that is out, with its `photo_id`, `key`, `reason` and `words`.
    """

    catalog: str
    photos: int
    may_train: int
    synthetic: dict[str, int]
    out: dict[str, dict[str, Any]]
    notes: dict[str, int]
    licences: dict[str, dict[str, int]]
    owners: dict[str, dict[str, int]]
    sources: dict[str, dict[str, int]]
    opt_outs: dict[str, dict[str, int]]
    left_out_at_ingest: dict[str, int]
    ledger_rows: int
    licences_ok: tuple[str, ...]
    listed: list[dict[str, str]] = field(default_factory=list)


ABOUT_RIGHTS = ("forbids training", "has no licence", "has no source", "has the licence")
"""How the reasons begin for which an ingest leaves a photo out for want of rights."""


def report_rights(catalog: Catalog) -> RightsReport:
    """Counts what is in, what is out, and why.

    Raises:
        PackshotError: its manifest or ledger is damaged.
    """
    ledger = read_ledger(catalog.path)
    counted: dict[str, dict[str, Counter[str]]] = {name: {} for name in ("licence", "owner", "source", "mining")}
    pictures, may_train = Counter[bool](), Counter[bool]()
    reasons: dict[str, list[dict[str, str]]] = {reason: [] for reason in REASONS}
    notes: Counter[str] = Counter()
    for row, verdict in _judged(catalog, ledger):
        made = is_synthetic(row["source_type"])
        pictures[made] += 1
        may_train[made] += verdict.reason is None
        for name, values in counted.items():
            value = row[name] if row[name] is not None else "not stated"
            values.setdefault(value, Counter())["in" if verdict.reason is None else "out"] += 1
        if verdict.reason is not None:
            facts = {"photo_id": row["photo_id"], "key": row["key"], "reason": verdict.reason, "words": verdict.words}
            reasons[verdict.reason].append(facts)
        elif verdict.note is not None:
            notes[verdict.note] += 1
    if not catalog.knows_statements:
        notes[NOT_READ] = pictures.total()
    left_out = {k: n for k, n in catalog.summary.get("left_out", {}).items() if k.startswith(ABOUT_RIGHTS)}
    return RightsReport(
        catalog=str(catalog.path),
        photos=pictures[False],
        may_train=may_train[False],
        synthetic={"pictures": pictures[True], "may_train": may_train[True]},
        out={
            reason: {"photos": len(rows), "why": REASONS[reason], "examples": [r["key"] for r in rows[:EXAMPLES]]}
            for reason, rows in reasons.items()
            if rows
        },
        notes=dict(sorted(notes.items())),
        licences=_most(counted["licence"]),
        owners=_most(counted["owner"]),
        sources=_most(counted["source"]),
        opt_outs=_most({k: n for k, n in counted["mining"].items() if k != "not stated"}),
        left_out_at_ingest=left_out,
        ledger_rows=ledger.rows,
        licences_ok=tuple(sorted(ledger.licences_ok)),
        listed=[row for rows in reasons.values() for row in rows],
    )


def state(catalog: Catalog, table: Path | None, licences_ok: Sequence[str]) -> None:
    """Adds what the owner of a catalogue states to its ledger; all of it or nothing.

    Args:
        catalog: the catalogue.
        table: corrections by photo (`ledger.read_corrections`); None: none.
        licences_ok: licences whose photos may be trained on; opt-outs in the photos' own files stay.

    Raises:
        UsageError: a licence that is no SPDX expression, or that no photo has.
        PackshotError: the table cannot be read or does not fit, or the catalogue cannot be written.
    """
    columns = catalog.manifest(["photo_id", "key", "licence"]).to_pydict()
    rows: list[dict[str, str]] = []
    if table is not None:
        places: dict[str, list[str]] = {}
        for photo_id, key in zip(columns["photo_id"], columns["key"], strict=True):
            places.setdefault(key, []).append(photo_id)
            places.setdefault(photo_id, [photo_id])
        rows += read_corrections(table, places)
    known = {name for name in columns["licence"] if name} | {row["licence"] for row in rows if "licence" in row}
    known |= {said["licence"] for said in read_ledger(catalog.path).photos.values() if "licence" in said}
    for licence in licences_ok:
        if licence not in known:
            raise UsageError(f"No photo of {catalog.path} has the licence '{licence}'.{suggest(licence, known)}")
        rows.append({"licence_ok": licence})
    add_rows(catalog.path, rows)
    catalog.__dict__.pop("rights", None)  # They were judged before.


def _most(counts: Mapping[str, Counter[str]]) -> dict[str, dict[str, int]]:
    ordered = sorted(counts.items(), key=lambda c: (-c[1].total(), c[0]))
    return {name: {"in": n["in"], "out": n["out"]} for name, n in ordered}


def refuse_nothing_left(catalog: Catalog) -> PackshotError:
    """Returns the error for a training split of which nothing may be trained on."""
    return PackshotError(
        f"No photo of {catalog.path} may be trained on: {catalog.rights.sentence()}. "
        f"See why: packshot rights {catalog.path}"
    )
