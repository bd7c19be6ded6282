"""`packshot advise`: one small real run, and what it refuses."""

import json
import shlex
import time
from pathlib import Path

import pytest

from packshot.catalog import open_catalog
from packshot.core.errors import PackshotError
from packshot.core.random import draw_subset
from packshot.evaluation.figures import Figure
from packshot.models.table import MODELS
from packshot.tasks import advise as task
from packshot.tasks import advise_plan
from packshot.tasks.advise_measure import open_shelf
from packshot.tasks.advise_plan import Candidate
from packshot.training.budget import parse_budget
from packshot.training.run import TrainResult

from .conftest import INGEST, run_cli, run_json, write_idx


@pytest.fixture
def short_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets trials be as short as a test has to be."""
    for module in (task, advise_plan):
        monkeypatch.setattr(module, "LEAST_TRIAL", 0.5)
    monkeypatch.setattr(advise_plan, "START_COST", 0.5)


def test_advice_within_its_budget(catalog: Path, tmp_path: Path, short_trials: None) -> None:
    out, start = tmp_path / "advice", time.process_time()
    words = (
        "advise",
        catalog,
        "--need",
        "similar",
        "--budget",
        "12cpu-s",
        "--device",
        "cpu",
        "--out",
        out,
        "--seed",
        3,
    )
    text, plan = run_cli(*map(str, words), "--json")
    assert time.process_time() - start < 12 + 3, "more than the budget and the imports"
    result = json.loads(text)
    assert result == json.loads((out / "advise.json").read_text())
    assert "Round 1: " in plan and "Cost: at most" in plan
    tried = {e["model"] for e in result["evidence"]}
    assert result["model"] in tried
    assert not tried & set(result["not_tried"])
    assert not result["failed"]
    for row in result["evidence"]:
        figures = row["figures"]
        assert figures["kid"]["low"] < figures["kid"]["value"] < figures["kid"]["high"]
        assert 0 < figures["recon_rms"]["value"] < 128
        run = json.loads((out / "trials" / row["model"] / "run.json").read_text())
        assert run["cpu_seconds"] >= row["trained"] - 0.1
        assert run["config"]["seed"] == 3
    assert result["reasons"]
    command = shlex.split(result["command"])
    assert command[:3] == ["packshot", "train", str(catalog)]
    run_json(*command[1:], "--dry-run")

    assert run_json(*words) == result  # Asked for twice, it is given at once.
    _, refused = run_cli(*map(str, words), "--seed", "4", code=1)
    assert "choose another --out" in refused


def test_dry_run_prints_the_plan_and_leaves_nothing(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short_trials: None
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = run_json("advise", catalog, "--need", "sharp", "--budget", "60cpu-s", "--device", "cpu", "--dry-run")
    assert plan["rounds"] and plan["samples"] >= 200
    gans = [c for c in plan["candidates"] if MODELS[c["model"]].family == "gan"]
    assert gans and all(c["settings"] == ["objective.augment=diffaugment"] for c in gans)
    assert list(tmp_path.iterdir()) == []


def test_too_few_test_photos_give_a_rule_of_thumb_and_no_number(tmp_path: Path) -> None:
    (tmp_path / "idx").mkdir()
    write_idx(tmp_path / "idx", "train", 60, 1)
    write_idx(tmp_path / "idx", "t10k", 24, 2)
    run_json("ingest", tmp_path / "idx", "--out", tmp_path / "few", *INGEST)
    words = ("advise", tmp_path / "few", "--need", "sharp", "--device", "cpu", "--out", tmp_path / "advice")
    text, plan = run_cli(*words)
    assert "24 test photos are too few" in plan
    assert "not a measurement" in text
    assert text.splitlines()[-1].startswith("packshot train ")
    assert not (tmp_path / "advice" / "trials").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--need", "shrap"), "Did you mean 'sharp'"),
        (("--need", "sharp", "--budget", "5kimg"), "The budget of advice is time"),
        (("--need", "sharp", "--budget", "4s"), "The budget is too short"),
    ],
)
def test_wrong_use_is_refused(catalog: Path, tmp_path: Path, words: tuple[str, ...], sentence: str) -> None:
    _, error = run_cli("advise", catalog, *words, "--device", "cpu", "--out", tmp_path / "advice", code=2)
    assert sentence in error
    assert not (tmp_path / "advice").exists()


class Stubs:
    """Trials without training: what each model's KID would be, who goes wrong, who is stopped."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        kid: dict[str, float],
        broken: str = "",
        stopped: str = "",
        slow: str = "",
    ):
        self.calls: list[tuple[str, bool]] = []
        self.kid = kid

        def train(
            trials: object, candidate: Candidate, folder: Path, budget: str, again: bool, deadline: float | None
        ) -> TrainResult:
            self.calls.append((candidate.model, again))
            if candidate.model == broken:
                raise PackshotError("it became not-a-number")
            state = "stopped" if candidate.model == stopped else "finished"
            amount = parse_budget(budget).amount
            images = 0 if candidate.model == slow else 100
            return TrainResult(folder, candidate.model, state, 1, images, amount, amount, 0)

        monkeypatch.setattr(task._Trials, "_train", train)
        monkeypatch.setattr(task, "load_generator", lambda path: path.parent.name)
        monkeypatch.setattr(task, "Yardstick", lambda *_, **__: self)

    def measure(self, model: str) -> tuple[dict[str, Figure], float]:
        """A KID with a narrow interval."""
        value = self.kid[model]
        figure = Figure(name="kid", n=1, n_real=1, seed=0, meaning="", protocol="", warning="-")
        return {"kid": figure.measured(value, (value - 0.1, value + 0.1))}, 0.001


def request_of(catalog: Path, out: Path) -> task.AdviseRequest:
    return task.AdviseRequest(catalog=catalog, need="similar", out=out, budget="600cpu-s", device="cpu", quiet=True)


def test_the_better_half_goes_on_from_where_it_stands(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stubs = Stubs(monkeypatch, {"latent": 4, "vae": 2, "vae-gan": 1, "hvae": 3})
    result = task.advise(request_of(catalog, tmp_path))
    first = [(name, False) for name in ("latent", "vae", "vae-gan", "hvae")]
    assert stubs.calls == [*first, ("vae", True), ("vae-gan", True)]
    assert (result.model, result.stopped_early) == ("vae-gan", None)
    rows = (tmp_path / "trials.jsonl").read_text().splitlines()
    assert [json.loads(r)["model"] for r in rows] == [name for name, _ in stubs.calls]


def test_a_model_that_goes_wrong_is_named_and_the_others_go_on(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Stubs(monkeypatch, {"latent": 4, "vae": 2, "hvae": 3}, broken="vae-gan")
    result = task.advise(request_of(catalog, tmp_path))
    assert result.failed == {"vae-gan": "it became not-a-number"}
    assert result.model == "vae"


def test_a_model_that_made_no_step_in_its_share_is_named_and_the_others_go_on(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Stubs(monkeypatch, {"latent": 4, "vae": 2, "hvae": 3}, slow="vae-gan")
    result = task.advise(request_of(catalog, tmp_path))
    assert "before its first step" in result.not_tried["vae-gan"] and not result.failed
    assert result.model == "vae"


def test_ctrl_c_in_a_trial_stops_the_advice(catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Stubs(monkeypatch, {"latent": 4}, stopped="vae")
    with pytest.raises(PackshotError, match="Stopped by the user"):
        task.advise(request_of(catalog, tmp_path))
    assert len((tmp_path / "trials.jsonl").read_text().splitlines()) == 1


@pytest.mark.slow
def test_where_test_photos_are_few_trials_hold_photos_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short_trials: None
) -> None:
    (tmp_path / "idx").mkdir()
    write_idx(tmp_path / "idx", "train", 90, 1)
    write_idx(tmp_path / "idx", "t10k", 9, 2)
    run_json("ingest", tmp_path / "idx", "--out", tmp_path / "few", *INGEST)
    monkeypatch.setattr(advise_plan, "SAMPLES", (250,))
    words = ("advise", tmp_path / "few", "--need", "repair", "--budget", "14cpu-s", "--device", "cpu", "--seed", "5")
    result = run_json(*words, "--out", tmp_path / "advice")
    assert result["plan"]["facts"]["held"] == 21
    catalog = open_catalog(tmp_path / "few")
    shelf = open_shelf(catalog, 30, 5)
    train, test = (catalog.packed(split, size=32, channels=1) for split in ("train", "test"))
    assert (len(shelf.train.images), len(shelf.test_images), len(train.images), len(test.images)) == (69, 30, 90, 9)
    judges = {image.tobytes() for image in shelf.test_images}
    assert {image.tobytes() for image in test.images} < judges
    for row in result["evidence"]:
        folder = tmp_path / "advice" / "trials" / row["model"]
        about = json.loads((folder / "run.json").read_text())
        own = train.images[draw_subset(90, about["config"]["data"]["limit"], about["config"]["seed"])]
        assert len(own) == 69 and not judges & {image.tobytes() for image in own}
        assert row["figures"]["recon_rms"]["n_real"] == 30
    assert result["evidence"] and "data.limit" not in result["command"]
