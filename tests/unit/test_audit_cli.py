"""The audit log by its commands: live, exported, and after somebody changed it."""

import json
import re
import sqlite3
from pathlib import Path

import pytest

from packshot.release.register import START, add_event, register_path
from tests.integration.conftest import run_cli


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PACKSHOT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def filled(count: int = 5) -> None:
    for i in range(count):
        add_event({"event": "test", "number": i, "name": f"Hüte {i} \u2028 帽子"})


def test_an_empty_log_holds(home: Path, tmp_path: Path) -> None:
    assert json.loads(run_cli("audit", "verify", "--json")[0]) == {"entries": 0, "head": START, "holds": True}
    assert run_cli("audit", "show")[0] == "The log is empty.\n"
    run_cli("audit", "export", "--out", tmp_path / "log.jsonl")
    assert (tmp_path / "log.jsonl").read_bytes() == b""
    assert run_cli("audit", "verify", tmp_path / "log.jsonl")[0].startswith("0 entries hold together.")
    assert not home.exists()


def test_an_export_verifies_where_no_register_is(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled()
    live = json.loads(run_cli("audit", "verify", "--json")[0])
    out = tmp_path / "log.jsonl"
    assert json.loads(run_cli("audit", "export", "--out", out, "--json")[0])["head"] == live["head"]
    lines = out.read_text().splitlines()
    assert len(lines) == 5 and json.loads(lines[4])["event"]["number"] == 4
    _, err = run_cli("audit", "export", "--out", out, code=1)
    assert "exists already" in err
    run_cli("audit", "export", "--out", out, "--overwrite")
    shown = json.loads(run_cli("audit", "show", "--last", "2", "--json")[0])["entries"]
    assert [e["number"] for e in shown] == [4, 5] and shown[1]["hash"] == live["head"]
    assert run_cli("audit", "show", "--last", "1")[0].startswith("5 20")
    monkeypatch.setenv("PACKSHOT_HOME", str(tmp_path / "elsewhere"))
    assert json.loads(run_cli("audit", "verify", out, "--json")[0]) == live
    assert run_cli("audit", "verify", out, "--head", live["head"])[0].endswith(f"Head: {live['head']}\n")


def changed(lines: list[str]) -> list[str]:
    return [*lines[:2], lines[2].replace('"test"', '"Test"'), *lines[3:]]


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (changed, "does not hold together at entry 3"),
        (lambda lines: lines[:1] + lines[2:], "does not hold together at entry 2"),
        (lambda lines: [lines[1], lines[0], *lines[2:]], "does not hold together at entry 1"),
        (lambda lines: lines[1:], "does not hold together at entry 1"),
        (lambda lines: [*lines[:3], "[]", *lines[3:]], "Line 4 of .* is no entry"),
        (lambda lines: [*lines[:3], "[" * 100_000], "Line 4 of .* is no entry"),
        (lambda lines: [*lines[:3], lines[3].replace(":", ";")], "Line 4 of .* is no entry"),
        (lambda lines: [line.replace('"number": 1,', '"number": "1",') for line in lines], "Line 1 of .* is no entry"),
    ],
)
def test_what_was_changed_in_an_export_is_named(harm: object, says: str, home: Path, tmp_path: Path) -> None:
    filled()
    out = tmp_path / "log.jsonl"
    run_cli("audit", "export", "--out", out)
    out.write_text("\n".join(harm(out.read_text().splitlines())) + "\n")  # type: ignore[operator]
    _, err = run_cli("audit", "verify", out, code=1)
    assert re.search(says, err), err


def test_a_log_cut_short_is_found_by_a_head_that_was_noted(home: Path, tmp_path: Path) -> None:
    filled()
    out = tmp_path / "log.jsonl"
    head = json.loads(run_cli("audit", "export", "--out", out, "--json")[0])["head"]
    filled(2)
    run_cli("audit", "verify", "--head", head)
    out.write_text("".join(out.read_text().splitlines(keepends=True)[:-1]))
    run_cli("audit", "verify", out)
    _, err = run_cli("audit", "verify", out, "--head", head, code=1)
    assert "none of its 4 entries" in err


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ('UPDATE audit SET event = \'{"event":"other"}\' WHERE number = 2', "entry 2"),
        ("UPDATE audit SET event = '{\"event\"' WHERE number = 2", "Entry 2 of the audit log was changed"),
        ("DELETE FROM audit WHERE number = 3", "entry 3"),
        ("UPDATE audit SET time = time || ' ' WHERE number = 4", "entry 4"),
    ],
)
def test_who_reaches_round_the_triggers_is_found(statement: str, says: str, home: Path, tmp_path: Path) -> None:
    filled()
    with sqlite3.connect(register_path()) as connection:
        with pytest.raises(sqlite3.IntegrityError, match="append only"):
            connection.execute(statement)
        connection.execute("DROP TRIGGER audit_stays")
        connection.execute("DROP TRIGGER audit_keeps")
        connection.execute(statement)
    connection.close()
    _, err = run_cli("audit", "verify", code=1)
    assert says in err
    _, err = run_cli("audit", "export", "--out", tmp_path / "log.jsonl", code=1)
    assert says in err and not (tmp_path / "log.jsonl").exists()


def test_a_file_that_is_no_log(home: Path, tmp_path: Path) -> None:
    run_cli("audit", "verify", tmp_path / "none.jsonl", code=2)
    (tmp_path / "bytes.jsonl").write_bytes(bytes(range(256)) * 40)
    _, err = run_cli("audit", "verify", tmp_path / "bytes.jsonl", code=1)
    assert "is no entry" in err
