"""What there is of a photo or a person in some places: rows, results, samples, pages, models, copies.

One thing leads to the next: a row of a catalogue to others with the same pixels, a line of a journal to the pictures
that were made, those to what was made from them. It goes on until nothing new is found.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packshot.catalog.erase import earlier_checksums, finish_cut_off
from packshot.catalog.erase_find import (
    Row,
    count_ledger_rows,
    open_for_erasing,
    person_columns,
    read_rows,
    rejected_keys,
)
from packshot.core.errors import PackshotError, UsageError
from packshot.core.files import disk_errors, read_json, sha256_file
from packshot.core.lineage import INHERITED, OWN, TrainingSet
from packshot.core.runs import RunFolder
from packshot.release.manifest import MIME, read_manifest
from packshot.release.register import find_by_checksum
from packshot.tasks.erase_places import LIKE_SHEET, Checksums, Line, Names, Places, find_places, read_lines
from packshot.tasks.erase_plan import EraseRequest, Plan, begin_plan

HEX = re.compile(r"[0-9a-f]{64}")


def make_plan(request: EraseRequest, *, dry_run: bool = False) -> Plan:
    """Finds out what there is of a photo or a person.

    Args:
        request: what and where.
        dry_run: change nothing, not even an erasure of a catalogue that was cut off.

    Raises:
        UsageError: a place is no folder, no catalogue has such a column, or the reason holds the person's name.
        PackshotError: there is nothing of it anywhere.
    """
    if not request.what.strip():
        raise UsageError("Name the photo, or the person, to erase.")
    if request.person and request.what.strip().casefold() in (request.reason or "").casefold():
        raise UsageError("The reason goes into the certificate, which must not name the person; put it in other words.")
    beside = [path for holder in request.holders for path in holder.places]
    without = {path for holder in request.holders for path in holder.own}
    places = find_places(request.places, beside, without, here=request.here)
    finder = _Finder(request, places, begin_plan(request), dry_run)
    plan = finder.find()
    if plan.empty():
        kind = "photo of the person" if request.person else "photo"
        looked = [*map(str, finder.places.roots), *(f"the studio {holder.name}" for holder in request.holders)]
        raise PackshotError(
            f"There is no such {kind} in {', '.join(looked)}; nothing was erased. "
            "Name a file, a SHA-256, or an id or a name in a catalogue there."
        )
    return plan


class _Finder:
    def __init__(self, request: EraseRequest, places: Places, plan: Plan, dry_run: bool) -> None:
        self.request, self.places, self.plan, self.dry_run = request, places, plan, dry_run
        self.checksum_of = Checksums()
        self.rows: dict[Path, list[Row]] = {}
        self.before: dict[Path, str] = {}
        self.earlier: dict[str, set[str]] = {}
        self.rejected: dict[Path, list[str]] = {}
        self.photos, self.pixels = set(plan.photos), set[str]()
        self.photo_ids, self.names = set(plan.photo_ids), set(plan.names)
        self.outputs = set(plan.outputs)

    def find(self) -> Plan:
        """Returns the plan."""
        self.plan.problems, self.plan.left, self.plan.generated = {}, {}, {}  # Of an earlier start; they may be mended.
        self._open_catalogues()
        self._seed()
        lines = {folder: read_lines(folder) for folder in self.places.outputs}
        while True:
            known = self._known()
            self._match_rows()
            for folder in lines:
                self._match_lines(lines[folder])
            self._match_samples(lines)
            self._find_runs()
            self._find_generated()
            self._ask_holders()
            if self._known() == known:
                break
        self._match_copies()
        self._find_shown()
        plan = self.plan
        plan.roots = sorted({*plan.roots, *map(str, self.places.roots)})
        plan.photos, plan.photo_ids = sorted(self.photos), sorted(self.photo_ids)
        plan.names, plan.outputs = sorted(self.names), sorted(self.outputs)
        return plan

    def _known(self) -> tuple[int, ...]:
        return (*map(len, (self.photos, self.photo_ids, self.outputs, self.names, self.pixels)), len(self.plan.lines))

    def _open_catalogues(self) -> None:
        for folder in self.places.catalogues:
            try:
                if not self.dry_run:
                    finish_cut_off(folder)
                catalog = open_for_erasing(folder)
                self.rows[folder] = read_rows(catalog)
                self.before[folder], self.rejected[folder] = catalog.checksum, rejected_keys(folder)
                self.earlier[str(folder)] = earlier_checksums(catalog)
            except PackshotError as e:
                self.plan.problems[str(folder)] = str(e)
        for folder in self.places.unfinished:
            self.plan.problems[str(folder)] = "it holds an unfinished ingest: finish it, or remove it, and erase again"

    def _all(self) -> list[Row]:
        return [row for rows in self.rows.values() for row in rows]

    def _seed(self) -> None:
        """Finds the photos that were asked for."""
        what = self.request.what
        if self.request.person:
            columns = person_columns(self.request.columns, self._all())
            self.photos |= {row.sha256 for row in self._all() if row.names(what, columns)}
            self.photos |= {sha256 for holder in self.request.holders for sha256 in holder.of_person(what)}
            return
        if self.request.columns:
            raise UsageError("--column says where persons are named; it goes with --person.")
        path = Path(what)
        if path.is_file():
            if self.request.source and path.is_symlink():
                raise UsageError(f"{what} is a link; with --source name the file that it leads to.")
            digest = sha256_file(path)
            self.photos.add(digest)
            self.names.add(what)
            kind = "source" if self.request.source else None
            self._copy(path.resolve(), digest, kind)
        elif HEX.fullmatch(what.lower()):
            self.photos.add(what.lower())
        else:
            self.photos |= {row.sha256 for row in self._all() if what in (row.photo_id, row.key)}
            if any(what in keys for keys in self.rejected.values()):
                self.names.add(what)

    def _ask_holders(self) -> None:
        """Finds what the studio has of the photos, and what it made from them."""
        for holder in self.request.holders:
            self.plan.note(holder.name, holder.find(self.photos | self.outputs))
            self.outputs |= set(self.plan.outputs)

    def _match_rows(self) -> None:
        """Finds the rows of the photos, of what was made from them, and of photos with the same pixels."""
        of_photos = self.photos | self.outputs
        self.pixels |= {r.pixel_hash for r in self._all() if r.sha256 in of_photos and r.pixel_hash}
        for folder, rows in self.rows.items():
            mine = [r for r in rows if self._is_meant(r, of_photos)]
            if self.request.near:
                groups = {r.near_group for r in mine} - {None}
                mine = [r for r in rows if r in mine or r.near_group in groups]
            ids = {r.photo_id for r in mine}
            self.photos |= {r.sha256 for r in mine}
            self.photo_ids |= ids
            self.names |= {r.key for r in mine}
            rejected = sorted(self.names & set(self.rejected[folder]))
            if not mine and not rejected:
                continue
            entry = self.plan.catalogues.setdefault(str(folder), {"before": self.before[folder], "photos": []})
            entry["photos"] = sorted({*entry["photos"], *ids})
            entry["sha256s"] = sorted({*entry.get("sha256s", []), *(r.sha256 for r in mine)})
            entry["rejected"] = sorted({*entry.get("rejected", []), *rejected})
            entry["ledger_rows"] = max(entry.get("ledger_rows", 0), count_ledger_rows(folder, ids))
            entry["shards"] = max(entry.get("shards", 0), len({r.shard for r in mine}))
            groups = {r.near_group for r in mine} - {None}
            near = [[str(folder), r.key] for r in rows if r.near_group in groups and r.photo_id not in ids]
            self.plan.near = [n for n in self.plan.near if n[0] != str(folder)] + near

    def _is_meant(self, row: Row, of_photos: set[str]) -> bool:
        return row.sha256 in of_photos or row.pixel_hash in self.pixels or row.photo_id in self.photo_ids

    def _match_lines(self, lines: list[Line]) -> None:
        """Finds the lines of a journal that are about the photos, and their files."""
        names = Names(name for name in self.names if ": " not in name)
        mine = [(line, by) for line in lines if (by := self._made_from(line, names)) is not None]
        digests = {line.digest for line, _ in mine}
        claimed = {digest for line in lines if line.digest not in digests for _, digest in line.results()}
        for line, by in mine:
            noted = self.plan.lines.setdefault(str(line.folder), [])
            if line.digest not in noted:
                noted.append(line.digest)
            if line.photo:
                self.names.add(line.photo)
            for path, digest in line.results():
                now = self.checksum_of(path)
                if digest is not None:
                    self.outputs.add(digest)
                if now is not None and not path.is_symlink() and now not in claimed:  # Else it is another photo's now.
                    self.outputs.add(now)
                    self.plan.files.setdefault(str(path), {"sha256": now, "kind": "result", "by": by})

    def _made_from(self, line: Line, known: Names) -> str | None:
        """Returns "checksum" or "name" if a line is about one of the photos; None: it is not."""
        of_photos = self.photos | self.outputs
        said = line.checksums()
        if said is not None:
            return "checksum" if said & of_photos else None
        if not line.photo:
            return None
        path = Path(line.photo)
        for there in (path, line.folder / path):
            digest = self.checksum_of(there)
            if digest is not None:
                return "checksum" if digest in of_photos else None
        place, _, key = line.photo.partition(": ")
        for folder, rows in self.rows.items():
            if key and (Path(place).resolve() == folder or Path(place).name == folder.name):
                names = self.names if str(folder) in self.plan.catalogues else set()
                if key in names and all(r.photo_id in self.photo_ids for r in rows if r.key == key):
                    return "name"
        return "name" if known.has(line.photo) else None

    def _match_samples(self, lines: dict[Path, list[Line]]) -> None:
        """Finds pictures that `create` made with a photo and did not note: they are known by their names alone."""
        from packshot.tasks.trained import slug

        noted = {path for some in lines.values() for line in some for path, _ in line.results()}
        slugs = {slug(Path(name).stem) for name in self.names}
        for path in self.places.files:
            found = LIKE_SHEET.fullmatch(path.name)
            if found is None or path in noted or str(path) in self.plan.files:
                continue
            names = found["names"]
            is_end = any(names.startswith(f"{s}-") or names.endswith(f"-{s}") for s in slugs)
            if names in slugs or (found["kind"] != "like" and is_end):
                digest = self.checksum_of(path)
                if digest is not None and _is_ours(path, digest):
                    self.outputs.add(digest)
                    self.plan.files[str(path)] = {"sha256": digest, "kind": "sample", "by": "name"}

    def _match_copies(self) -> None:
        """Finds files that are one of the photos byte for byte, and that no journal or catalogue knows."""
        for path, digest in self.checksum_of.copies(self.places.files, self.photos):
            if str(path) not in self.plan.files:
                self._copy(path, digest, "source" if self.request.source else None)

    def _copy(self, path: Path, digest: str, kind: str | None) -> None:
        if kind is None:
            self.plan.left[str(path)] = digest
        else:
            self.plan.files[str(path)] = {"sha256": digest, "kind": kind, "by": "checksum"}
            self.plan.left.pop(str(path), None)

    def _find_runs(self) -> None:
        """Finds the runs that learned from the photos."""
        for folder in self.places.runs:
            try:
                about = RunFolder(folder).read()
                sets = [TrainingSet.read(folder / name) for name in (OWN, INHERITED) if (folder / name).is_file()]
            except PackshotError as e:
                self.plan.problems[str(folder)] = str(e)
                continue
            photos = sum(any(sha256 in known for known in sets) for sha256 in self.photos)
            certain = (folder / OWN).is_file()
            if photos or (not certain and self._of_these(about)):
                model = self.checksum_of(RunFolder(folder).model_file)
                root = (about.get("training_set") or {}).get("root")
                facts = {"photos": photos, "certain": certain, "model_sha256": model, "training_set": root}
                self.plan.runs[str(folder)] = facts

    def _of_these(self, about: Mapping[str, Any]) -> bool:
        """Returns whether a run was trained on a catalogue that held one of the photos."""
        entries = self.plan.catalogues
        checksums = {entry["before"] for entry in entries.values()}.union(
            *(self.earlier.get(f, set()) for f in entries)
        )
        return about.get("catalog_checksum") in checksums or about.get("catalog") in entries

    def _find_generated(self) -> None:
        """Finds generated pictures in catalogues by models that learned from the photos."""
        models = {run["model_sha256"] for run in self.plan.runs.values()} - {None}
        for folder, rows in self.rows.items():
            made = {r.photo_id: r.sha256 for r in rows if r.made_by in models}
            if self.request.generated:
                self.photo_ids |= set(made)
            elif staying := set(made) - self.photo_ids:
                self.plan.generated[str(folder)] = len(staying)

    def _find_shown(self) -> None:
        """Finds pages that show photos of the catalogues: reports of runs, explanations, evaluations."""
        ids = [photo_id.encode() for photo_id in self.photo_ids]
        for folder in self.places.runs:
            run = RunFolder(folder)
            about = read_json(run.run_file) if str(folder) not in self.plan.problems else {}
            if (self._of_these(about) or str(folder) in self.plan.runs) and run.report_file.is_file():
                self._page(run.report_file)
            if run.evaluation_file.is_file() and _mentions(run.evaluation_file, ids):
                self.plan.evaluations = sorted({*self.plan.evaluations, str(run.evaluation_file)})
        for page in self.places.explained:
            if _mentions(page, ids):
                self._page(page)
                self._page(page.with_name("nearest.png"))

    def _page(self, path: Path) -> None:
        if path.is_file() and not path.is_symlink():
            self.plan.files[str(path)] = {"sha256": self.checksum_of(path), "kind": "report", "by": "checksum"}


def _mentions(path: Path, words: list[bytes]) -> bool:
    with disk_errors(path):
        data = path.read_bytes()
    return any(word in data for word in words)


def _is_ours(path: Path, digest: str) -> bool:
    """Returns whether Packshot released a file: the register knows it, or its manifest says so."""
    if find_by_checksum(digest):
        return True
    with disk_errors(path):
        found = read_manifest(path.read_bytes(), MIME["PNG"])
    return found is not None and bool(found.own)
