"""`packshot rank --features RUN`: taste by what a small `clip` run sees of the products, from photos to a list."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from packshot.catalog import open_catalog
from packshot.cli.events import events, rank
from packshot.tasks.rank import TasteRequest, fit_taste
from packshot.taste.products import read_products
from tests.shoppers import fast_default

from .conftest import NAMES, run_json
from .test_clip import SETTINGS


@pytest.mark.slow
def test_taste_by_the_features_of_a_clip_run(catalog: Path, tmp_path: Path) -> None:
    run, store, log = tmp_path / "clip", tmp_path / "store", tmp_path / "events.csv"
    run_json("train", catalog, "--out", run, "--model", "clip", "--budget", "6.4kimg", "--seed", "2", *SETTINGS)
    rng = np.random.default_rng(0)
    rows = read_products(open_catalog(catalog)).rows
    own = {name: [p.name for p in rows if p.category == name] for name in NAMES}
    # Nobody touches the last third of each category: those are known by their looks alone.
    lines = ["user,product,kind,time"]
    for u in range(60):
        mine = own[NAMES[u % len(NAMES)]]
        for i in rng.permutation(2 * len(mine) // 3)[:8].tolist():
            lines.append(f"u{u},{mine[i]},view,2024-05-{rng.integers(1, 28):02d}T10:00")
    log.write_text("\n".join(lines))
    words = ["ingest", log, "--catalog", catalog, "--out", store, "--consent", "rank", "--quiet"]
    assert CliRunner().invoke(events, list(map(str, words)), catch_exceptions=False).exit_code == 0
    for model in ("hybrid", "choice"):
        with fast_default():
            words = ["--events", store, "--catalog", catalog, "--user", "u0", "--n", len(rows), "--model", model]
            words += ["--features", run, "--json", "--quiet"]
            got = CliRunner().invoke(rank, list(map(str, words)), catch_exceptions=False)
            assert got.exit_code == 0, got.output
            ranked = json.loads(got.output)["ranked"]
            assert sum(r["category"] == NAMES[0] for r in ranked[:10]) >= 8, model
            cold = [r["category"] == NAMES[0] for r in ranked if not r["events"]]
            places = np.argsort(np.argsort(np.arange(len(cold))))
            mean_own, mean_other = places[cold].mean(), places[np.logical_not(cold)].mean()
            assert any(cold) and mean_own < mean_other, model
            fitted = fit_taste(TasteRequest(events=store, catalog=catalog, model=model, features=run))
    assert fitted.features is not None and fitted.features.protocol.startswith("clip ")
    assert fitted.features.rows.shape[1] == 16
