"""From rights to a trained model: what was out is not in it, the run proves what was, and the card says both."""

import json
from pathlib import Path

import pytest

from packshot.catalog import open_catalog
from packshot.core.lineage import INHERITED, OWN, TrainingSet, trained_on
from packshot.core.merkle import verify_inclusion
from packshot.core.runs import RunFolder, shipped_names
from packshot.evaluation.report import trained_photos
from packshot.models.weights import load_header
from tests.catalog_photos import jpeg, photo, run
from tests.unit.test_merkle import by_definition
from tests.unit.test_statements import VOCABULARY, packet

from .conftest import TINY, run_cli, run_json

SMALL = [*TINY, "--set", "data.size=32", "--set", "loop.samples_every_kimg=0", "--set", "loop.metrics_every_kimg=0"]
N = 30


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 photos in two categories: 2 opted out, 3 under a licence that forbids, 6 to test with."""
    folder = tmp_path_factory.mktemp("lineage")
    rows = ["image,licence,category,split"]
    no = packet("", f'plus:DataMining="{VOCABULARY}DMI-PROHIBITED-AIMLTRAINING"')
    for i in range(N):
        (folder / f"{i}.jpg").write_bytes(jpeg(photo(i, 32, 32), **({"xmp": no} if i < 2 else {})))
        split = "test" if i >= 24 else "train"
        rows.append(f"{i}.jpg,{'CC-BY-NC-4.0' if 2 <= i < 5 else 'LicenseRef-own'},{'ab'[i % 2]},{split}")
    (folder / "list.csv").write_text("\n".join(rows))
    run(folder / "list.csv", folder / "catalog", allow_opted_out=True)
    return folder / "catalog"


@pytest.fixture(scope="module")
def trained(catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("run") / "run"
    return out, run_json("train", catalog, "--out", out, "--model", "vae", "--budget", "0.16kimg", *SMALL)


def digests(catalog: Path) -> dict[int, str]:
    rows = open_catalog(catalog).manifest(["key", "sha256"]).to_pylist()
    return {int(row["key"].removesuffix(".jpg")): row["sha256"] for row in rows}


def test_a_run_proves_what_it_was_trained_on(catalog: Path, trained: tuple[Path, dict]) -> None:
    out, result = trained
    known = digests(catalog)
    assert [i for i in range(N) if trained_on(out, known[i])] == list(range(5, 24))
    kept = TrainingSet.read(out / OWN)
    about = json.loads((out / "run.json").read_text())
    root = by_definition(sorted(bytes.fromhex(known[i]) for i in range(5, 24))).hex()
    assert about["training_set"] == load_header(out / "model.safetensors")["training_set"] == kept.about()
    assert (kept.root, len(kept)) == (root, 19)
    place, path = kept.prove(known[7]) or (0, [])
    assert verify_inclusion(bytes.fromhex(root), 19, place, bytes.fromhex(known[7]), path)
    left_out = {"opted out in its own file": 2, "licence non-commercial": 3}
    assert result["left_out"] == about["rights"]["left_out"] == left_out


def test_the_card_says_what_was_in_and_out_and_what_it_cost(catalog: Path, trained: tuple[Path, dict]) -> None:
    out, result = trained
    card = json.loads((out / "card.json").read_text())
    data, cost = card["data"], card["cost"]
    assert data["trained_on"]["licences"] == {"LicenseRef-own": 19}
    assert data["trained_on"]["categories"] == {"b": 10, "a": 9}
    assert data["rights"]["left_out"] == result["left_out"]
    assert data["training_set"]["photos"] == 19
    assert cost["cpu_seconds"] == pytest.approx(result["cpu_seconds"], abs=0.01) and cost["peak_memory_mib"] > 50
    energy = cost["energy"]
    watts = cost["cpu_seconds"] * 12 + cost["seconds"] * cost["peak_memory_mib"] / 1024 * 0.3725
    assert energy["estimate_wh"] == pytest.approx(watts / 3600, rel=0.01)
    assert "estimate" in energy["assumption"] and (cost["device"], cost["device_seconds"]) == ("cpu", 0.0)
    page, _ = run_cli("card", out)
    for words in (
        f"Root of the training set: {data['training_set']['root']}",
        "Left out of training: 3: licence non-co",
    ):
        assert words in page
    assert "Not measured yet" in page and "an estimate" in page


def test_a_withdrawn_photo_stops_a_run_from_going_on(catalog: Path, trained: tuple[Path, dict], tmp_path: Path) -> None:
    out, _ = trained
    assert run_json("train", "--resume", out, "--budget", "0.2kimg")["state"] == "finished"
    root = json.loads((out / "run.json").read_text())["training_set"]["root"]
    (tmp_path / "fix.csv").write_text("photo,consent\n9.jpg,withdrawn\n")
    run_cli("rights", catalog, "--ledger", tmp_path / "fix.csv")
    _, error = run_cli("train", "--resume", out, "--budget", "0.3kimg", code=1)
    assert "1 of the photos" in error and "packshot rights" in error
    assert json.loads((out / "run.json").read_text())["training_set"]["root"] == root
    assert trained_on(out, digests(catalog)[9]), "what was learned stays learned"
    # The figures compare with what the run was trained on, of what may be looked at still.
    photos, about = open_catalog(catalog), RunFolder(out).read()
    about["config"]["data"]["limit"] = 10
    packed = photos.packed("train", 32, 3)
    assert len(packed.photo_ids) == 18
    assert len(trained_photos(packed, about, photos, RunFolder(out)).photo_ids) == 18
    second = tmp_path / "second"
    words = ["train", catalog, "--out", second, "--from", out, "--budget", "0.03kimg", *SMALL]
    _, told = run_cli(*words)
    assert "6 pictures are not trained on" in told
    assert not TrainingSet.read(second / OWN).prove(digests(catalog)[9])
    assert (second / INHERITED).exists() and trained_on(second, digests(catalog)[9]), "its origin knew the photo"


def test_evaluate_puts_figures_by_category_into_the_card(trained: tuple[Path, dict]) -> None:
    from packshot.evaluation.card import add_figures

    out, _ = trained
    figure = {
        "name": "agreement",
        "value": 0.5,
        "low": 0.4,
        "high": 0.6,
        "n": 9,
        "n_real": 6,
        "seed": 0,
        "protocol": "p",
    }
    rows = [
        {"category": c, "value": v, "precision": None, "coverage": 0.25, "copies": 0.0}
        for c, v in (("a", 0.75), ("b", None))
    ]
    missing = {**figure, "name": "kid", "value": None, "low": None, "high": None}
    add_figures(RunFolder(out), {"figures": [figure, missing], "per_category": rows, "model_sha256": "0" * 64})
    card = json.loads((out / "card.json").read_text())
    assert [f["name"] for f in card["figures"]] == ["agreement"]
    page, _ = run_cli("card", out)
    assert "| agreement | 0.5 | 0.4 to 0.6 | 9 |" in page
    assert "| a | 0.75 | - | 0.25 | 0 |" in page and "| b | - | - | 0.25 | 0 |" in page
    run_cli("card", out, "--out", out.parent / "page.md")
    assert (out.parent / "page.md").read_text() == page


@pytest.mark.parametrize("name", shipped_names())
def test_cards_of_shipped_models_are_read(name: str) -> None:
    page, _ = run_cli("card", name)
    assert page.startswith(f"# {name}\n") and "was not recorded" in page and "| agreement |" in page
    assert run_json("card", name)["name"] == name


def test_a_damaged_card_is_told(trained: tuple[Path, dict], tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    assert "no card yet" in run_cli("card", tmp_path, code=1)[1]
    for text in ("[]", '{"data": {"training_set": {}}}', "{"):
        (tmp_path / "card.json").write_text(text)
        run_cli("card", tmp_path, code=1)
