"""A batch on several processes: the same results, and no photo lost or done twice, whichever process is killed."""

import fcntl
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import pytest

from packshot.core import workers as workers_module
from packshot.core.errors import DiskFull, PackshotError, UsageError
from packshot.core.workers import useful_workers
from packshot.images.masks import Rectangle
from packshot.tasks.anonymise import Anonymise, AnonymiseRequest
from packshot.tasks.backdrop import Backdrop, BackdropRequest
from packshot.tasks.batch import MANY, BatchOptions, BatchResult, edit_photos
from packshot.tasks.cutout import Cutout, CutoutRequest
from packshot.tasks.edit import Edit
from packshot.tasks.enhance import Enhance, EnhanceRequest
from packshot.tasks.extend import Extend, ExtendRequest
from packshot.tasks.journal import JOURNAL
from packshot.tasks.repair import Repair, RepairRequest
from packshot.tasks.restyle import Restyle, RestyleRequest
from packshot.tasks.shoot import ShootRequest, build_shoot
from tests.catalog_photos import encoded, photo, run, write_folder
from tests.edits import ODD, Noted

ROOT = Path(__file__).parents[2]
TWO = BatchOptions(quiet=True, workers=2)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Eight photos, one of them odd."""
    folder = write_folder(tmp_path / "shop", {"hats": 4, "caps": 3})
    (folder / "hats/odd.png").write_bytes(encoded(photo(3, ODD, 9), "PNG"))
    return folder


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def edited(log: Path) -> list[str]:
    """Names of the photos in the order in which an edit began with them."""
    return [line.split()[0] for line in log.read_text().splitlines()]


def pictures(out: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file() and p.name != JOURNAL
    }


def keys(out: Path) -> set[str]:
    return {json.loads(line)["key"] for line in (out / JOURNAL).read_text().splitlines()}


def test_any_number_of_workers_gives_the_same(shop: Path, log: Path, tmp_path: Path) -> None:
    edit = Noted(log)
    one = edit_photos([shop], edit, tmp_path / "one", BatchOptions(quiet=True))
    assert not any(str(os.getpid()) != line.split()[1] for line in log.read_text().splitlines())
    log.unlink()
    two = edit_photos([shop], edit, tmp_path / "two", TWO)
    assert two.photos == one.photos
    assert two.counts == one.counts == {"done": 7, "review": 0, "refused": 0, "failed": 1, "again": 0}
    assert pictures(tmp_path / "two") == pictures(tmp_path / "one")
    assert keys(tmp_path / "two") == keys(tmp_path / "one")
    processes = {line.split()[1] for line in log.read_text().splitlines()}
    assert str(os.getpid()) not in processes
    log.write_text("")
    assert edit_photos([shop], edit, tmp_path / "two", TWO).counts["again"] == 7
    assert edited(log) == ["odd.png"]


def test_a_catalogue_goes_to_workers_too(shop: Path, log: Path, tmp_path: Path) -> None:
    run(shop, tmp_path / "catalogue")
    result = edit_photos([tmp_path / "catalogue"], Noted(log), tmp_path / "out", TWO)
    assert result.counts["done"] == 7


def test_a_killed_worker_costs_no_photo(shop: Path, log: Path, tmp_path: Path) -> None:
    result = edit_photos([shop], Noted(log, odd="killed once"), tmp_path / "out", TWO)
    assert result.counts["done"] == 8
    assert edited(log).count("odd.png") == 2


def test_a_photo_that_kills_its_worker_twice_fails_alone(shop: Path, log: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = edit_photos([shop], Noted(log, odd="killed"), out, TWO)
    assert result.counts == {"done": 7, "review": 0, "refused": 0, "failed": 1, "again": 0}
    (reason,) = [p.reason for p in result.photos if p.status == "failed"]
    assert reason is not None and reason.startswith(f"{shop}/hats/odd.png: A worker process was killed")
    log.write_text("")
    again = edit_photos([shop], Noted(log, odd="none"), out, TWO)
    assert again.counts == {"done": 8, "review": 0, "refused": 0, "failed": 0, "again": 7}
    assert edited(log) == ["odd.png"]


def test_workers_that_never_live_end_the_batch_soon(
    shop: Path, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers_module, "START", "import os; os.abort()")
    monkeypatch.setattr(workers_module, "DEATHS", 3)
    result = edit_photos([shop], Noted(log), tmp_path / "out", TWO)
    assert result.counts["failed"] == 8
    assert not log.exists()


@pytest.mark.parametrize(
    ("odd", "error", "sentence"),
    [("full", DiskFull, "the disk is full"), ("fault", PackshotError, "ValueError: what nobody thought of.*report it")],
)
def test_what_ends_a_batch_ends_it(
    odd: str, error: type[PackshotError], sentence: str, shop: Path, log: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=sentence):
        edit_photos([shop], Noted(log, odd=odd), tmp_path / "out", TWO)
    done = len(keys(tmp_path / "out")) if (tmp_path / "out" / JOURNAL).exists() else 0
    assert edit_photos([shop], Noted(log), tmp_path / "out", TWO).counts["again"] == done


def test_an_edit_that_cannot_be_sent(shop: Path, log: Path, tmp_path: Path) -> None:
    class Local(Noted):
        pass

    with pytest.raises(UsageError, match=r"cannot be sent to a worker process.*--workers 1"):
        edit_photos([shop], Local(log), tmp_path / "out", TWO)
    assert edit_photos([shop], Local(log), tmp_path / "out").counts["done"] == 7


SCRIPT = """
import sys
from pathlib import Path
from packshot.tasks.batch import BatchOptions, edit_photos
from tests.edits import Noted
shop, out, log = map(Path, sys.argv[1:])
result = edit_photos([shop], Noted(log, wait=0.05), out, BatchOptions(quiet=True, workers=2))
print(result.counts["again"], result.counts["done"])
"""


def start(*words: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


@pytest.mark.parametrize(
    "how", [signal.SIGKILL, *(pytest.param(s, marks=pytest.mark.slow) for s in (signal.SIGINT, signal.SIGTERM))]
)
def test_stopped_half_way_the_same_command_finishes_the_rest(how: signal.Signals, log: Path, tmp_path: Path) -> None:
    shop, out = write_folder(tmp_path / "shop", {"hats": 40}), tmp_path / "out"
    process = start(shop, out, log)
    end = time.monotonic() + 60
    while len(list(out.glob("hats/*.jpg"))) < 9:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.001)
    process.send_signal(how)
    process.communicate(timeout=30)
    workers = {int(line.split()[1]) for line in log.read_text().splitlines()}
    assert workers
    while any(Path(f"/proc/{w}").exists() for w in workers):
        assert time.monotonic() < end, "a worker outlived the command"
        time.sleep(0.01)
    written = {p: p.stat().st_mtime_ns for p in out.glob("hats/*.jpg")}
    begun = edited(log)
    assert len(written) < 40
    if how == signal.SIGINT:
        assert not list(out.rglob("*.tmp"))
    (out / "hats/.039.jpg.0123abcd.tmp").write_bytes(b"what a kill leaves")
    again, done = map(int, start(shop, out, log).communicate(timeout=60)[0].split())
    assert done == 40
    assert len(keys(out)) == 40
    assert again >= len(written) - 2, "only the photos in flight may be done again"
    assert len(edited(log)) - len(begun) == 40 - again
    assert written.items() <= {p: p.stat().st_mtime_ns for p in out.glob("hats/*.jpg")}.items()
    assert sorted(p.name for p in out.rglob("*.*")) == sorted([JOURNAL, *(f"{i:03d}.jpg" for i in range(40))])


def test_leftovers_stay_while_another_command_may_be_writing_them(shop: Path, log: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "hats").mkdir(parents=True)
    left = out / "hats/.000.jpg.89abcdef.tmp"
    others = [out / "hats/.mine.tmp", out / "hats/.000.jpg.tmp", out / "hats/.notes.txt.89abcdef.tmp"]
    for path in (left, *others):
        path.write_bytes(b"")
    with_lock = os.open(out, os.O_RDONLY)
    fcntl.flock(with_lock, fcntl.LOCK_SH)
    edit_photos([shop], Noted(log), out, BatchOptions(quiet=True))
    assert left.exists()
    os.close(with_lock)
    edit_photos([shop], Noted(log), out, BatchOptions(quiet=True))
    assert not left.exists()
    assert all(path.exists() for path in others)


def test_a_photo_named_twice_is_done_once(shop: Path, log: Path, tmp_path: Path) -> None:
    given = [shop / "hats/000.jpg", shop / "hats/000.jpg", shop]
    result: BatchResult = edit_photos(given, Noted(log), tmp_path / "out", TWO)
    assert [p.picture for p in result.photos][:2] == ["000.jpg", "caps/000.jpg"]
    assert len(result.photos) == 9


def test_how_many_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="--workers is 0"):
        BatchOptions(workers=0)
    assert BatchOptions().workers_for(1000) == 1
    assert BatchOptions(workers=8).workers_for(3) == 3
    monkeypatch.setattr("packshot.tasks.batch.useful_workers", lambda each: 4)
    assert [BatchOptions(workers=None).workers_for(n) for n in (1, MANY - 1, MANY)] == [1, 1, 4]


def test_useful_workers_have_a_core_and_memory_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(workers_module, "free_memory", lambda: 5.5e9)
    assert [useful_workers(each) for each in (1e8, 1e9, 2e9, 6e9)] == [8, 5, 2, 1]


EDITS = {
    "anonymise": lambda: Anonymise(AnonymiseRequest(faces=False, boxes=(Rectangle.parse("1,1,5,5"),))),
    "backdrop": lambda: Backdrop(BackdropRequest(background="gradient:#ffffff-#eeeeee"), Cutout()),
    "cutout": lambda: Cutout(CutoutRequest(threshold=0.4)),
    "enhance": lambda: Enhance(EnhanceRequest(scale=2, denoise=0.5)),
    "extend": lambda: Extend(ExtendRequest(aspect=(1, 1)), Cutout()),
    "repair": lambda: Repair(RepairRequest(auto=True)),
    "restyle": lambda: Restyle(RestyleRequest(styles=("ink",), only="product"), Cutout()),
    "shoot": lambda: build_shoot(ShootRequest(channel="google-merchant", on=date(2027, 1, 31), size=500)),
}


@pytest.mark.parametrize("name", EDITS)
def test_every_edit_can_be_sent_to_a_worker_without_its_networks(name: str) -> None:
    edit: Edit = EDITS[name]()
    data = pickle.dumps(edit)
    assert len(data) < 10_000
    assert pickle.loads(data).settings() == edit.settings()  # noqa: S301 - our own bytes.
