"""`packshot erase`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from packshot.cli.output import emit, json_option
from packshot.core.errors import UsageError
from packshot.core.text import printable

if TYPE_CHECKING:
    from packshot.tasks.erase import EraseResult
    from packshot.tasks.erase_check import VerifyResult
    from packshot.tasks.erase_holders import Holder

SHOWN = 20


@click.command()
@click.argument("what", required=False, metavar="PHOTO|PERSON")
@click.option(
    "--in",
    "places",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PLACE",
    help="A catalogue, run, folder of results, or a folder that holds such. [what is found here]",
)
@click.option(
    "--settings", "file", type=click.Path(path_type=Path), metavar="FILE", help="Of the studio. [the usual one]"
)
@click.option("--set", "set_", multiple=True, metavar="A.B=C", help="One setting of the studio, e.g. home=/var/studio.")
@click.option("--person", is_flag=True, help="PHOTO|PERSON is a person's name: all photos that name this person.")
@click.option("--column", "columns", multiple=True, metavar="NAME", help="Column that names persons, e.g. contributor.")
@click.option("--near", is_flag=True, help="Also near duplicates of the photos.")
@click.option("--generated", is_flag=True, help="Also generated pictures by models that learned from the photos.")
@click.option("--source", is_flag=True, help="Also files elsewhere that are the photo byte for byte, and PHOTO itself.")
@click.option("--dry-run", is_flag=True, help="Only list what would go.")
@click.option("--reason", metavar="TEXT", help="Why, for the certificate; without the person's name.")
@click.option(
    "--certificate", type=click.Path(path_type=Path), metavar="FILE.json", help="Where it goes. [the user's folder]"
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--verify",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="Check a certificate, and look again whether anything is left.",
)
@json_option
def erase(
    what: str | None,
    places: tuple[Path, ...],
    file: Path | None,
    set_: tuple[str, ...],
    person: bool,
    columns: tuple[str, ...],
    near: bool,
    generated: bool,
    source: bool,
    dry_run: bool,
    reason: str | None,
    certificate: Path | None,
    yes: bool,
    verify: Path | None,
    as_json: bool,
) -> None:
    """Erase a photo, or all photos of a person: every copy, embedding, result and sample; with a certificate.

    It looks in the places, and in the studio, if there is one: its pictures, its jobs and what they made.

    PHOTO is a file, its SHA-256, or its id or name in a catalogue. Models that learned from it are marked for
    retraining. Killed half-way, the same command finishes.
    """
    from packshot.tasks.erase import carry_out, listed
    from packshot.tasks.erase_check import verify_erasure
    from packshot.tasks.erase_finder import make_plan
    from packshot.tasks.erase_plan import EraseRequest

    if verify is not None:
        if what is not None and not person:
            raise UsageError(
                "--verify takes no photo; with --person NAME it also checks whom the certificate is about."
            )
        checked = verify_erasure(verify, person=what, holders=_holders(file, set_))
        emit(checked, as_json, lambda: map(printable, _verified(checked)))
        if not checked.holds:
            sys.exit(1)
        return
    if what is None:
        raise UsageError("Name the photo, or the person with --person, to erase.")
    if not dry_run and not yes and (as_json or not sys.stdin.isatty()):
        raise UsageError("Nothing is erased without a word: look with --dry-run first, then add --yes.")
    request = EraseRequest(
        what=what,
        places=places,
        person=person,
        columns=columns,
        near=near,
        generated=generated,
        source=source,
        reason=reason,
        certificate=certificate,
        holders=_holders(file, set_),
    )
    plan = make_plan(request, dry_run=dry_run)
    result = listed(plan)
    if not dry_run:
        if not yes:
            for line in _lines(result):
                click.echo(printable(line))
            click.confirm("Erase all of this? It cannot be undone.", abort=True)
        result = carry_out(plan, request)
    emit(result, as_json, lambda: map(printable, _lines(result)))
    if result.state == "incomplete":
        sys.exit(1)


def _holders(file: Path | None, set_: tuple[str, ...]) -> tuple[Holder, ...]:
    """Returns the studio, if there is one; its database is asked only then."""
    from packshot.jobs.settings import read_settings

    settings, asked = read_settings(file, set_), bool(file or set_)
    if not asked and not (settings.place / "studio.sqlite").is_file():
        return ()
    from packshot.jobs.holdings import StudioHolder

    return (StudioHolder(settings),)


def _lines(result: EraseResult) -> Iterator[str]:
    done = "Would erase" if result.state == "listed" else "Erased"
    yield f"{done} {_count(result.photos, 'photo')}."
    for folder, entry in result.catalogues.items():
        rows = f"{_count(entry['photos'], 'row')} and {_count(entry['ledger_rows'], 'line')} of its ledger"
        yield f"Catalogue {folder}: {rows}, in {_count(entry['shards'], 'shard')}; its caches."
    for folder, lines in result.journal_lines.items():
        yield f"Results in {folder}: {_count(lines, 'line')} of packshot.jsonl."
    for studio, counts in result.held.items():
        if any(counts.values()):
            kinds = {"pictures": "picture", "items": "row", "jobs": "job", "files": "file", "choices": "choice"}
            told = [_count(counts[kind], word) for kind, word in kinds.items() if counts.get(kind)]
            yield f"Studio {studio}: {', '.join(told)}."
    for file in result.files[:SHOWN]:
        by = ", known by its name alone" if file["by"] == "name" else ""
        yield f"File {file['path']} ({file['kind']}{by})."
    if len(result.files) > SHOWN:
        yield f"And {_count(len(result.files) - SHOWN, 'more file')}; --json has them all."
    for run, facts in result.runs.items():
        learned = "learned from it" if facts["certain"] else "may have learned from it, and does not say"
        yield f"Run {run}: {learned}; marked for retraining, its list of checksums stays."
    for folder, pictures in result.generated.items():
        yield f"Stays: {_count(pictures, 'generated picture')} in {folder} by such a model; --generated erases them."
    for folder, name in result.near:
        yield f"Stays: {name} in {folder}, a near duplicate; --near erases it."
    for path in result.left:
        yield f"Stays: {path}, the photo itself; --source erases it."
    for path, why in result.problems.items():
        yield f"Could not be erased: {path}: {why}"
    for where in result.mentions:
        yield f"Stays: {where}; Packshot did not write it."
    for where in result.remains:
        yield f"Found afterwards: {where}."
    if result.certificate is not None:
        yield f"Certificate: {result.certificate}"


def _verified(result: VerifyResult) -> Iterator[str]:
    trust = {"trusted": "trusted here", "valid": "not known here", "invalid": "not to be believed"}[result.trust]
    yield f"Erasure of {_count(result.photos, 'photo')}, {result.time}; signer {result.signer}: {trust}."
    if result.audit is not None:
        yield f"Entry {result.audit} of the audit log."
    yield from result.problems
    yield "It holds: nothing is left in the places." if result.holds else "It does not hold."


def _count(n: int, word: str) -> str:
    return f"{n:,} {word}{'s' * (n != 1)}"
