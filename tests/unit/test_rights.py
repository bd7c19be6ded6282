"""Which photos are in and out, and why: licences, consent, opt-outs, the ledger, older catalogues, the command."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packshot.catalog import open_catalog
from packshot.catalog.checksum import compute_checksum
from packshot.catalog.columns import read_column
from packshot.catalog.ledger import NAME, read_ledger
from packshot.catalog.licences import MEANING, read_licence
from packshot.catalog.rights import (
    CONSENT,
    NOT_LICENSED,
    NOT_READ,
    OPTED_OUT,
    REASONS,
    REFUSED,
    UNCLEAR,
    UNLICENSED,
    WITHDRAWN,
    judge,
    report_rights,
    state,
)
from packshot.core.errors import PackshotError, UsageError
from packshot.core.files import sha256_file
from tests.c2pa_files import signed
from tests.catalog_photos import jpeg, photo, rejected, run
from tests.integration.conftest import run_cli, run_json
from tests.unit.test_statements import VOCABULARY, packet

NEW = ["owner", "consent", "date", "mining", "says"]
KINDS = {
    "free": ["CC0-1.0", "PDDL-1.0", "Unlicense", "cc0-1.0", "MIT-0", "C-UDA-1.0"],
    "credit": ["CC-BY-4.0", "CC-BY-3.0-DE", "MIT", "Apache-2.0", "BSD-3-Clause", "ODC-By-1.0", "Apache-2.0+"],
    "share-alike": ["CC-BY-SA-4.0", "ODbL-1.0", "GPL-3.0-only", "AGPL-3.0-or-later", "LGPL-2.1-only"],
    "own": ["LicenseRef-own", "LicenseRef-own-studio"],
    "non-commercial": ["CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "CC-BY-NC-ND-3.0", "PolyForm-Noncommercial-1.0.0"],
    "no-derivatives": ["CC-BY-ND-4.0"],
    "reserved": ["NONE", "LicenseRef-All-Rights-Reserved", "LicenseRef-AllRightsReserved", "LicenseRef-agency-NoAI"],
    "unknown": [
        "NOASSERTION",
        "LicenseRef-agency-2024",
        "Nobody-Knows-1.0",
        "(MIT",
        "MIT)",
        "MIT AND",
        "",
        "LicenseRef-owned",
    ],
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in KINDS.items() for name in names])
def test_the_table_of_licences(kind: str, name: str) -> None:
    assert read_licence(name).kind == kind
    assert read_licence(name).out is (kind in ("non-commercial", "no-derivatives", "reserved", "unknown"))
    assert kind in MEANING


@pytest.mark.parametrize(
    ("expression", "out"),
    [
        ("MIT OR CC-BY-NC-4.0", False),
        ("CC-BY-NC-4.0 OR MIT", False),
        ("MIT AND CC-BY-NC-4.0", True),
        ("(MIT OR CC-BY-ND-4.0) AND CC0-1.0", False),
        ("(MIT AND CC-BY-ND-4.0) OR CC-BY-NC-4.0", True),
        ("GPL-2.0-only WITH Classpath-exception-2.0 AND MIT", False),
        ("CC-BY-NC-4.0 WITH LicenseRef-more", True),
    ],
)
def test_expressions_take_the_better_of_or_and_the_worse_of_and(expression: str, out: bool) -> None:
    assert read_licence(expression).out is out


@given(st.text(alphabet="() ANDORWITHMcC-BY4.0+", max_size=40))
def test_any_text_has_a_verdict(text: str) -> None:
    assert read_licence(text).kind in MEANING


def test_judgement_strongest_reason_first() -> None:
    no = "plus:DMI-PROHIBITED-GENAIMLTRAINING"
    assert judge("CC0-1.0", None, None, False).reason is None
    assert judge("CC0-1.0", "withdrawn", no, False).reason == WITHDRAWN
    assert judge("CC-BY-NC-4.0", None, no, False).reason == OPTED_OUT
    assert judge("LicenseRef-own", "yes", no, False, licence_ok=True).reason == OPTED_OUT, "no override for an opt-out"
    assert judge("CC-BY-NC-4.0", None, None, False).reason == "licence non-commercial"
    in_all_the_same = judge("CC-BY-NC-4.0", None, None, False, licence_ok=True)
    assert in_all_the_same.reason is None and "stated" in (in_all_the_same.note or "")
    assert judge(None, None, None, False) == (None, UNLICENSED, UNLICENSED)
    assert judge(None, None, None, True).reason == NOT_LICENSED
    assert judge("LicenseRef-own", None, None, True).reason is None, "the shop's own photo may reserve all rights"
    assert "same licence" in (judge("CC-BY-SA-4.0", None, None, False).note or "")
    assert judge("CC0-1.0", None, "plus:DMI-ALLOWED cawg.ai_inference:notAllowed", False).reason is None


@pytest.mark.parametrize(("kind", "word"), [(kind, word) for kind, words in CONSENT.items() for word in words])
def test_words_of_consent(kind: str, word: str) -> None:
    reason = judge("CC0-1.0", f" {word.upper()} ", None, False).reason
    assert reason == (kind if kind in (REFUSED, WITHDRAWN) else None)
    assert judge("CC0-1.0", "asked her, no answer", None, False).reason == UNCLEAR


LIST = """image,licence,owner,consent,date,source,category
0.jpg,CC0-1.0,Shop,yes,2026-01-01,studio,a
1.jpg,CC-BY-NC-4.0,Agency,,2025-05-05,agency,a
2.jpg,LicenseRef-own,Shop,withdrawn,,studio,a
3.jpg,LicenseRef-own,Shop,,,studio,b
4.jpg,LicenseRef-own,Shop,,,studio,b
5.jpg,LicenseRef-agency-7,Agency,,,agency,b
6.jpg,LicenseRef-own,Shop,n/a,,studio,b
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    for i in range(7):
        (folder / f"{i}.jpg").write_bytes(jpeg(photo(i)))
    no = packet("", f'plus:DataMining="{VOCABULARY}DMI-PROHIBITED"')
    (folder / "3.jpg").write_bytes(jpeg(photo(3), xmp=no))
    c2pa = signed(jpeg(photo(4)), "image/jpeg", {"cawg.ai_generative_training": {"use": "notAllowed"}})
    (folder / "4.jpg").write_bytes(c2pa)
    (folder / "list.csv").write_text(LIST)
    return folder / "list.csv"


@pytest.fixture
def catalog(shop: Path, tmp_path: Path) -> Path:
    run(shop, tmp_path / "catalog", allow_opted_out=True, test_share=0.0)
    return tmp_path / "catalog"


def test_the_ledger_of_an_ingest(catalog: Path) -> None:
    rows = {row["key"]: row for row in open_catalog(catalog).manifest(["key", "licence", "source", *NEW]).to_pylist()}
    first = rows["0.jpg"]
    assert [first[name] for name in ("owner", "consent", "date", "source")] == ["Shop", "yes", "2026-01-01", "studio"]
    assert rows["3.jpg"]["mining"] == "plus:DMI-PROHIBITED"
    assert rows["4.jpg"]["mining"] == "cawg.ai_generative_training:notAllowed"
    ids = open_catalog(catalog).manifest(["photo_id"])["photo_id"].to_pylist()
    assert read_column(open_catalog(catalog), "owner", ids[:2]) == ["Shop", "Agency"]


def test_opted_out_photos_do_not_come_in_by_themselves(shop: Path, tmp_path: Path) -> None:
    run(shop, tmp_path / "out", owner="Shop")
    assert rejected(tmp_path / "out") == {
        "3.jpg": "forbids training on it in its own metadata (PLUS DMI-PROHIBITED)",
        "4.jpg": "forbids training on it in its own metadata (C2PA cawg.ai_generative_training notAllowed)",
    }
    report = report_rights(open_catalog(tmp_path / "out"))
    assert sum(report.left_out_at_ingest.values()) == 2


def test_what_is_out_is_not_trained_on_but_can_be_found(catalog: Path) -> None:
    photos = open_catalog(catalog)
    reasons = {
        "1.jpg": "licence non-commercial",
        "2.jpg": WITHDRAWN,
        "3.jpg": OPTED_OUT,
        "4.jpg": OPTED_OUT,
        "5.jpg": "licence unknown",
    }
    report = report_rights(photos)
    assert {row["key"]: row["reason"] for row in report.listed} == reasons
    assert (report.photos, report.may_train) == (7, 2)
    assert list(report.out) == [reason for reason in REASONS if reason in reasons.values()]
    assert report.licences["LicenseRef-own"] == {"in": 1, "out": 3}
    assert report.owners["Agency"] == {"in": 0, "out": 2}
    assert report.opt_outs == {
        "cawg.ai_generative_training:notAllowed": {"in": 0, "out": 1},
        "plus:DMI-PROHIBITED": {"in": 0, "out": 1},
    }
    keys = dict(zip(*photos.manifest(["photo_id", "key"]).to_pydict().values(), strict=True))
    assert {keys[name] for name in photos.packed("train", 8, 3).photo_ids} == {"0.jpg", "6.jpg"}
    assert len(photos.packed("train", 8, 3, also_out=True).photo_ids) == 7
    assert photos.rights.left_out == {
        WITHDRAWN: 1,
        OPTED_OUT: 2,
        "licence non-commercial": 1,
        "licence unknown": 1,
    }
    assert "5 pictures are not trained on" in photos.rights.sentence()


def test_the_test_split_is_whole(shop: Path, tmp_path: Path) -> None:
    run(shop, tmp_path / "out", allow_opted_out=True, test_share=0.5)
    photos = open_catalog(tmp_path / "out")
    splits = photos.summary["splits"]
    assert len(photos.packed("test", 8, 3).photo_ids) == splits["test"]
    assert len(photos.packed("train", 8, 3).photo_ids) < splits["train"]


def test_corrections_and_licences_that_are_ok(catalog: Path, tmp_path: Path) -> None:
    before = open_catalog(catalog)
    checksum, ids = before.checksum, before.packed("train", 8, 3).photo_ids
    table = tmp_path / "fix.csv"
    name = before.manifest(["key", "photo_id"]).to_pylist()[1]["photo_id"]
    table.write_text(
        f"photo;consent;licence;owner\n0.jpg;revoked;;\n{name};;CC-BY-4.0;We\n3.jpg;yes;CC0-1.0;\n2.jpg;;;\n"
    )
    result = run_json("rights", catalog, "--ledger", table, "--licence-ok", "LicenseRef-agency-7", "--list")
    assert (result["ledger_rows"], result["licences_ok"]) == (4, ["LicenseRef-agency-7"])
    assert {row["key"]: row["reason"] for row in result["listed"]} == {
        "0.jpg": WITHDRAWN,
        "2.jpg": WITHDRAWN,
        "3.jpg": OPTED_OUT,  # Whatever the shop says of it.
        "4.jpg": OPTED_OUT,
    }
    after = open_catalog(catalog)
    assert after.checksum == checksum
    after.verify()
    assert set(after.packed("train", 8, 3).photo_ids) != set(ids)
    row = json.loads((catalog / NAME).read_text().splitlines()[0])
    assert row["recorded"].startswith("20") and row["consent"] == "revoked"
    state(after, None, ["LicenseRef-agency-7"])
    assert read_ledger(catalog).rows == 5, "the ledger only grows"
    table.write_text("photo,consent\n0.jpg,given\n")
    state(after, table, [])
    assert "0.jpg" not in {row["key"] for row in report_rights(after).listed}, "the later row wins"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("photo,consent\nnobody.jpg,yes\n", "no photo 'nobody.jpg'"),
        ("photo,consent\n0.jpg,yes\n0.jp,yes\n", "Did you mean '0.jpg'"),
        ("photo,licence\n0.jpg,all mine\n", "SPDX"),
        ("photo,price\n0.jpg,1\n", "at least one of licence"),
        ("licence\nMIT\n", "needs a column 'photo'"),
        ("", "empty"),
    ],
)
def test_a_wrong_table_changes_nothing(catalog: Path, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "bad.csv").write_text(text)
    _, error = run_cli("rights", catalog, "--ledger", tmp_path / "bad.csv", code=1)
    assert words in error
    assert not (catalog / NAME).exists()


def test_wrong_words_and_a_damaged_ledger(catalog: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Did you mean 'CC-BY-NC-4\.0'"):
        state(open_catalog(catalog), None, ["CC-BY-NC-4"])
    run_cli("rights", tmp_path, code=1)
    (catalog / NAME).write_text('{"photo": "x"}\n[]\n')
    for use in (lambda: open_catalog(catalog).rights, lambda: open_catalog(catalog).packed("train", 8, 3)):
        with pytest.raises(PackshotError, match="damaged in line 2"):
            use()


def test_the_command_for_a_person(catalog: Path) -> None:
    text, _ = run_cli("rights", catalog, "--list")
    assert text.startswith("7 photos: 2 may be trained on, 5 may not.\n")
    assert "Out: 2: opted out in its own file" in text and "there is no override" in text
    assert "By owner: Agency: 0 in, 2 out." in text
    assert "says PLUS DMI-PROHIBITED in its own metadata" in text
    assert "listed" in run_json("rights", catalog) and not run_json("rights", catalog)["listed"]


def test_nothing_left_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(3):
        (folder / f"{i}.jpg").write_bytes(jpeg(photo(i)))
    run(folder, tmp_path / "out", licence="CC-BY-ND-4.0")
    with pytest.raises(
        PackshotError, match=r"may be trained on: 3 pictures are not trained on \(3 licence no-deriv"
    ) as e:
        open_catalog(tmp_path / "out").packed("train", 8, 3)
    assert "packshot rights" in str(e.value)


def test_unlicensed_photos_are_the_shops_own_unless_they_say_otherwise(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    reserved = packet(
        '<dc:rights><rdf:Alt><rdf:li xml:lang="x">(c) X. All Rights Reserved.</rdf:li></rdf:Alt></dc:rights>'
    )
    (folder / "0.jpg").write_bytes(jpeg(photo(0)))
    (folder / "1.jpg").write_bytes(jpeg(photo(1), xmp=reserved))
    run(folder, tmp_path / "out", licence=None, source=None, allow_unlicensed=True, test_share=0.0)
    report = report_rights(open_catalog(tmp_path / "out"))
    assert [row["reason"] for row in report.listed] == [NOT_LICENSED]
    assert report.notes == {UNLICENSED: 1}


def make_old(catalog: Path) -> None:
    """Turns a catalogue into what the version before this one wrote."""
    path = catalog / "manifest.parquet"
    table = pq.ParquetFile(path).read()
    pq.write_table(table.drop_columns(NEW), path)
    about = json.loads((catalog / "catalog.json").read_text())
    about["files"]["manifest.parquet"] = sha256_file(path)
    about["checksum"] = compute_checksum(about["files"], about["categories"])
    (catalog / "catalog.json").write_text(json.dumps(about))


def test_older_catalogues_open_and_what_they_lack_is_not_known(catalog: Path) -> None:
    make_old(catalog)
    photos = open_catalog(catalog)
    table = photos.manifest(["key", *NEW, "licence"])
    assert table.column_names == ["key", *NEW, "licence"]
    assert table["mining"].null_count == table.num_rows == 7
    assert set(NEW) <= set(photos.manifest().column_names)
    assert {row["key"] for row in report_rights(photos).listed} == {"1.jpg", "5.jpg"}
    assert report_rights(photos).notes == {NOT_READ: 7}
    assert len(photos.packed("train", 8, 3).photo_ids) == 5
    assert run_json("rights", catalog)["owners"] == {"not stated": {"in": 5, "out": 2}}


def test_a_new_catalogue_with_samples_keeps_ledger_and_columns(catalog: Path, tmp_path: Path) -> None:
    from packshot.catalog.generated import add_generated
    from packshot.catalog.records import PhotoRecord
    from packshot.images.encode import encode
    from packshot.images.picture import Metadata, ProductImage
    from packshot.images.xmp import stating

    data = encode(ProductImage(photo(70), Metadata(xmp=stating("trainedAlgorithmicMedia"))), "PNG")
    made = PhotoRecord(key="made", data=data, category="a", licence="CC-BY-NC-4.0", source="samples")
    for old in (False, True):
        if old:
            make_old(catalog)
        (catalog / NAME).write_text("")
        photos = open_catalog(catalog)
        state(photos, None, ["LicenseRef-agency-7"])
        out = tmp_path / f"more{old}"
        add_generated(photos, out, [made], {"model": "m"})
        new = open_catalog(out)
        new.verify()
        assert new.rights.licences_ok == ("LicenseRef-agency-7",)
        report = report_rights(new)
        assert report.synthetic == {"pictures": 1, "may_train": 0}
        assert new.manifest(["owner"])["owner"].to_pylist()[0] == (None if old else "Shop")
