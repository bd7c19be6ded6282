"""Whether an erasure holds: the certificate's signature, its entry in the audit log, and a new look at the places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packshot.catalog.erase import TOMBSTONES
from packshot.catalog.erase_find import open_for_erasing, rejected_keys, what_is_left
from packshot.core.errors import PackshotError
from packshot.core.files import sha256_file
from packshot.core.home import home
from packshot.core.lineage import INHERITED, OWN
from packshot.core.needles import Needle, find_needles, spellings
from packshot.release.erasure import Checked, check_certificate, hash_person, is_certificate
from packshot.release.register import find_by_checksum
from packshot.tasks.erase_holders import Holder
from packshot.tasks.erase_places import Names, find_places, read_lines, walk
from packshot.tasks.erase_plan import EraseRequest, Plan
from packshot.tasks.journal import JOURNAL

MAY_HOLD_CHECKSUMS = (OWN, INHERITED, TOMBSTONES)
OURS = ("catalog.json", "run.json", JOURNAL, "explain.json")
"""A folder that holds one of these, and all folders in it, were written by Packshot."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """Something that should not be there.

    Attributes:
        path: where.
        what: a sentence's end that names nobody.
        sha256: of the file; empty where it is none.
        foreign: it is in a file that Packshot did not write, and no copy of a photo.
    """

    path: str
    what: str
    sha256: str = ""
    foreign: bool = False


def needles_of(plan: Plan, request: EraseRequest, salt: bytes) -> tuple[list[Needle], int]:
    """Returns what to look for when the places are looked through again, and how many names others have, too."""
    others = Names(_names_that_stay(plan))
    words: set[tuple[bytes, bool]] = set()
    for digest in plan.photos:
        words |= {(digest.encode(), False), (bytes.fromhex(digest), False)}
    words |= {(word.encode(), False) for word in (*plan.outputs, *plan.photo_ids)}
    names = [*plan.names, *plan.held_names, *([request.what.strip()] if request.person else [])]
    shared = {name for holder in request.holders for name in holder.shared(names, plan.gone())}
    own = [name for name in names if not others.has(name) and name not in shared]
    words |= {(word, True) for name in own for word in spellings(name)}
    needles = {Needle.of(word, salt, name=name) for word, name in words}
    return sorted(needles, key=lambda n: (n.length, n.sha256)), len(names) - len(own)


def _names_that_stay(plan: Plan) -> set[str]:
    """Returns the names of photos that are not erased, in the catalogues and journals of the places."""
    places = find_places([Path(root) for root in plan.roots if Path(root).is_dir()], here=False)
    names: set[str] = set()
    for folder in places.catalogues:
        try:
            names.update(open_for_erasing(folder).manifest(["key"])["key"].to_pylist())
            names.update(rejected_keys(folder))
        except PackshotError:
            continue  # It stands among the problems.
    for folder in places.outputs:
        gone = set(plan.lines.get(str(folder), ()))
        names.update(line.photo for line in read_lines(folder) if line.photo and line.digest not in gone)
    return names


def look_again(body: Mapping[str, Any], holders: Sequence[Holder] = ()) -> list[Found]:
    """Looks through the places of a certificate for what it says was removed; returns nothing where all is well.

    What the certificate says was left is passed over as often as it was left.

    Args:
        body: of the certificate.
        holders: those that may be asked; one that the certificate names and that is none of them is told.
    """
    salt = bytes.fromhex(body["asked"]["salt"])
    photos, photo_ids = set(body["asked"]["photos"]), set(body["asked"]["photo_ids"])
    needles = [Needle.from_json(row) for row in body["look_for"]["needles"]]
    gone = {*photos, *body["look_for"]["outputs"]}
    stay = Counter({**body["left"]["copies"], **body["left"].get("mentions", {})})
    found: list[Found] = []
    catalogues: list[Path] = []
    for path, ours in _files(body["places"], {path for holder in holders for path in holder.own}):
        if path.name == "catalog.json":
            catalogues.append(path.parent)
        digest = sha256_file(path)
        if stay[digest] > 0:
            stay[digest] -= 1
        elif digest in gone:
            found.append(Found(path=str(path), what="a file that was to be removed", sha256=digest))
        elif hits := find_needles(path, needles, salt):
            allowed = path.name in MAY_HOLD_CHECKSUMS or is_certificate(path)
            kinds = {"a name" if n.name else "a checksum or id" for n in hits if n.name or not allowed}
            if kinds:
                what = f"{' and '.join(sorted(kinds))} of what was to be removed"
                found.append(Found(path=str(path), what=what, sha256=digest, foreign=not ours))
    for folder in catalogues:
        try:
            found += [Found(path=str(folder), what=what) for what in what_is_left(folder, photos, photo_ids)]
        except PackshotError as e:
            found.append(Found(path=str(folder), what=f"cannot be looked into: {e}"))
    asked = {holder.name: holder for holder in holders}
    for name in (one["name"] for one in body.get("holders", ())):
        if name not in asked:
            found.append(Found(path=name, what="was not asked; say which studio it is by --settings or --set home=..."))
        else:
            found += [Found(path=name, what=what) for what in asked[name].left(gone, needles, salt)]
    return found + [Found(path="the register", what="a released picture") for s in sorted(gone) if find_by_checksum(s)]


def _files(roots: list[str], without: Collection[Path]) -> Iterator[tuple[Path, bool]]:
    """Yields the files in some folders, and whether each lies in a folder that Packshot wrote; not the user's own.

    A place within the user's own folder, a studio's catalogues for example, is looked through all the same.
    """
    own, ours = home().resolve(), set[Path]()
    for root in map(Path, roots):
        if not root.is_dir():
            continue  # The place itself is gone.
        for folder, names, files in walk(root):
            names[:] = [name for name in names if folder / name not in without]
            if folder.is_relative_to(own) and (root == own or not root.is_relative_to(own)):
                continue
            if folder.parent in ours or any(name in files for name in OURS):
                ours.add(folder)
            for name in files:
                if folder / name not in without:
                    yield folder / name, folder in ours


@dataclass(frozen=True, kw_only=True)
class VerifyResult:
    """Whether an erasure holds.

    Attributes:
        holds: signature, audit entry and a new look through the places are all as they should be.
        trust: of the signature: "trusted", "valid" (intact, signer not known here), "invalid".
        signer: who signed; of an invalid signature what is wrong.
        audit: number of the entry in the audit log; None: there is none.
        problems: what does not hold, as sentences.
        time: of the erasure.
        photos: how many.
        places: where.
    """

    holds: bool
    trust: str
    signer: str
    audit: int | None
    problems: list[str]
    time: str
    photos: int
    places: list[str]


def verify_erasure(certificate: Path, *, person: str | None = None, holders: Sequence[Holder] = ()) -> VerifyResult:
    """Checks a certificate, and looks again whether anything is left in the places that it names.

    Args:
        certificate: its file.
        person: also check that it is about a person of this name.
        holders: see `look_again`.

    Raises:
        PackshotError: it is no certificate.
    """
    checked = check_certificate(certificate)
    body = dict(checked.body)
    problems = _problems(checked)
    if person is not None and hash_person(person, bytes.fromhex(body["asked"]["salt"])) != body["asked"]["person"]:
        problems.append("The certificate is not about a person of this name.")
    if checked.trust != "invalid":  # Else its places are anybody's words.
        problems += [f"{f.path}: {f.what}." for f in look_again(body, holders)]
    return VerifyResult(
        holds=not problems,
        trust=checked.trust,
        signer=checked.signer,
        audit=checked.audit,
        problems=problems,
        time=body["time"],
        photos=len(body["asked"]["photos"]),
        places=list(body["places"]),
    )


def _problems(checked: Checked) -> list[str]:
    problems = []
    if checked.trust == "invalid":
        problems.append(f"The certificate is not intact: {checked.signer}.")
    if checked.audit_problem is not None:
        problems.append(checked.audit_problem)
    elif checked.audit is None:
        problems.append("The audit log of this machine has no entry for the certificate.")
    problems += [f"{one['path'] or 'A file'} could not be erased." for one in checked.body.get("not_done", [])]
    return problems
