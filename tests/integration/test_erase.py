"""A shop erases: a photo, a copy of it in another catalogue, what was made from it, and a person; killed on the way."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from packshot.catalog import open_catalog
from packshot.catalog.erase import is_rest_of
from packshot.catalog.ledger import add_rows
from packshot.cli.erase import erase
from packshot.core.errors import PackshotError
from packshot.core.lineage import needs_retraining, trained_on
from packshot.release.register import find_by_checksum, read_audit
from packshot.tasks.batch import edit_photos
from tests.catalog_photos import jpeg, photo, run
from tests.edits import Noted

from .conftest import ENVIRONMENT, TINY, run_cli, run_json

SMALL = [*TINY, "--set", "data.size=32", "--set", "loop.samples_every_kimg=0", "--set", "loop.metrics_every_kimg=0"]
N = 24
MINE, OTHER = 7, 8
WHO = "Anna Maier"


def name_of(i: int) -> str:
    return f"shoot/dress-{i:02d}.jpg"


def write_photos(folder: Path, numbers: range) -> Path:
    (folder / "shoot").mkdir(parents=True)
    rows = ["image,licence,category,split,contributor"]
    for i in numbers:
        (folder / name_of(i)).write_bytes(jpeg(photo(i, 32, 32)))
        who = WHO if i in (3, MINE, 20) else "Bo Li"
        rows.append(f"{name_of(i)},LicenseRef-own,{'ab'[i % 2]},{'test' if i >= 20 else 'train'},{who}")
    (folder / "list.csv").write_text("\n".join(rows))
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """source/ and place/: two catalogues with one photo in both, runs, results, samples like it and to train on."""
    base = tmp_path_factory.mktemp("shop")
    source, place = write_photos(base / "source", range(N)), base / "place"
    more = write_photos(base / "more", range(MINE, MINE + 5))
    run(source / "list.csv", place / "catalog")
    run(more / "list.csv", place / "second")
    shutil.rmtree(more)
    row = row_of(place / "catalog", MINE)
    add_rows(place / "catalog", [{"photo": row["photo_id"], "owner": WHO}])
    run_json("train", place / "catalog", "--out", place / "run", "--model", "vae", "--budget", "0.16kimg", *SMALL)
    run_json("train", place / "catalog", "--out", place / "few", "--model", "vae", "--budget", "0.016kimg", *SMALL,
             "--set", "data.limit=4", "--set", "loop.batch_size=4")  # fmt: skip
    edit_photos([source / "shoot", place / "second"], Noted(base / "log"), place / "edited")
    run_json("create", place / "run", "--out", place / "new", "--like", source / name_of(MINE), "--n", 2)
    run_json("create", place / "run", "--out", place / "new", "--like", source / name_of(OTHER), "--n", 1)
    run_json("create", place / "run", "--for-training", place / "second", "--n", 4, "--out", place / "synthetic")
    return base


@pytest.fixture
def shop(made: Path, tmp_path: Path) -> Path:
    """A copy of it; the journals of results and the run name their photos and catalogue by the places of the copy."""
    shutil.copytree(made, tmp_path / "shop")
    for path in [*tmp_path.rglob("packshot.jsonl"), *tmp_path.rglob("run.json")]:
        path.write_text(path.read_text().replace(str(made), str(tmp_path / "shop")))
    return tmp_path / "shop"


def row_of(catalog: Path, i: int) -> dict:
    return next(r for r in open_catalog(catalog).manifest().to_pylist() if r["key"] == name_of(i))


def call(*words: str | Path, code: int = 0) -> str:
    done = CliRunner().invoke(erase, [str(w) for w in words])
    got = done.exception.exit_code if isinstance(done.exception, PackshotError) else done.exit_code
    assert got == code, f"{words} gave {got}\n{done.output}\n{done.exception}"
    return str(done.exception) if isinstance(done.exception, PackshotError) else done.output


def call_json(*words: str | Path, code: int = 0) -> dict:
    return json.loads(call(*words, "--json", code=code))


def held(place: Path, *words: bytes) -> dict[str, int]:
    """The oracle: files below a folder that hold one of the words, and how often."""
    counts = {str(p.relative_to(place)): p.read_bytes() for p in sorted(place.rglob("*")) if p.is_file()}
    return {name: n for name, data in counts.items() if (n := sum(data.count(w) for w in words))}


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def words_of(i: int, *catalogs: Path) -> tuple[bytes, ...]:
    rows = [row_of(c, i) for c in catalogs]
    return (name_of(i).encode(), jpeg(photo(i, 32, 32)), *(r["photo_id"].encode() for r in rows))


def test_a_photo_goes_from_everywhere_and_the_rest_works_on(shop: Path) -> None:
    place, source = shop / "place", shop / "source" / name_of(MINE)
    catalog, second, synthetic = (place / name for name in ("catalog", "second", "synthetic"))
    sha256 = row_of(catalog, MINE)["sha256"]
    words = words_of(MINE, catalog, second)
    before, checksum = snapshot(place), open_catalog(catalog).checksum
    assert list((catalog / "cache").iterdir())
    released = {p.name: p for p in (place / "new").glob("*.png")}
    known = [json.loads(line)["sha256"] for line in (place / "edited/packshot.jsonl").read_text().splitlines()]
    assert held(place, *words) and len(known) == N + 5

    plan = call_json(source, "--in", place, "--dry-run")
    assert (plan["state"], plan["photos"], plan["certificate"]) == ("listed", 1, None)
    assert snapshot(place) == before
    assert "--yes" in call(source, "--in", place, code=2) and "--yes" in call(source, "--in", place, "--json", code=2)
    assert snapshot(place) == before

    done = call_json(source, "--in", place, "--yes", "--certificate", shop / "proof.json", "--reason", "a letter")
    assert done["state"] == "erased" and done["problems"] == {} and done["remains"] == []
    assert {Path(p).name: c["photos"] for p, c in done["catalogues"].items()} == {
        "catalog": 1,
        "second": 1,
        "synthetic": 1,
    }
    assert {Path(f["path"]).relative_to(place).as_posix() for f in done["files"]} == {
        *("edited/dress-07.jpg", "edited/shoot/dress-07.jpg"),
        *(f"new/like-dress-07-0-{end}.png" for end in ("0000", "0001", "sheet")),
    }
    assert done["left"] == [str(source)] and source.is_file()
    assert held(place, *words) == {}
    assert set(held(place, sha256.encode(), bytes.fromhex(sha256))) == {
        *("run/training_set.bin", "catalog/erased.jsonl", "second/erased.jsonl", "synthetic/erased.jsonl")
    }
    gone = [p for p in released.values() if not p.exists()]
    assert sorted(p.name for p in gone) == sorted(n for n in released if n.startswith("like-dress-07"))
    assert not list((place / "new").glob("like-dress-07*")) and len(list((place / "new").glob("like-dress-08*"))) == 4
    for name in gone:
        assert find_by_checksum(sha256_of(before[f"new/{name.name}"])) == []
    assert done["forgotten"] == 3

    for path, photos in ((catalog, N - 1), (second, 4), (synthetic, 4)):
        now = open_catalog(path)
        now.verify()
        assert now.summary["photos"] == photos and run_json("rights", path)["photos"] == photos
        assert name_of(MINE) not in now.manifest(["key"])["key"].to_pylist()
        assert now.packed("train", 32, 3, synthetic=True).photo_ids
    assert is_rest_of(open_catalog(catalog), checksum)

    assert trained_on(place / "run", sha256) and "1 photo that was erased" in (needs_retraining(place / "run") or "")
    card = json.loads((place / "run/card.json").read_text())
    assert card["retraining"][0]["photos"] == 1
    run_cli("card", place / "run")
    assert not trained_on(place / "few", sha256) and needs_retraining(place / "few") is None
    run_json("create", place / "few", "--out", shop / "again", "--n", 1)

    checked = call_json("--verify", shop / "proof.json")
    assert checked["holds"] and checked["trust"] == "trusted" and checked["problems"] == []
    assert next(x for x in read_audit() if x.number == checked["audit"]).event["photos"] == [sha256]
    assert "nothing was erased" in call(name_of(MINE), "--in", place, "--yes", code=1)
    (place / "edited/shoot/dress-07.jpg").write_bytes(before["edited/shoot/dress-07.jpg"])
    assert not call_json("--verify", shop / "proof.json", code=1)["holds"]


def test_generated_pictures_of_a_model_that_learned_from_it_are_told_and_go_when_asked(shop: Path) -> None:
    place = shop / "place"
    told = call_json(name_of(MINE), "--in", place, "--yes")
    assert told["generated"] == {str(place / "synthetic"): 4} and open_catalog(place / "synthetic").synthetic == 4
    sha256 = open_catalog(place / "synthetic").manifest(["sha256"])["sha256"].to_pylist()
    again = call_json(row_of(place / "catalog", 5)["sha256"], "--in", place, "--yes", "--generated")
    assert again["generated"] == {} and again["photos"] == 5
    rest = open_catalog(place / "synthetic")
    assert (rest.synthetic, rest.summary["photos"]) == (0, 4)
    assert len(set(sha256) - set(rest.manifest(["sha256"])["sha256"].to_pylist())) == 4
    assert call_json("--verify", again["certificate"])["holds"]


def test_a_person_with_three_photos(shop: Path) -> None:
    place = shop / "place"
    catalog = place / "catalog"
    words = [w for i in (3, MINE, 20) for w in words_of(i, catalog)]
    done = call_json(WHO.upper(), "--person", "--in", place, "--yes", "--certificate", shop / "proof.json")
    assert done["state"] == "erased" and done["photos"] == 3
    assert done["runs"][str(place / "run")] == {"photos": 2, "certain": True}  # The third was to test with.
    assert held(place, *words, WHO.encode(), b"dress-07") == {}
    assert not held(shop, b"nothing of this name") and WHO.lower() not in (shop / "proof.json").read_text().lower()
    assert open_catalog(catalog).summary["photos"] == N - 3 and len(list((shop / "source/shoot").iterdir())) == N
    assert call_json("--verify", shop / "proof.json", WHO, "--person")["holds"]
    assert "not about a person" in str(call_json("--verify", shop / "proof.json", "Bo Li", "--person", code=1))


def test_the_sources_go_when_asked_and_a_list_of_the_user_is_told_and_stays(shop: Path) -> None:
    done = call_json(
        shop / "source" / name_of(MINE), "--in", shop, "--source", "--yes", "--certificate", shop / "p.json"
    )
    assert done["state"] == "erased" and done["left"] == [] and not (shop / "source" / name_of(MINE)).exists()
    assert [m.partition(": ")[0] for m in done["mentions"]] == [str(shop / "source/list.csv")]
    assert len(list((shop / "source/shoot").iterdir())) == N - 1
    assert call_json("--verify", shop / "p.json")["holds"]


KILLED = """
import os, signal, sys
from packshot.catalog import erase as catalog_erase
from packshot.tasks import erase as task
from packshot.cli.erase import erase

def killed(module, name, calls):
    real, left = getattr(module, name), [calls]
    def step(*args, **named):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **named)
    setattr(module, name, step)

where, calls, *words = sys.argv[1:]
module, name = where.split(":")
if name == "replace":
    from pathlib import Path
    killed(Path, "replace", int(calls))
else:
    killed(catalog_erase if module == "catalog" else task, name, int(calls))
erase(words)
"""


@pytest.mark.parametrize(
    ("where", "calls"),
    [
        pytest.param("task:mark_for_retraining", 0, marks=pytest.mark.slow),
        pytest.param("task:_remove_result", 2, marks=pytest.mark.slow),
        ("catalog:_carry_out", 1),
        pytest.param("any:replace", 14, marks=pytest.mark.slow),
        ("any:replace", 16),
        pytest.param("task:forget", 0, marks=pytest.mark.slow),
        pytest.param("task:write_json", 0, marks=pytest.mark.slow),
    ],
)
def test_killed_on_the_way_the_same_command_finishes(shop: Path, where: str, calls: int) -> None:
    place = shop / "place"
    words = words_of(MINE, place / "catalog", place / "second")
    command = [str(shop / "source" / name_of(MINE)), "--in", str(place), "--yes", "--certificate", str(shop / "p.json")]
    script = [sys.executable, "-c", KILLED, where, str(calls), *command]
    done = subprocess.run(script, env={**ENVIRONMENT, **os.environ}, capture_output=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert not (shop / "p.json").exists()
    result = call_json(*command)
    assert result["state"] == "erased" and held(place, *words) == {}
    body = json.loads((shop / "p.json").read_text())["body"]
    assert sorted(c["removed"]["photos"] for c in body["catalogues"]) == [1, 1, 1] and len(body["files"]) == 5
    assert all(c["before"] != c["after"] for c in body["catalogues"])
    for name in ("catalog", "second", "synthetic"):
        open_catalog(place / name).verify()
    assert len(json.loads((place / "run/run.json").read_text())["retraining"]) == 1
    assert call_json("--verify", shop / "p.json")["holds"]


def test_what_cannot_be_removed_is_said_and_the_certificate_does_not_hold(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = shop / "place"
    real: Callable[..., None] = Path.unlink

    def refuse(self: Path, *args: object, **named: object) -> None:
        if self.name == "like-dress-07-0-0001.png":
            raise PermissionError(13, "refused", str(self))
        real(self, *args, **named)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        done = call_json(name_of(MINE), "--in", place, "--yes", code=1)
    assert done["state"] == "incomplete" and [Path(p).name for p in done["problems"]] == ["like-dress-07-0-0001.png"]
    assert "permission denied" in next(iter(done["problems"].values()))
    checked = call_json("--verify", done["certificate"], code=1)
    assert "A file could not be erased." in checked["problems"]
    assert open_catalog(place / "catalog").summary["photos"] == N - 1


def test_what_a_run_says_afterwards(shop: Path) -> None:
    """Training neither goes on with such a model nor begins with it; its figures can still be taken."""
    place = shop / "place"
    call_json(name_of(MINE), "--in", place, "--yes")
    told = "learned from 1 photo that was erased since"
    assert told in run_json("train", "--resume", place / "run", code=1)["error"]
    words = ("train", place / "catalog", "--from", place / "run", "--out", place / "next", "--budget", "1kimg")
    assert told in run_json(*words, code=1)["error"]
    assert "To be trained anew: 1 photos" in run_cli("card", place / "run")[0]
    assert {f["name"] for f in run_json("evaluate", place / "run", "--n", 4)["figures"]} >= {"agreement"}


@pytest.mark.slow
def test_reports_and_evaluations_show_it_no_more(shop: Path) -> None:
    place = shop / "place"
    run_json("evaluate", place / "run", "--n", 60)
    nearest = json.loads((place / "run/evaluation.json").read_text())["nearest"]
    run_json("report", place / "run")
    rows = open_catalog(place / "catalog").manifest(["photo_id", "key"]).to_pylist()
    key = {r["photo_id"]: r["key"] for r in rows}[nearest[0]["photo_id"]]
    done = call_json(key, "--in", place, "--yes")
    assert done["state"] == "erased" and not (place / "run/report.html").exists()
    left = json.loads((place / "run/evaluation.json").read_text())["nearest"]
    assert left == [pair for pair in nearest if pair["photo_id"] != nearest[0]["photo_id"]]
    assert held(place, nearest[0]["photo_id"].encode(), key.encode()) == {}
    assert not (place / "catalog/cache").exists()
