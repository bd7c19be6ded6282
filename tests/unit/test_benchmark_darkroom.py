"""The darkroom's benchmark: its cases, its figures, and its tables from the raw log alone; no peer is needed."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from benchmarks import darkroom, darkroom_table
from benchmarks.darkroom_parts import cases, killed, measure, sheets
from benchmarks.darkroom_parts.table import TASKS, Figure
from PIL import Image

from packshot.core.errors import PackshotError
from packshot.images.damage import KINDS
from packshot.models.style.presets import PRESETS


def row(name, photo, *, task="enhance-x2", psnr=30.0, version="1", **more):
    figures = {"psnr": psnr, "ssim": 0.9, "feature": 2.0, "maps": 0.5, "us_per_pixel": 1.0}
    cost = {"cpu_seconds": 0.5, "peak_mib": 300.0}
    about = {"task": task, "name": name, "case": photo, "photo": photo, "group": "", "version": version}
    return about | figures | cost | more


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


ROWS = [
    *(row("packshot", f"p{i}", psnr=30.0 + i, peak_mib=300.0 + i) for i in range(4)),
    *(row("bicubic", f"p{i}", psnr=28.0 + i, feature=4.0) for i in range(3)),
    {"task": "enhance-x2", "name": "animevideov3", "error": "ImportError: no ncnn"},
]


def test_table_has_the_tasks_order_means_intervals_and_failures():
    lines = [cells(line) for line in darkroom_table.make_table(TASKS["enhance-x2"], ROWS).splitlines()]
    heads = lines[0]
    assert [line[0] for line in lines[2:]] == ["packshot", "bicubic", "animevideov3"]
    ours = dict(zip(heads, lines[2], strict=True))
    assert ours["photos"] == "4" and ours["CPU-s"] == "0.50" and ours["peak MiB"] == "303"
    assert ours["PSNR dB"].startswith("31.50 [30.") and ours["SSIM"] == "0.9000 [0.9000, 0.9000]"
    assert lines[4][-1] == "failed: ImportError: no ncnn" and set(lines[4][1:-1]) == {"-"}


def test_peers_are_compared_over_the_photos_that_both_did():
    lines = darkroom_table.make_comparison(TASKS["enhance-x2"], ROWS)
    assert len(lines) == 1 and lines[0].startswith("Packshot against bicubic, the same 3 photos: ")
    # Every photo's gain is 2 dB, so the paired interval has no width, although the photos differ.
    assert "PSNR dB +2.00 [+2.00, +2.00]" in lines[0] and "feature distance x 0.50 [0.50, 0.50]" in lines[0]


def test_the_latest_row_counts_and_a_mixture_of_versions_is_told():
    again = [*ROWS, row("packshot", "p0", psnr=99.0, version="2")]
    latest = darkroom_table.latest_rows(again)
    assert len(latest) == len(ROWS) and max(r.get("psnr", 0) for r in latest) == 99
    assert darkroom_table.mixed(TASKS["enhance-x2"], latest) == ["Mixed: packshot was run as 1, 2; measure it anew."]
    assert darkroom_table.mixed(TASKS["enhance-x2"], ROWS) == []


def test_a_failure_is_forgotten_once_the_competitor_ran():
    ran = [*ROWS, row("animevideov3", "p0")]
    assert not any("error" in r for r in darkroom_table.latest_rows(ran))


def test_f1_is_of_all_photos_together_and_the_mean_is_over_kinds():
    counts = {
        "dust": [[8, 10, 8, 10], [0, 0, 0, 10]],
        "holes": [[5, 5, 5, 5], [5, 5, 5, 5]],
        "clean": [[0, 7, 0, 0]] * 2,
    }
    rows = [{"photo": f"p{i}", "group": kind, "f1": c} for kind, both in counts.items() for i, c in enumerate(both)]
    dust, low = darkroom_table.estimate(rows, Figure(key="f1", title="", how="f1", of="dust"))
    assert dust == pytest.approx(2 * 0.8 * 0.4 / 1.2) and low[0] <= dust <= low[1]
    value, _ = darkroom_table.estimate(rows, Figure(key="f1", title="", how="f1_mean"))
    assert value == pytest.approx((dust + 1) / 2)  # What was found in clean photos is told elsewhere.


@pytest.mark.parametrize(("how", "expected"), [("mean", 3.0), ("median", 2.0), ("max", 7.0), ("per_minute", 20.0)])
def test_ways_to_make_one_number_of_rows(how, expected):
    rows = [{"photo": f"p{i}", "x": x} for i, x in enumerate([1.0, 2.0, 2.0, 3.0, 7.0])]
    value, spread = darkroom_table.estimate(rows, Figure(key="x", title="", how=how))
    assert value == pytest.approx(expected)
    assert spread is None if how == "max" else spread[0] <= value <= spread[1]
    assert darkroom_table.estimate(rows, Figure(key="y", title="")) is None


def test_report_is_made_from_a_torn_log(tmp_path, capsys):
    text = "".join(json.dumps(r) + "\n" for r in ROWS)
    (tmp_path / "raw.jsonl").write_text(text + '{"task": "enh')
    darkroom.main(["--out", str(tmp_path), "--table"])
    printed = capsys.readouterr().out
    assert "### enhance-x2" in printed and "### cutout" not in printed
    assert (tmp_path / "table.md").read_text().strip() == printed.strip()


@pytest.fixture
def data(tmp_path):
    """Four photos, of which three are of validation contributors and two of these have mattes."""
    clothing = tmp_path / "clothing"
    (clothing / "original").mkdir(parents=True)
    (clothing / "mattes").mkdir()
    rng = np.random.default_rng(0)
    with (clothing / "metadata.csv").open("w", newline="") as f:
        writer = csv.writer(f)
        writer.writerow(["image", "split"])
        for i, split in enumerate(["validation", "train", "validation", "validation"]):
            writer.writerow([f"photo{i}", split])
            Image.fromarray(rng.integers(0, 255, (90, 70, 3), np.uint8)).save(clothing / "original" / f"photo{i}.jpg")
            if i != 3:
                Image.new("L", (70, 90), 255).save(clothing / "mattes" / f"photo{i}.png")
    return tmp_path


def test_no_training_photo_is_a_case(data):
    assert [p.stem for p in cases.held_out(data, 9)] == ["photo0", "photo2", "photo3"]
    assert [p.stem for p in cases.held_out(data, 2)] == ["photo0", "photo3"]
    assert [c.photo for c in TASKS["cutout"].cases(data, 9)] == ["photo0", "photo2"]
    with pytest.raises(PackshotError, match=r"metadata\.csv"):
        cases.held_out(data / "clothing", 1)


@pytest.mark.parametrize("name", [n for n in TASKS if n not in ("restyle", "cutout-1024")])
def test_cases_are_the_same_in_every_process_and_have_names_of_their_own(name, data):
    one, two = (list(TASKS[name].cases(data, 2)) for _ in range(2))
    assert len({case.name for case in one}) == len(one) > 0
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.given, b.given)
        assert a.name == b.name and a.given.dtype == np.uint8


def test_damage_is_drawn_in_each_way_and_measured(data):
    made = {case.group: case for case in TASKS["auto"].cases(data, 1)}
    assert set(made) == {"clean", *KINDS}
    hole = made["holes"]
    perfect = measure.found(hole, hole.truth.astype(np.uint8))
    assert perfect["f1"] == [hole.truth.sum()] * 4 and perfect["touched"] == 1
    told = measure.found(hole, hole.truth.astype(np.uint8) * 2)  # Only told of, so nothing is repaired.
    assert told["f1"][:2] == [0, 0] and told["f1_told"] == perfect["f1"] and told["touched"] == 0


@pytest.mark.parametrize("kind", ["boxes", "lump", "strokes"])
@pytest.mark.parametrize("share", [0.05, 0.25])
def test_holes_have_their_share(kind, share):
    mask = cases.draw_hole(256, kind, share, np.random.default_rng(3))
    assert mask.mean() == pytest.approx(share, abs=0.02) and mask.flags.writeable


def test_a_seam_is_the_worst_line_and_strokes_are_none():
    rng = np.random.default_rng(0)
    plane = rng.normal(128, 6, (200, 300)).astype(np.float32)
    plane[40:80, 150:] += 60  # An edge, though only through a fifth of the rows.
    stroke = measure.worst_line(plane)
    plane[:, 100:] += 30
    assert stroke < 2.5 < 3.5 < measure.worst_line(plane)


def test_named_styles_are_those_of_the_package():
    assert all(PRESETS[name].weights == weights for name, weights in cases.STYLES.items())


def test_sheets_take_each_group_in_turn_and_from_begin_to_end():
    named = [(f"{group}{i}", group) for i in range(9) for group in ("a", "b")]
    assert sheets.spread(named) == ["a0", "b1", "a3", "b4", "a6", "b7"]
    assert sheets.spread([("one", "")]) == ["one"] and sheets.spread([]) == []


def test_what_is_not_installed_is_left_out_and_what_was_done_is_not_done_again(data, tmp_path, monkeypatch, capsys):
    """The whole way through, with the processes replaced: one competitor works, one breaks, others are missing."""
    started = []

    def start(self, task, competitor, photos, missing, stem):
        started.append((competitor.name, missing))
        if competitor.name == "lanczos":
            return "ValueError: broken"
        with stem.with_name(f"{stem.name}.jsonl").open("w") as f:
            for number, case in enumerate(task.cases(data, photos)):
                path = stem.with_name(f"{stem.name}-{number}.npy")
                np.save(path, case.truth if competitor.name == "packshot" else 255 - case.truth)
                facts = {"cpu_seconds": 0.1, "seconds": 0.2, "peak_mib": 70.0, "version": "x"}
                f.write(json.dumps({"case": case.name, "output": str(path), **facts}) + "\n")
        return None

    monkeypatch.setattr(darkroom.Benchmark, "start", start)
    monkeypatch.setattr(measure, "features", lambda x: (x.mean((0, 1)), x[:8, :8].astype(float)))
    monkeypatch.setattr(darkroom.Benchmark, "absent", lambda self, c: "ncnn is not installed" if c.needs else None)
    command = ["--data", str(data), "--out", str(tmp_path / "out"), "--only", "enhance-x2", "--photos", "3"]
    for _ in range(2):
        darkroom.main(command)
    # What failed is tried again, what was measured is not.
    assert [name for name, _ in started] == ["packshot", "bicubic", "lanczos", "lanczos"]
    printed = capsys.readouterr().out
    assert "animevideov3 is left out: ncnn is not installed" in printed
    rows = darkroom_table.read_jsonl(tmp_path / "out" / "raw.jsonl")
    assert [r["psnr"] for r in rows if r["name"] == "packshot"] == [measure.BEST] * 3
    assert "failed: ValueError: broken" in (tmp_path / "out" / "table.md").read_text()
    assert (tmp_path / "out" / "sheets" / "enhance-x2.png").is_file()
    assert not list((tmp_path / "out" / "work").glob("*.npy"))


def journal(out: Path, *photos: str) -> None:
    with (out / "packshot.jsonl").open("a") as f:
        for photo in photos:
            f.write(json.dumps({"photo": f"photos/{photo}.jpg", "picture": f"{photo}.png", "status": "done"}) + "\n")


def test_a_killed_shoot_tells_what_was_done_twice_and_what_was_lost(tmp_path: Path) -> None:
    for name in "abcd":
        (tmp_path / f"{name}.png").write_bytes(b"first")
    journal(tmp_path, "a", "b")
    noted, before = {killed.stem(row): row for row in killed.photos_of(tmp_path)}, killed.times(tmp_path)
    journal(tmp_path, "c", "d", "b")
    (tmp_path / "d.png").unlink()
    os.utime(tmp_path / "a.png", ns=(1, 1))
    paths = [tmp_path / f"{name}.jpg" for name in "abcde"]
    case = cases.Case(name="5", photo="", group="photos", given=np.zeros((1, 1, 3), np.uint8), more={"paths": paths})
    watch = killed.Watch(cpu={1: 3.0, 2: 2.0}, load=[1.0, 3.0])
    rows = {r["photo"]: r for r in killed._photos(case, tmp_path, noted, before, 10.0, watch, killed.Watch())}
    assert {p: (r["before_kill"], r["twice"], r["lost"]) for p, r in rows.items()} == {
        "a": (1, 1, 0),  # Its file was written again.
        "b": (1, 1, 0),  # It was noted again.
        "c": (0, 0, 0),
        "d": (0, 0, 1),  # Its file is gone.
        "e": (0, 0, 1),  # Nobody knows of it.
    }
    assert rows["a"]["seconds"] == 2 and rows["a"]["cpu_seconds"] == 1 and rows["a"]["load"] == 2
