"""An edit over many photos: what is written, what goes on, what is not done twice."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from packshot.core.errors import DiskFull, PackshotError, UsageError
from packshot.core.runs import append_jsonl
from packshot.images.decode import decode
from packshot.images.picture import Operation, ProductImage
from packshot.tasks.batch import PNG_INSTEAD, BatchOptions, BatchResult, edit_photos
from packshot.tasks.edit import Edited
from packshot.tasks.journal import JOURNAL
from tests.catalog_photos import encoded, jpeg, photo, run, write_folder


@dataclass
class Invert:
    """Turns colours into their opposites; counts what it was given."""

    shade: int = 255
    answer: dict[str, Any] = field(default_factory=dict)
    seen: list[ProductImage] = field(default_factory=list)
    wait: float = 0.0

    task = "invert"

    def settings(self) -> dict[str, Any]:
        return {"shade": self.shade}

    def __call__(self, image: ProductImage) -> Edited:
        time.sleep(self.wait)
        self.seen.append(image)
        if image.width == 13:
            raise PackshotError("13 pixels wide is unlucky; use another photo.")
        return Edited(
            image=image.done(Operation("invert", "classical"), np.uint8(self.shade) - image.pixels), **self.answer
        )


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "shop", {"hats": 2, "caps": 1})


def statuses(result: BatchResult) -> dict[str, str]:
    return {Path(p.photo).name: p.status for p in result.photos}


def test_results_lie_under_the_stem_of_each_photo_and_folders_keep_their_form(shop: Path, tmp_path: Path) -> None:
    single = tmp_path / "one.png"
    single.write_bytes(encoded(photo(9), "PNG"))
    result = edit_photos([shop, single], Invert(answer={"lossless": True}), tmp_path / "out")
    assert [p.picture for p in result.photos] == ["caps/000.png", "hats/000.png", "hats/001.png", "one.png"]
    assert result.counts == {"done": 4, "review": 0, "refused": 0, "failed": 0, "again": 0}
    np.testing.assert_array_equal(decode(tmp_path / "out/one.png").pixels, 255 - photo(9))


@pytest.mark.parametrize(
    ("kind", "asked", "alpha", "ending"),
    [
        ("JPEG", None, False, ".jpg"),
        ("WEBP", None, False, ".webp"),
        ("PNG", None, False, ".png"),
        ("BMP", None, False, ".png"),
        ("JPEG", "webp", False, ".webp"),
        ("PNG", "jpeg", True, ".png"),
    ],
)
def test_the_format_is_the_photos_own_unless_asked_or_impossible(
    kind: str, asked: str | None, alpha: bool, ending: str, tmp_path: Path
) -> None:
    pixels = photo(1)
    if alpha:
        pixels = np.dstack([pixels, np.full(pixels.shape[:2], 128, np.uint8)])
    given = tmp_path / "given"
    given.write_bytes(encoded(pixels, kind))
    result = edit_photos([given], Invert(), tmp_path / "out", BatchOptions(format=asked))
    assert result.photos[0].picture == f"given{ending}"


class Strokes:
    """Draws what no JPEG holds: dark noise of every colour."""

    task = "strokes"

    def settings(self) -> dict[str, Any]:
        return {}

    def __call__(self, image: ProductImage) -> Edited:
        noise = np.random.default_rng(0).integers(0, 90, image.pixels.shape, np.uint8)
        return Edited(image=image.done(Operation("strokes", "generated"), noise), notes=("Drawn.",))


def test_what_the_photos_own_format_does_not_hold_is_a_png_unless_that_format_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(photo(1, 200, 200)))
    low = BatchOptions(quality=60, quiet=True)
    (told,) = edit_photos([tmp_path / "a.jpg"], Strokes(), tmp_path / "out", low).photos
    assert (told.status, told.picture, told.notes[:2]) == ("done", "a.png", ("Drawn.", PNG_INSTEAD))
    noise = np.random.default_rng(0).integers(0, 90, (200, 200, 3), np.uint8)
    assert np.abs(decode(tmp_path / "out" / "a.png").pixels.astype(int) - noise).max() <= 8  # Its watermark.
    assert sorted(p.suffix for p in (tmp_path / "out").iterdir()) == [".json", ".jsonl", ".png"]
    (again,) = edit_photos([tmp_path / "a.jpg"], Strokes(), tmp_path / "out", low).photos
    assert again.again
    asked = BatchOptions(format="jpeg", quality=60, quiet=True)
    (told,) = edit_photos([tmp_path / "a.jpg"], Strokes(), tmp_path / "asked", asked).photos
    assert told.status == "failed" and "not what was made" in (told.reason or "")


def test_quality_reaches_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(photo(1, 200, 200)))
    sizes = []
    for quality in (30, 95):
        edit_photos([tmp_path / "a.jpg"], Invert(), tmp_path / str(quality), BatchOptions(quality=quality))
        sizes.append((tmp_path / str(quality) / "a.jpg").stat().st_size)
    assert sizes[0] < sizes[1]


def test_a_bad_photo_is_one_sentence_and_the_rest_goes_on(shop: Path, tmp_path: Path) -> None:
    (shop / "hats/broken.jpg").write_bytes(jpeg(photo(3))[:300])
    (shop / "hats/unlucky.png").write_bytes(encoded(photo(3, 13, 9), "PNG"))
    (shop / "hats/000.png").write_bytes(encoded(photo(4), "PNG"))
    result = edit_photos([shop], Invert(), tmp_path / "out")
    failed = {Path(p.photo).name: p.reason for p in result.photos if p.status == "failed"}
    assert failed.keys() == {"broken.jpg", "unlucky.png", "000.png"}
    assert "cut short or damaged" in failed["broken.jpg"]
    assert failed["unlucky.png"] == f"{shop}/hats/unlucky.png: 13 pixels wide is unlucky; use another photo."
    assert "same file as" in failed["000.png"]
    assert result.counts["done"] == 3


def test_review_and_refusal_go_to_folders_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(photo(1)))
    heat = ProductImage(photo(5), history=(Operation("heat", "capture"),))
    out = tmp_path / "out"
    unsure = edit_photos([tmp_path / "a.jpg"], Invert(answer={"review": "not sure", "confidence": 0.2}), out)
    assert (unsure.photos[0].status, unsure.photos[0].picture) == ("review", "review/a.jpg")
    assert unsure.photos[0].confidence == 0.2
    answer = {"refused": "it changed the product", "beside": {"heat": heat}}
    refused = edit_photos([tmp_path / "a.jpg"], Invert(shade=200, answer=answer), out)
    assert refused.photos[0].picture is None
    assert refused.photos[0].beside == {"heat": "refused/a-heat.png"}
    assert sorted(p.name for p in out.rglob("*.*")) == ["a-heat.png", "a.jpg", JOURNAL]


def test_the_same_command_does_nothing_twice(shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first, second = Invert(answer={"receipt": {"ssim": 1.0}, "notes": ("so",)}), Invert()
    once = edit_photos([shop], first, out)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.jpg")}
    (shop / "hats/new.jpg").write_bytes(jpeg(photo(8)))
    again = edit_photos([shop], second, out)
    assert (len(first.seen), len(second.seen)) == (3, 1)
    assert again.counts == {"done": 4, "review": 0, "refused": 0, "failed": 0, "again": 3}
    assert [replace(p, again=False) for p in again.photos[:3]] == once.photos
    assert before.items() <= {p: p.stat().st_mtime_ns for p in out.rglob("*.jpg")}.items()


def test_what_was_changed_since_is_done_again_where_that_is_allowed(shop: Path, tmp_path: Path) -> None:
    out, allowed = tmp_path / "out", BatchOptions(overwrite=True)
    edit_photos([shop], Invert(), out)
    (out / "hats/000.jpg").unlink()
    (shop / "hats/001.jpg").write_bytes(jpeg(photo(77)))
    edit = Invert()
    kept = edit_photos([shop], edit, out)
    assert len(edit.seen) == 2
    assert statuses(kept)["001.jpg"] == "failed"
    assert "exists already" in (kept.photos[2].reason or "")
    assert (out / "hats/000.jpg").is_file()
    changed = Invert(shade=250)
    assert edit_photos([shop], changed, out, allowed).counts["again"] == 0
    assert len(changed.seen) == 3


def test_the_photo_itself_is_only_replaced_when_asked(tmp_path: Path) -> None:
    given = tmp_path / "a.png"
    given.write_bytes(encoded(photo(1), "PNG"))
    refused = edit_photos([given], Invert(), tmp_path)
    assert "is the photo itself" in (refused.photos[0].reason or "")
    np.testing.assert_array_equal(decode(given).pixels, photo(1))
    edit_photos([given], Invert(), tmp_path, BatchOptions(overwrite=True))
    np.testing.assert_array_equal(decode(given).pixels, 255 - photo(1))


def test_results_inside_the_folder_of_photos_are_not_taken_for_photos(shop: Path) -> None:
    for _ in range(2):
        assert len(edit_photos([shop], Invert(), shop / "out").photos) == 3


def test_a_catalogue_gives_all_of_its_photos(shop: Path, tmp_path: Path) -> None:
    (shop / "hats/twin.jpg").write_bytes((shop / "hats/000.jpg").read_bytes())
    run(shop, tmp_path / "catalogue")
    result = edit_photos([tmp_path / "catalogue"], Invert(), tmp_path / "out")
    assert result.counts["done"] == 4
    assert sorted(p.picture or "" for p in result.photos) == [
        "caps/000.jpg", "hats/000.jpg", "hats/001.jpg", "hats/twin.jpg",
    ]  # fmt: skip
    direct = edit_photos([shop / "hats/001.jpg"], Invert(), tmp_path / "direct")
    assert direct.photos[0].sha256 in {p.sha256 for p in result.photos}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [([], "Name at least one"), (["nowhere"], "no file or folder"), (["empty"], "There is no photo in")],
)
def test_nothing_to_do_is_one_sentence(given: list[str], sentence: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(PackshotError, match=sentence):
        edit_photos([tmp_path / name for name in given], Invert(), tmp_path / "out")


def test_options_out_of_range() -> None:
    with pytest.raises(UsageError, match="Did you mean 'jpeg'"):
        BatchOptions(format="jpg")
    with pytest.raises(UsageError, match="--quality is 0"):
        BatchOptions(quality=0)


def test_a_full_disk_ends_the_batch(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, row: object) -> None:
        raise DiskFull("Cannot use it: the disk is full.")

    monkeypatch.setattr("packshot.tasks.journal.append_jsonl", full)
    edit = Invert()
    with pytest.raises(DiskFull):
        edit_photos([shop], edit, tmp_path / "out")
    assert len(edit.seen) == 1
    monkeypatch.setattr("packshot.tasks.journal.append_jsonl", append_jsonl)
    assert edit_photos([shop], Invert(), tmp_path / "out").counts["done"] == 3


def test_a_torn_line_of_the_journal_costs_one_photo(shop: Path, tmp_path: Path) -> None:
    edit_photos([shop], Invert(), tmp_path / "out")
    journal = tmp_path / "out" / JOURNAL
    journal.write_bytes(journal.read_bytes()[:-20])
    edit = Invert()
    assert edit_photos([shop], edit, tmp_path / "out").counts == {
        "done": 3, "review": 0, "refused": 0, "failed": 0, "again": 2,
    }  # fmt: skip
    assert len(edit.seen) == 1
    assert len([json.loads(line) for line in journal.read_text().splitlines()]) == 3


KILLED = """
import sys
from pathlib import Path
from packshot.tasks.batch import BatchOptions, edit_photos
from tests.unit.test_batch import Invert
result = edit_photos([Path(sys.argv[1])], Invert(wait=0.02), Path(sys.argv[2]), BatchOptions(quiet=True))
print(result.counts["again"], result.counts["done"])
"""


def test_kill_9_half_way_and_the_same_command_finishes_the_rest(tmp_path: Path) -> None:
    shop, out = write_folder(tmp_path / "shop", {"hats": 40}), tmp_path / "out"
    command = [sys.executable, "-c", KILLED, str(shop), str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while len(list(out.rglob("*.jpg"))) < 7:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    written = {p: p.stat().st_mtime_ns for p in out.rglob("*.jpg")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    again, finished = map(int, done.stdout.split())
    assert finished == 40
    assert again >= len(written) - 1, "only the photo in flight may be done again"
    assert written.items() <= {p: p.stat().st_mtime_ns for p in out.rglob("*.jpg")}.items()
    assert len(list(out.rglob("*.jpg"))) == 40
    with Image.open(out / "hats/000.jpg") as first:
        first.load()
