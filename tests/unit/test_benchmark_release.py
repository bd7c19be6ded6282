"""The watermark's benchmark: its attacks, its photos, and its tables from the raw log alone; no peer is needed."""

import json

import numpy as np
import pytest
from benchmarks import release, release_table
from benchmarks.release_parts import attacks, marks, photos
from PIL import Image
from scipy.stats import binomtest

from packshot.core.errors import PackshotError


def row(photo, right, *, name="packshot", kind="studio", room=True, white=0.5):
    about = {"part": "marks", "name": name, "photo": photo, "kind": kind, "white": white, "room": room}
    if not room:
        return about
    done = {"psnr": 45.0, "white_changed": 0, "other_id": False}
    return about | done | {"right": {"JPEG q75 4:2:0": right, "JPEG q50 4:2:0": right}}


ROWS = [
    row("a", 40),
    row("b", 40, kind="clothing", white=0.0),
    row("c", None),
    row("d", None, room=False),
    row("a", 39, name="dwtDct"),
    {"part": "unmarked", "name": "packshot", "first": 0, "count": 100, "kinds": {"noise": 100}, "found": []}
    | {"cpu_seconds": 5.0},
    {"part": "door", "name": "packshot", "photo": "a", "kind": "studio", "load": 1.0, "watermarked": True}
    | {"door_seconds": [0.5, 0.4, 0.6], "plain_seconds": [0.2, 0.1, 0.3]}
    | {"door_cpu_seconds": [0.5, 0.4, 0.6], "plain_cpu_seconds": [0.2, 0.1, 0.3]},
]


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.fixture
def out(tmp_path):
    (tmp_path / "raw.jsonl").write_text("".join(json.dumps(r) + "\n" for r in ROWS))
    return tmp_path


def test_shares_count_no_room_once_as_left_out_and_once_as_lost(out):
    release_table.print_tables(out)
    lines = [cells(line) for line in (out / "table.md").read_text().splitlines() if line.startswith("|")]
    head = next(line for line in lines if line[0] == "after")
    by_name = dict(zip(head, next(line for line in lines if line[0] == "JPEG q75 4:2:0"), strict=True))
    assert by_name["photos"] == "3" and by_name["id read"].startswith("66.7%")
    assert by_name["no room counted as lost"] == "50.0%"
    assert by_name["clothing"] == "1/1" and by_name["studio"] == "1/2" and by_name["flat white"] == "1/2"
    assert by_name["dwtDct"] == "0/1, 98% of bits"
    added = next(line for line in lines if line[0] == "what the door adds, wall")
    assert added[2].startswith("400 ") and added[3] == "300"
    assert "Pictures without a mark: 100" in (out / "table.md").read_text()


@pytest.mark.parametrize(("good", "count"), [(0, 10), (3, 7), (499, 500), (10_000, 10_000)])
def test_wilsons_interval_is_scipys(good, count):
    theirs = binomtest(good, count).proportion_ci(method="wilson")
    assert release_table.wilson(good, count) == pytest.approx((theirs.low, theirs.high), abs=1e-6)


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    for folder in ("clothing/original", "catalogue", "rgba"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "clothing/metadata.csv").write_text("image\n0\n1\n2\n")
    for i in range(4):
        picture = Image.fromarray(rng.integers(0, 256, (90, 70, 3), dtype=np.uint8))
        picture.save(tmp_path / f"clothing/original/{i}.jpg")
        picture.save(tmp_path / f"catalogue/{i}.jpg")
    Image.fromarray(np.zeros((64, 64, 4), np.uint8)).save(tmp_path / "rgba/a.png")
    return tmp_path


def test_photos_are_drawn_once_and_hidden_pixels_become_white(data):
    chosen = photos.chosen_photos(data, 500)
    assert chosen == photos.chosen_photos(data, 500) and chosen[:3] == photos.chosen_photos(data, 3)
    kinds = [p.kind for p in chosen]
    assert (kinds.count("clothing"), kinds.count("catalogue"), kinds.count("studio")) == (3, 4, 2)
    laid = next(p for p in chosen if p.kind == "studio").pixels()
    assert max(laid.shape) >= 1024 and (laid == 255).all()


def test_pictures_without_a_mark_are_the_same_each_time(data):
    first, again = (list(photos.unmarked(data, 5, 3)) for _ in range(2))
    assert all(a[0] == b[0] and np.array_equal(a[1], b[1]) for a, b in zip(first, again, strict=True))


def test_folders_that_are_not_there_are_named(tmp_path):
    with pytest.raises(PackshotError, match=r"metadata.csv is not there"):
        photos.all_photos(tmp_path)


@pytest.mark.parametrize("name", [*attacks.MAIN, *attacks.GAUNTLET])
def test_attacks_give_pictures_and_leave_the_marked_one(name):
    pixels = np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    before, rng = pixels.copy(), np.random.default_rng(2)
    harmed = {**attacks.MAIN, **attacks.GAUNTLET}[name](pixels, rng)
    assert harmed.dtype == np.uint8 and harmed.ndim == 3 and harmed.shape[2] == 3
    assert np.array_equal(pixels, before) and not np.array_equal(harmed, pixels)
    if name == "crop 20 %":
        assert harmed.shape == (48, 64, 3)


def test_bits_of_an_id_are_its_binary_digits():
    assert "".join("01"[int(b)] for b in marks.id_bits(0x123456789A)) == f"{0x123456789A:040b}"


def test_threads_have_to_be_one(data, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("OMP_NUM_THREADS")
    with pytest.raises(SystemExit):
        release.main(["--data", str(data), "--out", str(tmp_path / "out")])
    assert "OMP_NUM_THREADS=1" in capsys.readouterr().err
