"""Photos out of catalogues and folders of results: what goes, what stays, and what survives a crash."""

import contextlib
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import CertificateBuilder, Name, NameAttribute, random_serial_number
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from packshot.catalog import erase as catalog_erase
from packshot.catalog import open_catalog, parts
from packshot.catalog.erase import ToErase, erase_rows, finish_cut_off, is_rest_of
from packshot.catalog.erase_find import Row, person_columns, read_rows
from packshot.catalog.ledger import add_rows
from packshot.catalog.rights import report_rights
from packshot.core.errors import PackshotError, UsageError
from packshot.core.lineage import mark_for_retraining, needs_retraining
from packshot.core.needles import CHUNK, Needle, find_needles, spellings
from packshot.release.credentials import load_credentials
from packshot.release.detached import check_detached, sign_detached
from packshot.release.door import Released
from packshot.release.erasure import certify, check_certificate, hash_person
from packshot.release.register import read_audit, verify_audit
from packshot.tasks.erase import carry_out, listed
from packshot.tasks.erase_check import look_again, verify_erasure
from packshot.tasks.erase_finder import make_plan
from packshot.tasks.erase_places import Names, find_places
from packshot.tasks.erase_plan import EraseRequest
from packshot.tasks.made_from import note_made_from
from tests.catalog_photos import files, jpeg, photo, run

TIME = "2026-01-02T03:04:05+00:00"
SALT = b"salt"


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKSHOT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))


def write_source(folder: Path, numbers: range, *, without: tuple[int, ...] = ()) -> Path:
    """A list of photos: every third is of Anna, the fifth to test with; 20 shows 1 again, 21 has the pixels of 2."""
    (folder / "p").mkdir(parents=True, exist_ok=True)
    rows = ["image,category,split,contributor,licence"]
    for i in numbers:
        if i in without:
            continue
        shown = {20: 1, 21: 2}.get(i, i)
        data = jpeg(photo(shown), 80 if i == 20 else 90)
        (folder / f"p/photo-{i}.jpg").write_bytes(data + b"\0" * (i == 21))  # The same pixels in another file.
        who = "Anna Maier" if i % 3 == 0 else "Bo; Li" if i % 3 == 1 else "Maier, Annabel"
        split = "test" if i % 5 == 4 else "train"
        rows.append(f'p/photo-{i}.jpg,{"ab"[i % 2]},{split},"{who}",LicenseRef-own')
    (folder / "list.csv").write_text("\n".join(rows))
    return folder / "list.csv"


def make_catalog(folder: Path, numbers: range = range(12), *, without: tuple[int, ...] = (), shard: int = 5) -> Path:
    with patch.object(parts, "CHUNK_PHOTOS", 1):  # Else a shard holds at least as many as are examined together.
        run(write_source(folder / "source", numbers, without=without), folder / "catalog", shard_photos=shard)
    return folder / "catalog"


def row_of(catalog: Path, number: int) -> Row:
    return next(r for r in read_rows(open_catalog(catalog)) if r.key == f"p/photo-{number}.jpg")


def to_erase(*rows: Row) -> ToErase:
    return ToErase(
        photo_ids=frozenset(r.photo_id for r in rows),
        keys=frozenset(r.key for r in rows),
        sha256s=frozenset(r.sha256 for r in rows),
        owner=None,
        time=TIME,
    )


def erased(what: str, *places: Path, **more: object) -> tuple[dict, Path]:
    request = EraseRequest(what=what, places=places, **more)
    result = carry_out(make_plan(request), request)
    assert result.certificate is not None
    return vars(result), result.certificate


def left_of(folder: Path, *words: bytes) -> list[str]:
    """The oracle: every file below a folder, by eye."""
    return [
        str(p.relative_to(folder))
        for p in sorted(folder.rglob("*"))
        if p.is_file() and any(word in p.read_bytes() for word in words)
    ]


# ---- one catalogue


def test_a_catalogue_without_a_photo_is_as_if_it_had_never_come(tmp_path: Path) -> None:
    catalog, never = make_catalog(tmp_path / "a"), make_catalog(tmp_path / "b", without=(3, 7))
    before = open_catalog(catalog)
    gone = erase_rows(catalog, to_erase(row_of(catalog, 3), row_of(catalog, 7)))
    now, wanted = open_catalog(catalog), open_catalog(never)
    now.verify()
    assert (gone.photos, gone.stored, gone.shards, gone.after) == (2, 2, 2, now.checksum)
    assert now.summary == wanted.summary
    columns = [c for c in now.manifest().column_names if c not in ("shard", "row")]
    assert now.manifest(columns).equals(wanted.manifest(columns))
    for photo_id in now.manifest(["photo_id"])["photo_id"].to_pylist():
        assert (now.read(photo_id).pixels == wanted.read(photo_id).pixels).all()
    assert is_rest_of(now, before.checksum) and not is_rest_of(now, wanted.checksum)
    assert report_rights(now).photos == 10


def test_duplicates_name_their_first_photo_that_stays_and_the_counts_follow(tmp_path: Path) -> None:
    catalog = make_catalog(tmp_path, range(22))
    first, again, copy = (row_of(catalog, i) for i in (1, 20, 21))
    assert first.near_group == again.near_group == first.photo_id and copy.near_group == row_of(catalog, 2).photo_id
    erase_rows(catalog, to_erase(first))
    now = open_catalog(catalog)
    assert now.summary["duplicates"] == {
        "exact_groups": 1, "exact_photos": 2, "near_groups": 0, "near_photos": 0, "largest_group": 2
    }  # fmt: skip
    assert row_of(catalog, 20).near_group is None
    erase_rows(catalog, to_erase(row_of(catalog, 2)))
    table = open_catalog(catalog).manifest().to_pylist()
    assert not any(first.photo_id in map(str, row.values()) for row in table)
    assert open_catalog(catalog).summary["duplicates"]["largest_group"] == 1


def test_a_photo_that_was_listed_twice_leaves_no_stored_copy_and_no_line(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source", range(6))
    source.write_text(
        source.read_text() + '\np/photo-2.jpg,a,train,"Bo",LicenseRef-own\nno.jpg,a,train,Bo,LicenseRef-own'
    )
    catalog = tmp_path / "catalog"
    run(source, catalog)
    assert open_catalog(catalog).summary["examples"]["is listed twice: the same photo of the same product came before"]
    row = row_of(catalog, 2)
    gone = erase_rows(catalog, to_erase(row))
    now = open_catalog(catalog)
    now.verify()
    assert (gone.photos, gone.stored, gone.rejected_rows) == (1, 2, 1)
    assert list(now.summary["left_out"].values()) == [1] and "no.jpg" in str(now.summary["examples"])
    assert left_of(catalog, row.photo_id.encode(), b"photo-2.jpg", (source.parent / row.key).read_bytes()) == []
    assert left_of(catalog, row.sha256.encode()) == ["erased.jsonl"]
    assert json.loads((catalog / "erased.jsonl").read_text()) == {"sha256": row.sha256, "erased": TIME}


def test_the_last_photo_of_a_shard_and_of_a_catalogue_can_go(tmp_path: Path) -> None:
    catalog = make_catalog(tmp_path, range(3), shard=1)
    erase_rows(catalog, to_erase(row_of(catalog, 1)))
    assert sorted(p.name for p in (catalog / "shards").iterdir()) == ["00000.parquet", "00002.parquet"]
    open_catalog(catalog).verify()
    erase_rows(catalog, to_erase(row_of(catalog, 0), row_of(catalog, 2)))
    now = open_catalog(catalog)
    now.verify()
    assert now.summary["photos"] == 0 and now.manifest().num_rows == 0 and report_rights(now).photos == 0
    with pytest.raises(PackshotError, match="no photo in its train split"):
        now.packed("train", 16, 3)


def test_ledger_caches_and_leftovers_go_too(tmp_path: Path) -> None:
    catalog = make_catalog(tmp_path)
    row, other = row_of(catalog, 3), row_of(catalog, 4)
    add_rows(catalog, [{"photo": row.photo_id, "owner": "Anna"}, {"photo": other.photo_id, "owner": "Bo"}])
    open_catalog(catalog).packed("train", 16, 3)
    away = tmp_path / "user-cache/packshot/catalogues" / open_catalog(catalog).checksum[:16]
    away.mkdir(parents=True)
    (catalog / "shards/.00000.parquet.0123abcd.tmp").write_bytes(b"of a killed command")
    assert erase_rows(catalog, to_erase(row)).ledger_rows == 1
    assert not (catalog / "cache").exists() and not away.exists() and not list(catalog.rglob("*.tmp"))
    assert [json.loads(x)["photo"] for x in (catalog / "ledger.jsonl").read_text().splitlines()] == [other.photo_id]
    assert row.photo_id not in open_catalog(catalog).packed("train", 16, 3).photo_ids
    assert erase_rows(catalog, to_erase(row)) == catalog_erase.Gone(after=open_catalog(catalog).checksum)


class Killed(BaseException):
    pass


def killed_after(calls: int, real: Callable[..., object]) -> Callable[..., object]:
    left = [calls]

    def step(*args: object, **named: object) -> object:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return real(*args, **named)

    return step


def test_killed_at_any_step_it_is_whole_before_or_whole_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_catalog(tmp_path / "made")
    rows = [row_of(made, 3), row_of(made, 8)]
    add_rows(made, [{"photo": rows[0].photo_id, "owner": "Anna"}])
    whole = tmp_path / "whole"
    shutil.copytree(made, whole)
    erase_rows(whole, to_erase(*rows))
    seen = set()
    for step in range(40):
        catalog = tmp_path / f"killed-{step}"
        shutil.copytree(made, catalog)
        with monkeypatch.context() as patched, contextlib.suppress(Killed):
            for name in ("replace", "unlink", "rmdir", "fsync"):
                patched.setattr(os, name, killed_after(step, getattr(os, name)))
            patched.setattr(Path, "replace", killed_after(step, Path.replace))
            erase_rows(catalog, to_erase(*rows))
        committed = (catalog / ".erase/commit.json").is_file()
        seen.add((committed, (catalog / ".erase").exists()))
        if not committed:
            open_catalog(catalog).verify()
        assert finish_cut_off(catalog) == committed
        open_catalog(catalog).verify()
        erase_rows(catalog, to_erase(*rows))
        assert files(catalog) == files(whole)
        if seen >= {(False, False), (True, True)} and not committed:
            break  # It came to its end.
    assert seen == {(False, False), (False, True), (True, True)}  # It was cut off in every state.


def test_what_cannot_be_done_is_said_and_changes_nothing(tmp_path: Path) -> None:
    catalog = make_catalog(tmp_path)
    row = row_of(catalog, 3)
    (catalog / ".ingest").mkdir()
    with pytest.raises(PackshotError, match="killed before its last step"):
        erase_rows(catalog, to_erase(row))
    (catalog / ".ingest").rmdir()
    (tmp_path / "elsewhere").mkdir()
    (catalog / "shards").rename(tmp_path / "elsewhere/shards")
    (catalog / "shards").symlink_to(tmp_path / "elsewhere/shards")
    before = files(tmp_path)
    with pytest.raises(PackshotError, match="is a link"):
        erase_rows(catalog, to_erase(row))
    assert files(tmp_path) == before
    (catalog / "shards").unlink()
    (tmp_path / "elsewhere/shards").rename(catalog / "shards")
    shard = catalog / "shards/00000.parquet"
    shard.write_bytes(shard.read_bytes().replace(jpeg(photo(0))[200:240], b"x" * 40))
    with pytest.raises(PackshotError, match="changed or damaged"):
        erase_rows(catalog, to_erase(row))
    assert (catalog / "manifest.parquet").read_bytes() == before["catalog/manifest.parquet"]
    with catalog_erase.held(catalog), pytest.raises(PackshotError, match="Another process"):
        erase_rows(catalog, to_erase(row))


# ---- who is meant


def test_a_person_is_a_whole_name_and_no_part_of_one(tmp_path: Path) -> None:
    rows = read_rows(open_catalog(make_catalog(tmp_path)))
    columns = person_columns((), rows)

    def meant(name: str) -> list[int]:
        return [int(r.key[8:-4]) for r in rows if r.names(name, columns)]

    assert meant(" anna  MAIER ") == [0, 3, 6, 9]
    assert meant("Maier, Annabel") == [2, 5, 8, 11] and meant("Li") == [1, 4, 7, 10]
    assert meant("Anna") == meant("Maier") == meant("Annabel") == meant("Maier, Anna") == []
    assert person_columns(("Contributor",), rows) == ("extra.contributor",)
    with pytest.raises(UsageError, match=r"Did you mean 'extra.contributor'"):
        person_columns(("extra.contributer",), rows)


def test_nothing_found_is_an_error_and_changes_nothing(tmp_path: Path) -> None:
    catalog = make_catalog(tmp_path)
    before = files(catalog)
    for what, person in (("0" * 64, False), ("nobody.jpg", False), ("Nobody", True)):
        with pytest.raises(PackshotError, match="nothing was erased"):
            make_plan(EraseRequest(what=what, places=(catalog,), person=person))
    for request in (
        EraseRequest(what="x", places=(tmp_path / "none",)),
        EraseRequest(what="x", places=(catalog,), columns=("owner",)),
        EraseRequest(what="Anna", places=(catalog,), person=True, reason="anna asked"),
    ):
        with pytest.raises(UsageError):
            make_plan(request)
    assert files(catalog) == before and not (tmp_path / "home/erasures").exists()


# ---- results


def write_results(out: Path, rows: list[dict], pictures: dict[str, bytes]) -> Path:
    out.mkdir(parents=True)
    for name, data in pictures.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(data)
    (out / "packshot.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"torn')
    return out


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def result(name: str, picture: str, data: bytes, **more: object) -> dict:
    return {"key": "k", "photo": name, "status": "done", "picture": picture, "sha256": sha(data), **more}


def test_results_go_by_checksum_or_name_and_what_was_made_from_them_too(tmp_path: Path) -> None:
    source = tmp_path / "photos"
    write_source(source, range(3))
    mine, other = source / "p/photo-1.jpg", source / "p/photo-2.jpg"
    digest = sha(mine.read_bytes())
    out = write_results(
        tmp_path / "out",
        [
            result(str(mine), "p/photo-1.png", b"cut out", beside={"mask": "p/photo-1-mask.png"}),
            result(str(other), "p/photo-2.png", b"other"),
            result("p/photo-1.jpg", "by-name.png", b"by name"),
            result("p/photo-1.jpg", "not.png", b"another photo of that name", photo_sha256="0" * 64),
        ],
        {
            **{"p/photo-1.png": b"cut out", "p/photo-1.png.labels.json": b"{}", "p/photo-1-mask.png": b"mask"},
            **{"p/photo-2.png": b"other", "by-name.png": b"by name", "not.png": b"another photo of that name"},
            **{"like.png": b"like", "like.png.labels.json": b"{}"},
        },
    )
    (out / "packshot.jsonl").write_text((out / "packshot.jsonl").read_text().removesuffix('{"torn'))
    made = [Released(path=out / "like.png", sha256=sha(b"like"), source_type=None)]
    for _ in range(2):  # The same command again notes nothing twice.
        note_made_from(out, made, [{"name": "photo-1.jpg", "sha256": digest, "label": "a", "rms": 1.0}])
    assert len((out / "packshot.jsonl").read_text().splitlines()) == 5
    with (out / "packshot.jsonl").open("a") as f:
        f.write('{"torn')
    again = write_results(
        tmp_path / "again",
        [result(str(out / "p/photo-1.png"), "photo-1.png", b"enhanced"), result("x", "x.png", b"x")],
        {"photo-1.png": b"enhanced", "x.png": b"x"},
    )
    plan = make_plan(EraseRequest(what=str(mine), places=(out, again)))
    assert {Path(f["path"]).name: f["by"] for f in listed(plan).files} == {
        **{"photo-1.png": "checksum", "photo-1-mask.png": "checksum", "like.png": "checksum"},
        "by-name.png": "name",
    }
    done, certificate = erased(str(mine), out, again)
    assert done["state"] == "erased" and done["left"] == [str(mine)] and mine.is_file()
    stay = {"not.png", "p/photo-2.png", "packshot.jsonl"}
    assert set(files(out)) == stay and set(files(again)) == {"x.png", "packshot.jsonl"}
    assert left_of(out, digest.encode(), b"p/photo-1.jpg") == ["packshot.jsonl"]  # Of the other of that name.
    assert (out / "packshot.jsonl").read_text().endswith('{"torn\n')
    assert verify_erasure(certificate).holds
    (out / "back.png").write_bytes(b"cut out")
    assert [p.split(": ")[1] for p in verify_erasure(certificate).problems] == ["a file that was to be removed."]


def test_the_photo_itself_goes_with_source_alone(tmp_path: Path) -> None:
    write_source(tmp_path / "photos", range(3))
    mine, copy = tmp_path / "photos/p/photo-1.jpg", tmp_path / "photos/copy.jpg"
    shutil.copy(mine, copy)
    done, certificate = erased(str(mine), tmp_path / "photos")
    assert done["left"] == sorted(map(str, (copy, mine))) and done["state"] == "erased"
    assert verify_erasure(certificate).holds
    shutil.copy(mine, tmp_path / "photos/third.jpg")
    assert not verify_erasure(certificate).holds
    done, certificate = erased(str(mine), tmp_path / "photos", source=True)
    assert set(files(tmp_path / "photos")) == {"p/photo-0.jpg", "p/photo-2.jpg", "list.csv"}
    assert [m.split(": ")[0] for m in done["mentions"]] == []  # The list says p/photo-1.jpg, not photos/p/photo-1.jpg.
    assert verify_erasure(certificate).holds


def test_links_and_names_that_lead_out_are_not_followed(tmp_path: Path) -> None:
    write_source(tmp_path / "photos", range(3))
    mine = tmp_path / "photos/p/photo-1.jpg"
    outside = tmp_path / "outside"
    catalog = make_catalog(outside)
    (outside / "precious.png").write_bytes(b"cut out")
    out = write_results(
        tmp_path / "out",
        [
            result(str(mine), "../outside/precious.png", b"cut out"),
            result(str(mine), "linked.png", b"cut out"),
            result(str(mine), "folder/precious.png", b"cut out"),
        ],
        {},
    )
    (out / "linked.png").symlink_to(outside / "precious.png")
    (out / "folder").symlink_to(outside)
    before = files(outside)
    done, _ = erased(str(mine), out)
    assert done["files"] == [] and done["catalogues"] == {} and done["journal_lines"] == {str(out): 3}
    assert files(outside) == before and open_catalog(catalog).summary["photos"] == 12


def test_places_are_found_below_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_catalog(tmp_path / "shop")
    make_catalog(tmp_path / "a/b/c/d/e/f", range(2))
    monkeypatch.chdir(tmp_path)
    assert find_places(()).catalogues == [tmp_path / "shop/catalog"]
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(PackshotError, match="name one with --in"):
        find_places(())


def test_a_cut_off_erasure_goes_on_and_its_certificate_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, other = make_catalog(tmp_path / "one"), make_catalog(tmp_path / "two", range(3, 9))
    before = {str(c): open_catalog(c).checksum for c in (catalog, other)}
    request = EraseRequest(what="Anna Maier", places=(catalog, other), person=True, reason="asked by letter")
    with monkeypatch.context() as patched:
        patched.setattr("packshot.tasks.erase.erase_rows", killed_after(1, erase_rows))
        with pytest.raises(Killed):
            carry_out(make_plan(request), request)
    assert open_catalog(catalog).summary["photos"] == 8 and open_catalog(other).summary["photos"] == 6
    kept = list((tmp_path / "home/erasures").iterdir())
    assert len(kept) == 1 and kept[0].stat().st_mode & 0o777 == 0o600
    result = carry_out(make_plan(request), request)
    assert result.state == "erased" and list((tmp_path / "home/erasures").iterdir()) == [result.certificate]
    body = json.loads(result.certificate.read_text())["body"]
    assert {c["path"]: c["before"] for c in body["catalogues"]} == before
    assert [c["removed"]["photos"] for c in body["catalogues"]] == [4, 2]
    assert {c["path"]: c["after"] for c in body["catalogues"]} == {
        str(c): open_catalog(c).checksum for c in (catalog, other)
    }
    assert verify_erasure(result.certificate, person="anna maier").holds


# ---- the certificate


def test_a_certificate_names_nobody_and_every_change_to_it_shows(tmp_path: Path) -> None:
    catalog = make_catalog(tmp_path)
    row = row_of(catalog, 3)
    _, certificate = erased("Anna Maier", catalog, person=True)
    text, before = certificate.read_text(), files(catalog)
    with pytest.raises(PackshotError, match="exists already"):
        erased("p/photo-1.jpg", catalog, certificate=certificate)
    assert certificate.read_text() == text and files(catalog) == before
    assert "anna" not in text.lower() and "photo-3" not in text
    checked = check_certificate(certificate)
    assert (checked.trust, checked.audit_problem) == ("trusted", None) and row.sha256 in checked.body["asked"]["photos"]
    event = next(line.event for line in read_audit() if line.number == checked.audit)
    assert set(event) == {"event", "certificate", "photos"} and row.sha256 in event["photos"]
    assert verify_audit(read_audit())[0] == checked.audit
    assert verify_erasure(certificate, person="Anna Maier").holds
    assert verify_erasure(certificate, person="Bo").problems == ["The certificate is not about a person of this name."]
    whole = json.loads(text)
    changes = ({"places": []}, {"finished": "2020-01-01T00:00:00+00:00"}, {"not_done": [], "runs": [1]})
    for change in changes:
        certificate.write_text(json.dumps({**whole, "body": {**whole["body"], **change}}))
        assert not verify_erasure(certificate).holds and check_certificate(certificate).trust == "invalid"
    certificate.write_text(json.dumps(certify({**whole["body"], "reason": "signed, but by whom?"})))
    assert check_certificate(certificate).audit == checked.audit + 1
    certificate.write_text("{}")
    with pytest.raises(PackshotError, match="no certificate"):
        verify_erasure(certificate)


def test_a_certificate_of_another_machine_is_valid_and_not_in_the_log_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, certificate = erased("p/photo-1.jpg", make_catalog(tmp_path))
    monkeypatch.setenv("PACKSHOT_HOME", str(tmp_path / "elsewhere"))
    checked = verify_erasure(certificate)
    assert (checked.trust, checked.audit, checked.holds) == ("valid", None, False)
    assert checked.problems == ["The audit log of this machine has no entry for the certificate."]


def test_what_comes_back_is_found(tmp_path: Path) -> None:
    catalog = make_catalog(tmp_path)
    row = row_of(catalog, 1)
    shutil.copytree(catalog, tmp_path / "backup")
    _, certificate = erased(row.photo_id, catalog)
    assert verify_erasure(certificate).holds
    body = json.loads(certificate.read_text())["body"]
    for name, data in (
        ("note.txt", f"see {row.sha256}.".encode()),
        ("note.txt", f"photo {row.photo_id}".encode()),
        ("note.txt", b"in p/photo-1.jpg, say"),
        ("raw.bin", bytes.fromhex(row.sha256)),
    ):
        (catalog / name).write_bytes(data)
        assert [f.path for f in look_again(body)] == [str(catalog / name)], data
        (catalog / name).unlink()
    (catalog / "note.txt").write_bytes(b"p/photo-11.jpg and xp/photo-1.jpg")
    assert look_again(body) == []
    shutil.rmtree(catalog)
    shutil.copytree(tmp_path / "backup", catalog)
    assert {"a row of the manifest has the photo's id", "00000.parquet has the photo"} <= {
        f.what for f in look_again(body)
    }


def chain_of(key: object) -> bytes:
    name = Name([NameAttribute(NameOID.COMMON_NAME, "somebody")])
    now = datetime.now(UTC)
    builder = CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    made = builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    return made.public_bytes(Encoding.PEM)


@pytest.mark.parametrize("algorithm", ["es256", "es384", "es512", "ps256", "ed25519"])
def test_every_kind_of_key_signs_and_is_checked(algorithm: str) -> None:
    curves = {"es256": ec.SECP256R1(), "es384": ec.SECP384R1(), "es512": ec.SECP521R1()}
    if algorithm in curves:
        key = ec.generate_private_key(curves[algorithm])
    else:
        key = ed25519.Ed25519PrivateKey.generate() if algorithm == "ed25519" else rsa.generate_private_key(65537, 2048)
    pem, chain, now = (
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        chain_of(key),
        datetime.now(UTC),
    )
    signer = replace(load_credentials(), chain=chain, key=pem, algorithm=algorithm)
    signature = sign_detached(b"words", signer)
    assert check_detached(b"words", signature, algorithm, chain, now) == ("valid", "somebody")
    for data, value, time in (
        (b"wordz", signature, now),
        (b"words", signature[:-1], now),
        (b"words", bytes([signature[0] ^ 1]) + signature[1:], now),
        (b"words", signature, now + timedelta(days=2)),
    ):
        assert check_detached(data, value, algorithm, chain, time)[0] == "invalid"
    assert check_detached(b"words", signature, algorithm, b"no chain", now)[0] == "invalid"


def test_a_program_may_sign(tmp_path: Path) -> None:
    signer, program = load_credentials(), tmp_path / "sign.py"
    (tmp_path / "key.pem").write_bytes(signer.key or b"")
    program.write_text(
        "import sys\n"
        "from cryptography.hazmat.primitives import hashes, serialization\n"
        "from cryptography.hazmat.primitives.asymmetric import ec, utils\n"
        f"key = serialization.load_pem_private_key(open({str(tmp_path / 'key.pem')!r}, 'rb').read(), None)\n"
        "der = key.sign(sys.stdin.buffer.read(), ec.ECDSA(hashes.SHA256()))\n"
        "raw = b''.join(n.to_bytes(32, 'big') for n in utils.decode_dss_signature(der))\n"
        "sys.stdout.buffer.write(der if sys.argv[1:] else raw)\n"
    )
    for words, trust in (("", "trusted"), (" der", "invalid")):  # C2PA wants it raw of such a program.
        by_program = replace(signer, key=None, command=f"{sys.executable} {program}{words}")
        signature = sign_detached(b"words", by_program)
        assert check_detached(b"words", signature, "es256", signer.chain, datetime.now(UTC))[0] == trust


# ---- words and runs


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=12), st.integers(0, 300))
def test_a_needle_is_found_where_it_is_and_nowhere_else(
    tmp_path_factory: object, data: bytes, word: bytes, at: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "hay"  # type: ignore[attr-defined]
    needle = Needle.of(word, SALT)
    for hay in (data, data[:at] + word + data[at:]):
        path.write_bytes(hay)
        assert find_needles(path, [needle], SALT) == ({needle} if word in hay else set())
    assert Needle.from_json(json.loads(json.dumps(vars(needle)))) == needle


def test_needles_lie_across_pieces_and_names_stand_alone(tmp_path: Path) -> None:
    path, name = tmp_path / "hay", Needle.of(b"a/x.jpg", SALT, name=True)
    for offset in range(-9, 3):
        path.write_bytes(b" " * (CHUNK + offset) + b"a/x.jpg")
        assert find_needles(path, [name], SALT) == {name}
        path.write_bytes(b" " * (CHUNK + offset) + b"a/x.jpg2 ba/x.jpg")
        assert find_needles(path, [name], SALT) == set()
    for hay, found in ((b'"photos/a/x.jpg"', True), (b"a/x.jpg/b", False), ("ä/a/x.jpg", True), (b"-a/x.jpg", False)):
        path.write_bytes(hay if isinstance(hay, bytes) else hay.encode())
        assert bool(find_needles(path, [name], SALT)) == found, hay
    path.write_text(json.dumps({"photo": "Käthe.jpg"}))
    needles = [Needle.of(word, SALT, name=True) for word in spellings("Käthe.jpg")]
    assert len(needles) == 2 and len(find_needles(path, needles, SALT)) == 1
    assert find_needles(path, [], SALT) == set() and spellings("abc") == set()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("photos/a/1.jpg", "a/1.jpg", True), ("1.jpg", "x/1.jpg", True), ("b/1.jpg", "a/1.jpg", False),
     ("11.jpg", "1.jpg", False), ("", "a", False), ("a", "", False)],
)  # fmt: skip
def test_names_of_the_same_photo(one: str, other: str, same: bool) -> None:
    assert Names([one, "else"]).has(other) == Names([other]).has(one) == same


def test_a_run_is_marked_once_for_each_erasure_and_says_so(tmp_path: Path) -> None:
    for name in ("run.json", "card.json"):
        (tmp_path / name).write_text('{"state": "finished"}')
    assert needs_retraining(tmp_path) is needs_retraining(tmp_path / "none") is None
    for _ in range(2):
        mark_for_retraining(tmp_path, erasure="e1", time=TIME, photos=1, certain=True)
    assert needs_retraining(tmp_path) == (
        f"{tmp_path} learned from 1 photo that was erased since (last on 2026-01-02): train a new run without them."
    )
    assert needs_retraining(tmp_path / "card.json") == needs_retraining(tmp_path)
    mark_for_retraining(tmp_path, erasure="e2", time="2026-03-04T00:00:00+00:00", photos=2, certain=True)
    assert "3 photos that were erased since (last on 2026-03-04)" in (needs_retraining(tmp_path) or "")
    for name in ("run.json", "card.json"):
        about = json.loads((tmp_path / name).read_text())
        assert [row["erasure"] for row in about["retraining"]] == ["e1", "e2"] and about["state"] == "finished"


def test_a_persons_name_is_hashed_slowly_and_with_salt() -> None:
    assert hash_person(" Anna ", b"1" * 16) == hash_person("anna", b"1" * 16) != hash_person("anna", b"2" * 16)
