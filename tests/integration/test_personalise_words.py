"""`packshot personalise` with a generator that takes texts and attributes: the taste asks it for words and colours."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from packshot.cli.events import events
from packshot.cli.personalise import personalise
from packshot.images.decode import decode
from packshot.images.seen import name_colours
from tests.shoppers import fast_default

from .conftest import LICENCE, run_json
from .test_attributes import COLOURS, SETS
from .test_clip import SETTINGS


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue of 240 drawings with titles such as "red Shirt", and shoppers who each like one colour."""
    folder = tmp_path_factory.mktemp("words")
    rng = np.random.default_rng(3)
    lines = ["image,product_id,category,title"]
    log = ["user,product,kind,time"]
    kinds = [(colour, category) for colour in COLOURS for category in ("Shirt", "Trouser")]
    for i in range(240):
        colour, category = kinds[i % 6]
        picture = np.full((32, 32, 3), rng.integers(225, 250), np.uint8)
        x, y = rng.integers(-3, 4, 2)
        wide = 5 if category == "Trouser" else 10
        ink = np.array(COLOURS[colour]) + rng.integers(-15, 16, 3)
        picture[6 + y : 26 + y, 16 - wide + x : 16 + wide + x] = np.clip(ink, 0, 255)
        Image.fromarray(picture).save(folder / f"{i:03}.png")
        lines.append(f"{i:03}.png,sku-{i:03},{category},{colour} {category}")
    for u in range(60):
        mine = [i for i in range(240) if kinds[i % 6][0] == list(COLOURS)[u % 3]]
        for i in rng.permutation(mine)[:8].tolist():
            log.append(f"u{u},sku-{i:03},view,2024-05-{rng.integers(1, 28):02d}T10:00")
    (folder / "list.csv").write_text("\n".join(lines))
    (folder / "log.csv").write_text("\n".join(log))
    run_json("ingest", folder / "list.csv", "--out", folder / "catalog", *LICENCE)
    words = [
        "ingest",
        folder / "log.csv",
        "--catalog",
        folder / "catalog",
        "--out",
        folder / "store",
        "--consent",
        "all",
    ]
    assert CliRunner().invoke(events, [*map(str, words), "--quiet"], catch_exceptions=False).exit_code == 0
    return folder


def made_for(shop: Path, run: Path, user: str, out: Path) -> dict:
    words = ["--events", shop / "store", "--user", user, "--model", run, "--n", 3, "--samples", 60, "--steps", 3]
    words += ["--out", out, "--allow-copies", "--report", "--quiet", "--json"]
    with fast_default():
        got = CliRunner().invoke(personalise, list(map(str, words)), catch_exceptions=False)
    assert got.exit_code == 0, got.output
    return json.loads(got.output)


@pytest.mark.slow
def test_a_taste_asks_for_the_words_of_what_it_likes(shop: Path, tmp_path: Path) -> None:
    texts, run = tmp_path / "clip", tmp_path / "run"
    run_json(
        "train", shop / "catalog", "--out", texts, "--model", "clip", "--budget", "12kimg", "--seed", "2", *SETTINGS
    )
    options = [
        "--model",
        "latent",
        "--text-model",
        texts,
        "--attributes",
        "colour",
        "--budget",
        "12kimg",
        "--size",
        "32",
    ]
    run_json("train", shop / "catalog", "--out", run, *options, *SETS, "--set", "loop.metrics_every_kimg=0")
    for u, colour in enumerate(COLOURS):
        result = made_for(shop, run, f"u{u}", tmp_path / colour)
        seen = name_colours(np.stack([decode(Path(p["path"])).pixels for p in result["pictures"]]))
        assert seen.count(colour) >= 2, (colour, seen)
        notes = " ".join(result["notes"])
        assert f"the words '{colour} " in notes and f"colour {colour}" in notes, notes
        asked = [p["attributes"] for p in result["pictures"]]
        assert all(a.get("colour", colour) == colour and a.get("text", colour).startswith(colour) for a in asked), asked
    page = (tmp_path / "red" / "personalise.html").read_text()
    assert "<h1>Made for one shopper</h1>" in page
    [pool] = (shop / "catalog" / "cache").glob("pool-*")
    before = pool.read_bytes()
    again = made_for(shop, run, "u2", tmp_path / "again")
    assert [p["score"] for p in again["pictures"]] == [p["score"] for p in result["pictures"]]
    assert pool.read_bytes() == before and len(list(pool.parent.glob("pool-*"))) == 1
