"""The generators' benchmark makes its tables and plots from the raw log alone."""

import json

import pytest
from benchmarks import generators, generators_table
from benchmarks.peers.table import competitors

from packshot.models.table import PICTURE_MODELS


def row(name, budget, fd, *, peer=False, photos=60_000, agreement=None, **more):
    about = {"data": "toy", "photos": photos, "name": name, "budget": budget, "peer": peer, "what": f"what {name} is"}
    figures = {"fd": fd, "fd_interval": [fd - 10, fd + 10], "yardstick": "fd_efflite0_5k", "agreement": agreement}
    facts = {"cpu_seconds": budget + 0.4, "images": 64 * 1000, "peak_mib": 812.3}
    return about | figures | facts | more


ROWS = [
    row("latent", 60.0, 700.0, agreement=0.91),
    row("latent", 180.0, 400.0, agreement=0.93),
    row("vae", 60.0, 900.0, agreement=0.9),
    row("vae", 180.0, 800.0, agreement=0.95),
    row("good-peer", 60.0, 650.0, peer=True),  # Better on the way than at its end: the end counts.
    row("good-peer", 180.0, 720.0, peer=True),
    row("bad-peer", 60.0, 3000.0, peer=True),
    row("bad-peer", 180.0, 2500.0, peer=True),
    row("latent", 60.0, 1500.0, photos=500),
]


@pytest.fixture
def raw(tmp_path):
    path = tmp_path / "raw.jsonl"
    failure = {**{k: ROWS[0][k] for k in ("data", "photos", "peer", "what")}, "name": "broken", "budget": 180.0}
    rows = [*ROWS, {**failure, "error": "ValueError: no such net"}]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows) + '{"data": "toy", "torn')
    return path


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_table_puts_the_best_end_first_and_failures_last(raw):
    groups = generators_table.groups(generators_table.read_jsonl(raw))
    assert list(groups) == [("toy", 60_000), ("toy", 500)]
    lines = [cells(line) for line in generators_table.make_table(groups["toy", 60_000]).splitlines()[2:]]
    names = [line[0] for line in lines]
    expected = ["latent", "good-peer (peer)", "vae", "bad-peer (peer)"]
    assert names == [name for name in expected for _ in (60, 180)] + ["broken"]
    assert lines[1] == ["latent", "180", "64,000", "400 [390, 410]", "0.930", "812", "what latent is"]
    assert lines[2][4] == "-"  # An unconditional peer has no agreement.
    assert lines[-1] == ["broken", "180", "-", "failed", "-", "-", "ValueError: no such net"]


def test_ratios_compare_with_the_end_of_the_best_peer():
    lines = generators_table.make_ratios(generators_table.groups(ROWS)["toy", 60_000])
    assert lines == [
        "The best peer's last score: good-peer, 720 after 180 CPU-seconds.",
        "Packshot's latent reaches the best peer's last score after 60 CPU-seconds (0.33 of the peer's).",
        "Packshot's vae does not reach it (800 at its best).",
    ]


def test_no_peer_no_ratio():
    lines = generators_table.make_ratios(generators_table.groups(ROWS)["toy", 500])
    assert lines == ["No peer was measured, so there is nothing to compare with."]


def test_a_measurement_replaces_earlier_ones_and_failures_replace_none():
    failure = {**ROWS[0], "fd": None, "error": "out of memory"}
    newer = row("latent", 60.0, 650.0)
    assert generators_table.latest_rows([failure, newer, failure]) == [newer]
    assert generators_table.latest_rows([failure, failure]) == [failure]
    assert generators_table.latest_rows([ROWS[0], newer]) == [newer]


def test_table_and_plots_are_made_without_training(raw, tmp_path, capsys):
    generators.main(["--out", str(raw.parent), "--table", "--plot", str(tmp_path / "plots")])
    out = capsys.readouterr().out
    assert "toy, 60,000 photos, fd_efflite0_5k" in out and "toy, 500 photos" in out
    plots = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert plots == ["generators-toy-500.png", "generators-toy-60000.png"]
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in (tmp_path / "plots").iterdir())


def test_every_model_and_recipe_can_compete():
    table = competitors()
    assert set(PICTURE_MODELS) <= set(table) and "small-500" in table
    assert table["latent"].peer is False and table["gan-reference"].peer is True
    assert all(c.what for c in table.values())
