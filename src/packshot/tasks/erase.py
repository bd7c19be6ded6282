"""`packshot erase`: a photo or a person out of catalogues, runs' pages and results, with a certificate that verifies.

Order: runs are marked first, so that no model is used without a word while its photos go; then results and their
lines in journals, pages, catalogues, the register, and sources where that was asked for; then the places are looked
through again, and the certificate says what was found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from packshot import __version__
from packshot.catalog.erase import ToErase, erase_rows
from packshot.core.errors import PackshotError
from packshot.core.files import disk_errors, read_json, sha256_file, write_bytes, write_json
from packshot.core.home import home
from packshot.core.lineage import mark_for_retraining
from packshot.release.erasure import KIND, VERSION, certify, hash_person
from packshot.release.register import forget
from packshot.tasks.erase_check import look_again, needles_of
from packshot.tasks.erase_places import read_lines, with_side_car
from packshot.tasks.erase_plan import EraseRequest, Plan
from packshot.tasks.journal import JOURNAL

KEPT = {
    "training_set": "the SHA-256 of the photos stay in the training sets of runs: a checksum is no picture, and "
    "without it nobody could tell which models learned from them",
    "tombstones": "the SHA-256 of the photos stay in the catalogues' erased.jsonl",
    "audit": "the audit log keeps the checksums of what was released and of this erasure",
    "weights": "the weights of the models that learned from the photos stay until they are trained anew",
}
"""What stays on purpose, as the certificate says it."""


@dataclass(frozen=True, kw_only=True)
class EraseResult:
    """What was, or would be, erased.

    Attributes:
        state: "listed": nothing was changed; "erased"; "incomplete": something could not be removed, or was found
            again after all was done.
        photos: different photos, by checksum.
        catalogues: by folder, what goes from it: `photos`, `ledger_rows`, `rejected_rows`, `shards`, and its checksum
            `before` and `after`.
        files: what else is removed: `path`, `sha256`, `kind` and whether it was known by "checksum" or by "name".
        journal_lines: by folder, how many lines of its journal go.
        runs: folders of runs that learned from the photos: `photos`, and whether that is `certain`.
        generated: by catalogue, generated pictures by those models that stay.
        near: near duplicates that stay: catalogue and name.
        left: files that are one of the photos and stay.
        problems: by path, what could not be looked at or removed, and why.
        remains: what was found in the places after all was done.
        mentions: files of others (lists, notes) in the places that name a photo, a person or a checksum; they stay.
        forgotten: released pictures that the register forgot.
        held: by studio, how many things of each kind go from it: `pictures` (a tenant's rows), `items` (rows of
            `jobs`), `files`, `choices`.
        certificate: its file; None: nothing was changed.
    """

    state: str
    photos: int
    catalogues: dict[str, dict[str, Any]]
    files: list[dict[str, Any]]
    journal_lines: dict[str, int]
    runs: dict[str, dict[str, Any]]
    generated: dict[str, int]
    near: list[list[str]]
    left: list[str]
    problems: dict[str, str]
    remains: list[str] = field(default_factory=list)
    mentions: list[str] = field(default_factory=list)
    forgotten: int = 0
    held: dict[str, dict[str, int]] = field(default_factory=dict)
    certificate: Path | None = None


def listed(plan: Plan) -> EraseResult:
    """Returns what a plan would remove."""
    return _result(plan, "listed", {})


def carry_out(plan: Plan, request: EraseRequest) -> EraseResult:
    """Removes what was planned, looks again, and writes the certificate.

    What cannot be removed stands in the result and in the certificate; the rest goes on. Killed at any moment, the
    same command finishes.

    Raises:
        PackshotError: the certificate's file is there already or a run could not be marked (nothing was removed
            then), the certificate cannot be signed or written, or the register cannot be used.
    """
    path = request.certificate or home() / "erasures" / f"{plan.erasure}.json"
    _check_free(path, plan)
    plan.write()
    for folder, facts in plan.runs.items():
        mark_for_retraining(
            Path(folder), erasure=plan.erasure, time=plan.time, photos=facts["photos"], certain=facts["certain"]
        )
    problems = dict(plan.problems)
    _each(problems, [p for p, f in plan.files.items() if f["kind"] != "source"], _remove_result)
    _each(problems, plan.lines, lambda folder: _drop_lines(folder, set(plan.lines[str(folder)])))
    _each(problems, plan.runs, lambda folder: _drop_from_index(folder, plan.photos))
    _each(problems, plan.evaluations, lambda path: _drop_nearest(path, set(plan.photo_ids)))
    _out_of_holders(plan, request, problems)
    after: dict[str, str] = {}

    def out_of_catalogue(folder: Path) -> None:
        after[str(folder)] = erase_rows(folder, _to_erase(plan, request, str(folder))).after

    _each(problems, plan.catalogues, out_of_catalogue)
    forgotten = forget(sorted({*plan.outputs, *plan.photos}))
    _each(problems, [p for p, f in plan.files.items() if f["kind"] == "source"], _remove_result)
    body = _body(plan, request, after, problems)
    found = look_again(body, request.holders)
    mentions, remains = [f for f in found if f.foreign], [f for f in found if not f.foreign]
    body["left"]["mentions"] = _counted(f.sha256 for f in mentions)
    body["remains"] = sorted(f.what for f in remains)
    write_json(path, certify(body))
    with disk_errors(plan.path):
        plan.path.unlink(missing_ok=True)
    state = "incomplete" if problems or remains else "erased"
    return _result(
        plan,
        state,
        after,
        problems,
        remains=[f"{f.path}: {f.what}" for f in remains],
        mentions=[f"{f.path}: {f.what}" for f in mentions],
        forgotten=forgotten,
        certificate=path,
    )


def _out_of_holders(plan: Plan, request: EraseRequest, problems: dict[str, str]) -> None:
    """Has the studio stop making things of the photos, and remove what it has; the plan knows first what that is."""
    person = [request.what.strip()] if request.person else []
    for holder in request.holders:
        try:
            holder.stop(plan.gone())
            plan.note(holder.name, holder.find(plan.gone()))
            plan.write()
            holder.remove(plan.gone(), [*plan.held_names, *person])
        except PackshotError as e:
            problems[holder.name] = str(e)


def _drop_from_index(run: Path, photos: Iterable[str]) -> None:
    """Takes photos out of what a run keeps of its training photos to know copies by."""
    from packshot.evaluation.gate import load_index
    from packshot.evaluation.gate_run import INDEX

    path = run / INDEX
    if path.is_file():
        load_index(path).without(photos).save(path)


def _check_free(path: Path, plan: Plan) -> None:
    """Refuses to write a certificate over another file; over its own, where only the end was cut off, it may."""
    if path.exists():
        there = read_json(path) if path.suffix == ".json" else None
        if not isinstance(there, dict) or there.get("body", {}).get("erasure") != plan.erasure:
            raise PackshotError(f"{path} exists already; choose another --certificate. Nothing was erased.")


def _each(problems: dict[str, str], paths: Iterable[str], remove: Callable[[Path], None]) -> None:
    for path in paths:
        try:
            with disk_errors(Path(path)):
                remove(Path(path))
        except PackshotError as e:
            problems[path] = str(e)


def _remove_result(path: Path) -> None:
    for one in with_side_car(path):
        one.unlink()


def _drop_lines(folder: Path, digests: set[str]) -> None:
    lines = read_lines(folder)
    stay = [line.raw + b"\n" for line in lines if line.digest not in digests]
    if len(stay) < len(lines):
        write_bytes(folder / JOURNAL, b"".join(stay))


def _drop_nearest(path: Path, photo_ids: set[str]) -> None:
    """Takes the photos out of an evaluation's pairs of samples and nearest photos."""
    about = read_json(path)
    about["nearest"] = [pair for pair in about.get("nearest", []) if pair.get("photo_id") not in photo_ids]
    write_json(path, about)


def _to_erase(plan: Plan, request: EraseRequest, folder: str) -> ToErase:
    entry = plan.catalogues[folder]
    return ToErase(
        photo_ids=frozenset(plan.photo_ids),
        keys=frozenset(entry["rejected"]),
        sha256s=frozenset(entry["sha256s"]),
        owner=request.what if request.person else None,
        time=plan.time,
    )


def _result(
    plan: Plan,
    state: str,
    after: dict[str, str],
    problems: dict[str, str] | None = None,
    *,
    remains: Iterable[str] = (),
    mentions: Iterable[str] = (),
    forgotten: int = 0,
    certificate: Path | None = None,
) -> EraseResult:
    catalogues = {
        folder: {
            "photos": len(entry["photos"]),
            **{name: entry[name] for name in ("ledger_rows", "shards", "before")},
            "rejected_rows": len(entry["rejected"]),
            "after": after.get(folder),
        }
        for folder, entry in plan.catalogues.items()
    }
    return EraseResult(
        state=state,
        photos=len(plan.photos),
        catalogues=catalogues,
        files=[{"path": path, **facts} for path, facts in plan.files.items()],
        journal_lines={folder: len(digests) for folder, digests in plan.lines.items()},
        runs={folder: {name: facts[name] for name in ("photos", "certain")} for folder, facts in plan.runs.items()},
        generated=plan.generated,
        near=plan.near,
        left=sorted(plan.left),
        problems=plan.problems if problems is None else problems,
        remains=list(remains),
        mentions=list(mentions),
        forgotten=forgotten,
        held=plan.held,
        certificate=certificate,
    )


def _body(plan: Plan, request: EraseRequest, after: dict[str, str], problems: dict[str, str]) -> dict[str, Any]:
    """Returns what the certificate says, but for what remains. No name of a person or a photo stands in it."""
    salt = bytes.fromhex(plan.salt)
    needles, shared = needles_of(plan, request, salt)
    catalogues = []
    for folder, entry in plan.catalogues.items():
        counts = {"photos": len(entry["photos"]), "rejected_rows": len(entry["rejected"])}
        counts |= {name: entry[name] for name in ("ledger_rows", "shards")}
        changed = {"before": entry["before"], "after": after.get(folder)}
        catalogues.append({"path": folder, **changed, "removed": counts, "caches": "removed"})
    files = [{name: facts[name] for name in ("sha256", "kind", "by")} for facts in plan.files.values()]
    return {
        "kind": KIND,
        "version": VERSION,
        "packshot": __version__,
        "erasure": plan.erasure,
        "time": plan.time,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "reason": request.reason,
        "asked": {
            "person": hash_person(request.what, salt) if request.person else None,
            "photos": plan.photos,
            "photo_ids": plan.photo_ids,
            "salt": plan.salt,
        },
        "places": plan.roots,
        "catalogues": catalogues,
        "files": [f for f in files if f["sha256"] not in {_sha(p) for p in problems}],
        "journal_lines": {folder: len(digests) for folder, digests in plan.lines.items()},
        "holders": [{"name": name, "removed": counts} for name, counts in plan.held.items()],
        "runs": [{"path": folder, **facts} for folder, facts in plan.runs.items()],
        "not_done": [
            {"sha256": plan.files.get(path, {}).get("sha256"), "path": None if path in plan.files else path}
            for path in problems
        ],
        "left": {
            "copies": _counted(plan.left.values()),
            "generated": plan.generated,
            "near_duplicates": len(plan.near),
            "on_purpose": KEPT,
        },
        "look_for": {"needles": [vars(n) for n in needles], "names_of_others": shared, "outputs": plan.outputs},
    }


def _counted(digests: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(digests).items()))


def _sha(path: str) -> str | None:
    return sha256_file(Path(path)) if Path(path).is_file() else None
