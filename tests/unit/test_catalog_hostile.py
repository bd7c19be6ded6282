"""Bad input: each is one clear sentence, the rest goes on, and nothing written before is lost."""

import errno
import os
import resource
import signal
import struct
import subprocess
import sys
import threading
import zlib
from contextlib import suppress
from pathlib import Path

import pytest

from packshot.catalog import open_catalog
from packshot.catalog import parts as parts_module
from packshot.catalog.ingest import ingest
from packshot.catalog.options import IngestOptions
from packshot.core.errors import PackshotError
from packshot.core.workers import START
from tests.catalog_photos import RIGHTS, encoded, files, jpeg, photo, rejected, run, write_folder


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "shop", {"hats": 6})


def png_of_size(width: int, height: int) -> bytes:
    """A few bytes that say they are a large picture."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def test_every_kind_of_bad_file_is_left_out_with_its_reason(shop: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(jpeg(photo(50)))
    bad = {
        "empty.jpg": (b"", "is empty (0 bytes)"),
        "cut.jpg": (jpeg(photo(51))[:900], "is cut short or damaged"),
        "cut.png": (encoded(photo(52), "PNG")[:-3000], "is cut short or damaged"),
        "text.jpg": (b"<html>not found</html>", "is not a picture"),
        "bomb.png": (png_of_size(40_000, 40_000), "1,600.0 megapixels"),
        "bomb2.png": (png_of_size(60_000, 60_000), "megapixels"),
        "heavy.jpg": (jpeg(photo(53)) + bytes(200_000), "the limit is 0.1 MiB"),
    }
    for name, (data, _) in bad.items():
        (shop / "hats" / name).write_bytes(data)
    (shop / "hats/out.jpg").symlink_to(secret)
    (shop / "hats/inside.jpg").symlink_to(shop / "hats/000.jpg")
    (shop / "hats/dangling.jpg").symlink_to(tmp_path / "nothing")
    (shop / "hats/self.jpg").symlink_to(shop / "hats/self.jpg")
    os.mkfifo(shop / "hats/pipe.jpg")
    report = run(shop, tmp_path / "out", max_bytes=100_000)
    reasons = rejected(tmp_path / "out")
    for name, (_, words) in bad.items():
        assert words in reasons.pop(f"hats/{name}"), name
    assert "lies outside the photos' folder" in reasons.pop("hats/out.jpg")
    assert reasons.pop("hats/dangling.jpg").startswith(("is a link to a file that does not exist", "lies outside"))
    assert reasons.pop("hats/self.jpg")
    assert reasons.pop("hats/pipe.jpg") == "is not a regular file"
    assert reasons == {}
    assert report.photos == 7, "six photos and the link inside the folder"
    assert report.left_out_total == 11
    assert run(shop, tmp_path / "linked", max_bytes=100_000, follow_symlinks=True).photos == 8


def test_a_picture_under_a_wrong_name_is_taken_with_a_note(shop: Path, tmp_path: Path) -> None:
    (shop / "hats/really-png.jpg").write_bytes(encoded(photo(60), "PNG"))
    report = run(shop, tmp_path / "out")
    assert report.photos == 7
    assert report.notes == {"The name's ending does not fit the content; the content decided.": 1}


def test_an_animation_gives_its_first_frame_with_a_note(shop: Path, tmp_path: Path) -> None:
    from PIL import Image

    frames = [Image.fromarray(photo(s)) for s in (61, 62)]
    frames[0].save(shop / "hats/film.gif", save_all=True, append_images=frames[1:])
    report = run(shop, tmp_path / "out")
    assert report.photos == 7
    assert any("several frames" in note for note in report.notes)


def test_lists_cannot_reach_outside_their_folder(shop: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(jpeg(photo(50)))
    (shop / "hats/linked").symlink_to(tmp_path)
    names = ["../secret.jpg", str(tmp_path / "secret.jpg"), f"file://{tmp_path}/secret.jpg", "hats/linked/secret.jpg"]
    (shop / "l.csv").write_text("image\nhats/000.jpg\nhats/../hats/001.jpg\n" + "\n".join(names) + "\n")
    report = run(shop / "l.csv", tmp_path / "out")
    assert report.photos == 2
    assert {"lies outside" in r for r in rejected(tmp_path / "out").values()} == {True}
    assert run(shop / "l.csv", tmp_path / "all", follow_symlinks=True).photos == 6


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_that_may_not_be_read(shop: Path, tmp_path: Path) -> None:
    (shop / "hats/000.jpg").chmod(0)
    run(shop, tmp_path / "out")
    assert rejected(tmp_path / "out") == {"hats/000.jpg": "cannot be read: Permission denied"}


def test_names_that_are_no_text(shop: Path, tmp_path: Path) -> None:
    odd = os.fsencode(shop / "hats") + b"/caf\xe9\nx.jpg"
    with open(odd, "wb") as f:  # noqa: PTH123 - pathlib takes no bytes.
        f.write(jpeg(photo(70)))
    (shop / "sch\u00f6n \U0001f600").mkdir()
    (shop / "sch\u00f6n \U0001f600/1.jpg").write_bytes(jpeg(photo(71)))
    assert run(shop, tmp_path / "out").photos == 8
    keys = open_catalog(tmp_path / "out").manifest(["key"])["key"].to_pylist()
    assert "hats/caf\\udce9\nx.jpg" in keys
    assert "sch\u00f6n \U0001f600/1.jpg" in keys


def test_surrogates_and_long_cells_in_lists(shop: Path, tmp_path: Path) -> None:
    rows = [f'{{"image": "hats/000.jpg", "title": "\\ud800 odd", "note": "{"x" * 200_000}"}}', '{"image": "a\\u0000b"}']
    (shop / "l.jsonl").write_text("\n".join([*rows, f'{{"image": "{"y" * 5000}"}}']))
    report = run(shop / "l.jsonl", tmp_path / "out")
    assert report.photos == 1
    assert set(rejected(tmp_path / "out").values()) == {"is not a name that a file can have"}


# --- the output folder ---


def test_an_output_folder_that_is_in_use(shop: Path, tmp_path: Path) -> None:
    run(shop, tmp_path / "out")
    before = files(tmp_path / "out")
    with pytest.raises(PackshotError, match="already holds a catalogue"):
        run(shop, tmp_path / "out")
    assert files(tmp_path / "out") == before
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("x")
    with pytest.raises(PackshotError, match="not empty"):
        run(shop, tmp_path / "full")
    with pytest.raises(PackshotError, match="is a file"):
        run(shop, tmp_path / "full/mine.txt")
    with pytest.raises(PackshotError, match="a file, not a folder"):
        run(shop, tmp_path / "full/mine.txt/below")
    assert (tmp_path / "full/mine.txt").read_text() == "x"


def test_a_missing_source_makes_no_folder(tmp_path: Path) -> None:
    with pytest.raises(PackshotError, match="does not exist"):
        run(tmp_path / "nowhere", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/readme.txt").write_text("x")
    with pytest.raises(PackshotError, match="holds no photo"):
        run(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Stop(Exception):
    pass


def interrupted(shop: Path, out: Path, monkeypatch: pytest.MonkeyPatch, after: int, error: Exception) -> None:
    """An ingest that fails while it writes its (after + 1)-th part."""
    real = parts_module.write_json
    calls = iter(range(1000))

    def failing(path: Path, value: object) -> None:
        if path.name[0].isdigit() and next(calls) >= after:
            raise error
        real(path, value)

    with monkeypatch.context() as m:
        m.setattr(parts_module, "write_json", failing)
        run(shop, out, shard_photos=32)


def test_an_interrupted_ingest_goes_on_only_with_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = write_folder(tmp_path / "shop", {"hats": 80})
    out = tmp_path / "out"
    with pytest.raises(Stop):
        interrupted(shop, out, monkeypatch, 1, Stop())
    with pytest.raises(PackshotError, match="not finished"):
        open_catalog(out)
    before = files(out)
    with pytest.raises(PackshotError, match="unfinished ingest with another option max_side"):
        run(shop, out, shard_photos=32, max_side=64)
    with pytest.raises(PackshotError, match="unfinished ingest with another source"):
        run(shop / "hats", out, shard_photos=32)
    assert files(out) == before
    os.utime(shop / "hats/003.jpg", (1, 1))
    with pytest.raises(PackshotError, match="source has changed"):
        run(shop, out, shard_photos=32)
    assert files(out) == before


def test_a_resumed_ingest_equals_an_unbroken_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = write_folder(tmp_path / "shop", {"hats": 80, "shoes": 20})
    (shop / "hats/bad.jpg").write_bytes(b"x")
    run(shop, tmp_path / "whole", shard_photos=32)
    for after in range(3):
        out = tmp_path / str(after)
        with pytest.raises(Stop):
            interrupted(shop, out, monkeypatch, after, Stop())
        (out / "shards/.x.tmp").write_bytes(b"left over")
        report = run(shop, out, shard_photos=32)
        assert report.resumed == 32 * after
        assert files(out) == files(tmp_path / "whole")


def test_two_ingests_into_one_folder(shop: Path, tmp_path: Path) -> None:
    journal = parts_module.Journal(tmp_path / "out")
    with journal.held(), pytest.raises(PackshotError, match="Another ingest is writing"):
        run(shop, tmp_path / "out")
    assert run(shop, tmp_path / "out").photos == 6


# --- a full disk ---


def test_no_space_left_is_one_sentence_and_the_work_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = write_folder(tmp_path / "shop", {"hats": 80})
    run(shop, tmp_path / "whole", shard_photos=32)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(PackshotError, match="the disk is full; free some space and run the same command again"):
        interrupted(shop, tmp_path / "out", monkeypatch, 1, full)
    report = run(shop, tmp_path / "out", shard_photos=32)
    assert report.resumed == 32
    assert files(tmp_path / "out") == files(tmp_path / "whole")


LIMITED = """
import sys
from pathlib import Path
from packshot.catalog.ingest import ingest
from packshot.catalog.options import IngestOptions
from packshot.core.errors import PackshotError
try:
    rights = {"licence": "CC0-1.0", "source": "made up by the tests"}
    options = IngestOptions(workers=int(sys.argv[3]), shard_photos=32, **rights)
    report = ingest(Path(sys.argv[1]), Path(sys.argv[2]), options)
    print("done", report.resumed)
except PackshotError as e:
    print(e)
    sys.exit(1)
"""


def limited(shop: Path, out: Path, workers: int, bytes_per_file: int) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_per_file, bytes_per_file))

    command = [sys.executable, "-c", LIMITED, str(shop), str(out), str(workers)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, preexec_fn=limit, check=False)


def test_a_real_limit_of_the_system(tmp_path: Path) -> None:
    """The kernel itself refuses the bytes, in the middle of a shard."""
    shop = write_folder(tmp_path / "shop", {"hats": 40})
    (shop / "hats/zz.png").write_bytes(encoded(photo(99, 400, 300), "PNG"))
    run(shop, tmp_path / "whole", shard_photos=32)
    first, second = (p.stat().st_size for p in sorted((tmp_path / "whole/shards").iterdir()))
    done = limited(shop, tmp_path / "out", 2, (first + second) // 2)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.count("\n") == 1
    assert "Cannot use" in done.stdout
    assert limited(shop, tmp_path / "out", 2, 10**9).stdout == "done 32\n"
    assert files(tmp_path / "out") == files(tmp_path / "whole")


SMALL_DISK = """
set -e
mount -t tmpfs -o size=200k none "$2"
"$1" -c "$5" "$3" "$2/out" 1 || echo refused
mount -o remount,size=100m "$2"
"$1" -c "$5" "$3" "$2/out" 1
cp -r "$2/out" "$4"
"""


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """A 200 KiB file system, mounted in a name space of our own."""
    probe = subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("this system does not let a test mount a file system in a name space of its own")
    shop = write_folder(tmp_path / "shop", {"hats": 80})
    (tmp_path / "disk").mkdir()
    words = [sys.executable, str(tmp_path / "disk"), str(shop), str(tmp_path / "copy"), LIMITED]
    command = ["unshare", "-rm", "bash", "-c", SMALL_DISK, "x", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    refusal, refused, success = done.stdout.splitlines()
    assert "the disk is full" in refusal
    assert refused == "refused"
    assert success in ("done 32", "done 64")
    run(shop, tmp_path / "whole", shard_photos=32)
    assert files(tmp_path / "copy") == files(tmp_path / "whole")


# --- workers ---


def ingest_workers() -> list[int]:
    """Process ids of the workers that this process started; other tests leave it with children of other kinds."""
    children = " ".join(p.read_text() for p in Path("/proc/self/task").glob("*/children")).split()
    found = []
    for child in children:
        with suppress(FileNotFoundError, ProcessLookupError):  # It has ended since.
            if START.encode() in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                found.append(int(child))
    return found


def ingest_while_workers_are_killed(shop: Path, out: Path, most: int) -> None:
    killed: set[int] = set()
    stop = threading.Event()

    def kill() -> None:
        while len(killed) < most and not stop.wait(0.001):
            for worker in set(ingest_workers()) - killed:
                killed.add(worker)
                os.kill(worker, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        ingest(shop, out, IngestOptions(workers=2, **RIGHTS))
    finally:
        stop.set()
        thread.join()
    assert killed, "no worker was seen"


def test_a_worker_that_is_killed_costs_nothing(tmp_path: Path) -> None:
    shop = write_folder(tmp_path / "shop", {"hats": 400})
    ingest_while_workers_are_killed(shop, tmp_path / "out", 1)
    run(shop, tmp_path / "whole")
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_workers_that_are_killed_one_after_the_other_are_one_sentence(tmp_path: Path) -> None:
    shop, out = write_folder(tmp_path / "shop", {"hats": 400}), tmp_path / "out"
    with pytest.raises(PackshotError, match=r"worker process was killed.*run the same command again"):
        ingest_while_workers_are_killed(shop, out, 1000)
    assert run(shop, out).photos == 400


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read(shop: Path, tmp_path: Path) -> None:
    (shop / "closed").mkdir(mode=0)
    assert run(shop, tmp_path / "out").photos == 6
    assert rejected(tmp_path / "out") == {"closed": "is a folder that cannot be read: Permission denied"}
